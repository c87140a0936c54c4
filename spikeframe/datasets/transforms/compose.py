"""Transforms one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from spikeframe.errors import DTypeError


@dataclass(frozen=True, init=False)
class Compose:
    """Call transforms in order, each with what the one before returned.

    Args:
        transforms: callables of one argument: ours, tonic's, or anyone's.

    Raises:
        DTypeError: one of them cannot be called.
    """

    transforms: tuple[Callable[[Any], Any], ...]

    def __init__(self, transforms: Iterable[Callable[[Any], Any]]) -> None:
        object.__setattr__(self, "transforms", tuple(transforms))
        for place, transform in enumerate(self.transforms):
            if not callable(transform):
                raise DTypeError(f"transform {place} is {transform!r}; accepted is a callable of one argument.")

    def __call__(self, events: Any) -> Any:
        """Return what the last transform returns; the events themselves if there is none."""
        for transform in self.transforms:
            events = transform(events)
        return events
