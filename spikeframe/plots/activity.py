"""Figures of a simulation's activity: rates, intervals, irregularity, membranes; one figure per function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from spikeframe.analysis.irregularity import LEAST, intervals
from spikeframe.errors import ParameterError, ShapeError
from spikeframe.plots.style import CYCLE, MUTED, legend_above, new_axes, numbers, plain, tidy

#: Times (ms) and neurons of a population's spikes.
Train = tuple[NDArray[np.float64], NDArray[np.int64]]


def trains(spikes: Any) -> dict[str, Train]:
    """Return times and neurons per population.

    Args:
        spikes: mapping from names to ``Spikes`` or to pairs (times in ms, neurons).

    Raises:
        ShapeError: it is no such mapping, or times and neurons are not as many.
    """
    if not isinstance(spikes, Mapping):
        raise ShapeError(f"spikes is {type(spikes).__name__}: needs a mapping from populations to their spikes.")
    found = {}
    for name, value in spikes.items():
        times, ids = (value.times, value.ids) if hasattr(value, "times") else value
        times, ids = numbers(times, f"times of {name}", "n"), numbers(ids, f"neurons of {name}", "n").astype(np.int64)
        if times.size != ids.size:
            raise ShapeError(f"spikes of {name}: {times.size} times, but {ids.size} neurons.")
        found[str(name)] = times, ids
    return found


def population_rates(
    spikes: Any, sizes: Mapping[str, int], width: float, ax: Axes | None = None, *,
    span: tuple[float, float] | None = None,
) -> Axes:  # fmt: skip
    """Draw the mean rate of each population over time.

    Args:
        spikes: mapping from names to ``Spikes`` or pairs (times in ms, neurons).
        sizes: neurons per population.
        width: of a bin, ms.
        ax: where to draw; None makes a figure.
        span: first and last time, ms; from 0 to the last spike if not given.

    Returns:
        The axes.

    Raises:
        ParameterError: the width is not above 0.
        ShapeError: spikes do not fit.
    """
    if not width > 0:
        raise ParameterError(f"population_rates(width={width!r}): must be above 0 ms.")
    found = trains(spikes)
    low, high = span or (0.0, max((float(t.max()) for t, _ in found.values() if t.size), default=width))
    edges = low + np.arange(max(1, int(np.ceil((high - low) / width - 1e-9))) + 1) * width
    ax = new_axes(ax)
    for index, (name, (times, _)) in enumerate(found.items()):
        many = np.histogram(times, edges + 1e-9)[0]
        rate = many / (max(sizes.get(name, 1), 1) * width * 1e-3)
        ax.stairs(rate, edges, color=CYCLE[index % len(CYCLE)], linewidth=1.2, baseline=None, label=plain(name))
    ax.set_ylim(bottom=0.0)
    ax.set_xlim(low, edges[-1])
    if found:
        legend_above(ax)
    return tidy(ax, "Rates over time", "time (ms)", "spikes/s per neuron")


def interval_histogram(spikes: Any, ax: Axes | None = None) -> Axes:
    """Draw how long the intervals between a neuron's spikes are, on a logarithmic axis.

    Args:
        spikes: mapping from names to ``Spikes`` or pairs (times in ms, neurons).
        ax: where to draw; None makes a figure.

    Returns:
        The axes.

    Raises:
        ShapeError: spikes do not fit.
    """
    gaps = {name: intervals(*train)[0] for name, train in trains(spikes).items()}
    colours = {name: CYCLE[index % len(CYCLE)] for index, name in enumerate(gaps)}
    gaps = {name: g[g > 0] for name, g in gaps.items() if (g > 0).any()}
    ax = new_axes(ax)
    if not gaps:
        return _nothing(ax, "Intervals between spikes", "no neuron fired twice")
    low, high = min(float(g.min()) for g in gaps.values()), max(float(g.max()) for g in gaps.values())
    edges = np.geomspace(low * 0.9, high * 1.1, 41)
    for name, g in gaps.items():
        share = 100.0 * np.histogram(g, edges)[0] / g.size
        label = f"{plain(name)}: median {np.median(g):.3g} ms"
        ax.stairs(share, edges, color=colours[name], linewidth=1.6, label=label)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_ylim(bottom=0.0)
    legend_above(ax)
    return tidy(ax, "Intervals between spikes", "interval (ms)", "intervals (%)")


def cv_histogram(spikes: Any, ax: Axes | None = None, *, least: int = LEAST) -> Axes:
    """Draw how irregular the neurons' trains are: coefficients of variation of their intervals; 1 is Poisson.

    Args:
        spikes: mapping from names to ``Spikes`` or pairs (times in ms, neurons).
        ax: where to draw; None makes a figure.
        least: spikes that a neuron needs to be counted.

    Returns:
        The axes.

    Raises:
        ShapeError: spikes do not fit.
    """
    found, colours = {}, {}
    for index, (name, train) in enumerate(trains(spikes).items()):
        colours[name] = CYCLE[index % len(CYCLE)]
        gaps, owner = intervals(*train)
        count = np.maximum(np.bincount(owner), 1)
        mean = np.bincount(owner, gaps) / count
        spread = np.sqrt(np.bincount(owner, (gaps - mean[owner]) ** 2) / count)
        enough = count >= max(least, 3) - 1
        if enough.any():
            found[name] = spread[enough] / mean[enough]
    ax = new_axes(ax)
    if not found:
        return _nothing(ax, "Irregularity", f"no neuron has {least} spikes")
    edges = np.linspace(0.0, max(1.5, max(float(v.max()) for v in found.values())), 31)
    for name, values in found.items():
        share = 100.0 * np.histogram(values, edges)[0] / values.size
        label = f"{plain(name)}: mean {values.mean():.2f} ({values.size} neurons)"
        ax.stairs(share, edges, color=colours[name], linewidth=1.6, label=label)
    ax.axvline(1.0, color=MUTED, linewidth=0.8, linestyle=":")
    ax.set_ylim(bottom=0.0)
    legend_above(ax)
    return tidy(ax, "Irregularity", "CV of intervals (1: Poisson)", "neurons (%)")


def _nothing(ax: Axes, title: str, why: str) -> Axes:
    """Say in an empty figure why it is empty."""
    ax.text(0.5, 0.5, why, ha="center", va="center", color=MUTED, fontsize=9, transform=ax.transAxes)
    ax.set_xticks([])
    ax.set_yticks([])
    return tidy(ax, title, "", "", grid=None)
