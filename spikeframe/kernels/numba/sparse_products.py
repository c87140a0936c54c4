"""Products of sparse matrices with spikes and numbers, compiled (see `spikeframe.kernels.reference.sparse_products`).

Panels: columns (time and batch) are the lanes of vectors. Spikes are packed to a bit each, so that one masked addition
adds a weight to 16 sums, whatever the rate; 16 such sums stay in registers while the weights of a row pass.
Events: inputs of a row of x that are not 0, in order; each adds its strips of weights to the outputs.

Either adds up an output's terms in the order of its sources, one rounding each: the same bits, for any number of
threads, which share columns or groups of rows and no sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spikeframe.kernels import buffers
from spikeframe.kernels.formats import Runs, Strips
from spikeframe.kernels.numba.borrowing import BORROWING
from spikeframe.kernels.numba.sparse_vectors import LANES, PANEL, adder, nonzero, part, sample, strip, transpose
from spikeframe.kernels.numba.steps import in_ranges
from spikeframe.kernels.numba.vectors import lowest

Array = NDArray[Any]

#: Columns of a panel.
WIDE = LANES * PANEL
#: Below so many additions a second thread costs more than it saves.
_ALONE = 1 << 20

_add_1, _add_4 = adder(1), adder(4)
_strip_16, _strip_4 = strip(16), strip(4)


@njit(**BORROWING)
def _pack_bits(x, word, panel, other, lo, hi):  # type: ignore[no-untyped-def]
    """Pack the columns of panels lo..hi; set `other` where a number is neither 0 nor 1. `word` is room for a row."""
    columns, sources = x.shape
    odd = np.int32(0)
    for tile in range(lo, hi):
        for k in range(PANEL):
            for j in range(sources):
                word[j] = 0
            first = tile * WIDE + k * LANES
            for m in range(first, min(first + LANES, columns)):
                row, bit = x[m], np.uint16(1 << (m - first))
                for j in range(sources):
                    value = row[j]
                    word[j] |= bit if value != 0 else np.uint16(0)
                    odd |= np.int32((value != 0) & (value != 1))
            for j in range(sources):
                panel[tile, j, k] = word[j]
    if odd:
        other[0] = 1


@njit(**BORROWING)
def _pack_numbers(x, panel, lo, hi):  # type: ignore[no-untyped-def]
    """Write the columns of panels lo..hi side by side, zeros behind the last."""
    columns, sources = x.shape
    square = sources - sources % LANES
    for tile in range(lo, hi):
        for k in range(PANEL):
            first = tile * WIDE + k * LANES
            whole = square if first + LANES <= columns else 0
            for j in range(0, whole, LANES):
                transpose(x, first * sources + j, sources, panel, (tile * sources + j) * WIDE + k * LANES, WIDE)
            for j in range(whole, sources):
                for m in range(LANES):
                    panel[tile, j, k * LANES + m] = x[first + m, j] if first + m < columns else 0.0


@njit(**BORROWING)
def _store(sums, rows, out, first, columns, at):  # type: ignore[no-untyped-def]
    """Write `rows` sums of `columns` columns to ``out[first:, at:]``."""
    outputs = out.shape[1]
    for r in range(0, rows, LANES):
        whole = columns - columns % LANES if r + LANES <= rows else 0
        for c in range(0, whole, LANES):
            transpose(sums, r * WIDE + c, WIDE, out, (first + c) * outputs + at + r, outputs)
        for c in range(whole, columns):
            for i in range(r, min(r + LANES, rows)):
                out[first + c, at + i] = sums[i, c]


@njit(**BORROWING)
def _panels(panel, height, start, index, weight, bias, width, sums, out, lo, hi):  # type: ignore[no-untyped-def]
    """Compute parts lo..hi, `width` columns each; `sums` is room for as many groups of rows as are done at a time."""
    sources, words = panel.shape[1:]
    columns = out.shape[0]
    parts = WIDE // width
    chunk = sums.shape[0] // height
    for item in range(lo, hi):
        tile, q = item // parts, item % parts
        first = tile * WIDE + q * width
        base = tile * sources * words + q * (words // parts)
        for g0 in range(0, start.size - 1, chunk):
            g1 = min(g0 + chunk, start.size - 1)
            for g in range(g0, g1):
                s, e = start[g], start[g + 1]
                n, at, own = e - s, (g - g0) * height, height * s
                if height % 4 == 0:
                    for r in range(0, height, 4):
                        _add_4(panel, base, index, s, e, weight, own + r * n, n, sums, (at + r) * WIDE, WIDE)
                else:
                    for r in range(height):
                        _add_1(panel, base, index, s, e, weight, own + r * n, n, sums, (at + r) * WIDE, WIDE)
            if bias.size:
                for r in range((g1 - g0) * height):
                    for c in range(width):
                        sums[r, c] += bias[g0 * height + r]
            _store(sums, (g1 - g0) * height, out, first, min(width, columns - first), g0 * height)


@njit(**BORROWING)
def _support(panel, gradient, height, start, index, out, lo, hi):  # type: ignore[no-untyped-def]
    """Compute the gradients of the weights of groups lo..hi."""
    sources, words = panel.shape[1:]
    rows = gradient.shape[1]
    for tile in range(panel.shape[0]):
        for g in range(lo, hi):
            s, e = start[g], start[g + 1]
            for r in range(height):
                at = (tile * rows + g * height + r) * WIDE
                sample(panel, tile * sources * words, index, s, e, gradient, at, out, height * s + r * (e - s))


@njit(**BORROWING)
def _deliver(x, t, j, width, height, start, row, weight, out):  # type: ignore[no-untyped-def]
    """Add the weights of input j, times its value, to outputs of row t."""
    size = x[t, j]
    y, at = out[t], t * out.shape[1]
    column, inside = j // width, j % width
    if height * width == 1:
        for b in range(start[column], start[column + 1]):
            y[row[b]] += size * weight[b]
        return
    for b in range(start[column], start[column + 1]):
        first, to = (b * width + inside) * height, row[b] * height
        if height % 16 == 0:
            for r in range(0, height, 16):
                _strip_16(out, at + to + r, weight, first + r, size)
        elif height % 4 == 0:
            for r in range(0, height, 4):
                _strip_4(out, at + to + r, weight, first + r, size)
        else:
            for r in range(height):
                y[to + r] += size * weight[first + r]


@njit(**BORROWING)
def _events(x, width, height, start, row, weight, bias, out, lo, hi):  # type: ignore[no-untyped-def]
    """Compute rows lo..hi of the output."""
    sources = x.shape[1]
    whole = sources - sources % LANES
    for t in range(lo, hi):
        for i in range(out.shape[1]):
            out[t, i] = 0.0
        for c in range(0, whole, LANES):
            left = nonzero(x, t * sources + c)
            while left != 0:
                _deliver(x, t, c + lowest(left), width, height, start, row, weight, out)
                left &= left - np.uint64(1)
        for j in range(whole, sources):
            if x[t, j] != 0:
                _deliver(x, t, j, width, height, start, row, weight, out)
        for i in range(bias.size):
            out[t, i] += bias[i]


def pack(x: Array, threads: int = 1) -> Array:
    """Return the panels of an input; see the reference."""
    columns, sources = x.shape
    tiles = -(-columns // WIDE)
    panel = buffers.empty((tiles, sources, PANEL), np.uint16)
    other = np.zeros(1, np.uint8)
    in_ranges(
        lambda lo, hi: _pack_bits(x, np.empty(sources, np.uint16), panel, other, lo, hi),
        tiles, threads if x.size > _ALONE else 1,
    )  # fmt: skip
    return numbers(x, threads) if other[0] else panel


def numbers(x: Array, threads: int = 1) -> Array:
    """Return the panels of an input as numbers; see the reference."""
    columns, sources = x.shape
    tiles = -(-columns // WIDE)
    panel = buffers.empty((tiles, sources, WIDE), x.dtype)
    in_ranges(lambda lo, hi: _pack_numbers(x, panel, lo, hi), tiles, threads if x.size > _ALONE else 1)
    return panel


def panels(runs: Runs, panel: Array, columns: int, bias: Array, threads: int = 1) -> Array:
    """Return the product with a packed input; see the reference."""
    height = runs.height
    out = buffers.empty((columns, runs.rows), runs.weight.dtype)
    width = LANES * part(4 if height % 4 == 0 else 1, panel.dtype != np.uint16)
    parts = -(-columns // width)
    one = runs.weight.size * columns < _ALONE * LANES

    def work(lo: int, hi: int) -> None:
        sums = np.empty((max(1, LANES // height) * height, WIDE), runs.weight.dtype)
        _panels(panel, height, runs.start, runs.index, runs.weight, bias, width, sums, out, lo, hi)

    in_ranges(work, parts, 1 if one else threads)
    return out


def support(runs: Runs, panel: Array, gradient: Array, threads: int = 1) -> Array:
    """Return the gradients of weights; see the reference."""
    out = np.zeros(runs.index.size * runs.height, gradient.dtype)
    one = out.size * panel.shape[0] * WIDE < _ALONE * LANES
    in_ranges(
        lambda lo, hi: _support(panel, gradient, runs.height, runs.start, runs.index, out, lo, hi),
        runs.start.size - 1, 1 if one else threads,
    )  # fmt: skip
    return out


def events(strips: Strips, x: Array, bias: Array, threads: int = 1) -> Array:
    """Return the product with an input whose zeros are skipped; see the reference."""
    out = buffers.empty((x.shape[0], strips.rows), strips.weight.dtype)
    one = x.size < _ALONE // 8
    in_ranges(
        lambda lo, hi: _events(
            x, strips.width, strips.height, strips.start, strips.row, strips.weight, bias, out, lo, hi
        ),
        x.shape[0], 1 if one else threads,
    )  # fmt: skip
    return out
