"""Delays in whole steps."""

from __future__ import annotations

import torch
from torch import Tensor

from spikeframe.errors import ParameterError, ShapeError
from spikeframe.neurons.neuron import HALF
from spikeframe.neurons.temporal import Temporal


class Delay(Temporal):
    """Delays, one for all or one per element, in whole steps.

    Args:
        steps: int64, a number or an array in the shape of a step's input.

    Raises:
        ParameterError: a delay is negative.
    """

    TYPES = (*Temporal.TYPES, *HALF)

    steps: Tensor

    def __init__(self, steps: Tensor) -> None:
        super().__init__()
        if not bool((steps >= 0).all()):
            raise ParameterError(f"Delay: {int(steps.min())} steps; must be at least 0.")
        self.register_buffer("steps", steps)
        self.longest = int(steps.max()) if steps.numel() else 0

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return what came in so many steps ago.

        Args:
            x: ``[T, B, ...]``.
            state: ``[longest, B, ...]`` input before, as an earlier call returned it; None: zeros.

        Raises:
            ShapeError, DTypeError, NonFiniteError: x or state is not usable.
        """
        x = self._checked(x)
        shape = (self.longest, *x.shape[1:])
        past = x.new_zeros(shape) if state is None else state
        if tuple(past.shape) != shape:
            raise ShapeError(f"Delay: the state has shape {tuple(past.shape)}, expected {shape}.")
        whole = torch.cat([past, x])
        if self.steps.ndim == 0:
            out = whole[self.longest - int(self.steps) : whole.shape[0] - int(self.steps)]
        else:
            time = (
                torch.arange(x.shape[0], device=x.device).reshape(-1, *[1] * (x.ndim - 1)) + self.longest - self.steps
            )
            out = whole.gather(0, time.expand(x.shape))
        return out, whole[whole.shape[0] - self.longest :]
