"""From a described network to a plan that kernels run: groups, parts, units of weight, bundles of synapses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil, frexp, inf, log2
from typing import Any

import numpy as np
import torch

from spikeframe.core import accuracy, procedural, synapses
from spikeframe.core.arrivals import most_arrivals
from spikeframe.core.distributions import Constant, as_distribution
from spikeframe.core.network import Network, Population, Projection
from spikeframe.core.own_unit import magnitude, own_unit
from spikeframe.core.stimulation import AC, PoissonInput, StepCurrent
from spikeframe.errors import NonFiniteError, ParameterError, TimeGridError
from spikeframe.kernels.connectivity import Connectivity
from spikeframe.kernels.grid import Bundle, CurrentDrive, Group, Longs, Plan, PoissonDrive, Sample
from spikeframe.kernels.numba import layout, stimuli
from spikeframe.kernels.numba.steps import in_ranges
from spikeframe.kernels.procedural import Regenerated
from spikeframe.neurons import Neuron
from spikeframe.neurons.integrated import Integrated
from spikeframe.neurons.receptors import Current

#: Random streams by purpose; each object has so many of its own.
STREAMS = {
    "initial": 1 << 28, "population": 2 << 28, "projection": 3 << 28, "stimulus": 4 << 28, "gap": 5 << 28,
}  # fmt: skip
_EACH = 16
#: Most accumulator slots of a part, so that 16 bits address them.
_SLOTS = 1 << 16
#: Most drawn delays that are cut off at one step.
_CUT = 1e-3
#: Most steps that are counted one by one.
_STEPS = 2.0**53
#: Most Poisson arrivals of a step, in the mean.
_ARRIVALS = 1_000_000


def stream(purpose: str, index: int, which: int = 0) -> int:
    """Return the random stream of one object.

    Args:
        purpose: a key of `STREAMS`.
        index: the object's place in its network.
        which: its several streams, below 16.
    """
    return STREAMS[purpose] + index * _EACH + which


@dataclass(frozen=True, eq=False)
class Laid:
    """A plan and where everything of the network is in it.

    Attributes:
        plan: what the kernels run.
        place: per population, its group and its first neuron there.
        fan_out: per projection, ``[sources]`` synapses of each; of a procedural one -1 where nobody has counted yet.
        rounding: per projection, the largest error that the weight grid makes, relative to the largest weight.
        values: per group, the initial state.
        plastic: per projection of plastic synapses, its bundle.
        synapses: per bundle, the initial weights and traces of plastic synapses.
    """

    plan: Plan
    place: dict[str, tuple[int, int]]
    fan_out: list[Longs]
    rounding: list[float]
    values: list[dict[str, Any]]
    plastic: dict[int, int]
    synapses: list[dict[str, Any]]


def steps_of(what: str, time: float, dt: float) -> int:
    """Return a time in steps.

    Args:
        what: for the message.
        time: ms.
        dt: ms.

    Raises:
        TimeGridError: it is not a multiple of dt.
    """
    steps = time / dt
    if not abs(steps) <= _STEPS:
        raise TimeGridError(f"{what}={time:g} ms is {steps:g} steps of dt={dt:g} ms; at most 2^53 are counted.")
    if abs(steps - round(steps)) > min(1e-6 * max(1.0, steps), 0.01):
        near = round(steps) * dt
        raise TimeGridError(f"{what}={time:g} ms is not a multiple of dt={dt:g} ms; the nearest is {near:g} ms.")
    return round(steps)


def lay_out(network: Network, dt: float, threads: int, dtype: np.dtype[Any]) -> Laid:
    """Build the synapses and the plan of a network.

    Args:
        network: what to run.
        dt: ms.
        threads: the least number of parts.
        dtype: float32 or float64.

    Raises:
        TimeGridError: a delay or refractory period does not fit the grid.
        SpikeframeError: what the network's parts raise.
    """
    members, neurons = _grouped(network, dt)
    place = {p.name: (g, at) for g, group in enumerate(members) for p, at in _offsets(group)}
    groups = [_group(network, g, members[g], neurons[g], dt, dtype) for g in range(len(members))]
    units = _units(network, place, groups, dtype, dt)
    groups = [_with_units(g, [units[i, r] for r in range(len(g.receptors))]) for i, g in enumerate(groups)]
    cuts, bases, offsets = _parts(groups, threads, any(link.same_step for link in network.projections))
    builder = _Bundles(network, dt, threads, dtype, groups, place, units, cuts, bases)
    bundles, fan_out, rounding = builder.all()
    regenerated = builder.regenerated()
    poisson, currents = _stimuli(network, place, groups, units, dt)
    samples = [
        Sample(place[r.population.name][0], r.variable, r.ids + place[r.population.name][1],
               1 if r.every is None else max(1, steps_of(f"record(every) of {r.population.name!r}", r.every, dt)))
        for r in network.recorders if r.variable != "spikes"
    ]  # fmt: skip
    every = [1 if r.every is None else max(1, steps_of(f"record(every) of {r.projection.name}", r.every, dt))
             for r in network.weight_recorders]  # fmt: skip
    plan = Plan(
        dtype, network.seed, groups, cuts, offsets, bases, bundles, poisson, currents, samples,
        synapses.samples(network, bundles, builder.plastic, every),
        synapses.gaps(network, place, groups, partial(stream, "gap"), threads, dtype), regenerated,
    )  # fmt: skip
    values = [_initial(network, members[g], neurons[g], dtype) for g in range(len(members))]
    by_receptor = {(p, r): units[g, i] for p, (g, _) in place.items() for i, r in enumerate(groups[g].receptors)}
    accuracy.look_at_weights(network, by_receptor)
    accuracy.look_at_times(network, dt)
    weights = synapses.initial(plan, {b: builder.weights[link] for link, b in builder.plastic.items()}, values)
    return Laid(plan, place, fan_out, rounding, values, builder.plastic, weights)


def units_of(network: Network, dt: float, dtype: np.dtype[Any]) -> dict[tuple[str, str], float]:
    """Return what weights are multiples of, per population and receptor.

    Args:
        network: what is to run.
        dt: ms.
        dtype: float32 or float64.
    """
    members, neurons = _grouped(network, dt)
    place = {p.name: (g, at) for g, group in enumerate(members) for p, at in _offsets(group)}
    groups = [_group(network, g, members[g], neurons[g], dt, dtype) for g in range(len(members))]
    units = _units(network, place, groups, dtype, dt)
    return {(name, r): units[g, i] for name, (g, _) in place.items() for i, r in enumerate(groups[g].receptors)}


def levels(network: Network) -> dict[str, int]:
    """Return in which order populations are updated within a step: behind those that reach them in the same step."""
    found = dict.fromkeys(network.populations, 0)
    links = [link for link in network.projections if link.same_step]
    for _ in found:  # no circle: the longest path has fewer links than there are populations
        for link in links:
            found[link.target.name] = max(found[link.target.name], found[link.source.name] + 1)
    return found


def _offsets(group: list[Population]) -> list[tuple[Population, int]]:
    at = np.concatenate([[0], np.cumsum([p.size for p in group])])
    return [(p, int(a)) for p, a in zip(group, at[:-1], strict=True)]


def _grouped(network: Network, dt: float) -> tuple[list[list[Population]], list[list[Neuron | None]]]:
    """Put populations whose traced step is the same side by side, unless one feeds the other in the same step."""
    injected = {s.target.name for s in network.stimuli if not isinstance(s.drive, PoissonInput)}
    injected |= {p.name for link in network.gap_junctions for p in (link.source, link.target)}
    members: list[list[Population]] = []
    neurons: list[list[Neuron | None]] = []
    keys: list[Any] = []
    level = levels(network)
    for p in sorted(network.populations.values(), key=lambda p: level[p.name]):
        neuron = on_grid(p.neuron, dt, p.name in injected) if isinstance(p.neuron, Neuron) else None
        key = None
        if neuron is not None:
            key = level[p.name], neuron.program(), neuron.waiting_program(), tuple(neuron.receptors)
        if key is None or key not in keys:
            keys.append(key)
            members.append([])
            neurons.append([])
        g = len(keys) - 1 if key is None else keys.index(key)
        members[g].append(p)
        neurons[g].append(neuron)
    return members, neurons


def on_grid(neuron: Neuron, dt: float, injected: bool) -> Neuron:
    """Return a copy with this time step, and with a receptor for injected currents if it needs one and has none.

    Args:
        neuron: as described.
        dt: ms.
        injected: whether it is driven by currents.
    """
    own = copy.deepcopy(neuron)
    own.dt = dt
    if injected and "current" not in own.receptors:
        own.receptors = torch.nn.ModuleDict({**own.receptors, "current": Current()})
    return own


def _group(
    network: Network, g: int, members: list[Population], neurons: list[Neuron | None], dt: float, dtype: np.dtype[Any]
) -> Group:
    """Describe a group; coefficients that are equal everywhere stay scalars."""
    size = sum(p.size for p in members)
    name = "+".join(p.name for p in members)
    first = neurons[0]
    if first is None:
        return Group(name, size)
    kind = torch.float32 if dtype == np.float32 else torch.float64
    cast = [n.cast(dt, kind, (p.size,)) for n, p in zip(neurons, members, strict=True) if n is not None]
    coefficients = {}
    for key in first.program().names("coefficient"):
        values = [c[key].detach().numpy() for c in cast]
        if all(v.ndim == 0 and v == values[0] for v in values):
            coefficients[key] = values[0]
        else:
            spread = [np.broadcast_to(v, (p.size,)) for v, p in zip(values, members, strict=True)]
            coefficients[key] = np.ascontiguousarray(np.concatenate(spread))
    current = "current" if "current" in first.receptors else None
    randoms = tuple(getattr(first, "randoms", ()))
    receptors = tuple(n for n in first.receptors if n != current)
    at = stream("population", members[0].index)
    bias = None
    if any(p.bias is not None for p in members):
        spread = [np.zeros(p.size) if p.bias is None else p.bias for p in members]
        bias = np.concatenate(spread).astype(dtype)
    waits, slope = first.waiting_program(), first.slope_program() if isinstance(first, Integrated) else None
    return Group(name, size, first.program(), coefficients, receptors, (), current, randoms, at, bias, waits, slope)


def _with_units(group: Group, units: list[float]) -> Group:
    return Group(**{**group.__dict__, "units": tuple(units)})


def _units(
    network: Network, place: dict[str, tuple[int, int]], groups: list[Group], dtype: np.dtype[Any], dt: float
) -> dict[tuple[int, int], float]:
    """Choose for every receptor the power of two that its weights are multiples of.

    Weights drawn one by one are stored in 16 bits where that keeps their rounding below 3e-4 of their root mean
    square, else in 32. No sum of what can arrive in a step (`most_arrivals`) leaves the accumulators. Weights given one
    by one that lie on a grid of their own, as trained ones do, stay as they are if the accumulators hold their sums.
    """
    largest = {(g, r): 0.0 for g, group in enumerate(groups) for r in range(len(group.receptors))}
    narrow = dict.fromkeys(largest, False)
    coarse = dict.fromkeys(largest, inf)
    arrivals = dict.fromkeys(largest, 1.0)
    links: dict[tuple[int, int], dict[Projection, int]] = {key: {} for key in largest}
    drive = dict.fromkeys(largest, 0.0)
    for link in network.projections:
        key = _slot(link.target, link.receptor, place, groups)
        top, rms = magnitude(link.weight)
        links[key][link] = most_arrivals(link, dt)
        largest[key] = max(largest[key], top)
        arrivals[key] += links[key][link] * 2
        if link.synapse is not None:
            largest[key] = max(largest[key], top * link.synapse.most(), *(abs(w) for w in link.synapse.bounds() or ()))
        elif not isinstance(link.weight, Constant):
            narrow[key], coarse[key] = True, min(coarse[key], rms)
    for stimulus in network.stimuli:
        if isinstance(stimulus.drive, PoissonInput):
            key = _slot(stimulus.target, stimulus.receptor, place, groups)
            largest[key] = max(largest[key], abs(stimulus.drive.weight))
            most = 1000 + float(np.max(stimulus.drive.rate, initial=0.0)) * max(1.0, 2e-3 * dt)
            arrivals[key] += most
            drive[key] += abs(stimulus.drive.weight) * most
    units = {}
    most = 2.0**31 if dtype == np.float32 else 2.0**62
    for key, top in largest.items():
        if top == 0.0:
            units[key] = 1.0
            continue
        exponent = frexp(top)[1]  # top < 2^exponent
        if dtype == np.float64:
            bits = min(31.0 if narrow[key] else 44.0, 62 - ceil(log2(arrivals[key])))
        else:
            bits = min(22, 31 - ceil(log2(arrivals[key])))
            if narrow[key] and coarse[key] >= 1024 * 2.0 ** (exponent - 15):
                bits = min(bits, 15)
        finest = float(np.finfo(dtype).smallest_subnormal)
        units[key] = own_unit(links[key], drive[key], max(2.0 ** (exponent - bits), finest), most)
    return units


def _slot(p: Population, receptor: str, place: dict[str, tuple[int, int]], groups: list[Group]) -> tuple[int, int]:
    g = place[p.name][0]
    return g, groups[g].receptors.index(receptor)


def _parts(groups: list[Group], threads: int, whole: bool) -> tuple[Longs, Longs, Longs]:
    """Cut every group into parts at multiples of 64 neurons; return cuts, bases, offsets.

    Spikes that arrive in their own step need one part, because parts meet only between steps.
    """
    slots = sum(g.size * len(g.receptors) for g in groups)
    parts = 1 if whole else threads * max(1, ceil(slots * 1.02 / (_SLOTS * threads)))
    cuts = np.zeros((len(groups), parts + 1), np.int64)
    bases = np.zeros((len(groups), parts), np.int64)
    offsets = np.zeros(parts + 1, np.int64)
    for g, group in enumerate(groups):
        cuts[g] = np.minimum(group.size, -(-(group.size * np.arange(parts + 1)) // parts // 64) * 64)
        cuts[g, -1] = group.size
    for p in range(parts):
        at = 0
        for g, group in enumerate(groups):
            bases[g, p] = at
            at += int(cuts[g, p + 1] - cuts[g, p]) * len(group.receptors)
        offsets[p + 1] = offsets[p] + at
    return cuts, bases, offsets


def _counted(arguments: tuple[Any, ...], many: Longs, lo: int, hi: int) -> None:
    layout.count(lo, hi, *arguments, many)  # type: ignore[call-arg]


def _filled(arguments: tuple[Any, ...], lo: int, hi: int) -> None:
    layout.fill(lo, hi, *arguments)


class _Bundles:
    """Builds projections one after the other and merges those that one pass over the spikes can deliver."""

    def __init__(
        self, network: Network, dt: float, threads: int, dtype: np.dtype[Any], groups: list[Group],
        place: dict[str, tuple[int, int]], units: dict[tuple[int, int], float], cuts: Longs, bases: Longs,
    ) -> None:  # fmt: skip
        self.network, self.dt, self.threads, self.dtype = network, dt, threads, dtype
        self.groups, self.place, self.units, self.cuts, self.bases = groups, place, units, cuts, bases
        self.parts = cuts.shape[1] - 1
        self.fan_out: list[Longs] = [np.zeros(0, np.int64) for _ in network.projections]
        self.rounding = [0.0 for _ in network.projections]
        self.plastic: dict[int, int] = {}
        self.weights: dict[int, Any] = {}

    def all(self) -> tuple[list[Bundle], list[Longs], list[float]]:
        """Return every bundle, and per projection the fan-out and the rounding."""
        sets: dict[Any, list[list[Projection]]] = {}
        for link in self.network.projections:
            if link.synapse is not None or link.procedural:
                continue
            layers = sets.setdefault(self._key(link), [])
            free = next((layer for layer in layers if self._fits(link, layer)), None)
            if free is None:
                layers.append([link])
            else:
                free.append(link)
        bundles = [self._bundle(key, layer) for key, layers in sets.items() for layer in layers]
        for link in (link for link in self.network.projections if link.synapse is not None):
            self.plastic[link.index] = len(bundles)
            slot = _slot(link.target, link.receptor, self.place, self.groups)
            numbered = self._bundle(self._key(link), [link])
            cut = self.cuts[slot[0]], self.bases[slot[0]]
            own = stream("projection", link.index)
            bundles.append(synapses.plastic(link, numbered, self.groups, slot, *cut, self.dt, own))
        return bundles, self.fan_out, self.rounding

    def regenerated(self) -> list[Regenerated]:
        """Describe the projections whose synapses are not stored."""
        links = [link for link in self.network.projections if link.procedural]
        found = []
        for link in links:
            group, steps, _ = self._key(link)
            target, receptor = _slot(link.target, link.receptor, self.place, self.groups)
            places = group, self.place[link.source.name][1], target, self.place[link.target.name][1]
            one = self._one(link) if isinstance(link.weight, Constant) else None
            own = stream("projection", link.index)
            found.append(procedural.described(link, places, receptor, self._unit(link), one, steps, own, self.dt))
            self.fan_out[link.index] = np.full(link.source.size, -1, np.int64)
            self.rounding[link.index] = self._rounding(link)
        procedural.check_ring(links, found, int(self._offsets()[-1]), self.dtype.itemsize)
        return found

    def _rounding(self, link: Projection) -> float:
        top = magnitude(link.weight)[0]
        return 0.5 * self._unit(link) / top if top else 0.0

    def _key(self, link: Projection) -> tuple[int, int | None, bool]:
        """Return source group, constant delay (or None) and whether a source has one weight."""
        one = isinstance(link.weight, Constant) and link.synapse is None
        if not isinstance(link.delay, Constant):
            _check_drawn(link, self.dt)
            return self.place[link.source.name][0], None, False
        steps = steps_of(f"{link.name}: delay", link.delay.value, self.dt)
        if steps < 1 and not link.same_step:
            raise TimeGridError(f"{link.name}: a delay of {link.delay.value:g} ms is below dt={self.dt:g} ms.")
        return self.place[link.source.name][0], steps, one

    def _unit(self, link: Projection) -> float:
        return self.units[_slot(link.target, link.receptor, self.place, self.groups)]

    def _fits(self, link: Projection, layer: list[Projection]) -> bool:
        """Whether a projection can share a bundle: with one weight per source, only if it is the same."""
        if self._key(link)[1] is None or not self._key(link)[2]:
            return True
        mine = round(link.weight.value / self._unit(link))
        return all(o.source is not link.source or round(o.weight.value / self._unit(o)) == mine for o in layer)

    def _bundle(self, key: tuple[int, int | None, bool], links: list[Projection]) -> Bundle:
        group, delay, shared = key
        sources = self.groups[group].size
        built = [self._built(link) for link in links]
        many = np.zeros((self.parts, sources), np.int64)
        for link, c in zip(links, built, strict=True):
            in_ranges(partial(_counted, self._arguments(link, c), many), c.start.size - 1, self.threads)
        start = np.zeros((self.parts, sources + 1), np.int64)
        flat = np.cumsum(many)
        start[:, 1:] = flat.reshape(many.shape)
        start[1:, 0] = start[:-1, -1]
        total = int(flat[-1]) if flat.size else 0
        slots = np.empty(total, self._slot_type())
        weights = np.empty(0 if shared else total, self._weight_type(links, built))
        delays = np.empty(0 if delay is not None else total, np.int32)
        place = start[:, :-1].copy()
        for link, c in zip(links, built, strict=True):
            target_group, receptor = _slot(link.target, link.receptor, self.place, self.groups)
            weight = (
                np.array([0 if c.weight is None and shared else self._one(link)], np.int64)
                if c.weight is None
                else c.weight
            )
            steps = np.array([0 if delay is not None else self._steps(link)], np.int64) if c.delay is None else c.delay
            source_at, target_at = self.place[link.source.name][1], self.place[link.target.name][1]
            cuts, bases = self.cuts[target_group], self.bases[target_group]
            rest = (
                c.start,
                c.target,
                weight,
                steps,
                source_at,
                target_at,
                cuts,
                bases,
                receptor,
                place,
                slots,
                weights,
                delays,
            )
            in_ranges(partial(_filled, rest), c.start.size - 1, self.threads)
        del built
        if delay is not None:
            if shared:
                weights = np.zeros(sources, np.int32 if self.dtype == np.float32 else np.int64)
                for link in links:
                    at = self.place[link.source.name][1]
                    weights[at : at + link.source.size] = self._one(link)
            none, empty = np.zeros((self.parts, 0), np.int64), np.zeros(0, np.int32)
            return Bundle(group, start, slots, weights, shared, delay, none, empty, empty, (delay, delay))
        return self._segmented(group, start, slots, weights, delays)

    def _segmented(self, group: int, start: Longs, slots: Any, weights: Any, delays: Any) -> Bundle:
        """Sort every row by delay and describe its segments."""
        rows = np.concatenate([start[:, :-1].ravel(), start[-1:, -1]])
        many = np.zeros(rows.size - 1, np.int64)
        in_ranges(lambda lo, hi: layout.sort_rows(lo, hi, rows, slots, weights, delays, many), many.size, self.threads)
        first = np.concatenate([[0], np.cumsum(many)]).astype(np.int64)
        delay, size = np.empty(first[-1], np.int32), np.empty(first[-1], np.int32)
        in_ranges(lambda lo, hi: layout.segments(lo, hi, rows, delays, first, delay, size), many.size, self.threads)
        sources = start.shape[1] - 1
        at = np.zeros(start.shape, np.int64)
        at[:, :-1] = first[:-1].reshape(self.parts, sources)
        at[:, -1] = first[sources::sources] if sources else 0
        span = (int(delay.min(initial=2**31 - 1)), int(delay.max(initial=1))) if delay.size else (1, 1)
        return Bundle(group, start, slots, weights, False, None, at, delay, size, span)

    def _arguments(self, link: Projection, c: Connectivity) -> tuple[Any, ...]:
        target_group, at = self.place[link.target.name]
        return c.start, c.target, self.place[link.source.name][1], at, self.cuts[target_group]

    def _built(self, link: Projection) -> Connectivity:
        """Build one projection; note its fan-out and rounding."""
        from spikeframe.core.building import build

        unit, own = self._unit(link), stream("projection", link.index)
        if link.synapse is None:
            built = build(link, self.network.seed, own, unit, self.dtype, self.dt, self.threads)
        else:
            built, self.weights[link.index] = synapses.numbered(link, self.network.seed, own, self.dt, self.threads)
        self.fan_out[link.index] = np.diff(built.start)
        self.rounding[link.index] = self._rounding(link)
        return built

    def _one(self, link: Projection) -> int:
        return round(float(link.weight.value) / self._unit(link))

    def _steps(self, link: Projection) -> int:
        return steps_of(f"{link.name}: delay", link.delay.value, self.dt)

    def _slot_type(self) -> Any:
        widest = int(np.diff(self._offsets()).max(initial=0))
        return np.uint16 if widest <= _SLOTS else np.int32

    def _offsets(self) -> Longs:
        sizes = [
            sum(
                int(self.cuts[g, p + 1] - self.cuts[g, p]) * len(group.receptors) for g, group in enumerate(self.groups)
            )
            for p in range(self.parts)
        ]
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def _weight_type(self, links: list[Projection], built: list[Connectivity]) -> Any:
        kinds = [c.weight.dtype for c in built if c.weight is not None]
        small = all(magnitude(link.weight)[0] / self._unit(link) < 2**15 - 1 for link in links)
        return (
            np.result_type(*kinds, np.int16)
            if kinds
            else (np.int16 if small else np.int32 if self.dtype == np.float32 else np.int64)
        )


def _check_drawn(link: Projection, dt: float) -> None:
    """Refuse a distribution of delays much of which would have to be cut off at one step."""
    if not isinstance(link.delay, np.ndarray) and (share := link.delay.below(0.5 * dt)) > _CUT:
        raise TimeGridError(
            f"{link.name}: {share:.1%} of the delays drawn from {link.delay} ms are less than half a step of dt={dt:g} "
            f"ms, and a spike takes at least one. Bound them, e.g. Normal(1.5, 0.5, low={dt:g}), or check the unit."
        )


def _stimuli(
    network: Network,
    place: dict[str, tuple[int, int]],
    groups: list[Group],
    units: dict[tuple[int, int], float],
    dt: float,
) -> tuple[list[PoissonDrive], list[CurrentDrive]]:
    """Plan what drives the network from outside."""
    poisson, currents = [], []
    for s in network.stimuli:
        g, at = place[s.target.name]
        start = steps_of("start", s.drive.start, dt)
        stop = 2**62 if s.drive.stop == inf else steps_of("stop", s.drive.stop, dt)
        lo, hi, own = at, at + s.target.size, stream("stimulus", s.index)
        if isinstance(s.drive, PoissonInput):
            key = _slot(s.target, s.receptor, place, groups)
            if (mean := (top := float(np.max(s.drive.rate, initial=0.0))) * dt * 1e-3) > _ARRIVALS:
                raise ParameterError(
                    f"PoissonInput(rate={top:g}) of {s.target.name!r}: {mean:g} arrivals in a step of "
                    f"{dt:g} ms; at most {_ARRIVALS:,} are drawn. The unit is 1/s."
                )
            weight = round(s.drive.weight / units[key])
            poisson.append(PoissonDrive(g, key[1], lo, hi, s.drive.rate * dt * 1e-3, weight, own, start, stop))
        else:
            _check_sampled(s.drive, s.target.name, dt)
            amplitude = _amplitude(s.drive, dt)
            currents.append(CurrentDrive(g, lo, hi, amplitude, float(s.drive.sd), own, start, stop, s.drive.levels))
    return poisson, currents


def _check_sampled(drive: Any, name: str, dt: float) -> None:
    """Refuse a current that changes within steps."""
    if isinstance(drive, StepCurrent):
        for time in np.asarray(drive.times):
            steps_of(f"StepCurrent(times) of {name!r}", float(time), dt)
    if isinstance(drive, AC) and abs(drive.frequency) * dt > 500.0:
        raise ParameterError(
            f"AC(frequency={drive.frequency:g}) of {name!r}: a step of dt={dt:g} ms shows at most {500.0 / dt:g} Hz. "
            "Use a smaller dt, or check the unit (Hz)."
        )


def _amplitude(drive: Any, dt: float) -> Callable[[Any], Any]:
    return lambda steps: drive.at(steps * dt)


def _initial(
    network: Network, members: list[Population], neurons: list[Neuron | None], dtype: np.dtype[Any]
) -> dict[str, Any]:
    """Draw the initial state of a group."""
    if neurons[0] is None:
        return {}
    pieces: dict[str, list[Any]] = {}
    for p, neuron in zip(members, neurons, strict=True):
        if neuron is None:
            continue
        kind = torch.float32 if dtype == np.float32 else torch.float64
        start = neuron.initial_state((1, p.size), kind)
        for i, (name, value) in enumerate(zip(start._fields, start, strict=True)):
            own = value.numpy().reshape(p.size)
            if name in p.initial:
                own = _drawn(network, p, i, p.initial[name]).astype(own.dtype)
            if own.dtype.kind == "f" and not np.isfinite(own).all():
                raise NonFiniteError(f"{p.name}.{name}: an initial value is not finite in {own.dtype}.")
            pieces.setdefault(name, []).append(own)
    return {name: np.concatenate(values) for name, values in pieces.items()}


def _drawn(network: Network, p: Population, i: int, value: Any) -> Any:
    """Return ``[size]`` initial values."""
    if np.ndim(value):
        return np.asarray(value, np.float64)
    kind, parameters = as_distribution(value, f"{p.name}").code()
    k0, k1 = np.uint32(network.seed & 0xFFFFFFFF), np.uint32(network.seed >> 32)
    return stimuli.drawn(p.size, kind, parameters, stream("initial", p.index, i), k0, k1)
