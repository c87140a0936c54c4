"""What drives a network from outside: spike sources, Poisson arrivals and injected currents.

Times are in ms from the start of the simulation. A stimulus acts in the steps that end in (start, stop].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeframe.core.distributions import as_distribution
from spikeframe.errors import EventError, NonFiniteError, ParameterError, ShapeError

Floats = NDArray[np.float64]


def _number(what: str, value: Any, least: float = -math.inf, infinite: bool = False) -> float:
    """Return a real number, or refuse it."""
    number = as_distribution(value, what).value if not infinite else float(value)  # type: ignore[union-attr]
    if math.isnan(number) or (math.isinf(number) and not infinite):
        raise NonFiniteError(f"{what}={value!r}: must be finite.")
    if number < least:
        raise ParameterError(f"{what}={value!r}: must be at least {least:g}.")
    return float(number)


def _window(stimulus: Any) -> None:
    kind = type(stimulus).__name__
    start = _number(f"{kind}(start)", stimulus.start, least=0.0)
    stop = _number(f"{kind}(stop)", stimulus.stop, infinite=True)
    if not stop >= start:
        raise ParameterError(f"{kind}(start={start:g}, stop={stop:g}): stop must not lie before start.")


@dataclass(frozen=True)
class PoissonSource:
    """Neurons that fire at random, independently, at most once a step.

    Args:
        rate: spikes per second of each, a number or one per neuron; a step of dt holds a spike with probability
            ``1 - exp(-rate dt)``.
        start: ms.
        stop: ms.
    """

    rate: Any
    start: float = 0.0
    stop: float = math.inf

    def __post_init__(self) -> None:
        _window(self)
        rates = np.asarray(self.rate, np.float64)
        if not np.isfinite(rates).all() or (rates < 0).any() or rates.ndim > 1:
            raise ParameterError(f"PoissonSource(rate={self.rate!r}): must be finite and at least 0, in spikes/s.")


@dataclass(frozen=True, eq=False)
class SpikeSource:
    """Neurons that fire at given times.

    Args:
        times: ``[n]`` ms, multiples of the simulation's dt, > 0.
        ids: ``[n]`` neuron of each spike.
    """

    times: ArrayLike
    ids: ArrayLike

    def __post_init__(self) -> None:
        times, ids = np.asarray(self.times, np.float64), np.asarray(self.ids)
        if times.ndim != 1 or times.shape != ids.shape:
            raise ShapeError(f"SpikeSource: times has shape {times.shape}, ids {ids.shape}; give two equal lists.")
        if not np.isfinite(times).all() or (times <= 0).any():
            raise EventError("SpikeSource: times must be finite and above 0 ms.")
        if ids.size and (ids.dtype.kind not in "iu" or ids.min() < 0):
            raise EventError("SpikeSource: ids must be whole numbers from 0.")


@dataclass(frozen=True)
class PoissonInput:
    """Independent Poisson arrivals at every neuron: as many random sources in one.

    Args:
        rate: arrivals per second at each neuron (the sum over what would be separate sources).
        weight: of each arrival, in the receptor's unit.
        start: ms.
        stop: ms.
    """

    rate: float
    weight: float
    start: float = 0.0
    stop: float = math.inf

    def __post_init__(self) -> None:
        _window(self)
        _number("PoissonInput(rate)", self.rate, least=0.0)
        _number("PoissonInput(weight)", self.weight)


@dataclass(frozen=True)
class DC:
    """A constant current.

    Args:
        amplitude: pA.
        start: ms.
        stop: ms.
    """

    amplitude: float
    start: float = 0.0
    stop: float = math.inf
    sd: float = 0.0

    def __post_init__(self) -> None:
        _window(self)
        _number("DC(amplitude)", self.amplitude)

    def at(self, times: Floats) -> Floats:
        """Return the current at some times, pA."""
        return np.full(times.shape, float(self.amplitude))


@dataclass(frozen=True)
class AC:
    r"""A sinusoidal current ``offset + amplitude sin(2 pi f t + phase)``.

    Args:
        amplitude: pA.
        frequency: Hz.
        phase: degrees.
        offset: pA.
        start: ms.
        stop: ms.
    """

    amplitude: float
    frequency: float
    phase: float = 0.0
    offset: float = 0.0
    start: float = 0.0
    stop: float = math.inf
    sd: float = 0.0

    def __post_init__(self) -> None:
        _window(self)
        for name in ("amplitude", "frequency", "phase", "offset"):
            _number(f"AC({name})", getattr(self, name))

    def at(self, times: Floats) -> Floats:
        """Return the current at some times, pA."""
        angle = 2e-3 * math.pi * self.frequency * times + math.radians(self.phase)
        return np.asarray(self.offset + self.amplitude * np.sin(angle))


@dataclass(frozen=True)
class NoiseCurrent:
    """Gaussian white noise: a new value for each neuron in every step.

    Args:
        mean: pA.
        sd: pA, of each step's value.
        start: ms.
        stop: ms.
    """

    mean: float
    sd: float
    start: float = 0.0
    stop: float = math.inf

    def __post_init__(self) -> None:
        _window(self)
        _number("NoiseCurrent(mean)", self.mean)
        _number("NoiseCurrent(sd)", self.sd, least=0.0)

    def at(self, times: Floats) -> Floats:
        """Return the mean current at some times, pA."""
        return np.full(times.shape, float(self.mean))


@dataclass(frozen=True, eq=False)
class StepCurrent:
    """A current that changes at given times.

    Args:
        times: ``[n]`` ms, ascending; before the first the current is 0.
        amplitudes: ``[n]`` pA, each valid from its time on.
    """

    times: ArrayLike
    amplitudes: ArrayLike
    start: float = 0.0
    stop: float = math.inf
    sd: float = 0.0

    def __post_init__(self) -> None:
        times, levels = np.asarray(self.times, np.float64), np.asarray(self.amplitudes, np.float64)
        if times.ndim != 1 or times.shape != levels.shape or not times.size:
            raise ShapeError(f"StepCurrent: times {times.shape} and amplitudes {levels.shape} must be equal lists.")
        if not (np.isfinite(times).all() and np.isfinite(levels).all()):
            raise NonFiniteError("StepCurrent: times and amplitudes must be finite.")
        if (np.diff(times) <= 0).any():
            raise ParameterError("StepCurrent: times must ascend.")

    def at(self, times: Floats) -> Floats:
        """Return the current at some times, pA."""
        levels = np.concatenate([[0.0], np.asarray(self.amplitudes, np.float64)])
        found: Floats = levels[np.searchsorted(np.asarray(self.times, np.float64), times + 1e-9, side="right")]
        return found


Current = DC | AC | NoiseCurrent | StepCurrent
Source = PoissonSource | SpikeSource
