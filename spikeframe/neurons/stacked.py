"""Matrices side by side."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StackedAffine(nn.Module):
    """Matrices side by side: ``y[..., k] = W[k] x[..., k] + b[k]``, for weights with more than two axes.

    Args:
        weight: ``[*stack, out, in]``.
        bias: ``[*stack, out]`` or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[..., *stack, out]``.

        Args:
            x: ``[..., *stack, in]``.
        """
        y = torch.matmul(self.weight, x.unsqueeze(-1)).squeeze(-1)
        return y if self.bias is None else y + self.bias
