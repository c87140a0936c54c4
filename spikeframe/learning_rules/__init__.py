"""Learning rules, one per file. Imports nothing by itself: neurons use the surrogates of this package."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikeframe.learning_rules.astrocyte import Astrocyte, AstroSTDP
    from spikeframe.learning_rules.boolean_threshold import ThresholdNetwork
    from spikeframe.learning_rules.bptt import BPTT
    from spikeframe.learning_rules.competitive import bcm, hebb, k_winners, oja, sanger
    from spikeframe.learning_rules.conditional import ConditionalLinear
    from spikeframe.learning_rules.eprop import EProp
    from spikeframe.learning_rules.eventprop import EventProp
    from spikeframe.learning_rules.gradient import detached
    from spikeframe.learning_rules.hlop import HLOP, Subspace
    from spikeframe.learning_rules.on_tensors import plasticity
    from spikeframe.learning_rules.ottt import OTTT
    from spikeframe.learning_rules.replay import Replay
    from spikeframe.learning_rules.rewiring import Activity, Rewiring
    from spikeframe.learning_rules.sltt import SLTT
    from spikeframe.learning_rules.sparcl import DataRemoval, DynamicMasks, GradientMasks
    from spikeframe.learning_rules.sparse_training import SparseTraining, sparsify
    from spikeframe.learning_rules.stdp import PairSTDP
    from spikeframe.learning_rules.stdp_inhibitory import InhibitorySTDP
    from spikeframe.learning_rules.stdp_reward import RewardSTDP
    from spikeframe.learning_rules.stdp_triplet import TripletSTDP
    from spikeframe.learning_rules.stdp_voltage import VoltageSTDP
    from spikeframe.learning_rules.synaptic_scaling import SynapticScaling
    from spikeframe.learning_rules.truncated import TruncatedBPTT

_HOMES = {
    "Activity": "rewiring",
    "AstroSTDP": "astrocyte",
    "Astrocyte": "astrocyte",
    "BPTT": "bptt",
    "ConditionalLinear": "conditional",
    "DataRemoval": "sparcl",
    "DynamicMasks": "sparcl",
    "EProp": "eprop",
    "EventProp": "eventprop",
    "GradientMasks": "sparcl",
    "HLOP": "hlop",
    "InhibitorySTDP": "stdp_inhibitory",
    "OTTT": "ottt",
    "PairSTDP": "stdp",
    "Replay": "replay",
    "RewardSTDP": "stdp_reward",
    "Rewiring": "rewiring",
    "SLTT": "sltt",
    "SparseTraining": "sparse_training",
    "Subspace": "hlop",
    "SynapticScaling": "synaptic_scaling",
    "ThresholdNetwork": "boolean_threshold",
    "TripletSTDP": "stdp_triplet",
    "TruncatedBPTT": "truncated",
    "VoltageSTDP": "stdp_voltage",
    "bcm": "competitive",
    "detached": "gradient",
    "hebb": "competitive",
    "k_winners": "competitive",
    "oja": "competitive",
    "plasticity": "on_tensors",
    "sanger": "competitive",
    "sparsify": "sparse_training",
}

__all__ = [
    "BPTT",
    "HLOP",
    "OTTT",
    "SLTT",
    "Activity",
    "AstroSTDP",
    "Astrocyte",
    "ConditionalLinear",
    "DataRemoval",
    "DynamicMasks",
    "EProp",
    "EventProp",
    "GradientMasks",
    "InhibitorySTDP",
    "PairSTDP",
    "Replay",
    "RewardSTDP",
    "Rewiring",
    "SparseTraining",
    "Subspace",
    "SynapticScaling",
    "ThresholdNetwork",
    "TripletSTDP",
    "TruncatedBPTT",
    "VoltageSTDP",
    "bcm",
    "detached",
    "hebb",
    "k_winners",
    "oja",
    "plasticity",
    "sanger",
    "sparsify",
]


def __getattr__(name: str) -> Any:
    """Import on first use: rules of plasticity need nothing of the neurons."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"spikeframe.learning_rules.{_HOMES[name]}"), name)
    from spikeframe.errors import unknown_name

    raise AttributeError(str(unknown_name("attribute of spikeframe.learning_rules", name, __all__)))


def __dir__() -> list[str]:
    return sorted(__all__)
