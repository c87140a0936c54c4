"""Attention on spikes: what every recipe, plan and executor must do."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from spikeframe.errors import (
    BackendError,
    DTypeError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    UnknownNameError,
    UnsupportedLayerError,
)
from spikeframe.kernels.attention import provider
from spikeframe.modules.attention import (
    RECIPES,
    Above,
    Attention,
    Blocks,
    Bound,
    Branches,
    Layer,
    LinearState,
    Probe,
    Score,
    Selection,
    Subset,
    Sums,
    TopK,
    TopP,
    Window,
    attend,
    choose,
    cuboids,
    dense,
    events,
    everything,
    gather,
    pad,
    recipe,
)  # fmt: skip
from spikeframe.modules.attention.plans import inverse, permitted

TOKENS, WIDTH, HEADS, D = 16, 16, 2, 8
CAUSAL_ONLY, NEVER_CAUSAL = (
    {"delta", "gla", "spikingbrain"},
    {"biformer", "sparsifiner", "token-sparse", "vig", "vmoba"},
)
CASES = [(n, c) for n in sorted(RECIPES) for c in (False, True) if n not in (NEVER_CAUSAL if c else CAUSAL_ONLY)]
PLANNED = [(n, c) for n, c in CASES if n in {
    "biformer", "gated", "hip", "power", "seer", "spark", "sparsifiner", "ssa", "token-sparse", "vmoba"}]  # fmt: skip
SCORES = [Score(), Score("coincidence"), Score("rectified"), Score("share")]


def layer(causal=False, number=0):
    return Layer(WIDTH, HEADS, TOKENS, grid=(4, 4), causal=causal, number=number)


def made(name, causal, score=None, **options):
    """Return a recipe of a fixed seed, its weights on a grid."""
    torch.manual_seed(1)
    mixer = recipe(name, layer(causal), score, **options)
    for parameter in mixer.parameters():
        parameter.data = (parameter.data * 16).round() / 16
    return mixer


def spikes(seed=0, tokens=TOKENS, rate=0.3, ternary=False, lead=(2, 2)):
    """Return queries, keys, values and the layer's input."""
    random = torch.Generator().manual_seed(seed)
    shape = (*lead, HEADS, tokens, D)
    found = [(torch.rand(shape, generator=random) < rate).float() for _ in range(3)]
    if ternary:
        found = [x * (1 - 2 * torch.randint(2, shape, generator=random)) for x in found]
    return (*found, (torch.rand(*lead, tokens, WIDTH, generator=random) < rate).float())


@pytest.mark.exact
@pytest.mark.parametrize("score", SCORES, ids=lambda s: s.kind)
@pytest.mark.parametrize(("name", "causal"), PLANNED)
def test_executors_agree_in_outputs_and_gradients(name, causal, score):
    mixer = made(name, causal, score)
    for seed, ternary in ((0, False), (1, True)):
        *tensors, _ = spikes(seed, ternary=ternary and score.kind != "share")
        valid = torch.arange(TOKENS) < torch.tensor([[TOKENS], [TOKENS - 3]])
        plan, _ = mixer.plan(tensors[0], tensors[1], valid=valid)
        results, gradients = [], []
        for run in (dense, gather):
            leaves = [x.clone().requires_grad_() for x in tensors]
            out = run(*leaves, plan, score, causal, valid)
            results.append(out.detach())
            gradients.append(
                torch.autograd.grad((out * torch.linspace(-1, 1, out.numel()).view(out.shape)).sum(), leaves)
            )
        results.append(events(*tensors, plan, score, causal, valid)[0])
        for other in results[1:]:
            if score.kind == "share":  # divides
                torch.testing.assert_close(other, results[0], rtol=1e-6, atol=1e-6)
            else:
                assert torch.equal(other, results[0])
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
        assert not results[0][:, 1, :, -3:].any()  # tokens that are not there


@pytest.mark.parametrize(("name", "causal"), CASES)
def test_an_event_driven_run_equals_the_forward_one(name, causal):
    mixer = made(name, causal)
    q, k, v, x = spikes()
    out, after = mixer(q, k, v, x)
    run = mixer.events(q, k, v, x)
    exact = name not in {"gated", "gla", "memory", "nsa", "spikingbrain", "vig"}  # exponentials and sigmoids
    torch.testing.assert_close(run.out, out.detach(), rtol=0 if exact else 1e-5, atol=0 if exact else 1e-6)
    assert run.operations.synaptic > 0
    pairs = TOKENS * (TOKENS + 1) // 2 if mixer.causal else TOKENS**2
    assert run.operations.attention.syn_mac_dense == 4 * HEADS * 2 * D * pairs
    assert (after is None) == (run.state is None)


FULL = {
    "biformer": {"k": 4, "local": False}, "delta": {"theta": 0.0}, "gated": {}, "hip": {"keep": TOKENS},
    "power": {"window": TOKENS}, "seer": {"k": 4}, "sparsifiner": {"share": 1.0}, "ssa": {}, "ssa-linear": {},
    "token-sparse": {"drop": 0.0}, "vmoba": {"share": 1.0},
}  # fmt: skip


@pytest.mark.exact
@pytest.mark.parametrize(("name", "causal"), [(n, c) for n, c in CASES if n in FULL])
def test_a_full_budget_is_dense_attention_to_the_bit(name, causal):
    mixer = made(name, causal, **FULL[name])
    if name == "gated":
        mixer.gate.map.weight.data.zero_()
        mixer.gate.map.bias.data.fill_(40.0)  # a gate of 1
    for seed, ternary in ((0, False), (1, True)):
        q, k, v, x = spikes(seed, ternary=ternary)
        expected = dense(q, k, v, everything(TOKENS), Score(), causal)
        assert torch.equal(mixer(q, k, v, x)[0].detach(), expected)


@pytest.mark.exact
@pytest.mark.parametrize("name", [n for n, c in CASES if c])
def test_a_causal_recipe_never_looks_ahead(name):
    mixer = made(name, True)
    one, other = spikes(0), spikes(7)
    for last in (0, 4, 6, TOKENS - 2):
        mixed = [torch.cat([a[..., : last + 1, :], b[..., last + 1 :, :]], -2) for a, b in zip(one, other, strict=True)]
        for run in (mixer, mixer.events):
            outs = [run(*inputs)[0][..., : last + 1, :] for inputs in (one, mixed)]
            assert torch.equal(*outs)
        if isinstance(mixer, Attention):
            plans = [mixer.plan(inputs[0], inputs[1])[0].mask() & permitted(TOKENS, True) for inputs in (one, mixed)]
            assert torch.equal(*(p[..., : last + 1, :] for p in plans))


@pytest.mark.parametrize("name", sorted(NEVER_CAUSAL))
def test_what_looks_ahead_is_refused_for_causal_layers(name):
    with pytest.raises((ParameterError, UnsupportedLayerError), match="ausal"):
        recipe(name, layer(True))


@pytest.mark.exact
@pytest.mark.parametrize(("name", "causal"), PLANNED)
def test_ties_go_to_the_lower_index_every_time(name, causal):
    """All queries and keys alike, so every score is a tie."""
    mixer = made(name, causal)
    q = torch.zeros(1, 1, HEADS, TOKENS, D)
    q[..., ::2] = 1.0
    first, again = (mixer.plan(q, q)[0].mask() & permitted(TOKENS, causal) for _ in range(2))
    assert torch.equal(first, again)
    if name == "spark":
        best = torch.arange(TOKENS) < 8
        assert torch.equal(first.expand(1, 1, HEADS, TOKENS, TOKENS)[0, 0, 0], best & permitted(TOKENS, causal))


@pytest.mark.exact
@pytest.mark.parametrize(("name", "causal"), CASES)
def test_silence_gives_silence_and_costs_no_events(name, causal):
    mixer = made(name, causal)
    q, k, v, x = (torch.zeros_like(t) for t in spikes())
    out, _ = mixer(q, k, v, x)
    run = mixer.events(q, k, v, x)
    assert not out.any() and not run.out.any()
    assert run.operations.total.syn_ac == 0
    if isinstance(mixer, Attention) and isinstance(mixer.planner, Selection):
        assert not mixer.plan(q, k)[0].mask().any()  # a silent row selects nothing


@pytest.mark.exact
@pytest.mark.parametrize(
    ("name", "causal"), [(n, c) for n, c in CASES if n not in {"delta", "sparsifiner", "vmoba", "biformer", "vig"}]
)
def test_no_tokens_and_one_token(name, causal):
    mixer = made(name, causal, **{"nsa": {"block": 1}, "seer": {"block": 1}, "hip": {"rows": 1}}.get(name, {}))
    for tokens in (0, 1):
        q, k, v, x = spikes(tokens=tokens)
        for out in (mixer(q, k, v, x)[0], mixer.events(q, k, v, x).out):
            assert out.shape == v.shape and bool(torch.isfinite(out).all())


@pytest.mark.exact
@pytest.mark.parametrize("score", SCORES, ids=lambda s: s.kind)
@pytest.mark.parametrize(("name", "causal"), PLANNED)
def test_counted_operations_are_those_of_a_recount_pair_by_pair(name, causal, score):
    mixer = made(name, causal, score)
    q, k, v, _ = spikes(lead=(1, 1))
    plan, _ = mixer.plan(q, k)
    mask = (plan.mask() & permitted(TOKENS, causal)).expand(1, 1, HEADS, TOKENS, TOKENS)
    hits = values = 0
    for where in np.argwhere(mask.numpy()):
        *group, i, j = (int(n) for n in where)
        common = int((q[(*group, i)] * k[(*group, j)]).sum())
        hits += common
        weighs = common >= score.theta if score.kind in ("coincidence", "rectified") else common > 0
        values += int(v[(*group, j)].sum()) if weighs else 0
    counts = events(q, k, v, plan, score, causal)[1].attention
    assert (counts.syn_ac, counts.syn_mac) == (hits + values, 0)


@pytest.mark.exact
def test_pair_order_and_linear_order_add_up_the_same_units():
    """Sum of weights times values, over pairs, is what rows of the state hold for active queries."""
    q, k, v, _ = spikes(lead=(1, 1))
    weights = q @ k.transpose(-1, -2)
    state = k.transpose(-1, -2) @ v
    assert torch.equal((weights * v.sum(-1).unsqueeze(-2)).sum(), (q.sum(-2) * state.sum(-1)).sum())
    run = LinearState().events(q, k, v)
    built = sum(int(k[0, 0, h, j].sum() * v[0, 0, h, j].sum()) for h in range(HEADS) for j in range(TOKENS))
    read = sum(
        int((state[0, 0, h, f] != 0).sum())
        for h in range(HEADS)
        for i in range(TOKENS)
        for f in q[0, 0, h, i].nonzero()
    )
    assert run.operations.attention.syn_ac == built + read
    assert torch.equal(run.out, dense(q, k, v, everything(TOKENS), Score()))


def test_planning_costs_what_a_recount_says():
    q, k, v, _ = spikes(lead=(1, 1))
    for rows, columns in ((1, 4), (4, 4), (1, 1)):
        planner = Selection(Sums(columns, rows), TopK(2))
        a, b = (x.unflatten(-2, (-1, n)).sum(-2) for x, n in ((q, rows), (k, columns)))
        macs = sum(
            int(((a[0, 0, h, i] != 0) & (b[0, 0, h, j] != 0)).sum())
            for h in range(HEADS) for i in range(TOKENS // rows) for j in range(TOKENS // columns)
        )  # fmt: skip
        pooled = int(q.sum()) * (rows > 1) + int(k.sum()) * (columns > 1)
        counts = planner.operations(q, k)
        assert counts.syn_ac + counts.syn_mac == pooled + macs
        assert (counts.syn_mac > 0) == (rows > 1)  # binary queries select, they do not multiply
        assert counts.mem_wr_s == int(planner(q, k)[0].chosen.sum())
        assert Attention(planner).events(q, k, v).operations.selection == counts


@pytest.mark.exact
def test_plans_are_masks_in_the_tokens_own_order():
    order = cuboids((4, 6), (2, 3))
    assert torch.equal(order[inverse(order)], torch.arange(24))
    assert order[:6].tolist() == [0, 1, 2, 6, 7, 8]
    chosen = torch.eye(4, dtype=torch.bool)
    mask = Blocks(chosen, 6, 6, order).mask()
    cell = torch.tensor([(n // 6) // 2 * 2 + (n % 6) // 3 for n in range(24)])
    assert torch.equal(mask, cell[:, None] == cell)
    kept = torch.tensor([True, False, True])
    assert Subset(kept).mask().sum() == 4
    assert everything(5).mask().all()
    three = cuboids((2, 4, 4), (2, 2, 4))
    assert sorted(three.tolist()) == list(range(32)) and set(three[:16].tolist()) == {*range(8), *range(16, 24)}


@pytest.mark.exact
def test_attention_follows_a_permutation_of_the_tokens():
    q, k, v, _ = spikes()
    order = torch.randperm(TOKENS, generator=torch.Generator().manual_seed(3))
    for mixer in (made("ssa", False), made("spark", False, k=TOKENS), made("channel-qk", False), made("sdsa", False)):
        out, _ = mixer(q, k, v)
        moved, _ = mixer(*(x[..., order, :] for x in (q, k, v)))
        assert torch.equal(moved, out[..., order, :])


@pytest.mark.exact
def test_padding_with_silent_tokens_changes_nothing():
    q, k, v, _ = spikes(tokens=13)
    padded, valid = pad(q, 4)[0], pad(q, 4)[1]
    assert padded.shape[-2] == 16 and valid.sum() == 13
    mixer = Attention(Selection(Sums(4, 4), TopK(4)), Score("share"))
    out, _ = mixer(padded, pad(k, 4)[0], pad(v, 4)[0], valid=valid)
    torch.testing.assert_close(out[..., :13, :], dense(q, k, v, everything(13), Score("share")))
    soft = Score("softmax")
    torch.testing.assert_close(
        dense(padded, pad(k, 4)[0], pad(v, 4)[0], everything(16), soft, False, valid)[..., :13, :],
        dense(q, k, v, everything(13), soft),
    )


@pytest.mark.parity
def test_compiled_kernels_do_what_the_plain_ones_do():
    random = np.random.default_rng(5)
    numba, plain = provider("numba"), provider("reference")
    for tokens, rows, columns, causal, kind in (
        (12, 3, 2, False, 0),
        (12, 1, 4, True, 1),
        (7, 7, 1, True, 2),
        (12, 4, 3, False, 3),
    ):
        q, k, v = ((random.random((3, tokens, n)) < 0.3).astype(np.float32) for n in (9, 9, 5))
        k[0, 0, :2] = -1.0, 0.5
        chosen = random.random((3, tokens // rows, tokens // columns)) < 0.6
        place = random.permutation(tokens)
        found = []
        for module in (numba, plain):
            out, counts = np.full_like(v, np.nan), np.zeros(7, np.int64)
            module.attend(q, k, v, chosen, place, causal, kind, 0.25, 2.0, out, counts)
            found.append((out, counts))
        np.testing.assert_array_equal(found[0][1], found[1][1])
        np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-6)
        gate = np.log(random.random((3, tokens, 9))).astype(np.float32)
        found = []
        for module in (numba, plain):
            state, out, counts = np.ones((3, 9, 5)), np.full_like(v, np.nan), np.zeros(3, np.int64)
            module.gated(q, k, v, gate, state, out, counts)
            found.append((out, state, counts))
        np.testing.assert_array_equal(found[0][2][[0, 1, 2]], found[1][2])
        for one, other in zip(found[0][:2], found[1][:2], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
        weight = random.random((9, 6), np.float32)
        outs = [np.full((tokens, 6), np.nan, np.float32) for _ in range(2)]
        for module, out in zip((numba, plain), outs, strict=True):
            module.project(q[0], weight, out)
        np.testing.assert_allclose(*outs, rtol=1e-6)


def test_scores_weigh_pairs_as_their_table_says():
    overlap = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    there = torch.tensor([True, True, True, False])
    for score, expected in (
        (Score("overlap", 0.5), [0.0, 0.5, 1.0, 0.0]),
        (Score("coincidence", 0.5), [0.0, 0.0, 0.5, 0.0]),
        (Score("rectified", 0.5), [0.0, 0.0, 0.5, 0.0]),
        (Score("rectified", 1.0, theta=1), [0.0, 1.0, 2.0, 0.0]),
        (Score("share"), [0.0, 1 / 3, 2 / 3, 0.0]),
    ):
        torch.testing.assert_close(score.weights(overlap, there), torch.tensor([expected]))
    soft = Score("softmax", 1.0).weights(overlap, there)
    torch.testing.assert_close(soft[0, :3], torch.softmax(overlap[0, :3], 0))
    assert not Score("softmax").weights(overlap, torch.zeros(4, dtype=torch.bool)).any()  # no key, no NaN
    x = overlap.clone().requires_grad_()
    Score("coincidence", 1.0).weights(x, torch.ones(4, dtype=torch.bool)).sum().backward()
    torch.testing.assert_close(x.grad, 1 / (1 + (math.pi * (overlap - 2)) ** 2))


@pytest.mark.exact
def test_a_stream_plans_from_what_it_has_seen_and_goes_on_from_its_state():
    q, k, v, _ = spikes(lead=(6, 2))
    planner = Selection(Sums(4, 4), TopK(2), reuse="stream", every=2)
    whole, after = planner(q, k)
    for t in range(6):
        seen = slice(0, t - t % 2 + 1)
        expected, _ = Selection(Sums(4, 4), TopK(2))(q[seen].sum(0), k[seen].sum(0))
        assert torch.equal(whole.chosen[t], expected.chosen)
    first, state = planner(q[:3], k[:3])
    second, end = planner(q[3:], k[3:], state=state)
    assert torch.equal(torch.cat([first.chosen, second.chosen]), whole.chosen)
    assert end.steps == after.steps == 6 and torch.equal(end.q, after.q)
    window, _ = Selection(Sums(4, 4), TopK(2), reuse="window")(q, k)
    assert torch.equal(window.chosen[0], Selection(Sums(4, 4), TopK(2))(q.sum(0), k.sum(0))[0].chosen)
    mixer = Attention(Selection(Sums(4, 4), TopK(2), reuse="window"))
    assert torch.equal(mixer(q, k, v)[0], mixer.events(q, k, v).out)
    fresh, kept = (Selection(Sums(4, 4), TopK(2), reuse=r).operations(q, k) for r in ("step", "window"))
    assert kept.syn_mac < fresh.syn_mac / 2


def test_the_choice_follows_the_measured_rates_and_says_why():
    plan = everything(256)
    with torch.no_grad():
        taken = {}
        for rate in (0.01, 0.6):
            q = (torch.rand(1, 1, 256, 32, generator=torch.Generator().manual_seed(1)) < rate).float()
            taken[rate] = choose(q, q, q, plan, Score())
    assert taken[0.01].execution == "events"
    assert taken[0.6].execution == "dense"
    assert "of queries" in taken[0.01].reason and "dense 1" in taken[0.6].reason
    few = Window(1, block=16)(q, q)[0]
    assert choose(q.requires_grad_(), q, q, few, Score()).execution == "gather"  # differentiable
    with torch.no_grad():
        assert choose(q, q, q, few, Score("softmax")).execution == "gather"
    every = [
        attend(*(x.detach() for x in (q, q, q)), few, Score(), execution=e)
        for e in ("dense", "gather", "events", "auto")
    ]
    assert all(torch.equal(every[0], other) for other in every[1:])


@pytest.mark.fault
def test_bad_input_is_named():
    q, k, v, _ = spikes()
    mixer = made("ssa", False)
    broken = k.clone()
    broken[0, 1, 1, 2, 3] = math.nan
    with pytest.raises(NonFiniteError, match=r"k\[0, 1, 1, 2, 3\]"):
        mixer(q, broken, v)
    with pytest.raises(DTypeError, match="int64"):
        mixer(q, k, v.long())
    with pytest.raises(ShapeError, match="alike"):
        mixer(q, k[..., 1:, :], v)
    with pytest.raises(ShapeError, match="valid"):
        mixer(q, k, v, valid=torch.ones(3, dtype=torch.bool))
    for budget in ({"k": 0}, {"k": -1}, {"share": 0.0}, {"share": 1.5}, {}, {"k": 1, "share": 0.5}, {"k": 2.5}):
        with pytest.raises(ParameterError, match="TopK"):
            TopK(**budget)
    for share in (0.0, 1.1, math.nan, True):
        with pytest.raises(ParameterError, match="TopP"):
            TopP(share)
    with pytest.raises(ParameterError, match="over"):
        TopP(0.5, "all")
    with pytest.raises(ShapeError, match="append 2 silent tokens"):
        Attention(Selection(Sums(6), TopK(1)))(q, k, v)
    with pytest.raises(ShapeError, match="cuboids"):
        cuboids((4, 4), (3, 2))
    with pytest.raises(UnknownNameError, match="'nsa'"):
        recipe("nsaa", layer())
    with pytest.raises(UnknownNameError, match="'window'"):
        recipe("nsa", layer(), windw=3)
    with pytest.raises(UnknownNameError, match="coincidence"):
        Score("coincidense")
    with pytest.raises(ParameterError, match="theta"):
        Score("coincidence", theta=0)
    with pytest.raises(UnknownNameError, match="gather"):
        attend(q, k, v, everything(TOKENS), Score(), execution="gathr")
    with pytest.raises(UnsupportedLayerError, match="softmax"):
        events(q, k, v, everything(TOKENS), Score("softmax"))
    with pytest.raises(BackendError, match="meta"):
        events(*(t.to("meta") for t in (q, k, v)), everything(TOKENS), Score())
    with pytest.raises(ShapeError, match="give the layer's input"):
        made("gated", False)(q, k, v)
    with pytest.raises(ParameterError, match="heads"):
        Layer(10, 3, 4)
    with pytest.raises(UnsupportedLayerError, match="grid"):
        recipe("biformer", Layer(WIDTH, HEADS, TOKENS))
    with pytest.raises(UnsupportedLayerError, match="linear order"):
        recipe("ssa-linear", layer(), Score("coincidence"))
    with pytest.raises(ParameterError, match="Branches"):
        Branches([])
    with pytest.raises(ParameterError, match="reuse"):
        Selection(Sums(4), TopK(1), reuse="never")
    with pytest.raises(ShapeError, match="places"):
        made("sparsifiner", False)(*spikes(tokens=8)[:3])
    with pytest.raises(UnsupportedLayerError, match="causal"):
        recipe("gla", layer())


def test_a_budget_beyond_the_blocks_takes_all_and_an_empty_plan_nothing():
    q, k, v, _ = spikes()
    assert torch.equal(made("seer", False, k=99)(q, k, v)[0].detach(), made("ssa", False)(q, k, v)[0])
    none = Blocks(torch.zeros(4, 4, dtype=torch.bool), 4, 4)
    for run in (dense, gather):
        assert not run(q, k, v, none, Score("share")).any()
    out, done = events(q, k, v, none, Score())
    assert not out.any() and done.synaptic == 0


def test_blocks_above_a_share_are_those_that_hold_it():
    score = torch.tensor([[4.0, 3.0, 2.0, 1.0, -5.0, 90.0]])
    allowed = torch.tensor([[True, True, True, True, True, False]])
    forced = torch.tensor([[False, False, False, True, False, False]])
    for share, kept in ((0.05, [0, 1, 2, 3]), (0.3, [0, 1, 3]), (0.4, [0, 3]), (0.41, [3])):
        chosen = Above(share)(score, allowed, forced)[0]
        assert chosen.nonzero()[:, 0].tolist() == kept, share  # of a mass of 10


def test_a_bound_is_counted_by_its_products_of_what_is_not_zero():
    q, k = torch.tensor([[1.0, 0.0], [1.0, -1.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    scorer = Bound(columns=3)  # one block, at most [1, 1] and at least [0, 0]
    assert scorer(q, k).flatten().tolist() == [1.0, 1.0]
    counts = scorer.operations(q, k)
    assert (counts.neu_cmp, counts.syn_ac + counts.syn_mac) == (4, 2)


def test_a_probe_averages_over_neighbours_that_are_there():
    q, k = torch.ones(1, 4, 1), torch.tensor([[[6.0], [0.0], [3.0], [3.0]]])
    torch.testing.assert_close(Probe(1, 0.0).shares(q, k), torch.tensor([[6.0, 0.0, 3.0, 3.0]]) / 12)
    torch.testing.assert_close(Probe(1, 0.0, pool=3).shares(q, k), torch.tensor([[3.0, 3.0, 2.0, 3.0]]) / 11)
