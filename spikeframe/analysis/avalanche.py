r"""Neuronal avalanches and the power laws they are held against.

An avalanche is a run of bins with spikes between two bins without; its size is its spikes, its duration its bins. The
usual bin is the mean interval between the population's spikes (`mean_interval`). At a critical point sizes and
durations follow power laws, in a mean-field branching process with exponents 3/2 and 2.

`power_law` fits ``p(x) = x^{-\alpha} / Z``, x = xmin, ..., xmax, by maximum likelihood. Without xmin it takes the one
with the smallest Kolmogorov-Smirnov distance. The exponential (geometric) law is fitted beside it: a positive
`likelihood_ratio` speaks for the power law; a straight line in a log-log plot does not.

References: Beggs and Plenz 2003, doi:10.1523/JNEUROSCI.23-35-11167.2003; Clauset, Shalizi and Newman 2009,
doi:10.1137/070710111.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeframe.analysis.inputs import Longs, indices, spike_train, whole
from spikeframe.errors import ParameterError

#: Values that a fit needs.
LEAST = 10


@dataclass(frozen=True, eq=False)
class Avalanches:
    """Avalanches in their order.

    Attributes:
        sizes: ``[n]`` spikes of each.
        durations: ``[n]`` bins of each.
        starts: ``[n]`` first bin of each.
    """

    sizes: Longs
    durations: Longs
    starts: Longs


@dataclass(frozen=True)
class PowerLaw:
    """A fitted power law.

    Attributes:
        exponent: alpha.
        error: its standard error.
        xmin: least value that was fitted.
        xmax: largest value that the law has (None: no end).
        count: values fitted.
        distance: Kolmogorov-Smirnov distance of the values to the law.
        likelihood_ratio: log likelihood of the power law minus that of a geometric law on the same values.
    """

    exponent: float
    error: float
    xmin: int
    xmax: int | None
    count: int
    distance: float
    likelihood_ratio: float


def mean_interval(times: ArrayLike) -> float:
    """Return the mean interval between the spikes of a whole population that are not simultaneous, ms.

    Args:
        times: ``[n]`` of all neurons, ms.

    Raises:
        ParameterError: fewer than two different times.
    """
    found = np.unique(spike_train("mean_interval(times)", times))
    if found.size < 2:
        raise ParameterError(f"mean_interval(times): {found.size} different times; needs two.")
    return float((found[-1] - found[0]) / (found.size - 1))


def avalanches(counts: ArrayLike) -> Avalanches:
    """Return the avalanches of a population; one that touches either end of the recording is left out.

    Args:
        counts: ``[bins]`` spikes of all neurons per bin.

    Raises:
        ShapeError, DTypeError, ParameterError: these are no counts.
    """
    found = indices("avalanches(counts)", counts)
    active = np.concatenate([[0], (found > 0).astype(np.int64), [0]])
    change = np.diff(active)
    begins, ends = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    whole_ones = (begins > 0) & (ends < found.size)
    begins, ends = begins[whole_ones].astype(np.int64), ends[whole_ones]
    total = np.concatenate([[0], np.cumsum(found)])
    return Avalanches((total[ends] - total[begins]).astype(np.int64), (ends - begins).astype(np.int64), begins)


def power_law(values: ArrayLike, xmin: int | None = None, xmax: int | None = None) -> PowerLaw:
    """Fit a discrete power law.

    Args:
        values: ``[n]`` whole numbers from 1, such as sizes of avalanches.
        xmin: least value that the law holds for; searched for if not given.
        xmax: largest value that there can be, such as the number of neurons; no end if not given.

    Raises:
        ParameterError, ShapeError, DTypeError: not usable, or fewer than ten different-enough values.
    """
    found = indices("power_law(values)", values)
    if found.size and found.min() < 1:
        raise ParameterError("power_law(values): 0; must be from 1.")
    if xmax is not None:
        found = found[found <= whole("power_law(xmax)", xmax, 2)]
    if xmin is not None:
        return _fitted(found, whole("power_law(xmin)", xmin), xmax)
    tried = np.unique(found)
    tried = tried[: max(1, np.searchsorted(tried, np.quantile(found, 0.9)))] if found.size else np.array([1])
    fits = [_fitted(found, int(x), xmax) for x in tried if (found >= x).sum() >= LEAST or x == tried[0]]
    return min(fits, key=lambda fit: fit.distance)


def _fitted(values: Longs, xmin: int, xmax: int | None) -> PowerLaw:
    from scipy.optimize import minimize_scalar

    x = values[values >= xmin]
    if x.size < LEAST or x.min() == x.max():
        raise ParameterError(
            f"power_law: {x.size} values from xmin={xmin}, {np.unique(x).size} of them different; needs {LEAST} and 2."
        )
    mean_log = float(np.log(x).mean())

    def cost(alpha: float) -> float:
        return alpha * mean_log + float(np.log(_mass(alpha, xmin, xmax)))

    low = 1.0 + 1e-6 if xmax is None else -2.0
    alpha = float(minimize_scalar(cost, bounds=(low, 20.0), method="bounded", options={"xatol": 1e-10}).x)
    h = 1e-4
    curvature = (cost(alpha + h) - 2.0 * cost(alpha) + cost(alpha - h)) / h**2 if alpha - h > low else np.nan
    levels, many = np.unique(x, return_counts=True)
    above = np.array([_mass(alpha, int(v) + 1, xmax) for v in levels]) / _mass(alpha, xmin, xmax)
    distance = float(np.abs(np.cumsum(many) / x.size - (1.0 - above)).max())
    return PowerLaw(
        alpha, float(1.0 / np.sqrt(x.size * curvature)) if curvature > 0 else float("nan"), xmin, xmax, int(x.size),
        distance, -x.size * cost(alpha) - _geometric(x.astype(np.float64), xmin, xmax),
    )  # fmt: skip


def _mass(alpha: float, low: int, xmax: int | None) -> float:
    """Return the sum of x^-alpha from low to xmax."""
    from scipy.special import zeta

    if xmax is None:
        return float(zeta(alpha, low))
    return float(np.sum(np.arange(low, xmax + 1, dtype=np.float64) ** -alpha))


def _geometric(x: NDArray[np.float64], xmin: int, xmax: int | None) -> float:
    """Return the log likelihood of the best geometric law, p(x) in proportion to e^{-rate x}."""
    from scipy.optimize import minimize_scalar

    excess = float(x.mean() - xmin)
    if xmax is None:
        p = 1.0 / (1.0 + excess)
        return float(x.size * (np.log(p) + excess * np.log1p(-p)))
    places = np.arange(xmax - xmin + 1, dtype=np.float64)

    def cost(rate: float) -> float:
        return rate * excess + float(np.log(np.exp(-rate * places).sum()))

    return -x.size * float(minimize_scalar(cost, bounds=(0.0, 20.0), method="bounded").fun)
