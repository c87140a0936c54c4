"""Makes elephant.json with elephant and PySpike: python make_elephant.py (needs both; neither is used by the tests).

A few spike trains of different kinds and what the two programs say of them: distances of all pairs, irregularity of
each, correlation of binned counts, and locking of two phases.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import elephant  # type: ignore[import-not-found]
import neo  # type: ignore[import-not-found]
import numpy as np
import pyspike  # type: ignore[import-not-found]
import quantities as pq  # type: ignore[import-not-found]
from elephant import phase_analysis, spike_train_correlation, spike_train_dissimilarity, statistics
from elephant.conversion import BinnedSpikeTrain  # type: ignore[import-not-found]

END, BIN = 500.0, 5.0
TAUS, COSTS = (2.0, 20.0, 200.0), (0.0, 0.02, 0.5)


def trains() -> list[list[float]]:
    """Return trains on a grid of 0.1 ms: random, jittered copies of one, regular, simultaneous, few, none."""
    rng = np.random.default_rng(7)
    random = [np.sort(rng.choice(np.arange(1, 5000), n, replace=False)) for n in (40, 25, 60)]
    jittered = np.unique(np.clip(random[0] + rng.integers(-20, 21, 40), 1, 4999))
    regular, part = np.arange(100, 5000, 130), random[0][::3]
    few = [np.array([1234]), np.array([800, 4100]), np.array([], int)]
    return [[round(0.1 * int(t), 1) for t in one] for one in [*random, jittered, regular, part, *few]]


def main() -> None:
    """Write what they say."""
    lists = trains()
    times = [neo.SpikeTrain(one * pq.ms, t_start=0.0 * pq.ms, t_stop=END * pq.ms) for one in lists]
    found: dict[str, Any] = {
        "versions": {"elephant": elephant.__version__, "pyspike": "0.9.0"}, "end": END, "bin": BIN, "trains": lists,
    }  # fmt: skip
    found["van_rossum"] = {
        str(tau): spike_train_dissimilarity.van_rossum_distance(times, tau * pq.ms).tolist() for tau in TAUS
    }
    found["victor_purpura"] = {
        str(q): spike_train_dissimilarity.victor_purpura_distance(times, q / pq.ms).tolist() for q in COSTS
    }
    kept = [pyspike.SpikeTrain(np.array(one), (0.0, END)) for one in lists]
    found["spike_distance"] = [[float(pyspike.spike_distance(a, b)) for b in kept] for a in kept]
    found["spike_synchronization"] = [[float(pyspike.spike_sync(a, b)) for b in kept] for a in kept]
    many = [t for t in times if len(t) > 3]
    gaps = [statistics.isi(t) for t in many]
    found["cv"] = [float(statistics.cv(g)) for g in gaps]
    found["cv2"] = [float(statistics.cv2(g)) for g in gaps]
    found["lv"] = [float(statistics.lv(g)) for g in gaps]
    binned = BinnedSpikeTrain(many, bin_size=BIN * pq.ms)
    found["correlation"] = spike_train_correlation.correlation_coefficient(binned).tolist()
    counts = binned.to_array()
    found["fano"] = float(counts.sum(axis=0).var() / counts.sum(axis=0).mean())
    rng = np.random.default_rng(3)
    a, noise = rng.uniform(-np.pi, np.pi, 200), rng.normal(0.5, 0.8, 200)
    b = a + noise
    found["phases"] = [a.tolist(), b.tolist()]
    found["plv"] = float(np.squeeze(phase_analysis.phase_locking_value(a[:, None], b[:, None])))
    found["mean_vector"] = [float(v) for v in phase_analysis.mean_phase_vector(noise)]
    Path(__file__).with_name("elephant.json").write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
