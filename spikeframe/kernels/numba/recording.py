"""Spikes of a group sorted by population."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Spikes that are worth a thread.
_WORTH = 1 << 16


@njit(cache=True, nogil=True, error_model="numpy")
def _counted(start, ids, edges, lo, hi, count):  # type: ignore[no-untyped-def]
    """Count every population's spikes in the steps from lo to hi."""
    for t in range(lo, hi):
        p = 0
        for e in range(start[t], start[t + 1]):
            while ids[e] >= edges[p + 1]:
                p += 1
            count[p] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _placed(start, ids, edges, first, lo, hi, place, when, who):  # type: ignore[no-untyped-def]
    """Write them down from a place on for each population."""
    for t in range(lo, hi):
        p = 0
        for e in range(start[t], start[t + 1]):
            while ids[e] >= edges[p + 1]:
                p += 1
            when[place[p]] = first + t
            who[place[p]] = ids[e] - edges[p]
            place[p] += 1


def by_population(
    start: NDArray[np.int64], ids: NDArray[np.int32], edges: NDArray[np.int64], first: int, helpers: Executor | None,
    threads: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
    """Return where each population's spikes begin, and their steps and neurons, in order of time.

    Args:
        start: ``[steps + 1]`` where each step's spikes begin.
        ids: their neurons, ascending within a step.
        edges: ``[populations + 1]`` the group's neurons at which a population begins.
        first: the first step.
        helpers: run parts of the work, or None.
        threads: parts at most.
    """
    parts = max(1, min(threads, ids.size // _WORTH)) if helpers else 1
    cut = np.searchsorted(start, np.linspace(0, ids.size, parts + 1)[1:-1])
    bounds = [0, *cut.tolist(), start.size - 1]
    count = np.zeros((parts, edges.size - 1), np.int64)
    _all(helpers, _counted, [(start, ids, edges, *bounds[i : i + 2], count[i]) for i in range(parts)])
    ends = np.cumsum(count.T).reshape(count.T.shape).T
    when, who = np.empty(ids.size, np.int64), np.empty(ids.size, np.int64)
    place = ends - count
    begin = np.append(place[0], ids.size)
    _all(helpers, _placed, [(start, ids, edges, first, *bounds[i : i + 2], place[i], when, who) for i in range(parts)])
    return begin, when, who


def _all(helpers: Executor | None, work: Any, parts: list[Any]) -> None:
    """Do every part of some work."""
    if helpers is None or len(parts) == 1:
        for part in parts:
            work(*part)
    else:
        for done in [helpers.submit(work, *part) for part in parts]:
            done.result()
