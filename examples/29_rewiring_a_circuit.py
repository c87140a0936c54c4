"""Synapses that move while a network runs: Hebbian rewiring finds the assemblies that its input defines.

400 neurons in eight assemblies get input that the neurons of an assembly share. Their 8,000 recurrent synapses begin
at random, an eighth of them within assemblies. Every 500 ms a tenth is exchanged: the least correlated go, the most
correlated pairs get one (as G2GNet does in layers, arXiv:2508.14140), from the spikes of these 500 ms; for comparison
both at random. The number of synapses never changes; the run is the same for any number of threads.
Run: python examples/29_rewiring_a_circuit.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import spikeframe as sf
from spikeframe.learning_rules.rewiring import Activity, Rewiring

SIZE, GROUPS, FAN, TURN, BIN = 400, 8, 20, 500.0, 10.0
RULES = {
    "Hebbian": Rewiring(0.1, "hebbian", "hebbian", weight=1.0, seed=1),
    "random": Rewiring(0.1, "random", "random", weight=1.0, seed=1),
}


def network(seed: int = 1) -> tuple[sf.Network, Any]:
    """Return the network and its recurrent projection."""
    net = sf.Network(seed=seed)
    neuron = sf.neurons.LIF(tau_m=20.0, v_th=20.0, t_ref=2.0, receptors=sf.neurons.Exp(tau=5.0))
    cells = net.population("cells", SIZE, neuron, v=sf.Uniform(0.0, 20.0))
    shared = net.population("shared", 10 * GROUPS, sf.PoissonSource(12.0))
    members = np.arange(SIZE) % GROUPS  # the assemblies are no neighbours
    source = np.concatenate([np.arange(10) + 10 * g for g in members])
    net.connect(shared, cells, sf.Pairs(source, np.repeat(np.arange(SIZE), 10)), weight=14.0, delay=1.0)
    (link,) = net.connect(cells, cells, sf.FixedInDegree(FAN), weight=1.0, delay=1.5)
    net.stimulate(cells, sf.PoissonInput(1000.0, 2.0))
    net.record(cells, "spikes")
    return net, link


def counted(spikes: Any, start: float, dt: float) -> Any:
    """Return spike counts ``[bins, neurons]`` of one turn."""
    found = np.zeros((round(TURN / BIN), SIZE))
    at = ((np.asarray(spikes.steps) * dt - start) / BIN).astype(int)
    np.add.at(found, (at, np.asarray(spikes.ids)), 1.0)
    return found


def within(weights: Any) -> float:
    """Return the part of the synapses that lie within assemblies."""
    return float((weights.source % GROUPS == weights.target % GROUPS).mean())


def main(quick: bool = False, out: str = "rewiring_a_circuit.png") -> Path:
    """Run both, print where the synapses are, and return the path of the picture."""
    turns, dt = (2 if quick else 20), 0.5
    figure = Figure(figsize=(11, 3.6), layout="constrained", facecolor="white")
    axes = figure.subplots(1, 3)
    for name, rule in RULES.items():
        net, link = network()
        sim = sf.Simulator(net, dt=dt)
        share, before = [within(sim.weights(link))], sim.weights(link)
        for turn in range(turns):
            result = sim.run(TURN, progress=False)
            count = counted(result.spikes["cells"], turn * TURN, dt)
            link = sim.rewire(link, rule, Activity(count, count))
            share.append(within(sim.weights(link)))
        now = sim.weights(link)
        print(f"{name}: {now.source.size:,} synapses (at first {before.source.size:,}); within assemblies "
              f"{share[0]:.1%} -> {share[-1]:.1%}; {result.rates()['cells']:.1f} spikes/s")  # fmt: skip
        axes[2].plot(np.arange(turns + 1) * TURN * 1e-3, 100 * np.array(share), ".-", label=name)
        if name == "Hebbian":
            for ax, weights, title in ((axes[0], before, "at first"), (axes[1], now, "after Hebbian rewiring")):
                order = np.argsort(np.arange(SIZE) % GROUPS, kind="stable")
                place = np.empty(SIZE, np.int64)
                place[order] = np.arange(SIZE)
                ax.plot(place[weights.source], place[weights.target], ",", color="#0072b2")
                ax.set(xlabel="source, by assembly", ylabel="target", title=title, xlim=(0, SIZE), ylim=(0, SIZE))
                ax.set_aspect("equal")
    axes[2].axhline(100 / GROUPS, color="#24292f", linewidth=0.6)
    axes[2].set(xlabel="time (s)", ylabel="synapses within assemblies (%)", ylim=(0, 100))
    axes[2].legend(frameon=False)
    axes[2].spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="rewiring_a_circuit.png", help="the picture")
    options = parser.parse_args()
    main(options.quick, options.out)
