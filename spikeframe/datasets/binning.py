"""Events to frames, voxel grids and sparse tensors, and frames back to events.

Counting never loses an event in silence: the last window is kept even where it is incomplete, the last event belongs
to the last bin, and what lies outside a chosen interval, or above a chosen count, is returned as a number.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from spikeframe.datasets.events import (
    EVENT_DTYPE,
    Events,
    SensorSize,
    as_events,
    bad_event,
    check_events,
    check_sensor_size,
    whole_number,
)
from spikeframe.errors import DTypeError, EventError, ParameterError, ShapeError
from spikeframe.kernels import buffers
from spikeframe.kernels.numba import events as kernels

if TYPE_CHECKING:
    import torch

_MAX_BYTES = 2**36
_MAX_WINDOWS = 2**28
_MAX_PLACES = 2**62
_NO_LIMIT = 2**31 - 1
#: Types of counts, and the largest count of each.
_COUNT_TYPES = {np.dtype(kind): int(np.iinfo(kind).max) for kind in (np.uint8, np.int16, np.int32)}
# Up to so many bytes, used memory is zeroed sooner than fresh memory is got; beyond, untouched pages cost nothing.
_FROM_POOL = 1 << 26


class Frames(NamedTuple):
    """Event counts per window, polarity, row and column.

    Args:
        counts: [T, P, H, W], int32 unless another type was asked for.
        edges: window k covers the times edges[k] <= t < edges[k + 1], int64 [T + 1], µs.
        outside: events before the first or after the last edge, which are in no frame.
        saturated: events above the ``saturate`` count of their place, which are in no frame.
    """

    counts: npt.NDArray[Any]
    edges: npt.NDArray[np.int64]
    outside: int
    saturated: int


class SparseFrames(NamedTuple):
    """The non-zero places of frames, in the order of (window, polarity, row, column).

    Args:
        coordinates: int64 [n, 4].
        counts: int32 [n].
        shape: (T, P, H, W).
        edges: window k covers the times edges[k] <= t < edges[k + 1], int64 [T + 1], µs.
        outside: events before the first or after the last edge, which are counted nowhere.
    """

    coordinates: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int32]
    shape: tuple[int, int, int, int]
    edges: npt.NDArray[np.int64]
    outside: int

    def to_torch(self) -> torch.Tensor:
        """Return the frames as a coalesced ``torch.sparse_coo`` tensor of int32, shape [T, P, H, W]."""
        import torch

        indices, values = torch.from_numpy(self.coordinates.T.copy()), torch.from_numpy(self.counts)
        return torch.sparse_coo_tensor(indices, values, self.shape, is_coalesced=True, check_invariants=True)


def to_frames(
    events: Events,
    sensor_size: SensorSize,
    *,
    n_time_bins: int | None = None,
    time_window: int | None = None,
    event_count: int | None = None,
    start: int | None = None,
    stop: int | None = None,
    saturate: int | None = None,
    dtype: npt.DTypeLike = np.int32,
    out: npt.NDArray[Any] | None = None,
) -> Frames:
    """Count events into frames.

    One of three divisions is chosen: ``n_time_bins`` equal bins, windows of ``time_window`` µs, or windows of
    ``event_count`` events. Bin k of n covers k/n to (k + 1)/n of the interval [start, stop), rounded up to whole µs.
    ``n_time_bins`` and ``time_window`` together give that many windows of that length from ``start``.

    Args:
        events: structured array with fields x, y, t, p, sorted by t, shape [n].
        sensor_size: (width W, height H, polarities P); with P = 1 both polarities are counted together.
        n_time_bins: number of bins.
        time_window: length of a window, µs; the last one may be incomplete.
        event_count: events per frame; the last frame may have fewer.
        start: first time that is counted, µs; the first event's by default.
        stop: first time that is not counted any more, µs; just after the last event by default.
        saturate: largest count of a place; events above it are reported in the result.
        dtype: type of the counts: uint8, int16 (as tonic's; half the memory of the default) or int32.
        out: array for the counts, [T, P, H, W] of that type, C-contiguous; it is overwritten.

    Returns:
        The counts, the windows' edges, and how many events are not in them.

    Raises:
        EventError: unsorted or negative times, coordinates or polarity out of range, or a count beyond the type.
        ParameterError: a division that is missing, doubled, not positive or too large to store.
        DTypeError, ShapeError: a type that is not accepted, or an ``out`` that does not fit.
    """
    table = as_events(events)
    width, height, polarities = check_sensor_size(sensor_size)
    kind, largest = _count_type(dtype)
    limit = largest if saturate is None else whole_number("saturate", saturate, 1, largest)
    if event_count is not None:
        if not (n_time_bins is time_window is start is stop is None):
            raise ParameterError(
                "event_count goes without n_time_bins, time_window, start and stop; give one division."
            )
        check_events(table, sensor_size)
        starts = np.append(np.arange(0, table.size, whole_number("event_count", event_count, 1)), table.size)
        edges = np.append(table["t"][starts[:-1]], table["t"][-1:] + 1) if table.size else np.zeros(1, np.int64)
    else:
        edges, starts = _windows(table, sensor_size, n_time_bins, time_window, start, stop)
    counts = _zeros((edges.size - 1, polarities, height, width), kind, out)
    saturated = int(kernels.count_windows(table, starts, limit, counts))
    if saturated and saturate is None:
        raise EventError(
            f"{saturated} events lie above the {limit} that a place can count as {kind}; take dtype=np.int32, shorter "
            f"windows, or saturate={limit} to leave them out."
        )
    return Frames(counts, edges, table.size - int(starts[-1] - starts[0]), saturated)


def to_sparse(
    events: Events,
    sensor_size: SensorSize,
    *,
    n_time_bins: int | None = None,
    time_window: int | None = None,
    start: int | None = None,
    stop: int | None = None,
) -> SparseFrames:
    """Count events into the non-zero places of frames; memory grows with events, not with pixels.

    Args:
        events: structured array with fields x, y, t, p, sorted by t, shape [n].
        sensor_size: (width W, height H, polarities P).
        n_time_bins: number of bins, as in `to_frames`.
        time_window: length of a window, µs, as in `to_frames`.
        start: first time that is counted, µs; the first event's by default.
        stop: first time that is not counted any more, µs; just after the last event by default.

    Returns:
        Coordinates, counts and the shape they live in.

    Raises:
        EventError: unsorted or negative times, coordinates or polarity out of range.
        ParameterError: a division that is missing or not positive.
    """
    table = as_events(events)
    width, height, polarities = check_sensor_size(sensor_size)
    edges, starts = _windows(table, sensor_size, n_time_bins, time_window, start, stop)
    shape = (edges.size - 1, polarities, height, width)
    if edges.size * polarities * height * width > _MAX_PLACES:
        raise ParameterError(f"frames of shape {shape} have too many places to number; take fewer or longer windows.")
    inside = table[starts[0] : starts[-1]]
    window = np.repeat(np.arange(edges.size - 1), np.diff(starts))
    polarity = inside["p"] if polarities == 2 else 0
    key = ((window * polarities + polarity) * height + inside["y"]) * width + inside["x"]
    places, counts = np.unique(key, return_counts=True)
    coordinates = np.stack(np.unravel_index(places, shape), axis=1) if places.size else np.zeros((0, 4), np.int64)
    return SparseFrames(coordinates, counts.astype(np.int32), shape, edges, table.size - inside.size)


def to_voxel_grid(events: Events, sensor_size: SensorSize, n_time_bins: int) -> npt.NDArray[np.float32]:
    """Spread each event's sign over the two nearest of ``n_time_bins`` instants.

    Equation: ``V[b, y, x] = sum_i s_i max(0, 1 - |b - (n - 1) (t_i - t_first) / (t_last - t_first)|)`` with s = +1 for
    ON and -1 for OFF (always +1 with one polarity), so the grid's sum is the number of ON minus OFF events.
    Source: Zhu et al., Unsupervised Event-based Learning of Optical Flow, Depth, and Egomotion, CVPR 2019.

    Args:
        events: structured array with fields x, y, t, p, sorted by t, shape [n].
        sensor_size: (width W, height H, polarities P).
        n_time_bins: number of instants.

    Returns:
        float32 [n_time_bins, 1, H, W].

    Raises:
        EventError: unsorted or negative times, coordinates or polarity out of range.
        ParameterError: a bad sensor size or number of bins, or a grid too large to store.
    """
    table = as_events(events)
    check_events(table, sensor_size)
    width, height, polarities = check_sensor_size(sensor_size)
    shape = (whole_number("n_time_bins", n_time_bins, 1, _MAX_WINDOWS), 1, height, width)
    _check_memory(shape)
    grid = np.zeros(shape, np.float32)
    kernels.spread_in_time(table, polarities == 2, grid[:, 0])
    return grid


def frames_to_events(counts: npt.NDArray[Any], edges: npt.ArrayLike) -> Events:
    """Turn counts back into events, each at the start of its window: the time resolution is the window's length.

    Counting the result with the same edges gives the same frames. With one polarity, all events are ON.

    Args:
        counts: integer [T, P, H, W], not negative.
        edges: window k starts at edges[k], int [T + 1], µs; ``Frames.edges``, or ``np.arange(T + 1) * window``.

    Returns:
        Structured array of ``EVENT_DTYPE``, in the order of (window, polarity, row, column).

    Raises:
        ShapeError: counts are not four-dimensional, or edges do not fit them.
        DTypeError: counts or edges are not integers.
        EventError: a negative count, decreasing edges, or more than 2^31 events.
    """
    counts, starts = np.asarray(counts), np.asarray(edges)
    if counts.ndim != 4 or starts.shape != (counts.shape[0] + 1,):
        raise ShapeError(f"counts {counts.shape} with edges {starts.shape}; accepted are [T, P, H, W] and [T + 1].")
    if counts.dtype.kind not in "iu" or starts.dtype.kind not in "iu":
        raise DTypeError(f"counts of type {counts.dtype}, edges of type {starts.dtype}; accepted are integers.")
    check_sensor_size((counts.shape[3], counts.shape[2], counts.shape[1]))
    if counts.size and int(counts.min()) < 0:
        raise EventError(f"counts hold {int(counts.min())}; accepted are counts from 0.")
    if starts[0] < 0 or (np.diff(starts.astype(np.int64)) < 0).any():
        raise EventError("edges are negative or decrease; accepted are times in µs that do not decrease.")
    if int(counts.sum(dtype=np.float64)) > _NO_LIMIT:
        raise EventError(f"counts hold {int(counts.sum(dtype=np.float64))} events; accepted are up to {_NO_LIMIT}.")
    places = np.nonzero(counts)
    repeats = counts[places].astype(np.int64)
    events = np.empty(int(repeats.sum()), EVENT_DTYPE)
    events["t"] = np.repeat(starts[places[0]], repeats)
    events["p"] = np.repeat(places[1], repeats) if counts.shape[1] == 2 else 1
    events["y"] = np.repeat(places[2], repeats)
    events["x"] = np.repeat(places[3], repeats)
    return events


def _windows(
    events: Events,
    sensor_size: SensorSize,
    n_time_bins: int | None,
    time_window: int | None,
    start: int | None,
    stop: int | None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Check the events; edges of the windows, and the index of the first event at or after each, both int64 [T + 1]."""
    # Edges come from the first and the last time: these are checked before, all others on the way.
    if events.size and not 0 <= events["t"][0] <= events["t"][-1] <= kernels.MAX_TIME:
        check_events(events, sensor_size)
    edges = _edges(events, n_time_bins, time_window, start, stop)
    starts = np.empty(edges.size, np.int64)
    bad = int(kernels.window_starts(events, edges, sensor_size[0], sensor_size[1], starts))
    if bad >= 0:
        raise bad_event(events, bad, sensor_size[:2], "events")
    return edges, starts


def _edges(
    events: Events, n_time_bins: int | None, time_window: int | None, start: int | None, stop: int | None
) -> npt.NDArray[np.int64]:
    """Edges of the time windows, int64 [T + 1], µs."""
    if n_time_bins is None and time_window is None:
        raise ParameterError("no division given; accepted is one of n_time_bins, time_window (µs) or event_count.")
    if n_time_bins is not None and time_window is not None and stop is not None:
        raise ParameterError("n_time_bins, time_window and stop together say the end twice; leave one out.")
    times = events["t"]
    first = whole_number("start", start, 0) if start is not None else (int(times[0]) if times.size else 0)
    if stop is not None:
        last = whole_number("stop", stop, first)
    else:
        last = max(int(times[-1]) + 1, first) if times.size else first
    if time_window is None:
        n = whole_number("n_time_bins", n_time_bins, 1, _MAX_WINDOWS)
        return kernels.equal_edges(first, last - first, n)
    length = whole_number("time_window", time_window, 1)
    n = (
        -(-(last - first) // length)
        if n_time_bins is None
        else whole_number("n_time_bins", n_time_bins, 1, _MAX_WINDOWS)
    )
    if n > _MAX_WINDOWS or first + n * length > 2**63 - 1:
        raise ParameterError(
            f"{n} windows of {length} µs; accepted are up to {_MAX_WINDOWS} windows. Take longer ones."
        )
    return first + length * np.arange(n + 1, dtype=np.int64)


def _count_type(dtype: npt.DTypeLike) -> tuple[np.dtype[Any], int]:
    """Return a type of counts and the largest count it holds, or raise DTypeError."""
    try:
        kind = np.dtype(dtype)
    except TypeError:
        kind = np.dtype(object)
    if kind not in _COUNT_TYPES:
        raise DTypeError(f"dtype = {dtype!r}; accepted are {', '.join(map(str, _COUNT_TYPES))}.")
    return kind, _COUNT_TYPES[kind]


def _zeros(shape: tuple[int, int, int, int], kind: np.dtype[Any], out: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
    """Zeroed counts of this shape: ``out`` if it is given and fits, else a new array."""
    if out is None:
        _check_memory(shape)
        if math.prod(shape) * kind.itemsize > _FROM_POOL:
            return np.zeros(shape, kind)
        counts = buffers.empty(shape, kind)
    else:
        if not isinstance(out, np.ndarray) or out.dtype != kind:
            found = getattr(out, "dtype", type(out).__name__)
            raise DTypeError(f"out has type {found}; accepted is an {kind} array, or give dtype as well.")
        if out.shape != shape or not out.flags.c_contiguous or not out.flags.writeable:
            raise ShapeError(f"out has shape {out.shape}; accepted is {shape}, C-contiguous and writeable.")
        counts = out
    counts.fill(0)
    return counts


def _check_memory(shape: tuple[int, int, int, int]) -> None:
    """Raise where an array of 4-byte numbers of this shape is beyond reason."""
    size = 4 * shape[0] * shape[1] * shape[2] * shape[3]
    if size > _MAX_BYTES:
        raise ParameterError(
            f"frames of shape {shape} take {size / 2**30:.0f} GiB; accepted are up to {_MAX_BYTES >> 30}. "
            "Take fewer or longer windows, or to_sparse."
        )
