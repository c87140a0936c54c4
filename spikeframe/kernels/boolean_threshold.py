"""Divide and concur for networks of threshold neurons: the functions every provider has."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from spikeframe.kernels.backend import module_of

Array = NDArray[Any]


class Wiring(NamedTuple):
    """A network without a loop: node 0 is the constant -1, then inputs, then neurons, the outputs last.

    Attributes:
        source: ``[E]`` int64 node of each edge, sorted by the neuron that it reaches.
        first: ``[neurons + 1]`` int64; the edges of neuron n are ``first[n]`` to ``first[n + 1]``.
        out: ``[E]`` int64 edges sorted by source.
        out_first: ``[nodes + 1]`` int64; the edges that leave node n are ``out[out_first[n]]`` and on.
        fixed: number of nodes that are no neurons, the constant among them.
        outputs: number of neurons that are outputs.
        margin: ``[neurons]`` float64 least ``|w . x|``.
    """

    source: Array
    first: Array
    out: Array
    out_first: Array
    fixed: int
    outputs: int
    margin: Array


class BooleanProvider(Protocol):
    """The functions of a provider; `spikeframe.kernels.reference.boolean_threshold` says what they do."""

    def divide(
        self, wiring: Wiring, given: Array, w: Array, x: Array, y: Array, aw: Array, ax: Array, ay: Array
    ) -> None:
        """Project on what every neuron of every item asks for."""

    def concur(
        self, wiring: Wiring, wanted: Array, g: Array, w: Array, x: Array, y: Array, bw: Array, bx: Array, by: Array
    ) -> None:
        """Project on agreement."""

    def iterate(
        self, wiring: Wiring, given: Array, wanted: Array, g: Array, w: Array, x: Array, y: Array, weights: Array,
        beta: float, gamma: float, tolerance: float, gaps: Array,
    ) -> int:  # fmt: skip
        """Iterate until the gap is small enough."""


def provider(backend: str) -> BooleanProvider:
    """Return the provider of divide and concur.

    Args:
        backend: ``"auto"``, ``"reference"``, ``"numba"`` or ``"cuda"``.

    Raises:
        BackendError: the backend is not available.
        UnknownNameError: there is no such backend.
    """
    found: BooleanProvider = module_of("boolean_threshold", backend)
    return found
