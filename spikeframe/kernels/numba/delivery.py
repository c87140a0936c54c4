"""Delivery of the spikes of a recurrent network into a part's accumulators (see `spikeframe.kernels.grid`).

Spikes are rows of one array per thread, ``ids[thread, ...]``, cut by step: ``start[thread, h]`` to ``start[thread,
h + 1]``. Sums are of integers. Every function returns the number of synaptic events it delivered.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from spikeframe.kernels.numba.borrowing import BORROWING
from spikeframe.kernels.numba.vectors import flagged, lowest


@njit(**BORROWING)
def shared(ids, start, h, rows, target, weight, acc):  # type: ignore[no-untyped-def]
    """Deliver the spikes of row `h` through synapses with one weight per source."""
    events = 0
    for thread in range(start.shape[0]):
        for e in range(start[thread, h], start[thread, h + 1]):
            source = ids[thread, e]
            w = weight[source]
            row = target[rows[source] : rows[source + 1]]
            for slot in row:
                acc[slot] += w
            events += row.size
    return events


@njit(**BORROWING)
def single(ids, start, h, rows, target, weight, acc):  # type: ignore[no-untyped-def]
    """Deliver the spikes of row `h` through synapses with a weight each."""
    events = 0
    for thread in range(start.shape[0]):
        for e in range(start[thread, h], start[thread, h + 1]):
            source = ids[thread, e]
            lo, hi = rows[source], rows[source + 1]
            row, own = target[lo:hi], weight[lo:hi]
            for i in range(row.size):
                acc[row[i]] += own[i]
            events += row.size
    return events


@njit(**BORROWING)
def enter(ids, start, h0, h1, now, rows, segments, delay, size, head, following, at_segment, at_synapse):  # type: ignore[no-untyped-def]
    """Put a cursor for every spike of rows h0..h1 on the first segment that arrives at row `now` or later.

    `head[slot]` is the newest cursor that waits for a step, `following` the one behind it; slots are steps modulo
    `head.size`, cursors are ``thread * capacity + place`` of their spike.
    """
    capacity = ids.shape[1]
    ring = head.size
    for thread in range(start.shape[0]):
        for h in range(h0, h1):
            for e in range(start[thread, h], start[thread, h + 1]):
                source = ids[thread, e]
                synapse = rows[source]
                s = segments[source]
                while s < segments[source + 1] and h + delay[s] < now:
                    synapse += size[s]
                    s += 1
                if s < segments[source + 1]:
                    cursor = thread * capacity + e
                    slot = (h + delay[s]) % ring
                    at_segment[cursor], at_synapse[cursor] = s, synapse
                    following[cursor] = head[slot]
                    head[slot] = cursor


@njit(**BORROWING)
def arrive(now, ids, segments, delay, size, target, weight, each, head, following, at_segment, at_synapse, acc):  # type: ignore[no-untyped-def]
    """Deliver every segment that arrives at row `now` and move its cursor to the row's next one.

    `each` says that every synapse has a weight of its own; otherwise `weight` has one per source.
    """
    capacity = ids.shape[1]
    ring = head.size
    events = 0
    cursor = head[now % ring]
    head[now % ring] = -1
    while cursor >= 0:
        behind = following[cursor]
        source = ids[cursor // capacity, cursor % capacity]
        s, lo = at_segment[cursor], at_synapse[cursor]
        hi = lo + size[s]
        row = target[lo:hi]
        if each:
            own = weight[lo:hi]
            for i in range(row.size):
                acc[row[i]] += own[i]
        else:
            w = weight[source]
            for slot in row:
                acc[slot] += w
        events += hi - lo
        if s + 1 < segments[source + 1]:
            slot = (now + delay[s + 1] - delay[s]) % ring
            at_segment[cursor], at_synapse[cursor] = s + 1, hi
            following[cursor] = head[slot]
            head[slot] = cursor
        cursor = behind
    return events


@njit(**BORROWING)
def fill(values, lo, hi, value):  # type: ignore[no-untyped-def]
    """Set the elements lo..hi."""
    for i in range(lo, hi):
        values[i] = value


@njit(**BORROWING)
def sampled(first, step, every):  # type: ignore[no-untyped-def]
    """Return which sample since step `first` is taken at the end of `step`; -1 if none is."""
    return (step + 1) // every - first // every - 1 if (step + 1) % every == 0 else -1


@njit(**BORROWING)
def sample(values, ids, lo, hi, row):  # type: ignore[no-untyped-def]
    """Write down the values of those `ids` (ascending) that lie in lo..hi."""
    a, b = np.searchsorted(ids, lo), np.searchsorted(ids, hi)
    for i in range(a, b):
        row[i] = values[ids[i]]


@njit(**BORROWING)
def collect(lo, hi, flags, words, neuron, n):  # type: ignore[no-untyped-def]
    """Append the neurons lo..hi (multiples of 8, or the end) whose flag is 1; `words` are the flags by eight."""
    whole = hi - ((hi - lo) & 63)
    for first in range(lo, whole, 64):
        left = flagged(flags, first)
        while left != 0:
            neuron[n] = first + lowest(left)
            left &= left - np.uint64(1)
            n += 1
    for q in range((whole + 7) >> 3, (hi + 7) >> 3):
        left = words[q]
        while left != 0:
            neuron[n] = (q << 3) + (lowest(left) >> 3)
            left &= left - np.uint64(1)
            n += 1
    return n


@njit(**BORROWING)
def counted(values, each, neuron, count, n):  # type: ignore[no-untyped-def]
    """Append the neurons whose value is not 0, and how many times 1 / `each` it is; returns their number so far."""
    for j in range(values.size):
        if values[j] != 0:
            neuron[n] = j
            count[n] = np.int32(values[j] * each)
            n += 1
    return n


@njit(**BORROWING)
def owed(start, ids, horizon, delay, rows, segments, segment_delay, segment_size):  # type: ignore[no-untyped-def]
    """Count the synaptic events that kept spikes have not caused yet; `delay` is -1 for rows in segments."""
    events = 0
    for h in range(horizon):
        for e in range(start[h], start[h + 1]):
            source = ids[e]
            for part in range(rows.shape[0]):
                if delay >= 0:
                    if h + delay >= horizon:
                        events += rows[part, source + 1] - rows[part, source]
                    continue
                for s in range(segments[part, source + 1] - 1, segments[part, source] - 1, -1):
                    if h + segment_delay[s] < horizon:
                        break  # delays ascend
                    events += segment_size[s]
    return events
