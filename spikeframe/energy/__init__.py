"""Operation counts, energy models and reports."""

from __future__ import annotations

from spikeframe.core.counts import Counts
from spikeframe.energy.model import EnergyModel, chip, get_model, load_models, models
from spikeframe.energy.reports import Comparison, EnergyReport, LayerEnergy, compare, report

__all__ = [
    "Comparison",
    "Counts",
    "EnergyModel",
    "EnergyReport",
    "LayerEnergy",
    "chip",
    "compare",
    "get_model",
    "load_models",
    "models",
    "report",
]
