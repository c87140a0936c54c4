"""Store a thing once and recall it, however much is stored: Sparsey (Rinkus 2017, arXiv:1710.07829).

One field of 24 modules of 8 cells sees each item once: 20 of 256 inputs, then sequences of 10 such frames. Left: how
much of the stored codes comes back, for the item itself and for one with a quarter of its inputs exchanged; chance is
1/8. Middle: how much of a sequence comes back when only its first frame is shown. Right: the familiarity of stored and
of new items, which is all the field has to tell them apart, and the time of a recall, which does not grow.
The paper reports some 90 % on a part of MNIST; it has no figure of this kind.
Run: python examples/33_sparsey.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spikeframe.modules.sparsey import Sparsey
from spikeframe.plots import style

INPUTS, ACTIVE, LENGTH = 256, 20, 10
Whole = NDArray[np.int64]


def drawn(count: int, random: np.random.Generator) -> list[Whole]:
    """Return random items."""
    return [random.choice(INPUTS, ACTIVE, replace=False) for _ in range(count)]


def damaged(item: Whole, random: np.random.Generator, lost: int = ACTIVE // 4) -> Whole:
    """Return an item with some of its inputs exchanged for others."""
    others = np.setdiff1d(np.arange(INPUTS), item)
    return np.concatenate([random.permutation(item)[lost:], random.choice(others, lost, replace=False)])


def spatial(count: int, seed: int) -> dict[str, float]:
    """Store items once; return what comes back of their codes, familiarity, load, and the time of a recall (µs)."""
    random = np.random.default_rng(seed)
    field, items = Sparsey(INPUTS, active=ACTIVE, seed=seed), drawn(count, random)
    codes = field.present(items, learn=True).codes
    found = {}
    for name, shown in (("item", items), ("damaged", [damaged(item, random) for item in items])):
        found[name] = float((field.present(shown, learn=False).codes == codes).mean())
    found["known"] = float(field.present(items, learn=False).familiarity.mean())
    new = drawn(200, random)
    begin = time.perf_counter()
    run = field.present(new, learn=False)
    found["time"] = 1e6 * (time.perf_counter() - begin) / len(new)
    found["reads"] = run.operations["syn_ac"] / len(new)
    found["new"] = float(run.familiarity.mean())
    found["load"] = field.load[0]
    return found


def sequences(count: int, seed: int) -> dict[str, float]:
    """Store sequences once; return what comes back of their codes and frames from the first frame alone."""
    random = np.random.default_rng(seed)
    field = Sparsey(INPUTS, active=ACTIVE, seed=seed)
    shown = [drawn(LENGTH, random) for _ in range(count)]
    codes = [field.present(frames, learn=True, sequence=True).codes for frames in shown]
    same, pixels = [], []
    for frames, code in zip(shown, codes, strict=True):
        played = field.play(frames[0], LENGTH).codes
        same.append((played == code)[1:].mean())
        for frame, winners in zip(frames[1:], played[1:], strict=True):
            best = np.argsort(-field.imagine(winners), kind="stable")[:ACTIVE]
            pixels.append(len(np.intersect1d(best, frame)) / ACTIVE)
    return {"codes": float(np.mean(same)), "inputs": float(np.mean(pixels)), "load": field.load[1]}


def means(rows: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Return mean and standard deviation over seeds."""
    return {key: (float(np.mean([r[key] for r in rows])), float(np.std([r[key] for r in rows]))) for key in rows[0]}


def draw(
    items: dict[int, dict[str, tuple[float, float]]], chains: dict[int, dict[str, tuple[float, float]]], out: str
) -> None:
    """Draw the three panels."""
    figure = Figure(figsize=(11, 3.3), layout="constrained", facecolor="white")
    left, middle, right = figure.subplots(1, 3)
    for axes, rows, key, label, colour in (
        (left, items, "item", "the item itself", style.BLUE),
        (left, items, "damaged", "a quarter exchanged", style.ORANGE),
        (middle, chains, "codes", "winners", style.BLUE),
        (middle, chains, "inputs", "active inputs", style.GREEN),
        (right, items, "known", "stored items", style.BLUE),
        (right, items, "new", "new items", style.ORANGE),
    ):
        value = np.array([row[key] for row in rows.values()])
        axes.errorbar(list(rows), value[:, 0], value[:, 1], fmt="o-", markersize=3, linewidth=1, color=colour,
                      label=label)  # fmt: skip
    left.axhline(1 / 8, color=style.MUTED, linewidth=0.8, linestyle=":")
    middle.axhline(1 / 8, color=style.MUTED, linewidth=0.8, linestyle=":")
    style.tidy(left, "Items shown once", "items stored", "share of winners recalled")
    style.tidy(middle, f"Sequences of {LENGTH} frames shown once", "sequences stored", "share recalled")
    style.tidy(right, "Familiarity", "items stored", "G")
    for axes in (left, middle, right):
        axes.set(xscale="log", ylim=(0, 1.05))
        style.legend(axes, loc="center left" if axes is right else "lower left")
    slow = [row["time"][0] for row in items.values()]
    right.text(0.98, 0.03, f"a recall takes {min(slow):.0f} to {max(slow):.0f} µs", transform=right.transAxes,
               ha="right", fontsize=8, color=style.MUTED)  # fmt: skip
    figure.savefig(out, dpi=120)


def main(quick: bool = False, out: str = "sparsey.png") -> Path:
    """Store and recall over load, print the tables, and return the path of the picture."""
    seeds = 1 if quick else 5
    loads, lengths = ((1, 10), (1, 3)) if quick else ((1, 5, 10, 20, 40, 80, 160, 320), (1, 2, 4, 8, 16, 32))
    spatial(1, 0)  # compiles
    print(f"items stored once ({seeds} seeds, mean +- standard deviation)")
    print(
        f"{'items':>6}{'weights set':>13}{'recalled':>16}{'damaged':>16}{'G known':>9}{'G new':>8}{'reads':>8}{'µs':>6}"
    )
    items, chains = {}, {}
    for count in loads:
        row = items[count] = means([spatial(count, seed) for seed in range(seeds)])
        print(f"{count:6}{row['load'][0]:13.3f}{row['item'][0]:9.3f} +- {row['item'][1]:.3f}"
              f"{row['damaged'][0]:9.3f} +- {row['damaged'][1]:.3f}{row['known'][0]:9.3f}{row['new'][0]:8.3f}"
              f"{row['reads'][0]:8.0f}{row['time'][0]:6.0f}")  # fmt: skip
    print(f"\nsequences of {LENGTH} frames stored once, recalled from the first frame")
    print(f"{'stored':>6}{'weights set':>13}{'winners':>16}{'inputs':>16}")
    for count in lengths:
        row = chains[count] = means([sequences(count, seed) for seed in range(seeds)])
        print(f"{count:6}{row['load'][0]:13.3f}{row['codes'][0]:9.3f} +- {row['codes'][1]:.3f}"
              f"{row['inputs'][0]:9.3f} +- {row['inputs'][1]:.3f}")  # fmt: skip
    draw(items, chains, out)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="sparsey.png", help="the picture (default: sparsey.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
