"""The PyNN backend: PyNN's units and conventions over our simulator, run after run."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest

import spikeframe as sf
from spikeframe import energy, errors
from spikeframe.neurons import LIF
from spikeframe.neurons.receptors import Exp

pynn = pytest.importorskip("pyNN")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # PyNN's and its dependencies' own
    import pyNN.errors
    from pyNN.parameters import Sequence
    from pyNN.random import NumpyRNG, RandomDistribution

    import spikeframe.adapters.pynn as sim
    from spikeframe.adapters.pynn.__main__ import main as run_script

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
CELLS = [
    sim.IF_curr_exp(i_offset=1.5), sim.IF_curr_alpha(i_offset=1.5), sim.IF_curr_delta(i_offset=1.5),
    sim.IF_cond_exp(i_offset=1.5), sim.IF_cond_alpha(i_offset=1.5),
    sim.IF_facets_hardware1(v_thresh=-67.0, v_rest=-60.0), sim.EIF_cond_exp_isfa_ista(i_offset=1.0),
    sim.EIF_cond_alpha_isfa_ista(i_offset=1.0), sim.HH_cond_exp(i_offset=0.5), sim.Izhikevich(i_offset=0.01),
    sim.IF_cond_exp_gsfa_grr(i_offset=1.5), sim.GIF_cond_exp(i_offset=1.5, tau_eta=(2.0,), a_eta=(0.5,)),
    sim.PointNeuron(sim.AdExp(i_offset=1.0), fast=sim.ExpPSR(tau_syn=2.0), slow=sim.BetaPSR(tau_decay=9.0)),
    sim.PointNeuron(sim.LIF(i_offset=1.5), one=sim.AlphaPSR(e_syn=-70.0)),
]  # fmt: skip


def setup(**options):
    sim.setup(timestep=0.1, min_delay=0.1, **{"backend": "reference", **options})


def signal(population, name="v"):
    return np.asarray(population.get_data().segments[-1].filter(name=name)[0].magnitude)


def spikes(population):
    return [np.asarray(train.magnitude).tolist() for train in population.get_data("spikes").segments[-1].spiketrains]


@pytest.mark.exact
def test_a_script_gives_what_the_same_network_gives_without_pynn():
    setup()
    cells = sim.Population(3, sim.IF_curr_exp(cm=0.25, tau_m=10.0, tau_refrac=2.0, i_offset=[0.3, 0.5, 0.0]))
    source = sim.Population(2, sim.SpikeSourceArray(spike_times=[[5.0, 11.0], [7.3]]))
    pairs = [(0, 0, 0.4, 1.0), (0, 2, 0.8, 0.5), (1, 1, 0.6, 2.5)]
    sim.Projection(source, cells, sim.FromListConnector(pairs), sim.StaticSynapse(), receptor_type="excitatory")
    sim.Projection(
        cells, cells, sim.AllToAllConnector(allow_self_connections=False), sim.StaticSynapse(weight=-0.05, delay=1.5)
    )
    cells.record(["spikes", "v", "isyn_inh"])
    sim.run(40.0)

    net = sf.Network(0)
    receptors = {"e": Exp(tau=5.0), "i": Exp(tau=5.0)}
    neuron = LIF(
        tau_m=10.0, r_m=10.0 / 250.0, v_rest=-65.0, v_th=-50.0, v_reset=-65.0, t_ref=2.0, reset="value",
        receptors=receptors, i_e=[300.0, 500.0, 0.0],
    )  # fmt: skip
    b = net.population("b", 3, neuron, v=-65.0)
    a = net.population("a", 2, sf.SpikeSource([5.0, 11.0, 7.3], [0, 0, 1]))
    net.connect(a, b, sf.Pairs([0, 0, 1], [0, 2, 1]), receptor="e", weight=[400.0, 800.0, 600.0], delay=[1.0, 0.5, 2.5])
    net.connect(b, b, sf.AllToAll(autapses=False), receptor="i", weight=-50.0, delay=1.5)
    net.record(b, "spikes")
    net.record(b, "v")
    net.record(b, "i_i")
    found = sf.Simulator(net, dt=0.1, backend="reference", dtype="float64").run(40.0, progress=False)
    times = [found.spikes["b"].times[found.spikes["b"].ids == i].tolist() for i in range(3)]
    assert sum(map(len, times)) > 3
    assert spikes(cells) == times
    np.testing.assert_array_equal(signal(cells)[1:], found.traces["b"]["v"].values)
    np.testing.assert_allclose(signal(cells, "isyn_inh")[1:], found.traces["b"]["i_i"].values / 1000.0, rtol=1e-15)
    assert (signal(cells)[0] == -65.0).all()


def busy_network(rule=None):
    cells = sim.Population(6, sim.IF_curr_exp(i_offset=np.linspace(0.7, 1.2, 6), tau_refrac=2.0))
    noise = sim.Population(4, sim.SpikeSourcePoisson(rate=150.0))
    synapse = rule or sim.StaticSynapse(weight=0.3, delay=3.0)
    forward = sim.Projection(noise, cells, sim.AllToAllConnector(), synapse)
    sim.Projection(cells, cells, sim.FixedNumberPreConnector(3), sim.StaticSynapse(weight=0.1, delay=1.0))
    cells.record(["spikes", "v"])
    return cells, noise, forward


def stdp(**options):
    return sim.STDPMechanism(
        timing_dependence=sim.SpikePairRule(tau_plus=15.0, tau_minus=20.0, A_plus=0.1, A_minus=0.12),
        weight_dependence=sim.AdditiveWeightDependence(w_max=0.6),
        dendritic_delay_fraction=0, weight=0.3, delay=3.0, **options,
    )  # fmt: skip


@pytest.mark.exact
@pytest.mark.parametrize("kind", ["static", "stdp", "tsodyks", "quantal"])
def test_a_run_may_be_cut_and_changed_in_between(kind):
    """What changes nothing changes nothing: membranes, plastic weights and spikes under way are carried over."""
    found = []
    for cut in (False, True):
        setup()
        rules = {"static": None, "stdp": stdp(), "tsodyks": sim.TsodyksMarkramSynapse(weight=0.5, delay=3.0, U=0.4)}
        rules["quantal"] = sim.MultiQuantalSynapse(weight=0.5, delay=3.0, U=0.4, n=2)
        cells, _, forward = busy_network(rules[kind])
        if cut:
            sim.run(13.0)
            cells.set(tau_m=20.0)  # what it was: but the network is described anew
            sim.run(0.3)
            sim.Population(2, sim.IF_cond_exp())  # so does a new population, of another model
            sim.run_until(40.0)
        else:
            sim.run(40.0)
        found.append((spikes(cells), signal(cells), forward.get("weight", format="array")))
    assert sum(map(len, found[0][0])) > 6
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])
    np.testing.assert_array_equal(found[0][2], found[1][2])
    assert (found[0][2] != 0.3).any() == (kind != "static")


@pytest.mark.exact
def test_reset_begins_again_with_the_first_weights_and_new_noise():
    setup()
    cells = sim.Population(2, sim.IF_curr_exp(i_offset=0.9))
    driver = sim.Population(2, sim.SpikeSourceArray(spike_times=[[3.0], [4.0]]))
    noise = sim.Population(30, sim.SpikeSourcePoisson(rate=300.0))
    link = sim.Projection(driver, cells, sim.OneToOneConnector(), stdp())
    cells.record(["spikes", "v"])
    noise.record("spikes")
    for _ in range(2):
        sim.run(40.0)
        assert sim.get_current_time() == 40.0
        weights = link.get("weight", format="list", with_address=False)
        sim.reset()
        assert link.get("weight", format="list", with_address=False) == [0.3, 0.3] != weights
    first, second = cells.get_data().segments
    assert len(first.spiketrains[0]) == 1
    np.testing.assert_array_equal(first.analogsignals[0].magnitude, second.analogsignals[0].magnitude)
    a, b = ([t.magnitude.tolist() for t in s.spiketrains] for s in noise.get_data().segments)
    assert a != b


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: type(cell).__name__)
def test_every_standard_cell_runs_and_records_what_pynn_says(cell):
    setup()
    cells = sim.Population(3, cell, initial_values={"v": RandomDistribution("uniform", (-70, -60), rng=NumpyRNG(1))})
    source = sim.Population(1, sim.SpikeSourceArray(spike_times=[2.0]))
    strength = 0.02 if cell.conductance_based else 0.5
    sim.Projection(source, cells[1:2], sim.AllToAllConnector(), sim.StaticSynapse(weight=strength, delay=0.5))
    recorded = [name for name in cell.recordable if name != "spikes"]
    cells.record(["spikes", *recorded])
    sim.run(25.0)
    assert sum(map(len, spikes(cells))) > 0
    for name in recorded:
        values = signal(cells, name)
        assert values.shape == (251, 3)
        assert np.isfinite(values).all()
    assert (signal(cells)[:, 1] != signal(cells)[:, 0]).any()
    if "gsyn_exc" in recorded and "exp" in type(cell).__name__:
        assert signal(cells, "gsyn_exc")[25, 1] == pytest.approx(strength)  # µS, when the spike arrives


def test_parameters_keep_pynn_s_names_and_units():
    setup()
    cells = sim.Population(4, sim.IF_cond_exp(cm=0.5, tau_m=RandomDistribution("uniform", (10, 20), rng=NumpyRNG(1))))
    assert cells.get("cm") == 0.5
    assert np.ptp(cells.get("tau_m")) > 0
    cells[1:3].set(v_thresh=-52.0)
    assert cells.get("v_thresh").tolist() == [-50.0, -52.0, -52.0, -50.0]
    cells[0].i_offset = 0.25
    assert cells[0].i_offset == 0.25
    source = sim.Population(2, sim.SpikeSourceArray(spike_times=[Sequence([1.0]), Sequence([2.0, 3.0])]))
    assert source.get("spike_times")[1] == Sequence([2.0, 3.0])


def test_currents_reach_only_the_cells_that_they_are_injected_into():
    setup()
    cells = sim.Population(5, sim.IF_curr_exp(v_thresh=1000.0))
    sim.DCSource(amplitude=0.5, start=5.0, stop=15.0).inject_into(cells[1:3])
    cells[4].inject(sim.StepCurrentSource(times=[2.0, 6.0], amplitudes=[0.3, 0.0]))
    cells.inject(sim.ACSource(amplitude=0.0, offset=0.1, start=20.0))
    cells.record("v")
    sim.run(30.0)
    v = signal(cells) + 65.0
    assert (v[:201, 0] == 0.0).all()
    assert (v[:201, 3] == 0.0).all()
    assert (v[51, 1:3] > 0).all() and (v[50, 1:3] == 0).all()  # acts from the step after 5 ms on
    assert v[150, 1] == pytest.approx(0.5 * 20.0 * (1 - np.exp(-10.0 / 20.0)))  # nA times MOhm
    assert v[60, 4] == pytest.approx(0.3 * 20.0 * (1 - np.exp(-4.0 / 20.0)))
    assert (v[202] > v[201] * 0.99).all()


def test_noise_holds_for_its_own_time_step_and_is_each_cell_s_own():
    setup()
    cells = sim.Population(2, sim.IF_curr_exp(tau_m=0.1, cm=0.001, v_thresh=1e6, v_rest=0.0), initial_values={"v": 0.0})
    sim.NoisyCurrentSource(mean=0.0, stdev=1.0, dt=1.0, start=2.0, stop=12.0).inject_into(cells)
    cells.record("v")
    sim.run(20.0)
    v = signal(cells)
    assert (v[:21] == 0).all()
    levels = v[29:121:10]  # the membrane has followed to 1 part in 10^4
    assert len({*np.round(levels.ravel(), 6)}) == 20
    np.testing.assert_allclose(v[28:120:10], levels, atol=0.1)


def test_weights_are_read_and_set_by_pair():
    setup()
    cells = sim.Population(3, sim.IF_curr_exp())
    link = sim.Projection(
        cells, cells, sim.AllToAllConnector(allow_self_connections=False), sim.StaticSynapse(weight=0.2, delay=1.04)
    )
    array = link.get("weight", format="array")
    assert np.isnan(np.diag(array)).all()
    assert np.nansum(array) == pytest.approx(6 * 0.2)
    assert {d for *_, d in link.get("delay", format="list")} == {1.0}  # on the grid
    link.set(weight=np.arange(9.0).reshape(3, 3) / 10)
    assert link.get("weight", format="array")[2, 1] == pytest.approx(0.7)
    link[0].weight = 0.9
    assert link[0].as_tuple("presynaptic_index", "postsynaptic_index", "weight")[2] == 0.9
    sim.run(1.0)
    assert link.get(["weight", "delay"], format="list")[0][2:] == (0.9, 1.0)


@pytest.mark.exact
def test_views_and_assemblies_connect_the_cells_behind_them():
    found = []
    for assembled in (False, True):
        setup()
        a = sim.Population(4, sim.IF_curr_exp(i_offset=1.0))
        b = sim.Population(3, sim.IF_curr_exp(i_offset=0.5))
        synapse = sim.StaticSynapse(weight=0.7, delay=0.5)
        if assembled:
            sources, targets = a[1:3] + b[0:1], a[3:4] + b
            sim.Projection(sources, targets, sim.AllToAllConnector(), synapse, receptor_type="excitatory")
        else:
            for source in (a[1:3], b[0:1]):
                for target in (a[3:4], b):
                    sim.Projection(source, target, sim.AllToAllConnector(), synapse)
        (a + b).record("v")
        sim.run(30.0)
        found.append(np.concatenate([signal(a), signal(b)], axis=1))
    np.testing.assert_array_equal(found[0], found[1])
    assert np.ptp(found[0][:, 3] - found[0][:, 0]) > 0.5


def test_tsodyks_markram_follows_its_recursion():
    setup()
    source = sim.Population(1, sim.SpikeSourceArray(spike_times=[10.0, 30.0, 50.0]))
    cells = sim.Population(2, sim.IF_cond_exp(tau_syn_E=[0.5, 1.0]))  # two rules, for the receptor is part of it
    link = sim.TsodyksMarkramSynapse(U=0.3, tau_rec=200.0, tau_facil=0.0, weight=0.01, delay=1.0)
    sim.Projection(source, cells, sim.AllToAllConnector(), link)
    cells.record("gsyn_exc")
    sim.run(60.0)
    g = signal(cells, "gsyn_exc")
    ready, sent = 1.0, []
    for _ in range(3):
        sent.append(0.3 * ready)
        ready = 1.0 - (1.0 - ready + sent[-1]) * np.exp(-20.0 / 200.0)
    np.testing.assert_allclose(g[[110, 310, 510], 0] / 0.01, sent, rtol=0.02)  # active resources last a moment


def test_synapses_transmit_by_chance_each_with_its_own_probability():
    setup()
    times = np.arange(2.5, 200.0, 1.0)
    source = sim.Population(1, sim.SpikeSourceArray(spike_times=times))
    cells = sim.Population(4, sim.IF_cond_exp(tau_syn_E=0.1))
    chance = sim.SimpleStochasticSynapse(weight=0.5, delay=1.0, p=np.array([[0.0, 0.5, 0.5, 1.0]]))
    link = sim.Projection(source, cells, sim.AllToAllConnector(), chance)
    several = sim.MultiQuantalSynapse(weight=0.01, delay=1.0, U=0.5, tau_rec=1e-3, n=4)
    quantal = sim.Projection(source, cells, sim.AllToAllConnector(), several, receptor_type="inhibitory")
    quantal.initialize(a=several.parameter_space["n"], u=0.5)  # what they are at rest
    cells.record(["gsyn_exc", "gsyn_inh"])
    sim.run(210.0)
    at = np.rint((times + 1.0) / 0.1).astype(int)
    sent = signal(cells, "gsyn_exc")[at] > 0.4
    assert sent[:, 0].sum() == 0
    assert sent[:, 3].sum() == times.size
    assert (np.abs(sent[:, 1:3].mean(axis=0) - 0.5) < 5 * 0.5 / np.sqrt(times.size)).all()
    assert (sent[:, 1] != sent[:, 2]).any()
    assert link.get("p", format="array").tolist() == [[0.0, 0.5, 0.5, 1.0]]
    released = signal(cells, "gsyn_inh")[at].ravel()
    before = signal(cells, "gsyn_inh")[at - 1].ravel() * np.exp(-0.1 / 5.0)
    sites = (released - before) / 0.01
    np.testing.assert_allclose(sites, np.round(sites), atol=1e-6)
    assert np.bincount(np.round(sites).astype(int), minlength=5).tolist() == pytest.approx(
        np.array([1, 4, 6, 4, 1]) / 16 * sites.size, abs=5 * np.sqrt(sites.size / 4)
    )


def test_a_gap_junction_pulls_membranes_together_both_ways():
    setup()
    cells = sim.Population(2, sim.IF_curr_exp(v_thresh=1e6, i_offset=[1.0, 0.0]))
    sim.Projection(cells[0:1], cells[1:2], sim.AllToAllConnector(), sim.ElectricalSynapse(weight=0.05))
    cells.record("v")
    sim.run(300.0)
    # Leak and junction have 50 nS each: 1 nA flows through 1 / (50 + 1 / (1 / 50 + 1 / 50)) GOhm.
    np.testing.assert_allclose(signal(cells)[-1] + 65.0, [1000.0 / 75.0, 1000.0 / 150.0], rtol=1e-3)


@pytest.mark.exact
@pytest.mark.filterwarnings("ignore:Can't check weight")  # PyNN knows no sign for a receptor with a name of its own
def test_a_composed_neuron_is_the_one_that_is_there_in_one_piece():
    setup()
    whole = sim.IF_curr_exp(tau_m=10.0, v_rest=-60.0, tau_syn_E=1.0, tau_syn_I=2.0, i_offset=2.5)
    parts = {"excitatory": sim.CurrExpPostSynapticResponse(tau_syn=1.0), "fast": sim.CurrExpPostSynapticResponse()}
    composed = sim.PointNeuron(sim.LIF(tau_m=10.0, v_rest=-60.0, i_offset=2.5), **parts)
    a, b = sim.Population(2, whole), sim.Population(2, composed)
    b.set(**{"fast.tau_syn": 2.0})
    assert b.get(["tau_m", "excitatory.tau_syn", "fast.tau_syn"]) == [10.0, 1.0, 2.0]
    source = sim.Population(2, sim.SpikeSourceArray(spike_times=[[5.0, 20.0], [9.0]]))
    for cells, kind in ((a, "inhibitory"), (b, "fast")):
        synapses = [sim.StaticSynapse(weight=w, delay=1.0) for w in (2.0, -3.0)]
        sim.Projection(source, cells, sim.AllToAllConnector(), synapses[0], receptor_type="excitatory")
        sim.Projection(source, cells, sim.OneToOneConnector(), synapses[1], receptor_type=kind)
    a.record(["spikes", "v", "isyn_inh"])
    b.record(["spikes", "v", "fast.isyn"])
    sim.run(40.0)
    assert spikes(a) == spikes(b)
    assert sum(map(len, spikes(a))) > 2
    np.testing.assert_array_equal(signal(a), signal(b))
    np.testing.assert_array_equal(signal(a, "isyn_inh"), signal(b, "fast.isyn"))
    assert np.ptp(signal(b, "fast.isyn")) > 0


def test_a_gif_neuron_has_as_many_exponentials_as_it_is_given():
    setup()
    many = {"tau_eta": [(1.0, 10.0), (5.0, 5.0)], "a_eta": [(0.5, 0.1), (0.0, 0.0)], "delta_v": 1e-6}
    cells = sim.Population(2, sim.GIF_cond_exp(**many, a_gamma=(0.0, 2.0, 0.0), i_offset=1.5))
    assert cells.get("tau_eta")[0].value.tolist() == [1.0, 10.0]
    cells.record(["spikes", "i_eta", "v_t"])
    sim.run(60.0)
    first = [round(train[0] / 0.1) for train in spikes(cells)]
    assert first[0] == first[1]  # until then nothing differs
    assert signal(cells, "i_eta")[first[0]].tolist() == pytest.approx([0.6, 0.0])
    assert signal(cells, "v_t")[first[0]].tolist() == [-46.0, -46.0]
    after = signal(cells, "i_eta")[first[0] + 10, 0]
    assert after == pytest.approx(0.5 * np.exp(-1.0) + 0.1 * np.exp(-0.1))


def test_a_poisson_source_fires_within_its_time_at_its_rate():
    setup()
    rate = np.r_[np.full(200, 50.0), np.full(200, 0.0)]
    duration = np.r_[np.full(100, 50.0), np.full(300, 100.0)]
    p = sim.Population(400, sim.SpikeSourcePoisson(rate=rate, start=20.0, duration=duration))
    p.record("spikes")
    sim.run(150.0)
    trains = spikes(p)
    assert all(20.0 < t <= 70.0 for train in trains[:100] for t in train)
    assert all(20.0 < t <= 120.0 for train in trains[100:200] for t in train)
    assert not any(trains[200:])
    expected = 100 * 2.5 + 100 * 5.0
    assert abs(sum(map(len, trains)) - expected) < 5 * np.sqrt(expected)


def test_spike_times_may_be_changed_while_the_simulation_goes_on():
    setup()
    source = sim.Population(1, sim.SpikeSourceArray(spike_times=[3.0]))
    source.record("spikes")
    sim.run(10.0, callbacks=[lambda t: (source.set(spike_times=[t + 0.02, t + 1.0]) if t else None, t + 5.0)[1]])
    np.testing.assert_allclose(spikes(source), [[3.0, 5.1, 6.0]])


def test_a_script_s_counts_go_into_an_energy_report():
    setup()
    cells, *_ = busy_network()
    sim.run(20.0)
    sim.run(20.0)
    counts = sim.counts()[cells.label]
    assert counts.steps == 400
    assert counts.spk_out == sum(cells.get_spike_counts().values())
    assert energy.report(sim.counts()).total.spiking_pj > 0


def test_scripts_find_the_backend_by_name(tmp_path, capsys):
    assert sys.modules["pyNN.spikeframe"] is sim
    script = tmp_path / "script.py"
    script.write_text(
        "from pyNN.utility import get_simulator\n"
        "sim, options = get_simulator(('model', 'a word'))\n"
        "sim.setup(backend='reference')\n"
        "p = sim.Population(2, sim.IF_curr_exp(i_offset=1.0))\np.record('spikes')\nsim.run(50.0)\n"
        "print(options.model, sum(p.get_spike_counts().values()))\n",
        encoding="utf-8",
    )
    before = sys.argv
    try:
        assert run_script([str(script), "spikeframe", "CUBA"]) == 0
    finally:
        sys.argv = before
    assert capsys.readouterr().out == "CUBA 2\n"
    assert run_script([]) == 2


EARLY = sim.SpikeSourceArray(spike_times=[-1.0])
BACK = sim.SpikeSourceArray(spike_times=[2.0, 1.0])
COMPOSED = sim.PointNeuron(sim.LIF(), fast=sim.ExpPSR())
LONG = sim.GIF_cond_exp(tau_eta=(1.0, 2.0, 3.0, 4.0), a_eta=(1.0, 1.0, 1.0, 1.0))


def conductances():
    return sim.Population(1, sim.IF_cond_exp())


def projection(synapse, target=None):
    cells = target or sim.Population(2, sim.IF_curr_exp(i_offset=1.0))
    return sim.Projection(sim.Population(2, sim.SpikeSourcePoisson()), cells, sim.AllToAllConnector(), synapse)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: sim.setup(timestep=0.0), errors.TimeGridError, "dt=0.0"),
        (lambda: sim.setup(timestep=0.1, min_delay=0.05), errors.TimeGridError, "min_delay=0.05"),
        (lambda: sim.setup(rng_seed=-1), errors.ParameterError, "seed=-1"),
        (lambda: sim.setup(backend="gpu"), errors.UnknownNameError, "gpu"),
        (lambda: sim.SpikeSourceInhGamma, AttributeError, r"does not run\. It runs AdExp|EIF_cond_alpha_isfa_ista"),
        (lambda: sim.IF_curr_expo, AttributeError, "Did you mean 'IF_curr_exp'"),
        (lambda: sim.IF_curr_exp(tau_mem=10.0), pyNN.errors.NonExistentParameterError, "tau_mem"),
        (lambda: sim.Population(2, sim.IF_curr_exp(tau_m=np.nan)), errors.NonFiniteError, "tau_m of cell 0"),
        (lambda: projection(sim.StaticSynapse(weight=0.1, delay=0.01)), errors.TimeGridError, "a delay of 0.01 ms"),
        (lambda: projection(sim.StaticSynapse(weight=np.nan)), Exception, "[Ww]eight"),
        (lambda: projection(sim.StaticSynapse(weight=-0.1), conductances()), pyNN.errors.ConnectionError, "positive"),
        (lambda: projection(sim.TsodyksMarkramSynapse(U=1.5)) and sim.run(1.0), errors.ParameterError, "U=1.5"),
        (lambda: sim.Population(2, sim.IF_curr_exp()).record("w"), pyNN.errors.RecordingError, "w"),
        (lambda: conductances().record("v", sampling_interval=0.25), errors.TimeGridError, "0.25"),
        (lambda: sim.Population(2, sim.IF_curr_exp()).initialize(w=1.0), errors.UnknownNameError, "'w'"),
        (lambda: sim.Population(1, sim.IF_curr_exp(tau_m=-1.0)) and sim.run(1.0), errors.ParameterError, "tau_m"),
        (lambda: sim.Population(1, EARLY) and sim.run(1.0), errors.EventError, "at least 0"),
        (lambda: sim.DCSource().inject_into(sim.Population(1, sim.SpikeSourcePoisson())), TypeError, "spike source"),
        (lambda: sim.run_until(-5.0), ValueError, "past"),
        (lambda: sim.PointNeuron(sim.IF_curr_exp()), errors.DTypeError, "LIF"),
        (lambda: sim.PointNeuron(sim.LIF(), fast=5.0), errors.DTypeError, "fast=5.0"),
        (lambda: sim.Population(1, COMPOSED).set(tau=1.0), pyNN.errors.NonExistentParameterError, "tau"),
        (lambda: sim.Population(1, LONG) and sim.run(1.0), errors.ParameterError, "at most 3"),
        (lambda: sim.Population(1, BACK), pyNN.errors.InvalidParameterValueError, "cell 0 does not ascend"),
        (lambda: projection(sim.MultiQuantalSynapse(n=3)).initialize(a=2.0), errors.ParameterError, "a=n"),
        (lambda: projection(sim.StaticSynapse()).initialize(u=0.0), errors.UnknownNameError, "'u'"),
        (lambda: projection(sim.ElectricalSynapse(weight=0.1)) and sim.run(1.0), errors.ParameterError, "membrane"),
        (lambda: projection(sim.SimpleStochasticSynapse(p=2.0)) and sim.run(1.0), errors.ParameterError, "p=2.0"),
        (lambda: sim.DCSource().get_data(), errors.ParameterError, "record"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(call, error, words):
    setup()
    with pytest.raises(error, match=words):
        call()


@pytest.mark.fault
def test_spikes_off_the_grid_are_put_on_it_and_said():
    with pytest.warns(UserWarning, match="multiples of 0.1 ms"):
        sim.setup(timestep=0.1, spike_precision="off_grid")


@pytest.mark.fault
def test_dendritic_delays_are_taken_as_axonal_and_said():
    setup()
    with pytest.warns(UserWarning, match="axonal"):
        sim.STDPMechanism(sim.SpikePairRule(), sim.AdditiveWeightDependence())
    bound = sim.STDPMechanism(sim.SpikePairRule(), sim.AdditiveWeightDependence(w_min=0.1), dendritic_delay_fraction=0)
    projection(bound)
    with pytest.raises(errors.ParameterError, match="w_min"):
        sim.run(1.0)


@pytest.mark.parity
@pytest.mark.campaign
def test_the_compiled_simulator_gives_the_same_spikes():
    found = []
    for backend in ("reference", "numba"):
        setup(backend=backend)
        cells, *_ = busy_network()
        sim.run(50.0)
        found.append(spikes(cells))
    assert found[0] == found[1]
    assert sum(map(len, found[0])) > 8
