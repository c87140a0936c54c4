"""Rows of the connection rules, from counters: the targets of one source depend on nothing but its own number.

Counter of every draw: (redraw, place in the row, source, stream). `kind` is one of the codes below.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from spikeframe.kernels.numba.philox import log64, philox, uniform64

ALL, ONE, PROBABILITY, OUT_DEGREE, IN_DEGREE, TOTAL, EXPLICIT = range(7)


@njit(cache=True, nogil=True, error_model="numpy")
def _below(n, redraw, place, entity, stream, k0, k1):  # type: ignore[no-untyped-def]
    """Return a whole number below n, each with the same chance (rejection; n < 2^31)."""
    limit = (np.uint64(1) << np.uint64(32)) // np.uint64(n) * np.uint64(n)
    while True:
        w = philox(np.uint32(redraw), np.uint32(place), np.uint32(entity), np.uint32(stream), k0, k1)
        for x in w:
            if np.uint64(x) < limit:
                return np.int64(np.uint64(x) % np.uint64(n))
        redraw += 1 << 16


@njit(cache=True, nogil=True, error_model="numpy")
def picks(k, n, own, multapses, entity, stream, k0, k1, out):  # type: ignore[no-untyped-def]
    """Draw k of n into `out`, ascending; `own` is left out (-1: nobody); returns k."""
    m = n - 1 if own >= 0 else n
    for i in range(k):
        if multapses:
            x = _below(m, 0, i, entity, stream, k0, k1)
            out[i] = x + 1 if 0 <= own <= x else x
        else:  # Floyd's sampling without replacement
            top = m - k + i
            x = _below(top + 1, 0, i, entity, stream, k0, k1)
            at = np.searchsorted(out[:i], x)
            if at < i and out[at] == x:
                x = top
                at = i
            out[at + 1 : i + 1] = out[at:i].copy()
            out[at] = x
    if not multapses and own >= 0:
        for i in range(k):
            if out[i] >= own:
                out[i] += 1
    out[:k].sort()
    return k


@njit(cache=True, nogil=True, error_model="numpy")
def row(kind, number, p, n, own, autapses, multapses, source, stream, k0, k1, out):  # type: ignore[no-untyped-def]
    """Write the targets of one source, ascending, to `out`; returns how many.

    `number` is k of a degree rule or the row's share of a total; `own` is the source's index among the targets where
    they are one population, else -1.
    """
    avoid = own if not autapses else -1
    if kind == ONE:
        out[0] = source
        return 1
    if kind == ALL:
        found = 0
        for t in range(n):
            if t != avoid:
                out[found] = t
                found += 1
        return found
    if kind == PROBABILITY:
        if p <= 0.0:
            return 0
        slope = 0.0 if p >= 1.0 else 1.0 / log64(1.0 - p)
        found, place = 0, 0
        t = -1
        while True:
            w = philox(np.uint32(0), np.uint32(place), np.uint32(source), np.uint32(stream), k0, k1)
            for half in range(2):
                u = uniform64(w[0], w[1]) if half == 0 else uniform64(w[2], w[3])
                gap = log64(1.0 - u) * slope  # failures before the next hit
                t = n if gap >= n else t + 1 + int(gap)
                if t >= n:
                    return found
                if t != avoid:
                    out[found] = t
                    found += 1
            place += 1
    return picks(number, n, avoid, multapses, source, stream, k0, k1, out)


@njit(cache=True, nogil=True, error_model="numpy")
def shares(lo, hi, sources, stream, k0, k1, many):  # type: ignore[no-untyped-def]
    """Count on which source each of the draws lo..hi of a fixed total falls."""
    for i in range(lo, hi):
        many[_below(sources, i >> 32, i & 0xFFFFFFFF, 0, stream, k0, k1)] += 1
