"""AEDAT 4 files of iniVation's cameras, through the library ``aedat`` (extra ``aedat``).

A file holds streams of packets: events, frames, inertial measurements, triggers. Change events of one stream are read;
of the others it is counted how many packets there are. Times are µs as the file has them (often since 1970). Format:
https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-4.0.html.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from spikeframe.datasets.events import EVENT_DTYPE, Events, Recording, SensorSize
from spikeframe.datasets.readers._file import PathLike, as_path, checked, load
from spikeframe.errors import BackendError, EventFileError, ParameterError


def read_aedat4(
    path: PathLike, sensor_size: SensorSize | None = None, *, stream: int | None = None, sort: bool = False
) -> Recording:
    """Read the change events of an AEDAT 4 file.

    Args:
        path: the ``.aedat4`` file.
        sensor_size: (width, height, polarities); by default what the file says.
        stream: number of the stream; not needed where only one has events.
        sort: put events whose times step back in order, instead of refusing the file.

    Returns:
        The events, the sensor size, and how many packets of other kinds the file holds.

    Raises:
        BackendError: the library is not installed.
        EventFileError: the file is no AEDAT 4 file or damaged, or an event is impossible.
        ParameterError: there is no such stream of events, or several and none was chosen.
    """
    try:
        import aedat
    except ImportError:
        raise BackendError(
            f"{path}: reading AEDAT 4 needs the library aedat; install it with: pip install 'spikeframe[aedat]'."
        ) from None
    where = as_path(path)
    if not load(where).startswith(b"#!AER-DAT4.0"):
        raise EventFileError(path, 0, "does not begin with '#!AER-DAT4.0'; no AEDAT 4 file.")
    try:
        decoder = aedat.Decoder(str(where))
        streams: dict[int, dict[str, Any]] = decoder.id_to_stream()
        number = _chosen(path, streams, stream)
        pieces, dropped = [np.zeros(0, EVENT_DTYPE)], dict[str, int]()
        for packet in decoder:
            if packet["stream_id"] == number:
                pieces.append(_events(packet["events"]))
            else:
                kind = str(streams[packet["stream_id"]]["type"])
                dropped[kind] = dropped.get(kind, 0) + 1
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        if isinstance(error, (EventFileError, ParameterError)):
            raise
        raise EventFileError(path, 0, f"cannot be read as AEDAT 4 ({error}).") from None
    size = sensor_size or (int(streams[number]["width"]), int(streams[number]["height"]), 2)
    return checked(where, np.concatenate(pieces), size, dropped, lambda i: 0, sort)


def _chosen(path: PathLike, streams: dict[int, dict[str, Any]], stream: int | None) -> int:
    """Return the stream to read."""
    able = [number for number, about in streams.items() if about["type"] == "events"]
    if stream is None and len(able) == 1:
        return able[0]
    if stream not in able:
        raise ParameterError(f"{path}: stream={stream!r}; streams with events are {able or 'none'}.")
    return stream


def _events(found: Any) -> Events:
    """Return a packet's events in our layout; what does not fit it shows as -1, which no sensor has."""
    events = np.zeros(found.size, EVENT_DTYPE)
    for name in ("x", "y"):
        events[name] = np.where(found[name] < 2**15, found[name], -1)
    events["t"], events["p"] = found["t"].astype(np.int64), found["on"]
    return events
