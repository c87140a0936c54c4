"""From described plastic synapses and gap junctions to a plan, and weights in their projection's own order.

The own order of a projection is by source, then as its rule makes them (given pairs: by target); it is the same for any
number of threads, unlike the order in a plan's bundles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeframe.core.building import TRANSMISSION, build, floats
from spikeframe.core.distributions import Constant
from spikeframe.core.network import Network, Population, Projection
from spikeframe.errors import (
    CheckpointError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    SpikeframeError,
    unknown_name,
)
from spikeframe.kernels.connectivity import Connectivity
from spikeframe.kernels.gap_junctions import Gaps, junctions
from spikeframe.kernels.grid import Bundle, Group, Longs, Plan, State, WeightSample
from spikeframe.kernels.numba.plasticity import incoming
from spikeframe.kernels.plasticity import Plastic, Traced, fresh, signalled, traced
from spikeframe.kernels.steps import Array
from spikeframe.kernels.trace import FLOAT

if TYPE_CHECKING:
    from spikeframe.core.layout import Laid


@dataclass(frozen=True, eq=False)
class Weights:
    """Synapses of a projection in its own order.

    Attributes:
        source: ``[n]`` neurons of the source population.
        target: ``[n]`` neurons of the target population.
        weight: ``[n]``.
    """

    source: Longs
    target: Longs
    weight: NDArray[Any]


def numbered(link: Projection, seed: int, stream: int, dt: float, threads: int) -> tuple[Connectivity, Array]:
    """Build a plastic projection: each synapse's "weight" is its place, the weights come beside.

    Args:
        link: its description.
        seed: key of every random number.
        stream: first of its random streams.
        dt: ms.
        threads: changes nothing but the time.
    """
    built = floats(link, seed, stream, dt, threads)
    weight = np.asarray(built.weight, np.float64)
    limits = None if link.synapse is None else link.synapse.bounds()
    if limits is not None:  # a drawn weight is rounded, and may end beyond its bound
        weight = np.clip(weight, *limits)
    whole = np.int32 if weight.size < 2**31 else np.int64
    return replace(built, weight=np.arange(weight.size, dtype=whole)), weight


def plastic(
    link: Projection, bundle: Bundle, groups: list[Group], slot: tuple[int, int], cuts: Longs, bases: Longs, dt: float,
    stream: int,
) -> Bundle:  # fmt: skip
    """Return a bundle with its rule and, where the rule looks at the targets' spikes, the index of incoming synapses.

    Args:
        link: its description.
        bundle: its synapses, numbered.
        groups: of the plan.
        slot: target group and receptor.
        cuts: of the target group, where its parts begin.
        bases: of the target group, its first slot in each part.
        dt: ms.
        stream: first of its random streams.

    Raises:
        ParameterError: the rule needs spikes of targets that have none.
    """
    if link.synapse is None:
        raise SpikeframeError(f"{link.name}: its synapses are static.")
    rule, (g, receptor) = traced(link.synapse, dt), slot
    by_source = bundle.delay is not None
    start, place, source = np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int32)
    if rule.watches:
        program = groups[g].program
        if program is None or not program.spikes:
            raise ParameterError(
                f"{link.name}: {type(link.synapse).__name__} needs spikes of {link.target.name!r}, which has none."
            )
        start, place, source = _incoming(bundle, groups[g].size, cuts, bases, receptor)
    _check_states(link, rule, groups[g])
    held = source if by_source else source[:0]
    own = Plastic(rule, g, receptor, by_source, start, place, held, stream + TRANSMISSION)
    return replace(bundle, plastic=own)


def _check_states(link: Projection, rule: Traced, group: Group) -> None:
    """Refuse a rule that reads a state variable which its targets do not have."""
    leaves = () if group.program is None else group.program.leaves
    known = [leaf.name for leaf in leaves if leaf.kind == "state" and leaf.dtype == FLOAT]
    for name in rule.states:
        if name not in known:
            reader = f"state variable of {link.target.name!r}, which {type(link.synapse).__name__} reads"
            raise unknown_name(reader, name, known)


def _incoming(bundle: Bundle, targets: int, cuts: Longs, bases: Longs, receptor: int) -> tuple[Longs, Array, Array]:
    """Return the index of incoming synapses: where each target's begin, their places and sources."""
    shifts = cuts[:-1] - bases - receptor * np.diff(cuts)
    spans = list(zip(bundle.start[:, 0], bundle.start[:, -1], strict=True))
    many = np.zeros(targets, np.int64)
    for (lo, hi), shift in zip(spans, shifts, strict=True):
        many += np.bincount(bundle.target[lo:hi].astype(np.int64) + shift, minlength=targets)
    start = np.concatenate([[0], np.cumsum(many)]).astype(np.int64)
    place = np.empty(bundle.synapses, np.int32 if bundle.synapses < 2**31 else np.int64)
    source = np.empty(bundle.synapses, np.uint16 if bundle.start.shape[1] <= 1 << 16 else np.int32)
    at = start.copy()
    for part, shift in enumerate(shifts):
        incoming(bundle.start[part], bundle.target, shift, at, place, source)
    return start, place, source


def initial(plan: Plan, weights: Mapping[int, Array], values: list[dict[str, Any]]) -> list[dict[str, Array]]:
    """Return the state of every bundle at the start; empty for static ones.

    Args:
        plan: what will run.
        weights: per plastic bundle, in the projection's own order.
        values: per group, the state variables at the start, where the traces begin that follow them.
    """
    found: list[dict[str, Array]] = []
    for b, bundle in enumerate(plan.bundles):
        if bundle.plastic is None:
            found.append({})
            continue
        own = weights[b].astype(plan.dtype)[bundle.weight]
        group = bundle.plastic.group
        sources, targets = plan.groups[bundle.source].size, plan.groups[group].size
        found.append(fresh(bundle.plastic, own, plan.parts, sources, targets))
        found[-1] |= {name: values[group][v].astype(plan.dtype) for name, v in bundle.plastic.rule.follow}
    return found


def checked_weights(link: Projection, weights: ArrayLike, bundle: Bundle, dtype: np.dtype[Any]) -> Array:
    """Return weights of a plastic projection in its bundle's order.

    Args:
        link: the projection.
        weights: ``[n]`` in its own order.
        bundle: its synapses.
        dtype: float type of the run.

    Raises:
        ShapeError: there are more or fewer synapses.
        NonFiniteError: a weight is NaN or infinite.
        ParameterError: one is outside the rule's bounds.
    """
    given = np.asarray(weights, np.float64)
    if given.shape != bundle.weight.shape:
        raise ShapeError(f"{link.name}: weights of shape {given.shape} for {bundle.synapses} synapses.")
    if not np.isfinite(given).all():
        raise NonFiniteError(f"{link.name}: weight {int(np.flatnonzero(~np.isfinite(given))[0])} is not finite.")
    limits = None if link.synapse is None else link.synapse.bounds()
    if limits is not None and given.size and (given.min() < limits[0] or given.max() > limits[1]):
        raise ParameterError(
            f"{link.name}: weights from {given.min():g} to {given.max():g}; its rule keeps them within "
            f"[{limits[0]:g}, {limits[1]:g}]."
        )
    return given.astype(dtype)[bundle.weight]


def saved(plan: Plan, state: State) -> list[dict[str, Array]]:
    """Return weights and traces of every bundle as they are for any number of parts.

    Args:
        plan: what runs.
        state: as it stands.
    """
    found = []
    for bundle, held in zip(plan.bundles, state.plastic, strict=True):
        free: dict[str, Array] = {}
        for name, value in held.items():
            owner = kind(bundle, name)
            if owner == "synapse":
                free[name] = np.empty_like(value)
                free[name][bundle.weight] = value
            else:
                free[name] = value[0] if owner == "source" else value
        found.append(free)
    return found


def restored(plan: Plan, like: State, free: list[dict[str, Array]], path: Any) -> list[dict[str, Array]]:
    """Return what `saved` gave, laid out for a plan.

    Args:
        plan: what will run.
        like: a state of this plan, for shapes and types.
        free: what `saved` returned.
        path: for the message.

    Raises:
        CheckpointError: it does not fit.
    """
    found = []
    for bundle, fresh_one, given in zip(plan.bundles, like.plastic, free, strict=True):
        laid: dict[str, Array] = {}
        for name, value in fresh_one.items():
            owner, own = kind(bundle, name), given[name]
            shape = value.shape[1:] if owner == "source" else value.shape
            if own.shape != shape or own.dtype != value.dtype:
                raise CheckpointError(f"{path}: plastic synapses do not fit the network; was it described differently?")
            if owner == "synapse":
                laid[name] = own[bundle.weight]
            else:
                laid[name] = np.tile(own, (value.shape[0], 1)) if owner == "source" else own
        found.append(laid)
    return found


def signal(link: Projection, laid: Laid, state: State, value: float) -> None:
    """Let a signal change all synapses of a projection (see `spikeframe.kernels.plasticity`).

    Args:
        link: the projection.
        laid: the plan it is in.
        state: as it stands; changed in place.
        value: of the signal.

    Raises:
        ParameterError: its rule takes no signals.
    """
    plan, rule = laid.plan, None if link.synapse is None else link.synapse
    bundle = plan.bundles[laid.plastic[link.index]] if rule is not None else None
    plastic = None if bundle is None else bundle.plastic
    if bundle is None or plastic is None or not {"at_signal", "signal"} & {name for name, _ in plastic.rule.programs}:
        why = "its synapses are static" if rule is None else f"{type(rule).__name__} takes no signals"
        raise ParameterError(f"signal({link.name}): {why}; a rule such as RewardSTDP does.")
    parts = np.repeat(np.arange(plan.parts), bundle.start[:, -1] - bundle.start[:, 0])
    shift = np.array([plan.first_neuron(plastic.group, plastic.receptor, p) for p in range(plan.parts)], np.int64)
    neurons = bundle.target.astype(np.int64) + shift[parts]
    signalled(plastic, state.plastic[laid.plastic[link.index]], state.step, value, neurons)


def kind(bundle: Bundle, name: str) -> str:
    """Return whose a value of a bundle's state is: ``"synapse"``, ``"target"`` or (a copy a part) ``"source"``.

    Args:
        bundle: of plastic synapses.
        name: ``"w"`` or that of a trace.
    """
    if bundle.plastic is None:
        raise SpikeframeError("a static bundle has no state.")
    rule = bundle.plastic.rule
    if name in rule.post:
        return "target"
    if name in rule.whole:
        return "source"
    return "source" if name in rule.pre and bundle.plastic.by_source else "synapse"


def samples(network: Network, bundles: list[Bundle], place: Mapping[int, int], every: list[int]) -> list[WeightSample]:
    """Return what is to be written down of weights.

    Args:
        network: says what is recorded.
        bundles: of the plan.
        place: projection to bundle.
        every: steps, per recorder.
    """
    found = []
    for recorder, steps in zip(network.weight_recorders, every, strict=True):
        b = place[recorder.projection.index]
        order = bundles[b].weight
        ids = np.arange(order.size) if recorder.ids is None else recorder.ids
        if ids.size and ids[-1] >= order.size:
            name = recorder.projection.name
            raise ParameterError(f"record({name}, 'weight'): synapse {ids[-1]}, but there are {order.size}.")
        wanted = np.zeros(order.size, np.bool_)
        wanted[ids] = True
        found.append(WeightSample(b, np.flatnonzero(wanted[order]).astype(np.int64), steps))
    return found


def gaps(
    network: Network, place: Mapping[str, tuple[int, int]], groups: list[Group], stream: Any, threads: int,
    dtype: np.dtype[Any],
) -> Gaps | None:  # fmt: skip
    """Build the gap junctions of a network.

    Args:
        network: what to build.
        place: per population, its group and first neuron there.
        groups: of the plan.
        stream: index of a projection of gap junctions to its first random stream.
        threads: changes nothing but the time.
        dtype: float type of the run.
    """
    if not network.gap_junctions:
        return None
    touched = {place[p.name][0] for link in network.gap_junctions for p in (link.source, link.target)}
    sizes = [group.size if g in touched else 0 for g, group in enumerate(groups)]
    first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def at(p: Population) -> int:
        g, lo = place[p.name]
        return int(first[g]) + lo

    ends, others, values = [], [], []
    for link in network.gap_junctions:
        built = floats(link, network.seed, stream(link.index), 1.0, threads)
        many = np.diff(built.start)
        ends.append(np.repeat(np.arange(many.size, dtype=np.int64), many) + at(link.source))
        others.append(built.target.astype(np.int64) + at(link.target))
        values.append(np.asarray(built.weight, np.float64))
    return junctions(np.concatenate(ends), np.concatenate(others), np.concatenate(values), first, dtype)


def listed(link: Projection, laid: Laid, state: State, seed: int, stream: int, dt: float, threads: int) -> Weights:
    """Return the synapses of a projection with their weights now, as they act.

    Args:
        link: the projection.
        laid: the plan it is in.
        state: as it stands.
        seed: key of every random number.
        stream: first of its random streams.
        dt: ms.
        threads: changes nothing but the time.
    """
    g = laid.place[link.target.name][0]
    group = laid.plan.groups[g]
    unit = group.units[group.receptors.index(link.receptor)]
    built = build(link if link.synapse is None else replace(link, weight=Constant(1.0)), seed, stream, unit,
                  laid.plan.dtype, dt, threads)  # fmt: skip
    source = np.repeat(np.arange(built.start.size - 1, dtype=np.int64), np.diff(built.start))
    if link.index in laid.plastic:
        b = laid.plastic[link.index]
        weight = np.empty_like(state.plastic[b]["w"])
        weight[laid.plan.bundles[b].weight] = state.plastic[b]["w"]
    elif built.weight is None:
        weight = np.full(source.size, np.rint(link.weight.value / unit) * unit)
    else:
        weight = built.weight * unit
    return Weights(source, built.target.astype(np.int64), weight)
