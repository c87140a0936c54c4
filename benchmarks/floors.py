"""What one core of this machine can do of the two things a simulation consists of, in plain loops over arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from common import median_seconds
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def _update(v: Any, i: Any, decay: Any, fall: Any, drive: Any, leak: Any, threshold: Any, reset: Any) -> None:
    """One step of leaky neurons with an exponential current, without input, refractoriness or spikes written."""
    for n in range(v.size):
        new = decay * v[n] + drive * i[n] + leak
        v[n] = reset if new >= threshold else new
        i[n] = fall * i[n] + drive


@njit(cache=True, nogil=True, error_model="numpy")
def _updates(steps: int, v: Any, i: Any, constants: Any) -> None:
    for _ in range(steps):
        _update(v, i, *constants)


@njit(cache=True, nogil=True, error_model="numpy")
def _scatter(rows: Any, degree: int, target: Any, weight: Any, into: Any) -> None:
    """Add the weights of some rows, a single one or one per synapse."""
    if weight.size == 1:
        one = weight[0]
        for row in rows:
            for t in target[row * degree : (row + 1) * degree]:
                into[t] += one
    else:
        for row in rows:
            mine = target[row * degree : (row + 1) * degree]
            own = weight[row * degree : (row + 1) * degree]
            for k in range(mine.size):
                into[mine[k]] += own[k]


def updates_per_second(neurons: int) -> float:
    """Return neuron updates a second of one core.

    Args:
        neurons: as many are updated in turn.
    """
    rng = np.random.default_rng(0)
    v, i = rng.random(neurons, np.float32), rng.random(neurons, np.float32)
    constants = tuple(np.float32(x) for x in (0.99, 0.98, 0.01, 0.005, 0.9, 0.0))

    return 1000 * neurons / median_seconds(lambda: _updates(1000, v, i, constants), windows=5)


def events_per_second(neurons: int, degree: int, drawn: bool, most: int = 20_000_000) -> float:
    """Return synaptic events a second of one core: rows in random order added to random targets.

    Args:
        neurons: rows and targets.
        degree: synapses of a row.
        drawn: whether every synapse has a weight of its own.
        most: synapses at the most; fewer rows stand for all.
    """
    degree = max(degree, 1)
    rng = np.random.default_rng(0)
    rows = max(1, min(neurons, most // degree))
    kind = np.uint16 if neurons <= 1 << 16 else np.int32
    target = np.sort(rng.integers(0, neurons, (rows, degree)).astype(kind), axis=1).ravel()
    weight = rng.integers(1, 100, target.size if drawn else 1).astype(np.int16 if drawn else np.int32)
    order, into = rng.permutation(rows), np.zeros(neurons, np.int32)
    return rows * degree / median_seconds(lambda: _scatter(order, degree, target, weight, into), windows=5)
