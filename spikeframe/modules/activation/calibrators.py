r"""Thresholds from calibration data: for a wanted sparsity, a wanted output error, or a wanted loss.

- `quantile`: the threshold below which a share s of scores lies.
- `cett`: the largest threshold at which what is left out is at most a share of a layer's output,
  ``mean over steps of |sum of w_j a_j that is left out| / |sum of all|`` (cumulative errors of tail truncation).
- `loss_p`: one such share for all layers, the largest at which the loss rises by the factor 1 + p / 100 of its
  exponential (PPL-p%): Luo et al. 2024, arXiv:2411.02335 (paper 65).
- `greedy`: how to spread a sparsity over layers; each move raises the layer that it hurts least (TEAL, used by WINA).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from spikeframe.errors import ConfigError, NonFiniteError, ParameterError, ShapeError
from spikeframe.kernels.plasticity import number
from spikeframe.modules.sparsity.structure import share


def quantile(scores: Tensor, sparsity: float) -> float:
    """Return the threshold t that leaves ``round(sparsity n)`` scores at or below it, but for ties.

    Args:
        scores: of calibration data, any shape; they pass if above t.
        sparsity: from 0 to below 1.

    Raises:
        ParameterError: the sparsity is out of range, or there is no score.
        NonFiniteError: a score is NaN.
    """
    flat = scores.detach().reshape(-1).double()
    if not flat.numel():
        raise ParameterError("quantile: no calibration score was given.")
    if bool(torch.isnan(flat).any()):
        raise NonFiniteError(f"quantile: calibration score {int(torch.isnan(flat).nonzero()[0])} is NaN.")
    cut = round(share("quantile(sparsity)", sparsity) * flat.numel())
    return 0.0 if cut == 0 else max(0.0, float(torch.sort(flat).values[cut - 1]))


def _outputs(a: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return activities ``[steps, n]`` and contributions of the same shape."""
    if weight.ndim != 2 or a.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"cett: activities of {a.shape[-1]} units, weights of shape {tuple(weight.shape)}; calibrate on what the "
            "layer with these weights receives."
        )
    flat = a.detach().double().reshape(-1, a.shape[-1])
    return flat, flat.abs() * weight.detach().double().norm(dim=0)


def _tails(a: Tensor, weight: Tensor) -> tuple[Callable[[float], float], float]:
    """Return the tail error as a function of the cut, and the largest contribution."""
    flat, size = _outputs(a, weight)
    w = weight.detach().double().T
    whole = (flat @ w).norm(dim=1)
    alive = whole > 0
    flat, size, whole = flat[alive], size[alive], whole[alive]

    def tail(cut: float) -> float:
        return float((((flat * (size <= cut)) @ w).norm(dim=1) / whole).mean()) if len(flat) else 0.0

    return tail, float(size.max()) if len(flat) else 0.0


def tail_error(a: Tensor, weight: Tensor, cut: float) -> float:
    """Return CETT: the mean share of the output that is left out.

    Args:
        a: ``[..., n]`` activities.
        weight: ``[targets, n]``.
        cut: contributions ``abs(a_j) |w_j|`` up to it are left out.

    Raises:
        ShapeError: the activities are those of another layer.
    """
    return _tails(a, weight)[0](cut)


def cett(a: Tensor, weight: Tensor, target: float, rounds: int = 16) -> float:
    """Return the largest cut, of 2^rounds between 0 and the largest contribution, whose tail error is at most `target`.

    Args:
        a: ``[..., n]`` activities of calibration data.
        weight: ``[targets, n]``.
        target: from 0 to 1.
        rounds: halvings of the interval.

    Raises:
        ShapeError: the activities are those of another layer.
        ParameterError, NonFiniteError: the target is out of range.
    """
    if not 0.0 <= number("cett(target)", target) <= 1.0:
        raise ParameterError(f"cett(target={target!r}): must be from 0 to 1.")
    tail, high = _tails(a, weight)
    low = 0.0
    if tail(high) <= target:
        return high
    for _ in range(rounds):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if tail(middle) <= target else (low, middle)
    return low


def loss_p(loss: Callable[[float], float], p: float = 1.0, tolerance: float = 1e-6) -> float:
    """Return the largest common error target at which ``exp(loss - dense loss)`` is at most ``1 + p / 100``.

    Args:
        loss: of the model with each layer cut at ``cett(..., target)``; at 0 it is the dense loss.
        p: per cent, above 0.
        tolerance: of the target.

    Raises:
        ParameterError, NonFiniteError: p is out of range, or the dense loss is not finite.
    """
    limit = math.log1p(number("loss_p(p)", p, above=0.0) / 100.0)
    dense = loss(0.0)
    if not math.isfinite(dense):
        raise NonFiniteError(f"loss_p: the dense loss is {dense}.")
    if loss(1.0) - dense <= limit:
        return 1.0
    low, high = 0.0, 1.0
    while high - low > tolerance:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if loss(middle) - dense <= limit else (low, middle)
    return low


def greedy(
    error: Callable[[list[float]], float], sizes: Sequence[int], sparsity: float, step: float = 0.05
) -> list[float]:
    """Return a sparsity for each layer whose mean, weighted by size, is the wanted one.

    Args:
        error: of the block's output at given sparsities.
        sizes: weights of each layer.
        sparsity: of all together, from 0 to below 1.
        step: of the total by which a move raises it, above 0.

    Raises:
        ParameterError, NonFiniteError: a number outside its range.
        ConfigError: there is no layer.
    """
    if not sizes:
        raise ConfigError("greedy: no layer was given.")
    share("greedy(sparsity)", sparsity)
    total = sum(sizes)
    found = [0.0] * len(sizes)
    left = sparsity
    while left > 1e-12:
        move = min(number("greedy(step)", step, above=0.0), left)
        tried: list[tuple[float, int, float]] = []
        for k, size in enumerate(sizes):
            rise = min(move * total / size, 1.0 - found[k])
            if rise > 1e-12:
                raised = [*found[:k], found[k] + rise, *found[k + 1 :]]
                tried.append((error(raised), k, rise))
        _, best, rise = min(tried)
        found[best] += rise
        left -= rise * sizes[best] / total
    return found
