"""A chain of torch layers and neurons over ``[T, B, ...]``, with explicit state."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from spikeframe.errors import ShapeError, UnsupportedLayerError
from spikeframe.neurons.neuron import Neuron
from spikeframe.neurons.temporal import Temporal


class Sequential(nn.Sequential):
    """`nn.Sequential` over time: stateless layers see time and batch merged, neurons keep them apart.

    Called as ``out, state = net(x, state)``; the state is a tuple with one entry per neuron layer, in order.

    Args:
        args: layers, or one ordered dict of named layers, as `nn.Sequential` takes them.

    Raises:
        UnsupportedLayerError: neurons inside a container that knows no time axis.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        for name, layer in self._modules.items():
            own = isinstance(layer, (Neuron, Sequential, Temporal))
            if layer is not None and not own and any(isinstance(m, Neuron) for m in layer.modules()):
                raise UnsupportedLayerError(
                    f"Sequential: {name} is a {type(layer).__name__} with neurons inside, which would lose their time "
                    "axis; use spikeframe.neurons.Sequential there too."
                )

    def forward(self, input: Tensor, state: tuple[Any, ...] | None = None) -> tuple[Tensor, tuple[Any, ...]]:
        """Run over time.

        Args:
            input: ``[T, B, ...]``.
            state: the state that an earlier call returned, or None.

        Returns:
            Output ``[T, B, ...]`` and the final states.

        Raises:
            ShapeError: the input has no time and batch axes, or the state is of another network.
        """
        neurons = [layer for layer in self if isinstance(layer, (Neuron, Sequential, Temporal))]
        if input.ndim < 3:
            raise ShapeError(f"Sequential: input has shape {tuple(input.shape)}; it must be [T, B, ...].")
        if state is not None and len(state) != len(neurons):
            raise ShapeError(f"Sequential: got {len(state)} states for {len(neurons)} neuron layers.")
        before = iter(state if state is not None else [None] * len(neurons))
        after = []
        x = input
        for layer in self:
            if isinstance(layer, (Neuron, Sequential, Temporal)):
                x, new = layer(x, next(before))
                after.append(new)
            else:
                x = layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return x, tuple(after)
