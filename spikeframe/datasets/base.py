"""What every data set of ours is: numbered recordings with labels, read one at a time."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from spikeframe.datasets.events import Events, SensorSize
from spikeframe.errors import ParameterError, unknown_name

Transform = Callable[[Any], Any]

SPLITS = ("train", "validation", "test")
SPLIT_KEY = 2


class EventDataset(ABC):
    """A map-style data set of event recordings: ``len(ds)`` items ``ds[i] -> (events, label)`` in a fixed order.

    Iterating over a set gives the same items, and may be faster.

    Args:
        labels: class number of each recording, shape [n].
        sensor_size: (width, height, polarities).
        classes: name of each class.
        transform: called with each item's events; None leaves them.
        target_transform: called with each item's label; None leaves it.
    """

    def __init__(
        self,
        labels: npt.ArrayLike,
        sensor_size: SensorSize,
        classes: Sequence[str],
        transform: Transform | None = None,
        target_transform: Transform | None = None,
    ) -> None:
        self.labels: npt.NDArray[np.int64] = np.asarray(labels, dtype=np.int64)
        self.sensor_size = sensor_size
        self.classes = list(classes)
        self.transform = transform
        self.target_transform = target_transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: SupportsIndex) -> tuple[Any, Any]:
        try:
            number = operator.index(index)
        except TypeError:
            raise ParameterError(f"{type(self).__name__}[{index!r}]; accepted is a whole number.") from None
        if not -len(self) <= number < len(self):
            raise IndexError(
                f"{type(self).__name__}[{number}]: there are {len(self)} recordings, 0 to {len(self) - 1}."
            )
        number %= len(self)
        return self._item(self.events(number), number)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for number in range(len(self)):
            yield self._item(self.events(number), number)

    def _item(self, events: Any, number: int) -> tuple[Any, Any]:
        label: Any = int(self.labels[number])
        if self.transform is not None:
            events = self.transform(events)
        if self.target_transform is not None:
            label = self.target_transform(label)
        return events, label

    @abstractmethod
    def events(self, number: int) -> Events:
        """Return the events of recording ``number``, untransformed, as an ``EVENT_DTYPE`` array."""


def check_split(split: str, known: Sequence[str] = SPLITS) -> None:
    """Raise UnknownNameError unless a split of that name exists."""
    if split not in known:
        raise unknown_name("split", split, known)


def stratified_order(labels: npt.NDArray[np.int64], key: int) -> npt.NDArray[np.int64]:
    """Return a fixed random order in which every leading part holds the classes in their overall proportions.

    The recordings of a class are shuffled by Philox(key) and spread evenly: the k-th of n has rank (k + 0.5) / n.

    Args:
        labels: class numbers, shape [n].
        key: key of the Philox generator.

    Returns:
        Indices into ``labels``, shape [n].
    """
    shuffled = np.random.Generator(np.random.Philox(key=key)).permutation(len(labels))
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        rank[members] = (np.arange(len(members)) + 0.5) / len(members)
    return shuffled[np.argsort(rank[shuffled], kind="stable")]


def training_part(labels: npt.NDArray[np.int64], split: str) -> npt.NDArray[np.int64]:
    """Return which published training recordings form our training or validation split.

    Validation takes every tenth (rounded down) of a set, stratified by class: the first of ``stratified_order`` with
    key 2; the rest trains.

    Args:
        labels: class numbers of the published training recordings, shape [n].
        split: ``"train"`` or ``"validation"``.

    Returns:
        Indices into ``labels``, rising.
    """
    order = stratified_order(labels, SPLIT_KEY)
    cut = len(labels) // 10
    return np.sort(order[:cut] if split == "validation" else order[cut:])
