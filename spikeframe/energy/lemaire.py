"""The analytical, memory-aware model of Lemaire et al. 2022, layer by layer.

Reference: Lemaire, Cordone, Castagnetti, Novac, Courtois, Miramond, "An analytical estimation of spiking neural
networks energy efficiency", ICONIP 2022, arXiv:2210.13107.

Every spike reads each weight it meets and reads and writes each potential it reaches; every step reads and writes all
potentials. An access costs ``access + access_per_bit * words * bits`` pJ, where words is the size of that memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal

from spikeframe.core.counts import Counts
from spikeframe.energy import twins

CONSTANTS = ("add", "multiply", "access", "access_per_bit", "bits")

Variant = Literal["corrected", "paper", "plugin"]


@dataclass(frozen=True)
class Layer:
    """Shape of a layer, as the model sees it.

    Attributes:
        inputs: input positions, C_in H_in W_in.
        outputs: neurons, C_out H_out W_out.
        meets: weights that one input event meets: C_out k_h k_w, or all outputs of a fully connected layer.
        reaches: synapses of one input event: C_out ceil(k_h/S) ceil(k_w/S), or all outputs.
        macs: multiply-accumulates of one non-spiking pass.
        weights: weight words stored.
        channels: C_out; outputs of a fully connected layer.
        convolution: whether the layer is a convolution.
        bias: whether a bias is added at each step.
        leak: whether the membrane is multiplied by a decay at each step.
    """

    inputs: int
    outputs: int
    meets: int
    reaches: int
    macs: int
    weights: int
    channels: int
    convolution: bool
    bias: bool = True
    leak: bool = False

    @classmethod
    def linear(cls, inputs: int, outputs: int, *, bias: bool = True, leak: bool = False) -> Layer:
        """Describe a fully connected layer."""
        synapses = inputs * outputs
        return cls(inputs, outputs, outputs, outputs, synapses, synapses, outputs, False, bias, leak)

    @classmethod
    def conv(
        cls,
        input_shape: tuple[int, int, int],
        output_shape: tuple[int, int, int],
        kernel: tuple[int, int],
        *,
        stride: int = 1,
        bias: bool = True,
        leak: bool = False,
    ) -> Layer:
        """Describe a convolution from its input and output shapes [C, H, W] and its kernel [k_h, k_w]."""
        inputs, outputs = (c * h * w for c, h, w in (input_shape, output_shape))
        channels, area = output_shape[0], kernel[0] * kernel[1]
        reaches = channels * ceil(kernel[0] / stride) * ceil(kernel[1] / stride)
        weights = input_shape[0] * channels * area
        macs = input_shape[0] * area * outputs
        return cls(inputs, outputs, channels * area, reaches, macs, weights, channels, True, bias, leak)

    @classmethod
    def of(cls, counts: Counts) -> Layer:
        """Read the shape off a layer's counts; an event meets the weights of the synapses it reaches."""
        dense, reach = twins.dense_operations(counts) // max(counts.steps, 1), twins.reach(counts)
        return cls(
            inputs=counts.inputs,
            outputs=counts.neurons,
            meets=reach,
            reaches=reach,
            macs=dense,
            weights=counts.weights,
            channels=counts.neurons,
            convolution=reach != counts.neurons,
            bias=counts.bias_ac > 0,
            leak=counts.neu_mac > 0,
        )


def spiking(
    constants: Mapping[str, float],
    layer: Layer,
    *,
    spikes_in: int,
    spikes_out: int,
    steps: int,
    variant: Variant = "corrected",
) -> dict[str, float]:
    """Price a spiking layer.

    Args:
        constants: the constants named in `CONSTANTS`.
        layer: its shape.
        spikes_in: events that entered it, summed over all steps.
        spikes_out: spikes that left it.
        steps: time steps run.
        variant: ``"paper"`` counts fully connected accumulates once for every input and leaves the reset out;
            ``"plugin"`` forgets C_out in the addressing of a convolution and addresses a fully connected layer by the
            spike rate per input; ``"corrected"`` has neither fault.

    Returns:
        Energy in pJ by category.
    """
    updates = steps * layer.outputs
    accumulates = spikes_in * layer.reaches + updates + spikes_out
    if variant == "paper":
        repeats = 1 if layer.convolution else layer.inputs
        accumulates = spikes_in * layer.reaches * repeats + updates
    addresses: float = spikes_in * layer.meets
    if variant == "plugin":
        addresses /= layer.channels if layer.convolution else layer.inputs
    add, mac = constants["add"], constants["add"] + constants["multiply"]
    return {
        "operations": accumulates * add + updates * layer.leak * mac,
        "addressing": addresses * add + 2 * spikes_in * layer.convolution * mac,
        "potentials": 2 * (spikes_in * layer.meets + updates) * _access(constants, layer.outputs),
        "weights": spikes_in * layer.meets * _access(constants, layer.weights),
        "biases": updates * layer.bias * _access(constants, layer.outputs),
        "input and output": (spikes_in + spikes_out) * _access(constants, 0),
    }


def non_spiking(constants: Mapping[str, float], layer: Layer, *, passes: int = 1) -> dict[str, float]:
    """Price the non-spiking ("formal") layer of the same shape.

    Args:
        constants: the constants named in `CONSTANTS`.
        layer: its shape.
        passes: how often it is executed.

    Returns:
        Energy in pJ by category.
    """
    add, mac = constants["add"], constants["add"] + constants["multiply"]
    reads = layer.macs if layer.convolution else layer.inputs
    addresses = layer.inputs + layer.outputs + layer.meets if layer.convolution else layer.macs
    energy = {
        "operations": layer.macs * mac + layer.outputs * add,
        "addressing": addresses * add,
        "weights": layer.macs * _access(constants, layer.weights),
        "biases": layer.outputs * layer.bias * _access(constants, layer.outputs),
        "input and output": reads * _access(constants, layer.inputs)
        + layer.outputs * _access(constants, layer.outputs),
    }
    return {category: passes * value for category, value in energy.items()}


def lemaire(constants: Mapping[str, float], counts: Counts) -> dict[str, float]:
    """Price a layer by its counts; one that multiplies regardless of zeros (``dense_mac``) is a non-spiking one.

    Args:
        constants: the constants named in `CONSTANTS`.
        counts: the counts of one layer.

    Returns:
        Energy in pJ by category.
    """
    layer = Layer.of(counts)
    if counts.dense_mac:
        return non_spiking(constants, layer, passes=counts.steps)
    return spiking(constants, layer, spikes_in=counts.spk_in, spikes_out=counts.spk_out, steps=counts.steps)


def _access(constants: Mapping[str, float], words: int) -> float:
    """Energy of one access to a memory of that many words, pJ."""
    return constants["access"] + constants["access_per_bit"] * words * constants["bits"]
