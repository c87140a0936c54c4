"""Mixtures of experts on events, compiled (see `spikeframe.kernels.reference.moe`)."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def events(x):  # type: ignore[no-untyped-def]
    """List the non-zero inputs of every row."""
    rows, inputs = x.shape
    first = np.zeros(rows + 1, np.int64)
    index = np.empty(x.size, np.int64)
    n = 0
    for r in range(rows):
        row = x[r]
        for i in range(inputs):
            index[n] = i
            n += row[i] != 0
        first[r + 1] = n
    size = np.empty(n, x.dtype)
    for r in range(rows):
        for k in range(first[r], first[r + 1]):
            size[k] = x[r, index[k]]
    return first, index[:n].copy(), size


@njit(cache=True, nogil=True, error_model="numpy")
def _add(found, first, last, index, size, weight):  # type: ignore[no-untyped-def]
    """Add up rows of weights; four events share a pass, added one after another."""
    wide = len(found)
    found[:] = 0
    k = first
    while k + 4 <= last:
        a0, a1, a2, a3 = size[k], size[k + 1], size[k + 2], size[k + 3]
        w0, w1, w2, w3 = weight[index[k]], weight[index[k + 1]], weight[index[k + 2]], weight[index[k + 3]]
        for j in range(wide):
            found[j] = (((found[j] + a0 * w0[j]) + a1 * w1[j]) + a2 * w2[j]) + a3 * w3[j]
        k += 4
    while k < last:
        a, w = size[k], weight[index[k]]
        for j in range(wide):
            found[j] += a * w[j]
        k += 1


@njit(cache=True, nogil=True, error_model="numpy")
def filtered(first, index, size, weight, powers, scale, z, gap, out):  # type: ignore[no-untyped-def]
    """Score rows by a filtered linear map."""
    batch, experts = z.shape
    found = np.empty(experts, z.dtype)
    for r in range(len(out)):
        b = r % batch
        state = z[b]
        if first[r] == first[r + 1]:
            gap[b] += 1
        else:
            _add(found, first[r], first[r + 1], index, size, weight)
            keep = powers[gap[b] + 1]
            for e in range(experts):
                state[e] = keep * state[e] + scale * found[e]
            gap[b] = 0
        for e in range(experts):
            out[r, e] = state[e]


@njit(cache=True, nogil=True, error_model="numpy")
def linear(first, index, size, pair, expert, share, weight, offset, out):  # type: ignore[no-untyped-def]
    """Add the currents of linear experts."""
    wide = weight.shape[2]
    found = np.empty(wide, out.dtype)
    met = 0
    for r in range(len(out)):
        for p in range(pair[r], pair[r + 1]):
            e, w = expert[p], share[p]
            _add(found, first[r], first[r + 1], index, size, weight[e])
            met += first[r + 1] - first[r]
            row = out[r, offset[e] : offset[e] + wide]
            for j in range(wide):
                row[j] += w * found[j]
    return met


@njit(cache=True, nogil=True, error_model="numpy")
def mlp(first, index, size, pair, expert, share, one, two, out):  # type: ignore[no-untyped-def]
    """Add the currents of experts with a rectified hidden layer."""
    units, wide = two.shape[1:]
    hidden, found = np.empty(units, out.dtype), np.empty(wide, out.dtype)
    unit, level = np.empty(units, np.int64), np.empty(units, out.dtype)
    sent = 0
    for r in range(len(out)):
        for p in range(pair[r], pair[r + 1]):
            e, w = expert[p], share[p]
            _add(hidden, first[r], first[r + 1], index, size, one[e])
            n = 0
            for j in range(units):
                if hidden[j] > 0:
                    unit[n] = j
                    level[n] = hidden[j]
                    n += 1
            _add(found, 0, n, unit, level, two[e])
            sent += n
            row = out[r]
            for j in range(wide):
                row[j] += w * found[j]
    return sent
