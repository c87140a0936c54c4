"""Poisson arrivals: one count per neuron and step, by inversion of a 64-bit uniform number.

Neuron n takes word ``n % 4`` of the counter (2 * (step >> 32), step, n // 4, stream) as the high 32 bits. Only where
these equal a threshold's does it need the low ones: the first word of (2 * (step >> 32) + 1, step, n, stream).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import pdtr, pdtrc

from spikeframe.kernels.reference import philox


def thresholds(rate: float) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return the chance of at most k arrivals in units of 2^-64, as high and low words; the last is as good as 1.

    Args:
        rate: mean number of arrivals, at least 0.
    """
    counts = np.arange(int(rate + 12 * math.sqrt(rate) + 30) + 1)
    found = []
    for below, above in zip(pdtr(counts, rate).tolist(), pdtrc(counts, rate).tolist(), strict=True):
        # Of two ways to write a number next to 1, the complement keeps the digits.
        exact = int(below * 2.0**64) if below < 0.5 else 2**64 - int(above * 2.0**64)
        found.append(min(exact, 2**64 - 1))
    found[-1] = 2**64 - 1
    high = np.array([x >> 32 for x in found], np.uint32)
    return high, np.array([x & 0xFFFFFFFF for x in found], np.uint32)


#: Where the thresholds of each neuron begin, and those of all rates one after the other, as high and low words.
Laws = tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint32]]


def laws(rates: NDArray[np.float64]) -> Laws:
    """Return where the thresholds of each of some neurons begin, and all thresholds; equal rates share them.

    Args:
        rates: ``[neurons]``, mean numbers of arrivals.
    """
    different, which = np.unique(rates, return_inverse=True)
    found = [thresholds(float(rate)) for rate in different]
    begin = np.concatenate([[0], np.cumsum([high.size for high, _ in found])]).astype(np.int64)
    none = np.zeros(0, np.uint32)
    high, low = (np.concatenate([none, *(law[k] for law in found)]) for k in (0, 1))
    return begin[which.reshape(rates.shape)], high, low


def guide(high: NDArray[np.uint32], bits: int) -> NDArray[Any]:
    """Return, for each value of a word's highest bits, the smallest count that it can mean.

    Args:
        high: high words of the thresholds.
        bits: how many bits to look at, up to 32.
    """
    first = np.arange(1 << bits, dtype=np.uint64) << np.uint64(32 - bits)
    return np.searchsorted(high, first, side="left").astype(np.min_scalar_type(high.size))


def poisson_counts(rate: Any, lo: int, hi: int, step: int, stream: int, k0: int, k1: int) -> NDArray[np.int64]:
    """Return the arrivals of one step at the neurons lo..hi.

    Args:
        rate: mean arrivals per step, a number or one per neuron.
        lo: first neuron.
        hi: one past the last.
        step: which step, from 0.
        stream: random stream.
        k0: low half of the key.
        k1: high half of the key.
    """
    neurons = np.arange(lo, hi)
    c0, c1 = 2 * (step >> 32), step & 0xFFFFFFFF
    first = np.stack(philox.philox(c0, c1, neurons // 4, stream, k0, k1))[neurons % 4, np.arange(hi - lo)]
    second = philox.philox(c0 + 1, c1, neurons, stream, k0, k1)[0]
    word = (first.astype(np.uint64) << np.uint64(32)) | second.astype(np.uint64)
    rates = np.broadcast_to(rate, word.shape)
    found = np.zeros(word.shape, np.int64)
    for own in np.unique(rates):
        high, low = (x.astype(np.uint64) for x in thresholds(float(own)))
        at = rates == own
        found[at] = np.searchsorted((high << np.uint64(32)) | low, word[at], side="right")
    return found
