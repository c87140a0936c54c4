"""Delivery of events into a layer's accumulators, one compiled function per form of synapses.

Accumulators and weights are integers (units of a power-of-two grid), so the order of these additions changes nothing.
Each function adds the events ``[a, b)`` of `source` and marks the blocks of neurons that it reached. `count` has no
elements where every event counts once.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from spikeframe.kernels.numba.borrowing import BORROWING
from spikeframe.kernels.numba.planes import COLUMNS, REGISTER, add_bytes, count_bits, settle
from spikeframe.kernels.numba.vectors import add_rows
from spikeframe.kernels.synapses import LINE

#: Events of a step from which on fewer bits are faster than whole numbers.
FEW = 16


@njit(**BORROWING)
def ones(count, a, b):  # type: ignore[no-untyped-def]
    """Whether the events ``[a, b)`` count once each."""
    other = np.int32(0)
    for c in count[a:b]:
        other |= c ^ np.int32(1)
    return other == 0


@njit(**BORROWING)
def count_of(count, e):  # type: ignore[no-untyped-def]
    """Return how often event `e` counts."""
    return count[e] if count.size else np.int32(1)


@njit(**BORROWING)
def rows(source, count, a, b, table, row, whole, together, acc, touched):  # type: ignore[no-untyped-def]
    """Deliver through `spikeframe.kernels.synapses.Rows`: runs of up to `together` unit events are added up at once.

    `whole` says that every source reaches somebody.
    """
    plain = whole and ones(count, a, b)
    e = a
    while e < b:
        end = min(b, e + together) if plain else e
        while not plain and end < min(b, e + together) and count_of(count, end) == 1 and row[source[end]] >= 0:
            end += 1
        if end > e:
            for column in range(0, table.shape[1], LINE // table.itemsize):
                add_rows(table, row, source, e, end, column, acc)  # type: ignore[call-arg]
            touched[0] = 1
            e = end
            continue
        if row[source[e]] >= 0:
            w = table[row[source[e]]]
            c = count_of(count, e)
            for j in range(w.size):
                acc[j] += np.int32(w[j]) * c
            touched[0] = 1
        e += 1


@njit(**BORROWING)
def packed(source, count, a, b, table, row, whole, together, narrow, lowest, sums, counters, acc, touched):  # type: ignore[no-untyped-def]
    """Deliver through `spikeframe.kernels.synapses.Rows` of which `spikeframe.kernels.numba.planes` made `narrow`.

    Unit events do, as soon as there are a few; `sums` and `counters` are workspaces.
    """
    if b - a < FEW or not whole or not ones(count, a, b):
        rows(source, count, a, b, table, row, whole, together, acc, touched)
        return
    touched[0] = 1
    size = narrow.shape[1] // (lowest.size // COLUMNS)
    bits = (size - COLUMNS) // REGISTER
    for e in range(a, b, together):
        end = min(b, e + together)
        for column in range(0, lowest.size, COLUMNS):
            first = column // COLUMNS * size
            for part in range(0, COLUMNS, COLUMNS // 2):
                add_bytes(narrow, row, source, e, end, first + part, sums[part:])
            for bit in range(bits):
                count_bits(narrow, row, source, e, end, first + COLUMNS + REGISTER * bit, counters[bit])
            settle(sums, counters, bits, end - e, lowest, column, acc)


@njit(**BORROWING)
def stencil(source, count, a, b, weight, channel, ys, xs, geometry, acc, touched):  # type: ignore[no-untyped-def]
    """Deliver through `spikeframe.kernels.synapses.Stencil`; `geometry` = plane, stride, padding, dilation, block."""
    rows, columns, sy, sx, py, px, dy, dx, block = geometry
    channels = weight.shape[3]
    for e in range(a, b):
        s = source[e]
        ci = channel[s]
        if ci < 0:
            continue
        c = count_of(count, e)
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


@njit(**BORROWING)
def lists(source, count, a, b, start, target, weight, block, acc, touched):  # type: ignore[no-untyped-def]
    """Deliver through `spikeframe.kernels.synapses.Lists`."""
    for e in range(a, b):
        s = source[e]
        c = count_of(count, e)
        for i in range(start[s], start[s + 1]):
            acc[target[i]] += np.int32(weight[i]) * c
            touched[target[i] // block] = 1
