r"""Regularisers as steps: after the optimiser's, a weight moves to the proximal point.

.. math:: \mathrm{prox}_{λ R}(t) = \arg\min_w \tfrac12 \|w - t\|^2 + λ R(w)

=================  ==========================================  ====================================================
step               R                                           proximal point
=================  ==========================================  ====================================================
`soft_threshold`   sum abs(w)                                  ``sign(t) max(abs(t) - λ, 0)``
`l0_ball`          0 where at most k are not 0, else infinite  the k of largest abs(t), the others 0
`group_lasso`      sum sqrt(size) norm(group)                  ``t max(1 - λ sqrt(size) / norm, 0)`` per group
`group_envelope`   S_k, see below                              ``t u / (λ + u)`` per group
=================  ==========================================  ====================================================

S_k is the tightest convex function below "half the squared norm, at most k groups": ``1/2 min_u sum norm_j^2 / u_j``
over ``0 <= u <= 1``, ``sum d_j u_j <= k``. Its step has ``u_j = clip(η norm_j / sqrt(d_j) - λ, 0, 1)`` with the η of
``sum d_j u_j = k``. With d = 1 it is half the squared k-support norm; large λ leaves exactly k groups.
Reference: Refael et al. 2022, arXiv:2212.12921 (paper 174); Parikh and Boyd 2014, doi:10.1561/2400000003.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer

from spikeframe.errors import ParameterError, ShapeError
from spikeframe.kernels.plasticity import number
from spikeframe.modules.sparsity.structure import Unstructured


def soft_threshold(t: Tensor, strength: float) -> Tensor:
    """Return the step of the l1 norm.

    Args:
        t: weights.
        strength: λ, from 0.
    """
    return t.sign() * (t.abs() - number("soft_threshold(strength)", strength, least=0.0)).clamp(min=0.0)


def l0_ball(t: Tensor, kept: int) -> Tensor:
    """Return the nearest weights of which at most so many are not 0.

    Args:
        t: weights.
        kept: k, from 1 to their number.

    Raises:
        ParameterError: another k.
    """
    if isinstance(kept, bool) or not isinstance(kept, int) or not 1 <= kept <= t.numel():
        raise ParameterError(f"l0_ball(kept={kept!r}): must be a whole number from 1 to {t.numel()}.")
    return t * Unstructured().mask(t.abs()[None], kept / t.numel())[0]


def _norms(t: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Return norm and size of every group, float64."""
    if groups.shape != t.shape:
        raise ShapeError(f"proximal step: groups have shape {tuple(groups.shape)}, the weights {tuple(t.shape)}.")
    flat, at = t.double().reshape(-1), groups.reshape(-1).to(t.device)
    many = int(at.max()) + 1
    square = flat.new_zeros(many).index_add_(0, at, flat * flat)
    return square.sqrt(), torch.bincount(at, minlength=many).double()


def group_lasso(t: Tensor, groups: Tensor, strength: float) -> Tensor:
    """Return the step of the group lasso.

    Args:
        t: weights.
        groups: number of each weight's group (`Structure.groups`).
        strength: λ, from 0.

    Raises:
        ShapeError: groups are not of the weights' shape.
    """
    lam = number("group_lasso(strength)", strength, least=0.0)
    norm, size = _norms(t, groups)
    factor = torch.where(norm > 0, (1.0 - lam * size.sqrt() / norm.clamp(min=1e-300)).clamp(min=0.0), 0.0)
    return t * factor[groups].to(t.dtype)


def group_envelope(t: Tensor, groups: Tensor, kept: float, strength: float, cost: Tensor | None = None) -> Tensor:
    """Return the step of S_k.

    Args:
        t: weights.
        groups: number of each weight's group (`Structure.groups`).
        kept: k, above 0.
        strength: λ, above 0.
        cost: d of each group, above 0; 1 if not given.

    Raises:
        ShapeError: groups are not of the weights' shape.
        ParameterError: k or λ is out of range.
    """
    k, lam = number("group_envelope(kept)", kept, above=0.0), number("group_envelope(strength)", strength, above=0.0)
    norm, _ = _norms(t, groups)
    d = torch.ones_like(norm) if cost is None else cost.double()
    ratio = norm / d.sqrt()
    if float((d * (norm > 0)).sum()) <= k:
        u = (norm > 0).double()
    else:
        u = (_balance(ratio[norm > 0], d[norm > 0], lam, k) * ratio - lam).clamp(0.0, 1.0)
    return t * (u / (lam + u))[groups].to(t.dtype)


def _balance(ratio: Tensor, cost: Tensor, lam: float, k: float) -> float:
    """Return the η at which ``sum cost clip(η ratio - lam, 0, 1)`` is k: it is linear between the ends of the clips."""
    ends, order = torch.sort(torch.cat([lam / ratio, (1.0 + lam) / ratio]))
    slope = torch.cat([cost * ratio, -cost * ratio])[order].cumsum(0)
    value = torch.cat([ends.new_zeros(1), (slope[:-1] * ends.diff()).cumsum(0)])
    at = max(0, int((value < k).sum()) - 1)
    return float(ends[at] + (k - value[at]) / slope[at])


class ProximalStep:
    """Applies a proximal step to a weight after each step of an optimiser.

    Args:
        optimizer: trains it.
        weight: the parameter.
        step: called with the weight and the number of steps done; returns the proximal point.
    """

    def __init__(self, optimizer: Optimizer, weight: Tensor, step: Callable[[Tensor, int], Tensor]) -> None:
        self.weight, self.step, self.steps = weight, step, 0
        self.hook = optimizer.register_step_post_hook(self._stepped)

    @torch.no_grad()
    def _stepped(self, *_: object) -> None:
        self.steps += 1
        self.weight.copy_(self.step(self.weight, self.steps))

    def remove(self) -> None:
        """Stop."""
        self.hook.remove()
