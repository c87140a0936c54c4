r"""Weights on a power-of-two grid, so that sums of events are exact in float32 in any order.

With every weight a multiple of a step q and every input a multiple of f with magnitude up to m, all partial sums are
multiples of q f. They are exact while ``m \sum |w| + |b| < 2^24 q f``; q is the smallest power of two that gives one
bit to spare, so rounding moves a weight by at most ``2^-23 m \sum |w| / 2``.

Weights of at most k bits, signed, are moved first to whole multiples of the smallest power of two s with
``|w| / s < 2^(k-1)`` after rounding, by at most ``s / 2``; biases stay on the finer grid, which sums need.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from spikeframe.errors import ExactnessError, NonFiniteError, ParameterError

_EXACT = 2.0**24


@dataclass(frozen=True)
class Snapped:
    """How a layer's weights were moved.

    Attributes:
        step: what every weight is a multiple of.
        largest_change: largest change of a weight or bias.
        rms_change: root mean square change of the weights.
    """

    step: float
    largest_change: float
    rms_change: float


def _reach(weight: Tensor, bias: Tensor | None, largest: float, gain: float) -> float:
    """Largest magnitude that any partial sum of a neuron can have."""
    reach = weight.double().abs().flatten(1).sum(1) * largest
    if bias is not None:
        reach = reach + bias.double().abs()
    return float(reach.max()) * gain if reach.numel() else 0.0


def _on_grid(tensor: Tensor, step: float) -> bool:
    scaled = tensor.double() / step
    return bool((scaled == scaled.round()).all())


def check_bits(bits: object, name: str) -> None:
    """Refuse what is no number of bits of a weight.

    Args:
        bits: 2 to 16, or None.
        name: what it is called, for the error.

    Raises:
        ParameterError: it is something else.
    """
    if bits is not None and (isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 16):
        raise ParameterError(f"{name}={bits!r}: must be a whole number from 2 to 16, or None for no limit.")


def _narrow(weight: Tensor, bits: int | None) -> tuple[Tensor, float]:
    """Return weights of at most `bits` bits in float64, and the step that they are multiples of, or 0."""
    weight = weight.double()
    largest = float(weight.abs().max()) if weight.numel() else 0.0
    if bits is None or largest == 0.0:
        return weight, 0.0
    step = 2.0 ** (math.frexp(largest)[1] - bits)
    while round(largest / step) >= 2 ** (bits - 1):
        step *= 2.0
    return torch.round(weight / step) * step, step


def snap(
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    bits: int | None = None,
    largest: float = 1.0,
    finest: float = 1.0,
    gain: float = 1.0,
    where: str = "weight",
) -> tuple[Tensor, Tensor | None, Snapped]:
    """Round weights to the finest grid on which every sum is exact; weights already on one stay as they are.

    With `bits`, that grid is no finer than so many bits reach.

    Args:
        weight: ``[outputs, ...]``, one output's weights in a row; float32.
        bias: ``[outputs]`` or None.
        bits: most bits of a weight, sign included, 2 to 16; None sets no limit.
        largest: largest magnitude of an input.
        finest: every input is a multiple of this power of two.
        gain: how many outputs are added up behind the weights (by pooling).
        where: the layer's name, for errors.

    Returns:
        New weight, new bias, and what changed.

    Raises:
        ParameterError: `bits` is something else.
        NonFiniteError: a weight or bias is NaN or infinite.
        ExactnessError: `finest` is no power of two, or weights are too small for a grid in float32.
    """
    check_bits(bits, f"{where}: bits")
    for what, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and not bool(torch.isfinite(tensor).all()):
            place = tuple(int(i) for i in (~torch.isfinite(tensor)).nonzero()[0])
            raise NonFiniteError(f"{where}: {what}{list(place)} is {tensor[place].item()}; weights must be finite.")
    if finest <= 0 or math.frexp(finest)[0] != 0.5:
        raise ExactnessError(
            f"{where}: inputs are multiples of {finest:g}, which is no power of two; exact sums need one."
        )
    narrow, coarse = _narrow(weight, bits)
    reach = _reach(narrow, bias, largest, gain)
    if reach == 0.0:
        return weight.clone(), None if bias is None else bias.clone(), Snapped(1.0, 0.0, 0.0)
    step = 2.0 ** (math.floor(math.log2(reach / (_EXACT * finest))) + 1)
    if not (_on_grid(narrow, step) and (bias is None or _on_grid(bias, step))):
        step *= 2.0
    if step * finest < 2.0**-126 or not math.isfinite(step):
        raise ExactnessError(f"{where}: sums reach {reach:g}; float32 has no exact grid for weights of this size.")
    coarse = max(step, coarse)
    moved = (torch.round(weight.double() / coarse) * coarse).to(weight.dtype)
    moved_bias = None if bias is None else (torch.round(bias.double() / step) * step).to(bias.dtype)
    if not _reach(moved, moved_bias, largest, gain) < _EXACT * step * finest:
        raise ExactnessError(f"{where}: {weight.shape[1:].numel()} inputs are too many for exact float32 sums.")
    change = (moved.double() - weight.double()).abs()
    changes = [float(change.max())] + (
        [] if bias is None or moved_bias is None else [float((moved_bias - bias).abs().max())]
    )
    return moved, moved_bias, Snapped(coarse, max(changes), float(change.square().mean().sqrt()))
