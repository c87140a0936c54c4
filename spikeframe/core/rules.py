"""Connection rules: who is connected to whom. Names are PyNN's and NEST's where they exist."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError, known_name

#: Shapes of the probability over distance, in the order of the kernels' codes.
SHAPES = ("gaussian", "exponential", "linear")


def _whole(what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value < 2**48:
        raise ParameterError(f"{what}={value!r}: must be a whole number of at least 0, below 2^48.")
    return int(value)


def _real(what: str, value: Any, low: float, high: float, accepted: str) -> float:
    """Return a number from low to high, or refuse it."""
    if (
        isinstance(value, (bool, np.bool_))
        or not isinstance(value, (int, float, np.number))
        or not low <= value <= high
    ):
        raise ParameterError(f"{what}={value!r}: must be {accepted}.")
    return float(value)


@dataclass(frozen=True)
class Rule:
    """Base of the rules."""

    #: Weights that the rule itself brings, one per pair, or None.
    values: ClassVar[NDArray[np.float64] | None] = None
    #: Whether the row of a source can be drawn from the source alone, as procedural projections need.
    by_source: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("autapses", "multapses"):
            if not isinstance(flag := getattr(self, name, True), bool):
                raise DTypeError(f"{type(self).__name__}({name}={flag!r}): must be True or False.")


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
        super().__post_init__()
        _real("FixedProbability(p)", self.p, 0.0, 1.0, "from 0 to 1")


@dataclass(frozen=True)
class FixedInDegree(Rule):
    """Every target receives k synapses from sources drawn at random (with replacement if `multapses`).

    Args:
        k: synapses per target.
        autapses: whether a neuron may reach itself.
        multapses: whether a pair may have several synapses.
    """

    by_source: ClassVar[bool] = False

    k: int
    autapses: bool = True
    multapses: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
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
        super().__post_init__()
        _whole("FixedOutDegree(k)", self.k)


@dataclass(frozen=True)
class FixedTotal(Rule):
    """n synapses in all, each between a source and a target drawn at random, with replacement.

    Args:
        n: number of synapses.
        autapses: whether a neuron may reach itself.
    """

    by_source: ClassVar[bool] = False

    n: int
    autapses: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _whole("FixedTotal(n)", self.n)


@dataclass(frozen=True, eq=False)
class DistanceDependent(Rule):
    r"""Every pair is connected with a probability that falls with its distance d, independently.

    | shape | probability |
    |---|---|
    | ``"gaussian"`` | ``p exp(-d^2 / (2 scale^2))`` |
    | ``"exponential"`` | ``p exp(-d / scale)`` |
    | ``"linear"`` | ``p max(0, 1 - d / scale)`` |

    and 0 beyond the cutoff. Both populations need positions. With a cutoff, only pairs within reach are looked at.

    Args:
        shape: one of the above.
        p: probability at distance 0.
        scale: length over which it falls, in the unit of the positions.
        cutoff: largest distance that is connected; none if not given.
        periodic: sides of the periodic box, one per axis or one for all (``inf``: an open axis); distances are the
            shortest around the box, and positions outside it are brought inside. Open space if not given.
        autapses: whether a neuron may reach itself, where source and target are one population.

    Raises:
        UnknownNameError: no such shape.
        ParameterError: a value outside its range.
    """

    shape: str
    p: float
    scale: float
    cutoff: float = math.inf
    periodic: ArrayLike | None = None
    autapses: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        known_name("shape of DistanceDependent", self.shape, SHAPES)
        _real("DistanceDependent(p)", self.p, 0.0, 1.0, "from 0 to 1")
        least = np.nextafter(0.0, 1.0)
        _real("DistanceDependent(scale)", self.scale, least, np.finfo(float).max, "above 0 and finite")
        _real("DistanceDependent(cutoff)", self.cutoff, least, math.inf, "above 0")
        for side in np.ravel(np.asarray(() if self.periodic is None else self.periodic, object)):
            _real("DistanceDependent(periodic)", side, least, math.inf, "sides above 0, one per axis or one for all")


@dataclass(frozen=True)
class SmallWorld(Rule):
    """A ring on which everybody reaches its k nearest, some of these synapses redirected at random.

    The directed form of Watts and Strogatz's network (Nature 393, 1998, doi:10.1038/30918): neuron i reaches
    i ± 1, ..., i ± k/2; each of these synapses is redirected with probability p, and the redirected ones of a neuron
    end on targets drawn without replacement from all others that it does not reach by a kept one. So every neuron has
    exactly k synapses, none onto itself and none twice; with p = 1, all k are drawn at random. A population is
    connected with itself.

    Args:
        k: synapses per neuron, even.
        p: probability that a synapse is redirected.

    Raises:
        ParameterError: a value outside its range.
    """

    k: int
    p: float

    def __post_init__(self) -> None:
        if _whole("SmallWorld(k)", self.k) % 2:
            raise ParameterError(f"SmallWorld(k={self.k}): must be even, half of the neighbours on each side.")
        _real("SmallWorld(p)", self.p, 0.0, 1.0, "from 0 to 1")


@dataclass(frozen=True, eq=False)
class Pairs(Rule):
    """Given pairs; a pair that stands there twice has two synapses.

    Args:
        source: ``[n]`` neuron of the source population.
        target: ``[n]`` neuron of the target population.
    """

    by_source: ClassVar[bool] = False

    source: ArrayLike
    target: ArrayLike

    def __post_init__(self) -> None:
        try:
            a, b = np.asarray(self.source).copy(), np.asarray(self.target).copy()
        except (TypeError, ValueError, RuntimeError) as error:
            raise DTypeError(f"Pairs: source and target must be lists of whole numbers ({error}).") from None
        if a.ndim != 1 or a.shape != b.shape:
            raise ShapeError(f"Pairs: source has shape {a.shape}, target {b.shape}; give two equal lists.")
        if a.size and (a.dtype.kind not in "iu" or b.dtype.kind not in "iu" or min(a.min(), b.min()) < 0):
            raise ParameterError("Pairs: indices must be whole numbers from 0.")
        object.__setattr__(self, "source", a)
        object.__setattr__(self, "target", b)


@dataclass(frozen=True, eq=False)
class FromMatrix(Rule):
    """The non-zero entries of a sparse matrix ``[sources, targets]``; they are the weights unless others are given.

    Args:
        matrix: a `scipy.sparse` matrix or array, or a dense one.
    """

    by_source: ClassVar[bool] = False

    matrix: Any

    def __post_init__(self) -> None:
        from scipy import sparse

        try:
            found = sparse.coo_array(self.matrix)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ShapeError(f"FromMatrix: must be a 2-d matrix [sources, targets] ({error}).") from None
        if found.ndim != 2:
            raise ShapeError(f"FromMatrix: must have two axes [sources, targets], got {found.ndim}.")
        if not np.isfinite(found.data).all():
            raise NonFiniteError("FromMatrix: an entry is not finite.")
        object.__setattr__(self, "source", found.row.astype(np.int64))
        object.__setattr__(self, "target", found.col.astype(np.int64))
        object.__setattr__(self, "values", np.array(found.data, np.float64))
        object.__setattr__(self, "shape", tuple(int(n) for n in found.shape))
