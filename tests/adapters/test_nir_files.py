"""NIR files: nothing outside them is read, nothing larger than it says, and a write is whole or not at all."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from nir_cases import DT, lif_graph, nir
from torch import nn

from spikeframe.adapters.nir import from_nir, read_nir, to_nir, write_nir
from spikeframe.errors import (
    DataNotFoundError,
    GraphError,
    SpikeframeError,
    UnsupportedLayerError,
)
from spikeframe.neurons import IF, LIF, Sequential, SumPool2d


@pytest.fixture
def file(tmp_path):
    torch.manual_seed(2)
    path = tmp_path / "graph.nir"
    model = Sequential(nn.Conv2d(1, 2, 2), IF(dt=DT), SumPool2d(2), nn.Flatten(), nn.Linear(8, 3), LIF(dt=DT))
    write_nir(path, to_nir(model, (1, 5, 5)))
    return path


def outside(file, path):
    other = path.parent / "other.h5"
    with h5py.File(other, "w") as second:
        second["secret"] = np.ones(3)
    del file["node/nodes/5/tau"]
    file["node/nodes/5/tau"] = h5py.ExternalLink(str(other), "/secret")


def soft(file, path):
    del file["node/nodes/5/tau"]
    file["node/nodes/5/tau"] = h5py.SoftLink("/node/nodes/5/r")


def ring(file, path):
    file["node/nodes/again"] = file["node/nodes"]


def virtual(file, path):
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(str(path.parent / "other.h5"), "secret", (3,))
    del file["node/nodes/5/tau"]
    file["node/nodes/5"].create_virtual_dataset("tau", layout)


def elsewhere(file, path):
    del file["node/nodes/5/tau"]
    raw = path.parent / "raw.bin"
    raw.write_bytes(bytes(24))
    file["node/nodes/5"].create_dataset("tau", (3,), "f8", external=[(str(raw), 0, 24)])


def swollen(file, path):
    file.create_dataset("node/nodes/5/more", (2**28,), "f8", chunks=True, compression="gzip")


def chunked(file, path):
    file.create_dataset("node/nodes/5/more", (1,), "f8", maxshape=(None,), chunks=(2**28,))


def renamed(file, path):
    del file["node/nodes/5/type"]
    file["node/nodes/5/type"] = "Rocket"


def without(file, path):
    del file["node/nodes/5/v_threshold"]


def rooted(file, path):
    del file["node"]


def pointer(file, path):
    file.create_dataset("node/nodes/5/more", data=file["node"].ref, dtype=h5py.ref_dtype)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (outside, "ExternalLink"), (soft, "SoftLink"), (ring, "two places"), (virtual, "another file"),
        (elsewhere, "another file"), (swollen, "limit"), (chunked, "limit"), (renamed, "Rocket"),
        (without, "v_threshold"),
        (rooted, "node"), (pointer, "type"),
    ],
)  # fmt: skip
def test_a_file_that_points_elsewhere_swells_or_lacks_something_is_refused(file, change, words):
    with h5py.File(file, "r+") as opened:
        change(opened, file)
    with pytest.raises((GraphError, UnsupportedLayerError), match=words):
        read_nir(file)


@pytest.mark.fault
def test_files_too_large_missing_or_damaged_meet_named_errors(file, tmp_path):
    whole = file.read_bytes()
    assert isinstance(from_nir(file), Sequential)
    with pytest.raises(GraphError, match="larger"):
        read_nir(file, limit=len(whole) - 1)
    with pytest.raises(DataNotFoundError):
        read_nir(tmp_path / "none.nir")
    broken = tmp_path / "broken.nir"
    random = np.random.Generator(np.random.Philox(key=5))
    damaged = [whole[:n] for n in range(0, len(whole), max(1, len(whole) // 15))]
    for _ in range(40):
        copy = bytearray(whole)
        copy[random.integers(len(copy))] ^= 1 << int(random.integers(8))
        damaged.append(bytes(copy))
    for content in damaged:
        broken.write_bytes(content)
        try:
            from_nir(broken)
        except SpikeframeError:
            continue


def test_an_interrupted_write_leaves_the_old_file(file, monkeypatch):
    before = file.read_bytes()

    def fails(path, graph):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(nir, "write", fails)
    with pytest.raises(OSError, match="full"):
        write_nir(file, lif_graph())
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == [file.name]
