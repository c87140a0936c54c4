"""Neurons: one model per file, each written once and run everywhere."""

from __future__ import annotations

from spikeframe.kernels.trace import detach, exp, maximum, minimum, spike, where
from spikeframe.neurons.adaptive_threshold_if import AdaptiveThresholdIF
from spikeframe.neurons.adex import AdEx
from spikeframe.neurons.alif import ALIF
from spikeframe.neurons.condlif import CondLIF
from spikeframe.neurons.condlif_adapting import AdaptingCondLIF
from spikeframe.neurons.conductances import NMDA, CondAlpha, CondBeta, CondExp
from spikeframe.neurons.delay import Delay
from spikeframe.neurons.dendritic import DendriticLIF
from spikeframe.neurons.eif import EIF
from spikeframe.neurons.escape import EscapeLIF
from spikeframe.neurons.gif import GIF
from spikeframe.neurons.glif import GLIF
from spikeframe.neurons.graph import GraphNetwork
from spikeframe.neurons.hodgkin_huxley import HodgkinHuxley
from spikeframe.neurons.if_ import IF
from spikeframe.neurons.izhikevich import Izhikevich
from spikeframe.neurons.lca import LCA, SpikingLCA
from spikeframe.neurons.li import LI
from spikeframe.neurons.lif import LIF
from spikeframe.neurons.mat2 import MAT2
from spikeframe.neurons.multilevel import MultilevelLIF
from spikeframe.neurons.neuron import Neuron
from spikeframe.neurons.parameters import Parameter, State
from spikeframe.neurons.parrot import Parrot
from spikeframe.neurons.plif import PLIF
from spikeframe.neurons.poisson import Poisson
from spikeframe.neurons.psn import PSN, MaskedPSN, ParallelLIF, SlidingPSN
from spikeframe.neurons.receptors import Alpha, Current, Delta, DoubleExp, Exp, Receptor
from spikeframe.neurons.recurrent import Recurrent
from spikeframe.neurons.resonate_fire import ResonateFire
from spikeframe.neurons.scale import Scale
from spikeframe.neurons.sequential import Sequential
from spikeframe.neurons.stacked import StackedAffine
from spikeframe.neurons.sum_pool import PaddedSumPool2d, SumPool2d
from spikeframe.neurons.ternary import TernaryLIF
from spikeframe.neurons.ultradlif import UltraDLIF
from spikeframe.neurons.ultralif import TropicalLIF, UltraLIF

__all__ = [
    "ALIF",
    "EIF",
    "GIF",
    "GLIF",
    "IF",
    "LCA",
    "LI",
    "LIF",
    "MAT2",
    "NMDA",
    "PLIF",
    "PSN",
    "AdEx",
    "AdaptingCondLIF",
    "AdaptiveThresholdIF",
    "Alpha",
    "CondAlpha",
    "CondBeta",
    "CondExp",
    "CondLIF",
    "Current",
    "Delay",
    "Delta",
    "DendriticLIF",
    "DoubleExp",
    "EscapeLIF",
    "Exp",
    "GraphNetwork",
    "HodgkinHuxley",
    "Izhikevich",
    "MaskedPSN",
    "MultilevelLIF",
    "Neuron",
    "PaddedSumPool2d",
    "ParallelLIF",
    "Parameter",
    "Parrot",
    "Poisson",
    "Receptor",
    "Recurrent",
    "ResonateFire",
    "Scale",
    "Sequential",
    "SlidingPSN",
    "SpikingLCA",
    "StackedAffine",
    "State",
    "SumPool2d",
    "TernaryLIF",
    "TropicalLIF",
    "UltraDLIF",
    "UltraLIF",
    "detach",
    "exp",
    "maximum",
    "minimum",
    "spike",
    "where",
]
