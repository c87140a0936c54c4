"""Layers driven by changes: the functions every provider has."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from spikeframe.kernels.backend import module_of

Array = NDArray[Any]


class DeltaProvider(Protocol):
    """The functions of a provider; `spikeframe.kernels.reference.delta` says what they do."""

    def linear(
        self,
        x: Array,
        theta: Array,
        weight: Array,
        bias: Array,
        held: Array,
        sums: Array,
        out: Array,
        sent: Array,
        macs: Array,
    ) -> None:
        """Run a linear layer on the changes of its input."""

    def conv2d(
        self,
        x: Array,
        theta: Array,
        weight: Array,
        geometry: tuple[int, ...],
        bias: Array,
        held: Array,
        sums: Array,
        out: Array,
        sent: Array,
        macs: Array,
    ) -> None:
        """Run a convolution on the changes of its input."""


def provider(backend: str) -> DeltaProvider:
    """Return the provider of layers driven by changes.

    Args:
        backend: ``"auto"``, ``"reference"``, ``"numba"`` or ``"cuda"``.

    Raises:
        BackendError: the backend is not available.
        UnknownNameError: there is no such backend.
    """
    found: DeltaProvider = module_of("delta", backend)
    return found
