"""Sparser and busier networks for one task, side by side: accuracy, spikes, operations, energy.

Three small networks learn the digits with different wanted rates; ``spikeframe report`` puts their runs on one page.
Run: python examples/64_runs_compared.py [--quick] [--out FILE]. Ends in a page and a picture.
"""

from __future__ import annotations

import argparse
import io
import json
from contextlib import redirect_stdout
from pathlib import Path

from matplotlib.figure import Figure

from spikeframe import energy, plots
from spikeframe.cli import main as spikeframe
from spikeframe.core.counts import Counts


def main() -> None:
    """Train, compare, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few recordings, one epoch")
    parser.add_argument("--out", type=Path, default=Path("runs_compared.png"))
    options = parser.parse_args()
    size = ["--quick"] if options.quick else ["--epochs", "6", "--hidden", "64", "--no-reference"]

    folders = []
    for name, words in {"free": [], "sparse": ["--rate-target", "0.02"], "busy": ["--rate-target", "0.3"]}.items():
        folder = options.out.parent / "runs" / name
        weight = ["--rate-weight", "5"] if words else []
        with redirect_stdout(io.StringIO()):  # the comparison below says it all
            code = spikeframe(["train", "--out", str(folder), "--force", "--quiet", *size, *words, *weight])
        if code:
            raise SystemExit(code)
        folders.append(folder)
    page = options.out.with_suffix(".html")
    spikeframe(["report", *map(str, folders), "--out", str(page)])

    results = {folder.name: json.loads((folder / "result.json").read_text()) for folder in folders}
    counts = {name: {n: Counts.from_dict(c) for n, c in r["layers"].items()} for name, r in results.items()}
    runs = energy.compare_runs(counts, accuracies={name: r["test_accuracy"] for name, r in results.items()})
    print(runs.table())
    figure = Figure(figsize=(10, 3.8), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    plots.sparsity_accuracy(runs, left)
    plots.run_energies(runs, right)
    figure.savefig(options.out, dpi=120)
    print(f"page: {page}\npicture: {options.out}")


if __name__ == "__main__":
    main()
