"""One figure per function: each takes data and an optional matplotlib Axes and returns the Axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from spikeframe.energy import Comparison
from spikeframe.energy.reports import energy as with_unit
from spikeframe.errors import ParameterError, ShapeError
from spikeframe.plots.style import (
    BLUE,
    CYCLE,
    GRID,
    INK,
    MUTED,
    ORANGE,
    SKY,
    bar_limits,
    legend,
    legend_above,
    new_axes,
    numbers,
    plain,
    tidy,
)

_RASTERISE_ABOVE = 2000  # marks; more than that makes vector files heavy


def learning_curves(history: Sequence[Mapping[str, Any]], quantity: str = "accuracy", ax: Axes | None = None) -> Axes:
    """Draw training and validation curves over epochs.

    Args:
        history: one mapping per epoch, as in ``metrics.jsonl``: ``epoch``, ``train_loss``, ``validation_loss``,
            ``train_accuracy``, ``validation_accuracy`` (accuracies from 0 to 1).
        quantity: ``"accuracy"`` or ``"loss"``.
        ax: where to draw; None makes a figure.

    Returns:
        The axes.

    Raises:
        ParameterError: quantity is another, or history does not hold it.
    """
    if quantity not in ("accuracy", "loss"):
        raise ParameterError(f"quantity is {quantity!r}: accepted are 'accuracy' and 'loss'.")
    curves = {}
    for part in ("train", "validation"):
        rows = [row for row in history if row.get(f"{part}_{quantity}") is not None]
        if rows:
            values = numbers([row[f"{part}_{quantity}"] for row in rows], f"{part}_{quantity}", "epoch")
            curves[part] = ([row["epoch"] for row in rows], values)
    if not curves:
        raise ParameterError(f"history of {len(history)} epochs holds no train_{quantity} or validation_{quantity}.")
    ax = new_axes(ax)
    scale, unit = (100.0, "accuracy (%)") if quantity == "accuracy" else (1.0, "loss")
    for part, colour, style in (("train", SKY, "--"), ("validation", BLUE, "-")):
        if part in curves:
            epochs, values = curves[part]
            ax.plot(epochs, scale * values, color=colour, linestyle=style, marker=".", markersize=4, label=part)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(ax)
    return tidy(ax, quantity.capitalize(), "epoch", unit)


def spike_raster(
    spikes: Any,
    ax: Axes | None = None,
    *,
    sizes: Mapping[str, int] | None = None,
    dt_ms: float | None = None,
) -> Axes:
    """Draw a mark per spike: time to the right, neurons upwards, layers stacked on each other.

    Args:
        spikes: spikes of one population, or a mapping from layer names to them, as a run returns them. Integers [n, 2]
            are (step, neuron) pairs; booleans or floats [T, N] are a dense record, nonzero where a neuron fired.
        ax: where to draw; None makes a figure.
        sizes: neurons per layer where spikes do not tell (silent neurons at the end).
        dt_ms: length of a step in ms, a spike stands at its end; None labels the axis in steps. Spikes of a run know
            their times.

    Returns:
        The axes.

    Raises:
        ShapeError: an array has other axes.
    """
    layers = dict(spikes) if isinstance(spikes, Mapping) else {"": spikes}
    ax = new_axes(ax, height=1.2 + 1.1 * max(len(layers), 2))
    base, centres = 0, []
    timed = dt_ms is not None or (bool(layers) and all(hasattr(values, "times") for values in layers.values()))
    for index, (name, values) in enumerate(layers.items()):
        at, neurons, size = _placed(values, name, dt_ms)
        size = max(size, (sizes or {}).get(name, 0), 1)
        heavy = at.size > _RASTERISE_ABOVE
        ax.scatter(
            at,
            neurons + base,
            s=4 if at.size < 500 else 1.5,
            marker="|" if at.size < 500 else "o",
            linewidths=0.8 if at.size < 500 else 0,
            color=CYCLE[index % len(CYCLE)],
            rasterized=heavy,
        )
        if index:
            ax.axhline(base - 0.5, color=MUTED, linewidth=0.6)
        centres.append((base + (size - 1) / 2, f"{plain(name)}\n{size} neurons"))
        base += size
    ax.set_ylim(-0.5, base - 0.5)
    ax.margins(x=0.02)
    tidy(ax, "Spikes", "time (ms)" if timed else "step", "neuron" if len(layers) == 1 else "", grid=None)
    if len(layers) > 1:
        ax.set_yticks([y for y, _ in centres], [label for _, label in centres])
    return ax


def event_frames(
    frames: Any, *, panels: int = 8, dt_ms: float | None = None, axes: Sequence[Axes] | None = None
) -> NDArray[np.object_]:
    """Draw a strip of event frames: ON blue, OFF orange, stronger where there are more events.

    Args:
        frames: event counts [T, P, H, W]; P = 1 or 2 (OFF, ON).
        panels: number of pictures; neighbouring frames are summed, none is dropped.
        dt_ms: length of a frame in ms; None labels pictures by step.
        axes: where to draw, one per picture; None makes a figure.

    Returns:
        The axes, one per picture.

    Raises:
        ShapeError: frames has other axes, or axes are too few.
        ParameterError: panels is below 1.
    """
    counts = numbers(frames, "frames", "T P H W")
    if counts.shape[1] not in (1, 2) or 0 in counts.shape:
        raise ShapeError(f"frames has shape {counts.shape}: needs [T, P, H, W] with P = 1 or 2 and no empty axis.")
    if panels < 1:
        raise ParameterError(f"panels is {panels!r}: needs at least 1.")
    edges = np.linspace(0, len(counts), min(panels, len(counts)) + 1).astype(int)
    pictures = [counts[a:b].sum(axis=0) for a, b in pairwise(edges)]
    peak = max(float(np.quantile(np.stack(pictures), 0.995)), 1.0)
    if axes is None:
        columns = min(len(pictures), 4)
        rows = -(-len(pictures) // columns)
        height = 1.45 * counts.shape[2] / counts.shape[3] + 0.2
        figure = Figure(figsize=(1.5 * columns, max(height, 0.6) * rows + 0.2), layout="constrained")
        figure.patch.set_alpha(0.0)
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for spare in axes[len(pictures) :]:
            spare.set_axis_off()
    if len(axes) < len(pictures):
        raise ShapeError(f"axes holds {len(axes)}: {len(pictures)} pictures need one each.")
    for ax, picture, (start, stop) in zip(axes, pictures, pairwise(edges), strict=False):
        ax.imshow(_two_colours(picture / peak), interpolation="nearest")
        span = f"{start}–{stop - 1}" if stop - start > 1 else f"{start}"
        label = f"step {span}" if dt_ms is None else f"{start * dt_ms:g}–{stop * dt_ms:g} ms"
        ax.set_title(label, fontsize=8, color=MUTED)
        ax.patch.set_alpha(0.0)
        ax.set_xticks([])
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set_color(GRID)
    return np.array(list(axes[: len(pictures)]), dtype=object)


def event_cloud(events: Any, ax: Axes | None = None, *, most: int = 5000) -> Axes:
    """Draw events in space and time: ON blue, OFF orange, time to the right.

    Args:
        events: event array with fields t (µs), x, y and p, or a mapping of such columns.
        ax: three-dimensional axes; None makes a figure.
        most: events drawn at most; of more, every k-th is drawn and the title says so.

    Returns:
        The axes.

    Raises:
        ParameterError: the axes are not three-dimensional, or `most` is below 1.
        ShapeError: a field is missing or has other axes.
    """
    if most < 1:
        raise ParameterError(f"event_cloud(most={most!r}): must be at least 1.")
    try:
        t, x, y, p = (numbers(events[name], f"events {name}", "n") for name in ("t", "x", "y", "p"))
    except (KeyError, ValueError, IndexError) as error:
        raise ShapeError(f"events need fields t, x, y and p ({error}).") from None
    if ax is None:
        figure = Figure(figsize=(4.6, 4.0), layout="constrained")
        figure.patch.set_alpha(0.0)
        ax = figure.add_subplot(projection="3d")
    if ax.name != "3d":
        raise ParameterError("event_cloud: needs three-dimensional axes, e.g. figure.add_subplot(projection='3d').")
    every = max(1, -(-t.size // most))
    space: Any = ax
    for polarity, colour, label in ((1.0, BLUE, "ON"), (0.0, ORANGE, "OFF")):
        own = np.flatnonzero((p > 0) == polarity)[::every]
        if own.size:
            at = t[own] * 1e-3, x[own], y[own]
            space.scatter(*at, s=2, color=colour, label=label, linewidths=0, rasterized=True)
    space.set_xlabel("time (ms)", fontsize=9, color=INK)
    space.set_ylabel("x", fontsize=9, color=INK)
    space.set_zlabel("y", fontsize=9, color=INK)
    space.tick_params(labelsize=7, colors=MUTED)
    for axis in (space.xaxis, space.yaxis, space.zaxis):
        axis.pane.set_alpha(0.0)
        axis.line.set_color(MUTED)
        axis.set_major_locator(MaxNLocator(5 if axis is space.xaxis else 4, integer=True))
        axis._axinfo["grid"].update(color=GRID, linewidth=0.5)
    space.patch.set_alpha(0.0)
    space.invert_zaxis()
    space.set_box_aspect((1.8, 1.0, 1.0), zoom=0.85)
    shown = f"{t.size:,} events" if every == 1 else f"{t.size:,} events, 1 in {every} drawn"
    ax.set_title(shown, loc="left", fontsize=10, color=INK)
    if t.size:
        legend(ax, markerscale=4)
    return ax


def rate_histogram(rates: Any, ax: Axes | None = None, *, unit: str = "spikes per neuron and step") -> Axes:
    """Draw how many neurons fire at which rate, as a share of each layer.

    Args:
        rates: rates [N] of one population, or a mapping from layer names to them.
        ax: where to draw; None makes a figure.
        unit: unit of the rates.

    Returns:
        The axes.

    Raises:
        ShapeError: an array has other axes.
    """
    layers = dict(rates) if isinstance(rates, Mapping) else {"": rates}
    arrays = {name: numbers(values, f"rates {name}".strip(), "N") for name, values in layers.items()}
    arrays = {name: values for name, values in arrays.items() if values.size}
    ax = new_axes(ax)
    edges = _rate_bins([values for values in arrays.values() if values.max() > 0])
    for index, (name, values) in enumerate(arrays.items()):
        share = 100.0 * np.histogram(values, edges)[0] / values.size
        silent = 100.0 * np.count_nonzero(values == 0) / values.size
        label = f"{plain(name)}: mean {values.mean():.3g}, silent {silent:.0f} %".lstrip(": ")
        ax.stairs(share, edges, color=CYCLE[index % len(CYCLE)], linewidth=1.6, label=label)
    ax.set_ylim(bottom=0.0)
    if arrays:
        legend_above(ax)
    return tidy(ax, "Firing rates", unit, "neurons (%)")


def _rate_bins(rates: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return edges of some twenty bins, each as wide as so many steps of the rates, which count spikes."""
    if not rates:
        return np.linspace(0.0, 1.0, 21)
    top = max(float(values.max()) for values in rates)
    levels = np.unique(np.round(np.concatenate([[0.0], *rates]) / top, 9))
    step = float(np.diff(levels).min()) * top
    width = step * max(1, round(top / 20 / step))
    edges: NDArray[np.float64] = np.arange(int(top / width + 0.5) + 2, dtype=np.float64) * width - step / 2
    return edges


def confusion_matrix(matrix: Any, classes: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Draw which class was taken for which; shades are shares of each true class, numbers are counts.

    Args:
        matrix: counts [true class, predicted class].
        classes: names of the classes; None numbers them.
        ax: where to draw; None makes a figure.

    Returns:
        The axes.

    Raises:
        ShapeError: matrix is not square or does not fit classes.
    """
    counts = numbers(matrix, "matrix", "true predicted")
    size = len(counts)
    names = [plain(c) for c in (range(size) if classes is None else classes)]
    if counts.shape != (size, size) or size == 0 or len(names) != size:
        raise ShapeError(f"matrix has shape {counts.shape} and {len(names)} classes: needs [classes, classes].")
    ax = new_axes(ax, 4.6, 4.2)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    shade = np.empty((size, size, 4))
    shade[..., :3] = to_rgb(BLUE)
    shade[..., 3] = share**0.7
    ax.imshow(shade, interpolation="nearest")
    if size <= 20:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "#ffffff" if share[row, column] > 0.5 else INK
            text = f"{counts[row, column]:.0f}"
            ax.text(column, row, text, ha="center", va="center", fontsize=7 if size > 12 else 8, color=colour)
    tidy(ax, "Confusion", "predicted class", "true class", grid=None)
    turned = 90 if max(len(name) for name in names) > 3 else 0
    if size <= 40:
        ax.set_xticks(range(size), names, rotation=turned)
        ax.set_yticks(range(size), names)
    return ax


def energy_bars(comparison: Comparison | Mapping[str, Any], ax: Axes | None = None) -> Axes:
    """Draw the energy per sample under each model: the spiking run, and the non-spiking network once and every step.

    Args:
        comparison: what `energy.compare` returns, or its ``as_dict()``.
        ax: where to draw; None makes a figure.

    Returns:
        The axes; energies in nJ on a logarithmic scale.

    Raises:
        ParameterError: no energy in it is above zero.
    """
    data = comparison.as_dict() if isinstance(comparison, Comparison) else comparison
    samples = max(int(data["samples"]), 1)
    models = list(data["models"].values())
    kinds = (
        ("spiking_pj", "spiking", BLUE),
        ("non_spiking_pj", "non-spiking, once", ORANGE),
        ("non_spiking_every_step_pj", "non-spiking, every step", GRID),
    )
    bars = [[(model["total"][key], label, colour) for key, label, colour in kinds] for model in models]
    bars = [[(pj / samples / 1e3, label, colour) for pj, label, colour in group if pj] for group in bars]
    values = [value for group in bars for value, _, _ in group]
    if not values:
        raise ParameterError("comparison holds no energy above zero: run at least one sample first.")
    ax = new_axes(ax, 4.6, 0.8 + 0.15 * (len(values) + 1.6 * len(models)))
    line = 0.0
    for model, group in zip(models, bars, strict=True):
        title = f" {plain(model['title'])}"
        ax.text(0.0, line, title, transform=ax.get_yaxis_transform(), fontsize=8, color=INK, va="center")
        for value, label, colour in group:
            line += 1.0
            edge = MUTED if colour == GRID else colour
            ax.barh(line, value, 0.8, color=colour, edgecolor=edge, linewidth=0.5, label=label)
            amount = with_unit(value * 1e3)
            ax.annotate(amount, (value, line), (3, 0), textcoords="offset points", fontsize=7, color=MUTED, va="center")
        line += 1.6
    ax.set_xscale("log")
    ax.set_xlim(*bar_limits(values))
    ax.set_ylim(line - 0.6, -0.9)
    ax.set_yticks([])
    handles = {label: handle for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    tidy(ax, "", "energy per sample (nJ, logarithmic)", "", grid="x")
    ax.spines["left"].set_visible(False)
    legend(
        ax,
        handles=list(handles.values()),
        labels=list(handles),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        columnspacing=1.0,
        handlelength=1.2,
    )
    return ax


def membrane_traces(
    membranes: Any,
    ax: Axes | None = None,
    *,
    dt_ms: float | None = None,
    threshold: float | None = None,
    labels: Sequence[str] | None = None,
    highlight: Sequence[int] | None = None,
    unit: str = "membrane",
    start_ms: float = 0.0,
) -> Axes:
    """Draw membranes over time.

    Args:
        membranes: membranes [T, N], or a `Trace` of a run, which knows its times and neurons.
        ax: where to draw; None makes a figure.
        dt_ms: length of a step in ms; None labels the axis in steps.
        threshold: firing threshold, drawn as a line.
        labels: names of the neurons.
        highlight: neurons in colour and in the legend, the rest grey; None takes the first six.
        unit: label of the vertical axis.
        start_ms: time at which the first step began.

    Returns:
        The axes.

    Raises:
        ShapeError: an array has other axes, or labels do not fit.
    """
    trace = membranes if hasattr(membranes, "times") and hasattr(membranes, "ids") else None
    values = numbers(membranes if trace is None else trace.values, "membranes", "T N")
    own = range(values.shape[1]) if trace is None else trace.ids
    names = [plain(n) for n in (own if labels is None else labels)]
    if len(names) != values.shape[1]:
        raise ShapeError(f"labels holds {len(names)} names: membranes [T, N] has {values.shape[1]} neurons.")
    chosen = list(range(min(values.shape[1], len(CYCLE)))) if highlight is None else list(dict.fromkeys(highlight))
    ax = new_axes(ax)
    times = np.arange(len(values)) if dt_ms is None else start_ms + (np.arange(len(values)) + 1) * dt_ms
    times = times if trace is None else trace.times
    for neuron in set(range(values.shape[1])) - set(chosen):
        ax.plot(times, values[:, neuron], color=GRID, linewidth=1.0)
    for index, neuron in enumerate(chosen):
        ax.plot(times, values[:, neuron], color=CYCLE[index % len(CYCLE)], linewidth=1.6, label=names[neuron])
    if threshold is not None:
        ax.axhline(threshold, color=MUTED, linewidth=0.8, linestyle=":", label="threshold")
    if chosen:
        legend_above(ax)
    return tidy(ax, "Membranes", "step" if dt_ms is None and trace is None else "time (ms)", unit)


def _placed(values: Any, name: str, dt_ms: float | None) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Return where spikes stand in time, their neurons and a lower bound of the population's size."""
    if hasattr(values, "times") and hasattr(values, "ids"):
        return values.times, values.ids.astype(np.float64), int(values.ids.max(initial=-1)) + 1
    steps, neurons, size = _pairs(values, name)
    return steps if dt_ms is None else (steps + 1) * dt_ms, neurons, size


def _pairs(values: Any, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Split spikes into steps, neurons and a lower bound of the population's size."""
    where = f"spikes {name}".strip()
    array = numbers(values, where, "n 2")
    integer = str(getattr(values, "dtype", np.asarray(values).dtype)).removeprefix("torch.").startswith(("int", "uint"))
    if not integer:
        steps, neurons = np.nonzero(array)
        return steps.astype(np.float64), neurons.astype(np.float64), array.shape[1]
    if array.shape[1] != 2:
        raise ShapeError(
            f"{where} are integers of shape {array.shape}: needs [n, 2] (step, neuron), or booleans [T, N]."
        )
    return array[:, 0], array[:, 1], int(array[:, 1].max()) + 1 if len(array) else 0


def _two_colours(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """Blend counts [P, H, W] into RGBA [H, W, 4]: transparent where nothing happened."""
    off, on = (np.zeros_like(picture[0]), picture[0]) if len(picture) == 1 else (picture[0], picture[1])
    total = off + on
    part = np.divide(on, total, out=np.zeros_like(total), where=total > 0)[..., None]
    rgba = np.empty((*total.shape, 4))
    rgba[..., :3] = part * np.array(to_rgb(BLUE)) + (1.0 - part) * np.array(to_rgb(ORANGE))
    rgba[..., 3] = np.where(total > 0, np.clip(0.25 + 0.75 * total, 0.0, 1.0), 0.0)
    return rgba
