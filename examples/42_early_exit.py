"""Early exit in time: heads and gates learn together when enough of a recording has been seen.

64 LIF neurons watch the first 120 ms of the built-in event digits; heads at some steps read the spikes so far, gates
decide from the heads' uncertainty whether a recording may leave (JEI-DNN, Regol et al. 2023, arXiv:2310.09163, who
exit in depth). Gates learn from recordings that the heads do not: on those they know, heads are sure too early. A
price λ on steps is swept; beside it, the same heads at fixed steps. Later events of a recording that has left are
never looked at. The paper reports curves above those of thresholds on confidence, no single figure.
Run: python examples/42_early_exit.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from spikeframe import datasets
from spikeframe.modules.moe.recipes.jei_dnn import EarlyExit, jei_dnn
from spikeframe.training import FrameCache

DT, STEPS = 10.0, 12
EXITS = (2, 3, 4, 6, 8, 12)
PRICES = (0.1, 0.3, 1.0, 3.0)
Data = tuple[Tensor, Tensor]


def train(layer: EarlyExit, data: Data, others: Data, epochs: int) -> EarlyExit:
    """Train the heads alone for a third of the time, then heads and gates; the gates on recordings new to the heads."""
    x, labels = data
    optimiser = torch.optim.Adam(layer.parameters(), 5e-3)
    for epoch in range(epochs):
        for part in torch.randperm(len(labels)).split(64):
            logits = layer.all_logits(x[:, part])
            if epoch < epochs // 3:
                loss = layer.warm_loss(logits, labels[part])
            else:
                new = torch.randperm(len(others[1]))[:64]
                found = layer.all_logits(others[0][:, new]).detach()
                loss = layer.head_loss(logits, labels[part]) + layer.gate_loss(found, others[1][new])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return layer


@torch.no_grad()
def test(layer: EarlyExit, data: Data) -> tuple[float, float, float, list[float]]:
    """Return accuracy, mean steps, synaptic operations per recording, and the accuracy of every head on all."""
    x, labels = data
    run = layer.event_driven()
    y, _ = run(x)
    heads = [100 * float((z.argmax(1) == labels).double().mean()) for z in layer.all_logits(x)]
    ops = (run.counts.syn_ac + run.counts.syn_mac + run.counts.dense_mac) / len(labels)
    accuracy = 100 * float((y[-1].argmax(1) == labels).double().mean())
    return accuracy, float(run.steps.double().mean()), ops, heads


def main(quick: bool = False, out: str = "early_exit.png") -> Path:
    """Train and test, print the table, and return the path of the picture."""
    samples, epochs, prices = (80, 3, PRICES[:2]) if quick else (None, 18, PRICES)
    data = []
    for split in ("train", "validation", "test"):
        frames = FrameCache(datasets.load("digits", split=split), n_time_bins=STEPS, dt=DT, pool=4, samples=samples)
        x, labels = frames.batch(range(len(frames)))
        data.append((x.flatten(2).clamp(max=1.0), labels))
    rows = []
    print("   price   accuracy   mean steps   synaptic operations per recording")
    for price in prices:
        torch.manual_seed(0)
        layer = jei_dnn(data[0][0].shape[2], 10, exits=EXITS, price=price)
        nn.init.normal_(layer.body.layer.weight, 0.0, 0.3)
        rows.append(test(train(layer, data[0], data[1], epochs), data[2]))
        print(f"{price:8g}{rows[-1][0]:9.1f} %{rows[-1][1]:13.1f}{rows[-1][2]:16,.0f}")
    fixed = [sum(r[3][i] for r in rows) / len(rows) for i in range(len(EXITS))]
    print("heads at fixed steps (mean of the networks): "
          + ", ".join(f"{step}: {a:.1f} %" for step, a in zip(EXITS, fixed, strict=True)))  # fmt: skip
    figure = Figure(figsize=(5.4, 3.8), layout="constrained", facecolor="white")
    ax: Any = figure.subplots()
    ax.plot(EXITS, fixed, "s-", color="#8b949e", label="fixed step")
    ax.plot([r[1] for r in rows], [r[0] for r in rows], "o", color="#0072b2", label="learned exits, by price")
    for price, row in zip(prices, rows, strict=True):
        ax.annotate(f"{price:g}", (row[1], row[0]), textcoords="offset points", xytext=(-7, -3), ha="right",
                    fontsize=8)  # fmt: skip
    ax.set(xlabel="steps looked at, mean", ylabel="test accuracy (%)", xlim=(0, STEPS + 1))
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="early_exit.png", help="the picture (default: early_exit.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
