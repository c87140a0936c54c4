"""One look for all figures: colours safe for colour-blind readers, few lines, no global state.

Figures are made without pyplot, so that nothing stays open and no backend is touched: ``ax.figure.savefig(path)``
writes one, and a notebook shows ``ax.figure``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spikeframe.errors import DTypeError, NonFiniteError, ShapeError

INK, MUTED, GRID = "#24292f", "#6e7781", "#d8dee4"
BLUE, ORANGE, GREEN, YELLOW, SKY, PURPLE = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#56b4e9", "#cc79a7"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY)  # Okabe and Ito 2008


def new_axes(ax: Axes | None, width: float = 4.6, height: float = 3.0) -> Axes:
    """Return the given axes, or those of a new figure of that size in inches."""
    if ax is not None:
        return ax
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0.0)
    return figure.add_subplot()


def tidy(ax: Axes, title: str, x: str, y: str, *, grid: Literal["x", "y"] | None = "y") -> Axes:
    """Set labels, drop the box and draw a light grid along one axis, if any."""
    ax.set_title(title, loc="left", fontsize=10, color=INK)
    ax.set_xlabel(x, fontsize=9, color=INK)
    ax.set_ylabel(y, fontsize=9, color=INK)
    ax.patch.set_alpha(0.0)
    ax.tick_params(which="both", labelsize=8, colors=MUTED)
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(MUTED)
    ax.set_axisbelow(True)
    if grid is not None:
        ax.grid(True, axis=grid, color=GRID, linewidth=0.6)
    return ax


def legend(ax: Axes, **options: Any) -> None:
    """Add a frameless legend."""
    ax.legend(frameon=False, fontsize=8, labelcolor=INK, **options)


def legend_above(ax: Axes) -> None:
    """Add a legend in rows above all that is drawn so far, in room that the vertical axis (linear) is extended by."""
    names = ax.get_legend_handles_labels()[1]
    extent = ax.get_window_extent()
    width, height = extent.width / ax.figure.dpi, extent.height / ax.figure.dpi
    columns = max(1, min(len(names), int(width / (0.4 + 0.064 * max(len(name.strip()) for name in names)))))
    rows = -(-len(names) // columns)
    share = min(0.16 * rows + 0.1, 0.6 * height) / height
    low, high = ax.get_ylim()
    ax.set_ylim(low, low + (high - low) / (1.0 - share))
    legend(ax, loc="upper left", ncols=columns, borderaxespad=0.2, columnspacing=1.2, handlelength=1.5)


def bar_limits(values: Sequence[float]) -> tuple[float, float]:
    """Return where a logarithmic axis of bars begins and ends, with room for a label behind the longest."""
    start = 10.0 ** np.floor(np.log10(min(values) / 1.5))
    return float(start), float(start * (max(values) / start) ** 1.35)


def plain(text: object) -> str:
    """Return text that matplotlib draws as it stands: no formula between dollar signs, no label hidden by ``_``."""
    words = str(text).replace("$", r"\$")
    return f" {words}" if words.startswith("_") else words


def numbers(values: Any, name: str, axes: str) -> NDArray[np.float64]:
    """Return values as a finite float array with the stated axes.

    Args:
        values: array, list or torch tensor.
        name: what it is called in an error.
        axes: its axes separated by spaces, e.g. ``"T N"``.

    Raises:
        DTypeError: values are not numbers.
        ShapeError: the number of axes differs.
        NonFiniteError: a value is NaN or infinite.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ShapeError(f"{name} is not a regular array: needs axes [{axes}].") from error
    if array.dtype.kind not in "biuf":
        raise DTypeError(f"{name} has dtype {array.dtype}: needs numbers.")
    if array.ndim != len(axes.split()):
        raise ShapeError(f"{name} has shape {array.shape}: needs axes [{axes}].")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise NonFiniteError(f"{name} holds NaN or infinite values: only finite ones can be drawn.")
    return array
