"""Rewiring: the choice of synapses, layers and their optimiser, live synapses of a run, groups; bad input."""

from __future__ import annotations

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
    UnsupportedLayerError,
)
from spikeframe.learning_rules import PairSTDP, RewardSTDP
from spikeframe.learning_rules import rewiring as rewiring_module
from spikeframe.learning_rules.rewiring import GROW, PRUNE, Activity, Rewiring, Scores
from spikeframe.learning_rules.sparse_training import (
    HebbianRewiring,
    SparseTraining,
    baked,
    density,
    masked,
    random_mask,
    sparsify,
)
from spikeframe.modules.g2g import LABELINGS, G2GLinear, labels

SHAPE = (7, 11)


def chosen(rng: Any, rule: Rewiring, turn: int = 0) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Return pairs, their weights, what a rule exchanges, and what it was given."""
    pairs = rng.permutation(np.prod(SHAPE))[:30]
    weight = rng.normal(size=30)
    given = {
        "correlation": Activity(rng.integers(0, 3, (40, SHAPE[1])), rng.integers(0, 3, (40, SHAPE[0]))),
        "gradient": Scores(rng.normal(size=SHAPE)),
        "sign": np.where(rng.random(30) < 0.7, np.sign(weight), -np.sign(weight)),
        "saliency": rng.normal(size=30),
    }
    return pairs, weight, rule.exchange(pairs, SHAPE, weight, turn, **given), given


def correlations(activity: Activity) -> Any:
    """Return the cosine of every pair, one by one."""
    found = np.zeros(SHAPE)
    for j in range(SHAPE[0]):
        for i in range(SHAPE[1]):
            x, y = activity.x[:, i].astype(float), activity.y[:, j].astype(float)
            found[j, i] = x @ y / (np.sqrt(x @ x) * np.sqrt(y @ y))
    return found


@pytest.mark.exact
@pytest.mark.parametrize("prune", PRUNE)
@pytest.mark.parametrize("grow", GROW)
@pytest.mark.parametrize("block", [1, 20, 1 << 22])
def test_a_turn_drops_the_lowest_and_adds_the_highest(prune, grow, block, monkeypatch):
    monkeypatch.setattr(rewiring_module, "_BLOCK", block)
    rule = Rewiring(0.31, prune, grow, seed=4)
    pairs, weight, found, given = chosen(np.random.default_rng(2), rule)
    again = rule.exchange(pairs, SHAPE, weight, 0, **given)
    assert np.array_equal(found.dropped, again.dropped)
    assert np.array_equal(found.added, again.added)
    count = int((weight * given["sign"] <= 0).sum()) if prune == "crossed" else int(0.31 * 30)
    assert found.dropped.size == np.unique(found.dropped).size == count > 3
    assert found.added.size == np.unique(found.added).size == (0 if grow == "none" else count)
    assert not set(found.added) & set(pairs)  # also not what was just dropped
    cosines = correlations(given["correlation"])
    stays = np.setdiff1d(np.arange(30), found.dropped)
    if prune == "crossed":
        assert (weight[found.dropped] * given["sign"][found.dropped] < 0).all()
    elif prune in ("magnitude", "hebbian", "given"):
        score = {"magnitude": np.abs(weight), "given": given["saliency"], "hebbian": cosines.ravel()[pairs]}[prune]
        assert score[found.dropped].max() <= score[stays].min()
    elif prune == "three":
        assert set(np.argsort(np.abs(weight))[:3]) <= set(found.dropped)
    free = np.setdiff1d(np.arange(77), pairs)
    if grow in ("hebbian", "gradient"):
        score = (cosines if grow == "hebbian" else np.abs(given["gradient"].values)).ravel()
        assert score[found.added].min() >= score[np.setdiff1d(free, found.added)].max()
    other = rule.exchange(pairs, SHAPE, weight, 1, **given)
    assert (grow == "random") == (not np.array_equal(found.added, other.added) and grow == "random")


@pytest.mark.statistical
def test_random_growth_is_uniform_over_the_free_pairs():
    """Both ways of drawing: by rejection where few pairs are taken, by a permutation where many are."""
    for taken, k in ((np.arange(0, 40, 2), 4), (np.arange(30), 4)):
        total = 80 if taken.size == 20 else 45
        shape, weight = (5, total // 5), np.ones(taken.size)
        counts = np.zeros(total)
        for turn in range(4000):
            found = Rewiring(k / taken.size + 1e-9, "random", seed=9).exchange(taken, shape, weight, turn)
            counts[found.added] += 1
        assert counts[taken].sum() == 0
        free = np.delete(counts, taken)
        expected = 4000 * k / free.size
        assert free.sum() == 4000 * k
        assert ((free - expected) ** 2 / expected).sum() < 2 * free.size


def test_identical_signals_have_correlation_one_and_silent_ones_none():
    x = np.array([[1, 0, 2, 0], [0, 0, 1, 0], [3, 0, 0, 0]])
    found = Activity(x, x).correlation(slice(None))
    assert np.diag(found) == pytest.approx([1.0, 0.0, 1.0, 0.0])
    assert found[0, 2] == pytest.approx(2 / np.sqrt(50))


@pytest.mark.exact
def test_no_more_synapses_are_exchanged_than_pairs_are_free():
    pairs = np.arange(76)
    found = Rewiring(0.5, "random").exchange(pairs, SHAPE, np.ones(76))
    assert found.added.tolist() == [76]
    assert found.dropped.size == 1
    barred = Rewiring(0.5, "random").exchange(np.arange(70), SHAPE, np.ones(70), barred=np.arange(60, 76))
    assert barred.added.tolist() == [76]


# Layers.


def trained(make: Any, steps: int = 7, optimizer: str = "Adam") -> tuple[nn.Linear, SparseTraining, Any]:
    """Train a masked layer for some steps on a fixed regression."""
    torch.manual_seed(1)
    layer = nn.Linear(11, 7)
    sparsify(layer, random_mask((7, 11), 0.6, seed=3))
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    found = getattr(torch.optim, optimizer)(layer.parameters(), lr=0.05, weight_decay=0.01, **options)
    training = make(layer, found)
    x, y = torch.rand(64, 11), torch.rand(64, 7)
    for _ in range(steps):
        found.zero_grad()
        ((layer(x) - y) ** 2).mean().backward()
        found.step()
    return layer, training, found


@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
@pytest.mark.parametrize(
    "rule", [Rewiring(0.3), Rewiring(0.3, grow="gradient"), Rewiring(0.3, "three", "hebbian"),
             Rewiring(0.0, "crossed", weight=1e-12)], ids=lambda r: f"{r.prune} {r.grow}",
)  # fmt: skip
def test_the_number_of_connections_stays_and_the_optimiser_follows(rule, optimizer):
    noise = 0.3 if rule.prune == "crossed" else 0.0
    layer, training, state = trained(lambda la, op: SparseTraining(la, op, rule, 3, noise=noise, l1=1e-3), 5, optimizer)
    original, mask = layer.parametrizations.weight.original, masked(layer).mask
    assert training.turns == 1
    held = [v for v in state.state[original].values() if torch.is_tensor(v) and v.shape == original.shape]
    assert len(held) == (2 if optimizer == "Adam" else 1)
    before = mask.clone()
    old = [v.clone() for v in held]
    changed = training.turn()
    assert changed > 0
    assert int(mask.sum()) == int(before.sum()) == round(0.4 * 77)
    new, gone, stays = mask & ~before, before & ~mask, mask & before
    assert int(new.sum()) == int(gone.sum()) == changed
    assert (layer.weight[~mask] == 0).all()
    assert (original[gone] == 0).all()
    assert (original[new].abs() == original[new].abs().new_tensor(rule.weight)).all()
    for value, was in zip(held, old, strict=True):
        assert (value[new] == 0).all()
        assert (value[gone] == 0).all()
        assert torch.equal(value[stays], was[stays])
        assert (was[stays] != 0).any()


@pytest.mark.exact
def test_the_gradient_for_growth_is_that_of_the_dense_weight():
    layer, _, _ = trained(lambda la, op: SparseTraining(la, op, Rewiring(0.3, grow="gradient"), 100), 1)
    torch.manual_seed(1)
    dense = nn.Linear(11, 7)
    with torch.no_grad():
        dense.weight *= masked(layer).mask
    x, y = torch.rand(64, 11), torch.rand(64, 7)
    ((dense(x) - y) ** 2).mean().backward()
    assert torch.allclose(masked(layer).watched, dense.weight.grad, atol=1e-7)
    assert (masked(layer).watched[~masked(layer).mask] != 0).all()


@pytest.mark.exact
def test_correlations_are_summed_over_samples_and_time_steps():
    layer = sparsify(nn.Linear(11, 7), random_mask((7, 11), 0.5))
    spikes = nn.Hardtanh(0.0, 1.0)
    training = HebbianRewiring(layer, torch.optim.Adam(layer.parameters()), post=spikes)
    x = torch.rand(5, 3, 11)
    y = torch.cat([spikes(layer(part)) for part in (x[:2], x[2:])]).detach().double().reshape(15, 7)
    flat = x.double().reshape(15, 11)
    assert training.sums["yx"].numpy() == pytest.approx((y.T @ flat).numpy(), rel=1e-5)
    assert training.sums["xx"].numpy() == pytest.approx((flat**2).sum(0).numpy(), rel=1e-5)
    layer.eval()
    spikes.eval()
    before = training.sums["yx"].clone()
    spikes(layer(x))
    assert torch.equal(training.sums["yx"], before)


@pytest.mark.exact
def test_training_goes_on_from_its_saved_state():
    rule = Rewiring(0.3, "three", "hebbian", seed=5)
    whole = trained(lambda la, op: SparseTraining(la, op, rule, 3), 8)
    layer, training, optimizer = trained(lambda la, op: SparseTraining(la, op, rule, 3), 5)
    saved = layer.state_dict(), training.state_dict(), optimizer.state_dict()
    other, again, fresh = trained(lambda la, op: SparseTraining(la, op, rule, 3), 1)
    other.load_state_dict(saved[0])
    again.load_state_dict(saved[1])
    fresh.load_state_dict(saved[2])
    torch.manual_seed(1)
    nn.Linear(11, 7)
    x, y = torch.rand(64, 11), torch.rand(64, 7)
    for _ in range(3):
        fresh.zero_grad()
        ((other(x) - y) ** 2).mean().backward()
        fresh.step()
    assert again.turns == whole[1].turns == 2
    assert torch.equal(other.weight, whole[0].weight)


def test_deep_r_keeps_the_sign_of_every_connection():
    rule = Rewiring(0.0, "crossed", weight=1e-12, seed=2)
    layer, training, _ = trained(lambda la, op: SparseTraining(la, op, rule, 1, l1=1e-4, noise=0.05), 30)
    active = masked(layer).mask.flatten().numpy()
    weight = layer.weight.detach().flatten().numpy()
    assert (weight[active] * training.sign[active] > 0).all()
    assert (training.sign == 1).sum() in range(20, 58)


@pytest.mark.parametrize(("l1", "noise"), [(0.02, 0.0), (0.0, 0.3), (0.0, 0.0)])
def test_a_step_without_gradient_only_pulls_and_shakes_what_is_connected(l1, noise):
    layer = nn.Linear(50, 40)
    sparsify(layer, random_mask((40, 50), 0.5, seed=3))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    SparseTraining(layer, optimizer, Rewiring(), 10, l1=l1, noise=noise)
    before, mask = layer.weight.detach().clone(), masked(layer).mask
    torch.manual_seed(0)
    (0 * layer(torch.ones(1, 50)).sum()).backward()
    optimizer.step()
    moved = (layer.weight.detach() - before)[mask]
    if noise:
        assert float(moved.std()) == pytest.approx(noise, rel=0.1)
    else:
        torch.testing.assert_close(moved, -0.1 * l1 * before[mask].sign())
    assert not layer.weight.detach()[~mask].any()


def test_the_fraction_falls_as_a_cosine_and_ends():
    counts = []

    def make(layer: nn.Module, optimizer: Any) -> SparseTraining:
        training = SparseTraining(layer, optimizer, Rewiring(0.5), 2, until=8)
        turn = training.turn
        training.turn = lambda: counts.append(turn())  # type: ignore[method-assign]
        return training

    trained(make, 12)
    assert counts == [int(0.25 * (1 + np.cos(np.pi * t / 8)) * 31) for t in (2, 4, 6, 8)]


# Groups.


@pytest.mark.statistical
def test_the_density_of_groups_is_as_published():
    n = 400
    layer = G2GLinear(n, n)
    expected = 1 / 8 + (1 - 1 / 8) * 0.15
    deviation = np.sqrt(0.15 * 0.85 * (1 - 1 / 8)) / n
    assert expected == pytest.approx(0.25625)
    assert abs(density(layer) - expected) < 3 * deviation


@pytest.mark.exact
@pytest.mark.parametrize("labeling", LABELINGS)
def test_without_connections_between_them_groups_are_independent_unless_mixed(labeling):
    torch.manual_seed(0)
    layers = [G2GLinear(24, 32, 4, 0.0, labeling, depth=0), G2GLinear(32, 16, 4, 0.0, labeling, depth=1)]
    of_input = labels(24, 4, labeling, 0, 0, False)
    of_output = labels(16, 4, labeling, 0, 1, True)
    x = torch.randn(5, 24)
    moved = x + (of_input == 0)
    change = (layers[1](layers[0](moved)) - layers[1](layers[0](x))).abs().amax(0) > 1e-6
    if labeling == "mixer":
        assert bool(change[of_output != 0].any())
    else:
        assert torch.equal(change, of_output == 0)


def test_a_mask_has_nothing_to_do_with_the_weights():
    """Both come from seed 0; the same stream of numbers would choose the weights by their sign."""
    torch.manual_seed(0)
    layer = G2GLinear(300, 300, 4, 0.3, seed=0)
    weight = layer.weight[masked(layer).mask]
    assert abs(float((weight > 0).float().mean()) - 0.5) < 0.01


def test_groups_train_and_run_event_by_event():
    torch.manual_seed(2)
    neuron = sf.neurons.LIF(tau_m=10.0, dt=1.0)
    model = sf.neurons.Sequential(G2GLinear(16, 8, 4, bias=False), neuron)
    with torch.no_grad():
        model[0].parametrizations["weight"].original *= 10.0
    x = (torch.rand(20, 2, 16) < 0.3).float()
    out, _ = model(x)
    out.sum().backward()
    gradient = model[0].parametrizations["weight"].original.grad
    assert (gradient[~masked(model[0]).mask] == 0).all()
    assert float(out.detach().sum()) > 5
    network = sf.Network.from_module(baked(model), (16,))
    result = sf.Simulator(network, threads=1).run(x)
    assert np.array_equal(result.outputs, network.module(x)[0].detach().numpy())
    assert result.outputs.sum() > 5


# Live synapses.


def circuit(synapse: Any, delay: Any) -> tuple[sf.Network, Any]:
    net = sf.Network(seed=5)
    receptors = {"exc": sf.neurons.Exp(tau=5.0), "inh": sf.neurons.Exp(tau=3.0)}
    neuron = sf.neurons.LIF(tau_m=20.0, v_th=20.0, t_ref=2.0, receptors=receptors)
    a = net.population("a", 140, neuron, v=sf.Uniform(0.0, 20.0))
    b = net.population("b", 20, neuron)
    (link,) = net.connect(a, a, sf.FixedOutDegree(6, multapses=True), receptor="exc", weight=2.0, delay=delay,
                          synapse=synapse)  # fmt: skip
    net.connect(a, b, sf.FixedOutDegree(3), receptor="exc", weight=2.0, delay=0.4, synapse=PairSTDP(w_max=4.0))
    net.connect(b, a, sf.FixedOutDegree(20), receptor="inh", weight=-1.0, delay=0.3)
    net.stimulate([a, b], sf.PoissonInput(3000.0, 5.0), receptor="exc")
    net.record([a, b], "spikes")
    return net, link


def counted(spikes: Any, size: int, steps: int) -> Any:
    """Return spike counts, ``[bins, neurons]``."""
    found = np.zeros((4, size), np.int64)
    np.add.at(found, (np.asarray(spikes.steps) % steps * 4 // steps, np.asarray(spikes.ids)), 1)
    return found


def rewired_run(net: sf.Network, link: Any, options: dict[str, Any], path: Any = None) -> tuple[Any, dict[str, Any]]:
    """Run 4 ms, rewire, run 4 ms, rewire again, run 4 ms; with a path, save and load before each second ms."""
    sim = sf.Simulator(net, dt=0.1, **options)
    results = []
    for part, rule in enumerate((Rewiring(0.2, "hebbian", "hebbian", weight=1.0), Rewiring(0.3, weight=0.5), None)):
        results.append(sim.run(1.0, progress=False))
        if path is not None:
            index = link.index
            sim.save(path)
            sim = sf.Simulator.load(path, threads=3 - part % 2)
            link = sim.network.projections[index]
        results.append(sim.run(3.0, progress=False))
        if rule is not None:
            x = np.concatenate([counted(r.spikes["a"], 140, 40) for r in results[-2:]])
            link = sim.rewire(link, rule, Activity(x, x))
            sim.rewire(sim.network.projections[2], Rewiring(0.3, "random", weight=-0.5))
    found = {n: np.concatenate([getattr(r.spikes[p], n) for r in results]) for p in "ab" for n in ("steps", "ids")}
    for k, other in enumerate(sim.network.projections):
        weights = sim.weights(other)
        found |= {f"{n} {k}": getattr(weights, n) for n in ("source", "target", "weight")}
    found["v"] = sim.circuit.read("a", "v")
    found["delivered"] = np.array([sum(r.delivered for r in results), results[-1].in_flight])
    return sim, found


@pytest.mark.exact
@pytest.mark.parametrize(
    "kind", [*(pytest.param(k, marks=pytest.mark.campaign) for k in ("static", "one delay")), "several delays"]
)
def test_a_rewired_run_is_the_references_for_any_threads_and_saving(kind, tmp_path):
    synapse = {"static": None, "one delay": RewardSTDP(w_max=4.0), "several delays": PairSTDP(w_max=4.0, lambda_=0.1)}
    delay = sf.Uniform(0.2, 1.5) if kind == "several delays" else 0.4
    given = synapse[kind], delay
    _, expected = rewired_run(*circuit(*given), {"backend": "reference"})
    assert expected["ids"].size > 10
    for threads in (1, 2, 3):
        _, found = rewired_run(*circuit(*given), {"threads": threads})
        assert all(np.array_equal(found[n], expected[n]) for n in expected)
    _, found = rewired_run(*circuit(*given), {"threads": 2}, tmp_path / "state.h5")
    assert all(np.array_equal(found[n], expected[n]) for n in expected)


@pytest.mark.exact
def test_synapses_that_stay_keep_what_they_learnt():
    net, link = circuit(RewardSTDP(w_max=4.0), sf.Uniform(0.2, 1.5))
    sim = sf.Simulator(net, dt=0.1, backend="reference")
    sim.run(6.0, progress=False)
    before, traces = sim.weights(link), _own(sim, link)
    assert np.abs(traces["c"]).max() > 0
    new = sim.rewire(link, Rewiring(0.25, weight=0.125))
    after, now = sim.weights(new), _own(sim, new)
    assert after.source.size == before.source.size == 840
    with pytest.raises(ParameterError, match="no projection"):
        sim.weights(link)
    weight = np.abs(before.weight)
    dropped = np.lexsort((before.source, before.target, weight))[:210]
    stays = np.setdiff1d(np.arange(840), dropped)
    was = sorted(zip(before.source[stays], before.target[stays], before.weight[stays], traces["c"][stays], strict=True))
    found = sorted(zip(after.source, after.target, after.weight, now["c"], strict=True))
    added = [f for f in found if f[2] == 0.125 and f[3] == 0.0]
    assert len(added) == 210
    assert [f for f in found if f not in added] == was
    assert all(a[0] != a[1] for a in added)
    assert not {a[:2] for a in added} & set(zip(before.source, before.target, strict=True))
    sim.run(1.0, progress=False)


def _own(sim: sf.Simulator, link: Any) -> dict[str, Any]:
    """Return the state of a projection's synapses in its own order."""
    bundle = sim.circuit.laid.plastic[link.index]
    order, held = sim.circuit.laid.plan.bundles[bundle].weight, sim.circuit.state.plastic[bundle]
    found = {name: np.empty(order.size) for name in ("c", "p")}
    for name, values in found.items():
        values[order] = held[name]
    return found


# Bad input.


@pytest.mark.fault
@pytest.mark.parametrize(
    ("options", "error"),
    [({"frac": 1.0}, ParameterError), ({"frac": -0.1}, ParameterError), ({"frac": float("nan")}, NonFiniteError),
     ({"prune": "hebian"}, UnknownNameError), ({"grow": "gradients"}, UnknownNameError),
     ({"weight": float("inf")}, NonFiniteError), ({"seed": -1}, ParameterError), ({"seed": 1.5}, ParameterError)],
)  # fmt: skip
def test_a_rewiring_refuses(options, error):
    with pytest.raises(error, match=next(iter(options))):
        Rewiring(**options)


@pytest.mark.fault
def test_scores_that_are_missing_or_do_not_fit_are_refused():
    pairs, weight = np.arange(10), np.ones(10)
    for rule, word in ((Rewiring(0.2, "hebbian"), "correlation"), (Rewiring(0.2, grow="gradient"), "gradient="),
                       (Rewiring(0.2, "crossed"), "sign")):  # fmt: skip
        with pytest.raises(ParameterError, match=word):
            rule.exchange(pairs, SHAPE, weight)
    with pytest.raises(ShapeError, match="between"):
        Rewiring(0.2, grow="gradient").exchange(pairs, SHAPE, weight, gradient=Scores(np.ones((3, 3))))
    with pytest.raises(ShapeError, match="one weight per pair"):
        Rewiring().exchange(pairs, SHAPE, weight[1:])
    with pytest.raises(ShapeError, match="Activity"):
        Activity(np.ones((3, 2)), np.ones((4, 2)))


@pytest.mark.fault
def test_layers_that_cannot_be_sparse_are_refused():
    layer = nn.Linear(11, 7)
    optimizer = torch.optim.Adam(layer.parameters())
    with pytest.raises(ShapeError, match="mask has shape"):
        sparsify(layer, torch.ones(11, 7))
    with pytest.raises(UnsupportedLayerError, match="no weight"):
        sparsify(nn.Flatten(), torch.ones(1))
    with pytest.raises(UnsupportedLayerError, match="no mask"):
        SparseTraining(layer, optimizer, Rewiring(), 10)
    for sparsity in (1.0, -0.1, float("nan"), "half"):
        with pytest.raises((ParameterError, NonFiniteError), match="sparsity"):
            random_mask((3, 4), sparsity)
    sparsify(layer, random_mask((7, 11), 0.5))
    with pytest.raises(ConfigError, match="already"):
        sparsify(layer, torch.ones(7, 11))
    with pytest.raises(ConfigError, match="does not train"):
        SparseTraining(layer, torch.optim.Adam(nn.Linear(2, 2).parameters()), Rewiring(), 10)
    fitting = torch.optim.Adam(layer.parameters())
    for options in ({"every": 0}, {"every": 10, "until": 0}, {"every": 10, "l1": -1.0}):
        with pytest.raises(ParameterError):
            SparseTraining(layer, fitting, Rewiring(), **options)


def test_groups_may_be_single_neurons():
    layer = G2GLinear(8, 4, groups=4, p_inter=0.0)
    assert masked(layer).mask.sum(0).tolist() == [1] * 8 and masked(layer).mask.sum(1).tolist() == [2] * 4


@pytest.mark.fault
def test_exploring_asks_for_growth_by_gradients():
    layer = nn.Linear(11, 7)
    sparsify(layer, random_mask((7, 11), 0.5))
    fitting = torch.optim.Adam(layer.parameters())
    with pytest.raises(ConfigError, match="grows random"):
        SparseTraining(layer, fitting, Rewiring(grow="random"), 10, explore=0.1)
    assert SparseTraining(layer, fitting, Rewiring(grow="gradient"), 10, explore=0.1).explore == 0.1


@pytest.mark.fault
@pytest.mark.parametrize(
    ("options", "error"),
    [({"groups": 0}, ParameterError), ({"groups": 30}, ParameterError), ({"p_inter": 1.5}, ParameterError),
     ({"p_inter": float("nan")}, NonFiniteError), ({"labeling": "mixed"}, UnknownNameError)],
)  # fmt: skip
def test_groups_refuse(options, error):
    with pytest.raises(error):
        G2GLinear(24, 16, **options)


@pytest.mark.fault
def test_projections_that_cannot_be_rewired_are_refused():
    net, link = circuit(PairSTDP(w_max=4.0), 0.4)
    (recorded,) = net.connect(link.source, link.source, sf.OneToOne(), receptor="exc", weight=1.0, delay=0.4,
                              synapse=PairSTDP(w_max=4.0))  # fmt: skip
    net.record(recorded, "weight", every=1.0)
    sim = sf.Simulator(net, dt=0.1)
    with pytest.raises(ParameterError, match="recorded by place"):
        sim.rewire(recorded, Rewiring())
    with pytest.raises(ParameterError, match="within"):
        sim.rewire(link, Rewiring(weight=5.0))
    with pytest.raises(ParameterError, match="no projection"):
        sim.rewire("link", Rewiring())
