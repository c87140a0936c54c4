"""Attention on spikes: what recipes cost and keep, and when event-driven attention beats dense.

`accuracy`: a small spiking transformer (`spikeframe.modules.attention.Classifier`) on digits before an event camera (64
patches of 4 x 4 pixels as tokens, 2 steps) and on spoken digits (50 stretches of 20 ms as tokens, in order of time, 2
steps; from SPIKEFRAME_DATA/fsdd_shd_mini, left out where that is missing). All pairs by overlap are the baseline; each
recipe is trained alike, 3 seeds; `coincidence` is all pairs, thresholded at two common spikes; `ssa-linear` is the
baseline's network with its sums in the other order. Operations are counted by the event-driven run, selection included:
of the mixer, and of the whole block. Energy: 45 nm arithmetic, fp32.

`speed`: random spikes of a rate, 4 heads of 1024 tokens and 64 features: masked dense, block gather and event-driven
runs of the same plan take turns; medians. The choice that the library makes is beside them.

    python benchmarks/attention.py [accuracy] [speed] [--quick] [--json FILE] [--figure FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import interleaved_seconds, table, write_json
from matplotlib.figure import Figure
from torch import Tensor

from spikeframe import datasets, energy
from spikeframe.modules.attention import (
    Classifier,
    Layer,
    Score,
    Selection,
    Sums,
    TopK,
    choose,
    dense,
    events,
    everything,
    gather,
    patches,
    recipe,
    time_tokens,
)  # fmt: skip
from spikeframe.training import FrameCache

WIDTH, HEADS, BATCH = 32, 2, 32
RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "digits": {
        "ssa": {}, "sdsa": {}, "biformer": {"regions": 2, "k": 1, "local": False}, "spark": {"k": 8},
        "coincidence": {},
    },
    "speech": {
        "ssa": {}, "sdsa": {}, "nsa": {"block": 5, "k": 5, "window": 5}, "power": {"window": 3}, "gla": {},
    },
}  # fmt: skip
EPOCHS = {"digits": 8, "speech": 12}
Data = dict[str, tuple[Tensor, Tensor]]


def digits(samples: int | None) -> tuple[Data, Layer]:
    """Return tokens ``[T, n, tokens, inputs]`` and labels of each part, and what the blocks are made for."""
    found = {}
    for split in ("train", "test"):
        frames = FrameCache(datasets.load("digits", split=split), n_time_bins=2, dt=160.0, samples=samples)
        x, labels = frames.batch(range(len(frames)))
        found[split] = patches(x[..., 1:33, 1:33].clamp(max=2), 4), labels
    return found, Layer(WIDTH, HEADS, 64, grid=(8, 8))


def speech(samples: int | None) -> tuple[Data, Layer] | None:
    """Return the same of spoken digits, or None if they are not there."""
    root = Path(os.environ.get("SPIKEFRAME_DATA", "")) / "fsdd_shd_mini"
    if not root.is_dir():
        return None
    found = {}
    for split, every in (("train", ("train", "validation")), ("test", ("test",))):
        parts = [
            FrameCache(datasets.load("shd", root, s), n_time_bins=100, dt=10.0, pool=10, samples=samples) for s in every
        ]
        xs = [part.batch(range(len(part))) for part in parts]
        x = torch.cat([x for x, _ in xs], 1).flatten(2).clamp(max=4)
        found[split] = time_tokens(x, 2), torch.cat([labels for _, labels in xs])
    return found, Layer(WIDTH, HEADS, 50, causal=True)


def train(name: str, options: dict[str, Any], data: Data, layer: Layer, seed: int, epochs: int) -> Classifier:
    """Train a classifier of one block."""
    torch.manual_seed(seed)
    x, labels = data["train"]
    kind, score = ("ssa", Score("coincidence")) if name == "coincidence" else (name, None)
    network = Classifier(x.shape[-1], 10, layer, partial(recipe, kind, score=score, **options))
    optimiser = torch.optim.Adam(network.parameters())
    updates = epochs * -(-len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-2, total_steps=updates)
    for _ in range(epochs):
        for part in torch.randperm(len(labels)).split(BATCH):
            loss = torch.nn.functional.cross_entropy(network(x[:, part]), labels[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def measure(network: Classifier, data: Data) -> dict[str, float]:
    """Return accuracy (%) and, per sample, spikes, operations, energy and time of the event-driven run."""
    x, labels = data["test"]
    with torch.no_grad():
        logits = torch.cat([network(x[:, part]) for part in torch.arange(len(labels)).split(100)])
    network.on_events(x[:, :2])
    started = time.perf_counter()
    on_events, counts, operations = network.on_events(x[:, :100])
    seconds = time.perf_counter() - started
    n = len(on_events)
    whole = sum(counts.values(), energy.Counts())
    price = energy.get_model("horowitz_fp32").price

    def synaptic(c: energy.Counts) -> float:
        return (c.syn_ac + c.syn_mac + c.dense_mac) / n

    return {
        "accuracy": 100 * float((logits.argmax(1) == labels).double().mean()),
        "agree": float((on_events.argmax(1) == logits[:n].argmax(1)).double().mean()),
        "spikes": whole.spk_out / n,
        "attention": synaptic(operations.attention),
        "selection": synaptic(operations.selection),
        "mixer": synaptic(operations.total),
        "block": synaptic(whole),
        "mixer_nj": sum(price(operations.total).values()) / n / 1e3,
        "block_nj": sum(price(whole).values()) / n / 1e3,
        "ms": 1e3 * seconds / n,
        "dense_mac": operations.attention.syn_mac_dense / n,
    }


def accuracy(quick: bool) -> dict[str, Any]:
    """Train and measure all recipes on all data that is there."""
    found: dict[str, Any] = {}
    seeds = 1 if quick else 3
    for task, load in (("digits", digits), ("speech", speech)):
        loaded = load(60 if quick else None)
        if loaded is None:
            print(f"{task}: no recordings, left out")
            continue
        data, layer = loaded
        rows: dict[str, list[dict[str, float]]] = {}
        for seed in range(seeds):
            for name, options in RECIPES[task].items():
                started = time.perf_counter()
                network = train(name, options, data, layer, seed, 1 if quick else EPOCHS[task])
                spent = time.perf_counter() - started
                rows.setdefault(name, []).append({**measure(network, data), "train_s": spent})
                if name == "ssa":
                    network.blocks[0].mixer = recipe("ssa-linear", layer)
                    rows.setdefault("ssa-linear", []).append({**measure(network, data), "train_s": spent})
                print(f"{task} {name} seed {seed}: {rows[name][-1]['accuracy']:.1f} %, {spent:.1f} s", flush=True)
        found[task] = rows
        shown = []
        base = {key: np.mean([r[key] for r in rows["ssa"]]) for key in rows["ssa"][0]}
        for name, runs in rows.items():
            mean = {key: float(np.mean([r[key] for r in runs])) for key in runs[0]}
            shown.append([
                name, f"{mean['accuracy']:.1f} +- {np.std([r['accuracy'] for r in runs]):.1f}", mean["spikes"],
                mean["attention"], mean["selection"], mean["mixer"] / base["mixer"], mean["block"] / base["block"],
                mean["mixer_nj"], mean["block_nj"], mean["ms"], mean["train_s"],
            ])  # fmt: skip
        head = ["recipe", "accuracy %", "spikes", "attention ops", "selection ops", "mixer/ssa", "block/ssa",
                "mixer nJ", "block nJ", "ms", "train s"]  # fmt: skip
        print(f"\n{task}: per sample, {seeds} seeds\n{table(shown, head)}\n")
    return found


@torch.no_grad()
def speed(quick: bool) -> dict[str, Any]:
    """Time the executors over rates."""
    tokens, rounds = (256, 2) if quick else (1024, 7)
    rates = (0.01, 0.1, 0.4) if quick else (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
    score = Score("coincidence")
    found: dict[str, Any] = {}
    for kept in (1.0, 0.125):
        rows = []
        for rate in rates:
            random = torch.Generator().manual_seed(1)
            q, k, v = ((torch.rand(1, 4, tokens, 64, generator=random) < rate).float() for _ in range(3))
            plan = everything(tokens) if kept == 1.0 else Selection(Sums(32, 32), TopK(share=kept))(q, k)[0]
            works: dict[str, Any] = {
                name: partial(run, q, k, v, plan, score)
                for name, run in (("dense", dense), ("gather", gather), ("events", events))
            }
            outs = [works[name]() for name in ("dense", "gather")] + [works["events"]()[0]]
            if not all(torch.equal(outs[0], other) for other in outs[1:]):
                raise SystemExit("the executors differ")
            seconds = interleaved_seconds(works, rounds=rounds)
            done = works["events"]()[1].synaptic
            rows.append({"rate": rate, **seconds, "operations": done, "chosen": choose(q, k, v, plan, score).execution})
        found[f"{kept:g}"] = rows
        shown = [
            [f"{r['rate']:.1%}", 1e3 * r["dense"], r["dense"] / r["gather"], r["dense"] / r["events"],
             r["operations"] / 1e6, r["chosen"], min(("dense", "gather", "events"), key=lambda name, r=r: r[name])]
            for r in rows
        ]  # fmt: skip
        print(f"\n{kept:.1%} of pairs chosen, {tokens} tokens; the rate at which dense is as fast: {crossing(rows)}")
        print(table(shown, ["rate", "dense ms", "dense/gather", "dense/events", "M operations", "chosen", "fastest"]))
    last = found["1"][-1]
    found["event_ns"], found["pair_ns"] = (
        1e9 * last["events"] / last["operations"],
        1e9 * last["dense"] / (4 * tokens**2),
    )
    print(f"\nan addition of events takes {found['event_ns']:.1f} ns, a pair of dense {found['pair_ns']:.1f} ns")
    return found


def crossing(rows: list[dict[str, Any]]) -> str:
    """Return the rate at which event-driven and dense take as long, between the rates measured."""
    ratios = np.log([r["events"] / r["dense"] for r in rows])
    logs = np.log([r["rate"] for r in rows])
    above = np.flatnonzero(ratios > 0)
    if not above.size:
        return f"none up to {rows[-1]['rate']:.0%}"
    if above[0] == 0:
        return f"below {rows[0]['rate']:.1%}"
    i = above[0]
    at = logs[i - 1] - ratios[i - 1] * (logs[i] - logs[i - 1]) / (ratios[i] - ratios[i - 1])
    return f"{np.exp(at):.1%}"


def draw(results: dict[str, Any], path: str) -> None:
    """Draw accuracy over operations, and ratios over rates."""
    tasks = [t for t in ("digits", "speech") if t in results.get("accuracy", {})]
    panels = len(tasks) + ("speed" in results)
    figure = Figure(figsize=(4.2 * panels, 3.8), layout="constrained", facecolor="white")
    axes = list(np.atleast_1d(figure.subplots(1, panels)))
    for task in tasks:
        ax = axes.pop(0)
        for number, (name, runs) in enumerate(results["accuracy"][task].items()):
            x, y = (np.array([r[key] for r in runs]) for key in ("mixer", "accuracy"))
            colour = "#24292f" if name == "ssa" else f"C{number}"
            ax.errorbar(x.mean(), y.mean(), y.std(), marker="o", color=colour, linestyle="", capsize=2, label=name)
        ax.set(xscale="log", xlabel="operations of the mixer a sample (selection included)", ylabel="test accuracy (%)",
               title=task)  # fmt: skip
        ax.legend(frameon=False, fontsize=8)
    if "speed" in results:
        ax = axes.pop(0)
        for kept, colour in (("1", "#d55e00"), ("0.125", "#0072b2")):
            rows = results["speed"][kept]
            rate = [100 * r["rate"] for r in rows]
            label = "all pairs" if kept == "1" else "12.5 % of pairs"
            ax.plot(rate, [r["dense"] / r["events"] for r in rows], "o-", color=colour, label=f"event-driven, {label}")
            if kept != "1":
                ax.plot(rate, [r["dense"] / r["gather"] for r in rows], "s--", color=colour, label=f"gather, {label}")
        ax.axhline(1.0, color="#8b949e", linestyle=":")
        ax.set(xscale="log", yscale="log", xlabel="active features (%)", ylabel="times faster than dense")
        ax.legend(frameon=False, fontsize=8)
    for ax in figure.axes:
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, print tables, write results and a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help="accuracy, speed; both if none is named")
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--json", help="write the results there; what is there of the other part is kept")
    parser.add_argument("--figure", help="write the figure there")
    options = parser.parse_args()
    wanted = options.parts or ["accuracy", "speed"]
    known = {"accuracy": accuracy, "speed": speed}
    for part in wanted:
        if part not in known:
            parser.error(f"unknown part {part!r}: accuracy or speed")
    torch.set_flush_denormal(True)
    file = Path(options.json) if options.json else None
    results = json.loads(file.read_text(encoding="utf-8")) if file and file.exists() else {}
    results = {k: v for k, v in results.items() if k != "machine"} | {
        part: known[part](options.quick) for part in wanted
    }
    write_json(options.json, results)
    if options.figure:
        draw(results, options.figure)


if __name__ == "__main__":
    main()
