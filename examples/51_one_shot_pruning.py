"""A trained network pruned once, with some calibration spikes and no training: who loses least?

Two hidden layers of 64 LIF neurons that learnt the built-in event-camera digits lose 50 to 90 % of each hidden layer's
weights: the smallest; the smallest times the norm of what they read (Wanda, arXiv:2306.11695); Wanda's choice after
swaps that mend mean currents (DSnoT, arXiv:2310.08915); column by column, later columns taking over (SparseGPT,
arXiv:2301.00774), calibrated on spikes or on the traces that membranes integrate; and Wanda's choice with a bias that
restores every mean current. Published: 50 to 60 % of the largest language models without retraining (SparseGPT); at
70 % a perplexity lower by 26.8 than Wanda's (DSnoT, LLaMA-7B).
Left: squared error of the input layer's current on calibration input. Right: test accuracy.
Run: python examples/51_one_shot_pruning.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from spikeframe import datasets
from spikeframe.modules.sparsity.one_shot import prune
from spikeframe.neurons import LI, LIF, Sequential
from spikeframe.plots import style
from spikeframe.training import FrameCache, evaluate, fit

HIDDEN, DT, TAU = 64, 31.0, 100.0
BETA = math.exp(-DT / TAU)
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "magnitude": ("magnitude", {}),
    "Wanda": ("wanda", {}),
    "DSnoT": ("dsnot", {}),
    "Wanda + mean current": ("wanda", {"mend": "mean"}),
    "SparseGPT": ("sparsegpt", {}),
    "SparseGPT on traces": ("sparsegpt", {"beta": BETA}),
}


def dense(seed: int, frames: dict[str, FrameCache], epochs: int) -> Sequential:
    """Train the dense network."""
    torch.manual_seed(seed)
    inputs = int(np.prod(frames["train"].shape[1:]))
    layers = [nn.Linear(inputs, HIDDEN), nn.Linear(HIDDEN, HIDDEN)]
    nn.init.normal_(layers[0].weight, std=(inputs * frames["train"].density * TAU / DT) ** -0.5)
    nn.init.normal_(layers[1].weight, std=(HIDDEN * 0.1 * TAU / DT) ** -0.5)
    model = Sequential(nn.Flatten(), layers[0], LIF(tau_m=TAU, dt=DT, reset="value"), layers[1],
                       LIF(tau_m=TAU, dt=DT, reset="value"), nn.Linear(HIDDEN, 10, bias=False),
                       LI(tau_m=TAU, dt=DT))  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    fit(model, frames["train"], epochs=epochs, optimizer=optimizer, batch_size=100, seed=seed, progress=False)
    return model


def draw(found: dict[tuple[str, float], Any], whole: float, out: str) -> None:
    """Draw error and accuracy over what is missing, every seed a dot, their mean a line."""
    figure = Figure(figsize=(9, 3.6), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    for column, ax in enumerate((left, right)):
        for kind, colour in zip(KINDS, style.CYCLE, strict=True):
            points = sorted((100.0 * s, runs[:, column]) for (k, s), runs in found.items() if k == kind)
            ax.plot([p for p, _ in points], [v.mean() for _, v in points], color=colour, lw=1.3, label=kind)
            for place, values in points:
                ax.plot([place] * len(values), values, "o", ms=2.5, color=colour)
    left.set_yscale("log")
    right.axhline(whole, color=style.INK, lw=0.8, ls=":", label="dense")
    style.tidy(left, "Current of the input layer", "missing weights (%)", "relative squared error")
    style.tidy(right, "Accuracy without retraining", "missing weights (%)", "test accuracy (%)")
    style.legend(right, loc="lower left")
    figure.savefig(out, dpi=120)


def main(quick: bool = False, out: str = "one_shot_pruning.png") -> Path:
    """Train, prune in all ways, print the table, and return the path of the picture."""
    samples, epochs, seeds, levels = (60, 1, 1, (0.7,)) if quick else (None, 12, 3, (0.5, 0.6, 0.7, 0.8, 0.9))
    frames = {
        split: FrameCache(datasets.load("digits", split=split), n_time_bins=10, dt=DT, pool=2, samples=samples)
        for split in ("train", "test")
    }
    models = [dense(seed, frames, epochs) for seed in range(seeds)]
    calibration = next(iter(frames["train"].batches(300)))[0]
    whole = [100.0 * evaluate(model, frames["test"].batches(200)).accuracy for model in models]
    print(f"dense {np.mean(whole):.1f} +- {np.std(whole):.1f} %; {seeds} seeds; error of the input layer, accuracy (%)")
    print(f"{'':22}" + "".join(f"{f'{100 * s:.0f} %':>20}" for s in levels))
    found = {}
    for kind, (name, options) in KINDS.items():
        for s in levels:
            runs = []
            for model in models:
                cut = copy.deepcopy(model)
                errors = prune(cut, name, s, calibration, layers=["1", "3"], **options)
                runs.append([errors["1"], 100.0 * evaluate(cut, frames["test"].batches(200)).accuracy])
            found[kind, s] = np.array(runs)
        cells = [
            f"{v[:, 0].mean():.3f} {v[:, 1].mean():.1f} +- {v[:, 1].std():.1f}"
            for v in (found[kind, s] for s in levels)
        ]
        print(f"{kind:22}" + "".join(f"{cell:>20}" for cell in cells), flush=True)
    print("the error on traces is that of the traced current, so it compares with itself only")
    draw(found, float(np.mean(whole)), out)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="one_shot_pruning.png", help="the picture (default: one_shot_pruning.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
