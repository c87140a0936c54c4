"""Learn five tasks one after the other without forgetting: Hebbian learning based orthogonal projection.

A spiking network (100 LIF neurons) learns the built-in event-camera digits, then the same with the pixels permuted,
four times, with one shared readout and no data of earlier tasks. Lateral connections learn the subspace in which each
task's activity lies (arXiv:2402.11984); updates keep out of the subspaces of finished tasks. Left and middle: what is
left of earlier tasks, with and without. Right: how much of the activity the Hebbian rows hold, beside the best that so
many rows can (PCA). The paper's figures, on other data (ten permuted MNISTs): average 95.15 %, backward transfer -1.30.
Run: python examples/32_hlop.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from spikeframe import datasets
from spikeframe.learning_rules.hlop import HLOP
from spikeframe.neurons import LI, LIF, Sequential
from spikeframe.plots import style
from spikeframe.training import FrameCache, logits
from spikeframe.training.continual import PermutedTask, TaskScores, learn_tasks

HIDDEN, STEPS, DT, TAU, TASKS = 100, 10, 31.0, 100.0, 5
ROWS = {"1": [100] * TASKS, "3": [30, 17, 17, 17, 17]}
LABELS = {"plain": "unprotected", "hlop": "HLOP"}


def network(frames: FrameCache, seed: int) -> Sequential:
    """Return a network of one hidden layer, without biases."""
    torch.manual_seed(seed)
    inputs = int(np.prod(frames.shape[1:]))
    model = Sequential(
        nn.Flatten(),
        nn.Linear(inputs, HIDDEN, bias=False),
        LIF(tau_m=TAU, dt=DT),
        nn.Linear(HIDDEN, 10, bias=False),
        LI(tau_m=TAU, dt=DT),
    )
    nn.init.normal_(model[1].weight, std=(inputs * frames.density * TAU / DT) ** -0.5)
    return model


def learn(tasks: list[PermutedTask], kind: str, seed: int, epochs: int) -> tuple[TaskScores, HLOP]:
    """Learn all tasks, protected or not; lateral connections learn in both."""
    model = network(tasks[0].train, seed)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    hlop = HLOP(model, ROWS, iterations=3, seed=seed)

    def step(x: Tensor, labels: Tensor, _: Any) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits(model(x)), labels).backward()
        if kind == "plain":
            optimizer.step()
            return
        hlop.learn()
        with hlop.changing():
            optimizer.step()

    scores = learn_tasks(model, tasks, step, epochs=epochs, seed=seed, end_task=lambda _: hlop.end_task())
    return scores, hlop


def captured(hlop: HLOP, tasks: list[PermutedTask]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of the first task's input activity (held-out recordings) within the first k rows, and by PCA.

    Rows span a subspace without an order of their own, so they are turned to the subspace's principal axes.
    """

    def activity(batches: Any) -> Tensor:
        return torch.cat([x.flatten(0, 1).flatten(1) for x, _ in batches]).double()

    train, test = activity(tasks[0].train.batches(256)), activity(tasks[0].tests(256))
    rows = hlop["1"].H[: ROWS["1"][0]].double()
    basis = torch.linalg.qr(rows.T)[0]
    shares = []
    for axes in (basis @ torch.linalg.svd(train @ basis, full_matrices=False)[2].T,
                 torch.linalg.svd(train, full_matrices=False)[2][: len(rows)].T):  # fmt: skip
        shares.append(((test @ axes).square().sum(0).cumsum(0) / test.square().sum()).numpy())
    return shares[0], shares[1]


def draw(found: dict[str, list[TaskScores]], shares: tuple[NDArray[np.float64], ...], out: str) -> None:
    """Draw the three panels."""
    figure = Figure(figsize=(11, 3.3), layout="constrained", facecolor="white")
    left, middle, right = figure.subplots(1, 3)
    place = np.arange(1, len(found["hlop"][0].accuracy) + 1)
    for kind, colour in (("plain", style.ORANGE), ("hlop", style.BLUE)):
        for run in found[kind]:
            seen = [100 * np.nanmean(row) for row in run.accuracy]
            left.plot(place, seen, "o-", color=colour, markersize=3, linewidth=1,
                      label=LABELS[kind] if run is found[kind][0] else None)  # fmt: skip
            middle.plot(place, 100 * run.accuracy[:, 0], "o-", color=colour, markersize=3, linewidth=1)
    for axes, title in ((left, "Mean of the tasks seen so far"), (middle, "The first task")):
        style.tidy(axes, title, "tasks learnt", "test accuracy (%)")
        axes.set(ylim=(0, 100), xticks=place)
    style.legend(left, loc="lower left")
    for share, label, colour in zip(shares, ("Hebbian rows", "PCA"), (style.BLUE, style.INK), strict=True):
        right.plot(np.arange(1, len(share) + 1), 100 * (1 - share), color=colour, label=label)
    style.tidy(right, "Input activity outside the subspace", "principal axes of the rows", "share (%)")
    right.set_yscale("log")
    right.set_yticks([3, 5, 10, 20, 40, 60], ["3", "5", "10", "20", "40", "60"], minor=False)
    right.minorticks_off()
    style.legend(right)
    figure.savefig(out, dpi=120)


def main(quick: bool = False, out: str = "hlop.png") -> Path:
    """Learn with and without protection, print the table, and return the path of the picture."""
    samples, epochs, seeds, count = (60, 1, 1, 2) if quick else (None, 4, 3, TASKS)
    train, test = (
        FrameCache(datasets.load("digits", split=split), n_time_bins=STEPS, dt=DT, pool=2, samples=samples)
        for split in ("train", "test")
    )
    found: dict[str, list[TaskScores]] = {"plain": [], "hlop": []}
    for seed in range(seeds):
        tasks = [PermutedTask(train, test, number, seed) for number in range(count)]
        for kind, runs in found.items():
            scores, hlop = learn(tasks, kind, seed, epochs)
            runs.append(scores)
            print(f"seed {seed}, {LABELS[kind]}: {np.array2string(100 * scores.accuracy[-1], precision=1)}", flush=True)
    print(f"\n{count} permuted tasks, {seeds} seeds, mean +- standard deviation, %\n")
    print(f"{'':14}{'average':>14}{'backward transfer':>22}{'forgetting':>14}{'when learnt':>14}")
    for kind, runs in found.items():
        values = 100 * np.array(
            [(r.average, r.backward_transfer, r.forgetting, r.accuracy.diagonal().mean()) for r in runs]
        )
        cells = [f"{m:.1f} +- {s:.1f}" for m, s in zip(values.mean(0), values.std(0), strict=True)]
        print(f"{LABELS[kind]:14}{cells[0]:>14}{cells[1]:>22}{cells[2]:>14}{cells[3]:>14}")
    shares = captured(hlop, tasks)
    print(f"first task's input activity outside its {ROWS['1'][0]} rows: {100 * (1 - shares[0][-1]):.2f} %, "
          f"PCA {100 * (1 - shares[1][-1]):.2f} %")  # fmt: skip
    draw(found, shares, out)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="hlop.png", help="the picture (default: hlop.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
