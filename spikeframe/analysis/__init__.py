"""Measures of spiking and recurrent networks, one small family per file. Times are ms; everything is plain NumPy.

Recursions are compiled; nothing here knows a simulator or torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikeframe.analysis.avalanche import Avalanches, PowerLaw, avalanches, mean_interval, power_law
    from spikeframe.analysis.branching import Branching, branching_factor, branching_ratio, multistep_branching
    from spikeframe.analysis.dimension import participation_ratio
    from spikeframe.analysis.fixed_points import FixedPoints, find_fixed_points, jacobian
    from spikeframe.analysis.hmm import HMM, SymbolStatistics, symbol_statistics
    from spikeframe.analysis.irregularity import cv, cv2, intervals, local_variation, mean_cv
    from spikeframe.analysis.kreuz import spike_distance, spike_synchronization
    from spikeframe.analysis.phase_amplitude import Coupling, modulation_index, phase_amplitude_coupling
    from spikeframe.analysis.phases import (
        analytic,
        circular_linear,
        kuramoto,
        pairwise_phase_consistency,
        phase_locking,
        rayleigh,
        spike_phase,
    )
    from spikeframe.analysis.residency import Zones, first_changes, local_jacobian, mobius, zones
    from spikeframe.analysis.sinkhorn import sinkhorn_divergence
    from spikeframe.analysis.synchrony import fano_factor, golomb, mean_correlation
    from spikeframe.analysis.van_rossum import van_rossum_distance
    from spikeframe.analysis.victor_purpura import victor_purpura_distance

_HOMES = {
    "Avalanches": "avalanche",
    "Branching": "branching",
    "Coupling": "phase_amplitude",
    "FixedPoints": "fixed_points",
    "HMM": "hmm",
    "PowerLaw": "avalanche",
    "SymbolStatistics": "hmm",
    "Zones": "residency",
    "analytic": "phases",
    "avalanches": "avalanche",
    "branching_factor": "branching",
    "branching_ratio": "branching",
    "circular_linear": "phases",
    "cv": "irregularity",
    "cv2": "irregularity",
    "fano_factor": "synchrony",
    "find_fixed_points": "fixed_points",
    "first_changes": "residency",
    "golomb": "synchrony",
    "intervals": "irregularity",
    "jacobian": "fixed_points",
    "kuramoto": "phases",
    "local_jacobian": "residency",
    "local_variation": "irregularity",
    "mean_correlation": "synchrony",
    "mean_cv": "irregularity",
    "mean_interval": "avalanche",
    "mobius": "residency",
    "modulation_index": "phase_amplitude",
    "multistep_branching": "branching",
    "pairwise_phase_consistency": "phases",
    "participation_ratio": "dimension",
    "phase_amplitude_coupling": "phase_amplitude",
    "phase_locking": "phases",
    "power_law": "avalanche",
    "rayleigh": "phases",
    "sinkhorn_divergence": "sinkhorn",
    "spike_distance": "kreuz",
    "spike_phase": "phases",
    "spike_synchronization": "kreuz",
    "symbol_statistics": "hmm",
    "van_rossum_distance": "van_rossum",
    "victor_purpura_distance": "victor_purpura",
    "zones": "residency",
}

__all__ = [
    "HMM",
    "Avalanches",
    "Branching",
    "Coupling",
    "FixedPoints",
    "PowerLaw",
    "SymbolStatistics",
    "Zones",
    "analytic",
    "avalanches",
    "branching_factor",
    "branching_ratio",
    "circular_linear",
    "cv",
    "cv2",
    "fano_factor",
    "find_fixed_points",
    "first_changes",
    "golomb",
    "intervals",
    "jacobian",
    "kuramoto",
    "local_jacobian",
    "local_variation",
    "mean_correlation",
    "mean_cv",
    "mean_interval",
    "mobius",
    "modulation_index",
    "multistep_branching",
    "pairwise_phase_consistency",
    "participation_ratio",
    "phase_amplitude_coupling",
    "phase_locking",
    "power_law",
    "rayleigh",
    "sinkhorn_divergence",
    "spike_distance",
    "spike_phase",
    "spike_synchronization",
    "symbol_statistics",
    "van_rossum_distance",
    "victor_purpura_distance",
    "zones",
]


def __getattr__(name: str) -> Any:
    """Import on first use."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"spikeframe.analysis.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'spikeframe.analysis' has no attribute {name!r}")
