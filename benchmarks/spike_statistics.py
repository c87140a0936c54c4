"""What is compared of random networks: rates, irregularity, synchrony."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Bin of the synchrony measures (ms), and how many spikes a neuron needs to have an irregularity.
BIN, LEAST = 3.0, 10


def mean_cv(times: Floats, ids: Ints) -> float:
    """Return the mean coefficient of variation of the intervals of neurons with enough spikes."""
    order = np.lexsort((times, ids))
    times, ids = times[order], ids[order]
    intervals, owner = np.diff(times), ids[1:]
    inside = ids[1:] == ids[:-1]
    intervals, owner = intervals[inside], owner[inside]
    count = np.bincount(owner)
    enough = count >= LEAST - 1
    if not enough.any():
        return float("nan")
    many = np.maximum(count, 1)
    mean = np.bincount(owner, intervals) / many
    square = np.bincount(owner, (intervals - mean[owner]) ** 2) / many
    return float((np.sqrt(square[enough]) / mean[enough]).mean())


def _binned(times: Floats, start: float, end: float) -> tuple[Ints, int]:
    bins = int((end - start) / BIN)
    return np.minimum(np.ceil((times - start) / BIN).astype(np.int64) - 1, bins - 1), bins


def fano(times: Floats, start: float, end: float) -> float:
    """Return variance over mean of the population's spike count per bin."""
    at, bins = _binned(times, start, end)
    counts = np.bincount(at, minlength=bins)
    return float(counts.var() / counts.mean()) if counts.any() else float("nan")


def mean_correlation(times: Floats, ids: Ints, start: float, end: float) -> float:
    """Return the mean correlation of the spike counts of all pairs of neurons with enough spikes.

    The variance of the sum of n counts, each of unit variance, is n plus n (n - 1) times that mean.
    """
    at, bins = _binned(times, start, end)
    many = np.bincount(ids)
    pair, count = np.unique(ids * bins + at, return_counts=True)
    squares = np.bincount(pair // bins, count.astype(np.float64) ** 2, minlength=many.size)
    sd = np.sqrt(np.maximum(squares / bins - (many / bins) ** 2, 0.0))
    chosen = (many >= LEAST) & (sd > 0)
    n = int(chosen.sum())
    if n < 2:
        return float("nan")
    kept = chosen[ids]
    total = np.bincount(at[kept], 1.0 / sd[ids[kept]], minlength=bins)
    return float((total.var() - n) / (n * (n - 1)))


def describe(spikes: Mapping[str, NDArray[Any]], sizes: Mapping[str, int], start: float, end: float) -> dict[str, Any]:
    """Return the statistics of every population and of all together, of spikes in (start, end].

    Args:
        spikes: ``NAME.times`` (ms) and ``NAME.ids``.
        sizes: neurons per population.
        start: ms.
        end: ms.
    """
    found: dict[str, Any] = {}
    every, everyone, first = [], [], 0
    for name, size in sizes.items():
        times, ids = np.asarray(spikes[f"{name}.times"]), np.asarray(spikes[f"{name}.ids"], np.int64)
        inside = (times > start + 1e-6) & (times <= end + 1e-6)
        times, ids = times[inside], ids[inside]
        rates = np.bincount(ids, minlength=size) / ((end - start) * 1e-3)
        found[name] = {
            "rate_hz": float(rates.mean()), "cv_isi": mean_cv(times, ids), "spikes": int(times.size),
            "rate_sd_over_neurons": float(rates.std()),
        }  # fmt: skip
        every.append(times)
        everyone.append(ids + first)
        first += size
    times, ids = np.concatenate(every), np.concatenate(everyone)
    found["all"] = {
        "rate_hz": times.size / (first * (end - start) * 1e-3), "fano_3ms": fano(times, start, end),
        "spikes": int(times.size), "correlation_3ms": mean_correlation(times, ids, start, end),
    }  # fmt: skip
    return found
