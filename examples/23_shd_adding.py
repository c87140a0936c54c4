"""One ELM neuron adds spoken digits: two words as spikes of 700 cochlear channels, their sum as the answer.

SHD-Adding (Spieler et al. 2023, arXiv:2306.16922) asks to remember the first word while the second is heard. The words
come from any set in SHD's layout (`--data`); pairs are drawn anew for training and test, from the set's own parts. An
ELM neuron is compared with itself with fast memories alone (at most 50 ms), which cannot bridge a word, and with a LIF
network of as many weights. Without data the same is done with words of random spikes, to show that it works.
Run: python examples/23_shd_adding.py --data FOLDER [--quick] [--seeds N] [--runs DIR] [--out FILE]. About two minutes a
training; with --runs a finished one is kept there and not done again. Ends in a picture.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from spikeframe import datasets
from spikeframe.datasets.base import EventDataset
from spikeframe.datasets.events import make_events
from spikeframe.datasets.shd_adding import SHDAdding
from spikeframe.modules.elm import ELM
from spikeframe.neurons import LI, LIF, Sequential
from spikeframe.training import FrameCache

DT, WORD, POOL, SUMS, MEMORIES = 10.0, 600.0, 5, 19, 60
MODELS = {"ELM": "#0072b2", "ELM, fast memories": "#56b4e9", "LIF network": "#d55e00"}


class Words(EventDataset):
    """Ten words of random spikes in SHD's layout, in place of recordings."""

    def __init__(self, count: int) -> None:
        super().__init__(np.arange(count) % 10, (700, 1, 1), [str(n) for n in range(10)], None, None)

    def events(self, number: int) -> Any:
        """Return the spikes of a word: channels of its own, at random times."""
        random = np.random.default_rng(number)
        t = np.sort(random.integers(0, 500_000, 100))
        return make_events(70 * (number % 10) + random.integers(0, 70, 100), np.zeros(100, int), t, np.ones(100, int))


def load(folder: str | None, split: str, samples: int) -> FrameCache:
    """Return sums of words as counts ``[T, 1, 1, channels]`` in windows."""
    base = datasets.load("shd", folder, split) if folder else Words(100)
    pairs = SHDAdding(base, samples, seed={"train": 1, "validation": 2, "test": 3}[split], length=WORD)
    return FrameCache(pairs, n_time_bins=round(2 * WORD / DT), dt=DT, pool=POOL)


def model(name: str, channels: int) -> nn.Module:
    """Return an untrained model; all have about as many weights."""
    if name == "LIF network":
        hidden = 155
        return Sequential(nn.Linear(channels, hidden), LIF(tau_m=200.0, dt=DT, reset="value", learnable=["tau_m"]),
                          nn.Linear(hidden, SUMS), LI(tau_m=400.0, dt=DT))  # fmt: skip
    longest = 1500.0 if name == "ELM" else 50.0
    return ELM(channels, SUMS, MEMORIES, DT, tau_m=(DT, longest), tau_s=DT, hidden=90, activation="silu")


def scores(model_: nn.Module, x: Tensor) -> Tensor:
    """Return logits ``[B, sums]``: the mean output of the last tenth."""
    out, _ = model_(x.flatten(2).sqrt())
    return out[-len(out) // 10 :].mean(0)


def train(name: str, frames: dict[str, FrameCache], seed: int, epochs: int) -> dict[str, Any]:
    """Train, and return the test accuracy (%) after every epoch and the number of parameters."""
    torch.manual_seed(seed)
    torch.set_flush_denormal(True)
    network = model(name, frames["train"].shape[3])
    optimiser = torch.optim.Adam(network.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    curve = []
    for epoch in range(epochs):
        for x, labels in frames["train"].batches(64, seed, epoch):
            loss = nn.functional.cross_entropy(scores(network, x), labels)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
        schedule.step()
        with torch.no_grad():
            right = [(scores(network, x).argmax(1) == y).double() for x, y in frames["test"].batches(200)]
        curve.append(100 * float(torch.cat(right).mean()))
    return {"model": name, "seed": seed, "curve": curve, "parameters": sum(p.numel() for p in network.parameters())}


def draw(rows: list[dict[str, Any]], chance: float, frames: FrameCache, out: str) -> None:
    """Draw one pair of words, and accuracy over epochs."""
    figure = Figure(figsize=(10, 3.6), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    x, label = frames[0]
    step, channel = x[:, 0, 0].nonzero().T
    left.plot(step * DT, channel * POOL, ".", color="#24292f", markersize=1)
    left.axvline(WORD, color="#8b949e", linestyle=":")
    left.set(xlabel="time (ms)", ylabel="channel", title=f"two words, their sum is {label}", xlim=(0, 2 * WORD))
    for name, colour in MODELS.items():
        curves = np.array([row["curve"] for row in rows if row["model"] == name])
        epochs = np.arange(1, curves.shape[1] + 1)
        right.plot(epochs, curves.T, color=colour, linewidth=0.6, alpha=0.6)
        right.plot(epochs, curves.mean(0), color=colour, label=name)
    right.axhline(chance, color="#8b949e", linestyle=":", label="the most frequent sum")
    right.set(xlabel="epoch", ylabel="test accuracy (%)", ylim=(0, 100))
    right.legend(frameon=False, fontsize=8)
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)


def main(
    data: str | None, quick: bool = False, seeds: int = 3, runs: str | None = None, out: str = "shd_adding.png"
) -> Path:
    """Train all, print the table, and return the path of the picture."""
    many, epochs, seeds = (64, 1, 1) if quick else (3000, 12, seeds)
    frames = {split: load(data, split, size) for split, size in (("train", many), ("test", max(many // 3, 20)))}
    chance = 100 * float(np.bincount(frames["test"].labels).max() / len(frames["test"]))
    rows = []
    for seed in range(seeds):
        for name in MODELS:
            kept = Path(runs) / f"{name}-{seed}.json".replace(" ", "_") if runs else None
            if kept and kept.is_file():
                row = json.loads(kept.read_text(encoding="utf-8"))
            else:
                row = train(name, frames, seed, epochs)
                if kept:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    kept.write_text(json.dumps(row), encoding="utf-8")
            rows.append(row)
    words = "recorded words" if data else "words of random spikes, in place of recordings"
    print(f"{words}: {many} sums to train on, {len(frames['test'])} to test, {seeds} seeds; the most frequent sum: "
          f"{chance:.1f} %")  # fmt: skip
    for name in MODELS:
        last = np.array([row["curve"][-1] for row in rows if row["model"] == name])
        parameters = next(row["parameters"] for row in rows if row["model"] == name)
        print(f"{name:20}{parameters:7} parameters  {last.mean():5.1f} +- {last.std():.1f} %")
    draw(rows, chance, frames["test"], out)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FOLDER", help="folder that holds a set in SHD's layout")
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="trainings of each model (default: 3)")
    parser.add_argument("--runs", metavar="DIR", help="folder for finished trainings")
    parser.add_argument("--out", default="shd_adding.png", help="the picture (default: shd_adding.png)")
    options = parser.parse_args()
    main(options.data, options.quick, options.seeds, options.runs, options.out)
