"""What drives a network from outside: spike sources, Poisson arrivals and injected currents.

Times are in ms from the start of the simulation. A stimulus acts in the steps that end in (start, stop].
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeframe.core.distributions import number, numbers
from spikeframe.errors import EventError, ParameterError, ShapeError, TimeGridError

Floats = NDArray[np.float64]


def _number(what: str, value: Any, least: float = -math.inf, infinite: bool = False) -> float:
    """Return a real number, or refuse it."""
    found = number(what, value, infinite)
    if found < least:
        raise ParameterError(f"{what}={value!r}: must be at least {least:g}.")
    return found


def _window(stimulus: Any) -> None:
    kind = type(stimulus).__name__
    start = _number(f"{kind}(start)", stimulus.start, least=0.0)
    stop = _number(f"{kind}(stop)", stimulus.stop, infinite=True)
    if not stop >= start:
        raise ParameterError(f"{kind}(start={start:g}, stop={stop:g}): stop must not lie before start.")


def _windows(source: Any) -> None:
    """Check starts and stops that neurons have of their own."""
    try:
        start, stop = np.broadcast_arrays(np.atleast_1d(source.start), np.atleast_1d(source.stop))
    except ValueError:
        start = stop = np.zeros((0, 0))
    if start.ndim > 1:
        shapes = np.shape(source.start), np.shape(source.stop)
        raise ShapeError(f"PoissonSource: start and stop have shapes {shapes}; give a number, or one per neuron.")
    wrong = np.flatnonzero(~((start >= 0) & (start < math.inf) & (stop >= start)))
    if wrong.size:
        i = int(wrong[0])
        raise ParameterError(
            f"PoissonSource(start={start[i]:g}, stop={stop[i]:g}) of neuron {i}: needs 0 <= start <= stop."
        )


@dataclass(frozen=True, eq=False)
class PoissonSource:
    """Neurons that fire at random, independently, at most once a step.

    Args:
        rate: spikes per second of each, a number or one per neuron; a step of dt holds a spike with probability
            ``1 - exp(-rate dt)``.
        start: ms, a number or one per neuron.
        stop: ms, a number or one per neuron.
    """

    rate: Any
    start: Any = 0.0
    stop: Any = math.inf

    def __post_init__(self) -> None:
        for name, infinite in (("rate", False), ("start", False), ("stop", True)):
            found = numbers(f"PoissonSource({name})", getattr(self, name), infinite)
            object.__setattr__(self, name, found if found.ndim else float(found))
        _windows(self)
        if np.ndim(self.rate) > 1 or (np.asarray(self.rate) < 0).any():
            raise ParameterError(f"PoissonSource(rate={self.rate!r}): must be at least 0, in spikes/s; one or a list.")

    def check(self, name: str, size: int) -> None:
        """Refuse what does not fit a population: neither one value nor one per neuron.

        Args:
            name: of the population.
            size: its neurons.
        """
        for key in ("rate", "start", "stop"):
            if np.ndim(own := getattr(self, key)) and len(own) != size:
                raise ShapeError(f"population {name!r}: PoissonSource({key}) has {len(own)} values for {size} neurons.")


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
        times = numbers("SpikeSource(times)", self.times)
        try:
            ids = np.asarray(self.ids).copy()
        except (TypeError, ValueError, RuntimeError) as error:
            raise EventError(f"SpikeSource: ids must be whole numbers from 0 ({error}).") from None
        if times.ndim != 1 or times.shape != ids.shape:
            raise ShapeError(f"SpikeSource: times has shape {times.shape}, ids {ids.shape}; give two equal lists.")
        if (times <= 0).any():
            raise EventError("SpikeSource: times must be above 0 ms.")
        if ids.size and (ids.dtype.kind not in "iu" or ids.min() < 0):
            raise EventError("SpikeSource: ids must be whole numbers from 0.")
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "ids", ids)

    def check(self, name: str, size: int) -> None:
        """Refuse a spike of a neuron that a population does not have.

        Args:
            name: of the population.
            size: its neurons.
        """
        if np.size(self.ids) and np.max(self.ids) >= size:
            raise ShapeError(f"population {name!r}: a spike of neuron {np.max(self.ids)}, but there are {size}.")

    @classmethod
    def from_events(
        cls, events: NDArray[Any] | Mapping[str, ArrayLike], sensor_size: tuple[int, int, int], dt: float
    ) -> SpikeSource:
        """Let every event of a sensor be a spike.

        Neuron ``(p height + y) width + x`` stands for a pixel and polarity, as in flattened frames
        ``[polarities, height, width]``. An event at t lies in the step of ``k dt <= t < (k + 1) dt`` and its spike has
        the time of that step's end, ``(k + 1) dt``: what frames of width dt count is what the spikes of each step are.
        Several events of a pixel in one step are as many spikes.

        Args:
            events: event array ``[n]`` with whole-numbered fields t (µs, not decreasing), x, y, p (0 or 1), or a
                mapping of such columns; y may be left out.
            sensor_size: (width, height, polarities); with 1, both polarities are one neuron.
            dt: ms, the simulation's.

        Returns:
            A source for a population of ``width height polarities`` neurons.

        Raises:
            EventError: a field is missing, no list of whole numbers, or out of range; the event is named.
            ParameterError: the sensor size is not usable.
            TimeGridError: dt is no positive number.
        """
        width, height, polarities = _sensor(sensor_size)
        if isinstance(dt, bool) or not isinstance(dt, (int, float, np.number)) or not 0 < dt < math.inf:
            raise TimeGridError(f"from_events(dt={dt!r}): must be a positive number of milliseconds, e.g. dt=0.1.")
        t, p = _column(events, "t", 2**62 + 1), _column(events, "p", 2)
        x, y = _column(events, "x", width), _column(events, "y", height)
        for name, column in (("p", p), ("x", x), ("y", y)):
            if column.shape != t.shape:
                raise EventError(f"from_events: {t.size} times, but {column.size} values of {name}; give as many.")
        back = np.flatnonzero(np.diff(t) < 0)
        if back.size:
            i = int(back[0]) + 1
            raise EventError(f"from_events: event {i} has t={t[i]}, the one before {t[i - 1]}; sort by t first.")
        step = round(dt * 1e3)  # in µs; times on a grid of whole microseconds must not be rounded below their step
        steps = t // step if math.isclose(step, dt * 1e3, rel_tol=1e-12) else np.floor(t / (dt * 1e3)).astype(np.int64)
        return cls((steps + 1) * float(dt), ((p if polarities == 2 else 0) * height + y) * width + x)


def _sensor(size: Any) -> tuple[int, int, int]:
    """Return (width, height, polarities), or refuse it."""
    sides = tuple(size) if isinstance(size, (tuple, list)) else ()
    whole = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 1 for n in sides)
    if len(sides) != 3 or not whole or sides[2] > 2 or math.prod(map(int, sides)) >= 2**31:
        raise ParameterError(
            f"from_events(sensor_size={size!r}): must be (width, height, polarities), whole numbers from 1, at most 2 "
            "polarities and below 2^31 neurons."
        )
    return int(sides[0]), int(sides[1]), int(sides[2])


def _column(events: Any, name: str, end: int) -> NDArray[np.int64]:
    """Return a field of some events as ``[n]`` numbers from 0 to below `end`, or refuse it."""
    names = (events.dtype.names or ()) if isinstance(events, np.ndarray) else list(events)
    if name not in names:
        if name == "y":
            return np.zeros_like(_column(events, "x", 2**62))
        raise EventError(f"from_events: no field {name!r} in {names!r}; needed are t, x, p, and y on a plane.")
    column = np.asarray(events[name])
    if column.ndim != 1 or (column.size and column.dtype.kind not in "iub"):
        raise EventError(f"from_events: field {name!r} is {column.dtype} {column.shape}; must be [n] whole numbers.")
    wrong = np.flatnonzero((column < 0) | (column >= end))
    if wrong.size:
        i = int(wrong[0])
        raise EventError(f"from_events: event {i} has {name}={column[i]}; accepted is 0 to {end - 1}.")
    return column.astype(np.int64)


def _each(stimulus: Any, name: str, least: float = -math.inf) -> None:
    """Make a field one float, or an array of one number per neuron; or refuse it."""
    what, value = f"{type(stimulus).__name__}({name})", getattr(stimulus, name)
    if not isinstance(value, (list, tuple)) and not (isinstance(value, np.ndarray) and value.ndim):
        _number(what, value, least)
        return
    found = numbers(what, value)
    if found.ndim != 1:
        raise ShapeError(f"{what} has shape {found.shape}; give a number, or a list with one per neuron.")
    if (found < least).any():
        i = int(np.argmax(found < least))
        raise ParameterError(f"{what}[{i}]={found[i]:g}: must be at least {least:g}.")
    object.__setattr__(stimulus, name, found)


def _fits(kind: str, name: str, value: Any, population: str, size: int) -> None:
    """Refuse values along the last axis that are not one per neuron."""
    if np.ndim(value) and np.shape(value)[-1] != size:
        raise ShapeError(
            f"stimulate({population!r}): {kind}({name}) has {np.shape(value)[-1]} values for {size} neurons."
        )


@dataclass(frozen=True, eq=False)
class PoissonInput:
    """Independent Poisson arrivals at every neuron: as many random sources in one.

    Args:
        rate: arrivals per second at each neuron (the sum over what would be separate sources); a number or one per
            neuron.
        weight: of each arrival, in the receptor's unit.
        start: ms.
        stop: ms.
    """

    rate: Any
    weight: float
    start: float = 0.0
    stop: float = math.inf

    def __post_init__(self) -> None:
        _window(self)
        _each(self, "rate", least=0.0)
        _number("PoissonInput(weight)", self.weight)

    def check(self, name: str, size: int) -> None:
        """Refuse what does not fit a population.

        Args:
            name: of the population.
            size: its neurons.
        """
        _fits("PoissonInput", "rate", self.rate, name, size)


class _Steady:
    """A current whose mean does not change."""

    #: The field with the mean, pA: a number, or one per neuron.
    MEAN: ClassVar[str]

    def check(self, name: str, size: int) -> None:
        """Refuse what does not fit a population.

        Args:
            name: of the population.
            size: its neurons.
        """
        _fits(type(self).__name__, self.MEAN, getattr(self, self.MEAN), name, size)

    @property
    def levels(self) -> Floats | None:
        """``[1, size]`` means of neurons that have their own, pA, or None."""
        mean = getattr(self, self.MEAN)
        return np.asarray(mean)[np.newaxis] if np.ndim(mean) else None

    def at(self, times: Floats) -> Floats:
        """Return the mean at some times, pA; where neurons have their own, which of `levels` they are."""
        mean = getattr(self, self.MEAN)
        return np.full(times.shape, 0.0 if np.ndim(mean) else float(mean))


@dataclass(frozen=True, eq=False)
class DC(_Steady):
    """A constant current.

    Args:
        amplitude: pA, a number or one per neuron.
        start: ms.
        stop: ms.
    """

    amplitude: Any
    start: float = 0.0
    stop: float = math.inf
    sd: ClassVar[float] = 0.0
    MEAN = "amplitude"

    def __post_init__(self) -> None:
        _window(self)
        _each(self, "amplitude")


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
    sd: ClassVar[float] = 0.0
    levels: ClassVar[None] = None

    def __post_init__(self) -> None:
        _window(self)
        for name in ("amplitude", "frequency", "phase", "offset"):
            _number(f"AC({name})", getattr(self, name))

    def check(self, name: str, size: int) -> None:
        """Fit any population."""

    def at(self, times: Floats) -> Floats:
        """Return the current at some times, pA."""
        angle = 2e-3 * math.pi * self.frequency * times + math.radians(self.phase)
        return np.asarray(self.offset + self.amplitude * np.sin(angle))


@dataclass(frozen=True, eq=False)
class NoiseCurrent(_Steady):
    """Gaussian white noise: a new value for each neuron in every step.

    Args:
        mean: pA, a number or one per neuron.
        sd: pA, of each step's value.
        start: ms.
        stop: ms.
    """

    mean: Any
    sd: float
    start: float = 0.0
    stop: float = math.inf
    MEAN = "mean"

    def __post_init__(self) -> None:
        _window(self)
        _each(self, "mean")
        _number("NoiseCurrent(sd)", self.sd, least=0.0)


@dataclass(frozen=True, eq=False)
class StepCurrent:
    """A current that changes at given times.

    Args:
        times: ``[n]`` ms, ascending; before the first the current is 0.
        amplitudes: ``[n]`` pA, each valid from its time on; or ``[n, size]``, for each neuron its own.
    """

    times: ArrayLike
    amplitudes: ArrayLike
    start: float = 0.0
    stop: float = math.inf
    sd: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        _window(self)
        times, levels = numbers("StepCurrent(times)", self.times), numbers("StepCurrent(amplitudes)", self.amplitudes)
        if times.ndim != 1 or levels.ndim not in (1, 2) or times.shape != levels.shape[:1] or not times.size:
            raise ShapeError(
                f"StepCurrent: times {times.shape} and amplitudes {levels.shape} must be equal lists, or [n] and "
                "[n, neurons]."
            )
        if (np.diff(times) <= 0).any():
            raise ParameterError("StepCurrent: times must ascend.")
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "amplitudes", levels)

    def check(self, name: str, size: int) -> None:
        """Refuse what does not fit a population.

        Args:
            name: of the population.
            size: its neurons.
        """
        if np.ndim(self.amplitudes) == 2:
            _fits("StepCurrent", "amplitudes", self.amplitudes, name, size)

    @property
    def levels(self) -> Floats | None:
        """``[n + 1, size]`` currents of neurons that have their own, pA, or None; the first are 0."""
        own = np.asarray(self.amplitudes, np.float64)
        return np.concatenate([np.zeros_like(own[:1]), own]) if own.ndim == 2 else None

    def at(self, times: Floats) -> Floats:
        """Return the current at some times, pA; where neurons have their own, which of `levels` they are."""
        own = np.asarray(self.amplitudes, np.float64)
        levels = np.arange(len(own) + 1.0) if own.ndim == 2 else np.concatenate([[0.0], own])
        found: Floats = levels[np.searchsorted(np.asarray(self.times, np.float64), times + 1e-9, side="right")]
        return found


Current = DC | AC | NoiseCurrent | StepCurrent
Source = PoissonSource | SpikeSource
