r"""Event-driven runs of layers on the changes of their input: what did not change is skipped.

.. math:: s_t = s_{t-1} + \sum_{i:\ \Delta_{t,i} \ne 0} w_i \Delta_{t,i}, \qquad y_t = s_t + b

Sums are kept in float64. Where weights and inputs are multiples of powers of two whose sums fit 53 bits (binary,
integer or quantised inputs; weights rounded to a grid) every sum is exact and y equals the clocked layer's to the bit,
however long the run; else the two differ by rounding, about 2^-53 of the sums per change.

Cost of a step: a compare per input, a multiply-accumulate per output that a change reaches, an add per output.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikeframe.errors import ShapeError, UnsupportedLayerError
from spikeframe.kernels.delta import provider
from spikeframe.modules.checks import on_cpu, same_shape, sequence, threshold

Array = NDArray[Any]


class EventState(NamedTuple):
    """State of an event-driven layer.

    Attributes:
        held: ``[B, ...]`` input values last sent.
        sums: ``[B, ...outputs]`` float64 sums without bias.
    """

    held: Tensor
    sums: Tensor


class EventRun(NamedTuple):
    """What an event-driven run gave.

    Attributes:
        out: ``[T, B, ...outputs]``.
        state: after the last step.
        sent: ``[T, B]`` changes sent.
        macs: ``[T, B]`` multiply-accumulates done.
        dense_macs: those that the dense layer needs for the same run.
    """

    out: Tensor
    state: Any
    sent: Tensor
    macs: Tensor
    dense_macs: int


def _numpy(value: Tensor) -> Array:
    array: Array = np.ascontiguousarray(value.detach().cpu().numpy())
    return array


def _bias(layer: nn.Linear | nn.Conv2d, outputs: int) -> Array:
    return np.zeros(outputs) if layer.bias is None else _numpy(layer.bias.double())


def _state(x: Tensor, state: EventState | None, sums: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return copies of held values and sums, which the kernels write to."""
    on_cpu("event-driven run", x)
    shape = (x.shape[1], *sums)
    if state is None:
        return torch.zeros(tuple(x.shape[1:]), dtype=x.dtype), torch.zeros(shape, dtype=torch.float64)
    held = same_shape("state: held", state.held, tuple(x.shape[1:]), x.dtype)
    return held.clone(), same_shape("state: sums", state.sums, shape, torch.float64).clone()


class EventDrivenLinear:
    """A linear layer that is run on the changes of its input; weights are copied when it is made.

    Args:
        dense: the layer.
        theta: threshold, a number or one per input.
        backend: ``"auto"``, ``"numba"`` or ``"reference"``.

    Raises:
        NonFiniteError, ParameterError, ShapeError, BackendError, UnknownNameError: an argument is not usable.
    """

    def __init__(self, dense: nn.Linear, theta: Any, backend: str = "auto") -> None:
        self.provider = provider(backend)
        self.theta = threshold("threshold", theta, (dense.in_features,))
        self.weight = dense.weight.detach().t().contiguous()
        self.bias = _bias(dense, dense.out_features)

    def __call__(self, x: Tensor, state: EventState | None = None) -> EventRun:
        """Run over time.

        Args:
            x: ``[T, B, in]``, CPU.
            state: state of an earlier run, or None.

        Raises:
            ShapeError, DTypeError, NonFiniteError, BackendError: input or state is not usable.
        """
        inputs, outputs = self.weight.shape
        sequence(type(self).__name__, x, 3, inputs)
        held, sums = _state(x, state, (outputs,))
        out = torch.empty((*x.shape[:2], outputs), dtype=x.dtype)
        sent, macs = torch.zeros((2, *x.shape[:2]), dtype=torch.int64)
        self.provider.linear(
            _numpy(x), _numpy(self.theta.to(x)), _numpy(self.weight.to(x)), self.bias, held.numpy(), sums.numpy(),
            out.numpy(), sent.numpy(), macs.numpy(),
        )  # fmt: skip
        return EventRun(out, EventState(held, sums), sent, macs, prod(x.shape) * outputs)


class EventDrivenConv2d:
    """A convolution that is run on the changes of its input; weights are copied when it is made.

    Args:
        dense: the layer, with one group and zero padding given as numbers.
        theta: threshold, a number or an array that broadcasts to ``[C, H, W]``.
        backend: ``"auto"``, ``"numba"`` or ``"reference"``.

    Raises:
        UnsupportedLayerError: groups, or another padding.
        NonFiniteError, ParameterError, BackendError, UnknownNameError: an argument is not usable.
    """

    def __init__(self, dense: nn.Conv2d, theta: Any, backend: str = "auto") -> None:
        if dense.groups != 1 or dense.padding_mode != "zeros" or isinstance(dense.padding, str):
            raise UnsupportedLayerError(
                f"{dense}: the event-driven convolution needs groups=1 and zero padding given as numbers."
            )
        self.provider = provider(backend)
        self.theta = threshold("threshold", theta)
        self.weight = dense.weight.detach().permute(1, 2, 3, 0).contiguous()
        self.bias = _bias(dense, dense.out_channels)
        self.geometry = tuple(int(n) for n in (*dense.stride, *dense.padding, *dense.dilation))

    def _axis(self, axis: int, size: int) -> tuple[int, int]:
        """Return length of an output axis, and how many (output, tap) pairs lie inside the input."""
        stride, padding, dilation = self.geometry[axis::2]
        taps = int(self.weight.shape[1 + axis])
        length = (size + 2 * padding - dilation * (taps - 1) - 1) // stride + 1
        inside = sum(0 <= o * stride + k * dilation - padding < size for o in range(length) for k in range(taps))
        return max(length, 0), inside

    def __call__(self, x: Tensor, state: EventState | None = None) -> EventRun:
        """Run over time.

        Args:
            x: ``[T, B, C, H, W]``, CPU.
            state: state of an earlier run, or None.

        Raises:
            ShapeError, DTypeError, NonFiniteError, BackendError: input or state is not usable.
        """
        channels, outputs = int(self.weight.shape[0]), int(self.weight.shape[-1])
        sequence(type(self).__name__, x, 5)
        if x.shape[2] != channels or x.ndim != 5:
            raise ShapeError(f"EventDrivenConv2d: input has shape {tuple(x.shape)}, expected [T, B, {channels}, H, W].")
        theta = threshold("threshold", self.theta, (channels, *x.shape[-2:]))
        (rows, pairs_y), (columns, pairs_x) = self._axis(0, x.shape[-2]), self._axis(1, x.shape[-1])
        held, sums = _state(x, state, (rows, columns, outputs))
        out = torch.empty((*x.shape[:2], rows, columns, outputs), dtype=x.dtype)
        sent, macs = torch.zeros((2, *x.shape[:2]), dtype=torch.int64)
        self.provider.conv2d(
            _numpy(x), _numpy(theta.to(x)), _numpy(self.weight.to(x)), self.geometry, self.bias, held.numpy(),
            sums.numpy(), out.numpy(), sent.numpy(), macs.numpy(),
        )  # fmt: skip
        dense = prod(x.shape[:2]) * channels * outputs * pairs_y * pairs_x
        return EventRun(out.permute(0, 1, 4, 2, 3), EventState(held, sums), sent, macs, dense)
