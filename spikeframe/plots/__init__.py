"""Figures of a run, and its one-page report."""

from __future__ import annotations

from spikeframe.plots.figures import (
    confusion_matrix,
    energy_bars,
    event_frames,
    learning_curves,
    membrane_traces,
    rate_histogram,
    spike_raster,
)
from spikeframe.plots.report import write_report
from spikeframe.plots.sample import sample_figure

__all__ = [
    "confusion_matrix",
    "energy_bars",
    "event_frames",
    "learning_curves",
    "membrane_traces",
    "rate_histogram",
    "sample_figure",
    "spike_raster",
    "write_report",
]
