"""Four states of one random network: figure 8 of Brunel (2000), doi:10.1023/A:1008925309027.

10,000 exciting and 2,500 inhibiting neurons, each with 1,000 and 250 random inputs, delta synapses of 0.1 mV and
-g times that. The strength g of inhibition and the rate eta of the random drive (1: just enough to reach threshold)
choose between synchrony and asynchrony, regular and irregular firing.
Run: python examples/08_brunel.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import spikeframe as sf

#: Title, g, eta, and the rate in the paper's simulation where it gives one (spikes/s).
STATES = [
    ("synchronous regular", 3.0, 2.0, None),
    ("synchronous irregular, fast", 6.0, 4.0, 60.7),
    ("asynchronous irregular", 5.0, 2.0, 37.7),
    ("synchronous irregular, slow", 4.5, 0.9, 5.5),
]


def describe(g: float = 5.0, eta: float = 2.0, scale: float = 1.0, seed: int = 1) -> sf.Network:
    """Return the network.

    Args:
        g: strength of inhibiting synapses, relative to exciting ones.
        eta: rate of the drive, relative to what takes the mean membrane to threshold.
        scale: fraction of the neurons; each keeps its number of synapses.
        seed: of the network.
    """
    network = sf.Network(seed=seed)
    jump, theta, tau = 0.1, 20.0, 20.0  # mV, mV, ms
    neuron = sf.neurons.LIF(
        tau_m=tau, v_rest=0.0, v_th=theta, v_reset=10.0, t_ref=2.0, receptors=sf.neurons.Delta()
    )  # fmt: skip
    exc = network.population("exc", round(10_000 * scale), neuron)
    inh = network.population("inh", round(2_500 * scale), neuron)
    network.connect(exc, [exc, inh], sf.FixedInDegree(1000), weight=jump, delay=1.5)
    network.connect(inh, [exc, inh], sf.FixedInDegree(250), weight=-g * jump, delay=1.5)
    network.stimulate([exc, inh], sf.PoissonInput(1e3 * eta * theta / (jump * tau), jump))
    network.record([exc, inh], "spikes")
    return network


def main(quick: bool = False, out: str = "brunel.png") -> Path:
    """Simulate the four states, print their rates and return the path of the picture."""
    scale, warm, duration = (0.02, 20.0, 40.0) if quick else (1.0, 200.0, 200.0)
    figure = Figure(figsize=(10, 7), layout="constrained", facecolor="white")
    axes = figure.subplots(4, 2, height_ratios=[2, 1, 2, 1])
    for i, (title, g, eta, published) in enumerate(STATES):
        simulator = sf.Simulator(describe(g, eta, scale), dt=0.1)
        simulator.run(warm)
        result = simulator.run(duration)
        spikes = result.spikes["exc"]
        rate = result.rates()["exc"]
        compared = "" if published is None else f" (Brunel 2000: {published})"
        print(f"{title:28} g={g:g} eta={eta:g}: {rate:5.1f} spikes/s{compared}")

        top, bottom = axes[i // 2 * 2, i % 2], axes[i // 2 * 2 + 1, i % 2]
        shown = spikes.ids < 50
        top.plot(spikes.times[shown], spikes.ids[shown], "|", color="#24292f", markersize=3)
        top.set_title(f"{title}: g = {g:g}, eta = {eta:g}, {rate:.1f} spikes/s", loc="left", fontsize=10)
        top.set_xticklabels([])
        top.set_ylabel("50 neurons")
        bins = warm + np.arange(0.0, duration + 1e-9, 0.5)
        together = np.histogram(spikes.times, bins)[0] / (round(10_000 * scale) * 0.5e-3)
        bottom.stairs(together, bins, fill=True, color="#0072b2")
        bottom.set_ylabel("spikes/s")
        bottom.set_ylim(bottom=0)
        for ax in (top, bottom):
            ax.set_xlim(warm, warm + duration)
            ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[3]:
        ax.set_xlabel("time (ms)")
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="brunel.png", help="the picture (default: brunel.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
