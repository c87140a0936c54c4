"""Time and neuron updates per simulated second against the fraction of active neurons, with and without skipping.

A population of LIF neurons, of which the first few are reached by given spikes, ten a second each; every one of them
passes its own spikes on to ten active neighbours. Nothing reaches the rest. Both runs have the same spikes; they take
turns, and medians are shown. `updates` is the fraction of neuron updates that the skipping run did.

    python benchmarks/sparse_activity.py [--quick]
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

import spikeframe as sf
from spikeframe.kernels.numba.grid import NumbaGrid
from spikeframe.neurons import LIF, Delta, Exp

RECEPTORS = {"delta": (Delta(), 16.0), "exp": (Exp(tau=2.0), 100.0)}
RATE = 10.0


def network(receptor: str, size: int, fraction: float, duration: float) -> sf.Network:
    """Return the network with this fraction of its neurons active."""
    kind, weight = RECEPTORS[receptor]
    lif = LIF(tau_m=10.0, v_rest=-65.0, v_th=-50.0, v_reset=-65.0, t_ref=2.0, receptors={"in": kind})
    net = sf.Network(seed=1)
    neurons = net.population("neurons", size, lif)
    active = round(size * fraction)
    if active:
        rng = np.random.default_rng(2)
        spikes = round(active * RATE * duration * 1e-3)
        times = np.sort(rng.integers(1, round(duration / 0.1), spikes)) * 0.1
        source = net.population("source", active, sf.SpikeSource(times, rng.integers(0, active, spikes)))
        net.connect(source, neurons, sf.Pairs(np.arange(active), np.arange(active)), weight=weight, delay=1.5)
        near = (np.arange(active)[:, np.newaxis] + np.arange(1, 11)).ravel() % active
        net.connect(neurons, neurons, sf.Pairs(np.repeat(np.arange(active), 10), near), weight=0.05 * weight, delay=1.5)
    net.record(neurons, "spikes")
    return net


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small network, one round")
    quick = parser.parse_args().quick
    size, rounds, stretch = (2_000, 1, 100.0) if quick else (100_000, 3, 200.0)
    print(f"{size} neurons, dt 0.1 ms, one thread; seconds per simulated second")
    print(f"{'receptor':>8} {'active':>8} {'spikes/s':>9} {'dense':>9} {'skipping':>9} {'ratio':>7} {'updates':>8}")
    for receptor in RECEPTORS:
        for fraction in (0.0, 0.001, 0.01, 0.1, 1.0):
            net = network(receptor, size, fraction, stretch * (rounds + 1))
            both = {name: sf.Simulator(net, dt=0.1, threads=1) for name in ("dense", "skipping")}
            both["dense"].circuit._provider = NumbaGrid(skipping=False)
            seconds: dict[str, list[float]] = {name: [] for name in both}
            for _ in range(rounds + 1):  # the first is not counted: compiling, and the way to rest
                results = {}
                for name, simulator in both.items():
                    started = time.process_time()
                    results[name] = simulator.run(stretch, progress=False)
                    seconds[name].append((time.process_time() - started) / (stretch * 1e-3))
                one, other = (r.spikes["neurons"] for r in results.values())
                if not (np.array_equal(one.steps, other.steps) and np.array_equal(one.ids, other.ids)):
                    raise SystemExit("the two runs differ")
            counts = results["skipping"].counts["neurons"]
            dense, skipping = (statistics.median(seconds[name][1:]) for name in both)
            print(
                f"{receptor:>8} {fraction:>8.1%} {counts.spk_out / (stretch * 1e-3):>9.0f} {dense:>9.3f} "
                f"{skipping:>9.3f} {dense / skipping:>6.1f}x {counts.neu_upd / counts.neu_upd_dense:>8.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
