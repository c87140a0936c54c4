"""Divide and concur, compiled (see `spikeframe.kernels.reference.boolean_threshold`)."""

from __future__ import annotations

import numpy as np
from numba import njit

from spikeframe.kernels.reference.boolean_threshold import EDGE

_EDGE = EDGE


@njit(cache=True, nogil=True, error_model="numpy")
def _root(p, q, c):  # type: ignore[no-untyped-def]
    """Root in (-1, 1) of ``(p (1 + u^2) + q u) / (1 - u^2)^2 = c``, which rises: Newton within a shrinking bracket."""
    low, high, u = _EDGE - 1.0, 1.0 - _EDGE, 0.0
    for _ in range(100):
        r = 1.0 - u * u
        n = p * (1.0 + u * u) + q * u
        f = n / (r * r) - c
        if f > 0.0:
            high = u
        else:
            low = u
        slope = ((2.0 * p * u + q) * r + 4.0 * u * n) / (r * r * r)
        new = u - f / slope
        if not low < new < high:
            new = 0.5 * (low + high)
        if abs(new - u) <= 1e-15:
            return new
        u = new
    return u


@njit(cache=True, nogil=True, error_model="numpy")
def _divide_item(wiring, given, w, x, y, aw, ax, ay):  # type: ignore[no-untyped-def]
    """`divide` for one item."""
    aw[:] = w
    ax[:] = x
    ay[: wiring.fixed] = given
    for n in range(len(wiring.margin)):
        begin, end = wiring.first[n], wiring.first[n + 1]
        margin, old = wiring.margin[n], y[wiring.fixed + n]
        p, q = 0.0, 0.0
        for e in range(begin, end):
            p += w[e] * x[e]
            q += w[e] * w[e] + x[e] * x[e]
        best, s, root = np.inf, 1.0, 0.0
        for sign in (1.0, -1.0):
            if old * p > 0.0 and sign * old < 0.0:
                continue
            u = 0.0 if sign * p >= margin else _root(p, q, sign * margin)
            r = 1.0 / (1.0 - u * u)
            cost = (sign - old) ** 2
            if u != 0.0:
                for e in range(begin, end):
                    cost += ((w[e] + u * x[e]) * r - w[e]) ** 2 + ((x[e] + u * w[e]) * r - x[e]) ** 2
            if cost < best:
                best, s, root = cost, sign, u
        ay[wiring.fixed + n] = s
        if root != 0.0:
            r = 1.0 / (1.0 - root * root)
            for e in range(begin, end):
                aw[e] = (w[e] + root * x[e]) * r
                ax[e] = (x[e] + root * w[e]) * r


@njit(cache=True, nogil=True, error_model="numpy")
def divide(wiring, given, w, x, y, aw, ax, ay):  # type: ignore[no-untyped-def]
    """Project on what every neuron of every item asks for."""
    for i in range(len(w)):
        _divide_item(wiring, given[i], w[i], x[i], y[i], aw[i], ax[i], ay[i])


@njit(cache=True, nogil=True, error_model="numpy")
def concur(wiring, wanted, g, w, x, y, bw, bx, by):  # type: ignore[no-untyped-def]
    """Project on agreement."""
    items, edges = w.shape
    nodes, neurons, first = y.shape[1], len(wiring.margin), wiring.first
    mean = np.zeros(edges)
    reached = np.empty(edges, np.int64)
    for n in range(neurons):
        total = 0.0
        for i in range(items):
            total += g[i, n]
            for e in range(first[n], first[n + 1]):
                mean[e] += g[i, n] * w[i, e]
        square = 0.0
        for e in range(first[n], first[n + 1]):
            reached[e] = n
            mean[e] /= total
            square += mean[e] * mean[e]
        scale = np.sqrt((first[n + 1] - first[n]) / square)
        for e in range(first[n], first[n + 1]):
            mean[e] *= scale
    for i in range(items):
        bw[i] = mean
        for n in range(nodes):
            begin, end = wiring.out_first[n], wiring.out_first[n + 1]
            if n >= nodes - wiring.outputs:
                value = wanted[i, n - (nodes - wiring.outputs)]
            else:
                total = g[i, n - wiring.fixed] if n >= wiring.fixed else 1.0
                value = total * y[i, n]
                for k in range(begin, end):
                    weight = g[i, reached[wiring.out[k]]]
                    total += weight
                    value += weight * x[i, wiring.out[k]]
                value /= total
            by[i, n] = value
            for k in range(begin, end):
                bx[i, wiring.out[k]] = value


@njit(cache=True, nogil=True, error_model="numpy")
def iterate(wiring, given, wanted, g, w, x, y, weights, beta, gamma, tolerance, gaps):  # type: ignore[no-untyped-def]
    """Iterate until the gap is small enough."""
    aw, ax, ay = np.empty_like(w), np.empty_like(x), np.empty_like(y)
    bw, bx, by = np.empty_like(w), np.empty_like(x), np.empty_like(y)
    gap = np.empty_like(g)
    first, neurons = wiring.first, len(wiring.margin)
    for step in range(len(gaps)):
        divide(wiring, given, w, x, y, aw, ax, ay)
        concur(wiring, wanted, g, 2.0 * aw - w, 2.0 * ax - x, 2.0 * ay - y, bw, bx, by)
        total = 0.0
        for i in range(len(w)):
            for n in range(wiring.fixed):
                y[i, n] += beta * (by[i, n] - ay[i, n])
            for n in range(neurons):
                change = by[i, wiring.fixed + n] - ay[i, wiring.fixed + n]
                y[i, wiring.fixed + n] += beta * change
                square = change * change
                for e in range(first[n], first[n + 1]):
                    one, other = bw[i, e] - aw[i, e], bx[i, e] - ax[i, e]
                    w[i, e] += beta * one
                    x[i, e] += beta * other
                    square += one * one + other * other
                gap[i, n] = square
                total += square
        weights[:] = bw[0]
        mean = total / gap.size
        gaps[step] = np.sqrt(mean)
        if gaps[step] < tolerance or not np.isfinite(gaps[step]):
            return step + 1
        g += gamma * (gap / mean - g)
    return len(gaps)
