"""Recipes of sparse weights: promised patterns at every step, optimiser state, each paper's own check."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import nn

from spikeframe.errors import (
    ConfigError,
    DTypeError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    UnknownNameError,
    UnsupportedLayerError,
)
from spikeframe.learning_rules.sparse_training import masked
from spikeframe.modules.sparsity import iso_flops, schedules, tickets
from spikeframe.modules.sparsity.averaging import average, greedy_soup, prune_retrain
from spikeframe.modules.sparsity.bidirectional import BidirectionalLinear
from spikeframe.modules.sparsity.masks import Decaying, StraightThrough, harden, mask_layers, parametrised, stored
from spikeframe.modules.sparsity.recipes import RECIPES, Recipe, mask_weight, recipe
from spikeframe.modules.sparsity.structure import NM, Block, ConstFanIn, Unstructured

OF_GROUPS = ("sr-ste", "mdgf", "sdgf", "bdwp")
X = torch.rand(64, 40, generator=torch.Generator().manual_seed(1))
Y = torch.rand(64, 20, generator=torch.Generator().manual_seed(2))


def model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 20))


def loss(net: nn.Module) -> torch.Tensor:
    return ((net(X) - Y) ** 2).mean()


def loss_of(net: nn.Module) -> torch.Tensor:
    return loss(net).detach()


def train(net: nn.Module, run: Recipe | None, steps: int, see: Any = None, lr: float = 1e-2, sgd: bool = False) -> Any:
    optimizer: Any = torch.optim.SGD(net.parameters(), lr) if sgd else torch.optim.Adam(net.parameters(), lr)
    if run is not None:
        run.follow(optimizer)
    for step in range(steps):
        optimizer.zero_grad()
        loss(net).backward()
        optimizer.step()
        if see is not None:
            see(step + 1)
    return optimizer


@pytest.mark.exact
@pytest.mark.parametrize("name", RECIPES)
def test_masks_have_exactly_the_promised_pattern_at_every_step(name):
    net = model()
    options = {"m": 20} if name in OF_GROUPS else {}
    run = recipe(name, net, 0.9, 60, seed=3, **options)
    before = float(loss_of(net))
    seen: list[Any] = []

    def see(step: int) -> None:
        masks = run.masks()
        seen.append({n: m.clone() for n, m in masks.items()})
        for layer in ("0", "2"):
            mask = masks[layer]
            if name in OF_GROUPS:
                n = run.rungs(max(0, step - 1)).n if name == "sdgf" else 2
                assert NM(n, 20).holds(mask, n / 20)
            elif name == "srigl":
                fan_in = mask.sum(1)
                assert len(fan_in[fan_in > 0].unique()) == 1
            if name not in ("bdwp", "wgsef", "mdgf", *OF_GROUPS):
                assert bool((net.get_submodule(layer).weight[~mask] == 0).all())
        total = sum(int(m.sum()) for m in masks.values())
        if name == "granet":
            wanted = round(run.falls(step - step % 10) * 2400)
            assert total == wanted
        elif name == "srigl":
            assert total <= 240
        elif name != "sdgf":
            assert total == 240

    train(net, run, 60, see)
    run.finish()
    final = run.masks()
    assert float(loss_of(net)) < before
    assert sum(int(m.sum()) for m in final.values()) == (
        240 if name != "srigl" else int(run.report()["total density"] * 2400 + 0.5)
    )
    for layer, mask in final.items():
        module = net.get_submodule(layer)
        assert torch.equal(masked(module).mask, mask)
        assert bool((module.weight[~mask] == 0).all())
        if name in OF_GROUPS:
            assert NM(2, 20).holds(mask, 0.1)
    moved = any(not torch.equal(a["0"], b["0"]) for a, b in itertools.pairwise(seen))
    assert moved == (name != "random")
    assert run.taken == 60


@pytest.mark.exact
@pytest.mark.parametrize("name", ["set", "rigl", "dst-ee", "srigl", "granet"])
def test_the_optimisers_state_follows_the_mask(name):
    net = model()
    run = recipe(name, net, 0.8, 40, seed=1, every=5)
    before: dict[str, Any] = {}
    changed = [0]

    def see(step: int) -> None:
        for layer, mask in run.masks().items():
            state = optimizer.state[run.trainings[layer].weight] if optimizer else {}
            if step % 5 == 0 and layer in before and state:
                moved = mask ^ before[layer]
                changed[0] += int(moved.sum())
                assert all(bool((state[k][moved] == 0).all()) for k in ("exp_avg", "exp_avg_sq"))
                assert bool((mask_weight(net.get_submodule(layer))[moved] == 0).all())
            before[layer] = mask.clone()

    optimizer: Any = torch.optim.Adam(net.parameters(), 1e-2)
    run.follow(optimizer)
    for step in range(40):
        optimizer.zero_grad()
        loss(net).backward()
        optimizer.step()
        see(step + 1)
    assert changed[0] > 50


def test_structure_decay_gives_every_rung_its_share_of_the_steps():
    run = recipe("sdgf", model(), 0.9, 100, seed=3, m=20, decay=0.6)
    kept = [run.rungs(step).n for step in (0, 14, 15, 29, 30, 44, 45, 99)]
    assert kept == [19, 19, 10, 10, 5, 5, 2, 2]
    assert [rung.n for rung in schedules.nm_ladder(3, 4, "stepwise", 1).entries] == [3]  # no rung twice


# N:M: SR-STE, progressive gradient flow, BDWP.


@pytest.mark.exact
def test_the_gradient_passes_straight_through_and_the_pull_is_the_published_one():
    layer = nn.Linear(8, 4, bias=False)
    dense = layer.weight.detach().clone()
    parametrised(layer, StraightThrough(layer.weight, NM(2, 4), 0.5))
    x = torch.rand(5, 8)
    (layer(x) ** 2).sum().backward()
    mask = NM(2, 4).mask(dense.abs(), 0.5)
    cut = (dense * mask).requires_grad_()
    ((x @ cut.T) ** 2).sum().backward()
    assert torch.equal(layer.weight, dense * mask)
    assert torch.allclose(layer.parametrizations.weight.original.grad, cut.grad, atol=1e-6)
    net = nn.Sequential(nn.Linear(40, 20, bias=False))
    start = net[0].weight.detach().clone()
    run = recipe("sr-ste", net, 0.5, 1, pull=0.3)
    train(net, run, 1, sgd=True, lr=0.1)
    kept = NM(2, 4).mask(start.abs(), 0.5)
    gradient = torch.autograd.grad(((X @ (w := (start * kept).requires_grad_()).T + 0.0 - Y) ** 2).mean(), w)[0]
    expected = start - 0.1 * (gradient + 0.3 * ~kept * start)
    assert torch.allclose(mask_weight(net[0]), expected, atol=1e-6)


def test_the_pull_of_sr_ste_makes_masks_flip_less():
    flips = {}
    for pull in (0.0, 2.0):
        net, seen = model(2), []
        run = recipe("sr-ste", net, 0.75, 60, pull=pull)
        train(net, run, 60, lambda step, run=run, seen=seen: seen.append(run.masks()["0"].clone()), sgd=True, lr=0.3)
        flips[pull] = sum(int((a ^ b).sum()) for a, b in itertools.pairwise(seen))
    assert flips[2.0] < flips[0.0]


@pytest.mark.exact
@pytest.mark.parametrize("flow", ["ste", "masked"])
def test_mask_decay_is_dense_at_one_and_the_pattern_at_zero(flow):
    layer, dense = nn.Linear(8, 4, bias=False), nn.Linear(8, 4, bias=False)
    dense.weight = nn.Parameter(layer.weight.detach().clone())
    parametrised(layer, Decaying(layer.weight, NM(1, 4), 0.25, flow))
    x = torch.rand(5, 8)
    for net in (layer, dense):
        (net(x) ** 2).sum().backward()
    assert torch.equal(layer.weight, dense.weight)  # dense training to the bit
    original: Any = layer.parametrizations.weight.original
    assert torch.equal(original.grad, dense.weight.grad)
    mask = NM(1, 4).mask(dense.weight.detach().abs(), 0.25)
    for factor in (0.4, 0.0):
        masked(layer).factor = factor
        original.grad = None
        (layer(x) ** 2).sum().backward()
        soft = torch.where(mask, 1.0, factor)
        w = (dense.weight.detach() * soft).requires_grad_()
        ((x @ w.T) ** 2).sum().backward()
        assert torch.allclose(layer.weight, w, atol=1e-7)
        assert torch.allclose(original.grad, w.grad * (soft if flow == "masked" else 1.0), atol=1e-6)
    net = model()
    run = recipe("mdgf", net, 0.75, 40, warm=0.25, decay=0.5, flow=flow)
    factors: list[float] = []
    train(net, run, 40, lambda step: factors.append(masked(net[0]).factor))
    assert factors == sorted(factors, reverse=True)
    assert factors[9] == 1.0
    assert factors[30:] == [0.0] * 10


@pytest.mark.exact
def test_bdwp_propagates_errors_through_the_other_pattern():
    torch.manual_seed(0)
    layer = nn.Linear(16, 8)
    both = BidirectionalLinear(layer)
    ahead, back = both.masks()
    assert NM(2, 8).holds(ahead, 0.25)
    assert NM(2, 8, "out").holds(back, 0.25)
    x = torch.rand(3, 5, 16, requires_grad=True)
    y = both(x)
    dy = torch.rand_like(y)
    y.backward(dy)
    weight = layer.weight.detach()
    assert torch.allclose(y, x @ (weight * ahead).T + layer.bias)
    assert torch.allclose(x.grad, dy @ (weight * back), atol=1e-6)
    assert torch.allclose(layer.weight.grad, dy.reshape(-1, 8).T @ x.detach().reshape(-1, 16), atol=1e-5)
    assert torch.allclose(layer.bias.grad, dy.sum((0, 1)))
    full = BidirectionalLinear(layer, 8, 8)
    z = torch.rand(4, 16, requires_grad=True)
    grads = [torch.autograd.grad(net(z).square().sum(), (z, layer.weight)) for net in (full, layer)]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*grads, strict=True))
    macs = both.macs(10)
    assert sum(macs[k] for k in ("forward", "input gradient", "weight gradient")) == macs["dense"] * 1.5
    with pytest.raises(ShapeError, match="pad"):
        BidirectionalLinear(nn.Linear(16, 6))
    with pytest.raises(DTypeError):
        BidirectionalLinear(nn.ReLU())


# Dynamic: DST-EE, SRigL.


def test_exploration_reaches_more_weights_than_gradients_alone():
    ever = {}
    for name, options in (("rigl", {}), ("dst-ee", {"explore": 0.0}), ("more", {"explore": 2.0})):
        net = model(4)
        run = recipe("dst-ee" if name == "more" else name, net, 0.9, 120, every=5, **options)
        train(net, run, 120)
        ever[name] = sum(run.report()["ever active"].values())
    assert ever["rigl"] == ever["dst-ee"]  # c = 0 is RigL
    assert ever["more"] > 1.05 * ever["rigl"]


def test_the_condensed_form_of_constant_fan_in_is_the_masked_layer():
    net = model()
    run = recipe("srigl", net, 0.8, 60, every=5)
    train(net, run, 60)
    run.finish()
    layer, mask = net[0], masked(net[0]).mask
    on = mask.any(1)
    fan_in = int(mask[on].sum(1)[0])
    index = mask[on].nonzero()[:, 1].reshape(-1, fan_in)
    values = layer.weight[on].gather(1, index)
    out = torch.zeros(64, 40)
    out[:, on] = (X[:, index] * values).sum(-1)
    assert torch.allclose(out + layer.bias, layer(X), atol=1e-6)
    assert int(masked(net[2]).mask.any(1).sum()) == 20  # none of the last layer is switched off


@pytest.mark.parametrize("name", ["random", "srigl", "granet", "sr-ste", "bdwp"])
def test_a_finished_model_is_stored_sparse_and_answers_alike(name):
    net = model()
    run = recipe(name, net, 0.75, 20, every=5, **({"m": 4} if name in OF_GROUPS else {}))
    train(net, run, 20)
    run.finish()
    small = stored(net, backend="reference", path="events")
    assert torch.allclose(small(X), net(X), atol=1e-5)
    kept = sum(int(m.sum()) for m in run.masks().values())
    assert sum(p.numel() for p in small.parameters()) == kept + 60  # with biases
    assert isinstance(net[0], nn.Linear)


# Tickets and random search.


def over_time(net: nn.Module, weights: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    return torch.func.functional_call(net, weights, (x,))


def test_concrete_tickets_have_the_exact_count_and_answer_more_like_the_dense_network():
    net = model(1)
    train(net, None, 100)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    masks = tickets.concrete_tickets(net, [X[:32], X[32:]], 0.8, steps=120, answer=over_time)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert sum(int(m.sum()) for m in masks.values()) == 480
    assert all(bool(m.any(1).all()) for m in masks.values())

    def divergence(chosen: dict[str, torch.Tensor]) -> float:
        given = {
            f"{n}.weight": net.get_submodule(n).weight.detach() * m / m.float().mean().sqrt() for n, m in chosen.items()
        }
        p, q = (over_time(net, g, X).log_softmax(-1) for g in (given, {}))
        return float((p.exp() * (p - q)).sum(-1).mean().detach())

    shuffled = []
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        mixed = {
            n: m.flatten()[torch.randperm(m.numel(), generator=generator)].reshape(m.shape) for n, m in masks.items()
        }
        shuffled.append(divergence(mixed))
    assert divergence(masks) < min(shuffled)
    for bad in (1.0, -0.1, 0.0):
        with pytest.raises(ParameterError):
            tickets.concrete_tickets(net, [X], bad)


@pytest.mark.exact
def test_random_search_keeps_exact_numbers_of_neurons_and_the_best_loss():
    net = model(3)

    def score(m: nn.Module, weights: dict[str, Any]) -> float:
        return float(((over_time(m, weights, X) - Y) ** 2).mean().detach())

    masks, losses = tickets.random_search(net, score, 0.25, candidates=30)
    on = masks["0"].any(1)
    assert int(on.sum()) == 10
    assert torch.equal(masks["0"], on[:, None].expand(40, 40))
    assert torch.equal(masks["2"], on.expand(20, 40))
    given = {f"{n}.weight": net.get_submodule(n).weight.detach() * m for n, m in masks.items()}
    assert score(net, given) == min(losses)
    assert len(set(losses)) > 20
    with pytest.raises(ParameterError, match="chain"):
        tickets.random_search(nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 2)), score, 0.5)
    with pytest.raises(ParameterError, match="keep"):
        tickets.random_search(net, score, 0.0)


# Averages.


def retrain(net: nn.Module, seed: int, seen: Any) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(4):
        for rows in torch.randperm(64, generator=generator).split(16):
            optimizer.zero_grad()
            ((net(X[rows]) - Y[rows]) ** 2).mean().backward()
            optimizer.step()
        seen()


@pytest.mark.parametrize("kind", ["soup", "swamp"])
def test_cycles_of_pruning_keep_one_mask_and_lose_no_more_than_a_mean_member(kind):
    net = model(5)
    retrain(net, 9, lambda: None)
    start = {k: v.detach().clone() for k, v in net.state_dict().items()}
    members: list[float] = []

    def watched(m: nn.Module, seed: int, seen: Any) -> None:
        retrain(m, seed, seen)
        members.append(float(loss_of(m)))

    options: dict[str, Any] = {"rewind": start, "tail": 0.5} if kind == "swamp" else {}
    states = prune_retrain(net, watched, [0.5, 0.8], members=3, **options)
    assert len(states) == 2
    assert len(members) == 6
    masks = {name: masked(net.get_submodule(name)).mask for name in ("0", "2")}
    assert sum(int(m.sum()) for m in masks.values()) == 480
    assert all(bool((net.get_submodule(n).weight[~m] == 0).all()) for n, m in masks.items())
    assert float(loss_of(net)) <= sum(members[3:]) / 3 * 1.02
    assert all(torch.equal(a, b) for a, b in zip(average([states[1]] * 3).values(), states[1].values(), strict=True))


@pytest.mark.exact
def test_a_soup_of_one_rewound_member_is_iterative_magnitude_pruning():
    net = model(5)
    start = {k: v.detach().clone() for k, v in net.state_dict().items()}
    retrain(net, 9, lambda: None)
    size = torch.cat([net[k].weight.detach().abs().flatten() for k in (0, 2)])
    cut = size.sort(descending=True).values[1199]
    expected = model(5)
    mask_layers(expected, {n: net.get_submodule(n).weight.detach().abs() >= cut for n in ("0", "2")})
    retrain(expected, 0, lambda: None)
    prune_retrain(net, retrain, [0.5], members=1, rewind=start)
    assert torch.equal(net[0].weight, expected[0].weight)
    assert torch.equal(net[2].weight, expected[2].weight)


@pytest.mark.fault
def test_averages_of_unlike_models_are_refused():
    nets = [model(k) for k in range(2)]
    for k, net in enumerate(nets):
        mask_layers(net, {"0": torch.rand(40, 40, generator=torch.Generator().manual_seed(k)) < 0.5})
    with pytest.raises(ConfigError, match="share one mask"):
        average([net.state_dict() for net in nets])
    with pytest.raises(ConfigError, match="not of one make"):
        average([model().state_dict(), nn.Linear(3, 2).state_dict()])
    with pytest.raises(ParameterError, match="no model"):
        average([])
    with pytest.raises(ParameterError, match="rise"):
        prune_retrain(model(), retrain, [0.8, 0.5])
    net = model()
    states = [{k: v + 0.5 * s for k, v in net.state_dict().items()} for s in (0.0, 1.0, 0.1)]
    best = greedy_soup(net, states, lambda m: -float(loss_of(m)))
    net.load_state_dict(best)
    mixed = float(loss_of(net))
    for state in states:
        net.load_state_dict(state)
        assert mixed <= float(loss_of(net))


# Sparse-IFT.


@pytest.mark.exact
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.75, 0.9])
def test_larger_sparse_layers_have_exactly_the_dense_number_of_weights(sparsity):
    layers = iso_flops.wide([34, 40, 24, 10], sparsity)
    assert iso_flops.weights(*layers) == 34 * 40 + 40 * 24 + 24 * 10
    assert layers[0].out_features == round(40 / math.sqrt(1 - sparsity))
    for make in (iso_flops.parallel, iso_flops.doped):
        assert iso_flops.weights(make(34, 40, sparsity)) == 34 * 40
    assert iso_flops.weights(*iso_flops.factorized(34, 40, sparsity)) == 34 * 40
    branches = iso_flops.parallel(34, 40, sparsity)
    assert len(branches.branches) == round(1 / (1 - sparsity))
    assert branches(torch.rand(5, 34)).shape == (5, 40)
    if sparsity == 0.0:
        torch.manual_seed(1)
        dense = nn.Linear(34, 40, bias=False)
        torch.manual_seed(1)
        assert torch.equal(iso_flops.parallel(34, 40, 0.0)(X[:, :34]), dense(X[:, :34]))
    for make in (iso_flops.parallel, iso_flops.doped, iso_flops.factorized):
        with pytest.raises(ParameterError, match="sparsity"):
            make(3, 4, 1.0)


# Group envelope on blocks.


def test_the_envelope_leaves_the_promised_blocks_and_trains_on():
    net = model()
    run = recipe("wgsef", net, 0.75, 60, structure=Block(4, 4), budget="uniform", strength=0.1)
    before = float(loss_of(net))
    train(net, run, 60)
    run.finish()
    assert float(loss_of(net)) < before
    for name in ("0", "2"):
        assert Block(4, 4).holds(masked(net.get_submodule(name)).mask, 0.25)


# Bad input.


@pytest.mark.fault
def test_recipes_refuse():
    with pytest.raises(UnknownNameError, match="'granet'"):
        recipe("grannet", model(), 0.5, 10)
    with pytest.raises(UnknownNameError, match="'every'"):
        recipe("rigl", model(), 0.5, 10, evry=3)
    for name in RECIPES:
        for sparsity in (1.0, -0.5, math.nan, 1.5):
            with pytest.raises((ParameterError, NonFiniteError), match="sparsity"):
                recipe(name, model(), sparsity, 10)
    with pytest.raises(ParameterError, match="steps"):
        recipe("set", model(), 0.5, 0)
    with pytest.raises(UnknownNameError, match="linear layer"):
        recipe("set", model(), 0.5, 10, layers=["1"])
    with pytest.raises(UnsupportedLayerError, match="no linear layer"):
        recipe("set", nn.ReLU(), 0.5, 10)
    with pytest.raises(ParameterError, match="no whole number"):
        recipe("sr-ste", model(), 0.9, 10)
    with pytest.raises(ShapeError, match="pad"):
        recipe("sr-ste", model(), 0.5, 10, m=16)
    net = model()
    recipe("set", net, 0.5, 10)
    with pytest.raises(ConfigError, match="mask already"):
        recipe("set", net, 0.5, 10)
    with pytest.raises(ParameterError, match="start"):
        recipe("granet", model(), 0.5, 10, start=0.0)
    with pytest.raises(UnknownNameError, match="masked"):
        recipe("mdgf", model(), 0.5, 10, flow="mask")
    with pytest.raises(UnsupportedLayerError, match="no mask"):
        harden(nn.Linear(2, 2))
    with pytest.raises(UnknownNameError):
        mask_layers(model(), {"7": torch.ones(2, 2)})
    assert ConstFanIn().holds(Unstructured().mask(torch.ones(3, 4), 1.0), 1.0)
