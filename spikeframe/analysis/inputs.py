"""What the measures accept: each of these returns a checked float64 array, or names what is wrong with it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]


def numbers(what: str, values: ArrayLike, axes: int = 1) -> Floats:
    """Return finite numbers.

    Args:
        what: for the message, e.g. ``"cv(times)"``.
        values: what was given.
        axes: how many axes it must have.

    Raises:
        DTypeError, ShapeError, NonFiniteError: it is something else.
    """
    try:
        found = np.asarray(values)
    except ValueError:
        raise ShapeError(f"{what}: rows of unequal length; must be an array with {axes} axes.") from None
    if found.size and found.dtype.kind not in "iufb":
        raise DTypeError(f"{what}: {found.dtype} is no type of real numbers.")
    if found.ndim != axes:
        raise ShapeError(f"{what}: has shape {found.shape}; must have {axes} {'axis' if axes == 1 else 'axes'}.")
    found = found.astype(np.float64)
    if not np.isfinite(found).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(found))[0])
        raise NonFiniteError(f"{what}{list(at)} is {found[at]}; must be finite.")
    return found


def spike_train(what: str, times: ArrayLike) -> Floats:
    """Return the sorted times of one neuron.

    Args:
        what: for the message.
        times: ms, in any order.
    """
    return np.sort(numbers(what, times))


def within(what: str, train: Floats, start: float, end: float) -> Floats:
    """Return a spike train all of whose times are from start to end, or refuse it.

    Args:
        what: for the message.
        train: sorted times, ms.
        start: ms.
        end: ms.
    """
    check_span(what, start, end)
    if train.size and not (start <= train[0] and train[-1] <= end):
        at = train[0] if train[0] < start else train[-1]
        raise ParameterError(
            f"{what}: a spike at {at:g} ms is outside {start:g} to {end:g} ms; cut the train, or widen."
        )
    return train


def check_span(what: str, start: float, end: float) -> None:
    """Refuse a span of time that is none.

    Args:
        what: for the message.
        start: ms.
        end: ms.
    """
    if not (math.isfinite(start) and math.isfinite(end) and start < end):
        raise ParameterError(f"{what}: start={start!r}, end={end!r}; must be finite, start before end.")


def raster(what: str, times: ArrayLike, ids: ArrayLike) -> tuple[Floats, Longs]:
    """Return times and neurons of a population's spikes.

    Args:
        what: for the message.
        times: ``[n]`` ms.
        ids: ``[n]`` neurons from 0.
    """
    found, owner = numbers(f"{what}: times", times), np.asarray(ids)
    if owner.shape != found.shape:
        raise ShapeError(f"{what}: {found.size} times, but ids of shape {owner.shape}; give one id per spike.")
    return found, indices(f"{what}: ids", owner)


def indices(what: str, values: ArrayLike, size: int | None = None) -> Longs:
    """Return whole numbers from 0 (and below size, if given) with one axis.

    Args:
        what: for the message.
        values: what was given.
        size: one above the largest.
    """
    found = np.asarray(values)
    if found.ndim != 1:
        raise ShapeError(f"{what}: has shape {found.shape}; must have 1 axis.")
    if found.size and found.dtype.kind not in "iu":
        raise DTypeError(f"{what}: {found.dtype}; must be whole numbers.")
    found = found.astype(np.int64)
    if found.size and (found.min() < 0 or (size is not None and found.max() >= size)):
        bad = found.min() if found.min() < 0 else found.max()
        raise ParameterError(f"{what}: {bad}; must be from 0" + ("." if size is None else f" to {size - 1}."))
    return found


def positive(what: str, value: Any) -> float:
    """Return a finite number above 0.

    Args:
        what: for the message.
        value: what was given.
    """
    return real(what, value, np.nextafter(0.0, 1.0), np.finfo(float).max, "a finite number above 0")


def real(what: str, value: Any, low: float, high: float, accepted: str) -> float:
    """Return a number from low to high.

    Args:
        what: for the message.
        value: what was given.
        low: least.
        high: largest.
        accepted: for the message.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        raise ParameterError(f"{what}={value!r}: must be {accepted}.")
    if not low <= value <= high:
        raise ParameterError(f"{what}={value!r}: must be {accepted}.")
    return float(value)


def whole(what: str, value: Any, least: int = 1) -> int:
    """Return a whole number.

    Args:
        what: for the message.
        value: what was given.
        least: smallest that is accepted.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ParameterError(f"{what}={value!r}: must be a whole number of at least {least}.")
    return int(value)
