"""What token mixers cost as sequences grow, when keys as changes pay, and how well a memory of patterns recalls.

Left: operations per token and head, counted by event-driven runs on spikes of 10 %, selection included. All pairs grow
with the sequence; linear order (Yao et al. 2024, arXiv:2404.03663), gated linear attention (Yang et al. 2024,
arXiv:2312.06635) and a window do not; powers of two (PowerAttention, arXiv:2503.03588) and a tree search (HiP,
arXiv:2406.09827) hardly do. Middle: changes of keys beside spikes of keys, where a feature is drawn anew with a
probability per token (DeltaLLM, arXiv:2507.19608). Right: recall of 64 stored patterns (Acharya 2025, arXiv:2509.00605)
from noisy ones.
Run: python examples/47_linear_mixing.py [--quick] [--out FILE]. Some seconds. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from spikeframe.modules.attention import DeltaKeys, Layer, recipe

D, RATE = 64, 0.1
MIXERS: dict[str, tuple[str, dict[str, Any]]] = {
    "all pairs": ("ssa", {}),
    "tree search": ("hip", {"keep": 32}),
    "NSA": ("nsa", {"block": 16, "k": 4, "window": 32}),
    "powers of two": ("power", {"window": 8}),
    "window": ("spikingbrain", {"window": 32}),
    "linear order": ("ssa-linear", {}),
    "gated linear": ("gla", {}),
    "SDSA": ("sdsa", {}),
}


def costs(lengths: list[int]) -> dict[str, list[float]]:
    """Return operations per token of every mixer."""
    torch.manual_seed(0)
    found: dict[str, list[float]] = {name: [] for name in MIXERS}
    for tokens in lengths:
        q, k, v = ((torch.rand(1, 1, 1, tokens, D) < RATE).float() for _ in range(3))
        x = (torch.rand(1, 1, tokens, D) < RATE).float()
        for name, (kind, options) in MIXERS.items():
            mixer = recipe(kind, Layer(D, 1, tokens, causal=True, number=1), **options)
            with torch.no_grad():
                found[name].append(mixer.events(q, k, v, x).operations.synaptic / tokens)
    return found


def changes(probabilities: list[float], tokens: int) -> list[tuple[float, float]]:
    """Return the share of nonzero entries: of changes, and of keys."""
    random = torch.Generator().manual_seed(0)
    found = []
    for probability in probabilities:
        keys = [(torch.rand(1, 1, D, generator=random) < RATE).float()]
        for _ in range(tokens - 1):
            new = torch.rand(1, 1, D, generator=random) < probability
            keys.append(torch.where(new, (torch.rand(1, 1, D, generator=random) < RATE).float(), keys[-1]))
        k = torch.stack(keys, -2)
        sent = DeltaKeys(0.5, tokens).changes(k).delta
        found.append((float((sent != 0).double().mean()), float(k.double().mean())))
    return found


def recall(density: float, flips: list[float], seeds: int) -> list[float]:
    """Return the share of patterns that are found again (%)."""
    found = []
    for flip in flips:
        right = 0.0
        for seed in range(seeds):
            random = torch.Generator().manual_seed(seed)
            mixer = recipe("memory", Layer(D, 1, 64, causal=True), slots=64, k=1)
            pattern = (torch.rand(1, 64, D, generator=random) < density).float()
            mixer.pattern.data = pattern * 2 - 1
            noisy: Tensor = (pattern != (torch.rand(1, 64, D, generator=random) < flip)).float()
            with torch.no_grad():
                right += float((mixer.recall(noisy)[0][0].argmax(-1) == torch.arange(64)).double().mean()) / seeds
        found.append(100 * right)
    return found


def main(quick: bool = False, out: str = "linear_mixing.png") -> Path:
    """Measure, print the tables, and return the path of the picture."""
    lengths = [64, 128] if quick else [64, 128, 256, 512, 1024, 2048]
    by_length = costs(lengths)
    print(f"operations per token, spikes of {RATE:.0%}: {', '.join(map(str, lengths))} tokens")
    for name, row in by_length.items():
        print(f"{name:16}{''.join(f'{n:10,.1f}' for n in row)}")
    probabilities = [0.01, 0.05, 0.2, 0.55, 1.0]
    sent = changes(probabilities, 128 if quick else 2048)
    print("\nnonzero entries of changes and of keys, by probability that a feature is drawn anew")
    for probability, (delta, keys) in zip(probabilities, sent, strict=True):
        print(f"{probability:6.2f}{delta:9.4f}{keys:9.4f}")
    flips = [0.0, 0.1, 0.2, 0.3]
    recalled = {density: recall(density, flips, 1 if quick else 5) for density in (0.1, 0.25, 0.5)}
    print("\npatterns recalled (%), by bits flipped: " + ", ".join(f"{flip:.0%}" for flip in flips))
    for density, row in recalled.items():
        print(f"density {density:4.2f}{''.join(f'{r:8.1f}' for r in row)}")
    figure = Figure(figsize=(12, 3.8), layout="constrained", facecolor="white")
    axes: Any = figure.subplots(1, 3)
    for name, row in by_length.items():
        axes[0].plot(lengths, row, "o-", markersize=3, label=name)
    axes[0].set(xscale="log", yscale="log", xlabel="tokens", ylabel="operations a token", ylim=(0.008, None))
    axes[1].plot(probabilities, [delta for delta, _ in sent], "o-", color="#d55e00", label="changes")
    axes[1].plot(probabilities, [keys for _, keys in sent], "s--", color="#24292f", label="keys")
    axes[1].set(xscale="log", xlabel="probability that a feature is drawn anew", ylabel="share of nonzero entries")
    for density, row in recalled.items():
        axes[2].plot([100 * flip for flip in flips], row, "o-", label=f"density {density}")
    axes[2].set(xlabel="bits flipped (%)", ylabel="patterns recalled (%)", ylim=(0, 103))
    for ax in axes:
        ax.legend(frameon=False, fontsize=8, ncols=2 if ax is axes[0] else 1)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="linear_mixing.png", help="the picture (default: linear_mixing.png)")
    chosen = parser.parse_args()
    main(chosen.quick, chosen.out)
