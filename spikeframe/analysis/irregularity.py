r"""How irregular spike trains are, from their intervals ``I_k`` between spikes.

.. math::

    CV = sd(I) / mean(I), \quad CV_2 = \frac{1}{n - 1} \sum_k \frac{2 |I_{k+1} - I_k|}{I_{k+1} + I_k}, \quad
    LV = \frac{3}{n - 1} \sum_k \left( \frac{I_{k+1} - I_k}{I_{k+1} + I_k} \right)^2

All are 0 for a clock and 1 for a Poisson process; the last two compare neighbours only, so that a slow change of the
rate leaves them alone. NaN where there are too few spikes.

References: Holt et al. 1996, doi:10.1152/jn.1996.75.5.1806 (CV2); Shinomoto et al. 2003,
doi:10.1162/089976603322518759 (LV).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from spikeframe.analysis.inputs import Floats, Longs, raster, spike_train, whole

#: Spikes that a neuron needs to have an irregularity, or to be correlated.
LEAST = 10


def cv(times: ArrayLike) -> float:
    """Return the coefficient of variation of a train's intervals; NaN below three spikes.

    Args:
        times: ``[n]`` ms.
    """
    gaps = np.diff(spike_train("cv(times)", times))
    return float(gaps.std() / gaps.mean()) if gaps.size > 1 else float("nan")


def cv2(times: ArrayLike) -> float:
    """Return the mean local coefficient of variation of a train; NaN below three spikes.

    Args:
        times: ``[n]`` ms.
    """
    return float(2.0 * np.abs(_contrast(spike_train("cv2(times)", times))).mean())


def local_variation(times: ArrayLike) -> float:
    """Return the local variation LV of a train; NaN below three spikes.

    Args:
        times: ``[n]`` ms.
    """
    return float(3.0 * (_contrast(spike_train("local_variation(times)", times)) ** 2).mean())


def _contrast(train: Floats) -> Floats:
    """Return the relative difference of neighbouring intervals."""
    gaps = np.diff(train)
    return np.diff(gaps) / (gaps[1:] + gaps[:-1]) if gaps.size > 1 else np.array([np.nan])


def intervals(times: ArrayLike, ids: ArrayLike) -> tuple[Floats, Longs]:
    """Return all intervals of a population, by neuron, and whose each is.

    Args:
        times: ``[n]`` ms.
        ids: ``[n]`` neurons.
    """
    found, owner = raster("intervals", times, ids)
    order = np.lexsort((found, owner))
    found, owner = found[order], owner[order]
    inside = owner[1:] == owner[:-1]
    return np.diff(found)[inside], owner[1:][inside]


def mean_cv(times: ArrayLike, ids: ArrayLike, least: int = LEAST) -> float:
    """Return the mean coefficient of variation of the neurons with enough spikes; NaN if there are none.

    Args:
        times: ``[n]`` ms.
        ids: ``[n]`` neurons.
        least: spikes that are enough.
    """
    gaps, owner = intervals(times, ids)
    count = np.bincount(owner)
    enough = count >= whole("mean_cv(least)", least, 3) - 1
    if not enough.any():
        return float("nan")
    many = np.maximum(count, 1)
    mean = np.bincount(owner, gaps) / many
    square = np.bincount(owner, (gaps - mean[owner]) ** 2) / many
    return float((np.sqrt(square[enough]) / mean[enough]).mean())
