"""Spikes in the HDF5 layout of the Spiking Heidelberg Digits: one ragged row of times and of units for each recording.

``spikes/times`` holds seconds, ``spikes/units`` channels, ``labels`` one class for each recording. Rows are read from
the file's global heap directly, after checks that HDF5 itself leaves out: it trusts the row lengths that a file states.
Sources: Cramer et al., The Heidelberg Spiking Data Sets, 2022, doi:10.1109/TNNLS.2020.3044364; HDF5 File Format
Specification 3.0, section III.E (global heap).
"""

from __future__ import annotations

import os
import struct
import weakref
import zlib
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import h5py
import numpy as np
import numpy.typing as npt

from spikeframe.datasets.events import EVENT_DTYPE, MAX_SIDE, Events, Recording, SensorSize, check_sensor_size
from spikeframe.datasets.readers._file import PathLike, as_path, checked
from spikeframe.errors import DataNotFoundError, EventFileError, ParameterError
from spikeframe.hdf5 import opened

_REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("key", "<u4")])
_COLLECTION = struct.Struct("<4sB3xQ")
_OBJECT = struct.Struct("<HHIQ")
_MAX_SECONDS = 2**53 / 1e6
_MAX_RATIO = 10


class _Rows(NamedTuple):
    """A ragged data set: where each row lies in the heap, and the type of its items."""

    references: npt.NDArray[Any]
    dtype: np.dtype[Any]


class SpikeFile:
    """The recordings of one file, read by number; it can be shared with forked processes and pickled.

    Args:
        path: the ``.h5`` file.
        sensor_size: (channels, 1, polarities).

    Raises:
        DataNotFoundError: there is no such file.
        EventFileError: no HDF5 file, other contents, links to elsewhere, or sizes beyond the file's.
    """

    def __init__(self, path: PathLike, sensor_size: SensorSize = (700, 1, 1)) -> None:
        self.path = as_path(path)
        self.sensor_size = check_sensor_size(sensor_size)
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            raise DataNotFoundError(f"{self.path}: no such file; check the path.") from None
        except OSError as error:
            raise EventFileError(self.path, 0, f"the file cannot be read ({error.strerror}).") from None
        weakref.finalize(self, os.close, self._descriptor)
        self._size = os.fstat(self._descriptor).st_size
        try:
            with opened(self.path) as file:
                self._times = self._rows(file, "spikes/times", "f")
                self._units = self._rows(file, "spikes/units", "iu")
                self.labels = self._labels(file)
        except zlib.error as error:
            raise EventFileError(self.path, 0, f"a chunk cannot be unpacked ({error}).") from None

    def __reduce__(self) -> tuple[type[SpikeFile], tuple[Path, SensorSize]]:
        return type(self), (self.path, self.sensor_size)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Events:
        """Events of recording ``index``; `read` says more."""
        return self.read(index).events

    def read(self, index: int, *, sort: bool = False) -> Recording:
        """Read one recording.

        Args:
            index: its number, from 0; negative ones count from the end.
            sort: put spikes whose times step back in order, instead of refusing the recording.

        Returns:
            The events with x = unit, y = 0, p = 1, and times rounded to µs.

        Raises:
            IndexError: there is no such recording.
            EventFileError: a row that the file does not hold, or a time or unit that is impossible.
        """
        if not isinstance(index, int | np.integer) or not -len(self) <= index < len(self):
            raise IndexError(f"{self.path}: recording {index!r}; there are {len(self)}.")
        times, place = self._row(self._times, int(index))
        units, unit_place = self._row(self._units, int(index))
        if times.size != units.size:
            raise EventFileError(self.path, place, f"recording {index} has {times.size} times and {units.size} units.")
        seconds = times.astype(np.float64)
        legal = (seconds >= 0) & (seconds < _MAX_SECONDS)
        if not legal.all():
            wrong = int(legal.argmin())
            offset = place + wrong * times.itemsize
            raise EventFileError(self.path, offset, f"time {times[wrong]} s; expected finite seconds from 0.")
        events = np.zeros(times.size, EVENT_DTYPE)
        # A unit beyond int16 shows as -1, which no sensor has.
        events["x"] = np.where((units >= 0) & (units < MAX_SIDE), units, -1)
        events["t"] = np.rint(seconds * 1e6)
        events["p"] = 1
        return checked(self.path, events, self.sensor_size, {}, lambda i: unit_place + i * units.itemsize, sort)

    def _rows(self, file: h5py.File, name: str, kinds: str) -> _Rows:
        """Check a ragged data set and return its references into the heap."""
        data = self._dataset(file, name)
        dtype = h5py.check_vlen_dtype(data.dtype)
        if dtype is None or dtype.kind not in kinds or data.ndim != 1:
            self._refuse(f"'{name}' has type {dtype or data.dtype} and shape {data.shape}; expected rows of numbers.")
        if file.userblock_size or file.id.get_create_plist().get_sizes() != (8, 8):
            self._refuse("the file has a user block or addresses that are not 64 bits; write it again with h5py.")
        if len(data) * _REFERENCE.itemsize > _MAX_RATIO * self._size:
            self._refuse(f"'{name}' claims {len(data)} rows in a file of {self._size} bytes.")
        references = np.zeros(len(data), _REFERENCE)
        if data.chunks is not None:
            self._read_chunks(data, name, references)
        elif data.id.get_storage_size():
            offset = data.id.get_offset()
            if offset is None:
                self._refuse(f"'{name}' has a compact layout; write it again contiguous or chunked.")
            references[:] = np.frombuffer(self._bytes(offset, references.nbytes), _REFERENCE)
        return _Rows(references, dtype)

    def _read_chunks(self, data: h5py.Dataset, name: str, references: npt.NDArray[Any]) -> None:
        """Fill ``references`` from the chunks of a data set, plain or deflated."""
        size = data.chunks[0] * _REFERENCE.itemsize
        if size > max(_MAX_RATIO * self._size, 2**20):
            self._refuse(f"'{name}' claims chunks of {size} bytes in a file of {self._size}.")
        pipeline = data.id.get_create_plist()
        filters = [pipeline.get_filter(k)[0] for k in range(pipeline.get_nfilters())]
        for k in range(data.id.get_num_chunks()):
            info = data.id.get_chunk_info(k)
            raw = self._bytes(info.byte_offset, info.size)
            # The mask has a bit for each filter that this chunk skipped, as HDF5 does with shuffling of references.
            applied = [code for bit, code in enumerate(filters) if not info.filter_mask >> bit & 1]
            if applied == [h5py.h5z.FILTER_DEFLATE]:
                raw = zlib.decompressobj().decompress(raw, size)
            elif applied:
                self._refuse(f"'{name}' has filters {applied}; known is deflate. Write the file again without them.")
            if len(raw) != size:
                reason = f"a chunk of '{name}' has {len(raw)} of {size} bytes."
                raise EventFileError(self.path, info.byte_offset, reason)
            part = references[info.chunk_offset[0] :][: data.chunks[0]]
            part[:] = np.frombuffer(raw, _REFERENCE)[: len(part)]

    def _labels(self, file: h5py.File) -> npt.NDArray[np.int64]:
        """Check and read the labels."""
        rows = (len(self._times.references), len(self._units.references))
        data = self._dataset(file, "labels")
        if data.dtype.kind not in "iu" or rows != (data.size, data.size) or data.ndim != 1:
            self._refuse(
                f"{rows[0]} rows of times, {rows[1]} of units, labels {data.dtype} {data.shape}; expected equal."
            )
        if data.chunks is not None and data.chunks[0] * data.dtype.itemsize > max(_MAX_RATIO * self._size, 2**20):
            self._refuse(f"'labels' claims chunks of {data.chunks[0]} in a file of {self._size} bytes.")
        return np.asarray(data[...], np.int64)

    def _dataset(self, file: h5py.File, name: str) -> h5py.Dataset:
        """Data set of this name, which must lie in this file."""
        group: Any = file
        for part in name.split("/"):
            link = group.get(part, getlink=True) if isinstance(group, h5py.Group) else None
            if not isinstance(link, h5py.HardLink):
                self._refuse(f"'{name}' is missing or a link to elsewhere; expected a data set in the file itself.")
            group = group[part]
        if not isinstance(group, h5py.Dataset) or group.external or group.is_virtual:
            self._refuse(f"'{name}' is no data set, or its data are in another file.")
        return group

    def _row(self, rows: _Rows, index: int) -> tuple[npt.NDArray[Any], int]:
        """Items of a row, and their offset in the file."""
        length, address, key = (int(part) for part in rows.references[index])
        if length == 0:
            return np.empty(0, rows.dtype), 0
        signature, version, size = _COLLECTION.unpack(self._bytes(address, _COLLECTION.size))
        if (signature, version) != (b"GCOL", 1):
            raise EventFileError(self.path, address, f"row {index} should lie in a heap here, and there is none.")
        heap = self._bytes(address, size)
        place = _COLLECTION.size
        while place + _OBJECT.size <= size:
            number, _, _, extent = _OBJECT.unpack_from(heap, place)
            place += _OBJECT.size
            if number == key:
                if extent != length * rows.dtype.itemsize or place + extent > size:
                    reason = (
                        f"row {index} should have {length} items of {rows.dtype.itemsize} bytes and has {extent} bytes."
                    )
                    raise EventFileError(self.path, address + place, reason)
                return np.frombuffer(heap, rows.dtype, length, place), address + place
            if number == 0:
                break
            place += (extent + 7) // 8 * 8
        raise EventFileError(self.path, address, f"the heap here does not hold row {index}.")

    def _bytes(self, offset: int, size: int) -> bytes:
        """Bytes of the file, which must reach that far."""
        if not 0 <= offset <= offset + size <= self._size:
            raise EventFileError(
                self.path, min(offset, self._size), f"{size} bytes are claimed at byte {offset}; the file ends."
            )
        return os.pread(self._descriptor, size, offset)

    def _refuse(self, reason: str) -> NoReturn:
        raise EventFileError(self.path, 0, reason)


def read_shd(path: PathLike, index: int, sensor_size: SensorSize = (700, 1, 1), *, sort: bool = False) -> Recording:
    """Read one recording of a file; keep a `SpikeFile` to read many.

    Args:
        path: the ``.h5`` file.
        index: number of the recording.
        sensor_size: (channels, 1, polarities).
        sort: put spikes whose times step back in order, instead of refusing the recording.

    Returns:
        The events with x = unit, y = 0, p = 1.

    Raises:
        ParameterError: there is no such recording.
        EventFileError: the file is damaged or no file of spikes.
    """
    file = SpikeFile(path, sensor_size)
    try:
        return file.read(index, sort=sort)
    except IndexError as error:
        raise ParameterError(f"{error} Give an index from 0 to {len(file) - 1}.") from None
