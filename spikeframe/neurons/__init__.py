"""Neurons: one model per file, each written once and run everywhere."""

from __future__ import annotations

from spikeframe.kernels.trace import detach, exp, maximum, minimum, spike, where
from spikeframe.neurons.alif import ALIF
from spikeframe.neurons.if_ import IF
from spikeframe.neurons.li import LI
from spikeframe.neurons.lif import LIF
from spikeframe.neurons.neuron import Neuron
from spikeframe.neurons.parameters import Parameter, State
from spikeframe.neurons.receptors import Alpha, Delta, Exp, Receptor
from spikeframe.neurons.sequential import Sequential
from spikeframe.neurons.sum_pool import SumPool2d

__all__ = [
    "ALIF",
    "IF",
    "LI",
    "LIF",
    "Alpha",
    "Delta",
    "Exp",
    "Neuron",
    "Parameter",
    "Receptor",
    "Sequential",
    "State",
    "SumPool2d",
    "detach",
    "exp",
    "maximum",
    "minimum",
    "spike",
    "where",
]
