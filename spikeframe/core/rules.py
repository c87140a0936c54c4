"""Connection rules: who is connected to whom. Names are PyNN's and NEST's where they exist."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeframe.errors import NonFiniteError, ParameterError, ShapeError


def _whole(what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise ParameterError(f"{what}={value!r}: must be a whole number of at least 0.")
    return int(value)


@dataclass(frozen=True)
class Rule:
    """Base of the rules."""

    #: Weights that the rule itself brings, one per pair, or None.
    values: ClassVar[NDArray[np.float64] | None] = None


@dataclass(frozen=True)
class AllToAll(Rule):
    """Every source reaches every target.

    Args:
        autapses: whether a neuron reaches itself, where source and target are one population.
    """

    autapses: bool = True


@dataclass(frozen=True)
class OneToOne(Rule):
    """Source i reaches target i; both populations have one size."""


@dataclass(frozen=True)
class FixedProbability(Rule):
    """Every pair is connected with probability p, independently (NEST: pairwise_bernoulli).

    Args:
        p: probability.
        autapses: whether a neuron may reach itself, where source and target are one population.
    """

    p: float
    autapses: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.p, bool) or not isinstance(self.p, (int, float, np.number)) or not 0 <= self.p <= 1:
            raise ParameterError(f"FixedProbability(p={self.p!r}): must be from 0 to 1.")


@dataclass(frozen=True)
class FixedInDegree(Rule):
    """Every target receives k synapses from sources drawn at random (with replacement if `multapses`).

    Args:
        k: synapses per target.
        autapses: whether a neuron may reach itself.
        multapses: whether a pair may have several synapses.
    """

    k: int
    autapses: bool = True
    multapses: bool = True

    def __post_init__(self) -> None:
        _whole("FixedInDegree(k)", self.k)


@dataclass(frozen=True)
class FixedOutDegree(Rule):
    """Every source has k synapses onto targets drawn at random (with replacement if `multapses`).

    Args:
        k: synapses per source.
        autapses: whether a neuron may reach itself.
        multapses: whether a pair may have several synapses.
    """

    k: int
    autapses: bool = True
    multapses: bool = True

    def __post_init__(self) -> None:
        _whole("FixedOutDegree(k)", self.k)


@dataclass(frozen=True)
class FixedTotal(Rule):
    """n synapses in all, each between a source and a target drawn at random, with replacement.

    Args:
        n: number of synapses.
        autapses: whether a neuron may reach itself.
    """

    n: int
    autapses: bool = True

    def __post_init__(self) -> None:
        _whole("FixedTotal(n)", self.n)


@dataclass(frozen=True, eq=False)
class Pairs(Rule):
    """Given pairs; a pair that stands there twice has two synapses.

    Args:
        source: ``[n]`` neuron of the source population.
        target: ``[n]`` neuron of the target population.
    """

    source: ArrayLike
    target: ArrayLike

    def __post_init__(self) -> None:
        a, b = np.asarray(self.source), np.asarray(self.target)
        if a.ndim != 1 or a.shape != b.shape:
            raise ShapeError(f"Pairs: source has shape {a.shape}, target {b.shape}; give two equal lists.")
        if a.size and (a.dtype.kind not in "iu" or b.dtype.kind not in "iu" or min(a.min(), b.min()) < 0):
            raise ParameterError("Pairs: indices must be whole numbers from 0.")


@dataclass(frozen=True, eq=False)
class FromMatrix(Rule):
    """The non-zero entries of a sparse matrix ``[sources, targets]``; they are the weights unless others are given.

    Args:
        matrix: a `scipy.sparse` matrix or array, or a dense one.
    """

    matrix: Any

    def __post_init__(self) -> None:
        from scipy import sparse

        try:
            found = sparse.coo_array(self.matrix)
        except (TypeError, ValueError) as error:
            raise ShapeError(f"FromMatrix: must be a 2-d matrix [sources, targets] ({error}).") from None
        if found.ndim != 2:
            raise ShapeError(f"FromMatrix: must have two axes [sources, targets], got {found.ndim}.")
        if not np.isfinite(found.data).all():
            raise NonFiniteError("FromMatrix: an entry is not finite.")
        object.__setattr__(self, "source", found.row.astype(np.int64))
        object.__setattr__(self, "target", found.col.astype(np.int64))
        object.__setattr__(self, "values", np.asarray(found.data, np.float64))
        object.__setattr__(self, "shape", tuple(int(n) for n in found.shape))
