"""What is particular to each published mixture."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, linprog
from torch import nn

from spikeframe import errors
from spikeframe.modules.moe import MoE, Router, recipe
from spikeframe.modules.moe.balance import LossFree, sinkhorn
from spikeframe.modules.moe.experts import GRUExpert, LIFExpert, LinearExpert, MLPExpert
from spikeframe.modules.moe.losses import chunk_union, entropy, locality, switch_aux
from spikeframe.modules.moe.plan import Plan, route_flips, union_share
from spikeframe.modules.moe.recipes.comet import PermutationSearch
from spikeframe.modules.moe.recipes.jei_dnn import exit_shares, uncertainty
from spikeframe.modules.moe.recipes.mixer import k_means
from spikeframe.modules.moe.recipes.similarity import similarity
from spikeframe.modules.moe.router import relu_rms
from spikeframe.modules.moe.scores import Activated, Linear, Tree
from spikeframe.modules.moe.selection import TopK, ordered


def spikes(*shape, rate=0.2, seed=0):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < rate).float()


def modes(batch, generator, steps=8, segments=4):
    """MODES: eight prototypes of 32 channels, four segments a sample; the label of a step is its mode."""
    prototypes = (torch.rand(8, 32, generator=torch.Generator().manual_seed(99)) < 0.3).float()
    mode = torch.randint(0, 8, (segments, batch), generator=generator).repeat_interleave(steps, 0)
    x = (torch.rand(len(mode), batch, 32, generator=generator) < 0.03 + 0.35 * prototypes[mode]).float()
    return x, mode


def train_on_modes(layer, updates, seed=0):
    """Train on MODES, and return accuracy and plan on new samples."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam([p for p in layer.parameters() if p.requires_grad], 5e-3)
    for _ in range(updates):
        x, labels = modes(32, generator)
        run = layer.run(x)
        loss = nn.functional.cross_entropy(run.out.flatten(0, 1), labels.flatten()) + layer.loss(run.plan)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        layer.advance(run.plan)
    x, labels = modes(64, generator)
    with torch.no_grad():
        run = layer.eval().run(x)
    return float((run.out.argmax(-1) == labels).double().mean()), run.plan


# Hecto ------------------------------------------------------------------------------------------------------------


def test_hecto_order_matters_to_the_gru_alone():
    torch.manual_seed(0)
    layer = recipe("hecto", 8, 3, hidden=6, warmup=1).eval()
    x = spikes(9, 4, 8)
    other = torch.cat([x[:1], x[1:].flip(0)])
    ends = []
    for expert in layer.experts.requires_grad_(False):
        pair = []
        for sample in (x, other):
            state = expert.start(sample[0])
            for frame in sample:
                y, state = expert(frame, state)
            pair.append(y)
        ends.append(float((pair[0] - pair[1]).abs().max()))
    assert ends[0] < 1e-6 < 1e-3 < ends[1]
    plan = layer.run(x).plan
    chosen = plan.mask.float().argmax(-1)
    assert all(len(chosen[plan.heard[:, b], b].unique()) == 1 for b in range(4))  # one decision a sample


def families(batch, generator):
    """FAMILIES: which group of channels fires throughout, or which of two bursts comes first; a cue tells which."""
    family = torch.randint(0, 2, (batch,), generator=generator)
    label = torch.randint(0, 2, (batch,), generator=generator)
    rate = torch.full((20, batch, 16), 0.02)
    for b in range(batch):
        rate[:, b, 14 + family[b]] = 0.5
        if family[b] == 0:
            rate[:, b, 4 * label[b] : 4 * label[b] + 4] = 0.3
        else:
            rate[4:9, b, 8 + 2 * label[b] : 10 + 2 * label[b]] = 0.8
            rate[12:17, b, 10 - 2 * label[b] : 12 - 2 * label[b]] = 0.8
    return (torch.rand(rate.shape, generator=generator) < rate).float(), label, family


@pytest.mark.campaign
def test_hecto_needs_its_second_kind_of_expert():
    found = {}
    for kinds in ("ff+ff", "ff+gru"):
        for seed in range(2):
            torch.manual_seed(seed)
            layer = recipe("hecto", 16, 2, hidden=24, warmup=3, kinds=kinds)
            generator = torch.Generator().manual_seed(seed)
            optimiser = torch.optim.Adam(layer.parameters(), 5e-3)
            for _ in range(250):
                x, label, _ = families(64, generator)
                run = layer.run(x)
                loss = nn.functional.cross_entropy(run.out[-5:].mean(0), label) + layer.loss(run.plan)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            x, label, _ = families(500, generator)
            with torch.no_grad():
                found[kinds, seed] = float((layer(x)[0][-5:].mean(0).argmax(-1) == label).double().mean())
    for seed in range(2):
        assert found["ff+gru", seed] >= found["ff+ff", seed] + 0.1, found


# COMET ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("many", [8, 6, 5, 2])
def test_comet_gates_are_shares_and_decided_trees_are_sparse(many):
    torch.manual_seed(0)
    tree, phi = Tree(7, many, trees=2, gamma=1.0), torch.randn(50, 7)
    torch.testing.assert_close(tree.paths(phi).sum(-1), torch.ones(50, 2))
    torch.testing.assert_close(tree.gates(phi).sum(-1), torch.ones(50))
    assert (tree.gates(phi) > 0).all()  # undecided: dense
    with torch.no_grad():
        tree.node *= 1e5
        tree.node_bias *= 0
    gates = tree.gates(phi)
    assert (gates > 0).sum(-1).max() <= 2
    torch.testing.assert_close(gates.sum(-1), torch.ones(50))
    gates.square().sum().backward()
    assert not tree.node.grad.any() and tree.leaf.grad.any()  # a decided node learns nothing


def test_comet_smooth_step_joins_smoothly():
    tree = Tree(2, 2, gamma=0.6).double()
    t = torch.tensor([-0.3 - 1e-9, -0.3 + 1e-9, 0.0, 0.3 - 1e-9, 0.3 + 1e-9], dtype=torch.float64, requires_grad=True)
    value = tree.smooth_step(t)
    value.sum().backward()
    np.testing.assert_allclose(value.detach(), [0, 0, 0.5, 1, 1], atol=1e-7)
    np.testing.assert_allclose(t.grad, [0, 0, 1.5 / 0.6, 0, 0], atol=1e-6)
    tree = Tree(3, 5).double()
    phi = 0.2 * torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda *p: torch.func.functional_call(tree, dict(zip(
        ("node", "node_bias", "leaf", "leaf_bias"), p, strict=True)), (phi,)), tuple(tree.parameters()))  # fmt: skip


def test_comet_local_search_finds_a_planted_assignment():
    torch.manual_seed(0)
    cost = torch.rand(6, 6, generator=torch.Generator().manual_seed(1))
    best = float(cost[linear_sum_assignment(cost)].sum())
    search = PermutationSearch(6, 100)
    optimiser = torch.optim.Adam(search.parameters(), 0.05)
    for step in range(100):
        optimiser.zero_grad()
        (search.soft(step) * cost).sum().backward()
        optimiser.step()
    p = search.soft(50)
    assert (p.sum(0) - 1).abs().max() < 1e-3 and (p.sum(1) - 1).abs().max() < 1e-2
    hard = search.matrix(100, True)
    assert torch.equal(hard @ hard.T, torch.eye(6)) and torch.equal(hard, search.matrix(0, False))
    assert float((hard * cost).sum()) == pytest.approx(best, abs=1e-6)


# Activated gate -----------------------------------------------------------------------------------------------------

GATES = {
    "identity": (lambda z: z, 4), "relu": (torch.relu, 2), "square": (torch.square, 2),
    "tanh": (torch.tanh, 1), "sigmoid": (torch.sigmoid, 1),
}  # fmt: skip


@pytest.mark.parametrize("act", GATES)
def test_activated_gate_temperature_is_told_apart_from_slopes_by_the_right_activations(act):
    """Null directions of the gate's Fisher matrix: one is the common shift of the offsets, more are ties with τ."""
    function, wanted = GATES[act]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 2, dtype=torch.float64, generator=generator)
    start = torch.randn(10, dtype=torch.float64, generator=generator)
    start[9] = start[9].abs() + 0.5

    def gate(p):
        return torch.log_softmax((function(x @ p[:6].view(3, 2).T) + p[6:9]) / p[9], -1)

    jacobian = torch.autograd.functional.jacobian(gate, start)
    weight = gate(start).exp().sqrt()
    spectrum = torch.linalg.svdvals((jacobian * weight[..., None]).flatten(0, 1) / 500**0.5)
    assert int((spectrum < 1e-8 * spectrum[0]).sum()) == wanted


def test_activated_gate_temperature_runs_from_even_to_one():
    torch.manual_seed(0)
    score, phi = Activated(5, 4), torch.randn(20, 5)
    with torch.no_grad():
        score.log_temperature.fill_(math.log(1e-3))
        assert torch.softmax(score(phi), -1).max(-1).values.median() > 0.999
        score.log_temperature.fill_(math.log(1e3))
        torch.testing.assert_close(torch.softmax(score(phi), -1), torch.full((20, 4), 0.25), atol=1e-3, rtol=0)
    layer = recipe("activated-gate", 32, 8, experts=4, steps=60)
    x = modes(16, torch.Generator().manual_seed(0))[0]
    first = layer.run(x).plan.active
    _, plan = train_on_modes(layer, 60)
    assert first == 1.0 and plan.active < 0.75  # dense at first, sparse in the end
    with pytest.raises(errors.UnknownNameError, match="sigmoid"):
        Activated(5, 4, "sigmoidal")


# Selective Sinkhorn -------------------------------------------------------------------------------------------------


def test_sinkhorn_plans_are_balanced():
    scores = torch.randn(200, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    costs = torch.softmax(scores, -1)
    plan = sinkhorn(costs, 0.5)
    torch.testing.assert_close(plan.sum(1), torch.ones(200, dtype=torch.float64))
    torch.testing.assert_close(plan.sum(0), torch.full((8,), 25.0, dtype=torch.float64), rtol=1e-4, atol=0)
    torch.testing.assert_close(sinkhorn(costs, 1e6), torch.full_like(plan, 1 / 8), rtol=1e-4, atol=0)
    torch.testing.assert_close(sinkhorn(costs + scores[:, :1], 0.5), plan, rtol=1e-3, atol=1e-4)
    order = torch.randperm(8)
    torch.testing.assert_close(sinkhorn(costs[:, order], 0.5), plan[:, order], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(sinkhorn(costs.float(), 0.5).double(), plan, rtol=1e-3, atol=1e-5)
    assert sinkhorn(costs[:0], 0.5).shape == (0, 8)

    def spread(rank):
        load = (ordered(rank) < 2).sum(0).double()
        return float(load.std(unbiased=False) / load.mean())

    skewed = scores + torch.linspace(0, 2, 8, dtype=torch.float64)
    assert spread(sinkhorn(skewed, 0.5)) < 0.25 * spread(skewed)


def test_selective_sinkhorn_takes_some_steps_from_the_plan():
    torch.manual_seed(0)
    layer, x = recipe("selective-sinkhorn", 12, 4, experts=4, share=0.3), spikes(8, 4, 12)
    taken = 0
    for _ in range(40):
        run = layer.run(x)
        taken += not run.plan.weight.requires_grad
        layer.advance(run.plan)
    assert 4 <= taken <= 22
    layer.eval()
    layer.router.share = 1.0
    assert layer.run(x).plan.weight.requires_grad  # never outside training


# Loss-free balancing ------------------------------------------------------------------------------------------------


def skewed_rows(rows=2048, experts=16):
    generator = torch.Generator().manual_seed(0)
    return torch.sigmoid(torch.randn(rows, experts, generator=generator) + torch.linspace(-1.5, 1.5, experts))


def as_plan(mask, size=None):
    size = torch.ones(len(mask), 1) if size is None else size
    return Plan(mask[:, None], mask[:, None].float(), mask[:, None].float(), mask[:, None].float(), size > 0, size)


def test_loss_free_bias_levels_the_load_and_moves_rows_the_right_way():
    scores = skewed_rows()
    balance, select = LossFree(16, 1e-3), TopK(2)
    violation = []
    before = select(scores, scores, True)
    for step in range(400):
        old = balance.bias.clone()
        balance.update(as_plan(before))
        after = select(scores + balance.bias, scores, True)
        rise = balance.bias - old
        for row in (after != before).any(1).nonzero()[:20, 0] if step % 40 == 0 else ():
            assert rise[after[row] & ~before[row]].min() > rise[before[row] & ~after[row]].max() - 1e-9
        load = after.sum(0).double()
        violation.append(float(load.max() / load.mean() - 1))
        before = after
    assert violation[0] > 2 and min(violation) < 0.05 and violation[-1] < 0.1
    assert abs(float(balance.bias.mean())) < 1e-6
    shifted = select(scores + balance.bias + 5.0, scores, True)
    assert (shifted != before).sum() <= 4  # but for rounding


def test_loss_free_prices_are_those_of_the_assignment_problem():
    scores = skewed_rows(64, 4).double()
    load = 64 * 2 / 4
    price = torch.zeros(4, dtype=torch.float64)
    dual = []
    for n in range(1, 4000):
        mask = ordered(scores - price) < 2
        dual.append(float(((scores - price) * mask).sum() + load * price.sum()))
        price += 0.05 / n**0.5 * torch.sign(mask.sum(0) - load)
    rows, columns = np.kron(np.eye(64), np.ones(4)), np.tile(np.eye(4), 64)
    wanted = np.r_[np.full(64, 2.0), np.full(4, load)]
    solved = linprog(-scores.flatten().numpy(), A_eq=np.vstack([rows, columns]), b_eq=wanted, bounds=(0, 1))
    assert min(dual) == pytest.approx(-solved.fun, rel=1e-3) and min(dual) >= -solved.fun - 1e-9


def test_loss_free_counts_rows_or_spikes():
    mask = torch.tensor([[1, 0], [1, 0], [0, 1]], dtype=torch.bool)
    size = torch.tensor([[1.0], [1.0], [5.0]])
    by_rows, by_spikes = LossFree(2, 0.1), LossFree(2, 0.1, "spikes")
    by_rows.update(as_plan(mask, size))
    by_spikes.update(as_plan(mask, size))
    assert by_rows.bias[0] < 0 < by_spikes.bias[0]
    layer = recipe("loss-free", 12, 4, experts=4)
    run = layer.run(spikes(8, 4, 12))
    run.out.sum().backward()
    assert layer.router.balance.bias.grad is None and not layer.router.balance.bias.requires_grad
    layer.router.balance.bias += torch.tensor([1.0, 0, 0, 0])
    other = layer.run(spikes(8, 4, 12)).plan
    assert other.mask[..., 0][other.heard].all()  # it selects,
    ratio = other.weight.sum(-1)[other.heard]
    torch.testing.assert_close(ratio, torch.ones_like(ratio))  # and does not weigh


# BlockFFN -----------------------------------------------------------------------------------------------------------


def test_blockffn_scores_do_not_depend_on_size():
    s = torch.randn(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    s[0] = -1.0
    p = relu_rms(s)
    torch.testing.assert_close(relu_rms(1000 * s), p, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(p[1:].square().mean(-1), torch.ones(39, dtype=torch.float64), rtol=1e-9, atol=0)
    assert not p[0].any()
    torch.manual_seed(0)
    layer = recipe("blockffn", 12, 4, experts=6, hidden=4, local=0.0, union=0.0)
    run = layer.run(spikes(1, 30, 12))
    run.plan.scores.retain_grad()
    run.out.square().sum().backward()
    assert not run.plan.scores.grad[run.plan.scores < 0].any() and run.plan.scores.grad[run.plan.mask].any()
    assert 0.3 < run.plan.active < 0.7


def test_blockffn_losses_are_what_they_say():
    q = torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.9
    torch.testing.assert_close(chunk_union(q, 1), q.mean())
    by_hand = 1 - torch.stack([(1 - q[:4]).prod(0), (1 - q[4:]).prod(0)]).mean()
    torch.testing.assert_close(chunk_union(q, 4), by_hand)
    s = torch.tensor([[[1.0, -1.0]], [[1.0, -1.0]], [[-1.0, 1.0]]])
    heard = torch.ones(3, 1, dtype=torch.bool)
    assert locality(s[:2], heard[:2]) < 1e-6 < 50 < locality(s[1:], heard[1:])
    assert locality(s, torch.zeros(3, 1, dtype=torch.bool)) == 0


def test_blockffn_losses_make_steps_and_chunks_sparse():
    found = []
    for local, union in ((0.0, 0.0), (2e-3, 0.4)):
        torch.manual_seed(0)
        layer = recipe("blockffn", 32, 8, experts=8, hidden=8, local=local, union=union)
        accuracy, plan = train_on_modes(layer, 60)
        found.append((accuracy, 1 - plan.active, 1 - union_share(plan, 8)))
    (plain, tokens, chunks), (thin, fewer, apart) = found
    assert fewer > tokens + 0.1 and apart > chunks + 0.1 and thin > plain - 0.1


# EvoMoE -------------------------------------------------------------------------------------------------------------


def test_evomoe_gate_goes_from_dense_to_sparse():
    torch.manual_seed(0)
    layer = recipe("evomoe", 12, 4, experts=8, alone=0, sparse=100, first=2.0, last=0.1)
    scores, active = torch.randn(400, 8) / 3, []
    for step in (0, 30, 60, 90, 99, 100):
        layer.router.step.fill_(step)
        active.append(float(layer.router.rows(scores)[0].double().sum(1).mean()))
    assert active == sorted(active, reverse=True) and active[0] > 7.5 and active[-2] < 2.5 and active[-1] == 1
    tau = layer.router.temperature
    assert tau(0) == 2.0 and tau(100) == 0.1 and tau(50) == pytest.approx((2.0 * 0.1) ** 0.5)
    layer.eval()
    layer.router.step.fill_(5)
    assert layer.router.rows(scores)[0].sum(1).max() == 1


def test_evomoe_experts_are_masked_copies_of_the_first():
    torch.manual_seed(0)
    x = spikes(8, 4, 12)
    for share in (0.0, 0.5):
        layer = recipe("evomoe", 12, 4, experts=3, alone=1, sparse=9, share=share)
        one = layer.experts[0]
        run = layer.run(x)
        torch.testing.assert_close(run.out, one.layer(x))  # phase one: the first alone, in full
        weight = one.layer.weight.detach().clone()
        layer.advance(run.plan)
        distances = []
        for expert in layer.experts:
            kept = expert.layer.weight != 0
            assert torch.equal(expert.layer.weight[kept], weight[kept])
            distances.append(float((~kept).double().mean()))
        assert all(d == 0 for d in distances) if share == 0 else all(0.2 < d < 0.8 for d in distances)
        if share == 0:  # copies whose weights sum to 1 are the one expert
            layer.router.temperature = lambda step: 1e3
            run = layer.run(x)
            torch.testing.assert_close(run.plan.weight.sum(-1)[run.plan.heard], torch.ones(int(run.plan.heard.sum())))
            torch.testing.assert_close(run.out, one.layer(x))
        else:
            assert len({float(e.layer.weight.detach().sum()) for e in layer.experts}) == 3


# MixER --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("many", [3, 5, 10])
def test_mixer_gate_learns_which_cluster_is_whose(many):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        cluster = np.repeat(np.arange(many), 6)
        noise = rng.normal(size=(6 * many, 2 * many)) * 0.2
        contexts = torch.from_numpy(rng.normal(size=(many, 2 * many))[cluster] * 5 + noise)
        expert = rng.permutation(many)[cluster]
        losses = torch.from_numpy(rng.uniform(0.5, 1.0, (6 * many, many)))
        losses[np.arange(6 * many), expert] = 0.1
        layer = recipe("mixer", 2 * many, 2, experts=many)
        assert layer.router.fit(contexts.float(), losses.float())
        found = layer.router.score(contexts.float()).argmax(1)
        assert torch.equal(found, torch.from_numpy(expert))


def test_mixer_gate_has_no_gradient_and_leaves_itself_alone_when_a_cluster_is_empty():
    torch.manual_seed(0)
    layer = recipe("mixer", 6, 2, experts=3, warmup=2)
    same = torch.ones(9, 6)
    assert k_means(same, 3) is None and not layer.router.fit(same, torch.rand(9, 3))
    assert not layer.router.score.weight.any()
    run = layer.run(spikes(8, 4, 6))
    assert (run.plan.weight[run.plan.mask] == 1).all()
    run.out.sum().backward()
    assert not list(layer.router.score.parameters())
    with pytest.raises(errors.ShapeError, match="contexts"):
        layer.router.fit(torch.zeros(9, 5), torch.zeros(9, 3))


def test_mixer_parts_two_families_of_neurons():
    """Recordings of two kinds of neurons (fast and slow membranes): each kind gets an expert of its own."""
    torch.manual_seed(1)
    slow, fast = LIFExpert(6, 3, decay=0.95), LIFExpert(6, 3, decay=0.3)
    with torch.no_grad():
        for teacher, size in ((slow, 0.3), (fast, 1.0)):
            teacher.layer.weight.uniform_(0, size)
    x = spikes(40, 16, 6, rate=0.3)
    kind = torch.arange(16) % 2
    x[:, kind == 1, 0] = spikes(40, 8, rate=0.9, seed=2)  # the kinds differ in what they get

    def rates(expert):
        state, total = expert.start(x[0]), 0.0
        for frame in x:
            z, state = expert(frame, state)
            total = total + z
        return total / len(x)

    with torch.no_grad():
        wanted = torch.where(kind[:, None] == 0, rates(slow), rates(fast))
        layer = recipe("mixer", 6, 3, experts=[fast, slow], warmup=40)
        losses = torch.stack([(rates(e) - wanted).square().mean(1) for e in layer.experts], 1)
        assert layer.router.fit(x.mean(0), losses)
        chosen = layer.router.score(x.mean(0)).argmax(1)
    assert torch.equal(chosen, 1 - kind)
    own = losses.gather(1, chosen[:, None]).mean()
    assert own < 0.5 * losses.mean(0).min()


# MoE-X --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "least"), [(None, 0.98), (0.1, 0.95), (0.02, 0.9)])
def test_moe_x_predicts_how_active_experts_will_be(rate, least):
    torch.manual_seed(0)
    layer = recipe("moe-x", 64, 8, experts=16, hidden=512)
    with torch.no_grad():
        for e, expert in enumerate(layer.experts):
            expert.first.weight += 0.02 * (e - 8) / 8
    x = torch.randn(400, 64) if rate is None else spikes(400, 64, rate=rate)
    x = x[x.any(1)]
    shares = layer.router.score.shares(x)
    true = torch.stack([(e.first(x) > 0).double().mean(1) for e in layer.experts], 1)
    correlation = np.corrcoef(shares.detach().flatten().double(), true.flatten())[0, 1]
    assert correlation > least
    chosen = ordered(-shares) < 2
    assert true[chosen].mean() < 0.85 * true.mean()


def test_moe_x_is_one_wide_sparse_network():
    torch.manual_seed(0)
    layer, x = recipe("moe-x", 12, 4, experts=3, hidden=5, k=2), spikes(8, 4, 12)
    run = layer.run(x)
    first = torch.cat([e.first.weight for e in layer.experts])
    second = torch.cat([e.second.weight for e in layer.experts], 1)
    gates = run.plan.weight.repeat_interleave(5, -1)
    torch.testing.assert_close(run.out, (gates * torch.relu(x @ first.T)) @ second.T)


# Similarity-aware routing ---------------------------------------------------------------------------------------------


def test_similarity_shares_sum_to_one_and_mix_only_the_past():
    torch.manual_seed(0)
    scores, heard = torch.randn(3 + 10, 2, 4), torch.rand(3 + 10, 2) < 0.8
    share = similarity(scores, heard, 1.0, 4)
    ready = heard[3:]
    torch.testing.assert_close(share.sum(-1)[ready], torch.ones(int(ready.sum())))
    assert not share[heard.unfold(0, 4, 1).logical_not()].any()
    torch.testing.assert_close(similarity(scores, heard, 1e-3, 4)[ready][:, -1], torch.ones(int(ready.sum())))
    torch.testing.assert_close(similarity(scores, heard | True, 1e6, 4), torch.full((10, 2, 4), 0.25))


def test_similarity_flips_decisions_less_and_rows_are_less_sure():
    torch.manual_seed(0)
    x, _ = modes(64, torch.Generator().manual_seed(0))
    plain = MoE(Router(Linear(32, 8), TopK(1), gain=1.0), [LinearExpert(32, 8) for _ in range(8)])
    nn.init.normal_(plain.router.score.weight, std=1.0)
    mixed = recipe("similarity", 32, 8, experts=8, k=1, width=2.0, window=8)
    mixed.router.schedule = 1.0
    mixed.router.score.load_state_dict(plain.router.score.state_dict())
    one, two = plain.run(x).plan, mixed.run(x).plan
    assert route_flips(two) < 0.7 * route_flips(one)
    assert entropy(two.probs[two.heard]).mean() > entropy(one.probs[one.heard]).mean()
    mixed.router.width = 1e-4
    assert torch.equal(mixed.run(x).plan.mask, one.mask)


# JEI-DNN ------------------------------------------------------------------------------------------------------------


def test_jei_shares_and_features():
    gates = torch.rand(5, 30, generator=torch.Generator().manual_seed(0))
    shares = exit_shares(gates)
    torch.testing.assert_close(shares.sum(0), torch.ones(30))
    assert (shares >= 0).all()
    assert torch.equal(exit_shares(torch.zeros(3, 2))[-1], torch.ones(2))
    assert torch.equal(exit_shares(torch.ones(3, 2))[0], torch.ones(2))
    best, first, margin, second = uncertainty(torch.randn(50, 10) * 3).unbind(-1)
    assert (margin <= best).all() and ((first >= 0) & (first <= math.log(10))).all()
    assert (second <= first + 1e-6).all() and (second >= 0).all()


def easy_and_hard(batch, generator, steps=12):
    """Half of the samples tell their class at once, the others only on the whole."""
    label = torch.randint(0, 3, (batch,), generator=generator)
    hard = torch.rand(batch, generator=generator) < 0.5
    rate = torch.full((steps, batch, 12), 0.1)
    for b in range(batch):
        rate[:, b, 4 * label[b] : 4 * label[b] + 4] = 0.16 if hard[b] else 0.7
    return (torch.rand(rate.shape, generator=generator) < rate).float(), label, hard


def test_jei_leaves_early_where_it_is_easy():
    torch.manual_seed(0)
    steps, generator = [], torch.Generator().manual_seed(0)
    for price in (0.05, 2.0):
        layer = recipe("jei-dnn", 12, 3, hidden=16, exits=(2, 4, 8, 12), price=price)
        optimiser = torch.optim.Adam(layer.parameters(), 0.02)
        for update in range(60):
            x, label, hard = easy_and_hard(48, generator)
            logits = layer.all_logits(x)
            loss = layer.warm_loss(logits, label)
            if update >= 25:
                loss = layer.head_loss(logits, label) + layer.gate_loss(logits, label)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        x, label, hard = easy_and_hard(300, generator)
        run = layer.event_driven()
        y, state = run(x)
        assert state.exited.all() and torch.equal(run.steps <= 12, torch.ones(300, dtype=torch.bool))
        torch.testing.assert_close(layer(x)[0], y)
        steps.append((run.steps[~hard].double().mean(), run.steps[hard].double().mean()))
        right = float((y[-1].argmax(1) == label)[~hard].double().mean())
        assert right > 0.85
        work = run.counts.syn_ac
    assert steps[0][0] < steps[0][1] - 1 and steps[1][1] < steps[0][1]  # a price sends hard ones home too
    assert work < 12 * 300 * 12 * 16 * 0.3


def test_jei_gates_do_not_teach_heads():
    torch.manual_seed(0)
    layer = recipe("jei-dnn", 12, 3, hidden=8, exits=(2, 4))
    x, label, _ = easy_and_hard(16, torch.Generator().manual_seed(0), 4)
    layer.gate_loss(layer.all_logits(x), label).backward()
    assert layer.gates[0].weight.grad.any() and all(h.weight.grad is None for h in layer.heads)
    layer.zero_grad()
    layer.head_loss(layer.all_logits(x), label).backward()
    assert layer.gates[0].weight.grad is None or not layer.gates[0].weight.grad.any()
    assert layer.heads[0].weight.grad.any()


# FlyLoRA ------------------------------------------------------------------------------------------------------------


def test_flylora_only_learns_columns():
    torch.manual_seed(0)
    base = nn.Linear(40, 6, bias=False)
    layer, x = recipe("flylora", 40, 6, base=base, rank=16, k=4), spikes(8, 4, 40)
    torch.testing.assert_close(layer(x)[0], base(x))  # B = 0
    before = layer.router.score.weight.clone()
    assert (before.ne(0).sum(1) == 10).all()
    optimiser = torch.optim.SGD([p for p in layer.parameters() if p.requires_grad], 0.1)
    for _ in range(3):
        layer(x)[0].square().sum().backward()
        optimiser.step()
    assert torch.equal(layer.router.score.weight, before) and base.weight.grad is None
    assert layer.experts[0].column.detach().any()
    plain = recipe("flylora", 40, 6, base=base, rank=16, k=16, alpha=8.0)
    with torch.no_grad():
        for expert in plain.experts[:-1]:
            expert.column.normal_()
    columns = torch.stack([e.column for e in plain.experts[:-1]], 1)
    a = plain.router.score.weight
    torch.testing.assert_close(plain(x)[0], base(x) + 8.0 / 16 * x @ a.T @ columns.T)  # k = r: LoRA with A frozen
    with pytest.raises(errors.DTypeError, match="without bias"):
        recipe("flylora", 40, 6, base=nn.Linear(40, 6))


def test_flylora_bias_uses_all_units_and_signs_matter():
    layer = recipe("flylora", 60, 2, rank=16, k=4, rate=3e-3)
    x = torch.rand(1, 1000, 60, generator=torch.Generator().manual_seed(0))

    def spread(plan):
        load = plan.load().double()
        return float(load.std(unbiased=False) / load.mean())

    first = spread(layer.router(x)[0])
    for _ in range(150):
        layer.advance(layer.router(x)[0])
    assert first > 0.2 and spread(layer.router(x)[0]) < 0.05


def test_flylora_updates_of_two_tasks_are_nearly_orthogonal():
    generator = torch.Generator().manual_seed(0)
    a = [recipe("flylora", 1024, 2, rank=32, k=8, seed=s).router.score.weight for s in (1, 2)]
    b = torch.randn(64, 32, generator=generator)
    other = 0.8 * b + 0.6 * torch.randn(64, 32, generator=generator)

    def cosine(one, two):
        return float((one * two).sum() / (one.norm() * two.norm()))

    assert cosine(b @ a[0], other @ a[0]) == pytest.approx(0.8, abs=0.08)
    assert abs(cosine(b @ a[0], other @ a[1])) < 0.05


# Informed routing ---------------------------------------------------------------------------------------------------


def test_informed_runs_the_unit_or_the_forecast():
    torch.manual_seed(0)
    layer, x = recipe("informed", 16, 6, hidden=12, rank=3, gate=5).eval(), spikes(8, 4, 16)
    unit, forecast = layer.experts
    heard = x.any(2, keepdim=True)
    for seat, expert in ((0, unit), (1, forecast)):
        with torch.no_grad():
            layer.router.score.second.weight.zero_()
            layer.router.score.second.bias.copy_(torch.tensor([1.0 - seat, float(seat)]))
        torch.testing.assert_close(layer(x)[0], expert(x, ())[0] * heard, rtol=0, atol=1e-6)


def test_informed_forecast_beats_skipping_or_is_silent():
    torch.manual_seed(0)
    layer = recipe("informed", 16, 6, unit=LinearExpert(16, 6), rank=4)
    x = spikes(400, 16)
    layer.requires_grad_(False)
    error, skip = layer.fit(x[:300], x[300:])
    assert 0 < error < 0.5 * skip and layer.experts[1].second.weight.any()
    direct = float((layer.experts[1](x[300:], ())[0] - layer.experts[0](x[300:], ())[0]).square().mean())
    assert direct == pytest.approx(error)
    full = recipe("informed", 16, 6, unit=LinearExpert(16, 6), rank=6)
    assert full.fit(x[:300], x[300:])[0] < 1e-9
    noise = recipe("informed", 16, 6, unit=MLPExpert(16, 64, 6), rank=4)
    with torch.no_grad():
        noise.experts[0].first.weight *= torch.randn(64, 16).sign()
    error, skip = noise.fit(x[:18], -x[300:] * 5)  # too little to learn from, and other rows
    assert (error >= skip) == (not noise.experts[1].second.weight.any())


def test_informed_keeps_its_budget():
    torch.manual_seed(0)
    layer = recipe("informed", 32, 8, unit=LinearExpert(32, 8), rank=4, sparsity=0.6, steps=100)
    layer.experts.requires_grad_(False)
    _, plan = train_on_modes(layer, 60)
    ran = float(plan.mask[..., 0][plan.heard].double().mean())
    assert abs(ran - 0.4) < 0.12


# Parts --------------------------------------------------------------------------------------------------------------


def test_switch_loss_is_least_where_load_is_even():
    even = torch.full((12, 4), 0.25)
    mask = torch.eye(4, dtype=torch.bool).repeat(3, 1)
    assert float(switch_aux(even, mask)) == pytest.approx(1.0)
    one = torch.tensor([1.0, 0, 0, 0]).repeat(12, 1)
    assert float(switch_aux(one, one.bool())) == pytest.approx(4.0)
    assert float(switch_aux(even[:0], mask[:0])) == 0.0


def test_gru_experts_are_torch_grus():
    torch.manual_seed(0)
    expert, x = GRUExpert(6, 5, 3), spikes(7, 2, 6)
    state, out = expert.start(x[0]), []
    for frame in x:
        y, state = expert(frame, state)
        out.append(y)
    gru = nn.GRU(6, 5)
    gru.load_state_dict({f"{k}_l0": v for k, v in expert.cell.state_dict().items()})
    torch.testing.assert_close(torch.stack(out), expert.readout(gru(x)[0]))
