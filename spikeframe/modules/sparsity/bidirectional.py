r"""N:M products in both passes (BDWP): the forward one along inputs, the backward one along outputs.

.. math:: y = x (W \odot M_{in})^T + b, \qquad dx = dy\,(W \odot M_{out}), \qquad dW = dy^T x

M_in keeps the n largest weights of every m consecutive inputs of a target, M_out of every m consecutive targets of an
input, both of the dense W, which gets the dense gradient. So two of the three products of a training step are N:M.
At n = m it is the linear layer. Reference: Fang et al. 2023, arXiv:2309.13015 (paper 128; default 2:8).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeframe.errors import DTypeError
from spikeframe.modules.sparsity.structure import NM


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, ahead: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight * back)
        return functional.linear(x, weight * ahead)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (gradient,) = gradients
        x, back = ctx.saved_tensors
        flat = gradient.reshape(-1, gradient.shape[-1])
        return gradient @ back, flat.T @ x.reshape(-1, x.shape[-1]), None, None


class BidirectionalLinear(nn.Linear):
    """A linear layer with an N:M pattern in each pass; shares the parameters of the layer it is made from.

    Args:
        dense: the layer.
        n: weights kept of a group.
        m: weights of a group; divides inputs and outputs.

    Raises:
        DTypeError: it is no linear layer.
        ShapeError, ParameterError: the groups do not fit.
    """

    def __init__(self, dense: nn.Linear, n: int = 2, m: int = 8) -> None:
        if not isinstance(dense, nn.Linear):
            raise DTypeError(f"BidirectionalLinear takes a torch.nn.Linear, got {type(dense).__name__}.")
        super().__init__(dense.in_features, dense.out_features, dense.bias is not None)
        self.weight, self.bias = dense.weight, dense.bias
        self.ahead, self.back = NM(n, m), NM(n, m, "out")
        self.masks()

    def masks(self) -> tuple[Tensor, Tensor]:
        """Return the masks of the forward and of the backward pass."""
        size = self.weight.detach().abs()
        return self.ahead.mask(size, self.ahead.density), self.back.mask(size, self.back.density)

    def forward(self, input: Tensor) -> Tensor:
        """Return the output.

        Args:
            input: ``[..., sources]``.
        """
        product: Tensor = _Product.apply(input, self.weight, *self.masks())  # type: ignore[no-untyped-call]
        return product if self.bias is None else product + self.bias

    def macs(self, items: int) -> dict[str, int]:
        """Return the multiply-accumulates of a training step by pass, beside those of the dense layer's each.

        Args:
            items: samples times steps.
        """
        dense = items * self.weight.numel()
        share = self.ahead.n * dense // self.ahead.m
        return {"forward": share, "input gradient": share, "weight gradient": dense, "dense": dense}
