"""A backend for PyNN: ``import spikeframe.adapters.pynn as sim`` in place of ``import pyNN.nest as sim``.

Once this is imported, ``pyNN.spikeframe`` names it too, so that scripts which choose their simulator by PyNN's
``get_simulator`` take ``spikeframe``; ``python -m spikeframe.adapters.pynn SCRIPT ARGUMENTS`` runs such a script as it
is. What is there and what is not: ``docs/pynn.md``. Needs the extra ``pynn``.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import pyNN
from pyNN import errors, random, space, standardmodels
from pyNN.connectors import (
    AllToAllConnector,
    ArrayConnector,
    CloneConnector,
    CSAConnector,
    DisplacementDependentProbabilityConnector,
    DistanceDependentProbabilityConnector,
    FixedNumberPostConnector,
    FixedNumberPreConnector,
    FixedProbabilityConnector,
    FixedTotalNumberConnector,
    FromFileConnector,
    FromListConnector,
    IndexBasedProbabilityConnector,
    OneToOneConnector,
    SmallWorldConnector,
)
from pyNN.network import Network
from pyNN.random import GSLRNG, NumpyRNG, RandomDistribution
from pyNN.space import Space
from pyNN.standardmodels import StandardCellType

from spikeframe.adapters.pynn.cells import (
    EIF_cond_alpha_isfa_ista,
    EIF_cond_exp_isfa_ista,
    GIF_cond_exp,
    HH_cond_exp,
    IF_cond_alpha,
    IF_cond_exp,
    IF_cond_exp_gsfa_grr,
    IF_curr_alpha,
    IF_curr_delta,
    IF_curr_exp,
    IF_facets_hardware1,
    Izhikevich,
    SpikeSourceArray,
    SpikeSourceGamma,
    SpikeSourcePoisson,
    SpikeSourcePoissonRefractory,
)
from spikeframe.adapters.pynn.composed import (
    LIF,
    AdExp,
    AlphaPSR,
    BetaPSR,
    CondAlphaPostSynapticResponse,
    CondBetaPostSynapticResponse,
    CondExpPostSynapticResponse,
    CurrExpPostSynapticResponse,
    ExpPSR,
    PointNeuron,
)
from spikeframe.adapters.pynn.control import (
    NativeRNG,
    connect,
    counts,
    create,
    end,
    get_current_time,
    get_max_delay,
    get_min_delay,
    get_time_step,
    initialize,
    num_processes,
    rank,
    record,
    record_gsyn,
    record_v,
    reset,
    run,
    run_for,
    run_until,
    set,
    setup,
)
from spikeframe.adapters.pynn.electrodes import ACSource, DCSource, NoisyCurrentSource, StepCurrentSource
from spikeframe.adapters.pynn.populations import Assembly, Population, PopulationView
from spikeframe.adapters.pynn.projections import Projection
from spikeframe.adapters.pynn.synapses import (
    AdditivePotentiationMultiplicativeDepression,
    AdditiveWeightDependence,
    ElectricalSynapse,
    GutigWeightDependence,
    MultiplicativeWeightDependence,
    MultiQuantalSynapse,
    SimpleStochasticSynapse,
    SpikePairRule,
    StaticSynapse,
    STDPMechanism,
    StochasticTsodyksMarkramSynapse,
    Synapse,
    TsodyksMarkramSynapse,
    Vogels2011Rule,
)
from spikeframe.errors import unknown_name

__all__ = [
    "GSLRNG",
    "LIF",
    "ACSource",
    "AdExp",
    "AdditivePotentiationMultiplicativeDepression",
    "AdditiveWeightDependence",
    "AllToAllConnector",
    "AlphaPSR",
    "ArrayConnector",
    "Assembly",
    "BetaPSR",
    "CSAConnector",
    "CloneConnector",
    "CondAlphaPostSynapticResponse",
    "CondBetaPostSynapticResponse",
    "CondExpPostSynapticResponse",
    "CurrExpPostSynapticResponse",
    "DCSource",
    "DisplacementDependentProbabilityConnector",
    "DistanceDependentProbabilityConnector",
    "EIF_cond_alpha_isfa_ista",
    "EIF_cond_exp_isfa_ista",
    "ElectricalSynapse",
    "ExpPSR",
    "FixedNumberPostConnector",
    "FixedNumberPreConnector",
    "FixedProbabilityConnector",
    "FixedTotalNumberConnector",
    "FromFileConnector",
    "FromListConnector",
    "GIF_cond_exp",
    "GutigWeightDependence",
    "HH_cond_exp",
    "IF_cond_alpha",
    "IF_cond_exp",
    "IF_cond_exp_gsfa_grr",
    "IF_curr_alpha",
    "IF_curr_delta",
    "IF_curr_exp",
    "IF_facets_hardware1",
    "IndexBasedProbabilityConnector",
    "Izhikevich",
    "MultiQuantalSynapse",
    "MultiplicativeWeightDependence",
    "NativeRNG",
    "Network",
    "NoisyCurrentSource",
    "NumpyRNG",
    "OneToOneConnector",
    "PointNeuron",
    "Population",
    "PopulationView",
    "Projection",
    "RandomDistribution",
    "STDPMechanism",
    "SimpleStochasticSynapse",
    "SmallWorldConnector",
    "Space",
    "SpikePairRule",
    "SpikeSourceArray",
    "SpikeSourceGamma",
    "SpikeSourcePoisson",
    "SpikeSourcePoissonRefractory",
    "StaticSynapse",
    "StepCurrentSource",
    "StochasticTsodyksMarkramSynapse",
    "TsodyksMarkramSynapse",
    "Vogels2011Rule",
    "connect",
    "counts",
    "create",
    "end",
    "errors",
    "get_current_time",
    "get_max_delay",
    "get_min_delay",
    "get_time_step",
    "initialize",
    "list_standard_models",
    "num_processes",
    "random",
    "rank",
    "record",
    "record_gsyn",
    "record_v",
    "reset",
    "run",
    "run_for",
    "run_until",
    "set",
    "setup",
    "space",
]

sys.modules["pyNN.spikeframe"] = sys.modules[__name__]
pyNN.spikeframe = sys.modules[__name__]


def list_standard_models() -> list[str]:
    """Return the names of PyNN's standard cells that are available here."""
    return [
        name for name, kind in globals().items() if isinstance(kind, type) and issubclass(kind, StandardCellType)
        and kind is not StandardCellType
    ]  # fmt: skip


def __getattr__(name: str) -> NoReturn:
    """Say what there is, where PyNN has something that this backend has not."""
    if hasattr(standardmodels.cells, name) or hasattr(standardmodels.synapses, name):
        kinds = [name for name, kind in globals().items() if isinstance(kind, type) and issubclass(kind, Synapse)]
        there = ", ".join([*list_standard_models(), *(name for name in kinds if name != "Synapse")])
        raise AttributeError(f"{name} is a standard model of PyNN that spikeframe does not run. It runs {there}.")
    raise AttributeError(str(unknown_name("attribute of spikeframe.adapters.pynn", name, __all__)))
