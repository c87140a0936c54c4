"""Fewer pixels, the same events."""

from __future__ import annotations

from dataclasses import dataclass

from spikeframe.datasets.events import Events, SensorSize, as_events, check_events, check_sensor_size
from spikeframe.datasets.transforms._columns import with_columns
from spikeframe.errors import ParameterError


def downsample(events: Events, sensor_size: SensorSize, size: tuple[int, int]) -> Events:
    """Map a sensor onto a smaller one; every event is kept.

    Equation: ``x' = floor(x * width' / width)``, in integers; likewise y.

    Args:
        events: structured array with fields x, y, t, p, shape [n].
        sensor_size: (width, height, polarities) of the events.
        size: (width', height') of the result, each at most the sensor's.

    Returns:
        New array of the same dtype.

    Raises:
        EventError: events that are illegal on this sensor.
        ParameterError: a size that is not smaller or equal.
    """
    width, height, _ = check_sensor_size(sensor_size)
    if not (1 <= size[0] <= width and 1 <= size[1] <= height):
        raise ParameterError(f"size = {size}; accepted is (width, height) from (1, 1) to ({width}, {height}).")
    check_events(events, sensor_size)
    table = as_events(events)
    x, y = table["x"].astype(int) * size[0] // width, table["y"].astype(int) * size[1] // height
    return with_columns(events, x=x, y=y)


@dataclass(frozen=True)
class Downsample:
    """`downsample` with fixed sizes."""

    sensor_size: SensorSize
    size: tuple[int, int]

    def __call__(self, events: Events) -> Events:
        """Return the events on the smaller sensor."""
        return downsample(events, self.sensor_size, self.size)
