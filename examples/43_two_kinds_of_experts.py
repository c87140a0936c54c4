"""Two kinds of experts for two kinds of evidence: what is there, and in which order it comes.

Half of the made-up samples are told by which channels fire, half by which of two bursts comes first; a cue channel says
which kind a sample is. A gate that sees the first steps sends each sample to one of two experts: both feed-forward on
counts, both GRUs, or one of each (Hecto 2025, arXiv:2506.22919, who report 90.0 % on AG News with 80 % of the samples
going to the GRU; its texts are out of reach here). The picture shows who gets what.
Run: python examples/43_two_kinds_of_experts.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from spikeframe.modules.moe.recipes.hecto import hecto

KINDS = ("ff+ff", "gru+gru", "ff+gru")
STEPS = 20


def families(batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return spikes ``[20, B, 16]``, classes and kinds (0: which channels, 1: which order)."""
    kind = torch.randint(0, 2, (batch,), generator=generator)
    label = torch.randint(0, 2, (batch,), generator=generator)
    rate = torch.full((STEPS, batch, 16), 0.02)
    for b in range(batch):
        side = int(label[b])
        rate[:, b, 14 + int(kind[b])] = 0.5
        if kind[b] == 0:
            rate[:, b, 4 * side : 4 * side + 4] = 0.3
        else:
            rate[4:9, b, 8 + 2 * side : 10 + 2 * side] = 0.8
            rate[12:17, b, 10 - 2 * side : 12 - 2 * side] = 0.8
    return (torch.rand(rate.shape, generator=generator) < rate).float(), label, kind


def trained(kinds: str, seed: int, updates: int) -> tuple[list[float], list[float], float]:
    """Return accuracy by kind of sample, share of the second expert by kind, and operations per sample."""
    torch.manual_seed(seed)
    layer = hecto(16, 2, hidden=24, warmup=3, kinds=kinds)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(layer.parameters(), 5e-3)
    for _ in range(updates):
        x, label, _ = families(64, generator)
        run = layer.run(x)
        loss = nn.functional.cross_entropy(run.out[-5:].mean(0), label) + layer.loss(run.plan)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    x, label, kind = families(500, generator)
    with torch.no_grad():
        events = layer.eval().event_driven()
        done = events.run(x)
    right = (done.out[-5:].mean(0).argmax(1) == label).double()
    second = done.plan.mask[..., 1].any(0).double()
    ops = (events.counts.syn_ac + events.counts.syn_mac + events.counts.dense_mac) / 500
    return [float(right[kind == k].mean()) for k in (0, 1)], [float(second[kind == k].mean()) for k in (0, 1)], ops


def main(quick: bool = False, out: str = "two_kinds_of_experts.png") -> Path:
    """Train all, print the table, and return the path of the picture."""
    seeds, updates = (1, 10) if quick else (3, 250)
    print("experts    which channels   which order   second expert: of these   of those   operations per sample")
    found: dict[str, Any] = {}
    for kinds in KINDS:
        runs = [trained(kinds, seed, updates) for seed in range(seeds)]
        right, second = (np.array([run[i] for run in runs]) for i in (0, 1))
        found[kinds] = right, second
        ops = np.mean([run[2] for run in runs])
        print(f"{kinds:10}{100 * right[:, 0].mean():14.1f} %{100 * right[:, 1].mean():12.1f} %"
              f"{100 * second[:, 0].mean():22.0f} %{100 * second[:, 1].mean():9.0f} %{ops:17,.0f}")  # fmt: skip
    figure = Figure(figsize=(7.5, 3.4), layout="constrained", facecolor="white")
    axes: Any = figure.subplots(1, 2)
    for ax, which, label in zip(axes, (0, 1), ("accuracy (%)", "sent to the second expert (%)"), strict=True):
        for k, (name, colour) in enumerate((("which channels", "#0072b2"), ("which order", "#d55e00"))):
            heights = [100 * found[kinds][which][:, k] for kinds in KINDS]
            places = np.arange(len(KINDS)) + 0.36 * (k - 0.5)
            ax.bar(places, [h.mean() for h in heights], 0.34, color=colour, alpha=0.7, label=name)
            for place, height in zip(places, heights, strict=True):
                ax.plot([place] * len(height), height, "k.", markersize=4)
        ax.set(xticks=range(len(KINDS)), xticklabels=KINDS, ylabel=label, ylim=(0, 105))
        ax.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="two_kinds_of_experts.png", help="the picture")
    options = parser.parse_args()
    main(options.quick, options.out)
