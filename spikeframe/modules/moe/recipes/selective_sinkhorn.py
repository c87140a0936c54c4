r"""Selective Sinkhorn routing: on a few random steps of training, gates come from a balanced transport plan.

.. math:: \Pi = \arg\max \langle \Pi, C \rangle - \xi \sum \Pi \log \Pi, \qquad \Pi 1 = 1, \; \Pi^T 1 = R / E

C are the probabilities of the rows with input. On those steps weights are those of the plan's top k, renormalised, and
carry no gradient; on all others, and outside training, routing is by softmax. No auxiliary loss. Use it from the start:
it does not repair a router that has collapsed. Reference: Nguyen et al. 2025, arXiv:2511.08972.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from spikeframe.errors import ParameterError
from spikeframe.modules.checks import positive
from spikeframe.modules.moe.balance import sinkhorn
from spikeframe.modules.moe.experts import Expert, experts_of
from spikeframe.modules.moe.layer import MoE
from spikeframe.modules.moe.router import Router
from spikeframe.modules.moe.scores import Linear
from spikeframe.modules.moe.selection import TopK


class SinkhornRouter(Router):
    """A router that takes some steps of training from a transport plan.

    Args:
        share: of the steps of training.
        smoothing: ξ.
        options: of `Router`.
    """

    def __init__(self, *args: Any, share: float, smoothing: float, **options: Any) -> None:
        super().__init__(*args, **options)
        if isinstance(share, bool) or not 0 <= share <= 1:
            raise ParameterError(f"selective_sinkhorn(share={share!r}): must be from 0 to 1.")
        self.share, self.smoothing = float(share), positive("selective_sinkhorn(smoothing)", smoothing)

    def rows(self, scores: Tensor) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Decide for rows with input."""
        mask, weight, probs, extra = super().rows(scores)
        if self.training and float(torch.rand((), generator=self.random(), device="cpu")) < self.share:
            plan = sinkhorn(probs.detach(), self.smoothing)
            mask = self.select(plan, plan, True)
            weight = self.weights(plan, mask)
        return mask, weight, probs, extra


def selective_sinkhorn(
    inputs: int,
    outputs: int,
    *,
    experts: int | Sequence[Expert] = 8,
    k: int = 2,
    share: float = 0.1,
    smoothing: float = 0.5,
    seed: int = 0,
) -> MoE:
    """Return the layer.

    Args:
        inputs: features of a step.
        outputs: currents of a step.
        experts: how many linear ones, or a list of experts.
        k: selected per row.
        share: of the steps of training that are routed by transport.
        smoothing: ξ.
        seed: which steps.
    """
    made = experts_of(experts, inputs, outputs)
    router = SinkhornRouter(
        Linear(inputs, len(made)), TopK(k, renormalise=k > 1), share=share, smoothing=smoothing, seed=seed
    )
    return MoE(router, made)
