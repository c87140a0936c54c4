"""Multiplication element by element."""

from __future__ import annotations

from torch import Tensor, nn


class Scale(nn.Module):
    """Multiply element by element.

    Args:
        scale: factors, in the shape of a step's input.
    """

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.scale = nn.Parameter(scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[..., *shape]`` products.

        Args:
            x: ``[..., *shape]``.
        """
        return x * self.scale
