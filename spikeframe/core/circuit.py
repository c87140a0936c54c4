"""Grid runs of a described network: chunks of steps, recordings, progress, checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from spikeframe.core.counts import Counts
from spikeframe.core.layout import Laid, lay_out, steps_of, stream
from spikeframe.core.network import Network, Population
from spikeframe.core.spikes import Spikes
from spikeframe.core.stimulation import PoissonSource, SpikeSource
from spikeframe.errors import NonFiniteError, ParameterError, TimeGridError, unknown_name
from spikeframe.kernels.grid import Chunk, Ints, Longs, State, provider
from spikeframe.kernels.numba.delivery import owed
from spikeframe.kernels.numba.sources import poisson_trains

#: Steps between two looks at the clock, the keyboard and the states.
CHUNK = 1000


@dataclass(frozen=True, eq=False)
class Trace:
    """A recorded state variable.

    Attributes:
        times: ``[n]`` ms.
        ids: ``[m]`` neurons.
        values: ``[n, m]``.
    """

    times: NDArray[np.float64]
    ids: Longs
    values: NDArray[Any]


@dataclass(frozen=True, eq=False)
class CircuitResult:
    """What a run gave.

    Attributes:
        spikes: per population with recorded spikes.
        traces: per population and state variable.
        counts: operation counts per population, the synaptic events that its neurons were sent included.
        delivered: synaptic events delivered.
        sent: synaptic events that the spikes of this run will have caused when all have arrived.
        in_flight: events still under way at the end.
        duration: ms.
        sizes: neurons per population.
    """

    spikes: dict[str, Spikes]
    traces: dict[str, dict[str, Trace]]
    counts: dict[str, Counts]
    delivered: int
    sent: int
    in_flight: int
    duration: float
    sizes: dict[str, int]

    def rates(self) -> dict[str, float]:
        """Return the mean rate of every recorded population, spikes/s."""
        seconds = self.duration * 1e-3
        return {
            n: len(s) / (self.sizes[n] * seconds) if self.sizes[n] * seconds else 0.0 for n, s in self.spikes.items()
        }

    @cached_property
    def total_spikes(self) -> int:
        """Spikes of all populations, recorded or not."""
        return sum(c.spk_out for c in self.counts.values())


class Circuit:
    """A described network, built and ready to run on the grid clock.

    Args:
        network: what to run.
        dt: ms.
        backend: ``"auto"``, ``"numba"``, ``"reference"`` or ``"cuda"``.
        threads: changes no result.
        dtype: ``"float32"`` or ``"float64"``.
    """

    def __init__(self, network: Network, dt: float, backend: str, threads: int, dtype: str) -> None:
        self.network, self.dt, self.threads = network, dt, threads
        self.backend, self.dtype = backend, dtype
        self._provider = provider(backend)
        self.laid: Laid = lay_out(network, dt, threads, np.dtype(dtype))
        plan = self.laid.plan
        empty = [np.zeros(plan.horizon + 1, np.int64) for _ in plan.groups]
        self.state = State(0, self.laid.values, empty, [np.zeros(0, np.int32) for _ in plan.groups])

    @property
    def time(self) -> float:
        """Time simulated so far, ms."""
        return self.state.step * self.dt

    def run(self, duration: float, progress: bool = True) -> CircuitResult:
        """Go on for some time.

        Args:
            duration: ms, a multiple of dt.
            progress: show a bar once the run takes longer than two seconds.

        Raises:
            TimeGridError: the duration is not a positive multiple of dt.
            NonFiniteError: a state variable is no longer finite; the message names neuron and step.
        """
        if isinstance(duration, bool) or not isinstance(duration, (int, float, np.number)) or not 0 <= duration < 1e12:
            raise TimeGridError(f"run({duration!r}): must be a number of milliseconds from 0.")
        steps = steps_of("run: duration", float(duration), self.dt)
        first = self.state.step
        chunks: list[Chunk] = []
        before = self._in_flight()
        with tqdm(total=round(steps * self.dt), unit="ms", delay=2.0, disable=not progress, leave=False) as bar:
            while (left := first + steps - self.state.step) > 0:
                chunk = self._chunk(min(left, CHUNK))
                chunks.append(chunk)
                bar.update(round(chunk.steps * self.dt))
        return self._result(first, chunks, before)

    def _chunk(self, steps: int) -> Chunk:
        """Run one stretch; if a state blew up, go back and find where."""
        plan, state = self.laid.plan, self.state
        saved = State(
            state.step, [{n: v.copy() for n, v in values.items()} for values in state.values],
            list(state.start), list(state.ids),
        )  # fmt: skip
        chunk = self._provider.run(plan, state, steps, self._given(steps), self.threads)
        if self._bad() is None:
            return chunk
        self.state = saved
        while (bad := self._bad()) is None:
            self._provider.run(plan, self.state, 1, self._given(1), self.threads)
        name, variable, neuron, value = bad
        raise NonFiniteError(
            f"{name}: state {variable!r} of neuron {neuron} became {value} in step {self.state.step} "
            f"({self.time:g} ms). Use a smaller dt, or look at its input and parameters."
        )

    def _bad(self) -> tuple[str, str, int, float] | None:
        """Return population, variable, neuron and value of the first state that is not finite."""
        for g, values in enumerate(self.state.values):
            for variable, value in values.items():
                if value.dtype.kind == "f" and not np.isfinite(value).all():
                    at = int(np.flatnonzero(~np.isfinite(value))[0])
                    owner = next(
                        p
                        for p in self.network.populations.values()
                        if self._span(p)[0] == g and self._span(p)[1] <= at < self._span(p)[2]
                    )
                    return owner.name, variable, at - self._span(owner)[1], float(value[at])
        return None

    def _span(self, p: Population) -> tuple[int, int, int]:
        """Return a population's group, first neuron and one past its last."""
        g, at = self.laid.place[p.name]
        return g, at, at + p.size

    def _given(self, steps: int) -> list[tuple[Longs, Ints] | None]:
        """Return the spikes of the sources for the next steps."""
        found: list[tuple[Longs, Ints] | None] = [None] * len(self.laid.plan.groups)
        for p in self.network.populations.values():
            if isinstance(p.neuron, (PoissonSource, SpikeSource)):
                found[self._span(p)[0]] = self._source(p, steps)
        return found

    def _source(self, p: Population, steps: int) -> tuple[Longs, Ints]:
        first = self.state.step
        if isinstance(p.neuron, SpikeSource):
            at, ids = self._trains[p.name]
            window = np.searchsorted(at, np.arange(first + 1, first + steps + 2))
            return (window - window[0]).astype(np.int64), ids[window[0] : window[-1]]
        source = cast(PoissonSource, p.neuron)
        rate = np.broadcast_to(np.asarray(source.rate, np.float64), (p.size,))
        start = steps_of("PoissonSource(start)", source.start, self.dt)
        stop = 2**62 if source.stop == np.inf else steps_of("PoissonSource(stop)", source.stop, self.dt)
        k0, k1 = np.uint32(self.network.seed & 0xFFFFFFFF), np.uint32(self.network.seed >> 32)
        chance = -np.expm1(-rate * self.dt * 1e-3)
        spans = np.full(p.size, start, np.int64), np.full(p.size, stop, np.int64)
        own = stream("population", p.index, 8)
        return poisson_trains(chance, *spans, first, first + steps, own, k0, k1)

    @cached_property
    def _trains(self) -> dict[str, tuple[Longs, Ints]]:
        """Given spikes of every source as (step, id), in order."""
        found = {}
        for p in self.network.populations.values():
            if isinstance(p.neuron, SpikeSource):
                times, ids = np.asarray(p.neuron.times, np.float64), np.asarray(p.neuron.ids, np.int64)
                steps = np.rint(times / self.dt).astype(np.int64)
                off = np.flatnonzero(np.abs(steps * self.dt - times) > 1e-6 * np.maximum(self.dt, times * 1e-6))
                if off.size or (steps < 1).any():
                    bad = times[off[0]] if off.size else times[steps < 1][0]
                    raise TimeGridError(
                        f"population {p.name!r}: a spike at {bad:g} ms is not a positive multiple of "
                        f"dt={self.dt:g} ms; round the times."
                    )
                order = np.lexsort((ids, steps))
                found[p.name] = (steps[order], ids[order].astype(np.int32))
        return found

    def _in_flight(self) -> int:
        """Count the synaptic events that kept spikes still owe."""
        total, state, horizon = 0, self.state, self.laid.plan.horizon
        for bundle in self.laid.plan.bundles:
            spikes = state.start[bundle.source], state.ids[bundle.source], horizon
            segments = bundle.segment_start, bundle.segment_delay, bundle.segment_size
            total += int(owed(*spikes, -1 if bundle.delay is None else bundle.delay, bundle.start, *segments))
        return total

    def _result(self, first: int, chunks: list[Chunk], before: int) -> CircuitResult:
        steps = self.state.step - first
        delivered = int(sum(c.delivered.sum() for c in chunks))
        after = self._in_flight()
        raw = {p.name: _spikes_of(p, self._span(p), chunks, first, self.dt) for p in self.network.populations.values()}
        wanted = {r.population.name: r for r in self.network.recorders if r.variable == "spikes"}
        spikes = {n: _chosen(raw[n], r.ids, r.population.size) for n, r in wanted.items()}
        counts = {p.name: self._count(p, raw, steps, chunks) for p in self.network.populations.values()}
        sizes = {p.name: p.size for p in self.network.populations.values()}
        return CircuitResult(
            spikes,
            dict(self._traces(first, chunks)),
            counts,
            delivered,
            delivered + after - before,
            after,
            steps * self.dt,
            sizes,
        )

    def _traces(self, first: int, chunks: list[Chunk]) -> Iterator[tuple[str, dict[str, Trace]]]:
        recorders = [r for r in self.network.recorders if r.variable != "spikes"]
        found: dict[str, dict[str, Trace]] = {}
        for i, (r, sample) in enumerate(zip(recorders, self.laid.plan.samples, strict=True)):
            rows = [c.samples[i] for c in chunks]
            values = np.concatenate(rows) if rows else np.zeros((0, r.ids.size))
            begin = (first // sample.every + 1) * sample.every
            times = np.asarray((begin + np.arange(values.shape[0]) * sample.every) * self.dt, np.float64)
            found.setdefault(r.population.name, {})[r.variable] = Trace(times, r.ids, values)
        yield from found.items()

    def _count(self, p: Population, raw: Mapping[str, Spikes], steps: int, chunks: list[Chunk]) -> Counts:
        """Count the operations of one population, from its spikes and its projections' fan-outs."""
        group = self.laid.plan.groups[self._span(p)[0]]
        links = [link for link in self.network.projections if link.target is p]
        fans = {link.index: self.laid.fan_out[link.index] for link in links}
        events = sum(int(fans[link.index][raw[link.source.name].ids].sum()) for link in links)
        arrivals = sum(
            int(sum(c.arrivals[i] for c in chunks))
            for i, d in enumerate(self.laid.plan.poisson)
            if (d.group, d.lo) == self._span(p)[:2] and d.hi == self._span(p)[2]
        )
        each = group.program.operations() if group.program else dict.fromkeys(("ac", "mac", "exp", "cmp"), 0)
        updates = steps * p.size if group.program else 0
        every = sum(int(f.sum()) for f in fans.values())
        states = len(group.states)
        return Counts(
            samples=1, steps=steps, neurons=p.size, weights=every,
            inputs=sum(link.source.size for link in links),
            fan_out=max((int(f.max(initial=0)) for f in fans.values()), default=0),
            spk_in=sum(len(raw[link.source.name]) for link in links) + arrivals, spk_out=len(raw[p.name]),
            syn_ac=events + arrivals, neu_upd=updates,
            neu_ac=updates * each["ac"], neu_mac=updates * each["mac"], neu_exp=updates * each["exp"],
            neu_cmp=updates * each["cmp"],
            mem_rd_w=events, mem_rd_s=events + arrivals + updates * (states + 1),
            mem_wr_s=events + arrivals + updates * (states + 1),
            route=sum(len(raw[link.source.name]) for link in links),
            syn_ac_dense=steps * every, neu_upd_dense=updates, mem_rd_w_dense=steps * every,
            mem_rd_s_dense=steps * every + updates * (states + 1),
            mem_wr_s_dense=steps * every + updates * (states + 1),
        )  # fmt: skip

    def read(self, population: str, variable: str) -> NDArray[Any]:
        """Return a state variable now, ``[size]``.

        Args:
            population: its name.
            variable: e.g. ``"v"``.

        Raises:
            UnknownNameError: no such population or variable.
        """
        if population not in self.network.populations:
            raise unknown_name("population", population, self.network.populations)
        g, lo, hi = self._span(self.network.populations[population])
        if variable not in self.state.values[g]:
            raise unknown_name(f"state variable of {population!r}", variable, self.state.values[g])
        return self.state.values[g][variable][lo:hi].copy()


def _spikes_of(p: Population, span: tuple[int, int, int], chunks: list[Chunk], first: int, dt: float) -> Spikes:
    """Return all spikes of one population, out of its group's."""
    g, lo, hi = span
    steps, ids, at = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], first
    for chunk in chunks:
        when = np.repeat(np.arange(at, at + chunk.steps), np.diff(chunk.start[g]))
        mine = (chunk.ids[g] >= lo) & (chunk.ids[g] < hi)
        steps.append(when[mine])
        ids.append(chunk.ids[g][mine].astype(np.int64) - lo)
        at += chunk.steps
    step = np.concatenate(steps)
    return Spikes(np.zeros(step.size, np.int64), step, np.concatenate(ids), dt)


def _chosen(spikes: Spikes, ids: Longs, size: int) -> Spikes:
    """Return the spikes of some neurons only."""
    if ids.size == size:
        return spikes
    keep = np.isin(spikes.ids, ids)
    return Spikes(spikes.samples[keep], spikes.steps[keep], spikes.ids[keep], spikes.dt)


def checked(dt: Any, threads: Any, dtype: Any) -> tuple[float, str]:
    """Return dt and dtype, or refuse them.

    Args:
        dt: ms.
        threads: number of threads.
        dtype: name of a float type.
    """
    if dt is None or isinstance(dt, bool) or not isinstance(dt, (int, float, np.number)) or not 0 < dt <= 1e6:
        raise TimeGridError(f"Simulator(dt={dt!r}): must be a positive number of milliseconds, e.g. dt=0.1.")
    if dtype not in ("float32", "float64"):
        raise ParameterError(f"Simulator(dtype={dtype!r}): must be 'float32' or 'float64'.")
    return float(dt), dtype
