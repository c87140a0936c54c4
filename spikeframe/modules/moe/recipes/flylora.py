r"""FlyLoRA: a low-rank update whose frozen sparse projection is also its router, as in the fly's mushroom body.

.. math:: z = A x, \qquad S = topk(z + b), \qquad y = W x + \frac{\alpha}{r} \sum_{e \in S} z_e B_e

A ``[r, n]`` is random, sparse and frozen: units of it are Kenyon cells, of which the strongest k answer. B begins at 0
and is all that learns; b is a loss-free bias that keeps all units in use. On spikes A costs an accumulate or
multiplication per non-zero, and ranks are signed (ranking by size keeps the bias from balancing). Reference: Zou et al.
2025 (FlyLoRA, NeurIPS).
"""

from __future__ import annotations

from torch import Tensor, nn

from spikeframe.errors import DTypeError
from spikeframe.modules.checks import whole
from spikeframe.modules.moe.balance import LossFree
from spikeframe.modules.moe.experts import ColumnExpert, LinearExpert
from spikeframe.modules.moe.layer import MoE
from spikeframe.modules.moe.router import Router
from spikeframe.modules.moe.scores import FixedProjection
from spikeframe.modules.moe.selection import TopK
from spikeframe.modules.moe.taps import Raw


class ScaledRouter(Router):
    """A router whose scores are the weights, times a factor."""

    factor = 1.0

    def weights(self, probs: Tensor, mask: Tensor) -> Tensor:
        """Return the scaled scores of the selected experts."""
        return probs * mask * self.factor


def flylora(
    inputs: int,
    outputs: int,
    *,
    base: nn.Linear | None = None,
    rank: int = 32,
    k: int = 8,
    alpha: float | None = None,
    rate: float = 1e-3,
    seed: int = 0,
) -> MoE:
    """Return the layer.

    Args:
        inputs: features of a step.
        outputs: currents of a step.
        base: the trained layer W, without bias, which is frozen; a new one, which trains, if not given.
        rank: r.
        k: units that answer.
        alpha: α; 2 r if not given.
        rate: u of the bias.
        seed: of A.

    Raises:
        DTypeError: base is no linear layer without bias.
    """
    shared = LinearExpert(inputs, outputs)
    if base is not None:
        if getattr(base, "bias", base) is not None or not isinstance(base, nn.Linear):
            raise DTypeError(f"flylora(base): got {base!r}; it must be a torch.nn.Linear without bias.")
        shared.layer = base.requires_grad_(False)
    rank, k = whole("flylora(rank)", rank), whole("flylora(k)", k)
    nonzero = max(inputs * k // rank, 1)
    score = FixedProjection(inputs, rank, min(nonzero, inputs), 1.0 / rank, seed)
    router = ScaledRouter(
        score, TopK(k), tap=Raw(), normalise="none", gain=1.0, balance=LossFree(rank, rate), seed=seed
    )
    router.factor = (2.0 * rank if alpha is None else float(alpha)) / rank
    return MoE(router, [ColumnExpert(inputs, outputs) for _ in range(rank)], shared=shared)
