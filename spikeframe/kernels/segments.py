"""Overlaps of dendritic segments: the function every provider has."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from spikeframe.errors import BackendError, unknown_name

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
    if backend in ("auto", "numba"):
        from spikeframe.kernels.numba import segments as compiled

        return compiled
    if backend == "reference":
        from spikeframe.kernels.reference import segments

        return segments
    if backend == "cuda":
        raise BackendError("backend 'cuda' is not available in this version; use 'auto', 'numba' or 'reference'.")
    raise unknown_name("backend", backend, ("auto", "reference", "numba", "cuda"))
