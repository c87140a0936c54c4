"""Drives with a value for each neuron: rates of Poisson inputs, amplitudes of currents."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import pdtr, pdtrc

import spikeframe as sf
from spikeframe import neurons as n
from spikeframe.errors import NonFiniteError, ParameterError, ShapeError
from spikeframe.kernels.cuda import grid
from spikeframe.kernels.reference.grid import ReferenceGrid
from spikeframe.kernels.reference.poisson import laws, thresholds
from tests.kernels.cuda_on_host import GXX, HostGrid
from tests.kernels.grid_networks import assert_same, results

SIZE = 75
RATES = np.concatenate([np.zeros(3), np.linspace(1.0, 3e4, SIZE - 6), [200.0, 200.0, 200.0]])
CURRENTS = np.linspace(-300.0, 700.0, SIZE)


def network() -> sf.Network:
    """Every kind of drive with values of each neuron's own, beside a population that integrates in a loop."""
    net = sf.Network(seed=11)
    a = net.population("a", 21, n.EIF(substeps=3, i_e=3000.0, receptors=n.Delta()), v=sf.Uniform(-60.0, -50.0))
    b = net.population("b", SIZE, n.LIF(t_ref=2.0, tau_m=10.0))
    net.connect(a, b, sf.FixedProbability(0.2), weight=3.0, delay=1.5)
    net.stimulate(a, sf.PoissonInput(rate=800.0, weight=2.0))
    net.stimulate(b, sf.PoissonInput(rate=RATES, weight=0.125, start=1.0, stop=9.0))
    net.stimulate(b, sf.DC(CURRENTS / 100.0, start=2.0, stop=12.0))
    net.stimulate(b, sf.NoiseCurrent(mean=CURRENTS / 200.0, sd=0.5))
    steps = np.stack([np.zeros(SIZE), CURRENTS / 100.0, -CURRENTS / 100.0])
    net.stimulate(b, sf.StepCurrent([1.0, 3.0, 8.0], steps))
    net.record([a, b], "spikes")
    net.record(b, "v", every=0.5)
    return net


@pytest.mark.exact
def test_values_of_each_neuron_give_the_reference_s_bits():
    plain = sf.Simulator(network(), dt=0.1, backend="reference", threads=1)
    fast = sf.Simulator(network(), dt=0.1, backend="numba", threads=3)
    expected, found = plain.run(15.0, progress=False), fast.run(15.0, progress=False)
    assert np.array_equal(expected.traces["b"]["v"].values, found.traces["b"]["v"].values)
    assert np.array_equal(plain.read("a"), fast.read("a"))
    assert expected.counts["b"].spk_in == found.counts["b"].spk_in
    assert expected.total_spikes == found.total_spikes > 100


@pytest.mark.exact
@pytest.mark.skipif(GXX is None, reason="needs g++")
@pytest.mark.parametrize(
    "plain", [pytest.param(False, id="one kernel"), pytest.param(True, id="plain launches", marks=pytest.mark.campaign)]
)
def test_values_of_each_neuron_give_the_same_bits_in_cuda_text_on_host_threads(plain, tmp_path):
    expected = results(network(), ReferenceGrid(), [80], "float32", 1)
    cuda = grid.CudaGrid(HostGrid(tmp_path, blocks=3), plain=plain)
    assert_same(expected, results(network(), cuda, [33, 47], "float32", 3), samples=False)


@pytest.mark.exact
def test_equal_values_of_each_neuron_are_one_value():
    """The same counters, whatever the form: NEST's and Brian2's arrays of one value change nothing."""

    def run(many: bool) -> sf.core.circuit.CircuitResult:
        net = sf.Network(seed=2)
        p = net.population("p", SIZE, n.LIF(tau_m=10.0))

        def own(x: float) -> object:
            return np.full(SIZE, x) if many else x

        net.stimulate(p, sf.PoissonInput(rate=own(9000.0), weight=0.0625))
        net.stimulate(p, sf.DC(own(0.75)))
        net.stimulate(p, sf.NoiseCurrent(mean=own(0.1), sd=0.3))
        net.stimulate(p, sf.StepCurrent([1.0, 2.0], np.outer([1.0, 2.0], np.ones(SIZE)) if many else [1.0, 2.0]))
        net.record(p, "v")
        return sf.Simulator(net, dt=0.1, threads=1, backend="reference").run(8.0, progress=False)

    one, each = run(False), run(True)
    assert np.array_equal(one.traces["p"]["v"].values, each.traces["p"]["v"].values)
    assert one.counts["p"] == each.counts["p"]


@pytest.mark.exact
def test_a_module_and_a_checkpoint_take_values_of_each_neuron(tmp_path):
    net = network()
    whole = sf.Simulator(net, dt=0.1, threads=1).run(15.0, progress=False)
    first = sf.Simulator(network(), dt=0.1, threads=1)
    first.run(6.0, progress=False)
    first.save(tmp_path / "run.h5")
    rest = sf.Simulator.load(tmp_path / "run.h5").run(9.0, progress=False)
    assert np.array_equal(whole.traces["b"]["v"].values[12:], rest.traces["b"]["v"].values)
    module = net.to_module(0.1)
    out, _ = module(steps=150)
    assert int(out["b"].sum()) == len(whole.spikes["b"]) > 0


@pytest.mark.exact
def test_the_precise_clock_takes_currents_of_each_neuron():
    """Against a run for each neuron of its own."""

    def run(levels: np.ndarray, steps: np.ndarray) -> sf.Simulator:
        net = sf.Network()
        p = net.population("p", levels.size, n.LIF(tau_m=10.0, t_ref=1.0))
        net.stimulate(p, sf.DC(levels, start=1.25, stop=30.0))
        net.stimulate(p, sf.StepCurrent([3.5, 11.0], steps))
        net.record(p, "spikes")
        sim = sf.Simulator(net, clock="precise", backend="reference")
        sim.result = sim.run(40.0, progress=False)
        return sim

    levels, steps = np.array([0.5, 1.5, 2.5]), np.array([[0.0, 0.5, 1.0], [1.0, 0.0, -0.5]])
    together = run(levels, steps)
    for i in range(3):
        alone = run(levels[i : i + 1], steps[:, i : i + 1])
        spikes = together.result.spikes["p"]
        assert np.array_equal(spikes.times[spikes.ids == i], alone.result.spikes["p"].times)
        assert together.read("p")[i] == alone.read("p")[0]
    assert len(together.result.spikes["p"]) > 3


@pytest.mark.fault
@pytest.mark.parametrize(
    ("drive", "error", "match"),
    [
        (lambda: sf.DC([1.0, 2.0]), ShapeError, r"'p'.*DC\(amplitude\) has 2 values for 3 neurons"),
        (lambda: sf.DC([[1.0, 2.0, 3.0]]), ShapeError, r"DC\(amplitude\) has shape \(1, 3\)"),
        (lambda: sf.DC([1.0, float("nan"), 0.0]), NonFiniteError, r"DC\(amplitude\)\[1\]"),
        (lambda: sf.PoissonInput([1.0, 2.0], 1.0), ShapeError, r"PoissonInput\(rate\) has 2 values"),
        (lambda: sf.PoissonInput([1.0, -2.0, 0.0], 1.0), ParameterError, r"PoissonInput\(rate\)\[1\]=-2"),
        (lambda: sf.NoiseCurrent([1.0], 1.0), ShapeError, r"NoiseCurrent\(mean\) has 1 values"),
        (lambda: sf.StepCurrent([1.0, 2.0], np.ones((2, 4))), ShapeError, r"StepCurrent\(amplitudes\) has 4 values"),
        (lambda: sf.StepCurrent([1.0, 2.0], np.ones((3, 3))), ShapeError, r"must be equal lists"),
    ],
)
def test_values_that_do_not_fit_are_refused(drive, error, match):
    net = sf.Network()
    p = net.population("p", 3, n.LIF())
    with pytest.raises(error, match=match):
        net.stimulate(p, drive())


@pytest.mark.exact
def test_each_neuron_has_the_thresholds_of_its_rate():
    """Worked out together, and in whole numbers of 2^-64 as one by one."""
    rates = np.array([2.0, 0.0, 1e-12, 0.6931471805599453, 2.0, 300.0])
    begin, high, low = laws(rates)
    assert begin[0] == begin[4]
    for at, rate in zip(begin, rates, strict=True):
        alone = thresholds(float(rate))
        for part, own in zip((high, low), alone, strict=True):
            assert np.array_equal(part[at : at + own.size], own)
        many = np.arange(alone[0].size - 1)
        found = [(int(h) << 32) + int(w) for h, w in zip(*alone, strict=True)]
        pairs = zip(pdtr(many, rate).tolist(), pdtrc(many, rate).tolist(), strict=True)
        exact = [int(b * 2.0**64) if b < 0.5 else 2**64 - int(a * 2.0**64) for b, a in pairs]
        assert found == [min(x, 2**64 - 1) for x in exact] + [2**64 - 1]
