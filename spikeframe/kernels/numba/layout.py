"""Synapses of several projections laid out for a grid run: cut by target part, rows sorted by delay."""

from __future__ import annotations

import numpy as np
from numba import njit

#: Keys that are sorted by insertion before runs are merged.
RUN = 16


@njit(cache=True, nogil=True, error_model="numpy")
def _part(cuts, neuron):  # type: ignore[no-untyped-def]
    p = 0
    while neuron >= cuts[p + 1]:
        p += 1
    return p


@njit(cache=True, nogil=True, error_model="numpy")
def count(lo, hi, start, target, source_at, target_at, cuts, many):  # type: ignore[no-untyped-def]
    """Count the synapses of the rows lo..hi into ``many[part, source]``.

    `source_at` and `target_at` are where the projection's populations begin in their groups.
    """
    for i in range(lo, hi):
        for e in range(start[i], start[i + 1]):
            many[_part(cuts, target[e] + target_at), source_at + i] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def fill(  # type: ignore[no-untyped-def]
    lo, hi, start, target, weight, delay, source_at, target_at, cuts, bases, receptor, place, slots, weights, delays
):
    """Copy the synapses of the rows lo..hi to ``place[part, source]``, which moves on.

    `weight` and `delay` have one entry per synapse or a single one; `weights` and `delays` may be empty: not kept.
    """
    for i in range(lo, hi):
        for e in range(start[i], start[i + 1]):
            neuron = target[e] + target_at
            p = _part(cuts, neuron)
            at = place[p, source_at + i]
            slots[at] = bases[p] + receptor * (cuts[p + 1] - cuts[p]) + neuron - cuts[p]
            if weights.size:
                weights[at] = weight[e if weight.size > 1 else 0]
            if delays.size:
                delays[at] = delay[e if delay.size > 1 else 0]
            place[p, source_at + i] = at + 1


@njit(cache=True, nogil=True, error_model="numpy")
def ascending(keys):  # type: ignore[no-untyped-def]
    """Return the stable order of keys, by merging; NumPy's argsort takes five seconds to compile."""
    n = keys.size
    order, other = np.arange(n), np.empty(n, np.int64)
    for lo in range(0, n, RUN):
        for e in range(lo + 1, min(n, lo + RUN)):
            at = e
            while at > lo and keys[order[at - 1]] > keys[e]:
                order[at] = order[at - 1]
                at -= 1
            order[at] = e
    width = RUN
    while width < n:
        for lo in range(0, n, 2 * width):
            middle, hi = min(n, lo + width), min(n, lo + 2 * width)
            a, b = lo, middle
            for e in range(lo, hi):
                if b == hi or (a < middle and keys[order[a]] <= keys[order[b]]):
                    other[e] = order[a]
                    a += 1
                else:
                    other[e] = order[b]
                    b += 1
        order, other = other, order
        width *= 2
    return order


@njit(cache=True, nogil=True, error_model="numpy")
def _arrange(order, slots, weights, delays):  # type: ignore[no-untyped-def]
    old_slots, old_weights, old_delays = slots.copy(), weights.copy(), delays.copy()
    for e in range(order.size):  # a loop compiles in a fraction of the time that indexing by arrays takes
        slots[e], weights[e], delays[e] = old_slots[order[e]], old_weights[order[e]], old_delays[order[e]]


@njit(cache=True, nogil=True, error_model="numpy")
def _by_delay(slots, weights, delays):  # type: ignore[no-untyped-def]
    """Bring synapses into the order of their delays, those of one delay as they were, by counting."""
    least, most = delays.min(), delays.max()
    if most - least > 4 * delays.size + 1000:
        _arrange(ascending(delays), slots, weights, delays)
        return
    place = np.zeros(most - least + 2, np.int64)
    for d in delays:
        place[d - least + 1] += 1
    for d in range(most - least):
        place[d + 1] += place[d]
    old_slots, old_weights = slots.copy(), weights.copy()
    for e in range(delays.size):
        d = delays[e] - least
        slots[place[d]], weights[place[d]] = old_slots[e], old_weights[e]
        place[d] += 1
    e = 0
    for d in range(most - least + 1):
        delays[e : place[d]] = least + d
        e = place[d]


@njit(cache=True, nogil=True, error_model="numpy")
def sort_rows(lo, hi, start, slots, weights, delays, many):  # type: ignore[no-untyped-def]
    """Sort the rows lo..hi by (delay, slot) in place; ``many[row]`` becomes the number of distinct delays."""
    for row in range(lo, hi):
        a, b = start[row], start[row + 1]
        if a == b:
            continue
        own_slots, own_weights, own_delays = slots[a:b], weights[a:b], delays[a:b]
        for e in range(1, b - a):
            if own_slots[e] < own_slots[e - 1]:  # projections are not in the order of their targets
                _arrange(ascending(own_slots), own_slots, own_weights, own_delays)
                break
        _by_delay(own_slots, own_weights, own_delays)
        found = 1
        for e in range(1, b - a):
            found += own_delays[e] != own_delays[e - 1]
        many[row] = found


@njit(cache=True, nogil=True, error_model="numpy")
def segments(lo, hi, start, delays, segment_start, segment_delay, segment_size):  # type: ignore[no-untyped-def]
    """Write the segments of the rows lo..hi, whose delays are sorted."""
    for row in range(lo, hi):
        s = segment_start[row] - 1
        for e in range(start[row], start[row + 1]):
            if e == start[row] or delays[e] != delays[e - 1]:
                s += 1
                segment_delay[s] = delays[e]
                segment_size[s] = 0
            segment_size[s] += 1
