"""Code selection of Sparsey in plain NumPy: the meaning of the compiled one.

Sums and products are taken in the order of cells and modules, in float64, with the shared exponential; the random
number of a module is the Philox word pair of counter (module, frame, 0, 0) and key `seed`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeframe.kernels.reference.exponential import exp
from spikeframe.kernels.reference.philox import philox, uniform64
from spikeframe.kernels.sparsey import Selection

Array = NDArray[Any]


def _power(x: Array, n: int) -> Array:
    """Multiply n times, from 1."""
    out = np.ones_like(x)
    for _ in range(n):
        out = out * x
    return out


def _familiarity(v: Array) -> float:
    """Mean over modules of the largest evidence, summed in order."""
    total = 0.0
    for row in v:
        total += float(row.max())
    return total / len(v)


def present(
    bounds: Array, source: Array, chained: bool, learn: bool, previous: Array, u: Array, h: Array, filled: Array,
    numbers: Selection, seed: int, first: int, codes: Array, familiarity: Array, counts: Array,
) -> None:  # fmt: skip
    """Select a code for each frame and store it if asked to.

    Args:
        bounds: ``[T + 1]`` int64; the active inputs of frame t are ``source[bounds[t]:bounds[t + 1]]``.
        source: int64 active inputs, each once in a frame.
        chained: whether each frame follows the one before it in time; else each stands alone.
        learn: draw codes and set weights; else recall.
        previous: ``[Q]`` int64 code before the first frame, -1 if there is none; holds the last one afterwards.
        u: ``[inputs, Q, K]`` uint8 weights from inputs, 0 or 1; changed.
        h: ``[Q, K, Q, K]`` uint8 weights from the previous code (empty without `chained`); changed.
        filled: ``[2]`` int64 number of weights set in u and h; changed.
        numbers: of the field.
        seed: key of the random numbers.
        first: number of the first frame.
        codes: ``[T, Q]`` int64 winners, -1 where the field is silent; filled.
        familiarity: ``[T]`` float64; filled.
        counts: ``[3]`` int64: weights read, exponentials, weights written; added to.
    """
    modules, cells = u.shape[1:]
    for t in range(len(bounds) - 1):
        active = source[bounds[t] : bounds[t + 1]]
        has_h = chained and previous[0] >= 0
        has_u = len(active) > 0
        codes[t], familiarity[t] = -1, 0.0
        if not (has_u or has_h) or (has_u and not numbers.low <= len(active) <= numbers.high):
            previous[:] = -1
            continue
        by_u = by_h = np.ones((modules, cells))
        if has_u:
            sums = u[active].sum(0, dtype=np.int64).astype(np.float64)
            expected = numbers.expected if numbers.expected > 0 else float(len(active))
            by_u = _power(np.minimum(sums / expected, 1.0), numbers.power_u)
            counts[0] += len(active) * modules * cells
        if has_h:
            sums = h[np.arange(modules), previous].sum(0, dtype=np.int64).astype(np.float64)
            by_h = _power(sums / float(modules), numbers.power_h)
            counts[0] += modules * modules * cells
        v = by_u * by_h
        g = _familiarity(v)
        if has_u and has_h and not learn and g < numbers.backoff:
            one, other = _familiarity(by_u), _familiarity(by_h)
            v, g = (by_u, one) if one >= other else (by_h, other)
        familiarity[t] = g
        a, b, _, _ = philox(np.arange(modules), first + t, 0, 0, seed & 0xFFFFFFFF, seed >> 32)
        draw = uniform64(a, b)
        if learn:
            share = max(0.0, (g - numbers.floor) / (1.0 - numbers.floor))
            expansion = float(_power(np.asarray(share), numbers.gamma)) * numbers.chi * cells
            mu = expansion / (1.0 + exp(-numbers.slope * (v - numbers.inflection))) + 1.0
            counts[1] += modules * cells
            summed = np.cumsum(mu, axis=1)
            winner = np.minimum((summed <= (draw * summed[:, -1])[:, None]).sum(1), cells - 1)
        else:
            best = v == v.max(1, keepdims=True)
            rank = np.minimum((draw * best.sum(1)).astype(np.int64), best.sum(1) - 1)
            winner = (np.cumsum(best, axis=1) <= rank[:, None]).sum(1)
        q = np.arange(modules)
        if learn and has_u and filled[0] < numbers.freeze * u.size:
            place = (active[:, None], q[None, :], winner[None, :])
            filled[0] += (u[place] == 0).sum()
            u[place] = 1
            counts[2] += len(active) * modules
        if learn and has_h and filled[1] < numbers.freeze * h.size:
            link = (q[:, None], previous[:, None], q[None, :], winner[None, :])
            filled[1] += (h[link] == 0).sum()
            h[link] = 1
            counts[2] += modules * modules
        codes[t] = winner
        previous[:] = winner
