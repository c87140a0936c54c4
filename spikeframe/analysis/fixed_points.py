r"""Fixed and slow points of a recurrent network ``h -> F(h)``, and its linear course around them.

Points where ``q(h) = |F(h) - h|^2 / 2`` is least are found from many starts, such as states of its own runs: q = 0 is a
fixed point, a small local minimum a slow point (a "ghost"). The eigenvalues of the Jacobian there tell what happens
nearby: an absolute value above 1 is a direction that grows, a complex pair turns.

Reference: Sussillo and Barak 2013, doi:10.1162/NECO_a_00409.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeframe.analysis.inputs import Floats, numbers, positive, whole
from spikeframe.errors import NonFiniteError, ShapeError

Step = Callable[[Floats], ArrayLike]


@dataclass(frozen=True, eq=False)
class FixedPoints:
    """Points found, the slowest first.

    Attributes:
        points: ``[k, n]`` states.
        speed: ``[k]`` q there.
        eigenvalues: ``[k, n]`` of the Jacobian there, the largest absolute value first.
        fixed: ``[k]`` whether q is below the tolerance; else it is a slow point.
    """

    points: Floats
    speed: Floats
    eigenvalues: NDArray[np.complex128]
    fixed: NDArray[np.bool_]

    @property
    def unstable(self) -> NDArray[np.int64]:
        """Number of directions that grow, of each point."""
        return np.asarray((np.abs(self.eigenvalues) > 1.0).sum(axis=1), np.int64)


def jacobian(step: Step, state: ArrayLike, width: float = 1e-5) -> Floats:
    """Return ``dF_i / dh_j`` by central differences, ``[n, n]``.

    Args:
        step: F, ``[n]`` to ``[n]``.
        state: h, ``[n]``.
        width: of the differences.

    Raises:
        ShapeError, NonFiniteError, DTypeError, ParameterError: an argument, or what F returns, is not usable.
    """
    at, h = numbers("jacobian(state)", state), positive("jacobian(width)", width)
    columns = []
    for k in range(at.size):
        shift = np.zeros(at.size)
        shift[k] = h
        columns.append((_next(step, at + shift) - _next(step, at - shift)) / (2.0 * h))
    return np.stack(columns, axis=1) if columns else np.zeros((0, 0))


def _next(step: Step, state: Floats) -> Floats:
    found = np.asarray(step(state), np.float64)
    if found.shape != state.shape:
        raise ShapeError(f"step: returned shape {found.shape} for a state of shape {state.shape}; must be the same.")
    if not np.isfinite(found).all():
        raise NonFiniteError("step: returned a number that is not finite; start nearer to the network's own states.")
    return found


def find_fixed_points(
    step: Step, starts: ArrayLike, derivative: Callable[[Floats], ArrayLike] | None = None, tolerance: float = 1e-12,
    apart: float = 1e-3, iterations: int = 200,
) -> FixedPoints:  # fmt: skip
    """Look for fixed and slow points.

    Args:
        step: F with its input held constant, ``[n]`` to ``[n]``.
        starts: ``[k, n]`` where the search begins.
        derivative: the Jacobian, ``[n]`` to ``[n, n]``; by central differences if not given.
        tolerance: largest q of a fixed point.
        apart: points nearer than this are one.
        iterations: evaluations of each search.

    Raises:
        ShapeError, NonFiniteError, DTypeError, ParameterError: an argument, or what F returns, is not usable.
    """
    from scipy.optimize import least_squares

    first = numbers("find_fixed_points(starts)", starts, 2)
    limit, near = positive("find_fixed_points(tolerance)", tolerance), positive("find_fixed_points(apart)", apart)
    whole("find_fixed_points(iterations)", iterations)
    if not first.size:
        raise ShapeError(f"find_fixed_points(starts): shape {first.shape}; needs one start and one unit at least.")

    def slope(h: Floats) -> Floats:
        return jacobian(step, h) if derivative is None else numbers("derivative", derivative(h), 2)

    eye = np.eye(first.shape[1])
    found = [
        least_squares(
            lambda h: _next(step, h) - h, start, jac=lambda h: slope(h) - eye, max_nfev=iterations, xtol=1e-14,
            ftol=1e-14, gtol=1e-14,
        )
        for start in first
    ]  # fmt: skip
    kept: list[tuple[float, Floats]] = []
    for one in sorted(found, key=lambda f: float(f.cost)):
        if all(np.linalg.norm(one.x - other) >= near for _, other in kept):
            kept.append((float(one.cost), one.x))
    points, speed = np.stack([p for _, p in kept]), np.array([q for q, _ in kept])
    values = [np.linalg.eigvals(slope(p)).astype(np.complex128) for p in points]
    ordered = np.stack([v[np.argsort(-np.abs(v), kind="stable")] for v in values])
    return FixedPoints(points, speed, ordered, speed < limit)
