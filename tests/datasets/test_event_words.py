"""Words of single formats: markers, clocks that wrap, vectors, packets, and the compiled decoders."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from event_formats import (
    EVENTS,
    encode_aedat2,
    encode_aedat3,
    encode_evt2,
    encode_evt3,
    encode_nmnist,
    packet,
    write,
)

from spikeframe.datasets.events import EVENT_DTYPE
from spikeframe.datasets.readers import read, read_aedat3
from spikeframe.datasets.readers.nmnist import _RECORD
from spikeframe.errors import EventFileError
from spikeframe.kernels.numba import events as compiled
from spikeframe.kernels.reference import events as reference


@pytest.mark.fault
def test_a_pixel_outside_the_sensor_is_named_by_its_byte(tmp_path):
    events = EVENTS.copy()
    events["x"][2] = 34
    with pytest.raises(EventFileError, match=r"byte 10: event 2 has x = 34; x is 0 to 33. Give sensor_size"):
        read(write(tmp_path, "a.bin", encode_nmnist(events)))
    assert read(write(tmp_path, "a.bin", encode_nmnist(events)), sensor_size=(64, 64, 2)).events.size == 8


@pytest.mark.fault
def test_a_truncated_record_names_file_and_byte(tmp_path):
    path = write(tmp_path, "clip 7 é.bin", encode_nmnist(EVENTS)[:-2])
    with pytest.raises(EventFileError, match=r"the last record has 3 of 5 bytes") as error:
        read(path)
    assert (error.value.path, error.value.offset) == (path, 35)


def test_overflow_markers_advance_the_clock_and_are_counted(tmp_path):
    data = encode_nmnist(EVENTS[:2]) + bytes([0, 240, 0, 0, 0]) + encode_nmnist(EVENTS[2:3])
    recording = read(write(tmp_path, "a.bin", data))
    assert recording.events["t"].tolist() == [10, 10, 700 + 8192]
    assert recording.dropped == {"time overflow": 1}


def test_what_is_no_change_event_is_counted(tmp_path):
    assert read(write(tmp_path, "a.raw", encode_evt2(EVENTS))).dropped == {"external trigger": 1, "other": 2}
    assert read(write(tmp_path, "b.raw", encode_evt3(EVENTS))).dropped == {"before first time": 1}
    assert read(write(tmp_path, "a.aedat", encode_aedat3(EVENTS))).dropped == {"special": 2}
    extra = encode_aedat2(EVENTS) + struct.pack(">II", 1 << 31, 70002) + struct.pack(">II", 1 << 10, 70003)
    assert read(write(tmp_path, "b.aedat", extra)).dropped == {"other": 2}


def test_events_marked_invalid_are_left_out_and_counted(tmp_path):
    body = struct.pack("<IiIi", 5 << 17 | 6 << 2 | 1, 9, 7 << 17, 10)
    data = b"#!AER-DAT3.1\r\n#!END-HEADER\r\n" + packet(1, body, 8, 2, 1, overflow=1)
    recording = read(write(tmp_path, "a.aedat", data))
    assert recording.events.tolist() == [(5, 6, 2**31 + 9, 0)]
    assert recording.dropped == {"invalid": 1}


@pytest.mark.fault
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((1, 0, 8, 4, 0, 2**31 - 1, 2**31 - 1, 2), "the file has"),
        ((1, 0, 8, 4, 0, 2, -1, 2), "contradicts itself"),
        ((1, 0, 8, 4, 0, 1, 2, 2), "contradicts itself"),
        ((1, 0, 16, 4, 0, 1, 1, 1), "expected 8"),
        ((99, 0, 8, 4, 0, 2, 2, 2), "packet type 99"),
        ((1, 0, 8, 4, -1, 2, 2, 2), "contradicts itself"),
        ((1, 0, 8, 4, 0, 2, 2, 1), "marks 2 as valid"),
    ],
)
def test_a_packet_header_that_cannot_be_is_refused(fields, message, tmp_path):
    body = struct.pack("<IiIi", 5 << 17 | 1, 9, 7 << 17 | 1, 10)
    head = b"#!AER-DAT3.1\r\n#!END-HEADER\r\n"
    with pytest.raises(EventFileError, match=message) as error:
        read(write(tmp_path, "a.aedat", head + struct.pack("<hhiiiiii", *fields) + body))
    assert error.value.offset == len(head)


def test_clocks_that_wrap_go_on(tmp_path):
    words = [8 << 12 | 4095, 6 << 12 | 4000, 1, 2 << 12 | 3, 8 << 12 | 0, 6 << 12 | 5, 2 << 12 | 4]
    data = b"% evt 3.0\n" + np.array(words, "<u2").tobytes()
    assert read(write(tmp_path, "a.raw", data)).events["t"].tolist() == [4095 * 4096 + 4000, 2**24 + 5]
    words = [8 << 28 | 2**28 - 1, 63 << 22, 8 << 28, 1 << 22]
    data = b"% evt 2.0\n" + np.array(words, "<u4").tobytes()
    assert read(write(tmp_path, "b.raw", data)).events["t"].tolist() == [2**34 - 1, 2**34 + 1]
    data = b"% Version 2\n\x00\x08" + np.array([2**32 - 1, 0, 3, 1], "<u4").tobytes()
    assert read(write(tmp_path, "a.dat", data)).events["t"].tolist() == [2**32 - 1, 2**32 + 3]


def test_an_evt3_vector_gives_an_event_for_each_bit_and_goes_on(tmp_path):
    words = [8 << 12, 6 << 12 | 7, 2, 3 << 12 | 1 << 11 | 10, 4 << 12 | 0b100000000011, 5 << 12 | 0b10000001]
    events = read(write(tmp_path, "a.raw", b"% evt 3.0\n" + np.array(words, "<u2").tobytes())).events
    assert events["x"].tolist() == [10, 11, 21, 22, 29]
    assert set(events["p"].tolist()) == {1}


@pytest.mark.fault
def test_an_evt3_vector_cannot_run_off_the_sensor_unseen(tmp_path):
    words = [8 << 12, 2, 3 << 12 | 2040, *[4 << 12] * 6000, 4 << 12 | 1]
    with pytest.raises(EventFileError, match="is no word of EVT"):
        read(write(tmp_path, "a.raw", b"% evt 3.0\n" + np.array(words, "<u2").tobytes()))


@pytest.mark.parity
@pytest.mark.parametrize("n", [0, 1, 63, 400])
def test_compiled_decoders_equal_the_reference(n):
    rng = np.random.Generator(np.random.Philox(key=n))
    kinds2, kinds3 = np.array([0, 1, 8, 10, 14, 15]), np.array([0, 2, 3, 4, 5, 6, 7, 8, 10, 14, 15])
    words2 = (rng.choice(kinds2, n) << 28 | rng.integers(2**28, size=n)).astype(np.uint32)
    words3 = (rng.choice(kinds3, n) << 12 | rng.integers(2**12, size=n) & 0xFF7).astype(np.uint16)
    for words, name in ((words2, "decode_evt2"), (words3, "decode_evt3")):
        for target in (-1, 0, n // 3):
            outs, drops = np.zeros((2, 12 * n), EVENT_DTYPE), np.zeros((2, 4), np.int64)
            results = [getattr(m, name)(words, outs[k], target, drops[k]) for k, m in enumerate((compiled, reference))]
            assert results[0] == results[1]
            assert (outs[0] == outs[1]).all() and (drops[0] == drops[1]).all()
    raw = rng.integers(256, size=5 * n).astype(np.uint8)
    raw[2::5] = np.sort(rng.integers(128, size=n)) | raw[2::5] & 128
    for last in (n, n // 2):
        records = raw[: 5 * last].view(_RECORD)
        outs = np.zeros((2, last), EVENT_DTYPE)
        results = [m.decode_40bit(records, outs[k], 256, 256, 240) for k, m in enumerate((compiled, reference))]
        assert results[0] == results[1] and (outs[0] == outs[1]).all()


@pytest.mark.fault
def test_a_header_may_tell_of_a_sensor_up_to_16384(tmp_path):
    for side in (1, 16384, 16385, 0):
        text = f"% evt 3.0\n% format EVT3;height=1;width={side}\n% end\n".encode()
        for content in (text, text.replace(b"height=1;width", b"width=1;height")):
            path = write(tmp_path, "a.raw", content)
            if 1 <= side <= 16384:
                assert sorted(read(path).sensor_size) == sorted((side, 1, 2))
            else:
                with pytest.raises(EventFileError, match="up to 16384"):
                    read(path)


@pytest.mark.fault
def test_a_file_of_another_version_is_told_from_aedat_3(tmp_path):
    for content in (encode_aedat2(EVENTS), encode_aedat3(EVENTS).replace(b"DAT3.1", b"DAT3.0")):
        with pytest.raises(EventFileError, match=r"expected an AEDAT 3\.1 header"):
            read_aedat3(write(tmp_path, "a.aedat", content))
