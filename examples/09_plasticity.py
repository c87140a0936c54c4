"""Synapses that compete: figure 2 of Song, Miller and Abbott (2000), doi:10.1038/78829; and synapses that tire.

Left: 1,000 exciting inputs with pair STDP, and 200 static inhibiting ones, onto one neuron, with the paper's
parameters but four times its step, to be there sooner. Additive STDP with depression a little stronger than
potentiation pushes the weights to both ends, the more of them down the faster the inputs, and so steadies the output's
rate.
Right: a regular train of 50 spikes/s through depressing and facilitating synapses (Tsodyks and Markram).
Run: python examples/09_plasticity.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import spikeframe as sf

#: Rate of the inputs (spikes/s) to colour.
RATES = {10.0: "#56b4e9", 20.0: "#0072b2", 40.0: "#d55e00"}
W_MAX = 0.15  # nS: the paper's 0.015 of the leak


def learner(rate: float, seed: int = 1) -> tuple[sf.Simulator, Any]:
    """Return a neuron whose exciting inputs learn, and their projection.

    Args:
        rate: of each of the 1,000 inputs, spikes/s.
        seed: of the network.
    """
    network = sf.Network(seed=seed)
    receptors = {"exc": sf.neurons.CondExp(tau=5.0, e_rev=0.0), "inh": sf.neurons.CondExp(tau=5.0, e_rev=-70.0)}
    neuron = sf.neurons.CondLIF(c_m=200.0, g_l=10.0, e_l=-70.0, v_th=-54.0, v_reset=-60.0, receptors=receptors)
    inputs = network.population("inputs", 1000, sf.PoissonSource(rate))
    brake = network.population("brake", 200, sf.PoissonSource(10.0))
    output = network.population("output", 1, neuron)
    rule = sf.learning_rules.PairSTDP(
        w_max=W_MAX, tau_plus=20.0, tau_minus=20.0, lambda_=0.02, alpha=1.05, mu_plus=0.0, mu_minus=0.0
    )
    every = sf.AllToAll()
    (link,) = network.connect(inputs, output, every, receptor="exc", weight=W_MAX, delay=0.5, synapse=rule)
    network.connect(brake, output, every, receptor="inh", weight=0.5, delay=0.5)
    network.record(output, "rate", every=1000.0)
    return sf.Simulator(network, dt=0.5, threads=1), link


def tiring() -> dict[str, tuple[Any, Any]]:
    """Return the responses of a passive membrane to one train through three kinds of synapses."""
    kinds = {
        "static": None,
        "depressing": sf.TsodyksMarkram(U=0.5, tau_rec=800.0),
        "facilitating": sf.TsodyksMarkram(U=0.1, tau_rec=100.0, tau_fac=1000.0),
    }
    times = np.concatenate([np.arange(50.0, 550.0, 20.0), [900.0]])
    found = {}
    for name, kind in kinds.items():
        network = sf.Network()
        source = network.population("source", 1, sf.SpikeSource(times, np.zeros(times.size, np.int64)))
        neuron = sf.neurons.LIF(tau_m=15.0, v_th=1e3, receptors=sf.neurons.Exp(tau=3.0))
        target = network.population("target", 1, neuron)
        network.connect(source, target, sf.OneToOne(), weight=10.0, delay=1.0, synapse=kind)
        network.record(target, "v", every=0.5)
        trace = sf.Simulator(network, dt=0.1, threads=1).run(1000.0).traces["target"]["v"]
        found[name] = trace.times, trace.values[:, 0]
    return found


def main(quick: bool = False, out: str = "plasticity.png") -> Path:
    """Simulate, print what became of the weights, and return the path of the picture."""
    duration = 2_000.0 if quick else 150_000.0
    figure = Figure(figsize=(11, 6.5), layout="constrained", facecolor="white")
    grid = figure.add_gridspec(3, 2)
    weights, rates = figure.add_subplot(grid[:2, 0]), figure.add_subplot(grid[2, 0])
    for rate, colour in RATES.items():
        sim, link = learner(rate)
        result = sim.run(duration, progress=not quick)
        final = sim.weights(link).weight / W_MAX
        output = result.traces["output"]["rate"]
        ends = np.mean(final < 0.2), np.mean(final > 0.8)
        last = output.values[-max(1, output.values.size // 10) :].mean()
        print(
            f"inputs at {rate:.0f}/s: output {output.values[0]:5.1f} -> {last:5.1f} spikes/s, "
            f"{ends[0]:.0%} of the weights below 0.2 w_max, {ends[1]:.0%} above 0.8"
        )
        weights.hist(final, np.linspace(0.0, 1.0, 21), histtype="step", color=colour, linewidth=1.8,
                     label=f"inputs at {rate:.0f} spikes/s")  # fmt: skip
        rates.plot(output.times * 1e-3, output.values, color=colour, linewidth=1.0)
    weights.set(xlabel="weight / w_max", ylabel="synapses of 1,000", title="Pair STDP: weights after "
                f"{duration * 1e-3:.0f} s", xlim=(0.0, 1.0))  # fmt: skip
    weights.legend(frameon=False)
    rates.set(xlabel="time (s)", ylabel="output (spikes/s)", xlim=(0.0, duration * 1e-3))
    rates.set_ylim(bottom=0.0)
    axes = [figure.add_subplot(grid[k, 1]) for k in range(3)]
    for ax, (name, (times, v)) in zip(axes, tiring().items(), strict=True):
        ax.plot(times, v, color="#24292f", linewidth=1.0)
        ax.set_title(name, loc="left", fontsize=10)
        ax.set(ylabel="membrane (mV)", xlim=(0.0, 1000.0))
    axes[-1].set_xlabel("time (ms)")
    for ax in (weights, rates, *axes):
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="plasticity.png", help="the picture (default: plasticity.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
