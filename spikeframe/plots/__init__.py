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

__all__ = [
    "confusion_matrix",
    "energy_bars",
    "event_frames",
    "learning_curves",
    "membrane_traces",
    "rate_histogram",
    "spike_raster",
    "write_report",
]
