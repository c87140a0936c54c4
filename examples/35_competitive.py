"""Four Hebbian rules on their way to where theory says they end.

The inputs are counts of events per pixel in the built-in event-camera digits (first two panels and the last), and
random patterns (third). From left to right: angle between the rows of Sanger's and Oja's rules and the principal axes
of the data; the length of a plain Hebbian weight beside its closed form; answers of BCM units, which come to answer one
pattern each with the inverse of its probability; the error of competitive learning beside that of k-means.
Run: python examples/35_competitive.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.cluster import KMeans
from torch import Tensor

from spikeframe import datasets
from spikeframe.learning_rules.competitive import bcm, hebb, k_winners, oja, sanger
from spikeframe.plots import style
from spikeframe.training import FrameCache

UNITS = 4


def counts(samples: int | None) -> Tensor:
    """Return the events per pixel of every recording, scaled to a mean squared length of 1."""
    frames = FrameCache(datasets.load("digits", split="train"), n_time_bins=1, dt=310.0, pool=2, samples=samples)
    x = frames.batch(range(len(frames)))[0][0].flatten(1).double()
    return x / x.square().sum(1).mean().sqrt()


def axes_of(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues and eigenvectors (as rows) of the mean of x xᵀ, the largest first."""
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    return values.flip(0), vectors.T.flip(0)


def angles(x: Tensor, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the angles (degrees) of Sanger's rows to their axes, and of Oja's to the first, over batches of 32."""
    generator = torch.Generator().manual_seed(0)
    start = 0.1 * torch.randn(UNITS, x.shape[1], generator=generator, dtype=torch.float64)
    together, alone, vectors = start.clone(), start[:1].clone(), axes_of(x)[1]
    found = []
    for step in range(steps):
        rate = 1.0 / (1.0 + step / 200)
        batch = x[torch.randint(len(x), (32,), generator=generator)]
        together, alone = together + rate * sanger(together, batch), alone + rate * oja(alone, batch)
        rows = torch.cat([together, alone])
        cosine = (rows * torch.cat([vectors[:UNITS], vectors[:1]])).sum(1).abs() / rows.norm(dim=1)
        found.append(torch.rad2deg(torch.acos(cosine.clamp(max=1.0))).numpy())
    return np.array(found)[:, :UNITS], np.array(found)[:, UNITS]


def growth(x: Tensor, steps: int, rate: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Return the length of a plain Hebbian weight, and what the closed form says."""
    W = torch.randn(1, x.shape[1], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    values, vectors = axes_of(x)
    inside, length = (W @ vectors.T)[0], []
    for _ in range(steps):
        W = W + rate * hebb(W, x)
        length.append(float(W.norm()))
    powers = (1 + rate * values) ** torch.arange(1, steps + 1, dtype=torch.float64)[:, None]
    return np.array(length), (powers * inside).norm(dim=1).numpy()


def selectivity(steps: int) -> tuple[Tensor, np.ndarray]:
    """Return the answers of 12 BCM units to four patterns over time, and the patterns' probabilities."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.eye(4, 20, dtype=torch.float64) + 0.15 * torch.rand(
        4, 20, generator=generator, dtype=torch.float64
    )
    shown = torch.cat([patterns, patterns[:1]])  # the first comes twice as often
    W = 0.1 + 0.1 * torch.randn(12, 20, generator=generator, dtype=torch.float64)
    theta, answers = torch.zeros(12, dtype=torch.float64), []
    for _ in range(steps):
        change, theta = bcm(W, shown, theta, 0.2)
        W = W + 0.005 * change
        answers.append(W @ patterns.T)
    return torch.stack(answers), np.array([0.4, 0.2, 0.2, 0.2])


def error(x: Tensor, W: Tensor) -> float:
    """Return the mean squared distance of an input to the nearest unit."""
    return float(torch.cdist(x, W).square().min(1).values.mean())


def competition(x: Tensor, epochs: int) -> tuple[np.ndarray, float]:
    """Return the error of competitive learning after every epoch, and that of k-means from the same start."""
    start = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(2))[:20]].clone()
    W, found = start.clone(), []
    generator = torch.Generator().manual_seed(3)
    for epoch in range(epochs):
        found.append(error(x, W))
        for part in torch.randperm(len(x), generator=generator).split(64):
            W = W + 0.3 / (1 + epoch / 5) * k_winners(W, x[part])
    found.append(error(x, W))
    means = KMeans(20, init=start.numpy(), n_init=1, tol=0, max_iter=1000).fit(x.numpy())
    return np.array(found), float(means.inertia_) / len(x)


def main(quick: bool = False, out: str = "competitive.png") -> Path:
    """Run the rules, print where they ended, and return the path of the picture."""
    x = counts(60 if quick else None)
    steps, long, epochs = (50, 200, 2) if quick else (8000, 20_000, 30)
    ordered, first = angles(x, steps)
    length, theory = growth(x, 200)
    answers, chance = selectivity(long)
    errors, best = competition(x, epochs)
    chosen = answers[-1].argmax(1)
    values = answers[-1].max(1).values.numpy()
    others = answers[-1].clone()
    others[torch.arange(len(others)), chosen] = 0.0
    print(f"Oja: {first[-1]:.2f} degrees from the first axis; Sanger, from the first four: {np.round(ordered[-1], 2)}")
    print(f"plain Hebb after {len(length)} steps: {length[-1]:.6g}, closed form {theory[-1]:.6g}")
    print(f"BCM: {[int((chosen == p).sum()) for p in range(4)]} of 12 units chose each pattern; answers off 1/p by "
          f"{np.abs(values - 1 / chance[chosen.numpy()]).max():.2g} at most, to other patterns "
          f"{float(others.abs().max()):.2g}")  # fmt: skip
    print(f"competitive learning, 20 units: error {errors[-1]:.4f}, k-means from the same start {best:.4f}")
    figure = Figure(figsize=(10, 6.4), layout="constrained", facecolor="white")
    panels = figure.subplots(2, 2).ravel()
    for i in range(UNITS):
        panels[0].loglog(np.arange(1, steps + 1), ordered[:, i], color=style.CYCLE[i], linewidth=0.8, label=f"{i + 1}")
    panels[0].loglog(np.arange(1, steps + 1), first, color=style.INK, linewidth=0.8, linestyle=":", label="Oja")
    style.tidy(panels[0], "Sanger (by unit) and Oja", "batches", "angle to its axis (degrees)")
    style.legend(panels[0], loc="lower left", ncols=2)
    panels[1].semilogy(length, color=style.BLUE, linewidth=3, alpha=0.5, label="rule")
    panels[1].semilogy(theory, color=style.INK, linewidth=0.8, label="closed form")
    style.tidy(panels[1], "Plain Hebb", "steps", "length of the weight")
    style.legend(panels[1])
    every = max(1, long // 400)
    for p in range(4):
        shown = answers[::every, :, p].numpy()
        panels[2].plot(every * np.arange(len(shown)), shown, color=style.CYCLE[p], linewidth=0.6)
    for value in (2.5, 5.0):
        panels[2].axhline(value, color=style.INK, linewidth=0.8, linestyle=":")
    style.tidy(panels[2], "BCM: answers to four patterns", "steps", "y (dotted: 1/p)")
    panels[3].plot(errors, color=style.BLUE, label="one winner")
    panels[3].axhline(best, color=style.INK, linewidth=0.8, linestyle=":", label="k-means")
    style.tidy(panels[3], "Competitive learning", "epochs", "squared distance to the winner")
    style.legend(panels[3])
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="competitive.png", help="the picture (default: competitive.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
