"""Attention on spikes, event by event: the functions every provider has."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from spikeframe.kernels.backend import module_of

Array = NDArray[Any]

#: How the overlap of a pair becomes its weight: number of each kind of score.
KINDS = ("overlap", "coincidence", "rectified", "share")


class AttentionProvider(Protocol):
    """The functions of a provider; `spikeframe.kernels.reference.attention` says what they do."""

    def attend(
        self,
        q: Array,
        k: Array,
        v: Array,
        chosen: Array,
        place: Array,
        causal: bool,
        kind: int,
        scale: float,
        theta: float,
        out: Array,
        counts: Array,
    ) -> None:
        """Read the chosen blocks of keys from each block of queries."""

    def gated(self, q: Array, k: Array, v: Array, log_gate: Array, state: Array, out: Array, counts: Array) -> None:
        """Run gated linear attention from token to token, decaying what is touched only."""

    def project(self, x: Array, weight: Array, out: Array) -> None:
        """Add the weights of active inputs."""


def provider(backend: str) -> AttentionProvider:
    """Return the provider of attention on spikes.

    Args:
        backend: ``"auto"``, ``"reference"``, ``"numba"`` or ``"cuda"``.

    Raises:
        BackendError: the backend is not available.
        UnknownNameError: there is no such backend.
    """
    found: AttentionProvider = module_of("attention", backend)
    return found
