"""Attention recipes, each by the check that its paper's method calls for; the common ones are in test_attention.py."""

from __future__ import annotations

import math

import pytest
import torch

from spikeframe.errors import ParameterError
from spikeframe.modules.attention import (
    GLA,
    SDSA,
    Attention,
    BidirectionalGLA,
    Blocks,
    Bound,
    Branches,
    DeltaKeys,
    Layer,
    LeadingFeatures,
    PooledGate,
    PowersOfTwo,
    Probe,
    Score,
    Selection,
    SigmoidGate,
    SpikeGate,
    Statistical,
    Sums,
    TokenBasis,
    TokenQK,
    TopK,
    TopP,
    Tree,
    Window,
    cuboids,
    dense,
    everything,
    recipe,
)  # fmt: skip
from spikeframe.modules.attention.linear import chunked, gated_events, recurrent
from spikeframe.modules.attention.plans import permitted
from spikeframe.modules.attention.scorers import block_sums

N, D, H = 32, 8, 2


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def spikes(seed=0, tokens=N, rate=0.3, features=D, lead=(1, 1), heads=H):
    random = seeded(seed)
    return [(torch.rand(*lead, heads, tokens, features, generator=random) < rate).float() for _ in range(3)]


def test_the_sum_of_spikes_is_the_mass_of_a_block_and_the_bound_bounds_every_pair():
    q, k, _ = spikes()
    overlap = q @ k.transpose(-1, -2)
    blocks = overlap.unflatten(-1, (-1, 4)).unflatten(-3, (-1, 4))
    assert torch.equal(Sums(4, 4)(q, k), blocks.sum((-1, -3)))
    bound = Bound(4)(q, k)
    assert (bound.unsqueeze(-1) >= overlap.unflatten(-1, (-1, 4))).all()
    signed = k * (1 - 2 * torch.randint(2, k.shape, generator=seeded(1)))
    assert (Bound(4)(-q, signed).unsqueeze(-1) >= (-q @ signed.transpose(-1, -2)).unflatten(-1, (-1, 4))).all()


# 3: gated attention


@pytest.mark.exact
def test_a_shut_spike_gate_skips_the_reads_of_its_rows():
    torch.manual_seed(0)
    q, k, v = spikes()
    x = (torch.rand(1, 1, N, 6, generator=seeded(2)) < 0.4).float()
    gate = SpikeGate(6, H)
    gate.map.bias.data.zero_()
    plain, gated = Attention(), Attention(gate=gate)
    open_ = gate(x)[0].detach()
    assert 0.1 < float(open_.mean()) < 0.9
    run = gated.events(q, k, v, x)
    assert torch.equal(run.out, plain(q, k, v)[0] * open_)
    alone = plain.events(q * open_, k, v).operations.attention.syn_ac
    saved = plain.events(q, k, v).operations.attention.syn_ac - alone
    spent = run.operations.attention.syn_ac - int(x.sum()) * H
    assert spent == alone and saved > 0


def test_a_gate_per_head_is_one_per_feature_with_tied_columns_and_sees_its_own_token():
    torch.manual_seed(0)
    q, k, v = spikes()
    x = torch.randn(1, 1, N, 6)
    head, feature = SigmoidGate(6, H), SigmoidGate(6, H, D)
    feature.map.weight.data = head.map.weight.data.repeat_interleave(D, 0)
    feature.map.bias.data = head.map.bias.data.repeat_interleave(D, 0)
    one, other = (Attention(gate=g)(q, k, v, x)[0] for g in (head, feature))
    torch.testing.assert_close(one, other)
    moved = x.clone()
    moved[..., 5, :] += 1.0
    changed = (Attention(gate=head)(q, k, v, moved)[0] != one).any(-1)[0, 0, 0]
    assert changed.nonzero().flatten().tolist() == [5]


# 6: statistical top-k


def test_statistical_top_k_is_right_for_normal_scores_and_exact_top_k_for_any():
    normal = torch.randn(64, 1024, generator=seeded(0))
    yes, no = torch.ones(1024, dtype=torch.bool), torch.zeros(1024, dtype=torch.bool)
    for k in (32, 128):
        kept = Statistical(k)(normal, yes, no).sum(-1).double().mean()
        assert abs(kept - k) < 2
    counts = torch.poisson(torch.full((64, 1024), 0.5), generator=seeded(1))
    loose = Statistical(32)(counts, yes, no).sum(-1).double().mean()
    assert abs(loose - 32) > 5  # whole numbers are not normal
    exact = TopK(32)(counts, yes, no)
    assert (exact.sum(-1) == 32).all()
    for row, chosen in zip(counts[:4], exact[:4], strict=True):  # brute force: by score, then by index
        best = sorted(range(1024), key=lambda j: (-float(row[j]), j))[:32]
        assert chosen.nonzero().flatten().tolist() == sorted(best)


@pytest.mark.exact
def test_the_first_features_select_and_the_others_weigh():
    q, k, v = spikes()
    out, _ = recipe("spark", Layer(2 * D, H, N), k=N)(q, k, v)
    assert torch.equal(out, dense(q[..., D // 2 :], k[..., D // 2 :], v, everything(N), Score()))
    plan, _ = recipe("spark", Layer(2 * D, H, N), k=5).plan(q, k)
    lead = q[..., : D // 2] @ k[..., : D // 2].transpose(-1, -2)
    assert torch.equal(lead.masked_fill(~plan.mask(), 0).sum(-1), lead.topk(5).values.sum(-1))


# 10: learnt gate


def test_a_learnt_gate_starts_as_block_sums_and_learns_from_its_own_loss_alone():
    q, k, v = (x.requires_grad_() for x in spikes(lead=(1, 4)))
    gate = PooledGate(H, D, 4, 4)
    torch.testing.assert_close(gate(q, k).detach(), Sums(4, 4)(q, k).detach())
    mixer = Attention(Selection(gate, TopK(3)))
    mixer(q, k, v)[0].sum().backward()
    assert gate.query.grad is None and q.grad is not None
    q.grad = None
    with torch.no_grad():
        gate.query.normal_(generator=seeded(0))
    losses = []
    for _ in range(40):
        gate.query.grad = gate.key.grad = None
        loss = mixer.loss(q, k)
        loss.backward()
        with torch.no_grad():
            for parameter in gate.parameters():
                parameter -= 0.02 * parameter.grad
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    assert q.grad is None and k.grad is not None  # of the task, not of the loss


# 26: VMoBA


def test_cuboids_of_a_head_are_ranked_together_with_the_own_one_forced():
    q, k, _ = spikes(tokens=64)
    mixer = recipe("vmoba", Layer(2 * D, H, 64, grid=(4, 4, 4), number=2))
    plan, _ = mixer.plan(q, k)
    assert isinstance(plan, Blocks)
    own = torch.arange(64)[:, None] // 8 == torch.arange(8)
    active = (q[..., plan.order, :] != 0).any(-1)
    assert plan.chosen[own.expand_as(plan.chosen) & active[..., None]].all()
    score = Sums(8)(q[..., plan.order, :], k[..., plan.order, :])[0, 0, 0]
    ranked = sorted((not bool(own[i, b]), -float(score[i, b]), i * 8 + b) for i in range(64) for b in range(8))
    total, mass, wanted = float(score.sum()), 0.0, set()
    for _, negative, number in ranked:
        if mass >= 0.25 * total:
            break
        mass -= negative
        wanted.add(number)
    wanted |= {i * 8 + b for i in range(64) for b in range(8) if own[i, b]}
    found = {int(n) for n in (plan.chosen[0, 0, 0].flatten()).nonzero()}
    assert found == {n for n in wanted if active[0, 0, 0, n // 8]}
    cuts = [recipe("vmoba", Layer(2 * D, H, 64, grid=(4, 4, 4), number=n)).planner.order for n in range(3)]
    assert not torch.equal(cuts[0], cuts[1]) and not torch.equal(cuts[1], cuts[2])
    q[:, :, 0, :32] = 0  # a head half of whose queries are silent
    counts = [
        Selection(Sums(8), TopP(0.25, over))(q, k)[0].chosen[0, 0, 1].sum(-1).double().var() for over in ("head", "row")
    ]
    assert counts[0] > counts[1]  # together, some queries take more


# 41, 96: gated linear attention


@pytest.mark.parametrize("tokens", [1, 16, 37])
def test_chunks_events_and_recurrence_are_one_thing(tokens):
    q, k, v = spikes(tokens=tokens)
    gate = torch.nn.functional.logsigmoid(torch.randn(1, 1, H, tokens, D, generator=seeded(3)))
    state = torch.randn(1, 1, H, D, D, generator=seeded(4))
    double = [x.double() for x in (q, k, v, gate, state)]
    expected = recurrent(*double)
    for found in (chunked(*double), chunked(*double, size=5)):
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    out, after, _ = gated_events(q, k, v, gate, state)
    torch.testing.assert_close(out, expected[0].float(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(after, expected[1].float(), rtol=1e-5, atol=1e-5)
    causal = dense(q, k, v, everything(tokens), Score("overlap", 1.0), True)
    open_, shut = torch.zeros_like(gate), torch.full_like(gate, -math.inf)
    for run in (chunked, recurrent, gated_events):
        torch.testing.assert_close(run(q, k, v, open_)[0], causal)
        own = (q * k).sum(-1, keepdim=True) * v
        torch.testing.assert_close(run(q, k, v, shut)[0], own)  # a gate of 0 forgets all but the own token


def test_gated_linear_attention_goes_on_from_its_state_and_costs_the_same_per_token():
    torch.manual_seed(0)
    mixer = GLA(6, H, D)
    q, k, v = spikes(tokens=64)
    x = torch.randn(1, 1, 64, 6)
    whole, end = mixer.stream(q, k, v, x)
    first, state = mixer.stream(*(t[..., :40, :] for t in (q, k, v, x)))
    second, after = mixer.stream(*(t[..., 40:, :] for t in (q, k, v, x)), state=state)
    assert torch.equal(mixer(q, k, v, x)[0], whole)
    torch.testing.assert_close(torch.cat([first, second], -2), whole)
    torch.testing.assert_close(after, end)
    costs = [mixer.events(*(t[..., :n, :] for t in (q, k, v, x))).operations.synaptic / n for n in (32, 64)]
    assert abs(costs[0] / costs[1] - 1) < 0.15


def test_both_ways_together_are_dense_attention_and_the_diagonal_once_more():
    torch.manual_seed(0)
    q, k, v = spikes(tokens=16)
    x = torch.randn(1, 1, 16, 6)
    mixer = BidirectionalGLA(6, H, D)
    with torch.no_grad():
        mixer.high.weight.zero_()
        mixer.high.bias.fill_(1e4)  # gates of 1: nothing is forgotten
    out = mixer(q, k, v, x)[0] * 2 / mixer.scale
    own = (q * k).sum(-1, keepdim=True) * v
    torch.testing.assert_close(out, dense(q, k, v, everything(16), Score("overlap", 1.0)) + own)
    torch.manual_seed(1)
    one, other = BidirectionalGLA(6, H, D), BidirectionalGLA(6, H, D)
    other.low.load_state_dict(one.low.state_dict())
    half = H * D
    other.high.weight.data = torch.cat([one.high.weight.data[half:], one.high.weight.data[:half]])
    other.high.bias.data = torch.cat([one.high.bias.data[half:], one.high.bias.data[:half]])
    flipped = other(*(t.flip(-2) for t in (q, k, v, x)))[0].flip(-2)
    torch.testing.assert_close(flipped, one(q, k, v, x)[0])
    shut = BidirectionalGLA(6, H, D, (4, 4))
    shut.blend.map.bias.data.fill_(-1e4)
    torch.testing.assert_close(shut(q, k, v, x)[0], shut.local(v))


# 53: Sparsifiner


def test_a_token_basis_learns_a_fixed_layout_from_its_own_loss_alone():
    torch.manual_seed(0)
    tokens = 32
    guess = TokenBasis(tokens, 16, basis=8)
    layout = torch.arange(tokens) // 8  # motif of each place
    mixer = Attention(Selection(guess, TopK(share=0.25)), Score("share"))

    def sample(seed):
        random = seeded(seed)
        on = (torch.arange(16) // 4 == layout[:, None]).float() * 0.6 + 0.03
        return [(torch.rand(4, 1, tokens, 16, generator=random) < on).float() for _ in range(2)]

    def recall(q, k):
        mass = q @ k.transpose(-1, -2)
        return float((mass * mixer.plan(q, k)[0].mask()).sum() / mass.sum())

    before = recall(*sample(99))
    optimiser = torch.optim.Adam(guess.parameters(), 3e-2)
    for step in range(90):
        loss = mixer.loss(*sample(step))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    q, k = sample(99)
    mass = q @ k.transpose(-1, -2)
    known = float((mass * (layout[:, None] == layout)).sum() / mass.sum())  # of a plan that knows the layout
    assert before < 0.35 < 0.75 * known < recall(q, k) <= known + 0.05
    optimiser.zero_grad()
    q, k = (x.requires_grad_() for x in sample(1))
    mixer(q, k, k)[0].sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in guess.parameters())  # the task does not reach it
    kept = q.grad.clone()
    mixer.loss(q, k).backward()
    assert torch.equal(q.grad, kept)  # nor its loss the layer


# 64: token-sparse attention


def test_a_subset_of_tokens_drops_at_most_the_given_mass_and_leaves_the_rest_silent():
    q, k, v = spikes(tokens=64)
    before = 65
    for drop in (0.0, 0.05, 0.2, 0.5):
        probe = Probe(64, drop) if drop else Probe(1, drop)
        plan, _ = probe(q, k)
        if drop:
            probe = Probe(4, drop)
            plan, _ = probe(q, k)
            share = Probe(64, drop).shares(q, k)[0, 0].mean(0)
            fewer = int((share.sort().values.double().cumsum(0) < drop).sum())
            assert float(share.sort().values[:fewer].sum()) < drop + 1e-6
        kept = plan.kept[0, 0]
        most = int(kept.sum(-1).max())
        assert most <= before
        before = most
        out, _ = Attention(probe)(q, k, v)
        assert not out[0, 0][~kept].any()
        assert kept[:, -1].all()
    assert before < 50
    share = Probe(64, 0.1).shares(q, k)
    mass = (q @ k.transpose(-1, -2)).sum(-2)
    torch.testing.assert_close(share, mass / mass.sum(-1, keepdim=True))  # exact with overlaps
    with pytest.raises(ParameterError, match="drop"):
        Probe(4, 1.0)


# 71: NSA


@pytest.mark.exact
def test_a_branch_alone_with_a_full_budget_is_dense_attention():
    q, k, v = spikes()
    x = torch.zeros(1, 1, N, 2 * D)
    for causal in (False, True):
        layer = Layer(2 * D, H, N, causal=causal)
        mixer = recipe("nsa", layer, block=4, k=N // 4, window=N)
        assert isinstance(mixer, Branches)
        expected = dense(q, k, v, everything(N), Score(), causal)
        for branch in (1, 2):
            with torch.no_grad():
                mixer.gate.map.weight.zero_()
                mixer.gate.map.bias.fill_(-1e4)
                mixer.gate.map.bias[branch * H : (branch + 1) * H] = 1e4
            assert torch.equal(mixer(q, k, v, x)[0].detach(), expected)
    importance = mixer.mixers[1].planner.scorer(q, k)
    assert torch.equal(importance, q @ block_sums(k, 4).transpose(-1, -2))  # those of the compressed keys
    plan, _ = recipe("nsa", Layer(2 * D, H, N, causal=True)).mixers[1].plan(q, k)
    assert plan.chosen.shape[-3] == 1  # heads choose together
    assert (plan.chosen[..., 16:, 0] | ~plan.chosen.any(-1)[..., 16:]).all()  # the first block is always among them


# 74: PowerAttention


def test_powers_of_two_reach_everything_in_logarithmically_many_layers():
    n, window, sink = 64, 3, 1
    mask = PowersOfTwo(window, sink)(torch.zeros(1, n, 1), torch.zeros(1, n, 1), True)[0].mask()
    for i in range(n):
        for j in range(n):
            d = i - j
            assert bool(mask[i, j]) == (d >= 0 and (d < window or j < sink or (d & (d - 1)) == 0))
    relays = mask.clone()
    relays[:, :sink] &= torch.eye(n, dtype=torch.bool)[:, :sink]  # the sink relays nothing
    reach, layers = relays.double(), 1
    while not (reach[-1] > 0)[1:].all():
        reach, layers = ((reach @ relays.double()) > 0).double(), layers + 1
    assert layers <= int(math.log2(n)) + 1
    plain = Window(int(mask[-1].sum()))(torch.zeros(1, n, 1), torch.zeros(1, n, 1), True)[0].mask().double()
    far = plain
    for _ in range(layers - 1):
        far = ((far @ plain) > 0).double()
    assert (far[-1] > 0).sum() < n  # a window of as many edges does not get there


# 85: delta attention


def test_changes_of_keys_are_fewer_while_keys_change_rarely_and_scores_stay_in_bounds():
    random = seeded(0)
    for rate, pays in ((0.05, True), (1.0, False)):
        keys = [(torch.rand(1, 64, generator=random) < 0.1).float()]
        for _ in range(255):
            new = torch.rand(1, 64, generator=random) < rate
            keys.append(torch.where(new, (torch.rand(1, 64, generator=random) < 0.1).float(), keys[-1]))
        k = torch.stack(keys, -2)
        changes = DeltaKeys(0.5, 256).changes(k)
        assert torch.equal(changes.held, k)
        assert (int((changes.delta != 0).sum()) < int(k.sum())) == pays
    counts = torch.poisson(torch.full((1, 2, 64, 8), 1.5), generator=random)
    q = (torch.rand(1, 2, 64, 8, generator=random) < 0.3).float()
    for theta in (1.0, 2.0):
        held = DeltaKeys(theta, 16).changes(counts).held
        error = (q @ (held - counts).transpose(-1, -2)).abs()
        assert (error <= theta * q.sum(-1, keepdim=True)).all() and error.max() > 0
    exact = DeltaKeys(2.0, 16, 64)(q, counts, counts)[0]  # a window over all
    assert torch.equal(exact, dense(q, counts, counts, everything(64), Score(), True))


# 94: HiP


def test_a_tree_search_evaluates_logarithmically_many_scores_and_sums_find_the_needle():
    for tokens in (64, 128, 256):
        q = torch.ones(1, tokens, 4)
        tree = Tree(16)
        _, scored = tree._search(q, q, False)
        assert scored == tokens * 2 * 16 * int(math.log2(tokens / 16))
    needle = torch.arange(50)
    place = (needle * 37 + 5) % 256
    k, q = torch.zeros(50, 256, 8), torch.zeros(50, 256, 8)
    k[needle, place, 2] = 1.0
    q[:, 100, 2] = 1.0
    found = {first: int(Tree(8, first=first)(q, k)[0].mask()[needle, 100, place].sum()) for first in (True, False)}
    assert found[False] == 50 > found[True]


# 98: gated associative memory


def test_a_memory_answers_token_by_token_and_recalls_noisy_patterns():
    torch.manual_seed(0)
    mixer = recipe("memory", Layer(2 * D, H, N, causal=True))
    q, k, v = spikes()
    x = torch.zeros(1, 1, N, 2 * D)
    with torch.no_grad():
        mixer.gate.map.weight.zero_()
        mixer.gate.map.bias[:H] = -1e4  # no convolution
        order = torch.randperm(N, generator=seeded(1))
        out = mixer(q, k, v, x)[0]
        assert torch.equal(mixer(q[..., order, :], k, v, x)[0], out[..., order, :])
    layer = Layer(64, 1, 64, causal=True)
    mixer = recipe("memory", layer, slots=64, k=1)
    right = {}
    for density in (0.25, 0.5):
        pattern = (torch.rand(1, 64, 64, generator=seeded(2)) < density).float()
        mixer.pattern.data = pattern * 2 - 1
        flipped = (pattern != (torch.rand(1, 64, 64, generator=seeded(3)) < 0.1)).float()
        right[density] = float((mixer.recall(flipped)[0][0].argmax(-1) == torch.arange(64)).double().mean())
    assert min(right.values()) >= 0.98


# 210: SpikingBrain


def test_layers_alternate_between_a_state_and_a_window_of_constant_cost():
    kinds = [recipe("spikingbrain", Layer(2 * D, H, N, causal=True, number=n)) for n in range(4)]
    assert [isinstance(m, GLA) for m in kinds] == [True, False, True, False]
    costs = []
    for tokens in (64, 128):
        q, k, v = spikes(tokens=tokens)
        costs.append(kinds[1].events(q, k, v).operations.synaptic / tokens)
    assert abs(costs[1] / costs[0] - 1) < 0.15
    both = recipe("spikingbrain", Layer(2 * D, H, N, causal=True), parallel=True)
    q, k, v = spikes()
    x = torch.rand(1, 1, N, 2 * D, generator=seeded(1))
    torch.testing.assert_close(both(q, k, v, x)[0], sum(m(q, k, v, x)[0] for m in both.mixers))


# 224: BiFormer


@pytest.mark.exact
def test_regions_follow_their_permutation_and_find_their_partner():
    layer = Layer(2 * D, H, 64, grid=(8, 8))
    mixer = recipe("biformer", layer, regions=4, k=3, local=False)
    q, k, v = spikes(tokens=64)
    order = mixer.planner.order
    swapped = order.view(16, 4)[torch.randperm(16, generator=seeded(0))].reshape(-1)
    moved = torch.empty_like(order)
    moved[order] = swapped  # what stands where: whole regions change places
    out = mixer(q, k, v)[0]
    chosen = mixer.plan(q, k)[0].mask()
    ties = (Sums(4, 4)(q[..., order, :], k[..., order, :])).sort(-1, descending=True).values
    clear = (ties[..., 2] != ties[..., 3]).repeat_interleave(4, -1)[0, 0]  # no tie at the last place
    again = mixer(*(x[..., moved, :] for x in (q, k, v)))[0]
    back = torch.empty_like(order)
    back[order] = torch.arange(64)
    assert chosen.sum() > 0 and clear.any()
    same = (again == out[..., moved, :]).all(-1)[0, 0]
    assert same[clear[:, back][:, moved]].all()
    found = 0
    for seed in range(4):
        random = seeded(seed)
        motif = torch.randperm(16, generator=random) % 8  # of each region
        features = torch.stack([(torch.randperm(64, generator=random) < 8).float() for _ in range(8)])
        rate = 0.03 + 0.47 * features[motif].repeat_interleave(16, 0)
        grid = cuboids((16, 16), (4, 4))
        x = torch.zeros(1, 1, 1, 256, 64)
        x[0, 0, 0, grid] = (torch.rand(256, 64, generator=random) < rate).float()
        plan, _ = Selection(Sums(16, 16), TopK(4), order=grid)(x, x)
        partner = (motif[:, None] == motif) & ~torch.eye(16, dtype=torch.bool)
        found += int((plan.chosen[0, 0, 0] & partner).sum())
    assert found == 4 * 16


# Spiking baselines


def test_spike_driven_attention_masks_the_same_channels_for_every_token():
    q, k, v = spikes()
    out, _ = SDSA()(q, k, v)
    channel = (k * v).sum(-2, keepdim=True) >= 0.5
    assert torch.equal(out, q * channel)
    causal = SDSA(causal=True)(q, k, v)[0]
    assert torch.equal(causal[..., -1, :], out[..., -1, :])


def test_query_key_attention_lets_tokens_through_or_not():
    q, k, v = spikes()
    ones = torch.ones_like(q)
    assert torch.equal(TokenQK()(ones, k, v)[0], k)
    assert not TokenQK()(torch.zeros_like(q), k, v)[0].any()
    channels = recipe("channel-qk", Layer(2 * D, H, N))
    assert torch.equal(channels(ones, k, v)[0], k)


def test_what_a_coincidence_selects_is_kept_better_than_by_overlaps():
    """Recall of mass by block sums: planted runs of motifs, 12.5 % of blocks."""
    random = seeded(0)
    tokens, block = 512, 16
    features = torch.stack([(torch.randperm(64, generator=random) < 8).float() for _ in range(16)])
    motif = torch.randint(16, (tokens // 32,), generator=random).repeat_interleave(32)
    rate = 0.03 + 0.47 * features[motif]
    q, k = ((torch.rand(1, 1, 1, tokens, 64, generator=random) < rate).float() for _ in range(2))
    plan, _ = Selection(Sums(block, block), TopK(share=0.125))(q, k)
    recalls = []
    for score in (Score(), Score("coincidence", theta=3)):
        weights = score.weights(q @ k.transpose(-1, -2), permitted(tokens, False))
        recalls.append(float((weights * plan.mask()).sum() / weights.sum()))
    assert recalls[1] > recalls[0] + 0.2 > 0.325
    assert LeadingFeatures(64)(q, k).equal(q @ k.transpose(-1, -2))
