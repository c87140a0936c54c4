"""Gates that decide what is computed: four gradient estimators on one gated network, and what the gates save.

A layer of 20 groups of 8 rectified units classifies scikit-learn's handwritten digits; a small gater decides for every
digit which groups are computed, and a penalty asks for a tenth of them. A gate is all or nothing, so its gradient is an
estimate: straight-through, smooth times random, noisy rectifier, or REINFORCE with the baseline of least variance
(Bengio, Léonard and Courville 2013, arXiv:1308.3432, who train such networks on MNIST and find the four close together,
straight-through and the noisy rectifier ahead). Beside them: the whole layer without gates, and a plain layer of about
the gated one's work, the gater's included: on a task this small it is the better one.
Run: python examples/20_conditional_computation.py [--quick] [--out FILE]. Ends in a picture.
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

from spikeframe.learning_rules.conditional import ConditionalLinear, switched
from spikeframe.learning_rules.stochastic import (
    Baseline,
    bernoulli,
    gaussian_noise,
    noisy,
    reinforce,
    smooth_times_random,
)  # fmt: skip

GROUPS, SIZE, TARGET, TRAINING = 20, 8, 0.1, 1200
GATES = {
    "straight-through": switched,
    "smooth times random": smooth_times_random,
    "noisy rectifier": lambda a, u: noisy(a, gaussian_noise(u)),
    "REINFORCE": bernoulli,
}
PLAIN = {"all groups, no gates": GROUPS * SIZE, "plain layer of like work": 40}
Data = tuple[Tensor, Tensor, Tensor, Tensor]


def digits() -> Data:
    """Return training and test scans, standardised, with their labels."""
    x, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = torch.tensor(x[order] / 8.0 - 1.0, dtype=torch.float32), torch.from_numpy(labels[order])
    return x[:TRAINING], y[:TRAINING], x[TRAINING:], y[TRAINING:]


def gated(name: str, seed: int, data: Data, epochs: int) -> tuple[ConditionalLinear, nn.Linear]:
    """Train a gated layer and its readout."""
    torch.manual_seed(seed)
    layer = ConditionalLinear(64, GROUPS, SIZE, hidden=16, target=TARGET, gate=GATES[name])
    readout = nn.Linear(GROUPS * SIZE, 10)
    optimiser = torch.optim.Adam([*layer.parameters(), *readout.parameters()], 3e-3)
    baseline = Baseline("minimum")
    for _ in range(epochs):
        for part in torch.randperm(TRAINING).split(64):
            x, labels = data[0][part], data[1][part]
            y, gates, probability = layer(x, torch.rand(len(x), GROUPS))
            losses = nn.functional.cross_entropy(readout(y), labels, reduction="none")
            loss = losses.mean() + 0.05 * layer.penalty(probability)
            if name == "REINFORCE":
                a, h = layer.gater(x), gates.detach()
                loss = loss + reinforce(a, h, losses, baseline.value(a)).mean()
                baseline = baseline.after(a.detach(), h, losses)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return layer, readout


def plain(units: int, seed: int, data: Data, epochs: int) -> nn.Sequential:
    """Train a layer without gates."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, units), nn.ReLU(), nn.Linear(units, 10))
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(epochs):
        for part in torch.randperm(TRAINING).split(64):
            loss = nn.functional.cross_entropy(model(data[0][part]), data[1][part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model


@torch.no_grad()
def test_gated(layer: ConditionalLinear, readout: nn.Linear, data: Data, seed: int) -> tuple[float, float, float]:
    """Return error (%), multiply-accumulates per digit, and the share of open gates; the gates are drawn."""
    torch.manual_seed(seed)
    y, gates, _ = layer(data[2], torch.rand(len(data[2]), GROUPS))
    error = 100 * float((readout(y).argmax(1) != data[3]).double().mean())
    onward = int(gates.count_nonzero()) * SIZE * 10
    work = (layer.operations(gates)["dense_mac"] + onward) / len(gates)
    return error, work, float((gates != 0).double().mean())


@torch.no_grad()
def test_plain(model: nn.Sequential, data: Data) -> tuple[float, float, float]:
    """Return error (%), multiply-accumulates per digit, and 1."""
    error = 100 * float((model(data[2]).argmax(1) != data[3]).double().mean())
    return error, float(sum(p.numel() for p in model.parameters() if p.ndim == 2)), 1.0


def draw(rows: dict[str, list[tuple[float, float, float]]], layer: ConditionalLinear, data: Data, out: str) -> None:
    """Draw error over work, and which gates open for which digit."""
    figure = Figure(figsize=(10, 3.8), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=[1.2, 1])
    for k, (name, runs) in enumerate(rows.items()):
        error, work, _ = np.array(runs).T
        colour = f"C{k}" if name in GATES else ("#24292f", "#8b949e")[name != next(iter(PLAIN))]
        left.plot(work, error, "o" if name in GATES else "s", color=colour, markersize=4, alpha=0.5)
        left.plot(work.mean(), error.mean(), "_", color=colour, markersize=22, markeredgewidth=2.5, label=name)
    left.set(xlabel="multiply-accumulates per digit", ylabel="test error (%)", xlim=(0, None), ylim=(0, None))
    left.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False, fontsize=8)
    with torch.no_grad():
        _, _, probability = layer(data[2])
    opened = torch.stack([probability[data[3] == digit].mean(0) for digit in range(10)])
    order = opened.argmax(0).argsort()
    image: Any = right.imshow(opened[:, order].numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    right.set(
        xlabel="group (sorted)",
        xticks=range(0, GROUPS, 5),
        ylabel="digit",
        yticks=range(10),
        title="probability that a gate opens",
    )
    figure.colorbar(image, ax=right)
    figure.savefig(out, dpi=120)


def main(quick: bool = False, out: str = "conditional_computation.png") -> Path:
    """Train all, print the table, and return the path of the picture."""
    epochs, seeds = (2, 1) if quick else (60, 3)
    data = digits()
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for name in GATES:
        rows[name] = []
        for seed in range(seeds):
            layer, readout = gated(name, seed, data, epochs)
            rows[name].append(test_gated(layer, readout, data, seed))
            if name == next(iter(GATES)):
                shown = layer
    for name, units in PLAIN.items():
        rows[name] = [test_plain(plain(units, seed, data, epochs), data) for seed in range(seeds)]
    print(f"{seeds} seeds, mean and standard deviation over seeds; {len(data[2])} test digits\n")
    print(f"{'':26}{'error (%)':>14}{'work (MAC)':>12}{'open gates (%)':>16}")
    for name, runs in rows.items():
        error, work, opened = np.array(runs).T
        print(
            f"{name:26}{f'{error.mean():.1f} +- {error.std():.1f}':>14}{work.mean():12.0f}{100 * opened.mean():16.1f}"
        )
    draw(rows, shown, data, out)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="conditional_computation.png", help="the picture")
    options = parser.parse_args()
    main(options.quick, options.out)
