"""What a script says is taken as it stands, or refused: nothing is left out, cut short or changed behind its back."""

import inspect

import numpy as np
import pytest
import torch

import spikeframe as sf
from spikeframe import neurons
from spikeframe.errors import (
    CheckpointError,
    DTypeError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    SpikeframeError,
)

LIF = neurons.LIF(tau_m=20.0, v_th=15.0, t_ref=2.0)


def described(seed=1, weight=0.5, neuron=None):
    """Five random sources onto four cells."""
    net = sf.Network(seed=seed)
    source, cells = net.population("source", 5, sf.PoissonSource(200.0)), net.population("cells", 4, neuron or LIF)
    net.connect(source, cells, sf.AllToAll(), weight=weight, delay=1.0, receptor=next(iter(cells.neuron.receptors)))
    return net


def simulator(net):
    return sf.Simulator(net, dt=0.1, backend="reference")


@pytest.mark.fault
@pytest.mark.parametrize(
    "ids", [np.array([True, False, True, False]), [0.5, 1.7], 3, np.int64(3), "v", slice(0, 3), [float("nan")]]
)
def test_ids_that_are_no_whole_numbers_are_refused(ids):
    net = described()
    with pytest.raises(DTypeError, match="whole numbers"):
        net.record("cells", "v", ids=ids)


@pytest.mark.fault
def test_what_a_recorder_would_leave_out_is_refused():
    net = described()
    net.record("cells", "spikes", ids=[0])
    with pytest.raises(ParameterError, match="recorded already"):
        net.record("cells", "spikes", ids=[3])
    with pytest.raises(ParameterError, match="every spike is recorded"):
        net.record("source", "spikes", every=5.0)


@pytest.mark.fault
@pytest.mark.parametrize("kind", ["LI", "MultilevelLIF", "TernaryLIF", "UltraLIF"])
def test_spikes_of_neurons_that_send_none_are_refused(kind):
    net = described(neuron=getattr(neurons, kind)())
    after = net.population("after", 4, LIF)
    for refused in (
        lambda: net.connect("cells", after, sf.OneToOne(), delay=1.0),
        lambda: net.same_step("cells", after, sf.OneToOne()),
        lambda: net.record("cells", "spikes"),
        lambda: net.record("cells", "rate", every=1.0),
    ):
        with pytest.raises(ParameterError, match=f"{kind} has a graded output and no spikes"):
            refused()


@pytest.mark.fault
@pytest.mark.parametrize(
    ("part", "add"),
    [
        ("recorders", lambda net: net.record("cells", "v")),
        ("stimuli", lambda net: net.stimulate("cells", sf.DC(100.0))),
        ("populations", lambda net: net.population("more", 3, LIF)),
        ("projections", lambda net: net.connect("source", "cells", sf.AllToAll(), weight=1.0, delay=1.0)),
    ],
)
def test_a_simulator_does_not_run_without_what_was_added_to_its_network(part, add, tmp_path):
    net = described()
    sim = simulator(net)
    sim.run(1.0)
    add(net)
    with pytest.raises(ParameterError, match=f"1 of {part} more"):
        sim.run(1.0)
    with pytest.raises(ParameterError, match=f"1 of {part} more"):
        sim.save(tmp_path / "state.h5")
    simulator(net).run(1.0)


def test_arrays_of_a_script_may_change_after_they_were_given():
    times, ids, weight, delay = np.array([1.0, 2.0]), np.zeros(2, int), np.array([3.0]), np.array([0.5])
    v, rate, place, pair = np.zeros(2), np.zeros(2), np.zeros((2, 1)), np.array([0])
    level, matrix = np.zeros(1), np.eye(2)
    net = sf.Network()
    given, silent = net.population("given", 2, sf.SpikeSource(times, ids)), sf.PoissonSource(rate, start=rate)
    cells = net.population("cells", 2, LIF, positions=place, v=v)
    net.population("silent", 2, silent)
    (one,) = net.connect(given, cells, sf.Pairs(pair, [0]), weight=weight, delay=delay)
    (two,) = net.connect(given, cells, sf.FromMatrix(matrix), delay=0.5)
    net.stimulate(cells, sf.StepCurrent([0.1], level))
    net.record(given, "spikes")
    net.record("silent", "spikes")
    net.record(cells, "v")
    for array in (times, ids, weight, delay, v, rate, place, pair, level, matrix):
        array[...] = 9
    sim = simulator(net)
    assert sim.weights(one).weight.tolist() == [3.0] and sim.weights(one).source.tolist() == [0]
    assert sim.weights(two).weight.tolist() == [1.0, 1.0]
    assert cells.positions.tolist() == [[0.0], [0.0]]
    result = sim.run(3.0)
    assert result.spikes["given"].times == pytest.approx([1.0, 2.0]) and not len(result.spikes["silent"])
    assert not result.traces["cells"]["v"].values[:14].any()
    assert result.traces["cells"]["v"].values[14].tolist() == pytest.approx([4.0, 0.0])


@pytest.mark.fault
@pytest.mark.parametrize("bad", ["a", 1j, b"x", sf.Uniform(0.0, 1.0), [[1.0], [1.0, 2.0]]])
def test_what_is_no_number_is_refused_by_every_drive(bad):
    makers = [
        lambda: sf.PoissonSource(bad), lambda: sf.PoissonSource(1.0, start=bad),
        lambda: sf.PoissonSource(1.0, stop=bad), lambda: sf.PoissonInput(1.0, 1.0, stop=bad),
        lambda: sf.PoissonInput(bad, 1.0), lambda: sf.PoissonInput(1.0, bad),
        lambda: sf.DC(bad), lambda: sf.DC(1.0, stop=bad), lambda: sf.NoiseCurrent(0.0, bad), lambda: sf.AC(1.0, bad),
        lambda: sf.StepCurrent(bad, [1.0]), lambda: sf.StepCurrent([1.0], bad),
        lambda: sf.StepCurrent([1.0], [1.0], start=bad), lambda: sf.SpikeSource(bad, [0]),
        lambda: sf.Network().population("p", 2, LIF, positions=bad),
        lambda: described().connect(bad, "cells", sf.AllToAll(), delay=1.0),
        lambda: sf.AllToAll(autapses=bad), lambda: sf.FixedInDegree(1, multapses=bad),
        lambda: described().connect("source", "cells", sf.AllToAll(), delay=1.0, procedural=bad),
    ]  # fmt: skip
    for make in makers:
        with pytest.raises(SpikeframeError):
            make()


@pytest.mark.fault
def test_windows_rates_and_counters_out_of_range_are_refused():
    with pytest.raises(NonFiniteError, match=r"StepCurrent\(start\)"):
        sf.StepCurrent([1.0], [1.0], start=float("nan"))
    with pytest.raises(ParameterError, match="stop must not lie before start"):
        sf.StepCurrent([1.0], [1.0], start=10.0, stop=5.0)
    with pytest.raises(TypeError):
        sf.DC(1.0, sd=1.0)  # noise is `NoiseCurrent`
    with pytest.raises(ShapeError, match=r"PoissonSource\(rate\) has 3 values for 2 neurons"):
        sf.Network().population("p", 2, sf.PoissonSource([1.0, 2.0, 3.0]))
    with pytest.raises(ShapeError, match="start and stop"):
        sf.PoissonSource(1.0, start=[1.0, 2.0], stop=[3.0, 4.0, 5.0])
    net = described()
    net.stimulate("cells", sf.PoissonInput(1e30, 1.0))
    with pytest.raises(ParameterError, match="at most 1,000,000 are drawn"):
        simulator(net)
    for ref in (2.7, -1, 2**31, sf.Uniform(0.0, 3.0)):
        with pytest.raises(ParameterError, match="counts steps"):
            sf.Network().population("p", 2, LIF, ref=ref)
    with pytest.raises(DTypeError, match="one population each"):
        described().same_step(["source"], "cells", sf.AllToAll())


@pytest.mark.fault
def test_quantities_with_a_unit_are_not_taken_for_milliseconds():
    class Seconds(np.ndarray):
        dimensionality = "s"

    with pytest.raises(DTypeError, match="has a unit"):
        sf.SpikeSource(np.array([1.0, 2.0]).view(Seconds), [0, 0])


def test_numbers_of_numpy_and_generators_are_as_good_as_others(tmp_path):
    net = sf.Network(seed=np.int64(3))
    names = [net.population(name, 2, LIF).name for name in "abc"]
    net.connect((n for n in names), (n for n in names), sf.AllToAll(), weight=1.0, delay=1.0)
    assert len(net.projections) == 9
    sim = sf.Simulator(net, dt=0.1, backend="reference", threads=np.int64(2))
    sim.save(tmp_path / "state.h5")
    assert sf.Simulator.load(tmp_path / "state.h5").network.seed == 3


def usable():
    """Every neuron that a described network takes, with settings that are not the default ones."""
    found = [
        neurons.DendriticLIF(3, receptor=lambda: neurons.Exp(tau=2.0), reset="subtract"),
        neurons.SlidingPSN(3),
        neurons.PLIF(tau_m=7.3, learnable=()),
        neurons.LIF(tau_m=7.3, learnable=["tau_m"], receptors={"a": neurons.Alpha(tau=3.1, learnable=["tau"])}),
        neurons.MultilevelLIF(levels=2, signed=True),
        neurons.AdEx(method="midpoint", substeps=2, receptors={"x": neurons.NMDA()}),
    ]
    for name in dir(neurons):
        kind = getattr(neurons, name)
        if inspect.isclass(kind) and issubclass(kind, neurons.Neuron) and kind is not neurons.Neuron:
            found.append(kind())
    with torch.no_grad():
        found[1].weight.copy_(torch.tensor([0.9, 0.3, -0.1]))
    return found


@pytest.mark.exact
def test_every_neuron_goes_on_from_a_file_as_it_was(tmp_path):
    for neuron in usable():
        net = described(weight=1.5, neuron=neuron)
        for state in neuron.all_states():
            net.record("cells", state)
        if neuron.spiking:
            net.record("cells", "spikes")
        sim = simulator(net)
        sim.run(2.0)
        sim.save(tmp_path / "state.h5")
        one, other = sim.run(3.0), sf.Simulator.load(tmp_path / "state.h5").run(3.0)
        assert all(np.array_equal(one.spikes[n].steps, other.spikes[n].steps) for n in one.spikes), neuron
        for state, trace in one.traces.get("cells", {}).items():
            assert np.array_equal(trace.values, other.traces["cells"][state].values), (neuron, state)


class Own(neurons.LIF):
    """A class that no file can hold."""


def test_neurons_of_ones_own_are_loaded_into_the_network_described_again(tmp_path):
    sim = simulator(described(neuron=Own(tau_m=20.0, v_th=1.0)))
    sim.run(10.0)
    sim.save(tmp_path / "state.h5")
    with pytest.raises(CheckpointError, match=r"holds Own, a class of your own.*network=network"):
        sf.Simulator.load(tmp_path / "state.h5")
    for other, part in (
        (described(neuron=Own(tau_m=21.0, v_th=1.0)), "models"),
        (described(neuron=Own(tau_m=20.0, v_th=1.0), seed=2), "seed"),
        (described(neuron=Own(tau_m=20.0, v_th=1.0), weight=0.6), "projections"),
    ):
        with pytest.raises(CheckpointError, match=f"does not fit the given network: its {part}"):
            sf.Simulator.load(tmp_path / "state.h5", network=other)
    again = described(neuron=Own(tau_m=20.0, v_th=1.0))
    again.record("cells", "v")
    traces = sf.Simulator.load(tmp_path / "state.h5", network=again).run(5.0).traces
    sim.run(5.0)
    assert np.array_equal(traces["cells"]["v"].values[-1], sim.circuit.read("cells", "v"))


@pytest.mark.fault
def test_a_flipped_bit_anywhere_is_refused_or_of_no_effect(tmp_path):
    sim = simulator(described())
    sim.run(5.0)
    sim.save(tmp_path / "state.h5")
    raw = (tmp_path / "state.h5").read_bytes()
    sim.run(1.0)
    generator = np.random.default_rng(0)
    refused = 0
    for place in generator.integers(0, 8 * len(raw), 150).tolist():
        damaged = bytearray(raw)
        damaged[place // 8] ^= 1 << place % 8
        (tmp_path / "damaged.h5").write_bytes(damaged)
        try:
            again = sf.Simulator.load(tmp_path / "damaged.h5")
        except CheckpointError:
            refused += 1
            continue
        again.run(1.0)
        assert np.array_equal(again.circuit.read("cells", "v"), sim.circuit.read("cells", "v")), place
    assert refused > 20


@pytest.mark.fault
@pytest.mark.parametrize("name", [3, None, 1.5, b"state.h5"])
def test_what_is_no_file_name_is_refused(name):
    sim = simulator(described())
    with pytest.raises(DTypeError, match="no file name"):
        sim.save(name)
    with pytest.raises(DTypeError, match="no file name"):
        sf.Simulator.load(name)


@pytest.mark.fault
def test_a_file_where_there_can_be_none_is_refused(tmp_path):
    sim = simulator(described())
    with pytest.raises(CheckpointError, match="is a folder"):
        sim.save(tmp_path)
    with pytest.raises(CheckpointError, match="folder does not exist"):
        sim.save(tmp_path / "none" / "state.h5")
