"""NumPy files of events: nothing is unpickled, headers that claim too much, archives of other arrays."""

from __future__ import annotations

import os
import zipfile

import numpy as np
import pytest
from event_formats import (
    EVENTS,
    encode_npy,
    write,
)

from spikeframe.datasets.readers import read
from spikeframe.errors import EventFileError


@pytest.mark.fault
def test_python_objects_are_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    for name, save in (("a.npy", np.save), ("a.npz", np.savez)):
        save(tmp_path / name, np.array([Trap()], object), allow_pickle=True)
        with pytest.raises(EventFileError, match="never unpickled"):
            read(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.fault
def test_numpy_headers_that_claim_too_much_are_refused(tmp_path):
    data = encode_npy(EVENTS)
    huge = data.replace(b"'shape': (8,), }          ", b"'shape': (99999999999,), }")
    assert huge != data
    with pytest.raises(EventFileError, match="the header says 1299999999987 bytes"):
        read(write(tmp_path, "a.npy", huge))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", encode_npy(np.zeros(10**6, np.int64)))
    with pytest.raises(EventFileError, match="unpacks to"):
        read(tmp_path / "a.npz")


@pytest.mark.fault
@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"x": np.zeros(3, int)},
        {"x": np.zeros(3, int), "t": np.zeros(2, int), "p": np.zeros(3, int)},
        {"x": np.zeros(3), "t": np.zeros(3), "p": np.zeros(3)},
        {"a": EVENTS, "b": EVENTS},
        {"x": np.zeros((3, 3), int)},
    ],
)
def test_archives_without_events_are_refused(arrays, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(EventFileError):
        read(tmp_path / "a.npz")


def test_events_of_another_integer_type_are_read(tmp_path):
    foreign = np.empty(EVENTS.size, [("t", ">u4"), ("x", "u1"), ("y", "u1"), ("p", "?")])
    for field in "xytp":
        foreign[field] = EVENTS[field]
    assert read(write(tmp_path, "a.npy", encode_npy(foreign))).events.tolist() == EVENTS.tolist()
