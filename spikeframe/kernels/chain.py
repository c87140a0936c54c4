"""Layers of neurons, joined as a graph, run event by event on the grid clock: what every provider takes and gives.

At each step every layer, in order: delivers the events of the layers that lead into it, integrates, tests, resets,
records and hands its spikes on. A spike reaches a later layer within its step, as in a torch forward; through a
connection with a delay of d steps it arrives d steps later, also at earlier layers and at its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spikeframe.errors import BackendError, unknown_name
from spikeframe.kernels import parts
from spikeframe.kernels.steps import Array
from spikeframe.kernels.synapses import Synapses
from spikeframe.kernels.trace import Program

#: Where the input events come from, as a source.
INPUT = -1


@dataclass(frozen=True, eq=False)
class Link:
    """Synapses from one layer, or from the input events, to another.

    Attributes:
        source: index of the sending layer, or `INPUT`.
        delay: steps; without one the source must come before the target.
        synapses: who reaches whom.
        unit: what a count of 1 of the source's events stands for.
    """

    source: int
    delay: int
    synapses: Synapses
    unit: float = 1.0


@dataclass(frozen=True, eq=False)
class Layer:
    """One population and the synapses that lead into it.

    Attributes:
        name: shown in results and errors.
        links: what leads into it; all with the same ``synapses.scale * unit``.
        program: the neurons' traced step.
        waits: output ``"waits"``: no spike can come before the next input; None: update at every step.
        coefficients: scalar or one value per neuron.
        bias: ``[neurons]`` added to the input at every step (of a window: at the first), or None.
        unit: outputs are whole multiples of this and sent as events with a count; None: graded, and sent to nobody.
        window: all events of a run arrive in its first step (without delays, and outside loops).
    """

    name: str
    links: tuple[Link, ...]
    program: Program
    waits: Program | None
    coefficients: Mapping[str, Array]
    bias: Array | None
    unit: float | None
    window: bool = False

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return self.links[0].synapses.neurons

    @property
    def scale(self) -> np.float32:
        """What a sum of 1 stands for."""
        return np.float32(self.links[0].synapses.scale * self.links[0].unit)

    @cached_property
    def lazy(self) -> bool:
        """Whether silent neurons may be left alone until an event reaches them."""
        return self.waits is not None and self.bias is None and self.program.spikes and not self.window


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
class Past:
    """What a layer sent in the last steps before a run, as far as its delays reach; in the order of `Events`.

    Attributes:
        start: ``[samples * steps + 1]`` where each step's events begin.
        source: index of each event's neuron.
        count: its count.
        steps: how many steps it covers.
        neurons: number of sources.
    """

    start: NDArray[np.int64]
    source: NDArray[np.int32]
    count: NDArray[np.int32]
    steps: int
    neurons: int


@dataclass(frozen=True, eq=False)
class Trains:
    """What one layer emitted.

    Attributes:
        start: ``[samples * steps + 1]`` where each step's spikes begin (layers that send events).
        neuron: index of each spike's neuron.
        output: ``[samples, steps, neurons]`` graded output (other layers), or None.
        updates: neuron updates done, silent ones that were caught up included.
        finite: whether the run has kept every state and every graded output of all layers finite.
        count: how often each event counts; no elements where each is a single spike.
    """

    start: NDArray[np.int64]
    neuron: NDArray[np.int32]
    output: Array | None
    updates: int
    finite: bool
    count: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))


class ChainProvider(Protocol):
    """The function a provider of chains has."""

    def run(
        self, layers: list[Layer], events: Events, states: list[dict[str, Array]], past: Mapping[int, Past],
        threads: int,
    ) -> list[Trains]:  # fmt: skip
        """Run every sample; `states` (each ``[samples, neurons]``) is advanced in place.

        `past` has, for each source of a link with a delay, as many steps as its longest.
        """


def memory(layers: list[Layer]) -> dict[int, int]:
    """Return the longest delay of each source that has one.

    Args:
        layers: of a run.
    """
    found: dict[int, int] = {}
    for link in (link for layer in layers for link in layer.links if link.delay):
        found[link.source] = max(found.get(link.source, 0), link.delay)
    return found


def loops(layers: list[Layer]) -> list[list[int]]:
    """Return the layers in an order in which each loop is one part, and parts only look back.

    Args:
        layers: of a run.
    """
    edges = [(link.source, i) for i, layer in enumerate(layers) for link in layer.links if link.source != INPUT]
    return parts.parts(range(len(layers)), edges)


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
