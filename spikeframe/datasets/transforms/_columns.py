"""What transforms share: new columns for an event array, and the random numbers of one recording."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeframe.datasets.events import Events, as_events, whole_number
from spikeframe.errors import EventError, ParameterError

_LAST_TIME = 2**62


def with_columns(events: Events, **columns: npt.NDArray[Any]) -> Events:
    """Return a copy of ``events`` in the caller's own dtype with some columns replaced.

    Raises:
        EventError: a value does not fit the caller's field.
    """
    out = events.copy()
    for name, column in columns.items():
        if name not in (out.dtype.names or ()):
            continue
        out[name] = column
        wrong = out[name] != column
        if wrong.any():
            index = int(wrong.argmax())
            raise EventError(f"event {index}: {name} = {column[index]} does not fit field type {out.dtype[name]}.")
    return out


def generator(events: Events, seed: int, name: str) -> np.random.Generator:
    """Philox stream of one transform and recording: keyed by the seed and by a digest of the events and the name.

    The same recording meets the same draws whoever computes it and in any order; a new seed gives new ones.
    """
    key = whole_number("seed", seed, 0, 2**63 - 1)
    digest = hashlib.blake2b(as_events(events).tobytes(), key=name.encode(), digest_size=8).digest()
    return np.random.Generator(np.random.Philox(key=[key, int.from_bytes(digest, "little") >> 1]))


def check_fraction(name: str, value: float) -> float:
    """Return ``value`` as a float from 0 to 1, or raise ParameterError."""
    return check_real(name, value, 0.0, 1.0)


def check_real(name: str, value: float, low: float, high: float = math.inf) -> float:
    """Return ``value`` as a finite float within [low, high], or raise ParameterError."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool | str) or not (math.isfinite(number) and low <= number <= high):
        raise ParameterError(f"{name} = {value!r}; accepted is a finite number from {low:g} to {high:g}.")
    return number


def checked_times(events: Events, times: npt.NDArray[Any]) -> Events:
    """Return ``events`` at new ``times``, which must be whole µs from 0."""
    as_events(events)
    if times.size and not (times.min() >= 0 and times.max() <= _LAST_TIME):
        index = int((~((times >= 0) & (times <= _LAST_TIME))).argmax())
        raise EventError(f"event {index} would have t = {times[index]}; accepted is 0 to 2^62.")
    return with_columns(events, t=times.astype(np.int64))
