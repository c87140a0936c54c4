"""Binning as the last transform of a chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeframe.datasets.binning import SparseFrames, to_frames, to_sparse, to_voxel_grid
from spikeframe.datasets.events import Events, SensorSize
from spikeframe.errors import EventError, ParameterError


@dataclass(frozen=True)
class ToFrames:
    """`to_frames`, counts only.

    Args:
        sensor_size: (width W, height H, polarities P).
        n_time_bins: number of bins.
        time_window: length of a window, µs.
        event_count: events per frame.
        start: first time that is counted, µs; the first event's by default.
        stop: first time that is not counted any more, µs; just after the last event by default.
        saturate: largest count of a place.
        dtype: type of the counts, as for `to_frames`.
        outside: what to do where events lie outside the windows: ``"error"``, or ``"drop"`` them.
    """

    sensor_size: SensorSize
    n_time_bins: int | None = None
    time_window: int | None = None
    event_count: int | None = None
    start: int | None = None
    stop: int | None = None
    saturate: int | None = None
    dtype: npt.DTypeLike = np.int32
    outside: str = "error"

    def __post_init__(self) -> None:
        _check_outside(self.outside)

    def __call__(self, events: Events) -> npt.NDArray[Any]:
        """Return counts, [T, P, H, W].

        Raises:
            EventError: illegal events, or events outside the windows where ``outside`` is ``"error"``.
        """
        frames = to_frames(
            events,
            self.sensor_size,
            n_time_bins=self.n_time_bins,
            time_window=self.time_window,
            event_count=self.event_count,
            start=self.start,
            stop=self.stop,
            saturate=self.saturate,
            dtype=self.dtype,
        )
        _refuse_loss(frames.outside, self.outside, frames.edges)
        return frames.counts


@dataclass(frozen=True)
class ToSparse:
    """`to_sparse`; arguments as `ToFrames`."""

    sensor_size: SensorSize
    n_time_bins: int | None = None
    time_window: int | None = None
    start: int | None = None
    stop: int | None = None
    outside: str = "error"

    def __post_init__(self) -> None:
        _check_outside(self.outside)

    def __call__(self, events: Events) -> SparseFrames:
        """Return the non-zero places.

        Raises:
            EventError: illegal events, or events outside the windows where ``outside`` is ``"error"``.
        """
        sparse = to_sparse(
            events,
            self.sensor_size,
            n_time_bins=self.n_time_bins,
            time_window=self.time_window,
            start=self.start,
            stop=self.stop,
        )
        _refuse_loss(sparse.outside, self.outside, sparse.edges)
        return sparse


@dataclass(frozen=True)
class ToVoxelGrid:
    """`to_voxel_grid` with a fixed number of instants."""

    sensor_size: SensorSize
    n_time_bins: int

    def __call__(self, events: Events) -> npt.NDArray[np.float32]:
        """Return the grid, float32 [n_time_bins, 1, H, W]."""
        return to_voxel_grid(events, self.sensor_size, self.n_time_bins)


def _check_outside(outside: str) -> None:
    if outside not in ("error", "drop"):
        raise ParameterError(f"outside = {outside!r}; accepted are 'error' and 'drop'.")


def _refuse_loss(lost: int, outside: str, edges: npt.NDArray[np.int64]) -> None:
    if lost and outside == "error":
        raise EventError(
            f"{lost} events lie outside {edges[0]} to {edges[-1]} µs; widen the windows, or pass outside='drop'."
        )
