r"""Hecto: one expert without memory of order and one with, chosen once a sample.

.. math:: g = softmax(W \bar x / 1.5), \quad k = \arg\max g, \quad y = g_k f_k, \quad
          loss = \lambda_H \overline{H(g)} + 0.1 \cdot switch

A feed-forward network on counts meets what is static, a GRU what lies in the order. The gate sees the mean of the first
steps (the paper pools the whole sequence, which is not causal); the GRU moves in silence, so its state decays by a
learned rate over steps that it does not run. Reference: Hecto 2025, arXiv:2506.22919; its losses' weights are not
published, those here are ours.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from spikeframe.errors import unknown_name
from spikeframe.modules.checks import positive
from spikeframe.modules.moe.balance import SwitchLoss
from spikeframe.modules.moe.experts import CountsExpert, GRUExpert
from spikeframe.modules.moe.layer import MoE
from spikeframe.modules.moe.losses import entropy
from spikeframe.modules.moe.plan import Plan
from spikeframe.modules.moe.router import Router
from spikeframe.modules.moe.scores import Linear
from spikeframe.modules.moe.selection import TopK
from spikeframe.modules.moe.taps import WarmUp


class HectoRouter(Router):
    """A router that is asked to be sure: the entropy of its rows is a loss.

    Args:
        sure: weight of the entropy.
        options: of `Router`.
    """

    def __init__(self, *args: Any, sure: float = 0.01, **options: Any) -> None:
        super().__init__(*args, **options)
        self.sure = positive("hecto(sure)", sure)

    def losses(self, plan: Plan) -> dict[str, Tensor]:
        """Return the weighted losses."""
        rows = plan.probs[plan.heard]
        return {**super().losses(plan), "entropy": self.sure * entropy(rows).sum() / max(len(rows), 1)}


def hecto(inputs: int, outputs: int, *, hidden: int = 32, warmup: int = 4, kinds: str = "ff+gru", seed: int = 0) -> MoE:
    """Return the layer.

    Args:
        inputs: features of a step.
        outputs: currents of a step.
        hidden: units of each expert.
        warmup: steps that the gate looks at; nothing runs before their last.
        kinds: of the two experts, ``"ff+gru"``, or ``"ff+ff"`` and ``"gru+gru"`` for comparison.
        seed: of the router.
    """
    make: dict[str, type[CountsExpert] | type[GRUExpert]] = {"ff": CountsExpert, "gru": GRUExpert}
    names = kinds.split("+")
    for name in names:
        if name not in make:
            raise unknown_name("kind of expert", name, make)
    experts = [make[name](inputs, hidden, outputs) for name in names]
    router = HectoRouter(
        Linear(inputs, len(experts)), TopK(1), tap=WarmUp(warmup), gain=1 / 1.5, balance=SwitchLoss(0.1), seed=seed
    )
    return MoE(router, experts, policy="decay")
