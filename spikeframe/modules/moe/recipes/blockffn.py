r"""BlockFFN: many small experts behind ReLU and RMS norm, and losses that make consecutive steps use the same few.

.. math:: p = relu(W \phi), \quad s = \gamma \odot p / rms(p), \quad y = \sum_{s_e > 0} s_e f_e(x)

.. math:: L = c_l \, BCE(\alpha s_t, \sigma(\alpha s_{t+1}))
          + c_u \, (1 - \overline{\textstyle\prod_{t \in chunk}(1 - q_t)}), \qquad q = p / \textstyle\sum p

The number of experts is free, and may be 0. The sign of a score cannot change in silence, so neither can the set. Token
sparsity is the share of experts that a step leaves out, chunk sparsity the share that no step of a chunk uses: their
weights can stay out of fast memory. Hidden units are rectified, where the paper has swish, so that silent ones send
nothing. Reference: Song et al. 2025, arXiv:2507.08771.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spikeframe.modules.checks import whole
from spikeframe.modules.moe.experts import Expert, MLPExpert
from spikeframe.modules.moe.layer import MoE
from spikeframe.modules.moe.losses import chunk_union, locality
from spikeframe.modules.moe.plan import Plan
from spikeframe.modules.moe.router import Router
from spikeframe.modules.moe.schedules import AdaptiveCoefficient
from spikeframe.modules.moe.scores import Linear
from spikeframe.modules.moe.selection import Threshold


class BlockRouter(Router):
    """A rectified router with losses for sparsity by tokens and by chunks.

    Args:
        score: linear.
        local: c_l, weight of the locality loss; 0 leaves it out.
        union: start of c_u, weight of the chunk loss, which adapts; 0 leaves it out.
        chunk: steps of a chunk.
        options: of `Router`.
    """

    def __init__(self, score: Linear, *, local: float, union: float, chunk: int, **options: Any) -> None:
        super().__init__(score, Threshold(0.0), normalise="relu_rms", gain=1.0, **options)
        self.local, self.chunk = float(local), whole("blockffn(chunk)", chunk)
        self.union = AdaptiveCoefficient(union) if union else None
        self.scale = nn.Parameter(torch.ones(score.experts))

    def weights(self, probs: Tensor, mask: Tensor) -> Tensor:
        """Return the normalised scores, each times its own gain."""
        return probs * mask * self.scale.to(probs)

    def shares(self, plan: Plan) -> Tensor:
        """Return q, the scores of a row as shares; 0 in rows without any."""
        return plan.probs / plan.probs.sum(-1, keepdim=True).clamp(min=1e-9)

    def losses(self, plan: Plan) -> dict[str, Tensor]:
        """Return the weighted losses."""
        found = super().losses(plan)
        if self.local:
            spread = plan.scores.detach()[plan.heard].square().mean().sqrt().clamp(min=1e-9)
            found["locality"] = self.local * locality(plan.scores / spread, plan.heard)
        if self.union:
            found["union"] = self.union.value * chunk_union(self.shares(plan), self.chunk)
        return found

    @torch.no_grad()
    def advance(self, plan: Plan) -> None:
        """Take note of an optimiser step."""
        super().advance(plan)
        if self.union:
            self.union.update(float(chunk_union(self.shares(plan), self.chunk)))


def blockffn(
    inputs: int,
    outputs: int,
    *,
    experts: int | Sequence[Expert] = 16,
    hidden: int = 8,
    local: float = 2e-3,
    union: float = 0.05,
    chunk: int = 8,
    seed: int = 0,
) -> MoE:
    """Return the layer.

    Args:
        inputs: features of a step.
        outputs: currents of a step.
        experts: how many with a hidden layer, or a list of experts.
        hidden: units of each.
        local: c_l.
        union: start of c_u.
        chunk: steps of a chunk.
        seed: of the router.
    """
    made = [MLPExpert(inputs, hidden, outputs) for _ in range(experts)] if isinstance(experts, int) else list(experts)
    return MoE(BlockRouter(Linear(inputs, len(made)), local=local, union=union, chunk=chunk, seed=seed), made)
