"""Checks of what users give to the modules; every refusal is a named error."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikeframe.errors import BackendError, DTypeError, NonFiniteError, ParameterError, ShapeError, TimeGridError
from spikeframe.neurons.parameters import Parameter, as_value

_THRESHOLD = Parameter(0.0, least=0.0)


def whole(what: str, value: Any, least: int = 1) -> int:
    """Return a whole number.

    Args:
        what: its name, for the message.
        value: what was given.
        least: smallest one accepted.

    Raises:
        ParameterError: it is none, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ParameterError(f"{what}={value!r}: must be a whole number from {least}.")
    return int(value)


def positive(what: str, value: Any) -> float:
    """Return a finite number above 0.

    Args:
        what: its name, for the message.
        value: what was given.

    Raises:
        DTypeError, NonFiniteError, ParameterError: it is none.
    """
    number = as_value(what, value)
    if number.ndim:
        raise ShapeError(f"{what} has shape {tuple(number.shape)}; give one number.")
    Parameter(1.0, above=0.0).check(what, number)
    return float(number)


def time_step(what: str, value: Any) -> float:
    """Return a time step in ms.

    Args:
        what: its name, for the message.
        value: what was given.

    Raises:
        TimeGridError: it is no finite number above 0.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 < value <= 1e9:
        raise TimeGridError(f"{what}={value!r}: must be a positive number of milliseconds, at most 1e9.")
    return float(value)


def steps_of(what: str, time: Any, dt: float) -> Tensor:
    """Return times in whole steps.

    Args:
        what: their name, for the message.
        time: ms, a number or an array.
        dt: ms.

    Returns:
        int64 tensor of the shape of `time`.

    Raises:
        DTypeError: they are no real numbers.
        TimeGridError: one is NaN, infinite, negative or no multiple of dt.
    """
    value = as_value(what, time)
    steps = value / dt
    near = steps.round()
    good = torch.isfinite(value) & (value >= 0) & (steps < 2**31) & ((steps - near).abs() <= 1e-6 * steps.clamp(min=1))
    if not bool(good.all()):
        place = tuple(int(i) for i in (~good).nonzero()[0])
        where = str(list(place)) if place else ""
        raise TimeGridError(
            f"{what}{where}={float(value[place]):g} ms: must be a multiple of dt={dt:g} ms, from 0; "
            f"the nearest below is {float(steps[place].floor()) * dt:g} ms."
        )
    return near.long()


def threshold(what: str, value: Any, shape: tuple[int, ...] | None = None) -> Tensor:
    """Return thresholds of a change code in float64.

    Args:
        what: their name, for the message.
        value: a number, or an array that broadcasts to `shape`.
        shape: what one time step has, or None if it is not known yet.

    Raises:
        DTypeError: it is no real number.
        NonFiniteError: NaN or infinite.
        ParameterError: negative.
        ShapeError: it does not fit `shape`.
    """
    found = as_value(what, value)
    _THRESHOLD.check(what, found)
    if shape is not None:
        try:
            found = found.expand(shape)
        except RuntimeError:
            raise ShapeError(f"{what} has shape {tuple(found.shape)}; it must broadcast to {shape}.") from None
    return found


def sequence(what: str, x: Any, axes: int, last: int | None = None) -> Tensor:
    """Return an input over time.

    Args:
        what: who takes it, for the message.
        x: ``[T, B, ...]`` float tensor.
        axes: least number of axes.
        last: length of the last axis, if it is fixed.

    Raises:
        DTypeError: it is no float32 or float64 tensor.
        ShapeError: it has the wrong axes.
        NonFiniteError: an element is not finite.
    """
    if not isinstance(x, Tensor) or x.dtype not in (torch.float32, torch.float64):
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise DTypeError(f"{what}: input is {got}; it must be a float32 or float64 tensor.")
    if x.ndim < axes or (last is not None and x.shape[-1] != last):
        wanted = "[T, B, ...]" if last is None else f"[T, B, ..., {last}]"
        raise ShapeError(f"{what}: input has shape {tuple(x.shape)}; it must be {wanted} with {axes} axes or more.")
    if not bool(torch.isfinite(x).all()):
        place = [int(i) for i in (~torch.isfinite(x)).nonzero()[0]]
        raise NonFiniteError(f"{what}: input {place} (time, batch, ...) is not finite.")
    return x


def on_cpu(what: str, x: Tensor) -> Tensor:
    """Return the input of a run that the CPU does.

    Args:
        what: what runs, for the message.
        x: the input.

    Raises:
        BackendError: it lies elsewhere.
    """
    if x.device.type != "cpu":
        raise BackendError(f"{what}: the input is on {x.device}; it runs on the CPU, pass x.cpu().")
    return x


def same_shape(what: str, value: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return part of a state, if it fits the input.

    Args:
        what: its name, for the message.
        value: the tensor.
        shape: what it must have.
        dtype: what it must be.

    Raises:
        ShapeError, DTypeError: it does not fit.
    """
    if tuple(value.shape) != shape:
        raise ShapeError(f"{what} has shape {tuple(value.shape)}; the input asks for {shape}.")
    if value.dtype != dtype:
        raise DTypeError(f"{what} is {value.dtype}; the input asks for {dtype}.")
    return value
