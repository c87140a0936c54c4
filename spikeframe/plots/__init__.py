"""Figures of a run, and its one-page report."""

from __future__ import annotations

from spikeframe.plots.activity import cv_histogram, interval_histogram, population_rates
from spikeframe.plots.comparison import write_comparison
from spikeframe.plots.figures import (
    confusion_matrix,
    energy_bars,
    event_cloud,
    event_frames,
    learning_curves,
    membrane_traces,
    rate_histogram,
    spike_raster,
)
from spikeframe.plots.inference import write_counts, write_inference
from spikeframe.plots.report import write_report
from spikeframe.plots.sample import sample_figure
from spikeframe.plots.simulation import write_simulation
from spikeframe.plots.spending import energy_columns, energy_over_time, run_energies, sparsity_accuracy
from spikeframe.plots.wiring import connectivity_matrix, weight_histogram, weight_matrix

__all__ = [
    "confusion_matrix",
    "connectivity_matrix",
    "cv_histogram",
    "energy_bars",
    "energy_columns",
    "energy_over_time",
    "event_cloud",
    "event_frames",
    "interval_histogram",
    "learning_curves",
    "membrane_traces",
    "population_rates",
    "rate_histogram",
    "run_energies",
    "sample_figure",
    "sparsity_accuracy",
    "spike_raster",
    "weight_histogram",
    "weight_matrix",
    "write_comparison",
    "write_counts",
    "write_inference",
    "write_report",
    "write_simulation",
]
