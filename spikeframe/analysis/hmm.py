r"""Hidden Markov models as a task for networks: sequences, their likelihood, and the statistics they are held against.

A hidden state walks by ``P(z_{t+1} = j | z_t = i) = T_{ij}`` and emits a symbol by ``P(x_t = k | z_t = i) = E_{ik}``.

The families of the emulation task, all with three symbols and a uniform start:

=================  ===================================================================================================
`linear_chain`     M states in a row; inner ones leave to either side with probability ``q = 0.05^{1/(M-1)}``, ends with
                   q; state i emits ``[0.99 (1 - a), 0.01, 0.99 a]`` with ``a = i / (M - 1)``
`fully_connected`  stays with probability `stay`, else any other state alike; emissions as above
`cyclic`           stays with probability `stay`, else the next state; states emit one symbol each in turn, at 0.98
=================  ===================================================================================================

Reference: the task of arXiv:2510.25674; Rabiner 1989, doi:10.1109/5.18626.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeframe.analysis.inputs import Floats, Longs, numbers, real, whole
from spikeframe.errors import DTypeError, ParameterError, ShapeError

SYMBOLS = 3


@dataclass(frozen=True, eq=False)
class HMM:
    """A hidden Markov model.

    Args:
        transition: ``[states, states]``, rows sum to 1.
        emission: ``[states, symbols]``, rows sum to 1.
        initial: ``[states]``, sums to 1.

    Raises:
        ShapeError, ParameterError, NonFiniteError, DTypeError: these are no such probabilities.
    """

    transition: Floats
    emission: Floats
    initial: Floats

    def __post_init__(self) -> None:
        for name, axes in (("transition", 2), ("emission", 2), ("initial", 1)):
            found = numbers(f"HMM({name})", getattr(self, name), axes)
            if (found < 0.0).any() or np.abs(found.sum(axis=-1) - 1.0).max(initial=0.0) > 1e-9:
                raise ParameterError(f"HMM({name}): must be at least 0 and every row sum to 1.")
            object.__setattr__(self, name, found)
        states = self.initial.size
        if self.transition.shape != (states, states) or self.emission.shape[0] != states or not states:
            raise ShapeError(
                f"HMM: transition {self.transition.shape}, emission {self.emission.shape}, initial "
                f"{self.initial.shape}; must be [n, n], [n, symbols], [n]."
            )

    @classmethod
    def linear_chain(cls, states: int) -> HMM:
        """Return a chain of 2 to 5 states (beyond, an inner one would leave with more than certainty).

        Args:
            states: M.
        """
        m = whole("HMM.linear_chain(states)", states, 2)
        if m > 5:
            raise ParameterError(f"HMM.linear_chain(states={m}): must be 2 to 5, for q = 0.05^(1/(M-1)) is above 1/2.")
        q = 0.05 ** (1.0 / (m - 1))
        transition = np.diag(np.full(m - 1, q), 1) + np.diag(np.full(m - 1, q), -1)
        np.fill_diagonal(transition, 1.0 - transition.sum(axis=1))
        return cls(transition, _graded(m), np.full(m, 1.0 / m))

    @classmethod
    def fully_connected(cls, states: int, stay: float = 0.95) -> HMM:
        """Return a model in which every state leads to every other.

        Args:
            states: at least 2.
            stay: probability to stay.
        """
        m, kept = whole("HMM.fully_connected(states)", states, 2), _stay("fully_connected", stay)
        transition = np.full((m, m), (1.0 - kept) / (m - 1))
        np.fill_diagonal(transition, kept)
        return cls(transition, _graded(m), np.full(m, 1.0 / m))

    @classmethod
    def cyclic(cls, states: int, stay: float = 0.95) -> HMM:
        """Return a model whose states follow one another in a circle.

        Args:
            states: at least 2.
            stay: probability to stay.
        """
        m, kept = whole("HMM.cyclic(states)", states, 2), _stay("cyclic", stay)
        transition = kept * np.eye(m) + (1.0 - kept) * np.roll(np.eye(m), 1, axis=1)
        emission = np.full((m, SYMBOLS), 0.01)
        emission[np.arange(m), np.arange(m) % SYMBOLS] = 0.98
        return cls(transition, emission, np.full(m, 1.0 / m))

    def sample(self, sequences: int, length: int, seed: int = 0) -> tuple[Longs, Longs]:
        """Return symbols and hidden states, each ``[sequences, length]``.

        Args:
            sequences: how many.
            length: steps of each.
            seed: of the draw.
        """
        n, steps = whole("HMM.sample(sequences)", sequences), whole("HMM.sample(length)", length)
        words = np.random.default_rng(seed).random((2, steps, n))
        states, symbols = np.empty((steps, n), np.int64), np.empty((steps, n), np.int64)
        law = np.broadcast_to(np.cumsum(self.initial), (n, self.initial.size))
        moves, emits = np.cumsum(self.transition, axis=1), np.cumsum(self.emission, axis=1)
        for t in range(steps):
            states[t] = _drawn(law, words[0, t])
            symbols[t] = _drawn(emits[states[t]], words[1, t])
            law = moves[states[t]]
        return symbols.T.copy(), states.T.copy()

    def log_likelihood(self, symbols: ArrayLike) -> Floats:
        """Return the log probability of each sequence.

        Args:
            symbols: ``[sequences, length]``.
        """
        found = _sequences("HMM.log_likelihood(symbols)", symbols, self.emission.shape[1])
        belief, total = np.tile(self.initial, (found.shape[0], 1)), np.zeros(found.shape[0])
        with np.errstate(divide="ignore", invalid="ignore"):
            for t in range(found.shape[1]):
                joint = belief * self.emission[:, found[:, t]].T
                norm = joint.sum(axis=1, keepdims=True)
                total += np.log(norm[:, 0])
                belief = np.where(norm > 0.0, joint / norm, 0.0) @ self.transition
        return total

    def stationary(self) -> Floats:
        """Return the hidden states' probabilities after a long time, ``[states]``."""
        m = self.initial.size
        system = np.vstack([self.transition.T - np.eye(m), np.ones(m)])
        return np.asarray(np.linalg.lstsq(system, np.append(np.zeros(m), 1.0), rcond=None)[0], np.float64)


def _stay(kind: str, value: float) -> float:
    return real(f"HMM.{kind}(stay)", value, 0.0, 1.0, "from 0 to 1")


def _graded(states: int) -> Floats:
    """Return emissions that go from the first symbol to the last along the states."""
    a = np.arange(states) / (states - 1)
    return np.stack([0.99 * (1.0 - a), np.full(states, 0.01), 0.99 * a], axis=1)


def _drawn(cumulative: Floats, words: Floats) -> Longs:
    """Return, of each row, the first whose cumulative probability exceeds its word."""
    found = (words[:, np.newaxis] >= cumulative[:, :-1]).sum(axis=1)
    return np.asarray(found, np.int64)


def _sequences(what: str, symbols: ArrayLike, known: int) -> NDArray[np.int64]:
    found = np.asarray(symbols)
    if found.ndim != 2 or not found.size:
        raise ShapeError(f"{what}: shape {found.shape}; must be [sequences, length].")
    if found.dtype.kind not in "iu":
        raise DTypeError(f"{what}: {found.dtype}; must be whole numbers.")
    if found.min() < 0 or found.max() >= known:
        raise ParameterError(f"{what}: symbols from {found.min()} to {found.max()}; must be 0 to {known - 1}.")
    return found.astype(np.int64)


@dataclass(frozen=True, eq=False)
class SymbolStatistics:
    """What sequences are compared by.

    Attributes:
        frequency: ``[symbols]`` share of each.
        transition: ``[symbols, symbols]`` probability of the next symbol; a row of 0 for one that has no next.
        volatility: share of steps at which the symbol changes.
    """

    frequency: Floats
    transition: Floats
    volatility: float


def symbol_statistics(symbols: ArrayLike, known: int = SYMBOLS) -> SymbolStatistics:
    """Return the statistics of symbol sequences.

    Args:
        symbols: ``[sequences, length]``, at least two long.
        known: number of symbols.

    Raises:
        ShapeError, DTypeError, ParameterError: these are no such sequences.
    """
    k = whole("symbol_statistics(known)", known)
    found = _sequences("symbol_statistics(symbols)", symbols, k)
    if found.shape[1] < 2:
        raise ShapeError("symbol_statistics(symbols): sequences of one step; must be two long at least.")
    pairs = np.bincount((found[:, :-1] * k + found[:, 1:]).ravel(), minlength=k * k).reshape(k, k)
    rows = np.maximum(pairs.sum(axis=1, keepdims=True), 1)
    frequency = np.bincount(found.ravel(), minlength=k) / found.size
    return SymbolStatistics(frequency, pairs / rows, float((found[:, :-1] != found[:, 1:]).mean()))
