"""The simulator: one door to every way of running a network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeframe.core import archive, precise_archive
from spikeframe.core.batch import BatchRun, Result
from spikeframe.core.checkpoints import kind_of
from spikeframe.core.circuit import Circuit, CircuitResult, checked
from spikeframe.core.feedforward import FeedForward
from spikeframe.core.network import Network, Population, Projection
from spikeframe.core.precise import PreciseCircuit, PreciseResult
from spikeframe.core.synapses import Weights
from spikeframe.errors import ParameterError, known_name
from spikeframe.learning_rules.rewiring import Activity, Rewiring, Scores

#: Neurons of a described network for which a further thread may be worth its while.
_NEURONS = 2000
#: Most threads that can be asked for.
_THREADS = 4096


class Simulator:
    """Runs a network event by event.

    A described `Network` runs for a time; what `Network.from_module` gave runs over a batch of inputs, its spikes
    equal to the torch forward of ``network.module`` to the bit. The same seed gives the same spikes for any number of
    threads and any cutting of the run.

    Args:
        network: what to run.
        dt: time step, ms; a network from a torch module brings its own.
        backend: ``"auto"``, ``"numba"``, ``"reference"`` or ``"cuda"``.
        threads: at most so many at once, also if one is faster at times; by default all cores, but for one every
            2,000 neurons of a described network. Changes no result.
        dtype: ``"float32"``, or ``"float64"`` for spikes equal to a double-precision simulator's.
        clock: ``"grid"``; or ``"precise"`` for spikes at any time (`PreciseCircuit`), which has no use for dt and
            always works in float64.

    Raises:
        ParameterError, TimeGridError: an argument is not usable.
        BackendError, UnknownNameError: no such backend here.
    """

    def __init__(
        self, network: Network | FeedForward, dt: float | None = None, backend: str = "auto",
        threads: int | None = None, dtype: str = "float32", clock: str = "grid",
    ) -> None:  # fmt: skip
        if not isinstance(network, (Network, FeedForward)):
            raise ParameterError(
                f"Simulator takes a Network, got {type(network).__name__}; describe one, or use Network.from_module."
            )
        threads = _threads(threads)
        known_name("clock", clock, ("grid", "precise"))
        known_name("backend", backend, ("auto", "reference", "numba", "cuda"))
        self.network, self._size = network, _size(network)
        count = threads or os.cpu_count() or 1
        self._run: BatchRun | Circuit | PreciseCircuit
        if isinstance(network, FeedForward):
            if clock != "grid":
                raise ParameterError(
                    "clock='precise' runs a described Network; one from a torch module has time steps."
                )
            if dt is not None and dt != network.dt:
                raise ParameterError(f"dt={dt!r}: the network's neurons were made with dt={network.dt:g} ms.")
            self._run = BatchRun(network, backend, count)
        elif clock == "precise":
            self._run = PreciseCircuit(network, backend, count)
        else:
            neurons = sum(p.size for p in network.populations.values())
            count = threads or min(count, max(1, neurons // _NEURONS))
            self._run = Circuit(network, *_first(checked(dt, count, dtype), backend, count))

    def run(self, *arguments: Any, **options: Any) -> Any:
        """Run; see `Circuit.run` and `PreciseCircuit.run` (ms) or `BatchRun.run` (inputs of a torch model)."""
        self._unchanged()
        return self._run.run(*arguments, **options)

    @property
    def partial(self) -> CircuitResult | PreciseResult | None:
        """What the last run gave until Ctrl-C or an error broke it off; None if it came to its end."""
        return self.circuit.partial

    def save(self, path: str | Path) -> None:
        """Write network and state to a file; see `spikeframe.core.archive.save`.

        Args:
            path: e.g. ``"state.h5"``.
        """
        circuit = self.circuit
        if isinstance(circuit, PreciseCircuit):
            precise_archive.save(circuit, path)
        else:
            archive.save(circuit, path)

    @classmethod
    def load(cls, path: str | Path, network: Network | None = None, threads: int | None = None) -> Simulator:
        """Return the simulator that `save` wrote; see `spikeframe.core.archive.load`.

        Args:
            path: the file.
            network: the same network described again, for neurons and rules of your own classes, or to record
                something else.
            threads: number of threads; that of the saved run if not given.
        """
        kind = precise_archive if kind_of(path) == precise_archive.KIND else archive
        circuit: Circuit | PreciseCircuit = kind.load(path, network, _threads(threads))
        found = cls.__new__(cls)
        found.network, found._size, found._run = circuit.network, _size(circuit.network), circuit
        return found

    def weights(self, projection: Projection) -> Weights:
        """Return the synapses of a projection with their weights now: source, target, weight.

        Args:
            projection: as `Network.connect` returned it, or one of ``sim.network.projections`` of a loaded run.

        Raises:
            ParameterError: it is no projection of this network, or the run is not on the grid clock.
        """
        circuit = self.circuit
        if isinstance(circuit, PreciseCircuit):
            raise ParameterError("weights are read from runs on the grid clock; those of the precise clock are static.")
        return circuit.weights(projection)

    def signal(self, projection: Projection, value: float) -> None:
        """Give the rule of a projection its third factor, e.g. a reward; see `Circuit.signal`.

        Args:
            projection: whose synapses.
            value: what its rule takes.

        Raises:
            ParameterError, NonFiniteError: the rule takes no signals, or the value is not usable.
        """
        circuit = self.circuit
        if isinstance(circuit, PreciseCircuit):
            raise ParameterError("signal: synapses of the precise clock are static; use the grid clock.")
        circuit.signal(projection, value)

    def rewire(
        self, projection: Projection, rule: Rewiring, correlation: Activity | Scores | None = None,
        gradient: Scores | None = None, saliency: ArrayLike | None = None,
    ) -> Projection:  # fmt: skip
        """Exchange some synapses of a projection for others, as many, or prune some; see `Circuit.rewire`.

        Args:
            projection: whose synapses.
            rule: how they are exchanged.
            correlation: of both populations' activities, where the rule needs it.
            gradient: ``[targets, sources]``, where the rule needs it.
            saliency: ``[n]`` in the order of `weights`, where the rule prunes by it.

        Returns:
            The projection as it is now.

        Raises:
            ParameterError, ShapeError: it cannot be rewired, or scores are missing or do not fit.
        """
        circuit = self.circuit
        if isinstance(circuit, PreciseCircuit):
            raise ParameterError("rewire: runs on the precise clock keep their synapses; use the grid clock.")
        found = circuit.rewire(projection, rule, correlation, gradient, saliency)
        self.network, self._size = circuit.network, _size(circuit.network)
        return found

    def read(self, population: Population | str, variable: str = "v") -> NDArray[Any]:
        """Return a state variable of a described network now, ``[size]``.

        Args:
            population: one of ``sim.network``, or its name.
            variable: its name; on the precise clock ``"v"``.

        Raises:
            UnknownNameError: no such population or variable.
            ParameterError: the network is one from a torch module: its run begins anew with every call.
        """
        name = population.name if isinstance(population, Population) else population
        return self.circuit.read(name, variable)

    def restart(self, weights: Mapping[Projection, ArrayLike] | None = None) -> None:
        """Return to the initial state, at the present time; see `Circuit.restart`.

        Args:
            weights: per plastic projection, ``[n]`` in the order of `weights`; the initial ones if not given.

        Raises:
            ParameterError, ShapeError, NonFiniteError: weights do not fit, or the run is not on the grid clock.
        """
        circuit = self.circuit
        if isinstance(circuit, PreciseCircuit):
            raise ParameterError("restart: needs a run on the grid clock.")
        circuit.restart(weights)

    @property
    def circuit(self) -> Circuit | PreciseCircuit:
        """The built network behind a described one: plan, state and, on the grid clock, fan-outs and rounding."""
        if isinstance(self._run, BatchRun):
            raise ParameterError("a network from a torch module has no circuit; it runs over batches.")
        self._unchanged()
        return self._run

    def _unchanged(self) -> None:
        """Refuse to go on with what was added to the description since: it is not in what was built from it."""
        if (now := _size(self.network)) != self._size:
            more = [
                f"{n - self._size.get(part, 0)} of {part}" for part, n in now.items() if n != self._size.get(part, 0)
            ]
            raise ParameterError(
                f"the network was changed after the simulator was made ({', '.join(more)} more): describe everything, "
                "recorders too, then make a new Simulator, which begins at 0 ms."
            )


def _size(network: Network | FeedForward) -> dict[str, int]:
    """Return how much of each kind a description holds: it is only ever added to."""
    if isinstance(network, FeedForward):
        return {}
    parts = ("populations", "projections", "gap_junctions", "stimuli", "recorders", "weight_recorders")
    return {part: len(getattr(network, part)) for part in parts}


def _threads(threads: Any) -> int | None:
    """Return a number of threads, or None, or refuse it."""
    if threads is None:
        return None
    if isinstance(threads, bool) or not isinstance(threads, (int, np.integer)) or not 1 <= threads <= _THREADS:
        raise ParameterError(
            f"threads={threads!r}: must be a whole number from 1 to {_THREADS}, or None for all cores."
        )
    return int(threads)


def _first(checked: tuple[float, str], backend: str, threads: int) -> tuple[float, str, int, str]:
    return checked[0], backend, threads, checked[1]


__all__ = ["CircuitResult", "PreciseResult", "Result", "Simulator"]
