r"""Balance: what keeps all experts in use. Switch's loss, a bias that only selects, and a transport plan.

A balance may give a `bias` that is added where experts are ranked, never to their weights; it is updated after an
optimiser step (`update`), and adds its `loss`. Silent rows are left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spikeframe.errors import ParameterError
from spikeframe.modules.checks import positive, whole
from spikeframe.modules.moe.losses import switch_aux
from spikeframe.modules.moe.plan import Plan


class Balance(nn.Module):
    """No balance; base of the others."""

    bias: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bias", None)

    def loss(self, plan: Plan) -> Tensor:
        """Return the weighted loss."""
        return plan.probs.new_zeros(())

    def update(self, plan: Plan) -> None:
        """Take note of an optimiser step."""


class SwitchLoss(Balance):
    """The auxiliary loss of Switch transformers (arXiv:2101.03961).

    Args:
        alpha: its weight (> 0).
    """

    def __init__(self, alpha: float = 0.01) -> None:
        super().__init__()
        self.alpha = positive("SwitchLoss(alpha)", alpha)

    def loss(self, plan: Plan) -> Tensor:
        """Return the weighted loss."""
        return self.alpha * switch_aux(plan.probs[plan.heard], plan.mask[plan.heard])


class LossFree(Balance):
    r"""A bias per expert, :math:`b_e \leftarrow b_e + u \, sign(\bar A - A_e)`, A the loads of a step.

    The sub-gradient step of the dual of an assignment problem (arXiv:2512.03915). No gradient, no loss; in ``eval``
    mode it stays as it is. The mean of b is kept at 0.

    Args:
        experts: E.
        rate: u (> 0).
        unit: of the load, ``"rows"`` or input ``"spikes"``.
    """

    bias: Tensor

    def __init__(self, experts: int, rate: float = 1e-3, unit: str = "rows") -> None:
        super().__init__()
        self.rate = positive("LossFree(rate)", rate)
        if unit not in ("rows", "spikes"):
            raise ParameterError(f"LossFree(unit={unit!r}): must be 'rows' or 'spikes'.")
        self.unit = unit
        self.register_buffer("bias", torch.zeros(whole("LossFree(experts)", experts)))

    @torch.no_grad()
    def update(self, plan: Plan) -> None:
        """Move the biases."""
        load = plan.load(self.unit)
        self.bias += self.rate * torch.sign(load.double().mean() - load).to(self.bias)
        self.bias -= self.bias.mean()


def sinkhorn(scores: Tensor, smoothing: float, *, tolerance: float = 1e-4, most: int = 100) -> Tensor:
    r"""Return the transport plan of rows to experts, rows summing to 1 and experts to R / E.

    Maximises :math:`\langle \Pi, C \rangle - \xi \sum \Pi \log \Pi` by Sinkhorn's iterations.

    Args:
        scores: ``[R, E]`` C.
        smoothing: ξ (> 0).
        tolerance: of the experts' sums, relative; iterations end there.
        most: iterations at the most.

    Returns:
        ``[R, E]``; sums of rows are exact but for rounding, those of experts to the tolerance if it was reached.
    """
    rows, experts = scores.shape
    if not rows:
        return scores
    kernel = scores / positive("sinkhorn(smoothing)", smoothing)
    target = torch.log(scores.new_tensor(rows / experts))
    u = scores.new_zeros(rows, 1)
    plan = scores
    for _ in range(whole("sinkhorn(most)", most)):
        v = target - torch.logsumexp(kernel + u, 0, keepdim=True)
        u = -torch.logsumexp(kernel + v, 1, keepdim=True)
        plan = torch.exp(kernel + u + v)
        if float((plan.sum(0) * experts / rows - 1).abs().max()) < tolerance:
            break
    return plan
