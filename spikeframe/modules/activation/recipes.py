r"""Recipes for sparse activity, by name.

===================  ===============================================================================  =======
name                 what it makes                                                                    paper
===================  ===============================================================================  =======
``spark``            a block whose units pass a statistical top-k found from half of the input        6
``winners``          neurons with the same top-k on their membranes                                   6
``wina``             a linear layer that reads the k inputs of largest ``abs(x) |w|``                 55
``r-sparse``         a linear layer that reads large inputs and a low-rank rest                       56
``coreinfer``        a core of neurons, chosen in the first steps                                     60
``chess``            a block with one threshold per channel                                           63
``loss-p``           cuts of all layers at a wanted loss                                              65
``prosparse``        an l1 penalty that rises in sine stages, then a shifted threshold                82
``flops``            a penalty that thins and evens out                                               130
``semi-structured``  the same places for all channels                                                 152
===================  ===============================================================================  =======

``recipe("wina")`` returns the maker; its arguments are in its docstring.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikeframe.errors import ParameterError, ShapeError, unknown_name
from spikeframe.modules.activation import regularisers
from spikeframe.modules.activation.calibrators import cett, loss_p, quantile
from spikeframe.modules.activation.core_set import CoreSet
from spikeframe.modules.activation.gated_block import GatedBlock
from spikeframe.modules.activation.gated_linear import GatedLinear
from spikeframe.modules.activation.gates import ActivityGate, StatTopK, Threshold, TopK
from spikeframe.modules.activation.low_rank import SplitLinear
from spikeframe.modules.activation.positions import PositionGate, Positions
from spikeframe.modules.activation.winners import KWinnersLIF
from spikeframe.modules.checks import whole
from spikeframe.modules.sparsity.schedules import Stages
from spikeframe.modules.sparsity.structure import share


def spark(sources: int, units: int, targets: int, k: int, split: int | None = None) -> GatedBlock:
    """Return the feed-forward block of the Spark Transformer: You et al. 2025, arXiv:2506.06644.

    Args:
        sources: width of the input.
        units: hidden units.
        targets: width of the output.
        k: units wanted active; the paper takes 8 % of them.
        split: inputs that decide; half if not given.

    Raises:
        ParameterError: a number out of range.
    """
    r = split or whole("spark(sources)", sources, 2) // 2
    layers = nn.Linear(r, units, bias=False), nn.Linear(sources - r, units, bias=False)
    return GatedBlock(*layers, nn.Linear(units, targets, bias=False), ActivityGate(StatTopK(k), operator="soft"), r)


def wina(dense: nn.Linear, sparsity: float, inputs: Tensor | None = None, weighted: bool = True) -> GatedLinear:
    """Return a linear layer that reads the inputs of largest ``abs(x_j) |w_j|``: Chen et al. 2025, arXiv:2505.19427.

    Args:
        dense: the layer.
        sparsity: share of the inputs that is left out.
        inputs: ``[..., sources]`` calibration data: one threshold for all steps; None: exactly k in each step.
        weighted: whether norms of columns count (WINA) or inputs alone (TEAL).

    Raises:
        ParameterError, NonFiniteError: the sparsity is outside [0, 1).
        ShapeError: calibration data of another layer.
    """
    norm = dense.weight.detach().norm(dim=0) if weighted else dense.weight.new_ones(dense.in_features)
    if inputs is None:
        kept = max(1, round((1.0 - share("wina(sparsity)", sparsity)) * dense.in_features))
        return GatedLinear(dense, ActivityGate(TopK(kept), norm))
    _of(dense, inputs, "wina")
    return GatedLinear(dense, ActivityGate(Threshold(quantile(inputs.abs() * norm, sparsity)), norm))


def _of(dense: nn.Linear, inputs: Tensor, who: str) -> None:
    if inputs.shape[-1] != dense.in_features:
        raise ShapeError(
            f"{who}: calibration data of {inputs.shape[-1]} channels, the layer reads {dense.in_features}; they are of "
            "another layer."
        )


def r_sparse(
    dense: nn.Linear, inputs: Tensor, sparsity: float, splits: Sequence[float] = (0.25, 0.5, 0.75, 1.0)
) -> SplitLinear:
    """Return the best split of a layer into columns and low rank: Zhang et al. 2025, arXiv:2504.19449.

    Args:
        dense: the layer.
        inputs: ``[..., sources]`` calibration data.
        sparsity: share of the dense work that is saved.
        splits: parts of what is left that go to columns; 1 (no low rank) is always tried.

    Raises:
        ParameterError, NonFiniteError: a share is out of range.
        ShapeError: calibration data of another layer.
    """
    _of(dense, inputs, "r_sparse")
    budget = 1.0 - share("r_sparse(sparsity)", sparsity)
    m, n = dense.weight.shape
    x = inputs.detach().reshape(1, -1, n)
    norm = dense.weight.detach().norm(dim=0)
    with torch.no_grad():
        wanted = dense(x)
    best, least = None, float("inf")
    for split in sorted({*splits, 1.0}, reverse=True):
        if not 0.0 <= split <= 1.0:
            raise ParameterError(f"r_sparse(splits={tuple(splits)}): must be from 0 to 1.")
        gone = min(1.0 - budget * split, 1.0 - 1e-9)
        gate = ActivityGate(Threshold(quantile(x.abs() * norm, gone)), norm)
        made = SplitLinear(dense, gate, int(budget * (1.0 - split) * m * n / (m + n)))
        with torch.no_grad():
            error = float(((made(x)[0] - wanted) ** 2).sum())
        if best is None or error < least:
            best, least = made, error
    return best  # type: ignore[return-value]


def chess(
    key: nn.Linear, up: nn.Linear, down: nn.Linear, inputs: Tensor, sparsity: float, *,
    activation: Callable[[Tensor], Tensor] = nn.functional.silu, per_channel: bool = True,
) -> GatedBlock:  # fmt: skip
    """Return a gated block with a threshold per channel: He et al. 2024, arXiv:2409.01366.

    The importance of an entry g of channel j is ``g^2 E[u_j^2]``; with T their quantile at `sparsity`, the channel's
    threshold is ``sqrt(T / E[u_j^2])``.

    Args:
        key: gate branch.
        up: other branch.
        down: reads the product.
        inputs: ``[..., sources]`` calibration data.
        sparsity: share of gates that becomes 0.
        activation: of the gate branch.
        per_channel: whether partners count; False: one threshold for all (CATS).

    Raises:
        ParameterError, NonFiniteError: the sparsity is outside [0, 1).
        ShapeError: calibration data of another layer.
    """
    _of(key, inputs, "chess")
    with torch.no_grad():
        g, u = activation(key(inputs)), up(inputs)
    scale = (u * u).reshape(-1, u.shape[-1]).mean(0).sqrt() if per_channel else u.new_ones(u.shape[-1])
    gate = ActivityGate(Threshold(quantile(g.abs() * scale, sparsity)), scale)
    return GatedBlock(key, up, down, gate, activation=activation, inside=False)


@dataclass(frozen=True)
class ProSparse:
    """An l1 penalty in sine stages, then a shifted threshold: Song et al. 2024, arXiv:2402.13516.

    Args:
        levels: coefficients, the first constant in a first stage of its own.
        lengths: steps of each stage, one less than levels.
        shift: threshold of the last part (FATReLU), from 0.
    """

    levels: tuple[float, ...]
    lengths: tuple[int, ...]
    shift: float = 0.01

    def coefficient(self, step: int) -> float:
        """Return the coefficient at a step."""
        return float(Stages(self.levels, self.lengths)(step))

    def penalty(self, activities: Sequence[Tensor], step: int) -> Tensor:
        """Return what is added to the loss: the coefficient times the mean over layers of the l1 norm of a step.

        Args:
            activities: ``[..., n]`` of each layer.
            step: from 0.
        """
        return self.coefficient(step) * torch.stack([regularisers.l1(a) for a in activities]).mean()

    def gate(self) -> ActivityGate:
        """Return what replaces a rectifier in the end."""
        return ActivityGate(Threshold(self.shift), operator="fat")


@dataclass(frozen=True)
class Flops:
    """Squared mean activities with a quadratic ramp: Paria et al. 2020, arXiv:2004.05665.

    Args:
        strength: of the penalty in the end.
        length: steps of the ramp.
    """

    strength: float
    length: int

    def penalty(self, activities: Sequence[Tensor], step: int) -> Tensor:
        """Return what is added to the loss.

        Args:
            activities: ``[..., n]`` of each layer.
            step: from 0.
        """
        total = torch.stack([regularisers.flops(a) for a in activities]).sum()
        return self.strength * regularisers.ramp(step, self.length) * total


def loss_cuts(
    layers: Sequence[nn.Linear], inputs: Sequence[Tensor], loss: Callable[[list[GatedLinear]], float], p: float = 1.0,
    tolerance: float = 1e-3,
) -> tuple[list[GatedLinear], float]:  # fmt: skip
    """Return layers cut at the loss that is allowed (PPL-p%), and their common error target.

    Args:
        layers: of the model.
        inputs: ``[..., sources]`` calibration data of each.
        loss: of the model with the given layers in the places of its own.
        p: per cent, above 0.
        tolerance: of the target.

    Raises:
        ParameterError, NonFiniteError: p is out of range.
        ShapeError: calibration data of another layer.
    """

    def cut(target: float) -> list[GatedLinear]:
        found = []
        for layer, a in zip(layers, inputs, strict=True):
            norm = layer.weight.detach().norm(dim=0)
            at = cett(a, layer.weight, target) if target > 0 else 0.0
            found.append(GatedLinear(layer, ActivityGate(Threshold(at), norm)))
        return found

    target = loss_p(lambda t: loss(cut(t)), p, tolerance)
    return cut(target), target


def semi_structured(
    size: tuple[int, int], sparsity: float, freeze: int = 1, scores: Tensor | None = None, seed: int = 0
) -> PositionGate:
    """Return a gate that leaves out the same places in all channels: Grimaldi et al. 2023, arXiv:2309.06626.

    Args:
        size: (H, W) of the input.
        sparsity: share of the places that is left out.
        freeze: step from which on the map stays.
        scores: ``[H, W]``, higher is kept; drawn if not given.
        seed: of what is drawn.

    Raises:
        ParameterError, ShapeError: as `Positions`.
    """
    return PositionGate(Positions(size, sparsity, freeze, scores, seed))


#: Makers by name.
RECIPES: dict[str, Callable[..., Any]] = {
    "spark": spark, "winners": KWinnersLIF, "wina": wina, "r-sparse": r_sparse, "coreinfer": CoreSet, "chess": chess,
    "loss-p": loss_cuts, "prosparse": ProSparse, "flops": Flops, "semi-structured": semi_structured,
}  # fmt: skip


def recipe(name: str) -> Callable[..., Any]:
    """Return the maker of a recipe.

    Args:
        name: see the table above.

    Raises:
        UnknownNameError: no such recipe.
    """
    if name not in RECIPES:
        raise unknown_name("recipe for sparse activity", name, RECIPES)
    return RECIPES[name]
