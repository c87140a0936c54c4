"""EventProp learns Yin-Yang by the times of single spikes: no time step, no surrogate gradient.

A point of the Yin-Yang pattern (Kriener, Göltz and Petrovici 2022, doi:10.1145/3517343.3517380) becomes five input
spikes, at its coordinates x, y, 1 - x, 1 - y and at a fixed time. The class is the output neuron that fires first. The
gradient of the spike times is exact (Wunderlich and Pehle 2021, doi:10.1038/s41598-021-91786-z, who train
longer and with more hidden neurons; the 15 epochs here reach 90.3 +- 0.7 % with 80). Points are drawn by the published
rule; `--data FOLDER` takes the published ones.
Run: python examples/26_eventprop_yin_yang.py [--quick] [--data FOLDER] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from spikeframe.learning_rules import EventProp
from spikeframe.neurons import LIF, Exp, Sequential

DURATION, HIDDEN, TAU_M, TAU_S = 30.0, 80, 20.0, 5.0  # ms


def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw points ``[n, 4]`` and classes (yin, yang, dot), each class equally often."""
    random, points, labels = np.random.default_rng(seed), [], []
    while len(points) < count:
        x, y = random.random(2)
        if np.hypot(x - 0.5, y - 0.5) > 0.5:
            continue
        left, right = np.hypot(x - 0.25, y - 0.5), np.hypot(x - 0.75, y - 0.5)
        yin = right <= 0.1 or 0.1 < left <= 0.25 or (y > 0.5 and right > 0.25)
        label = 2 if min(left, right) < 0.1 else int(yin)
        if label == len(points) % 3:
            points.append((x, y, 1 - x, 1 - y))
            labels.append(label)
    return np.array(points), np.array(labels)


def spike_times(points: np.ndarray) -> Tensor:
    """Return input spike times ``[n, 5]``, ms: the coordinates spread over 2 to 22 ms, and one spike at 2 ms."""
    times = torch.from_numpy(np.asarray(points, np.float64)) * 20.0 + 2.0
    return torch.cat([times, torch.full((len(times), 1), 2.0, dtype=torch.float64)], 1)


def loss(first: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of the first spike times, and a little for a right one that is late."""
    late = torch.exp(first.gather(1, labels[:, None]) / 6.4) - 1.0
    return nn.functional.cross_entropy(-first / 0.5, labels) + 3e-3 * late.mean()


def evaluate(rule: EventProp, times: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return accuracy (%) and hidden spikes per sample."""
    with torch.no_grad():
        spikes = rule(times)
    right = spikes.first().argmin(1) == labels
    return 100 * float(right.float().mean()), float(spikes.counts(0).sum()) / len(labels)


def train(data: dict[str, tuple[Tensor, Tensor]], seed: int, epochs: int) -> tuple[EventProp, list[float], float]:
    """Train one network; return its rule, the test accuracy after every epoch, and hidden spikes per sample."""
    torch.manual_seed(seed)

    def neurons() -> LIF:
        return LIF(tau_m=TAU_M, receptors=Exp(tau=TAU_S))

    model = Sequential(nn.Linear(5, HIDDEN, bias=False), neurons(), nn.Linear(HIDDEN, 3, bias=False), neurons())
    nn.init.normal_(model[0].weight, 1.5, 0.78)
    nn.init.normal_(model[2].weight, 0.93 * 200 / HIDDEN, 0.1)
    rule = EventProp(model, DURATION)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.05 ** (1 / epochs))
    (times, labels), history = data["train"], []
    for _ in range(epochs):
        for chosen in torch.randperm(len(labels)).split(32):
            spikes = rule(times[chosen])
            optimizer.zero_grad()
            loss(spikes.first(), labels[chosen]).backward()
            optimizer.step()
            with torch.no_grad():  # a neuron that never fires gets no gradient
                silent = spikes.counts(1).sum(0) == 0
                model[2].weight[silent] += 0.1
        scheduler.step()
        history.append(evaluate(rule, *data["test"])[0])
    return rule, history, evaluate(rule, *data["test"])[1]


def main(quick: bool = False, data: str | None = None, out: str = "eventprop_yin_yang.png") -> Path:
    """Train three networks and return the path of the picture."""
    sizes = {"train": 300 if quick else 5000, "test": 100 if quick else 1000}
    sets = {}
    for number, (split, size) in enumerate(sizes.items()):
        if data is None:
            points, labels = draw(size, number)
        else:
            points, labels = (np.load(Path(data) / f"{split}_{part}.npy")[:size] for part in ("samples", "labels"))
        sets[split] = spike_times(points), torch.from_numpy(labels.astype(np.int64))
    runs, started = [], time.perf_counter()
    for seed in range(1 if quick else 3):
        runs.append(train(sets, seed, 1 if quick else 15))
        print(f"seed {seed}: test accuracy {runs[-1][1][-1]:.1f} %, {runs[-1][2]:.0f} hidden spikes a sample, "
              f"{time.perf_counter() - started:.0f} s so far")  # fmt: skip
    last = [history[-1] for _, history, _ in runs]
    spread = f" +- {statistics.stdev(last):.1f}" if len(last) > 1 else ""
    print(f"test accuracy {statistics.mean(last):.1f}{spread} % with {HIDDEN} hidden neurons")

    figure = Figure(figsize=(10, 3.6), layout="constrained", facecolor="white")
    curve, plane, when = figure.subplots(1, 3)
    for seed, (_, history, _) in enumerate(runs):
        curve.plot(range(1, len(history) + 1), history, ".-", label=f"seed {seed}")
    curve.set(title="Test accuracy", xlabel="epoch", ylabel="%")
    curve.xaxis.set_major_locator(MaxNLocator(integer=True))
    curve.legend(fontsize=8)
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 81), np.linspace(0, 1, 81)), -1).reshape(-1, 2)
    grid = grid[np.hypot(*(grid - 0.5).T) <= 0.5]
    with torch.no_grad():
        first = runs[0][0](spike_times(np.concatenate([grid, 1 - grid], 1))).first()
    plane.scatter(*grid.T, c=np.array(["#0072b2", "#e69f00", "#009e73"])[first.argmin(1).numpy()], s=6)
    plane.set(title="Who fires first", xlabel="x", ylabel="y", aspect="equal")
    shown = when.scatter(*grid.T, c=first.min(1).values.numpy(), s=6, cmap="viridis")
    when.set(title="and when", xlabel="x", aspect="equal")
    figure.colorbar(shown, ax=when, label="ms")
    for ax in (curve, plane, when):
        ax.title.set(fontsize=10, horizontalalignment="left", x=0.0)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--data", default=None, help="folder with the published samples (default: draw them)")
    parser.add_argument("--out", default="eventprop_yin_yang.png", help="the picture")
    options = parser.parse_args()
    main(options.quick, options.data, options.out)
