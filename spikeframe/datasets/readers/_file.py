"""What all readers share: bytes of a file, its text header, and the last check of the events decoded from it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from spikeframe.datasets.events import MAX_SIDE, Events, Recording, SensorSize, check_sensor_size, describe_bad_event
from spikeframe.errors import DataNotFoundError, EventFileError, ParameterError
from spikeframe.kernels.numba import events as kernels

PathLike = str | Path

#: Where bytes behind a full buffer go; nobody looks at them.
_BEYOND = [bytearray(1)]


def as_path(path: PathLike) -> Path:
    """Return ``path`` as a Path, or raise ParameterError if it can be none."""
    if not isinstance(path, str | os.PathLike) or "\0" in str(path):
        raise ParameterError(f"path = {path!r}; accepted is the path of a file.")
    return Path(path)


def load(path: PathLike) -> bytes:
    """Read a whole file; plain system calls, because small files are opened by the thousand.

    Raises:
        ParameterError: the argument is no path.
        DataNotFoundError: there is no such file.
        EventFileError: the file is empty or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(descriptor).st_size
            data = os.read(descriptor, size)
            while 0 < len(data) < size and (more := os.read(descriptor, size - len(data))):
                data += more
        finally:
            os.close(descriptor)
    except (OSError, TypeError, ValueError) as error:
        raise _unreadable(path, error) from None
    if not data:
        raise EventFileError(path, 0, "the file is empty; expected at least one record or a header.")
    return data


def load_into(path: PathLike, buffer: list[bytearray]) -> int:
    """Read a small file, which costs less than `load` does; returns its size, or 0 if it has to be loaded.

    Args:
        path: the file.
        buffer: what is read into, as the only one in a list.

    Raises:
        ParameterError, DataNotFoundError, EventFileError: as of `load`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            size = os.readv(descriptor, buffer)
            # A read may end early; only the end of the file gives nothing.
            more = os.readv(descriptor, _BEYOND)
        finally:
            os.close(descriptor)
    except (OSError, TypeError, ValueError) as error:
        raise _unreadable(path, error) from None
    return 0 if more else size


def _unreadable(path: PathLike, error: Exception) -> Exception:
    """Return the error that says why a file cannot be read."""
    if isinstance(error, FileNotFoundError):
        return DataNotFoundError(f"{path}: no such file; check the path.")
    if isinstance(error, OSError):
        return EventFileError(path, 0, f"the file cannot be read ({error.strerror}).")
    return ParameterError(f"path = {path!r}; accepted is the path of a file.")


def text_header(path: PathLike, data: bytes, mark: str) -> tuple[list[str], int]:
    """Split off the leading text lines that start with ``mark``.

    Returns:
        The lines without mark and surrounding blanks, and the offset of the first byte after them.

    Raises:
        EventFileError: the file ends within a header line.
    """
    start = mark.encode()
    found = re.match(rb"(?:" + start + rb"[\t -~]*\r?\n)*", data)
    end = found.end() if found else 0
    if data[end : end + 1] == start and re.fullmatch(rb"[\t -~]+\r?", data[end:]):
        raise EventFileError(path, end, "the file ends within a header line.")
    lines = data[:end].decode("ascii").splitlines()
    return [line.removeprefix(mark).strip() for line in lines], end


def whole_records(path: PathLike, data: bytes, start: int, size: int) -> None:
    """Raise unless the bytes from ``start`` are whole records of ``size`` bytes."""
    rest = (len(data) - start) % size
    if rest:
        raise EventFileError(
            path, len(data) - rest, f"the last record has {rest} of {size} bytes; the file is cut off."
        )


def checked(
    path: PathLike,
    events: Events,
    sensor_size: SensorSize | None,
    dropped: Mapping[str, int],
    offset: Callable[[int], int],
    sort: bool = False,
) -> Recording:
    """Return the decoded events as a recording if they are legal, else name the byte of the first that is not.

    Args:
        path: the file.
        events: structured array of ``EVENT_DTYPE``.
        sensor_size: bounds of x and y; None where nobody knows them.
        dropped: counts of what is no change event.
        offset: byte offset of the event with a given index.
        sort: put events whose times step back in order, instead of refusing the file.
    """
    width, height, _ = check_sensor_size(sensor_size) if sensor_size is not None else (MAX_SIDE, MAX_SIDE, 2)
    order = np.argsort(events["t"], kind="stable") if sort else np.arange(0)
    events = events[order] if sort else events
    bad = int(kernels.first_bad_event(events, width, height))
    if bad >= 0:
        reason = describe_bad_event(events, bad, (width, height), "sort=True puts them in order")
        raise EventFileError(path, offset(int(order[bad]) if sort else bad), reason)
    return Recording(events, sensor_size, {kind: int(count) for kind, count in dropped.items() if count})
