"""N-MNIST's 40-bit records: one byte x, one byte y, one bit polarity, 23 bits time in µs, big-endian.

N-Caltech101 and SLAYER's two-dimensional ``.bs2`` files have the same records. A record with y = 240 is no event but
says that 2^13 µs passed (sensors with at most 240 rows). SLAYER's ``.bs1`` files have a 16-bit channel for x and y.
Source: Orchard et al., Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades, 2015,
doi:10.3389/fnins.2015.00437.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spikeframe.datasets.events import (
    EVENT_DTYPE,
    MAX_SIDE,
    Recording,
    SensorSize,
    check_sensor_size,
    describe_bad_event,
)
from spikeframe.datasets.readers._file import PathLike, checked, load, load_into, whole_records
from spikeframe.errors import EventFileError
from spikeframe.kernels.numba import events as kernels
from spikeframe.kernels.numba import records

# x, y, polarity and the high time bits in one little-endian word: one load an event.
_RECORD = np.dtype([("head", "<u4"), ("tail", "u1")])
_MARKER = 240
# N-MNIST's sensor, and what `_bounds` says of it: its files are opened by the thousand.
_SIZE = (34, 34, 2)
_SIZE_BOUNDS = (34, 34, _MARKER)
# Bytes of the buffers that small files are read into, and those that no thread reads into at the moment.
_BUFFER = 5 << 16
_idle: list[tuple[list[bytearray], npt.NDArray[Any]]] = []


def read_nmnist(path: PathLike, sensor_size: SensorSize | None = _SIZE) -> Recording:
    """Read one recording of 40-bit records.

    Args:
        path: the ``.bin`` file.
        sensor_size: (width, height, polarities) of the sensor; None accepts every coordinate a byte can hold.

    Returns:
        The events, the sensor size, and the number of overflow markers.

    Raises:
        EventFileError: a cut-off record, a coordinate outside the sensor, or a time that steps back.
    """
    width, height, marker = _SIZE_BOUNDS if sensor_size is _SIZE else _bounds(sensor_size)
    # An overflow marker is not plain either.
    plain = height if height < marker or marker < 0 else marker
    try:
        memory, found = _idle.pop()
    except IndexError:
        memory = [bytearray(_BUFFER)]
        found = np.frombuffer(memory[0], _RECORD)
    count, rest = divmod(load_into(path, memory), _RECORD.itemsize)
    events = np.empty(count, EVENT_DTYPE)
    good = rest == 0 < count and records.decode_plain_40bit(found, events, width, plain)
    _idle.append((memory, found))
    if good:
        return Recording(events, sensor_size, {})
    data = load(path)
    whole_records(path, data, 0, _RECORD.itemsize)
    found = np.frombuffer(data, _RECORD)
    events = np.empty(found.size, EVENT_DTYPE)
    if records.decode_plain_40bit(found, events, width, plain):
        return Recording(events, sensor_size, {})
    count, markers, bad = kernels.decode_40bit(found, events, width, height, marker)
    if bad >= 0:
        # The kernel has written the offending event, so that it can be described.
        reason = describe_bad_event(events[: count + 1], count, (width, height), "recordings of this format are sorted")
        raise EventFileError(path, bad * _RECORD.itemsize, f"{reason} Give sensor_size if this is another sensor.")
    if markers:
        return Recording(events[:count].copy(), sensor_size, {"time overflow": int(markers)})
    return Recording(events, sensor_size, {})


def _bounds(sensor_size: SensorSize | None) -> tuple[int, int, int]:
    """Width and height that coordinates stay below, and the y that marks a time overflow or -1."""
    if sensor_size is None:
        return 256, 256, _MARKER
    width, height, _ = check_sensor_size(sensor_size)
    return width, height, _MARKER if height <= _MARKER else -1


def read_bs2(path: PathLike, sensor_size: SensorSize | None = None) -> Recording:
    """Read a two-dimensional SLAYER spike file: `read_nmnist`'s records of a sensor that the caller names."""
    return read_nmnist(path, sensor_size)


def read_bs1(path: PathLike, sensor_size: SensorSize | None = None, *, sort: bool = False) -> Recording:
    """Read a one-dimensional SLAYER spike file, as of N-TIDIGITS: 16 bits channel, then polarity and time.

    Args:
        path: the ``.bs1`` file.
        sensor_size: (channels, 1, polarities) of the sensor.
        sort: put events whose times step back in order, instead of refusing the file.

    Returns:
        The events; x is the channel.

    Raises:
        EventFileError: a cut-off record, a channel outside the sensor, or a time that steps back.
    """
    data = load(path)
    whole_records(path, data, 0, 5)
    records = np.frombuffer(data, np.dtype([("channel", ">u2"), ("high", "u1"), ("low", ">u2")]))
    events = np.zeros(records.size, EVENT_DTYPE)
    # A channel beyond int16 shows as -1, which no sensor has.
    events["x"] = np.where(records["channel"] < MAX_SIDE, records["channel"], -1)
    events["t"] = (records["high"] & 127).astype(np.int64) << 16 | records["low"]
    events["p"] = records["high"] >> 7
    return checked(path, events, sensor_size, {}, lambda index: 5 * index, sort)
