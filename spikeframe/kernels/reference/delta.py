"""Layers driven by changes, in plain NumPy: the meaning of the compiled ones.

A change that passes its threshold is sent: the held value becomes the input, and the change times the weights is added
to the sums, in float64, one change after another in the order of the inputs. What is not sent costs nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def linear(
    x: Array, theta: Array, weight: Array, bias: Array, held: Array, sums: Array, out: Array, sent: Array, macs: Array
) -> None:
    """Run a linear layer on the changes of its input.

    Args:
        x: ``[T, B, I]`` input.
        theta: ``[I]`` thresholds.
        weight: ``[I, O]``.
        bias: ``[O]`` float64.
        held: ``[B, I]`` values last sent, updated.
        sums: ``[B, O]`` float64 sums without bias, updated.
        out: ``[T, B, O]`` filled.
        sent: ``[T, B]`` filled with the number of changes.
        macs: ``[T, B]`` filled with the number of multiply-accumulates.
    """
    for t, b in np.ndindex(x.shape[:2]):
        changed = np.flatnonzero(np.abs(x[t, b] - held[b]) > theta)
        for i in changed:
            sums[b] += (np.float64(x[t, b, i]) - np.float64(held[b, i])) * weight[i].astype(np.float64)
        held[b, changed] = x[t, b, changed]
        sent[t, b], macs[t, b] = changed.size, changed.size * weight.shape[1]
        out[t, b] = sums[b] + bias


def conv2d(
    x: Array,
    theta: Array,
    weight: Array,
    geometry: tuple[int, ...],
    bias: Array,
    held: Array,
    sums: Array,
    out: Array,
    sent: Array,
    macs: Array,
) -> None:
    """Run a convolution on the changes of its input.

    Args:
        x: ``[T, B, C, H, W]`` input.
        theta: ``[C, H, W]`` thresholds.
        weight: ``[C, kh, kw, O]``.
        geometry: stride, padding and dilation, each of rows and of columns.
        bias: ``[O]`` float64.
        held: ``[B, C, H, W]`` values last sent, updated.
        sums: ``[B, H', W', O]`` float64 sums without bias, updated.
        out: ``[T, B, H', W', O]`` filled.
        sent: ``[T, B]`` filled with the number of changes.
        macs: ``[T, B]`` filled with the number of multiply-accumulates; what falls on padding is none.
    """
    sy, sx, py, px, dy, dx = geometry
    rows, columns, outputs = sums.shape[1:]
    for t, b in np.ndindex(x.shape[:2]):
        changed = np.argwhere(np.abs(x[t, b] - held[b]) > theta)
        reached = 0
        for c, y, u in changed:
            size = np.float64(x[t, b, c, y, u]) - np.float64(held[b, c, y, u])
            held[b, c, y, u] = x[t, b, c, y, u]
            for ky, kx in np.ndindex(weight.shape[1:3]):
                (row, off_row), (column, off_column) = divmod(y + py - ky * dy, sy), divmod(u + px - kx * dx, sx)
                if off_row == 0 and off_column == 0 and 0 <= row < rows and 0 <= column < columns:
                    sums[b, row, column] += size * weight[c, ky, kx].astype(np.float64)
                    reached += outputs
        sent[t, b], macs[t, b] = len(changed), reached
        out[t, b] = sums[b] + bias
