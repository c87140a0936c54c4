"""NumPy files: a structured array in ``.npy``, or in ``.npz`` either such an array or the columns x, y, t, p.

Never pickle: object arrays are refused. The sizes that headers claim are checked before anything is allocated.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeframe.datasets.events import Recording, SensorSize, as_events
from spikeframe.datasets.readers._file import PathLike, checked, load
from spikeframe.errors import EventError, EventFileError

_MAGIC = b"\x93NUMPY"
_MAX_RATIO = 100
# What NumPy's parser of array headers raises on damaged ones; warnings where they are errors.
_HEADER_ERRORS = (
    ArithmeticError,
    LookupError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
    Warning,
)
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError, ValueError)


def read_numpy(path: PathLike, sensor_size: SensorSize | None = None, *, sort: bool = False) -> Recording:
    """Read events that NumPy saved.

    Args:
        path: a ``.npy`` file with a structured array with integer fields x, t, p and optionally y, or an ``.npz``
            archive with one such array, or with the arrays x, t, p and optionally y.
        sensor_size: (width, height, polarities) of the sensor.
        sort: put events whose times step back in order, instead of refusing the file.

    Returns:
        The events as ``EVENT_DTYPE``.

    Raises:
        EventFileError: a damaged file, an object array, other fields, or events that break a rule.
    """
    data = load(path)
    if data.startswith(_MAGIC):
        table, start = _array(path, data, 0)
        row = table.dtype.itemsize
    else:
        table, start, row = _archive(path, data), 0, 0
    try:
        events = as_events(table, "array")
    except EventError as error:
        raise EventFileError(path, start, str(error)) from None
    return checked(path, events, sensor_size, {}, lambda index: start + index * row, sort)


def _array(path: PathLike, data: bytes, place: int) -> tuple[npt.NDArray[Any], int]:
    """Array in the bytes of one ``.npy``, and the offset of its first item; ``place`` is where the bytes lie."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}[version[0]]
        shape, _, dtype = read_header(stream)
    except _HEADER_ERRORS as error:
        raise EventFileError(path, place, f"not a NumPy array header ({error}).") from None
    start = stream.tell()
    if dtype.hasobject:
        raise EventFileError(
            path, place, "the array holds Python objects, which are never unpickled; save plain numbers."
        )
    if len(shape) != 1 or dtype.itemsize == 0:
        raise EventFileError(path, place, f"an array of shape {shape} and type {dtype}; expected one row an event.")
    if math.prod(shape) * dtype.itemsize != len(data) - start:
        need = math.prod(shape) * dtype.itemsize
        raise EventFileError(
            path, place + start, f"the header says {need} bytes of events; there are {len(data) - start}."
        )
    return np.frombuffer(data, dtype, offset=start), start


def _archive(path: PathLike, data: bytes) -> npt.NDArray[Any]:
    """Structured array from an ``.npz``."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            total = sum(info.file_size for info in members.values())
            if total > _MAX_RATIO * len(data):
                raise EventFileError(
                    path, 0, f"the archive unpacks to {total} bytes; up to {_MAX_RATIO} times its size is accepted."
                )
            columns = {
                name: _array(path, _unpack(archive, info), info.header_offset)[0] for name, info in members.items()
            }
    except _ZIP_ERRORS as error:
        if isinstance(error, EventFileError):
            raise
        raise EventFileError(path, 0, f"not a readable .npy or .npz file ({error}).") from None
    if len(columns) == 1 and (only := next(iter(columns.values()))).dtype.names:
        return only
    names = [name for name in ("x", "y", "t", "p") if name in columns]
    lengths = {columns[name].size for name in names}
    if len(lengths) != 1 or any(columns[name].dtype.names for name in names):
        sizes = ", ".join(f"{name}: {column.size}" for name, column in columns.items()) or "none"
        raise EventFileError(
            path, 0, f"arrays {sizes}; expected one structured array, or x, t, p (and y) of one length."
        )
    table = np.empty(lengths.pop(), np.dtype([(name, columns[name].dtype) for name in names]))
    for name in names:
        table[name] = columns[name]
    return table


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Bytes of a member, at most as many as its entry claims."""
    with archive.open(info) as member:
        return member.read(info.file_size)
