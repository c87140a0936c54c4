"""Mixtures of experts as layers on spikes; `recipe` makes a published one by name."""

from spikeframe.modules.moe.layer import MoE, MoERun, MoEState
from spikeframe.modules.moe.plan import Pairs, Plan
from spikeframe.modules.moe.recipes import RECIPES, recipe
from spikeframe.modules.moe.router import Router

__all__ = ["RECIPES", "MoE", "MoERun", "MoEState", "Pairs", "Plan", "Router", "recipe"]
