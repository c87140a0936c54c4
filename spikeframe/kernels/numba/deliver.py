"""Delivery of events into a layer's accumulators, one compiled function per form of synapses.

Accumulators and weights are integers (units of a power-of-two grid), so the order of these additions changes nothing.
Each function adds the events ``[a, b)`` of `source` and marks the blocks of neurons that it reached.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def rows(source, count, a, b, weight, row, narrow, acc, touched):  # type: ignore[no-untyped-def]
    """Deliver through `spikeframe.kernels.synapses.Rows`.

    Eight unit events at a time share a pass over the targets; `narrow` says that eight weights add up in 16 bits.
    """
    n = acc.size
    e = a
    while e < b:
        if narrow and e + 8 <= b:
            together = True
            for k in range(e, e + 8):
                together &= count[k] == 1 and row[source[k]] >= 0
            if together:
                w0, w1 = weight[row[source[e]]], weight[row[source[e + 1]]]
                w2, w3 = weight[row[source[e + 2]]], weight[row[source[e + 3]]]
                w4, w5 = weight[row[source[e + 4]]], weight[row[source[e + 5]]]
                w6, w7 = weight[row[source[e + 6]]], weight[row[source[e + 7]]]
                for j in range(n):
                    first = (w0[j] + w1[j]) + (w2[j] + w3[j])
                    acc[j] += np.int32(np.int16(first + ((w4[j] + w5[j]) + (w6[j] + w7[j]))))
                touched[0] = 1
                e += 8
                continue
        r = row[source[e]]
        if r >= 0:
            w = weight[r]
            c = count[e]
            if c == 1:
                for j in range(n):
                    acc[j] += np.int32(w[j])
            else:
                for j in range(n):
                    acc[j] += np.int32(w[j]) * c
            touched[0] = 1
        e += 1


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
                    part[j] += np.int32(w[j]) * c
                for q in range(o // block, (o + channels - 1) // block + 1):
                    touched[q] = 1


@njit(cache=True, nogil=True, error_model="numpy")
def lists(source, count, a, b, start, target, weight, block, acc, touched):  # type: ignore[no-untyped-def]
    """Deliver through `spikeframe.kernels.synapses.Lists`."""
    for e in range(a, b):
        s = source[e]
        c = count[e]
        for i in range(start[s], start[s + 1]):
            acc[target[i]] += np.int32(weight[i]) * c
            touched[target[i] // block] = 1
