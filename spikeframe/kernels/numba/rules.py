"""Rows of the connection rules, from counters: the targets of one source depend on nothing but its own number.

Counter of every draw: (redraw, place in the row, source, stream). `kind` is one of the codes below.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import overload

from spikeframe.kernels.numba.exponential import exp64
from spikeframe.kernels.numba.philox import BATCH, log64, philox, uniform64, words

ALL, ONE, PROBABILITY, OUT_DEGREE, IN_DEGREE, TOTAL, EXPLICIT, DISTANCE, SMALL_WORLD = range(9)
GAUSSIAN, EXPONENTIAL, LINEAR = range(3)


class Space(NamedTuple):
    """Where the neurons of a projection are, the targets sorted into the cells of a grid.

    Attributes:
        sources: ``[sources, 3]`` positions; within the box on periodic axes.
        targets: ``[targets, 3]`` positions, cell by cell.
        order: ``[targets]`` which target each of these is.
        start: ``[cells + 1]`` where each cell's targets begin.
        low: ``[3]`` where the grid begins.
        width: ``[3]`` of a cell.
        cells: ``[3]`` cells along each axis.
        sides: ``[3]`` of the periodic box; inf on open axes.
        reach: ``[3]`` distance along each axis within which targets are looked for, a trifle above the cutoff.
        shape: of the probability over distance: one of the codes above.
        scale: its length.
        cutoff: largest distance.
    """

    sources: Any
    targets: Any
    order: Any
    start: Any
    low: Any
    width: Any
    cells: Any
    sides: Any
    reach: Any
    shape: int
    scale: float
    cutoff: float


@njit(cache=True, nogil=True, error_model="numpy")
def _limit(n):  # type: ignore[no-untyped-def]
    """Return the largest multiple of n that is at most 2^32: words below it are good for a draw."""
    return (np.uint64(1) << np.uint64(32)) // np.uint64(n) * np.uint64(n)


@njit(cache=True, nogil=True, error_model="numpy")
def _below(n, redraw, place, entity, stream, k0, k1):  # type: ignore[no-untyped-def]
    """Return a whole number below n, each with the same chance (rejection; n < 2^31)."""
    limit = _limit(n)
    while True:
        w = philox(np.uint32(redraw), np.uint32(place), np.uint32(entity), np.uint32(stream), k0, k1)
        for x in w:
            if np.uint64(x) < limit:
                return np.int64(np.uint64(x) % np.uint64(n))
        redraw += 1 << 16


@njit(cache=True, nogil=True, error_model="numpy")
def _all_below(many, n, redraw, place, entity, stream, k0, k1, random, out):  # type: ignore[no-untyped-def]
    """`_below` for up to BATCH places from `place` on."""
    words(many, redraw, place, entity, stream, k0, k1, random)
    first, limit, divisor = random[0], _limit(n), np.uint32(n)
    for j in range(many):
        out[j] = np.int64(np.uint32(first[j] % divisor))
        if np.uint64(first[j]) >= limit:
            out[j] = _below(n, redraw, place + j, entity, stream, k0, k1)


@njit(cache=True, nogil=True, error_model="numpy")
def _ascending(values, n):  # type: ignore[no-untyped-def]
    """Sort whole numbers of 0..n - 1 in place, byte by byte."""
    if values.size < 64:
        for i in range(1, values.size):
            x, at = values[i], i
            while at > 0 and values[at - 1] > x:
                values[at] = values[at - 1]
                at -= 1
            values[at] = x
        return
    shift, other = 0, np.empty_like(values)
    while (n - 1) >> shift:
        place = np.zeros(257, np.int64)
        for x in values:
            place[((x >> shift) & 255) + 1] += 1
        for b in range(256):
            place[b + 1] += place[b]
        for x in values:
            b = (x >> shift) & 255
            other[place[b]] = x
            place[b] += 1
        for i in range(values.size):
            values[i] = other[i]
        shift += 8


@njit(cache=True, nogil=True, error_model="numpy")
def picks(k, n, own, multapses, entity, stream, k0, k1, out):  # type: ignore[no-untyped-def]
    """Draw k of n into `out`, ascending; `own` is left out (-1: nobody); returns k."""
    m = n - 1 if own >= 0 else n
    if multapses:
        random = np.empty((4, BATCH), np.uint32)
        for first in range(0, k, BATCH):
            many = min(BATCH, k - first)
            _all_below(many, m, 0, first, entity, stream, k0, k1, random, out[first:])
    else:
        for i in range(k):  # Floyd's sampling without replacement
            top = m - k + i
            x = _below(top + 1, 0, i, entity, stream, k0, k1)
            at = np.searchsorted(out[:i], x)
            if at < i and out[at] == x:
                x = top
                at = i
            for j in range(i, at, -1):
                out[j] = out[j - 1]
            out[at] = x
    if own >= 0:
        for i in range(k):
            if out[i] >= own:
                out[i] += 1
    _ascending(out[:k], n)
    return k


@njit(cache=True, nogil=True, error_model="numpy")
def small_world(k, p, n, source, stream, k0, k1, out):  # type: ignore[no-untyped-def]
    """Draw the k targets of one neuron on a ring of n into `out`, ascending; returns k."""
    kept = 0
    for e in range(k):
        # The 1 keeps these counters apart from those of `picks`.
        w = philox(np.uint32(1), np.uint32(e), np.uint32(source), np.uint32(stream), k0, k1)
        if uniform64(w[0], w[1]) >= p:
            out[kept] = (source + (e // 2 + 1) * (1 - e % 2 * 2)) % n
            kept += 1
    out[kept] = source
    taken = out[: kept + 1].copy()
    _ascending(taken, n)
    new = out[kept:k]
    picks(k - kept, n - kept - 1, -1, False, source, stream, k0, k1, new)
    passed = 0
    for i in range(k - kept):  # the i-th free neuron has as many taken ones before it as the merge passes
        while passed < taken.size and taken[passed] <= new[i] + passed:
            passed += 1
        new[i] += passed
    _ascending(out[:k], n)
    return k


@njit(cache=True, nogil=True, error_model="numpy")
def _chance(shape, x):  # type: ignore[no-untyped-def]
    """Return the probability at x scales, relative to that at 0."""
    if shape == GAUSSIAN:
        return exp64(-0.5 * (x * x))
    return exp64(-x) if shape == EXPONENTIAL else max(0.0, 1.0 - x)


@njit(cache=True, nogil=True, error_model="numpy")
def _squared(space, source, e):  # type: ignore[no-untyped-def]
    """Return the squared distance of a source and the e-th target."""
    total = 0.0
    for a in range(3):
        x = abs(space.sources[source, a] - space.targets[e, a])
        x = min(x, abs(space.sides[a] - x))
        total += x * x
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _window(space, source, a):  # type: ignore[no-untyped-def]
    """Return the first and last cell along axis a that the source reaches; periodic ones are not yet wrapped."""
    x, n = space.sources[source, a] - space.low[a], float(space.cells[a])
    lo = np.floor(min(max((x - space.reach[a]) / space.width[a], -n), 2 * n))
    hi = np.floor(min(max((x + space.reach[a]) / space.width[a], -n), 2 * n))
    if space.sides[a] == np.inf:
        return int(max(lo, 0.0)), int(min(hi, n - 1))
    return (0, int(n) - 1) if hi - lo + 1 >= n else (int(lo), int(hi))


@njit(cache=True, nogil=True, error_model="numpy")
def near(space, peak, avoid, source, stream, k0, k1, out):  # type: ignore[no-untyped-def]
    """Write the targets of one source to `out`, ascending; the draw of a pair is named by source and target alone."""
    n0, n1, n2 = space.cells[0], space.cells[1], space.cells[2]
    lo0, hi0 = _window(space, source, 0)
    lo1, hi1 = _window(space, source, 1)
    lo2, hi2 = _window(space, source, 2)
    farthest = space.cutoff * space.cutoff
    found, block = 0, -1
    w = philox(np.uint32(0), np.uint32(0), np.uint32(source), np.uint32(stream), k0, k1)
    for i in range(lo0, hi0 + 1):
        for j in range(lo1, hi1 + 1):
            for k in range(lo2, hi2 + 1):
                cell = ((i % n0) * n1 + j % n1) * n2 + k % n2
                for e in range(space.start[cell], space.start[cell + 1]):
                    squared = _squared(space, source, e)
                    t = space.order[e]
                    if squared > farthest or t == avoid:
                        continue
                    if t >> 1 != block:
                        block = t >> 1
                        w = philox(np.uint32(0), np.uint32(block), np.uint32(source), np.uint32(stream), k0, k1)
                    u = uniform64(w[2], w[3]) if t & 1 else uniform64(w[0], w[1])
                    if u < peak and u < peak * _chance(space.shape, np.sqrt(squared) / space.scale):
                        out[found] = t
                        found += 1
    _ascending(out[:found], space.order.size)
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _plain(kind, p, n, avoid, source, stream, k0, k1, out):  # type: ignore[no-untyped-def]
    """Rows of ONE, ALL and PROBABILITY."""
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
    if 1.0 - p >= 1.0:  # also p below 2^-53, whose gaps are without end
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


def row(
    kind: Any, number: Any, p: Any, n: Any, own: Any, autapses: Any, multapses: Any, source: Any, stream: Any, k0: Any,
    k1: Any, out: Any, space: Any,
) -> Any:  # fmt: skip
    """Write the targets of one source, ascending, to `out`; returns how many. For compiled code.

    `number` is k of a degree rule or the row's share of a total; `own` is the source's index among the targets where
    they are one population, else -1. What a rule has no use for is None (see `needs`), and tells which one to compile.
    """
    raise NotImplementedError("row is compiled into what calls it")


@overload(row)
def _row(kind, number, p, n, own, autapses, multapses, source, stream, k0, k1, out, space):  # type: ignore[no-untyped-def]
    if not isinstance(space, types.NoneType):
        return lambda kind, number, p, n, own, autapses, multapses, source, stream, k0, k1, out, space: near(
            space, p, -1 if autapses else own, source, stream, k0, k1, out
        )
    if isinstance(number, types.NoneType):
        return lambda kind, number, p, n, own, autapses, multapses, source, stream, k0, k1, out, space: _plain(
            kind, p, n, -1 if autapses else own, source, stream, k0, k1, out
        )
    if isinstance(p, types.NoneType):
        return lambda kind, number, p, n, own, autapses, multapses, source, stream, k0, k1, out, space: picks(
            number, n, -1 if autapses else own, multapses, source, stream, k0, k1, out
        )
    return lambda kind, number, p, n, own, autapses, multapses, source, stream, k0, k1, out, space: small_world(
        number, p, n, source, stream, k0, k1, out
    )


def degree(numbers: Any, i: Any) -> Any:
    """Return the i-th of the rows' degrees, or None where there are none. For compiled code."""
    raise NotImplementedError("degree is compiled into what calls it")


@overload(degree)
def _degree(numbers, i):  # type: ignore[no-untyped-def]
    if isinstance(numbers, types.NoneType):
        return lambda numbers, i: None
    return lambda numbers, i: numbers[i]


def needs(kind: int, number: Any, p: float, space: Space | None) -> tuple[Any, float | None, Space | None]:
    """Return what `row` takes of number, p and space: those that the rule looks at, None for the others.

    Args:
        kind: one of the codes above.
        number: degree, or the degrees of all rows.
        p: probability.
        space: where the neurons are.
    """
    counted = kind in (OUT_DEGREE, IN_DEGREE, TOTAL, SMALL_WORLD)
    return number if counted else None, None if counted and kind != SMALL_WORLD else p, space


@njit(cache=True, nogil=True, error_model="numpy")
def shares(lo, hi, sources, stream, k0, k1, many):  # type: ignore[no-untyped-def]
    """Count on which source each of the draws lo..hi of a fixed total falls."""
    random, found = np.empty((4, BATCH), np.uint32), np.empty(BATCH, np.int64)
    i = lo
    while i < hi:
        place = i & 0xFFFFFFFF
        n = min(BATCH, hi - i, (1 << 32) - place)
        _all_below(n, sources, i >> 32, place, 0, stream, k0, k1, random, found)
        for source in found[:n]:
            many[source] += 1
        i += n
