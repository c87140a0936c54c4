"""A feed-forward chain of populations, run event by event on the grid clock: what every provider takes and gives.

At each step every layer, in order: delivers the events of the layer before it, integrates, tests, resets, records and
hands its spikes on. A spike reaches the next layer within its step, as in a torch forward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spikeframe.errors import BackendError, unknown_name
from spikeframe.kernels.steps import Array
from spikeframe.kernels.synapses import Synapses
from spikeframe.kernels.trace import Program


@dataclass(frozen=True, eq=False)
class Layer:
    """One population and the synapses that lead into it.

    Attributes:
        name: shown in results and errors.
        synapses: from the layer before (or the input events).
        program: the neurons' traced step.
        waits: output ``"waits"``: no spike can come before the next input; None: update at every step.
        coefficients: scalar or one value per neuron.
        bias: ``[neurons]`` added to the input at every step, or None.
    """

    name: str
    synapses: Synapses
    program: Program
    waits: Program | None
    coefficients: Mapping[str, Array]
    bias: Array | None

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return self.synapses.neurons

    @property
    def lazy(self) -> bool:
        """Whether silent neurons may be left alone until an event reaches them."""
        return self.waits is not None and self.bias is None and self.program.spikes


@dataclass(frozen=True, eq=False)
class Events:
    """Input events of `samples` runs of `steps` steps, sorted by sample and step.

    Attributes:
        start: ``[samples * steps + 1]`` where each step's events begin.
        source: index of each event's source.
        count: how many events coincide there, or their signed sum.
        samples: number of runs.
        steps: time steps of each.
        sources: number of sources.
        largest: bound on the magnitude of a count, coincident events added up.
    """

    start: NDArray[np.int64]
    source: NDArray[np.int32]
    count: NDArray[np.int32]
    samples: int
    steps: int
    sources: int
    largest: int


@dataclass(frozen=True, eq=False)
class Trains:
    """What one layer emitted.

    Attributes:
        start: ``[samples * steps + 1]`` where each step's spikes begin (spiking layers).
        neuron: index of each spike's neuron.
        output: ``[samples, steps, neurons]`` graded output (other layers), or None.
        updates: neuron updates done, silent ones that were caught up included.
        finite: whether the run has kept every state and every graded output of all layers finite.
    """

    start: NDArray[np.int64]
    neuron: NDArray[np.int32]
    output: Array | None
    updates: int
    finite: bool


class ChainProvider(Protocol):
    """The function a provider of chains has."""

    def run(self, layers: list[Layer], events: Events, states: list[dict[str, Array]], threads: int) -> list[Trains]:
        """Run every sample; `states` (each ``[samples, neurons]``) is advanced in place."""


def provider(backend: str) -> ChainProvider:
    """Return the provider that runs chains.

    Args:
        backend: ``"auto"``, ``"reference"``, ``"numba"`` or ``"cuda"``.

    Raises:
        BackendError: the backend is not available.
        UnknownNameError: there is no such backend.
    """
    if backend in ("auto", "numba"):
        from spikeframe.kernels.numba.chain import NumbaChain

        return NumbaChain()
    if backend == "reference":
        from spikeframe.kernels.reference.chain import ReferenceChain

        return ReferenceChain()
    if backend == "cuda":
        raise BackendError("backend 'cuda' is not available in this version; use 'auto', 'numba' or 'reference'.")
    raise unknown_name("backend", backend, ("auto", "reference", "numba", "cuda"))
