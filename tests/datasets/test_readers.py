"""Every format round trips; bad files, times and choices are named by byte and reason."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest
from event_formats import (
    EVENTS,
    FORMATS,
    encode_aedat2,
    encode_evt2,
    encode_nmnist,
    every_format,
    write,
)

from spikeframe.datasets.events import EVENT_DTYPE, check_events
from spikeframe.datasets.readers import SpikeFile, read, read_nmnist
from spikeframe.errors import DataNotFoundError, EventFileError, ParameterError, SpikeframeError, UnknownNameError


@every_format
def test_what_is_written_is_read(name, tmp_path):
    file, encode, options, expected, size = FORMATS[name]
    recording = read(write(tmp_path, file, encode(EVENTS)), **options)
    assert recording.events.dtype == EVENT_DTYPE
    assert recording.events.tolist() == expected.tolist()
    assert recording.sensor_size == size


@pytest.mark.fault
@every_format
def test_a_file_cut_anywhere_gives_leading_events_or_names_the_file(name, tmp_path):
    file, encode, options, expected, _ = FORMATS[name]
    data = encode(EVENTS)
    refused = 0
    for end in range(len(data)) if name != "shd" else range(0, len(data), 7):
        path = write(tmp_path, file, data[:end])
        try:
            events = read(path, **options).events
        except (EventFileError, ParameterError) as error:
            refused += 1
            assert str(path) in str(error)
            assert not isinstance(error, EventFileError) or 0 <= error.offset <= end
        else:
            assert events.tolist() == expected.tolist()[: events.size]
    assert refused > end // 2 if name != "shd" else refused


@pytest.mark.fault
@every_format
def test_a_flipped_bit_gives_legal_events_or_a_named_error(name, tmp_path):
    file, encode, options, _, _ = FORMATS[name]
    data = encode(EVENTS)
    rng = np.random.Generator(np.random.Philox(key=int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])))
    for place, bit in zip(rng.integers(len(data), size=500), rng.integers(8, size=500), strict=True):
        flipped = bytearray(data)
        flipped[place] ^= 1 << bit
        try:
            recording = read(write(tmp_path, file, bytes(flipped)), **options)
        except (EventFileError, ParameterError) as error:
            assert file in str(error)
        else:
            check_events(recording.events, recording.sensor_size)


@pytest.mark.fault
@every_format
@pytest.mark.parametrize("content", [b"", b"\0", b"GIF89a" + bytes(range(256)) * 3, b"% evt 2.0", b"#!AER-DAT4.0\r\n"])
def test_another_file_is_refused(name, content, tmp_path):
    file, _, options, _, _ = FORMATS[name]
    if name == "bs2" and content[:3] == b"#!A":
        content += b"\0"
    path = write(tmp_path, file, content)
    with pytest.raises(EventFileError) as error:
        read(path, **options)
    assert error.value.path == path


@every_format
def test_a_missing_file_says_so(name, tmp_path):
    file, _, options, _, _ = FORMATS[name]
    with pytest.raises(DataNotFoundError, match=file):
        read(tmp_path / file, **options)


@every_format
def test_a_folder_is_no_event_file(name, tmp_path):
    file, _, options, _, _ = FORMATS[name]
    (tmp_path / file).mkdir()
    with pytest.raises(EventFileError):
        read(tmp_path / file, **options)


# What each format does when a time steps back, a coordinate leaves the sensor, or a record is cut: byte and reason.

BACK = EVENTS.copy()


BACK["t"][4] = 600


@pytest.mark.fault
@pytest.mark.parametrize(
    ("name", "offset"),
    [
        ("nmnist", 20),
        ("bs1", 20),
        ("dat", None),
        ("npy", None),
        ("evt3", None),
        ("evt2", None),
        ("aedat2", None),
    ],
)
def test_a_time_that_steps_back_is_named_by_its_byte(name, offset, tmp_path):
    file, encode, options, _, _ = FORMATS[name]
    data = encode(BACK)
    with pytest.raises(EventFileError, match=r"t = 600") as error:
        read(write(tmp_path, file, data), **options)
    if name == "npy":
        offset = len(data) - 4 * EVENT_DTYPE.itemsize
    if offset is None:
        # The bytes before the named one hold exactly the events before the wrong one.
        assert read(write(tmp_path, file, data[: error.value.offset]), **options).events.size == 4
    else:
        assert error.value.offset == offset


@pytest.mark.parametrize("name", ["aedat2", "aedat3", "bs1", "cochlea", "evt2", "evt3", "dat", "npy", "npz", "shd"])
def test_times_that_step_back_are_sorted_on_request(name, tmp_path):
    file, encode, options, _, _ = FORMATS[name]
    events = read(write(tmp_path, file, encode(BACK)), sort=True, **options).events
    assert events["t"].tolist() == sorted(BACK["t"].tolist())
    assert events["x"].tolist() == BACK["x"][np.argsort(BACK["t"], kind="stable")].tolist()


@pytest.mark.fault
def test_unknown_formats_and_options_are_named(tmp_path):
    path = write(tmp_path, "a.bin", encode_nmnist(EVENTS))
    with pytest.raises(UnknownNameError, match="'nmnist'"):
        read(path, format="nmnst")
    with pytest.raises(UnknownNameError, match="sensor_size"):
        read(path, sensorsize=(34, 34, 2))
    with pytest.raises(UnknownNameError, match="davis346"):
        read(write(tmp_path, "a.aedat", encode_aedat2(EVENTS)), layout="davis345")
    with pytest.raises(ParameterError, match="give layout"):
        read(write(tmp_path, "a.aedat", b"#!AER-DAT2.0\r\n" + bytes(8)))
    with pytest.raises(EventFileError, match=r"expected '% evt 3\.0'"):
        read(write(tmp_path, "a.raw", encode_evt2(EVENTS)), format="evt3")
    with pytest.raises(EventFileError, match="sensor of 999999999x1"):
        read(write(tmp_path, "a.raw", b"% evt 2.0\n% geometry 999999999x1\n"))


@pytest.mark.fault
@pytest.mark.parametrize("path", [None, 3, b"a.bin", "a\0.bin", ["a.bin"]])
def test_what_is_no_path_is_refused(path):
    for reader in (read, read_nmnist, SpikeFile):
        with pytest.raises((ParameterError, DataNotFoundError), match=r"a\.bin|path ="):
            reader(path)


def test_all_errors_are_of_the_family_and_survive_a_worker(tmp_path):
    with pytest.raises(SpikeframeError) as error:
        read(write(tmp_path, "a.bin", b"12"))
    copy = pickle.loads(pickle.dumps(error.value))
    assert (copy.path, copy.offset, copy.reason) == (error.value.path, error.value.offset, error.value.reason)
