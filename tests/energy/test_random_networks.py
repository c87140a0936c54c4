"""Counts of random networks equal what plain loops over every spike and synapse count."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

import spikeframe as sf
from spikeframe import energy
from spikeframe.neurons import LI, LIF, CondLIF, Izhikevich, Sequential
from spikeframe.neurons.receptors import Exp

STEPS, DT = 60, 0.5
MODELS = (
    lambda: LIF(tau_m=10.0, t_ref=1.0),
    lambda: LIF(tau_m=20.0, receptors={"a": Exp(tau=3.0), "b": Exp(tau=6.0)}, i_e=0.06, reset="value"),
    lambda: Izhikevich(i_e=12.0, method="euler"),
    lambda: CondLIF(i_e=400.0),
)


def rule(rng, same_size):
    rules = [
        sf.AllToAll(),
        sf.FixedProbability(float(rng.uniform(0.05, 0.5))),
        sf.FixedInDegree(int(rng.integers(1, 5))),
        sf.FixedOutDegree(int(rng.integers(1, 5))),
        sf.FixedTotal(int(rng.integers(1, 60))),
    ]
    return rules[rng.integers(len(rules))] if not same_size or rng.random() < 0.8 else sf.OneToOne()


def random_network(seed, models=MODELS):
    """Describe a network whose every spike can be listed: its input are sources, no bare arrivals."""
    rng = np.random.Generator(np.random.Philox(seed))
    net = sf.Network(seed)
    net.population("noise", int(rng.integers(1, 12)), sf.PoissonSource(float(rng.uniform(50, 400))))
    for i in range(int(rng.integers(1, 4))):
        net.population(f"p{i}", int(rng.integers(1, 80)), models[rng.integers(len(models))]())
    names = list(net.populations)
    for _ in range(int(rng.integers(1, 6))):
        source, target = names[rng.integers(len(names))], names[1 + rng.integers(len(names) - 1)]
        receptors = [r for r in net.populations[target].neuron.receptors if r != "current"]
        same = net.populations[source].size == net.populations[target].size
        net.connect(
            source, target, rule(rng, same), receptor=receptors[rng.integers(len(receptors))],
            weight=float(rng.uniform(0.05, 2.0)), delay=DT * int(rng.integers(1, 9)),
        )  # fmt: skip
    net.record(names, "spikes")
    return net


def loops(sim, result):
    """Count synapse by synapse and spike by spike."""
    found = {name: Counter() for name in result.sizes}
    delivered = sent = 0
    for link in sim.network.projections:
        weights = sim.weights(link)
        targets_of = [[] for _ in range(link.source.size)]
        for source, target in zip(weights.source.tolist(), weights.target.tolist(), strict=True):
            targets_of[source].append(target)
        spikes, delay = result.spikes[link.source.name], round(link.delay.value / DT)
        for step, neuron in zip(spikes.steps.tolist(), spikes.ids.tolist(), strict=True):
            found[link.target.name]["spk_in"] += 1
            for _ in targets_of[neuron]:
                found[link.target.name]["syn_ac"] += 1
                sent += 1
                delivered += step + delay < STEPS
        found[link.target.name]["weights"] += weights.weight.size
        found[link.target.name]["syn_ac_dense"] += STEPS * sum(map(len, targets_of))
    for name in result.sizes:
        found[name]["spk_out"] = len(result.spikes[name])
    return found, delivered, sent


def check(seed, backend, models=MODELS):
    net = random_network(seed, models)
    sim = sf.Simulator(net, dt=DT, backend=backend, threads=1)
    result = sim.run(STEPS * DT, progress=False)
    found, delivered, sent = loops(sim, result)
    assert (result.delivered, result.in_flight) == (delivered, sent - delivered)
    for name, counts in result.counts.items():
        for field in ("spk_in", "spk_out", "syn_ac", "weights", "syn_ac_dense"):
            assert getattr(counts, field) == found[name][field], (seed, name, field)
        neuron = net.populations[name].neuron
        if isinstance(neuron, sf.neurons.Neuron):
            dense = STEPS * result.sizes[name]
            assert counts.neu_upd == dense if backend == "reference" else counts.neu_upd <= dense
            each = sim.circuit.laid.plan.groups[sim.circuit.laid.place[name][0]].program.operations()
            assert [counts.neu_ac, counts.neu_mac, counts.neu_exp, counts.neu_cmp] == [
                counts.neu_upd * each[kind] for kind in ("ac", "mac", "exp", "cmp")
            ]
    return sum(c.syn_ac for c in result.counts.values())


@pytest.mark.filterwarnings("ignore:.* is less than a step")
@pytest.mark.exact
def test_simulations_are_counted_as_loops_count():
    assert sum(check(seed, "reference") for seed in range(8)) > 1000


@pytest.mark.exact
@pytest.mark.campaign
def test_two_hundred_simulations_are_counted_as_loops_count():
    assert sum(check(seed, "reference") for seed in range(200)) > 100_000
    assert sum(check(seed, "numba") for seed in range(12)) > 1000


def random_model(rng):
    """Build a feed-forward model with random layers and some pruned weights."""
    layers, features = [], int(rng.integers(2, 9))
    shape = (features,)
    for _ in range(int(rng.integers(1, 4))):
        width = int(rng.integers(1, 9))
        layer = nn.Linear(shape[0], width, bias=bool(rng.random() < 0.5))
        with torch.no_grad():
            layer.weight.mul_(3.0)[torch.tensor(rng.random((width, shape[0])) < 0.3)] = 0.0
        layers += [layer, LIF(dt=1.0, tau_m=float(rng.uniform(2, 20)), backend="torch")]
        shape = (width,)
    if rng.random() < 0.5:
        layers += [nn.Linear(shape[0], 3), LI(dt=1.0, backend="torch")]
    return Sequential(*layers).eval(), features


def check_model(seed):
    torch.manual_seed(seed)
    rng = np.random.Generator(np.random.Philox(seed))
    model, features = random_model(rng)
    steps, batch = int(rng.integers(1, 12)), int(rng.integers(1, 4))
    x = torch.tensor((rng.random((steps, batch, features)) < 0.3).astype(np.float32))
    counts = energy.count(model, x)
    event_driven = sf.Simulator(sf.Network.from_module(model, (features,)), backend="reference").run(x)
    values, total = x, 0
    for index in range(0, len(model), 2):
        layer, neurons = model[index], model[index + 1]
        added = 0
        for row in values.reshape(-1, values.shape[-1]).tolist():
            for value, column in zip(row, layer.weight.T.tolist(), strict=True):
                added += sum(w != 0 for w in column) if value != 0 else 0
        mine, other = counts[str(index + 1)], event_driven.counts[str(index + 1)]
        values = neurons(layer(values))[0].detach()
        fired = int((values != 0).sum()) if neurons.spiking else 0
        assert (mine.syn_ac, mine.syn_mac, mine.spk_out) == (added, 0, fired), (seed, index)
        assert (other.syn_ac, other.spk_out) == (added, fired), (seed, index)
        assert mine.neu_upd == steps * batch * layer.out_features
        total += added
    return total


@pytest.mark.exact
def test_models_are_counted_as_loops_count():
    assert sum(check_model(seed) for seed in range(10)) > 500


@pytest.mark.exact
@pytest.mark.campaign
def test_two_hundred_models_are_counted_as_loops_count():
    assert sum(check_model(seed) for seed in range(200)) > 10_000
