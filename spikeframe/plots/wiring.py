"""Figures of connections: weights, weight matrices, who reaches whom; one figure per function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.ticker import MaxNLocator

from spikeframe.errors import ShapeError
from spikeframe.plots.activity import _nothing
from spikeframe.plots.style import BLUE, CYCLE, GRID, INK, MUTED, ORANGE, legend, new_axes, numbers, plain, tidy

#: Cells that a matrix is drawn with at most in each direction.
_CELLS = 200
_SIGNED = LinearSegmentedColormap.from_list("signed", [ORANGE, f"{ORANGE}00", f"{BLUE}00", BLUE])
_NEGATIVE = LinearSegmentedColormap.from_list("negative", [ORANGE, f"{ORANGE}00"])
_POSITIVE = LinearSegmentedColormap.from_list("positive", [f"{BLUE}00", BLUE])


def weight_histogram(weights: Mapping[str, Any], ax: Axes | None = None, *, unit: str = "weight") -> Axes:
    """Draw the distribution of weights, one line per projection.

    Args:
        weights: name to ``[n]`` weights.
        ax: where to draw; None makes a figure.
        unit: label of the axis.

    Returns:
        The axes.

    Raises:
        ShapeError: an array has other axes.
    """
    found = {name: numbers(values, f"weights {name}", "n") for name, values in weights.items()}
    found = {name: values for name, values in found.items() if values.size}
    ax = new_axes(ax)
    if not found:
        return _nothing(ax, "Weights", "there are no synapses")
    low, high = min(float(v.min()) for v in found.values()), max(float(v.max()) for v in found.values())
    edges = np.linspace(low, high, 41) if high > low else np.linspace(low - 0.5, high + 0.5, 41)
    for index, (name, values) in enumerate(found.items()):
        share = 100.0 * np.histogram(values, edges)[0] / values.size
        ax.stairs(share, edges, color=CYCLE[index % len(CYCLE)], linewidth=1.4, label=f"{plain(name)}: {values.size:,}")
    ax.set_ylim(bottom=0.0)
    legend(ax)
    return tidy(ax, "Weights", unit, "synapses (%)")


def weight_matrix(
    weights: Any, ax: Axes | None = None, *, shape: tuple[int, int] | None = None, title: str = ""
) -> Axes:
    """Draw weights by source and target: positive blue, negative orange. Large matrices are averaged over blocks.

    Args:
        weights: ``[sources, targets]``; or synapses with ``source``, ``target`` and ``weight`` as `Simulator.weights`
            returns them (several between a pair are summed).
        ax: where to draw; None makes a figure.
        shape: (sources, targets), needed with synapses.
        title: title of the figure.

    Returns:
        The axes.

    Raises:
        ShapeError: an array has other axes, or the shape is missing.
    """
    if hasattr(weights, "source"):
        if shape is None:
            raise ShapeError("weight_matrix: synapses do not tell how many neurons there are; give shape.")
        blocks = [max(1, -(-n // _CELLS)) for n in shape]
        cells = [-(-n // b) for n, b in zip(shape, blocks, strict=True)]
        at = (np.asarray(weights.source) // blocks[0], np.asarray(weights.target) // blocks[1])
        matrix = np.zeros(cells)
        np.add.at(matrix, at, np.asarray(weights.weight, np.float64))
        matrix /= blocks[0] * blocks[1]
    else:
        full = numbers(weights, "weights", "source target")
        shape = full.shape[0], full.shape[1]
        blocks = [max(1, -(-n // _CELLS)) for n in shape]
        rows = np.add.reduceat(full, np.arange(0, shape[0], blocks[0]), axis=0)
        matrix = np.add.reduceat(rows, np.arange(0, shape[1], blocks[1]), axis=1) / (blocks[0] * blocks[1])
    ax = new_axes(ax, 4.6, 4.0)
    low, high = float(matrix.min(initial=0.0)), float(matrix.max(initial=0.0))
    if low < 0 < high:
        colours, norm = _SIGNED, Normalize(-max(-low, high), max(-low, high))
    else:
        colours, norm = (_NEGATIVE, Normalize(low, 0.0)) if low < 0 else (_POSITIVE, Normalize(0.0, high or 1.0))
    extent = (-0.5, shape[1] - 0.5, shape[0] - 0.5, -0.5)
    image = ax.imshow(matrix, cmap=colours, norm=norm, extent=extent, interpolation="nearest", aspect="auto")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(8, integer=True))
    _bar(ax, image, "weight" if blocks == [1, 1] else f"mean weight of {blocks[0]} x {blocks[1]} pairs")
    return tidy(ax, plain(title or "Weights"), "target neuron", "source neuron", grid=None)


def connectivity_matrix(
    synapses: Any, names: Sequence[str], ax: Axes | None = None, *, quantity: str = "synapses"
) -> Axes:
    """Draw a number for every pair of populations, e.g. synapses or connection probability.

    Args:
        synapses: ``[populations, populations]``, sources down, targets to the right.
        names: of the populations.
        ax: where to draw; None makes a figure.
        quantity: what the numbers are.

    Returns:
        The axes.

    Raises:
        ShapeError: it is not square or does not fit the names.
    """
    matrix = numbers(synapses, "synapses", "source target")
    if matrix.shape != (len(names), len(names)) or not len(names):
        raise ShapeError(f"synapses has shape {matrix.shape} for {len(names)} populations.")
    ax = new_axes(ax, 4.6, 4.0)
    top = float(np.abs(matrix).max()) or 1.0
    ax.imshow(matrix, cmap=_POSITIVE, vmin=0.0, vmax=top, interpolation="nearest")
    if len(names) <= 12:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            value = float(matrix[row, column])
            ax.text(
                column, row, _short(value), ha="center", va="center", fontsize=7,
                color="#ffffff" if value > 0.55 * top else INK,
            )  # fmt: skip
    labels = [plain(name) for name in names]
    ax.set_xticks(range(len(names)), labels, rotation=90 if max(map(len, labels)) > 3 else 0)
    ax.set_yticks(range(len(names)), labels)
    return tidy(ax, f"Who reaches whom: {quantity}", "target", "source", grid=None)


def _short(value: float) -> str:
    """Write a number in few letters."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _bar(ax: Axes, image: Any, label: str) -> None:
    """Add a colour bar in the page's colours."""
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.85)
    bar.set_label(label, fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=7, colors=MUTED)
    bar.ax.set_facecolor("none")
    bar.outline.set_edgecolor(GRID)
