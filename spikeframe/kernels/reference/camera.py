"""Event-camera pixels in plain NumPy and loops: the meaning of the compiled one.

A pixel holds the log intensity it last accepted and fires when the present one differs from it by its threshold. It is
then held in reset for the refractory time and accepts the log intensity found at the end of that time, so a change
during the reset is lost. Between two steps the log intensity is a straight line, on which crossings are solved for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def record(
    scene: npt.NDArray[np.float64],
    origin: tuple[float, float],
    oversample: int,
    path: npt.NDArray[np.float64],
    dt: float,
    smoothing: float,
    theta_on: npt.NDArray[np.float64],
    theta_off: npt.NDArray[np.float64],
    refractory: float,
    noise_start: npt.NDArray[np.int64],
    noise_time: npt.NDArray[np.float64],
    noise_polarity: npt.NDArray[np.int8],
    out: npt.NDArray[Any],
) -> int:
    """Write one recording's events, pixel after pixel, and return how many there are.

    Args:
        scene: log intensity on a grid of ``oversample`` points a sensor pixel, shape [rows, columns].
        origin: scene coordinate (x, y) of the grid's first point, in sensor pixels.
        oversample: grid points a sensor pixel.
        path: position of the scene's origin on the sensor at each step, shape [steps + 1, 2], pixels.
        dt: length of a step, ms.
        smoothing: share of the difference that the pixel's low pass takes over in a step, 0 to 1; 1 is no low pass.
        theta_on: ON thresholds, log units, shape [height, width].
        theta_off: OFF thresholds, log units, shape [height, width].
        refractory: time a pixel is held in reset after an event, ms, above 0.
        noise_start: first noise event of each pixel, row by row, shape [height * width + 1].
        noise_time: times of noise events, sorted within a pixel, ms.
        noise_polarity: their polarities, 0 or 1.
        out: array of ``EVENT_DTYPE`` that takes the events, in order of pixels and, in each pixel, of time.

    Returns:
        Number of events; where it is more than ``out`` holds, the rest was counted and not written.
    """
    count = 0
    height, width = theta_on.shape
    for y, x in np.ndindex(height, width):
        levels = _low_pass(_seen(scene, origin, oversample, path, x, y), smoothing)
        noise = slice(noise_start[y * width + x], noise_start[y * width + x + 1])
        thresholds = (float(theta_on[y, x]), float(theta_off[y, x]))
        for time, polarity in _pixel(levels, dt, thresholds, refractory, noise_time[noise], noise_polarity[noise]):
            if count < out.size:
                out[count] = (x, y, int(np.floor(time * 1000.0)), polarity)
            count += 1
    return count


def _seen(
    scene: npt.NDArray[np.float64], origin: tuple[float, float], oversample: int, path: npt.NDArray[np.float64],
    x: int, y: int,
) -> npt.NDArray[np.float64]:  # fmt: skip
    """Bilinear interpolation of the scene where pixel (x, y) looks at each step."""
    u = (x - path[:, 0] - origin[0]) * oversample
    v = (y - path[:, 1] - origin[1]) * oversample
    column, row = np.floor(u).astype(int), np.floor(v).astype(int)
    fu, fv = u - column, v - row
    upper = scene[row, column] * (1.0 - fu) + scene[row, column + 1] * fu
    lower = scene[row + 1, column] * (1.0 - fu) + scene[row + 1, column + 1] * fu
    seen: npt.NDArray[np.float64] = upper * (1.0 - fv) + lower * fv
    return seen


def _low_pass(target: npt.NDArray[np.float64], smoothing: float) -> npt.NDArray[np.float64]:
    """First-order low pass, settled at the first value."""
    level = target.copy()
    for step in range(1, target.size):
        level[step] = level[step - 1] + smoothing * (target[step] - level[step - 1])
    return level


def _pixel(
    levels: npt.NDArray[np.float64],
    dt: float,
    thresholds: tuple[float, float],
    refractory: float,
    noise_time: npt.NDArray[np.float64],
    noise_polarity: npt.NDArray[np.int8],
) -> list[tuple[float, int]]:
    """Times (ms) and polarities of one pixel's events."""
    events: list[tuple[float, int]] = []
    memory, ready = levels[0], 0.0
    for step in range(1, levels.size):
        start, end = (step - 1) * dt, step * dt
        slope = (levels[step] - levels[step - 1]) / dt
        now = start
        while ready < end:
            if ready > now:
                now = ready
                memory = levels[step - 1] + slope * (now - start)
            candidates = [(time, int(p)) for time, p in zip(noise_time, noise_polarity, strict=True) if time >= now]
            if slope != 0.0:
                goal = memory + thresholds[0] if slope > 0.0 else memory - thresholds[1]
                candidates.insert(0, (max(now, start + (goal - levels[step - 1]) / slope), int(slope > 0.0)))
            time, polarity = min(candidates, key=lambda candidate: candidate[0], default=(np.inf, 0))
            if time >= end:
                break
            events.append((time, polarity))
            ready = time + refractory
    return events
