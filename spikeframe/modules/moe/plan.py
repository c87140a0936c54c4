"""Which experts every row uses, and with what weight. A row is a step of a sample."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor


class Pairs(NamedTuple):
    """The selected pairs of row and expert, by rows (CSR), experts rising within a row.

    Attributes:
        first: ``[R + 1]`` where the pairs of each row begin.
        expert: ``[P]``.
        weight: ``[P]``.
    """

    first: Tensor
    expert: Tensor
    weight: Tensor


@dataclass(frozen=True, eq=False)
class Plan:
    """One routing decision per row.

    Attributes:
        mask: ``[T, B, E]`` bool, the experts that run.
        weight: ``[T, B, E]`` what each counts in the sum; only selected ones matter.
        scores: ``[T, B, E]`` what the router found, before normalising.
        probs: ``[T, B, E]`` normalised scores, which losses use.
        heard: ``[T, B]`` bool: rows that have input and may be routed; the others select nothing and are no data.
        size: ``[T, B]`` input spikes of a row.
        extra: losses that came up on the way, by name.
    """

    mask: Tensor
    weight: Tensor
    scores: Tensor
    probs: Tensor
    heard: Tensor
    size: Tensor
    extra: dict[str, Tensor] = field(default_factory=dict)

    @property
    def experts(self) -> int:
        """How many there are."""
        return int(self.mask.shape[-1])

    def among(self, experts: int) -> Plan:
        """Return the plan as it is executed: with one expert more than were chosen among, all rows with input use it.

        Args:
            experts: how many there are.
        """
        if experts == self.experts:
            return self
        mask = torch.cat([self.mask, self.heard[..., None]], -1)
        return replace(self, mask=mask, weight=torch.cat([self.weight, self.heard[..., None].to(self.weight)], -1))

    def pairs(self) -> Pairs:
        """Return the selected pairs."""
        mask = self.mask.flatten(0, 1)
        many = mask.new_zeros(len(mask) + 1, dtype=torch.int64)
        many[1:] = mask.sum(1).cumsum(0)
        return Pairs(many, mask.nonzero()[:, 1], self.weight.flatten(0, 1)[mask])

    def load(self, unit: str = "rows") -> Tensor:
        """Return the load of each expert.

        Args:
            unit: ``"rows"`` that chose it, or their input ``"spikes"``.
        """
        chosen = self.mask.to(self.size)
        return (chosen * self.size.unsqueeze(-1) if unit == "spikes" else chosen).sum((0, 1))

    @property
    def dropped(self) -> int:
        """Rows with input that no expert takes."""
        return int((self.heard & ~self.mask.any(-1)).sum())

    @property
    def active(self) -> float:
        """Mean share of the experts that run on a row with input."""
        return float(self.mask[self.heard].double().mean()) if bool(self.heard.any()) else 0.0


def route_flips(plan: Plan) -> float:
    """Return the share of consecutive rows with input whose set of experts differs, sample by sample."""
    changed = rows = 0
    for sample in range(plan.mask.shape[1]):
        chosen = plan.mask[plan.heard[:, sample], sample]
        changed += int((chosen[1:] != chosen[:-1]).any(1).sum())
        rows += max(len(chosen) - 1, 0)
    return changed / max(rows, 1)


def union_share(plan: Plan, steps: int) -> float:
    """Return the mean share of the experts that a chunk of consecutive rows uses.

    Args:
        plan: the plan.
        steps: length of a chunk; a shorter rest is left out.
    """
    whole = len(plan.mask) // steps * steps
    chunks = plan.mask[:whole].reshape(-1, steps, *plan.mask.shape[1:]).any(1)
    return float(chunks.double().mean())
