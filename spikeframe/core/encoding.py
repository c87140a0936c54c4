"""Input events of a network, from dense counts or from event recordings."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikeframe.errors import (
    DTypeError,
    EventError,
    ExactnessError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    TimeGridError,
)
from spikeframe.kernels.chain import Events
from spikeframe.kernels.numba import gather

Frames = Tensor | NDArray[Any]
Recordings = list[NDArray[Any]] | tuple[NDArray[Any], ...]


def from_frames(inputs: Frames, shape: tuple[int, ...], largest: int) -> Events:
    """Turn dense counts into events.

    Args:
        inputs: ``[T, B, ...]`` whole counts per step, any real type.
        shape: the network's input shape, the axes after T and B.
        largest: largest magnitude of a count.

    Returns:
        The events.

    Raises:
        ShapeError, DTypeError, NonFiniteError: the inputs are not usable.
        ExactnessError: a count is no whole number or too large.
    """
    x = _as_tensor(inputs)
    if x.ndim != 2 + len(shape) or tuple(x.shape[2:]) != shape:
        raise ShapeError(f"inputs have shape {tuple(x.shape)}; expected [T, B, {', '.join(map(str, shape))}].")
    if x.is_complex() or x.dtype == torch.bool:
        raise DTypeError(f"inputs are {x.dtype}; expected event counts of an integer or float type.")
    steps, samples = x.shape[:2]
    single = x.detach().to(torch.float32).contiguous()
    if x.dtype == torch.float64 and not torch.equal(single.double(), x.detach()) and bool(torch.isfinite(x).all()):
        raise ExactnessError("inputs hold float64 counts that are no whole numbers; give whole event counts.")
    frames = single.numpy().reshape(steps, samples, prod(shape))
    start = np.zeros(samples * steps + 1, np.int64)
    gather.count_events(frames, start)
    np.cumsum(start, out=start)
    source, count = np.empty(start[-1], np.int32), np.empty(start[-1], np.int32)
    if not gather.gather_events(frames, np.float32(largest), start, source, count):
        raise _bad_count(frames, largest)
    return Events(start, source, count, int(samples), int(steps), prod(shape), largest)


def _as_tensor(inputs: Frames) -> Tensor:
    """Return frames as a tensor, or refuse them."""
    if isinstance(inputs, Tensor):
        if inputs.layout != torch.strided or inputs.device.type != "cpu":
            raise DTypeError(f"inputs are a {inputs.layout} tensor on {inputs.device}; give a dense one on the CPU.")
        return inputs
    if not isinstance(inputs, np.ndarray) or inputs.dtype.kind not in "iufcb":
        got = inputs.dtype if isinstance(inputs, np.ndarray) else type(inputs).__name__
        raise DTypeError(
            f"inputs are {got}; give a tensor or array of counts [T, B, ...], or what Network.encode returns."
        )
    plain = np.array(inputs, inputs.dtype.newbyteorder("="), order="C")
    return torch.from_numpy(plain.astype(np.float64) if plain.dtype == np.longdouble else plain)


def _bad_count(frames: NDArray[np.float32], largest: int) -> NonFiniteError | ExactnessError:
    """Describe the first count that cannot be run."""
    legal = np.isfinite(frames) & (np.abs(frames) <= largest) & (frames == np.rint(frames))
    step, sample, source = (int(i[0]) for i in np.nonzero(~legal))
    value = frames[step, sample, source]
    place = f"inputs[{step}, {sample}] (time, sample), channel {source}: {value:g}"
    if not np.isfinite(value):
        return NonFiniteError(f"{place} is not finite.")
    return ExactnessError(
        f"{place} must be a whole number of at most {largest}; make the network with a larger input_max, "
        "or saturate the frames."
    )


def from_recordings(recordings: Recordings, shape: tuple[int, ...], largest: int, dt: float, steps: int) -> Events:
    """Turn event recordings into events on the time grid, each event by itself.

    Args:
        recordings: structured arrays with fields x, y, t (µs, from 0), p, sorted by t.
        shape: ``(P, H, W)`` of the network's input.
        largest: most events that may share a step and a pixel.
        dt: time step, ms; a whole number of µs.
        steps: number of steps.

    Returns:
        The events.

    Raises:
        EventError: coordinates, polarity or time outside the input's shape or the run, or times out of order.
        ParameterError, ShapeError, TimeGridError: shape, steps or dt do not fit.
        ExactnessError: too many events share a step and a pixel.
    """
    if len(shape) != 3:
        raise ShapeError(f"event recordings need an input shape (P, H, W); this network takes {shape}.")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ParameterError(f"steps={steps!r}: must be a positive whole number.")
    window = round(dt * 1000)
    if window < 1 or abs(window - dt * 1000) > 1e-6:
        raise TimeGridError(f"dt={dt:g} ms is not a whole number of microseconds, which event times are counted in.")
    starts, sources = [np.zeros(1, np.int64)], [np.zeros(0, np.int32)]
    total = 0
    for k, events in enumerate(recordings):
        _check_fields(events, k)
        fields = {name: events[name].astype(np.int64) for name in ("p", "y", "x")}
        step = events["t"].astype(np.int64) // window
        for (name, values), size in zip(fields.items(), shape, strict=True):
            _check_range(values, size, f"recording {k}: {name}")
        _check_range(step, steps, f"recording {k}: time step")
        if step.size and (np.diff(events["t"].astype(np.int64)) < 0).any():
            at = int(np.flatnonzero(np.diff(events["t"].astype(np.int64)) < 0)[0]) + 1
            raise EventError(f"recording {k}: event {at} is earlier than the one before it; sort by t.")
        sources.append(((fields["p"] * shape[1] + fields["y"]) * shape[2] + fields["x"]).astype(np.int32))
        starts.append(total + np.searchsorted(step, np.arange(1, steps + 1)).astype(np.int64))
        total += step.size
    start, source = np.concatenate(starts), np.concatenate(sources)
    most = gather.most_coincident(start, source, np.zeros(prod(shape), np.int64))
    if most > largest:
        raise ExactnessError(
            f"{most} events share a step and a pixel; make the network with input_max={most} or a shorter dt."
        )
    return Events(start, source, np.ones(total, np.int32), len(recordings), steps, prod(shape), largest)


def _check_fields(events: NDArray[Any], k: int) -> None:
    names = getattr(getattr(events, "dtype", None), "names", None) or ()
    if np.ndim(events) != 1 or any(n not in names or events.dtype[n].kind not in "iub" for n in "xytp"):
        raise EventError(
            f"recording {k}: must be a 1-d structured array with integer fields x, y, t, p; got "
            f"{type(events).__name__} {names}."
        )


def _check_range(values: NDArray[np.int64], size: int, what: str) -> None:
    wrong = np.flatnonzero((values < 0) | (values >= size))
    if wrong.size:
        raise EventError(f"{what} of event {wrong[0]} is {values[wrong[0]]}; must be from 0 to {size - 1}.")
