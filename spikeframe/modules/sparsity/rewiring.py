r"""Exchanges of synapses that keep a structure; rules for layers in training and for running simulations alike.

Both are a `spikeframe.learning_rules.rewiring.Rewiring`: `SparseTraining` applies them to a layer, `Simulator.rewire`
to the live synapses of a projection (where no pair may have two synapses). They look at every pair of neurons.

- `StructuredRewiring`: in each row of a structure (a target, a group of N:M, or all), the ``floor(frac active)`` units
  of smallest magnitude go and as many come, by gradient or at random.
- `SRigL` (Lasby et al. 2023, arXiv:2305.02299; paper 120): constant fan-in, and targets that hold too little of what is
  worth keeping are switched off. The ``(1 - frac) n`` largest weights and ``frac n`` largest gradients are salient; a
  target with fewer salient synapses than ``gamma k`` (k the present fan-in) loses all; the others share the budget
  evenly: each keeps its salient weights, the largest first, and takes the largest gradients up to the new fan-in.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from spikeframe.errors import ParameterError, ShapeError
from spikeframe.kernels.plasticity import number
from spikeframe.learning_rules.rewiring import Activity, Exchange, Floats, Longs, Rewiring, Scores, drawing
from spikeframe.modules.sparsity.structure import ConstFanIn, Structure


def _matrices(
    pairs: Longs, shape: tuple[int, int], weight: Floats, barred: Longs | None
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.bool_]]:
    """Return which pairs have a synapse, its magnitude, and which never get one, each ``[targets, sources]``."""
    if np.unique(pairs).size != pairs.size:
        raise ParameterError("a structured exchange needs one synapse per pair at most; connect without multapses.")
    active, size, never = np.zeros(shape, np.bool_), np.zeros(shape), np.zeros(shape, np.bool_)
    active.flat[pairs], size.flat[pairs] = True, np.abs(weight)
    if barred is not None:
        never.flat[barred] = True
    return active, size, never


def _growth(gradient: Scores | None, shape: tuple[int, int]) -> NDArray[np.float64]:
    if gradient is None:
        raise ParameterError("exchange: growth by gradient needs gradient=Scores(...).")
    if gradient.values.shape != shape:
        raise ShapeError(f"exchange: gradient has shape {gradient.values.shape}, the synapses are between {shape}.")
    found: NDArray[np.float64] = np.abs(np.asarray(gradient.values, np.float64))
    return found


def _difference(pairs: Longs, before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Exchange:
    """Return the exchange that leads from one mask to another."""
    return Exchange(np.flatnonzero(~after.flat[pairs]), np.flatnonzero((after & ~before).ravel()))


@dataclass(frozen=True)
class StructuredRewiring(Rewiring):
    """Drop and grow within the rows of a structure; see above.

    Args:
        structure: the pattern that masks have and keep.
        grow: ``"gradient"`` or ``"random"``.

    Raises:
        ParameterError: another way to prune or grow.
    """

    structure: Structure = field(default_factory=ConstFanIn)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prune != "magnitude" or self.grow not in ("random", "gradient"):
            raise ParameterError(
                f"StructuredRewiring(prune={self.prune!r}, grow={self.grow!r}): prunes by 'magnitude' and grows by "
                "'random' or 'gradient'."
            )

    def exchange(
        self, pairs: Longs, shape: tuple[int, int], weight: Floats, turn: int = 0, *, frac: float | None = None,
        correlation: Activity | Scores | None = None, gradient: Scores | None = None, sign: Floats | None = None,
        saliency: Floats | None = None, barred: Longs | None = None,
    ) -> Exchange:  # fmt: skip
        """Return which synapses go and which come; see `Rewiring.exchange`."""
        active, size, never = _matrices(pairs, shape, weight, barred)
        score = drawing(self.seed, turn).random(shape) if self.grow == "random" else _growth(gradient, shape)

        def rows(values: NDArray[np.float64], how: str) -> NDArray[np.float64]:
            units = self.structure.units(torch.from_numpy(values))
            return (units.sum(-1) if how == "sum" else units.amax(-1)).numpy()

        on = rows(active.astype(np.float64), "max") > 0
        closed = on | (rows(never.astype(np.float64), "max") > 0)
        many = np.floor((self.frac if frac is None else frac) * on.sum(1) + 1e-9).astype(np.int64)
        many = np.minimum(many, (~closed).sum(1))[:, None]
        gone = _first(np.where(on, rows(size, "sum"), np.inf), many)
        come = _first(np.where(closed, np.inf, -rows(score, "sum")), many)
        kept = torch.from_numpy((on & ~gone) | come)[:, :, None]
        entries = self.structure.units(torch.empty(shape, device="meta")).shape[-1]
        return _difference(pairs, active, self.structure.whole(kept.expand(-1, -1, entries), shape).numpy())


def _first(score: NDArray[np.float64], many: Longs) -> NDArray[np.bool_]:
    """Return the lowest of each row, so many, the lower index first among equals."""
    rank = np.empty(score.shape, np.int64)
    np.put_along_axis(rank, np.argsort(score, axis=1, kind="stable"), np.arange(score.shape[1])[None], axis=1)
    found: NDArray[np.bool_] = rank < many
    return found


@dataclass(frozen=True)
class SRigL(Rewiring):
    """Constant fan-in by weights and gradients, with targets that are switched off; see above.

    Args:
        gamma: part of the fan-in that must be salient, 0 to 1.
        budget: synapses in all; 0: those that there are.
        ablate: whether targets may be switched off; not in the last layer.

    Raises:
        ParameterError, NonFiniteError: a number outside its range.
    """

    frac: float = 0.3
    grow: str = "gradient"
    gamma: float = 0.3
    budget: int = 0
    ablate: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= number("SRigL(gamma)", self.gamma) <= 1.0 or self.grow != "gradient":
            raise ParameterError(f"SRigL(gamma={self.gamma!r}, grow={self.grow!r}): 0 to 1, and 'gradient'.")

    def exchange(
        self, pairs: Longs, shape: tuple[int, int], weight: Floats, turn: int = 0, *, frac: float | None = None,
        correlation: Activity | Scores | None = None, gradient: Scores | None = None, sign: Floats | None = None,
        saliency: Floats | None = None, barred: Longs | None = None,
    ) -> Exchange:  # fmt: skip
        """Return which synapses go and which come; see `Rewiring.exchange`."""
        active, size, never = _matrices(pairs, shape, weight, barred)
        score = np.where(never, -np.inf, _growth(gradient, shape))
        total = self.budget or pairs.size
        part = self.frac if frac is None else frac
        grown = min(int(part * total), int((~active & ~never).sum()))
        kept = (
            _first(np.where(active, -size, np.inf).reshape(1, -1), np.array([[total - grown]])).reshape(shape) & active
        )
        wanted = _first(np.where(active, np.inf, -score).reshape(1, -1), np.array([[grown]])).reshape(shape)
        salient = (kept | wanted).sum(1)
        on: NDArray[np.bool_] = np.any(active, axis=1)
        least = -(-total // shape[1])  # targets that the budget needs at least
        if self.ablate:
            fan_in = total / max(1, int(on.sum()))
            order = np.argsort(np.where(on, salient, -1), kind="stable")
            weak = [int(j) for j in order if on[j] and salient[j] < max(1.0, self.gamma * fan_in)]
            on[weak[: max(0, int(on.sum()) - least)]] = False
        fan_in = total // int(on.sum())
        stays = _first(np.where(kept, -size, np.inf), np.full((shape[0], 1), fan_in)) & kept
        room = fan_in - stays.sum(1, keepdims=True)
        come = _first(np.where(stays | never, np.inf, -score), room) & ~never
        return _difference(pairs, active, (stays | come) & on[:, None])
