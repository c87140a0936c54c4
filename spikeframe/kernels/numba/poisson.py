"""Poisson arrivals at every neuron, compiled; `spikeframe.kernels.reference.poisson` has the law and the counters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit
from scipy.special import pdtrc

from spikeframe.kernels.numba.borrowing import MAKING
from spikeframe.kernels.numba.lean import wide
from spikeframe.kernels.numba.philox import BATCH, philox, words_by_four
from spikeframe.kernels.reference.poisson import guide, thresholds

#: Bits of a word that a look into the guide takes: so many that what follows is seldom a guess.
_GUIDE = 12
_REST = np.uint32(32 - _GUIDE)
#: A word is compared with the first thresholds, whatever it is, if so few hold all but so rare counts.
_FEW, _RARE = 12, 1e-5


@dataclass(frozen=True, eq=False)
class PoissonTable:
    """The law of one rate, as the kernel wants it.

    Attributes:
        arrays: thresholds in 2^-32 and 2^-64, where to begin for each value of the highest bits, and with how many
            thresholds every word is compared (0: none).
    """

    arrays: tuple[Any, Any, Any, int]


@lru_cache(maxsize=256)
def poisson_table(rate: float) -> PoissonTable:
    """Return the table for a mean number of arrivals per step.

    Args:
        rate: at least 0.
    """
    high, low = thresholds(rate)
    few = 1 + int(np.count_nonzero(pdtrc(np.arange(high.size), rate) > _RARE))
    return PoissonTable((high, low, guide(high, _GUIDE), few if few <= _FEW else 0))


@njit(cache=True, nogil=True, error_model="numpy")
def _compared(random, high, few, count):  # type: ignore[no-untyped-def]
    """Count the thresholds below every word; returns whether there is a word for which that is not all."""
    wide()
    count[:] = 0
    close = np.int32(0)
    k = 0
    while k + 3 < few:  # by four: counts are seldom loaded and stored
        a, b, c, d = high[k], high[k + 1], high[k + 2], high[k + 3]
        for j in range(random.size):
            w = random[j]
            count[j] += np.int32(w > a) + np.int32(w > b) + np.int32(w > c) + np.int32(w > d)
            close = np.int32(close | np.int32((w == a) | (w == b) | (w == c) | (w == d)))
        k += 4
    for threshold in high[k:few]:
        for j in range(random.size):
            count[j] += np.int32(random[j] > threshold)
            close = np.int32(close | np.int32(random[j] == threshold))
    last = high[few]
    for j in range(random.size):
        close = np.int32(close | np.int32(random[j] >= last))
    return close != 0


@njit(cache=True, nogil=True, error_model="numpy")
def _added(row, weight, count):  # type: ignore[no-untyped-def]
    """Add weight times the counts to a row; returns the sum of the counts."""
    wide()
    total = 0
    for j in range(row.size):
        row[j] += weight * count[j]
        total += count[j]
    return total


@njit(**MAKING)
def poisson_add(acc, lo, hi, weight, step, table, stream, k0, k1, offset):  # type: ignore[no-untyped-def]
    """Add weight times a count to ``acc[n - offset]`` for the neurons lo..hi; returns the number of arrivals."""
    high, low, begin, few = table
    random, counts = np.empty(4 * BATCH, np.uint32), np.empty(4 * BATCH, np.int32)
    c0 = np.uint32((np.uint64(step) >> np.uint64(32)) << np.uint64(1))
    total = 0
    for block in range(lo >> 2, (hi + 3) >> 2, BATCH):
        n = min(BATCH, ((hi + 3) >> 2) - block)
        words_by_four(n, c0, np.uint32(step), block, np.uint32(stream), k0, k1, random)
        first, end = max(lo, 4 * block), min(hi, 4 * (block + n))
        own, count, row = random[first - 4 * block : end - 4 * block], counts[: end - first], acc[first - offset :]
        if few == 0 or _compared(own, high, few, count):
            for j in range(own.size):
                w = own[j]
                k = np.int64(begin[w >> _REST])
                while w > high[k]:
                    k += 1
                if w == high[k]:
                    neuron = np.uint32(first + j)
                    more = philox(c0 + np.uint32(1), np.uint32(step), neuron, np.uint32(stream), k0, k1)
                    if more[0] >= low[k]:
                        k += 1
                count[j] = k
        total += _added(row[: count.size], weight, count)
    return total


@njit(**MAKING)
def poisson_each(acc, lo, hi, weight, step, begin, high, low, drive_lo, stream, k0, k1, offset):  # type: ignore[no-untyped-def]
    """Do as `poisson_add` where neuron n has a rate of its own: its thresholds begin at ``begin[n - drive_lo]``."""
    random = np.empty(4 * BATCH, np.uint32)
    c0 = np.uint32((np.uint64(step) >> np.uint64(32)) << np.uint64(1))
    total = 0
    for block in range(lo >> 2, (hi + 3) >> 2, BATCH):
        n = min(BATCH, ((hi + 3) >> 2) - block)
        words_by_four(n, c0, np.uint32(step), block, np.uint32(stream), k0, k1, random)
        for neuron in range(max(lo, 4 * block), min(hi, 4 * (block + n))):
            w, first = random[neuron - 4 * block], begin[neuron - drive_lo]
            k = first
            while w > high[k]:
                k += 1
            if w == high[k]:
                more = philox(c0 + np.uint32(1), np.uint32(step), np.uint32(neuron), np.uint32(stream), k0, k1)
                if more[0] >= low[k]:
                    k += 1
            acc[neuron - offset] += weight * (k - first)
            total += k - first
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def poisson_steps(counts, lo, hi, first, start, stop, table, stream, k0, k1):  # type: ignore[no-untyped-def]
    """Fill ``counts[t]`` with the arrivals of step ``first + t`` at the neurons lo..hi; none outside start..stop."""
    for t in range(counts.shape[0]):
        counts[t] = 0
        if start <= first + t < stop:
            poisson_add(counts[t], lo, hi, 1, first + t, table, stream, k0, k1, lo)
