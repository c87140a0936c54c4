"""Layers that answer to changes: how much work is left, and what it costs in accuracy.

A two-layer network looks at the built-in event-camera digits through a leaky trace of each pixel, so what it sees moves
little from step to step. Its layers are `DeltaLinear`: an input is sent again only when it has changed by more than a
threshold. Three ways are compared by the multiply-accumulates left of the dense layers': thresholds put on a network
that was trained without, training with them (straight-through), and `DeltaActivation`, which learns the step of a
quantiser under a penalty on changes (Yousefzadeh and Sifalakis 2021, arXiv:2107.07305: almost three times sparser at
little loss, on videos; here its steps hardly widen: the rates are too small for so few updates). Skipping zeros alone,
as event-driven layers do without memory, is the grey line. At last the event-driven run does the counted work and gives
the same outputs.
Run: python examples/19_delta_activations.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from spikeframe import datasets
from spikeframe.modules.changes import sparsity_penalty
from spikeframe.modules.delta import DeltaLinear
from spikeframe.modules.delta_activation import DeltaActivation
from spikeframe.neurons import LI
from spikeframe.training import FrameCache

DT, STEPS, TAU, HIDDEN = 10.0, 31, 50.0, 64
THRESHOLDS = (0.0, 0.1, 0.2, 0.4, 0.8)
RATES = (0.0, 1e-3, 3e-3, 1e-2)
WAYS = {"threshold after training": "#d55e00", "threshold in training": "#009e73", "learnt steps": "#0072b2"}


class Network(nn.Module):
    """Two delta layers, each behind a threshold or a learnt quantiser."""

    def __init__(self, inputs: int, threshold: float = 0.0, learnt: bool = False) -> None:
        super().__init__()
        self.first = DeltaLinear(nn.Linear(inputs, HIDDEN), threshold)
        self.second = DeltaLinear(nn.Linear(HIDDEN, 10), threshold)
        self.codes = nn.ModuleList([DeltaActivation(0.1), DeltaActivation(0.1)]) if learnt else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean output, the penalty, and multiply-accumulates ``[sent, of non-zeros, dense]``."""
        penalty, macs = torch.zeros(()), torch.zeros(3, dtype=torch.float64)
        for k, layer in enumerate((self.first, self.second)):
            x = self.codes[k](x) if self.codes else torch.relu(x)
            run = layer.run(x)
            penalty = penalty + sparsity_penalty(run.changes, layer.fan_out)
            sent = torch.tensor([run.changes.sent, int(x.count_nonzero()), x.numel()], dtype=torch.float64)
            macs, x = macs + layer.fan_out * sent, run.out
        return x.mean(0), penalty, macs


def traces(frames: FrameCache) -> tuple[Tensor, Tensor]:
    """Return the pixels' traces ``[T, N, pixels]``, about 1 where something is, and the labels."""
    x, labels = frames.batch(range(len(frames)))
    return LI(tau_m=TAU, dt=DT)(x.flatten(2))[0] * (DT / TAU), labels


def train(network: Network, data: tuple[Tensor, Tensor], seed: int, epochs: int, rate: float = 0.0) -> Network:
    """Train in the clocked form."""
    x, labels = data
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(epochs):
        for part in torch.randperm(len(labels), generator=generator).split(64):
            out, penalty, _ = network(x[:, part])
            loss = nn.functional.cross_entropy(out, labels[part]) + rate * penalty
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network


@torch.no_grad()
def test(network: Network, data: tuple[Tensor, Tensor]) -> tuple[float, float, float]:
    """Return accuracy (%), and shares of the dense work: what changes cause, and what non-zeros would."""
    out, _, macs = network(data[0])
    return 100 * float((out.argmax(1) == data[1]).double().mean()), *(macs[:2] / macs[2]).tolist()


def seeded(seed: int, inputs: int, **options: Any) -> Network:
    """Return an untrained network of a seed."""
    torch.manual_seed(seed)
    return Network(inputs, **options)


def with_threshold(network: Network, threshold: float) -> Network:
    """Return the trained layers behind a threshold."""
    other = Network(network.first.dense.in_features, threshold)
    other.first.dense, other.second.dense = network.first.dense, network.second.dense
    return other


@torch.no_grad()
def on_events(network: Network, x: Tensor) -> None:
    """Run one recording on events, and print that work and outputs are those of the clocked form."""
    layer = network.first
    seen = torch.relu(x[:, :1])
    run, clocked = layer.event_driven()(seen), layer.run(seen)
    print(f"first layer on events, one recording: {int(run.macs.sum()):,} of {run.dense_macs:,} multiply-accumulates, "
          f"{clocked.changes.sent * int(layer.fan_out):,} counted; largest difference "
          f"{float((run.out - clocked.out).abs().max()):.1e}")  # fmt: skip


def draw(points: dict[str, list[tuple[float, list[tuple[float, ...]]]]], out: str) -> None:
    """Draw accuracy over the share of work left."""
    figure = Figure(figsize=(7, 4), layout="constrained", facecolor="white")
    ax: Any = figure.subplots()
    for way, rows in points.items():
        found = np.array([runs for _, runs in rows])  # [setting, seed, accuracy and shares]
        ax.plot(100 * found[:, :, 1], found[:, :, 0], ".", color=WAYS[way], markersize=4)
        ax.plot(100 * found[:, :, 1].mean(1), found[:, :, 0].mean(1), color=WAYS[way], label=way)
    dense = np.array(points["threshold after training"][0][1])
    ax.axvline(100 * dense[:, 2].mean(), color="#8b949e", linestyle=":", label="skipping zeros alone")
    ax.set(xlabel="multiply-accumulates left (% of dense)", ylabel="test accuracy (%)")
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(*ax.get_legend_handles_labels(), frameon=False, fontsize=8, ncols=4, loc="outside upper center")
    figure.savefig(out, dpi=120)


def main(quick: bool = False, out: str = "delta_activations.png") -> Path:
    """Train and test all, print the table, and return the path of the picture."""
    samples, epochs, seeds, every = (60, 1, 1, 3) if quick else (None, 8, 3, 1)
    training, testing = (
        traces(FrameCache(datasets.load("digits", split=s), n_time_bins=STEPS, dt=DT, pool=4, samples=samples))
        for s in ("train", "test")
    )
    inputs = training[0].shape[2]
    plain = [train(seeded(seed, inputs), training, seed, epochs) for seed in range(seeds)]
    points: dict[str, list[tuple[float, list[tuple[float, ...]]]]] = {way: [] for way in WAYS}
    for theta in THRESHOLDS[::every]:
        after = [test(with_threshold(network, theta), testing) for network in plain]
        points["threshold after training"].append((theta, after))
        if theta:  # at 0 the two are the same
            trained = [train(seeded(s, inputs, threshold=theta), training, s, epochs) for s in range(seeds)]
            after = [test(network, testing) for network in trained]
        points["threshold in training"].append((theta, after))
    for rate in RATES[::every]:
        learnt = [train(seeded(s, inputs, learnt=True), training, s, epochs, rate) for s in range(seeds)]
        points["learnt steps"].append((rate, [test(network, testing) for network in learnt]))
    print(f"{seeds} seeds; threshold, or rate of the penalty; accuracy; work left, of dense\n")
    for way, rows in points.items():
        for setting, runs in rows:
            a, share, _ = np.array(runs).T
            print(f"{way:26}{setting:8g}{a.mean():8.1f} +- {a.std():.1f} %{100 * share.mean():9.1f} %")
    zeros = np.mean([run[2] for run in points["threshold after training"][0][1]])
    print(f"{'skipping zeros alone':26}{'':24}{100 * zeros:9.1f} %\n")
    on_events(with_threshold(plain[0], THRESHOLDS[2]), testing[0])
    draw(points, out)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="delta_activations.png", help="the picture (default: delta_activations.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
