"""Divide and concur for networks of threshold neurons, in plain NumPy: the meaning of the compiled functions.

A point z is a weight and an input per item and edge (w, x) and an output per item and node (y).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from spikeframe.kernels.boolean_threshold import Wiring

Array = NDArray[Any]
#: Nearest that the root may come to -1 and 1.
EDGE = 1e-12


def bilinear(w: Array, x: Array, c: float) -> tuple[Array, Array]:
    """Return the nearest (w, x) with ``w . x = c``: ``(w + u x, x + u w) / (1 - u^2)``, u a root in (-1, 1).

    Args:
        w: ``[n]``.
        x: ``[n]``.
        c: product wanted.
    """
    p, q = float(w @ x), float(w @ w + x @ x)

    def excess(u: float) -> float:
        return (p * (1 + u * u) + q * u) / (1 - u * u) ** 2 - c

    low, high = EDGE - 1.0, 1.0 - EDGE
    u = high if excess(high) <= 0 else low if excess(low) >= 0 else brentq(excess, low, high, xtol=1e-15)
    return (w + u * x) / (1 - u * u), (x + u * w) / (1 - u * u)


def divide(wiring: Wiring, given: Array, w: Array, x: Array, y: Array, aw: Array, ax: Array, ay: Array) -> None:
    """Project on: inputs are the data's, and every neuron's output is ±1 with ``y (w . x) >= margin``.

    Args:
        wiring: of the network.
        given: ``[items, fixed]`` values of the constant and the inputs.
        w: ``[items, E]``.
        x: ``[items, E]``.
        y: ``[items, nodes]``.
        aw: result, as w.
        ax: result, as x.
        ay: result, as y.
    """
    aw[:], ax[:], ay[:, : wiring.fixed] = w, x, given
    for i in range(len(w)):
        for n, margin in enumerate(wiring.margin):
            e = slice(wiring.first[n], wiring.first[n + 1])
            p, old = float(w[i, e] @ x[i, e]), float(y[i, wiring.fixed + n])
            choices = (1.0, -1.0) if old * p <= 0 else (float(np.sign(old)),)
            best = np.inf
            for s in choices:
                near = (w[i, e], x[i, e]) if s * p >= margin else bilinear(w[i, e], x[i, e], s * margin)
                cost = (s - old) ** 2 + ((near[0] - w[i, e]) ** 2).sum() + ((near[1] - x[i, e]) ** 2).sum()
                if cost < best:
                    best, ay[i, wiring.fixed + n] = cost, s
                    aw[i, e], ax[i, e] = near


def concur(
    wiring: Wiring, wanted: Array, g: Array, w: Array, x: Array, y: Array, bw: Array, bx: Array, by: Array
) -> None:
    """Project on: outputs are the data's, items share weights of mean square 1, edges carry what their node puts out.

    Args:
        wiring: of the network.
        wanted: ``[items, outputs]``.
        g: ``[items, neurons]`` weight of what belongs to a neuron, in means.
        w: ``[items, E]``.
        x: ``[items, E]``.
        y: ``[items, nodes]``.
        bw: result, as w.
        bx: result, as x.
        by: result, as y.
    """
    neurons, nodes = len(wiring.margin), y.shape[1]
    reached = np.repeat(np.arange(neurons), np.diff(wiring.first))
    for n in range(neurons):
        e = slice(wiring.first[n], wiring.first[n + 1])
        mean = (g[:, n, None] * w[:, e]).sum(0) / g[:, n].sum()
        bw[:, e] = mean * np.sqrt(mean.size / (mean @ mean))
    for n in range(nodes):
        leaving = wiring.out[wiring.out_first[n] : wiring.out_first[n + 1]]
        if n >= nodes - wiring.outputs:
            by[:, n] = wanted[:, n - (nodes - wiring.outputs)]
        else:
            own = g[:, n - wiring.fixed] if n >= wiring.fixed else np.ones(len(w))
            total = own + g[:, reached[leaving]].sum(1)
            by[:, n] = (own * y[:, n] + (g[:, reached[leaving]] * x[:, leaving]).sum(1)) / total
        bx[:, leaving] = by[:, n, None]


def iterate(
    wiring: Wiring, given: Array, wanted: Array, g: Array, w: Array, x: Array, y: Array, weights: Array,
    beta: float, gamma: float, tolerance: float, gaps: Array,
) -> int:  # fmt: skip
    """Iterate ``a = divide(z)``, ``b = concur(2 a - z)``, ``z += beta (b - a)`` until the gap is small enough.

    Args:
        wiring: of the network.
        given: ``[items, fixed]``.
        wanted: ``[items, outputs]``.
        g: ``[items, neurons]``; follows each neuron's share of the gap at rate gamma.
        w: ``[items, E]``; changed.
        x: ``[items, E]``; changed.
        y: ``[items, nodes]``; changed.
        weights: ``[E]``; gets the shared weights of the last b.
        beta: step.
        gamma: rate of g.
        tolerance: stops where the root of the mean over items and neurons of ``|b - a|^2`` is below.
        gaps: filled with that root for every iteration; its length is the most iterations.

    Returns:
        Number of iterations made.
    """
    a = np.empty_like(w), np.empty_like(x), np.empty_like(y)
    b = np.empty_like(w), np.empty_like(x), np.empty_like(y)
    for step in range(len(gaps)):
        divide(wiring, given, w, x, y, *a)
        concur(wiring, wanted, g, 2 * a[0] - w, 2 * a[1] - x, 2 * a[2] - y, *b)
        weights[:] = b[0][0]
        moved = [q - p for p, q in zip(a, b, strict=True)]
        for part, change in zip((w, x, y), moved, strict=True):
            part += beta * change
        edges = np.add.reduceat(moved[0] ** 2 + moved[1] ** 2, wiring.first[:-1], axis=1)
        gap = edges + moved[2][:, wiring.fixed :] ** 2
        mean = gap.mean()
        gaps[step] = np.sqrt(mean)
        if gaps[step] < tolerance or not np.isfinite(gaps[step]):
            return step + 1
        g += gamma * (gap / mean - g)
    return len(gaps)
