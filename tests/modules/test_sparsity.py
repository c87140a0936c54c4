"""Parts of sparse weights: patterns, saliency, budgets, schedules, proximal steps, reconstruction, live synapses."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import spikeframe as sf
from spikeframe.errors import (
    ConfigError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    UnknownNameError,
)
from spikeframe.learning_rules.rewiring import Activity, Rewiring, Scores
from spikeframe.learning_rules.sparse_training import SparseTraining, masked, sparsify
from spikeframe.modules.sparsity import budgets, proximal, reconstruction, schedules
from spikeframe.modules.sparsity.calibration import calibrate
from spikeframe.modules.sparsity.one_shot import ONE_SHOT, prune, pruned
from spikeframe.modules.sparsity.rewiring import SRigL, StructuredRewiring
from spikeframe.modules.sparsity.saliency import SALIENCY, of_synapses, saliency
from spikeframe.modules.sparsity.structure import NM, Block, Channel, ConstFanIn, Unstructured

SHAPE = (12, 24)
STRUCTURES = [Unstructured(), NM(2, 4), NM(1, 8), NM(1, 3, "out"), ConstFanIn(), Block(2, 3), Channel()]


# Patterns.


@pytest.mark.exact
@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
@pytest.mark.parametrize("density", [0.05, 0.3, 0.75, 1.0])
def test_a_mask_has_exactly_the_promised_pattern_whatever_the_ties(structure, density):
    generator = torch.Generator().manual_seed(3)
    for scores in (torch.rand(SHAPE, generator=generator), torch.ones(SHAPE), torch.zeros(SHAPE)):
        mask = structure.mask(scores, density)
        assert mask.shape == SHAPE
        assert mask.dtype == torch.bool
        assert structure.holds(mask, density)
    kept = structure.units(mask)[..., 0].sum(1)
    units = structure.units(mask).shape[1]
    if isinstance(structure, NM):
        assert (kept == structure.n).all()
    elif isinstance(structure, Unstructured):
        assert int(mask.sum()) == round(density * 288)
    else:
        assert (kept == max(1, round(density * units))).all()


@pytest.mark.exact
@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_a_mask_keeps_the_units_of_largest_saliency(structure):
    scores = torch.rand(SHAPE, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    mask = structure.mask(scores, 0.4)
    groups = structure.groups(SHAPE)
    view, units = structure.units(scores).sum(-1), structure.units(mask)[..., 0]
    for row, on in zip(view, units, strict=True):
        assert row[on].min() > row[~on].max()
    for group in groups.unique():
        assert len(mask[groups == group].unique()) == 1
    assert torch.equal(structure.whole(structure.units(scores), SHAPE), scores)


@pytest.mark.exact
def test_a_convolution_is_masked_along_its_flattened_inputs():
    scores = torch.rand(4, 3, 2, 2)
    assert torch.equal(NM(1, 4).mask(scores, 0.25).flatten(2).sum(-1), torch.ones(4, 3, dtype=torch.long))
    mask = NM(1, 2, "out").mask(scores, 0.5)
    assert torch.equal(mask[0] ^ mask[1], torch.ones(3, 2, 2, dtype=torch.bool))


@pytest.mark.fault
def test_groups_that_do_not_divide_the_shape_say_how_to_pad():
    weight = torch.rand(6, 10)
    with pytest.raises(ShapeError, match=r"10 inputs.*pad\(weight, \(0, 2\)\)"):
        NM(2, 4).mask(weight, 0.5)
    padded = nn.functional.pad(weight, (0, 2))
    assert NM(2, 4).holds(NM(2, 4).mask(padded, 0.5), 0.5)
    with pytest.raises(ShapeError, match=r"6 targets.*\(0, 0, 0, 2\)"):
        Block(4, 5).mask(weight, 0.5)
    for make in (lambda: NM(5, 4), lambda: NM(0, 4), lambda: NM(1, 4, "up"), lambda: Block(0, 1)):
        with pytest.raises(ParameterError):
            make()
    for density in (0.0, 1.2, math.nan):
        with pytest.raises((ParameterError, NonFiniteError)):
            Unstructured().mask(weight, density)
    weight[2, 3] = math.nan
    with pytest.raises(NonFiniteError, match=r"\[2, 3\]"):
        ConstFanIn().mask(weight, 0.5)


# Saliency.


def test_saliencies_are_their_formulas_on_layers_and_on_synapses():
    rng = np.random.default_rng(4)
    weight, gradient = rng.normal(size=(5, 7)), rng.normal(size=(5, 7))
    x = rng.integers(0, 3, (40, 7)).astype(float)
    layer = nn.Linear(7, 5, bias=False).double()
    inputs = calibrate(layer, torch.from_numpy(x).reshape(8, 5, 7), [""])[""]
    norm, mean = np.sqrt((x * x).sum(0)), x.mean(0)
    expected = {"magnitude": abs(weight), "gradient": abs(gradient), "snip": abs(weight * gradient),
                "wanda": abs(weight) * norm, "activity": norm * np.ones((5, 1)),
                "energy": abs(weight) / mean}  # fmt: skip
    target, source = np.nonzero(rng.random((5, 7)) < 0.6)

    class Synapses:
        pass

    synapses: Any = Synapses()
    synapses.source, synapses.target, synapses.weight = source, target, weight[target, source]
    given = {"gradient": Scores(gradient), "activity": Activity(x, np.zeros((40, 5)))}
    for name, values in expected.items():
        found = saliency(name, torch.from_numpy(weight), gradient=torch.from_numpy(gradient), inputs=inputs)
        assert found.numpy() == pytest.approx(values)
        assert of_synapses(name, synapses, **given) == pytest.approx(values[target, source])
    assert set(expected) | {"random"} == set(SALIENCY)
    once, again = (saliency("random", layer.weight, seed=s) for s in (1, 1))
    assert torch.equal(once, again)
    assert not torch.equal(once, saliency("random", layer.weight, seed=2))


@pytest.mark.fault
def test_saliencies_refuse_what_is_missing_or_of_another_layer():
    weight = torch.rand(5, 7)
    with pytest.raises(UnknownNameError, match="magnitude"):
        saliency("magnitud", weight)
    with pytest.raises(ParameterError, match="gradient"):
        saliency("snip", weight)
    with pytest.raises(ParameterError, match="calibrate"):
        saliency("wanda", weight)
    with pytest.raises(ShapeError, match="gradient has shape"):
        saliency("snip", weight, gradient=torch.rand(5, 6))
    model = nn.Sequential(nn.Linear(9, 7), nn.Linear(7, 5))
    inputs = calibrate(model, torch.rand(3, 4, 9))
    with pytest.raises(ShapeError, match="'0' is for 9 sources"):
        saliency("wanda", weight, inputs=inputs["0"])
    with pytest.raises(ConfigError, match="'1' was given for layer '0'"):
        inputs["1"].fits(weight, "0")
    with pytest.raises(UnknownNameError, match="linear layer"):
        calibrate(model, torch.rand(3, 4, 9), ["2"])
    with pytest.raises(ParameterError, match="beta"):
        calibrate(model, torch.rand(3, 4, 9), beta=1.0)
    with pytest.raises(NonFiniteError, match="'0'"):
        calibrate(model, torch.full((3, 4, 9), math.inf))


def test_traces_are_leaky_sums_over_time():
    x = torch.rand(6, 3, 4, dtype=torch.float64)
    found = calibrate(nn.Linear(4, 2).double(), x, [""], beta=0.5)[""]
    trace, total = torch.zeros(3, 4, dtype=torch.float64), torch.zeros(4, 4, dtype=torch.float64)
    for step in x:
        trace = 0.5 * trace + step
        total += trace.T @ trace
    assert torch.allclose(found.gram, total)
    assert found.count == 18


# Budgets and schedules.


@pytest.mark.exact
@pytest.mark.parametrize("name", budgets.BUDGETS)
@pytest.mark.parametrize("density", [0.5, 0.25, 0.1])
def test_budgets_keep_exactly_the_wanted_total(name, density):
    shapes = [(64, 300), (32, 64), (10, 32)]
    if name == "uniform_plus" and density < 0.9:
        with pytest.raises(ParameterError, match="too many"):
            budgets.counts(name, shapes, density)
        shapes = [(4, 30), *[(100, 100)] * 3, (10, 32)]
    sizes = [math.prod(shape) for shape in shapes]
    found = budgets.counts(name, shapes, density)
    assert sum(found) == round(density * sum(sizes))
    assert all(0 <= k <= n for k, n in zip(found, sizes, strict=True))


def test_erk_is_the_published_case():
    """The hand case of the paper's formula; a small layer becomes dense and the rest is solved again."""
    found = budgets.densities("erk", [(128, 64), (128, 128), (10, 128)], 0.05)
    assert found == pytest.approx([0.0517, 0.0345, 0.2378], abs=1e-4)
    found = budgets.densities("erk", [(100, 100), (5, 100)], 0.3)
    assert found[1] == 1.0
    assert found[0] * 10000 + 500 == pytest.approx(0.3 * 10500)
    assert budgets.densities("pyramidal", [(10, 10)] * 2, 0.375) == pytest.approx([0.5, 0.25])
    with pytest.raises(UnknownNameError, match="erk"):
        budgets.densities("erdk", [(2, 2)], 0.5)


@pytest.mark.exact
def test_one_ranking_for_all_layers_is_that_of_the_flattened_weights():
    scores = {"a": torch.rand(5, 6), "b": torch.rand(3, 5)}
    masks = budgets.global_masks(scores, 0.4)
    cut = torch.cat([s.flatten() for s in scores.values()]).sort(descending=True).values[17]
    assert all(torch.equal(masks[n], scores[n] >= cut) for n in scores)
    with pytest.raises(NonFiniteError, match="'b'"):
        budgets.global_masks({"a": scores["a"], "b": scores["b"] * math.nan}, 0.4)


def test_schedules_have_their_values_at_both_ends():
    cubic = schedules.Polynomial(1.0, 0.1, 10, 30)
    assert [cubic(t) for t in (0, 10, 20, 30, 99)] == pytest.approx([1.0, 1.0, 0.1 + 0.9 / 8, 0.1, 0.1])
    cosine = schedules.Cosine(0.4, 8)
    assert [cosine(t) for t in (0, 4, 8, 20)] == pytest.approx([0.4, 0.2, 0.0, 0.0])
    assert schedules.Exponential(2.0, 0.5)(2) == pytest.approx(2 / math.e)
    assert schedules.Constant(3.0)(7) == 3.0
    stages = schedules.Stages((0.0, 1.0, 3.0), (10, 20))
    values = [stages(t) for t in range(40)]
    assert [values[t] for t in (0, 5, 10, 20, 30, 39)] == pytest.approx([0.0, 0.5, 1.0, 2.0, 3.0, 3.0])
    assert values == sorted(values)
    assert max(abs(values[t + 1] - values[t]) for t in (0, 9, 10, 29)) < 0.03  # flat at the borders
    assert [p.n for p in schedules.nm_ladder(1, 16, "stepwise", 5).entries] == [15, 8, 4, 2, 1]
    assert [(p.n, p.m) for p in schedules.nm_ladder(1, 4, "geometric", 5).entries] == [(8, 32), (4, 16), (2, 8), (1, 4)]
    ladder = schedules.nm_ladder(1, 4, "stepwise", 5)
    assert [ladder(t).n for t in (0, 4, 5, 10, 99)] == [3, 3, 2, 1, 1]
    for make in (lambda: schedules.Polynomial(1, 0, 5, 5), lambda: schedules.Stages((1.0,), (3,)),
                 lambda: schedules.Ladder((), 2), lambda: schedules.nm_ladder(1, 4, "steps", 2)):  # fmt: skip
        with pytest.raises(ParameterError):
            make()


# Proximal steps.


def objective(w: torch.Tensor, t: torch.Tensor, lam: float, value: float) -> float:
    return float(0.5 * ((w - t) ** 2).sum()) + lam * value


@pytest.mark.parametrize("seed", range(4))
def test_proximal_steps_beat_every_other_point(seed):
    """Against the exhaustive choice of supports (l0), a fine grid (l1, envelope) and random points around (lasso)."""
    rng = np.random.default_rng(seed)
    t = torch.from_numpy(rng.normal(size=6))
    best = min(
        (t * torch.tensor([k in kept for k in range(6)]) for kept in itertools.combinations(range(6), 3)),
        key=lambda w: float(((w - t) ** 2).sum()),
    )
    assert torch.equal(proximal.l0_ball(t, 3), best)
    grid = torch.linspace(-3, 3, 60001, dtype=torch.float64)
    found = proximal.soft_threshold(t, 0.4)
    for value, at in zip(found, t, strict=True):
        assert float(value) == pytest.approx(
            float(grid[(0.5 * (grid - at) ** 2 + 0.4 * grid.abs()).argmin()]), abs=1e-4
        )
    groups = torch.tensor([0, 0, 1, 1, 1, 2])

    def lasso(w: torch.Tensor) -> float:
        return sum(float(w[groups == g].norm()) * int((groups == g).sum()) ** 0.5 for g in range(3))

    found = proximal.group_lasso(t, groups, 0.5)
    least = objective(found, t, 0.5, lasso(found))
    tries = [found + torch.from_numpy(rng.normal(size=6) * s) for s in (1e-3, 1e-2, 0.1, 1.0) for _ in range(300)]
    tries += [t * torch.tensor([g in kept for g in groups.tolist()]) for n in range(4) for kept in
              itertools.combinations(range(3), n)]  # fmt: skip
    assert least <= min(objective(w, t, 0.5, lasso(w)) for w in tries) + 1e-12


def envelope(norms: np.ndarray, k: float, cost: np.ndarray) -> float:
    """Return S_k by a linear search over the multiplier, for checking."""
    if float((cost * (norms > 0)).sum()) <= k:
        return 0.5 * float((norms**2).sum())
    low, high = 0.0, 1e6
    for _ in range(80):
        eta = 0.5 * (low + high)
        u = np.minimum(1.0, eta * norms / np.sqrt(cost))
        low, high = (eta, high) if (cost * u).sum() < k else (low, eta)
    return 0.5 * float(np.divide(norms**2, u, out=np.zeros_like(norms), where=u > 0).sum())


@pytest.mark.parametrize("lam", [1e-2, 0.3, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_group_envelopes_step_beats_every_other_point(seed, lam):
    rng = np.random.default_rng(seed)
    t = torch.from_numpy(rng.normal(size=12))
    groups = torch.arange(12) // 3
    cost = torch.tensor([1.0, 2.0, 1.0, 0.5], dtype=torch.float64)
    found = proximal.group_envelope(t, groups, 2.0, lam, cost)

    def value(w: torch.Tensor) -> float:
        norms = np.array([float(w[groups == g].norm()) for g in range(4)])
        return objective(w, t, lam, envelope(norms, 2.0, cost.numpy()))

    around = [found + torch.from_numpy(rng.normal(size=12) * s) for s in (1e-4, 1e-3, 1e-2, 0.3) for _ in range(40)]
    around += [t * torch.from_numpy(np.repeat(rng.random(4), 3)) for _ in range(80)]
    assert value(found) <= min(map(value, around)) + 1e-10


@pytest.mark.exact
def test_a_strong_envelope_leaves_exactly_k_groups():
    t = torch.randn(50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    counts = [
        int((proximal.group_envelope(t, torch.arange(50), 10, lam) != 0).sum()) for lam in (1e-3, 0.1, 1, 10, 1e3)
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 30
    assert counts[-1] == 10
    few = t * (t.abs() > t.abs().sort().values[-6])
    assert torch.allclose(proximal.group_envelope(few, torch.arange(50), 10, 0.5), few / 1.5)  # half the square alone
    with pytest.raises(ParameterError, match="kept"):
        proximal.l0_ball(t, 0)
    with pytest.raises(ShapeError, match="groups have shape"):
        proximal.group_lasso(t, torch.arange(49), 1.0)


# Reconstruction.


def spikes_and_weight(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """Return spikes of uneven, correlated rates, a weight, and their calibration."""
    generator = torch.Generator().manual_seed(seed)
    rates = 0.02 + 0.3 * torch.rand(48, generator=generator) ** 2
    shared = torch.rand(20, 50, 6, generator=generator).repeat_interleave(8, -1)
    own = torch.rand(20, 50, 48, generator=generator)
    x = (0.5 * shared + 0.5 * own < rates.sqrt() * 0.7).float()
    weight = torch.randn(32, 48, generator=generator) * (0.3 + torch.rand(48, generator=generator))
    layer = nn.Linear(48, 32, bias=False)
    return x, weight, calibrate(layer, x, [""])[""]


@pytest.mark.parametrize("structure", [None, NM(2, 4), NM(1, 4)], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_one_shot_pruning_lowers_the_output_error_in_the_papers_order(structure, seed):
    x, weight, inputs = spikes_and_weight(seed)
    sparsity = 0.7 if structure is None else 1.0 - structure.density
    errors = {}
    for name in ONE_SHOT:
        found, mask = pruned(name, weight, inputs, sparsity, structure)
        assert torch.equal(found != 0, mask & (found != 0))
        if structure is not None:
            assert structure.holds(mask, structure.density)
        elif name in ("wanda", "dsnot"):
            assert (mask.sum(1) == round(0.3 * 48)).all()
        else:
            assert int(mask.sum()) == round(0.3 * weight.numel())
        errors[name] = reconstruction.output_error(weight, found, inputs)
        direct = ((x.double() @ (weight - found).double().T) ** 2).sum() / ((x.double() @ weight.double().T) ** 2).sum()
        assert errors[name] == pytest.approx(float(direct), rel=1e-6)
    assert errors["sparsegpt"] < errors["wanda"] < errors["magnitude"] < errors["random"]
    if structure is None:  # swaps within groups lower mean errors too, but not always the squared one
        assert errors["dsnot"] <= errors["wanda"]
    mask = pruned("wanda", weight, inputs, sparsity, structure)[1]
    best = reconstruction.least_squares(weight, mask, inputs)
    shift = reconstruction.mean_current(weight, weight * mask, inputs)
    assert reconstruction.output_error(weight, best, inputs) < errors["wanda"]
    assert reconstruction.output_error(weight, weight * mask, inputs, shift) < errors["wanda"]
    y = x.reshape(-1, 48)
    assert torch.allclose((y @ (weight * mask).T + shift).mean(0), (y @ weight.T).mean(0), atol=1e-5)


def test_sparsegpt_at_no_sparsity_or_independent_inputs_is_what_it_must_be():
    _, weight, inputs = spikes_and_weight()
    found, mask = reconstruction.sparsegpt(weight, inputs, 1.0)
    assert torch.equal(found, weight)
    assert bool(mask.all())
    eye = calibrate(nn.Linear(48, 32, bias=False), torch.eye(48)[:, None], [""])[""]
    found, mask = reconstruction.sparsegpt(weight, eye, 0.5, damp=1e-9)
    assert torch.allclose(found, weight * mask, atol=1e-6)  # nothing to take over
    wide = reconstruction.sparsegpt(weight, inputs, 0.37, block=7)[1]
    assert int(wide.sum()) == round(0.37 * weight.numel())


def test_swaps_never_raise_the_error_of_a_row_and_keep_its_count():
    _, weight, inputs = spikes_and_weight(4)
    mask = ConstFanIn().mask(saliency("wanda", weight, inputs=inputs), 0.3)
    found = reconstruction.dsnot(weight, mask, inputs)
    given = weight.double() * inputs.mean
    before, after = ((given * ~m).sum(1).abs() for m in (mask, found))
    assert torch.equal(found.sum(1), mask.sum(1))
    assert bool((after <= before).all())
    assert float(after.mean()) < 0.7 * float(before.mean())
    grouped = NM(1, 4).mask(saliency("wanda", weight, inputs=inputs), 0.25)
    assert NM(1, 4).holds(reconstruction.dsnot(weight, grouped, inputs, structure=NM(1, 4)), 0.25)


def test_a_model_is_pruned_from_the_input_on_and_its_means_mended():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 10))
    x, _, _ = spikes_and_weight()
    plain, mended = (
        prune(m, "wanda", 0.8, x, mend=how) for m, how in ((model, "none"), (_copy(model), "mean"))
    )  # fmt: skip
    assert all(mended[name] < plain[name] for name in plain)
    assert [int(model[k].parametrizations.weight[0].mask.sum()) for k in (0, 2)] == [32 * 10, 10 * 6]
    squares = prune(_copy(model := nn.Sequential(nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 10))), "wanda", 0.8, x,
                    mend="least_squares", beta=0.7)  # fmt: skip
    assert squares["0"] < prune(_copy(model), "wanda", 0.8, x, beta=0.7)["0"]
    with pytest.raises(UnknownNameError, match="sparsegpt"):
        prune(model, "sparse-gpt", 0.5, x)
    with pytest.raises(UnknownNameError, match="mean"):
        prune(model, "wanda", 0.5, x, mend="means")
    with pytest.raises(ConfigError, match="calibrat"):
        prune(model, "wanda", 0.5)
    with pytest.raises(ConfigError, match="no bias"):
        prune(nn.Sequential(nn.Linear(48, 3, bias=False)), "wanda", 0.5, x, mend="mean")
    for sparsity in (1.0, -0.1, math.nan):
        with pytest.raises((ParameterError, NonFiniteError), match="sparsity"):
            prune(model, "magnitude", sparsity)
    with pytest.raises(ParameterError, match="structure"):
        prune(model, "sparsegpt", 0.5, x, structure=Block(2, 2))


def _copy(model: nn.Sequential) -> nn.Sequential:
    again = nn.Sequential(*[nn.Linear(m.in_features, m.out_features) if isinstance(m, nn.Linear) else nn.ReLU()
                            for m in model])  # fmt: skip
    state = model.state_dict()
    again.load_state_dict({k.replace("parametrizations.weight.original", "weight"): v for k, v in state.items()
                           if not k.endswith("mask")})  # fmt: skip
    return again


# Exchanges that keep a structure.


def connected(rng: Any, structure: Any, shape: tuple[int, int] = SHAPE, density: float = 0.34) -> tuple[Any, Any]:
    mask = structure.mask(torch.from_numpy(rng.random(shape)), density)
    pairs = rng.permutation(np.flatnonzero(mask.numpy().ravel()))
    return pairs, rng.normal(size=pairs.size)


@pytest.mark.exact
@pytest.mark.parametrize("grow", ["gradient", "random"])
@pytest.mark.parametrize("structure", [Unstructured(), NM(4, 12), ConstFanIn(), Block(2, 3), Channel()], ids=str)
def test_a_structured_exchange_keeps_counts_and_pattern_for_many_turns(structure, grow):
    rng = np.random.default_rng(2)
    rule = StructuredRewiring(0.26, grow=grow, structure=structure, seed=3)
    pairs, weight = connected(rng, structure)
    changed = 0
    for turn in range(5):
        gradient = rng.normal(size=SHAPE)
        found = rule.exchange(pairs, SHAPE, weight, turn, gradient=Scores(gradient))
        assert found.dropped.size == found.added.size
        assert not set(found.added) & set(pairs)
        changed += found.added.size
        pairs = np.concatenate([np.delete(pairs, found.dropped), found.added])
        weight = np.concatenate([np.delete(weight, found.dropped), 0.01 * rng.normal(size=found.added.size)])
        mask = np.zeros(SHAPE, bool)
        mask.flat[pairs] = True
        assert structure.holds(torch.from_numpy(mask), 0.34)
    assert changed > 20


@pytest.mark.exact
def test_srigl_has_one_fan_in_and_switches_weak_targets_off():
    rng = np.random.default_rng(6)
    pairs, weight = connected(rng, ConstFanIn())
    gradient = rng.normal(size=SHAPE)
    weak = [3, 7]
    weight[np.isin(pairs // 24, weak)] *= 1e-3
    gradient[weak] *= 1e-3
    total = pairs.size
    for turn in range(4):
        found = SRigL(0.3, budget=total).exchange(pairs, SHAPE, weight, turn, gradient=Scores(gradient))
        pairs = np.concatenate([np.delete(pairs, found.dropped), found.added])
        weight = np.concatenate([np.delete(weight, found.dropped), np.zeros(found.added.size)])
        fan_in = np.bincount(pairs // 24, minlength=12)
        on = fan_in[fan_in > 0]
        assert (on == total // on.size).all()
        assert total - on.size < pairs.size <= total
        assert np.unique(pairs).size == pairs.size
    assert set(np.flatnonzero(fan_in == 0)) == set(weak)
    kept = SRigL(0.3, ablate=False).exchange(pairs, SHAPE, weight, 0, gradient=Scores(gradient))
    assert kept.dropped.size > 0
    with pytest.raises(ParameterError, match="gamma"):
        SRigL(gamma=1.5)
    with pytest.raises(ParameterError, match="multapses"):
        SRigL().exchange(np.array([1, 1]), SHAPE, np.ones(2), gradient=Scores(gradient))
    with pytest.raises(ParameterError, match="gradient="):
        StructuredRewiring(grow="gradient").exchange(pairs, SHAPE, weight, 0)
    with pytest.raises(ParameterError, match="prunes by"):
        StructuredRewiring(prune="random")


@pytest.mark.exact
def test_a_rule_that_grows_nothing_prunes_a_layer_while_it_trains():
    torch.manual_seed(0)
    layer = sparsify(nn.Linear(24, 12), torch.ones(SHAPE))
    optimizer = torch.optim.Adam(layer.parameters(), 1e-2)
    training = SparseTraining(layer, optimizer, Rewiring(0.2, grow="none"), 2)
    x, counts = torch.rand(30, 24), [288]
    for step in range(8):
        optimizer.zero_grad()
        layer(x).square().mean().backward()
        optimizer.step()
        if step % 2:
            counts.append(int(masked(layer).mask.sum()))
            assert counts[-1] == counts[-2] - int(0.2 * counts[-2])
    training.remove()
    assert counts[-1] == int((layer.weight != 0).sum())


# Live synapses of a running simulation.


def live() -> tuple[sf.Network, Any]:
    net = sf.Network(seed=5)
    neuron = sf.neurons.LIF(tau_m=20.0, v_th=20.0, t_ref=2.0, receptors={"exc": sf.neurons.Exp(tau=5.0)})
    a = net.population("a", 90, neuron, v=sf.Uniform(0.0, 20.0))
    rule = sf.FixedInDegree(8, multapses=False, autapses=False)
    (link,) = net.connect(a, a, rule, receptor="exc", weight=sf.Uniform(0.5, 3.0), delay=sf.Uniform(0.2, 1.5))
    net.stimulate([a], sf.PoissonInput(3000.0, 5.0), receptor="exc")
    net.record([a], "spikes")
    return net, link


def live_run(options: dict[str, Any], path: Any = None) -> tuple[list[int], dict[str, Any]]:
    """Run, prune by Wanda's saliency, rewire at constant fan-in, switch weak targets off; save and load in between."""
    net, link = live()
    sim = sf.Simulator(net, dt=0.1, **options)
    counts, results = [], []
    gradient = Scores(np.random.default_rng(1).normal(size=(90, 90)))
    for part in range(4):
        results.append(sim.run(3.0, progress=False))
        if path is not None:
            sim.save(path)
            sim = sf.Simulator.load(path, threads=3 - part % 2)
            link = sim.network.projections[0]
        if part == 0:
            x = np.zeros((6, 90), np.int64)
            np.add.at(x, (np.asarray(results[0].spikes["a"].steps) // 5 % 6, np.asarray(results[0].spikes["a"].ids)), 1)
            worth = of_synapses("wanda", sim.weights(link), activity=Activity(x, x))
            link = sim.rewire(link, Rewiring(0.25, "given", "none"), saliency=worth)
        elif part == 1:
            link = sim.rewire(link, SRigL(0.2, gamma=0.5, weight=1.0), gradient=gradient)
        elif part == 2:
            link = sim.rewire(link, StructuredRewiring(0.4, structure=ConstFanIn(), weight=0.5))
        counts.append(sim.weights(link).source.size)
    weights = sim.weights(link)
    found = {n: np.concatenate([getattr(r.spikes["a"], n) for r in results]) for n in ("steps", "ids")}
    found |= {n: getattr(weights, n) for n in ("source", "target", "weight")}
    return counts, found | {"v": sim.circuit.read("a", "v")}


@pytest.mark.exact
def test_pruning_and_structured_rewiring_of_a_run_are_the_same_for_any_threads_and_saving(tmp_path):
    counts, expected = live_run({"backend": "reference"})
    assert expected["ids"].size > 10
    assert counts[0] == 540
    assert counts[1] <= 540
    assert counts[1] == counts[2] == counts[3]
    fan_in = np.bincount(expected["target"], minlength=90)
    assert len(set(fan_in[fan_in > 0])) == 1
    assert (expected["source"] != expected["target"]).all()
    for path in (None, tmp_path / "state.h5"):
        again, found = live_run({"threads": 2}, path)  # saved runs go on with 3, 2, 3, 2 threads
        assert again == counts
        assert all(np.array_equal(found[n], expected[n]) for n in expected)


@pytest.mark.fault
def test_saliencies_of_live_synapses_must_fit():
    net, link = live()
    sim = sf.Simulator(net, dt=0.1, backend="reference")
    rule = Rewiring(0.2, "given", "none")
    with pytest.raises(ParameterError, match="needs the saliency"):
        sim.rewire(link, rule)
    with pytest.raises(ShapeError, match="one per synapse"):
        sim.rewire(link, rule, saliency=np.ones(3))
    worth = np.ones(720)
    worth[5] = np.nan
    with pytest.raises(NonFiniteError, match="is NaN"):
        sim.rewire(link, rule, saliency=worth)
    with pytest.raises(ShapeError, match="another projection"):
        of_synapses("wanda", sim.weights(link), activity=Activity(np.ones((2, 4)), np.ones((2, 4))))


@pytest.mark.parametrize("kind", [Block(2, 4), Channel(), NM(2, 4), ConstFanIn(), Unstructured()], ids=str)
def test_a_mask_holds_if_its_units_are_whole_and_as_many_as_were_asked_for(kind):
    good = kind.mask(torch.rand(8, 8, generator=torch.Generator().manual_seed(0)), 0.5)
    assert kind.holds(good, 0.5)
    assert not kind.holds(torch.ones_like(good), 0.5)
    one_less = good.clone().contiguous()
    one_less[tuple(good.nonzero()[0])] = False
    assert not kind.holds(one_less, 0.5)
