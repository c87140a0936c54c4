"""Regressions of simulations that were tried hard: named after what went wrong."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

import spikeframe as sf
from spikeframe import neurons as n
from spikeframe.errors import NonFiniteError, ParameterError, SpikeframeError, TimeGridError, UnknownNameError
from spikeframe.learning_rules import PairSTDP, Rewiring, TripletSTDP


def test_unstable_hodgkin_huxley_is_told_how_many_substeps_to_take():
    net = sf.Network()
    p = net.population("p", 2, n.HodgkinHuxley(substeps=1, i_e=150.0))
    net.record(p, "v")
    sim = sf.Simulator(net, dt=0.1, backend="reference")
    with pytest.raises(NonFiniteError, match=r"rk4 in 1 substep of 0.1 ms.*substeps=2 or more"):
        sim.run(5.0, progress=False)
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


def test_a_refractory_time_beyond_the_counter_is_said_to_be_that():
    """It was said to be no whole number of steps."""
    net = sf.Network()
    net.population("p", 1, n.LIF(t_ref=1e9))
    with pytest.raises(TimeGridError, match=r"1e\+10 steps.*less than 2\^31"):
        sf.Simulator(net, dt=0.1, backend="reference")


def test_what_killed_processes_left_of_a_checkpoint_is_deleted_a_day_later(tmp_path):
    net = sf.Network()
    net.population("p", 1, n.LIF())
    old, new, other = (tmp_path / f".{name}.h5.{pid}.tmp" for name, pid in (("run[1]", 7), ("run[1]", 8), ("run", 7)))
    for left in (old, new, other):
        left.write_bytes(b"half")
        if left is not new:
            os.utime(left, (0, 0))
    sf.Simulator(net, dt=0.1, backend="reference").save(tmp_path / "run[1].h5")
    assert {p.name for p in tmp_path.iterdir()} == {"run[1].h5", new.name, other.name}
    assert sf.Simulator.load(tmp_path / "run[1].h5").circuit.time == 0.0


def small() -> tuple[sf.Network, sf.core.network.Population, sf.core.network.Projection]:
    """A population with two receptors that reaches itself."""
    net = sf.Network()
    p = net.population("p", 3, n.LIF(receptors={"exc": n.Exp(tau=2.0), "inh": n.Exp(tau=3.0)}))
    return net, p, net.connect(p, p, sf.AllToAll(), receptor="exc", weight=0.1, delay=0.1)[0]


RAGGED, EMPTY, TRAINED = [[1, 2], [3]], np.zeros(0), torch.zeros(3, requires_grad=True)


@pytest.mark.fault
@pytest.mark.parametrize(
    "call",
    [
        lambda net, p, link: net.population("q", 3, n.LIF(), bias=RAGGED),
        lambda net, p, link: net.population("q", 3, n.LIF(), v=RAGGED),
        lambda net, p, link: net.connect(p, p, sf.AllToAll(), receptor=EMPTY, delay=0.1),
        lambda net, p, link: net.connect(p, p, sf.AllToAll(), receptor="exc", weight=RAGGED, delay=0.1),
        lambda net, p, link: net.connect(p, np.array(0.5), sf.AllToAll(), delay=0.1),
        lambda net, p, link: net.connect(p, p, sf.FixedInDegree(2**63), receptor="exc", delay=0.1),
        lambda net, p, link: net.connect(p, p, sf.Pairs(TRAINED, TRAINED), receptor="exc", delay=0.1),
        lambda net, p, link: net.connect(p, p, sf.Pairs(RAGGED, RAGGED), receptor="exc", delay=0.1),
        lambda net, p, link: net.connect(p, p, sf.FromMatrix(TRAINED), receptor="exc", delay=0.1),
        lambda net, p, link: net.connect(p, p, sf.DistanceDependent(EMPTY, 0.1, 1.0), receptor="exc", delay=0.1),
        lambda net, p, link: net.record(None, "v"),
        lambda net, p, link: net.record(p, ["v", "ref"]),
        lambda net, p, link: net.record(p, EMPTY),
        lambda net, p, link: net.record(p, "v", ids=np.array(0.5)),
        lambda net, p, link: net.record(p, "v", ids=RAGGED),
        lambda net, p, link: net.record(p, "v", ids=TRAINED),
        lambda net, p, link: net.stimulate(p, sf.DC(RAGGED)),
        lambda net, p, link: net.population("q", 3, sf.SpikeSource([0.1], TRAINED)),
        lambda net, p, link: sf.Simulator(net, dt=0.1, backend=EMPTY),
        lambda net, p, link: sf.Simulator(net, dt=0.1, dtype=EMPTY),
        lambda net, p, link: sf.Simulator(net, dt=0.1, clock=EMPTY),
        lambda net, p, link: sf.Simulator(net, dt=0.1, threads=2**63),
        lambda net, p, link: sf.Simulator(net, dt=1e-320, backend="reference"),
        lambda net, p, link: sf.Simulator(net, dt=0.1, backend="reference").read([]),
        lambda net, p, link: sf.Simulator(net, dt=0.1, backend="reference").read(p, []),
        lambda net, p, link: sf.Simulator(net, dt=0.1, backend="reference").restart(EMPTY),
        lambda net, p, link: sf.Simulator(_driven(net, p, stop=1e308), dt=0.1, backend="reference"),
        lambda net, p, link: sf.Simulator(_late(net, p), dt=0.1, backend="reference"),
    ],
)
def test_nonsense_ends_in_our_own_errors(call):
    """Each ended in a traceback of NumPy's or Python's own."""
    with pytest.raises(SpikeframeError):
        call(*small())


def _driven(net, p, stop):
    net.stimulate(p, sf.DC(1.0, stop=stop))
    return net


def _late(net, p):
    net.connect(p, p, sf.AllToAll(), receptor="exc", delay=1e308)
    return net


@pytest.mark.exact
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_smallest_weights_are_numbers(dtype):
    """The unit of 1e-320 was 0 (a ZeroDivisionError), and float32 made 0 of that of 1e-40."""
    weight, unit = (1e-40, 1e-45) if dtype == "float32" else (1e-320, 5e-324)
    net = sf.Network()
    s = net.population("s", 1, sf.SpikeSource([0.1], [0]))
    t = net.population("t", 1, n.LIF(tau_m=10.0, v_th=1.0))
    net.connect(s, t, sf.OneToOne(), weight=weight, delay=0.1)
    sim = sf.Simulator(net, dt=0.1, backend="reference", dtype=dtype)
    sim.run(0.2, progress=False)
    assert float(sim.read("t")[0]) == pytest.approx(weight, abs=unit)


@pytest.mark.parametrize("p", [1e-320, 1e-17])
def test_a_probability_below_rounding_connects_nobody(p):
    """Its gaps between hits were infinite, and their whole number lay below 0: a segmentation fault."""
    net = sf.Network()
    a = net.population("a", 70, n.LIF())
    link = net.connect(a, a, sf.FixedProbability(p), weight=0.1, delay=0.1)[0]
    assert sf.Simulator(net, dt=0.1, backend="reference").weights(link).source.size == 0


@pytest.mark.fault
@pytest.mark.parametrize(
    "make",
    [
        lambda: n.LIF(detach_reset="no"),
        lambda: n.ResonateFire(reset="no"),
        lambda: n.UltraLIF(form=EMPTY),
        lambda: n.LIF(reset=EMPTY),
        lambda: n.LIF(backend=EMPTY),
        lambda: n.EIF(method=[]),
        lambda: PairSTDP(w_max=1.0, pairing=EMPTY),
        lambda: TripletSTDP(w_max=1.0, pairing=EMPTY),
    ],
)
def test_options_that_are_none_are_refused(make):
    """A text for True or False was True, whatever it said."""
    with pytest.raises(SpikeframeError):
        make()


@pytest.mark.fault
@pytest.mark.parametrize("name", [".", "a\0b", "a/b", ""])
def test_names_that_no_file_can_hold_are_refused(name):
    """A file of spikes could not be written, or not be read again."""
    with pytest.raises(ParameterError, match="population name"):
        sf.Network().population(name, 1, n.LIF())


@pytest.mark.fault
def test_a_receptor_named_current_is_for_injected_currents():
    """Injected currents went through whatever receptor had that name, and synapses could not reach it."""
    with pytest.raises(ParameterError, match="'current' takes injected currents"):
        sf.Network().population("p", 1, n.LIF(receptors={"current": n.Exp(tau=2.0)}))
    sf.Network().population("p", 1, n.LIF(receptors={"current": n.Current(), "exc": n.Exp(tau=2.0)}))


@pytest.mark.fault
def test_times_beyond_the_precise_clock_are_refused():
    """They ended in an OverflowError, or in a wrong time where it was compiled."""
    net = sf.Network()
    p = net.population("p", 1, n.LIF(reset="value"))
    net.stimulate(p, sf.DC(1.0, stop=1e308))
    with pytest.raises(TimeGridError, match=r"1e\+308 ms: the precise clock takes times up to"):
        sf.Simulator(net, clock="precise", backend="reference")
