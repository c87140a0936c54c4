"""Find exact logic circuits without a gradient: divide and concur (Elser and Krishan Lal 2026, arXiv:2602.17493).

Layered networks of ±1 threshold neurons are searched for weights that are right about every row of a truth table. Left:
how many searches have ended in an exact circuit after so many iterations. Middle: the gap between the two constraint
sets in searches for the 2 x 2 bit multiplier. Right: the weights of the circuits found; the theory says that a neuron
with 5 edges that uses 1, 3 or 5 of them has weights 0 or ±sqrt(5), ±sqrt(5/3), ±1.
The authors' program solved the multiplier in 3 of 5 runs of 10,000 iterations, after 3561 +- 750.
Run: python examples/34_boolean_threshold.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spikeframe.learning_rules.boolean_threshold import Search, ThresholdNetwork, learn
from spikeframe.plots import style

Floats = NDArray[np.float64]
MULTIPLIER = "2 x 2 multiplier"


def bits(value: int, count: int) -> list[int]:
    """Return a number's bits, the largest first."""
    return [(value >> k) & 1 for k in reversed(range(count))]


def number(row: Any) -> int:
    """Return the number that bits stand for."""
    return int("".join(map(str, row)), 2)


TASKS: dict[str, tuple[tuple[int, ...], Callable[[Any], list[int]]]] = {
    "exclusive or": ((2, 2, 1), lambda row: [row[0] ^ row[1]]),
    "parity of 3": ((3, 3, 3, 1), lambda row: [int(sum(row)) & 1]),
    "full adder": ((3, 3, 3, 2), lambda row: bits(int(sum(row)), 2)),
    MULTIPLIER: ((4, 4, 4, 4), lambda row: bits(number(row[:2]) * number(row[2:]), 4)),
}


def truth_table(inputs: int, function: Callable[[Any], list[int]]) -> tuple[Floats, Floats]:
    """Return all inputs and outputs as -1 and 1."""
    x = np.array(list(itertools.product((0, 1), repeat=inputs)))
    return 2.0 * x - 1.0, 2.0 * np.array([function(row) for row in x]) - 1.0


def draw(found: dict[str, list[Search]], limit: int, out: str) -> None:
    """Draw the three panels."""
    figure = Figure(figsize=(11, 3.3), layout="constrained", facecolor="white")
    left, middle, right = figure.subplots(1, 3)
    for (name, runs), colour in zip(found.items(), style.CYCLE, strict=False):
        ends = np.sort([run.iterations for run in runs if run.solved])
        share = np.arange(len(ends) + 1) / len(runs)
        left.step([1, *ends, limit], 100 * np.append(share, share[-1]), where="post", color=colour, label=name)
    style.tidy(left, "Exact circuits found", "iterations", "share of searches (%)")
    left.set(xscale="log", xlim=(8, limit), ylim=(0, 103))
    style.legend(left, loc="upper left")
    for run, colour in zip(found[MULTIPLIER][:5], style.CYCLE, strict=False):
        middle.loglog(np.arange(1, run.iterations + 1)[::7], run.gaps[::7], color=colour, linewidth=0.6)
    middle.axhline(0.01, color=style.INK, linewidth=0.8, linestyle=":")
    style.tidy(middle, f"{MULTIPLIER}: five searches", "iterations", "gap (rms)")
    solved = [run.weights for run in found[MULTIPLIER] if run.solved]
    if solved:
        right.hist(np.concatenate(solved), np.arange(-2.5, 2.55, 0.05), color=style.BLUE)
    for used in (1, 3, 5):
        for sign in (-1, 1):
            right.axvline(sign * np.sqrt(5 / used), color=style.ORANGE, linewidth=0.8, linestyle=":")
    style.tidy(right, "Weights of its circuits (dotted: theory)", "weight", "edges")
    figure.savefig(out, dpi=120)


def main(quick: bool = False, out: str = "boolean_threshold.png") -> Path:
    """Search, print the table, and return the path of the picture."""
    limit = 300 if quick else 20_000
    found: dict[str, list[Search]] = {}
    print(f"{'':18}{'widths':>14}{'solved':>10}{'iterations of those':>24}{'exact with weights -1, 0, 1':>30}")
    for name, (widths, function) in TASKS.items():
        network, data = ThresholdNetwork.layered(widths), truth_table(widths[0], function)
        seeds = 2 if quick else 20 if name == MULTIPLIER else 50
        runs = found[name] = [learn(network, *data, limit=limit, seed=seed) for seed in range(seeds)]
        solved = [run for run in runs if run.solved]
        exact = sum(bool((network.run(run.gates, data[0]) == data[1]).all()) for run in solved)
        made = np.array([run.iterations for run in solved])
        taken = f"median {np.median(made):.0f}, mean {made.mean():.0f}" if solved else "–"
        cells = ("-".join(map(str, widths)), f"{len(solved)}/{len(runs)}", taken,
                 f"{exact}/{len(solved)}" if solved else "–")  # fmt: skip
        print(f"{name:18}{cells[0]:>14}{cells[1]:>10}{cells[2]:>24}{cells[3]:>30}", flush=True)
    early = sum(run.solved and run.iterations <= 10_000 for run in found[MULTIPLIER])
    print(f"{MULTIPLIER}: {early}/{len(found[MULTIPLIER])} within 10,000 iterations; the authors' program 3/5")
    draw(found, limit, out)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="boolean_threshold.png", help="the picture (default: boolean_threshold.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
