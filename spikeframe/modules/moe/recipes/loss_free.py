r"""Loss-free balancing: a bias that only selects, moved a fixed step against the load after every update.

.. math:: S = topk(\sigma(s) + b), \quad w = \sigma(s) / \textstyle\sum_S \sigma(s), \quad
          b_e \leftarrow b_e + u \, sign(\bar A - A_e)

Weights do not see the bias, the task's gradient does not see the balance. The rule, and its reading as a step of the
dual of an assignment problem: arXiv:2512.03915; DeepSeek-AI 2024, arXiv:2408.15664.
"""

from __future__ import annotations

from collections.abc import Sequence

from spikeframe.modules.moe.balance import LossFree
from spikeframe.modules.moe.experts import Expert, experts_of
from spikeframe.modules.moe.layer import MoE
from spikeframe.modules.moe.router import Router
from spikeframe.modules.moe.scores import Linear
from spikeframe.modules.moe.selection import TopK


def loss_free(
    inputs: int,
    outputs: int,
    *,
    experts: int | Sequence[Expert] = 8,
    k: int = 2,
    rate: float = 1e-3,
    unit: str = "rows",
    seed: int = 0,
) -> MoE:
    """Return the layer.

    Args:
        inputs: features of a step.
        outputs: currents of a step.
        experts: how many linear ones, or a list of experts.
        k: selected per row.
        rate: u.
        unit: of the load, ``"rows"`` or input ``"spikes"``.
        seed: of the router.
    """
    made = experts_of(experts, inputs, outputs)
    router = Router(
        Linear(inputs, len(made)), TopK(k, renormalise=k > 1), normalise="sigmoid",
        balance=LossFree(len(made), rate, unit), seed=seed,
    )  # fmt: skip
    return MoE(router, made)
