"""Sparse activity in six pictures: which inputs, units, neurons, spikes and places a network can do without.

A. Gating a layer's input after training: by size, by size times column norm (WINA, arXiv:2505.19427), with a low-rank
   rest (R-Sparse, arXiv:2504.19449). Published: 2.94 points more than by size at equal sparsity (WINA).
B. A gated block: one threshold, one per channel (CHESS, arXiv:2409.01366), and the statistical top-k of the Spark
   Transformer (arXiv:2506.06644; 8 % of the units, 2.5 times fewer operations).
C. Neurons: a core chosen in the first steps (CoreInfer, arXiv:2410.18311), and an event budget that defers.
D. Penalties while training: squared means (FLOPs, arXiv:2004.05665) and l1 in sine stages (ProSparse,
   arXiv:2402.13516; 89 % in LLaMA2-7B), accuracy and evenness over spikes.
E. Cuts that cost 1, 3, 10 and 30 % of the exponential of the loss (PPL-p%, arXiv:2411.02335).
F. The same pixels left out in all channels (semi-structured, arXiv:2309.06626; 10 to 30 % at 1.1 to 1.4 times the
   speed): drawn, or by how many events they send.
The network has 100 LIF neurons and reads the built-in event-camera digits; A and B gate the currents of its hidden
neurons. Run: python examples/53_sparse_activity.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from spikeframe import datasets
from spikeframe.modules.activation import recipes
from spikeframe.modules.activation.budget import EventBudget
from spikeframe.modules.activation.core_set import CoreSet
from spikeframe.modules.activation.gated_block import GatedBlock
from spikeframe.modules.activation.gates import ActivityGate, StatTopK, Threshold
from spikeframe.modules.activation.regularisers import evenness
from spikeframe.neurons import LI, LIF, Sequential
from spikeframe.plots import style
from spikeframe.training import FrameCache, evaluate, logits

HIDDEN, DT, TAU, BATCH = 100, 31.0, 100.0, 100
Data = dict[str, tuple[Tensor, Tensor]]


def network(inputs: int, density: float, seed: int) -> Sequential:
    """Return a network of one hidden layer."""
    torch.manual_seed(seed)
    model = Sequential(nn.Linear(inputs, HIDDEN, bias=False), LIF(tau_m=TAU, dt=DT, reset="value"),
                       nn.Linear(HIDDEN, 10, bias=False), LI(tau_m=TAU, dt=DT))  # fmt: skip
    nn.init.normal_(model[0].weight, std=(inputs * density * TAU / DT) ** -0.5)
    return model


def trained(data: Data, seed: int, epochs: int, penalty: Any = None) -> Sequential:
    """Train a network, with a penalty of its hidden spikes if one is given."""
    x, labels = data["train"]
    model = network(x.shape[2], float((x * x).mean()), seed)
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    generator = torch.Generator().manual_seed(seed)
    seen: list[Tensor] = []
    model[1].register_forward_hook(lambda _, args, out: seen.append(out[0]))
    step = 0
    for _ in range(epochs):
        for rows in torch.randperm(len(labels), generator=generator).split(BATCH):
            seen.clear()
            loss = nn.functional.cross_entropy(logits(model(x[:, rows])), labels[rows])
            if penalty is not None:
                loss = loss + penalty.penalty(seen, step)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    model[1]._forward_hooks.clear()
    return model.eval()


def accuracy(model: nn.Module, data: Data) -> float:
    """Return the test accuracy, %."""
    return 100.0 * evaluate(model, [data["test"]]).accuracy


def error(found: Tensor, wanted: Tensor) -> float:
    """Return the relative squared error."""
    return float((((found - wanted) ** 2).sum() / (wanted**2).sum()).detach())


def layers(data: Data, model: Sequential) -> dict[str, list[tuple[float, float]]]:
    """A: error of a layer on graded inputs (hidden currents), over the share of its inputs that is left out."""
    x = model[0](data["test"][0]).detach()
    torch.manual_seed(0)
    dense = nn.Linear(HIDDEN, 64, bias=False)
    with torch.no_grad():
        dense.weight *= torch.exp(0.8 * torch.randn(HIDDEN))
        wanted = dense(x)
    found: dict[str, list[tuple[float, float]]] = {"size": [], "WINA": [], "R-Sparse": []}
    for s in (0.3, 0.5, 0.65, 0.8, 0.9):
        for name, made in (("size", recipes.wina(dense, s, x, weighted=False)), ("WINA", recipes.wina(dense, s, x)),
                           ("R-Sparse", recipes.r_sparse(dense, x, s))):  # fmt: skip
            with torch.no_grad():
                found[name].append((100 * s, error(made(x)[0], wanted)))
    return found


def blocks(data: Data, model: Sequential) -> dict[str, list[tuple[float, float]]]:
    """B: error of a gated block over the share of its units that is silent."""
    x = model[0](data["test"][0]).detach()
    torch.manual_seed(1)
    parts = [nn.Linear(HIDDEN, 128, bias=False), nn.Linear(HIDDEN, 128, bias=False), nn.Linear(128, 64, bias=False)]
    with torch.no_grad():
        parts[1].weight *= torch.exp(torch.randn(128, 1))
    whole = GatedBlock(*parts, ActivityGate(Threshold(0.0)), activation=nn.functional.silu, inside=False)
    found: dict[str, list[tuple[float, float]]] = {"one threshold": [], "CHESS": [], "statistical top-k": []}
    with torch.no_grad():
        wanted = whole(x)[0]
        for s in (0.3, 0.5, 0.7, 0.9):
            statistical = ActivityGate(StatTopK(max(1, round((1 - s) * 128))))
            made = {
                "one threshold": recipes.chess(*parts, x, s, per_channel=False),
                "CHESS": recipes.chess(*parts, x, s),
                "statistical top-k": GatedBlock(*parts, statistical, activation=nn.functional.silu, inside=False),
            }
            for name, block in made.items():
                silent = 100 * float((block.gated(x) == 0).float().mean())
                found[name].append((silent, error(block(x)[0], wanted)))
    return found


def afterwards(data: Data, model: Sequential) -> dict[str, list[tuple[float, float]]]:
    """C: test accuracy over the hidden spikes that are still sent, per recording."""
    first, neurons, second, readout = copy.deepcopy(model)
    spikes = Sequential(first, neurons)(data["test"][0])[0].detach()
    found: dict[str, list[tuple[float, float]]] = {"core": [], "budget": []}
    norm = second.weight.detach().norm(dim=0)
    for name, part in [*(("core", CoreSet(3, b)) for b in (1.0, 0.5, 0.3, 0.2, 0.1)),
                       *(("budget", EventBudget(k, norm)) for k in (100, 12, 8, 5, 3))]:  # fmt: skip
        sent = float((part(spikes)[0] != 0).sum()) / spikes.shape[1]
        found[name].append((sent, accuracy(Sequential(first, neurons, part, second, readout), data)))
    return found


def penalties(data: Data, epochs: int, seeds: int, few: int | None) -> dict[str, list[tuple[float, float, float]]]:
    """D: accuracy and evenness over hidden spikes per recording, for penalties of rising strength."""
    half = max(1, epochs * -(-len(data["train"][1]) // BATCH) // 2)
    kinds: dict[str, list[Any]] = {
        "none": [None],
        "FLOPs": [recipes.Flops(v, half) for v in (1.0, 3.0, 10.0)][:few],
        "ProSparse": [recipes.ProSparse((0.0, v / 3, v), (half // 2 + 1, half)) for v in (0.03, 0.1, 0.3)][:few],
    }
    found: dict[str, list[tuple[float, float, float]]] = {}
    for name, made in kinds.items():
        for penalty in made:
            runs = []
            for seed in range(seeds):
                model = trained(data, seed, epochs, penalty)
                spikes = model[1](model[0](data["test"][0]))[0].detach()
                runs.append((float(spikes.sum()) / spikes.shape[1], accuracy(model, data), evenness(spikes)))
            found.setdefault(name, []).append(tuple(np.mean(runs, 0)))
    return found


def cuts(data: Data, model: Sequential) -> list[tuple[float, float, float]]:
    """E: share of the inputs of the first layer still read, and accuracy, for losses that may rise by p %."""
    x, labels = data["train"][0][:, :60], data["train"][1][:60]
    found = []
    for p in (1.0, 3.0, 10.0, 30.0):

        def loss(made: list[Any]) -> float:
            with torch.no_grad():
                out = Sequential(Through(made[0]), *list(model)[1:])(x)
            return float(nn.functional.cross_entropy(logits(out), labels))

        made, _ = recipes.loss_cuts([model[0]], [x], loss, p, tolerance=1e-2)
        cut = Sequential(Through(made[0]), *list(model)[1:])
        read = float((made[0].gate(data["test"][0]) != 0).sum() / (data["test"][0] != 0).sum())
        found.append((p, 100 * read, accuracy(cut, data)))
    return found


class Through(nn.Module):
    """A gated layer as `Sequential` calls a stateless one."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return the output without a state."""
        found: Tensor = self.layer(x[None])[0][0]
        return found


def places(data: Data, shape: tuple[int, ...], epochs: int, seeds: int) -> dict[str, list[tuple[float, float]]]:
    """F: accuracy over the pixels that are left out; networks are trained on what is left."""
    found: dict[str, list[tuple[float, float]]] = {"drawn": [], "fewest events": []}
    events = data["train"][0].unflatten(2, shape).sum((0, 1, 2))
    for s in (0.1, 0.3, 0.5, 0.7):
        for name, scores in (("drawn", None), ("fewest events", events)):
            runs = []
            for seed in range(seeds):
                gate = recipes.semi_structured(shape[1:], s, scores=scores, seed=seed)
                gate.positions.advance()
                kept = {k: (gate(x.unflatten(2, shape)).flatten(2), y) for k, (x, y) in data.items()}
                runs.append(accuracy(trained(kept, seed, epochs), kept))
            found[name].append((100 * s, float(np.mean(runs))))
    return found


def main(quick: bool = False, out: str = "sparse_activity.png") -> Path:
    """Run all six, print the tables, and return the path of the picture."""
    samples, epochs, seeds, few = (60, 1, 1, 1) if quick else (None, 8, 2, None)
    data: Data = {}
    for split in ("train", "test"):
        frames = FrameCache(datasets.load("digits", split=split), n_time_bins=10, dt=DT, pool=2, samples=samples)
        x, labels = next(iter(frames.batches(len(frames))))
        data[split] = x.flatten(2), labels
    shape = tuple(int(n) for n in frames.shape[1:])
    model = trained(data, 0, epochs)
    print(f"dense: {accuracy(model, data):.1f} %")
    panels: list[tuple[str, str, str, Any]] = [
        ("A. Inputs of a layer", "left out (%)", "relative squared error", layers(data, model)),
        ("B. Units of a gated block", "silent (%)", "relative squared error", blocks(data, model)),
        ("C. Spikes sent, afterwards", "hidden spikes a recording", "test accuracy (%)", afterwards(data, model)),
        ("D. Spikes sent, by penalty (number: evenness)", "hidden spikes a recording", "test accuracy (%)",
         penalties(data, epochs, seeds, few)),
        ("E. Inputs cut at a loss", "inputs still read (%)", "test accuracy (%)",
         {"loss raised by 1, 3, 10, 30 %": [v[1:] for v in cuts(data, model)]}),
        ("F. Pixels left out", "left out (%)", "test accuracy (%)", places(data, shape, epochs, seeds)),
    ]  # fmt: skip
    figure = Figure(figsize=(12, 6.6), layout="constrained", facecolor="white")
    for ax, (title, x_label, y_label, found) in zip(figure.subplots(2, 3).flat, panels, strict=True):
        print(title)
        for (name, points), colour in zip(found.items(), style.CYCLE, strict=False):
            print(f"  {name:18}" + "  ".join(" ".join(f"{v:.3g}" for v in point) for point in points))
            wide = 2.0 if name == "WINA" else 1.0  # R-Sparse finds the same and would hide it
            x_y = [p[0] for p in points], [p[1] for p in points]
            ax.plot(*x_y, "o-", ms=3 * wide, lw=1.3 * wide, color=colour, label=name)
            for p in points:
                if len(p) == 3:
                    ax.annotate(f"{p[2]:.1f}", (p[0], p[1]), xytext=(3, 3), textcoords="offset points", fontsize=7)
        style.tidy(ax, title, x_label, y_label)
        if "error" in y_label:
            ax.set_yscale("log")
        style.legend(ax)
    print("numbers beside points of D: evenness of spikes (1: all neurons alike)")
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="sparse_activity.png", help="the picture (default: sparse_activity.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
