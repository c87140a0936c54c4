"""Small default networks of our own layers, named so that a report reads well."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from spikeframe.errors import ParameterError, ShapeError, unknown_name
from spikeframe.neurons import LI, LIF, Sequential
from spikeframe.training.seeds import check_seed

NETWORKS = ("mlp", "conv")

# Expected squared spike count of a hidden neuron per step; sets the scale of the weights behind it.
_HIDDEN_DENSITY = 0.03


def build(
    name: str,
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    dt: float,
    hidden: int | None = None,
    tau_m: float = 100.0,
    dropout: float = 0.5,
    density: float = 0.05,
    seed: int = 0,
) -> Sequential:
    """Make a default network with reproducible initial weights.

    ``"mlp"``: flatten, linear, LIF, dropout, linear, leaky-integrator readout. ``"conv"``: twice (convolution, LIF, 2x2
    average pooling), then flatten, dropout, linear, readout; the first convolution is 5x5 with 8 channels and moves by
    as many pixels as bring the longer side to 34 or less, the second is 3x3. No layer has a bias, so that silence costs
    nothing. First weights are normal with variance ``1 / (fan_in density)``, so that a membrane moves by about its
    threshold.

    Args:
        name: ``"mlp"`` or ``"conv"``.
        input_shape: (P, H, W) of a frame.
        classes: number of classes.
        dt: time step, ms.
        hidden: LIF neurons of the mlp (None: 256), or channels of conv's second convolution (None: 16).
        tau_m: membrane time constant of all layers, ms.
        dropout: probability of dropping a spike of the last hidden layer in training.
        density: mean squared count of an input place in a step (`FrameCache.density`).
        seed: seed of the initial weights.

    Returns:
        The network; ``out, state = network(x)`` takes [T, B, P, H, W] and gives [T, B, classes].

    Raises:
        UnknownNameError: no network of that name.
        ShapeError: the input is too small for the network.
        ParameterError: a size is not a positive whole number, or dropout or density is out of range.
    """
    if name not in NETWORKS:
        raise unknown_name("network", name, NETWORKS)
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 3:
        raise ShapeError(f"input_shape={input_shape!r}: must be (P, H, W), the shape of a frame.")
    width = (256 if name == "mlp" else 16) if hidden is None else hidden
    for what, size in (("classes", classes), ("hidden", width), *zip(("P", "H", "W"), input_shape, strict=True)):
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ParameterError(f"{what}={size!r} of network {name!r}: must be a whole number from 1.")
    if not 0 <= dropout < 1:
        raise ParameterError(f"dropout={dropout!r}: must be from 0 to below 1.")
    if not 0 < density < float("inf"):
        raise ParameterError(f"density={density!r}: must be a positive number.")

    def neurons() -> LIF:
        return LIF(tau_m=tau_m, dt=dt)

    layers: OrderedDict[str, nn.Module] = OrderedDict()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(check_seed(seed))
        if name == "mlp":
            features = width
            inputs = input_shape[0] * input_shape[1] * input_shape[2]
            layers["flatten"] = nn.Flatten()
            layers["linear"] = _scaled(nn.Linear(inputs, width, bias=False), density)
            layers["hidden"] = neurons()
        else:
            stride = -(-max(input_shape[1:]) // 34)
            first = [(side - 1) // stride + 1 for side in input_shape[1:]]
            sides = [side // 2 // 2 for side in first]
            if 0 in sides:
                raise ShapeError(f"network 'conv': a frame of {input_shape[1:]} (H, W) is too small; use 'mlp'.")
            features = width * sides[0] * sides[1]
            layers["conv1"] = _scaled(nn.Conv2d(input_shape[0], 8, 5, stride, padding=2, bias=False), density)
            layers["hidden1"] = neurons()
            layers["pool1"] = nn.AvgPool2d(2)
            layers["conv2"] = _scaled(nn.Conv2d(8, width, 3, padding=1, bias=False), _HIDDEN_DENSITY)
            layers["hidden2"] = neurons()
            layers["pool2"] = nn.AvgPool2d(2)
            layers["flatten"] = nn.Flatten()
        layers["dropout"] = nn.Dropout(dropout)
        layers["readout"] = nn.Linear(features, classes, bias=False)
        layers["output"] = LI(tau_m=tau_m, dt=dt)
    return Sequential(layers)


def _scaled(layer: nn.Linear | nn.Conv2d, density: float) -> nn.Module:
    """Draw the weights so that inputs of this density drive each output with variance 1 per step."""
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, 0.0, (fan_in * density) ** -0.5)
    return layer
