r"""Delta Activation: a quantiser with a learnable step, which makes activations repeat from frame to frame.

.. math:: q_t = θ \, \mathrm{round}(x_t / θ), \qquad θ = |p|, \qquad
          \partial q / \partial x = 1, \quad \partial q / \partial θ := -\mathrm{round}(x / θ)

Followed by a `DeltaLinear` or `DeltaConv2d` of threshold 0, exactly the entries whose quantised value changed are sent.
The gradient of the step has its sign reversed on purpose: a penalty on the changes, \|Δq\| = θ \|Δn\|, would with the
true sign shrink θ, which is a finer quantisation; reversed, it widens the step until the task objects. A ReLU comes
first unless it is switched off; pool behind it. Reference: Yousefzadeh and Sifalakis 2021, arXiv:2107.07305.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from spikeframe.errors import NonFiniteError, ParameterError, ShapeError
from spikeframe.neurons.parameters import Parameter, as_value

_STEP = Parameter(1.0, above=0.0)


class _Quantise(torch.autograd.Function):
    """Round to multiples of the step; identity backward, and the reversed gradient of the step."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor) -> Tensor:
        n = torch.round(x / step)
        ctx.save_for_backward(n)
        ctx.shape = step.shape
        return n * step

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (n,) = ctx.saved_tensors
        return gradients[0], (-n * gradients[0]).sum_to_size(ctx.shape)


class DeltaActivation(nn.Module):
    """Quantise activations with a learnable step.

    Args:
        step: first value of θ, in the unit of the activation: a number (one step per layer), or an array that
            broadcasts to one sample, e.g. ``[C, 1, 1]`` (one per channel).
        relu: whether negative inputs become 0 first.

    Raises:
        DTypeError, NonFiniteError, ParameterError: the step is not usable.
    """

    def __init__(self, step: Any, relu: bool = True) -> None:
        super().__init__()
        value = as_value("DeltaActivation(step)", step)
        _STEP.check("DeltaActivation(step)", value)
        self.p = nn.Parameter(value.to(torch.get_default_dtype()))
        self.relu = bool(relu)

    @property
    def step(self) -> Tensor:
        """The quantisation step θ, the magnitude of p; differentiable."""
        return self.p.abs()

    def forward(self, x: Tensor) -> Tensor:
        """Return the quantised activations.

        Args:
            x: ``[..., *sample]``.

        Raises:
            ShapeError: the steps do not fit.
            NonFiniteError: training brought a step to NaN or infinity.
            ParameterError: or to 0.
        """
        step = self.step.to(x)
        if not bool(torch.isfinite(step).all()):
            raise NonFiniteError("DeltaActivation: a step is no longer finite; lower the learning rate.")
        if not bool((step > 0).all()):
            raise ParameterError("DeltaActivation: a step became 0; lower the learning rate or raise the penalty.")
        if step.ndim > x.ndim or any(a not in (1, b) for a, b in zip(step.shape[::-1], x.shape[::-1], strict=False)):
            raise ShapeError(f"DeltaActivation: steps of shape {tuple(step.shape)} do not fit {tuple(x.shape)}.")
        found: Tensor = _Quantise.apply(torch.relu(x) if self.relu else x, step)  # type: ignore[no-untyped-call]
        return found
