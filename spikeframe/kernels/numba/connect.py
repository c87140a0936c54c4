"""Building of a projection, in parallel over its rows: the same synapses for any number of threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from spikeframe.kernels.numba.philox import BATCH, draws, words
from spikeframe.kernels.numba.rules import IN_DEGREE, TOTAL, Space, degree, needs, picks, row, shares
from spikeframe.kernels.numba.steps import in_ranges


@dataclass(frozen=True, eq=False)
class Law:
    """What a rule comes down to.

    Attributes:
        kind: code in `spikeframe.kernels.numba.rules`.
        number: degree or total.
        p: probability.
        autapses: whether a neuron may reach itself.
        multapses: whether a pair may have several synapses.
        same: whether source and target are one population.
        space: where the neurons are, for a rule that looks at distances.
    """

    kind: int
    number: int = 0
    p: float = 0.0
    autapses: bool = True
    multapses: bool = True
    same: bool = False
    space: Space | None = None


@dataclass(frozen=True, eq=False)
class Drawn:
    """Values to be drawn for every synapse: rint(draw / unit), at least `least`."""

    kind: int
    parameters: Any
    unit: float
    least: int
    dtype: Any


@njit(cache=True, nogil=True, error_model="numpy")
def _targets(lo, hi, kind, numbers, p, n, same, autapses, multapses, stream, k0, k1, space, out, many, kept):  # type: ignore[no-untyped-def]
    """Return the targets of the sources lo..hi, row by row, in an array that grows; `kept` says of which type."""
    size = 0
    for i in range(lo, hi):
        own = i if same else -1
        number = degree(numbers, i)
        found = row(kind, number, p, n, own, autapses, multapses, i, stream, k0, k1, out, space)
        many[i] = found
        if size + found > kept.size:
            wider = np.empty(2 * (size + found), kept.dtype)
            for e in range(size):
                wider[e] = kept[e]
            kept = wider
        for e in range(found):
            kept[size + e] = out[e]
        size += found
    return kept[:size]


@njit(cache=True, nogil=True, error_model="numpy")
def _sources(lo, hi, k, n, same, autapses, multapses, stream, k0, k1, found):  # type: ignore[no-untyped-def]
    for j in range(lo, hi):
        avoid = j if same and not autapses else -1
        picks(k, n, avoid, multapses, j, stream, k0, k1, found[j])


@njit(cache=True, nogil=True, error_model="numpy")
def _transposed(found, sources, start, target):  # type: ignore[no-untyped-def]
    """Turn the sources of every target into rows by source, targets ascending."""
    for j in range(found.shape[0]):
        for e in range(found.shape[1]):
            start[found[j, e] + 1] += 1
    for i in range(sources):
        start[i + 1] += start[i]
    place = start[:-1].copy()
    for j in range(found.shape[0]):
        for e in range(found.shape[1]):
            target[place[found[j, e]]] = j
            place[found[j, e]] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _values(lo, hi, start, kind, parameters, unit, least, stream, k0, k1, values):  # type: ignore[no-untyped-def]
    random, x = np.empty((4, BATCH), np.uint32), np.empty(BATCH)
    for i in range(lo, hi):
        for first in range(start[i], start[i + 1], BATCH):
            place, n = first - start[i], min(BATCH, start[i + 1] - first)
            words(n, 0, place, i, stream, k0, k1, random)
            draws(n, kind, parameters, place, i, stream, k0, k1, random, x)
            own = values[first : first + n]
            for j in range(n):
                own[j] = max(least, np.int64(np.rint(x[j] / unit)))


def space(here: Any, there: Any, sides: Any, shape: int, scale: float, cutoff: float) -> Space:
    """Sort the targets into cells of about half the cutoff, and about one target each at the least.

    Args:
        here: ``[sources, axes]`` positions.
        there: ``[targets, axes]`` positions.
        sides: ``[axes]`` of the periodic box, inf on open axes.
        shape: of the probability over distance, a code of `spikeframe.kernels.numba.rules`.
        scale: its length.
        cutoff: largest distance.
    """
    axes, most = here.shape[1], max(1, int(there.shape[0] ** (1 / max(1, here.shape[1]))))
    low, width, reach, cells = np.zeros(3), np.ones(3), np.zeros(3), np.ones(3, np.int64)
    around = np.full(3, np.inf)
    around[:axes] = sides
    near_by, far = (_placed(x, around) for x in (here, there))
    periodic = np.isfinite(around)
    for a in range(axes):
        low[a] = 0.0 if periodic[a] or not far.size else far[:, a].min()
        span = around[a] if periodic[a] else np.max(far[:, a] - low[a], initial=0.0)
        cells[a] = int(min(max(2.0 * span / cutoff, 1.0), most))
        width[a] = span / cells[a] or 1.0
        # Rounding of a position may not hide a target that is within the cutoff.
        reach[a] = cutoff + 1e-9 * (span + np.abs(near_by[:, a]).max(initial=0.0))
    place = np.floor((far - low) / width).astype(np.int64)
    place = np.where(periodic, place % cells, np.clip(place, 0, cells - 1))
    cell = (place[:, 0] * cells[1] + place[:, 1]) * cells[2] + place[:, 2]
    order = np.argsort(cell, kind="stable")
    start = np.searchsorted(cell[order], np.arange(cells.prod() + 1)).astype(np.int64)
    return Space(
        near_by, np.ascontiguousarray(far[order]), order, start, low, width, cells, around, reach, shape, scale, cutoff
    )


def _placed(positions: Any, sides: Any) -> Any:
    """Return positions with three axes, brought into the box on periodic ones."""
    found = np.zeros((positions.shape[0], 3))
    found[:, : positions.shape[1]] = positions
    periodic = np.isfinite(sides)
    found[:, periodic] -= np.floor(found[:, periodic] / sides[periodic]) * sides[periodic]
    return found


def rows(law: Law, sources: int, targets: int, seed: int, stream: int, threads: int) -> tuple[Any, Any]:
    """Return start and target of a projection's rows.

    Args:
        law: what the rule comes down to.
        sources: neurons of the source population.
        targets: neurons of the target population.
        seed: key.
        stream: random stream.
        threads: changes nothing but the time.
    """
    key = np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32)
    small: Any = np.uint16 if targets <= 65536 else np.int32
    if law.kind == IN_DEGREE:
        found = np.empty((targets, law.number), np.int64)
        fixed = (law.number, sources, law.same, law.autapses, law.multapses, stream, *key, found)
        in_ranges(lambda lo, hi: _sources(lo, hi, *fixed), targets, threads)
        start, target = np.zeros(sources + 1, np.int64), np.empty(found.size, small)
        _transposed(found, sources, start, target)
        return start, target
    numbers = np.full(sources, law.number, np.int64)
    if law.kind == TOTAL:
        numbers = _shares(law.number, sources, stream + 1, key, threads)
    given, p, place = needs(law.kind, numbers, law.p, law.space)
    options: Any = (law.kind, given, p, targets, law.same, law.autapses, law.multapses, stream, *key)
    many = np.zeros(sources, np.int64)
    parts: dict[int, Any] = {}

    def work(lo: int, hi: int) -> None:
        out = np.empty(max(targets, int(numbers.max(initial=0)), 1), np.int64)
        parts[lo] = _targets(lo, hi, *options, place, out, many, np.empty(0, small))  # type: ignore[call-arg]

    in_ranges(work, sources, threads)
    start = np.concatenate([[0], np.cumsum(many)]).astype(np.int64)
    return start, np.concatenate([parts[lo] for lo in sorted(parts)])


def _shares(total: int, sources: int, stream: int, key: tuple[Any, Any], threads: int) -> Any:
    parts = [np.zeros(sources, np.int64) for _ in range(threads)]

    def work(lo: int, hi: int) -> None:
        for i in range(lo, hi):
            shares(total * i // threads, total * (i + 1) // threads, sources, stream, *key, parts[i])

    in_ranges(work, threads, threads)
    return np.sum(parts, axis=0)


def drawn(law: Drawn, start: Any, seed: int, stream: int, threads: int) -> Any:
    """Return a value for every synapse of some rows.

    Args:
        law: what is drawn.
        start: where each row begins.
        seed: key.
        stream: random stream.
        threads: changes nothing but the time.
    """
    values = np.empty(int(start[-1]), law.dtype)
    key = np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32)
    options: Any = (start, law.kind, law.parameters, law.unit, law.least, stream, *key, values)
    in_ranges(lambda lo, hi: _values(lo, hi, *options), start.size - 1, threads)
    return values


def explicit(source: Any, target: Any, sources: int, targets: int) -> tuple[Any, Any, Any]:
    """Return start, target and the order of given pairs.

    Args:
        source: ``[n]`` sources.
        target: ``[n]`` targets.
        sources: neurons of the source population.
        targets: neurons of the target population.
    """
    order = np.lexsort((target, source))
    start = np.searchsorted(source[order], np.arange(sources + 1)).astype(np.int64)
    return start, target[order].astype(np.uint16 if targets <= 65536 else np.int32), order
