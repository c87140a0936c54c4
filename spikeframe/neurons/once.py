"""First derivatives only: kernels give no gradient of their gradient, and say so instead of leaving it out."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from spikeframe.errors import BackendError


class _Refused(torch.autograd.Function):
    """A gradient as it is, whose own gradient is refused."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        raise BackendError(
            "a gradient of a gradient goes through a layer whose kernels have a first derivative only; for neurons "
            "choose backend='torch' (torch's own `once_differentiable` would leave out the part through the layer's "
            "input without a word)."
        )


def differentiable_once(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Let the backward of an autograd function be used once; used in place of torch's `once_differentiable`.

    That one passes gradients on as constants where the gradient that arrives is one, as it is for a sum: a penalty of
    gradients then acts on nothing.

    Args:
        backward: ``backward(ctx, *gradients)``.
    """

    @wraps(backward)
    def wrapped(ctx: Any, *gradients: Any) -> Any:
        if not torch.is_grad_enabled():
            return backward(ctx, *gradients)
        with torch.no_grad():
            found = backward(ctx, *gradients)
        return tuple(_refused(f) if isinstance(f, Tensor) else f for f in found)

    return wrapped


def _refused(gradient: Tensor) -> Tensor:
    made: Tensor = _Refused.apply(gradient.detach().requires_grad_())  # type: ignore[no-untyped-call]
    return made
