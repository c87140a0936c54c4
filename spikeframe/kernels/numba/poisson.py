"""Poisson arrivals at every neuron, compiled; `spikeframe.kernels.reference.poisson` has the law and the counters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from spikeframe.kernels.numba.philox import BATCH, philox, words
from spikeframe.kernels.reference.poisson import guide, thresholds

#: Bits of a word that a look into the guide takes: so many that what follows is seldom a guess.
_GUIDE = 12
_REST = np.uint32(32 - _GUIDE)


@dataclass(frozen=True, eq=False)
class PoissonTable:
    """The law of one rate, as the kernel wants it.

    Attributes:
        arrays: thresholds in 2^-32 and 2^-64, and where to begin for each value of the highest bits.
    """

    arrays: tuple[Any, Any, Any]


def poisson_table(rate: float) -> PoissonTable:
    """Return the table for a mean number of arrivals per step.

    Args:
        rate: at least 0.
    """
    high, low = thresholds(rate)
    return PoissonTable((high, low, guide(high, _GUIDE)))


@njit(cache=True, nogil=True, error_model="numpy")
def poisson_add(acc, lo, hi, weight, step, table, stream, k0, k1, offset):  # type: ignore[no-untyped-def]
    """Add weight times a count to ``acc[n - offset]`` for the neurons lo..hi; returns the number of arrivals."""
    high, low, begin = table
    random = np.empty((4, BATCH), np.uint32)
    c0 = np.uint32((np.uint64(step) >> np.uint64(32)) << np.uint64(1))
    total = 0
    for block in range(lo >> 2, (hi + 3) >> 2, BATCH):
        n = min(BATCH, ((hi + 3) >> 2) - block)
        words(n, c0, np.uint32(step), block, np.uint32(stream), 0, 1, k0, k1, random)
        for lane in range(4):
            # Neurons block * 4 + lane + 4 j; at either end some are not in lo..hi.
            first = block * 4 + lane
            j0, j1 = max(0, (lo - first + 3) >> 2), min(n, (hi - first + 3) >> 2)
            row, own = acc[first - offset + 4 * j0 :], random[lane, j0:j1]
            for j in range(own.size):
                w = own[j]
                k = np.int64(begin[w >> _REST])
                while w > high[k]:
                    k += 1
                if w == high[k]:
                    neuron = np.uint32(first + 4 * (j0 + j))
                    more = philox(c0 + np.uint32(1), np.uint32(step), neuron, np.uint32(stream), k0, k1)
                    if more[0] >= low[k]:
                        k += 1
                row[4 * j] += weight * k
                total += k
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def poisson_steps(counts, lo, hi, first, start, stop, table, stream, k0, k1):  # type: ignore[no-untyped-def]
    """Fill ``counts[t]`` with the arrivals of step ``first + t`` at the neurons lo..hi; none outside start..stop."""
    for t in range(counts.shape[0]):
        counts[t] = 0
        if start <= first + t < stop:
            poisson_add(counts[t], lo, hi, 1, first + t, table, stream, k0, k1, lo)
