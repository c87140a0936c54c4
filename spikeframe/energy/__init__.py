"""Operation counts, energy models and reports."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from spikeframe.core.counts import Counts
from spikeframe.energy.columns import Columns, columns
from spikeframe.energy.measured import Joules, measured
from spikeframe.energy.model import EnergyModel, chip, get_model, load_models, models
from spikeframe.energy.reports import Comparison, EnergyReport, LayerEnergy, compare, report
from spikeframe.energy.runs import Runs, compare_runs

if TYPE_CHECKING:
    from spikeframe.energy.counting import count
    from spikeframe.energy.neurobench_metrics import neurobench
    from spikeframe.energy.timeline import Timeline, over_steps, over_time
    from spikeframe.energy.training import count_backward, count_training

_NEEDS_TORCH = {
    "Timeline": "spikeframe.energy.timeline",
    "count": "spikeframe.energy.counting",
    "count_backward": "spikeframe.energy.training",
    "count_training": "spikeframe.energy.training",
    "neurobench": "spikeframe.energy.neurobench_metrics",
    "over_steps": "spikeframe.energy.timeline",
    "over_time": "spikeframe.energy.timeline",
}

__all__ = [
    "Columns",
    "Comparison",
    "Counts",
    "EnergyModel",
    "EnergyReport",
    "Joules",
    "LayerEnergy",
    "Runs",
    "Timeline",
    "chip",
    "columns",
    "compare",
    "compare_runs",
    "count",
    "count_backward",
    "count_training",
    "get_model",
    "load_models",
    "measured",
    "models",
    "neurobench",
    "over_steps",
    "over_time",
    "report",
]


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use, so that pricing counts does not."""
    if name in _NEEDS_TORCH:
        return getattr(importlib.import_module(_NEEDS_TORCH[name]), name)
    from spikeframe.errors import unknown_name

    raise AttributeError(str(unknown_name("attribute of spikeframe.energy", name, __all__)))
