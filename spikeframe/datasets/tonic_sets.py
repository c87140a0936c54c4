"""Any data set of tonic's, or one that behaves like them, in our form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeframe.datasets.base import EventDataset, Transform
from spikeframe.datasets.events import Events, SensorSize, as_events, check_events, check_sensor_size
from spikeframe.errors import DTypeError, ParameterError


class TonicDataset(EventDataset):
    """A tonic data set whose items are ``EVENT_DTYPE`` events and class numbers; see :func:`from_tonic`."""

    def __init__(
        self,
        dataset: Any,
        labels: npt.NDArray[np.int64],
        sensor_size: SensorSize,
        classes: Sequence[str],
        transform: Transform | None,
        target_transform: Transform | None,
    ) -> None:
        super().__init__(labels, sensor_size, classes, transform, target_transform)
        self.dataset = dataset

    def events(self, number: int) -> Events:
        """Return the events of recording ``number``.

        Raises:
            EventError: the set's item is not a legal event array of its sensor.
        """
        where = f"{type(self.dataset).__name__}[{number}]"
        events = as_events(self.dataset[number][0], where)
        check_events(events, self.sensor_size, where)
        return events


def from_tonic(
    dataset: Any,
    sensor_size: SensorSize | None = None,
    transform: Transform | None = None,
    target_transform: Transform | None = None,
) -> TonicDataset:
    """Wrap a tonic data set, so that it can be used wherever ours can.

    Labels are taken from its list ``targets``; a set without one is read through once. Targets that are names become
    numbers in alphabetical order. Give transforms here, not to the wrapped set, whose items must be events.

    Args:
        dataset: object with ``len`` and ``dataset[i] -> (events, target)``, e.g. ``tonic.datasets.NMNIST(...)``.
        sensor_size: (width, height, polarities); None takes the set's own.
        transform: called with each item's events.
        target_transform: called with each item's label.

    Raises:
        DTypeError: the object is not such a set, or a target is neither number nor name.
        ParameterError: no sensor size is known.
    """
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise DTypeError(f"from_tonic: got {type(dataset).__name__}; accepted is a set with len(ds) and ds[i].")
    size = sensor_size if sensor_size is not None else getattr(dataset, "sensor_size", None)
    if size is None:
        raise ParameterError(
            f"from_tonic: {type(dataset).__name__} has no sensor_size; give it as (width, height, polarities)."
        )
    targets = getattr(dataset, "targets", None)
    if targets is None or len(targets) != len(dataset):
        targets = [dataset[number][1] for number in range(len(dataset))]
    labels, names = _numbers(targets)
    own = [_text(name) for name in getattr(dataset, "classes", ())]
    classes = own if len(own) >= len(names) and names == [str(n) for n in range(len(names))] else names
    return TonicDataset(dataset, labels, check_sensor_size(size), classes, transform, target_transform)


def _numbers(targets: Sequence[Any]) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Class numbers and class names of targets that are numbers or names."""
    table = np.asarray(targets)
    if table.ndim == 1 and table.dtype.kind in "iub":
        if table.size and table.min() < 0:
            raise DTypeError(f"from_tonic: target {table.min()}; accepted are class numbers from 0.")
        return table.astype(np.int64), [str(n) for n in range(int(table.max(initial=-1)) + 1)]
    if table.ndim == 1 and (table.dtype.kind in "US" or table.size == 0):
        names, numbers = np.unique(table, return_inverse=True)
        return numbers.astype(np.int64), [_text(name) for name in names]
    raise DTypeError(f"from_tonic: targets of type {table.dtype}, shape {table.shape}; accepted are numbers or names.")


def _text(name: object) -> str:
    """A class name as text."""
    return name.decode() if isinstance(name, bytes) else str(name)
