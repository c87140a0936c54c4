r"""Two measures of similarity without a parameter: SPIKE-distance and SPIKE-synchronization.

**SPIKE-distance**, from 0 (identical). At time t, each train has a last spike P, a next one F, and the interval
``x = F - P`` between them; ``d(k)`` is the distance of spike k to the nearest spike of the other train. Then

.. math::

    S_n = \frac{d(P_n) (F_n - t) + d(F_n) (t - P_n)}{x_n}, \qquad
    S(t) = \frac{S_1 x_2 + S_2 x_1}{2 \left( (x_1 + x_2) / 2 \right)^2}

and the distance is its mean over time. It is linear between spikes, so the mean is exact. Before the first and after
the last spike of a train, d is that of this spike, and x the time to the edge or the neighbouring interval, the longer
of the two; a train without spikes has one at either edge (all as PySpike does).

**SPIKE-synchronization**, from 0 to 1: the share of spikes that coincide with one of the other train, that is, are
closer to it than half the shortest of the (up to four) intervals around the two. Two trains without spikes: 1.

References: Kreuz et al. 2013, doi:10.1152/jn.00873.2012; Kreuz, Mulansky and Bozanic 2015,
doi:10.1152/jn.00848.2014. Cost O(n log n).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from spikeframe.analysis.inputs import Floats, spike_train, within
from spikeframe.errors import ParameterError


def spike_distance(a: ArrayLike, b: ArrayLike, start: float, end: float) -> float:
    """Return the SPIKE-distance of two trains.

    Args:
        a: ``[n]`` times, ms, all different.
        b: ``[m]`` times, ms, all different.
        start: ms.
        end: ms.

    Raises:
        ParameterError, ShapeError, NonFiniteError, DTypeError: an argument is not usable.
    """
    one, other = (_train(f"spike_distance({n})", x, start, end) for n, x in (("a", a), ("b", b)))
    one, other = (x if x.size else np.array([start, end]) for x in (one, other))
    edges = np.unique(np.concatenate([[start, end], one, other]))
    left, right = edges[:-1], edges[1:]
    first, second = _course(one, other, left, right, start, end), _course(other, one, left, right, start, end)
    x1, x2 = first[2], second[2]
    scale = 0.5 * (x1 + x2) ** 2
    begins, ends = ((first[k] * x2 + second[k] * x1) / scale for k in (0, 1))
    return float(np.sum(0.5 * (begins + ends) * (right - left)) / (end - start))


def _train(what: str, times: ArrayLike, start: float, end: float) -> Floats:
    found = within(what, spike_train(what, times), start, end)
    if (np.diff(found) == 0.0).any():
        twice = found[1:][np.diff(found) == 0.0][0]
        raise ParameterError(f"{what}: two spikes at {twice:g} ms; a neuron spikes once at a time.")
    return found


def _course(
    own: Floats, other: Floats, left: Floats, right: Floats, start: float, end: float
) -> tuple[Floats, Floats, Floats]:
    """Return, per stretch between events, S of one train where it begins and ends, and the train's interval."""
    full, across = _with_edges(own, start, end), _with_edges(other, start, end)
    d = np.abs(full - _nearest(full, across))
    d[0], d[-1] = d[1], d[-2]
    after = np.searchsorted(full[1:-1], 0.5 * (left + right)) + 1
    p, f, x = full[after - 1], full[after], np.diff(full)[after - 1]
    begins, ends = (((f - t) * d[after - 1] + (t - p) * d[after]) / x for t in (left, right))
    return begins, ends, x


def _with_edges(train: Floats, start: float, end: float) -> Floats:
    """Return a train with one more spike at or beyond either edge."""
    first, last = (train[1] - train[0], train[-1] - train[-2]) if train.size > 1 else (0.0, 0.0)
    return np.concatenate([[min(start, train[0] - first)], train, [max(end, train[-1] + last)]])


def _nearest(times: Floats, train: Floats) -> Floats:
    """Return for each time the nearest of a train."""
    after = np.clip(np.searchsorted(train, times), 1, train.size - 1)
    low, high = train[after - 1], train[after]
    return np.where(times - low <= high - times, low, high)


def spike_synchronization(a: ArrayLike, b: ArrayLike) -> float:
    """Return the SPIKE-synchronization of two trains.

    Args:
        a: ``[n]`` times, ms, all different.
        b: ``[m]`` times, ms, all different.

    Raises:
        ParameterError, ShapeError, NonFiniteError, DTypeError: an argument is not usable.
    """
    trains = [spike_train(f"spike_synchronization({n})", x) for n, x in (("a", a), ("b", b))]
    times = np.concatenate(trains)
    low, high = (float(times.min()) - 1.0, float(times.max()) + 1.0) if times.size else (0.0, 1.0)
    one, other = (_train(f"spike_synchronization({n})", x, low, high) for n, x in zip("ab", trains, strict=True))
    if not times.size:
        return 1.0
    if not one.size or not other.size:
        return 0.0
    after = np.searchsorted(other, one)
    tau_one, tau_other = _half_interval(one), _half_interval(other)
    together = np.zeros(one.size, np.bool_)
    for j in (np.maximum(after - 1, 0), np.minimum(after, other.size - 1)):
        together |= np.abs(one - other[j]) < np.minimum(tau_one, tau_other[j])
    return float(2.0 * together.sum() / times.size)


def _half_interval(train: Floats) -> Floats:
    """Return half the shorter of the intervals beside each spike."""
    gaps = np.concatenate([[np.inf], np.diff(train), [np.inf]])
    return np.asarray(0.5 * np.minimum(gaps[:-1], gaps[1:]), np.float64)
