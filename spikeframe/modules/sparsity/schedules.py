r"""Numbers that change while a model trains: a schedule is called with the step and returns the value.

==============================  ==============================================================================
schedule                        value at step t
==============================  ==============================================================================
``Constant(value)``             value
``Polynomial(a, b, t0, t1, p)`` ``b + (a - b) (1 - u)^p``, u = (t - t0) / (t1 - t0) within 0 to 1; p = 3 is GMP's cubic
                                rule, p = 1 linear
``Cosine(a, t1)``               ``a / 2 (1 + cos(pi t / t1))``, 0 from t1 on
``Exponential(a, rate)``        ``a exp(-rate t)``
``Stages(levels, lengths)``     rises from one level to the next along half a sine, flat at every border (ProSparse)
``Ladder(steps, length)``       one entry after the other, each for `length` steps (N:M patterns)
==============================  ==============================================================================

References: Zhu and Gupta 2017, arXiv:1710.01878 (cubic); Song et al. 2024, arXiv:2402.13516 (ProSparse); Bambhaniya et
al. 2024, arXiv:2402.04744 (ladders of N:M patterns).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from spikeframe.errors import ParameterError
from spikeframe.modules.checks import whole
from spikeframe.modules.sparsity.structure import NM


@dataclass(frozen=True)
class Constant:
    """The same at every step."""

    value: float

    def __call__(self, step: int) -> float:
        """Return the value."""
        return self.value


@dataclass(frozen=True)
class Polynomial:
    """From one value to another between two steps.

    Raises:
        ParameterError: t1 is not after t0.
    """

    start: float
    end: float
    t0: int
    t1: int
    power: float = 3.0

    def __post_init__(self) -> None:
        if not self.t1 > self.t0:
            raise ParameterError(f"Polynomial(t0={self.t0}, t1={self.t1}): t1 must come after t0.")

    def __call__(self, step: int) -> float:
        """Return the value at a step."""
        u = min(1.0, max(0.0, (step - self.t0) / (self.t1 - self.t0)))
        return self.end + (self.start - self.end) * math.pow(1.0 - u, self.power)


@dataclass(frozen=True)
class Cosine:
    """From a value to 0 along half a cosine."""

    start: float
    t1: int

    def __call__(self, step: int) -> float:
        """Return the value at a step."""
        return 0.5 * self.start * (1.0 + math.cos(math.pi * min(1.0, step / self.t1)))


@dataclass(frozen=True)
class Exponential:
    """From a value towards 0 at a rate per step."""

    start: float
    rate: float

    def __call__(self, step: int) -> float:
        """Return the value at a step."""
        return self.start * math.exp(-self.rate * step)


@dataclass(frozen=True)
class Stages:
    """Levels that are reached one after the other, with slope 0 at every border.

    Args:
        levels: the first is the value at step 0; each of the others is reached at the end of its stage.
        lengths: steps of each stage, one less than levels.

    Raises:
        ParameterError: the numbers do not fit together.
    """

    levels: tuple[float, ...]
    lengths: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.levels) != len(self.lengths) + 1 or any(n < 1 for n in self.lengths):
            raise ParameterError(f"Stages({self.levels}, {self.lengths}): one length, from 1, per step between levels.")

    def __call__(self, step: int) -> float:
        """Return the value at a step."""
        for a, b, length in zip(self.levels, self.levels[1:], self.lengths, strict=False):
            if step < length:
                return a + 0.5 * (b - a) * (math.sin(math.pi * (step / length - 0.5)) + 1.0)
            step -= length
        return self.levels[-1]


@dataclass(frozen=True)
class Ladder:
    """One entry after the other, the last for ever.

    Raises:
        ParameterError: there is no entry, or a length below 1.
    """

    entries: tuple[Any, ...]
    length: int

    def __post_init__(self) -> None:
        if whole("Ladder(length)", self.length) and not self.entries:
            raise ParameterError("Ladder(entries=()): give at least one.")

    def __call__(self, step: int) -> Any:
        """Return the entry at a step."""
        return self.entries[min(step // self.length, len(self.entries) - 1)]


def nm_ladder(n: int, m: int, kind: str, length: int) -> Ladder:
    """Return a ladder of N:M patterns that ends in n:m.

    Args:
        n: kept of a group at the end.
        m: weights of a group.
        kind: ``"stepwise"``: m-1:m, m/2:m, m/4:m, ..., n:m; ``"geometric"``: 8n:8m, 4n:4m, 2n:2m, n:m.
        length: steps of each rung.

    Raises:
        ParameterError: another kind.
    """
    if kind == "geometric":
        return Ladder(tuple(NM(k * n, k * m) for k in (8, 4, 2, 1)), length)
    if kind != "stepwise":
        raise ParameterError(f"nm_ladder(kind={kind!r}): accepted are 'stepwise' and 'geometric'.")
    rungs, kept = [m - 1], m // 2
    while kept > n:
        rungs, kept = [*rungs, kept], kept // 2
    rungs = [k for k in rungs if k > n] + [n]
    return Ladder(tuple(NM(k, m) for k in rungs), length)
