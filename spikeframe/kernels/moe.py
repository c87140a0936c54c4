"""Mixtures of experts on events: the functions every provider has."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from spikeframe.kernels.backend import module_of

Array = NDArray[Any]


class MoEProvider(Protocol):
    """The functions of a provider; `spikeframe.kernels.reference.moe` says what they do."""

    def events(self, x: Array) -> tuple[Array, Array, Array]:
        """List the non-zero inputs of every row."""

    def filtered(
        self,
        first: Array,
        index: Array,
        size: Array,
        weight: Array,
        powers: Array,
        scale: Any,
        z: Array,
        gap: Array,
        out: Array,
    ) -> None:
        """Score rows by a filtered linear map."""

    def linear(
        self,
        first: Array,
        index: Array,
        size: Array,
        pair: Array,
        expert: Array,
        share: Array,
        weight: Array,
        offset: Array,
        out: Array,
    ) -> int:
        """Add the currents of linear experts."""

    def mlp(
        self,
        first: Array,
        index: Array,
        size: Array,
        pair: Array,
        expert: Array,
        share: Array,
        one: Array,
        two: Array,
        out: Array,
    ) -> int:
        """Add the currents of experts with a rectified hidden layer."""


def provider(backend: str) -> MoEProvider:
    """Return the provider of mixtures on events.

    Args:
        backend: ``"auto"``, ``"reference"``, ``"numba"`` or ``"cuda"``.

    Raises:
        BackendError: the backend is not available.
        UnknownNameError: there is no such backend.
    """
    found: MoEProvider = module_of("moe", backend)
    return found
