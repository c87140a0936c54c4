"""Tables of runs hold every spike, sample and count, and readers refuse what leads out of a file."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import spikeframe as sf
from spikeframe import errors
from spikeframe.core.sonata import read_spikes
from spikeframe.datasets import readers
from spikeframe.neurons import LIF, Sequential

DATA = Path(__file__).parents[1] / "datasets" / "data"


@pytest.fixture(scope="module")
def result():
    net = sf.Network(2)
    a = net.population("a", 6, LIF(tau_m=10.0, i_e=1.3, t_ref=2.0))
    s = net.population("s", 3, sf.PoissonSource(300.0))
    net.connect(s, a, sf.AllToAll(), weight=0.2, delay=1.0)
    net.record([a, s], "spikes")
    net.record(a, "v", every=1.0, ids=[3, 5])
    net.record(a, "rate", every=10.0)
    return sf.Simulator(net, dt=0.5, backend="reference").run(50.0, progress=False)


def test_pandas_tables_hold_every_row(result):
    pandas = pytest.importorskip("pandas")
    from spikeframe.adapters import tables

    spikes = tables.spikes_to_pandas(result)
    assert list(spikes.columns) == ["population", "neuron", "time"]
    assert len(spikes) == result.total_spikes
    assert spikes.groupby("population", observed=True).size()["a"] == len(result.spikes["a"])
    traces = tables.traces_to_pandas(result)
    one = traces[(traces.variable == "v") & (traces.neuron == 5)]
    np.testing.assert_array_equal(one.value, result.traces["a"]["v"].values[:, 1])
    assert (traces[traces.variable == "rate"].neuron == -1).all()
    counts = tables.counts_to_pandas(result.counts)
    assert counts.loc["a", "syn_ac"] == result.counts["a"].syn_ac
    assert isinstance(counts, pandas.DataFrame)
    with pytest.raises(errors.DTypeError, match="Counts"):
        tables.counts_to_pandas({"a": 1})
    with pytest.raises(errors.DTypeError, match="no spikes"):
        tables.spikes_to_pandas({})


def test_runs_over_a_batch_have_samples(result):
    pytest.importorskip("pandas")
    from spikeframe.adapters import tables

    torch.manual_seed(0)
    model = Sequential(nn.Linear(4, 3), LIF(dt=1.0, tau_m=5.0, backend="torch"))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
    run = sf.Simulator(sf.Network.from_module(model, (4,)), backend="reference").run(torch.ones(5, 2, 4))
    spikes = tables.spikes_to_pandas(run)
    assert set(spikes["sample"]) == {0, 1}
    assert len(spikes) == sum(len(s) for s in run.spikes.values())


def test_xarray_names_times_and_neurons(result):
    pytest.importorskip("xarray")
    from spikeframe.adapters import tables

    found = tables.to_xarray(result)
    v = found["a.v"]
    assert v.sel({"time of a.v": 7.0, "neuron of a.v": 5}).item() == result.traces["a"]["v"].values[6, 1]
    assert found["a.rate"].dims == ("time of a.rate",)


def lead_out(path, kind):
    """Write a spike file whose times lie in another file."""
    other = path.with_name("other.h5")
    with h5py.File(other, "w") as file:
        file["times"] = np.array([1.0, 2.0])
    (path.parent / "raw.bin").write_bytes(np.array([1.0, 2.0]).tobytes())
    with h5py.File(path, "w") as file:
        group = file.create_group("spikes/p")
        group["node_ids"] = np.array([0, 1], np.uint64)
        if kind == "link":
            group["timestamps"] = h5py.ExternalLink(str(other), "/times")
        elif kind == "storage":
            where = [(str(path.parent / "raw.bin"), 0, 16)]
            group.create_dataset("timestamps", (2,), "f8", external=where)
        elif kind == "virtual":
            layout = h5py.VirtualLayout((2,), "f8")
            layout[:] = h5py.VirtualSource(str(other), "times", (2,))
            group.create_virtual_dataset("timestamps", layout)
        else:
            group["timestamps"] = np.array([1.0, 2.0])
            group["again"] = h5py.SoftLink("/spikes")


@pytest.mark.fault
@pytest.mark.parametrize("kind", ["link", "storage", "virtual"])
def test_a_spike_file_that_leads_into_another_is_refused(tmp_path, kind):
    path = tmp_path / "spikes.h5"
    lead_out(path, kind)
    with pytest.raises(errors.EventFileError, match="another file"):
        read_spikes(path, dt=0.5)
    with h5py.File(tmp_path / "shd.h5", "w") as file:
        file["spikes"] = h5py.ExternalLink(str(path), "/spikes")
    with pytest.raises(errors.EventFileError, match="another file"):
        readers.SpikeFile(tmp_path / "shd.h5")


def test_links_within_a_file_are_followed(tmp_path):
    path = tmp_path / "spikes.h5"
    lead_out(path, "inside")
    assert read_spikes(path, dt=0.5)["p"].times.tolist() == [1.0, 2.0]


def test_aedat_4_is_read_as_its_maker_wrote_it():
    pytest.importorskip("aedat")
    found = readers.read(DATA / "small.aedat4")
    assert found.sensor_size == (64, 48, 2)
    with np.load(DATA / "small_aedat4.npz") as expected:
        for name in ("t", "x", "y", "p"):
            np.testing.assert_array_equal(found.events[name], expected[name])
    assert readers.guess_format(DATA / "small.aedat4") == "aedat4"
    with pytest.raises(errors.ParameterError, match=r"streams with events are \[0\]"):
        readers.read_aedat4(DATA / "small.aedat4", stream=3)


@pytest.mark.fault
def test_a_damaged_aedat_4_file_is_refused(tmp_path):
    pytest.importorskip("aedat")
    whole = (DATA / "small.aedat4").read_bytes()
    for name, data in {"other": b"#!AER-DAT2.0\r\n", "cut": whole[:600], "header": whole[:40]}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(errors.EventFileError):
            readers.read_aedat4(tmp_path / name)


@pytest.mark.fault
def test_without_the_library_aedat_4_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "aedat", None)
    with pytest.raises(errors.BackendError, match=r"spikeframe\[aedat\]"):
        readers.read_aedat4(DATA / "small.aedat4")
