"""What is recorded of a population, handed to PyNN's common code, which makes Neo objects of it."""
# mypy: disallow-subclassing-any=False, disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import quantities as pq
from numpy.typing import NDArray
from pyNN import recording

from spikeframe.adapters.pynn import simulator
from spikeframe.core.circuit import CircuitResult
from spikeframe.errors import ParameterError, TimeGridError, unknown_name

Floats = NDArray[np.float64]


class Recorder(recording.Recorder):
    """Keeps what runs give, until it is asked for."""

    _simulator = simulator

    def __init__(self, population: Any, file: Any = None) -> None:
        super().__init__(population, file)
        self._forget()

    def _forget(self) -> None:
        self._times: list[Floats] = []
        self._who: list[NDArray[np.int64]] = []
        self._signals: dict[str, list[Floats]] = {}
        self._ids: dict[str, NDArray[np.int64]] = {}

    def _record(self, variable: Any, new_ids: Iterable[Any], sampling_interval: float | None = None) -> None:
        """Take in more cells to record."""
        known = self.population.celltype.recordable
        if variable.name not in known:
            raise unknown_name(f"variable of {self.population.label!r}", variable.name, known)
        if variable.name in self._signals and set(new_ids):
            raise ParameterError(
                f"record({variable.name!r}) of {self.population.label!r}: recording has begun with other cells; say "
                "all of them before the first run, or call reset() in between."
            )
        if sampling_interval is not None:
            steps = sampling_interval / self._simulator.state.dt
            if steps < 0.5 or abs(steps - round(steps)) > 1e-6 * steps:
                raise TimeGridError(
                    f"record(sampling_interval={sampling_interval:g}): must be a multiple of the time step "
                    f"{self._simulator.state.dt:g} ms."
                )
            self.sampling_interval = sampling_interval
        if not self._signals and not self._times:
            self._recording_start_time = self._simulator.state.t * pq.ms
        self._simulator.state.changed = True

    def indices(self, variable: Any) -> NDArray[np.int64]:
        """Return the cells of which a variable is recorded, ascending.

        Args:
            variable: one of `recorded`.
        """
        return np.sort(np.array([int(i) - int(self.population.first_id) for i in self.recorded[variable]], np.int64))

    def begin(self, read: Any) -> None:
        """Write down the signals at the time where recording begins, before its first step.

        Args:
            read: recorded variable to its values now, ``[size]``, in PyNN's unit.
        """
        for variable in self.recorded:
            if variable.name != "spikes" and variable.name not in self._signals:
                self._ids[variable.name] = self.indices(variable)
                self._signals[variable.name] = [read(variable.name)[np.newaxis, self._ids[variable.name]]]

    def take(self, name: str, result: CircuitResult) -> None:
        """Take in what a run gave.

        Args:
            name: of the population in our network.
            result: of the run.
        """
        if name in result.spikes:
            self._times.append(result.spikes[name].times)
            self._who.append(result.spikes[name].ids)
        variables = getattr(self.population.celltype, "variables", {})
        for variable, rows in self._signals.items():
            state, factor = variables[variable]
            rows.append(result.traces[name][state].values.astype(np.float64) * factor)

    def _get_spiketimes(self, id: Any, clear: bool = False) -> Any:
        """Return the spike times of one cell, or of each of several."""
        times = np.concatenate([np.zeros(0), *self._times])
        who = np.concatenate([np.zeros(0, np.int64), *self._who]) + int(self.population.first_id)
        if not hasattr(id, "__len__"):
            return times[who == int(id)]
        order = np.argsort(who, kind="stable")
        edges = np.searchsorted(who[order], [[int(i), int(i) + 1] for i in id]).reshape(-1, 2)
        return {int(i): times[order[a:b]] for i, (a, b) in zip(id, edges, strict=True)}

    def _get_all_signals(self, variable: Any, ids: Any, clear: bool = False) -> tuple[Floats, None]:
        """Return ``[samples, cells]`` values; PyNN makes the times."""
        wanted = np.array([int(i) - int(self.population.first_id) for i in ids], np.int64)
        if variable.name not in self._signals:
            return np.zeros((0, wanted.size)), None
        columns = np.searchsorted(self._ids[variable.name], wanted)
        return np.concatenate(self._signals[variable.name])[:, columns], None

    def _local_count(self, variable: Any, filter_ids: Any = None) -> dict[int, int]:
        """Return how often each cell has fired."""
        chosen = sorted(self.filter_recorded(variable, filter_ids))
        return {int(i): times.size for i, times in self._get_spiketimes(chosen).items()}

    def _clear_simulator(self) -> None:
        """Forget what was recorded, and go on recording."""
        self._forget()
        self._simulator.state.changed = True

    def _reset(self) -> None:
        """Forget what is to be recorded; PyNN then empties `recorded`."""
        self._forget()
        self._simulator.state.changed = True

    def store_to_cache(self, annotations: Any = None) -> None:
        """Put the segment that ends with a reset aside.

        Args:
            annotations: of the segment.
        """
        super().store_to_cache(annotations)
        self._forget()
