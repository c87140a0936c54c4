r"""Masks inside the forward pass that are found again at every step, for training towards a pattern.

=====================  ==============================================  ==========================================
parametrisation        weight in the forward pass                      its gradient
=====================  ==============================================  ==========================================
`StraightThrough`      ``W M``, M the pattern of the largest abs(W)    passes to all of W as it is
`Decaying`             ``W (M + (1 - M) D)``, D falls from 1 to 0      the same, or times ``M + (1 - M) D``
`Concrete`             ``W z``, z a relaxed coin per weight            to the logits of the coins; W is fixed
=====================  ==============================================  ==========================================

All are a `spikeframe.learning_rules.sparse_training.Mask`, so `masked`, `density` and `baked` work on them; `harden`
makes a fixed mask of the present one, and `stored` puts what fixed masks let through into sparse formats.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from spikeframe.errors import ConfigError, UnsupportedLayerError, unknown_name
from spikeframe.learning_rules.sparse_training import Mask, masked, sparsify
from spikeframe.modules.sparsity.structure import Structure
from spikeframe.modules.structured.sparse_linear import SparseLinear

FLOWS = ("ste", "masked")


class StraightThrough(Mask):
    """The weight within the pattern of its largest entries; gradients pass as if there were no mask.

    The mask is found anew in training mode and stays in evaluation mode.

    Args:
        weight: of the layer.
        structure: the pattern.
        density: part of the weights that is kept.
    """

    def __init__(self, weight: Tensor, structure: Structure, density: float) -> None:
        super().__init__(structure.mask(weight.detach().abs(), density))
        self.structure, self.density = structure, density

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight, 0 outside the pattern."""
        if self.training:
            self.mask.copy_(self.structure.mask(weight.detach().abs(), self.density))
        return weight + (weight * self.mask - weight).detach()


class Decaying(Mask):
    """The weight, with what is outside the pattern times `factor`.

    Args:
        weight: of the layer.
        structure: the pattern.
        density: part of the weights that is kept.
        flow: ``"ste"``: gradients pass as they are; ``"masked"``: times the factor outside the pattern.

    Attributes:
        factor: D, from 1 (dense) to 0 (the pattern alone).

    Raises:
        UnknownNameError: no such flow.
    """

    def __init__(self, weight: Tensor, structure: Structure, density: float, flow: str = "ste") -> None:
        super().__init__(structure.mask(weight.detach().abs(), density))
        if flow not in FLOWS:
            raise unknown_name("flow of a decaying mask", flow, FLOWS)
        self.structure, self.density, self.flow, self.factor = structure, density, flow, 1.0

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight, weaker outside the pattern."""
        if self.training:
            self.mask.copy_(self.structure.mask(weight.detach().abs(), self.density))
        soft = torch.where(self.mask, 1.0, self.factor).to(weight.dtype)
        if self.flow == "masked":
            return weight * soft
        return weight + (weight * soft - weight).detach() if self.factor < 1.0 else weight * 1.0


class Concrete(nn.Module):
    """A relaxed coin per weight: ``sigmoid((a + log u - log(1 - u)) / tau)``, u uniform; ``sigmoid(a)`` in evaluation.

    Args:
        shape: of the weight.
        density: probability that a coin starts with, above 0 and below 1.
        tau: temperature; 2/3 (Louizos et al. 2018, arXiv:1712.01312).

    Attributes:
        logit: a.
    """

    def __init__(self, shape: tuple[int, ...], density: float, tau: float = 2.0 / 3.0) -> None:
        super().__init__()
        self.tau = tau
        self.logit = nn.Parameter(torch.full(shape, math.log(density / (1.0 - density))))

    def probability(self) -> Tensor:
        """Return the probability that each weight is kept."""
        return torch.sigmoid(self.logit)

    def forward(self, weight: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the weight times its coins.

        Args:
            weight: of the given shape.
            generator: of the coins.
        """
        if not self.training:
            return weight * self.probability()
        u = torch.rand(self.logit.shape, generator=generator, device="cpu").to(self.logit).clamp(1e-6, 1.0 - 1e-6)
        return weight * torch.sigmoid((self.logit + u.log() - (-u).log1p()) / self.tau)


def parametrised(layer: nn.Module, mask: Mask) -> nn.Module:
    """Put a mask of this file on a layer's weight, in place.

    Args:
        layer: has a parameter ``weight``.
        mask: made for it.

    Raises:
        ConfigError: it has a mask already.
    """
    if parametrize.is_parametrized(layer, "weight"):
        raise ConfigError(f"the weight of this {type(layer).__name__} is masked or parametrised already; harden it.")
    return parametrize.register_parametrization(layer, "weight", mask)


def harden(layer: nn.Module) -> nn.Module:
    """Make a fixed mask of a layer's present one; weights outside it become 0.

    Args:
        layer: has a mask.

    Raises:
        UnsupportedLayerError: it has none.
    """
    mask = masked(layer).mask.clone()
    with torch.no_grad():
        original: Any = layer.parametrizations["weight"].original  # type: ignore[index, union-attr]
        original.mul_(mask)
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    return sparsify(layer, mask)


def mask_layers(model: nn.Module, masks: Mapping[str, Tensor], *, rescale: bool = False) -> None:
    """Put fixed masks on layers, in place.

    Args:
        model: has the layers.
        masks: by name of the layer.
        rescale: whether weights grow by ``1 / sqrt(density)`` of their layer, which keeps the variance of the current
            that random inputs cause; without it, a network of thresholds falls silent.

    Raises:
        UnknownNameError: no such layer.
        ShapeError: a mask is not of its weight's shape.
    """
    known = dict(model.named_modules())
    for name, mask in masks.items():
        if name not in known:
            raise unknown_name("layer", name, known)
        layer = sparsify(known[name], mask)
        if rescale:
            rescaled(layer)


@torch.no_grad()
def rescaled(layer: nn.Module) -> None:
    """Let a layer's weights grow by ``1 / sqrt(density)``.

    Args:
        layer: has a mask.
    """
    original: Any = layer.parametrizations["weight"].original  # type: ignore[index, union-attr]
    original.div_(max(float(masked(layer).mask.float().mean()), 1.0 / original.numel()) ** 0.5)


def stored(model: nn.Module, **options: Any) -> nn.Module:
    """Return a copy of a model whose masked linear layers hold what their masks let through, run by sparse kernels.

    Args:
        model: as it is, with fixed masks; not changed. Recipes must be finished: hooks are copied.
        options: of `SparseLinear.from_dense`: ``name`` of the format, ``path``, ``backend``.

    Raises:
        UnknownNameError: no such format, path or backend.
        ShapeError: a mask has not the pattern of the format.
    """
    found = copy.deepcopy(model)
    for name, layer in list(found.named_modules()):
        if isinstance(layer, nn.Linear) and parametrize.is_parametrized(layer, "weight"):
            weight, mask = layer.weight.detach(), masked(layer).mask
            found.set_submodule(name, SparseLinear.from_dense(weight, mask, bias=layer.bias, **options))
    return found


def linear_layers(model: nn.Module, layers: Any = None) -> dict[str, nn.Linear]:
    """Return a model's linear layers by name, from the input on.

    Args:
        model: what has them.
        layers: names; all if None.

    Raises:
        UnknownNameError: no such layer.
        UnsupportedLayerError: there is none.
    """
    found = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    if not found:
        raise UnsupportedLayerError(f"{type(model).__name__} has no linear layer to make sparse.")
    if layers is None:
        return found
    for name in layers:
        if name not in found:
            raise unknown_name("linear layer", name, found)
    return {name: found[name] for name in layers}
