"""Published mixtures, one file each: a choice of parts with its citation, made by name with `recipe`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from spikeframe.errors import unknown_name
from spikeframe.modules.moe.recipes import (
    activated_gate,
    blockffn,
    comet,
    evomoe,
    flylora,
    hecto,
    informed,
    jei_dnn,
    loss_free,
    mixer,
    moe_x,
    selective_sinkhorn,
    similarity,
)

#: What makes a layer of ``(inputs, outputs, **options)``, by the name of the system.
RECIPES: dict[str, Callable[..., nn.Module]] = {
    "hecto": hecto.hecto,
    "comet": comet.comet,
    "activated-gate": activated_gate.activated_gate,
    "selective-sinkhorn": selective_sinkhorn.selective_sinkhorn,
    "loss-free": loss_free.loss_free,
    "blockffn": blockffn.blockffn,
    "evomoe": evomoe.evomoe,
    "mixer": mixer.mixer,
    "moe-x": moe_x.moe_x,
    "similarity": similarity.similarity_aware,
    "jei-dnn": jei_dnn.jei_dnn,
    "flylora": flylora.flylora,
    "informed": informed.informed,
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
