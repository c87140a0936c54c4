"""Spikes of sources that fire at random, for a stretch of steps; no stretch depends on how a run is cut."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from spikeframe.kernels.numba.philox import philox, uniform64


@njit(cache=True, nogil=True, error_model="numpy")
def _fired(chance, start, stop, t0, t1, stream, k0, k1, many, ids, fill):  # type: ignore[no-untyped-def]
    total = 0
    for t in range(t0, t1):
        high = np.uint32(np.uint64(t) >> np.uint64(32))
        for n in range(chance.size):
            if not start[n] <= t < stop[n]:
                continue
            w = philox(high, np.uint32(t), np.uint32(n), np.uint32(stream), k0, k1)
            if uniform64(w[0], w[1]) < chance[n]:
                if fill:
                    ids[total] = n
                else:
                    many[t - t0] += 1
                total += 1
    return total


def poisson_trains(
    chance: Any, start: Any, stop: Any, t0: int, t1: int, stream: int, k0: Any, k1: Any
) -> tuple[Any, Any]:
    """Return where each step's spikes begin, and their neurons.

    Args:
        chance: ``[n]`` chance of a spike in a step.
        start: ``[n]`` first step of each neuron.
        stop: ``[n]`` one past its last.
        t0: first step.
        t1: one past the last.
        stream: random stream.
        k0: low half of the key.
        k1: high half of the key.
    """
    many = np.zeros(t1 - t0, np.int64)
    none = np.zeros(0, np.int32)
    total = _fired(chance, start, stop, t0, t1, stream, k0, k1, many, none, False)
    ids = np.empty(total, np.int32)
    _fired(chance, start, stop, t0, t1, stream, k0, k1, many, ids, True)
    return np.concatenate([[0], np.cumsum(many)]).astype(np.int64), ids
