"""Cutting, moving and stretching time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikeframe.datasets.events import Events, as_events, whole_number
from spikeframe.datasets.transforms._columns import check_real, checked_times


def time_crop(events: Events, start: int, stop: int) -> Events:
    """Keep the events with start <= t < stop.

    Args:
        events: structured array with fields x, y, t, p, shape [n].
        start: first time kept, µs.
        stop: first time not kept any more, µs.

    Returns:
        New array of the same dtype; times are as they were.

    Raises:
        EventError: no event array.
        ParameterError: a negative start, or a stop before it.
    """
    start = whole_number("start", start, 0)
    stop = whole_number("stop", stop, start)
    times = as_events(events)["t"]
    return events[(times >= start) & (times < stop)]


def time_shift(events: Events, offset: int | None = None) -> Events:
    """Add ``offset`` µs to all times; None moves the first event to 0.

    Args:
        events: structured array with fields x, y, t, p, shape [n].
        offset: µs to add, may be negative.

    Returns:
        New array of the same dtype.

    Raises:
        EventError: a time would become negative.
        ParameterError: the offset is no whole number.
    """
    times = as_events(events)["t"]
    if offset is None:
        offset = -int(times[0]) if times.size else 0
    return checked_times(events, times + whole_number("offset", offset, -(2**62)))


def time_scale(events: Events, factor: float) -> Events:
    """Multiply all times by ``factor``, rounded to whole µs; the order of events stays.

    Args:
        events: structured array with fields x, y, t, p, shape [n].
        factor: positive number.

    Returns:
        New array of the same dtype.

    Raises:
        EventError: a time would leave the range of times.
        ParameterError: the factor is not a positive finite number.
    """
    factor = check_real("factor", factor, np.finfo(float).tiny)
    with np.errstate(over="ignore"):
        return checked_times(events, np.rint(as_events(events)["t"] * factor))


@dataclass(frozen=True)
class TimeCrop:
    """`time_crop` with a fixed interval, µs."""

    start: int
    stop: int

    def __call__(self, events: Events) -> Events:
        """Return the events of the interval."""
        return time_crop(events, self.start, self.stop)


@dataclass(frozen=True)
class TimeShift:
    """`time_shift` with a fixed offset, µs."""

    offset: int | None = None

    def __call__(self, events: Events) -> Events:
        """Return the events at moved times."""
        return time_shift(events, self.offset)


@dataclass(frozen=True)
class TimeScale:
    """`time_scale` with a fixed factor."""

    factor: float

    def __call__(self, events: Events) -> Events:
        """Return the events at stretched times."""
        return time_scale(events, self.factor)
