r"""Averages of sparse models that share a mask: soups within prune-and-retrain cycles, and SWAMP.

`prune_retrain` cuts a trained model step by step to lower densities, by the magnitude of all layers together. In each
cycle it trains `members` copies (which differ by their seed) and goes on with their average.

- Sparse model soups (Zimmer et al. 2023, arXiv:2306.16788; paper 142): members go on from the pruned model.
- SWAMP (Choi et al. 2023, arXiv:2305.14852; paper 165): members start each cycle from the same early weights
  (`rewind`), and each is itself the average over the last part of its training (`tail`).

Members must have the same mask, or the average has synapses that none of them has.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from spikeframe.errors import ConfigError, ParameterError
from spikeframe.kernels.plasticity import number
from spikeframe.learning_rules.sparse_training import masked, sparsify
from spikeframe.modules.checks import whole
from spikeframe.modules.sparsity.budgets import global_masks
from spikeframe.modules.sparsity.masks import linear_layers
from spikeframe.modules.sparsity.structure import share

State = dict[str, Tensor]
#: Trains a model in place; is given its seed and a function to call after every epoch.
Train = Callable[[nn.Module, int, Callable[[], None]], None]


def average(states: Sequence[State]) -> State:
    """Return the mean of models' states.

    Args:
        states: of models of one make; masks (bool entries) must be equal.

    Raises:
        ParameterError: there is none.
        ConfigError: masks or names differ.
    """
    if not states:
        raise ParameterError("average: no model was given.")
    first = states[0]
    found = {}
    for name, value in first.items():
        if any(name not in state or state[name].shape != value.shape for state in states):
            raise ConfigError(f"average: the models are not of one make; {name!r} is missing or has another shape.")
        if value.is_floating_point():
            found[name] = torch.stack([state[name].double() for state in states]).mean(0).to(value.dtype)
            continue
        if any(not torch.equal(state[name], value) for state in states):
            raise ConfigError(f"average: {name!r} differs between the models; they must share one mask.")
        found[name] = value.clone()
    return found


def greedy_soup(model: nn.Module, states: Sequence[State], score: Callable[[nn.Module], float]) -> State:
    """Return the average of the best model and those that do not make it worse.

    Args:
        model: takes the states.
        states: of the members.
        score: of a model, higher is better.

    Raises:
        ParameterError, ConfigError: as `average`.
    """

    def of(state: State) -> float:
        model.load_state_dict(state)
        return score(model)

    order = sorted(states, key=of, reverse=True)
    chosen = [*order[:1]]
    best = of(average(chosen))
    for state in order[1:]:
        found = of(average([*chosen, state]))
        if found >= best:
            chosen, best = [*chosen, state], found
    return average(chosen)


def prune_retrain(
    model: nn.Module, train: Train, sparsities: Sequence[float], *, layers: Sequence[str] | None = None,
    members: int = 3, rewind: State | None = None, tail: float = 0.0,
) -> list[State]:  # fmt: skip
    """Prune and retrain a model in place, level by level, and return the averaged state of every level.

    Args:
        model: trained; keeps its average of the last level.
        train: see `Train`.
        sparsities: of the levels, rising.
        layers: names of linear layers; all if not given.
        members: copies that are trained and averaged.
        rewind: state of the dense model that every member starts from, within the mask; None goes on from the average.
        tail: last part of the epochs that is averaged within a member, from 0 (the end alone) to 1.

    Raises:
        ParameterError, NonFiniteError: a number outside its range, or sparsities that fall.
    """
    levels = [share("prune_retrain(sparsities)", s) for s in sparsities]
    if levels != sorted(levels) or not 0.0 <= number("prune_retrain(tail)", tail) <= 1.0:
        raise ParameterError(f"prune_retrain(sparsities={levels}, tail={tail!r}): must rise; tail is from 0 to 1.")
    names = list(linear_layers(model, layers))
    start = None if rewind is None else {k: v.clone() for k, v in rewind.items()}
    found: list[State] = []
    for level, sparsity in enumerate(levels):
        modules: dict[str, Any] = dict(model.named_modules())
        masks = global_masks({n: _alive(modules[n]) for n in names}, 1.0 - sparsity)
        for name, mask in masks.items():
            _mask(modules[name], mask, None if start is None else start[f"{name}.weight"])
        if start is not None:
            _put(model, start, names)
        states: list[State] = []
        for member in range(whole("prune_retrain(members)", members)):
            copied = copy.deepcopy(model)
            seen: list[State] = []
            train(copied, level * members + member, lambda c=copied, s=seen: s.append(_state(c)))  # type: ignore[misc]
            last = seen[len(seen) - max(1, round(tail * len(seen))) :] if seen else [_state(copied)]
            states.append(average(last if tail else [_state(copied)]))
        found.append(average(states))
        model.load_state_dict(found[-1])
    return found


def _state(model: nn.Module) -> State:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _alive(layer: nn.Module) -> Tensor:
    """Return the magnitude of a layer's weights, minus infinity outside its mask."""
    weight: Any = layer.weight
    size: Tensor = weight.detach().abs().double()
    if parametrize.is_parametrized(layer, "weight"):
        size = size.masked_fill(~masked(layer).mask, -torch.inf)
    return size


@torch.no_grad()
def _mask(layer: nn.Module, mask: Tensor, start: Tensor | None) -> None:
    """Give a layer a mask, or a smaller one; with `start`, weights become those."""
    if not parametrize.is_parametrized(layer, "weight"):
        sparsify(layer, mask)
    held: Any = layer.parametrizations
    masked(layer).mask.copy_(mask)
    original: Tensor = held["weight"].original
    original.copy_((original if start is None else start) * mask)


@torch.no_grad()
def _put(model: nn.Module, start: State, names: Sequence[str]) -> None:
    """Set all that is not a masked weight to an earlier state."""
    now = model.state_dict()
    for name, value in start.items():
        if name not in {f"{layer}.weight" for layer in names}:
            now[name].copy_(value)
