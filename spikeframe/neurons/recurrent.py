r"""A population whose spikes come back to it, one step later, through a matrix of weights.

.. math:: z_t, s_t = \text{neuron}(x_t + W z_{t-1}, s_{t-1})

Cost of a step beside the neurons': N multiply-accumulates per neuron dense, one per spike and neuron if counted by
events.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeframe.errors import ParameterError, ShapeError, UnsupportedLayerError
from spikeframe.neurons.neuron import HALF, Neuron
from spikeframe.neurons.temporal import Temporal


class Recurrent(Temporal):
    """Neurons with weights among themselves, called as ``z, state = layer(x, state)``, x ``[T, B, size]``.

    The state is ``(state of the neurons, z of the last step)``. The weights start as normal numbers of standard
    deviation ``size ** -0.5``.

    Args:
        neuron: the neurons; with one receptor.
        size: how many.

    Raises:
        ParameterError: the neuron has several receptors, or size is no positive whole number.
        UnsupportedLayerError: it is no neuron.
    """

    TYPES = (*Temporal.TYPES, *HALF)

    def __init__(self, neuron: Neuron, size: int) -> None:
        super().__init__()
        if not isinstance(neuron, Neuron):
            raise UnsupportedLayerError(f"Recurrent: {type(neuron).__name__} is no neuron; give one, e.g. LIF(dt=1.0).")
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ParameterError(f"Recurrent(size={size!r}): must be a whole number from 1.")
        if len(neuron.receptors) != 1:
            raise ParameterError(
                f"Recurrent: {type(neuron).__name__} has receptors {list(neuron.receptors)}; input and recurrent "
                "spikes arrive at the same one here, so give it one."
            )
        self.neuron, self.size = neuron, size
        self.weight = nn.Parameter(torch.empty(size, size).normal_(0.0, size**-0.5))

    def recurrence(self) -> nn.Linear:
        """Return the weights as a layer, which shares them."""
        back = nn.Linear(self.size, self.size, bias=False, device="meta")
        back.weight = self.weight
        return back

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run over time.

        Args:
            x: ``[T, B, size]``.
            state: as returned by an earlier call, or None.

        Returns:
            Output ``[T, B, size]`` and the final state.

        Raises:
            ShapeError, DTypeError, NonFiniteError: x is not usable.
        """
        x = self._checked(x)
        if x.ndim != 3 or x.shape[2] != self.size:
            raise ShapeError(f"Recurrent: the input has shape {tuple(x.shape)}; it must be [T, B, {self.size}].")
        inner, z = (None, x.new_zeros(x.shape[1:])) if state is None else state
        outputs = []
        for now in x.unbind(0):
            before = z.detach() if self.neuron.detach_state else z
            out, inner = self.neuron((now + functional.linear(before, self.weight))[None], inner)
            z = out[0]
            outputs.append(z)
        if not outputs:
            return x, (inner, z)
        return torch.stack(outputs), (inner, z)
