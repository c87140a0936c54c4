"""Learning rules, one per file. Imports nothing by itself: neurons use the surrogates of this package."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikeframe.learning_rules.astrocyte import Astrocyte, AstroSTDP
    from spikeframe.learning_rules.stdp import PairSTDP
    from spikeframe.learning_rules.stdp_inhibitory import InhibitorySTDP
    from spikeframe.learning_rules.stdp_reward import RewardSTDP
    from spikeframe.learning_rules.stdp_triplet import TripletSTDP
    from spikeframe.learning_rules.stdp_voltage import VoltageSTDP
    from spikeframe.learning_rules.synaptic_scaling import SynapticScaling

_HOMES = {
    "AstroSTDP": "astrocyte",
    "Astrocyte": "astrocyte",
    "InhibitorySTDP": "stdp_inhibitory",
    "PairSTDP": "stdp",
    "RewardSTDP": "stdp_reward",
    "SynapticScaling": "synaptic_scaling",
    "TripletSTDP": "stdp_triplet",
    "VoltageSTDP": "stdp_voltage",
}

__all__ = [
    "AstroSTDP",
    "Astrocyte",
    "InhibitorySTDP",
    "PairSTDP",
    "RewardSTDP",
    "SynapticScaling",
    "TripletSTDP",
    "VoltageSTDP",
]


def __getattr__(name: str) -> Any:
    """Import on first use: rules of plasticity need nothing of the neurons."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"spikeframe.learning_rules.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'spikeframe.learning_rules' has no attribute {name!r}")
