"""40-bit records decoded four at a time: what the plain loop gives, and every broken rule found."""

from __future__ import annotations

import numpy as np
import pytest

from spikeframe.datasets.events import EVENT_DTYPE
from spikeframe.datasets.readers import nmnist, read_nmnist
from spikeframe.errors import EventFileError
from spikeframe.kernels.numba.records import decode_plain_40bit
from spikeframe.kernels.reference.events import decode_40bit


def records(seed, count, side=34):
    random = np.random.Generator(np.random.Philox(seed))
    x, y, p = random.integers(0, side, count), random.integers(0, side, count), random.integers(0, 2, count)
    t = np.sort(random.integers(0, 2**23, count))
    columns = [x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255]
    return np.stack(columns, axis=1).astype(np.uint8)


def decoded(data, side=34):
    """Return whether records are plain, and the events of the fast and of the plain loop."""
    found = np.ascontiguousarray(data).view(nmnist._RECORD)[:, 0]
    fast, plain = np.zeros(len(data), EVENT_DTYPE), np.zeros(len(data), EVENT_DTYPE)
    good = decode_plain_40bit(found, fast, side, side)
    decode_40bit(found, plain, 256, 256, -1)
    return good, fast, plain


@pytest.mark.exact
@pytest.mark.parametrize("count", [*range(1, 24), 700, 9001])
@pytest.mark.parametrize("side", [34, 250, 256])
def test_events_are_those_of_the_plain_loop(count, side):
    good, fast, plain = decoded(records(count, count, side), side)
    assert good
    assert np.array_equal(fast, plain)


@pytest.mark.exact
@pytest.mark.parametrize("at", range(40))
@pytest.mark.parametrize("change", [(0, 34), (0, 255), (1, 34), (1, 240), "back"])
def test_every_broken_rule_is_found(at, change):
    data = records(at, 41)
    if change == "back":
        data[at, 2:] |= 0x7F
    else:
        data[at, change[0]] = change[1]
    good, fast, plain = decoded(data)
    assert not good
    whole = slice(0, at + 1 if change == "back" else 41)
    assert np.array_equal(fast[whole], plain[whole])


def test_markers_among_plain_records_move_times_and_are_counted(tmp_path):
    path = tmp_path / "1.bin"
    more = np.array([[0, 240, 0, 0, 0], [1, 2, 0xFF, 0xFF, 0xFF]], np.uint8)
    path.write_bytes(np.concatenate([records(1, 50), more]).tobytes())
    found = read_nmnist(path)
    assert found.dropped == {"time overflow": 1}
    assert found.events["t"][-1] == 0x7FFFFF + 8192
    assert np.array_equal(found.events[:50], decoded(records(1, 50))[1])


@pytest.mark.exact
@pytest.mark.parametrize("more", [-1, 0, 1, 700])
def test_files_larger_than_the_buffer_are_read_whole(tmp_path, more, monkeypatch):
    monkeypatch.setattr(nmnist, "_BUFFER", 5 * 400)
    monkeypatch.setattr(nmnist, "_idle", [])
    path = tmp_path / "1.bin"
    data = records(1, 400 + more)
    path.write_bytes(data.tobytes())
    first = read_nmnist(path).events
    assert np.array_equal(first, decoded(data)[1])
    path.write_bytes(records(2, 300).tobytes())
    read_nmnist(path)
    assert np.array_equal(first, decoded(data)[1])  # events are not in the buffer, which is used again
    path.write_bytes(data.tobytes() + b"123")
    with pytest.raises(EventFileError, match=rf"byte {5 * (400 + more)}\b.*3 of 5 bytes"):
        read_nmnist(path)
