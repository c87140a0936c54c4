"""Overlaps of dendritic segments: the function every provider has."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from spikeframe.kernels.backend import module_of

Array = NDArray[Any]


class SegmentProvider(Protocol):
    """The function of a provider; `spikeframe.kernels.reference.segments` says what it does."""

    def active(
        self, bounds: Array, source: Array, first: Array, segment: Array, weight: Array, theta: float, segments: int
    ) -> tuple[Array, Array, Array]:
        """Find the segments that reach their threshold."""


def provider(backend: str) -> SegmentProvider:
    """Return the provider of segment overlaps.

    Args:
        backend: ``"auto"``, ``"reference"``, ``"numba"`` or ``"cuda"``.

    Raises:
        BackendError: the backend is not available.
        UnknownNameError: there is no such backend.
    """
    found: SegmentProvider = module_of("segments", backend)
    return found
