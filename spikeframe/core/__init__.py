"""The event-driven core: networks, the simulator, operation counts."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikeframe.core.batch import Result, differing_spikes
    from spikeframe.core.counts import Counts
    from spikeframe.core.feedforward import FeedForward
    from spikeframe.core.network import Network, Population
    from spikeframe.core.simulator import Simulator
    from spikeframe.core.snapping import Snapped, snap
    from spikeframe.core.spikes import Spikes

_HOMES = {
    "Counts": "counts",
    "FeedForward": "feedforward",
    "Network": "network",
    "Population": "network",
    "Result": "batch",
    "Simulator": "simulator",
    "Snapped": "snapping",
    "Spikes": "spikes",
    "differing_spikes": "batch",
    "snap": "snapping",
}

__all__ = [
    "Counts",
    "FeedForward",
    "Network",
    "Population",
    "Result",
    "Simulator",
    "Snapped",
    "Spikes",
    "differing_spikes",
    "snap",
]


def __getattr__(name: str) -> Any:
    """Import on first use: counts need no torch."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"spikeframe.core.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'spikeframe.core' has no attribute {name!r}")
