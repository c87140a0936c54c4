r"""Thresholded change coding over time: what is sent is a change, and only once it is large enough.

.. math::
    \hat x_t = \begin{cases} x_t & |x_t - \hat x_{t-1}| > \theta \\ \hat x_{t-1} & \text{else} \end{cases}, \qquad
    \Delta_t = \hat x_t - \hat x_{t-1}, \qquad \hat x_{-1} = 0

The held value moves only where a change is sent, so small changes accumulate until they pass the threshold and the
error never exceeds it: \|x_t - \hat x_t\| <= θ always. At θ = 0 the held value is x itself, to the bit. A linear layer
needs the changes only, since ``W x^_t = W x^_{t-1} + W Δ_t``.

Backward the code is the identity (straight-through). Reference: Neil et al. 2017 (Delta networks), arXiv:1612.05571;
the penalty is that of Yousefzadeh and Sifalakis 2021 (Delta Activation Layer), arXiv:2107.07305.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from spikeframe.modules.checks import same_shape, threshold


class DeltaState(NamedTuple):
    """State of a change code.

    Attributes:
        held: ``[B, ...]`` values last sent.
    """

    held: Tensor


class Changes(NamedTuple):
    """A signal as its changes.

    Attributes:
        held: ``[T, B, ...]`` the value that the receiver has at every step.
        delta: ``[T, B, ...]`` what is sent at every step, mostly 0.
    """

    held: Tensor
    delta: Tensor

    @property
    def sent(self) -> int:
        """Number of changes sent."""
        return int(torch.count_nonzero(self.delta))

    @property
    def density(self) -> float:
        """Share of elements sent, 0 to 1; 0 where there are none."""
        return self.sent / max(self.delta.numel(), 1)


class _Hold(torch.autograd.Function):
    """Held values forward, identity backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, theta: Tensor, held: Tensor) -> Tensor:
        out = torch.empty_like(x)
        for t in range(len(x)):
            held = torch.where((x[t] - held).abs() > theta, x[t], held)
            out[t] = held
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0], None, None


def hold(x: Tensor, theta: Tensor, held: Tensor) -> Tensor:
    """Return the held values.

    Args:
        x: ``[T, ...]`` signal.
        theta: thresholds that broadcast to ``[...]``.
        held: ``[...]`` values held before.

    Returns:
        ``[T, ...]``; the gradient passes to x as if the code were the identity.
    """
    found: Tensor = _Hold.apply(x, theta.to(x), held.detach())  # type: ignore[no-untyped-call]
    return found


def initial(x: Tensor, state: DeltaState | None) -> Tensor:
    """Return the held values before the first step: those of the state, or 0.

    Args:
        x: ``[T, B, ...]`` input.
        state: state of an earlier run, or None.

    Raises:
        ShapeError, DTypeError: the state does not fit the input.
    """
    if state is None:
        return x.new_zeros(x.shape[1:])
    return same_shape("state: held", state.held, tuple(x.shape[1:]), x.dtype)


def differences(held: Tensor, before: Tensor) -> Tensor:
    """Return the changes of held values.

    Args:
        held: ``[T, ...]``.
        before: ``[...]`` value before the first step.
    """
    return held - torch.cat([before.detach().unsqueeze(0), held[:-1]]) if len(held) else held


def change_code(x: Tensor, theta: Any, state: DeltaState | None = None) -> tuple[Changes, DeltaState]:
    """Code a signal as its changes.

    Args:
        x: ``[T, B, ...]`` signal.
        theta: threshold, a number or an array that broadcasts over one step's elements.
        state: state of an earlier call, or None: nothing was sent yet, the receiver has 0.

    Returns:
        The changes and the state after the last step.

    Raises:
        NonFiniteError, ParameterError, DTypeError, ShapeError: a threshold or the state is not usable.
    """
    limit = threshold("threshold", theta, None)
    before = initial(x, state)
    held = hold(x, limit, before)
    after = held[-1].detach() if len(held) else before
    return Changes(held, differences(held, before)), DeltaState(after)


def sparsity_penalty(changes: Changes, fan_out: float = 1.0) -> Tensor:
    r"""Return what makes training send fewer and smaller changes: fan_out · mean \|Δ_t\|, t >= 1.

    Args:
        changes: of the layer's input; the first step, which has to be sent, is left out.
        fan_out: operations that a change causes, e.g. the layer's outputs.

    Returns:
        Scalar, 0 where there is one step only.
    """
    later = changes.delta[1:]
    return fan_out * later.abs().sum() / max(later.numel(), 1)
