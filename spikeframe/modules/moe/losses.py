"""Losses of routers. Silent rows are no data: give what `Plan.heard` selects."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def switch_aux(probs: Tensor, mask: Tensor) -> Tensor:
    """Return E sum_e f_e P_e, f the share of the pairs, P the mean probability: 1 where both are even.

    Args:
        probs: ``[R, E]`` that sum to 1.
        mask: ``[R, E]``.
    """
    if not len(probs):
        return probs.sum()
    share = mask.to(probs).sum(0) / mask.sum().clamp(min=1)
    return probs.shape[1] * (share * probs.mean(0)).sum()


def entropy(probs: Tensor) -> Tensor:
    """Return the entropy along the last axis, nats."""
    found: Tensor = torch.special.entr(probs)
    return found.sum(-1)


def locality(raw: Tensor, heard: Tensor, alpha: float = 100.0) -> Tensor:
    """Return how unlike the signs of consecutive scores are: BCE of α s_t on σ(α s_{t+1}) (BlockFFN).

    Args:
        raw: ``[T, B, E]`` scores before the ReLU.
        heard: ``[T, B]``; pairs of steps are used where both have input.
        alpha: α, one over the size of scores that matter.
    """
    both = heard[1:] & heard[:-1]
    if not bool(both.any()):
        return raw.sum() * 0.0
    return functional.binary_cross_entropy_with_logits(alpha * raw[:-1][both], torch.sigmoid(alpha * raw[1:][both]))


def chunk_union(share: Tensor, steps: int) -> Tensor:
    """Return the soft share of experts that a chunk of steps uses, 1 - mean of prod (1 - q) (BlockFFN).

    Args:
        share: ``[T, B, E]`` q, shares of a row that sum to 1, or 0 where nothing is.
        steps: of a chunk; a shorter rest is a chunk too.
    """
    unused = torch.log1p(-share.clamp(max=1.0 - 1e-5))
    parts = [part.sum(0).exp() for part in torch.split(unused, steps)]
    return 1.0 - torch.stack(parts).mean()


def budget(used: Tensor, target: float) -> Tensor:
    """Return how far a mean share lies from its target.

    Args:
        used: shares or gates, any shape.
        target: from 0 to 1.
    """
    return (used.mean() - target).abs() if used.numel() else used.sum()
