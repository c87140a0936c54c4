"""Delivery of events into a layer's accumulators, one compiled function per form of synapses.

Weights lie on a power-of-two grid, so the order of these additions changes no bit. Each function adds the events
``[a, b)`` of `source` and marks the blocks of neurons that it reached.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def rows(source, count, a, b, weight, row, acc, touched):  # type: ignore[no-untyped-def]
    """Deliver through `spikeframe.kernels.synapses.Rows`."""
    n = weight.shape[1]
    for e in range(a, b):
        r = row[source[e]]
        if r < 0:
            continue
        c = count[e]
        if c == np.float32(1.0):
            for j in range(n):
                acc[j] += weight[r, j]
        else:
            for j in range(n):
                acc[j] += weight[r, j] * c
        touched[0] = 1


@njit(cache=True, nogil=True, error_model="numpy")
def stencil(source, count, a, b, weight, channel, ys, xs, geometry, acc, touched):  # type: ignore[no-untyped-def]
    """Deliver through `spikeframe.kernels.synapses.Stencil`; `geometry` = plane, stride, padding, dilation, block."""
    rows, columns, sy, sx, py, px, dy, dx, block = geometry
    channels = weight.shape[3]
    for e in range(a, b):
        s = source[e]
        ci = channel[s]
        if ci < 0:
            continue
        c = count[e]
        for ky in range(weight.shape[1]):
            ny = ys[s] + py - ky * dy
            if ny < 0 or ny % sy != 0 or ny // sy >= rows:
                continue
            for kx in range(weight.shape[2]):
                nx = xs[s] + px - kx * dx
                if nx < 0 or nx % sx != 0 or nx // sx >= columns:
                    continue
                o = ((ny // sy) * columns + nx // sx) * channels
                w = weight[ci, ky, kx]
                part = acc[o : o + channels]
                for j in range(channels):
                    part[j] += w[j] * c
                for q in range(o // block, (o + channels - 1) // block + 1):
                    touched[q] = 1


@njit(cache=True, nogil=True, error_model="numpy")
def lists(source, count, a, b, start, target, weight, block, acc, touched):  # type: ignore[no-untyped-def]
    """Deliver through `spikeframe.kernels.synapses.Lists`."""
    for e in range(a, b):
        s = source[e]
        c = count[e]
        for i in range(start[s], start[s + 1]):
            acc[target[i]] += weight[i] * c
            touched[target[i] // block] = 1
