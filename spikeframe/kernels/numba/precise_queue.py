"""Queues of the precise clock: neurons by their own next event, and spikes in flight; 4-ary heaps in arrays.

Times are pairs of whole milliseconds and an offset in [0, 1). The heap of neurons always holds all of them, so that a
changed prediction moves its neuron instead of leaving a stale entry behind.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

#: Step of an event that is never due.
NEVER = 1 << 62


@njit(cache=True, nogil=True, error_model="numpy")
def later(step, offset, d):  # type: ignore[no-untyped-def]
    """Return the time d >= 0 ms after a time."""
    whole = np.int64(math.floor(d))
    offset += d - np.float64(whole)
    step += whole
    return (step, offset) if offset < 1.0 else (step + 1, offset - 1.0)


@njit(cache=True, nogil=True, error_model="numpy")
def span(end_step, end_offset, step, offset):  # type: ignore[no-untyped-def]
    """Return the ms between two times."""
    return np.float64(end_step - step) + (end_offset - offset)


@njit(cache=True, nogil=True, error_model="numpy")
def before(a_step, a_offset, b_step, b_offset):  # type: ignore[no-untyped-def]
    """Return whether time a is before time b."""
    return a_step < b_step or (a_step == b_step and a_offset < b_offset)


@njit(cache=True, nogil=True, error_model="numpy")
def place_neuron(heap, place, neurons, k):  # type: ignore[no-untyped-def]
    """Restore the order after the next event of neuron k has changed; `place` is where each neuron is in `heap`."""
    at = place[k]
    step, offset = neurons[k].next_step, neurons[k].next_offset
    while at > 0:
        above = heap[(at - 1) >> 2]
        if not before(step, offset, neurons[above].next_step, neurons[above].next_offset):
            break
        heap[at] = above
        place[above] = at
        at = (at - 1) >> 2
    while 4 * at + 1 < heap.size:
        child = 4 * at + 1
        least = neurons[heap[child]]
        for other in range(child + 1, min(child + 4, heap.size)):
            n = neurons[heap[other]]
            if before(n.next_step, n.next_offset, least.next_step, least.next_offset):
                child, least = other, n
        if not before(least.next_step, least.next_offset, step, offset):
            break
        heap[at] = heap[child]
        place[heap[at]] = at
        at = child
    heap[at] = k
    place[k] = at


@njit(cache=True, nogil=True, error_model="numpy")
def sooner(a, b):  # type: ignore[no-untyped-def]
    """Return whether a spike in flight comes before another: by arrival, then by source and place in its row."""
    if a.step != b.step:
        return a.step < b.step
    if a.offset != b.offset:
        return a.offset < b.offset
    return a.source < b.source or (a.source == b.source and a.place < b.place)


@njit(cache=True, nogil=True, error_model="numpy")
def push(flights, size):  # type: ignore[no-untyped-def]
    """Take the entry written at ``flights[size]`` into the heap of the `size` before it."""
    at, room = size, flights.size - 1
    flights[room] = flights[size]
    while at > 0 and sooner(flights[room], flights[(at - 1) >> 2]):
        flights[at] = flights[(at - 1) >> 2]
        at = (at - 1) >> 2
    flights[at] = flights[room]


@njit(cache=True, nogil=True, error_model="numpy")
def sink(flights, size):  # type: ignore[no-untyped-def]
    """Restore the order of `size` entries after the first one has become later."""
    at, room = 0, flights.size - 1
    flights[room] = flights[0]
    while 4 * at + 1 < size:
        child = 4 * at + 1
        for other in range(child + 1, min(child + 4, size)):
            if sooner(flights[other], flights[child]):
                child = other
        if not sooner(flights[child], flights[room]):
            break
        flights[at] = flights[child]
        at = child
    flights[at] = flights[room]
