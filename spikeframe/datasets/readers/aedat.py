"""AEDAT 2 and 3.1 files of iniVation cameras, and the headerless address files of auditory sensors.

Coordinates are as stored: AEDAT 2 counts rows from the lower left corner, AEDAT 3.1 from the upper left. Formats:
https://docs.inivation.com/software/software-advanced-usage/file-formats/index.html.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from spikeframe.datasets.events import EVENT_DTYPE, Events, Recording, SensorSize, whole_number
from spikeframe.datasets.readers._file import PathLike, checked, load, text_header, whole_records
from spikeframe.errors import EventFileError, ParameterError, unknown_name


class _Layout(NamedTuple):
    """Where an AEDAT 2 address holds its parts: shifts, widths in bits, and the bits set in what is no change event."""

    size: SensorSize
    x: tuple[int, int]
    y: tuple[int, int]
    p: int
    special: int


def _davis(width: int, height: int) -> _Layout:
    return _Layout((width, height, 2), (12, 10), (22, 9), 11, 1 << 31 | 1 << 10)


_LAYOUTS = {
    "dvs128": _Layout((128, 128, 2), (1, 7), (8, 7), 0, 0xFFFF8000),
    "davis240": _davis(240, 180),
    "davis346": _davis(346, 260),
    "davis640": _davis(640, 480),
}
_PACKETS = ("special", "polarity", "frame", "imu6", "imu9", "sample", "ear", "config", "point1d", "point2d", "point3d")
_PACKET_HEADER = struct.Struct("<hhiiiiii")
_END_OF_HEADER = "!END-HEADER"


def read_aedat2(path: PathLike, layout: str | None = None, *, sort: bool = False) -> Recording:
    """Read an AEDAT 2 file: big-endian pairs of a 32-bit address and a 32-bit time in µs.

    Args:
        path: the ``.aedat`` file.
        layout: ``"dvs128"``, ``"davis240"``, ``"davis346"`` or ``"davis640"``; by default the header's AEChip line.
        sort: put events whose times step back in order, instead of refusing the file.

    Returns:
        The change events, the sensor size, and how many other records there are (frame samples, external events).

    Raises:
        EventFileError: another format, a cut-off record, an impossible coordinate or time.
        ParameterError: neither argument nor header names the layout.
        UnknownNameError: the layout is not known.
    """
    data = load(path)
    header, start = text_header(path, data, "#")
    if not header or not header[0].startswith("!AER-DAT2"):
        raise EventFileError(path, 0, "no '#!AER-DAT2.0' line; expected an AEDAT 2 header.")
    if layout is None:
        chip = next((line for line in header if line.lower().startswith("aechip")), "").lower()
        layout = next((name for name in _LAYOUTS if name in chip), None)
        if layout is None:
            raise ParameterError(
                f"{path}: the header names no known AEChip; give layout, one of {', '.join(_LAYOUTS)}."
            )
    if layout not in _LAYOUTS:
        raise unknown_name("AEDAT 2 layout", layout, _LAYOUTS)
    parts = _LAYOUTS[layout]
    whole_records(path, data, start, 8)
    address, times = np.frombuffer(data, ">u4", offset=start).reshape(-1, 2).astype(np.int64).T
    change = np.flatnonzero(address & parts.special == 0)
    address = address[change]
    events = np.empty(change.size, EVENT_DTYPE)
    events["x"] = address >> parts.x[0] & (1 << parts.x[1]) - 1
    events["y"] = address >> parts.y[0] & (1 << parts.y[1]) - 1
    events["p"] = address >> parts.p & 1
    # Signed 32-bit: a time beyond 2^31 is negative, and refused as such.
    events["t"] = times[change].astype(np.uint32).view(np.int32)
    dropped = {"other": times.size - change.size}
    return checked(path, events, parts.size, dropped, lambda i: start + 8 * int(change[i]), sort)


def read_aedat3(path: PathLike, sensor_size: SensorSize | None = None, *, sort: bool = False) -> Recording:
    """Read the polarity packets of an AEDAT 3.1 file.

    Args:
        path: the ``.aedat`` file.
        sensor_size: (width, height, polarities); by default that of the source the header names, if known.
        sort: put events whose times step back in order, instead of refusing the file.

    Returns:
        The valid polarity events, the sensor size, and how many events are marked invalid or of another type.

    Raises:
        EventFileError: another format, a cut-off packet, a packet header that contradicts itself or the file.
    """
    data = load(path)
    header, start = text_header(path, data, "#")
    if not header or not header[0].startswith("!AER-DAT3.1"):
        raise EventFileError(path, 0, "no '#!AER-DAT3.1' line; expected an AEDAT 3.1 header.")
    if _END_OF_HEADER not in header:
        raise EventFileError(path, start, "the header has no '#!END-HEADER' line.")
    start = data.index(b"\n", data.index(b"#" + _END_OF_HEADER.encode())) + 1
    if sensor_size is None:
        source = next((line for line in header if line.startswith("Source")), "").lower()
        sensor_size = next((parts.size for name, parts in _LAYOUTS.items() if name in source), None)
    packets: list[Events] = []
    places: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
    dropped = dict.fromkeys(("invalid", *_PACKETS), 0)
    while start < len(data):
        kind, size, number, valid, overflow = _packet(path, data, start)
        body = start + _PACKET_HEADER.size
        if kind != "polarity":
            dropped[kind] += number
        else:
            records = np.frombuffer(data, "<i4", 2 * number, body).reshape(-1, 2)
            good = np.flatnonzero(records[:, 0] & 1)
            if good.size != valid:
                raise EventFileError(
                    path, start, f"the packet says {valid} valid events and marks {good.size} as valid."
                )
            packets.append(_polarity_events(path, records[good], overflow, body))
            places.append(body + 8 * good)
            dropped["invalid"] += number - good.size
        start = body + size * number
    events = np.concatenate(packets) if packets else np.empty(0, EVENT_DTYPE)
    offsets = np.concatenate(places) if places else np.empty(0, np.int64)
    return checked(path, events, sensor_size, dropped, lambda index: int(offsets[index]), sort)


def read_cochlea(path: PathLike, address_bytes: int = 4, ticks_per_us: int = 5, *, sort: bool = False) -> Recording:
    """Read a headerless file of an auditory sensor: big-endian address and 32-bit time.

    Args:
        path: the ``.aedat`` file.
        address_bytes: 2 or 4.
        ticks_per_us: clock ticks in a µs; times are rounded down to µs.
        sort: put events whose times step back in order, instead of refusing the file.

    Returns:
        The events; x is the address without its lowest bit, which is the polarity.

    Raises:
        EventFileError: a cut-off record, an address beyond 16 bits, or a time that steps back.
        ParameterError: an address size or clock that is not accepted.
    """
    if address_bytes not in (2, 4):
        raise ParameterError(f"address_bytes = {address_bytes!r}; accepted are 2 and 4.")
    ticks = whole_number("ticks_per_us", ticks_per_us, 1, 10**6)
    data = load(path)
    whole_records(path, data, 0, address_bytes + 4)
    records = np.frombuffer(data, np.dtype([("address", f">u{address_bytes}"), ("time", ">u4")]))
    beyond = np.flatnonzero(records["address"] > 0xFFFF)
    if beyond.size:
        place = int(beyond[0]) * records.itemsize
        raise EventFileError(path, place, f"address {records['address'][beyond[0]]} is beyond 16 bits.")
    events = np.zeros(records.size, EVENT_DTYPE)
    events["x"] = records["address"] >> 1
    events["p"] = records["address"] & 1
    events["t"] = records["time"] // ticks
    return checked(path, events, None, {}, lambda index: index * records.itemsize, sort)


def _packet(path: PathLike, data: bytes, start: int) -> tuple[str, int, int, int, int]:
    """Kind, event size, number of events, of valid events, and time overflows of the packet at ``start``."""
    if len(data) - start < _PACKET_HEADER.size:
        raise EventFileError(path, start, f"a packet header has {len(data) - start} of {_PACKET_HEADER.size} bytes.")
    kind, _, size, time_offset, overflow, capacity, number, valid = _PACKET_HEADER.unpack_from(data, start)
    if not 0 <= kind < len(_PACKETS):
        raise EventFileError(path, start, f"packet type {kind}; known are 0 to {len(_PACKETS) - 1}.")
    if not (0 <= valid <= number <= capacity and size > 0 and 0 <= time_offset < size and overflow >= 0):
        fields = f"size {size}, offset {time_offset}, overflow {overflow}, {valid} valid of {number} of {capacity}"
        raise EventFileError(path, start, f"the packet header contradicts itself: {fields}.")
    if _PACKETS[kind] == "polarity" and (size, time_offset) != (8, 4):
        raise EventFileError(path, start, f"polarity events of {size} bytes; expected 8.")
    rest = len(data) - start - _PACKET_HEADER.size
    if size * number > rest:
        raise EventFileError(path, start, f"the packet needs {size * number} bytes and the file has {rest} more.")
    return _PACKETS[kind], size, number, valid, overflow


def _polarity_events(
    path: PathLike, records: np.ndarray[tuple[int, int], np.dtype[np.int32]], overflow: int, body: int
) -> Events:
    """Decode the records [n, 2] of one packet."""
    address = records[:, 0].astype(np.int64) & 0xFFFFFFFF
    events = np.empty(len(records), EVENT_DTYPE)
    events["x"] = address >> 17
    events["y"] = address >> 2 & 0x7FFF
    events["p"] = address >> 1 & 1
    if (records[:, 1] < 0).any():
        raise EventFileError(path, body, "the packet holds a negative time; expected 31 bits and a count of overflows.")
    events["t"] = records[:, 1] + (np.int64(overflow) << 31)
    return events
