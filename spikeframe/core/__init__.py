"""The event-driven core: networks, the simulator, operation counts."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikeframe.core.counts import Counts
    from spikeframe.core.network import Network, Population
    from spikeframe.core.simulator import Result, Simulator, Spikes, differing_spikes
    from spikeframe.core.snapping import Snapped, snap

_HOMES = {
    "Counts": "counts",
    "Network": "network",
    "Population": "network",
    "Result": "simulator",
    "Simulator": "simulator",
    "Snapped": "snapping",
    "Spikes": "simulator",
    "differing_spikes": "simulator",
    "snap": "snapping",
}

__all__ = ["Counts", "Network", "Population", "Result", "Simulator", "Snapped", "Spikes", "differing_spikes", "snap"]


def __getattr__(name: str) -> Any:
    """Import on first use: counts need no torch."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"spikeframe.core.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'spikeframe.core' has no attribute {name!r}")
