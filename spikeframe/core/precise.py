"""Precise-clock runs of a described network: spikes of LIF neurons at any time, in float64, without a time step.

See `spikeframe.kernels.precise` for the equations, the order of events at one instant and the exactness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from spikeframe.core.interrupts import held_back
from spikeframe.core.network import Network
from spikeframe.core.precise_layout import lay_out
from spikeframe.core.spikes import PreciseSpikes
from spikeframe.errors import NonFiniteError, ParameterError, TimeGridError, known_name
from spikeframe.kernels.precise import (
    SHORTEST,
    Counts,
    Events,
    Floats,
    Ints,
    Run,
    Stop,
    Time,
    in_flight,
    later,
    provider,
)

#: Milliseconds between two looks at the clock and the keyboard.
CHUNK = 1000


@dataclass(frozen=True, eq=False)
class PreciseResult:
    """What a run gave.

    Attributes:
        spikes: per population with recorded spikes.
        counts: synaptic events sent and delivered, delta arrivals lost in refractory periods, predicted crossings.
        in_flight: synaptic events still under way at the end.
        duration: ms.
        sizes: neurons per population.
        total_spikes: spikes of all neurons, recorded or not.
    """

    spikes: dict[str, PreciseSpikes]
    counts: Counts
    in_flight: int
    duration: float
    sizes: dict[str, int]
    total_spikes: int

    def rates(self) -> dict[str, float]:
        """Return the mean rate of every recorded population, spikes/s."""
        seconds = {n: self.sizes[n] * self.duration * 1e-3 for n in self.spikes}
        return {n: len(s) / seconds[n] if seconds[n] else 0.0 for n, s in self.spikes.items()}


class PreciseCircuit:
    """A described network, built and ready to run on the precise clock.

    It takes `LIF` neurons with `Delta`, `Exp` and `Alpha` receptors, `SpikeSource`, `DC` and `StepCurrent`. Weights,
    delays and times are float64 and none is rounded to a grid; the synapses are those of the grid clock.

    Args:
        network: what to run.
        backend: ``"auto"``, ``"numba"`` or ``"reference"``.
        threads: for building the synapses; changes no result.

    Attributes:
        partial: what the last run gave until it was broken off, by Ctrl-C or an error; None if it came to its end.

    Raises:
        ParameterError: the network has something that the precise clock cannot run; the message says what to use.
        ShapeError: parameters do not fit their population.
        TimeGridError: a delay is too short or too long.
    """

    def __init__(self, network: Network, backend: str, threads: int) -> None:
        self.network, self.backend, self.threads = network, backend, threads
        self._provider = provider(backend)
        self.plan, self.state, self._events, self._first = lay_out(network, threads)
        self.partial: PreciseResult | None = None

    @property
    def _now(self) -> Time:
        return int(self.state.now_step[0]), float(self.state.now_offset[0])

    @property
    def time(self) -> float:
        """Time simulated so far, ms."""
        return sum(self._now)

    def run(self, duration: float, progress: bool = True, output: None = None) -> PreciseResult:
        """Go on for some time; what happens at its very end belongs to the run.

        Args:
            duration: ms.
            progress: show a bar once the run takes longer than two seconds.
            output: not for this clock: files of spikes have times on a grid.

        Raises:
            ParameterError: an output file is asked for.
            TimeGridError: the duration is negative or no number.
            NonFiniteError: a state is no longer finite; the message names neuron and time.
            ParameterError: a neuron fires again and again at one instant.
        """
        if isinstance(duration, bool) or not isinstance(duration, (int, float, np.number)) or not 0 <= duration < 1e12:
            raise TimeGridError(f"run({duration!r}): must be a number of milliseconds from 0.")
        if output is not None:
            raise ParameterError(
                f"run(output={str(output)!r}): files of spikes have times on a grid, and those of this clock lie on "
                "none; keep the result's spikes (times and ids), run for shorter times, or use the grid clock."
            )
        begin, end, runs = self._now, later(self._now, float(duration)), list[Run]()
        self.partial = None
        try:
            with tqdm(total=round(duration), unit="ms", delay=2.0, disable=not progress, leave=False) as bar:
                while not runs or self._now < end:
                    found = self._piece(min(end, (self._now[0] + CHUNK, self._now[1])))
                    with held_back():
                        self.state = found.state
                        runs.append(found)
                    bar.update(min(CHUNK, bar.total - bar.n))
        except BaseException:
            if runs:
                elapsed = self._now[0] - begin[0] + (self._now[1] - begin[1])
                self.partial = self._result(runs, self._between(begin, self._now), elapsed)
            raise
        return self._result(runs, self._between(begin, end), float(duration))

    def _piece(self, end: Time) -> Run:
        """Run up to and including `end`."""
        found = self._provider.run(self.plan, self.state, self._between(self._now, end), end)
        if isinstance(found, Stop):
            raise self._stopped(found)
        return found

    def _between(self, begin: Time, end: Time) -> Events:
        """Return the given events after `begin`, up to and including `end`."""
        step, offset, source = self._events
        lo, hi = (int(((step < t[0]) | ((step == t[0]) & (offset <= t[1]))).sum()) for t in (begin, end))
        return Events(step[lo:hi], offset[lo:hi], source[lo:hi])

    def _stopped(self, stop: Stop) -> Exception:
        name = max((n for n, at in self._first.items() if at <= stop.neuron), key=self._first.__getitem__)
        where = f"{name}: neuron {stop.neuron - self._first[name]} at {stop.time:.17g} ms"
        if stop.reason == "not finite":
            return NonFiniteError(f"{where}: the state is no longer finite; the summed weights are too large.")
        return ParameterError(f"{where} fires again within {SHORTEST:g} ms; its current is too large for t_ref=0.")

    def _result(self, runs: list[Run], given: Events, duration: float) -> PreciseResult:
        # Rows of the plan are the neurons, then the sources' spikes, then changes of injected currents.
        step, offset, ids = (np.concatenate(column) for column in zip(*(r[:3] for r in runs), given, strict=True))
        sizes = {p.name: p.size for p in self.network.populations.values()}
        spikes = {
            r.population.name: self._chosen(r.population.name, r.ids, step, offset, ids) for r in self.network.recorders
        }
        counts = Counts(*(sum(column) for column in zip(*(r.counts for r in runs), strict=True)))
        total = int((ids < sum(sizes.values())).sum())
        return PreciseResult(spikes, counts, in_flight(self.plan, self.state), duration, sizes, total)

    def _chosen(self, name: str, chosen: Ints, step: Ints, offset: Floats, ids: Ints) -> PreciseSpikes:
        """Return the spikes of some neurons of one population."""
        keep = np.isin(ids, chosen + self._first[name])
        return PreciseSpikes(step[keep], offset[keep], ids[keep] - self._first[name])

    def read(self, population: str, variable: str = "v") -> Floats:
        """Return the membrane now, ``[size]`` in mV.

        Args:
            population: its name.
            variable: ``"v"``.

        Raises:
            UnknownNameError: no such population of neurons, or another variable.
        """
        neurons = [n for n, at in self._first.items() if at < self.plan.cells.size]
        known_name("population", population, neurons)
        known_name("state variable of the precise clock", variable, ["v"])
        at = self._first[population]
        return self._provider.read(self.plan, self.state)[at : at + self.network.populations[population].size]
