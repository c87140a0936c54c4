"""Spikes in HDF5 files of the SONATA layout, written while a run goes on.

    /                       attributes magic, version
    /spikes/<population>    attribute sorting (by_time); of ours also size
        timestamps          float64, attribute units ("ms")
        node_ids            uint64
    /spikeframe             of ours: attributes dt (ms), seed, first (step); data set step: all before it is written

The file is closed after every stretch, so between two of them it is as any other HDF5 file. A stretch is appended in
HDF5's single-writer mode, which keeps the file readable whenever the process dies, and only counts once `step` says so.

K. Dai et al., The SONATA data format for efficient description of large-scale network models, PLoS Comput Biol 16,
2020, doi:10.1371/journal.pcbi.1007696.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spikeframe.core.checkpoints import file_name
from spikeframe.core.spikes import Spikes
from spikeframe.errors import DataNotFoundError, EventFileError, ParameterError, SpikeframeError, TimeGridError
from spikeframe.hdf5 import ERRORS, MOST, attribute, look_through, opened, refuse_kind, refuse_links

MAGIC, VERSION = 0x0A7A, (0, 1)
_SORTING = {"none": 0, "by_id": 1, "by_time": 2}
#: Spikes per piece of a data set.
_PIECE = 1 << 13


class SpikeWriter:
    """Appends spikes to a file: a new one, or that of the run which goes on.

    Args:
        path: e.g. ``"spikes.h5"``.
        sizes: population to its number of neurons.
        dt: ms.
        seed: of the network.
        step: at which the run begins. What a file holds of later steps, written by a run that was interrupted after
            its last checkpoint, is dropped: the run writes it again.

    Raises:
        ParameterError: there are no populations, a file is in the way of a run that begins at 0, or the file belongs to
            another run or ends before this one begins.
        EventFileError: the file is damaged.
    """

    def __init__(self, path: str | Path, sizes: Mapping[str, int], dt: float, seed: int, step: int) -> None:
        self.path, self._dt = file_name(path), dt
        if not sizes:
            raise ParameterError(
                f"run(output={str(path)!r}): no spikes are recorded; net.record(population, 'spikes')."
            )
        if not self.path.exists():
            self._create(sizes, seed, step)
        elif step == 0:
            raise ParameterError(f"run(output={str(path)!r}): the file exists; delete it or give a new name.")
        else:
            self._continue(sizes, seed, step)

    def _create(self, sizes: Mapping[str, int], seed: int, step: int) -> None:
        with h5py.File(self.path, "x", libver="latest") as file:
            file.attrs["magic"], file.attrs["version"] = np.uint32(MAGIC), np.array(VERSION, np.uint32)
            for name, size in sizes.items():
                group = file.create_group(f"spikes/{name}")
                group.attrs["size"] = size
                group.attrs.create("sorting", _SORTING["by_time"], dtype=h5py.enum_dtype(_SORTING, "u1"))
                for data, kind in (("timestamps", np.float64), ("node_ids", np.uint64)):
                    group.create_dataset(data, (0,), kind, maxshape=(None,), chunks=(_PIECE,))
                group["timestamps"].attrs["units"] = "ms"
            own = file.create_group("spikeframe")
            own.attrs["dt"], own.attrs["seed"], own.attrs["first"] = self._dt, np.uint64(seed), step
            own["step"] = np.int64(step)

    def _continue(self, sizes: Mapping[str, int], seed: int, step: int) -> None:
        """Check that this run can go on in the file, and cut off what it will write again."""
        try:
            size, _ = look_through(self.path)
            with h5py.File(self.path, "r+", libver="latest", locking=False) as file:
                refuse_links(file, self.path, MOST * size)
                own, groups = file["spikeframe"], file["spikes"]
                held = {name: int(group.attrs["size"]) for name, group in groups.items()}
                if (held, own.attrs["dt"], own.attrs["seed"]) != (dict(sizes), self._dt, seed):
                    raise ParameterError(
                        f"{self.path}: belongs to another run (populations {held}, dt={own.attrs['dt']:g} ms, seed "
                        f"{own.attrs['seed']}); give a new name."
                    )
                span = int(own.attrs["first"]), int(own["step"][()])
                if not span[0] <= step <= span[1]:
                    raise ParameterError(
                        f"{self.path}: holds {span[0] * self._dt:g} to {span[1] * self._dt:g} ms, but the run goes on "
                        f"at {step * self._dt:g} ms; give a new name."
                    )
                own["step"][()] = step
                for group in groups.values():
                    end = bisect_right(group["timestamps"], (step + 0.5) * self._dt)
                    for name in ("timestamps", "node_ids"):
                        group[name].resize((end,))
        except SpikeframeError:
            raise
        except ERRORS as error:
            raise EventFileError(
                self.path, 0, f"cannot be written on ({error}). If its writer was killed in the middle of a write: it "
                "can be read as it is, and `h5clear --status` makes it writable."
            ) from None  # fmt: skip

    def append(self, spikes: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]], step: int) -> None:
        """Append the spikes of a stretch.

        Args:
            spikes: population to the steps, ascending, and neurons.
            step: one past the stretch's last step.
        """
        access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
        access.set_libver_bounds(h5py.h5f.LIBVER_LATEST, h5py.h5f.LIBVER_LATEST)
        access.set_file_locking(False, True)  # a reader that looks in must not stop the run
        mode = h5py.h5f.ACC_RDWR | h5py.h5f.ACC_SWMR_WRITE
        with h5py.File(h5py.h5f.open(os.fsencode(self.path), mode, access)) as file:
            for name, (steps, ids) in spikes.items():
                group = file[f"spikes/{name}"]
                _extend(group["timestamps"], (steps + 1).astype(np.float64) * self._dt)
                _extend(group["node_ids"], ids.astype(np.uint64))
            file.flush()
            file["spikeframe/step"][()] = step


def _extend(data: Any, values: NDArray[Any]) -> None:
    end = data.shape[0]
    data.resize((end + values.size,))
    data[end:] = values


def read_spikes(path: str | Path, dt: float | None = None) -> dict[str, Spikes]:
    """Read the spikes of a SONATA file, also of one whose run was interrupted or still goes on.

    Args:
        path: the file.
        dt: ms, the grid of the spike times; files of spikeframe bring their own.

    Returns:
        Per population, its spikes by time.

    Raises:
        DataNotFoundError: there is no such file.
        EventFileError: it is damaged, no SONATA spike file, or leads into other files.
        ParameterError: the file names no dt, and none was given.
        TimeGridError: a spike is not on the grid.
    """
    if not Path(path).is_file():
        raise DataNotFoundError(f"{path}: there is no such file.")
    with opened(path, open_elsewhere=True) as file:
        if "spikes" not in file:
            raise EventFileError(path, 0, "is no SONATA spike file: it has no group 'spikes'.")
        own = file.get("spikeframe")
        grid = dt if own is None else float(attribute(own, "dt", path))
        if grid is None:
            raise ParameterError(f"{path}: names no dt; give that of its simulation, e.g. dt=0.1.")
        end = np.inf if own is None else (own["step"][()] + 0.5) * grid
        return {name: _spikes(path, name, group, grid, end) for name, group in file["spikes"].items()}


def _spikes(path: str | Path, name: str, group: Any, dt: float, end: float) -> Spikes:
    """Return the spikes of one population until `end`, ms."""
    for data in ("timestamps", "node_ids"):
        if not isinstance(group, h5py.Group) or data not in group:
            raise EventFileError(path, 0, f"population {name!r} has no {data!r}; needed are timestamps and node_ids.")
        refuse_kind(group[data].id, f"{data} of {name!r}", path)
    sizes = group["timestamps"].shape, group["node_ids"].shape
    if len(sizes[0]) != 1 or len(sizes[1]) != 1 or (end == np.inf and sizes[0] != sizes[1]):
        raise EventFileError(
            path, 0, f"population {name!r} has times {sizes[0]} and neurons {sizes[1]}; give two lists."
        )
    n = min(sizes[0][0], sizes[1][0])  # a file that is being written has them one after the other
    times, ids = group["timestamps"][:n], group["node_ids"][:n]
    if ids.dtype.kind not in "iu" or (n and (ids.min() < 0 or ids.max() >= 2**63)):
        raise EventFileError(path, 0, f"node_ids of {name!r} must be whole numbers from 0, got {ids.dtype}.")
    if times.dtype.kind not in "iuf":
        raise EventFileError(path, 0, f"timestamps of {name!r} must be numbers, got {times.dtype}.")
    ids = ids.astype(np.int64)
    units = attribute(group["timestamps"], "units", path)
    if units not in (None, "ms", b"ms"):
        raise EventFileError(path, 0, f"times of {name!r} are in {units!r}; accepted are ms.")
    steps = np.rint(times / dt)
    near = np.minimum(1e-6 * np.maximum(dt, np.abs(times)), 0.1 * dt)  # times may have single precision
    off = np.flatnonzero(~(np.abs(steps * dt - times) <= near) | (steps < 1))
    if off.size:
        raise TimeGridError(
            f"{path}: a spike of {name!r} at {times[off[0]]} ms is no positive multiple of dt={dt:g} ms."
        )
    keep = np.flatnonzero(times < end)
    order = keep[np.lexsort((ids[keep], steps[keep]))]
    return Spikes(np.zeros(order.size, np.int64), steps[order].astype(np.int64) - 1, ids[order], dt)
