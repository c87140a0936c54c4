r"""Spike coding of whole numbers: a count becomes spikes over time steps, and comes back without loss.

.. math:: s = \sum_t w_t s_t, \qquad W s = \sum_t w_t (W s_t)

===============  ==========  ==================  ======================  ==========================================
scheme           spikes s_t  weights w_t         steps                   spikes of a count s
===============  ==========  ==================  ======================  ==========================================
binary           0, 1        1                   max s                   s (counts from 0 only)
ternary          -1, 0, 1    1                   max \|s\|               \|s\|
bitwise          -1, 0, 1    1, 2, 4, ...        bits of max \|s\|       ones in \|s\|
twos_complement  0, 1        1, 2, ..., -2^T-1   bits, one for the sign  ones in s as a number of T bits
===============  ==========  ==================  ======================  ==========================================

Least significant bit first; the weights come with the spikes, so no reader has to know. A linear layer adds a column of
weights per spike, then weighs the steps by powers of two (shifts). Reference: SpikingBrain technical report,
arXiv:2509.05276 (its released code sends the most significant bit first).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from spikeframe.errors import DTypeError, ExactnessError, NonFiniteError, ParameterError, unknown_name
from spikeframe.modules.checks import whole

SCHEMES = ("binary", "ternary", "bitwise", "twos_complement")
_LARGEST = 2**31 - 1


class SpikeTrain(NamedTuple):
    """Whole numbers as spikes over time.

    Attributes:
        spikes: ``[T, ...]`` int8.
        weights: ``[T]`` int64, what a spike of each step is worth.
    """

    spikes: Tensor
    weights: Tensor

    def weighed(self, steps: Tensor) -> Tensor:
        """Return the weighted sum over the steps of something computed step by step.

        Args:
            steps: ``[T, ...]``, e.g. a linear layer's output for each step's spikes.
        """
        return (steps * self.weights.to(steps).reshape(-1, *[1] * (steps.ndim - 1))).sum(0)

    def counts(self) -> Tensor:
        """Return the whole numbers, int64."""
        return self.weighed(self.spikes.long())

    @property
    def events(self) -> int:
        """Number of spikes."""
        return int(torch.count_nonzero(self.spikes))

    @property
    def sparsity(self) -> float:
        """Share of (value, step) places without a spike; 1 where there are none."""
        return 1.0 - self.events / max(self.spikes.numel(), 1)


def encode(count: Tensor, scheme: str = "bitwise", steps: int | None = None) -> SpikeTrain:
    """Expand whole numbers into spikes over time.

    Args:
        count: ``[...]`` whole numbers of at most 2^31 - 1, of an integer or float type.
        scheme: ``"binary"``, ``"ternary"``, ``"bitwise"`` or ``"twos_complement"``.
        steps: T; as few as the largest count needs if not given.

    Returns:
        The spikes; their `counts` are the numbers again.

    Raises:
        UnknownNameError: there is no such scheme.
        NonFiniteError, ExactnessError, DTypeError: a count is not finite, not whole or too large, or no number.
        ParameterError: a negative count in the binary scheme, or too few steps.
    """
    if scheme not in SCHEMES:
        raise unknown_name("scheme", scheme, SCHEMES)
    s = _whole_numbers(count)
    if scheme == "binary" and bool((s < 0).any()):
        raise ParameterError(f"binary: count {int(s.min())} is below 0; use 'ternary', 'bitwise' or 'twos_complement'.")
    least = _steps(s, scheme)
    n = least if steps is None else whole("steps", steps, 0)
    if n < least:
        raise ParameterError(f"steps={n}: {scheme} spikes of these counts need {least} steps.")
    if n > 62 and scheme in ("bitwise", "twos_complement"):
        raise ParameterError(f"steps={n}: weights of {scheme} spikes fit 64 bits up to 62 steps.")
    t = torch.arange(n, device=s.device).reshape(-1, *[1] * s.ndim)
    if scheme in ("binary", "ternary"):
        spikes = s.sign() * (s.abs() > t)
        weights = torch.ones(n, dtype=torch.int64, device=s.device)
    else:
        spikes = (s >> t) & 1 if scheme == "twos_complement" else s.sign() * ((s.abs() >> t) & 1)
        weights = torch.ones(n, dtype=torch.int64, device=s.device) << torch.arange(n, device=s.device)
        if scheme == "twos_complement" and n:
            weights[-1] = -weights[-1]
    return SpikeTrain(spikes.to(torch.int8), weights)


def _steps(s: Tensor, scheme: str) -> int:
    """Return how many steps the largest count needs."""
    if s.numel() == 0:
        return 0
    if scheme == "twos_complement":
        largest = torch.where(s < 0, -s - 1, s).max()  # what the bits below the sign have to hold
        return int(largest).bit_length() + 1
    largest = s.abs().max()
    return int(largest).bit_length() if scheme == "bitwise" else int(largest)


def _whole_numbers(count: Tensor) -> Tensor:
    """Return counts as int64, or refuse them."""
    if not isinstance(count, Tensor) or count.dtype == torch.bool or count.is_complex():
        got = count.dtype if isinstance(count, Tensor) else type(count).__name__
        raise DTypeError(f"counts are {got}; give a tensor of whole numbers.")
    if not bool(torch.isfinite(count).all()):
        raise NonFiniteError(f"count {[int(i) for i in (~torch.isfinite(count)).nonzero()[0]]} is not finite.")
    wrong = (count != count.round()) | (count.abs() > _LARGEST) if count.is_floating_point() else _too_large(count)
    if bool(wrong.any()):
        value = count[wrong].flatten()[0].item()
        raise ExactnessError(f"count {value:g} is no whole number of at most 2^31 - 1; round or clip the counts.")
    return count.detach().long()


def _too_large(count: Tensor) -> Tensor:
    """Return where integers are too large; the smallest int64 has no absolute value."""
    return (count.long() > _LARGEST) | (count.long() < -_LARGEST)
