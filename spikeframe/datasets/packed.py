"""Many recordings in one file: an uncompressed NPZ that is mapped into memory and read by slices.

Members: ``events.npy`` (all events, 6 bytes each for sensors up to 256 wide), ``offsets.npy`` (first event of each
recording), ``labels.npy`` and ``about.json`` (sensor size, class names, source, SHA-256 of everything). Any NumPy reads
it; nothing in it is pickled. Field ``tp`` is 2 t + p.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from spikeframe.datasets.base import EventDataset, Transform
from spikeframe.datasets.events import EVENT_DTYPE, Events, SensorSize, check_events, check_sensor_size
from spikeframe.errors import DataNotFoundError, EventError, EventFileError

_VERSION = 1
# NotImplementedError and RuntimeError: zipfile, for versions and encryption that a damaged header claims.
_DAMAGE = (zipfile.BadZipFile, ValueError, LookupError, TypeError, OSError, EOFError, RuntimeError, struct.error)
_TABLE = np.dtype("<i8")
_MEMBERS = ("events.npy", "offsets.npy", "labels.npy", "about.json")


def write_packed(
    path: Path,
    samples: Iterable[tuple[Events, int]],
    sensor_size: SensorSize,
    classes: Sequence[str],
    source: Mapping[str, Any],
) -> str:
    """Write recordings into one file, first under a temporary name beside it.

    Args:
        path: the file to make or replace.
        samples: events (``EVENT_DTYPE``) and class number of each recording; taken one at a time.
        sensor_size: (width, height, polarities).
        classes: name of each class.
        source: where the recordings come from, anything JSON holds.

    Returns:
        SHA-256 of the content, in hexadecimal.

    Raises:
        EventError: events that are not legal on this sensor, or later than 2^31 µs.
    """
    dtype = _record_dtype(sensor_size)
    digest = hashlib.sha256()
    offsets, labels = [0], []
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with tempfile.TemporaryFile(dir=path.parent) as spool:
            for number, (events, label) in enumerate(samples):
                block = _pack(events, sensor_size, dtype, f"recording {number}").tobytes()
                digest.update(block)
                spool.write(block)
                offsets.append(offsets[-1] + len(events))
                labels.append(label)
            spool.seek(0)
            about = {
                "format": "spikeframe packed events",
                "version": _VERSION,
                "sensor_size": list(sensor_size),
                "classes": list(classes),
                "source": dict(source),
            }
            tables = (np.asarray(offsets, _TABLE), np.asarray(labels, _TABLE))
            sha256 = _finish(digest, *tables, about)
            with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
                with _member(archive, "events.npy") as member:
                    member.write(_header(dtype, offsets[-1]))
                    shutil.copyfileobj(spool, member, 1 << 20)
                for name, table in zip(_MEMBERS[1:3], tables, strict=True):
                    with _member(archive, name) as member:
                        member.write(_header(_TABLE, len(table)) + table.tobytes())
                with _member(archive, "about.json") as member:
                    member.write(json.dumps({**about, "sha256": sha256}).encode())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return sha256


class Packed(EventDataset):
    """The recordings of a packed file, read back by slices of the mapped file.

    Args:
        path: the file.
        transform: called with each item's events.
        target_transform: called with each item's label.
        verify: compare the content with its recorded SHA-256 (reads the file once).

    Raises:
        DataNotFoundError: there is no such file.
        EventFileError: the file is damaged or not one of these.
    """

    def __init__(
        self,
        path: str | Path,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        verify: bool = True,
    ) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DataNotFoundError(f"{self.path}: no such file; make one with spikeframe.datasets.convert.")
        try:
            with zipfile.ZipFile(self.path) as archive:
                places = {name: _place(archive, name) for name in _MEMBERS}
                about = json.loads(archive.read("about.json"))
            offsets, labels = (_array(self.path, places[name], _TABLE) for name in _MEMBERS[1:3])
            sensor_size, classes, source, sha256 = _understood(about)
            self._place = places["events.npy"], _record_dtype(sensor_size)
            self._records = _array(self.path, *self._place)
            _check_tables(len(self._records), offsets, labels, len(classes))
        except _DAMAGE as error:
            raise EventFileError(self.path, 0, f"not a whole packed event file ({error}); convert it again.") from None
        super().__init__(labels, sensor_size, classes, transform, target_transform)
        self.offsets = np.array(offsets)
        self.source = source
        self.sha256 = sha256
        if verify:
            digest = hashlib.sha256()
            for first in range(0, len(self._records), 1 << 20):
                digest.update(self._records[first : first + (1 << 20)].tobytes())
            content = {key: value for key, value in about.items() if key != "sha256"}
            found = _finish(digest, self.offsets, self.labels, content)
            if found != sha256:
                raise EventFileError(
                    self.path, 0, f"content has SHA-256 {found}, recorded is {sha256}; the file is damaged."
                )

    def events(self, number: int) -> Events:
        """Return the events of recording ``number``."""
        return unpack(self._records[self.offsets[number] : self.offsets[number + 1]])

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_records"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._records = _array(self.path, *self._place)


def unpack(records: npt.NDArray[Any]) -> Events:
    """Turn packed records into an ``EVENT_DTYPE`` array."""
    events = np.empty(len(records), EVENT_DTYPE)
    events["x"], events["y"] = records["x"], records["y"]
    events["t"], events["p"] = records["tp"] >> 1, records["tp"] & 1
    return events


def _record_dtype(sensor_size: SensorSize) -> np.dtype[Any]:
    """Smallest record that holds the events of this sensor."""
    x, y = (np.min_scalar_type(side - 1) for side in sensor_size[:2])
    return np.dtype([("x", x.newbyteorder("<")), ("y", y.newbyteorder("<")), ("tp", "<u4")])


def _pack(events: Events, sensor_size: SensorSize, dtype: np.dtype[Any], where: str) -> npt.NDArray[Any]:
    """Checked events as records."""
    check_events(events, sensor_size, where)
    if len(events) and events["t"][-1] >= 2**31:
        raise EventError(f"{where}: last t = {events['t'][-1]} µs; accepted is below 2^31 µs. Cut the recording.")
    records = np.empty(len(events), dtype)
    records["x"], records["y"] = events["x"], events["y"]
    t: npt.NDArray[np.int64] = events["t"]
    p: npt.NDArray[np.int64] = events["p"]
    records["tp"] = 2 * t + p
    return records


def _finish(
    digest: Any, offsets: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], about: Mapping[str, Any]
) -> str:
    """SHA-256 of events (already in ``digest``), tables and description."""
    digest.update(offsets.tobytes())
    digest.update(labels.tobytes())
    digest.update(json.dumps(about, sort_keys=True).encode())
    return str(digest.hexdigest())


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """Open a member for writing; its fixed date makes equal content give equal files."""
    return archive.open(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), "w", force_zip64=True)


def _place(archive: zipfile.ZipFile, name: str) -> tuple[int, int]:
    """First byte of a stored member's data in the file, and its length."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    with archive.open(info):  # checks the local header against the directory
        pass
    with Path(str(archive.filename)).open("rb") as file:
        file.seek(info.header_offset + 26)
        name_length, extra_length = struct.unpack("<HH", file.read(4))
    return info.header_offset + 30 + name_length + extra_length, info.file_size


def _array(path: Path, place: tuple[int, int], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Map an NPY member of a known type, at (first byte, length), into memory."""
    first, length = place
    with path.open("rb") as file:
        file.seek(first)
        start = file.read(min(length, 4096))
    # Compared with the header that belongs there, not parsed: a damaged one could say anything.
    for size in (128, 192):
        count, rest = divmod(length - size, dtype.itemsize)
        if rest == 0 and count >= 0 and start[:size] == _header(dtype, count):
            return np.asarray(np.memmap(path, dtype, "r", first + size, (count,))) if count else np.empty(0, dtype)
    raise ValueError("a table's header does not fit its place")


def _header(dtype: np.dtype[Any], count: int) -> bytes:
    """What an NPY file of ``count`` items starts with."""
    stream = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(stream, description)
    return stream.getvalue()


def _understood(about: Any) -> tuple[SensorSize, list[str], dict[str, Any], str]:
    """Sensor size, class names, source and hash from the description."""
    if about["version"] != _VERSION:
        raise ValueError(f"version {about['version']}, this reads version {_VERSION}")
    classes = [str(name) for name in about["classes"]]
    return check_sensor_size(about["sensor_size"]), classes, dict(about["source"]), str(about["sha256"])


def _check_tables(records: int, offsets: npt.NDArray[Any], labels: npt.NDArray[Any], classes: int) -> None:
    """Raise ValueError unless offsets and labels are tables of so many records and classes."""
    if len(offsets) != len(labels) + 1 or offsets[0] != 0 or offsets[-1] != records or (np.diff(offsets) < 0).any():
        raise ValueError("the table of recordings does not fit the events")
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError("a label has no class")
