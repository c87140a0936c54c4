"""The event-driven core: networks, the simulator, operation counts."""

from __future__ import annotations

from spikeframe.core.counts import Counts
from spikeframe.core.network import Network, Population
from spikeframe.core.simulator import Result, Simulator, Spikes, differing_spikes
from spikeframe.core.snap import Snapped, snap

__all__ = ["Counts", "Network", "Population", "Result", "Simulator", "Snapped", "Spikes", "differing_spikes", "snap"]
