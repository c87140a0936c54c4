r"""What the layers of a model receive: sums over samples and time steps of some calibration input.

.. math:: s = \sum_t x_t, \qquad H = \sum_t x_t x_t^T, \qquad \bar x_t = \beta \bar x_{t-1} + x_t

With `beta` above 0 the regressor is the trace that a leaky membrane integrates instead of the spikes themselves; at
high sparsity it reconstructs better, since what a spiking neuron answers to is the filtered current.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikeframe.errors import ConfigError, NonFiniteError, ParameterError, ShapeError, unknown_name
from spikeframe.kernels.plasticity import number


@dataclass(frozen=True, eq=False)
class Calibration:
    """Sums over what a linear layer received.

    Attributes:
        layer: name of the layer.
        count: samples times steps.
        total: ``[sources]`` sum of inputs, float64.
        gram: ``[sources, sources]`` sum of products, float64.
    """

    layer: str
    count: int
    total: Tensor
    gram: Tensor

    @property
    def mean(self) -> Tensor:
        """``[sources]``."""
        return self.total / self.count

    @property
    def norm(self) -> Tensor:
        """``[sources]`` Euclidean norms."""
        return self.gram.diagonal().sqrt()

    @property
    def variance(self) -> Tensor:
        """``[sources]``."""
        return (self.gram.diagonal() / self.count - self.mean**2).clamp(min=0.0)

    def fits(self, weight: Tensor, layer: str | None = None) -> None:
        """Refuse to serve another layer.

        Args:
            weight: ``[targets, sources]``.
            layer: name of its layer, if it is known.

        Raises:
            ShapeError: the weight has another number of sources.
            ConfigError: the layer has another name.
        """
        if weight.ndim != 2 or weight.shape[1] != self.total.numel():
            raise ShapeError(
                f"calibration of layer {self.layer!r} is for {self.total.numel()} sources, the weight has shape "
                f"{tuple(weight.shape)}; calibrate the layer that is pruned."
            )
        if layer is not None and layer != self.layer:
            raise ConfigError(f"calibration of layer {self.layer!r} was given for layer {layer!r}.")


def calibrate(
    model: nn.Module, x: Tensor, layers: Iterable[str] | None = None, *, beta: float = 0.0
) -> dict[str, Calibration]:
    """Run a model once and collect what its linear layers receive.

    Args:
        model: called as ``model(x)``.
        x: ``[T, B, ...]`` calibration input.
        layers: names of linear layers; all if not given.
        beta: decay of the trace per step, from 0 (the spikes themselves) to below 1.

    Returns:
        Calibrations by layer.

    Raises:
        UnknownNameError: no such linear layer.
        ParameterError: beta is out of range, or a layer did not run.
        NonFiniteError: a layer received NaN or infinity.
    """
    if not 0.0 <= number("calibrate(beta)", beta) < 1.0:
        raise ParameterError(f"calibrate(beta={beta!r}): must be from 0 to below 1.")
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    chosen = list(linear) if layers is None else list(layers)
    for name in chosen:
        if name not in linear:
            raise unknown_name("linear layer", name, linear)
    found: dict[str, Calibration] = {}

    def see(name: str, inputs: tuple[Any, ...]) -> None:
        flat = inputs[0].detach().double().reshape(x.shape[0], -1, inputs[0].shape[-1])
        if not bool(torch.isfinite(flat).all()):
            raise NonFiniteError(f"calibrate: layer {name!r} received NaN or infinity.")
        if beta:
            flat = flat.clone()
            for t in range(1, len(flat)):
                flat[t] += beta * flat[t - 1]
        flat = flat.reshape(-1, flat.shape[-1])
        one = Calibration(name, flat.shape[0], flat.sum(0), flat.T @ flat)
        had = found.get(name)
        found[name] = one if had is None else Calibration(
            name, had.count + one.count, had.total + one.total, had.gram + one.gram
        )  # fmt: skip

    hooks = [linear[name].register_forward_pre_hook(lambda _, args, name=name: see(name, args)) for name in chosen]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for hook in hooks:
            hook.remove()
    missing = [name for name in chosen if name not in found]
    if missing:
        raise ParameterError(f"calibrate: layers {missing} did not run on this input.")
    return found
