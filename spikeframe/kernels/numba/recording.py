"""Spikes of a group sorted by population."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def by_population(start, ids, edges, first):  # type: ignore[no-untyped-def]
    """Return where each population's spikes begin, and their steps and neurons, in order of time.

    Args:
        start: ``[steps + 1]`` where each step's spikes begin.
        ids: their neurons, ascending within a step.
        edges: ``[populations + 1]`` the group's neurons at which a population begins.
        first: the first step.
    """
    many = edges.size - 1
    place = np.zeros(many + 1, np.int64)
    for t in range(start.size - 1):
        p = 0
        for e in range(start[t], start[t + 1]):
            while ids[e] >= edges[p + 1]:
                p += 1
            place[p + 1] += 1
    for p in range(many):
        place[p + 1] += place[p]
    begin = place.copy()
    when, who = np.empty(ids.size, np.int64), np.empty(ids.size, np.int64)
    for t in range(start.size - 1):
        p = 0
        for e in range(start[t], start[t + 1]):
            while ids[e] >= edges[p + 1]:
                p += 1
            when[place[p]] = first + t
            who[place[p]] = ids[e] - edges[p]
            place[p] += 1
    return begin, when, who
