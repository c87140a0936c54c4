"""Cutting a rectangle out of the sensor."""

from __future__ import annotations

from dataclasses import dataclass

from spikeframe.datasets.events import MAX_SIDE, Events, SensorSize, as_events, check_sensor_size, whole_number
from spikeframe.datasets.transforms._columns import with_columns
from spikeframe.errors import ParameterError


def crop(events: Events, left: int, top: int, width: int, height: int) -> Events:
    """Keep the events of a rectangle, with coordinates counted from its corner.

    Args:
        events: structured array with fields x, y, t, p, shape [n].
        left: first column kept.
        top: first row kept.
        width: number of columns kept.
        height: number of rows kept.

    Returns:
        New array of the same dtype.

    Raises:
        EventError: no event array.
        ParameterError: a negative corner or an empty rectangle.
    """
    table = as_events(events)
    left, top = whole_number("left", left, 0, MAX_SIDE), whole_number("top", top, 0, MAX_SIDE)
    width, height = whole_number("width", width, 1, MAX_SIDE), whole_number("height", height, 1, MAX_SIDE)
    x, y = table["x"].astype(int) - left, table["y"].astype(int) - top
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return with_columns(events[inside], x=x[inside], y=y[inside])


def center_crop(events: Events, sensor_size: SensorSize, size: tuple[int, int]) -> Events:
    """Keep the middle ``size`` = (width, height) of a sensor of ``sensor_size``, as `crop` does."""
    width, height, _ = check_sensor_size(sensor_size)
    if not (1 <= size[0] <= width and 1 <= size[1] <= height):
        raise ParameterError(f"size = {size}; accepted is (width, height) from (1, 1) to ({width}, {height}).")
    return crop(events, (width - size[0]) // 2, (height - size[1]) // 2, size[0], size[1])


@dataclass(frozen=True)
class Crop:
    """`crop` with a fixed rectangle."""

    left: int
    top: int
    width: int
    height: int

    def __call__(self, events: Events) -> Events:
        """Return the events of the rectangle."""
        return crop(events, self.left, self.top, self.width, self.height)


@dataclass(frozen=True)
class CenterCrop:
    """`center_crop` with fixed sizes."""

    sensor_size: SensorSize
    size: tuple[int, int]

    def __call__(self, events: Events) -> Events:
        """Return the events of the middle rectangle."""
        return center_crop(events, self.sensor_size, self.size)
