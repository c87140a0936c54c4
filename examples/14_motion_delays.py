"""Synapses with different delays see motion: a logistic layer on the events of moving textures.

A ring of 32 event-camera pixels watches textures that move at one of four velocities; the detector's synapses have
delays of 1 to 9 ms, so the events of an edge that moves at its velocity arrive together. Grimaldi and Perrinet 2023
(doi:10.1007/s00422-023-00975-8) do this on 128 x 128 pixels with 36 motions (91 % correct, chance 2.8 %), prune 437,000
synapses to 652 (670 times fewer) before half of the accuracy is gone, and find that leaving out the longer delays costs
it after a third of them. Here: the same with the maximum over exchanged polarities, and without it, where nothing can
be learned.
Run: python examples/14_motion_delays.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spikeframe.datasets import MotionTask
from spikeframe.modules.motif import MotifDetector, evidence, motif_loss

TASK = MotionTask(directions=2, speeds=(1.0, 2.0), height=1, width=32, steps=40, segment=math.inf)
DELAYS, WIDTH = 9, 17
WARM = DELAYS + 1


def train(polarity_flip: bool, seed: int, iterations: int, samples: int = 128) -> MotifDetector:
    """Train a detector on every place and time."""
    torch.manual_seed(seed)
    x, labels = TASK.batch(0, samples, seed)
    detector = MotifDetector(4, DELAYS, (1, WIDTH), mask="none", polarity_flip=polarity_flip)
    optimiser = torch.optim.Adam(detector.parameters(), lr=3e-2)
    for i in range(iterations):
        part = slice(16 * i % samples, 16 * i % samples + 16)
        loss = motif_loss(detector(x[:, part])[0][WARM:], labels[WARM:, part])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return detector


@torch.no_grad()
def accuracy(detector: MotifDetector, seed: int, count: int) -> float:
    """Return the share of time steps at which the field sees the right motion, in %."""
    x, labels = TASK.batch(10_000, count, seed)
    return 100 * float((evidence(detector(x)[0][WARM:]).argmax(-1) == labels[WARM:]).double().mean())


def pruned(detector: MotifDetector, share: float) -> MotifDetector:
    """Keep a share of the synapses, the largest."""
    return detector.pruned(max(1, round(share * detector.weight.numel())))


def shortened(detector: MotifDetector, delays: int) -> MotifDetector:
    """Keep the synapses with the shortest delays."""
    other = detector.pruned(detector.weight.numel())
    with torch.no_grad():
        other.weight[:, :, delays:] = 0.0
    return other


def draw(
    detector: MotifDetector, shares: list[float], curve: NDArray[np.float64], short: NDArray[np.float64], out: str
) -> None:
    """Draw events, a kernel for each velocity, and what pruning costs."""
    figure = Figure(figsize=(11, 5.6), layout="constrained", facecolor="white")
    top, bottom = figure.subfigures(2, 1)
    contrast = (detector.weight[:, 1] - detector.weight[:, 0]).detach()[:, :, 0]
    top.suptitle("ON minus OFF weights of the four detectors; dashed: the slope of its velocity", fontsize=10)
    for ax, kernel, (speed, _) in zip(top.subplots(1, 4, sharey=True), contrast, TASK.velocities, strict=True):
        limit = float(kernel.abs().max())
        extent = (-WIDTH / 2, WIDTH / 2, DELAYS + 0.5, 0.5)
        ax.imshow(kernel.numpy(), cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto", extent=extent)
        delay = np.array([0.5, DELAYS + 0.5])
        ax.plot(speed * (delay - (DELAYS + 1) / 2), delay, "--", color="#24292f", linewidth=1)
        ax.set(xlabel="place (pixels)", xlim=extent[:2])
        ax.set_title(f"{speed:+.0f} pixel/ms", fontsize=10)
    top.axes[0].set_ylabel("delay (ms)")
    left, middle, right = bottom.subplots(1, 3)
    x, labels = TASK.sample(10_000)
    for polarity, colour in ((0, "#0072b2"), (1, "#d55e00")):
        left.plot(*x[:, polarity, 0].nonzero(), ".", color=colour, markersize=3, label=("OFF", "ON")[polarity])
    speed = TASK.velocities[labels[0]][0]
    left.set(title=f"A texture at {speed:+.0f} pixel/ms", xlabel="time (ms)", ylabel="pixel")
    left.set_ylim(top=1.18 * left.get_ylim()[1])
    left.legend(frameon=False, fontsize=8, loc="upper right", markerscale=2, ncols=2)
    middle.semilogx(shares, curve.T, "o-", color="#0072b2", markersize=3, linewidth=1)
    middle.set(title="Pruned to the largest synapses", xlabel="share of synapses kept", ylabel="correct (%)")
    right.plot(np.arange(1, DELAYS + 1), short.T, "o-", color="#0072b2", markersize=3, linewidth=1)
    right.set(title="Longer delays left out", xlabel="longest delay (ms)", ylabel="correct (%)")
    for ax in (middle, right):
        ax.axhline(25, color="#d55e00", linewidth=1, linestyle="--")
        ax.set_ylim(0, 103)
    for ax in (left, middle, right):
        ax.title.set_fontsize(10)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)


def main(quick: bool = False, out: str = "motion_delays.png") -> Path:
    """Train with and without the flip, prune, print, and return the path of the picture."""
    seeds, iterations, count = (1, 2, 4) if quick else (3, 40, 48)
    shares = [1.0, 0.3, 0.1, 0.03, 0.01, 0.003]
    with_flip = [train(True, seed, iterations) for seed in range(seeds)]
    without = [accuracy(train(False, seed, iterations), seed, count) for seed in range(seeds)]
    curve = np.array([[accuracy(pruned(d, share), s, count) for share in shares] for s, d in enumerate(with_flip)])
    short = np.array(
        [[accuracy(shortened(d, n), s, count) for n in range(1, DELAYS + 1)] for s, d in enumerate(with_flip)]
    )
    size = with_flip[0].weight.numel()
    print(f"{size} synapses, {seeds} seeds; right at {curve[:, 0].mean():.1f} +- {curve[:, 0].std():.1f} % of the time "
          "steps (chance 25 %)")  # fmt: skip
    print(f"without the exchange of polarities: {np.mean(without):.1f} +- {np.std(without):.1f} %")
    for share, values in zip(shares[1:], curve.T[1:], strict=True):
        kept = max(1, round(share * size))
        print(
            f"pruned to {kept:4} synapses ({size / kept:4.0f} times fewer): {values.mean():.1f} +- {values.std():.1f} %"
        )
    for n in (2, 4, 6):
        print(f"delays up to {n} of {DELAYS} ms: {short[:, n - 1].mean():.1f} +- {short[:, n - 1].std():.1f} %")
    draw(with_flip[0], shares, curve, short, out)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="motion_delays.png", help="the picture (default: motion_delays.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
