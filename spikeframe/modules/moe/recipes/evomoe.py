r"""EvoMoE: train one expert, copy it into many that differ by random masks, and let the gate go from dense to sparse.

.. math:: \tilde g = softmax((s + Gumbel) / \tau), \qquad
          \text{experts with } \tilde g > 10^{-3} \text{ run, with weight } softmax(s)

In three phases by the step of training: one expert alone; the copies, with τ falling; the best one, as it also is
outside training, and then without noise. At the default scores near 0 and τ = 0.5 two thirds of the experts still run,
so τ falls to 0.2 here. From the second phase on the balance loss is Switch's over each row's best expert. Reference:
Nie et al. 2021, arXiv:2112.14397 (the share of masked weights is from memory).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from spikeframe.errors import ParameterError
from spikeframe.modules.checks import whole
from spikeframe.modules.moe.balance import SwitchLoss
from spikeframe.modules.moe.experts import Expert, experts_of
from spikeframe.modules.moe.layer import MoE
from spikeframe.modules.moe.plan import Plan
from spikeframe.modules.moe.router import Router
from spikeframe.modules.moe.schedules import Anneal
from spikeframe.modules.moe.scores import Linear
from spikeframe.modules.moe.selection import TopK

KEPT = 1e-3


class DenseToSparseRouter(Router):
    """A router whose noisy softmax sharpens until one expert is left.

    Args:
        score: of the experts.
        alone: steps of training with the first expert alone.
        sparse: step from which one expert runs.
        temperature: τ by step, from the end of the first phase.
        options: of `Router`.
    """

    def __init__(self, score: Linear, *, alone: int, sparse: int, temperature: Anneal, **options: Any) -> None:
        super().__init__(score, TopK(1), **options)
        self.alone, self.sparse, self.temperature = (
            whole("evomoe(alone)", alone, 0),
            whole("evomoe(sparse)", sparse),
            temperature,
        )
        if alone > sparse:
            raise ParameterError(f"evomoe(alone={alone}, sparse={sparse}): the sparse phase comes last.")

    def rows(self, scores: Tensor) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Decide for rows with input."""
        mask, weight, probs, extra = super().rows(scores)
        step = int(self.step)
        if step < self.alone:
            mask = torch.zeros_like(mask)
            mask[:, 0] = True
            weight = mask.to(probs)
        elif self.training and step < self.sparse:
            noise = -(-self.uniform(scores).log()).log()
            noisy = torch.softmax((self.gain * scores + noise) / self.temperature(step - self.alone), -1)
            mask = noisy.detach() > KEPT
            weight = probs * mask
        return mask, weight, probs, extra

    def losses(self, plan: Plan) -> dict[str, Tensor]:
        """Return the weighted losses: balance of how often each expert is the best, once there is a choice."""
        if int(self.step) < self.alone:
            return {"balance": plan.probs.new_zeros(()), **plan.extra}
        best = torch.nn.functional.one_hot(plan.probs.argmax(-1), plan.experts).bool() & plan.heard[..., None]
        return super().losses(replace(plan, mask=best))


class EvoMoE(MoE):
    """A mixture whose experts are copies of the first from the end of its first phase on.

    Args:
        share: of the weights of a copy that are set to 0.
        args: of `MoE`.
    """

    def __init__(self, *args: Any, share: float, **options: Any) -> None:
        super().__init__(*args, **options)
        if isinstance(share, bool) or not 0 <= share < 1:
            raise ParameterError(f"evomoe(share={share!r}): must be from 0 to below 1.")
        self.share = float(share)

    @torch.no_grad()
    def diversify(self) -> None:
        """Copy the first expert into all, each with weights of its own set to 0."""
        generator = self.router.random(1)
        for expert in self.experts[1:]:
            expert.load_state_dict(self.experts[0].state_dict())
        for expert in self.experts:
            for p in expert.parameters():
                p.mul_((torch.rand(p.shape, generator=generator, device="cpu") >= self.share).to(p))

    def advance(self, plan: Plan) -> None:
        """Take note of an optimiser step."""
        super().advance(plan)
        router: Any = self.router
        if int(router.step) == router.alone:
            self.diversify()


def evomoe(
    inputs: int,
    outputs: int,
    *,
    experts: int | Sequence[Expert] = 8,
    alone: int = 50,
    sparse: int = 200,
    share: float = 0.5,
    alpha: float = 0.01,
    first: float = 1.0,
    last: float = 0.2,
    seed: int = 0,
) -> EvoMoE:
    """Return the layer.

    Args:
        inputs: features of a step.
        outputs: currents of a step.
        experts: how many linear ones, or a list of experts of one kind.
        alone: steps of training with one expert.
        sparse: step from which the gate is sparse.
        share: of a copy's weights that are set to 0.
        alpha: weight of the balance loss.
        first: τ at the end of the first phase.
        last: τ at the beginning of the third.
        seed: of noise and masks.
    """
    made = experts_of(experts, inputs, outputs)
    temperature = Anneal(first, last, max(sparse - alone, 1))
    router = DenseToSparseRouter(
        Linear(inputs, len(made)),
        alone=alone,
        sparse=sparse,
        temperature=temperature,
        balance=SwitchLoss(alpha),
        seed=seed,
    )
    return EvoMoE(router, made, share=share)
