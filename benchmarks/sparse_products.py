"""Sparse products beside torch's dense one: ratio, where they cross, and memory in use and on disk.

Every format holds the same number of weights of a layer of 1,024 x 1,024, at 50 to 95 % sparsity, and multiplies

vectors   one step of one sample (1 x 1,024 spikes), by events
batches   32 steps of 64 samples (2,048 x 1,024 spikes), by events and by panels; and forward with backward

for rates of 0.5 to 20 %, beside ``x @ W.T`` of float32 with as many threads; ``rows`` is the dense matrix stored by
source, delivered by events. A product is timed only after it was seen to equal the dense one to the bit (weights on a
grid). Ratios are dense over sparse: above 1 the sparse product is faster. They take turns; medians. With one
thread the clock is the processor's time, which bears other work on the machine.

    python benchmarks/sparse_products.py [--quick] [--threads N] [--json FILE] [--out FILE] [--part vectors|batches]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import machine, table
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from spikeframe.kernels import formats
from spikeframe.kernels.numba import sparse_products as kernels
from spikeframe.modules.structured import SparseLinear, save

SPARSITIES, RATES = (0.5, 0.75, 0.9, 0.95), (0.005, 0.02, 0.05, 0.1, 0.2)
NOTHING = np.zeros(0, np.float32)
COLOURS = {"csr": "#0072b2", "condensed": "#56b4e9", "nm": "#009e73", "bsr 4x4": "#e69f00", "bsr 16x16": "#d55e00",
           "rows": "#999999"}  # fmt: skip


def stored(name: str, size: int, density: float, rng: np.random.Generator) -> formats.Format:
    """Return weights on a grid, in a format, with the density to one part in a row."""
    dense = (rng.integers(1, 65, (size, size)) * rng.choice([-1, 1], (size, size)) / 1024).astype(np.float32)
    if name == "rows":
        return formats.BSR.from_dense(dense, h=size, w=1)
    if name == "csr":
        mask = rng.permutation(size * size).reshape(size, size) < density * size * size
        return formats.CSR.from_dense(dense, mask)
    if name == "condensed":
        mask = rng.random((size, size)).argsort(1).argsort(1) < round(density * size)
        return formats.Condensed.from_dense(dense, mask)
    if name == "nm":
        n, m = {0.5: (2, 4), 0.25: (1, 4), 0.1: (1, 10), 0.05: (1, 20)}[round(density, 3)]
        wide = size // m * m
        mask = rng.random((size, wide // m, m)).argsort(2).argsort(2) < n
        return formats.NM.from_dense(dense[:, :wide], mask.reshape(size, wide), n=n, m=m)
    side = int(name.rpartition("x")[2])
    blocks = size // side
    mask = rng.permutation(blocks * blocks).reshape(blocks, blocks) < density * blocks * blocks
    return formats.BSR.from_dense(dense, mask.repeat(side, 0).repeat(side, 1), h=side, w=side)


def products(fmt: formats.Format, x: np.ndarray, threads: int) -> dict[str, Any]:
    """Return the works to be timed, each seen to give the dense product's bits."""
    runs, strips, back = fmt.runs(), fmt.strips(), fmt.runs_by_source()
    weight = torch.from_numpy(fmt.to_dense())
    t = torch.from_numpy(x)
    works: dict[str, Any] = {
        "dense": lambda: t @ weight.T,
        "events": lambda: kernels.events(strips, x, NOTHING, threads),
    }
    if len(x) > 1:
        works["panel"] = lambda: kernels.panels(runs, kernels.pack(x, threads), len(x), NOTHING, threads)
    expected = works["dense"]().numpy()
    for name, work in works.items():
        if not np.array_equal(np.asarray(work()), expected):
            raise SystemExit(f"{fmt.name}: {name} is not the dense product")
    if len(x) > 1:
        slope = torch.ones(len(x), fmt.shape[0])

        def dense_training() -> None:
            (t @ weight.T, slope.T @ t, slope @ weight)

        def sparse_training() -> None:
            panel = kernels.pack(x, threads)
            kernels.panels(runs, panel, len(x), NOTHING, threads)
            wide = kernels.numbers(slope.numpy(), threads)
            kernels.support(runs, panel, wide, threads)
            kernels.panels(back, wide, len(x), NOTHING, threads)

        works["dense, training"], works["panel, training"] = dense_training, sparse_training
    return works


def memory(fmt: formats.Format) -> dict[str, int]:
    """Return bytes in use and on disk, and those of the dense matrix."""
    with tempfile.TemporaryDirectory() as folder:
        disk = save(SparseLinear(fmt), Path(folder) / "layer.safetensors")
    return {"in_use": fmt.nbytes, "on_disk": disk, "dense": 4 * fmt.shape[0] * fmt.shape[1]}


def seconds_of(
    works: dict[str, Callable[[], object]], rounds: int, least: float, clock: Callable[[], float]
) -> dict[str, float]:
    """Return median times of one call of works that take turns; short ones are repeated within a turn."""
    repeats = {}
    for name, work in works.items():
        work()
        started = clock()
        work()
        repeats[name] = max(1, int(least / max(clock() - started, 1e-7)))
    samples: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            started = clock()
            for _ in range(repeats[name]):
                work()
            samples[name].append((clock() - started) / repeats[name])
    return {name: statistics.median(values) for name, values in samples.items()}


def measure(columns: int, size: int, threads: int, quick: bool, rows: list[dict[str, Any]]) -> None:
    """Append a row for every format, sparsity and rate."""
    rng = np.random.default_rng(0)
    clock = time.process_time if threads == 1 else time.perf_counter
    rounds, least = (1, 0.0) if quick else (5, 0.005 if columns == 1 else 0.0)
    for sparsity in SPARSITIES[-1:] if quick else SPARSITIES:
        for name in COLOURS:
            if name == "rows" and sparsity != SPARSITIES[-1]:
                continue
            fmt = stored(name, size, 1.0 if name == "rows" else 1 - sparsity, rng)
            for rate in RATES[2:3] if quick else RATES:
                x = (rng.random((columns, fmt.shape[1])) < rate).astype(np.float32)
                works = products(fmt, x, threads)
                if rate != 0.05:  # what does not depend on the rate is timed once
                    works = {k: w for k, w in works.items() if "training" not in k}
                if name == "rows":
                    works = {k: w for k, w in works.items() if k in ("dense", "events")}
                seconds = seconds_of(works, rounds, least, clock)
                rows.append({"columns": columns, "format": name, "sparsity": 0.0 if name == "rows" else sparsity,
                             "rate": rate, "seconds": seconds})  # fmt: skip


def ratio(row: dict[str, Any], training: bool = False) -> float:
    """Return dense over the best sparse path."""
    s = row["seconds"]
    if training:
        return float(s["dense, training"] / s["panel, training"])
    return float(s["dense"] / min(s[k] for k in ("events", "panel") if k in s))


def crossing(points: list[tuple[float, float]]) -> float | None:
    """Return the sparsity at which a ratio passes 1, by a line between the two around it; None if it never does."""
    points = sorted(points)
    for (a, low), (b, high) in pairwise(points):
        if low < 1.0 <= high:
            return a + (b - a) * (1.0 - low) / (high - low)
    return points[0][0] if points[0][1] >= 1.0 else None


def summary(found: dict[str, Any]) -> str:
    """Return the tables."""
    text = []
    for columns in sorted({r["columns"] for r in found["rows"]}):
        rows = [r for r in found["rows"] if r["columns"] == columns]
        rates = sorted({r["rate"] for r in rows})
        lines = []
        for name in COLOURS:
            for sparsity in sorted({r["sparsity"] for r in rows if r["format"] == name}):
                own = {r["rate"]: r for r in rows if (r["format"], r["sparsity"]) == (name, sparsity)}
                cells = [f"{ratio(own[rate]):.2f}" for rate in rates]
                trained = next((r for r in own.values() if "panel, training" in r["seconds"]), None)
                lines.append(
                    [name, f"{100 * sparsity:.0f} %", *cells, f"{ratio(trained, True):.2f}" if trained else "-"]
                )
        head = ["format", "sparsity", *(f"{100 * r:g} %" for r in rates), "training"]
        text.append(f"\n{columns} columns: dense over sparse, by rate\n{table(lines, head)}")
    kinds = ("in_use", "on_disk", "dense")
    lines = [
        [m["format"], f"{100 * m['sparsity']:.0f} %", *(f"{m[k] / 1024:.0f}" for k in kinds)] for m in found["memory"]
    ]
    text.append(f"\nmemory, KiB\n{table(lines, ['format', 'sparsity', 'in use', 'on disk', 'dense'])}")
    return "\n".join(text)


def draw(found: dict[str, Any], out: str) -> None:
    """Draw ratios over sparsity: vectors and batches at 5 %, and training."""
    figure = Figure(figsize=(12, 4), layout="constrained", facecolor="white")
    panels = figure.subplots(1, 3)
    titles = ("one spike vector, 5 % rate", "2,048 spike vectors, 5 % rate", "forward and backward, 2,048 vectors")
    for ax, title, columns, training in zip(panels, titles, (1, 2048, 2048), (False, False, True), strict=True):
        for name, colour in COLOURS.items():
            own = [r for r in found["rows"] if (r["columns"], r["format"], r["rate"]) == (columns, name, 0.05)]
            own = [r for r in own if not training or "panel, training" in r["seconds"]]
            if not own:
                continue
            if name == "rows":
                ax.axhline(ratio(own[0]), color=colour, linestyle=":", label="dense, by events")
                continue
            ax.plot(
                [100 * r["sparsity"] for r in own], [ratio(r, training) for r in own], "o-", color=colour, label=name
            )
        ax.axhline(1.0, color="#24292f", linewidth=1)
        ax.set(xlabel="weights missing (%)", title=title, yscale="log")
        ax.yaxis.set_major_locator(FixedLocator([0.5, 1, 2, 5, 10, 20, 50]))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("times as fast as torch's dense product")
    if panels[1].lines[1:]:
        panels[1].legend(frameon=False, fontsize=8)
    figure.savefig(out, dpi=120)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, one round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--part", choices=["vectors", "batches", "both"], default="both")
    parser.add_argument("--json", help="results; what is there of the other part is kept")
    parser.add_argument("--out", help="the figure")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size, many = (64, 512) if options.quick else (1024, 2048)
    found: dict[str, Any] = {"rows": []}
    if options.json and Path(options.json).exists():
        kept = json.loads(Path(options.json).read_text(encoding="utf-8"))
        found["rows"] = [r for r in kept["rows"] if (r["columns"] == 1) == (options.part == "batches")]
        found["rows"] = [] if options.part == "both" else found["rows"]
    for part, columns in (("vectors", 1), ("batches", many)):
        if options.part in (part, "both"):
            measure(columns, size, options.threads, options.quick, found["rows"])
    rng = np.random.default_rng(0)
    found["memory"] = [
        {"format": name, "sparsity": s, **memory(stored(name, size, 1 - s, rng))}
        for s in (SPARSITIES[-1:] if options.quick else SPARSITIES) for name in COLOURS if name != "rows"
    ]  # fmt: skip
    found["crossing"] = {
        f"{name}, {columns} columns{', training' if training else ''}": crossing([
            (r["sparsity"], ratio(r, training)) for r in found["rows"]
            if (r["columns"], r["format"], r["rate"]) == (columns, name, 0.05)
            and (not training or "panel, training" in r["seconds"])
        ])
        for columns, training in ((1, False), (many, False), (many, True)) for name in COLOURS
        if name != "rows" and any(r["columns"] == columns for r in found["rows"])
    }  # fmt: skip
    print(summary(found))
    print("\nsparsity from which the sparse product is faster:", json.dumps(found["crossing"], indent=1))
    if options.json:
        clock = "processor time" if options.threads == 1 else "wall clock"
        told = {"machine": machine(), "clock": clock, "threads": options.threads, "size": size, **found}
        Path(options.json).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    if options.out:
        draw(found, options.out)


if __name__ == "__main__":
    main()
