"""Prophesee's EVT 2.0, EVT 3.0 and DAT files.

EVT words are little-endian: 32 bits each in EVT 2.0, 16 bits in EVT 3.0, the type in the top four. Formats:
https://docs.prophesee.ai/stable/data/encoding_formats/index.html and .../file_formats/dat.html.
"""

from __future__ import annotations

import re

import numpy as np

from spikeframe.datasets.events import EVENT_DTYPE, Recording, SensorSize
from spikeframe.datasets.readers._file import PathLike, checked, load, text_header, whole_records
from spikeframe.errors import EventFileError
from spikeframe.kernels.numba import events as kernels

# In the order of the kernels' counters.
_DROPPED = ("before first time", "before first address", "external trigger", "other")
_CD_EVENT_TYPES = (0x00, 0x0C)


def read_evt2(path: PathLike, sensor_size: SensorSize | None = None, *, sort: bool = False) -> Recording:
    """Read an EVT 2.0 file.

    Args:
        path: the ``.raw`` file.
        sensor_size: (width, height, polarities); by default what the header says.
        sort: put events whose times step back in order, instead of refusing the file.

    Returns:
        The events, the sensor size, and how many words were no change events with a time.

    Raises:
        EventFileError: another format, a cut-off or unknown word, an impossible coordinate or time.
    """
    return _read_evt(path, sensor_size, sort, 2)


def read_evt3(path: PathLike, sensor_size: SensorSize | None = None, *, sort: bool = False) -> Recording:
    """Read an EVT 3.0 file; arguments, result and errors as `read_evt2`."""
    return _read_evt(path, sensor_size, sort, 3)


def read_dat(path: PathLike, sensor_size: SensorSize | None = None, *, sort: bool = False) -> Recording:
    """Read a DAT file, version 1 (9 bits x, 8 bits y) or 2 (14 bits each).

    Args:
        path: the ``.dat`` file.
        sensor_size: (width, height, polarities); by default what the header says.
        sort: put events whose times step back in order, instead of refusing the file.

    Returns:
        The events and the sensor size.

    Raises:
        EventFileError: another format, a cut-off record, an impossible coordinate, polarity or time.
    """
    data = load(path)
    header, start = text_header(path, data, "%")
    version = _value(header, r"version\s+(\d+)")
    if not header or version not in (None, "1", "2"):
        raise EventFileError(path, 0, f"DAT version {version!r}; expected header lines with '% Version 1' or 2.")
    if len(data) < start + 2 or data[start] not in _CD_EVENT_TYPES or data[start + 1] != 8:
        kind = data[start : start + 2].hex(" ")
        raise EventFileError(path, start, f"event type and size are '{kind}'; expected 00 or 0c, and 08.")
    start += 2
    whole_records(path, data, start, 8)
    times, address = np.frombuffer(data, "<u4", offset=start).reshape(-1, 2).astype(np.int64).T
    x_bits, y_bits, spare = (14, 14, 4) if version == "2" else (9, 8, 1)
    events = np.empty(times.size, EVENT_DTYPE)
    events["x"] = address & (1 << x_bits) - 1
    events["y"] = address >> x_bits & (1 << y_bits) - 1
    events["p"] = address >> x_bits + y_bits & (1 << spare) - 1
    # The 32-bit clock wraps after 71.6 minutes: a step back by more than half of its range.
    events["t"] = times + (np.cumsum(np.diff(times, prepend=times[:1]) < -(2**31)) << 32)
    return checked(path, events, sensor_size or _geometry(path, header), {}, lambda i: start + 8 * i, sort)


def _read_evt(path: PathLike, sensor_size: SensorSize | None, sort: bool, version: int) -> Recording:
    """Decode in two passes, the first of which counts, so that memory is what the events need."""
    data = load(path)
    header, start = text_header(path, data, "%")
    named = evt_version(header)
    if named != str(version):
        raise EventFileError(path, 0, f"the header names EVT version {named}; expected '% evt {version}.0'.")
    size = {2: 4, 3: 2}[version]
    whole_records(path, data, start, size)
    words = np.frombuffer(data, f"<u{size}", offset=start)
    decode = {2: kernels.decode_evt2, 3: kernels.decode_evt3}[version]
    dropped = np.zeros(len(_DROPPED), np.int64)
    count, bad = decode(words, np.empty(0, EVENT_DTYPE), -1, dropped)
    if bad >= 0:
        word = int(words[bad])
        raise EventFileError(
            path, start + size * int(bad), f"word {word:#0{2 * size + 2}x} is no word of EVT {version}.0."
        )
    events = np.empty(count, EVENT_DTYPE)
    decode(words, events, -1, np.zeros_like(dropped))

    def offset(index: int) -> int:
        _, place = decode(words, np.empty(0, EVENT_DTYPE), index, np.zeros_like(dropped))
        return start + size * int(place)

    counts = dict(zip(_DROPPED, dropped.tolist(), strict=True))
    return checked(path, events, sensor_size or _geometry(path, header), counts, offset, sort)


def evt_version(header: list[str]) -> str | None:
    """EVT version that header lines name, as ``"2"``, ``"2.1"`` or ``"3"``."""
    version = _value(header, r"evt\s+(\d(?:\.\d)?)") or _value(header, r"format\s+EVT(\d+)")
    if version is None:
        return None
    return {"21": "2.1"}.get(version, version.removesuffix(".0"))


def _value(header: list[str], pattern: str) -> str | None:
    """First group of the first header line that matches."""
    for line in header:
        if found := re.match(pattern, line, re.IGNORECASE):
            return found.group(1)
    return None


def _geometry(path: PathLike, header: list[str]) -> SensorSize | None:
    """Sensor size from '% geometry 640x480', '% Width 304' or '% format EVT3;height=720;width=1280'."""
    both = next((m for line in header if (m := re.match(r"geometry\s+(\d+)x(\d+)", line, re.IGNORECASE))), None)
    if both:
        width, height = both.groups()
    else:
        width = _value(header, r"(?:format.*;\s*)?width[\s=]+(\d+)") or ""
        height = _value(header, r"(?:format.*;\s*)?height[\s=]+(\d+)") or ""
    if not width or not height:
        return None
    if len(width) > 5 or len(height) > 5 or not (1 <= int(width) <= 2**14 and 1 <= int(height) <= 2**14):
        raise EventFileError(path, 0, f"the header gives a sensor of {width[:9]}x{height[:9]}; expected up to 16384.")
    return int(width), int(height), 2
