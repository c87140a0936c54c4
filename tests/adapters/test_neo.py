"""Neo objects of runs, elephant's measures of them beside ours, and given spikes of trains."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import spikeframe as sf
from spikeframe import analysis, errors
from spikeframe.neurons import LIF

neo = pytest.importorskip("neo")
pq = pytest.importorskip("quantities")

from spikeframe.adapters.neo import from_neo, to_neo  # noqa: E402


@pytest.fixture(scope="module")
def run():
    net = sf.Network(2)
    a = net.population("a", 20, LIF(tau_m=10.0, i_e=1.3, t_ref=2.0))
    s = net.population("s", 5, sf.PoissonSource(80.0))
    net.connect(s, a, sf.AllToAll(), weight=0.2, delay=1.0)
    net.record([a, s], "spikes")
    net.record(a, "v", every=1.0, ids=[3, 5])
    net.record(a, "rate", every=10.0)
    sim = sf.Simulator(net, dt=0.5, backend="reference")
    return net, sim.run(300.0, progress=False)


def test_every_neuron_has_a_train_and_every_variable_a_signal(run):
    net, result = run
    block = to_neo(result, net)
    (segment,) = block.segments
    assert len(segment.spiketrains) == 25
    for train in segment.spiketrains:
        name, i = train.annotations["source_population"], train.annotations["source_index"]
        expected = np.sort(result.spikes[name].times[result.spikes[name].ids == i])
        np.testing.assert_allclose(train.rescale("ms").magnitude, expected)
        assert (train.t_start, train.t_stop) == (0 * pq.ms, 300 * pq.ms)
    v = next(s for s in segment.analogsignals if s.name == "a.v")
    assert v.units == pq.mV
    np.testing.assert_array_equal(v.magnitude, result.traces["a"]["v"].values)
    assert v.array_annotations["source_index"].tolist() == [3, 5]
    np.testing.assert_allclose(v.times.rescale("ms").magnitude, result.traces["a"]["v"].times)
    rate = next(s for s in segment.analogsignals if s.name == "a.rate")
    assert rate.shape == (30, 1)
    assert rate.units == pq.Hz


def test_a_train_may_go_back_in(run):
    net, result = run
    trains = [t for t in to_neo(result, net).segments[0].spiketrains if t.annotations["source_population"] == "a"]
    again = sf.Network(0)
    again.population("given", 20, from_neo(trains, dt=0.5))
    again.record("given", "spikes")
    found = sf.Simulator(again, dt=0.5, backend="reference").run(300.0, progress=False).spikes["given"]
    assert len(found) > 100
    np.testing.assert_array_equal(found.steps, result.spikes["a"].steps)
    np.testing.assert_array_equal(found.ids, result.spikes["a"].ids)


@pytest.mark.parity
def test_elephant_measures_what_we_measure(run):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        statistics = pytest.importorskip("elephant.statistics")
    net, result = run
    trains = [t for t in to_neo(result, net).segments[0].spiketrains if t.annotations["source_population"] == "a"]
    rates = [statistics.mean_firing_rate(t).rescale("Hz").item() for t in trains]
    assert np.mean(rates) == pytest.approx(result.rates()["a"])
    theirs = np.mean([statistics.cv(statistics.isi(t.rescale("ms").magnitude)) for t in trains])
    ours = analysis.mean_cv(result.spikes["a"].times, result.spikes["a"].ids)
    assert theirs == pytest.approx(ours)


@pytest.mark.fault
def test_what_is_no_run_or_no_train_is_refused(run, tmp_path):
    net, _ = run
    with pytest.raises(errors.DTypeError, match=r"Simulator\.run"):
        to_neo("result")
    written = sf.Simulator(net, dt=0.5, backend="reference").run(10.0, False, tmp_path / "spikes.h5")
    with pytest.raises(errors.ParameterError, match=r"spikes\.h5"):
        to_neo(written)
    with pytest.raises(errors.DTypeError, match="train 0"):
        from_neo([[1.0, 2.0]], dt=0.1)
    with pytest.raises(errors.EventError, match="two spikes within one step"):
        from_neo([neo.SpikeTrain([1.0, 1.01] * pq.ms, t_stop=5 * pq.ms)], dt=0.1)
    with pytest.raises(errors.EventError, match="after 0 ms"):
        from_neo([neo.SpikeTrain([0.0] * pq.ms, t_stop=5 * pq.ms)], dt=0.1)
