"""Products of sparse matrices with spikes and numbers: the functions every provider has."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from spikeframe.kernels.backend import module_of
from spikeframe.kernels.formats import Runs, Strips

Array = NDArray[Any]


class SparseProvider(Protocol):
    """The functions of a provider; `spikeframe.kernels.reference.sparse_products` says what they do."""

    def pack(self, x: Array, threads: int = 1) -> Array:
        """Return the panels of an input."""

    def numbers(self, x: Array, threads: int = 1) -> Array:
        """Return the panels of an input as numbers."""

    def panels(self, runs: Runs, panel: Array, columns: int, bias: Array, threads: int = 1) -> Array:
        """Return the product with a packed input."""

    def support(self, runs: Runs, panel: Array, gradient: Array, threads: int = 1) -> Array:
        """Return the gradients of weights."""

    def events(self, strips: Strips, x: Array, bias: Array, threads: int = 1) -> Array:
        """Return the product with an input whose zeros are skipped."""


def provider(backend: str) -> SparseProvider:
    """Return the provider of sparse products.

    Args:
        backend: ``"auto"``, ``"reference"``, ``"numba"`` or ``"cuda"``.

    Raises:
        BackendError: the backend is not available.
        UnknownNameError: there is no such backend.
    """
    found: SparseProvider = module_of("sparse_products", backend)
    return found
