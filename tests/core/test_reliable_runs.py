"""Regressions of simulations that were tried hard: named after what went wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import spikeframe as sf
from spikeframe import neurons as n
from spikeframe.errors import NonFiniteError, ParameterError, UnknownNameError
from spikeframe.learning_rules import Rewiring


def test_unstable_hodgkin_huxley_is_told_how_many_substeps_to_take():
    net = sf.Network()
    p = net.population("p", 2, n.HodgkinHuxley(substeps=1, i_e=150.0))
    net.record(p, "v")
    sim = sf.Simulator(net, dt=0.1, backend="reference")
    with pytest.raises(NonFiniteError, match=r"rk4 in 1 substep of 0.1 ms.*substeps=2 or more"):
        sim.run(10.0, progress=False)
    with pytest.raises(NonFiniteError, match=r"'v' is not finite at the end of the run.*substeps=2 or more"):
        x = torch.zeros(60, 1, 1, dtype=torch.float64)
        n.HodgkinHuxley(dt=0.1, substeps=1, i_e=150.0, backend="reference")({"exc": x, "inh": x})


@pytest.mark.parametrize("clock", ["grid", "precise"])
def test_a_simulator_reads_states(clock):
    net = sf.Network()
    p = net.population("p", 3, n.LIF(tau_m=10.0, reset="value"), v=[0.1, 0.2, 0.3])
    sim = sf.Simulator(net, dt=None if clock == "precise" else 0.1, backend="reference", clock=clock)
    start = sim.read(p)
    assert start.tolist() == pytest.approx([0.1, 0.2, 0.3])
    sim.run(1.0, progress=False)
    assert sim.read("p", "v").tolist() == pytest.approx((np.array([0.1, 0.2, 0.3]) * np.exp(-0.1)).tolist())
    with pytest.raises(UnknownNameError, match="'q'"):
        sim.read("q")
    with pytest.raises(UnknownNameError, match="'u'"):
        sim.read(p, "u")


def test_the_precise_clock_says_that_it_writes_no_files(tmp_path):
    net = sf.Network()
    net.record(net.population("p", 1, n.LIF(reset="value")), "spikes")
    sim = sf.Simulator(net, clock="precise", backend="reference")
    with pytest.raises(ParameterError, match=r"output=.*grid clock"):
        sim.run(1.0, output=tmp_path / "spikes.h5")
    assert sim.run(1.0).duration == 1.0


@pytest.mark.exact
def test_counts_follow_synapses_that_are_rewired():
    """Sums of fan-outs are kept between runs, as long as the synapses are the same."""
    net = sf.Network(seed=4)
    a, b = (net.population(name, 30, n.LIF(v_th=0.5)) for name in "ab")
    net.stimulate(a, sf.DC(2.0))
    link = net.connect(a, b, sf.FixedProbability(0.3), weight=sf.Uniform(0.1, 1.0), delay=0.3)[0]
    other = net.connect(b, b, sf.OneToOne(), weight=0.1, delay=0.2, procedural=True)[0]
    sim = sf.Simulator(net, dt=0.1, backend="reference")
    for grow in (None, "random", "none"):
        if grow:
            link = sim.rewire(link, Rewiring(0.4, "magnitude", grow, weight=0.2, seed=3))
        counts = sim.run(3.0, progress=False).counts["b"]
        synapses = sim.weights(link).source
        assert (counts.weights, counts.fan_out) == (synapses.size, np.bincount(synapses).max())
    assert other.procedural


def own(name: str) -> type[n.Neuron]:
    """A neuron whose state variable has this name."""

    class Own(n.Neuron):
        STATES = {name: n.State()}

        def step(self, x, s, c):
            v = getattr(s, name) * 0.5 + x
            return n.spike(v - 1.0), {name: v}

    return Own


@pytest.mark.fault
@pytest.mark.parametrize("name", ["lambda", "class", "v m", "1v", "_v", "v.w", "", "\ufb01"])
def test_a_state_with_no_name_for_one_is_refused(name):
    """They ended in a ValueError of namedtuple, or (a ligature that Python reads as two letters) a SyntaxError."""
    with pytest.raises(ParameterError, match=r"Own: .* is no name for a state variable"):
        sf.Network().population("p", 1, own(name)())


@pytest.mark.parametrize("name", ["rate", "spikes"])
def test_recording_what_is_both_a_state_and_every_population_s_is_refused(name):
    """The state was left out without a word."""
    net = sf.Network()
    p = net.population("p", 1, own(name)())
    with pytest.raises(ParameterError, match="another name"):
        net.record(p, name, every=None if name == "spikes" else 1.0)
