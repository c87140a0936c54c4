"""What every mixture keeps, whatever its recipe (CT1 to CT12), and what each part does."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from spikeframe import errors
from spikeframe.adapters.spiking import verify
from spikeframe.modules.moe import RECIPES, MoE, Router, execution, recipe
from spikeframe.modules.moe.balance import LossFree
from spikeframe.modules.moe.choosing import Fastest
from spikeframe.modules.moe.experts import (
    ConvExpert,
    CountsExpert,
    DendriticExpert,
    GRUExpert,
    LIFExpert,
    LinearExpert,
    MLPExpert,
    blocks,
)
from spikeframe.modules.moe.plan import Plan, route_flips, union_share
from spikeframe.modules.moe.policies import POLICIES
from spikeframe.modules.moe.schedules import AdaptiveCoefficient, Anneal
from spikeframe.modules.moe.scores import MLP, Hash, Linear, Tree
from spikeframe.modules.moe.selection import Capacity, ExpertChoice, Threshold, TopK, TopP
from spikeframe.modules.moe.taps import Raw, WarmUp

IN, OUT = 12, 6
TINY = {
    "comet": {"experts": 4, "search": 3},
    "activated-gate": {"experts": 4, "theta": 0.2},
    "selective-sinkhorn": {"experts": 4, "share": 0.5},
    "loss-free": {"experts": 4},
    "similarity": {"experts": 4, "window": 3},
    "blockffn": {"experts": 5, "hidden": 3},
    "evomoe": {"experts": 4, "alone": 1, "sparse": 4},
    "mixer": {"experts": 3, "warmup": 2},
    "moe-x": {"experts": 4, "hidden": 5},
    "flylora": {"rank": 8, "k": 2},
    "hecto": {"hidden": 4, "warmup": 2},
    "informed": {"hidden": 5, "rank": 2},
    "jei-dnn": {"hidden": 5, "exits": (2, 5, 8)},
}
MIXTURES = [name for name in RECIPES if name != "jei-dnn"]
#: Recipes whose routers learn through the weights of what they select, or a straight-through gate.
LEARNS = {name: name not in ("mixer", "flylora", "moe-x") for name in MIXTURES}


def spikes(*shape, rate=0.15, seed=0):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < rate).float()


def on_grid(module):
    """Put parameters on a coarse grid, where sums are exact."""
    with torch.no_grad():
        for p in module.parameters():
            p.copy_((p * 256).round() / 256)
    return module


def made(name, seed=0, grid=True):
    torch.manual_seed(seed)
    layer = recipe(name, IN, OUT, **TINY[name])
    if name == "mixer":
        layer.router.score.weight.normal_()
    if name == "flylora":
        for expert in layer.experts[:-1]:
            nn.init.normal_(expert.column)
    return (on_grid(layer) if grid else layer).eval()


@pytest.mark.parametrize("name", RECIPES)
def test_runs_stream_keep_samples_and_time_apart_and_agree_with_events(name):
    verify(made(name), spikes(8, 3, IN))  # CT1 events, CT2, CT3, CT4


@pytest.mark.exact
@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("kind", ["linear", "blocks", "lif", "gru", "dendritic", "conv", "mlp"])
def test_executions_agree(kind, backend):
    """CT1: to the bit where sums are exact, else to rounding."""
    torch.manual_seed(0)
    make = {
        "linear": lambda: [LinearExpert(IN, OUT) for _ in range(4)],
        "blocks": lambda: blocks(IN, 8, 4),
        "lif": lambda: [LIFExpert(IN, OUT, decay=0.5) for _ in range(4)],
        "gru": lambda: [GRUExpert(IN, 4, OUT), CountsExpert(IN, 4, OUT), LinearExpert(IN, OUT), LIFExpert(IN, OUT)],
        "dendritic": lambda: [DendriticExpert(IN, OUT) for _ in range(4)],
        "conv": lambda: [ConvExpert(IN, 3) for _ in range(4)],
        "mlp": lambda: [MLPExpert(IN, 5, OUT) for _ in range(4)],
    }
    x = spikes(7, 3, IN, 5, 4) if kind == "conv" else spikes(17, 3, IN)
    layer = on_grid(MoE(Router(Linear(IN, 4), TopK(2)), make[kind](), policy="freeze")).eval()
    grouped, state = layer(x)
    layer.execution = "dense"
    dense, _ = layer(x)
    run = layer.event_driven(backend)
    events, after = run(x)
    same = kind in ("linear", "blocks", "lif")
    for other in (dense, events):
        torch.testing.assert_close(other, grouped, rtol=0, atol=0 if same else 1e-5)
    assert torch.equal(after.gap, state.gap)
    for one, two in zip(after.experts, state.experts, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0 if same else 1e-5)
    assert run.plan.pairs().first[-1] == run.plan.mask.sum()


@pytest.mark.parametrize("policy", POLICIES)
def test_states_of_unselected_experts_follow_the_policy_in_every_execution(policy):
    torch.manual_seed(1)
    x = spikes(25, 3, IN, rate=0.1)
    made_ = [LIFExpert(IN, OUT), LIFExpert(IN, OUT, 0.5), CountsExpert(IN, 3, OUT)]
    layer = MoE(Router(Linear(IN, 3, std=1.0), TopK(1)), made_, policy=policy).eval()
    grouped, _ = layer(x)
    first, state = layer(x[:11])
    rest, _ = layer(x[11:], state)
    torch.testing.assert_close(torch.cat([first, rest]), grouped)
    layer.execution = "dense"
    torch.testing.assert_close(layer(x)[0], grouped)
    events, _ = layer.event_driven()(x)
    torch.testing.assert_close(events, grouped)


def test_policies_differ_and_leaking_is_silence():
    torch.manual_seed(0)
    expert, x = LIFExpert(1, 1, decay=0.9), torch.ones(200, 1, 1)
    nn.init.constant_(expert.layer.weight, 0.3)
    chosen = spikes(200, 1, rate=0.4, seed=3).bool()
    found = {}
    for policy in ("leak", "freeze", "reset"):
        layer = MoE(Router(Hash(1, 2), TopK(1)), [expert, LinearExpert(1, 1)], policy=policy)
        weight = torch.stack([chosen, ~chosen], -1).float()
        plan = Plan(weight.bool(), weight * torch.tensor([1.0, 0.0]), weight, weight, chosen | True, chosen.long())
        found[policy], _, _ = execution.grouped(
            x, plan, layer.experts, layer.policy, layer.start(x).experts, torch.zeros(2, 1).long()
        )
    silent, state = [], expert.start(x[0])
    for frame, on in zip(x, chosen, strict=True):
        z, state = expert(frame * on, state)
        silent.append(z * on)
    assert torch.equal(found["leak"], torch.stack(silent))
    counts = {policy: int(y.sum()) for policy, y in found.items()}
    assert counts["freeze"] > counts["leak"] >= counts["reset"] > 0


@pytest.mark.parametrize("name", [n for n in MIXTURES if n not in ("comet", "evomoe")])
def test_experts_have_no_places(name):
    """CT5: permuting experts with their scores changes nothing."""
    layer, x = made(name), spikes(8, 3, IN)
    other, many = copy.deepcopy(layer), layer.router.experts
    order = torch.randperm(many, generator=torch.Generator().manual_seed(1))
    other.experts = nn.ModuleList([other.experts[i] for i in order] + list(other.experts[many:]))
    score = other.router.score
    if hasattr(score, "layers"):
        score.layers = [score.layers[i] for i in order]
    with torch.no_grad():
        for part, value in [*score.named_parameters(recurse=False), *score.named_buffers(recurse=False)]:
            if part in ("weight", "bias"):
                value.copy_(value[:, order] if name == "mixer" else value[order])
        for value in (getattr(other.router, "scale", None), other.policy.rate):
            if value is not None:
                value[:many] = value[:many][order]
    if name == "informed":  # the unit is the first by definition; here the two only change seats
        pytest.skip("the two options have names") if many != 2 else None
    torch.testing.assert_close(other(x)[0], layer(x)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", MIXTURES)
def test_plans_are_sane(name):
    """CT6."""
    layer = made(name)
    for training in (False, True):
        layer.train(training)
        plan = layer.run(spikes(8, 3, IN)).plan
        chosen = plan.mask & plan.heard[..., None]
        assert torch.equal(chosen, plan.mask)
        assert torch.isfinite(plan.weight).all() and not plan.weight[~plan.mask].detach().any()
        assert name == "flylora" or (plan.weight >= 0).all()
        first, expert, weight = plan.pairs()
        assert first[-1] == len(expert) == len(weight) and (first.diff() >= 0).all()
        for row in range(len(first) - 1):
            assert (expert[first[row] : first[row + 1]].diff() > 0).all()
        k = getattr(layer.router.select, "k", layer.router.experts)
        free = name in ("evomoe", "informed") and training
        assert free or plan.mask.sum(-1).max() <= k


@pytest.mark.parametrize("name", RECIPES)
def test_silence_costs_nothing(name):
    """CT7."""
    layer = made(name)
    run = layer.event_driven()
    _, state = run(spikes(5, 3, IN))
    y, after = run(torch.zeros(4, 3, IN), state)
    c = run.counts
    assert c.syn_ac == c.spk_in == 0 or name == "jei-dnn"
    if name != "jei-dnn":
        assert not y.any() and c.route == c.syn_mac == c.dense_mac == c.neu_mac == c.neu_exp == c.neu_cmp == 0
        for one, two in zip(after.experts, state.experts, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
        assert torch.equal(after.gap, state.gap + 4) or not any(e.stateful for e in layer.experts)


@pytest.mark.parametrize("name", [n for n in MIXTURES if n != "mixer"])  # spikes have no true derivative
def test_gradients_are_those_of_differences(name):
    """CT8: with the selection as it is."""
    layer, x = made(name, seed=2, grid=False).double(), spikes(8, 3, IN).double()
    parameters = [p for p in layer.parameters() if p.requires_grad]
    direction = [torch.randn(p.shape, generator=torch.Generator().manual_seed(5), dtype=p.dtype) for p in parameters]
    want = torch.randn(8, 3, OUT, generator=torch.Generator().manual_seed(6), dtype=torch.float64)

    def value(step):
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p += step * d
        run = layer.run(x)
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p -= step * d
        return run

    h = 1e-6
    up, down = value(h), value(-h)
    assert torch.equal(up.plan.mask, down.plan.mask)
    slope = float(((up.out - down.out) * want).detach().sum() / (2 * h))
    (layer.run(x).out * want).sum().backward()
    found = sum(float((p.grad * d).sum()) for p, d in zip(parameters, direction, strict=True) if p.grad is not None)
    assert found == pytest.approx(slope, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", MIXTURES)
def test_routers_learn_as_their_recipe_says(name):
    """CT9."""
    layer = made(name).train()
    if name == "evomoe":
        layer.router.step += 1
    if name == "selective-sinkhorn":
        layer.router.share = 0.0
    run = layer.run(spikes(8, 3, IN))
    run.out.square().sum().backward()
    score = list(layer.router.score.parameters())
    assert any(p.grad is not None and p.grad.any() for p in score) == LEARNS[name]
    if name == "moe-x":  # it has no weights of its own; those of the experts carry its gradient
        assert layer.experts[0].first.weight.grad.any() and not score
    if name == "selective-sinkhorn":
        layer.zero_grad()
        layer.router.share = 1.0
        layer.run(spikes(8, 3, IN)).out.square().sum().backward()
        assert not any(p.grad is not None and p.grad.any() for p in score)


def test_one_expert_alone_keeps_its_probability():
    """Rule 2.4: a weight divided by itself would teach the router nothing."""
    torch.manual_seed(0)
    layer = MoE(Router(Linear(IN, 4), TopK(1)), [LinearExpert(IN, OUT) for _ in range(4)])
    run = layer.run(spikes(8, 3, IN))
    run.out.square().sum().backward()
    assert layer.router.score.weight.grad.abs().max() > 1e-3
    assert (run.plan.weight[run.plan.mask] < 1).all()
    with pytest.raises(errors.ParameterError, match="teaches"):
        TopK(1, renormalise=True)


@pytest.mark.parametrize("kind", ["linear", "blocks", "mlp", "conv"])
def test_operations_are_those_of_a_recount(kind):
    """CT10."""
    torch.manual_seed(0)
    make = {
        "linear": lambda: [LinearExpert(IN, OUT) for _ in range(3)],
        "blocks": lambda: blocks(IN, 6, 3),
        "mlp": lambda: [MLPExpert(IN, 5, OUT) for _ in range(3)],
        "conv": lambda: [ConvExpert(2, 3) for _ in range(3)],
    }
    x = spikes(5, 2, 2, 4, 3) if kind == "conv" else spikes(9, 2, IN)
    x = x * torch.randint(1, 3, x.shape, generator=torch.Generator().manual_seed(1))
    layer = MoE(Router(Linear(x.shape[2], 3), TopK(2)), make[kind]()).eval()
    run = layer.event_driven()
    run(x)
    ac = mac = pairs = 0
    for t, b in np.ndindex(x.shape[0], x.shape[1]):
        for place in x[t, b].nonzero():
            unit = x[t, b][tuple(place)] == 1
            here = 3 if kind != "conv" else 0  # router
            for _ in range(int(run.plan.mask[t, b].sum())):
                if kind == "conv":
                    _, i, j = place.tolist()
                    inside = sum(0 <= i + a < 4 and 0 <= j + d < 3 for a in (-1, 0, 1) for d in (-1, 0, 1))
                    here += 3 * inside
                else:
                    here += {"linear": OUT, "blocks": 2, "mlp": 5}[kind]
            ac, mac = ac + here * bool(unit), mac + here * (not unit)
            mac += 3 if kind == "conv" else 0  # the router sees means
        if kind == "mlp":
            for e in run.plan.mask[t, b].nonzero()[:, 0]:
                mac += OUT * int((layer.experts[e].first(x[t, b]) > 0).sum())
        pairs += int(run.plan.mask[t, b].sum())
    assert (run.counts.syn_ac, run.counts.syn_mac) == (ac, mac)
    wide = {"linear": OUT, "blocks": 2, "mlp": OUT, "conv": 36}[kind]
    rows = int(run.plan.heard.sum())
    assert run.counts.neu_mac == pairs * wide + 3 * 3 * rows
    assert run.counts.neu_cmp >= pairs * 3 and run.counts.spk_in == int(x.count_nonzero())


def test_limits_are_the_plain_layer_and_the_dense_mixture():
    """CT11."""
    torch.manual_seed(0)
    x, one = spikes(8, 3, IN), LinearExpert(IN, OUT)
    layer = MoE(Router(Linear(IN, 1), TopK(1)), [one])
    torch.testing.assert_close(layer(x)[0], one.layer(x))
    experts = [LinearExpert(IN, OUT) for _ in range(3)]
    layer = MoE(Router(Linear(IN, 3), TopK(3, renormalise=True), tap=Raw()), experts)
    weight = torch.softmax(3.0 * layer.router.score(x), -1)
    mixed = sum(weight[..., e : e + 1] * expert.layer(x) for e, expert in enumerate(experts))
    torch.testing.assert_close(layer(x)[0], mixed)
    alone = MoE(Router(Linear(IN, 3), TopK(1)), experts, shared=one)
    with torch.no_grad():
        for expert in experts:
            expert.layer.weight.zero_()
    torch.testing.assert_close(alone(x)[0], one.layer(x))


@pytest.mark.parametrize("name", MIXTURES)
def test_the_same_seed_and_step_give_the_same_plan(name):
    """CT12: also when a stretch is computed again, as checkpointing does."""
    layer = made(name).train()
    for _ in range(2):
        one, two = layer.run(spikes(8, 3, IN)).plan, layer.run(spikes(8, 3, IN)).plan
        assert torch.equal(one.mask, two.mask) and torch.equal(one.weight, two.weight)
        layer.advance(one)


def test_ties_go_to_the_lowest_index():
    rank = torch.tensor([[1.0, 2.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    assert TopK(2)(rank, rank, False).tolist() == [[False, True, True, False], [True, True, False, False]]
    score = Hash(6, 3, seed=1)
    assert torch.equal(score(torch.tensor([[0.0, 2.0, 2.0, 0, 0, 1.0]])).argmax(), score.table[1])
    assert sorted(score.table.tolist()) == [0, 0, 1, 1, 2, 2]


def test_selections():
    probs = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]])
    assert TopP(0.6)(probs, probs, False).tolist() == [[True, True, False], [False, True, False]]
    assert TopP(1.0)(probs, probs, False).all()
    assert Threshold(0.25)(probs, probs, False).tolist() == [[True, True, False], [False, True, False]]
    choice = ExpertChoice(1.0, TopK(1))
    many = torch.rand(12, 3, generator=torch.Generator().manual_seed(0))
    assert choice(many, many, True).sum(0).tolist() == [4, 4, 4]
    assert torch.equal(choice(many, many, False), TopK(1)(many, many, False))
    skewed = many + torch.tensor([1.0, 0.0, 0.0])
    with pytest.raises(errors.ContractError, match="room for"):
        Capacity(TopK(1), 1.5)(skewed, skewed, True)
    kept = Capacity(TopK(1), 1.5, "count")(skewed, skewed, True)
    assert kept.sum() == kept[:, 0].sum() == 6
    torch.manual_seed(0)
    layer = MoE(
        Router(Linear(IN, 3, std=2.0), Capacity(TopK(1), 0.5, "count")), [LinearExpert(IN, OUT) for _ in range(3)]
    )
    plan = layer.run(spikes(8, 3, IN)).plan
    assert plan.dropped == int(plan.heard.sum()) - int(plan.mask.sum()) > 0
    assert MoE(Router(Linear(IN, 3), TopK(1)), [LinearExpert(IN, OUT)] * 3).run(spikes(8, 3, IN)).plan.dropped == 0


def test_experts_by_trees_and_networks_choose_too():
    torch.manual_seed(0)
    x = spikes(8, 3, IN)
    for score, select, normalise in ((Tree(IN, 5), Threshold(), "none"), (MLP(IN, 5), TopP(0.5), "softmax")):
        layer = MoE(
            Router(score, select, normalise=normalise, tap=WarmUp(2)), [LinearExpert(IN, OUT) for _ in range(5)]
        )
        verify(layer, x)
        assert layer.event_driven()(x)[0].shape == (8, 3, OUT)


def test_schedules_and_measures_of_plans():
    rise = Anneal(1.0, 0.01, 4)
    assert [rise(s) for s in (0, 2, 4, 9)] == pytest.approx([1.0, 0.1, 0.01, 0.01])
    assert Anneal(5.0, 1.0, 4, linear=True)(1) == 4.0
    coefficient = AdaptiveCoefficient(0.1, fixed=0, window=1, most=2.0)
    for loss, wanted in ((1.0, 0.1), (2.0, 0.2), (4.0, 0.2), (2.0, 0.1), (2.0001, 0.1025), (1.9, 0.0974)):
        coefficient.update(loss)
        assert coefficient.value == pytest.approx(wanted, rel=1e-3)
    mask = torch.tensor([[1, 0], [1, 0], [0, 1], [1, 0]], dtype=torch.bool)[:, None]
    heard = torch.tensor([1, 0, 1, 1], dtype=torch.bool)[:, None]
    plan = Plan(
        mask & heard[..., None], mask.float(), mask.float(), mask.float(), heard, torch.tensor([[3], [0], [1], [2]])
    )
    assert route_flips(plan) == 1.0 and union_share(plan, 2) == 0.75
    assert plan.load().tolist() == [2, 1] and plan.load("spikes").tolist() == [5, 1] and plan.active == 0.5


def test_the_execution_is_chosen_by_the_rate():
    torch.manual_seed(0)
    layer = MoE(Router(Linear(IN, 3), TopK(1)), [LinearExpert(IN, OUT) for _ in range(3)]).eval()
    run = Fastest(layer, crossing=0.2)
    quiet, loud = spikes(8, 3, IN, rate=0.05), spikes(8, 3, IN, rate=0.6)
    y, state = run(quiet)
    assert run.choice.execution == "events" and "crossing at 20 %" in str(run.choice)
    torch.testing.assert_close(y, layer(quiet)[0])
    second, _ = run(loud, state)
    assert run.choice.execution == "torch"
    torch.testing.assert_close(second, layer(torch.cat([quiet, loud]))[0][8:])
    ticks = iter(t for ratio in (4.0, 2.0, 0.5) for s in (ratio, 1.0) for t in (0.0, s) * 3)
    timed = Fastest(layer, clock=lambda: next(ticks))
    timed(quiet)
    assert list(timed.ratios.values()) == [4.0, 2.0, 0.5]
    assert timed.crossing == pytest.approx(0.04)  # half way between 2 and 8 %, in the logarithm


@pytest.mark.fault
def test_bad_input_is_named():
    with pytest.raises(errors.UnknownNameError, match="loss-free"):
        recipe("lossfree", IN, OUT)
    with pytest.raises(errors.ParameterError, match="there are 4 experts"):
        recipe("loss-free", IN, OUT, experts=4, k=5)
    with pytest.raises(errors.ParameterError, match="TopK"):
        recipe("loss-free", IN, OUT, k=0)
    for wrong in (lambda: TopP(0.0), lambda: ExpertChoice(0, TopK(1)), lambda: Capacity(TopK(1), 0.0),
                  lambda: ExpertChoice(5.0, TopK(1)).fits(4), lambda: Threshold(-1.0), lambda: blocks(4, 10, 3),
                  lambda: LossFree(4, 0.0), lambda: Capacity(TopK(1), 1.0, "drop"), lambda: Anneal(0.0, 1.0, 5),
                  lambda: recipe("informed", IN, OUT, unit=LIFExpert(IN, OUT)),
                  lambda: recipe("jei-dnn", IN, OUT, exits=(4,)),
                  lambda: recipe("jei-dnn", IN, OUT, price=0.0), lambda: recipe("informed", IN, OUT, sparsity=1.0),
                  lambda: MoE(Router(Linear(IN, 3), TopK(1)), [LinearExpert(IN, OUT)]),
                  lambda: Fastest(made("comet"), 2.0),
                  lambda: recipe("evomoe", IN, OUT, alone=9, sparse=3)):  # fmt: skip
        with pytest.raises(errors.ParameterError):
            wrong()
    layer = made("loss-free")
    for call in (layer, layer.event_driven()):
        for shape in ((0, 3, IN), (4, 0, IN), (4, 3, IN + 1), (4, IN)):
            with pytest.raises(errors.ShapeError):
                call(torch.zeros(shape))
        with pytest.raises(errors.NonFiniteError):
            call(torch.full((4, 3, IN), float("inf")))
    with pytest.raises(errors.UnknownNameError, match="freeze"):
        MoE(Router(Linear(IN, 1), TopK(1)), [LinearExpert(IN, OUT)], policy="freze")
    with pytest.raises(errors.UnknownNameError, match="relu_rms"):
        Router(Linear(IN, 1), TopK(1), normalise="relurms")
    with pytest.raises(errors.ContractError, match="leak"):
        MoE(Router(Linear(IN, 2), TopK(1)), [GRUExpert(IN, 3, OUT) for _ in range(2)])(spikes(8, 3, IN))
    with pytest.raises(errors.ShapeError, match="state"):
        layer(spikes(8, 3, IN), layer(spikes(8, 2, IN))[1])
