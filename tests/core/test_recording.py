"""Recorded rates, and spikes streamed to a file: equal to what memory holds, for any cutting, also after a crash."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikeframe as sf
from spikeframe.core import circuit as circuits
from spikeframe.core import recording as recording_module
from spikeframe.core.recording import Bins
from spikeframe.core.sonata import SpikeWriter, read_spikes
from spikeframe.errors import (
    DataNotFoundError,
    EventFileError,
    ParameterError,
    TimeGridError,
    UnknownNameError,
)
from spikeframe.kernels.numba import crew, recording


def network(seed: int = 3, rates: bool = True) -> sf.Network:
    """Two populations of one model (one group), two sources, one of them silent."""
    net = sf.Network(seed=seed)
    lif = sf.neurons.LIF(tau_m=10.0, v_th=1.0, receptors={"in": sf.neurons.Exp(tau=3.0)})
    a = net.population("a", 41, lif, v=sf.Uniform(0.0, 1.0))
    b = net.population("b", 23, lif, v=sf.Uniform(0.0, 1.0))
    p = net.population("p", 17, sf.PoissonSource(300.0))
    s = net.population("s", 2, sf.SpikeSource([], []))
    net.connect([p, a], [a, b], sf.FixedProbability(0.4), receptor="in", weight=0.3, delay=sf.Uniform(0.1, 2.0))
    net.record([a, p, s], "spikes")
    net.record(b, "spikes", ids=[0, 3, 22])
    net.record(a, "v", every=0.5, ids=[1])
    if rates:
        net.record([a, p, s], "rate", every=2.5)
        net.record(b, "rate", every=0.7, ids=[1, 2, 22])
    return net


def trains(*found: dict[str, Any]) -> dict[str, list[tuple[int, int]]]:
    joined: dict[str, list[tuple[int, int]]] = {}
    for spikes in found:
        for name, s in spikes.items():
            joined.setdefault(name, []).extend(zip(s.steps.tolist(), s.ids.tolist(), strict=True))
    return joined


@pytest.fixture
def short(monkeypatch):
    """Stretches of 70 steps, so that short runs have several."""
    monkeypatch.setattr(circuits, "_MOST", 70)
    monkeypatch.setattr(crew, "_TRIAL", 1000)


@pytest.mark.exact
def test_a_rate_is_the_spikes_of_its_bins_however_the_run_is_cut(short, tmp_path):
    whole = sf.Simulator(network(), dt=0.1).run(40.0)
    sim, parts = sf.Simulator(network(), dt=0.1, threads=2), []
    for duration in (0.1, 13.6, 0.0, 26.3):
        parts.append(sim.run(duration))
        sim.save(tmp_path / "state.h5")
        sim = sf.Simulator.load(tmp_path / "state.h5")
    net = network(rates=False)
    net.recorders = [r for r in net.recorders if r.variable == "v"]
    net.record(["a", "b", "p", "s"], "spikes")
    spikes = sf.Simulator(net, dt=0.1).run(40.0).spikes
    for name, every, ids in (("a", 25, range(41)), ("b", 7, [1, 2, 22]), ("p", 25, range(17)), ("s", 25, range(2))):
        counts = np.zeros(400 // every)
        for step, neuron in zip(spikes[name].steps, spikes[name].ids, strict=True):
            if neuron in ids and step // every < counts.size:
                counts[step // every] += 1
        rate = whole.traces[name]["rate"]
        assert rate.values == pytest.approx(counts / (len(ids) * every * 1e-4), rel=1e-14)
        assert rate.times == pytest.approx((np.arange(counts.size) + 1) * every * 0.1)
        assert rate.ids.tolist() == list(ids)
        assert bool(counts.any()) == (name != "s")
        for what in ("times", "values"):
            joined = np.concatenate([getattr(p.traces[name]["rate"], what) for p in parts])
            assert np.array_equal(joined, getattr(rate, what))


@pytest.mark.exact
@settings(max_examples=100, deadline=None)
@given(st.integers(1, 9), st.integers(0, 20), st.lists(st.lists(st.integers(0, 3), max_size=12), max_size=6))
def test_no_spike_falls_between_two_bins(every, first, stretches):
    """Each stretch is a list of the spikes of its steps; bins begin at multiples of `every`, the first cut."""
    bins, at, found = Bins(None, every), first, []
    for stretch in stretches:
        found += bins.add(at, len(stretch), np.repeat(np.arange(at, at + len(stretch)), stretch)).tolist()
        at += len(stretch)
    counts = np.zeros(at + 1, int)
    counts[first:at] = [n for stretch in stretches for n in stretch]
    expected = [int(counts[b * every : (b + 1) * every].sum()) for b in range(first // every, at // every)]
    assert found == expected
    assert sum(found) + bins.open == counts.sum()


@pytest.mark.exact
def test_a_file_holds_what_memory_would(short, tmp_path):
    expected = sf.Simulator(network(), dt=0.1).run(40.0)
    sim = sf.Simulator(network(), dt=0.1, threads=2)
    results = [sim.run(duration, output=tmp_path / "spikes.h5") for duration in (13.7, 0.0, 26.3)]
    found = read_spikes(tmp_path / "spikes.h5")
    assert trains(found) == trains(expected.spikes)
    assert all(len(s) for name, s in found.items() if name != "s") and not len(found["s"])
    for name, spikes in expected.spikes.items():
        assert np.array_equal(found[name].times, spikes.times)
    assert [(r.spikes, r.output) for r in results] == [({}, tmp_path / "spikes.h5")] * 3
    assert sum(r.total_spikes for r in results) == expected.total_spikes
    assert sum(r.delivered for r in results) == expected.delivered
    joined = np.concatenate([r.traces["a"]["rate"].values for r in results])
    assert np.array_equal(joined, expected.traces["a"]["rate"].values)
    for name, rate in expected.rates().items():
        assert sum(r.rates()[name] * r.duration for r in results) == pytest.approx(rate * 40.0)


def test_the_file_has_the_layout_of_sonata(tmp_path):
    spikes = sf.Simulator(network(), dt=0.1).run(20.0).spikes["a"]
    sf.Simulator(network(), dt=0.1).run(20.0, output=tmp_path / "spikes.h5")
    with h5py.File(tmp_path / "spikes.h5") as file:
        assert file.attrs["magic"] == 0x0A7A and file.attrs["version"].tolist() == [0, 1]
        assert set(file["spikes"]) == {"a", "b", "p", "s"}
        group = file["spikes/a"]
        names = h5py.check_enum_dtype(group.attrs.get_id("sorting").dtype)
        assert names == {"none": 0, "by_id": 1, "by_time": 2} and group.attrs["sorting"] == 2
        assert group["timestamps"].dtype == np.float64 and group["timestamps"].attrs["units"] == "ms"
        assert group["node_ids"].dtype == np.uint64
        assert np.array_equal(group["timestamps"][:], spikes.times)
        assert np.array_equal(group["node_ids"][:], spikes.ids)


@pytest.mark.parametrize("sorting", ["by_id", "none"])
def test_files_of_other_simulators_are_read(tmp_path, sorting):
    times, ids = np.array([0.3, 0.1, 0.2, 0.2]), np.array([0, 1, 4, 2], np.uint64)
    order = np.argsort(ids) if sorting == "by_id" else np.arange(4)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["spikes/cortex/timestamps"], file["spikes/cortex/node_ids"] = times[order], ids[order]
    found = read_spikes(tmp_path / "other.h5", dt=0.1)["cortex"]
    assert list(zip(found.steps.tolist(), found.ids.tolist(), strict=True)) == [(0, 1), (1, 2), (1, 4), (2, 0)]
    with pytest.raises(ParameterError, match="dt"):
        read_spikes(tmp_path / "other.h5")
    with pytest.raises(TimeGridError, match=r"0\.3"):
        read_spikes(tmp_path / "other.h5", dt=0.2)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("times", "ids", "error"),
    [([0.1, 0.2], [0], "two lists"), ([[0.1, 0.2]], [[0, 1]], "two lists"), ([0.1], [1.5], "whole numbers"),
     ([0.1], [-1], "from 0"), ([0.1], np.array([2**63], np.uint64), "from 0"), ([0.1], [b"x"], "whole numbers"),
     ([b"x"], [0], "must be numbers"), ([0.1], None, "has no 'node_ids'"), ([100_000.04], [0], "no positive multiple")],
)  # fmt: skip
def test_a_file_of_another_simulator_that_is_not_as_it_should_be_is_refused(tmp_path, times, ids, error):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["spikes/cortex/timestamps"] = times
        file["spikes/cortex/timestamps"].attrs["units"] = np.bytes_(b"ms")
        if ids is not None:
            file["spikes/cortex/node_ids"] = ids
    with pytest.raises((EventFileError, TimeGridError), match=error):
        read_spikes(tmp_path / "other.h5", dt=0.1)


@pytest.mark.parametrize("where", ["kernel", "file"])
def test_a_run_that_is_interrupted_can_be_taken_up_again(short, tmp_path, monkeypatch, where):
    expected = sf.Simulator(network(), dt=0.1).run(40.0)
    sim, path = sf.Simulator(network(), dt=0.1), tmp_path / "spikes.h5"
    owner, name = (sim.circuit._provider, "run") if where == "kernel" else (SpikeWriter, "append")
    real, calls = getattr(owner, name), []

    def interrupted(*arguments: Any) -> Any:
        done = real(*arguments)
        calls.append(name)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(owner, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        sim.run(40.0, output=path)
    monkeypatch.undo()
    assert sim.circuit.time == pytest.approx(21.0)
    kept = sim.partial
    assert kept.duration == pytest.approx(21.0) and kept.output == path
    assert np.array_equal(kept.traces["a"]["v"].values, expected.traces["a"]["v"].values[:42])
    upto = {n: [(t, i) for t, i in v if t < 210] for n, v in trains(expected.spikes).items()}
    with h5py.File(path) as file:
        assert file["spikes/a/timestamps"].shape[0] >= len(upto["a"]) > 0
    rest = sim.run(19.0, output=path)
    assert sim.partial is None
    assert {n: c.spk_out + rest.counts[n].spk_out for n, c in kept.counts.items()} == {
        n: c.spk_out for n, c in expected.counts.items()
    }
    assert kept.sent + rest.sent == expected.sent
    assert trains(read_spikes(path)) == trains(expected.spikes)
    assert np.array_equal(rest.traces["a"]["v"].values, expected.traces["a"]["v"].values[-38:])


def test_ctrl_c_at_any_moment_loses_nothing_of_finished_stretches(short, monkeypatch):
    expected = sf.Simulator(network(), dt=0.1).run(40.0)
    sim, taken = sf.Simulator(network(), dt=0.1), recording_module.Recording._take

    def struck(self: Any, chunk: Any) -> None:  # in the middle of what belongs together
        signal.raise_signal(signal.SIGINT)
        taken(self, chunk)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    parts = []
    try:
        monkeypatch.setattr(recording_module.Recording, "_take", struck)
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                sim.run(40.0)
            parts.append(sim.partial)
        monkeypatch.undo()
    finally:
        signal.signal(signal.SIGINT, before)
    parts.append(sim.run(40.0 - sum(part.duration for part in parts)))
    assert parts[0].duration == pytest.approx(7.0)
    assert trains(*(part.spikes for part in parts)) == trains(expected.spikes)
    for name, trace in expected.traces["a"].items():
        assert np.array_equal(np.concatenate([part.traces["a"][name].values for part in parts]), trace.values)


_KILLED = """
import json, os, signal, sys
from tests.core.test_recording import network
import spikeframe as sf
from spikeframe.core import circuit, sonata
from spikeframe.kernels.numba import crew
circuit._MOST, crew._TRIAL = 70, 1000
extend, calls = sonata._extend, []
def dying(data, values):
    calls.append(1)
    extend(data, values)
    if len(calls) == int(sys.argv[2]):
        data.file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
sonata._extend = dying
sim = sf.Simulator(network(), dt=0.1)
sim.run(7.0, output=sys.argv[1])
sim.save(sys.argv[1] + ".state")
sim.run(33.0, output=sys.argv[1])
"""


@pytest.mark.exact
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_run_leaves_a_file_that_reads_up_to_its_last_whole_stretch(short, tmp_path):
    """The process dies in the middle of its fourth write: after one of two columns of one of four populations."""
    path = tmp_path / "spikes.h5"
    script = [sys.executable, "-c", _KILLED, str(path), str(3 * 8 + 3)]
    done = subprocess.run(script, cwd=Path(__file__).parents[2], capture_output=True, timeout=120, check=False)
    assert done.returncode == -9, done.stderr.decode()
    expected = trains(sf.Simulator(network(), dt=0.1).run(40.0).spikes)
    assert trains(read_spikes(path)) == {n: [(t, i) for t, i in v if t < 210] for n, v in expected.items()}
    with pytest.raises(EventFileError, match="h5clear"):
        sf.Simulator.load(f"{path}.state").run(33.0, output=path)


@pytest.mark.exact
def test_a_checkpoint_goes_on_in_the_file_of_a_run_that_went_further(short, tmp_path):
    path = tmp_path / "spikes.h5"
    sim = sf.Simulator(network(rates=False), dt=0.1)
    sim.run(10.0, output=path)
    sim.save(tmp_path / "state.h5")
    sim.run(15.0, output=path)
    sf.Simulator.load(tmp_path / "state.h5").run(30.0, output=path)
    expected = sf.Simulator(network(rates=False), dt=0.1).run(40.0)
    assert trains(read_spikes(path)) == trains(expected.spikes)


def test_memory_does_not_grow_with_streamed_spikes(monkeypatch, tmp_path):
    monkeypatch.setattr(circuits, "_MOST", 1000)

    def peak(duration: float, **options: Any) -> int:
        net = sf.Network(seed=1)
        net.record(net.population("p", 200, sf.PoissonSource(500.0)), "spikes")
        sim = sf.Simulator(net, dt=1.0)
        sim.run(10.0)
        tracemalloc.start()
        sim.run(duration, **options)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = (peak(d, output=tmp_path / f"{d}.h5") for d in (2e3, 2e4))
    assert many < 1.2 * few
    assert peak(2e4) > 3 * many


@pytest.mark.fault
def test_bad_recorders_meet_their_named_errors():
    net = network()
    with pytest.raises(ParameterError, match="every"):
        net.record("b", "rate")
    for every in (0.0, -1.0, float("nan"), float("inf"), "1", True):
        for variable in ("rate", "v"):
            with pytest.raises(TimeGridError, match="every"):
                net.record("b", variable, every=every)
    with pytest.raises(ParameterError, match="already"):
        net.record("a", "rate", every=1.0)
    with pytest.raises(UnknownNameError, match="rate"):
        net.record("b", "rates", every=1.0)
    for every in (0.25, 1e-9):
        net = sf.Network()
        net.record(net.population("a", 1, sf.neurons.LIF()), "rate", every=every)
        with pytest.raises(TimeGridError, match="rate"):
            sf.Simulator(net, dt=0.1)


@pytest.mark.fault
def test_a_file_in_the_way_or_of_another_run_is_refused(tmp_path):
    path = tmp_path / "spikes.h5"
    sim = sf.Simulator(network(), dt=0.1)
    sim.run(5.0, output=path)
    before = path.read_bytes()
    with pytest.raises(ParameterError, match="exists"):
        sf.Simulator(network(), dt=0.1).run(5.0, output=path)
    others = [(network(seed=4), 0.1), (network(), 0.05)]
    for net, dt in others:
        other = sf.Simulator(net, dt=dt)
        other.run(1.0)
        with pytest.raises(ParameterError, match="another run"):
            other.run(1.0, output=path)
    late = sf.Simulator(network(), dt=0.1)
    late.run(6.0)
    with pytest.raises(ParameterError, match="0 to 5 ms, but the run goes on at 6 ms"):
        late.run(1.0, output=path)
    assert path.read_bytes() == before
    net = sf.Network()
    net.population("a", 1, sf.neurons.LIF())
    with pytest.raises(ParameterError, match="no spikes"):
        sf.Simulator(net, dt=0.1).run(1.0, output=tmp_path / "none.h5")
    assert not (tmp_path / "none.h5").exists()


@pytest.mark.fault
def test_what_is_no_spike_file_is_named(tmp_path):
    with pytest.raises(DataNotFoundError, match="missing"):
        read_spikes(tmp_path / "missing.h5")
    (tmp_path / "text.h5").write_text(json.dumps({}))
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    with h5py.File(tmp_path / "seconds.h5", "w") as file:
        file["spikes/a/timestamps"], file["spikes/a/node_ids"] = [0.1], [0]
        file["spikes/a/timestamps"].attrs["units"] = "s"
    for name in ("text", "empty", "seconds"):
        with pytest.raises(EventFileError, match=name):
            read_spikes(tmp_path / f"{name}.h5", dt=0.1)
    sf.Simulator(network(), dt=0.1).run(5.0, output=tmp_path / "short.h5")
    (tmp_path / "short.h5").write_bytes((tmp_path / "short.h5").read_bytes()[:600])
    with pytest.raises(EventFileError, match="short"):
        read_spikes(tmp_path / "short.h5")


def test_spikes_of_a_group_go_to_their_populations_also_when_a_thread_of_its_own_takes_them_in(monkeypatch):
    random = np.random.Generator(np.random.Philox(3))
    fired = random.random((40, 23)) < 0.1
    start = np.concatenate([[0], np.cumsum(fired.sum(1))])
    ids = np.nonzero(fired)[1].astype(np.int32)
    edges = np.array([0, 5, 5, 21, 23])
    monkeypatch.setattr(recording, "_WORTH", 7)
    for threads in (0, 1, 3):
        with ThreadPoolExecutor(max(1, threads)) as helpers:
            begin, when, who = recording.by_population(start, ids, edges, 100, helpers if threads else None, threads)
        for i, (lo, hi) in enumerate(itertools.pairwise(edges)):
            own = slice(begin[i], begin[i + 1])
            steps, neurons = np.nonzero(fired[:, lo:hi])
            assert np.array_equal(when[own], steps + 100)
            assert np.array_equal(who[own], neurons)

    network = sf.Network(seed=1)
    cells = network.population("E", 50, sf.neurons.LIF(tau_m=20.0, v_th=20.0, v_reset=10.0))
    network.stimulate("E", sf.PoissonInput(15000.0, 0.2))
    network.record(cells, "spikes")
    found = []
    for speed in (1.0, 2.0):
        simulator = sf.Simulator(network, dt=0.1)
        simulator.circuit._provider.speed = speed
        simulator.circuit._stretch = lambda: 70
        found.append(simulator.run(50.0, progress=False))
    assert found[0].total_spikes > 50
    for a in ("steps", "ids"):
        assert np.array_equal(getattr(found[0].spikes["E"], a), getattr(found[1].spikes["E"], a))
