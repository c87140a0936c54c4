"""Sparse networks by search, by averaging and by size: five baselines worth running before anything clever.

A network of 64 LIF neurons learns the built-in event-camera digits.
1. Concrete tickets (arXiv:2512.07142), masks found before training, beside random ones of the same counts by layer and
   ERK ones, 80 and 95 % missing. Published: 74.0 % at 99.3 % (ResNet-20, CIFAR-10), rewound tickets 68.3 %.
2. Random search (arXiv:2403.08265): the best of 50 choices of a quarter of the hidden neurons, one choice, all neurons.
   Published: no better than one random choice.
3. Prune and retrain in three levels (60, 84, 94 %): one copy at a time, soups of three (arXiv:2306.16788), and SWAMP,
   three rewound copies averaged over their last epochs (arXiv:2305.14852).
4. Sparse-IFT (arXiv:2303.11525): wider, parallel and factorized sparse layers of as many weights, trained by RigL.
   Published: 3.5 points more at equal operations (ResNet-18, ImageNet).
Run: python examples/52_tickets_and_soups.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.func import functional_call

from spikeframe import datasets
from spikeframe.learning_rules.rewiring import Rewiring
from spikeframe.learning_rules.sparse_training import SparseTraining
from spikeframe.modules.sparsity import iso_flops
from spikeframe.modules.sparsity.averaging import prune_retrain
from spikeframe.modules.sparsity.masks import mask_layers
from spikeframe.modules.sparsity.recipes import recipe
from spikeframe.modules.sparsity.tickets import concrete_tickets, random_search
from spikeframe.neurons import LI, LIF, Sequential
from spikeframe.plots import style
from spikeframe.training import FrameCache, evaluate, fit, logits

HIDDEN, DT, TAU, BATCH = 64, 31.0, 100.0, 100
Frames = dict[str, FrameCache]


def lif() -> LIF:
    """Return a hidden population."""
    return LIF(tau_m=TAU, dt=DT, reset="value")


def network(seed: int, frames: Frames, layers: list[nn.Module] | None = None) -> Sequential:
    """Return a network of one hidden layer, or one with other layers in the place of its input layer."""
    torch.manual_seed(seed)
    inputs = int(np.prod(frames["train"].shape[1:]))
    if layers is None:
        layers = [nn.Linear(inputs, HIDDEN, bias=False)]
        nn.init.normal_(layers[0].weight, std=(inputs * frames["train"].density * TAU / DT) ** -0.5)
    out = next(x.out_features for x in reversed(list(nn.ModuleList(layers).modules())) if isinstance(x, nn.Linear))
    return Sequential(nn.Flatten(), *layers, lif(), nn.Linear(out, 10, bias=False), LI(tau_m=TAU, dt=DT))


def train(model: Sequential, frames: Frames, epochs: int, seed: int, optimizer: Any = None) -> Sequential:
    """Train a network in place."""
    optimizer = optimizer or torch.optim.Adam(model.parameters(), 4e-3)
    fit(model, frames["train"], epochs=epochs, optimizer=optimizer, batch_size=BATCH, seed=seed, progress=False)
    return model


def score(model: nn.Module, frames: Frames) -> float:
    """Return the test accuracy, %."""
    return 100.0 * evaluate(model, frames["test"].batches(200)).accuracy


def with_tickets(seed: int, frames: Frames, epochs: int, steps: int, sparsity: float) -> dict[str, float]:
    """Return accuracies of networks whose masks were found before training (after two epochs for the weights)."""
    start = train(network(seed, frames), frames, 1, seed)
    batches = [x for x, _ in frames["train"].batches(200)][:4]
    masks = concrete_tickets(start, batches, sparsity, steps=steps, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    mixed = {n: m.flatten()[torch.randperm(m.numel(), generator=generator)].reshape(m.shape) for n, m in masks.items()}
    found = {}
    for name, chosen in (("concrete", masks), ("shuffled", mixed)):
        model = copy.deepcopy(start)
        mask_layers(model, chosen, rescale=True)
        found[f"{name} {100 * sparsity:.0f} %"] = score(train(model, frames, epochs, seed), frames)
    model = copy.deepcopy(start)
    recipe("random", model, sparsity, 1, seed=seed).finish()
    return found | {f"ERK {100 * sparsity:.0f} %": score(train(model, frames, epochs, seed), frames)}


def by_search(seed: int, frames: Frames, epochs: int, candidates: int) -> dict[str, float]:
    """Return accuracies of networks with a quarter of the hidden neurons, chosen or not, and of the whole one."""
    model = network(seed, frames)
    x, labels = next(iter(frames["train"].batches(200)))

    def loss(m: nn.Module, weights: dict[str, Tensor]) -> float:
        return float(nn.functional.cross_entropy(logits(functional_call(m, weights, (x,))), labels))

    best, _ = random_search(model, loss, 0.25, candidates=candidates, seed=seed)
    one, _ = random_search(model, loss, 0.25, candidates=1, seed=seed + 1000)
    found = {}
    for name, masks in ((f"best of {candidates}", best), ("one choice", one), ("all neurons", None)):
        copied = copy.deepcopy(model)
        if masks is not None:
            mask_layers(copied, masks)
        found[name] = score(train(copied, frames, epochs, seed), frames)
    return found


def by_averaging(seed: int, frames: Frames, epochs: int) -> dict[str, float]:
    """Return accuracies of the last level of prune and retrain, alone, as soup and as SWAMP."""
    early = train(network(seed, frames), frames, 1, seed)
    start = {k: v.clone() for k, v in early.state_dict().items()}
    trained = train(early, frames, epochs, seed)
    scores: list[float] = []

    def retrain(model: nn.Module, number: int, seen: Callable[[], None]) -> None:
        optimizer = torch.optim.Adam(model.parameters(), 2e-3)
        for epoch in range(epochs):
            train(model, frames, 1, 1000 * (number + 1) + 100 * seed + epoch, optimizer)
            seen()
        scores.append(score(model, frames))

    found = {}
    for name, options in (("one copy", {"members": 1}), ("soup of 3", {}), ("SWAMP", {"rewind": start, "tail": 0.5})):
        model = copy.deepcopy(trained)
        prune_retrain(model, retrain, [0.6, 0.84, 0.94], **options)  # type: ignore[arg-type]
        found[name] = score(model, frames)
        if name == "soup of 3":
            found["its mean member"] = float(np.mean(scores[-3:]))
    return found


def by_size(seed: int, frames: Frames, epochs: int, sparsity: float) -> dict[str, float]:
    """Return accuracies of networks with as many weights as the dense one."""
    inputs = int(np.prod(frames["train"].shape[1:]))
    scale = (inputs * frames["train"].density * TAU / DT) ** -0.5
    found = {"dense": score(train(network(seed, frames), frames, epochs, seed), frames)}
    torch.manual_seed(seed)
    wider = iso_flops.wide([inputs, HIDDEN, 10], sparsity, seed)
    first, second = iso_flops.factorized(inputs, HIDDEN, sparsity, seed)
    kinds: dict[str, list[nn.Module]] = {
        "wide": [wider[0]],
        "parallel": [iso_flops.parallel(inputs, HIDDEN, sparsity, seed=seed)],
        "factorized": [first, lif(), second],
    }
    for name, layers in kinds.items():
        for layer in nn.ModuleList(layers).modules():
            if isinstance(layer, nn.Linear) and layer.in_features == inputs:
                with torch.no_grad():
                    held: Any = layer.parametrizations
                    held["weight"].original.mul_(scale * (3 * inputs) ** 0.5)
        model = network(seed, frames, layers)
        if name == "wide":
            model[-2] = wider[1]
        optimizer = torch.optim.Adam(model.parameters(), 4e-3)
        until = max(1, 3 * epochs * -(-len(frames["train"]) // BATCH) // 4)
        for k, layer in enumerate(model.modules()):
            if isinstance(layer, nn.Linear) and hasattr(layer, "parametrizations"):
                SparseTraining(layer, optimizer, Rewiring(0.3, grow="gradient", seed=k), 5, until=until)
        found[name] = score(train(model, frames, epochs, seed, optimizer), frames)
    return found


def draw(found: dict[str, dict[str, list[float]]], out: str) -> None:
    """Draw a panel per question, every seed a dot, means as lines."""
    figure = Figure(figsize=(12, 3.6), layout="constrained", facecolor="white")
    for ax, (title, runs) in zip(figure.subplots(1, len(found)), found.items(), strict=True):
        for place, (values, colour) in enumerate(zip(runs.values(), style.CYCLE, strict=False)):
            ax.plot([place - 0.3, place + 0.3], [np.mean(values)] * 2, color=colour, lw=2.5, solid_capstyle="butt")
            ax.plot([place] * len(values), values, "o", ms=3.5, color=colour)
        ax.set_xticks(range(len(runs)), runs, rotation=30, ha="right")
        style.tidy(ax, title, "", "test accuracy (%)")
    figure.savefig(out, dpi=120)


def main(quick: bool = False, out: str = "tickets_and_soups.png") -> Path:
    """Run all four, print the tables, and return the path of the picture."""
    samples, epochs, seeds, steps = (60, 1, 1, 5) if quick else (None, 4, 3, 60)
    frames = {
        split: FrameCache(datasets.load("digits", split=split), n_time_bins=10, dt=DT, pool=2, samples=samples)
        for split in ("train", "test")
    }
    questions: dict[str, Callable[[int], dict[str, float]]] = {
        "Concrete tickets": lambda seed: (
            with_tickets(seed, frames, epochs, steps, 0.8) | with_tickets(seed, frames, epochs, steps, 0.95)
        ),
        "Random search": lambda seed: by_search(seed, frames, epochs, 5 if quick else 50),
        "Averages, 94 % missing": lambda seed: by_averaging(seed, frames, max(1, epochs // 2)),
        "As many weights, s = 0.75": lambda seed: by_size(seed, frames, epochs, 0.75),
    }
    found: dict[str, dict[str, list[float]]] = {}
    for title, ask in questions.items():
        runs: dict[str, list[float]] = found.setdefault(title, {})
        for seed in range(seeds):
            for name, value in ask(seed).items():
                runs.setdefault(name, []).append(value)
        cells = [f"{name} {np.mean(v):.1f} +- {np.std(v):.1f}" for name, v in runs.items()]
        print(f"{title} ({seeds} seeds, %): " + ", ".join(cells), flush=True)
    draw(found, out)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="tickets_and_soups.png", help="the picture (default: tickets_and_soups.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
