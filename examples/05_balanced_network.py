"""The balanced network of Vogels and Abbott (2005) with current-based synapses, as a script of a simulator's user.

4,000 neurons without any input keep each other firing at about 5.6 spikes/s (mean over NEST, Brian2 and seeds).
Run: python examples/05_balanced_network.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import spikeframe as sf
from spikeframe import plots


def describe(seed: int = 1) -> sf.Network:
    """Return 3,200 exciting and 800 inhibiting neurons, each pair connected with probability 2 %."""
    network = sf.Network(seed=seed)
    lif = sf.neurons.LIF(
        tau_m=20.0, v_rest=-49.0, v_th=-50.0, v_reset=-60.0, t_ref=5.0,
        receptors={"exc": sf.neurons.Exp(tau=5.0), "inh": sf.neurons.Exp(tau=10.0)},
    )  # fmt: skip
    exc = network.population("exc", 3200, lif, v=sf.Uniform(-60.0, -50.0))
    inh = network.population("inh", 800, lif, v=sf.Uniform(-60.0, -50.0))
    network.connect(exc, [exc, inh], sf.FixedProbability(0.02), receptor="exc", weight=1.62, delay=0.1)
    network.connect(inh, [exc, inh], sf.FixedProbability(0.02), receptor="inh", weight=-9.0, delay=0.1)
    network.record([exc, inh], "spikes")
    network.record(exc, "v", every=0.5, ids=range(3))
    return network


def main(quick: bool = False, out: str = "balanced_network.png") -> Path:
    """Simulate, print rates and counts, and return the path of the picture."""
    duration = 200.0 if quick else 2000.0
    simulator = sf.Simulator(describe(), dt=0.1)
    result = simulator.run(duration)
    for name, rate in result.rates().items():
        print(f"{name}: {rate:.2f} spikes/s (published runs: 5.6)")
    print(f"{result.delivered:,} synaptic events, {result.in_flight} under way at the end")

    figure = Figure(figsize=(9, 7), layout="constrained", facecolor="white")
    top, middle, bottom = figure.subplots(3, 1, height_ratios=[3, 1, 2], sharex=True)
    spikes = result.spikes["exc"]
    shown = spikes.ids < 200
    pairs = np.stack([spikes.steps[shown], spikes.ids[shown]], axis=1)
    plots.spike_raster(pairs, top, dt_ms=0.1)
    top.set(ylabel="200 of 3,200 exciting neurons", xlabel="")
    top.set_title(f"{result.rates()['exc']:.1f} spikes/s without any input", loc="left", fontsize=10)
    bins = np.arange(0.0, duration + 1e-9, 5.0)
    middle.stairs(np.histogram(spikes.times, bins)[0] / (3200 * 5e-3), bins, fill=True, color="#0072b2")
    middle.set(ylabel="spikes/s", ylim=(0, None))
    trace = result.traces["exc"]["v"]
    bottom.plot(trace.times, trace.values, linewidth=0.9)
    bottom.axhline(-50.0, color="#57606a", linestyle=":", linewidth=1)
    bottom.set(ylabel="membranes, threshold (mV)", xlabel="time (ms)", xlim=(0.0, min(duration, 1000.0)))
    for axes in (middle, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="balanced_network.png", help="the picture (default: balanced_network.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
