r"""Informed routing: execute a unit, or a cheap forecast of what it would give.

.. math:: y = g F(x) + (1 - g) \hat F(x), \qquad g \in \{0, 1\}, \qquad loss = 8 \, |\bar g - (1 - sparsity)|

F is a trained unit, frozen; F^ a linear map of low rank, fitted to it in closed form (`fit`), which must do better than
skipping on rows that it has not seen, or is silenced. In training the gate is a Gumbel softmax made hard, with a
straight-through gradient and a temperature that falls. Outside it runs F where the margin of the two scores is above
the quantile that training rows had at the wanted sparsity (ours: the sign alone missed the budget).
Reference: Informed Routing 2025, arXiv:2510.13831 (there a network of 100 units forecasts, fitted by gradient, and the
gate has two layers).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spikeframe.errors import ParameterError
from spikeframe.modules.moe.experts import Expert, LowRankExpert, MLPExpert
from spikeframe.modules.moe.layer import MoE
from spikeframe.modules.moe.losses import budget
from spikeframe.modules.moe.plan import Plan
from spikeframe.modules.moe.router import Router
from spikeframe.modules.moe.schedules import Anneal
from spikeframe.modules.moe.scores import MLP, Linear, Score
from spikeframe.modules.moe.selection import TopK


class GateRouter(Router):
    """A router of two options with straight-through gates and a budget for the first.

    Its buffer `offset` is the margin of the scores above which the first runs outside training.

    Args:
        score: of the two.
        sparsity: share of rows with input that the first option shall not run on, from 0 to 1.
        weight: of the budget loss.
        temperature: of the Gumbel softmax, by step.
        options: of `Router`.
    """

    offset: Tensor

    def __init__(self, score: Score, *, sparsity: float, weight: float, temperature: Anneal, **options: Any) -> None:
        super().__init__(score, TopK(1), gain=1.0, **options)
        if isinstance(sparsity, bool) or not 0 <= sparsity < 1:
            raise ParameterError(
                f"informed(sparsity={sparsity!r}): must be from 0 to below 1; 1 would never run the unit."
            )
        self.sparsity, self.weight, self.temperature = float(sparsity), float(weight), temperature
        self.register_buffer("offset", torch.zeros(()))

    def rows(self, scores: Tensor) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Decide for rows with input; in training both options run, so that the gate's gradient sees both."""
        if not self.training:
            runs = scores[:, 0] - scores[:, 1] > self.offset
            mask = torch.stack([runs, ~runs], -1)
            return mask, mask.to(scores), torch.softmax(scores, -1), {}
        uniform = self.uniform(scores)
        soft = torch.softmax((scores - (-uniform.log()).log()) / self.temperature(int(self.step)), -1)
        hard = self.select(soft.detach(), soft, True).to(soft)
        weight = hard + soft - soft.detach()
        return torch.ones_like(hard, dtype=torch.bool), weight, torch.softmax(scores, -1), {
            "budget": self.weight * budget(weight[:, 0], 1.0 - self.sparsity)
        }  # fmt: skip

    @torch.no_grad()
    def advance(self, plan: Plan) -> None:
        """Take note of an optimiser step: follow the quantile of the margins, slower as training goes on."""
        scores = plan.scores[plan.heard]
        if len(scores):
            quantile = torch.quantile((scores[:, 0] - scores[:, 1]).float(), self.sparsity)
            self.offset += (quantile - self.offset) * max(1.0 / (1 + int(self.step)), 0.1)
        super().advance(plan)


class Informed(MoE):
    """A unit and its forecast behind a gate."""

    @torch.no_grad()
    def fit(self, x: Tensor, held_out: Tensor) -> tuple[float, float]:
        """Fit the forecast to the unit; silence it if skipping is better.

        Args:
            x: ``[R, inputs]`` rows.
            held_out: ``[R, inputs]`` other rows, on which the two are compared.

        Returns:
            Mean squared error on the other rows of the forecast, and of skipping.
        """
        unit: Any = self.experts[0]
        forecast: Any = self.experts[1]
        wanted = unit(x, ())[0]
        full = torch.linalg.lstsq(x.double(), wanted.double(), driver="gelsd").solution  # [inputs, outputs]
        # the best map of a rank: project the fit on the leading directions of what it gives
        _, _, directions = torch.linalg.svd(x.double() @ full, full_matrices=False)
        kept = directions[: forecast.first.out_features]
        forecast.first.weight.zero_()
        forecast.second.weight.zero_()
        forecast.first.weight[: len(kept)] = (full @ kept.T).T
        forecast.second.weight[:, : len(kept)] = kept.T
        target = unit(held_out, ())[0]
        error, skip = float((forecast(held_out, ())[0] - target).square().mean()), float(target.square().mean())
        if error >= skip:
            forecast.second.weight.zero_()
        return error, skip


def informed(
    inputs: int,
    outputs: int,
    *,
    unit: Expert | None = None,
    hidden: int = 64,
    rank: int = 4,
    gate: int = 0,
    sparsity: float = 0.7,
    weight: float = 8.0,
    steps: int = 200,
    seed: int = 0,
) -> Informed:
    """Return the layer.

    Args:
        inputs: features of a step.
        outputs: currents of a step.
        unit: F, without state; one with `hidden` rectified units if not given.
        hidden: units of F.
        rank: of the forecast.
        gate: hidden units of the gate; 0 for a linear one, which costs two additions per event.
        sparsity: share of the rows with input that get the forecast.
        weight: of the budget loss.
        steps: of training over which the gate's temperature falls from 5 to 1.
        seed: of the noise.

    Raises:
        ParameterError: a unit with state.
    """
    unit = MLPExpert(inputs, hidden, outputs) if unit is None else unit
    if unit.stateful:
        raise ParameterError(f"informed(unit): {type(unit).__name__} has a state; a forecast stands for one row.")
    router = GateRouter(
        MLP(inputs, 2, gate) if gate else Linear(inputs, 2),
        sparsity=sparsity,
        weight=weight,
        temperature=Anneal(5.0, 1.0, steps, True),
        seed=seed,
    )
    return Informed(router, [unit, LowRankExpert(inputs, rank, outputs)])
