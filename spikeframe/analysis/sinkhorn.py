r"""Sinkhorn divergence of two sets of points, and its gradient.

.. math::

    S(X, Y) = OT(X, Y) - \tfrac12 OT(X, X) - \tfrac12 OT(Y, Y), \qquad
    OT(X, Y) = \min_\pi \sum_{ij} \pi_{ij} C_{ij} + \epsilon\, KL(\pi | \text{uniform})

with ``C = |x - y|^2 / 2`` and ``\epsilon = blur^2``: the cost of carrying the one cloud of points onto the other, made
smooth, 0 for equal sets. Points are not paired. Solved in the log domain with symmetric updates while epsilon falls
from the squared diameter by quarters (blur by halves), as geomloss does; the dual potentials give the gradient.

Reference: Feydy et al. 2019, arXiv:1810.08278.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeframe.analysis.inputs import numbers, positive, whole
from spikeframe.errors import ShapeError

Array = NDArray[Any]


def sinkhorn_divergence(
    x: ArrayLike, y: ArrayLike, blur: float = 0.2, iterations: int = 1, dtype: str = "float64"
) -> tuple[float, Array]:
    """Return the divergence, and its gradient with respect to x.

    Args:
        x: ``[n, d]`` points, of equal mass.
        y: ``[m, d]`` points, of equal mass.
        blur: square root of epsilon, in the points' unit.
        iterations: updates at the last epsilon; more for an exact optimum.
        dtype: of the work, ``"float32"`` is about three times as fast.

    Returns:
        The divergence, and ``[n, d]``.

    Raises:
        ShapeError, NonFiniteError, DTypeError, ParameterError: an argument is not usable.
    """
    a, b = (numbers(f"sinkhorn_divergence({n})", v, 2).astype(dtype) for n, v in (("x", x), ("y", y)))
    if a.shape[1] != b.shape[1] or not a.size or not b.size:
        raise ShapeError(f"sinkhorn_divergence: {a.shape} and {b.shape}; must be [n, d] and [m, d], not empty.")
    least = positive("sinkhorn_divergence(blur)", blur) ** 2
    last = whole("sinkhorn_divergence(iterations)", iterations)
    everything = np.concatenate([a, b])
    widest = max(float(np.sum(np.ptp(everything, axis=0) ** 2)), least)
    steps = [widest * 0.25**k for k in range(int(np.ceil(np.log(widest / least) / np.log(4.0))) + 1)]
    epsilons = [e for e in steps if e > least] + [least] * last
    f, g, across = _potentials(_cost(a, b), epsilons)
    own, _, inside = _potentials(_cost(a, a), epsilons)
    other, _, _ = _potentials(_cost(b, b), epsilons)
    value = float((f - own).mean(dtype=np.float64) + (g - other).mean(dtype=np.float64))
    return value, ((inside @ a) - (across @ b)) / a.shape[0]


def _cost(a: Array, b: Array) -> Array:
    squares = 0.5 * (np.sum(a * a, axis=1)[:, np.newaxis] + np.sum(b * b, axis=1)[np.newaxis])
    return np.asarray(np.maximum(squares - a @ b.T, 0.0))


def _potentials(cost: Array, epsilons: list[float]) -> tuple[Array, Array, Array]:
    """Return the dual potentials of both sides, and where each point of the first goes (rows sum to 1)."""
    f = _softmin(cost, np.zeros(cost.shape[1], cost.dtype), epsilons[0])
    g = _softmin(cost.T, np.zeros(cost.shape[0], cost.dtype), epsilons[0])
    for e in epsilons:
        f, g = 0.5 * (f + _softmin(cost, g, e)), 0.5 * (g + _softmin(cost.T, f, e))
    e = epsilons[-1]
    f, g, held = _softmin(cost, g, e), _softmin(cost.T, f, e), g
    plan = (held[np.newaxis] - cost) / cost.dtype.type(e)
    plan -= plan.max(axis=1, keepdims=True)
    np.exp(plan, out=plan)
    return f, g, plan / plan.sum(axis=1, keepdims=True)


def _softmin(cost: Array, potential: Array, epsilon: float) -> Array:
    """Return ``-epsilon log mean_j exp((potential_j - cost_ij) / epsilon)``."""
    e = cost.dtype.type(epsilon)
    inner = (potential[np.newaxis] - cost) / e
    top = inner.max(axis=1)
    np.exp(inner - top[:, np.newaxis], out=inner)
    return np.asarray(-e * (np.log(inner.mean(axis=1)) + top))
