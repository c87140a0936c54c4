"""Synapses that come and go while a network learns: static random masks beside five ways to move them.

Two hidden layers of 64 LIF neurons read the built-in event-camera digits with 90, 95 and 98 % of all weights
missing. Static: random masks, uniform or by ERK (Liu et al., arXiv:2202.02643; Gadhikar et al., arXiv:2210.02412).
Moving: RigL; DST-EE, with a bonus for what was seldom active (arXiv:2211.16667); SRigL, at constant fan-in, weak
neurons switched off (arXiv:2305.02299); GraNet, from half dense along a cubic (arXiv:2106.10404); and the group
envelope's proximal steps (WGSEF). Left: accuracy. Middle: part of all places that were ever active (ITOP).
Right: hidden neurons without input.
Run: python examples/50_dynamic_sparse_training.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from spikeframe import datasets
from spikeframe.modules.sparsity.recipes import recipe
from spikeframe.neurons import LI, LIF, Sequential
from spikeframe.plots import style
from spikeframe.training import FrameCache, evaluate, fit

HIDDEN, DT, TAU, EVERY = 64, 31.0, 100.0, 5
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "random, uniform": ("random", {"budget": "uniform"}),
    "random, ERK": ("random", {}),
    "RigL": ("rigl", {"every": EVERY}),
    "DST-EE": ("dst-ee", {"every": EVERY}),
    "SRigL": ("srigl", {"every": EVERY}),
    "GraNet": ("granet", {"every": EVERY}),
    "WGSEF": ("wgsef", {}),
}
COLOURS = dict(zip(KINDS, (style.MUTED, style.INK, *style.CYCLE), strict=False))


def train(kind: str | None, sparsity: float, seed: int, frames: dict[str, FrameCache], epochs: int) -> list[float]:
    """Train one network; return test accuracy, ITOP (both %), and hidden neurons without input."""
    torch.manual_seed(seed)
    inputs = int(np.prod(frames["train"].shape[1:]))
    layers = [nn.Linear(inputs, HIDDEN, bias=False), nn.Linear(HIDDEN, HIDDEN, bias=False)]
    nn.init.normal_(layers[0].weight, std=(inputs * frames["train"].density * TAU / DT) ** -0.5)
    nn.init.normal_(layers[1].weight, std=(HIDDEN * 0.1 * TAU / DT) ** -0.5)
    model = Sequential(nn.Flatten(), layers[0], LIF(tau_m=TAU, dt=DT, reset="value"), layers[1],
                       LIF(tau_m=TAU, dt=DT, reset="value"), nn.Linear(HIDDEN, 10, bias=False),
                       LI(tau_m=TAU, dt=DT))  # fmt: skip
    steps = epochs * -(-len(frames["train"]) // 100)
    run = None
    if kind is not None:
        name, options = KINDS[kind]
        run = recipe(name, model, sparsity, steps, seed=10 * seed, **options)
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    if run is not None:
        run.follow(optimizer)
    fit(model, frames["train"], epochs=epochs, optimizer=optimizer, batch_size=100, seed=seed, progress=False)
    accuracy = 100.0 * evaluate(model, frames["test"].batches(200)).accuracy
    if run is None:
        return [accuracy, 100.0, 0.0]
    run.finish()
    accuracy = 100.0 * evaluate(model, frames["test"].batches(200)).accuracy
    report = run.report()
    sizes = {name: layer.weight.numel() for name, layer in run.linear.items()}
    share = report["ever active"] or report["density"]
    itop = sum(share[name] * n for name, n in sizes.items()) / sum(sizes.values())
    return [accuracy, 100.0 * itop, sum(list(report["without input"].values())[:2])]


def draw(found: dict[tuple[str, float], Any], dense: float, out: str) -> None:
    """Draw three panels over what is missing."""
    figure = Figure(figsize=(12, 3.4), layout="constrained", facecolor="white")
    titles = ("Accuracy", "Explored", "Switched off or cut off")
    labels = ("test accuracy (%)", "places ever active (%)", "hidden neurons without input")
    for column, ax in enumerate(figure.subplots(1, 3)):
        for kind, colour in COLOURS.items():
            points = sorted((100.0 * s, runs[:, column]) for (k, s), runs in found.items() if k == kind)
            ax.plot([p for p, _ in points], [v.mean() for _, v in points], color=colour, lw=1.3, label=kind)
            for place, values in points:
                ax.plot([place] * len(values), values, "o", ms=2.5, color=colour)
        style.tidy(ax, titles[column], "missing weights (%)", labels[column])
        if column == 0:
            ax.axhline(dense, color=style.INK, lw=0.8, ls=":", label="dense")
            handles, kinds = ax.get_legend_handles_labels()
    figure.legend(handles, kinds, frameon=False, fontsize=8, labelcolor=style.INK, loc="outside right center")
    figure.savefig(out, dpi=120)


def main(quick: bool = False, out: str = "dynamic_sparse_training.png") -> Path:
    """Train all networks, print the table, and return the path of the picture."""
    samples, epochs, seeds, levels = (60, 2, 1, (0.9,)) if quick else (None, 8, 3, (0.9, 0.95, 0.98))
    frames = {
        split: FrameCache(datasets.load("digits", split=split), n_time_bins=10, dt=DT, pool=2, samples=samples)
        for split in ("train", "test")
    }
    dense = [train(None, 0.0, seed, frames, epochs)[0] for seed in range(seeds)]
    print(f"dense {np.mean(dense):.1f} +- {np.std(dense):.1f} %; {seeds} seeds")
    print(f"{'accuracy (%)':18}" + "".join(f"{f'{100 * s:.0f} %':>14}" for s in levels) + "   ITOP (%), silent at last")
    found = {}
    for kind in KINDS:
        for s in levels:
            found[kind, s] = np.array([train(kind, s, seed, frames, epochs) for seed in range(seeds)])
        cells = [f"{v[:, 0].mean():.1f} +- {v[:, 0].std():.1f}" for v in (found[kind, s] for s in levels)]
        last = found[kind, levels[-1]].mean(0)
        print(f"{kind:18}" + "".join(f"{cell:>14}" for cell in cells) + f"{last[1]:11.1f} {last[2]:6.1f}", flush=True)
    draw(found, float(np.mean(dense)), out)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="dynamic_sparse_training.png", help="the picture")
    options = parser.parse_args()
    main(options.quick, options.out)
