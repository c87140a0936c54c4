"""Which token mixers can look something up: cue recall, with the operations each takes.

Three of 32 tokens carry a motif and a label; the last token carries one of the motifs only, and the label that was with
it is asked for. One layer must carry what one token holds to another by what is in it: attention by content can, a
window or a gated memory of learnt patterns (Acharya 2025, arXiv:2509.00605) cannot, and attention per token mixes none
(QKFormer, arXiv:2403.16552). Gates (Qiu et al. 2025, arXiv:2505.06708) silence most of the output at no loss.
Operations are additions of the mixer per sample, selection included, by its event-driven run.
Run: python examples/45_cue_recall.py [--quick] [--out FILE]. Some three minutes. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from spikeframe.modules.attention import Layer, Mixer, Score, recipe
from spikeframe.modules.attention.scores import fire

TOKENS, LINES, HEADS = 32, 32, 2
MIXERS: dict[str, tuple[str, dict[str, Any], Score | None]] = {
    "overlap (Spikformer)": ("ssa", {}, None),
    "coincidence": ("ssa", {}, Score("coincidence")),
    "share": ("ssa", {}, Score("share")),
    "softmax": ("ssa", {}, Score("softmax")),
    "SDSA": ("sdsa", {}, None),
    "QK per token": ("token-qk", {}, None),
    "sigmoid gate": ("gated", {}, None),
    "spike gate": ("gated", {"spikes": True}, None),
    "spark, 4 keys": ("spark", {"k": 4, "lead": 8}, None),
    "NSA": ("nsa", {"block": 4, "k": 5, "window": 4}, None),
    "tree, 4 blocks": ("hip", {"keep": 4, "rows": 1}, None),
    "window of 8": ("power", {"window": 8, "sink": 0}, None),
    "memory": ("memory", {}, None),
}


def batch(size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return spikes ``[B, tokens, lines]`` and the label of the cue: 4 motifs and 4 labels of 4 lines each."""
    rate = torch.full((size, TOKENS, LINES), 0.02)
    places = torch.rand(size, TOKENS - 1, generator=generator).argsort(1)[:, :3]
    motifs = torch.rand(size, 4, generator=generator).argsort(1)[:, :3]
    labels = torch.randint(4, (size, 3), generator=generator)
    row = torch.arange(size)[:, None, None]
    line = torch.arange(4)
    rate[row, places[..., None], motifs[..., None] * 4 + line] = 0.9
    rate[row, places[..., None], 16 + labels[..., None] * 4 + line] = 0.9
    rate[torch.arange(size)[:, None], TOKENS - 1, motifs[:, :1] * 4 + line] = 0.9
    return (torch.rand(rate.shape, generator=generator) < rate).float(), labels[:, 0]


class Lookup(nn.Module):
    """One layer: queries, keys and values from spikes, a mixer, and a readout of the last token."""

    def __init__(self, mixer: Mixer) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(LINES, LINES, bias=False) for _ in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm1d(LINES) for _ in range(3))
        self.mixer, self.read = mixer, nn.Linear(LINES, 4)

    def spikes(self, x: Tensor) -> list[Tensor]:
        """Return q, k and v, ``[1, B, heads, tokens, features]``."""
        found = []
        for linear, norm in zip(self.maps, self.norms, strict=True):
            z = fire(norm(linear(x).flatten(0, 1)).view(x.shape) - 1.0)
            found.append(z.unflatten(-1, (HEADS, -1)).transpose(1, 2)[None])
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        out, _ = self.mixer(*self.spikes(x), x[None])
        return self.read(fire(out[0, :, :, -1].flatten(1) - 0.5))


def train(name: str, seed: int, steps: int) -> tuple[float, float]:
    """Train one; return its accuracy (%), and the additions of its mixer per sample."""
    torch.manual_seed(seed)
    kind, options, score = MIXERS[name]
    layer = Layer(LINES, HEADS, TOKENS, causal=kind == "memory")
    network = Lookup(recipe(kind, layer, score, **options))
    if kind == "gated":
        network.mixer.gate.map.bias.data.fill_(0.5)
    optimiser = torch.optim.AdamW(network.parameters(), 1e-2, weight_decay=1e-4)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x, y = batch(64, generator)
        loss = nn.functional.cross_entropy(network(x), y)
        if name == "spike gate":  # ask for a gate that is open less than a third of the time
            loss = loss + torch.relu(network.mixer.gate(x).mean() - 0.3)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.eval()
    x, y = batch(1000, generator)
    with torch.no_grad():
        accuracy = 100 * float((network(x).argmax(1) == y).double().mean())
        if score is not None and score.kind == "softmax":
            return accuracy, float("nan")  # no event-driven form
        done = network.mixer.events(*network.spikes(x[:100]), x[None, :100]).operations
    return accuracy, done.synaptic / 100


def draw(found: dict[str, tuple[float, float]], out: str) -> None:
    """Draw accuracy over additions."""
    figure = Figure(figsize=(7, 4.2), layout="constrained", facecolor="white")
    ax: Any = figure.subplots()
    for number, (name, (accuracy, operations)) in enumerate(found.items()):
        if operations == operations:
            shape = {"color": f"C{number % 10}", "marker": "os"[number // 10], "linestyle": ""}
            ax.plot(operations, accuracy, label=name, **shape)
    ax.axhline(25, color="#8b949e", linestyle=":", label="chance")
    ax.set(xscale="log", xlabel="operations of the mixer a sample", ylabel="test accuracy (%)", ylim=(0, 103))
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(*ax.get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside right center")
    figure.savefig(out, dpi=120)


def main(quick: bool = False, out: str = "cue_recall.png") -> Path:
    """Train all, print the table, and return the path of the picture."""
    names = list(MIXERS)[:: 5 if quick else 1]
    seeds, steps = (1, 5) if quick else (2, 600)
    found = {}
    print(f"{seeds} seeds, {steps} steps; accuracy of each; additions of the mixer a sample")
    for name in names:
        runs = [train(name, seed, steps) for seed in range(seeds)]
        found[name] = tuple(sum(column) / seeds for column in zip(*runs, strict=True))
        print(f"{name:22}{'  '.join(f'{a:5.1f} %' for a, _ in runs)}{found[name][1]:12,.0f}", flush=True)
    draw(found, out)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="cue_recall.png", help="the picture (default: cue_recall.png)")
    chosen = parser.parse_args()
    main(chosen.quick, chosen.out)
