"""Sparse by steps and by chunks of steps: a rectified router with losses that make neighbours use the same few experts.

Samples go through four of eight modes, each a set of channels that fire more; the class of a step is its mode. Sixteen
small experts stand behind ReLU and RMS norm, so any number of them may run (BlockFFN, Song et al. 2025,
arXiv:2507.08771: more than 80 % of the experts unused by a token, more than 70 % by 8 tokens in a row). The weights of
the two losses are raised together. The picture shows who runs for one sample, without and with them.
Run: python examples/44_token_and_chunk_sparsity.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from spikeframe.modules.moe import MoE
from spikeframe.modules.moe.plan import union_share
from spikeframe.modules.moe.recipes.blockffn import blockffn

WEIGHTS = ((0.0, 0.0), (2e-3, 0.05), (2e-3, 0.5), (2e-2, 2.0))


def modes(batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return spikes ``[32, B, 32]`` and the mode of every step."""
    prototypes = (torch.rand(8, 32, generator=torch.Generator().manual_seed(99)) < 0.3).float()
    mode = torch.randint(0, 8, (4, batch), generator=generator).repeat_interleave(8, 0)
    x = torch.rand(32, batch, 32, generator=generator) < 0.03 + 0.35 * prototypes[mode]
    return x.float(), mode


def trained(local: float, union: float, updates: int) -> MoE:
    """Return a trained layer."""
    torch.manual_seed(0)
    layer = blockffn(32, 8, experts=16, hidden=8, local=local, union=union)
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(layer.parameters(), 5e-3)
    for _ in range(updates):
        x, label = modes(64, generator)
        run = layer.run(x)
        loss = nn.functional.cross_entropy(run.out.flatten(0, 1), label.flatten()) + layer.loss(run.plan)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        layer.advance(run.plan)
    return layer.eval()


def main(quick: bool = False, out: str = "token_and_chunk_sparsity.png") -> Path:
    """Train all, print the table, and return the path of the picture."""
    updates, weights = (3, WEIGHTS[::3]) if quick else (300, WEIGHTS)
    x, label = modes(200, torch.Generator().manual_seed(1))
    plans = []
    print("locality   chunks   accuracy   unused per step   unused per 8 steps   synaptic operations per step")
    for local, union in weights:
        events = trained(local, union, updates).event_driven()
        done = events.run(x)
        plans.append(done.plan)
        accuracy = float((done.out.argmax(-1) == label).double().mean())
        ops = (events.counts.syn_ac + events.counts.syn_mac) / label.numel()
        print(f"{local:8g}{union:9g}{100 * accuracy:9.1f} %{100 * (1 - done.plan.active):15.1f} %"
              f"{100 * (1 - union_share(done.plan, 8)):18.1f} %{ops:18,.0f}")  # fmt: skip
    figure = Figure(figsize=(8.5, 3.2), layout="constrained", facecolor="white")
    axes: Any = figure.subplots(1, 2, sharey=True)
    for ax, plan, title in zip(axes, (plans[0], plans[-1]), ("no loss", "strongest losses"), strict=True):
        ax.imshow(plan.mask[:, 0].T.numpy(), cmap="Blues", vmin=0, vmax=1.4, aspect="auto", interpolation="nearest")
        for end in (7.5, 15.5, 23.5):
            ax.axvline(end, color="#d55e00", linewidth=1)
        ax.set(xlabel="step (lines: the mode changes)", title=title)
    axes[0].set_ylabel("expert that runs")
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="token_and_chunk_sparsity.png", help="the picture")
    options = parser.parse_args()
    main(options.quick, options.out)
