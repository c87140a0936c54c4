"""Structured weights in a spiking network: a tenth of the parameters, in six arrangements, beside the dense network.

A network of two hidden layers of 128 LIF neurons learns the built-in event-camera digits. Its hidden layers have all
their weights, or a tenth: drawn at random, as blocks drawn once, as blocks that training prunes and regrows (BLaST,
arXiv:2507.03117), as a pixelated butterfly (arXiv:2112.00029), as BLAST blocks (arXiv:2410.21262), or of low rank.
Events meet the first factor of a product only: what comes out is graded, and costs the second factor multiply-
accumulates at every step. So equal parameters are not equal work; the second panel shows what is left of each.
Run: python examples/54_structured_weights.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from spikeframe import datasets, energy
from spikeframe.modules.structured import BlockSparseTraining, structured
from spikeframe.neurons import LI, LIF, Sequential
from spikeframe.training import FrameCache, evaluate, fit

TAU, DT, HIDDEN, DENSITY, BATCH = 100.0, 10.0, 128, 0.1, 32
KINDS = {
    "dense": "#24292f",
    "random": "#999999",
    "blocks": "#56b4e9",
    "blocks, trained": "#0072b2",
    "pixelfly": "#009e73",
    "blast": "#e69f00",
    "low-rank": "#d55e00",
}


class Gain(nn.Module):
    """Multiply currents, so that there are spikes from the start.

    Args:
        gain: the factor.
    """

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        """Return ``gain * x``."""
        return self.gain * x


def build(kind: str, seed: int) -> Sequential:
    """Return a network; the camera's 17 x 17 pooled pixels get a border of zeros, so that blocks of 8 divide them."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.ZeroPad2d((0, 3, 0, 3)), nn.Flatten()]
    for sources, gain in ((2 * 20 * 20, 12.0), (HIDDEN, 6.0)):
        if kind in ("dense", "blocks, trained"):
            layer: nn.Module = nn.Linear(sources, HIDDEN, bias=False)
        else:
            layer = structured(kind, sources, HIDDEN, DENSITY, bias=False)
        layers += [layer, Gain(gain), LIF(tau_m=TAU, dt=DT, reset="value")]
    return Sequential(*layers, nn.Linear(HIDDEN, 10, bias=False), LI(tau_m=TAU, dt=DT))


def train(kind: str, seed: int, frames: dict[str, FrameCache], epochs: int) -> dict[str, Any]:
    """Train one network; return accuracy (%), parameters of the hidden layers, operations and energy per recording."""
    model = build(kind, seed)
    places = [i for i, layer in enumerate(model) if hasattr(layer, "in_features")][:2]
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    pruning = []
    if kind == "blocks, trained":
        steps = epochs * (len(frames["train"]) // BATCH)
        for i in places:
            pruning.append(
                BlockSparseTraining(
                    model[i], optimizer, (8, 8), 1 - DENSITY, every=max(1, steps // 40), until=max(1, int(0.6 * steps))
                )
            )
    fit(model, frames["train"], epochs=epochs, batch_size=BATCH, optimizer=optimizer, seed=seed, progress=False)
    for i, training in zip(places, pruning, strict=False):
        model[i] = training.finish()
    model.eval()
    accuracy = 100.0 * evaluate(model, frames["test"].batches(64)).accuracy
    x = next(iter(frames["test"].batches(200)))[0]
    counts = energy.count(model, x)
    hidden = list(counts.values())[:2]
    price = energy.report(counts, "horowitz_fp32")
    return {
        "kind": kind,
        "accuracy": accuracy,
        "weights": sum(p.numel() for i in places for p in model[i].parameters()),
        "spikes": sum(c.spk_out for c in hidden) / x.shape[1],
        "ac": sum(c.syn_ac for c in hidden) / x.shape[1],
        "mac": sum(c.syn_mac for c in hidden) / x.shape[1],
        "energy": price.total.spiking_pj / x.shape[1] / 1000,
    }


def draw(rows: list[dict[str, Any]], out: str) -> None:
    """Draw accuracy, every seed a dot, and operations split by kind."""
    figure = Figure(figsize=(10, 4), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    names = [kind for kind in KINDS if any(r["kind"] == kind for r in rows)]
    for place, kind in enumerate(names):
        own = [r for r in rows if r["kind"] == kind]
        accuracy = [r["accuracy"] for r in own]
        left.plot([place] * len(own), accuracy, "o", color=KINDS[kind], markersize=4, alpha=0.7)
        left.plot(place, np.mean(accuracy), "_", color=KINDS[kind], markersize=26, markeredgewidth=2.5)
        ac, mac = (np.mean([r[key] for r in own]) / 1000 for key in ("ac", "mac"))
        right.bar(place, ac, color=KINDS[kind])
        right.bar(place, mac, bottom=ac, color=KINDS[kind], alpha=0.45, hatch="//", edgecolor="white")
        right.text(
            place, ac + mac, f"{np.mean([r['energy'] for r in own]):.0f} nJ", ha="center", va="bottom", fontsize=8
        )
    right.bar(0, 0, color="#777777", label="accumulates (spikes)")
    right.bar(0, 0, color="#777777", alpha=0.45, hatch="//", edgecolor="white", label="multiply-accumulates (graded)")
    right.legend(frameon=False, fontsize=8)
    left.set(
        ylabel="test accuracy (%)",
        title=f"{100 * DENSITY:.0f} % of the hidden weights, {len(rows) // len(names)} seeds",
    )
    right.set(ylabel="hidden operations (1000 a recording)", title="Operations, and energy of the network")
    for ax in (left, right):
        ax.set_xticks(range(len(names)), [n.replace("_", " ") for n in names], rotation=30, ha="right")
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)


def main(quick: bool = False, out: str = "structured_weights.png") -> Path:
    """Train all networks, print the table, and return the path of the picture."""
    samples, epochs, bins, seeds = (64, 1, 8, 1) if quick else (None, 10, 31, 3)
    frames = {
        split: FrameCache(datasets.load("digits", split=split), n_time_bins=bins, dt=DT, pool=2, samples=samples)
        for split in ("train", "test")
    }
    rows = [train(kind, seed, frames, epochs) for kind in KINDS for seed in range(seeds)]
    print(f"{seeds} seeds, means over seeds; energy: arithmetic alone, 45 nm floats (Horowitz 2014)\n")
    print(
        f"{'hidden layers':18}{'weights':>9}{'accuracy (%)':>16}{'spikes':>9}{'AC':>10}{'MAC':>10}{'energy (nJ)':>13}"
    )
    for kind in KINDS:
        own = {key: np.array([r[key] for r in rows if r["kind"] == kind]) for key in rows[0] if key != "kind"}
        accuracy = f"{own['accuracy'].mean():.1f} +- {own['accuracy'].std():.1f}"
        print(f"{kind:18}{own['weights'].mean():9.0f}{accuracy:>16}{own['spikes'].mean():9.0f}{own['ac'].mean():10.0f}"
              f"{own['mac'].mean():10.0f}{own['energy'].mean():13.0f}")  # fmt: skip
    draw(rows, out)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="structured_weights.png", help="the picture")
    options = parser.parse_args()
    main(options.quick, options.out)
