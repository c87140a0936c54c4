"""Small default networks of our own layers, named so that a report reads well."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import nn

from spikeframe.errors import ParameterError, ShapeError, unknown_name
from spikeframe.neurons import LI, LIF, Sequential
from spikeframe.training.seeds import check_seed

NETWORKS = ("mlp", "conv")


def build(
    name: str,
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    dt: float,
    hidden: int = 256,
    tau_m: float = 20.0,
    dropout: float = 0.0,
    seed: int = 0,
) -> Sequential:
    """Make a default network with reproducible initial weights.

    ``"mlp"``: flatten, linear, LIF, linear, leaky-integrator readout. ``"conv"``: twice (5x5 convolution, LIF, 2x2
    average pooling), flatten, linear, readout; its first convolution has stride 2 on sensors wider than 64 pixels.
    No layer has a bias, so that silence costs nothing.

    Args:
        name: ``"mlp"`` or ``"conv"``.
        input_shape: (P, H, W) of a frame.
        classes: number of classes.
        dt: time step, ms.
        hidden: LIF neurons of the mlp; for conv, channels of the second convolution.
        tau_m: membrane time constant of all layers, ms.
        dropout: probability of dropping a hidden spike in training.
        seed: seed of the initial weights.

    Returns:
        The network; ``out, state = network(x)`` takes [T, B, P, H, W] and gives [T, B, classes].

    Raises:
        UnknownNameError: no network of that name.
        ShapeError: the input is too small for the network.
        ParameterError: a size is not positive.
    """
    if name not in NETWORKS:
        raise unknown_name("network", name, NETWORKS)
    for what, size in (("classes", classes), ("hidden", hidden), *zip(("P", "H", "W"), input_shape, strict=True)):
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ParameterError(f"{what}={size!r} of network {name!r}: must be a whole number from 1.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(check_seed(seed))
        make = _mlp if name == "mlp" else _conv
        layers = make(input_shape, hidden, dt, tau_m)
        features = layers.pop("features")
        if dropout:
            layers["dropout"] = nn.Dropout(dropout)
        layers["readout"] = nn.Linear(features, classes, bias=False)
        layers["output"] = LI(tau_m=tau_m, dt=dt)
    return Sequential(layers)
