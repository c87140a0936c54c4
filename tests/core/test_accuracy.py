"""What a run on the grid clock warns of, and that sums of many arrivals do not overflow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spikeframe as sf
from spikeframe.errors import AccuracyWarning
from spikeframe.neurons import AdEx, CondExp, CondLIF, Delta, HodgkinHuxley, Neuron

SLOW: Any = {"exc": CondExp(tau=2.0), "inh": CondExp(tau=5.0, e_rev=-80.0)}


def driven(neuron: Neuron, rate: float, weight: float, receptor: str, **options: Any) -> sf.Simulator:
    net = sf.Network(seed=1)
    net.population("other", 2, CondLIF())
    cells = net.population("cells", 20, neuron)
    net.stimulate(cells, sf.PoissonInput(rate, weight), receptor=receptor)
    return sf.Simulator(net, dt=0.1, backend="reference", **options)


@pytest.mark.parametrize("method", ["rk4", "midpoint", "euler"])
def test_conductances_too_large_for_the_integration_are_warned_of(method):
    """A mean of 10,000 nS over 250 pF is 4 per step of 0.1 ms; a quarter of it is below every limit."""
    sim = driven(CondLIF(method=method), 1e5, 50.0, "inh")
    with pytest.warns(AccuracyWarning, match=r"cells: \d+ of 20 membranes .* as they are now, up to [12]") as found:
        sim.run(20.0)
        sim.run(20.0)
    assert len(found) == 1
    driven(CondLIF(method=method, substeps=4), 1e5, 50.0, "inh").run(20.0)
    driven(CondLIF(method=method), 1e5, 12.5, "inh").run(20.0)


def test_one_weight_too_large_for_the_integration_is_warned_of_before_the_run():
    with pytest.warns(AccuracyWarning, match=r"20 of 20 membranes .* with 8000 nS more, up to 1\.2 times"):
        driven(CondLIF(), 1.0, 8000.0, "exc")
    driven(CondLIF(), 1.0, 6000.0, "exc")
    driven(CondLIF(receptors={"exc": Delta()}), 1.0, 8000.0, "exc")  # millivolts, no conductance


@pytest.mark.parametrize("neuron", [AdEx(i_e=700.0, receptors=SLOW), HodgkinHuxley(i_e=800.0)])
def test_a_neurons_own_spikes_are_no_instability(neuron):
    sim = driven(neuron, 1000.0, 10.0, "exc")
    assert sum(sim.run(0.5).counts["cells"].spk_out for _ in range(40)) > 20


def test_weights_that_the_grid_rounds_away_are_warned_of():
    two: Any = {"exc": Delta(), "inh": Delta()}

    def build(first: Any, second: Any, **options: Any) -> Any:
        net = sf.Network(seed=1)
        a, b = net.population("a", 50, sf.PoissonSource(10.0)), net.population("b", 20, sf.neurons.LIF(receptors=two))
        net.connect(a, b, sf.AllToAll(), receptor="exc", weight=first, delay=1.0)
        net.connect(a, b, sf.Pairs([0], [1]), receptor="exc", weight=second, delay=1.0)
        net.stimulate(b, sf.PoissonInput(10.0, 1.0), receptor="inh")
        return sf.Simulator(net, dt=0.1, backend="reference", **options).circuit.laid.rounding

    with pytest.warns(AccuracyWarning, match=r"a -> b \(exc\): weights of about 0\.001 are rounded by 0\.023"):
        build(0.001, 1000.0)
    with pytest.warns(AccuracyWarning, match=r"weights of about 1 are rounded by 1 of their size"):
        build(sf.LogNormal(0.0, 3.0), 1.0)
    with pytest.warns(AccuracyWarning, match=r"weights of about 0\.3 "):
        build(0.3, [4.0e6])
    assert build(0.25, 2.0**18)[0] > 0.1  # on the grid
    build(1.0, [1e4]), build(sf.Normal(1.0, 0.1), -0.0), build(0.001, 1000.0, dtype="float64")


def test_time_constants_shorter_than_a_step_are_warned_of():
    net = sf.Network()
    two: Any = {"input": sf.neurons.Exp(tau=5.0), "unused": sf.neurons.Exp(tau=1.0)}
    a = net.population("a", 2, sf.neurons.LIF(tau_m=[20.0, 0.02], receptors=two))
    net.stimulate(a, sf.PoissonInput(1.0, 0.1), receptor="input")
    with pytest.warns(AccuracyWarning, match=r"a: tau_m=0\.02 ms is less than a step of dt=0\.1 ms"):
        sf.Simulator(net, dt=0.1)
    with pytest.warns(AccuracyWarning) as found:
        sf.Simulator(net, dt=10.0)
    assert [str(w.message).split(" ms")[0] for w in found] == ["a: tau_m=0.02", "a: receptors['input'].tau=5"]


@pytest.mark.exact
@pytest.mark.parametrize(
    ("sources", "rule", "weight", "times"),
    [
        (1, sf.FixedTotal(5000), 1.0, [1.0]),
        (2, sf.FixedInDegree(3001), 1.0, [1.0, 1.0]),
        (3, sf.FixedOutDegree(7001), 1.0, [1.0, 1.0, 1.0]),
        (1, sf.Pairs([0] * 5000, [2] * 5000), 1.0, [1.0]),
        (1, sf.Pairs([0] * 5000, [2] * 5000), np.full(5000, 1.0 - 2.0**-14), [1.0]),
        (1, sf.AllToAll(), 1.0, [1.0] * 5000),
    ],
)
def test_many_arrivals_of_one_step_do_not_overflow(sources, rule, weight, times):
    found = []
    for backend in ("reference", "numba"):
        net = sf.Network(seed=1)
        ids = np.arange(len(times)) % sources
        s = net.population("s", sources, sf.SpikeSource(times, ids))
        t = net.population("t", 3, sf.neurons.LIF(tau_m=1e9, v_th=1e9, receptors=Delta()))
        (link,) = net.connect(s, t, rule, weight=weight, delay=1.0)
        sim = sf.Simulator(net, dt=0.1, backend=backend)
        sim.run(3.0)
        wired = sim.weights(link)
        found.append(sim.circuit.read("t", "v"))
    every = np.bincount(wired.target, wired.weight * np.bincount(ids)[wired.source], 3)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[1], every, rtol=1e-6)
