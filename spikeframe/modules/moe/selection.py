"""Selection: which experts run. Callables ``mask = select(rank [R, E], probs [R, E], training)``.

Ties go to the lowest index, whatever the device: counts of spikes tie often. Sets carry no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from spikeframe.errors import ContractError, ParameterError
from spikeframe.modules.checks import whole


class Select(Protocol):
    """A way to select."""

    @property
    def renormalise(self) -> bool:
        """Whether weights of the selected are made to sum to 1."""

    def __call__(self, rank: Tensor, probs: Tensor, training: bool) -> Tensor:
        """Return the mask ``[R, E]``."""

    def fits(self, experts: int) -> None:
        """Refuse a number of experts that cannot be selected from."""


def ordered(rank: Tensor) -> Tensor:
    """Return the place of every expert in its row, 0 the best; of equals the lower index is better."""
    order = torch.sort(rank, dim=-1, descending=True, stable=True).indices
    places = torch.arange(rank.shape[-1], device=rank.device).expand_as(order)
    return torch.empty_like(order).scatter_(-1, order, places)


@dataclass(frozen=True)
class TopK:
    """The k best.

    Args:
        k: how many.
        renormalise: whether weights of the selected are made to sum to 1. Not for k = 1: that weight would be 1
            whatever the router does, and it would learn nothing.
    """

    k: int
    renormalise: bool = False

    def __post_init__(self) -> None:
        whole("TopK(k)", self.k)
        if self.renormalise and self.k == 1:
            raise ParameterError(
                "TopK(k=1, renormalise=True): one weight of 1 teaches the router nothing; leave it out."
            )

    def fits(self, experts: int) -> None:
        """Refuse more than there are."""
        if self.k > experts:
            raise ParameterError(f"TopK(k={self.k}): there are {experts} experts; select at most as many.")

    def __call__(self, rank: Tensor, probs: Tensor, training: bool) -> Tensor:
        """Select."""
        return ordered(rank) < self.k


@dataclass(frozen=True)
class TopP:
    """The best until their probabilities exceed p, the one that crosses it among them.

    Args:
        p: above 0, at most 1.
    """

    p: float
    renormalise = True

    def __post_init__(self) -> None:
        if isinstance(self.p, bool) or not 0 < self.p <= 1:
            raise ParameterError(f"TopP(p={self.p!r}): must be above 0 and at most 1; 0 would select nothing.")

    def fits(self, experts: int) -> None:
        """Any number will do."""

    def __call__(self, rank: Tensor, probs: Tensor, training: bool) -> Tensor:
        """Select."""
        order = torch.sort(rank, dim=-1, descending=True, stable=True).indices
        sorted_p = probs.gather(-1, order)
        before = sorted_p.cumsum(-1) - sorted_p
        return torch.zeros_like(order, dtype=torch.bool).scatter_(-1, order, before <= self.p)


@dataclass(frozen=True)
class Threshold:
    """All above a threshold: 0 for ReLU routers. None may be.

    Args:
        theta: from 0.
    """

    theta: float = 0.0
    renormalise = False

    def __post_init__(self) -> None:
        if isinstance(self.theta, bool) or not self.theta >= 0:
            raise ParameterError(f"Threshold(theta={self.theta!r}): must be a number from 0.")

    def fits(self, experts: int) -> None:
        """Any number will do."""

    def __call__(self, rank: Tensor, probs: Tensor, training: bool) -> Tensor:
        """Select."""
        return probs.detach() > self.theta


@dataclass(frozen=True)
class ExpertChoice:
    """Every expert takes its best rows, ``capacity R / E`` of them: balanced, but it looks at all rows at once.

    So it is for training; in ``eval`` mode another selection is used, row by row. Rows that nobody takes are in
    `Plan.dropped`.

    Args:
        capacity: experts per row in the mean.
        then: selection outside training.
    """

    capacity: float
    then: Select

    renormalise = False

    def __post_init__(self) -> None:
        if isinstance(self.capacity, bool) or not self.capacity > 0:
            raise ParameterError(
                f"ExpertChoice(capacity={self.capacity!r}): must be above 0, or no expert takes a row."
            )

    def fits(self, experts: int) -> None:
        """Refuse more per row than there are."""
        self.then.fits(experts)
        if self.capacity > experts:
            raise ParameterError(f"ExpertChoice(capacity={self.capacity:g}): there are {experts} experts.")

    def __call__(self, rank: Tensor, probs: Tensor, training: bool) -> Tensor:
        """Select."""
        if not training:
            return self.then(rank, probs, False)
        rows, experts = rank.shape
        take = min(max(round(self.capacity * rows / experts), 1), rows)
        return (ordered(rank.T) < take).T if rows else rank > 0


@dataclass(frozen=True)
class Capacity:
    """A selection with room for ``factor`` times the even load at every expert; overflow is refused or counted.

    Rows keep their place by order, as in Switch. For training and for reproducing such layers only.

    Args:
        select: what is limited.
        factor: above 0.
        overflow: ``"refuse"`` raises an error; ``"count"`` takes the pair out, and `Plan.dropped` counts rows left with
            no expert.
    """

    select: Select
    factor: float
    overflow: str = "refuse"

    def __post_init__(self) -> None:
        if isinstance(self.factor, bool) or not self.factor > 0:
            raise ParameterError(f"Capacity(factor={self.factor!r}): must be above 0; there would be room for nothing.")
        if self.overflow not in ("refuse", "count"):
            raise ParameterError(f"Capacity(overflow={self.overflow!r}): must be 'refuse' or 'count'.")

    @property
    def renormalise(self) -> bool:
        """As what is limited."""
        return self.select.renormalise

    def fits(self, experts: int) -> None:
        """As what is limited."""
        self.select.fits(experts)

    def __call__(self, rank: Tensor, probs: Tensor, training: bool) -> Tensor:
        """Select."""
        mask = self.select(rank, probs, training)
        room = max(int(self.factor * float(mask.sum()) / mask.shape[1]), 1)
        over = mask & (mask.cumsum(0) > room)
        if self.overflow == "refuse" and bool(over.any()):
            expert = int(over.any(0).nonzero()[0])
            raise ContractError(
                f"Capacity(factor={self.factor:g}): expert {expert} is wanted by {int(mask[:, expert].sum())} rows and "
                f"has room for {room}; raise the factor, balance the router, or pass overflow='count'."
            )
        return mask & ~over
