"""The picture of one sample: its events, every spike, and what the network put out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spikeframe.plots.figures import event_frames, membrane_traces, spike_raster


def sample_figure(
    inputs: NDArray[Any],
    spikes: Mapping[str, NDArray[Any]],
    outputs: NDArray[Any],
    *,
    dt_ms: float,
    sizes: Mapping[str, int],
    classes: Sequence[str] = (),
    label: int | None = None,
    title: str = "",
) -> Figure:
    """Draw the input and every spike of one sample, and the output if its classes are named.

    Args:
        inputs: event counts [T, P, H, W]; a sensor of one row is shown as a population of its own.
        spikes: (step, neuron) pairs [n, 2] by layer.
        outputs: membrane of the output [T, classes].
        dt_ms: time step, ms.
        sizes: neurons by layer.
        classes: names of the classes; none leaves the output out.
        label: true class.
        title: title of the figure.

    Returns:
        The figure.
    """
    heights = {"frames": 1.5 * inputs.shape[2] / inputs.shape[3] + 0.4, "spikes": 3.6, "output": 3.0}
    trains = dict(spikes)
    if inputs.shape[2] == 1:
        del heights["frames"]
        trains = {"input": np.stack(np.nonzero(inputs.reshape(len(inputs), -1)), axis=1), **trains}
    if not classes:
        del heights["output"]
    figure = Figure(figsize=(9, sum(heights.values()) + 0.4), layout="constrained", facecolor="white")
    figure.suptitle(title)
    parts: Any = figure.subfigures(len(heights), 1, height_ratios=list(heights.values()), squeeze=False)
    for part, what in zip(parts[:, 0], heights, strict=True):
        if what == "frames":
            panels = min(8, len(inputs))
            event_frames(inputs, panels=panels, dt_ms=dt_ms, axes=part.subplots(1, panels, squeeze=False)[0])
        elif what == "spikes":
            ax = part.subplots()
            spike_raster(trains, ax, sizes={**sizes, "input": inputs[0].size}, dt_ms=dt_ms)
            ax.set_xlim(0, (len(inputs) + 0.5) * dt_ms)
        else:
            ax = part.subplots()
            names, shown = _named(classes, int(outputs.mean(axis=0).argmax()), label)
            membrane_traces(outputs, ax, dt_ms=dt_ms, labels=names, highlight=shown, unit="membrane")
            ax.set_xlim(0, (len(inputs) + 0.5) * dt_ms)
            ax.set_title("Output", loc="left", fontsize=10)
    return figure


def _named(classes: Sequence[str], decided: int, label: int | None) -> tuple[list[str], list[int]]:
    """Return the classes' names with what they are for this sample, and which are to be seen."""
    roles = {decided: "decided"}
    if label is not None:
        roles[label] = "decided and true" if label == decided else "true"
    return [f"{name} ({roles[k]})" if k in roles else name for k, name in enumerate(classes)], sorted(roles)
