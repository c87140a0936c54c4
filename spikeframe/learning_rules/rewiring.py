r"""Rewiring: some synapses go, as many come, by scores; one mechanism for layers and for running simulations.

A turn drops the ``k = floor(frac n)`` of n synapses with the lowest score and adds the k of the highest among the
pairs that had none before the turn, so what was just dropped does not come back at once and n stays the same (but
with ``grow="none"``).

=============  ==========================================================================================
``prune``      drops
=============  ==========================================================================================
``magnitude``  those with the smallest absolute weight (SET, RigL)
``random``     any
``hebbian``    those between the least correlated neurons (G2GNet)
``three``      a third by each of these, one after the other (G2GNet)
``crossed``    those whose weight is no longer on its side of 0, however many they are (DEEP R)
``given``      those of the smallest given saliency (`spikeframe.modules.sparsity.saliency`)
=============  ==========================================================================================

=============  ==========================================================================================
``grow``       adds
=============  ==========================================================================================
``random``     any (SET, DEEP R)
``hebbian``    those between the most correlated neurons (G2GNet)
``gradient``   those with the largest absolute gradient (RigL)
``none``       none: synapses are pruned
=============  ==========================================================================================

The correlation of source i and target j over samples is the cosine of their activities, not centred:
``<y_j, x_i> / (|y_j| |x_i|)``, and 0 for one that is silent. Random numbers come from a counter-based generator,
keyed by seed and turn. Equal scores are taken by the lower index (target, then source), so the result depends on
nothing but the arguments.

References: SET, Mocanu et al. 2018, doi:10.1038/s41467-018-04316-3; DEEP R, Bellec et al. 2018, arXiv:1711.05136; RigL,
Evci et al. 2020, arXiv:1911.11134; G2GNet, arXiv:2508.14140. Cost of a turn: a sort of the synapses; ``hebbian`` and
``gradient`` growth look at every pair, in blocks of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeframe.errors import NonFiniteError, ParameterError, ShapeError, unknown_name
from spikeframe.kernels.plasticity import number

Longs = NDArray[np.int64]
Floats = NDArray[Any]
PRUNE = ("magnitude", "random", "hebbian", "three", "crossed", "given")
GROW = ("random", "hebbian", "gradient", "none")
#: Pairs that are scored at once.
_BLOCK = 1 << 22


def drawing(seed: int, stream: int) -> np.random.Generator:
    """Return the random numbers of one purpose; independent of torch's, whatever its seed.

    Args:
        seed: from 0 to 2**64 - 1.
        stream: of the purpose, from 0 to 2**64 - 1.
    """
    return np.random.Generator(np.random.Philox(key=np.array([seed, stream], np.uint64)))


@dataclass(frozen=True, eq=False)
class Exchange:
    """What a turn changes.

    Attributes:
        dropped: places of synapses that go, ascending.
        added: new pairs, ``target * sources + source``, ascending; as many, or none, or as a rule of its own says.
    """

    dropped: Longs
    added: Longs


@dataclass(frozen=True, eq=False)
class Activity:
    """What both sides did over some samples (and time steps).

    Attributes:
        x: ``[samples, sources]`` not negative, e.g. spike counts; the sums are exact, so the same everywhere, if whole.
        y: ``[samples, targets]``.
    """

    x: Floats
    y: Floats

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.y.ndim != 2 or self.x.shape[0] != self.y.shape[0]:
            raise ShapeError(
                f"Activity: x has shape {self.x.shape}, y {self.y.shape}; give [samples, neurons] of each."
            )

    def correlation(self, rows: slice) -> Floats:
        """Return the correlations of some targets with all sources, ``[targets, sources]``."""
        x, y = np.asarray(self.x, np.float64), np.asarray(self.y[:, rows], np.float64)
        return cosine(y.T @ x, (y * y).sum(0), (x * x).sum(0))


@dataclass(frozen=True, eq=False)
class Scores:
    """A matrix of scores that is there already, e.g. a gradient.

    Attributes:
        values: ``[targets, sources]``.
    """

    values: Floats


def cosine(products: Floats, of_targets: Floats, of_sources: Floats) -> Floats:
    """Return correlations from sums over samples.

    Args:
        products: ``[targets, sources]``, sums of the products of both activities.
        of_targets: ``[targets]``, sums of squares.
        of_sources: ``[sources]``, sums of squares.
    """
    norm = np.sqrt(of_targets)[:, None] * np.sqrt(of_sources)
    found: Floats = np.divide(products, norm, out=np.zeros_like(norm), where=norm > 0.0)
    return found


@dataclass(frozen=True)
class Rewiring:
    """How synapses are exchanged; see the tables above.

    Args:
        frac: part of the synapses that a turn exchanges, from 0 to below 1.
        prune: which ones go.
        grow: which ones come.
        weight: of new synapses.
        seed: of what is random.

    Raises:
        ParameterError, NonFiniteError: a number outside its range.
        UnknownNameError: no such way to prune or grow.
    """

    frac: float = 0.1
    prune: str = "magnitude"
    grow: str = "random"
    weight: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if number("Rewiring(frac)", self.frac, least=0.0) >= 1.0:
            raise ParameterError(f"Rewiring(frac={self.frac!r}): must be from 0 to below 1.")
        number("Rewiring(weight)", self.weight)
        for what, name, known in (("prune", self.prune, PRUNE), ("grow", self.grow, GROW)):
            if name not in known:
                raise unknown_name(f"way to {what} of Rewiring", name, known)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**64:
            raise ParameterError(f"Rewiring(seed={self.seed!r}): must be a whole number from 0 to 2**64 - 1.")

    def exchange(
        self, pairs: Longs, shape: tuple[int, int], weight: Floats, turn: int = 0, *, frac: float | None = None,
        correlation: Activity | Scores | None = None, gradient: Scores | None = None, sign: Floats | None = None,
        saliency: Floats | None = None, barred: Longs | None = None,
    ) -> Exchange:  # fmt: skip
        """Return which synapses go and which come.

        Args:
            pairs: ``[n]`` of each synapse, ``target * sources + source``.
            shape: targets and sources.
            weight: ``[n]``.
            turn: of the random numbers.
            frac: instead of the rule's own, for schedules.
            correlation: for ``"hebbian"`` and ``"three"``.
            gradient: for ``"gradient"``.
            sign: ``[n]``, the side of 0 of each weight, for ``"crossed"``.
            saliency: ``[n]``, how much each synapse is worth, for ``"given"``.
            barred: pairs that never come.

        Raises:
            ShapeError: the shapes do not fit together.
            ParameterError: something that the rule needs is missing.
            NonFiniteError: a saliency is NaN.
        """
        if pairs.shape != weight.shape or pairs.ndim != 1:
            raise ShapeError(f"exchange: {pairs.shape} pairs and {weight.shape} weights; give one weight per pair.")
        generator = drawing(self.seed, turn)
        taken = np.unique(pairs if barred is None else np.concatenate([pairs, barred]))
        score = np.abs(weight)
        if self.prune == "given":
            score = _worth(saliency, pairs, shape)
        frac = self.frac if frac is None else frac
        dropped = self._dropped(pairs, shape, weight, score, generator, frac, correlation, sign)
        if self.grow == "none":
            return Exchange(np.sort(dropped), np.zeros(0, np.int64))
        dropped = np.sort(dropped[: shape[0] * shape[1] - taken.size])
        if self.grow == "random":
            added = _any(taken, shape[0] * shape[1], dropped.size, generator)
        else:
            kind = correlation if self.grow == "hebbian" else gradient
            added = _best(_needed(self.grow, kind, shape), shape, taken, dropped.size, self.grow == "gradient")
        return Exchange(dropped, np.sort(added))

    def _dropped(
        self, pairs: Longs, shape: tuple[int, int], weight: Floats, worth: Floats, generator: np.random.Generator,
        frac: float, correlation: Activity | Scores | None, sign: Floats | None,
    ) -> Longs:  # fmt: skip
        """Return the places of what goes."""
        if self.prune == "crossed":
            if sign is None:
                raise ParameterError("exchange: prune='crossed' needs the sign of every weight.")
            return np.flatnonzero(~(weight * sign > 0.0))
        many = int(np.floor(frac * pairs.size))
        kinds = ("magnitude", "random", "hebbian") if self.prune == "three" else (self.prune,)
        left = np.argsort(pairs, kind="stable")
        gone: list[Longs] = []
        for k, kind in enumerate(kinds):
            count = (many * (k + 1)) // len(kinds) - (many * k) // len(kinds)
            if kind in ("magnitude", "given"):
                score = worth[left]
            elif kind == "random":
                score = generator.random(left.size)
            else:
                score = _at(_needed(self.prune, correlation, shape), pairs[left], shape)
            order = np.argsort(score, kind="stable")
            gone.append(left[order[:count]])
            left = left[np.sort(order[count:])]
        return np.concatenate(gone)


def _worth(saliency: Floats | None, pairs: Longs, shape: tuple[int, int]) -> Floats:
    """Return given saliencies, or say what is wrong with them."""
    if saliency is None:
        raise ParameterError("exchange: prune='given' needs the saliency of every synapse.")
    if saliency.shape != pairs.shape:
        raise ShapeError(f"exchange: {saliency.shape} saliencies for {pairs.shape} synapses; give one per synapse.")
    if np.isnan(saliency).any():
        target, source = divmod(int(pairs[np.isnan(saliency)][0]), shape[1])
        raise NonFiniteError(f"exchange: the saliency of the synapse from {source} to {target} is NaN.")
    return saliency


def _needed(kind: str, given: Activity | Scores | None, shape: tuple[int, int]) -> Activity | Scores:
    """Return the scores that a rule needs, or say that they are missing or do not fit."""
    if given is None:
        what = "gradient=Scores(...)" if kind == "gradient" else "correlation=Activity(x, y)"
        raise ParameterError(f"exchange: {kind!r} needs {what}.")
    found = given.values.shape if isinstance(given, Scores) else (given.y.shape[1], given.x.shape[1])
    if found != shape:
        raise ShapeError(f"exchange: scores for {found} (targets, sources), but the synapses are between {shape}.")
    return given


def _rows(scores: Activity | Scores, shape: tuple[int, int]) -> Iterator[tuple[int, Floats]]:
    """Return the scores block by block: the first row, and ``[rows, sources]``."""
    many = max(1, _BLOCK // max(1, shape[1]))
    for lo in range(0, shape[0], many):
        rows = slice(lo, min(shape[0], lo + many))
        yield lo, scores.correlation(rows) if isinstance(scores, Activity) else scores.values[rows]


def _at(scores: Activity | Scores, pairs: Longs, shape: tuple[int, int]) -> Floats:
    """Return the scores of ascending pairs."""
    found = np.empty(pairs.size)
    for lo, block in _rows(scores, shape):
        first, last = np.searchsorted(pairs, [lo * shape[1], (lo + block.shape[0]) * shape[1]])
        found[first:last] = block.ravel()[pairs[first:last] - lo * shape[1]]
    return found


def _best(scores: Activity | Scores, shape: tuple[int, int], taken: Longs, many: int, absolute: bool) -> Longs:
    """Return the free pairs of the highest scores, the lower index first among equals."""
    best, pairs = np.zeros(0), np.zeros(0, np.int64)
    for lo, block in _rows(scores, shape):
        flat = np.abs(block).ravel() if absolute else np.array(block, np.float64).ravel()
        first, last = np.searchsorted(taken, [lo * shape[1], lo * shape[1] + flat.size])
        free = np.ones(flat.size, np.bool_)
        free[taken[first:last] - lo * shape[1]] = False
        at = np.flatnonzero(free)
        best, pairs = np.concatenate([best, flat[at]]), np.concatenate([pairs, at + lo * shape[1]])
        order = np.argsort(-best, kind="stable")[:many]
        order.sort()
        best, pairs = best[order], pairs[order]
    return pairs


def _any(taken: Longs, total: int, many: int, generator: np.random.Generator) -> Longs:
    """Return free pairs, every set of so many equally likely."""
    if 2 * (taken.size + many) > total:
        free = np.ones(total, np.bool_)
        free[taken] = False
        return generator.permutation(np.flatnonzero(free))[:many]
    found = np.zeros(0, np.int64)
    while found.size < many:
        drawn = np.concatenate([found, generator.integers(0, total, 2 * (many - found.size) + 8)])
        drawn = drawn[~_inside(drawn, taken)]
        found = drawn[np.sort(np.unique(drawn, return_index=True)[1])][:many]
    return found


def _inside(values: Longs, ascending: Longs) -> NDArray[np.bool_]:
    at = np.searchsorted(ascending, values)
    return (at < ascending.size) & (ascending[np.minimum(at, ascending.size - 1)] == values) if ascending.size else (
        np.zeros(values.size, np.bool_))  # fmt: skip
