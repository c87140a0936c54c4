"""Figures of what runs spend: three columns, over time, several runs, sparsity against accuracy; one per function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from spikeframe.energy import Columns, EnergyModel, Runs
from spikeframe.energy.reports import energy as with_unit
from spikeframe.energy.timeline import Timeline
from spikeframe.errors import ParameterError
from spikeframe.plots.style import (
    BLUE,
    CYCLE,
    INK,
    MUTED,
    ORANGE,
    SKY,
    bar_limits,
    legend,
    new_axes,
    numbers,
    plain,
    tidy,
)


def energy_columns(columns: Columns, ax: Axes | None = None) -> Axes:
    """Draw the three columns of every layer: operations only, with memory, and the non-spiking network.

    Args:
        columns: what `energy.columns` returns.
        ax: where to draw; None makes a figure.

    Returns:
        The axes; energies per sample in nJ on a logarithmic scale.

    Raises:
        ParameterError: no energy in it is above zero.
    """
    kinds = (("operations", "operations only", SKY), ("with_memory", "with memory", BLUE),
             ("non_spiking", "non-spiking, with memory", ORANGE))  # fmt: skip
    rows = {**columns.rows, "total": columns.total}
    bars = {
        name: [(getattr(row, key) / columns.samples / 1e3, label, colour) for key, label, colour in kinds]
        for name, row in rows.items()
    }
    return _bars(ax, bars)


def run_energies(runs: Runs, ax: Axes | None = None) -> Axes:
    """Draw the energy per sample of several runs, beside that of their non-spiking networks.

    Args:
        runs: what `energy.compare_runs` returns.
        ax: where to draw; None makes a figure.

    Returns:
        The axes; energies per sample in nJ on a logarithmic scale.

    Raises:
        ParameterError: no energy in it is above zero.
    """
    bars = {}
    for name, row in runs.rows().items():
        pairs = ((row["spiking_pj"], "spiking", BLUE), (row["non_spiking_pj"], "non-spiking", ORANGE))
        bars[name] = [((pj or 0.0) / 1e3, label, colour) for pj, label, colour in pairs]
    return _bars(ax, bars)


def sparsity_accuracy(runs: Runs, ax: Axes | None = None) -> Axes:
    """Draw accuracy against the share of neurons and steps without a spike, a point per run.

    Args:
        runs: what `energy.compare_runs` returns, with accuracies.
        ax: where to draw; None makes a figure.

    Returns:
        The axes.

    Raises:
        ParameterError: no run has an accuracy.
    """
    rows = {n: r for n, r in runs.rows().items() if r["accuracy"] is not None and r["sparsity"] is not None}
    if not rows:
        raise ParameterError("sparsity_accuracy: no run has an accuracy; give them to compare_runs.")
    ax = new_axes(ax)
    x = numbers([100.0 * float(r["sparsity"] or 0.0) for r in rows.values()], "sparsity", "run")
    y = numbers([100.0 * float(r["accuracy"] or 0.0) for r in rows.values()], "accuracy", "run")
    ax.scatter(x, y, s=36, color=BLUE, zorder=3)
    for name, a, b in zip(rows, x, y, strict=True):
        ax.annotate(plain(name), (a, b), (5, 4), textcoords="offset points", fontsize=8, color=MUTED)
    ax.margins(0.15)
    return tidy(ax, "Sparsity and accuracy", "neurons and steps without a spike (%)", "accuracy (%)")


def energy_over_time(timeline: Timeline, model: str | EnergyModel = "sram32k_fp32", ax: Axes | None = None) -> Axes:
    """Draw what a run costs while it goes on, populations stacked on each other.

    Args:
        timeline: what `energy.over_time` or `over_steps` returns.
        model: energy model.
        ax: where to draw; None makes a figure.

    Returns:
        The axes; nJ per ms of model time (µW).
    """
    power = {name: values / 1e3 for name, values in timeline.power(model).items() if values.any()}
    ax = new_axes(ax)
    base = np.zeros(len(timeline.edges) - 1)
    for index, (name, values) in enumerate(power.items()):
        ax.stairs(
            base + values, timeline.edges, baseline=base, fill=True, color=CYCLE[index % len(CYCLE)], alpha=0.85,
            label=plain(name), linewidth=0,
        )  # fmt: skip
        base = base + values
    ax.set_xlim(timeline.edges[0], timeline.edges[-1])
    ax.set_ylim(0.0, 1.25 * max(float(base.max(initial=0.0)), 1e-12))  # room for the legend
    if power:
        legend(ax, loc="upper right", ncols=3)
    return tidy(ax, "Energy over time", "time (ms)", "nJ per ms")


def _bars(ax: Axes | None, groups: Mapping[str, list[tuple[float, str, str]]]) -> Axes:
    """Draw groups of labelled bars, from above to below."""
    values = [value for bars in groups.values() for value, _, _ in bars if value > 0]
    if not values:
        raise ParameterError("no energy is above zero: run at least one sample first.")
    ax = new_axes(ax, 4.6, 0.9 + 0.15 * (len(values) + 1.6 * len(groups)))
    line, seen = 0.0, dict[str, Any]()
    for name, bars in groups.items():
        shown = [bar for bar in bars if bar[0] > 0]
        if not shown:
            continue
        title = f" {plain(name)}"
        ax.text(0.0, line, title, transform=ax.get_yaxis_transform(), fontsize=8, color=INK, va="center")
        for value, label, colour in shown:
            line += 1.0
            drawn = ax.barh(line, value, 0.8, color=colour)
            seen.setdefault(label, drawn)
            ax.annotate(
                with_unit(value * 1e3), (value, line), (3, 0), textcoords="offset points", fontsize=7, color=MUTED,
                va="center",
            )  # fmt: skip
        line += 1.6
    ax.set_xscale("log")
    ax.set_xlim(*bar_limits(values))
    ax.set_ylim(line - 0.6, -0.9)
    ax.set_yticks([])
    tidy(ax, "", "energy (nJ, logarithmic)", "", grid="x")
    ax.spines["left"].set_visible(False)
    legend(
        ax, handles=list(seen.values()), labels=list(seen), loc="lower left", bbox_to_anchor=(0, 1), ncols=3,
        columnspacing=1.0, handlelength=1.2,
    )  # fmt: skip
    return ax
