"""Accuracy, spikes, synaptic operations and energy of sparse networks: recipes of weight and of activity sparsity.

One hidden layer of 100 LIF neurons reads the built-in event-camera digits (10 windows of 31 ms, 580 inputs) for 8
epochs. Weights: dense, and every family of recipes at 50, 75, 90 and 95 % missing weights of both layers together, plus
three one-shot methods on the dense network without retraining. Activity: two penalties while training, at four
strengths; event budgets, cores and k winners among the hidden neurons, and thresholds on size times column norm among
the input events (wina), put into the dense network afterwards, at four levels each. Energy is
arithmetic on 45 nm floats (`spikeframe.energy`, horowitz_fp32), selection included, per test recording.

    OMP_NUM_THREADS=1 python benchmarks/sparsity.py [--quick] [--seeds N] [--json FILE] [--png FILE]
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from common import machine, table, write_json
from matplotlib.figure import Figure
from torch import Tensor, nn

from spikeframe import datasets, energy
from spikeframe.learning_rules.sparse_training import baked
from spikeframe.modules.activation import recipes as activation
from spikeframe.modules.activation.budget import EventBudget
from spikeframe.modules.activation.calibrators import quantile
from spikeframe.modules.activation.core_set import CoreSet
from spikeframe.modules.activation.gates import ActivityGate, Threshold
from spikeframe.modules.activation.regularisers import evenness
from spikeframe.modules.activation.winners import KWinnersLIF
from spikeframe.modules.sparsity.one_shot import prune
from spikeframe.modules.sparsity.recipes import recipe
from spikeframe.neurons import LI, LIF, Sequential
from spikeframe.plots import style
from spikeframe.training import FrameCache, logits

STEPS, DT, TAU, HIDDEN, INPUTS, BATCH, LR = 10, 31.0, 100.0, 100, 580, 100, 4e-3
SPARSITIES = (0.5, 0.75, 0.9, 0.95)
TRAINED: dict[str, dict[str, Any]] = {
    "random": {}, "granet": {"every": 5}, "dst-ee": {"every": 5}, "srigl": {"every": 5}, "sr-ste": {"m": 20},
    "wgsef": {},
}  # fmt: skip
ONE_SHOT = ("magnitude", "wanda", "sparsegpt")
PENALTIES = {"flops": (0.3, 1.0, 3.0, 10.0), "prosparse": (0.01, 0.03, 0.1, 0.3)}
AFTERWARDS = {"budget": (12, 8, 5, 3), "coreinfer": (0.5, 0.3, 0.2, 0.1), "winners": (15, 10, 6, 3),
              "wina": (0.25, 0.5, 0.75, 0.9)}  # fmt: skip
Data = dict[str, tuple[Tensor, Tensor]]


def load(samples: int | None) -> Data:
    """Return frames ``[T, n, 580]`` and labels by split; two silent inputs fill the last group of 20."""
    found = {}
    for split in ("train", "test"):
        frames = FrameCache(datasets.load("digits", split=split), n_time_bins=STEPS, dt=DT, pool=2, samples=samples)
        x, labels = next(iter(frames.batches(len(frames))))
        found[split] = nn.functional.pad(x.flatten(2), (0, INPUTS - x[0, 0].numel())), labels
    return found


def network(seed: int, density: float) -> Sequential:
    torch.manual_seed(seed)
    model = Sequential(nn.Linear(INPUTS, HIDDEN, bias=False), LIF(tau_m=TAU, dt=DT, reset="value"),
                       nn.Linear(HIDDEN, 10, bias=False), LI(tau_m=TAU, dt=DT))  # fmt: skip
    nn.init.normal_(model[0].weight, std=(INPUTS * density * TAU / DT) ** -0.5)
    return model


def train(model: Sequential, data: Data, seed: int, epochs: int, run: Any = None, penalty: Any = None) -> None:
    x, labels = data["train"]
    optimizer = torch.optim.Adam(model.parameters(), LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(labels) // BATCH))
    if run is not None:
        run.follow(optimizer)
    spikes: list[Tensor] = []
    hook = model[1].register_forward_hook(lambda _, args, out: spikes.append(out[0]))
    generator = torch.Generator().manual_seed(seed)
    step = 0
    for _ in range(epochs):
        for rows in torch.randperm(len(labels), generator=generator).split(BATCH):
            spikes.clear()
            loss = nn.functional.cross_entropy(logits(model(x[:, rows])), labels[rows])
            if penalty is not None:
                loss = loss + penalty.penalty(spikes, step)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
    hook.remove()
    if run is not None:
        run.finish()


def measure(model: Sequential, data: Data, extra: dict[str, int] | None = None) -> dict[str, float]:
    """Return accuracy (%); hidden spikes, synaptic operations and energy (nJ) per recording; evenness of spikes."""
    x, labels = data["test"]
    model = baked(model).eval()
    sent: list[Tensor] = []
    hooks = [
        model[-2].register_forward_pre_hook(lambda _, args: sent.append(args[0])),
        model.register_forward_hook(lambda _, args, out: sent.append(logits(out))),
    ]
    counts = energy.count(model, x)
    for hook in hooks:
        hook.remove()
    scores = sent[1]
    if extra:
        last = list(counts)[-1]
        cost = {name: getattr(counts[last], name) + n * STEPS * len(labels) for name, n in extra.items()}
        counts[last] = replace(counts[last], **cost)
    total = energy.report(counts, "horowitz_fp32").total.spiking_pj
    return {
        "accuracy": 100.0 * float((scores.argmax(1) == labels).float().mean()),
        "spikes": float((sent[0] != 0).sum()) / len(labels),
        "sops": sum(c.syn_ac + c.syn_mac for c in counts.values()) / len(labels),
        "energy_nj": total / len(labels) / 1000.0, "evenness": evenness(sent[0]),
    }  # fmt: skip


def gated(model: Sequential, kind: str, value: Any, data: Data) -> tuple[Sequential, dict[str, int]]:
    """Return a copy of a trained network with a recipe behind or instead of its neurons, and its cost a step."""
    first, neurons, second, readout = copy.deepcopy(model)
    if kind == "wina":
        x = data["train"][0]
        norm = first.weight.detach().norm(dim=0)
        gate = ActivityGate(Threshold(quantile((x * norm)[x > 0], value)), norm)
        events = round(float((data["test"][0] > 0).sum()) / (STEPS * data["test"][0].shape[1]))
        return Sequential(gate, first, neurons, second, readout), {"neu_cmp": events, "neu_mac": events}
    if kind == "winners":
        made = KWinnersLIF(value, tau_m=TAU, dt=DT, v_th=float(neurons.v_th))
        return Sequential(first, made, second, readout), made.cost(HIDDEN)
    if kind == "budget":
        norm = second.weight.detach().norm(dim=0)
        return (Sequential(first, neurons, EventBudget(value, norm), second, readout),
                {"neu_cmp": 7 * HIDDEN, "neu_mac": HIDDEN})  # fmt: skip
    return Sequential(first, neurons, CoreSet(3, value), second, readout), {"neu_ac": HIDDEN * 3 // STEPS}


def draw(rows: list[dict[str, Any]], png: str) -> None:
    figure = Figure(figsize=(10, 7), layout="constrained", facecolor="white")
    axes = figure.subplots(2, 2)
    colours = dict(zip((*TRAINED, *ONE_SHOT), (*style.CYCLE, style.INK, style.MUTED, "#b8860b"), strict=True))
    colours |= dict(zip((*PENALTIES, *AFTERWARDS), style.CYCLE, strict=False))

    def lines(ax: Any, methods: Any, x: str, y: str, part: str) -> None:
        for method in methods:
            points = sorted((r[x] if x == "sparsity" else r["mean"][x], r["mean"][y], r["std"][y])
                            for r in rows if r["method"] == method and r["part"] == part)  # fmt: skip
            at, mean, std = (np.array(v) for v in zip(*points, strict=True))
            at = 100 * at if x == "sparsity" else at
            ax.plot(at, mean, "o--" if method in ONE_SHOT else "o-", ms=3, lw=1.2, color=colours[method], label=method)
            ax.fill_between(at, mean - std, mean + std, color=colours[method], alpha=0.12, lw=0)
        dense = next(r for r in rows if r["method"] == "dense")["mean"]
        if x == "sparsity":
            ax.axhline(dense[y], color=style.INK, lw=0.8, ls=":", label="dense")
        else:
            ax.plot(dense[x], dense[y], "*", color=style.INK, ms=9, label="dense")

    methods = (*TRAINED, *ONE_SHOT)
    lines(axes[0, 0], methods, "sparsity", "accuracy", "weights")
    style.tidy(axes[0, 0], "Missing weights", "missing weights (%)", "test accuracy (%)")
    style.legend(axes[0, 0], loc="lower left", ncols=2)
    lines(axes[0, 1], methods, "sparsity", "energy_nj", "weights")
    style.tidy(axes[0, 1], "Energy of missing weights", "missing weights (%)", "energy a recording (nJ)")
    lines(axes[1, 0], (*PENALTIES, *list(AFTERWARDS)[:3]), "spikes", "accuracy", "activity")
    style.tidy(axes[1, 0], "Sparse activity, from strength to strength", "hidden spikes sent a recording",
               "test accuracy (%)")  # fmt: skip
    style.legend(axes[1, 0], loc="lower right")
    lines(axes[1, 1], (*PENALTIES, *AFTERWARDS), "energy_nj", "accuracy", "activity")
    style.tidy(axes[1, 1], "The same over energy, selection included", "energy a recording (nJ)", "test accuracy (%)")
    style.legend(axes[1, 1], loc="center")
    figure.savefig(png, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, few recordings, one epoch")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", default=None)
    parser.add_argument("--png", default="sparsity.png")
    options = parser.parse_args()
    samples, epochs, seeds = (100, 1, 1) if options.quick else (None, 8, options.seeds)
    sparsities, few = ((0.9,), 1) if options.quick else (SPARSITIES, None)
    began = time.perf_counter()
    data = load(samples)
    density = float((data["train"][0] ** 2).mean())
    steps = epochs * -(-len(data["train"][1]) // BATCH)
    found: dict[tuple[str, str, Any], list[dict[str, float]]] = {}

    def put(part: str, method: str, level: Any, values: dict[str, float]) -> None:
        found.setdefault((part, method, level), []).append(values)

    def trained(seed: int, run: Callable[[Sequential], Any] | None = None, penalty: Any = None) -> Sequential:
        model = network(seed, density)
        train(model, data, seed, epochs, None if run is None else run(model), penalty)
        return model

    for seed in range(seeds):
        dense = trained(seed)
        put("weights", "dense", 0.0, measure(dense, data))
        for sparsity in sparsities:
            for name, more in TRAINED.items():
                made = trained(
                    seed,
                    lambda m, n=name, s=sparsity, o=more: recipe(n, m, s, steps, seed=seed * 7, **o),  # noqa: B023
                )
                put("weights", name, sparsity, measure(made, data))
            for name in ONE_SHOT:
                model = copy.deepcopy(dense)
                prune(model, name, sparsity, data["train"][0][:, :300])
                put("weights", name, sparsity, measure(model, data))
        for name, strengths in PENALTIES.items():
            for strength in strengths[:few]:
                half = max(1, steps // 2)
                ramp = (strength, half) if name == "flops" else ((0.0, strength), (half,))
                put("activity", name, strength, measure(trained(seed, penalty=activation.recipe(name)(*ramp)), data))
        for name, levels in AFTERWARDS.items():
            for level in levels[:few]:
                put("activity", name, level, measure(*gated_measure(dense, data, name, level)))
        print(f"seed {seed}: {time.perf_counter() - began:.0f} s", flush=True)
    rows = []
    for (part, method, level), runs in found.items():
        keys = list(runs[0])
        rows.append({
            "part": part, "method": method, "sparsity" if part == "weights" else "threshold": level,
            "mean": {k: float(np.mean([r[k] for r in runs])) for k in keys},
            "std": {k: float(np.std([r[k] for r in runs])) for k in keys},
            "accuracies": [r["accuracy"] for r in runs],
        })  # fmt: skip
    head = ["method", "level", "accuracy %", "+-", "spikes", "sops", "energy nJ", "evenness"]
    shown = ("spikes", "sops", "energy_nj", "evenness")
    print(table([[r["method"], r.get("sparsity", r.get("threshold")), r["mean"]["accuracy"], r["std"]["accuracy"],
                  *(r["mean"][k] for k in shown)] for r in rows], head))  # fmt: skip
    seconds = time.perf_counter() - began
    print(f"{seconds:.0f} s, {machine()['processor']}")
    draw(rows, options.png)
    print(f"picture: {options.png}")
    write_json(options.json, {"seeds": seeds, "epochs": epochs, "seconds": round(seconds), "rows": rows})


def gated_measure(dense: Sequential, data: Data, name: str, level: Any) -> tuple[Sequential, Data, dict[str, int]]:
    model, cost = gated(dense, name, level, data)
    return model, data, cost


if __name__ == "__main__":
    main()
