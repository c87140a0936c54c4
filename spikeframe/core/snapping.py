r"""Weights on a power-of-two grid, so that sums of events are exact in float32 in any order.

With every weight a multiple of a step q and every input a multiple of f with magnitude up to m, all partial sums are
multiples of q f. They are exact while ``m \sum |w| + |b| < 2^24 q f``; q is the smallest power of two that gives one
bit to spare, so rounding moves a weight by at most ``2^-23 m \sum |w| / 2``.

Weights of at most k bits, signed, are moved first to whole multiples of the smallest power of two s with
``|w| / s < 2^(k-1)`` after rounding, by at most ``s / 2``; biases stay on the finer grid, which sums need.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

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


@dataclass(frozen=True, eq=False)
class Term:
    """What one way adds to the sums that arrive at a layer of neurons: ``(weight x + bias) / divisor``.

    Attributes:
        where: the name of the layer with the weights; terms of one name have the same weights.
        weight: ``[outputs, ...]``, one output's weights in a row, float32; None where inputs pass as they are.
        bias: ``[outputs]`` or None.
        largest: largest magnitude of an input.
        finest: every input is a multiple of this power of two.
        gain: how many outputs are added up behind the weights (by pooling).
        divisor: what these sums are divided by, a power of two.
        steps: how many times the bias is added.
    """

    where: str
    weight: Tensor | None
    bias: Tensor | None = None
    largest: float = 1.0
    finest: float = 1.0
    gain: float = 1.0
    divisor: float = 1.0
    steps: int = 1

    def reach(self) -> float:
        """Return the largest magnitude that a partial sum can have."""
        if self.weight is None:
            return self.largest * self.gain / self.divisor
        bias = None if self.bias is None else self.bias * self.steps
        return _reach(self.weight, bias, self.largest, self.gain) / self.divisor

    def on_grid(self, unit: float) -> bool:
        """Whether what it adds are multiples of a unit.

        Args:
            unit: a power of two.
        """
        step = unit * self.divisor / self.finest
        if self.weight is None:
            return step <= 1.0
        return _on_grid(self.weight, step) and (self.bias is None or _on_grid(self.bias, step))


def snap_sums(
    sums: Sequence[Sequence[Term]], bits: int | None = None
) -> tuple[dict[str, tuple[Tensor, Tensor | None, Snapped]], list[float]]:
    """Round weights to the finest grid on which every sum of every layer is exact, whichever layers share them.

    With `bits`, that grid is no finer than so many bits reach. Weights already on a grid stay as they are.

    Args:
        sums: per layer of neurons, what adds up there.
        bits: most bits of a weight, sign included, 2 to 16; None sets no limit.

    Returns:
        Per name of a term its new weight, bias and what changed; and per layer what all weights are multiples of
        where they arrive.

    Raises:
        NonFiniteError: a weight or bias is NaN or infinite.
        ExactnessError: an input is no multiple of a power of two, or sums fit no grid in float32.
    """
    steps: dict[str, float] = {}
    weights: dict[str, tuple[Tensor, Tensor | None]] = {}
    for terms in sums:
        for term in terms:
            _check(term)
        unit = _unit(terms, bits)
        for term in terms:
            if term.weight is not None:
                step = unit * term.divisor / term.finest
                if step * term.finest < 2.0**-126 or not math.isfinite(step):
                    reach = sum(t.reach() for t in terms)
                    raise ExactnessError(
                        f"{term.where}: sums reach {reach:g}; float32 has no exact grid for weights of this size."
                    )
                steps[term.where] = max(steps.get(term.where, 0.0), step)
                weights[term.where] = term.weight, term.bias
    moved = {where: _moved(*weights[where], step, bits) for where, step in steps.items()}
    return moved, [_arriving(terms, steps, moved) for terms in sums]


def _check(term: Term) -> None:
    for what, tensor in (("weight", term.weight), ("bias", term.bias)):
        if tensor is not None and not bool(torch.isfinite(tensor).all()):
            place = tuple(int(i) for i in (~torch.isfinite(tensor)).nonzero()[0])
            raise NonFiniteError(
                f"{term.where}: {what}{list(place)} is {tensor[place].item()}; weights must be finite."
            )
    if term.finest <= 0 or math.frexp(term.finest)[0] != 0.5:
        raise ExactnessError(
            f"{term.where}: inputs are multiples of {term.finest:g}, which is no power of two; exact sums need one."
        )


def _unit(terms: Sequence[Term], bits: int | None) -> float:
    """Return what all sums of some terms should be multiples of."""
    narrow = [t if t.weight is None else replace(t, weight=_narrow(t.weight, bits)[0]) for t in terms]
    total = sum(term.reach() for term in narrow)
    if total == 0.0:
        return min((term.finest / term.divisor for term in terms), default=1.0)
    if not math.isfinite(total):
        return math.inf
    unit = 2.0 ** (math.floor(math.log2(total / _EXACT)) + 1)
    return unit if all(term.on_grid(unit) for term in narrow) else 2.0 * unit


def _moved(weight: Tensor, bias: Tensor | None, step: float, bits: int | None) -> tuple[Tensor, Tensor | None, Snapped]:
    """Round weights to multiples of a step, or of a coarser one for few bits; biases to the step."""
    coarse = max(step, _narrow(weight, bits)[1])
    moved = (torch.round(weight.double() / coarse) * coarse).to(weight.dtype)
    moved_bias = None if bias is None else (torch.round(bias.double() / step) * step).to(bias.dtype)
    change = (moved.double() - weight.double()).abs()
    changes = [float(change.max())] if change.numel() else [0.0]
    if bias is not None and moved_bias is not None and bias.numel():
        changes.append(float((moved_bias - bias).abs().max()))
    rms = float(change.square().mean().sqrt()) if change.numel() else 0.0
    return moved, moved_bias, Snapped(coarse, max(changes), rms)


def _arriving(
    terms: Sequence[Term], steps: dict[str, float], moved: dict[str, tuple[Tensor, Tensor | None, Snapped]]
) -> float:
    """Return what the weights of some terms are multiples of where they arrive; refuse sums that are not exact."""
    after = [t if t.weight is None else replace(t, weight=moved[t.where][0], bias=moved[t.where][1]) for t in terms]
    scale = [t.finest / t.divisor for t in after]
    units = [(steps[t.where] if t.weight is not None else 1.0) * s for t, s in zip(after, scale, strict=True)]
    total = sum(t.reach() for t in after)
    if total and not total < _EXACT * min(units):
        names = ", ".join(sorted({t.where for t in terms}))
        raise ExactnessError(f"{names}: sums reach {total:g}, in units of {min(units):g} too many for exact float32.")
    coarse = [(moved[t.where][2].step if t.weight is not None else 1.0) * s for t, s in zip(after, scale, strict=True)]
    return min(coarse)


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
    """Round the weights of one layer that leads to one layer of neurons; see `snap_sums`.

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
    return snap_sums([[Term(where, weight, bias, largest, finest, gain)]], bits)[0][where]
