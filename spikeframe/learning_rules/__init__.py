"""Learning rules, one per file. Imports nothing by itself: neurons use the surrogates of this package."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikeframe.learning_rules.stdp import PairSTDP

_HOMES = {"PairSTDP": "stdp"}

__all__ = ["PairSTDP"]


def __getattr__(name: str) -> Any:
    """Import on first use: rules of plasticity need nothing of the neurons."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"spikeframe.learning_rules.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'spikeframe.learning_rules' has no attribute {name!r}")
