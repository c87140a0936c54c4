"""Code selection of Sparsey, compiled (see `spikeframe.kernels.reference.sparsey`)."""

from __future__ import annotations

import numpy as np
from numba import njit

from spikeframe.kernels.numba.exponential import exp64
from spikeframe.kernels.numba.philox import philox, uniform64


@njit(cache=True, nogil=True, error_model="numpy")
def _power(x, n):  # type: ignore[no-untyped-def]
    """Multiply n times, from 1."""
    out = 1.0
    for _ in range(n):
        out = out * x
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _familiarity(v):  # type: ignore[no-untyped-def]
    """Mean over modules of the largest evidence."""
    total = 0.0
    for q in range(v.shape[0]):
        total += v[q].max()
    return total / v.shape[0]


@njit(cache=True, nogil=True, error_model="numpy")
def _evidence(rows, size, power, out):  # type: ignore[no-untyped-def]
    """Turn sums of weights into evidence."""
    for q in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[q, k] = _power(min(rows[q, k] / size, 1.0), power)


@njit(cache=True, nogil=True, error_model="numpy")
def _set(weights, winner):  # type: ignore[no-untyped-def]
    """Set the weights of one afferent to the winners; return how many were not yet set."""
    new = 0
    for q in range(len(winner)):
        if weights[q, winner[q]] == 0:
            weights[q, winner[q]] = 1
            new += 1
    return new


@njit(cache=True, nogil=True, error_model="numpy")
def present(  # type: ignore[no-untyped-def]
    bounds, source, chained, learn, previous, u, h, filled, numbers, seed, first, codes, familiarity, counts
):
    """Select a code for each frame and store it if asked to."""
    modules, cells = u.shape[1], u.shape[2]
    sums = np.empty((modules, cells), np.int32)
    by_u, by_h = np.empty((modules, cells), np.float64), np.empty((modules, cells), np.float64)
    v = np.empty((modules, cells), np.float64)
    low, high = np.uint32(np.uint64(seed) & np.uint64(0xFFFFFFFF)), np.uint32(np.uint64(seed) >> np.uint64(32))
    for t in range(len(bounds) - 1):
        begin, end = bounds[t], bounds[t + 1]
        has_h, has_u = chained and previous[0] >= 0, end > begin
        codes[t] = -1
        familiarity[t] = 0.0
        if not (has_u or has_h) or (has_u and not numbers.low <= end - begin <= numbers.high):
            previous[:] = -1
            continue
        if has_u:
            sums[:] = 0
            for e in range(begin, end):
                sums += u[source[e]]
            expected = numbers.expected if numbers.expected > 0 else float(end - begin)
            _evidence(sums, expected, numbers.power_u, by_u)
            counts[0] += (end - begin) * modules * cells
        if has_h:
            sums[:] = 0
            for q in range(modules):
                sums += h[q, previous[q]]
            _evidence(sums, float(modules), numbers.power_h, by_h)
            counts[0] += modules * modules * cells
        if has_u and has_h:
            v[:] = by_u * by_h
        else:
            v[:] = by_u if has_u else by_h
        g = _familiarity(v)
        if has_u and has_h and not learn and g < numbers.backoff:
            one, other = _familiarity(by_u), _familiarity(by_h)
            v[:] = by_u if one >= other else by_h
            g = max(one, other)
        familiarity[t] = g
        winner = codes[t]
        share = max(0.0, (g - numbers.floor) / (1.0 - numbers.floor))
        expansion = _power(share, numbers.gamma) * numbers.chi * cells
        for q in range(modules):
            a, b, _, _ = philox(q, first + t, 0, 0, low, high)
            draw = uniform64(a, b)
            if learn:
                total = 0.0
                for k in range(cells):
                    v[q, k] = expansion / (1.0 + exp64(-numbers.slope * (v[q, k] - numbers.inflection))) + 1.0
                    total += v[q, k]
                mark, part, k = draw * total, v[q, 0], 0
                while k < cells - 1 and part <= mark:
                    k += 1
                    part += v[q, k]
                winner[q] = k
            else:
                best, many = v[q].max(), 0
                for k in range(cells):
                    many += v[q, k] == best
                rank = np.int64(draw * many)
                if rank == many:
                    rank -= 1
                for k in range(cells):
                    if v[q, k] == best:
                        if rank == 0:
                            winner[q] = k
                            break
                        rank -= 1
        if learn:
            counts[1] += modules * cells
            if has_u and filled[0] < numbers.freeze * u.size:
                for e in range(begin, end):
                    filled[0] += _set(u[source[e]], winner)
                counts[2] += (end - begin) * modules
            if has_h and filled[1] < numbers.freeze * h.size:
                for q in range(modules):
                    filled[1] += _set(h[q, previous[q]], winner)
                counts[2] += modules * modules
        previous[:] = winner
