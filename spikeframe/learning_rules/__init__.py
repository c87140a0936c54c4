"""Learning rules, one per file. Imports nothing by itself: neurons use the surrogates of this package."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikeframe.learning_rules.astrocyte import Astrocyte, AstroSTDP
    from spikeframe.learning_rules.bptt import BPTT
    from spikeframe.learning_rules.eprop import EProp
    from spikeframe.learning_rules.eventprop import EventProp
    from spikeframe.learning_rules.ottt import OTTT
    from spikeframe.learning_rules.sltt import SLTT
    from spikeframe.learning_rules.stdp import PairSTDP
    from spikeframe.learning_rules.stdp_inhibitory import InhibitorySTDP
    from spikeframe.learning_rules.stdp_reward import RewardSTDP
    from spikeframe.learning_rules.stdp_triplet import TripletSTDP
    from spikeframe.learning_rules.stdp_voltage import VoltageSTDP
    from spikeframe.learning_rules.synaptic_scaling import SynapticScaling
    from spikeframe.learning_rules.truncated import TruncatedBPTT

_HOMES = {
    "AstroSTDP": "astrocyte",
    "Astrocyte": "astrocyte",
    "BPTT": "bptt",
    "EProp": "eprop",
    "EventProp": "eventprop",
    "InhibitorySTDP": "stdp_inhibitory",
    "OTTT": "ottt",
    "PairSTDP": "stdp",
    "RewardSTDP": "stdp_reward",
    "SLTT": "sltt",
    "SynapticScaling": "synaptic_scaling",
    "TripletSTDP": "stdp_triplet",
    "TruncatedBPTT": "truncated",
    "VoltageSTDP": "stdp_voltage",
}

__all__ = [
    "BPTT",
    "OTTT",
    "SLTT",
    "AstroSTDP",
    "Astrocyte",
    "EProp",
    "EventProp",
    "InhibitorySTDP",
    "PairSTDP",
    "RewardSTDP",
    "SynapticScaling",
    "TripletSTDP",
    "TruncatedBPTT",
    "VoltageSTDP",
]


def __getattr__(name: str) -> Any:
    """Import on first use: rules of plasticity need nothing of the neurons."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"spikeframe.learning_rules.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'spikeframe.learning_rules' has no attribute {name!r}")
