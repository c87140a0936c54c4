r"""Victor and Purpura's distance: the cheapest way to turn one spike train into the other.

Removing or adding a spike costs 1, moving one by s costs ``q s``. So two spikes are the same spike if they are closer
than ``2 / q``; q = 0 compares the counts alone. Cost O(n m).

Reference: Victor and Purpura 1996, doi:10.1152/jn.1996.76.2.1310.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from spikeframe.analysis.inputs import real, spike_train


def victor_purpura_distance(a: ArrayLike, b: ArrayLike, q: float) -> float:
    """Return the distance of two spike trains.

    Args:
        a: ``[n]`` times, ms.
        b: ``[m]`` times, ms.
        q: cost of moving a spike, 1/ms.

    Raises:
        ParameterError, ShapeError, NonFiniteError, DTypeError: an argument is not usable.
    """
    one, other = spike_train("victor_purpura_distance(a)", a), spike_train("victor_purpura_distance(b)", b)
    cost = real("victor_purpura_distance(q)", q, 0.0, np.finfo(float).max, "a finite number of at least 0, 1/ms")
    return float(_cheapest(one, other, cost))


@njit(cache=True, nogil=True)
def _cheapest(a, b, q):  # type: ignore[no-untyped-def]
    """Return the cost of turning a into b; row holds the costs of turning a's first spikes into each start of b."""
    row = np.arange(b.size + 1).astype(np.float64)
    for i in range(a.size):
        diagonal = row[0]
        row[0] = i + 1.0
        for j in range(b.size):
            moved = diagonal + q * abs(a[i] - b[j])
            diagonal = row[j + 1]
            row[j + 1] = min(moved, min(diagonal, row[j]) + 1.0)
    return row[b.size]
