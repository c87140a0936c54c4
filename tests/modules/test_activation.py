"""Sparse activity: gates, event-driven runs, calibrators, regularisers, and each paper's own check."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spikeframe.adapters.spiking import verify
from spikeframe.errors import ConfigError, DTypeError, NonFiniteError, ParameterError, ShapeError, UnknownNameError
from spikeframe.modules.activation import calibrators, regularisers
from spikeframe.modules.activation.budget import EventBudget
from spikeframe.modules.activation.core_set import CoreSet
from spikeframe.modules.activation.gated_block import GatedBlock
from spikeframe.modules.activation.gated_linear import GatedLinear
from spikeframe.modules.activation.gates import ActivityGate, Elbow, StatTopK, Threshold, TopK, statistical_threshold
from spikeframe.modules.activation.low_rank import SplitLinear
from spikeframe.modules.activation.positions import PositionGate, Positions
from spikeframe.modules.activation.recipes import (
    RECIPES,
    Flops,
    ProSparse,
    chess,
    loss_cuts,
    r_sparse,
    recipe,
    spark,
    wina,
)
from spikeframe.modules.activation.winners import KWinnersLIF
from spikeframe.neurons import LIF


def normal(*shape: int, seed: int = 0, dtype: Any = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def grid(x: torch.Tensor) -> torch.Tensor:
    """Round to multiples of 1/16, so that sums are exact."""
    return (x * 16).round() / 16


# Gates.


@pytest.mark.exact
def test_selectors_choose_what_they_say():
    x = normal(7, 5, 33)
    score = x.abs()
    kept = TopK(6).mask(score)
    assert torch.equal(kept.sum(-1), torch.full((7, 5), 6))
    assert bool((torch.where(kept, score, 9.0).amin(-1) > torch.where(kept, -1.0, score).amax(-1)).all())
    ties = TopK(2).mask(torch.tensor([[1.0, 1.0, 1.0, 0.0]]))
    assert ties.tolist() == [[True, True, False, False]]
    assert torch.equal(ActivityGate(TopK(33))(x), x)  # k = n is no gate
    assert torch.equal(ActivityGate(Threshold(0.5))(x), x * (score > 0.5))
    each = torch.linspace(0, 1, 33)
    assert torch.equal(ActivityGate(Threshold(each))(x), x * (score > each))
    assert torch.equal(ActivityGate(Threshold(0.5), operator="soft")(x), torch.relu(x - 0.5))
    assert torch.equal(ActivityGate(Threshold(0.5), operator="fat")(x), x * (x > 0.5))
    scale = torch.rand(33)
    assert torch.equal(ActivityGate(TopK(4), scale)(x) != 0, TopK(4).mask(score * scale))


@pytest.mark.exact
def test_the_elbow_is_the_hand_case_and_never_empty():
    assert Elbow().mask(torch.tensor([10.0, 9, 8, 1, 1, 1])).tolist() == [True] * 3 + [False] * 3
    assert bool(Elbow().mask(torch.ones(5)).all())


@pytest.mark.statistical
def test_the_statistical_top_k_keeps_about_k_normal_values():
    x = normal(2000, 1024, seed=3)
    for k, deviation in ((8, 2.5), (82, 5.5), (256, 7.9)):
        kept = (x > statistical_threshold(x, k)).sum(-1).double()
        assert abs(float(kept.mean()) - k) < 0.03 * k
        assert float(kept.std()) == pytest.approx(deviation, rel=0.2)


def test_gradients_pass_the_statistics_of_the_threshold():
    x = normal(3, 9, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(ActivityGate(StatTopK(3), operator="soft"), (x,), eps=1e-7)
    y = normal(2, 12, dtype=torch.float64).requires_grad_()
    gate = ActivityGate(TopK(4), torch.rand(12))
    (gate(y) * torch.arange(12.0)).sum().backward()
    assert torch.equal(y.grad, torch.arange(12.0) * (gate(y) != 0))


@pytest.mark.fault
def test_gates_refuse():
    for make, error in (
        (lambda: ActivityGate(TopK(2), operator="harder"), UnknownNameError),
        (lambda: ActivityGate(TopK(2), operator="soft"), ConfigError),
        (lambda: ActivityGate(StatTopK(2), operator="fat"), ConfigError),
        (lambda: ActivityGate(StatTopK(2), torch.ones(3), "soft"), ConfigError),
        (lambda: ActivityGate(TopK(2), torch.ones(3, 2)), ShapeError),
        (lambda: TopK(0), ParameterError),
        (lambda: StatTopK(-1), ParameterError),
        (lambda: Threshold(-0.1), ParameterError),
        (lambda: Threshold(math.nan), NonFiniteError),
        (lambda: statistical_threshold(torch.rand(3, 4), 4), ParameterError),
        (lambda: ActivityGate(TopK(2))(torch.tensor([1.0, math.nan])), NonFiniteError),
        (lambda: ActivityGate(TopK(2), torch.ones(3))(torch.rand(2, 4)), ShapeError),
        (lambda: GatedLinear(nn.ReLU(), ActivityGate(TopK(2))), DTypeError),
        (lambda: GatedLinear(nn.Linear(4, 3), ActivityGate(TopK(2)))(torch.rand(2, 3, 5)), ShapeError),
        (lambda: SplitLinear(nn.Linear(4, 3), ActivityGate(TopK(2)), 4), ParameterError),
        (lambda: EventBudget(0), ParameterError),
        (lambda: EventBudget(2, torch.ones(3))(torch.rand(2, 3, 5)), ShapeError),
        (lambda: CoreSet(2, 0.0), ParameterError),
        (lambda: KWinnersLIF(9)(torch.rand(2, 3, 5)), ParameterError),
        (lambda: Positions((4, 4), 1.0), ParameterError),
        (lambda: Positions((4, 4), 0.5, scores=torch.rand(3, 4)), ShapeError),
        (lambda: Positions((4, 4), 0.5).mask(5, 4), ParameterError),
        (lambda: wina(nn.Linear(4, 3), 1.0), ParameterError),
        (lambda: wina(nn.Linear(4, 3), 0.5, torch.rand(9, 5)), ShapeError),
        (lambda: r_sparse(nn.Linear(4, 3), torch.rand(9, 5), 0.5), ShapeError),
        (lambda: calibrators.cett(torch.rand(9, 5), torch.rand(3, 4), 0.1), ShapeError),
        (lambda: calibrators.cett(torch.rand(9, 4), torch.rand(3, 4), 1.5), ParameterError),
        (lambda: calibrators.quantile(torch.rand(0), 0.5), ParameterError),
        (lambda: calibrators.quantile(torch.tensor([math.nan]), 0.5), NonFiniteError),
        (lambda: calibrators.loss_p(lambda t: math.nan), NonFiniteError),
        (lambda: calibrators.greedy(lambda s: 0.0, [], 0.5), ConfigError),
        (lambda: recipe("wania"), UnknownNameError),
    ):  # fmt: skip
        with pytest.raises(error):
            make()
    with pytest.raises(UnknownNameError, match="'coreinfer'"):
        recipe("coreinfr")
    assert all(recipe(name) is made for name, made in RECIPES.items())


# Event-driven runs.


@pytest.mark.exact
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "gate",
    [ActivityGate(TopK(3)), ActivityGate(Threshold(0.8)), ActivityGate(StatTopK(4), operator="soft")],
    ids=["top-k", "threshold", "statistical"],
)
def test_event_driven_gates_equal_the_clocked_form_to_the_bit(gate, bias):
    x, dense = grid(normal(6, 3, 13)), nn.Linear(13, 9, bias=bias)
    with torch.no_grad():
        for p in dense.parameters():
            p.copy_(grid(p * 4))
    layer = GatedLinear(dense, gate)
    y, state = layer(x)
    run = layer.event_driven()
    found, after = run(x)
    exact = gate.operator == "hard"
    assert state is None
    assert after is None
    assert torch.equal(found, y) if exact else torch.allclose(found, y, atol=1e-6)
    passed = gate(x)
    assert run.counts.syn_mac + run.counts.syn_ac == int((passed != 0).sum()) * 9
    assert run.counts.syn_ac == int((passed.abs() == 1).sum()) * 9
    assert run.counts.neu_cmp >= 6 * 3 * 13
    assert run.counts.syn_mac_dense == 6 * 3 * 13 * 9
    silent = run(torch.zeros(2, 1, 13))[0]
    assert torch.equal(silent, (torch.zeros(9) if dense.bias is None else dense.bias.detach()).expand(2, 1, 9))
    early = layer(torch.cat([x[:4], 9 * x[4:]]))[0]
    assert torch.equal(early[:4], y[:4])  # causal


@pytest.mark.exact
@pytest.mark.parametrize("kind", ["spark", "chess"])
def test_event_driven_blocks_read_only_rows_and_columns_of_units_that_pass(kind):
    torch.manual_seed(0)
    x = (normal(5, 4, 20) > 0.5).float()
    if kind == "spark":
        block = spark(20, 40, 7, 6, 8)
    else:
        layers = [nn.Linear(20, 40, bias=False), nn.Linear(20, 40, bias=False), nn.Linear(40, 7, bias=False)]
        block = chess(*layers, x, 0.8)
    y, _ = block(x)
    run = block.event_driven()
    found, _ = run(x)
    assert torch.allclose(found, y, atol=1e-6)
    first, second = block.halves(x)
    units = block.gated(first).detach() != 0
    passed = int(units.sum())
    assert 0 < passed < 0.3 * units.numel()
    assert run.active == pytest.approx(passed / units.numel())
    expected = int((first != 0).sum()) * 40 + int((units.sum(-1) * (second != 0).sum(-1)).sum())
    product = block.gated(first) * block.up(second)
    assert run.counts.syn_ac + run.counts.syn_mac == expected + int((product != 0).sum()) * 7
    assert run.counts.syn_mac_dense == 20 * (block.key.weight.numel() + block.up.weight.numel() + 40 * 7)
    with pytest.raises(ShapeError):
        GatedBlock(nn.Linear(3, 4, bias=False), nn.Linear(3, 5, bias=False), nn.Linear(4, 2, bias=False), block.gate)
    with pytest.raises(ParameterError, match="bias"):
        GatedBlock(nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(4, 2), block.gate)


@pytest.mark.parametrize("kind", ["wina", "spark", "r-sparse", "budget", "core", "winners"])
def test_the_contract_of_layers_on_spikes_holds(kind):
    torch.manual_seed(3)
    x = (normal(8, 3, 20, seed=5) > 0.3).float() * (1.0 + torch.arange(20.0) / 20)
    dense = nn.Linear(20, 9)
    verify({
        "wina": lambda: wina(dense, 0.7), "spark": lambda: spark(20, 40, 7, 6),
        "r-sparse": lambda: SplitLinear(dense, ActivityGate(TopK(5)), 4), "budget": lambda: EventBudget(4),
        "core": lambda: CoreSet(3, 0.5), "winners": lambda: KWinnersLIF(5, tau_m=5.0),
    }[kind](), x)  # fmt: skip


# WINA, CHESS, R-Sparse.


def uneven(seed: int = 0) -> tuple[nn.Linear, torch.Tensor]:
    """Return a layer with uneven column norms, and heavy-tailed inputs."""
    torch.manual_seed(seed)
    layer = nn.Linear(96, 64, bias=False)
    with torch.no_grad():
        layer.weight.mul_(torch.exp(normal(96, seed=seed + 1)))
    return layer, normal(50, 4, 96, seed=seed + 2) * torch.exp(0.5 * normal(50, 4, 96, seed=seed + 3))


def error(made: Any, layer: Any, x: torch.Tensor) -> float:
    with torch.no_grad():
        found, wanted = made(x)[0], layer(x)
        return float(((found - (wanted[0] if isinstance(wanted, tuple) else wanted)) ** 2).sum() / (
            (wanted[0] if isinstance(wanted, tuple) else wanted) ** 2).sum())  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_column_norms_lower_the_error_of_gating(seed):
    layer, x = uneven(seed)
    for inputs in (None, x):
        plain, weighted = (error(wina(layer, 0.65, inputs, w), layer, x) for w in (False, True))
        assert weighted < 0.8 * plain
    with torch.no_grad():
        layer.weight.div_(layer.weight.norm(dim=0))
    assert wina(layer, 0.65, None, True)(x)[0].equal(wina(layer, 0.65, None, False)(x)[0])
    gate = wina(layer, 0.65, x).gate
    assert float((gate(x) == 0).float().mean()) == pytest.approx(0.65, abs=2e-4)


def test_greedy_spreads_the_sparsity_to_where_it_hurts_least():
    strong, weak = [nn.Linear(60, 20, bias=False) for _ in range(2)]
    with torch.no_grad():
        weak.weight.mul_(0.1)
    x = normal(40, 2, 60)

    def hurt(levels: list[float]) -> float:
        return sum(
            float(((wina(la, min(s, 0.98))(x)[0] - la(x)) ** 2).sum().detach())
            for la, s in zip((strong, weak), levels, strict=True)
        )

    found = calibrators.greedy(hurt, [1200, 1200], 0.5)
    assert sum(found) / 2 == pytest.approx(0.5)
    assert found[1] > found[0]
    assert hurt(found) < hurt([0.5, 0.5])


@pytest.mark.parametrize("seed", range(2))
def test_a_threshold_per_channel_beats_one_for_all(seed):
    torch.manual_seed(seed)
    layers = [nn.Linear(24, 48, bias=False), nn.Linear(24, 48, bias=False), nn.Linear(48, 16, bias=False)]
    with torch.no_grad():
        layers[1].weight.mul_(torch.exp(1.5 * normal(48, 1, seed=seed)))
    x = normal(60, 3, 24, seed=seed + 5)
    dense = GatedBlock(*layers, ActivityGate(Threshold(0.0)), activation=nn.functional.silu, inside=False)
    errors = {}
    for per_channel in (False, True):
        block = chess(*layers, x, 0.7, per_channel=per_channel)
        assert float((block.gated(x) == 0).float().mean()) == pytest.approx(0.7, abs=2e-4)
        errors[per_channel] = error(block, dense, x)
    assert errors[True] < 0.7 * errors[False]


def test_the_split_layer_is_exact_at_full_rank_and_never_worse_than_gating():
    layer, x = uneven()
    full = SplitLinear(layer, ActivityGate(TopK(10)), 64)
    assert torch.allclose(full(x)[0], layer(x), atol=1e-3)
    made = r_sparse(layer, x, 0.5)
    columns = error(r_sparse(layer, x, 0.5, splits=()), layer, x)
    assert error(made, layer, x) <= columns
    part = r_sparse(layer, x, 0.5, splits=(0.5,))
    assert part.rank in (0, int(0.25 * 64 * 96 / 160))
    low = SplitLinear(layer, ActivityGate(TopK(10), layer.weight.detach().norm(dim=0)), 5)
    run = low.event_driven()
    assert torch.allclose(run(x)[0], low(x)[0], atol=1e-4)
    kept = 50 * 4 * 10
    assert run.counts.syn_mac == kept * 64 + (x.numel() - kept) * 5 + 50 * 4 * 5 * 64
    with torch.no_grad():
        layer.weight.copy_(normal(64, 4) @ normal(4, 96, seed=9))
    thin = r_sparse(layer, normal(50, 4, 96), 0.5, splits=(0.0, 0.5))
    assert thin.rank >= 4  # a layer of rank 4 is served exactly by its singular vectors
    assert error(thin, layer, normal(50, 4, 96)) < 1e-8


# Spark on membranes, event budgets, cores.


@pytest.mark.statistical
def test_a_population_that_follows_its_statistics_has_k_winners():
    x = 0.3 * normal(60, 8, 400, seed=2)
    short, _ = KWinnersLIF(24, tau_m=0.3, dt=1.0, v_th=1e-3)(x)  # membranes are normal
    assert float(short.sum(-1).mean()) == pytest.approx(24, rel=0.03)
    neurons = KWinnersLIF(24, tau_m=20.0, dt=1.0, v_th=1e-3)
    spikes, v = neurons(x)
    assert 8 < float(spikes[20:].sum(-1).mean()) < 24  # resets thin the upper tail
    first, middle = neurons(x[:25])
    rest, end = neurons(x[25:], middle)
    assert torch.equal(torch.cat([first, rest]), spikes)
    assert torch.equal(end, v)
    x.requires_grad_()
    neurons(x)[0].sum().backward()
    assert int((x.grad != 0).sum()) > 0.9 * x.numel()


@pytest.mark.exact
def test_without_inhibition_winners_are_a_lif_that_resets_to_zero():
    x = 0.5 * normal(50, 4, 30, seed=6)
    plain, _ = LIF(tau_m=20.0, dt=1.0, reset="value")(x)
    ours, _ = KWinnersLIF(30, tau_m=20.0, dt=1.0)(x)
    assert float(plain.sum()) > 50
    assert float((plain != ours).float().mean()) < 0.02


@pytest.mark.exact
def test_an_event_budget_conserves_charge_and_sends_at_most_k():
    x = (normal(40, 5, 30) > 1.0).float() * 2
    budget = EventBudget(3, torch.rand(30))
    sent, waiting = budget(x)
    assert int((sent != 0).sum(-1).max()) == 3
    assert torch.equal(sent.sum(0) + waiting, x.sum(0))
    assert float(waiting.sum()) > 0
    first, state = budget(x[:17])
    assert torch.equal(torch.cat([first, budget(x[17:], state)[0]]), sent)
    lost, nothing = EventBudget(3, defer=False)(x)
    assert not nothing.any()
    assert float(lost.sum()) < float(x.sum())
    assert torch.equal(EventBudget(30)(x)[0], x)


def test_a_core_is_chosen_once_and_is_alike_within_a_class():
    generator = torch.Generator().manual_seed(4)
    rates = torch.rand(2, 50, generator=generator) ** 3
    labels = torch.arange(20) % 2
    x = (torch.rand(30, 20, 50, generator=generator) < rates[labels]).float()
    core = CoreSet(10, 0.3)
    y, state = core(x)
    chosen = core.core(state, 50)
    assert torch.equal(y[:10], x[:10])
    assert torch.equal(y[10:], x[10:] * chosen)
    assert (chosen.sum(1) == 15).all()
    assert torch.equal(CoreSet(10, 1.0)(x)[0], x)
    first, middle = core(x[:14])
    assert torch.equal(torch.cat([first, core(x[14:], middle)[0]]), y)
    both = (chosen[:, None] & chosen).sum(-1) / (chosen[:, None] | chosen).sum(-1)
    same = (labels[:, None] == labels) & ~torch.eye(20, dtype=torch.bool)
    assert float(both[same].mean()) > float(both[labels[:, None] != labels].mean()) + 0.1
    assert core.spared(30, 50) == 20 * 35
    graded = torch.tensor([[[3.0, 2.0, 1.0, -1.0, 0.0]]])
    assert CoreSet(1, 0.5, 0.34).counted(graded).tolist() == [[[1.0, 1.0, 0.0, 0.0, 0.0]]]


# Calibrators, regularisers, schedules.


def test_the_tail_error_rises_with_the_cut_and_is_met():
    a, weight = torch.relu(normal(200, 60)), normal(20, 60, seed=1) * torch.rand(60)
    cuts = torch.linspace(0, 6, 25)
    errors = [calibrators.tail_error(a, weight, float(t)) for t in cuts]
    assert errors == sorted(errors)
    direct = 0.0
    norms = weight.norm(dim=0)
    for row in a:
        lost = weight @ (row * (row * norms <= cuts[8]))
        direct += float(lost.norm() / (weight @ row).norm()) / 200
    assert errors[8] == pytest.approx(direct, rel=1e-5)
    cut = calibrators.cett(a, weight, 0.2)
    assert calibrators.tail_error(a, weight, cut) <= 0.2 < calibrators.tail_error(a, weight, cut + 1e-2)
    active = float((a * norms > cut).float().mean())
    assert active < 0.8 * float((a > 0).float().mean())
    assert calibrators.cett(a, weight, 1.0) == pytest.approx(float((a * norms).max()))


def test_the_loss_rises_by_the_given_per_cent():
    torch.manual_seed(2)
    first, second = nn.Linear(20, 80), nn.Linear(80, 5)
    x = normal(400, 20)
    a = torch.relu(first(x)).detach()
    labels = second(a).argmax(1)

    def loss(layers: list[GatedLinear]) -> float:
        return float(nn.functional.cross_entropy(layers[0](a[None])[0][0], labels).detach())

    dense = float(nn.functional.cross_entropy(second(a), labels).detach())
    made, target = loss_cuts([second], [a], loss, p=1.0, tolerance=1e-4)
    ratio = math.exp(loss(made) - dense)
    assert 1.005 < ratio <= 1.0100001
    assert 0 < target < 1
    assert float((made[0].gate(a) != 0).float().mean()) < float((a != 0).float().mean())


def test_even_penalties_are_their_formulas():
    a = torch.relu(normal(30, 4, 12))
    m = a.abs().mean((0, 1))
    assert float(regularisers.l1(a)) == pytest.approx(float(m.sum()))
    assert float(regularisers.flops(a)) == pytest.approx(float((m**2).sum()))
    assert float(regularisers.target_rate(a, 0.3)) == pytest.approx(float(((m - 0.3) ** 2).sum()))
    one = torch.zeros(5, 8)
    one[:, 2] = 1.0
    assert regularisers.evenness(one) == pytest.approx(8.0)
    assert regularisers.evenness(torch.ones(5, 8)) == pytest.approx(1.0)
    assert [Flops(2.0, 10).penalty([a], t) for t in (0, 10)] == pytest.approx([0.0, 2 * float((m**2).sum())])


def test_the_flops_penalty_leaves_units_more_even_than_l1_at_as_many_spikes():
    """Units of uneven use, descending the penalty alone until half of the activity is left."""
    bias = torch.linspace(-1.0, 1.5, 40)
    noise = normal(400, 40, seed=8)
    even = {}
    for name, penalty in (("l1", regularisers.l1), ("flops", regularisers.flops)):
        shift = bias.clone().requires_grad_()
        start = float(torch.relu(noise + bias).mean())
        while float(torch.relu(noise + shift).detach().mean()) > 0.5 * start:
            (gradient,) = torch.autograd.grad(penalty(torch.relu(noise + shift)), shift)
            shift = (shift - 0.05 * gradient).detach().requires_grad_()
        even[name] = regularisers.evenness(torch.relu(noise + shift).detach())
    assert even["flops"] < 0.95 * even["l1"]


def test_prosparse_rises_in_stages_and_shifts_the_threshold():
    made = ProSparse((0.1, 0.1, 0.5, 1.0), (5, 10, 20), shift=0.2)
    values = [made.coefficient(t) for t in range(40)]
    assert values[:6] == pytest.approx([0.1] * 6)
    assert values == sorted(values)
    assert [values[15], values[35]] == pytest.approx([0.5, 1.0])
    assert abs(values[16] - values[15]) < 0.01  # flat where a stage begins
    a = torch.relu(normal(6, 3, 10))
    assert float(made.penalty([a, 3 * a], 35)) == pytest.approx(2 * float(regularisers.l1(a)))
    assert torch.equal(made.gate()(a), a * (a > 0.2))


# Places of images.


@pytest.mark.exact
def test_places_are_left_out_in_all_channels_and_counted_exactly():
    gate = PositionGate(Positions((16, 12), 0.3, seed=2))
    gate.positions.advance()
    y = gate(torch.ones(2, 3, 5, 16, 12))
    off = y[0, 0, 0] == 0
    assert int(off.sum()) == round(0.3 * 192)
    assert bool(((y == 0) == off).all())
    half = gate.positions.mask(8, 6)
    assert int((~half).sum()) == round(0.3 * 48)
    pooled = gate.positions.scores.reshape(8, 2, 6, 2).mean((1, 3))
    assert float(pooled[half].min()) >= float(pooled[~half].max())
    density = torch.arange(192.0).reshape(16, 12)
    kept = Positions((16, 12), 0.25, scores=density)
    kept.advance()
    assert torch.equal(kept.mask(16, 12), density >= 48)


@pytest.mark.exact
def test_maps_change_on_sparse_steps_and_stay_when_frozen():
    places = Positions((8, 8), 0.5, freeze=8)
    seen = []
    for _ in range(12):
        places.advance()
        seen.append((places.now, places.scores.clone()))
    levels = [round(level, 6) for level, _ in seen]
    assert levels[1::2][:3] == [0.0] * 3  # dense steps between
    assert levels[0] < levels[2] < levels[4] < levels[6] < 0.5
    assert levels[7:] == [0.5] * 5
    assert not torch.equal(seen[0][1], seen[2][1])
    assert all(torch.equal(scores, seen[7][1]) for _, scores in seen[7:])
    assert np.isclose(places.rises(4), 0.5 * (1 - 0.25))
