"""Event arrays: the one layout that readers give, transforms keep and binning takes.

An event array is a one-dimensional NumPy structured array with the fields ``x``, ``y``, ``t``, ``p``, sorted by ``t``.
``t`` is in whole microseconds and never negative; ``p`` is 0 (OFF) or 1 (ON). One-dimensional sensors have the channel
in ``x`` and ``y = 0``. Functions take any integer widths by these names, boolean ``p``, and arrays without ``y``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from spikeframe.errors import EventError, ParameterError
from spikeframe.kernels.numba import events as kernels

EVENT_DTYPE = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)])

Events = npt.NDArray[Any]
SensorSize = tuple[int, int, int]

MAX_SIDE = 2**15


class Recording(NamedTuple):
    """What a reader found in a file.

    Args:
        events: structured array of ``EVENT_DTYPE``.
        sensor_size: (width, height, polarities), or None where neither the file nor the caller says it.
        dropped: how many records of each kind the file holds that are not change events, by kind.
    """

    events: Events
    sensor_size: SensorSize | None
    dropped: Mapping[str, int]


def make_events(x: npt.ArrayLike, y: npt.ArrayLike, t: npt.ArrayLike, p: npt.ArrayLike) -> Events:
    """Put four columns of equal length (or scalars) together as an event array, and check it.

    Args:
        x: column or channel, integer.
        y: row, integer; 0 for one-dimensional sensors.
        t: time in µs, integer, not decreasing.
        p: polarity, 0/1 or boolean.

    Returns:
        Structured array of ``EVENT_DTYPE``, shape [n].

    Raises:
        EventError: where the columns break a rule of event arrays.
    """
    columns = [np.asarray(column) for column in (x, y, t, p)]
    try:
        shape = np.broadcast_shapes((1,), *(column.shape for column in columns))
    except ValueError:
        shapes = ", ".join(str(column.shape) for column in columns)
        raise EventError(f"make_events: x, y, t, p have shapes {shapes}; give columns of one length.") from None
    # An empty list is float64 to NumPy and still a fine empty column.
    columns = [column.astype(np.int64) if column.size == 0 else column for column in columns]
    try:
        table = np.empty(shape, np.dtype([(n, c.dtype) for n, c in zip("xytp", columns, strict=True)]))
        for name, column in zip("xytp", columns, strict=True):
            table[name] = column
    except (TypeError, ValueError) as error:
        raise EventError(f"make_events: x, y, t, p are not columns of numbers ({error}).") from None
    events = as_events(table, "make_events").copy()
    check_events(events, where="make_events")
    return events


def as_events(events: Events, where: str = "events") -> Events:
    """Return events as a contiguous ``EVENT_DTYPE`` array: the same object if it is one, else a converted copy.

    Args:
        events: structured array with integer fields x, t, p (p may be boolean) and optionally y, shape [n].
        where: name of the array, for the message.

    Returns:
        Structured array of ``EVENT_DTYPE``, shape [n]; ``y`` is 0 where the input has none.

    Raises:
        EventError: for another type, a missing or non-integer field, or a value that does not fit the field.
    """
    if not isinstance(events, np.ndarray) or isinstance(events, np.ma.MaskedArray):
        raise EventError(
            f"{where}: got {type(events).__name__}; accepted is a NumPy structured array with fields {_F}."
        )
    if events.ndim != 1:
        raise EventError(f"{where}: shape {events.shape}; accepted is a one-dimensional array of events.")
    if events.dtype == EVENT_DTYPE:
        return np.ascontiguousarray(events)
    names = events.dtype.names or ()
    missing = [name for name in ("x", "t", "p") if name not in names]
    if missing:
        raise EventError(f"{where}: no field {', '.join(missing)} in dtype {events.dtype}; accepted are fields {_F}.")
    out = np.zeros(events.size, EVENT_DTYPE)
    for name in ("x", "y", "t", "p"):
        if name not in names:
            continue
        column = events[name]
        if column.dtype.kind not in "iub" or column.ndim != 1:
            of_each = f", {column.shape[1:]} for each event" if column.ndim > 1 else ""
            raise EventError(
                f"{where}: field {name} has type {column.dtype}{of_each}; accepted are integers"
                + (" (times in whole µs: round them)." if name == "t" else ".")
            )
        out[name] = column
        wrong = out[name] != column
        if wrong.any():
            index = int(wrong.argmax())
            high = 1 if name == "p" else np.iinfo(EVENT_DTYPE[name]).max
            raise EventError(f"{where}: event {index} has {name} = {column[index]}; accepted is 0 to {high}.")
    return out


_F = "x, y, t, p (integers; y may be left out)"


def check_events(events: Events, sensor_size: SensorSize | None = None, where: str = "events") -> None:
    """Raise unless the array is a legal event array, naming the first event that breaks a rule.

    Args:
        events: structured array with fields x, y, t, p, shape [n].
        sensor_size: (width, height, polarities); None checks only that coordinates are not negative.
        where: name of the array, for the message.

    Raises:
        EventError: times negative or decreasing, x, y or p out of range, wrong fields, types or axes.
        ParameterError: the sensor size itself is not three positive whole numbers.
    """
    table = as_events(events, where)
    width, height, _ = check_sensor_size(sensor_size) if sensor_size is not None else (MAX_SIDE, MAX_SIDE, 2)
    bad = kernels.first_bad_event(table, width, height)
    if bad >= 0:
        raise bad_event(table, int(bad), (width, height), where)


def check_sensor_size(sensor_size: SensorSize) -> SensorSize:
    """Return (width, height, polarities) as plain integers, or raise ParameterError."""
    try:
        width, height, polarities = (int(side) for side in sensor_size)
        same = (width, height, polarities) == tuple(sensor_size)
    except (TypeError, ValueError, OverflowError):
        same = False
    if not same or not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE and polarities in (1, 2)):
        raise ParameterError(
            f"sensor_size = {sensor_size!r}; accepted is (width, height, polarities) with sides from 1 to {MAX_SIDE} "
            "and 1 or 2 polarities."
        )
    return width, height, polarities


def whole_number(name: str, value: object, low: int, high: int = 2**62) -> int:
    """Return ``value`` as an int within [low, high], or raise ParameterError with the parameter's name."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise ParameterError(f"{name} = {value!r}; accepted is a whole number from {low} to {high}.")
    return int(value)


def bad_event(events: Events, index: int, size: tuple[int, int], where: str) -> EventError:
    """Build the error for the event at ``index``, which breaks a rule of event arrays."""
    return EventError(f"{where}: {describe_bad_event(events, index, size, 'sort by t first')}")


def describe_bad_event(events: Events, index: int, size: tuple[int, int], remedy: str) -> str:
    """Say which rule of event arrays the event at ``index`` breaks, and the ``remedy`` if it is the order of times."""
    event = {name: int(events[name][index]) for name in ("x", "y", "t", "p")}
    before = int(events["t"][index - 1]) if index else 0
    if not 0 <= event["t"] <= kernels.MAX_TIME:
        what, rule = "t", "times are whole microseconds from 0 to 2^62"
    elif event["t"] < before:
        what, rule = "t", f"times never decrease (event {index - 1} has t = {before}); {remedy}"
    elif not 0 <= event["x"] < size[0]:
        what, rule = "x", f"x is 0 to {size[0] - 1}"
    elif not 0 <= event["y"] < size[1]:
        what, rule = "y", f"y is 0 to {size[1] - 1}"
    else:
        what, rule = "p", "polarity is 0 (OFF) or 1 (ON)"
    return f"event {index} has {what} = {event[what]}; {rule}."
