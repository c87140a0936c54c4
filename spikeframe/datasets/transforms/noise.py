"""Random losses, shifts and additions: the functions draw from a generator, the callables from seed and recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikeframe.datasets.events import (
    EVENT_DTYPE,
    Events,
    SensorSize,
    as_events,
    check_events,
    check_sensor_size,
    whole_number,
)
from spikeframe.datasets.transforms._columns import (
    check_fraction,
    check_real,
    checked_times,
    generator,
    with_columns,
)


def drop_events(events: Events, fraction: float, rng: np.random.Generator) -> Events:
    """Drop each event with probability ``fraction``.

    Args:
        events: structured array with fields x, y, t, p, shape [n].
        fraction: probability from 0 to 1.
        rng: source of the draws.

    Returns:
        New array of the same dtype.

    Raises:
        EventError: no event array.
        ParameterError: the fraction is not a probability.
    """
    return events[rng.random(as_events(events).size) >= check_fraction("fraction", fraction)]


def time_jitter(events: Events, std: float, rng: np.random.Generator) -> Events:
    """Add normal noise to each time, rounded to µs; times below 0 become 0, and events are sorted again.

    Args:
        events: structured array with fields x, y, t, p, shape [n].
        std: standard deviation, µs.
        rng: source of the draws.

    Returns:
        New array of the same dtype and length.

    Raises:
        EventError: no event array.
        ParameterError: the standard deviation is negative or not finite.
    """
    times = as_events(events)["t"]
    noise = np.rint(rng.standard_normal(times.size) * check_real("std", std, 0.0, 1e15)).astype(np.int64)
    out = checked_times(events, np.maximum(times + noise, 0))
    return out[np.argsort(out["t"], kind="stable")]


def spatial_jitter(events: Events, sensor_size: SensorSize, std: float, rng: np.random.Generator) -> Events:
    """Add normal noise to x and y, rounded to pixels; what would leave the sensor stays at its border.

    Args:
        events: structured array with fields x, y, t, p, shape [n].
        sensor_size: (width, height, polarities).
        std: standard deviation, pixels.
        rng: source of the draws.

    Returns:
        New array of the same dtype and length.

    Raises:
        EventError: events that are illegal on this sensor.
        ParameterError: the standard deviation is negative or not finite.
    """
    width, height, _ = check_sensor_size(sensor_size)
    check_events(events, sensor_size)
    table = as_events(events)
    dx, dy = np.rint(rng.standard_normal((2, table.size)) * check_real("std", std, 0.0, 1e15)).astype(np.int64)
    return with_columns(events, x=np.clip(table["x"] + dx, 0, width - 1), y=np.clip(table["y"] + dy, 0, height - 1))


def uniform_noise(events: Events, sensor_size: SensorSize, count: int, rng: np.random.Generator) -> Events:
    """Add ``count`` events drawn uniformly over pixels, polarities and the recording's time.

    Args:
        events: structured array with fields x, y, t, p, sorted by t, shape [n].
        sensor_size: (width, height, polarities).
        count: events to add; an array without events has no time to add them in and stays empty.
        rng: source of the draws.

    Returns:
        New array of the same dtype, shape [n + count], sorted by t.

    Raises:
        EventError: events that are illegal on this sensor.
        ParameterError: a negative count.
    """
    width, height, _ = check_sensor_size(sensor_size)
    check_events(events, sensor_size)
    count = whole_number("count", count, 0, 2**31)
    table = as_events(events)
    if table.size == 0:
        return events.copy()
    noise = np.empty(count, EVENT_DTYPE)
    noise["x"] = rng.integers(width, size=count)
    noise["y"] = rng.integers(height, size=count)
    noise["t"] = rng.integers(table["t"][0], table["t"][-1] + 1, size=count)
    noise["p"] = rng.integers(2, size=count)
    added = np.empty(count, events.dtype)
    for name in events.dtype.names or ():
        added[name] = noise[name]
    both = np.concatenate([events, added])
    return both[np.argsort(both["t"], kind="stable")]


@dataclass(frozen=True)
class DropEvents:
    """`drop_events` with draws from the seed and the recording."""

    fraction: float
    seed: int = 0

    def __call__(self, events: Events) -> Events:
        """Return the events that remain."""
        return drop_events(events, self.fraction, generator(events, self.seed, "DropEvents"))


@dataclass(frozen=True)
class TimeJitter:
    """`time_jitter` with draws from the seed and the recording."""

    std: float
    seed: int = 0

    def __call__(self, events: Events) -> Events:
        """Return the events at noisy times."""
        return time_jitter(events, self.std, generator(events, self.seed, "TimeJitter"))


@dataclass(frozen=True)
class SpatialJitter:
    """`spatial_jitter` with draws from the seed and the recording."""

    sensor_size: SensorSize
    std: float
    seed: int = 0

    def __call__(self, events: Events) -> Events:
        """Return the events at noisy places."""
        return spatial_jitter(events, self.sensor_size, self.std, generator(events, self.seed, "SpatialJitter"))


@dataclass(frozen=True)
class UniformNoise:
    """`uniform_noise` with draws from the seed and the recording."""

    sensor_size: SensorSize
    count: int
    seed: int = 0

    def __call__(self, events: Events) -> Events:
        """Return the events and the noise."""
        return uniform_noise(events, self.sensor_size, self.count, generator(events, self.seed, "UniformNoise"))
