r"""How a noisy recurrent network moves between what it says: residency times, zones, local Jacobians.

A network ``h -> F(h, noise)`` says at each step the arg-max of its readout. From a state h, the *first change* is the
mean time, over fresh noise, until it says something else. Along a run, a state is in a **kick zone** if that is soon
and certain, in a **slow zone** if it is late and not certain. ``J = D W`` with D the units that are active is a ReLU
network's local Jacobian; ``(z - 1) / (z + 1)`` puts the unit circle of its eigenvalues onto the imaginary axis.

Reference: arXiv:2510.25674.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeframe.analysis.inputs import Floats, numbers, whole
from spikeframe.errors import ShapeError

#: First-change times (steps) that bound the zones.
SOON, LATE = 3.0, 6.0


@dataclass(frozen=True, eq=False)
class Zones:
    """Where states are.

    Attributes:
        kick: ``[n]`` says something else soon, in every trial.
        slow: ``[n]`` says something else late, not in every trial.
    """

    kick: NDArray[np.bool_]
    slow: NDArray[np.bool_]


def first_changes(
    step: Callable[[Floats, np.random.Generator], ArrayLike], says: Callable[[Floats], ArrayLike], states: ArrayLike,
    trials: int = 20, horizon: int = 50, seed: int = 0,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Return the mean time of the first change from each state, and the share of trials with one.

    Args:
        step: ``[k, n]`` states and a generator for its noise to the next ``[k, n]``.
        says: ``[k, n]`` states to the ``[k]`` symbols they say.
        states: ``[m, n]`` to begin at.
        trials: runs from each.
        horizon: steps of each; a run without a change counts as `horizon`.
        seed: of the noise.

    Returns:
        ``[m]`` steps, ``[m]`` shares.

    Raises:
        ShapeError, NonFiniteError, DTypeError, ParameterError: an argument is not usable.
    """
    found = numbers("first_changes(states)", states, 2)
    runs, last = whole("first_changes(trials)", trials), whole("first_changes(horizon)", horizon)
    h = np.repeat(found, runs, axis=0)
    first = _said(says, h)
    when = np.full(h.shape[0], last, np.float64)
    changed = np.zeros(h.shape[0], np.bool_)
    noise = np.random.default_rng(seed)
    for t in range(1, last + 1):
        after = np.asarray(step(h, noise), np.float64)
        if after.shape != h.shape:
            raise ShapeError(f"first_changes(step): returned shape {after.shape} for {h.shape}; must be the same.")
        h = after
        new = (_said(says, h) != first) & ~changed
        when[new] = t
        changed |= new
    shape = found.shape[0], runs
    return when.reshape(shape).mean(axis=1), changed.reshape(shape).mean(axis=1)


def _said(says: Callable[[Floats], ArrayLike], states: Floats) -> NDArray[np.int64]:
    found = np.asarray(says(states))
    if found.shape != states.shape[:1]:
        raise ShapeError(f"first_changes(says): returned shape {found.shape}; must be ({states.shape[0]},).")
    return found.astype(np.int64)


def zones(times: ArrayLike, shares: ArrayLike) -> Zones:
    """Return which states are in the kick zone and which in the slow one.

    Args:
        times: ``[n]`` of first changes, steps.
        shares: ``[n]`` of trials with a change.
    """
    when, share = numbers("zones(times)", times), numbers("zones(shares)", shares)
    if when.shape != share.shape:
        raise ShapeError(f"zones: {when.size} times for {share.size} shares; must be as many.")
    return Zones((when < SOON) & (share == 1.0), (when >= LATE) & (share < 1.0))


def local_jacobian(weight: ArrayLike, drive: ArrayLike) -> Floats:
    """Return the Jacobian of ``h -> relu(W h + ...)`` where its units get a drive, ``[n, n]``.

    Args:
        weight: W, ``[n, n]``, to by from.
        drive: ``[n]`` what is rectified.
    """
    w, x = numbers("local_jacobian(weight)", weight, 2), numbers("local_jacobian(drive)", drive)
    if w.shape != (x.size, x.size):
        raise ShapeError(f"local_jacobian: weight {w.shape} for {x.size} units; must be [n, n].")
    return np.asarray(w * (x > 0.0)[:, np.newaxis], np.float64)


def mobius(eigenvalues: ArrayLike) -> NDArray[np.complex128]:
    """Return ``(z - 1) / (z + 1)``: growing modes have a positive real part; -1 goes to infinity.

    Args:
        eigenvalues: of a step's Jacobian.
    """
    z = np.asarray(eigenvalues, np.complex128)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(z == -1.0, np.inf, (z - 1.0) / (z + 1.0))
