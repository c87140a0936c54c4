"""Injected currents and random numbers of a group, one step at a time."""

from __future__ import annotations

import numpy as np
from numba import njit

from spikeframe.kernels.numba.borrowing import BORROWING
from spikeframe.kernels.numba.philox import draw, normal64, philox, uniform32


@njit(**BORROWING)
def inject(current, lo, hi, begin, end, amplitude, sd, step, stream, k0, k1):  # type: ignore[no-untyped-def]
    """Add a current to those neurons of lo..hi that lie in begin..end; noise is each neuron's own."""
    a, b = max(lo, begin), min(hi, end)
    part = current[a : max(a, b)]
    if sd == 0.0:
        level = current.dtype.type(amplitude)
        for j in range(part.size):
            part[j] += level
        return
    for j in range(part.size):
        high = np.uint32(np.uint64(step) >> np.uint64(32))
        w = philox(high, np.uint32(step), np.uint32(a + j), np.uint32(stream), k0, k1)
        part[j] += current.dtype.type(amplitude + sd * normal64(w[0], w[1]))


@njit(**BORROWING)
def inject_each(current, lo, hi, begin, end, levels, sd, step, stream, k0, k1):  # type: ignore[no-untyped-def]
    """Do as `inject` where each neuron of begin..end has a current of its own."""
    high = np.uint32(np.uint64(step) >> np.uint64(32))
    for j in range(max(lo, begin), min(hi, end)):
        level = levels[j - begin]
        if sd != 0.0:
            w = philox(high, np.uint32(step), np.uint32(j), np.uint32(stream), k0, k1)
            level += sd * normal64(w[0], w[1])
        current[j] += current.dtype.type(level)


@njit(**BORROWING)
def uniform(values, lo, hi, step, stream, k0, k1):  # type: ignore[no-untyped-def]
    """Fill lo..hi with uniform numbers in [0, 1), one per neuron and step."""
    high = np.uint32(np.uint64(step) >> np.uint64(32))
    for j in range(lo, hi):
        w = philox(high, np.uint32(step), np.uint32(j), np.uint32(stream), k0, k1)
        values[j] = uniform32(w[0])


@njit(cache=True, nogil=True, error_model="numpy")
def drawn(n, kind, parameters, stream, k0, k1):  # type: ignore[no-untyped-def]
    """Draw one value of a distribution for each of n entities."""
    found = np.empty(n, np.float64)
    for i in range(n):
        found[i] = draw(kind, parameters, np.uint32(0), np.uint32(i), np.uint32(stream), k0, k1)
    return found
