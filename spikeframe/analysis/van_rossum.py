r"""Van Rossum's distance: spike trains filtered by an exponential, then their Euclidean distance.

.. math:: D^2 = \tfrac12 \sum_{ij} q_i q_j e^{-|t_i - t_j| / \tau}

over the spikes of both trains, with charge q = 1 for those of the one and -1 for those of the other. This is
``(1/\tau) \int (f - g)^2 dt`` for ``f = \sum e^{-(t - t_i)/\tau}`` after each spike: one spike against none is
``D^2 = 1/2``. Other programs norm otherwise (elephant: twice as large D^2). Cost O(n log n): the sum over all earlier
spikes is one number that decays.

Reference: van Rossum 2001, doi:10.1162/089976601300014321; the recursion: Houghton and Kreuz 2012,
doi:10.3109/0954898X.2012.673048.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from spikeframe.analysis.inputs import positive, spike_train


def van_rossum_distance(a: ArrayLike, b: ArrayLike, tau: float) -> float:
    """Return the distance of two spike trains.

    Args:
        a: ``[n]`` times, ms.
        b: ``[m]`` times, ms.
        tau: ms: spikes much closer than this are the same, much farther apart unrelated.

    Returns:
        D.

    Raises:
        ParameterError, ShapeError, NonFiniteError, DTypeError: an argument is not usable.
    """
    one, other = spike_train("van_rossum_distance(a)", a), spike_train("van_rossum_distance(b)", b)
    times = np.concatenate([one, other])
    charge = np.repeat([1.0, -1.0], [one.size, other.size])
    order = np.argsort(times, kind="stable")
    return math.sqrt(max(0.0, _energy(times[order], charge[order], positive("van_rossum_distance(tau)", tau))))


@njit(cache=True, nogil=True)
def _energy(times, charge, tau):  # type: ignore[no-untyped-def]
    """Return half the sum over all pairs, of sorted times."""
    total, earlier = 0.0, 0.0
    for i in range(times.size):
        if i > 0:
            earlier *= np.exp((times[i - 1] - times[i]) / tau)
        total += charge[i] * (0.5 * charge[i] + earlier)
        earlier += charge[i]
    return total
