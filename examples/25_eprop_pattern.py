"""A recurrent network learns to draw a pattern online, by e-prop: no graph through time, no second run backwards.

A hundred recurrent LIF neurons, driven by a clock of twenty inputs that fire one after another, learn to steer two
leaky readouts along a closed curve, as in the pattern generation of Bellec et al. 2020
(doi:10.1038/s41467-020-17236-y). Every synapse multiplies an eligibility trace of its own with an error that is sent
back through the readout's weights (symmetric), through fixed random ones, or through ones that adapt; BPTT of the same
network is the yardstick. The error is the root of the mean squared distance over that of the pattern itself.
Run: python examples/25_eprop_pattern.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from spikeframe.learning_rules import BPTT, EProp
from spikeframe.learning_rules.surrogates import Triangle
from spikeframe.neurons import LI, LIF, Recurrent, Sequential

DT, DURATION, SIZE, INPUTS = 1.0, 300, 100, 20  # ms
RULES = ("BPTT", "e-prop, symmetric", "e-prop, adaptive", "e-prop, random")


def network(seed: int) -> Sequential:
    """Return the network before learning."""
    torch.manual_seed(seed)
    neuron = LIF(tau_m=20.0, dt=DT, v_th=0.6, detach_reset=True, surrogate=Triangle(gamma=0.3, w=0.6))
    model = Sequential(
        nn.Linear(INPUTS, SIZE, bias=False),
        Recurrent(neuron, SIZE),
        nn.Linear(SIZE, 2, bias=False),
        LI(tau_m=20.0, dt=DT),
    )
    nn.init.normal_(model[0].weight, 0.0, 0.5)
    nn.init.normal_(model[1].weight, 0.0, 0.4 / math.sqrt(SIZE))
    nn.init.normal_(model[2].weight, 0.0, 0.3 / math.sqrt(SIZE))
    return model


def task(steps: int) -> tuple[Tensor, Tensor]:
    """Return the clock ``[T, 1, inputs]`` and the curve ``[T, 1, 2]``."""
    t = torch.arange(steps)
    clock = torch.zeros(steps, 1, INPUTS)
    clock[t[::4], 0, (t[::4] * INPUTS // steps)] = 1.0
    angle = 2 * math.pi * t / steps
    curve = torch.stack([torch.sin(angle) + 0.5 * torch.sin(3 * angle), torch.cos(2 * angle + 0.5)], 1)
    return clock, curve[:, None]


def learn(kind: str, seed: int, rounds: int, steps: int) -> tuple[Sequential, list[float], float]:
    """Learn by one rule; return the network, the error in every round, and seconds per round."""
    model, (clock, curve) = network(seed), task(steps)
    scale = float(curve.square().mean())
    loss = nn.functional.mse_loss
    if kind == "BPTT":
        rule, free = BPTT(model, loss), list(model.parameters())
    else:
        rule = EProp(model, loss, feedback=kind.removeprefix("e-prop, "), weight_decay=1e-4)
        free = list(rule.parameters())
    optimizer = torch.optim.Adam(free, 4e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, rounds)
    errors, started = [], time.perf_counter()
    for _ in range(rounds):
        optimizer.zero_grad()
        errors.append(math.sqrt(rule.backward(clock, curve).loss / scale))
        optimizer.step()
        scheduler.step()
    return model, errors, (time.perf_counter() - started) / rounds


def main(quick: bool = False, out: str = "eprop_pattern.png") -> Path:
    """Learn by four rules and return the path of the picture."""
    steps, rounds = (60, 3) if quick else (DURATION, 100)
    clock, curve = task(steps)
    figure = Figure(figsize=(10, 6), layout="constrained", facecolor="white")
    axes = figure.subplot_mosaic([["errors", "x"], ["errors", "y"], ["errors", "raster"]])
    print(f"{'rule':20}{'error':>8}{'ms a round':>12}")
    for kind in RULES:
        model, errors, seconds = learn(kind, 0, rounds, steps)
        axes["errors"].plot(range(1, len(errors) + 1), errors, label=kind)
        print(f"{kind:20}{errors[-1]:8.3f}{1000 * seconds:12.0f}")
        if kind == "e-prop, random":
            with torch.no_grad():
                hidden, _ = Sequential(*list(model)[:2])(clock)
                drawn, _ = model(clock)
            for number, axis in enumerate("xy"):
                axes[axis].plot(curve[:, 0, number], color="#d55e00", linewidth=3, alpha=0.4, label="pattern")
                axes[axis].plot(drawn[:, 0, number], color="#24292f", linewidth=1, label=kind)
                axes[axis].set(ylabel=f"readout {axis}", xticklabels=[])
            when, _, who = hidden.nonzero(as_tuple=True)
            axes["raster"].plot(when * DT, who, "|", color="#24292f", markersize=2)
            axes["raster"].set(xlabel="time (ms)", ylabel="neuron")
    axes["errors"].set(xlabel="round", ylabel="error over that of silence", ylim=(0, 1.2), title="Learning a pattern")
    axes["errors"].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes["errors"].legend(fontsize=8)
    axes["x"].legend(fontsize=8)
    for ax in axes.values():
        ax.title.set(fontsize=10, horizontalalignment="left", x=0.0)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="eprop_pattern.png", help="the picture (default: eprop_pattern.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
