"""Poisson arrivals at every neuron, one count per neuron and step, by inversion of a 53-bit uniform number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from spikeframe.kernels.numba.philox import philox, uniform64
from spikeframe.kernels.reference.poisson import cumulative


@dataclass(frozen=True, eq=False)
class PoissonTable:
    """The law of one rate.

    Attributes:
        arrays: ``[n]`` chance of at most k arrivals, float64, for k = 0, 1, ...; the last is 1.
    """

    arrays: Any


def poisson_table(rate: float) -> PoissonTable:
    """Return the table for a mean number of arrivals per step.

    Args:
        rate: at least 0.
    """
    return PoissonTable(cumulative(rate))


@njit(cache=True, nogil=True, error_model="numpy")
def poisson_add(acc, lo, hi, weight, step, table, stream, k0, k1, offset):  # type: ignore[no-untyped-def]
    """Add weight times a count to ``acc[n - offset]`` for the neurons lo..hi; returns the number of arrivals."""
    total = 0
    high = np.uint32(np.uint64(step) >> np.uint64(32))
    for n in range(lo, hi):
        w = philox(high, np.uint32(step), np.uint32(n), np.uint32(stream), k0, k1)
        u = uniform64(w[0], w[1])
        k = 0
        while u >= table[k]:
            k += 1
        if k:
            acc[n - offset] += weight * k
            total += k
    return total
