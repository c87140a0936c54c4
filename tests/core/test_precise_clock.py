"""The precise clock of a described network: NEST's spike times, the limit of the grid clock, checkpoints, bad input."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import spikeframe as sf
from spikeframe.errors import (
    CheckpointError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    TimeGridError,
    UnknownNameError,
)
from spikeframe.neurons import ALIF, LIF, Alpha, Delta, Exp
from spikeframe.neurons.receptors import Current

DATA = Path(__file__).parent / "data"
MEMBRANE = {"tau_m": 10.0, "r_m": 0.04, "v_rest": -70.0, "v_th": -55.0, "v_reset": -65.0, "t_ref": 2.0}


def network(seed=3):
    """Twelve neurons with every receptor, drawn weights and delays, given spikes and changing currents.

    All given times are multiples of 1/8 ms.
    """
    net = sf.Network(seed=seed)
    receptors = {"exp": Exp(tau=2.0), "alpha": Alpha(tau=3.0), "delta": Delta()}
    lif = LIF(**MEMBRANE, i_e=np.linspace(400.0, 460.0, 12), receptors=receptors)
    a = net.population("a", 12, lif, v=sf.Uniform(-70.0, -56.0))
    s = net.population("s", 2, sf.SpikeSource([1.125, 2.25, 33.5, 50.75], [0, 1, 0, 1]))
    net.connect(a, a, sf.FixedProbability(0.2), receptor="exp", weight=sf.Normal(30.0, 5.0), delay=1.5)
    net.connect(a, a, sf.FixedInDegree(2), receptor="alpha", weight=-60.0, delay=0.5)
    net.connect(s, a, sf.AllToAll(), receptor="delta", weight=sf.Uniform(0.5, 2.0), delay=2.0)
    net.connect(s, a, sf.Pairs([1, 0, 0], [5, 6, 6]), receptor="exp", weight=[90.0, 50.0, 60.0], delay=[1.0, 2.5, 0.5])
    net.stimulate(a, sf.StepCurrent([0.0, 10.0, 20.0], [30.0, 50.0, -30.0]))
    net.stimulate(a, sf.DC(20.0, 5.0, 40.0))
    net.record([a, s], "spikes")
    return net


def same(a, b):
    """Whether two runs have the same spikes to the bit."""
    return all(
        np.array_equal(getattr(a.spikes[n], what), getattr(b.spikes[n], what))
        for n in a.spikes
        for what in ("whole", "offset", "ids")
    )


@pytest.mark.exact
@pytest.mark.parametrize("model", ["delta", "exp", "alpha"])
def test_every_spike_time_equals_that_of_nests_precise_model(model):
    """30 neurons, 180 synapses, 120 off-grid input spikes, 200 ms; to 1e-13 of the time."""
    given = json.loads((DATA / f"nest_iaf_psc_{model}_ps.json").read_text())
    p = given["params"]
    make = {"delta": lambda _: Delta(), "exp": Exp, "alpha": Alpha}[model]
    taus = [p.get(key, 1.0) for key in ("tau_syn_ex", "tau_syn_in")]
    receptors = {n: make(tau=tau) if model != "delta" else Delta() for n, tau in zip(("ex", "in"), taus, strict=True)}
    lif = LIF(
        tau_m=p["tau_m"], r_m=p["tau_m"] / p["C_m"], v_rest=p["E_L"], v_th=p["V_th"], v_reset=p["V_reset"],
        t_ref=p["t_ref"], i_e=given["i_e_pA"], receptors=receptors,
    )  # fmt: skip
    net = sf.Network()
    neurons = net.population("n", 30, lif, v=given["v_0_mV"])
    times = given["input_times_ms"]
    inputs = net.population(
        "in", 3, sf.SpikeSource(np.concatenate(times), np.repeat(np.arange(3), [len(t) for t in times]))
    )
    source, target, weight, steps = (np.array(given[n]) for n in ("source", "target", "weight", "delay_steps"))
    for name, mine in (("ex", weight > 0), ("in", weight < 0)):
        rule = sf.Pairs(source[mine], target[mine])
        net.connect(neurons, neurons, rule, receptor=name, weight=weight[mine], delay=steps[mine] * 0.1)
    rule = sf.Pairs(given["input_source"], given["input_target"])
    net.connect(inputs, neurons, rule, receptor="ex", weight=given["input_weight"], delay=given["input_delay_ms"])
    net.record(neurons, "spikes")
    spikes = sf.Simulator(net, clock="precise").run(200.0).spikes["n"]
    theirs = np.array(given["spike_step"]) * 0.1 - np.array(given["spike_offset"])
    assert spikes.ids.tolist() == given["spike_neuron"]
    assert np.max(np.abs(spikes.times / theirs - 1.0)) < 1e-13


@pytest.mark.exact
def test_the_grid_clock_comes_to_the_same_times_with_order_one():
    """Each grid spike waits for the end of its step, so the error falls with dt."""
    net = network()
    exact = sf.Simulator(net, clock="precise").run(80.0).spikes["a"]
    order = np.lexsort((exact.times, exact.ids))
    steps, errors = 2.0 ** -np.arange(5, 11), []
    for dt in steps:
        grid = sf.Simulator(net, dt=float(dt), dtype="float64").run(80.0).spikes["a"]
        by_neuron = np.lexsort((grid.times, grid.ids))
        assert np.array_equal(grid.ids[by_neuron], exact.ids[order])
        errors.append(np.abs(grid.times[by_neuron] - exact.times[order]).mean())
    measured = np.polyfit(np.log2(steps), np.log2(errors), 1)[0]
    assert len(exact) > 30
    assert measured == pytest.approx(1.0, abs=0.1)


@pytest.mark.exact
@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_a_run_in_pieces_saved_and_loaded_changes_no_bit(backend, tmp_path):
    whole = sf.Simulator(network(), clock="precise", backend="numba", threads=1)
    expected = whole.run(80.0)
    sim, pieces = sf.Simulator(network(), clock="precise", backend=backend, threads=2), []
    for duration in (0.0, 7.3, 0.2, 30.5):
        pieces.append(sim.run(duration))
        sim.save(tmp_path / "state.h5")
        sim = sf.Simulator.load(tmp_path / "state.h5")
    pieces.append(sim.run(42.0))
    for name, spikes in expected.spikes.items():
        for what in ("whole", "offset", "ids"):
            joined = np.concatenate([getattr(p.spikes[name], what) for p in pieces])
            assert np.array_equal(joined, getattr(spikes, what))
    assert np.array_equal(sim.circuit.read("a"), whole.circuit.read("a"))
    assert sum(p.counts.delivered for p in pieces) == expected.counts.delivered
    assert sum(p.total_spikes for p in pieces) == expected.total_spikes > 40
    assert [p.name for p in tmp_path.iterdir()] == ["state.h5"]


@pytest.mark.exact
def test_threads_and_pieces_of_the_run_itself_change_no_bit(monkeypatch):
    expected = sf.Simulator(network(), clock="precise", threads=1).run(80.0)
    monkeypatch.setattr("spikeframe.core.precise.CHUNK", 3)
    assert same(sf.Simulator(network(), clock="precise", threads=2).run(80.0), expected)
    assert not same(sf.Simulator(network(seed=4), clock="precise").run(80.0), expected)


@pytest.mark.exact
def test_every_synaptic_event_is_accounted_for():
    sim, owed = sf.Simulator(network(), clock="precise"), 0
    for duration in (0.5, 3.0, 7.7, 60.0):
        result = sim.run(duration)
        assert result.counts.sent - result.counts.delivered == result.in_flight - owed
        owed = result.in_flight
    assert result.rates()["a"] == len(result.spikes["a"]) / (12 * 0.06)


@pytest.mark.exact
def test_delays_and_times_are_kept_as_they_are():
    net = sf.Network()
    times, delays = [1.0123456789, 2.5], [math.pi / 10, 1e-6]
    s = net.population("s", 2, sf.SpikeSource(times, [0, 1]))
    target = net.population("t", 2, LIF(tau_m=10.0, reset="value", receptors=Delta()))
    net.connect(s, target, sf.OneToOne(), weight=2.0, delay=sf.Uniform(0.1, 0.1))
    net.connect(s, target, sf.Pairs([0, 1], [0, 1]), weight=2.0, delay=delays)
    net.record(s, "spikes", ids=[1])
    net.record(target, "spikes")
    found = sf.Simulator(net, clock="precise").run(5.0).spikes
    expected = sorted(t + d for t, own in zip(times, delays, strict=True) for d in (0.1, own))
    assert found["t"].times.tolist() == pytest.approx(expected, rel=1e-15)
    assert found["s"].times.tolist() == times[1:]


@pytest.mark.exact
@pytest.mark.parametrize("tau", [10.0, 5.0])
def test_the_membrane_read_is_the_closed_form(tau):
    """One arrival and one step of current, also where both time constants are one."""
    net = sf.Network()
    s = net.population("s", 1, sf.SpikeSource([1.0], [0]))
    lif = LIF(tau_m=10.0, r_m=2.0, v_th=1e9, receptors={"e": Exp(tau=tau)})
    n = net.population("n", 1, lif)
    net.connect(s, n, sf.AllToAll(), receptor="e", weight=3.0, delay=0.25)
    net.stimulate(n, sf.DC(0.5, 0.75, 2.0))
    sim = sf.Simulator(net, clock="precise")
    sim.run(7.25)
    late, d = -math.expm1(-0.125) * math.exp(-0.525), 6.0
    shape = d / 10 * math.exp(-0.6) if tau == 10.0 else math.exp(-0.6) - math.exp(-1.2)
    assert sim.circuit.read("n") == pytest.approx([2.0 * 0.5 * late + 2.0 * 3.0 * shape], rel=1e-14)
    assert sim.circuit.time == 7.25


def test_a_damaged_or_foreign_checkpoint_is_refused(tmp_path):
    sim = sf.Simulator(network(), clock="precise")
    sim.run(20.0)
    sim.save(tmp_path / "state.h5")
    raw = bytearray((tmp_path / "state.h5").read_bytes())
    at = raw.index(sim.circuit.state.neurons["u"].tobytes())
    raw[at] ^= 1
    (tmp_path / "wrong.h5").write_bytes(raw)
    with pytest.raises(CheckpointError, match="damaged"):
        sf.Simulator.load(tmp_path / "wrong.h5")
    other = sf.Network()
    other.population("n", 2, LIF(receptors=Exp()))
    with pytest.raises(CheckpointError, match="does not fit"):
        sf.Simulator.load(tmp_path / "state.h5", network=other)


def refused(change):
    """Make a network with something that the precise clock cannot run, and run it."""
    net = sf.Network()
    n = net.population("n", 2, LIF(**MEMBRANE, receptors={"e": Exp(tau=2.0)}))
    s = net.population("s", 2, sf.SpikeSource([1.0], [0]))
    change(net, n, s)
    sf.Simulator(net, clock="precise").run(5.0)


WRONG = {
    "another neuron": (lambda net, n, s: net.population("x", 1, ALIF()), ParameterError, "not ALIF.*clock='grid'"),
    "a random source": (
        lambda net, n, s: net.population("x", 1, sf.PoissonSource(5.0)), ParameterError, "as a SpikeSource"),
    "random arrivals": (
        lambda net, n, s: net.stimulate(n, sf.PoissonInput(5.0, 1.0)), ParameterError, "give arrivals as a SpikeS"),
    "noise": (lambda net, n, s: net.stimulate(n, sf.NoiseCurrent(0.0, 1.0)), ParameterError, "not NoiseCurrent"),
    "a subtracting reset": (
        lambda net, n, s: net.population("x", 1, LIF(receptors=Delta())), ParameterError, "reset='value'"),
    "a spike into a current": (
        lambda net, n, s: net.connect(s, net.population("x", 2, LIF(receptors=Current())), sf.OneToOne(), delay=1.0),
        ParameterError, "use Delta, Exp"),
    "a recorded state": (lambda net, n, s: net.record(n, "v"), ParameterError, "Simulator.circuit.read"),
    "another initial state": (
        lambda net, n, s: net.population("x", 1, LIF(t_ref=1.0, receptors=Exp()), ref=3), ParameterError, "of v only"),
    "too short a time constant": (
        lambda net, n, s: net.population("x", 1, LIF(tau_m=1e-12, receptors=Exp())), ParameterError, "tau_m=1e-12 ms"),
    "parameters for another size": (
        lambda net, n, s: net.population("x", 3, LIF(i_e=[1.0, 2.0], receptors=Exp())), ShapeError, "for 3 neurons"),
    "delays drawn down to 0": (
        lambda net, n, s: net.connect(s, n, sf.AllToAll(), weight=1.0, delay=sf.Uniform(-1.0, 1.0)),
        TimeGridError, "lowest value"),
    "weights that overflow": (
        lambda net, n, s: net.connect(s, n, sf.Pairs([0, 0], [1, 1]), weight=[1e308, 1e308], delay=1.5),
        NonFiniteError, "n: neuron 1 at 2.5 ms"),
    "a current that is too large": (
        lambda net, n, s: net.population("x", 1, LIF(i_e=1e30, receptors=Exp())), ParameterError, "x: neuron 0.*again"),
}  # fmt: skip


@pytest.mark.fault
@pytest.mark.parametrize("what", WRONG)
def test_what_the_precise_clock_cannot_run_is_refused(what):
    change, error, message = WRONG[what]
    with pytest.raises(error, match=message):
        refused(change)


@pytest.mark.fault
def test_bad_arguments_are_refused():
    net = network()
    with pytest.raises(UnknownNameError, match="Did you mean 'precise'"):
        sf.Simulator(net, clock="precize")
    sim = sf.Simulator(net, clock="precise")
    for duration in (-1.0, math.nan, math.inf, "1"):
        with pytest.raises(TimeGridError, match="number of milliseconds"):
            sim.run(duration)
    with pytest.raises(UnknownNameError, match="population 's'"):
        sim.circuit.read("s")
    with pytest.raises(UnknownNameError, match="state variable"):
        sim.circuit.read("a", "w")
