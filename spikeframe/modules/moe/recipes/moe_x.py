r"""MoE-X: route to the experts whose hidden layers are expected to be least active.

.. math:: s_e = -\Phi(\mu_e^T x / \sqrt{(\sigma_e^2)^T x^2}), \qquad S = topk(s), \quad w = softmax_S(s)

μ and σ² are mean and variance of an expert's first weights over its hidden units, so a row is scored in 2 D E
multiplications. With rectified units the mixture is one wide, sparse network. For spikes this asks for the least work;
shares below 0.02 win nothing more, or dead experts would. Reference: Yang et al. 2025, arXiv:2503.07639 (the score is
reconstructed).
"""

from __future__ import annotations

from spikeframe.modules.moe.balance import SwitchLoss
from spikeframe.modules.moe.experts import MLPExpert
from spikeframe.modules.moe.layer import MoE
from spikeframe.modules.moe.router import Router
from spikeframe.modules.moe.scores import ActiveShare
from spikeframe.modules.moe.selection import TopK


def moe_x(
    inputs: int, outputs: int, *, experts: int = 8, hidden: int = 16, k: int = 2, alpha: float = 0.01, seed: int = 0
) -> MoE:
    """Return the layer.

    Args:
        inputs: features of a step.
        outputs: currents of a step.
        experts: how many.
        hidden: units of each.
        k: selected per row.
        alpha: weight of the balance loss.
        seed: of the router.
    """
    made = [MLPExpert(inputs, hidden, outputs) for _ in range(experts)]
    router = Router(ActiveShare(made), TopK(k, renormalise=k > 1), gain=1.0, balance=SwitchLoss(alpha), seed=seed)
    return MoE(router, made)
