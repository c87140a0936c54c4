r"""Hebbian rules of linear units and their fixed points: plain, Oja, Sanger, BCM, k winners.

Rows of W are units, ``y = W x``; a rule returns the change for a learning rate of 1, averaged over a batch (bars). C is
the mean of x xᵀ over the data, with eigenvalues λ1 > λ2 > ... and eigenvectors e1, e2, ...

===========  ============================================  ====================================================
rule         change                                        where it ends
===========  ============================================  ====================================================
`hebb`       mean y xᵀ                                     nowhere: W (1 + ηC)^t after t steps of rate η
`oja`        mean y (x - y w)ᵀ, each unit alone            w = ±e1, length 1
`sanger`     mean y xᵀ - tril(y yᵀ) W                      unit i: ±e_i, length 1
`bcm`        mean y (y - θ) xᵀ, θ → mean y²                for K independent patterns of probability p_k: a unit
                                                           answers one, with y = θ = 1 / p_k, and no other
`k_winners`  x - w, averaged over the samples that a unit  w = mean of those samples; for k = 1 what k-means ends
             wins (one of the k units with the largest     in, if `score` is the distance
             score)
===========  ============================================  ====================================================

All are local: a synapse sees its x, its unit's y (for Sanger those of the units before it, for k winners whether it
wins) and its own weight. Cost of a sample: two multiply-accumulates a synapse; `sanger` m of them, `k_winners` one for
the score and one addition for each synapse of a winner. The subspace rule of Oja is in
`spikeframe.learning_rules.hlop`.

References: Oja 1982, doi:10.1007/BF00275687; Sanger 1989, doi:10.1016/0893-6080(89)90044-0; Bienenstock, Cooper and
Munro 1982, doi:10.1523/JNEUROSCI.02-01-00032.1982, in the form of Intrator and Cooper 1992,
doi:10.1016/S0893-6080(05)80003-6; Rumelhart and Zipser 1985, doi:10.1207/s15516709cog0901_5.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError, unknown_name
from spikeframe.kernels.plasticity import number
from spikeframe.neurons.randoms import whole

SCORES = ("distance", "product")


def hebb(W: Tensor, x: Tensor) -> Tensor:
    """Return the change of the plain Hebbian rule.

    Args:
        W: ``[m, n]`` weights.
        x: ``[B, n]`` inputs.

    Raises:
        ShapeError, DTypeError, NonFiniteError: they do not fit each other, or are not finite.
    """
    _check(W, x)
    return (x @ W.T).T @ x / len(x)


def oja(W: Tensor, x: Tensor) -> Tensor:
    """Return the change of Oja's rule, each unit alone.

    Args:
        W: ``[m, n]`` weights.
        x: ``[B, n]`` inputs.

    Raises:
        ShapeError, DTypeError, NonFiniteError: they do not fit each other, or are not finite.
    """
    _check(W, x)
    y = x @ W.T
    return y.T @ x / len(x) - y.square().mean(0)[:, None] * W


def sanger(W: Tensor, x: Tensor) -> Tensor:
    """Return the change of Sanger's rule: each unit learns what those before it leave over.

    Args:
        W: ``[m, n]`` weights.
        x: ``[B, n]`` inputs.

    Raises:
        ShapeError, DTypeError, NonFiniteError: they do not fit each other, or are not finite.
    """
    _check(W, x)
    y = x @ W.T
    return y.T @ x / len(x) - torch.tril(y.T @ y / len(x)) @ W


def bcm(W: Tensor, x: Tensor, threshold: Tensor, rate: float = 0.1) -> tuple[Tensor, Tensor]:
    """Return the change of the BCM rule and the next threshold.

    The threshold must move faster than the weights, or activity oscillates.

    Args:
        W: ``[m, n]`` weights.
        x: ``[B, n]`` inputs.
        threshold: ``[m]`` θ of each unit.
        rate: at which θ follows the mean of y² over the batch, above 0, at most 1.

    Returns:
        Change ``[m, n]`` and threshold ``[m]``.

    Raises:
        ParameterError: rate is out of range.
        ShapeError, DTypeError, NonFiniteError: they do not fit each other, or are not finite.
    """
    _check(W, x)
    if number("bcm(rate)", rate, above=0.0) > 1.0:
        raise ParameterError(f"bcm(rate={rate!r}): must be above 0 and at most 1.")
    if threshold.shape != W.shape[:1]:
        raise ShapeError(f"bcm: threshold has shape {tuple(threshold.shape)}; it must be [{len(W)}], one per unit.")
    y = x @ W.T
    change = (y * (y - threshold)).T @ x / len(x)
    return change, threshold + rate * (y.square().mean(0) - threshold)


def winners(W: Tensor, x: Tensor, k: int, score: str = "distance") -> Tensor:
    """Return which units win which samples.

    Args:
        W: ``[m, n]`` weights.
        x: ``[B, n]`` inputs.
        k: winners of a sample, at most m.
        score: ``"distance"`` (the nearest win) or ``"product"`` (those of the largest y).

    Returns:
        ``[B, m]`` bool, k of every row; of equal units the first.

    Raises:
        ParameterError, UnknownNameError: k or score is not possible.
        ShapeError, DTypeError, NonFiniteError: they do not fit each other, or are not finite.
    """
    _check(W, x)
    if not 1 <= whole("winners(k)", k, 31) <= len(W):
        raise ParameterError(f"winners(k={k}): must be from 1 to the number of units, {len(W)}.")
    if score not in SCORES:
        raise unknown_name("score", score, SCORES)
    y = x @ W.T
    if score == "distance":
        y = y - 0.5 * W.square().sum(1)
    order = torch.sort(y, dim=1, descending=True, stable=True).indices[:, :k]
    return torch.zeros_like(y, dtype=torch.bool).scatter_(1, order, True)


def k_winners(W: Tensor, x: Tensor, k: int = 1, score: str = "distance") -> Tensor:
    """Return the change of competitive learning: winners move to what they win, the others stay.

    Args:
        W: ``[m, n]`` weights.
        x: ``[B, n]`` inputs.
        k: winners of a sample.
        score: see `winners`.

    Raises:
        ParameterError, UnknownNameError: k or score is not possible.
        ShapeError, DTypeError, NonFiniteError: they do not fit each other, or are not finite.
    """
    won = winners(W, x, k, score).to(x)
    count = won.sum(0)
    mean = won.T @ x / count.clamp(min=1.0)[:, None]
    return torch.where(count[:, None] > 0, mean - W, torch.zeros_like(W))


def _check(W: Tensor, x: Tensor) -> None:
    """Refuse weights and inputs that do not fit each other."""
    for name, value in (("W", W), ("x", x)):
        if value.dtype not in (torch.float32, torch.float64):
            raise DTypeError(f"{name} is {value.dtype}; it must be float32 or float64.")
    if W.ndim != 2 or x.ndim != 2 or W.shape[1] != x.shape[1] or not len(x):
        raise ShapeError(
            f"W has shape {tuple(W.shape)}, x {tuple(x.shape)}; they must be [m, n] and [B, n], a sample or more."
        )
    for name, value in (("x", x), ("W", W)):
        if not bool(torch.isfinite(value).all()):
            place = (~torch.isfinite(value)).nonzero()[0].tolist()
            hint = "; take a lower learning rate" if name == "W" else ""
            raise NonFiniteError(f"{name} {place} is not finite{hint}.")
