"""Layers driven by changes, compiled (see `spikeframe.kernels.reference.delta`)."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def linear(x, theta, weight, bias, held, sums, out, sent, macs):  # type: ignore[no-untyped-def]
    """Run a linear layer on the changes of its input.

    Four changes share a pass over the sums; they are added one after another, as in the reference.
    """
    steps, batch, inputs = x.shape
    outputs = weight.shape[1]
    index = np.empty(inputs, np.int64)
    size = np.empty(inputs, np.float64)
    for b in range(batch):
        total, last = sums[b], held[b]
        for t in range(steps):
            row, result = x[t, b], out[t, b]
            n = 0
            for i in range(inputs):
                if abs(row[i] - last[i]) > theta[i]:
                    index[n] = i
                    size[n] = np.float64(row[i]) - np.float64(last[i])
                    last[i] = row[i]
                    n += 1
            whole = n - n % 4
            for k in range(0, whole, 4):
                d0, d1, d2, d3 = size[k], size[k + 1], size[k + 2], size[k + 3]
                w0, w1 = weight[index[k]], weight[index[k + 1]]
                w2, w3 = weight[index[k + 2]], weight[index[k + 3]]
                for j in range(outputs):
                    total[j] = (((total[j] + d0 * w0[j]) + d1 * w1[j]) + d2 * w2[j]) + d3 * w3[j]
            for k in range(whole, n):
                d, w = size[k], weight[index[k]]
                for j in range(outputs):
                    total[j] += d * w[j]
            for j in range(outputs):
                result[j] = total[j] + bias[j]
            sent[t, b] = n
            macs[t, b] = n * outputs


@njit(cache=True, nogil=True, error_model="numpy")
def _reach(size, taps, outputs, stride, padding, dilation):  # type: ignore[no-untyped-def]
    """Return, per place of one axis: which taps meet an output, which output that is, how many there are."""
    tap = np.empty((size, taps), np.int64)
    place = np.empty((size, taps), np.int64)
    many = np.zeros(size, np.int64)
    for i in range(size):
        for k in range(taps):
            at = i + padding - k * dilation
            if at >= 0 and at % stride == 0 and at // stride < outputs:
                tap[i, many[i]] = k
                place[i, many[i]] = at // stride
                many[i] += 1
    return tap, place, many


@njit(cache=True, nogil=True, error_model="numpy")
def conv2d(x, theta, weight, geometry, bias, held, sums, out, sent, macs):  # type: ignore[no-untyped-def]
    """Run a convolution on the changes of its input."""
    steps, batch, channels, height, width = x.shape
    rows, columns, outputs = sums.shape[1:]
    sy, sx, py, px, dy, dx = geometry
    tap_y, row_of, many_y = _reach(height, weight.shape[1], rows, sy, py, dy)
    tap_x, column_of, many_x = _reach(width, weight.shape[2], columns, sx, px, dx)
    for b in range(batch):
        for t in range(steps):
            n = 0
            reached = 0
            for c in range(channels):
                for y in range(height):
                    row, last, limit = x[t, b, c, y], held[b, c, y], theta[c, y]
                    for u in range(width):
                        if abs(row[u] - last[u]) > limit[u]:
                            size = np.float64(row[u]) - np.float64(last[u])
                            last[u] = row[u]
                            n += 1
                            reached += many_y[y] * many_x[u]
                            for i in range(many_y[y]):
                                for k in range(many_x[u]):
                                    w = weight[c, tap_y[y, i], tap_x[u, k]]
                                    total = sums[b, row_of[y, i], column_of[u, k]]
                                    for j in range(outputs):
                                        total[j] += size * w[j]
            for r in range(rows):
                for q in range(columns):
                    result, total = out[t, b, r, q], sums[b, r, q]
                    for j in range(outputs):
                        result[j] = total[j] + bias[j]
            sent[t, b] = n
            macs[t, b] = reached * outputs
