"""Published mixtures, one file each: a choice of parts with its citation, made by name with `recipe`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from spikeframe.errors import unknown_name
from spikeframe.modules.moe.recipes.activated_gate import activated_gate
from spikeframe.modules.moe.recipes.blockffn import blockffn
from spikeframe.modules.moe.recipes.comet import comet
from spikeframe.modules.moe.recipes.evomoe import evomoe
from spikeframe.modules.moe.recipes.flylora import flylora
from spikeframe.modules.moe.recipes.hecto import hecto
from spikeframe.modules.moe.recipes.informed import informed
from spikeframe.modules.moe.recipes.jei_dnn import jei_dnn
from spikeframe.modules.moe.recipes.loss_free import loss_free
from spikeframe.modules.moe.recipes.mixer import mixer
from spikeframe.modules.moe.recipes.moe_x import moe_x
from spikeframe.modules.moe.recipes.selective_sinkhorn import selective_sinkhorn
from spikeframe.modules.moe.recipes.similarity import similarity_aware

#: What makes a layer of ``(inputs, outputs, **options)``, by the name of the system.
RECIPES: dict[str, Callable[..., nn.Module]] = {
    "hecto": hecto,
    "comet": comet,
    "activated-gate": activated_gate,
    "selective-sinkhorn": selective_sinkhorn,
    "loss-free": loss_free,
    "blockffn": blockffn,
    "evomoe": evomoe,
    "mixer": mixer,
    "moe-x": moe_x,
    "similarity": similarity_aware,
    "jei-dnn": jei_dnn,
    "flylora": flylora,
    "informed": informed,
}


def recipe(name: str, inputs: int, outputs: int, **options: Any) -> nn.Module:
    """Return a published layer.

    Args:
        name: one of `RECIPES`.
        inputs: features of a step.
        outputs: currents of a step; classes of ``"jei-dnn"``.
        options: of the recipe, see its function.

    Raises:
        UnknownNameError: there is no such recipe; the message has the nearest ones.
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name](inputs, outputs, **options)
