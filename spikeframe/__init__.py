"""spikeframe: one description of a spiking network; training, event-driven simulation and energy counts from it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from spikeframe import (
        adapters,
        analysis,
        core,
        datasets,
        energy,
        errors,
        learning_rules,
        modules,
        neurons,
        plots,
        training,
    )
    from spikeframe.core import Network, Simulator
    from spikeframe.core.bernoulli import Bernoulli
    from spikeframe.core.distributions import LogNormal, Normal, Uniform
    from spikeframe.core.quantal import Quantal
    from spikeframe.core.rules import (
        AllToAll,
        DistanceDependent,
        FixedInDegree,
        FixedOutDegree,
        FixedProbability,
        FixedTotal,
        FromMatrix,
        OneToOne,
        Pairs,
        SmallWorld,
    )
    from spikeframe.core.short_term import TsodyksMarkram
    from spikeframe.core.stimulation import (
        AC,
        DC,
        NoiseCurrent,
        PoissonInput,
        PoissonSource,
        SpikeSource,
        StepCurrent,
    )

_SUBPACKAGES = (
    "adapters",
    "analysis",
    "core",
    "datasets",
    "energy",
    "errors",
    "kernels",
    "learning_rules",
    "modules",
    "neurons",
    "plots",
    "training",
)
_NAMES = {
    "AC": "spikeframe.core.stimulation",
    "AllToAll": "spikeframe.core.rules",
    "Bernoulli": "spikeframe.core.bernoulli",
    "DC": "spikeframe.core.stimulation",
    "DistanceDependent": "spikeframe.core.rules",
    "FixedInDegree": "spikeframe.core.rules",
    "FixedOutDegree": "spikeframe.core.rules",
    "FixedProbability": "spikeframe.core.rules",
    "FixedTotal": "spikeframe.core.rules",
    "FromMatrix": "spikeframe.core.rules",
    "LogNormal": "spikeframe.core.distributions",
    "Network": "spikeframe.core",
    "NoiseCurrent": "spikeframe.core.stimulation",
    "Normal": "spikeframe.core.distributions",
    "OneToOne": "spikeframe.core.rules",
    "Pairs": "spikeframe.core.rules",
    "PoissonInput": "spikeframe.core.stimulation",
    "PoissonSource": "spikeframe.core.stimulation",
    "Quantal": "spikeframe.core.quantal",
    "Simulator": "spikeframe.core",
    "SmallWorld": "spikeframe.core.rules",
    "SpikeSource": "spikeframe.core.stimulation",
    "StepCurrent": "spikeframe.core.stimulation",
    "TsodyksMarkram": "spikeframe.core.short_term",
    "Uniform": "spikeframe.core.distributions",
}

__all__ = [
    "AC",
    "DC",
    "AllToAll",
    "Bernoulli",
    "DistanceDependent",
    "FixedInDegree",
    "FixedOutDegree",
    "FixedProbability",
    "FixedTotal",
    "FromMatrix",
    "LogNormal",
    "Network",
    "NoiseCurrent",
    "Normal",
    "OneToOne",
    "Pairs",
    "PoissonInput",
    "PoissonSource",
    "Quantal",
    "Simulator",
    "SmallWorld",
    "SpikeSource",
    "StepCurrent",
    "TsodyksMarkram",
    "Uniform",
    "adapters",
    "analysis",
    "core",
    "datasets",
    "energy",
    "errors",
    "learning_rules",
    "modules",
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
