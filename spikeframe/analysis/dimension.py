r"""Participation ratio: how many directions the activity of a population really uses.

.. math:: PR = \frac{(\sum_i \lambda_i)^2}{\sum_i \lambda_i^2} = \frac{(tr\, C)^2}{tr\, C^2}

of the eigenvalues of the covariance C over samples: N if all directions vary alike, 1 if all lies on a line.
Reference: Gao et al. 2017, doi:10.1101/214262.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from spikeframe.analysis.inputs import numbers
from spikeframe.errors import ShapeError


def participation_ratio(values: ArrayLike) -> float:
    """Return the participation ratio; NaN if nothing varies.

    Args:
        values: ``[samples, neurons]``, e.g. rates over time or spike counts of many inputs.

    Raises:
        ShapeError, NonFiniteError, DTypeError: it is something else, or has fewer than two samples.
    """
    found = numbers("participation_ratio(values)", values, 2)
    if found.shape[0] < 2 or not found.shape[1]:
        raise ShapeError(
            f"participation_ratio(values): shape {found.shape}; needs two samples and one neuron at least."
        )
    found = found - found.mean(axis=0)
    small = found @ found.T if found.shape[0] < found.shape[1] else found.T @ found
    square = float(np.sum(small**2))
    return float(np.trace(small) ** 2 / square) if square > 0.0 else float("nan")
