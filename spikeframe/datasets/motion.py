r"""Motion task: events of textures that move, labelled with their motion at every step.

A texture with the flat spectrum of a whitened natural image, ``e^{-(f / cutoff)^4}`` and random phases, moves over a
field (a torus) with a piecewise constant velocity: each step a new segment begins with probability dt / segment, whose
class is drawn uniformly. Pixels are those of a simple event camera: ``u += I(t) - I(t - dt)``, an ON event where
u > θ, an OFF event where u < -θ, and θ taken off or added. A shift by a fraction of a pixel is exact (Fourier).

The scheme is that of Grimaldi and Perrinet 2023, doi:10.1007/s00422-023-00975-8, with textures in place of the van
Hateren photographs. Random numbers are Philox streams keyed by (seed, sample): the same sample, whoever makes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikeframe.datasets.events import Events, make_events, whole_number
from spikeframe.errors import ParameterError, ShapeError, TimeGridError
from spikeframe.neurons.parameters import Parameter, as_value

_POSITIVE = Parameter(1.0, above=0.0)


def _positive(name: str, value: object) -> None:
    """Refuse what is no finite number above 0."""
    number = as_value(name, value)
    if number.ndim:
        raise ShapeError(f"{name} has shape {tuple(number.shape)}; give one number.")
    _POSITIVE.check(name, number)


@dataclass(frozen=True)
class MotionTask:
    """Samples of moving textures; class ``k`` moves in direction ``k % directions`` at ``speeds[k // directions]``.

    Attributes:
        directions: equally spaced, the first to the right; 2 for a field of one row.
        speeds: pixels per ms.
        height: rows of the field.
        width: columns.
        steps: time steps of a sample.
        dt: ms.
        segment: mean length of a stretch of one velocity, ms; infinity for one velocity per sample.
        threshold: of an event, in standard deviations of the texture.
        cutoff: spatial frequency where the spectrum ends, cycles per pixel.

    Raises:
        ParameterError, TimeGridError, DTypeError, NonFiniteError: a value is out of its range.
    """

    directions: int = 12
    speeds: tuple[float, ...] = (0.5, 1.0, 2.0)
    height: int = 128
    width: int = 128
    steps: int = 200
    dt: float = 1.0
    segment: float = 24.0
    threshold: float = 0.5
    cutoff: float = 0.25

    def __post_init__(self) -> None:
        for name in ("directions", "height", "width", "steps"):
            whole_number(f"MotionTask: {name}", getattr(self, name), 1)
        if not self.speeds:
            raise ParameterError("MotionTask(speeds=()): give at least one speed, pixels per ms.")
        for speed in self.speeds:
            _positive("MotionTask(speeds)", speed)
        dt = self.dt
        if isinstance(dt, bool) or not isinstance(dt, (int, float, np.number)) or not 0 < dt <= 1e9:
            raise TimeGridError(f"MotionTask(dt={dt!r}): must be a positive number of milliseconds, at most 1e9.")
        _positive("MotionTask(threshold)", self.threshold)
        _positive("MotionTask(cutoff)", self.cutoff)
        if not self.segment >= self.dt:
            raise ParameterError(f"MotionTask(segment={self.segment}): must be at least dt={self.dt:g} ms.")

    @property
    def velocities(self) -> NDArray[np.float64]:
        """Velocity (x, y) of every class, pixels per ms, ``[classes, 2]``."""
        angle = 2 * np.pi * np.arange(self.directions) / self.directions
        unit = np.stack([np.cos(angle), np.sin(angle)], -1)
        found: NDArray[np.float64] = (np.asarray(self.speeds)[:, None, None] * unit).reshape(-1, 2)
        return found

    def sample(self, index: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Make one sample.

        Args:
            index: which one.
            seed: of the task.

        Returns:
            Events ``[T, 2, H, W]`` of 0 and 1, OFF and ON, and the class of every step, ``[T]``.

        Raises:
            ParameterError: index or seed is no whole number from 0.
        """
        counter = np.array([0, 0, 0, whole_number("index", index, 0)], np.uint64)
        random = np.random.Generator(np.random.Philox(key=whole_number("seed", seed, 0), counter=counter))
        labels = self._labels(random)
        moved = np.cumsum(self.velocities[labels] * self.dt, axis=0)
        return self._events(self._movie(random, np.concatenate([np.zeros((1, 2)), moved]))), labels

    def batch(self, first: int, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Make samples.

        Args:
            first: index of the first.
            count: how many.
            seed: of the task.

        Returns:
            Events ``[T, B, 2, H, W]`` float32 and classes ``[T, B]``.
        """
        made = [self.sample(i, seed) for i in range(first, first + whole_number("count", count, 1))]
        x, labels = (np.stack(part, axis=1) for part in zip(*made, strict=True))
        return torch.from_numpy(x), torch.from_numpy(labels)

    def _labels(self, random: np.random.Generator) -> NDArray[np.int64]:
        """Draw the class of every step."""
        drawn = random.integers(self.directions * len(self.speeds), size=self.steps)
        new = random.random(self.steps) < self.dt / self.segment
        new[0] = True
        labels: NDArray[np.int64] = drawn[np.maximum.accumulate(np.where(new, np.arange(self.steps), 0))]
        return labels

    def _movie(self, random: np.random.Generator, place: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the texture at every place, ``[T + 1, H, W]``."""
        fy, fx = np.fft.fftfreq(self.height)[:, None], np.fft.rfftfreq(self.width)
        envelope = np.exp(-((np.hypot(fy, fx) / self.cutoff) ** 4))
        envelope[0, 0] = 0.0
        texture = np.fft.rfft2(random.standard_normal((self.height, self.width))) * envelope
        texture /= max(float(np.fft.irfft2(texture, (self.height, self.width)).std()), 1e-12)
        phase = fy * place[:, 1, None, None] + fx * place[:, 0, None, None]
        movie: NDArray[np.float64] = np.fft.irfft2(texture * np.exp(-2j * np.pi * phase), (self.height, self.width))
        return movie

    def _events(self, movie: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return what the pixels report."""
        events = np.zeros((self.steps, 2, self.height, self.width), np.float32)
        u = np.zeros((self.height, self.width))
        for t, change in enumerate(np.diff(movie, axis=0)):
            u += change
            events[t] = u < -self.threshold, u > self.threshold
            u -= self.threshold * (events[t, 1] - events[t, 0])
        return events


def event_stream(frames: NDArray[np.float32], dt: float) -> Events:
    """Return events as an event array sorted by time.

    Args:
        frames: ``[T, 2, H, W]`` of 0 and 1, OFF and ON.
        dt: ms; a whole number of µs.

    Returns:
        Event array with x, y, t (µs, start of the step) and p.

    Raises:
        TimeGridError: dt is no whole number of µs.
    """
    step = round(dt * 1000.0)
    if step < 1 or abs(step - dt * 1000.0) > 1e-6:
        raise TimeGridError(f"event_stream(dt={dt!r}): must be a whole number of microseconds, from 0.001 ms.")
    t, p, y, x = np.nonzero(frames)
    return make_events(x, y, t * step, p)
