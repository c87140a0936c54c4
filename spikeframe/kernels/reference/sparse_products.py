"""Products of sparse matrices with spikes and numbers, in plain NumPy: the meaning of the compiled ones.

An output is the sum of its terms ``weight * x`` in the order of its sources, one after the other, each rounded to the
type of the weights; then comes the bias. So all of these functions give the same bits, and those of a dense product
wherever sums are exact. Inputs are ``[columns, sources]``: time and batch together, then sources.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeframe.kernels.formats import Runs, Strips

Array = NDArray[Any]

#: Columns of a panel; vectors in it, and numbers in a vector.
WIDE, PANEL, LANES = 256, 16, 16


def pack(x: Array, threads: int = 1) -> Array:
    """Return the panels of an input, by source.

    Args:
        x: ``[columns, sources]``.
        threads: at most so many.

    Returns:
        ``[panels, sources, 16]`` uint16, bit i of word k for column ``16 k + i`` of a panel, if x is all 0 and 1; else
        what `numbers` gives.
    """
    if not ((x == 0) | (x == 1)).all():
        return numbers(x)
    bits = numbers(x).reshape(-1, x.shape[1], PANEL, LANES) != 0
    words: Array = (bits * (1 << np.arange(LANES))).sum(3).astype(np.uint16)
    return words


def numbers(x: Array, threads: int = 1) -> Array:
    """Return the panels of an input, by source, as numbers.

    Args:
        x: ``[columns, sources]``.
        threads: at most so many.

    Returns:
        ``[panels, sources, 256]``, zeros behind the last column.
    """
    columns, sources = x.shape
    padded = np.zeros((-(-columns // WIDE) * WIDE, sources), x.dtype)
    padded[:columns] = x
    return np.ascontiguousarray(padded.reshape(-1, WIDE, sources).transpose(0, 2, 1))


def _unpacked(panel: Array, dtype: Any) -> Array:
    """Return ``[panels, sources, 256]`` numbers."""
    if panel.dtype != np.uint16:
        return panel
    bits = (panel[..., np.newaxis] >> np.arange(LANES)) & 1
    return bits.reshape(*panel.shape[:2], WIDE).astype(dtype)


def panels(runs: Runs, panel: Array, columns: int, bias: Array, threads: int = 1) -> Array:
    """Return the product with a packed input.

    Args:
        runs: the weights.
        panel: as `pack` gave it.
        columns: of the input.
        bias: ``[targets]``, or empty.
        threads: at most so many.

    Returns:
        ``[columns, targets]``.
    """
    x = _unpacked(panel, runs.weight.dtype).transpose(1, 0, 2).reshape(panel.shape[1], -1)[:, :columns]
    out = np.zeros((runs.rows, columns), runs.weight.dtype)
    for g in range(runs.start.size - 1):
        s, e = runs.start[g], runs.start[g + 1]
        for r in range(runs.height):
            for i in range(s, e):
                out[g * runs.height + r] += runs.weight[runs.height * s + r * (e - s) + i - s] * x[runs.index[i]]
    if bias.size:
        out += bias[:, np.newaxis]
    return np.ascontiguousarray(out.T)


def support(runs: Runs, panel: Array, gradient: Array, threads: int = 1) -> Array:
    """Return the gradients of weights: of each, the sum over columns of its input times its output's gradient.

    Columns of a panel are added up in four sums of vectors, then these, then halves of the vector; panels in turn.

    Args:
        runs: the weights' places.
        panel: the input, as `pack` gave it.
        gradient: of the output, ``[panels, targets, 256]`` as `numbers` gives it.
        threads: at most so many.

    Returns:
        As many as there are weights, in their order.
    """
    x = _unpacked(panel, gradient.dtype)
    out = np.zeros(runs.index.size * runs.height, gradient.dtype)
    for tile in range(len(panel)):
        for g in range(runs.start.size - 1):
            s, e = runs.start[g], runs.start[g + 1]
            for r in range(runs.height):
                terms = (x[tile, runs.index[s:e]] * gradient[tile, g * runs.height + r]).reshape(-1, PANEL, LANES)
                sums = [np.zeros((e - s, LANES), gradient.dtype) for _ in range(4)]
                for k in range(PANEL):
                    sums[k % 4] = sums[k % 4] + terms[:, k]
                total = (sums[0] + sums[1]) + (sums[2] + sums[3])
                while total.shape[1] > 1:
                    half = total.shape[1] // 2
                    total = total[:, :half] + total[:, half:]
                first = runs.height * s + r * (e - s)
                out[first : first + e - s] += total[:, 0]
    return out


def events(strips: Strips, x: Array, bias: Array, threads: int = 1) -> Array:
    """Return the product with an input whose zeros are skipped.

    Args:
        strips: the weights.
        x: ``[columns, sources]``.
        bias: ``[targets]``, or empty.
        threads: at most so many.

    Returns:
        ``[columns, targets]``.
    """
    out = np.zeros((len(x), strips.rows), strips.weight.dtype)
    weight = strips.weight.reshape(-1, strips.width, strips.height)
    for t, j in np.argwhere(x != 0):
        column, inside = divmod(j, strips.width)
        for b in range(strips.start[column], strips.start[column + 1]):
            first = int(strips.row[b]) * strips.height
            out[t, first : first + strips.height] += x[t, j] * weight[b, inside]
    if bias.size:
        out += bias
    return out
