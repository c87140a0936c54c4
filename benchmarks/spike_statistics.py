"""What is compared of random networks: rates, irregularity, synchrony."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeframe.analysis import fano_factor, mean_correlation, mean_cv

#: Bin of the synchrony measures, ms.
BIN = 3.0


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
        "rate_hz": times.size / (first * (end - start) * 1e-3), "fano_3ms": fano_factor(times, start, end, BIN),
        "spikes": int(times.size), "correlation_3ms": mean_correlation(times, ids, start, end, BIN),
    }  # fmt: skip
    return found
