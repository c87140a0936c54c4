"""Mirror images: of polarity and of columns."""

from __future__ import annotations

from dataclasses import dataclass

from spikeframe.datasets.events import Events, SensorSize, as_events, check_events, check_sensor_size
from spikeframe.datasets.transforms._columns import check_fraction, generator, with_columns


def flip_polarity(events: Events) -> Events:
    """Turn ON into OFF and OFF into ON.

    Args:
        events: structured array with fields x, y, t, p, shape [n].

    Returns:
        New array of the same dtype.

    Raises:
        EventError: illegal events.
    """
    check_events(events)
    return with_columns(events, p=1 - as_events(events)["p"])


def flip_horizontal(events: Events, sensor_size: SensorSize) -> Events:
    """Mirror columns: x becomes width - 1 - x.

    Args:
        events: structured array with fields x, y, t, p, shape [n].
        sensor_size: (width, height, polarities).

    Returns:
        New array of the same dtype.

    Raises:
        EventError: events that are illegal on this sensor.
    """
    width, _, _ = check_sensor_size(sensor_size)
    check_events(events, sensor_size)
    return with_columns(events, x=width - 1 - as_events(events)["x"].astype(int))


@dataclass(frozen=True)
class FlipPolarity:
    """`flip_polarity`, of a random part of the recordings where ``probability`` is below 1."""

    probability: float = 1.0
    seed: int = 0

    def __call__(self, events: Events) -> Events:
        """Return the events, flipped or as they are."""
        return flip_polarity(events) if _drawn(events, self.probability, self.seed, "FlipPolarity") else events


@dataclass(frozen=True)
class FlipHorizontal:
    """`flip_horizontal`, of a random part of the recordings where ``probability`` is below 1."""

    sensor_size: SensorSize
    probability: float = 1.0
    seed: int = 0

    def __call__(self, events: Events) -> Events:
        """Return the events, flipped or as they are."""
        if _drawn(events, self.probability, self.seed, "FlipHorizontal"):
            return flip_horizontal(events, self.sensor_size)
        return events


def _drawn(events: Events, probability: float, seed: int, name: str) -> bool:
    return bool(generator(events, seed, name).random() < check_fraction("probability", probability))
