"""Poisson arrivals at every neuron, compiled; `spikeframe.kernels.reference.poisson` has the law and the counters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from spikeframe.kernels.numba.philox import philox
from spikeframe.kernels.reference import philox as ref
from spikeframe.kernels.reference.poisson import guide, thresholds

_M0, _M1 = np.uint64(ref.MULTIPLIERS[0]), np.uint64(ref.MULTIPLIERS[1])
_W0, _W1 = np.uint64(ref.KEY_STEPS[0]), np.uint64(ref.KEY_STEPS[1])
_MASK, _HALF, _ROUNDS = np.uint64(0xFFFFFFFF), np.uint64(32), ref.ROUNDS
#: Calls of the generator whose words are made before they are looked up; four neurons each.
_BATCH = 256


@dataclass(frozen=True, eq=False)
class PoissonTable:
    """The law of one rate, as the kernel wants it.

    Attributes:
        arrays: thresholds in 2^-32 and 2^-64, and where to begin for each value of the highest 8 bits.
    """

    arrays: tuple[Any, Any, Any]


def poisson_table(rate: float) -> PoissonTable:
    """Return the table for a mean number of arrivals per step.

    Args:
        rate: at least 0.
    """
    high, low = thresholds(rate)
    return PoissonTable((high, low, guide(high)))


@njit(cache=True, nogil=True, error_model="numpy")
def _words(first, n, c0, c1, c3, k0, k1, out):  # type: ignore[no-untyped-def]
    """Philox for the counters (c0, c1, first.. , c3): written with 64-bit lanes, so that it vectorises."""
    a, b, c, d = out[0], out[1], out[2], out[3]
    keys = np.empty((2, _ROUNDS), np.uint64)
    for r in range(_ROUNDS):
        keys[0, r] = (np.uint64(k0) + np.uint64(r) * _W0) & _MASK
        keys[1, r] = (np.uint64(k1) + np.uint64(r) * _W1) & _MASK
    for j in range(n):
        x0, x1, x2, x3 = np.uint64(c0), np.uint64(c1), np.uint64(first + j), np.uint64(c3)
        for r in range(_ROUNDS):
            p0, p1 = _M0 * x0, _M1 * x2
            x0, x2 = (p1 >> _HALF) ^ x1 ^ keys[0, r], (p0 >> _HALF) ^ x3 ^ keys[1, r]
            x1, x3 = p1 & _MASK, p0 & _MASK
        a[j], b[j], c[j], d[j] = np.uint32(x0), np.uint32(x1), np.uint32(x2), np.uint32(x3)


@njit(cache=True, nogil=True, error_model="numpy")
def poisson_add(acc, lo, hi, weight, step, table, stream, k0, k1, offset):  # type: ignore[no-untyped-def]
    """Add weight times a count to ``acc[n - offset]`` for the neurons lo..hi; returns the number of arrivals."""
    high, low, begin = table
    words = np.empty((4, _BATCH), np.uint32)
    c0 = np.uint32((np.uint64(step) >> _HALF) << np.uint64(1))
    total = 0
    for block in range(lo >> 2, (hi + 3) >> 2, _BATCH):
        n = min(_BATCH, ((hi + 3) >> 2) - block)
        _words(block, n, c0, np.uint32(step), np.uint32(stream), k0, k1, words)
        for j in range(n):
            for lane in range(4):
                neuron = (block + j) * 4 + lane
                w = words[lane, j]
                k = begin[w >> np.uint32(24)]
                while w > high[k]:
                    k += 1
                if w == high[k]:
                    more = philox(c0 + np.uint32(1), np.uint32(step), np.uint32(neuron), np.uint32(stream), k0, k1)
                    if more[0] >= low[k]:
                        k += 1
                if k and lo <= neuron < hi:
                    acc[neuron - offset] += weight * k
                    total += k
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def poisson_steps(counts, lo, hi, first, start, stop, table, stream, k0, k1):  # type: ignore[no-untyped-def]
    """Fill ``counts[t]`` with the arrivals of step ``first + t`` at the neurons lo..hi; none outside start..stop."""
    for t in range(counts.shape[0]):
        counts[t] = 0
        if start <= first + t < stop:
            poisson_add(counts[t], lo, hi, 1, first + t, table, stream, k0, k1, lo)
