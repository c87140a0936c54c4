"""N of every M weights: straight-through, with a pull, fading masks, ladders of patterns, and both passes.

A network of 100 LIF neurons reads the built-in event-camera digits; its input layer keeps 5, 2 or 1 of every 20
weights. SR-STE (arXiv:2102.04010) takes the largest in the forward pass, lets gradients pass and pulls the others to 0;
progressive gradient flow (arXiv:2402.04744) fades them out (MDGF, two flows of the gradient) or climbs down a ladder of
patterns (SDGF); BDWP (arXiv:2309.13015) has a pattern in the backward pass too. Published: up to 2 points more than
SR-STE at high sparsity (progressive), 0.56 points below dense at 1.75 times the speed (BDWP, 2:8).
Left: test accuracy over what is missing. Right: mask flips a step.
Run: python examples/49_nm_sparsity.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from torch import nn

from spikeframe import datasets
from spikeframe.modules.sparsity.recipes import recipe
from spikeframe.neurons import LI, LIF, Sequential
from spikeframe.plots import style
from spikeframe.training import FrameCache, evaluate, fit

HIDDEN, DT, TAU, M = 100, 31.0, 100.0, 20
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "STE": ("sr-ste", {"pull": 0.0}),
    "SR-STE": ("sr-ste", {"pull": 2.0}),
    "MDGF, straight": ("mdgf", {}),
    "MDGF, masked": ("mdgf", {"flow": "masked"}),
    "SDGF": ("sdgf", {}),
    "BDWP": ("bdwp", {}),
}


def train(kind: str | None, kept: int, seed: int, frames: dict[str, FrameCache], epochs: int) -> tuple[float, float]:
    """Train one network; return its test accuracy (%) and mask flips a step, as a part of the weights."""
    torch.manual_seed(seed)
    inputs = int(np.prod(frames["train"].shape[1:]))
    pad = -inputs % M
    model = Sequential(nn.Flatten(), nn.ConstantPad1d((0, pad), 0.0), nn.Linear(inputs + pad, HIDDEN, bias=False),
                       LIF(tau_m=TAU, dt=DT, reset="value"), nn.Linear(HIDDEN, 10, bias=False),
                       LI(tau_m=TAU, dt=DT))  # fmt: skip
    nn.init.normal_(model[2].weight, std=(inputs * frames["train"].density * TAU / DT) ** -0.5)
    run, flips, steps = None, [], epochs * -(-len(frames["train"]) // 100)
    if kind is not None:
        name, options = KINDS[kind]
        run = recipe(name, model, 1.0 - kept / M, steps, layers=["2"], m=M, **options)
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    if run is not None:
        run.follow(optimizer)
        before = [run.masks()["2"].clone()]

        def see(*_: Any) -> None:
            now = run.masks()["2"].clone()
            flips.append(float((now ^ before[0]).float().mean()))
            before[0] = now

        optimizer.register_step_post_hook(see)
    fit(model, frames["train"], epochs=epochs, optimizer=optimizer, batch_size=100, seed=seed, progress=False)
    if run is not None:
        run.finish()
    return 100.0 * evaluate(model, frames["test"].batches(200)).accuracy, float(np.mean(flips)) if flips else 0.0


def draw(found: dict[tuple[str, int], Any], dense: float, out: str) -> None:
    """Draw accuracy and flips over what is missing, every seed a dot, their mean a line."""
    figure = Figure(figsize=(9, 3.4), layout="constrained", facecolor="white")
    axes = figure.subplots(1, 2)
    for column, ax in enumerate(axes):
        for kind, colour in zip(KINDS, style.CYCLE, strict=True):
            points = sorted((100.0 * (1 - kept / M), runs[:, column]) for (k, kept), runs in found.items() if k == kind)
            ax.plot([p for p, _ in points], [v.mean() for _, v in points], color=colour, lw=1.3, label=kind)
            for place, values in points:
                ax.plot([place] * len(values), values, "o", ms=2.5, color=colour)
    axes[0].axhline(dense, color=style.INK, lw=0.8, ls=":", label="dense")
    style.tidy(axes[0], "Accuracy", "missing weights of the input layer (%)", "test accuracy (%)")
    style.tidy(axes[1], "Restless masks", "missing weights of the input layer (%)", "mask flips per step and weight")
    style.legend(axes[0], loc="lower left", ncols=2)
    axes[1].set_yscale("log")
    axes[1].yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes[1].yaxis.set_major_formatter("{x:g}")
    axes[1].minorticks_off()
    for ax in axes:
        ax.set_xticks(sorted({100.0 * (1 - kept / M) for _, kept in found}))
    figure.savefig(out, dpi=120)


def main(quick: bool = False, out: str = "nm_sparsity.png") -> Path:
    """Train all networks, print the table, and return the path of the picture."""
    samples, epochs, seeds, kepts = (60, 2, 1, (5,)) if quick else (None, 8, 3, (5, 2, 1))
    frames = {
        split: FrameCache(datasets.load("digits", split=split), n_time_bins=10, dt=DT, pool=2, samples=samples)
        for split in ("train", "test")
    }
    dense = [train(None, M, seed, frames, epochs)[0] for seed in range(seeds)]
    print(f"dense {np.mean(dense):.1f} +- {np.std(dense):.1f} %; {seeds} seeds\n{'accuracy (%)':16}", end="")
    print("".join(f"{f'{kept}:{M}':>14}" for kept in kepts))
    found = {}
    for kind in KINDS:
        for kept in kepts:
            found[kind, kept] = np.array([train(kind, kept, seed, frames, epochs) for seed in range(seeds)])
        cells = [f"{v[:, 0].mean():.1f} +- {v[:, 0].std():.1f}" for v in (found[kind, kept] for kept in kepts)]
        print(f"{kind:16}" + "".join(f"{cell:>14}" for cell in cells), flush=True)
    print("mask flips a step and weight: " + ", ".join(
        f"{kind} {np.mean([found[kind, kept][:, 1].mean() for kept in kepts]):.1e}" for kind in KINDS))  # fmt: skip
    draw(found, float(np.mean(dense)), out)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="nm_sparsity.png", help="the picture (default: nm_sparsity.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
