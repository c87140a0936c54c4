"""Poisson arrivals: one count per neuron and step, by inversion of a 64-bit uniform number.

Neuron n takes word ``n % 4`` of the counter (2 * (step >> 32), step, n // 4, stream) as the high 32 bits. Only where
these equal a threshold's does it need the low ones: the first word of (2 * (step >> 32) + 1, step, n, stream).
"""

from __future__ import annotations

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
    return laws(np.array([rate]))[1:]


#: Where the thresholds of each neuron begin, and those of all rates one after the other, as high and low words.
Laws = tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint32]]


def laws(rates: NDArray[np.float64]) -> Laws:
    """Return where the `thresholds` of each of some neurons begin, and all of them; equal rates share theirs.

    Args:
        rates: ``[neurons]``, mean numbers of arrivals.
    """
    different, which = np.unique(rates, return_inverse=True)
    many = (different + 12 * np.sqrt(different) + 30).astype(np.int64) + 1
    end = np.cumsum(many)
    begin = end - many
    counts, rate = np.arange(many.sum()) - np.repeat(begin, many), np.repeat(different, many)
    below, above = pdtr(counts, rate), pdtrc(counts, rate)
    # Of two ways to write a number next to 1, the complement keeps the digits; a product with 2^64 is exact.
    direct = (np.where(below < 0.5, below, 0.0) * 2.0**64).astype(np.uint64)
    rest = (np.where(below < 0.5, 0.0, above) * 2.0**64).astype(np.uint64)
    most = np.uint64(2**64 - 1)
    found = np.where(below < 0.5, direct, most - np.maximum(rest, np.uint64(1)) + np.uint64(1))
    found[end - 1] = most
    high, low = (found >> np.uint64(32)).astype(np.uint32), (found & np.uint64(0xFFFFFFFF)).astype(np.uint32)
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
