"""Six gradient rules on the built-in event digits: what each keeps of time, and what that does to its gradient.

BPTT keeps every step; truncated BPTT a window; SLTT (Meng et al. 2023, arXiv:2302.14311) one step; OTTT (Xiao et al.
2022, arXiv:2210.04195) one step and a trace of every input; e-prop (Bellec et al. 2020,
doi:10.1038/s41467-020-17236-y) a trace of every synapse. On the left is the cosine between a rule's gradient and that
of BPTT over the number of steps that a recording is cut into, on the right the test accuracy of networks trained by
each. Memory and time over T are measured by benchmarks/learning.py.
Run: python examples/24_gradient_rules.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import nn

from spikeframe import datasets
from spikeframe.learning_rules import BPTT, OTTT, SLTT, EProp, TruncatedBPTT
from spikeframe.neurons import LI, LIF, Sequential
from spikeframe.training import FrameCache

DURATION, POOL = 310.0, 2  # ms, pixels
RULES = {
    "BPTT": BPTT,
    "truncated, 5 steps": lambda model: TruncatedBPTT(model, 5),
    "SLTT": lambda model: SLTT(model, chunk=10),
    "SLTT-K, K = 5": lambda model: SLTT(model, k=5, chunk=10),
    "OTTT": OTTT,
    "e-prop": EProp,
}


def frames(split: str, steps: int, samples: int | None) -> FrameCache:
    """Return recordings cut into `steps` windows."""
    data = datasets.load("digits", split=split)
    return FrameCache(data, n_time_bins=steps, dt=DURATION / steps, pool=POOL, samples=samples)


def network(cache: FrameCache) -> Sequential:
    """Return the network before training."""
    torch.manual_seed(0)
    inputs = cache.shape[1] * cache.shape[2] * cache.shape[3]
    model = Sequential(
        nn.Flatten(),
        nn.Linear(inputs, 64, bias=False),
        LIF(tau_m=100.0, dt=cache.dt, detach_reset=True),
        nn.Linear(64, 10, bias=False),
        LI(tau_m=100.0, dt=cache.dt),
    )
    nn.init.normal_(model[1].weight, 0.0, (inputs * cache.density) ** -0.5)
    return model


def direction(rule: str, model: Sequential, cache: FrameCache) -> torch.Tensor:
    """Return a rule's gradient of one batch, flattened."""
    model.zero_grad()
    RULES[rule](model).backward(*cache.batch(range(len(cache))))
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def train(rule: str, learning: FrameCache, test: FrameCache, epochs: int) -> list[float]:
    """Train by a rule; return the test accuracy (%) after every epoch."""
    model = network(learning)
    learner = RULES[rule](model)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    x, labels = test.batch(range(len(test)))
    found = []
    for epoch in range(epochs):
        for batch in learning.batches(32, 0, epoch):
            optimizer.zero_grad()
            learner.backward(*batch)
            optimizer.step()
        with torch.no_grad():
            found.append(100 * float((model(x)[0].mean(0).argmax(1) == labels).float().mean()))
    return found


def main(quick: bool = False, out: str = "gradient_rules.png") -> Path:
    """Compare directions and accuracies and return the path of the picture."""
    lengths = (5, 10) if quick else (5, 10, 31, 62, 155)
    learning = frames("train", 10 if quick else 31, 100 if quick else None)
    test = frames("test", 10 if quick else 31, 50 if quick else None)
    figure = Figure(figsize=(10, 4), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    directions: dict[str, list[float]] = {}
    for steps in lengths:
        cache = frames("train", steps, 64)
        model = network(cache)
        exact = direction("BPTT", model, cache)
        for rule in RULES:
            cosine = torch.cosine_similarity(direction(rule, model, cache), exact, 0)
            directions.setdefault(rule, []).append(float(cosine))
    print(f"{'rule':20}{'cosine at T = ' + str(lengths[-1]):>18}{'test accuracy':>15}")
    for rule in RULES:
        curve = train(rule, learning, test, 1 if quick else 5)
        left.plot(lengths, directions[rule], "o-", markersize=4, label=rule)
        right.plot(range(1, len(curve) + 1), curve, "o-", markersize=4, label=rule)
        print(f"{rule:20}{directions[rule][-1]:18.3f}{curve[-1]:13.1f} %")
    left.set(
        xscale="log", xlabel="steps T", ylabel="cosine with BPTT", title="Direction before training", ylim=(0, 1.05)
    )
    right.set(xlabel="epoch", ylabel="test accuracy (%)", title=f"Training, T = {learning.shape[0]}")
    left.set_xticks(lengths, [str(steps) for steps in lengths])
    left.minorticks_off()
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.legend(fontsize=8)
    for ax in (left, right):
        ax.title.set(fontsize=10, horizontalalignment="left", x=0.0)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="gradient_rules.png", help="the picture (default: gradient_rules.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
