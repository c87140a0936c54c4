"""The page that puts several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.ticker import MaxNLocator

from spikeframe import energy
from spikeframe.energy.reports import energy as with_unit
from spikeframe.errors import CheckpointError, ParameterError
from spikeframe.plots import page, spending
from spikeframe.plots.report import read_history, read_layers, read_result, replaced
from spikeframe.plots.style import CYCLE, legend, new_axes, plain, tidy

_MODELS = ("horowitz_fp32", "sram32k_fp32", "dram_fp32")


def write_comparison(folders: Sequence[str | Path], path: str | Path) -> Path:
    """Write a page that compares finished runs.

    Args:
        folders: run folders, each with a ``result.json``.
        path: of the page.

    Returns:
        The path.

    Raises:
        ParameterError: fewer than two runs, or two of one name.
        CheckpointError: a folder holds no finished run, or none with counts.
    """
    names = [Path(folder).name for folder in folders]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ParameterError(f"write_comparison: needs at least two runs with names of their own, got {names}.")
    results = {name: read_result(folder) for name, folder in zip(names, folders, strict=True)}
    counts = {name: read_layers(result) for name, result in results.items()}
    for name, layers in counts.items():
        if not layers:
            raise CheckpointError(f"run {name!r} has no counts in its result.json; train it again.")
    accuracies = {n: r["test_accuracy"] for n, r in results.items() if r.get("test_accuracy") is not None}
    runs = energy.compare_runs(counts, "sram32k_fp32", accuracies)
    title = f"{len(names)} runs compared"
    histories = {name: read_history(folder) for name, folder in zip(names, folders, strict=True)}
    body = [page.heading(title), page.paragraph(", ".join(names), "lead"), *_sections(runs, counts, histories)]
    return replaced(Path(path), page.page(title, body))


def _sections(runs: energy.Runs, counts: dict[str, Any], histories: dict[str, Any]) -> list[str]:
    head = ("run", "test accuracy", "spikes", "silent", "synaptic operations", "neuron updates")
    rows = []
    for name, row in runs.rows().items():
        accuracy = "–" if row["accuracy"] is None else f"{100 * row['accuracy']:.1f} %"
        silent = "–" if row["sparsity"] is None else f"{100 * row['sparsity']:.1f} %"
        numbers = [f"{row[key]:,.0f}" for key in ("spikes", "synaptic_operations", "neuron_updates")]
        rows.append((name, accuracy, numbers[0], silent, *numbers[1:]))
    drawings = []
    if runs.accuracies:
        drawings.append(page.figure(spending.sparsity_accuracy(runs), "Accuracy against sparsity, a point per run."))
    if any(histories.values()):
        drawings.append(page.figure(_curves(histories), "Validation accuracy over epochs."))
    note = "Per sample. Silent: share of neurons and steps without a spike."
    found = [
        page.section("What they did", page.table(head, rows), page.paragraph(note, "note"), page.figures(drawings))
    ]
    models = []
    for name, layers in counts.items():
        for model in _MODELS:
            total = energy.report(layers, model).total
            samples = max(c.samples for c in layers.values())
            cells = [with_unit(pj / samples) for pj in (total.spiking_pj, total.non_spiking_pj or 0.0)]
            ratio = "–" if total.ratio is None else f"{total.ratio:.2g} ×"
            models.append((name, energy.get_model(model).title, *cells, ratio))
    table = page.table(("run", "model", "spiking", "non-spiking once", "ratio"), models, named=2)
    drawn = page.figure(spending.run_energies(runs), f"{energy.get_model('sram32k_fp32').title}, per sample.")
    found.append(page.section("Energy", page.paragraph("Estimates from counts, not measurements."), drawn, table))
    return found


def _curves(histories: dict[str, Any]) -> Any:
    """Draw the validation accuracy of every run that has one."""
    ax = new_axes(None)
    for index, (name, rows) in enumerate(histories.items()):
        points = [
            (r["epoch"], 100 * r["validation_accuracy"]) for r in rows if r.get("validation_accuracy") is not None
        ]
        if points:
            x, y = zip(*points, strict=True)
            ax.plot(x, y, color=CYCLE[index % len(CYCLE)], marker=".", markersize=4, label=plain(name))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(ax)
    return tidy(ax, "Learning", "epoch", "validation accuracy (%)")
