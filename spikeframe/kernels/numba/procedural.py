"""Delivery through rows that are drawn at every spike (see `spikeframe.kernels.procedural`).

A thread draws a row once and cuts it at the borders of all its parts: rows are ascending. So with several threads every
row is drawn by each of them; a thread stops where its last target lies behind, if the rule draws from left to right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spikeframe.kernels.grid import Ints, Longs, Plan
from spikeframe.kernels.numba.borrowing import BORROWING, MAKING
from spikeframe.kernels.numba.philox import draw
from spikeframe.kernels.numba.rules import ALL, PROBABILITY, needs, row
from spikeframe.kernels.procedural import Regenerated, Values


@njit(**MAKING)
def _row(rule, space, source, reach, k0, k1, out):  # type: ignore[no-untyped-def]
    """Draw the targets of one source; of those from `reach` on, some may be left out."""
    kind, number, p, targets, same, autapses, multapses, stream = rule
    n = min(targets, reach) if kind in (PROBABILITY, ALL) else targets
    own = source if same else -1
    return row(kind, number, p, n, own, autapses, multapses, source, stream, k0, k1, out, space)


@njit(cache=True, nogil=True, error_model="numpy")
def _value(law, place, source, k0, k1):  # type: ignore[no-untyped-def]
    """Return the weight or delay of one synapse, as the builder draws it."""
    drawn, one, kind, parameters, unit, least, stream = law
    if not drawn:
        return one
    x = draw(kind, parameters, np.uint32(place), np.uint32(source), np.uint32(stream), k0, k1)
    return max(least, np.int64(np.rint(x / unit)))


@njit(**BORROWING)
def regenerate(  # type: ignore[no-untyped-def]
    ids, start, h0, h1, now, link, k0, k1, out, cuts, bases, offsets, p_lo, p_hi, ring, due, touched, reached
):
    """Add what the spikes of rows h0..h1 send to the parts p_lo..p_hi and what arrives at row `now` or later.

    An arrival at row h goes to ``ring[h % ring.shape[0]]``, and is counted in `due` there. `touched` and `reached` are
    marked for lazy groups, if they have any elements. Returns the synaptic events.
    """
    rule, space, weight, delay, (source_at, sources, target_at, targets, receptor) = link
    lo, hi = max(cuts[p_lo], target_at), min(cuts[p_hi], target_at + targets)
    events = 0
    if lo >= hi:
        return events
    for thread in range(start.shape[0]):
        for h in range(h0, h1):
            for spike in range(start[thread, h], start[thread, h + 1]):
                source = ids[thread, spike] - source_at
                if not 0 <= source < sources:
                    continue
                n = _row(rule, space, source, hi - target_at, k0, k1, out)
                p = p_lo
                for e in range(np.searchsorted(out[:n], lo - target_at), n):
                    neuron = out[e] + target_at
                    if neuron >= hi:
                        break
                    arrival = h + _value(delay, e, source, k0, k1)
                    if arrival < now:
                        continue
                    while neuron >= cuts[p + 1]:
                        p += 1
                    slot = bases[p] + receptor * (cuts[p + 1] - cuts[p]) + neuron - cuts[p]
                    at = arrival % ring.shape[0]
                    ring[at, offsets[p] + slot] += _value(weight, e, source, k0, k1)
                    due[at] += 1
                    events += 1
                    if reached.size:
                        touched[p, slot >> 6] = 1
                        reached[p] = 1
    return events


@njit(**BORROWING)
def pour(ring, acc, offsets, p_lo, p_hi, touched, reached):  # type: ignore[no-untyped-def]
    """Move one row of the ring to the accumulators of the parts p_lo..p_hi."""
    for p in range(p_lo, p_hi):
        first = offsets[p]
        for slot in range(first, offsets[p + 1]):
            if ring[slot] != 0:
                acc[slot] += ring[slot]
                ring[slot] = 0
                if reached.size:
                    touched[p, (slot - first) >> 6] = 1
                    reached[p] = 1


@njit(cache=True, nogil=True, error_model="numpy")
def _owed(start, ids, horizon, link, k0, k1, out):  # type: ignore[no-untyped-def]
    rule, space, _, delay, (source_at, sources, _, targets, _) = link
    events = 0
    for h in range(horizon):
        for spike in range(start[h], start[h + 1]):
            source = ids[spike] - source_at
            if 0 <= source < sources:
                for e in range(_row(rule, space, source, targets, k0, k1, out)):
                    events += h + _value(delay, e, source, k0, k1) >= horizon
    return events


@njit(cache=True, nogil=True, error_model="numpy")
def _fan_out(chosen, link, k0, k1, out, many):  # type: ignore[no-untyped-def]
    rule, space, _, _, (_, _, _, targets, _) = link
    for i in range(chosen.size):
        many[i] = _row(rule, space, chosen[i], targets, k0, k1, out)


def packed(link: Regenerated) -> Any:
    """Return what the compiled functions take: rule, space, weight, delay, place.

    Args:
        link: the projection.
    """
    law = link.law
    number, p, space = needs(law.kind, law.number, law.p, law.space)
    rule = (law.kind, number, p, link.targets, law.same, law.autapses, law.multapses, link.stream)
    place = (link.source_at, link.sources, link.target_at, link.targets, link.receptor)
    return rule, space, _packed(link.weight), _packed(link.delay), place


def _packed(v: Values) -> Any:
    return v.one is None, v.one or 0, v.kind, v.parameters, v.unit, v.least, v.stream


def room(link: Regenerated) -> int:
    """Return the targets that a row may have.

    Args:
        link: the projection.
    """
    return max(1, link.targets, int(link.law.number))


def _rest(link: Regenerated, seed: int) -> tuple[Any, ...]:
    return packed(link), np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32), np.empty(room(link), np.int64)


def owed(link: Regenerated, start: Longs, ids: Ints, horizon: int, seed: int) -> int:
    """Count the synaptic events that kept spikes have not caused yet.

    Args:
        link: the projection.
        start: ``[horizon + 1]`` where the spikes of each kept step begin.
        ids: their neurons.
        horizon: kept steps.
        seed: key.
    """
    events: int = _owed(start, ids, horizon, *_rest(link, seed))
    return events


def fan_out(link: Regenerated, chosen: Longs, seed: int) -> Longs:
    """Count the synapses of some sources by drawing their rows.

    Args:
        link: the projection.
        chosen: sources.
        seed: key.
    """
    many = np.zeros(chosen.size, np.int64)
    _fan_out(chosen, *_rest(link, seed), many)  # type: ignore[call-arg]
    return many


def arguments(plan: Plan, threads: int, acc: NDArray[Any]) -> dict[str, Any]:
    """Return what a driver takes further where a network has such projections.

    Args:
        plan: the network.
        threads: number of threads.
        acc: the accumulators.
    """
    late = [link.delays[1] for link in plan.regenerated if link.delay.one is None]
    found: dict[str, Any] = {
        "ring": np.zeros((max(late, default=0) + 1, int(plan.offsets[-1]) if late else 0), acc.dtype),
        "now_only": acc[np.newaxis],
        "unmarked": np.zeros(0, np.uint8),
        "unmarked_parts": np.zeros((0, 0), np.uint8),
    }
    for i, link in enumerate(plan.regenerated):
        found[f"r{i}_link"] = packed(link)
        found[f"r{i}_out"] = np.empty((threads, room(link)), np.int64)
        found[f"r{i}_due"] = np.zeros((threads, found["ring"].shape[0] if link.delay.one is None else 1), np.int64)
    return found


def text(plan: Plan, marked: bool, number: Callable[[int], str]) -> dict[str, list[str]]:
    """Return the statements of all such projections, by their place in the driver.

    Rows with one delay are drawn when they arrive; those with several when their spike is seen by all threads, into a
    ring of accumulators for the steps to come.

    Args:
        plan: the network.
        marked: whether lazy groups must learn what is reached.
        number: gives the driver's name of a whole number.
    """
    marks = "touched, reached" if marked else "unmarked_parts, unmarked"
    found: dict[str, list[str]] = {"imports": [], "prologue": [], "enter": [], "before": []}
    if not plan.regenerated:
        return found
    found["imports"].append("from spikeframe.kernels.numba.procedural import pour, regenerate")
    arriving = []
    for i, link in enumerate(plan.regenerated):
        s, g, b = f"g{link.source}_", link.group, len(plan.bundles) + i
        places = f"row(cuts, {g}), row(bases, {g}), offsets, p_lo, p_hi"
        rest = f"r{i}_link, k0, k1, row(r{i}_out, thread), {places}"
        if link.delay.one is not None:
            h = f"h - {number(link.delay.one)}"
            found["before"].append(
                f"events{b} += regenerate({s}ids, {s}start, {h}, {h} + 1, h, {rest}, now_only, "
                f"row(r{i}_due, thread), {marks})"
            )
            continue
        found["prologue"].append(f"regenerated{i} = 0")
        found["enter"] += [
            f"regenerate({s}ids, {s}start, regenerated{i}, horizon + done, horizon + done, {rest}, ring, "
            f"row(r{i}_due, thread), unmarked_parts, unmarked)",
            f"regenerated{i} = horizon + done",
        ]
        at = f"r{i}_due[thread, h % ring.shape[0]]"
        arriving += [f"arriving += {at}", f"events{b} += {at}", f"{at} = 0"]
    if arriving:
        found["before"] += ["arriving = 0", *arriving, "if arriving:"]
        found["before"].append(f"    pour(row(ring, h % ring.shape[0]), acc, offsets, p_lo, p_hi, {marks})")
    return found
