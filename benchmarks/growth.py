"""How the time of a simulation grows with its synaptic events, all else equal."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

import spikeframe as sf


def _network(degree: int, neurons: int, duration: float, dt: float) -> sf.Network:
    """Return sources that fire at random, 10 times a second, onto neurons that never do."""
    network, rng = sf.Network(seed=1), np.random.default_rng(1)
    neuron = sf.neurons.LIF(tau_m=20.0, v_th=1e9, t_ref=2.0, receptors=sf.neurons.Exp(tau=5.0))
    count = round(neurons * 10.0 * duration * 1e-3)
    times = rng.integers(1, round(duration / dt), count) * dt
    sources = network.population("sources", neurons, sf.SpikeSource(times, rng.integers(0, neurons, count)))
    targets = network.population("targets", neurons, neuron)
    network.connect(sources, targets, sf.FixedOutDegree(degree), weight=0.001, delay=1.0)
    return network


def linearity(quick: bool, rounds: int, threads: int, dt: float) -> dict[str, Any]:
    """Return times of one network with more and more synapses, to 10^9 events, and the straight line through them.

    Args:
        quick: a small network, to 10^6 events.
        rounds: the networks take turns so often; medians count.
        threads: of each run.
        dt: ms.
    """
    neurons, duration = (2_000, 500.0) if quick else (10_000, 10_000.0)
    degrees = [0, 10, 100] if quick else [0, 10, 100, 250, 500, 750, 1000]
    samples: dict[int, list[float]] = {d: [] for d in degrees}
    events = {}
    for _ in range(rounds):
        for degree in degrees:
            simulator = sf.Simulator(_network(degree, neurons, duration + 1.0, dt), dt=dt, threads=threads)
            simulator.run(1.0, progress=False)
            started = time.perf_counter()
            result = simulator.run(duration, progress=False)
            samples[degree].append(time.perf_counter() - started)
            events[degree] = result.delivered
    x, y = np.array([events[d] for d in degrees]), np.array([statistics.median(samples[d]) for d in degrees])
    slope, base = np.polyfit(x, y, 1)
    off = y / (base + slope * x) - 1
    return {
        "neurons": neurons, "duration_ms": duration, "threads": threads,
        "rows": [
            {"events": int(n), "seconds": float(s), "off_line": f"{o:+.0%}"} for n, s, o in zip(x, y, off, strict=True)
        ],
        "fit": {"seconds": float(base), "ns_per_event": float(slope) * 1e9, "largest_off_line": float(abs(off).max())},
    }  # fmt: skip
