r"""How much a population acts together: Fano factor, mean correlation of counts, Golomb's measure.

Spikes are counted in bins ``(start + k bin, start + (k + 1) bin]``; a last bin that is not full takes part in none.

.. math::

    F = var(n) / mean(n), \qquad \bar c = \frac{var(\sum_i z_i) - N}{N (N - 1)}, \qquad
    \chi^2 = \frac{var_t(\langle V_i \rangle)}{\langle var_t(V_i) \rangle}

with n the population's count, z the neurons' counts over their standard deviations: the second is the mean correlation
coefficient of all pairs, without a loop over pairs. ``chi`` is 1 in full synchrony and about ``N^{-1/2}`` without any.

Reference: Golomb and Rinzel 1993, doi:10.1103/PhysRevE.48.4810 (chi).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from spikeframe.analysis.inputs import Floats, Longs, check_span, numbers, positive, raster, spike_train, whole
from spikeframe.analysis.irregularity import LEAST
from spikeframe.errors import ParameterError, ShapeError


def _binned(what: str, times: Floats, start: float, end: float, width: float) -> tuple[Longs, int]:
    """Return the bin of each spike, -1 for those in none, and the number of bins."""
    check_span(what, start, end)
    bins = int(np.floor((end - start) / positive(f"{what}(bin)", width) + 1e-9))
    if bins < 2:
        raise ParameterError(f"{what}(bin={width!r}): {bins} bins from {start:g} to {end:g} ms; must be at least 2.")
    at = np.ceil((times - start) / width - 1e-9).astype(np.int64) - 1
    return np.where((at >= 0) & (at < bins), at, -1), bins


def fano_factor(times: ArrayLike, start: float, end: float, bin: float) -> float:
    """Return variance over mean of the number of spikes per bin; NaN without spikes.

    Args:
        times: ``[n]`` of a neuron or of a whole population, ms.
        start: ms.
        end: ms.
        bin: ms.

    Raises:
        ParameterError, ShapeError, NonFiniteError, DTypeError: an argument is not usable.
    """
    at, bins = _binned("fano_factor", spike_train("fano_factor(times)", times), start, end, bin)
    counts = np.bincount(at[at >= 0], minlength=bins)
    return float(counts.var() / counts.mean()) if counts.any() else float("nan")


def mean_correlation(
    times: ArrayLike, ids: ArrayLike, start: float, end: float, bin: float, least: int = LEAST
) -> float:  # fmt: skip
    """Return the mean correlation of the spike counts of all pairs of neurons with enough spikes; NaN below two.

    Args:
        times: ``[n]`` ms.
        ids: ``[n]`` neurons.
        start: ms.
        end: ms.
        bin: ms.
        least: spikes that are enough.

    Raises:
        ParameterError, ShapeError, NonFiniteError, DTypeError: an argument is not usable.
    """
    found, owner = raster("mean_correlation", times, ids)
    at, bins = _binned("mean_correlation", found, start, end, bin)
    at, owner = at[at >= 0], owner[at >= 0]
    many = np.bincount(owner)
    pair, count = np.unique(owner * bins + at, return_counts=True)
    squares = np.bincount(pair // bins, count.astype(np.float64) ** 2, minlength=many.size)
    sd = np.sqrt(np.maximum(squares / bins - (many / bins) ** 2, 0.0))
    chosen = (many >= whole("mean_correlation(least)", least)) & (sd > 0)
    n = int(chosen.sum())
    if n < 2:
        return float("nan")
    kept = chosen[owner]
    total = np.bincount(at[kept], 1.0 / sd[owner[kept]], minlength=bins)
    return float((total.var() - n) / (n * (n - 1)))


def golomb(values: ArrayLike) -> float:
    """Return Golomb's chi of membranes or rates; NaN if nothing varies.

    Args:
        values: ``[time, neurons]``.

    Raises:
        ShapeError, NonFiniteError, DTypeError: it is something else.
    """
    found = numbers("golomb(values)", values, 2)
    if not found.size:
        raise ShapeError(f"golomb(values): has shape {found.shape}; must hold at least one time and neuron.")
    alone = found.var(axis=0).mean()
    return float(np.sqrt(found.mean(axis=1).var() / alone)) if alone > 0.0 else float("nan")
