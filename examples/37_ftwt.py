"""Compute only the filters that a small head expects to fire: fire together, wire together.

Two convolutions (16 and 32 filters) classify the built-in event-camera digits, counted over the whole recording. Each
has a head that looks at its input's channels and chooses filters (arXiv:2110.08232); the heads learn by themselves
which filters carry a share r of the activation. Left: accuracy over multiply-accumulates, dense, and for several r,
with heads that train alone (decoupled), with the layers below (joint), or alone on channel means without the published
softmax. Right: how often each filter of the second layer is used, by digit. Here every head comes to choose the same
filters for all inputs, no better than the best constant choice: what is found, and saves, is static pruning.
The paper, VGG-16 on CIFAR-10: 93.82 % dense; 93.55 % with 65 % fewer operations (joint), 93.73 % with 56 % (decoupled).
Run: python examples/37_ftwt.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from spikeframe import datasets
from spikeframe.modules.ftwt import FTWTConv, kept_filters
from spikeframe.plots import style
from spikeframe.training import FrameCache, epoch_order

SHARES, SHOWN = (0.5, 0.7, 0.85, 0.95), 0.7
KINDS = ("decoupled", "joint", "no softmax")
Data = dict[str, tuple[Tensor, Tensor]]


class Classifier(nn.Module):
    """Two convolutions and a linear readout; r = None computes every filter."""

    def __init__(self, r: float | None, kind: str) -> None:
        super().__init__()
        self.dense = r is None

        def layer(inputs: int, filters: int) -> FTWTConv:
            conv = nn.Conv2d(inputs, filters, 3, stride=2, padding=1, bias=False)
            share, joint, softmax = 1.0 if r is None else r, kind == "joint", kind != "no softmax"
            return FTWTConv(conv, nn.BatchNorm2d(filters), r=share, decoupled=not joint, softmax=softmax)

        self.first, self.second = layer(2, 16), layer(16, 32)
        self.readout = nn.Linear(32 * 25, 10)
        if r is None:  # heads that choose everything and never learn
            for layer in (self.first, self.second):
                nn.init.zeros_(layer.head.weight)
                nn.init.ones_(layer.head.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return logits, the heads' loss, and the masks of both layers."""
        hidden, one = self.first(x)
        hidden, two = self.second(hidden)
        return self.readout(hidden.flatten(1)), one.loss + two.loss, [one.mask, two.mask]


def load(samples: int | None) -> Data:
    """Return events per pixel of every recording, and the digits."""
    found = {}
    for split in ("train", "test"):
        frames = FrameCache(datasets.load("digits", split=split), n_time_bins=1, dt=310.0, pool=2, samples=samples)
        x, labels = frames.batch(range(len(frames)))
        found[split] = (torch.log1p(x[0]), labels)
    return found


def train(data: Data, r: float | None, kind: str, seed: int, epochs: int) -> Classifier:
    """Train one network; heads are frozen after half of the epochs."""
    torch.manual_seed(seed)
    model, (x, labels) = Classifier(r, kind), data["train"]
    heads = [p for name, p in model.named_parameters() if "head" in name]
    rest = [p for name, p in model.named_parameters() if "head" not in name]
    optimizer = torch.optim.Adam([{"params": rest, "lr": 2e-3}, {"params": heads, "lr": 5e-2}])
    for epoch in range(epochs):
        learning = not model.dense and epoch < (epochs + 1) // 2
        for part in np.array_split(epoch_order(len(x), seed, epoch), max(1, len(x) // 64)):
            optimizer.zero_grad()
            scores, guess, _ = model(x[part])
            loss = nn.functional.cross_entropy(scores, labels[part])
            (loss + guess if learning else loss).backward()
            for head in heads:
                head.grad = head.grad if learning else None
            optimizer.step()
    return model.eval()


@torch.no_grad()
def measure(model: Classifier, data: Data) -> dict[str, float]:
    """Return accuracy (%), share of the dense operations, how often the second head is right, and a constant (%)."""
    x, labels = data["test"]
    scores, _, masks = model(x)
    one, two = model.first.operations(masks[0], 9, 9), model.second.operations(masks[1], 5, 5, masks[0])
    done, dense = (one[key] + two[key] for key in ("dense_mac", "dense_equiv_mac"))
    head = 0 if not model.dense else len(x) * (2 * 16 + 16 * 32)  # a dense network has no heads to pay for
    hidden = model.first(x)[0]
    wanted = kept_filters(torch.relu(model.second.norm(model.second.conv(hidden))), model.second.r)
    right = (masks[1] == wanted).double().mean()
    constant = (wanted == (wanted.double().mean(0) > 0.5)).double().mean()
    return {
        "accuracy": 100 * float((scores.argmax(1) == labels).float().mean()),
        "cost": (done - head) / dense,
        "heads": 100 * float(right),
        "constant": 100 * float(constant),
    }


@torch.no_grad()
def usage(model: Classifier, data: Data) -> NDArray[np.float64]:
    """Return how often each filter of the second layer is used for each digit, ``[10, 32]``."""
    x, labels = data["test"]
    mask = model(x)[2][1].double()
    return torch.stack([mask[labels == digit].mean(0) for digit in range(10)]).numpy()


def main(quick: bool = False, out: str = "ftwt.png") -> Path:
    """Train all networks, print the table, and return the path of the picture."""
    samples, epochs, seeds, shares = (200, 1, 1, (SHOWN,)) if quick else (None, 10, 3, SHARES)
    data = load(samples)
    used: dict[str, NDArray[np.float64]] = {}
    found: dict[tuple[str, float | None], list[dict[str, float]]] = {}
    for seed in range(seeds):
        for kind, r in (("dense", None), *((kind, r) for kind in KINDS for r in shares)):
            model = train(data, r, kind, seed, epochs)
            found.setdefault((kind, r), []).append(measure(model, data))
            if r == SHOWN:
                used[kind] = usage(model, data)
    print(f"{seeds} seeds, mean +- standard deviation\n")
    print(f"{'':20}{'accuracy (%)':>16}{'operations':>18}{'second head right, best constant (%)':>38}")
    figure = Figure(figsize=(10, 3.3), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    colours = {"dense": style.INK, **dict(zip(KINDS, (style.BLUE, style.ORANGE, style.GREEN), strict=True))}
    for (kind, r), runs in found.items():
        accuracy, cost, heads, constant = (np.array([run[key] for run in runs]) for key in runs[0])
        name = kind if r is None else f"{kind}, r = {r}"
        print(f"{name:20}{f'{accuracy.mean():.1f} +- {accuracy.std():.1f}':>16}"
              f"{f'{cost.mean():.3f} +- {cost.std():.3f}':>18}{heads.mean():22.1f}{constant.mean():16.1f}")  # fmt: skip
        left.errorbar(cost.mean(), accuracy.mean(), accuracy.std(), cost.std(), fmt="o", markersize=4, linewidth=1,
                      color=colours[kind], label=kind if r in (None, SHOWN) else None)  # fmt: skip
    style.tidy(left, "Accuracy over operations", "multiply-accumulates, dense = 1", "test accuracy (%)")
    style.legend(left)
    shown = used["no softmax"]
    picture = right.imshow(
        shown[:, np.argsort(-shown.mean(0), kind="stable")], aspect="auto", vmin=0, vmax=1, cmap="Blues"
    )
    figure.colorbar(picture, ax=right, label="used (share of the inputs)")
    mixed = {kind: int(((n := share.mean(0)) > 0.05).sum() - (n >= 0.95).sum()) for kind, share in used.items()}
    title = f"Second layer, no softmax, r = {SHOWN}: {mixed['no softmax']} of 32 filters depend on the input"
    style.tidy(right, title, "filter, most used first", "digit", grid=None)
    right.set_yticks(range(10))
    for kind, count in mixed.items():
        print(f"{kind}, r = {SHOWN}: {count} of 32 filters of the second layer are used for some inputs only")
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="ftwt.png", help="the picture (default: ftwt.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
