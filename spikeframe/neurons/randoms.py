"""Uniform random numbers for neurons that are stochastic: a function of seed, step, neuron and stream alone."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikeframe.errors import ParameterError
from spikeframe.kernels.reference.philox import philox, uniform32

#: Numbers drawn at a time, so that the words of the generator stay in cache.
_CHUNK = 1 << 14


def whole(name: str, value: Any, bits: int) -> int:
    """Return a whole number in ``[0, 2^bits)``, or refuse it.

    Args:
        name: what it is, for the message.
        value: what was given.
        bits: how large it may be.

    Raises:
        ParameterError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or not 0 <= int(value) < 2**bits:
        raise ParameterError(f"{name}={value!r}: must be a whole number from 0 to 2^{bits} - 1.")
    return int(value)


def uniform(like: Tensor, seed: int, start: int, stream: int) -> Tensor:
    """Return numbers in [0, 1) with 24 random bits each, by Philox with key `seed`.

    The counter is (0, step, neuron, stream), neurons counted over batch and neuron axes.

    Args:
        like: ``[T, B, ...]``: shape, type and device of the result.
        seed: key.
        start: number of the first step.
        stream: which of several sequences.

    Raises:
        ParameterError: seed, start or stream is no whole number, or too large.
    """
    seed, start, stream = whole("seed", seed, 64), whole("start", start, 32), whole("stream", stream, 32)
    steps, columns = like.shape[0], like[0].numel() if like.shape[0] else 0
    found = np.empty((steps, columns), np.float32)
    low, high = seed & 0xFFFFFFFF, seed >> 32
    for t in range(steps):
        for at in range(0, columns, _CHUNK):
            neurons = np.arange(at, min(columns, at + _CHUNK))
            found[t, at : at + _CHUNK] = uniform32(philox(0, start + t, neurons, stream, low, high)[0])
    # In 16 bits the largest of them would be rounded to 1.
    most = 1.0 - torch.finfo(like.dtype).eps / 2
    return torch.from_numpy(found).reshape(like.shape).to(like).clamp_(max=most)
