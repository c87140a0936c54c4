"""How much of the attention a plan keeps: planted overlaps, by way of selecting and kind of score.

1024 tokens of 64 features, four heads: one whose motifs come in runs, one with motifs at random, one with a few keys
that everybody reads, one periodic. An eighth of the pairs may be read. Overlaps of spikes are flat, so even the best
choice holds a half of their mass; thresholded ones (coincidences) are not. Sums of spikes give the exact mass of
blocks, so a learnt gate (SeerAttention) cannot do better on overlaps; a tree search (HiP) that represents intervals by
sums finds stripes that one with single tokens misses.
Run: python examples/46_selecting_blocks.py [--quick] [--out FILE]. Half a minute. Ends in a picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from spikeframe.modules.attention import (
    Blocks,
    LeadingFeatures,
    PooledGate,
    Probe,
    Score,
    Selection,
    Sums,
    TopK,
    Tree,
    Window,
)  # fmt: skip

D, BLOCK, SHARE = 64, 16, 0.125
HEADS = ("runs", "scattered", "stripes", "periodic")


def planted(tokens: int, seed: int, sample: int = 0) -> tuple[Tensor, Tensor]:
    """Return queries and keys ``[1, heads, tokens, features]``; the seed gives the motifs, the sample all else."""
    random = torch.Generator().manual_seed(seed)
    features = torch.stack([(torch.randperm(D, generator=random) < 8).float() for _ in range(16)])
    random.manual_seed(1000 * (sample + 1) + seed)

    def rate(motif: Tensor) -> Tensor:
        return 0.03 + 0.47 * features[motif]

    lengths = torch.randint(16, 49, (tokens // 16,), generator=random)
    runs = torch.randint(16, (len(lengths),), generator=random).repeat_interleave(lengths)[:tokens]
    mixed = [torch.randint(16, (tokens,), generator=random) for _ in range(3)]
    hot = torch.full((tokens, D), 0.03)
    hot[torch.randperm(tokens, generator=random)[: tokens // 64]] = 0.5
    turn = torch.arange(tokens) % 64 // 4
    q = torch.stack([rate(runs), rate(mixed[0]), rate(mixed[2]), rate(turn)])
    k = torch.stack([rate(runs), rate(mixed[1]), hot, rate(turn)])
    return tuple((torch.rand(x.shape, generator=random) < x).float()[None] for x in (q, k))


def best_tokens(weights: Tensor) -> Tensor:
    """Return the mask of the best eighth of every row."""
    kept = torch.zeros_like(weights, dtype=torch.bool)
    return kept.scatter(-1, weights.topk(round(SHARE * weights.shape[-1]), -1).indices, True)


def best_blocks(weights: Tensor) -> Tensor:
    """Return the mask of the best eighth of every row of blocks."""
    mass = weights.unflatten(-1, (-1, BLOCK)).unflatten(-3, (-1, BLOCK)).sum((-1, -3))
    return Blocks(best_tokens(mass), BLOCK, BLOCK).mask()


def learnt(q: Tensor, k: Tensor, steps: int) -> PooledGate:
    """Return a gate trained from random weights to block masses."""
    torch.manual_seed(0)
    gate = PooledGate(len(HEADS), D, BLOCK, BLOCK)
    for parameter in gate.parameters():
        torch.nn.init.normal_(parameter, std=D**-0.5)
    optimiser = torch.optim.Adam(gate.parameters(), 1e-2)
    for _ in range(steps):
        loss = gate.loss(q, k)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return gate


def draw(found: dict[str, dict[str, Tensor]], out: str) -> None:
    """Draw recall by way and head."""
    figure = Figure(figsize=(10, 4.6), layout="constrained", facecolor="white")
    axes: Any = figure.subplots(1, 2, sharey=True)
    for ax, (score, rows) in zip(axes, found.items(), strict=True):
        for number, head in enumerate(HEADS):
            values = [float(r[number]) for r in rows.values()]
            ax.plot(values, range(len(values)), "os^D"[number], label=head, markersize=5)
        ax.axvline(SHARE, color="#8b949e", linestyle=":")
        ax.set(xlabel="share of the mass that is read", title=score, xlim=(0, 1.02))
        ax.set_yticks(range(len(rows)), list(rows))
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    axes[1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    figure.savefig(out, dpi=120)


def main(quick: bool = False, out: str = "selecting_blocks.png") -> Path:
    """Plan, print the table, and return the path of the picture."""
    tokens, seeds, steps = (256, 1, 3) if quick else (1024, 3, 200)
    eighth = TopK(share=SHARE)
    keep = round(SHARE * tokens)
    found: dict[str, dict[str, Tensor]] = {"overlap": {}, "coincidence of 3": {}}
    for seed in range(seeds):
        q, k = planted(tokens, seed)
        before = planted(tokens, seed, 1)
        ways: dict[str, Callable[[Tensor], Tensor]] = {
            "best tokens": best_tokens,
            "best blocks": best_blocks,
            "block sums": lambda w, q=q, k=k: Selection(Sums(BLOCK, BLOCK), eighth)(q, k)[0].mask(),
            "learnt gate": lambda w, q=q, k=k, b=before: Selection(learnt(*b, steps), eighth)(q, k)[0].mask(),
            "sums, each query": lambda w, q=q, k=k: Selection(Sums(BLOCK), eighth)(q, k)[0].mask(),
            "tree, first": lambda w, q=q, k=k: Tree(keep, rows=BLOCK, first=True)(q, k)[0].mask(),
            "tree, sums": lambda w, q=q, k=k: Tree(keep, rows=BLOCK)(q, k)[0].mask(),
            "half the features": lambda w, q=q, k=k: Selection(LeadingFeatures(D // 2), eighth)(q, k)[0].mask(),
            "probe": lambda w, q=q, k=k: Probe(64, 0.1, keep).shares(q, k)[..., None, :] * torch.ones(tokens, 1),
            "window": lambda w, q=q, k=k: Window(round(SHARE * tokens / 32), block=BLOCK)(q, k)[0].mask(),
        }
        for name, score in zip(found, (Score(), Score("coincidence", theta=3)), strict=True):
            weights = score.weights(q @ k.transpose(-1, -2), torch.ones(1, 1, dtype=torch.bool))
            for way, plan in ways.items():
                mask = plan(weights)
                mask = best_tokens(mask) if mask.is_floating_point() else mask
                recall = (weights * mask).sum((0, 2, 3)) / weights.sum((0, 2, 3))
                found[name][way] = found[name].get(way, torch.zeros(len(HEADS))) + recall / seeds
    print(f"share of the mass read, an eighth of {tokens} tokens, {seeds} seeds: {', '.join(HEADS)}")
    for name, rows in found.items():
        print(f"\n{name}")
        for way, recall in rows.items():
            print(f"{way:20}{'  '.join(f'{float(r):.2f}' for r in recall)}")
    draw(found, out)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="selecting_blocks.png", help="the picture (default: selecting_blocks.png)")
    chosen = parser.parse_args()
    main(chosen.quick, chosen.out)
