"""Grid runs of a described network: chunks of steps, recordings, progress, checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from spikeframe.core import given, rewired
from spikeframe.core.accuracy import look_at_membranes
from spikeframe.core.building import floats
from spikeframe.core.counts import Counts
from spikeframe.core.interrupts import held_back
from spikeframe.core.layout import Laid, lay_out, steps_of, stream
from spikeframe.core.network import Network, Population, Projection
from spikeframe.core.procedural import learn
from spikeframe.core.recording import Recording, Trace, rate_bins, spike_sizes
from spikeframe.core.sonata import SpikeWriter
from spikeframe.core.spikes import Spikes
from spikeframe.core.stimulation import PoissonSource, SpikeSource
from spikeframe.core.synapses import Weights, checked_weights, listed, signal
from spikeframe.errors import NonFiniteError, ParameterError, TimeGridError, known_name
from spikeframe.kernels.grid import BLOCK, Ints, Longs, Plan, State, provider
from spikeframe.kernels.numba.delivery import owed
from spikeframe.kernels.numba.procedural import owed as owed_by_rows
from spikeframe.kernels.plasticity import number
from spikeframe.learning_rules.rewiring import Activity, Rewiring, Scores
from spikeframe.neurons import Neuron

#: Neuron updates and synaptic events of a stretch, between which come looks at the keyboard and at the states: some
#: tenths of a second. Stretches never depend on the clock, as what is updated in them does on where they end.
WORK = 1e8
#: Spikes/s that the synaptic events of a stretch are reckoned with.
_RATE = 5.0
#: Fewest and most steps of a stretch; most of one that runs elsewhere, where beginning and end cost more than steps.
_LEAST, _MOST, _MOST_ELSEWHERE = 50, 10_000, 40_000
#: Most threads that take down what runs elsewhere, and steps that the last stretch there may have, so that little is
#: left to take down when it has ended.
_HELPERS, _LAST = 4, 8_000
#: Longest delay, in steps: so long are spikes kept.
LONGEST = 1 << 22


@dataclass(frozen=True, eq=False)
class CircuitResult:
    """What a run gave.

    Attributes:
        spikes: per population with recorded spikes; none if they went to a file.
        traces: per population and state variable, or ``"rate"``.
        counts: operation counts per population, the synaptic events that its neurons were sent included.
        delivered: synaptic events delivered.
        sent: synaptic events that the spikes of this run will have caused when all have arrived.
        in_flight: events still under way at the end.
        duration: ms.
        sizes: neurons per population.
        output: the file that the spikes went to (`spikeframe.core.sonata.read_spikes`), or None.
        weights: per projection whose weights are recorded; the ids of a trace are synapses in the order of
            `Simulator.weights`.
        start: ms, the time at which the run began.
    """

    spikes: dict[str, Spikes]
    traces: dict[str, dict[str, Trace]]
    counts: dict[str, Counts]
    delivered: int
    sent: int
    in_flight: int
    duration: float
    sizes: dict[str, int]
    output: Path | None = None
    weights: dict[Projection, Trace] = field(default_factory=dict)
    start: float = 0.0

    def rates(self) -> dict[str, float]:
        """Return the mean rate of every population, spikes/s."""
        seconds = self.duration * 1e-3
        return {n: c.spk_out / (self.sizes[n] * seconds or 1.0) for n, c in self.counts.items()}

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

    Attributes:
        partial: what the last run gave until it was broken off, by Ctrl-C or an error; None if it came to its end.
    """

    def __init__(self, network: Network, dt: float, backend: str, threads: int, dtype: str) -> None:
        self.network, self.dt, self.threads = network, dt, threads
        self.backend, self.dtype = backend, dtype
        self._provider = provider(backend)
        self.bins = rate_bins(network, dt)
        self.laid: Laid = self._laid_out(network)
        plan = self.laid.plan
        if plan.horizon > LONGEST:
            raise TimeGridError(
                f"a delay of {plan.horizon * dt:g} ms is {plan.horizon:,} steps of dt={dt:g} ms; spikes are kept for "
                f"at most {LONGEST:,} steps ({LONGEST * dt:g} ms). Use a larger dt, or check the delays' unit (ms)."
            )
        self.state = State(0, self.laid.values, *_no_spikes(plan), self.laid.synapses)
        self._owed: tuple[State, int, int] | None = None
        self._reckoned: tuple[Laid, int] | None = None
        self._stored: tuple[Laid, dict[int, tuple[int, int]]] | None = None  # of each projection, all and most synapses
        self.partial: CircuitResult | None = None
        self._watch = not look_at_membranes(network, self.laid.place, plan.groups, self.state.values, True)

    def _laid_out(self, network: Network) -> Laid:
        """Build a network for this run."""
        sampled = copy.copy(network)  # rates are counted here, not sampled by the kernels
        sampled.recorders = [r for r in network.recorders if r.variable != "rate"]
        parts = self._provider.parts(sum(p.size for p in network.populations.values()), self.threads)
        return lay_out(sampled, self.dt, parts, np.dtype(self.dtype))

    @property
    def time(self) -> float:
        """Time simulated so far, ms."""
        return self.state.step * self.dt

    def run(self, duration: float, progress: bool = True, output: str | Path | None = None) -> CircuitResult:
        """Go on for some time.

        Ctrl-C or an error ends a run after its last whole stretch of some tenths of a second: the next run goes on from
        there, and `partial` has what was recorded until then.

        Args:
            duration: ms, a multiple of dt.
            progress: show a bar once the run takes longer than two seconds.
            output: HDF5 file (SONATA) that the recorded spikes are written to as they come, so that memory does not
                grow with them; new, or that of the run so far (`spikeframe.core.sonata`).

        Raises:
            TimeGridError: the duration is not a positive multiple of dt.
            NonFiniteError: a state variable is no longer finite; the message names neuron and step.
            ParameterError, EventFileError: the output file cannot be used.
        """
        if isinstance(duration, bool) or not isinstance(duration, (int, float, np.number)) or not 0 <= duration < 1e12:
            raise TimeGridError(f"run({duration!r}): must be a number of milliseconds from 0.")
        steps = steps_of("run: duration", float(duration), self.dt)
        first = self.state.step
        sizes = spike_sizes(self.network)
        file = None if output is None else SpikeWriter(output, sizes, self.dt, self.network.seed, first)
        helpers = min(self.threads, _HELPERS) if self._provider.speed > 1 else 0  # cores that have nothing else to do
        recording = Recording(self.network, self.laid, self.dt, first, steps, self.bins, file, helpers)
        before = self._in_flight()
        path, self.partial = None if file is None else file.path, None
        try:
            with tqdm(total=round(steps * self.dt), unit="ms", delay=2.0, disable=not progress, leave=False) as bar:
                stretch = self._stretch()
                while (left := first + steps - self.state.step) > 0:
                    here = min(left, stretch, max(_LAST, left * 2 // 3)) if helpers else min(left, stretch)
                    bar.update(round(self._advance(here, recording) * self.dt))
                    if self._watch:
                        now = self.network, self.laid.place, self.laid.plan.groups, self.state.values
                        self._watch = not look_at_membranes(*now, False)
            recording.finish()
        except BaseException:
            recording.finish()
            self.partial = self._result(self.state.step - first, recording, before, path)
            raise
        return self._result(steps, recording, before, path)

    def _stretch(self) -> int:
        """Return the steps of a stretch, reckoned once for what is laid out."""
        if self._reckoned is not None and self._reckoned[0] is self.laid:
            return self._reckoned[1]
        updates = sum(p.size for p in self.network.populations.values())
        links = self.network.projections
        synapses = sum(int(self.laid.fan_out[o.index].sum()) for o in links if not o.procedural)
        synapses += sum(self._learnt(o, np.zeros(o.source.size, np.int64)) for o in links if o.procedural)
        events = synapses * _RATE * self.dt * 1e-3
        work = WORK * self._provider.speed
        most = _MOST_ELSEWHERE if self._provider.speed > 1 else _MOST
        self._reckoned = self.laid, int(min(max(work / max(updates + events, 1.0), _LEAST), most))
        return self._reckoned[1]

    def _advance(self, steps: int, recording: Recording) -> int:
        """Run and record one stretch, or go back to where it began; if a state blew up, find where."""
        plan, state = self.laid.plan, self.state
        saved = _copied(state)
        try:
            chunk = self._provider.run(plan, state, steps, self._given(steps), self.threads)
            if self._bad() is None:
                with held_back():
                    recording.add(chunk)
                    saved = self.state
                return chunk.steps
        except BaseException:  # Ctrl-C, or a full disk: the run can be taken up again where it stood
            self.state = saved
            raise
        self.state = saved
        saved = _copied(saved)
        what, value, neuron = self._first_bad(steps)
        where = f"in step {self.state.step} ({self.time:g} ms)"
        self.state = saved
        remedy = "Look at its rule's parameters and bounds." if neuron is None else neuron.remedy(self.dt)
        raise NonFiniteError(f"{what} became {value} {where}. {remedy}")

    def _first_bad(self, steps: int) -> tuple[str, float, Neuron | None]:
        """Go on to the first step after which a state is not finite, as one is `steps` on; stretches are halved."""
        while True:
            before, half = _copied(self.state), max(1, steps // 2)
            done = self._provider.run(self.laid.plan, self.state, half, self._given(half), self.threads).steps
            bad = self._bad()
            if bad is not None and done == 1:
                return bad
            if bad is None:
                steps -= done
            else:
                self.state, steps = before, done

    def _bad(self) -> tuple[str, float, Neuron | None] | None:
        """Return what and the value of the first state or weight that is not finite, and the neuron of a state."""
        for g, values in enumerate(self.state.values):
            for variable, value in values.items():
                if value.dtype.kind == "f" and not np.isfinite(value).all():
                    at = int(np.flatnonzero(~np.isfinite(value))[0])
                    owner = next(
                        p
                        for p in self.network.populations.values()
                        if self._span(p)[0] == g and self._span(p)[1] <= at < self._span(p)[2]
                    )
                    neuron = at - self._span(owner)[1]
                    what, model = f"{owner.name}: state {variable!r} of neuron {neuron}", owner.neuron
                    return what, float(value[at]), model if isinstance(model, Neuron) else None
        for index, b in self.laid.plastic.items():
            wrong = np.flatnonzero(~np.isfinite(self.state.plastic[b]["w"]))
            if wrong.size:
                name, place = self.network.projections[index].name, self.laid.plan.bundles[b].weight[wrong[0]]
                return f"{name}: weight of synapse {place}", float(self.state.plastic[b]["w"][wrong[0]]), None
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
        if isinstance(p.neuron, SpikeSource):
            return given.window(self._trains[p.name], self.state.step, steps)
        return given.drawn_spikes(p, self.network.seed, self.dt, self.state.step, steps)

    @cached_property
    def _trains(self) -> dict[str, tuple[Longs, Ints]]:
        """Given spikes of every source as (step, id), in order."""
        sources = [p for p in self.network.populations.values() if isinstance(p.neuron, SpikeSource)]
        return {p.name: given.train(p, self.dt) for p in sources}

    def _in_flight(self) -> int:
        """Count the synaptic events that kept spikes still owe; a run begins where the last one has counted them."""
        total, state, horizon = 0, self.state, self.laid.plan.horizon
        if self._owed is not None and self._owed[0] is state and self._owed[1] == state.step:
            return self._owed[2]
        for bundle in self.laid.plan.bundles:
            spikes = state.start[bundle.source], state.ids[bundle.source], horizon
            segments = bundle.segment_start, bundle.segment_delay, bundle.segment_size
            total += int(owed(*spikes, -1 if bundle.delay is None else bundle.delay, bundle.start, *segments))
        plan = self.laid.plan
        for link in plan.regenerated:
            total += owed_by_rows(link, state.start[link.source], state.ids[link.source], horizon, plan.seed)
        self._owed = state, state.step, total
        return total

    def _result(self, steps: int, recording: Recording, before: int, output: Path | None) -> CircuitResult:
        after = self._in_flight()
        populations = self.network.populations.values()
        who = {p.name: np.flatnonzero(recording.fired[p.name]) for p in populations}
        many = {p.name: recording.fired[p.name][who[p.name]] for p in populations}
        return CircuitResult(
            recording.spikes(),
            recording.traces(),
            {p.name: self._count(p, steps, recording, who, many) for p in populations},
            recording.delivered,
            recording.delivered + after - before,
            after,
            steps * self.dt,
            {p.name: p.size for p in populations},
            output,
            recording.weights(),
            recording.first * self.dt,
        )

    def _fans(self, links: list[Projection]) -> tuple[int, int]:
        """Return how many synapses some projections store, and the most of one source."""
        if self._stored is None or self._stored[0] is not self.laid:
            kept = [link for link in self.network.projections if not link.procedural]
            fans = {link.index: self.laid.fan_out[link.index] for link in kept}
            self._stored = self.laid, {i: (int(fan.sum()), int(fan.max(initial=0))) for i, fan in fans.items()}
        found = [self._stored[1][link.index] for link in links if not link.procedural]
        return sum(many for many, _ in found), max((most for _, most in found), default=0)

    def _count(
        self, p: Population, steps: int, recording: Recording, who: dict[str, Longs], many: dict[str, Longs]
    ) -> Counts:
        """Count the operations of one population, from who fired how often and its projections' fan-outs."""
        group = self.laid.plan.groups[self._span(p)[0]]
        links = [link for link in self.network.projections if link.target is p]
        fans, fired = self.laid.fan_out, recording.fired
        stored, widest = self._fans(links)
        drawn = [link for link in links if link.procedural]
        every = stored + sum(self._learnt(link, fired[link.source.name]) for link in drawn)
        widest = max([widest, *(int(fans[link.index].max(initial=0)) for link in drawn)])
        events = sum(int(fans[link.index][who[link.source.name]] @ many[link.source.name]) for link in links)
        received = sum(int(many[link.source.name].sum()) for link in links)
        arrivals = sum(
            int(recording.arrivals[i])
            for i, d in enumerate(self.laid.plan.poisson)
            if (d.group, d.lo) == self._span(p)[:2] and d.hi == self._span(p)[2]
        )
        each = group.program.operations() if group.program else dict.fromkeys(("ac", "mac", "exp", "cmp"), 0)
        dense = steps * p.size if group.program else 0
        g, lo, hi = self._span(p)
        edges = (np.arange(recording.updates[g].size + 1) * BLOCK).clip(lo, hi)
        updates = int(np.diff(edges) @ recording.updates[g])
        states = len(group.states)
        return Counts(
            samples=1, steps=steps, neurons=p.size, weights=stored,
            inputs=sum(link.source.size for link in links),
            fan_out=widest, spk_in=received + arrivals, spk_out=int(many[p.name].sum()),
            syn_ac=events + arrivals, neu_upd=updates,
            neu_ac=updates * each["ac"], neu_mac=updates * each["mac"], neu_exp=updates * each["exp"],
            neu_cmp=updates * each["cmp"],
            mem_rd_w=events, mem_rd_s=events + arrivals + updates * (states + 1),
            mem_wr_s=events + arrivals + updates * (states + 1),
            route=received,
            syn_ac_dense=steps * every, neu_upd_dense=dense, mem_rd_w_dense=steps * every,
            mem_rd_s_dense=steps * every + dense * (states + 1),
            mem_wr_s_dense=steps * every + dense * (states + 1),
            bias_ac=0 if p.bias is None else updates,
        )  # fmt: skip

    def weights(self, projection: Projection) -> Weights:
        """Return the synapses of a projection with their weights now.

        Args:
            projection: as `Network.connect` returned it, or one of `Network.projections` of a loaded run.

        Raises:
            ParameterError: it is no projection of this network.
        """
        self._own("weights", projection)
        own = stream("projection", projection.index)
        return listed(projection, self.laid, self.state, self.network.seed, own, self.dt, self.threads)

    def signal(self, projection: Projection, value: float) -> None:
        """Give the rule of a projection its third factor, e.g. a reward, after the last step's spikes.

        Args:
            projection: as `Network.connect` returned it, or one of `Network.projections` of a loaded run.
            value: what the rule takes.

        Raises:
            ParameterError: it is no projection of this network, or its rule takes no signals.
            NonFiniteError: the value is not finite.
        """
        self._own("signal", projection)
        signal(projection, self.laid, self.state, number("signal: value", value))

    def rewire(
        self, projection: Projection, rule: Rewiring, correlation: Activity | Scores | None = None,
        gradient: Scores | None = None, saliency: ArrayLike | None = None,
    ) -> Projection:  # fmt: skip
        """Exchange some synapses of a projection for others, as many, or prune some; the run goes on.

        The rule's random numbers depend on its seed, the projection and the time. Cost: that of building the network.

        Args:
            projection: as `Network.connect` returned it, or one of `Network.projections` of this run.
            rule: how synapses are exchanged.
            correlation: e.g. ``Activity(x, y)`` with the spike counts of both populations over some bins.
            gradient: ``Scores`` of ``[targets, sources]``.
            saliency: ``[n]`` in the order of `weights`, where the rule prunes by it.

        Returns:
            The projection as it is now, of the network `Circuit.network`; the old one is no longer part of the run.

        Raises:
            ParameterError: the projection cannot be rewired, or the rule needs scores that are not given.
            ShapeError: scores that do not fit the populations.
        """
        self._own("rewire", projection)
        rewired.check(self.network, projection)
        index, now, seed = projection.index, self.weights(projection), self.network.seed
        turn = self.state.step + (index << 40)
        worth = None if saliency is None else np.asarray(saliency)
        exchange = rewired.exchanged(projection, now, rule, turn, correlation, gradient, worth)
        delay = floats(projection, seed, stream("projection", index), self.dt, self.threads).delay
        network, was = rewired.described(self.network, projection, now, delay, self.dt, exchange, rule.weight)
        laid = self._laid_out(network)
        self.state = rewired.carried(self.laid, laid, self.state, projection, was)
        self.network, self.laid = network, laid
        self.__dict__.pop("_beginning", None)
        return network.projections[index]

    def _own(self, what: str, projection: Projection) -> None:
        """Refuse what is no projection of this network."""
        links = self.network.projections
        if not isinstance(projection, Projection) or not any(projection is link for link in links):
            raise ParameterError(f"{what}({projection!r}): is no projection of this network.")

    def restart(self, weights: Mapping[Projection, ArrayLike] | None = None) -> None:
        """Return to the initial state, at the present time: trial after trial in one run.

        State variables, traces and weights are as at the beginning, and no spike is under way. Time goes on, and with
        it given spikes, currents and random drive. Plastic weights come out as they would from the start, but for
        rounding: their traces are stored with a factor that depends on the time.

        Args:
            weights: per plastic projection, ``[n]`` in the order of `weights`; the initial ones if not given.

        Raises:
            ParameterError: it is no plastic projection of this network, or a weight is outside its rule's bounds.
            ShapeError, NonFiniteError: these are not its weights.
        """
        plan, found = self.laid.plan, {}
        if weights is not None and not isinstance(weights, Mapping):
            raise ParameterError(f"restart(weights={weights!r}): must be a dict of projections and their weights.")
        for link, own in (weights or {}).items():
            self._own("restart: weights", link)
            if link.index not in self.laid.plastic:
                raise ParameterError(f"restart: weights of {link.name}, whose synapses are static.")
            b = self.laid.plastic[link.index]
            found[b] = checked_weights(link, own, plan.bundles[b], plan.dtype)
        values, plastic = self._beginning
        self.state = _copied(State(self.state.step, values, *_no_spikes(plan), plastic))
        for b, w in found.items():
            self.state.plastic[b]["w"] = w

    @cached_property
    def _beginning(self) -> tuple[list[dict[str, NDArray[Any]]], list[dict[str, NDArray[Any]]]]:
        """State variables and plastic synapses at the start, built anew: a run changes its own in place."""
        built = self._laid_out(self.network)
        return built.values, built.synapses

    def _learnt(self, link: Projection, fired: Longs) -> int:
        """Count the rows of a procedural projection that spikes were sent through; estimate all of its synapses."""
        place = [o.index for o in self.network.projections if o.procedural].index(link.index)
        return learn(self.laid.plan, place, self.laid.fan_out[link.index], fired)

    def read(self, population: str, variable: str) -> NDArray[Any]:
        """Return a state variable now, ``[size]``.

        Args:
            population: its name.
            variable: e.g. ``"v"``.

        Raises:
            UnknownNameError: no such population or variable.
        """
        known_name("population", population, self.network.populations)
        g, lo, hi = self._span(self.network.populations[population])
        known_name(f"state variable of {population!r}", variable, self.state.values[g])
        return self.state.values[g][variable][lo:hi].copy()


def _no_spikes(plan: Plan) -> tuple[list[Longs], list[Ints]]:
    """Return kept spikes where there are none: where those of each step begin, and their neurons."""
    return [np.zeros(plan.horizon + 1, np.int64) for _ in plan.groups], [np.zeros(0, np.int32) for _ in plan.groups]


def _copied(state: State) -> State:
    """Return a state that a run does not change."""
    values = [{name: value.copy() for name, value in group.items()} for group in state.values]
    plastic = [{name: value.copy() for name, value in bundle.items()} for bundle in state.plastic]
    return State(state.step, values, list(state.start), list(state.ids), plastic)


def checked(dt: Any, threads: Any, dtype: Any) -> tuple[float, str]:
    """Return dt and dtype, or refuse them.

    Args:
        dt: ms.
        threads: number of threads.
        dtype: name of a float type.
    """
    if dt is None or isinstance(dt, bool) or not isinstance(dt, (int, float, np.number)) or not 0 < dt <= 1e6:
        raise TimeGridError(f"Simulator(dt={dt!r}): must be a positive number of milliseconds, e.g. dt=0.1.")
    if not isinstance(dtype, str) or dtype not in ("float32", "float64"):
        raise ParameterError(f"Simulator(dtype={dtype!r}): must be 'float32' or 'float64'.")
    return float(dt), dtype
