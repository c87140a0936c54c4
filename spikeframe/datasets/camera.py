"""An event camera looking at a picture that moves: what a DVS or ATIS pixel array reports of it.

The picture's values v (0 black to 1 white) become luminance on a display, are blurred by the optics and moved along a
path over the sensor; a pixel sees L = ln(dark + blur(v^gamma)) through a first-order low pass, compares it with the
value M that it last accepted and fires::

    ON  when L - M >=  threshold_on  * exp(mismatch * n_on(x, y))
    OFF when L - M <= -threshold_off * exp(mismatch * n_off(x, y))

n are normal numbers fixed for each pixel of a camera. After an event the pixel is held in reset for the refractory time
and then accepts the L of that moment, so fast changes saturate. Noise events come at constant rates everywhere and
reset the pixel like any other. Between two steps L is a straight line, so timestamps are finer than the step.

The default camera and path were fitted to real N-MNIST recordings of known MNIST scans (50 pairs). On 50 other pairs,
model against recordings (``benchmarks/camera_calibration.py`` fits and measures): 3821 ± 1117 against 3901 ± 1149
events each, r = 0.994, rms relative error 4.0 %; ON fraction 0.501 against 0.494; events by saccade 1341, 1364, 1116
against 1353, 1361, 1187; map of events r = 0.953 a pair; 3 x 3 smoothed 20 ms frames r = 0.929, their ON - OFF 0.878;
median interval of a pixel 5.6 against 5.5 ms. The fit chose dark digits on light, by far (light on dark: count r 0.90,
error 15 %), and nearly all of the background are ON events.

Random numbers are Philox streams keyed by (seed, sample, purpose): the same recording, whoever makes it and when.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator
from scipy.special import ndtr

from spikeframe.datasets.events import EVENT_DTYPE, Events, whole_number
from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError

# Fitted, as are the defaults of Camera; the motion is N-MNIST's triangle with the motors' own delays and overshoot.
NMNIST_PATH = (
    (0.0, 14.45, 14.06),
    (12.0, 14.32, 14.38),
    (24.0, 14.23, 14.54),
    (36.0, 14.17, 15.44),
    (48.0, 14.15, 17.92),
    (60.0, 14.70, 19.08),
    (72.0, 15.54, 19.65),
    (84.0, 15.31, 19.48),
    (96.0, 15.57, 19.49),
    (108.0, 15.58, 19.34),
    (120.0, 16.16, 19.45),
    (132.0, 16.60, 18.97),
    (144.0, 17.90, 18.06),
    (156.0, 18.15, 16.40),
    (168.0, 18.75, 14.76),
    (180.0, 18.79, 14.61),
    (195.0, 19.08, 14.66),
    (210.0, 19.13, 14.68),
    (222.0, 18.80, 14.59),
    (230.0, 18.73, 14.38),
    (238.0, 19.11, 14.50),
    (246.0, 18.71, 14.27),
    (254.0, 17.91, 14.60),
    (262.0, 15.60, 14.57),
    (272.0, 14.95, 14.36),
    (284.0, 14.67, 14.31),
    (296.0, 14.22, 14.27),
    (308.0, 14.16, 14.33),
)

_OVERSAMPLE = 3
_THRESHOLD_STREAM, _NOISE_STREAM = 0, 1
_POSITIVE = ("width", "height", "extent", "threshold_on", "threshold_off", "refractory", "dark", "gamma", "dt")
_NOT_NEGATIVE = ("mismatch", "noise_on", "noise_off", "tau", "blur")


@dataclass(frozen=True)
class Camera:
    """An event camera before a display, by default one that records like N-MNIST's.

    Args:
        width: sensor columns.
        height: sensor rows.
        extent: length of the picture's longer side on the sensor, pixels.
        path: (t in ms, x, y in pixels) of the picture's centre on the sensor, at least two, t rising from 0; between
            them the motion is smooth and monotone (piecewise cubic Hermite). The last t is the recording's length.
        threshold_on: mean change of log intensity that gives an ON event.
        threshold_off: the same for OFF events, positive.
        mismatch: standard deviation of the thresholds' logarithm over pixels.
        refractory: time a pixel is held in reset after an event, ms.
        noise_on: background ON events, Hz a pixel.
        noise_off: background OFF events, Hz a pixel.
        tau: time constant of the pixel's low pass, ms; 0 is none.
        dark: luminance of black, as a share of white's.
        gamma: exponent of the display.
        blur: standard deviation of the optics' point spread, pixels.
        inverted: show the picture dark on light; else light on dark.
        dt: step of the simulation, ms.

    Raises:
        ParameterError: a value outside its range, or a path that is not one.
    """

    width: int = 34
    height: int = 34
    extent: float = 29.7
    path: tuple[tuple[float, float, float], ...] = NMNIST_PATH
    threshold_on: float = 0.256
    threshold_off: float = 0.253
    mismatch: float = 0.0994
    refractory: float = 0.926
    noise_on: float = 0.236
    noise_off: float = 0.001
    tau: float = 1.93
    dark: float = 0.123
    gamma: float = 1.2
    blur: float = 0.55
    inverted: bool = True
    dt: float = 1.0

    def __post_init__(self) -> None:
        for name in (*_POSITIVE, *_NOT_NEGATIVE):
            value = getattr(self, name)
            number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
            if not (number and math.isfinite(value) and (value > 0 or (value == 0 and name in _NOT_NEGATIVE))):
                raise ParameterError(
                    f"Camera: {name} = {value!r}; accepted is a finite number "
                    f"{'not below' if name in _NOT_NEGATIVE else 'above'} 0."
                )
        for name in ("width", "height"):
            if getattr(self, name) != int(getattr(self, name)) or getattr(self, name) > 2**15:
                raise ParameterError(
                    f"Camera: {name} = {getattr(self, name)!r}; accepted is a whole number up to 32768."
                )
        table = np.asarray(self.path, dtype=np.float64) if _is_table(self.path) else np.empty(0)
        if table.size == 0 or not np.isfinite(table).all() or table[0, 0] != 0 or (np.diff(table[:, 0]) <= 0).any():
            raise ParameterError(
                f"Camera: path = {self.path!r}; accepted are two or more (t in ms, x, y in pixels), t rising from 0."
            )

    @property
    def sensor_size(self) -> tuple[int, int, int]:
        """(width, height, polarities), tonic's order."""
        return (self.width, self.height, 2)

    @property
    def duration(self) -> float:
        """Length of a recording, ms."""
        return float(self.path[-1][0])

    def record(self, image: npt.ArrayLike, sample: int = 0, seed: int = 0) -> Events:
        """Return the events of one recording of a picture.

        Args:
            image: picture, values 0 (black) to 1 (white), shape [rows, columns].
            sample: number of the recording; another number is another course of the noise.
            seed: which camera (threshold mismatch) and which noise.

        Returns:
            Structured array of ``EVENT_DTYPE``, sorted by (t, y, x); t in µs.

        Raises:
            ShapeError: the picture does not have two axes, or an empty one.
            DTypeError: the picture does not hold real numbers.
            NonFiniteError: the picture has a NaN or an infinity.
            ParameterError: a value of the picture is outside 0 to 1, or sample or seed is not a whole number from 0.
        """
        from spikeframe.kernels.numba import camera as kernel

        view = self._view(_checked_picture(image))
        on, off = self._thresholds(whole_number("Camera.record: seed", seed, 0))
        noise = self._noise(whole_number("Camera.record: sample", sample, 0), seed)
        smoothing = 1.0 if self.tau == 0 else -math.expm1(-self.dt / self.tau)
        out = np.empty(1 << 13, EVENT_DTYPE)
        while True:
            count = kernel.record(*view, self.dt, smoothing, on, off, self.refractory, *noise, out)
            if count <= out.size:
                break
            out = np.empty(count, EVENT_DTYPE)
        # Pixels come row by row, so a stable sort by time leaves equal times in the order (y, x).
        events: Events = out[:count][np.argsort(out["t"][:count], kind="stable")]
        # The last step may reach beyond the path's end.
        return events[: np.searchsorted(events["t"], self.duration * 1000)]

    def _view(
        self, picture: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], int, npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Log luminance on a fine grid, its points a pixel, and where on it pixel (0, 0) looks at each step."""
        path = _positions(self.path, self.dt)
        low = -path.max(axis=0) - 1.0
        high = np.array([self.width, self.height]) - path.min(axis=0) + 1.0
        scale = self.extent / max(picture.shape)
        columns = _optics(picture.shape[1], scale, float(low[0]), float(high[0]), self.blur)
        rows = _optics(picture.shape[0], scale, float(low[1]), float(high[1]), self.blur)
        light = (1 - picture) ** self.gamma - 1 if self.inverted else picture**self.gamma
        scene = np.log(self.dark + float(self.inverted) + rows @ light @ columns.T)
        looks_at = (-path - low) * _OVERSAMPLE
        cell = np.floor(looks_at)
        return scene, _OVERSAMPLE, cell.astype(np.int64), looks_at - cell

    def _thresholds(self, seed: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """ON and OFF thresholds of each pixel, shape [height, width]."""
        normal = _stream(seed, 0, _THRESHOLD_STREAM).standard_normal((2, self.height, self.width))
        spread = np.exp(self.mismatch * normal)
        return self.threshold_on * spread[0], self.threshold_off * spread[1]

    def _noise(
        self, sample: int, seed: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int8]]:
        """First noise event of each pixel; times (ms) and polarities, by pixel and time."""
        stream = _stream(seed, sample, _NOISE_STREAM)
        pixels, rate = self.width * self.height, self.noise_on + self.noise_off
        count = int(stream.poisson(pixels * rate * self.duration * 1e-3))
        pixel, time, share = stream.integers(pixels, size=count), stream.random(count), stream.random(count)
        order = np.lexsort((time, pixel))
        polarity = (share * rate < self.noise_on).astype(np.int8)
        start = np.searchsorted(pixel[order], np.arange(pixels + 1))
        return start.astype(np.int64), (time * self.duration)[order], polarity[order]


@lru_cache(maxsize=8)
def _positions(path: tuple[tuple[float, float, float], ...], dt: float) -> npt.NDArray[np.float64]:
    """Position (x, y) of the picture's centre at every step, the last at or after the path's end."""
    table = np.asarray(path, dtype=np.float64)
    times = np.minimum(np.arange(math.ceil(table[-1, 0] / dt) + 1) * dt, table[-1, 0])
    positions: npt.NDArray[np.float64] = PchipInterpolator(table[:, 0], table[:, 1:])(times)
    return positions


@lru_cache(maxsize=8)
def _optics(side: int, scale: float, low: float, high: float, blur: float) -> npt.NDArray[np.float64]:
    """Weight of each square display pixel, blurred, at each grid point along one axis, shape [grid points, side]."""
    points = low + np.arange(math.ceil((high - low) * _OVERSAMPLE) + 2) / _OVERSAMPLE
    edges = (np.arange(side + 1) - side / 2) * scale
    # Without blur an edge still spans a grid cell, below which the grid shows nothing.
    distance = (edges[None, :] - points[:, None]) / max(blur, 0.5 / _OVERSAMPLE)
    weights: npt.NDArray[np.float64] = np.diff(ndtr(distance), axis=1)
    return weights


def _stream(seed: int, sample: int, purpose: int) -> np.random.Generator:
    """Random numbers of one sample for one purpose."""
    return np.random.Generator(np.random.Philox(key=seed, counter=np.array([0, 0, purpose, sample], dtype=np.uint64)))


def _is_table(path: object) -> bool:
    """Whether path is a tuple of two or more triples of numbers."""
    return (
        isinstance(path, tuple)
        and len(path) >= 2
        and all(isinstance(point, tuple) and len(point) == 3 for point in path)
        and all(isinstance(value, int | float | np.number) for point in path for value in point)
    )


def _checked_picture(image: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The picture as float64, or the error that names what is wrong with it."""
    array = np.asarray(image)
    if array.dtype.kind not in "buif":
        raise DTypeError(f"Camera.record: image has dtype {array.dtype}; accepted are real numbers from 0 to 1.")
    if array.ndim != 2 or 0 in array.shape:
        raise ShapeError(f"Camera.record: image has shape {array.shape}; accepted is [rows, columns], none of them 0.")
    picture = array.astype(np.float64)
    if not np.isfinite(picture).all():
        raise NonFiniteError("Camera.record: image has a NaN or an infinity; accepted are values from 0 to 1.")
    if picture.min() < 0 or picture.max() > 1:
        raise ParameterError(
            f"Camera.record: image has values {picture.min():g} to {picture.max():g}; accepted is 0 to 1. "
            "Divide by the largest possible value."
        )
    return picture
