"""Counts over time: a run cut into slices, each counted by itself.

Cutting changes no spike and no synaptic event. Updates may differ by those that a longer stretch would have skipped:
blocks of neurons at rest are caught up at the end of a slice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeframe.core.batch import BatchRun
from spikeframe.core.circuit import Circuit, CircuitResult
from spikeframe.core.counts import Counts
from spikeframe.core.simulator import Simulator
from spikeframe.energy.model import EnergyModel, get_model
from spikeframe.errors import DTypeError, ParameterError, TimeGridError, unknown_name


@dataclass(frozen=True, eq=False)
class Timeline:
    """Counts per layer in slices of time.

    Attributes:
        edges: ``[n + 1]`` ms.
        counts: per layer, the counts of each of the n slices.
        results: what the run of each slice gave.
    """

    edges: NDArray[np.float64]
    counts: Mapping[str, tuple[Counts, ...]]
    results: tuple[Any, ...] = ()

    def total(self) -> dict[str, Counts]:
        """Return the counts of the whole run: its samples count once."""
        found = {}
        for name, slices in self.counts.items():
            whole = Counts()
            for each in slices:
                whole = whole + each
            found[name] = replace(whole, samples=slices[0].samples)
        return found

    def rate(self, field: str) -> dict[str, NDArray[np.float64]]:
        """Return a count per second of model time, per layer and slice.

        Args:
            field: of `Counts`, e.g. ``"syn_ac"``.

        Raises:
            UnknownNameError: there is no such count.
        """
        known = Counts().as_dict()
        if field not in known:
            raise unknown_name("count", field, known)
        seconds = np.diff(self.edges) * 1e-3
        return {n: np.array([getattr(c, field) for c in slices]) / seconds for n, slices in self.counts.items()}

    def power(self, model: str | EnergyModel = "sram32k_fp32") -> dict[str, NDArray[np.float64]]:
        """Return what the run costs while it goes on, per layer and slice: pJ per ms of model time, which is nW.

        Args:
            model: energy model.
        """
        priced = get_model(model).price
        spans = np.diff(self.edges)
        return {n: np.array([sum(priced(c).values()) for c in slices]) / spans for n, slices in self.counts.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers, for JSON."""
        return {
            "edges_ms": self.edges.tolist(),
            "counts": {name: [c.as_dict() for c in slices] for name, slices in self.counts.items()},
        }


def over_time(simulator: Simulator, duration: float, every: float) -> Timeline:
    """Let a described network run on, and count it slice by slice.

    Args:
        simulator: on the grid clock; it goes on from where it stands.
        duration: ms.
        every: length of a slice, ms; the last one may be shorter.

    Raises:
        DTypeError: the simulator runs a torch model (`over_steps`) or is on the precise clock.
        TimeGridError: a time is no positive multiple of the time step.
    """
    circuit = simulator._run if isinstance(simulator, Simulator) else None
    if not isinstance(circuit, Circuit):
        raise DTypeError("over_time: needs a Simulator of a described Network on the grid clock; see also over_steps.")
    if not 0 < every <= duration:
        raise TimeGridError(f"over_time(duration={duration!r}, every={every!r}): must be 0 < every <= duration, in ms.")
    edges, results = [circuit.time], list[CircuitResult]()
    end = circuit.time + duration
    while edges[-1] < end - circuit.dt / 2:
        results.append(circuit.run(min(every, end - edges[-1]), progress=False))
        edges.append(circuit.time)
    names = results[0].counts
    return Timeline(np.array(edges), {n: tuple(r.counts[n] for r in results) for n in names}, tuple(results))


def over_steps(simulator: Simulator, inputs: Any, every: int = 1) -> Timeline:
    """Run a torch model event by event over a batch, and count it slice by slice.

    Args:
        simulator: of a network that `Network.from_module` gave.
        inputs: ``[T, B, ...]`` event counts.
        every: steps of a slice.

    Raises:
        DTypeError: the simulator runs a described network (`over_time`).
        ParameterError: `every` is no whole number from 1, or there are no steps.
    """
    run = simulator._run if isinstance(simulator, Simulator) else None
    if not isinstance(run, BatchRun):
        raise DTypeError("over_steps: needs a Simulator of a torch model; for a described Network see over_time.")
    if isinstance(every, bool) or not isinstance(every, int) or every < 1 or not len(inputs):
        raise ParameterError(f"over_steps(every={every!r}): must be a whole number from 1, and inputs hold a step.")
    state, results, edges = None, [], [0]
    for first in range(0, len(inputs), every):
        results.append(run.run(inputs[first : first + every], state))
        state = results[-1].state
        edges.append(min(first + every, len(inputs)))
    names = results[0].counts
    spans = np.array(edges) * run.network.dt
    return Timeline(spans, {n: tuple(r.counts[n] for r in results) for n in names}, tuple(results))
