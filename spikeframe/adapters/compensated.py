r"""Functions of rates over time, exact in the mean: how attention is converted.

.. math:: y_t = t \, f(\bar x_t) - (t - 1) \, f(\bar x_{t-1}), \qquad \bar x_t = \frac{1}{t} \sum_{s \le t} x_s

The outputs up to T sum to :math:`T f(\bar x_T)`: whatever f is (a softmax of products, a normalisation), the mean of
what goes out is f of the mean of what came in, though spikes came unevenly. Outputs are graded, and f runs at every
step. Expectation compensation, which Huang et al. 2024 (Towards High-performance Spiking Transformers from ANN to SNN
Conversion, arXiv:2502.21193) do for the matrix products of attention.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spikeframe.errors import ShapeError
from spikeframe.neurons.temporal import Temporal


class CompensatedState(NamedTuple):
    """State of a compensated function.

    Attributes:
        steps: seen so far.
        total: ``[B, ...]`` sum of the inputs.
        sent: ``[B, ...]`` sum of the outputs.
    """

    steps: int
    total: Tensor
    sent: Tensor


class Compensated(Temporal):
    """A module that sees the mean of its input so far, and sends what brings the mean of its output up to date.

    Args:
        function: module that takes ``[B, ...]`` and keeps samples apart; put in evaluation mode.
        scale: what an input of 1 means to it.
    """

    def __init__(self, function: nn.Module, scale: float = 1.0) -> None:
        super().__init__()
        self.function = function.eval()
        self.scale = float(scale)

    def forward(self, x: Tensor, state: CompensatedState | None = None) -> tuple[Tensor, CompensatedState]:
        """Run over time.

        Args:
            x: ``[T, B, ...]``.
            state: as an earlier call returned it, or None.

        Returns:
            ``[T, B, ...]``, and the state after the last step.

        Raises:
            ShapeError, DTypeError, NonFiniteError: x is not usable, or the state is of another shape.
        """
        x = self._checked(x)
        before = 0 if state is None else state.steps
        total = torch.zeros_like(x[0]) if state is None else state.total
        if total.shape != x.shape[1:]:
            raise ShapeError(f"Compensated: input {tuple(x.shape)} does not go on from a state {tuple(total.shape)}.")
        sums = total + x.cumsum(0)
        steps = torch.arange(before + 1, before + len(x) + 1, dtype=x.dtype, device=x.device).reshape(
            -1, *[1] * (x.ndim - 1)
        )
        mean = self.function((sums / steps * self.scale).flatten(0, 1)).unflatten(0, x.shape[:2])
        due = mean * steps.reshape(-1, *[1] * (mean.ndim - 1))
        sent: Any = torch.zeros_like(due[:1]) if state is None else state.sent[None]
        out = due - torch.cat([sent, due[:-1]])
        return out, CompensatedState(before + len(x), sums[-1], due[-1])
