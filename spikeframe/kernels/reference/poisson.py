"""Poisson arrivals: the law, and one count per neuron and step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import poisson

from spikeframe.kernels.reference import philox


def cumulative(rate: float) -> NDArray[np.float64]:
    """Return the chance of at most k arrivals for k = 0, 1, ... up to where it is 1 in float64.

    Args:
        rate: mean number of arrivals, at least 0.
    """
    top = int(rate + 12 * np.sqrt(rate) + 30)
    chances: NDArray[np.float64] = np.asarray(poisson.cdf(np.arange(top + 1), rate), np.float64)
    chances[-1] = 1.0
    return chances


def poisson_counts(rate: float, lo: int, hi: int, step: int, stream: int, k0: int, k1: int) -> NDArray[np.int64]:
    """Return the arrivals of one step at the neurons lo..hi.

    Args:
        rate: mean arrivals per step.
        lo: first neuron.
        hi: one past the last.
        step: which step, from 0.
        stream: random stream.
        k0: low half of the key.
        k1: high half of the key.
    """
    words = philox.philox(step >> 32, step & 0xFFFFFFFF, np.arange(lo, hi), stream, k0, k1)
    u = philox.uniform64(words[0], words[1])
    return np.searchsorted(cumulative(rate), u, side="right").astype(np.int64)
