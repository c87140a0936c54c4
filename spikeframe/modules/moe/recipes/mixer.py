r"""MixER: samples are clustered, clusters are matched to the experts that fit them best, and a linear gate is fitted.

.. math:: \text{gate} = softmax([\xi; 1] W), \qquad W = lstsq([\xi; 1], \text{one-hot expert of } \xi\text{'s cluster})

No gradient reaches the gate; the chosen expert's output counts in full. The context ξ of a sample is the mean of its
first steps here (the paper learns a vector per environment). `FittedRouter.fit` is the gate's update: k-means over
contexts, begun at points far apart (tiny random centroids, as published, often leave clusters empty), one-to-one
assignment of clusters to experts by their median loss, least squares. Reference: Nzoyem et al. 2025, arXiv:2502.05335.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from spikeframe.errors import ShapeError
from spikeframe.modules.moe.experts import Expert, LIFExpert
from spikeframe.modules.moe.layer import MoE
from spikeframe.modules.moe.router import Router
from spikeframe.modules.moe.scores import Score
from spikeframe.modules.moe.selection import TopK
from spikeframe.modules.moe.taps import WarmUp


class Fitted(Score):
    """A linear gate with an offset that is fitted, not trained.

    Args:
        inputs: features D.
        experts: E.
    """

    weight: Tensor

    def __init__(self, inputs: int, experts: int) -> None:
        super().__init__(inputs, experts)
        self.register_buffer("weight", torch.zeros(inputs + 1, experts))

    def forward(self, phi: Tensor) -> Tensor:
        """Score rows."""
        return phi.detach() @ self.weight[:-1].to(phi) + self.weight[-1].to(phi)


def k_means(points: Tensor, many: int, most: int = 20) -> Tensor | None:
    """Return the cluster of every point, or None if one stays empty.

    Args:
        points: ``[n, D]``.
        many: clusters.
        most: iterations.
    """
    centres = points[:1]
    for _ in range(many - 1):  # farthest from all so far
        centres = torch.cat([centres, points[torch.cdist(points, centres).min(1).values.argmax()][None]])
    for _ in range(most):
        cluster = torch.cdist(points, centres).argmin(1)
        if int(torch.bincount(cluster, minlength=many).min()) == 0:
            return None
        moved = torch.stack([points[cluster == c].mean(0) for c in range(many)])
        if float((moved - centres).abs().max()) < 1e-4:
            break
        centres = moved
    return cluster


class FittedRouter(Router):
    """A router that is fitted to which expert does best; the chosen one counts in full."""

    def weights(self, probs: Tensor, mask: Tensor) -> Tensor:
        """Return 1 for the chosen one."""
        return mask.to(probs)

    @torch.no_grad()
    def fit(self, contexts: Tensor, losses: Tensor) -> bool:
        """Update the gate.

        Args:
            contexts: ``[n, D]`` of samples, as the gate sees them.
            losses: ``[n, E]`` loss of every expert on every sample.

        Returns:
            Whether it was updated: if a cluster is empty, the gate stays as it is.

        Raises:
            ShapeError: they do not fit the gate.
        """
        score = self.score
        if contexts.shape[1:] != (score.inputs,) or losses.shape != (len(contexts), self.experts):
            raise ShapeError(
                f"fit: contexts {tuple(contexts.shape)} and losses {tuple(losses.shape)} must be [n, {score.inputs}] "
                f"and [n, {self.experts}]."
            )
        points, losses = contexts.double().cpu(), losses.cpu()
        cluster = k_means(points, self.experts)
        if cluster is None:
            return False
        cost = torch.stack([losses[cluster == c].double().median(0).values for c in range(self.experts)])
        expert = torch.from_numpy(linear_sum_assignment(cost.numpy())[1])
        wanted = torch.nn.functional.one_hot(expert[cluster], self.experts).double()
        with_one = torch.cat([points, points.new_ones(len(points), 1)], 1)
        score.weight.copy_(torch.linalg.lstsq(with_one, wanted, driver="gelsd").solution)  # type: ignore[operator]
        return True


def mixer(
    inputs: int,
    outputs: int,
    *,
    experts: int | Sequence[Expert] = 4,
    warmup: int = 8,
    policy: str = "leak",
    seed: int = 0,
) -> MoE:
    """Return the layer.

    Args:
        inputs: features of a step.
        outputs: neurons, or currents of a step.
        experts: how many of LIF neurons, or a list of experts.
        warmup: steps that make a sample's context; nothing runs before their last.
        policy: of the experts' state.
        seed: of the router.
    """
    made = [LIFExpert(inputs, outputs) for _ in range(experts)] if isinstance(experts, int) else list(experts)
    return MoE(FittedRouter(Fitted(inputs, len(made)), TopK(1), tap=WarmUp(warmup), seed=seed), made, policy=policy)
