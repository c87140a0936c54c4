"""Activations as whole numbers of spikes: how many, over how many steps, and what it costs in accuracy.

A small network with gated hidden layers (as in today's language models) is trained on scikit-learn's handwritten digits
in floats. Then every activation that enters a weight matrix becomes a count of spikes by a threshold of its token's own
size (`AdaptiveThresholdIF`, k the mean count), and the count becomes a train: ternary, bitwise or two's complement.
The trains carry the counts without loss: a weight layer run spike by spike gives the same sums. SpikingBrain
(arXiv:2509.05276) reports 1.13 spikes a value and 69.2 % silent places in three steps, bitwise, k = 3, and 94.1 % of
counts at most 7 for its model of 7 billion weights.
Run: python examples/21_spike_coding.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor, nn

from spikeframe.modules.spike_coding import encode
from spikeframe.neurons import AdaptiveThresholdIF

TRAINING, WIDTH = 1200, 128
SCHEMES = {"ternary": "#d55e00", "bitwise": "#0072b2", "twos_complement": "#009e73"}
LEVELS = (0.5, 1.0, 2.0, 3.0, 5.0, 8.0)
REPORT = {"spikes": 1.13, "silent": 69.15, "small": 94.1}


class Gated(nn.Module):
    """Two gated hidden layers and a readout; `code` sees what enters every weight matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.ModuleList([nn.Linear(64, WIDTH), nn.Linear(WIDTH, WIDTH)])
        self.up = nn.ModuleList([nn.Linear(64, WIDTH), nn.Linear(WIDTH, WIDTH)])
        self.out = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor, code: Any = lambda x: x) -> Tensor:
        """Return logits ``[B, 10]``."""
        for gate, up in zip(self.gate, self.up, strict=True):
            seen = code(x)
            x = nn.functional.silu(gate(seen)) * up(seen)
        logits: Tensor = self.out(code(x))
        return logits


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return training and test scans with their labels."""
    x, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = torch.tensor(x[order] / 8.0 - 1.0, dtype=torch.float32), torch.from_numpy(labels[order])
    return x[:TRAINING], y[:TRAINING], x[TRAINING:], y[TRAINING:]


def train(data: tuple[Tensor, ...], seed: int, epochs: int) -> Gated:
    """Train in floats."""
    torch.manual_seed(seed)
    model = Gated()
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(epochs):
        for part in torch.randperm(TRAINING).split(64):
            loss = nn.functional.cross_entropy(model(data[0][part]), data[1][part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model


@torch.no_grad()
def coded(model: Gated, data: tuple[Tensor, ...], k: float) -> tuple[float, Tensor]:
    """Return accuracy (%) with spike counts in place of activations, and the counts of the hidden layers."""
    neuron, counts = AdaptiveThresholdIF(k=k), []

    def code(x: Tensor) -> Tensor:
        found = neuron(x)
        counts.append(found.counts)
        return found.decoded()

    right = (model(data[2], code).argmax(1) == data[3]).double().mean()
    return 100 * float(right), torch.stack(counts[1:])  # the scans themselves are left out


@torch.no_grad()
def spike_by_spike(model: Gated, counts: Tensor) -> None:
    """Run the readout on trains of every scheme, and print how far its sums are from those of the counts."""
    weight = model.out.weight.double()
    expected = counts.double() @ weight.T
    for scheme in SCHEMES:
        train_ = encode(counts, scheme)
        sums = train_.weighed(train_.spikes.double() @ weight.T)
        print(f"readout, {scheme:16}{len(train_.weights):3} steps, {train_.events:7,} spikes: "
              f"largest difference {float((sums - expected).abs().max()):.1e}")  # fmt: skip


def draw(rows: list[dict[str, Any]], plain: float, counts: Tensor, out: str) -> None:
    """Draw accuracy and spikes over k, and one digit's hidden layer as bitwise spikes."""
    figure = Figure(figsize=(12, 3.6), layout="constrained", facecolor="white")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1, 1.3])
    accuracy = np.array([row["accuracy"] for row in rows])
    left.plot(LEVELS, accuracy, ".", color="#24292f", markersize=4)
    left.plot(LEVELS, accuracy.mean(1), color="#24292f", label="spike counts")
    left.axhline(plain, color="#8b949e", linestyle=":", label="floats")
    left.set(xlabel="k, mean count", ylabel="test accuracy (%)", xscale="log", xticks=LEVELS, xticklabels=LEVELS)
    for scheme, colour in SCHEMES.items():
        middle.plot(LEVELS, [row[scheme]["spikes"] for row in rows], color=colour, label=scheme.replace("_", "'s ", 1)
                    if scheme != "twos_complement" else "two's complement")  # fmt: skip
    middle.plot(3.0, REPORT["spikes"], "*", color=SCHEMES["bitwise"], markersize=11, label="SpikingBrain 7B, bitwise")
    middle.set(xlabel="k, mean count", ylabel="spikes per value", xscale="log", yscale="log", xticks=LEVELS,
               xticklabels=LEVELS, yticks=(0.5, 1, 2, 4, 8), yticklabels=(0.5, 1, 2, 4, 8))  # fmt: skip
    spikes = encode(counts[:64], "bitwise").spikes
    right.imshow(spikes.numpy(), cmap="RdBu_r", vmin=-1.4, vmax=1.4, aspect="auto", interpolation="nearest")
    right.set(xlabel="channel", ylabel="bit (step)", yticks=range(len(spikes)),
              title="one digit, 64 hidden channels, k = 3, bitwise")  # fmt: skip
    for ax in (left, middle):
        ax.minorticks_off()
        ax.legend(frameon=False, fontsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)


def main(quick: bool = False, out: str = "spike_coding.png") -> Path:
    """Train, code, print the table, and return the path of the picture."""
    epochs, seeds = (2, 1) if quick else (30, 3)
    data = digits()
    models = [train(data, seed, epochs) for seed in range(seeds)]
    plain = [coded_plain(model, data) for model in models]
    print(f"{seeds} seeds; accuracy in floats {np.mean(plain):.1f} +- {np.std(plain):.1f} %\n")
    print(f"{'k':>4}{'accuracy (%)':>16}{'counts <= 7 (%)':>17}" + "".join(f"{s:>34}" for s in SCHEMES))
    rows = []
    for k in LEVELS:
        found = [coded(model, data, k) for model in models]
        counts = torch.stack([c for _, c in found])
        row: dict[str, Any] = {"accuracy": [a for a, _ in found]}
        cells = ""
        for scheme in SCHEMES:
            made = encode(counts, scheme)
            row[scheme] = {"spikes": made.events / counts.numel(), "silent": 100 * made.sparsity}
            cells += f"{row[scheme]['spikes']:10.2f} a value, {row[scheme]['silent']:5.1f} % of {len(made.weights):3}"
        rows.append(row)
        small = 100 * float((counts.abs() <= 7).double().mean())
        accuracy = f"{np.mean(row['accuracy']):.1f} +- {np.std(row['accuracy']):.1f}"
        print(f"{k:4g}{accuracy:>16}{small:17.1f}{cells}")
        if k == 3.0:
            kept = found[0][1]
    window = kept[kept.abs() <= 7]
    made = encode(window, "bitwise", 3)
    print(f"\nk = 3, counts of at most 7 in 3 bitwise steps: {made.events / window.numel():.2f} spikes a value, "
          f"{100 * made.sparsity:.1f} % silent (the report: {REPORT['spikes']}, {REPORT['silent']} %, "
          f"{REPORT['small']} % of counts at most 7)")  # fmt: skip
    spike_by_spike(models[0], kept[-1])
    draw(rows, float(np.mean(plain)), kept[0, 0], out)
    print(f"picture: {out}")
    return Path(out)


@torch.no_grad()
def coded_plain(model: Gated, data: tuple[Tensor, ...]) -> float:
    """Return the accuracy (%) in floats."""
    return 100 * float((model(data[2]).argmax(1) == data[3]).double().mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="spike_coding.png", help="the picture (default: spike_coding.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
