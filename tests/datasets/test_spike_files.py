"""HDF5 files of spikes: layouts, workers, and links, sizes, times and rows that are refused."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import struct

import h5py
import numpy as np
import pytest
from event_formats import (
    EVENTS,
    encode_shd,
    spikes,
    write,
)

from spikeframe.datasets.readers import SpikeFile, read, read_shd
from spikeframe.errors import EventFileError, ParameterError


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (2,)},
        {"chunks": (2,), "compression": "gzip"},
        {"chunks": (2,), "shuffle": True, "compression": "gzip"},
    ],
)
def test_hdf5_rows_are_read_from_every_accepted_layout(options, tmp_path):
    file = SpikeFile(write(tmp_path, "a.h5", encode_shd(EVENTS, **options)))
    assert len(file) == 3 and file.labels.tolist() == [0, 1, 2]
    for row in range(3):
        assert file[row].tolist() == spikes(EVENTS).tolist()[: 8 - row]
    assert file[-1].tolist() == file[2].tolist()


def _labels(file):
    return file.labels.tolist(), file[1].tolist()


def test_an_hdf5_file_goes_to_forked_and_spawned_workers(tmp_path):
    file = SpikeFile(write(tmp_path, "a.h5", encode_shd(EVENTS)))
    assert _labels(pickle.loads(pickle.dumps(file))) == _labels(file)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if file[1].tolist() == spikes(EVENTS).tolist()[:7] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_labels, (file,)) == _labels(file)


@pytest.mark.fault
def test_hdf5_links_to_elsewhere_are_refused(tmp_path):
    other = write(tmp_path, "other.h5", encode_shd(EVENTS))
    for link in (h5py.ExternalLink(str(other), "labels"), h5py.SoftLink("/spikes/times")):
        path = write(tmp_path, "a.h5", encode_shd(EVENTS))
        with h5py.File(path, "a") as file:
            del file["labels"]
            file["labels"] = link
        with pytest.raises(EventFileError, match=r"link (into another file|to elsewhere)"):
            SpikeFile(path)
    path = write(tmp_path, "a.h5", encode_shd(EVENTS))
    with h5py.File(path, "a") as file:
        del file["labels"]
        file.create_dataset("labels", (3,), "i4", external=[(str(other), 0, 12)])
    with pytest.raises(EventFileError, match="in another file"):
        SpikeFile(path)


@pytest.mark.fault
def test_hdf5_sizes_beyond_the_file_are_refused(tmp_path):
    path = tmp_path / "a.h5"
    for rows, chunk in ((10**12, 2), (3, 2**27)):
        with h5py.File(path, "w") as file:
            for name, dtype in (("times", "f2"), ("units", "u2")):
                kind = h5py.vlen_dtype(np.dtype(dtype))
                file.create_dataset(f"spikes/{name}", (rows,), kind, chunks=(chunk,), maxshape=(None,))
            file["labels"] = np.zeros(3)
        with pytest.raises(EventFileError, match="claims"):
            SpikeFile(path)


@pytest.mark.fault
def test_an_hdf5_row_longer_than_the_heap_holds_is_refused(tmp_path):
    data = bytearray(encode_shd(EVENTS))
    with h5py.File(io.BytesIO(bytes(data))) as file:
        place = file["spikes/times"].id.get_offset()
    data[place : place + 4] = struct.pack("<I", 2**31)
    with pytest.raises(EventFileError, match="2147483648 items"):
        read(write(tmp_path, "a.h5", bytes(data)), index=0)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("times", "match"),
    [([0.1, np.nan], "time nan"), ([0.2, 0.1], "never decrease"), ([-1.0, 0.1], "-1"), ([0.1, np.inf], "inf")],
)
def test_hdf5_times_that_cannot_be_are_refused(times, match, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, dtype, row in (("times", "f4", times), ("units", "u2", [1, 2])):
            file.create_dataset(f"spikes/{name}", (1,), h5py.vlen_dtype(np.dtype(dtype)))[0] = np.array(row, dtype)
        file["labels"] = [0]
    with pytest.raises(EventFileError, match=match):
        read_shd(tmp_path / "a.h5", 0)


@pytest.mark.fault
def test_an_hdf5_recording_that_is_not_there_is_refused(tmp_path):
    path = write(tmp_path, "a.h5", encode_shd(EVENTS))
    for index in (3, -4, 1.5):
        with pytest.raises(ParameterError, match="index from 0 to 2"):
            read_shd(path, index)
    with pytest.raises(ParameterError, match="give index"):
        read(path)
    with pytest.raises(IndexError):
        SpikeFile(path)[3]


def test_rows_that_were_never_written_are_recordings_without_spikes(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as out:
        for name, kind in (("times", np.float32), ("units", np.uint16)):
            out.create_dataset(f"spikes/{name}", 3, h5py.vlen_dtype(kind))
        out["labels"] = np.arange(3, dtype=np.uint16)
    file = SpikeFile(tmp_path / "a.h5")
    assert [file[row].size for row in range(3)] == [0, 0, 0]
