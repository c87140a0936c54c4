"""Operation counts, energy models and reports."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from spikeframe.core.counts import Counts
from spikeframe.energy.model import EnergyModel, chip, get_model, load_models, models
from spikeframe.energy.reports import Comparison, EnergyReport, LayerEnergy, compare, report

if TYPE_CHECKING:
    from spikeframe.energy.counting import count
    from spikeframe.energy.neurobench_metrics import neurobench

_NEEDS_TORCH = {"count": "spikeframe.energy.counting", "neurobench": "spikeframe.energy.neurobench_metrics"}

__all__ = [
    "Comparison",
    "Counts",
    "EnergyModel",
    "EnergyReport",
    "LayerEnergy",
    "chip",
    "compare",
    "count",
    "get_model",
    "load_models",
    "models",
    "neurobench",
    "report",
]


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use, so that pricing counts does not."""
    if name in _NEEDS_TORCH:
        return getattr(importlib.import_module(_NEEDS_TORCH[name]), name)
    from spikeframe.errors import unknown_name

    raise AttributeError(str(unknown_name("attribute of spikeframe.energy", name, __all__)))
