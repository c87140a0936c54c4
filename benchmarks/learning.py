"""Gradient rules on the built-in event digits: peak memory and time of a batch over T, accuracy at T = 31.

Every rule learns the same network (578 inputs, 128 LIF, 10 leaky integrators, batch 32) from the same recordings, cut
into T windows. Memory is the peak of the process's resident memory during one `backward`, above what it held before
(input, model and warmed-up kernels), each in a process of its own. Times are medians, the rules taking turns.

Run: python benchmarks/learning.py memory|time|eventprop [--json FILE], accuracy --rule RULE [--json FILE] for every
rule, then figure --json FILE --out FIGURE.
"""

from __future__ import annotations

import argparse
import json
import runpy
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from common import PeakMemory, interleaved_seconds, machine, table
from torch import nn

from spikeframe import datasets
from spikeframe.learning_rules import BPTT, OTTT, SLTT, EProp, EventProp, TruncatedBPTT
from spikeframe.neurons import LI, LIF, Exp, Sequential
from spikeframe.training import FrameCache

STEPS = (10, 100, 1000)
HIDDEN, BATCH, DURATION = 128, 32, 310.0
RULES = {
    "BPTT": BPTT,
    "truncated BPTT, 10 steps": lambda m: TruncatedBPTT(m, 10),
    "SLTT": SLTT,
    "SLTT, chunks of 10": lambda m: SLTT(m, chunk=10),
    "SLTT-K, K = 5": lambda m: SLTT(m, k=5, chunk=10),
    "OTTT": OTTT,
    "e-prop": EProp,
    "e-prop, random feedback": lambda m: EProp(m, feedback="random"),
}
MEASURED = [name for name in RULES if "random" not in name]


def frames(steps: int, split: str = "train", samples: int | None = None) -> FrameCache:
    """Return recordings cut into `steps` windows."""
    data = datasets.load("digits", split=split)
    return FrameCache(data, n_time_bins=steps, dt=DURATION / steps, pool=2, samples=samples)


def network(dt: float, density: float, tau: float = 100.0, seed: int = 0) -> Sequential:
    """Return the network before training."""
    torch.manual_seed(seed)
    model = Sequential(
        nn.Flatten(),
        nn.Linear(578, HIDDEN, bias=False),
        LIF(tau_m=tau, dt=dt, detach_reset=True),
        nn.Linear(HIDDEN, 10, bias=False),
        LI(tau_m=tau, dt=dt),
    )
    nn.init.normal_(model[1].weight, 0.0, (578 * density) ** -0.5)
    return model


def batch_of(steps: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Return one batch and its density."""
    cache = frames(steps, samples=BATCH)
    return *cache.batch(range(BATCH)), cache.density


def peak(rule: str, steps: int) -> float:
    """Return the peak memory of one backward in this process, MB."""
    x, labels, density = batch_of(steps)
    learner = RULES[rule](network(DURATION / steps, density))
    learner.backward(x[:5].contiguous(), labels)  # loads the kernels
    watch = PeakMemory()
    learner.backward(x, labels)
    return watch.megabytes()


def yin_yang(rule: str, steps: int) -> Callable[[], None]:
    """Return one forward and backward of the Yin-Yang network, by EventProp, or by BPTT on a grid of so many steps."""
    example = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "26_eventprop_yin_yang.py"))
    points, labels = example["draw"](BATCH, 0)
    times, labels = example["spike_times"](points), torch.from_numpy(labels)
    dt, hidden = example["DURATION"] / steps, example["HIDDEN"]

    def neurons() -> LIF:
        return LIF(tau_m=example["TAU_M"], receptors=Exp(tau=example["TAU_S"]), dt=dt)

    torch.manual_seed(0)
    model = Sequential(nn.Linear(5, hidden, bias=False), neurons(), nn.Linear(hidden, 3, bias=False), neurons())
    nn.init.normal_(model[0].weight, 1.5, 0.78)
    nn.init.normal_(model[2].weight, 0.93 * 200 / hidden, 0.1)
    if rule == "EventProp":
        learner = EventProp(model, example["DURATION"])
        return lambda: example["loss"](learner(times).first(), labels).backward()
    x = torch.zeros(steps, BATCH, 5)
    step, which = (times / dt).long().clamp(max=steps - 1), torch.arange(BATCH)[:, None]
    x[step, which, torch.arange(5)] = 1.0
    return lambda: nn.functional.cross_entropy(model(x)[0].sum(0), labels).backward()


def peak_yin_yang(rule: str, steps: int) -> float:
    """Return the peak memory of one forward and backward in this process, MB."""
    work = yin_yang(rule, steps)
    work()
    watch = PeakMemory()
    work()
    return watch.megabytes()


def eventprop() -> dict[str, dict[str, dict[str, float]]]:
    """Measure EventProp, and BPTT on every T: peak memory (MB), each in a process of its own, and time (s)."""
    cases = {"EventProp": ("EventProp", 10), **{f"BPTT, T = {steps}": ("BPTT", steps) for steps in STEPS}}
    megabytes = {name: _alone("peak_yin_yang", *case) for name, case in cases.items()}
    seconds = interleaved_seconds({name: yin_yang(*case) for name, case in cases.items()}, rounds=7, least=0.05)
    return {"memory": megabytes, "time": dict(seconds)}


def _alone(part: str, rule: str, steps: int) -> float:
    """Return what a part prints in a process of its own."""
    command = [sys.executable, __file__, part, "--rule", rule, "--steps", str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def memory() -> dict[str, dict[str, float]]:
    """Measure every rule and T in a process of its own."""
    found: dict[str, dict[str, float]] = {}
    for rule in MEASURED:
        for steps in STEPS:
            found.setdefault(rule, {})[str(steps)] = _alone("peak", rule, steps)
    return found


def times() -> dict[str, dict[str, float]]:
    """Measure the time of one backward, s."""
    found: dict[str, dict[str, float]] = {}
    for steps in STEPS:
        x, labels, density = batch_of(steps)
        works = {}
        for rule in MEASURED:
            learner = RULES[rule](network(DURATION / steps, density))
            works[rule] = partial(learner.backward, x, labels)
        rounds = 3 if steps == max(STEPS) else 5
        for rule, seconds in interleaved_seconds(works, rounds=rounds, least=0.0).items():
            found.setdefault(rule, {})[str(steps)] = seconds
    return found


def train(rule: str, tau: float, seed: int, epochs: int = 8, steps: int = 31) -> tuple[float, float]:
    """Train and return test accuracy and seconds."""
    learning, test = frames(steps), frames(steps, "test")
    model = network(DURATION / steps, learning.density, tau, seed)
    learner = RULES[rule](model)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    started = time.perf_counter()
    for epoch in range(epochs):
        for x, labels in learning.batches(BATCH, seed, epoch):
            optimizer.zero_grad()
            learner.backward(x, labels)
            optimizer.step()
        scheduler.step()
    seconds = time.perf_counter() - started
    with torch.no_grad():
        x, labels = test.batch(range(len(test)))
        right = model(x)[0].mean(0).argmax(1) == labels
    return 100 * float(right.float().mean()), seconds


def accuracy(rule: str, known: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, list[float]]]:
    """Train with one rule, three seeds, a long and a short membrane time constant; return it with what is known."""
    found = {f"tau {tau:g} ms": [train(rule, tau, seed)[0] for seed in range(3)] for tau in (100.0, 10.0)}
    return {**known, rule: found}


def show(results: dict[str, dict[str, dict[str, object]]]) -> None:
    """Print tables."""
    for part in ("memory", "time"):
        if part in results:
            rows = [[rule, *(results[part][rule][str(s)] for s in STEPS)] for rule in results[part]]
            unit = "MB above what was held" if part == "memory" else "s a batch"
            print(f"\n{part}, {unit}\n" + table(rows, ["rule", *(f"T = {s}" for s in STEPS)]))
    if "eventprop" in results:
        rows = [[name, results["eventprop"]["memory"][name], s] for name, s in results["eventprop"]["time"].items()]
        print("\nYin-Yang\n" + table(rows, ["rule", "MB above what was held", "s a batch"]))
    if "accuracy" in results:
        rows = [
            [rule, *(f"{statistics.mean(r):.1f} +- {statistics.stdev(r):.1f}" for r in found.values())]
            for rule, found in results["accuracy"].items()
        ]
        print("\naccuracy, % of 400, 3 seeds\n" + table(rows, ["rule", *next(iter(results["accuracy"].values()))]))


def figure(results: dict[str, dict[str, dict[str, float]]], out: str) -> None:
    """Draw memory and time over T."""
    from matplotlib.figure import Figure

    picture = Figure(figsize=(10, 4), layout="constrained", facecolor="white")
    for ax, part, label in zip(
        picture.subplots(1, 2), ("memory", "time"), ("peak memory of a batch (MB)", "time of a batch (s)"), strict=True
    ):
        for rule, found in results[part].items():
            ax.plot(STEPS, [found[str(s)] for s in STEPS], "o-", label=rule, markersize=4)
        ax.set(xscale="log", yscale="log", xlabel="steps T", ylabel=label)
        if part == "memory":
            ax.set_yscale("symlog", linthresh=1.0)  # below 1 MB it is the allocator's
        ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize=8)
    picture.savefig(out, dpi=120)


MEASURES = {"memory": memory, "time": times, "eventprop": eventprop}
PEAKS = {"peak": peak, "peak_yin_yang": peak_yin_yang}


def main() -> None:
    """Measure one part and add it to the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=[*MEASURES, "accuracy", *PEAKS, "figure"])
    parser.add_argument("--rule", default="BPTT", choices=[*RULES, "EventProp"])
    parser.add_argument("--steps", type=int, default=31)
    parser.add_argument("--json", default=None, help="file that the results are added to, or drawn from")
    parser.add_argument("--out", default="learning.png")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.part in PEAKS:
        print(PEAKS[options.part](options.rule, options.steps))
        return
    path = Path(options.json) if options.json else None
    results = json.loads(path.read_text(encoding="utf-8")) if path and path.exists() else {}
    if options.part == "figure":
        figure(results, options.out)
        return
    if options.part == "accuracy":
        results["accuracy"] = accuracy(options.rule, results.get("accuracy", {}))
    else:
        results[options.part] = MEASURES[options.part]()
    show(results)
    if path:
        results = {**results, "machine": machine()}
        path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
