"""Selectors: from scores to chosen blocks.

Scores of spikes are small whole numbers, so ties are the rule: they go to the lower index, by a stable sort. Blocks
that are forced (sink, neighbours) come first in the order and count in the budget.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Protocol

import torch
from torch import Tensor

from spikeframe.errors import ParameterError
from spikeframe.modules.attention.scorers import check_share
from spikeframe.modules.checks import whole


class Selector(Protocol):
    """Called as ``selector(score, allowed, forced)``, all ``[..., rows, columns]``; returns bool of that shape.

    Attributes:
        sorts: whether it sorts every row, or compares each score once.
    """

    sorts: bool

    def __call__(self, score: Tensor, allowed: Tensor, forced: Tensor) -> Tensor:
        """Choose among what is allowed; all that is forced is chosen."""


def ranked(score: Tensor, allowed: Tensor, forced: Tensor) -> Tensor:
    """Return the order: forced ones, then by score, ties by lower index; what is not allowed last.

    Args:
        score: ``[..., n]``.
        allowed: bool.
        forced: bool.

    Returns:
        ``[..., n]`` indices.
    """
    key = score.masked_fill(~allowed, -math.inf).masked_fill(forced, math.inf)
    return torch.sort(key, dim=-1, descending=True, stable=True).indices


def _first(order: Tensor, number: Tensor | int) -> Tensor:
    """Return bool: those among the first so many of the order."""
    within = (torch.arange(order.shape[-1], device=order.device) < number).expand(order.shape)
    return torch.zeros_like(order, dtype=torch.bool).scatter(-1, order, within)


class TopK:
    """The blocks of highest score; a budget beyond what there is takes all.

    Args:
        k: how many a row, from 1; or
        share: of the row's blocks, above 0, at most 1, rounded up.

    Raises:
        ParameterError: neither or both, or out of range.
    """

    sorts = True

    def __init__(self, k: int | None = None, *, share: float | None = None) -> None:
        if (k is None) == (share is None):
            raise ParameterError(f"TopK(k={k!r}, share={share!r}): give one of the two.")
        self.k = None if k is None else whole("TopK(k)", k)
        self.share = None if share is None else check_share("TopK(share)", share)

    def __call__(self, score: Tensor, allowed: Tensor, forced: Tensor) -> Tensor:
        """Choose."""
        k = math.ceil(self.share * score.shape[-1]) if self.share is not None else self.k
        number = forced.sum(-1, keepdim=True).clamp(min=k)
        return _first(ranked(score, allowed, forced), number) & (allowed | forced)


class TopP:
    """The fewest blocks that hold a share of the score, the one that reaches it included; forced ones count.

    Args:
        share: above 0, at most 1; 1 takes all.
        over: ``"row"``, or ``"head"``: all rows of a head ranked together.

    Raises:
        ParameterError: out of range.
    """

    sorts = True

    def __init__(self, share: float, over: str = "row") -> None:
        if over not in ("row", "head"):
            raise ParameterError(f"TopP(over={over!r}): must be 'row' or 'head'.")
        self.share, self.over = check_share("TopP(share)", share), over

    def __call__(self, score: Tensor, allowed: Tensor, forced: Tensor) -> Tensor:
        """Choose."""
        if self.share == 1.0:
            return (allowed | forced).expand(score.shape)
        allowed, forced = allowed.expand(score.shape), forced.expand(score.shape)
        shape = score.shape
        if self.over == "head":
            score, allowed, forced = (x.flatten(-2) for x in (score, allowed, forced))
        order = ranked(score, allowed, forced)
        mass = torch.where(allowed | forced, score.relu(), 0.0).double()
        before = torch.take_along_dim(mass, order, -1).cumsum(-1)
        total = before[..., -1:]
        reached = torch.cat([torch.zeros_like(total), before[..., :-1]], -1) >= self.share * total
        kept = torch.zeros_like(allowed).scatter(-1, order, ~reached)
        return (kept & allowed | forced).view(shape)


class Above:
    """Blocks whose share of the row's score reaches a threshold.

    Args:
        share: above 0, at most 1.
    """

    sorts = False

    def __init__(self, share: float) -> None:
        self.share = check_share("Above(share)", share)

    def __call__(self, score: Tensor, allowed: Tensor, forced: Tensor) -> Tensor:
        """Choose."""
        mass = torch.where(allowed | forced, score.relu(), 0.0)
        return forced | (allowed & (mass > 0) & (mass >= self.share * mass.sum(-1, keepdim=True)))


class Statistical:
    """About k blocks without sorting: those above mean + deviation * Phi^-1(1 - k / n) of the row.

    Right for normal scores; small whole numbers are not normal, see the docstring of the recipe.

    Args:
        k: how many are aimed at, from 1; where there are no more than that, all.
    """

    sorts = False

    def __init__(self, k: int) -> None:
        self.k = whole("Statistical(k)", k)

    def __call__(self, score: Tensor, allowed: Tensor, forced: Tensor) -> Tensor:
        """Choose."""
        allowed = allowed.expand(score.shape)
        n = allowed.sum(-1, keepdim=True)
        x = torch.where(allowed, score, 0.0).double()
        mean = x.sum(-1, keepdim=True) / n.clamp(min=1)
        spread = (torch.where(allowed, (x - mean) ** 2, 0.0).sum(-1, keepdim=True) / n.clamp(min=1)).sqrt()
        quantiles = torch.tensor(
            [math.inf] + [_quantile(self.k, m) for m in range(1, score.shape[-1] + 1)], device=n.device
        )
        bar = mean + torch.where(n > self.k, spread * quantiles[n].double(), -math.inf)
        return forced | (allowed & (x > bar))


def _quantile(k: int, n: int) -> float:
    return NormalDist().inv_cdf(1.0 - k / n) if n > k else -math.inf
