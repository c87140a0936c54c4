"""Event recordings binned once and kept as their non-zero counts; batches of frames are made from them on the fly."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from spikeframe.datasets.binning import to_frames
from spikeframe.datasets.events import as_events
from spikeframe.errors import ConfigError, DTypeError, ParameterError, ShapeError, TimeGridError
from spikeframe.training.seeds import epoch_order

Batch = tuple[Tensor, Tensor]


class FrameCache:
    """A data set of event recordings as frames of counts, held in memory by their non-zero places.

    Every recording is counted into the windows ``[k dt, (k + 1) dt)`` from its time zero. Counts are never cut off;
    events after the last window are in `outside`.

    Args:
        dataset: map-style set, ``dataset[i] -> (events, label)``, with ``sensor_size`` (W, H, P) and ``classes``.
        n_time_bins: number of windows T.
        dt: length of a window, ms, a whole number of µs.
        pool: side of the square of neighbouring pixels (or number of channels) that are counted together.
        samples: take only the first so many recordings; None takes all.
        progress: title of a progress bar on a terminal's stderr; None shows none.

    Attributes:
        shape: (T, P, H, W) of one sample.
        labels: class of each sample, int64 [n].
        classes: names of the classes.
        dt: length of a window, ms.
        events: events counted, in all samples.
        outside: events before the first or after the last window, in all samples; they are in no frame.
        largest: largest count of a place.
        density: mean squared count of a place in a window.

    Raises:
        TimeGridError: dt is not a positive whole number of µs.
        ParameterError: n_time_bins, pool or samples is not a positive whole number.
        ConfigError: the set holds no recording.
        EventError, EventFileError: a recording is damaged.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        n_time_bins: int,
        dt: float,
        pool: int = 1,
        samples: int | None = None,
        progress: str | None = None,
    ) -> None:
        _check_set(dataset)
        window = _whole_microseconds(dt)
        for name, value in (("n_time_bins", n_time_bins), ("pool", pool), ("samples", samples)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ParameterError(f"{name}={value!r}: must be a whole number from 1.")
        total = len(dataset) if samples is None else min(samples, len(dataset))
        if total == 0:
            raise ConfigError("The data set holds no recording; check its folder and split.")
        sensor = tuple(int(side) for side in dataset.sensor_size)
        width, height = -(-sensor[0] // pool), -(-sensor[1] // pool)
        self.shape = (n_time_bins, sensor[2], height, width)
        self.classes = [str(name) for name in dataset.classes]
        self.dt = float(dt)
        self.outside = 0
        buffer = np.empty(self.shape, np.int32)
        places: list[NDArray[np.int32]] = []
        counts: list[NDArray[Any]] = []
        labels = []
        # Sets of ours read many recordings sooner than one by one; the bar ends this loop, not the set.
        for _, (events, label) in zip(_bar(range(total), progress), dataset, strict=False):
            if pool > 1:
                events = as_events(events).copy()
                events["x"] //= pool
                events["y"] //= pool
            frames = to_frames(
                events, (width, height, sensor[2]), n_time_bins=n_time_bins, time_window=window, start=0, out=buffer
            )
            self.outside += frames.outside
            flat = frames.counts.reshape(-1)
            found = np.flatnonzero(flat)
            values = flat[found]
            places.append(found.astype(np.int32))
            counts.append(values.astype(np.min_scalar_type(int(values.max(initial=0)))))
            labels.append(int(label))
        self._offsets = np.concatenate([[0], np.cumsum([len(p) for p in places])]).astype(np.int64)
        self._places = np.concatenate(places)
        self._counts = np.concatenate(counts)
        self.labels = np.asarray(labels, np.int64)
        self.events = int(self._counts.sum(dtype=np.int64))
        self.largest = int(self._counts.max(initial=0))
        self.density = float(np.square(self._counts, dtype=np.float64).sum()) / (total * math.prod(self.shape))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return the frames [T, P, H, W] (float32) and the label of one sample, as a `DataLoader` wants them."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"FrameCache[{index}]: there are {len(self)} samples.")
        x, labels = self.batch([index % len(self)])
        return x[:, 0], int(labels[0])

    def batch(self, indices: ArrayLike) -> Batch:
        """Return samples as one batch.

        Args:
            indices: which samples, [B].

        Returns:
            Counts float32 [T, B, P, H, W] and labels int64 [B].

        Raises:
            ParameterError: no list of whole numbers, or a sample that is not there.
        """
        given = np.asarray(indices)
        if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
            raise ParameterError(
                f"batch(indices): got {given.dtype} of shape {given.shape}; give the numbers of the samples, [B] "
                "(numpy.flatnonzero turns a mask into them)."
            )
        chosen = given.astype(np.int64)
        if np.any(wrong := (chosen < 0) | (chosen >= len(self))):
            raise ParameterError(f"batch(indices): sample {given[wrong][0]}; there are {len(self)}, counted from 0.")
        first, lengths = self._offsets[chosen], self._offsets[chosen + 1] - self._offsets[chosen]
        ends = np.cumsum(lengths)
        take = np.arange(ends[-1] if ends.size else 0) + np.repeat(first - (ends - lengths), lengths)
        steps, *inner = self.shape
        size = math.prod(inner)
        step, cell = np.divmod(self._places[take].astype(np.int64), size)
        column = np.repeat(np.arange(len(chosen)), lengths)
        x = torch.zeros((steps, len(chosen), *inner))
        x.view(-1).numpy()[(step * len(chosen) + column) * size + cell] = self._counts[take]
        return x, torch.from_numpy(self.labels[chosen])

    def batches(self, batch_size: int, seed: int | None = None, epoch: int = 0) -> Iterator[Batch]:
        """Yield all samples in batches; the last one may be smaller.

        Args:
            batch_size: samples in a batch.
            seed: seed of the order, which depends on (seed, epoch) alone; None keeps the set's order.
            epoch: which epoch, from 0.

        Yields:
            Counts float32 [T, B, P, H, W] and labels int64 [B].

        Raises:
            ParameterError: batch_size is no positive whole number.
        """
        if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise ParameterError(f"batch_size={batch_size!r}: must be a whole number from 1.")
        order = np.arange(len(self)) if seed is None else epoch_order(len(self), seed, epoch)
        for first in range(0, len(self), batch_size):
            yield self.batch(order[first : first + batch_size])


def _check_set(dataset: Any) -> None:
    """Refuse what is no set of event recordings."""
    for name in ("__len__", "__getitem__", "sensor_size", "classes"):
        if not hasattr(dataset, name):
            raise ConfigError(
                f"FrameCache({type(dataset).__name__}): it has no {name}; give a set of event recordings, e.g. "
                "spikeframe.datasets.load('digits'), from_tonic(...) or an EventDataset of your own."
            )


def collate(items: Sequence[tuple[Any, int]]) -> Batch:
    """Put samples together time-first, as ``DataLoader(cache, batch_size, collate_fn=collate)`` needs it.

    Args:
        items: frames [T, ...] and label of each sample, from a `FrameCache` or from a set whose transform makes frames
            of equally many steps (`ToFrames`, or tonic's ``ToFrame``).

    Returns:
        Frames [T, B, ...], float32 where they were whole numbers, and labels int64 [B].

    Raises:
        DTypeError: an item holds events, or no numbers.
        ShapeError: samples of different shapes.
    """
    frames = [_as_frames(x) for x, _ in items]
    for number, x in enumerate(frames):
        if x.shape != frames[0].shape:
            raise ShapeError(
                f"collate: sample {number} of the batch has frames {tuple(x.shape)}, sample 0 "
                f"{tuple(frames[0].shape)}; make equally many steps of each, e.g. by ToFrames(..., n_time_bins=31, "
                "time_window=10_000)."
            )
    return torch.stack(frames, dim=1), torch.tensor([label for _, label in items], dtype=torch.int64)


def _as_frames(x: Any) -> Tensor:
    """Return a sample's frames as a float tensor, or refuse what are none."""
    if isinstance(x, np.ndarray) and x.dtype.kind in "fiub":
        x = torch.as_tensor(x)
    if not isinstance(x, Tensor):
        what = "events" if isinstance(x, np.ndarray) and x.dtype.names else type(x).__name__
        raise DTypeError(
            f"collate: an item holds {what}, no frames; use FrameCache(dataset, n_time_bins=..., dt=...), or give the "
            "set a transform such as spikeframe.datasets.transforms.ToFrames."
        )
    return x if x.is_floating_point() else x.float()


def time_grid(dataset: Any, n_time_bins: int | None = None, dt: float | None = None) -> tuple[int, float]:
    """Choose windows that cover the longest recording of a set.

    Args:
        dataset: map-style set, ``dataset[i] -> (events, label)``.
        n_time_bins: number of windows; None takes as many as dt asks for.
        dt: length of a window, ms; None divides the longest recording, rounded up to a tenth of a millisecond.

    Returns:
        Number of windows, and their length in ms.

    Raises:
        ConfigError: neither was given, or no recording holds an event.
    """
    if n_time_bins is not None and dt is not None:
        return n_time_bins, dt
    longest = 0
    for events, _ in islice(dataset, len(dataset)):
        times = events["t"]
        longest = max(longest, int(times[-1]) + 1 if len(times) else 0)
    if longest == 0:
        raise ConfigError("No recording of the data set holds an event; give n_time_bins and dt.")
    if dt is not None:
        return -(-longest // _whole_microseconds(dt)), dt
    if n_time_bins is not None:
        return n_time_bins, -(-longest // (100 * n_time_bins)) / 10
    raise ConfigError("time_grid: give n_time_bins, dt or both.")


def _whole_microseconds(dt: float) -> int:
    """Return dt in µs, or raise TimeGridError unless it is a positive whole number of them."""
    if isinstance(dt, bool) or not isinstance(dt, (int, float)) or not math.isfinite(dt) or dt <= 0:
        raise TimeGridError(f"dt={dt!r}: must be a positive number of milliseconds.")
    microseconds = round(dt * 1000)
    if microseconds < 1 or abs(microseconds - dt * 1000) > 1e-6:
        raise TimeGridError(f"dt={dt!r} ms: must be a whole number of microseconds, at least 0.001 ms.")
    return microseconds


def _bar(numbers: Sequence[int], title: str | None) -> Any:
    """Wrap a loop in a progress bar, which only a terminal sees."""
    from tqdm import tqdm

    hidden = title is None or not sys.stderr.isatty()
    return tqdm(numbers, title, disable=hidden, delay=0.5, unit="recording", leave=False)
