r"""Dynamic sparse training of torch layers: masked weights, and `spikeframe.learning_rules.rewiring` between steps.

`sparsify` puts a mask on a layer's weight (``W * M`` in the forward, as a parametrisation: the layer stays what it
is, and its ``weight`` is the masked one). `SparseTraining` hangs on an optimiser: after every so many steps it
exchanges connections. New weights start at the rule's `weight` with their moments in the optimiser 0; dropped ones
become 0.

Recipes: SET ``Rewiring(0.3)``; RigL ``Rewiring(0.3, grow="gradient")`` with `until` (the fraction then falls as
``frac / 2 (1 + cos(pi t / until))``); DST-EE, the same with `explore`; G2GNet `HebbianRewiring`; DEEP R
``Rewiring(prune="crossed", weight=1e-12)`` with `every` 1, `l1` and `noise`: every pair has a fixed random sign, an
active weight moves by ``-lr l1 sign + noise N(0, 1)`` beside the optimiser's step and is dropped when it leaves its
sign. New weights of DEEP R have their pair's sign. Whole models, by name: `spikeframe.modules.sparsity.recipes`.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import Optimizer

from spikeframe.errors import ConfigError, DTypeError, ParameterError, ShapeError, UnsupportedLayerError
from spikeframe.kernels.plasticity import number
from spikeframe.learning_rules.rewiring import Rewiring, Scores, cosine, drawing

#: Random streams beside those of the turns, which count from 0.
_MASK, _SIGNS = 2**63, 2**63 + 1


class Mask(nn.Module):
    """A parametrisation that lets only some weights through.

    Args:
        mask: of the weight's shape, bool.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        self.watched: Tensor | None = None

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight, 0 outside the mask; its gradient is kept whole where it is watched."""
        masked = weight * self.mask
        if self.watched is not None and masked.requires_grad:
            masked.register_hook(self._keep)  # type: ignore[no-untyped-call]
        return masked

    def _keep(self, gradient: Tensor) -> None:
        if self.watched is not None:
            self.watched += gradient.detach()


def sparsify(layer: nn.Module, mask: Tensor) -> nn.Module:
    """Put a mask on a layer's weight, in place; weights outside it become 0.

    Args:
        layer: has a parameter ``weight``, e.g. `nn.Linear`.
        mask: of the weight's shape; not 0 is kept.

    Raises:
        UnsupportedLayerError: the layer has no weight.
        ConfigError: it has a mask already.
        DTypeError: the mask is no tensor, or holds NaN.
        ShapeError: the mask is not of the weight's shape.
    """
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor):
        raise UnsupportedLayerError(f"sparsify: {type(layer).__name__} has no weight to mask.")
    if parametrize.is_parametrized(layer, "weight"):
        raise ConfigError(f"sparsify: the weight of this {type(layer).__name__} is masked or parametrised already.")
    if not isinstance(mask, Tensor) or bool(torch.isnan(mask).any()):
        got = "holds NaN" if isinstance(mask, Tensor) else f"is {type(mask).__name__}"
        raise DTypeError(
            f"sparsify: the mask {got}; it must be a tensor of the weight's shape, 0 where one is missing."
        )
    if mask.shape != weight.shape:
        raise ShapeError(f"sparsify: mask has shape {tuple(mask.shape)}, the weight {tuple(weight.shape)}.")
    kept = (mask != 0).to(weight.device)
    with torch.no_grad():
        weight.mul_(kept)
    return parametrize.register_parametrization(layer, "weight", Mask(kept))


def random_mask(shape: tuple[int, ...], sparsity: float, seed: int = 0) -> Tensor:
    """Return a mask with exactly ``round((1 - sparsity) n)`` entries, any equally likely.

    Args:
        shape: of the weight.
        sparsity: part of the weights that is missing, from 0 to below 1.
        seed: of the choice.

    Raises:
        ParameterError: the sparsity is outside its range.
    """
    if not 0.0 <= number("random_mask(sparsity)", sparsity) < 1.0:
        raise ParameterError(f"random_mask(sparsity={sparsity!r}): must be from 0 to below 1.")
    total = math.prod(shape)
    mask = np.zeros(total, np.bool_)
    mask[drawing(seed, _MASK).permutation(total)[: round((1.0 - sparsity) * total)]] = True
    return torch.from_numpy(mask.reshape(shape))


def masked(layer: nn.Module) -> Mask:
    """Return the mask of a layer.

    Args:
        layer: one that `sparsify` or `G2GLinear` made sparse.

    Raises:
        UnsupportedLayerError: it has none.
    """
    found = _parametrization(layer) if parametrize.is_parametrized(layer, "weight") else None
    if not isinstance(found, Mask):
        raise UnsupportedLayerError(f"{type(layer).__name__} has no mask; use sparsify(layer, mask) or G2GLinear.")
    return found


def density(layer: nn.Module) -> float:
    """Return the part of a layer's weights that its mask lets through.

    Args:
        layer: one with a mask.
    """
    return float(masked(layer).mask.float().mean())


def baked(model: nn.Module) -> nn.Module:
    """Return a copy of a model in which masks have become plain zeros, e.g. for `Network.from_module`.

    Args:
        model: as it is, with any masked layers inside; not changed. `SparseTraining.remove` first: hooks are copied.
    """
    found = copy.deepcopy(model)
    for layer in list(found.modules()):
        if parametrize.is_parametrized(layer, "weight") and isinstance(_parametrization(layer), Mask):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return found


def _parametrization(layer: nn.Module) -> Any:
    held: Any = layer.parametrizations
    return held["weight"][0]


class SparseTraining:
    """Rewires one masked layer while it trains.

    Args:
        layer: has a mask; weight ``[targets, sources]`` (a convolution's is flattened behind its first axis, without
            correlations).
        optimizer: trains the layer; its steps are counted.
        rule: how connections are exchanged.
        every: steps between turns.
        post: the module whose output is the activity of the targets (the neurons behind the layer); None: the layer's
            own.
        until: step after which nothing is exchanged, with the fraction falling as a cosine to it; None: never,
            constant.
        l1: pull of active weights towards 0, times the learning rate (DEEP R).
        noise: standard deviation of what every step adds to active weights (DEEP R).
        explore: c of DST-EE: growth by ``|g| + c mean|g| ln(step) / (1 + turns that the weight was active)``.

    Attributes:
        rounds: how many turns each weight was active, the present mask included.

    Raises:
        UnsupportedLayerError: the layer has no mask.
        ConfigError: the optimiser does not train this layer.
        ParameterError, NonFiniteError: a number outside its range.
    """

    def __init__(
        self, layer: nn.Module, optimizer: Optimizer, rule: Rewiring, every: int, *, post: nn.Module | None = None,
        until: int | None = None, l1: float = 0.0, noise: float = 0.0, explore: float = 0.0,
    ) -> None:  # fmt: skip
        for name, value in (("every", every), ("until", until)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ParameterError(f"SparseTraining({name}={value!r}): must be a whole number from 1.")
        self.mask, self.rule, self.every, self.until, self.optimizer = masked(layer), rule, every, until, optimizer
        self.l1 = number("SparseTraining(l1)", l1, least=0.0)
        self.noise = number("SparseTraining(noise)", noise, least=0.0)
        self.explore = number("SparseTraining(explore)", explore, least=0.0)
        if explore and rule.grow != "gradient":
            raise ConfigError(
                f"SparseTraining(explore={explore:g}): adds to gradients, but the rule grows {rule.grow}."
            )
        self.rounds = self.mask.mask.int()
        held: Any = layer.parametrizations
        self.weight: Tensor = held["weight"].original
        groups = [g for g in optimizer.param_groups if any(p is self.weight for p in g["params"])]
        if not groups:
            raise ConfigError(
                "SparseTraining: the optimiser does not train this layer; mask layers before you make it."
            )
        self._group, self.steps, self.turns = groups[0], 0, 0
        self.shape = self.weight.shape[0], self.weight[0].numel()
        self.hooks: list[Any] = [optimizer.register_step_post_hook(self._stepped)]
        self.sums: dict[str, Tensor] = {}
        if "hebbian" in (rule.prune, rule.grow) or rule.prune == "three":
            if self.weight.dim() != 2:
                raise UnsupportedLayerError("SparseTraining: correlations need a weight [targets, sources].")
            self.hooks.append(layer.register_forward_hook(self._saw_sources))
            self.hooks.append((post or layer).register_forward_hook(self._saw_targets))
            self._forget()
        if rule.grow == "gradient":
            self.mask.watched = torch.zeros_like(self.weight)
        self._sources: Tensor | None = None
        signs = drawing(rule.seed, _SIGNS).integers(0, 2, math.prod(self.shape)) * 2.0 - 1.0
        self.sign = signs if rule.prune == "crossed" else np.zeros(0)
        if rule.prune == "crossed":
            with torch.no_grad():  # weights begin on their side of 0
                self.weight.copy_(self.weight.abs() * self._signs())

    def remove(self) -> None:
        """Stop rewiring."""
        for hook in self.hooks:
            hook.remove()
        self.mask.watched = None

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on, beside the layer's and the optimiser's own."""
        watched = {} if self.mask.watched is None else {"watched": self.mask.watched.clone()}
        counted = {"steps": self.steps, "turns": self.turns, "rounds": self.rounds.clone()}
        return counted | watched | {n: s.clone() for n, s in self.sums.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        Args:
            state: of a training of the same layer and rule.
        """
        self.steps, self.turns = state["steps"], state["turns"]
        self.rounds.copy_(state["rounds"])
        self.sums = {name: state[name].clone() for name in self.sums}
        if self.mask.watched is not None:
            self.mask.watched.copy_(state["watched"])

    def _forget(self) -> None:
        targets, sources = self.shape
        like = self.weight.detach()
        self.sums = {
            "yx": like.new_zeros(targets, sources),
            "yy": like.new_zeros(targets),
            "xx": like.new_zeros(sources),
        }

    def _saw_sources(self, layer: nn.Module, inputs: Any, output: Any) -> None:
        if layer.training:
            self._sources = inputs[0].detach().reshape(-1, self.shape[1]).to(self.weight.dtype)

    def _saw_targets(self, module: nn.Module, inputs: Any, output: Any) -> None:
        y = output[0] if isinstance(output, tuple) else output
        if module.training and self._sources is not None:
            x, y = self._sources, y.detach().reshape(-1, self.shape[0]).to(self.weight.dtype)
            self.sums["yx"] += y.T @ x
            self.sums["yy"] += (y * y).sum(0)
            self.sums["xx"] += (x * x).sum(0)
            self._sources = None

    def _signs(self) -> Tensor:
        return torch.as_tensor(self.sign, dtype=self.weight.dtype).reshape(self.weight.shape).to(self.weight.device)

    @torch.no_grad()
    def _stepped(self, *_: Any) -> None:
        """Count a step of the optimiser; at the end of a turn, exchange connections."""
        self.steps += 1
        if self.l1 or self.noise:
            pull = self._group["lr"] * self.l1 * torch.sign(self.weight)
            self.weight += self.mask.mask * (self.noise * torch.randn_like(self.weight) - pull)
        if self.steps % self.every == 0 and (self.until is None or self.steps <= self.until):
            self.turn()

    @torch.no_grad()
    def turn(self) -> int:
        """Exchange connections now; returns how many."""
        frac = self.rule.frac
        if self.until is not None:
            frac *= 0.5 * (1.0 + math.cos(math.pi * self.steps / self.until))
        active = self.mask.mask.flatten()
        pairs = active.nonzero().flatten().cpu().numpy()
        weight = self.weight.flatten()[active].double().cpu().numpy()
        given: dict[str, Any] = {"sign": self.sign[pairs] if self.sign.size else None}
        if self.sums:
            yx, yy, xx = (self.sums[n].double().cpu().numpy() for n in ("yx", "yy", "xx"))
            given["correlation"] = Scores(cosine(yx, yy, xx))
        if self.mask.watched is not None:
            score = self.mask.watched.abs()
            if self.explore:
                score = score + self.explore * score.mean() * math.log(max(self.steps, 1)) / (1 + self.rounds)
            given["gradient"] = Scores(score.reshape(self.shape).double().cpu().numpy())
        found = self.rule.exchange(pairs, self.shape, weight, self.turns, frac=frac, **given)
        new = self.rule.weight * self.sign[found.added] if self.sign.size else self.rule.weight
        self.change(torch.as_tensor(pairs[found.dropped]), torch.as_tensor(found.added), torch.as_tensor(new))
        self.rounds += self.mask.mask
        self.turns += 1
        if self.sums:
            self._forget()
        if self.mask.watched is not None:
            self.mask.watched.zero_()
        return int(found.added.size)

    @torch.no_grad()
    def change(self, dropped: Tensor, added: Tensor, new: Tensor | float = 0.0) -> None:
        """Let connections go and come; the optimiser's state of both becomes 0.

        Args:
            dropped: places in the flattened weight.
            added: the same.
            new: weights of what comes.
        """
        self._set(self.mask.mask, dropped, False)
        self._set(self.mask.mask, added, True)
        self._set(self.weight, dropped, 0.0)
        self._set(self.weight, added, torch.as_tensor(new, dtype=self.weight.dtype))
        for held in self.optimizer.state.get(self.weight, {}).values():
            if isinstance(held, Tensor) and held.shape == self.weight.shape:
                self._set(held, torch.cat([dropped, added]), 0.0)

    @staticmethod
    def _set(values: Tensor, at: Tensor, new: Any) -> None:
        values.view(-1)[at.to(values.device)] = new.to(values.device) if isinstance(new, Tensor) else new


def HebbianRewiring(  # noqa: N802 - the paper's name of the recipe
    layer: nn.Module, optimizer: Optimizer, every: int = 1000, frac: float = 0.1, prune: str = "three",
    grow: str = "hebbian", post: nn.Module | None = None, seed: int = 0,
) -> SparseTraining:  # fmt: skip
    """Return the rewiring of G2GNet (arXiv:2508.14140): prune three ways, grow between the most correlated neurons.

    Args:
        layer: a masked linear layer, e.g. `spikeframe.modules.g2g.G2GLinear`.
        optimizer: trains it.
        every: steps between turns.
        frac: part of the connections that a turn exchanges.
        prune: ``"magnitude"``, ``"random"``, ``"hebbian"`` or ``"three"``.
        grow: ``"hebbian"`` or ``"random"``.
        post: the neurons behind the layer, whose output is the targets' activity; None: the layer's own output.
        seed: of what is random.
    """
    return SparseTraining(layer, optimizer, Rewiring(frac, prune, grow, seed=seed), every, post=post)
