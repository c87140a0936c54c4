"""From PyNN's objects to a described network that runs, and what a running one hands over to its successor.

A change between two runs (a parameter, a weight, a source, a new population or recording) makes a new network. It takes
over the time, every state variable that was not set meanwhile, the weights and traces of plastic synapses, and the
spikes that are under way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeframe.adapters.pynn.cells import MILLI, Cell, Renewal, SpikeSourceArray, SpikeSourcePoisson, one
from spikeframe.adapters.pynn.electrodes import NoisyCurrentSource
from spikeframe.adapters.pynn.simulator import State
from spikeframe.adapters.pynn.synapses import ElectricalSynapse
from spikeframe.core import synapses
from spikeframe.core.circuit import Circuit
from spikeframe.core.counts import Counts
from spikeframe.core.layout import Laid
from spikeframe.core.network import Network, Projection
from spikeframe.core.renewal import renewal_source
from spikeframe.core.rules import Pairs
from spikeframe.core.stimulation import PoissonSource, SpikeSource
from spikeframe.errors import EventError, ParameterError
from spikeframe.neurons import Neuron

Longs = NDArray[np.int64]
#: Most rules that the synapses of one projection may have.
_RULES = 1000
#: First random stream of renewal processes; each population has one.
_RENEWAL = 6 << 28
#: Neurons for which a further thread may be worth its while.
_NEURONS = 2000


class _Circuit(Circuit):
    """A circuit whose injected currents each reach some neurons of their population only.

    Args:
        spans: per injected current of the network, its first neuron in the population and one past its last.
        others: as for `Circuit`.
    """

    def __init__(self, spans: list[tuple[int, int]], *others: Any) -> None:
        self._spans = spans
        super().__init__(*others)

    def _laid_out(self, network: Network) -> Laid:
        laid = super()._laid_out(network)
        drives = zip(laid.plan.currents, self._spans, strict=True)
        narrow = [replace(drive, lo=drive.lo + a, hi=drive.lo + b) for drive, (a, b) in drives]
        return replace(laid, plan=replace(laid.plan, currents=narrow))


@dataclass(eq=False)
class Part:
    """Synapses of one of PyNN's projections that are one of ours.

    Attributes:
        which: places in PyNN's projection, in the order of ours.
        link: ours.
        unit: of PyNN's weights in ours.
    """

    which: Longs
    link: Projection
    unit: float


@dataclass(eq=False)
class Built:
    """A network that runs.

    Attributes:
        circuit: what runs.
        names: PyNN's population to our name.
        parts: PyNN's projection to our parts of it.
        until: step until which renewal processes are drawn.
    """

    circuit: Circuit
    until: float
    names: dict[Any, str] = field(default_factory=dict)
    parts: dict[Any, list[Part]] = field(default_factory=dict)

    def weights(self, projection: Any) -> NDArray[np.float64] | None:
        """Return the plastic weights of one of PyNN's projections now, in its order and unit; None if static.

        Args:
            projection: PyNN's.
        """
        parts = self.parts.get(projection, [])
        if not any(part.link.synapse is not None for part in parts):
            return None
        found = np.zeros(len(projection))
        for part in parts:
            found[part.which] = self.circuit.weights(part.link).weight / part.unit
        return found


def advance(state: State, steps: int) -> None:
    """Run, building first what is not built.

    Args:
        state: of the simulation.
        steps: to go.
    """
    if state.built is None or state.changed or state.built.until < state.step + steps:
        before, state.built = state.built, build(state, 2 * (state.step + steps))
        _take_over(state, before, state.built)
        state.changed = False
    built = state.built
    for p in state.populations:
        p.recorder.begin(lambda variable, p=p: _value(built, p, variable))
    result = built.circuit.run(steps * state.dt, progress=False)
    state.step += steps
    for p, name in built.names.items():
        p.recorder.take(name, result)
        state.counts[name] = state.counts.get(name, Counts()) + result.counts[name]


def _value(built: Built, p: Any, variable: str) -> NDArray[np.float64]:
    own, factor = p.celltype.variables[variable]
    found: NDArray[np.float64] = np.asarray(built.circuit.read(built.names[p], own), np.float64) * factor
    return found


def build(state: State, until: int) -> Built:
    """Describe and build the network.

    Args:
        state: of the simulation.
        until: step until which renewal processes are drawn; their spikes do not depend on it.
    """
    network = Network(seed=(state.seed + state.segment_counter) % 2**64)
    names: dict[Any, str] = {}
    for i, p in enumerate(state.populations):
        label = str(p.label).replace("/", "_")
        names[p] = label if label not in network.populations else f"{label} #{i}"
        network.population(names[p], p.size, _model(p, state, until, network.seed), **_initial(p))
    parts = {p: list(_parts(network, names, p)) for p in state.projections}
    spans = [span for source in state.sources for span in _inject(network, names, source, state)]
    for p, name in names.items():
        every = p.recorder.sampling_interval
        for variable in p.recorder.recorded:
            ids = p.recorder.indices(variable)
            if variable.name == "spikes":
                network.record(name, "spikes", ids=ids)
            else:
                network.record(name, p.celltype.variables[variable.name][0], every, ids)
    neurons = sum(p.size for p in state.populations)
    threads = state.threads or max(1, min(2, neurons // _NEURONS))
    circuit = _Circuit(spans, network, state.dt, state.backend, threads, state.dtype)
    renewal = any(isinstance(p.celltype, Renewal) for p in state.populations)
    return Built(circuit, until if renewal else np.inf, names, parts)


def _model(p: Any, state: State, until: int, seed: int) -> Neuron | PoissonSource | SpikeSource:
    """Return the neuron or source that a population consists of."""
    kind, dt = p.celltype, state.dt
    if isinstance(kind, Cell):
        return kind.as_neuron(p.parameters, dt)
    if isinstance(kind, SpikeSourcePoisson):
        start = np.rint(p.parameters["start"] / dt) * dt
        stop = np.rint(np.minimum(p.parameters["start"] + p.parameters["duration"], 1e12) / dt) * dt
        return PoissonSource(p.parameters["rate"], one(start), one(np.where(stop >= 1e10, np.inf, stop)))
    if isinstance(kind, SpikeSourceArray):
        return _given(p, state)
    if isinstance(kind, Renewal):
        stop = np.minimum(p.parameters["start"] + p.parameters["duration"], until * dt)
        law = kind.law(p.parameters)
        return renewal_source(p.size, **law, start=p.parameters["start"], stop=stop, dt=dt, seed=seed,
                              stream=_RENEWAL + int(p.first_id))  # fmt: skip
    raise ParameterError(f"{p.label}: {type(kind).__name__} is no cell of this backend.")


def _given(p: Any, state: State) -> SpikeSource:
    """Return the given spikes of a population, rounded to the grid; what lies ahead comes in the next step or later."""
    trains = [np.asarray(train.value, np.float64) for train in p.parameters["spike_times"]]
    times = np.concatenate([np.zeros(0), *trains])
    ids = np.repeat(np.arange(p.size), [train.size for train in trains])
    if not np.isfinite(times).all() or (times < 0).any():
        raise EventError(f"{p.label}: spike times must be finite and at least 0 ms.")
    steps = np.maximum(np.rint(times / state.dt), np.where(times > state.t + 1e-9, state.step + 1, 1))
    return SpikeSource(steps * state.dt, ids)


def _initial(p: Any) -> dict[str, NDArray[np.float64]]:
    """Return initial values by our names and in our units."""
    known = getattr(p.celltype, "variables", {})
    return {known[name][0]: values / known[name][1] for name, values in p.initial.items()}


def _roots(cells: Any) -> tuple[list[Any], Longs, Longs]:
    """Return the populations behind a population, view or assembly, and of each cell, which and where."""
    roots: list[Any] = []
    which, where = np.empty(cells.size, np.int64), np.empty(cells.size, np.int64)
    at = 0
    for piece in getattr(cells, "populations", [cells]):
        root = piece if hasattr(piece, "parameters") else piece.grandparent
        own = np.arange(root.size) if root is piece else piece.index_in_grandparent(np.arange(piece.size))
        if root not in roots:
            roots.append(root)
        which[at : at + own.size], where[at : at + own.size] = roots.index(root), own
        at += own.size
    return roots, which, where


def _parts(network: Network, names: dict[Any, str], projection: Any) -> Iterator[Part]:
    """Describe one of PyNN's projections: a part for every pair of populations and every rule; none for junctions."""
    sources, from_which, from_where = _roots(projection.pre)
    targets, to_which, to_where = _roots(projection.post)
    pre, post = projection.presynaptic, projection.postsynaptic
    for t, target in enumerate(targets):
        unit, tau = target.celltype.weight_unit, target.celltype.tau_syn(projection.receptor_type)
        for s, source in enumerate(sources):
            chosen = np.flatnonzero((from_which[pre] == s) & (to_which[post] == t))
            if isinstance(projection.synapse_type, ElectricalSynapse):
                pairs = Pairs(from_where[pre[chosen]], to_where[post[chosen]])
                conductance = projection.values["weight"][chosen] * MILLI
                network.couple(names[source], names[target], pairs, conductance=conductance)
                continue
            for which, own, tau_syn in _alike(projection, chosen, target, to_where[post[chosen]], tau):
                ends = from_where[pre[which]], to_where[post[which]]
                order = np.lexsort((ends[1], ends[0]))
                link = network.connect(
                    names[source], names[target], Pairs(ends[0][order], ends[1][order]),
                    receptor=projection.receptor_type, weight=projection.values["weight"][which[order]] * unit,
                    delay=projection.values["delay"][which[order]],
                    synapse=projection.synapse_type.rule(own, unit, tau_syn),
                )[0]  # fmt: skip
                yield Part(which[order], link, unit)


def _alike(
    projection: Any, chosen: Longs, target: Any, cells: Longs, tau: str | None
) -> Iterator[tuple[Longs, dict[str, float], float | None]]:
    """Sort synapses by the parameters of their rules; a rule has numbers, not arrays."""
    extra = [name for name in projection.values if name not in ("weight", "delay", "dendritic_delay_fraction")]
    if not chosen.size:
        return
    if not extra:
        yield chosen, {}, None
        return
    own_tau = target.parameters[tau][cells] if tau is not None and projection.synapse_type.knows_receptor else None
    columns = [projection.values[name][chosen] for name in extra] + ([] if own_tau is None else [own_tau])
    kinds, kind = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    if len(kinds) > _RULES:
        raise ParameterError(
            f"{projection.label}: its synapses have {len(kinds)} different sets of {', '.join(extra)}; accepted are at "
            f"most {_RULES}."
        )
    for k, row in enumerate(kinds):
        yield chosen[kind.ravel() == k], dict(zip(extra, row[: len(extra)].tolist(), strict=True)), \
            None if own_tau is None else float(row[-1])  # fmt: skip


def _inject(network: Network, names: dict[Any, str], source: Any, state: State) -> Iterator[tuple[int, int]]:
    """Describe a current source: a stimulus for every run of neighbouring cells; return their places."""
    cells: dict[Any, list[int]] = {}
    for cell in source.cells:
        cells.setdefault(cell.parent, []).append(cell.parent.id_to_index(cell))
    for p, ids in cells.items():
        if p not in names:
            continue
        own = np.sort(np.array(ids))
        if isinstance(source, NoisyCurrentSource) and source.steps(state.dt) > 1:
            for i in own.tolist():
                network.stimulate(names[p], source.held(state.dt, int(p.first_id) + i, network.seed))
                yield i, i + 1
            continue
        for run in np.split(own, np.flatnonzero(np.diff(own) != 1) + 1):
            network.stimulate(names[p], source.drive(state.dt))
            yield int(run[0]), int(run[-1]) + 1


def _take_over(state: State, before: Built | None, after: Built) -> None:
    """Put a network where its predecessor stood."""
    if before is not None:
        old, new = before.circuit, after.circuit
        new.state = replace(new.state, step=state.step)
        for p, name in after.names.items():
            if p in before.names:
                _take_states(p, old, before.names[p], new, name)
        _take_spikes(before, after)
        _take_synapses(before, after)
    for p in state.populations:
        p.assigned.clear()
    for projection in state.projections:
        projection.assigned = False


def _take_states(p: Any, old: Circuit, was: str, new: Circuit, name: str) -> None:
    """Copy a population's state variables, but for those set since the last run."""
    known = getattr(p.celltype, "variables", {})
    kept = {known[variable][0] for variable in p.assigned}
    (g, at), (h, to) = old.laid.place[was], new.laid.place[name]
    for variable, values in new.state.values[h].items():
        if variable in old.state.values[g] and variable not in kept:
            values[to : to + p.size] = old.state.values[g][variable][at : at + p.size]


def _take_spikes(before: Built, after: Built) -> None:
    """Copy the spikes that may still be under way."""
    old, new = before.circuit, after.circuit
    horizon = new.laid.plan.horizon
    for h in range(len(new.laid.plan.groups)):
        steps, ids = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for p, name in after.names.items():
            if new.laid.place[name][0] != h or p not in before.names:
                continue
            g, at = old.laid.place[before.names[p]]
            start = old.state.start[g]
            when = np.repeat(np.arange(start.size - 1), np.diff(start)) + horizon - (start.size - 1)
            keep = (old.state.ids[g] >= at) & (old.state.ids[g] < at + p.size) & (when >= 0)
            steps.append(when[keep])
            ids.append(old.state.ids[g][keep].astype(np.int64) - at + new.laid.place[name][1])
        step, neuron = np.concatenate(steps), np.concatenate(ids)
        order = np.lexsort((neuron, step))
        new.state.start[h] = np.searchsorted(step[order], np.arange(horizon + 1)).astype(np.int64)
        new.state.ids[h] = neuron[order].astype(np.int32)


def _take_synapses(before: Built, after: Built) -> None:
    """Copy weights and traces of plastic synapses, but for weights set since the last run."""
    old, new = before.circuit, after.circuit
    fresh = synapses.saved(new.laid.plan, new.state)
    held = synapses.saved(old.laid.plan, old.state)
    for projection, parts in after.parts.items():
        for was, now in zip(before.parts.get(projection, []), parts, strict=False):
            if now.link.synapse is None or was.link.synapse is None or not np.array_equal(was.which, now.which):
                continue
            b, values = new.laid.plastic[now.link.index], held[old.laid.plastic[was.link.index]]
            for name, value in fresh[b].items():
                if name in values and values[name].shape == value.shape and not (name == "w" and projection.assigned):
                    fresh[b][name] = values[name]
    new.state = replace(new.state, plastic=synapses.restored(new.laid.plan, new.state, fresh, "carried over"))
