r"""Branching: how many spikes one spike causes. Below 1 activity dies out, above 1 it grows; 1 is the critical point.

**From the whole activity** A(t), spikes per bin: in a branching process with drive h, ``<A(t+1) | A(t)> = m A(t) + h``.
`branching_ratio` is the slope of that regression. Where only a part of the neurons is seen it is far too low, for the
part's noise flattens the slope. The multistep estimator takes the slopes over k bins,

.. math:: r_k = \frac{cov(A_t, A_{t+k})}{var(A_t)} = b\, m^k,

in which subsampling changes b only, and fits m; ``-bin / log m`` is the time over which activity is remembered.

**From spikes and synapses**: `branching_factor` is what liquid state machines are measured by: for each spike of a
neuron, spikes of the neurons it reaches within the next `window` steps, over spikes of the neurons that reach it within
the `window` steps before (at least 1); the mean over a neuron's spikes, then over neurons that spiked.

References: Wilting and Priesemann 2018, doi:10.1038/s41467-018-04725-4 (multistep); Ivanov and Michmizos 2021,
arXiv:2111.01760 (the factor).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from spikeframe.analysis.inputs import Floats, Longs, indices, numbers, whole
from spikeframe.errors import ParameterError, ShapeError


@dataclass(frozen=True, eq=False)
class Branching:
    """What the multistep estimator found.

    Attributes:
        ratio: m.
        scale: b; 1 if all neurons are seen, and the less of them the smaller.
        slopes: ``[lags]`` r_k for k = 1, 2, ...
        time: bins over which activity is remembered, ``-1 / log m``; infinite if m is 1 or more.
    """

    ratio: float
    scale: float
    slopes: Floats

    @property
    def time(self) -> float:
        """Bins over which activity falls by a factor e."""
        return -1.0 / float(np.log(self.ratio)) if 0.0 < self.ratio < 1.0 else float("inf" if self.ratio >= 1 else 0)


def _activity(what: str, counts: ArrayLike, least: int) -> Floats:
    found = numbers(f"{what}(counts)", counts)
    if found.size < least:
        raise ShapeError(f"{what}(counts): {found.size} bins; needs at least {least}.")
    if found.min() == found.max():
        raise ParameterError(f"{what}(counts): all are {found[0]:g}; branching shows in changes only.")
    return found


def branching_ratio(counts: ArrayLike) -> float:
    """Return the slope of the next bin's count over this one's: right only if every neuron is seen.

    Args:
        counts: ``[bins]`` spikes per bin, a bin as long as a spike takes to cause others.

    Raises:
        ShapeError, NonFiniteError, DTypeError, ParameterError: too few bins, or always the same count.
    """
    return float(_slopes(_activity("branching_ratio", counts, 3), 1)[0])


def _slopes(found: Floats, lags: int) -> Floats:
    """Return the slopes of the linear regressions of the count k bins later, k = 1..lags."""
    slopes = []
    for k in range(1, lags + 1):
        now, later = found[:-k] - found[:-k].mean(), found[k:] - found[k:].mean()
        power = now @ now
        slopes.append(now @ later / power if power > 0.0 else np.nan)
    return np.array(slopes)


def multistep_branching(counts: ArrayLike, lags: int = 50) -> Branching:
    """Return the branching ratio, also of a part of the neurons.

    Args:
        counts: ``[bins]`` spikes per bin; many more than `lags`.
        lags: bins over which slopes are taken: a few times as long as activity is remembered.

    Raises:
        ShapeError, NonFiniteError, DTypeError, ParameterError: too few bins or lags, or always the same count.
    """
    from scipy.optimize import least_squares

    k = np.arange(1, whole("multistep_branching(lags)", lags, 3) + 1, dtype=np.float64)
    slopes = _slopes(_activity("multistep_branching", counts, lags + 3), lags)
    usable = np.isfinite(slopes)
    k, r = k[usable], slopes[usable]

    def start(m: float) -> tuple[float, float]:
        """Return m and the best b for it."""
        shape = m**k
        return m, float(shape @ r / (shape @ shape))

    tried = [start(m) for m in (0.05, 0.3, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)]
    best = min(tried, key=lambda p: float(np.sum((p[1] * p[0] ** k - r) ** 2)))
    found = least_squares(lambda p: p[1] * p[0] ** k - r, best, bounds=([0.0, -np.inf], [1.5, np.inf]))
    return Branching(float(found.x[0]), float(found.x[1]), slopes)


def branching_factor(
    steps: ArrayLike, ids: ArrayLike, source: ArrayLike, target: ArrayLike, size: int, duration: int, window: int = 4,
    edge: int = 25,
) -> float:  # fmt: skip
    """Return the branching factor of a run from its spikes and synapses; NaN if no spike is inside the edges.

    Args:
        steps: ``[n]`` time step of each spike.
        ids: ``[n]`` its neuron.
        source: ``[synapses]`` neurons.
        target: ``[synapses]`` neurons.
        size: number of neurons.
        duration: steps of the run, from 0.
        window: steps after (and before) a spike in which spikes count as caused by it (as its causes).
        edge: steps left out at both ends.

    Raises:
        ParameterError, ShapeError, DTypeError: an argument is not usable.
    """
    total, length = whole("branching_factor(size)", size), whole("branching_factor(duration)", duration)
    at = indices("branching_factor(steps)", steps, length)
    who = indices("branching_factor(ids)", ids, total)
    a = indices("branching_factor(source)", source, total)
    b = indices("branching_factor(target)", target, total)
    if at.shape != who.shape or a.shape != b.shape:
        raise ShapeError(
            f"branching_factor: {at.size} steps for {who.size} ids, {a.size} sources for {b.size} targets; must match."
        )
    reach, edges = whole("branching_factor(window)", window), whole("branching_factor(edge)", edge, 0)
    order = np.lexsort((at, who))
    starts = np.searchsorted(who[order], np.arange(total + 1))
    out, into = _neighbours(a, b, total), _neighbours(b, a, total)
    return float(_factor(at[order], starts, *out, *into, reach, edges, length - edges))


def _neighbours(of: Longs, to: Longs, size: int) -> tuple[Longs, Longs]:
    """Return each neuron's neighbours one after another, and where they begin; a pair with two synapses counts once."""
    pairs = np.unique(of * size + to)
    return np.searchsorted(pairs // size, np.arange(size + 1)).astype(np.int64), pairs % size


@njit(cache=True, nogil=True)
def _factor(at, starts, out_start, out, in_start, into, window, first, last):  # type: ignore[no-untyped-def]
    """Return the mean over neurons of the mean over their spikes."""
    total, neurons = 0.0, 0
    for i in range(starts.size - 1):
        ratio, spikes = 0.0, 0
        for s in at[starts[i] : starts[i + 1]]:
            if s < first or s >= last:
                continue
            after, before = 0, 0
            for j in out[out_start[i] : out_start[i + 1]]:
                train = at[starts[j] : starts[j + 1]]
                after += np.searchsorted(train, s + window + 1) - np.searchsorted(train, s + 1)
            for j in into[in_start[i] : in_start[i + 1]]:
                train = at[starts[j] : starts[j + 1]]
                before += np.searchsorted(train, s) - np.searchsorted(train, s - window)
            ratio += after / max(1, before)
            spikes += 1
        if spikes > 0:
            total += ratio / spikes
            neurons += 1
    return total / neurons if neurons > 0 else np.nan
