"""spikeframe: one description of a spiking network; training, event-driven simulation and energy counts from it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from spikeframe import core, datasets, energy, errors, learning_rules, neurons, plots, training
    from spikeframe.core import Network, Simulator

_SUBPACKAGES = ("core", "datasets", "energy", "errors", "kernels", "learning_rules", "neurons", "plots", "training")
_NAMES = {"Network": "spikeframe.core", "Simulator": "spikeframe.core"}

__all__ = [
    "Network",
    "Simulator",
    "core",
    "datasets",
    "energy",
    "errors",
    "learning_rules",
    "neurons",
    "plots",
    "training",
]


def __getattr__(name: str) -> Any:
    """Import a part on first use, so that ``import spikeframe`` costs nothing."""
    if name in _SUBPACKAGES:
        return importlib.import_module(f"spikeframe.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    from spikeframe.errors import unknown_name

    raise AttributeError(str(unknown_name("attribute of spikeframe", name, [*_SUBPACKAGES, *_NAMES])))


def __dir__() -> list[str]:
    return sorted([*__all__, "kernels", "__version__"])
