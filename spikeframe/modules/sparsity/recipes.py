r"""Models that train sparse, by name: each recipe is a choice of the parts beside this file.

==============  ==================================================================================  ==================
name            what it does                                                                        paper
==============  ==================================================================================  ==================
``random``      a fixed random mask, layers by ERK                                                  72, 119
``set``         smallest out, random in                                                             Mocanu et al. 2018
``rigl``        smallest out, largest gradient in, the fraction falls as a cosine                   Evci et al. 2020
``dst-ee``      RigL whose gradients get a bonus for weights that were seldom active                179
``srigl``       RigL at constant fan-in, weak neurons are switched off                              120
``granet``      from half dense by global magnitude along a cubic; in each turn as many regrow      214
``sr-ste``      N:M of the largest weights, straight-through, pruned weights pulled to 0            47
``mdgf``        N:M whose complement fades out (mask decay)                                         29
``sdgf``        N:M along a ladder of patterns (structure decay)                                    29
``bdwp``        N:M in forward and backward pass                                                    128
``wgsef``       proximal steps of the group envelope, then the groups that are left                 174
==============  ==================================================================================  ==================

    run = recipe("granet", model, sparsity=0.9, steps=400)     # masks the layers
    optimizer = torch.optim.Adam(model.parameters())
    run.follow(optimizer)                                      # acts after its steps
    ...                                                        # train
    run.finish()                                               # fixed masks of exactly the promised pattern
    small = stored(model)                                      # `masks.stored`: what is left, by sparse kernels

Masks change between steps of the optimiser, so never within a sequence. References are in the classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import Optimizer

from spikeframe.errors import ConfigError, ParameterError, unknown_name
from spikeframe.kernels.plasticity import number
from spikeframe.learning_rules.rewiring import Rewiring
from spikeframe.learning_rules.sparse_training import SparseTraining, masked, sparsify
from spikeframe.modules.checks import whole
from spikeframe.modules.sparsity.bidirectional import BidirectionalLinear
from spikeframe.modules.sparsity.budgets import counts, global_masks
from spikeframe.modules.sparsity.masks import Decaying, StraightThrough, harden, linear_layers, parametrised, rescaled
from spikeframe.modules.sparsity.proximal import ProximalStep, group_envelope
from spikeframe.modules.sparsity.rewiring import SRigL
from spikeframe.modules.sparsity.saliency import saliency
from spikeframe.modules.sparsity.schedules import Polynomial, nm_ladder
from spikeframe.modules.sparsity.structure import NM, ConstFanIn, Structure, Unstructured, share


@dataclass(eq=False)
class Recipe:
    """What all recipes share.

    Args:
        model: its linear layers get masks, in place.
        sparsity: part of the weights that is missing in the end.
        steps: steps of the optimiser that are planned; schedules are parts of it.
        layers: names of linear layers; all if not given.
        budget: of the layers, see `budgets`.
        every: steps between turns.
        frac: part of a layer's synapses that a turn exchanges.
        seed: of what is random.

    Attributes:
        linear: layers by name.
        trainings: by name, where synapses are exchanged; known after `follow`.

    Raises:
        ParameterError, NonFiniteError: a number outside its range.
        UnknownNameError: no such layer or budget.
        ConfigError: a layer has a mask already.
    """

    model: nn.Module
    sparsity: float
    steps: int
    layers: Sequence[str] | None = None
    budget: str = "erk"
    every: int = 10
    frac: float = 0.3
    seed: int = 0
    linear: dict[str, nn.Linear] = field(init=False)
    trainings: dict[str, SparseTraining] = field(init=False, default_factory=dict)
    taken: int = field(init=False, default=0)
    hooks: list[Any] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        share(f"{type(self).__name__}(sparsity)", self.sparsity)
        whole(f"{type(self).__name__}(steps)", self.steps)
        whole(f"{type(self).__name__}(every)", self.every)
        self.linear = linear_layers(self.model, self.layers)
        for name, layer in self.linear.items():
            if parametrize.is_parametrized(layer, "weight"):
                raise ConfigError(f"{type(self).__name__}: layer {name!r} has a mask already.")
        self.begin()

    @property
    def density(self) -> float:
        """Part of the weights that is kept."""
        return 1.0 - self.sparsity

    def begin(self) -> None:
        """Put on the first masks."""

    def follow(self, optimizer: Optimizer) -> None:
        """Act around the steps of an optimiser.

        Args:
            optimizer: trains the model; made after the recipe.

        Raises:
            ConfigError: it does not train one of the layers.
        """
        self.hooks.append(optimizer.register_step_pre_hook(lambda *_: self.before(optimizer)))
        self.hooks.append(optimizer.register_step_post_hook(lambda *_: self._after(optimizer)))

    def before(self, optimizer: Optimizer) -> None:
        """Act before a step."""

    def after(self, optimizer: Optimizer) -> None:
        """Act after a step; `taken` counts it."""

    def _after(self, optimizer: Optimizer) -> None:
        self.taken += 1
        self.after(optimizer)

    def finish(self) -> None:
        """Stop, and leave fixed masks; a last turn may prune what a schedule has left over."""
        for hook in self.hooks:
            hook.remove()
        for training in self.trainings.values():
            training.remove()

    def masks(self) -> dict[str, Tensor]:
        """Return the present masks by layer, bool."""
        return {name: masked(layer).mask for name, layer in self.linear.items()}

    def report(self) -> dict[str, Any]:
        """Return kept weights and density by layer and in all, silent targets, and the part of weights ever active."""
        masks = self.masks()
        kept = {name: int(mask.sum()) for name, mask in masks.items()}
        sizes = {name: mask.numel() for name, mask in masks.items()}
        ever = {name: int((t.rounds > 0).sum()) / sizes[name] for name, t in self.trainings.items()}
        return {
            "kept": kept, "density": {n: kept[n] / sizes[n] for n in kept},
            "total density": sum(kept.values()) / sum(sizes.values()),
            "without input": {name: int((~mask.any(1)).sum()) for name, mask in masks.items()},
            "ever active": ever, "steps": self.taken,
        }  # fmt: skip

    def mask_randomly(self, density: float, structure: Structure) -> None:
        """Give every layer a random mask of the budget, and its weights the scale that goes with it."""
        budget = counts(self.budget, [tuple(x.weight.shape) for x in self.linear.values()], density)
        for k, (layer, kept) in enumerate(zip(self.linear.values(), budget, strict=True)):
            score = saliency("random", layer.weight, seed=self.seed + k)
            sparsify(layer, structure.mask(score, max(kept, 1) / layer.weight.numel()))
            rescaled(layer)


class RandomPruning(Recipe):
    """A fixed random mask: Liu et al. 2022, arXiv:2202.02643; Gadhikar et al. 2023, arXiv:2210.02412."""

    def begin(self) -> None:
        """Put on a random mask."""
        self.mask_randomly(self.density, Unstructured())


class SET(RandomPruning):
    """Sparse evolutionary training: Mocanu et al. 2018, doi:10.1038/s41467-018-04316-3."""

    explore: float = 0.0

    def rule(self, name: str, seed: int) -> Rewiring:
        """Return how a layer's synapses are exchanged."""
        return Rewiring(self.frac, seed=seed)

    def until(self) -> int | None:
        """Return the step after which nothing is exchanged."""
        return None

    def follow(self, optimizer: Optimizer) -> None:
        """Exchange synapses after the optimiser's steps."""
        super().follow(optimizer)
        for k, (name, layer) in enumerate(self.linear.items()):
            self.trainings[name] = SparseTraining(
                layer, optimizer, self.rule(name, self.seed + k), self.every, until=self.until(), explore=self.explore
            )


class RigL(SET):
    """Growth by gradient: Evci et al. 2020, arXiv:1911.11134. Ends after three quarters of the steps."""

    def rule(self, name: str, seed: int) -> Rewiring:
        """Return how a layer's synapses are exchanged."""
        return Rewiring(self.frac, grow="gradient", seed=seed)

    def until(self) -> int | None:
        """Return three quarters of the steps."""
        return max(1, 3 * self.steps // 4)


@dataclass(eq=False)
class DSTEE(RigL):
    """Growth by gradient and a bonus for weights that were seldom active: Huang et al. 2022, arXiv:2211.16667.

    Args:
        explore: c, in units of the mean absolute gradient.
    """

    explore: float = 0.1


@dataclass(eq=False)
class StructuredRigL(RigL):
    """SRigL, constant fan-in: Lasby et al. 2023, arXiv:2305.02299. Targets of the last layer are never switched off.

    Args:
        gamma: part of the fan-in that must be salient.
    """

    gamma: float = 0.3

    def begin(self) -> None:
        """Put on a random mask of constant fan-in."""
        self.mask_randomly(self.density, ConstFanIn())

    def rule(self, name: str, seed: int) -> Rewiring:
        """Return how a layer's synapses are exchanged."""
        kept = int(masked(self.linear[name]).mask.sum())
        return SRigL(self.frac, gamma=self.gamma, budget=kept, ablate=name != list(self.linear)[-1], seed=seed)


@dataclass(eq=False)
class GraNet(RigL):
    """Gradual magnitude pruning with as much regrowth in each turn: Liu et al. 2021, arXiv:2106.10404.

    Args:
        start: density at the start; it falls along a cubic to the final one at half of the steps.
    """

    frac: float = 0.5
    start: float = 0.5

    def begin(self) -> None:
        """Put on a random mask of the first density."""
        if not 0.0 < number("GraNet(start)", self.start) <= 1.0:
            raise ParameterError(f"GraNet(start={self.start!r}): must be above 0 to 1.")
        self.start = max(self.start, self.density)
        self.falls = Polynomial(self.start, self.density, 0, max(1, self.steps // 2))
        self.mask_randomly(self.start, Unstructured())

    def after(self, optimizer: Optimizer) -> None:
        """Prune to the schedule before layers exchange synapses."""
        if self.taken % self.every == 0:
            self.prune(self.falls(self.taken))

    def prune(self, density: float) -> None:
        """Drop the smallest weights of all layers together."""
        sizes = {n: t.weight.detach().abs().masked_fill(~t.mask.mask, -torch.inf) for n, t in self.trainings.items()}
        for name, mask in global_masks(sizes, density).items():
            training = self.trainings[name]
            gone = (training.mask.mask & ~mask).flatten().nonzero()[:, 0]
            training.change(gone, gone[:0])

    def finish(self) -> None:
        """Prune to the final density if training ended early."""
        self.prune(self.density)
        super().finish()


@dataclass(eq=False)
class _OfGroups(Recipe):
    """A recipe of N:M patterns; N follows from sparsity and M.

    Args:
        m: weights of a group.
    """

    m: int = 4

    @property
    def pattern(self) -> NM:
        """The pattern in the end."""
        wanted = self.density * self.m
        kept = round(wanted)
        if kept < 1 or abs(kept - wanted) > 1e-6:
            near = max(1, kept)
            raise ParameterError(
                f"{type(self).__name__}(sparsity={self.sparsity:g}, m={self.m}): {wanted:g} of {self.m} is no whole "
                f"number; give another m, or sparsity {1 - near / self.m:g} for {near}:{self.m}."
            )
        return NM(kept, self.m)

    def finish(self) -> None:
        """Make the masks fixed."""
        super().finish()
        for layer in self.linear.values():
            harden(layer)


@dataclass(eq=False)
class SRSTE(_OfGroups):
    """SR-STE: Zhou et al. 2021, arXiv:2102.04010.

    The pull is applied beside the optimiser's step (``W -= lr pull (1 - M) W``), so that Adam does not rescale it; for
    plain SGD it is the published one to the bit of rounding.

    Args:
        pull: λ.
    """

    pull: float = 2e-4

    def begin(self) -> None:
        """Put on the pattern of the largest weights."""
        number("SRSTE(pull)", self.pull, least=0.0)
        for layer in self.linear.values():
            parametrised(layer, StraightThrough(layer.weight, self.pattern, self.density))

    @torch.no_grad()
    def before(self, optimizer: Optimizer) -> None:
        """Pull what is pruned towards 0."""
        for layer in self.linear.values():
            held: Any = layer.parametrizations
            weight: Tensor = held["weight"].original
            rate = next(g["lr"] for g in optimizer.param_groups if any(p is weight for p in g["params"]))
            weight.mul_(torch.where(masked(layer).mask, 1.0, 1.0 - rate * self.pull))


@dataclass(eq=False)
class MaskDecay(_OfGroups):
    """Progressive gradient flow, mask decay: Bambhaniya et al. 2024, arXiv:2402.04744.

    Args:
        warm: part of the steps that is dense.
        decay: part of the steps in which the complement fades, linearly.
        flow: ``"ste"`` or ``"masked"``.
    """

    warm: float = 0.1
    decay: float = 0.5
    flow: str = "ste"

    def begin(self) -> None:
        """Put on the pattern, its complement whole."""
        start = round(share("MaskDecay(warm)", self.warm) * self.steps)
        self.fades = Polynomial(1.0, 0.0, start, start + max(1, round(self.decay * self.steps)), 1.0)
        for layer in self.linear.values():
            parametrised(layer, Decaying(layer.weight, self.pattern, self.density, self.flow))

    def after(self, optimizer: Optimizer) -> None:
        """Let the complement fade."""
        for layer in self.linear.values():
            mask: Any = masked(layer)
            mask.factor = self.fades(self.taken)


@dataclass(eq=False)
class StructureDecay(_OfGroups):
    """Progressive gradient flow, structure decay: Bambhaniya et al. 2024, arXiv:2402.04744.

    Args:
        ladder: ``"stepwise"`` or ``"geometric"``.
        decay: part of the steps that the ladder takes.
    """

    ladder: str = "stepwise"
    decay: float = 0.6

    def begin(self) -> None:
        """Put on the first rung."""
        n, m = self.pattern.n, self.m
        rungs = nm_ladder(n, m, self.ladder, 1).entries
        length = max(1, round(number("StructureDecay(decay)", self.decay, above=0.0) * self.steps / len(rungs)))
        self.rungs = nm_ladder(n, m, self.ladder, length)
        for layer in self.linear.values():
            for rung in rungs:  # refuse what does not fit before training
                rung.units(layer.weight)
            parametrised(layer, StraightThrough(layer.weight, rungs[0], rungs[0].density))

    def after(self, optimizer: Optimizer) -> None:
        """Go down the ladder."""
        for layer in self.linear.values():
            mask: Any = masked(layer)
            mask.structure = self.rungs(self.taken)

    def finish(self) -> None:
        """Take the last rung, and make the masks fixed."""
        for layer in self.linear.values():
            mask: Any = masked(layer)
            mask.mask.copy_(self.pattern.mask(mask_weight(layer).abs(), self.density))
        super().finish()


def mask_weight(layer: nn.Module) -> Tensor:
    """Return the dense weight behind a layer's mask.

    Args:
        layer: has a mask.
    """
    held: Any = layer.parametrizations
    weight: Tensor = held["weight"].original
    return weight.detach()


@dataclass(eq=False)
class BDWP(_OfGroups):
    """N:M in both passes: Fang et al. 2023, arXiv:2309.13015. Its layers are replaced until `finish`."""

    m: int = 8

    def begin(self) -> None:
        """Replace the layers."""
        for name, layer in self.linear.items():
            self.model.set_submodule(name, BidirectionalLinear(layer, self.pattern.n, self.m))

    def masks(self) -> dict[str, Tensor]:
        """Return the masks of the forward pass."""
        return {
            name: self.pattern.mask(layer.weight.detach().abs(), self.density) for name, layer in self.linear.items()
        }

    def finish(self) -> None:
        """Put the layers back, under the masks of the forward pass."""
        Recipe.finish(self)
        for name, mask in self.masks().items():
            self.model.set_submodule(name, sparsify(self.linear[name], mask))


@dataclass(eq=False)
class GroupEnvelope(Recipe):
    """WGSEF: proximal steps of the envelope of "at most k groups": Refael et al. 2022, arXiv:2212.12921.

    k of each layer follows from the budget. The strength rises to `strength` over `ramp` of the steps; then exactly k
    groups are left, and stay.

    Args:
        structure: the groups; single weights if not given.
        strength: λ in the end.
        ramp: part of the steps.
    """

    structure: Structure = field(default_factory=Unstructured)
    strength: float = 0.01
    ramp: float = 0.6

    def begin(self) -> None:
        """Find the groups; weights are dense at first."""
        shapes = [tuple(layer.weight.shape) for layer in self.linear.values()]
        budget = counts(self.budget, shapes, self.density)
        self.groups = {name: self.structure.groups(s) for name, s in zip(self.linear, shapes, strict=True)}
        self.parts = {n: kept / g.numel() for (n, g), kept in zip(self.groups.items(), budget, strict=True)}
        self.kept = {name: self.structure.kept(int(g.max()) + 1, self.parts[name]) for name, g in self.groups.items()}
        self.fixed: dict[str, Tensor] = {}
        self.last = max(1, round(share("GroupEnvelope(ramp)", self.ramp) * self.steps))
        number("GroupEnvelope(strength)", self.strength, above=0.0)

    def follow(self, optimizer: Optimizer) -> None:
        """Step to the proximal point after the optimiser's steps."""
        super().follow(optimizer)
        for name, layer in self.linear.items():
            self.hooks.append(ProximalStep(optimizer, layer.weight, partial(self._step, name)))

    def _step(self, name: str, weight: Tensor, t: int) -> Tensor:
        if t >= self.last:
            if t == self.last:
                self.fixed[name] = self._mask(name, weight)
            return weight * self.fixed[name]
        return group_envelope(weight, self.groups[name], self.kept[name], self.strength * (t / self.last) ** 3)

    def _mask(self, name: str, weight: Tensor) -> Tensor:
        return self.structure.mask((weight * weight).double(), self.parts[name])

    def masks(self) -> dict[str, Tensor]:
        """Return the masks of the largest groups."""
        return {name: self._mask(name, layer.weight.detach()) for name, layer in self.linear.items()}

    def finish(self) -> None:
        """Make the masks fixed."""
        found = self.masks()
        super().finish()
        for name, layer in self.linear.items():
            sparsify(layer, found[name])


#: Recipes by name.
RECIPES: dict[str, type[Recipe]] = {
    "random": RandomPruning, "set": SET, "rigl": RigL, "dst-ee": DSTEE, "srigl": StructuredRigL, "granet": GraNet,
    "sr-ste": SRSTE, "mdgf": MaskDecay, "sdgf": StructureDecay, "bdwp": BDWP, "wgsef": GroupEnvelope,
}  # fmt: skip


def recipe(name: str, model: nn.Module, sparsity: float, steps: int, **options: Any) -> Recipe:
    """Return a recipe at work on a model.

    Args:
        name: see the table above.
        model: its layers get masks.
        sparsity: part of the weights that is missing in the end.
        steps: of the optimiser that are planned.
        options: of `Recipe` or of the recipe's class.

    Raises:
        UnknownNameError: no such recipe, or no such option.
    """
    if name not in RECIPES:
        raise unknown_name("recipe for sparse training", name, RECIPES)
    known = set(RECIPES[name].__dataclass_fields__)
    for option in options:
        if option not in known:
            raise unknown_name(f"option of recipe {name!r}", option, known)
    return RECIPES[name](model, sparsity, steps, **options)
