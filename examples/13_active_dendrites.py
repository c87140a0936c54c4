"""Active dendrites: how reliably does a segment with a few synapses recognise a pattern of thousands of cells?

Theory beside simulation (Ahmad and Hawkins 2016, arXiv:1601.00720). A segment samples s synapses from the a active of n
cells and fires when theta of them are active. Left: 500 stored patterns of 7 in 100 cells, how often a random pattern
is taken for one of them (the paper's simulation: 0.1346 at theta 4, 0.00285 at 5). Middle: how often the pattern is
missed when part of its cells fall silent. Right: what the event-driven run costs: only synapses of active cells.
Run: python examples/13_active_dendrites.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spikeframe.modules.active_dendrites import ActiveDendrites
from spikeframe.modules.sdr import any_of, false_negative, false_positive, union_size

Floats = NDArray[np.float64]
CELLS, ACTIVE, PATTERNS = 100, 7, 500


def draw_patterns(count: int, cells: int, active: int, seed: int) -> NDArray[np.int64]:
    """Return random patterns, ``[count, active]``."""
    random = np.random.default_rng(seed)
    return np.stack([random.choice(cells, active, replace=False) for _ in range(count)])


def frames(patterns: NDArray[np.int64], cells: int) -> torch.Tensor:
    """Return patterns one after the other as an input, ``[count, 1, cells]``."""
    x = torch.zeros(len(patterns), 1, cells)
    return x.scatter(2, torch.from_numpy(patterns)[:, None], 1.0)


@torch.no_grad()
def mistaken(theta: int, draws: int, seed: int) -> float:
    """Return how often a neuron that has stored all patterns takes a random one for one of them."""
    neuron = ActiveDendrites(CELLS, 1, PATTERNS, ACTIVE, theta)
    for k, pattern in enumerate(draw_patterns(PATTERNS, CELLS, ACTIVE, seed)):
        neuron.store(0, k, pattern)
    x = draw_patterns(draws, CELLS, ACTIVE, 1000 + seed)
    step = np.repeat(np.arange(draws), ACTIVE)
    return float(neuron.event_driven()(step, x.ravel(), draws).active.mean())


@torch.no_grad()
def missed(active: int, synapses: int, theta: int, lost: int, draws: int, seed: int) -> float:
    """Return how often a segment misses its pattern when some of the cells are silent."""
    cells = 10 * active
    pattern = np.arange(active)
    neuron = ActiveDendrites(cells, 1, 1, synapses, theta)
    neuron.store(0, 0, pattern, seed)
    random = np.random.default_rng(seed)
    kept = np.stack([random.choice(active, active - lost, replace=False) for _ in range(draws)])
    return 1.0 - float(neuron(frames(kept, cells))[0].mean())


def costs(density: float) -> tuple[float, float]:
    """Return accumulates and comparisons of a step of the event-driven run, as shares of the clocked one's."""
    layer = ActiveDendrites(2000, 50, 20, 24, 12)
    x = torch.rand(50, 2000, generator=torch.Generator().manual_seed(0)) < density
    run = layer.event_driven()(*x.nonzero().T.numpy(), 50)
    dense = run.operations["dense_equiv_mac"]
    return run.operations["syn_ac"] / dense, run.operations["neu_cmp"] / dense


def panels(found: dict[str, Any], out: str) -> None:
    """Draw the three figures."""
    figure = Figure(figsize=(11, 3.6), layout="constrained", facecolor="white")
    left, middle, right = figure.subplots(1, 3)
    theta = np.arange(3, 8)
    left.semilogy(theta, [any_of(false_positive(CELLS, ACTIVE, ACTIVE, int(t)), PATTERNS) for t in theta],
                  color="#24292f", linewidth=1, label="theory")  # fmt: skip
    for t, values in found["mistaken"].items():
        left.semilogy([t] * len(values), values, "o", color="#0072b2", markersize=4,
                      label="simulation" if t == min(found["mistaken"]) else None)  # fmt: skip
    left.set(title="A random pattern matches one of 500", xlabel="threshold (synapses of 7)", ylabel="probability",
             ylim=(1e-9, 2), xticks=theta)  # fmt: skip
    lost = np.arange(0, 129, 4)
    for t, colour in zip((8, 12, 16), ("#009e73", "#0072b2", "#d55e00"), strict=True):
        middle.plot(lost, [false_negative(128, 30, t, int(v)) for v in lost], color=colour, linewidth=1, label=f"{t}")
        middle.plot(*zip(*found["missed"][t], strict=True), "o", color=colour, markersize=4)
    middle.set(title="The pattern is missed (128 cells, 30 synapses)", xlabel="cells of the pattern that are silent",
               ylabel="probability")  # fmt: skip
    shares = np.array(list(found["costs"].values()))
    right.loglog(list(found["costs"]), shares[:, 0], "o-", color="#0072b2", markersize=4, label="accumulates")
    right.loglog(list(found["costs"]), shares[:, 1], "s-", color="#d55e00", markersize=4, label="segments compared")
    right.set(title="Event-driven over clocked operations", xlabel="share of cells active", ylabel="share")
    middle.legend(title="threshold", frameon=False, fontsize=8, title_fontsize=8)
    for ax in (left, right):
        ax.legend(frameon=False, fontsize=8)
    for ax in (left, middle, right):
        ax.title.set_fontsize(10)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)


def main(quick: bool = False, out: str = "active_dendrites.png") -> Path:
    """Simulate, print theory and simulation, and return the path of the picture."""
    draws, seeds = (200, 1) if quick else (5000, 3)
    found: dict[str, Any] = {"mistaken": {}, "missed": {}, "costs": {}}
    print("500 patterns of 7 in 100 cells: a random pattern is taken for one of them")
    for theta in (3, 4, 5):
        values = [mistaken(theta, draws, seed) for seed in range(seeds)]
        found["mistaken"][theta] = values
        p = any_of(false_positive(CELLS, ACTIVE, ACTIVE, theta), PATTERNS)
        paper = {4: ", the paper's simulation 0.1346", 5: ", the paper's simulation 0.00285"}.get(theta, "")
        print(f"  threshold {theta}: theory {p:.4g}, simulated {np.mean(values):.4g} +- {np.std(values):.2g}{paper}")
    print("128 active cells, 30 synapses: the pattern is missed")
    for theta in (8, 12, 16):
        found["missed"][theta] = [(v, missed(128, 30, theta, v, draws // 2, 0)) for v in (40, 64, 80, 96)]
        row = ", ".join(f"{v} silent {p:.4f} ({false_negative(128, 30, theta, v):.4f})" for v, p in
                        found["missed"][theta])  # fmt: skip
        print(f"  threshold {theta}, simulated (theory): {row}")
    synapses = union_size(20000, 25, 10)
    print(f"ten patterns on one segment: {synapses:.1f} synapses; false positives "
          f"{false_positive(20000, 200, synapses, 15):.2g} at threshold 15 (one pattern: "
          f"{false_positive(20000, 200, 25, 15):.2g})")  # fmt: skip
    for density in (0.002, 0.01, 0.02, 0.05, 0.1):
        found["costs"][density] = costs(density)
    print(f"2 % of cells active: {100 * found['costs'][0.02][0]:.1f} % of the clocked run's operations")
    panels(found, out)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="active_dendrites.png", help="the picture (default: active_dendrites.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
