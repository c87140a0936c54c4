"""Train a circuit that a script describes, turn it back, and simulate it: not one spike differs.

Excitatory and inhibitory neurons with delays of 4 to 12 ms, driven by Poisson spikes that are the same in every trial,
learn to draw a wave with the spikes of 24 output neurons. `net.to_module()` is the circuit as a torch module, whose
weights (one for each synapse) follow the gradient of the distance of van Rossum (2001, doi:10.1162/089976601300014321)
between spikes and target; `module.to_network()` is a network for the simulator again.
Run: python examples/17_train_a_circuit.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

import spikeframe as sf

DT, OUTPUTS, DURATION, TAU = 1.0, 24, 200, 10.0  # ms


def describe() -> sf.Network:
    """Return the circuit before training."""
    net = sf.Network(seed=4)
    receptors = {"exc": sf.neurons.Exp(tau=5.0), "inh": sf.neurons.Exp(tau=8.0)}
    cell = sf.neurons.LIF(tau_m=15.0, v_th=1.0, t_ref=2.0, receptors=receptors)
    drive = net.population("drive", 60, sf.PoissonSource(25.0))
    exc, inh = net.population("exc", 80, cell), net.population("inh", 20, cell)
    out = net.population("out", OUTPUTS, cell)
    lags = sf.Uniform(4.0, 12.0)
    net.connect(drive, [exc, inh], sf.FixedProbability(0.3), receptor="exc", weight=sf.Normal(0.5, 0.1), delay=lags)
    net.connect(exc, [exc, inh], sf.FixedProbability(0.2), receptor="exc", weight=sf.Normal(0.1, 0.02), delay=lags)
    net.connect(inh, [exc, inh], sf.FixedProbability(0.2), receptor="inh", weight=sf.Normal(-0.2, 0.05), delay=lags)
    net.connect(exc, out, sf.FixedProbability(0.8), receptor="exc", weight=sf.Normal(0.1, 0.1), delay=lags)
    net.connect(inh, out, sf.FixedProbability(0.8), receptor="inh", weight=sf.Normal(-0.1, 0.05), delay=lags)
    net.record(["exc", "inh", "out"], "spikes")
    return net


def wave() -> torch.Tensor:
    """Return the target ``[T, 1, neurons]``: every output neuron fires where the wave passes it."""
    target = torch.zeros(DURATION, 1, OUTPUTS)
    for cycle, middle in enumerate((55.0, 105.0, 155.0)):
        for n in range(OUTPUTS):
            target[round(middle + 20.0 * (n / (OUTPUTS - 1) - 0.5) * (-1) ** cycle * 2), 0, n] = 1.0
    return target


def smooth(spikes: torch.Tensor) -> torch.Tensor:
    """Return ``[T, B, neurons]`` spikes with a decaying trace behind each."""
    steps = torch.arange(spikes.shape[0])
    lag = (steps[:, None] - steps).clamp(min=0)
    kernel = torch.exp(-lag * DT / TAU).tril()
    return torch.einsum("ts,sbn->tbn", kernel, spikes)


def train(module: Any, target: torch.Tensor, rounds: int) -> list[float]:
    """Follow the gradient; return the distance in every round."""
    optimiser = torch.optim.Adam(module.parameters(), lr=0.015)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, rounds)
    wanted, distances = smooth(target), []
    for _ in range(rounds):
        out, _ = module(steps=DURATION)
        loss = (smooth(out["out"]) - wanted).square().sum() * DT / TAU
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        slower.step()
        distances.append(float(loss.detach()))
    return distances


def raster(ax: Axes, spikes: Any, target: torch.Tensor, title: str) -> None:
    """Draw spikes over the target."""
    steps, _, ids = target.nonzero(as_tuple=True)
    ax.plot((steps + 1) * DT, ids, "o", color="#f0c6a8", markersize=7, label="target")
    ax.plot(spikes.times, spikes.ids, "|", color="#24292f", markersize=7, label="simulated")
    ax.set(title=title, xlabel="time (ms)", ylabel="output neuron", xlim=(0, DURATION), ylim=(-1, OUTPUTS))


def main(quick: bool = False, out: str = "trained_circuit.png") -> Path:
    """Train, turn back, simulate, compare every spike, and return the path of the picture."""
    net, target = describe(), wave()
    before = sf.Simulator(net, dt=DT).run(DURATION)
    module = net.to_module(DT)
    distances = train(module, target, 3 if quick else 100)
    print(f"distance from the target: {distances[0]:.1f} before, {distances[-1]:.1f} after {len(distances)} rounds")

    trained = module.to_network()
    moved = max(s.largest_change for s in trained.snapping.values())
    synapses = sum(s.weight.numel() for s in module.synapses)
    print(f"{synapses:,} trained weights; putting them on the simulator's grid moved none by more than {moved:.1g}")
    after = sf.Simulator(trained, dt=DT).run(DURATION)
    again, _ = trained.to_module(DT)(steps=DURATION)
    different = 0
    for name, spikes in again.items():
        simulated = np.zeros((DURATION, spikes.shape[2]))
        simulated[after.spikes[name].steps, after.spikes[name].ids] = 1.0
        different += int((simulated != spikes[:, 0].detach().numpy()).sum())
    print(f"{different} of {after.total_spikes} spikes differ between the simulator and the torch module")

    figure = Figure(figsize=(10, 6.5), layout="constrained", facecolor="white")
    axes = figure.subplot_mosaic([["before", "after"], ["distance", "circuit"]])
    raster(axes["before"], before.spikes["out"], target, "Before")
    raster(axes["after"], after.spikes["out"], target, "Trained, turned back, simulated")
    axes["before"].legend(loc="lower right", fontsize=8, bbox_to_anchor=(1.0, 1.0), frameon=False, ncols=2)
    axes["distance"].plot(range(1, len(distances) + 1), distances, color="#0072b2")
    axes["distance"].set(title="Distance from the target", xlabel="round", ylabel="van Rossum distance", ylim=(0, None))
    axes["distance"].xaxis.set_major_locator(MaxNLocator(integer=True))
    for name, colour, first in (("exc", "#0072b2", 0), ("inh", "#d55e00", 80)):
        found = after.spikes[name]
        axes["circuit"].plot(found.times, found.ids + first, ".", color=colour, markersize=2)
    axes["circuit"].set(title="The circuit behind it: excitatory (blue), inhibitory", xlabel="time (ms)",
                        ylabel="neuron", xlim=(0, DURATION), ylim=(-1, 100))  # fmt: skip
    for ax in axes.values():
        ax.title.set(fontsize=10, horizontalalignment="left", x=0.0)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="trained_circuit.png", help="the picture (default: trained_circuit.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
