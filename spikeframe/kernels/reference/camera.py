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
    oversample: int,
    cell: npt.NDArray[np.int64],
    share: npt.NDArray[np.float64],
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
        oversample: grid points a sensor pixel.
        cell: (column, row) of the grid point up left of where pixel (0, 0) looks at each step, shape [steps + 1, 2].
        share: how far on from that point it looks, grid points, 0 to 1, shape [steps + 1, 2].
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
        points = cell + oversample * np.array([x, y])
        levels = _low_pass(_seen(scene, points, share), smoothing)
        noise = slice(noise_start[y * width + x], noise_start[y * width + x + 1])
        thresholds = (float(theta_on[y, x]), float(theta_off[y, x]))
        for time, polarity in _pixel(levels, dt, thresholds, refractory, noise_time[noise], noise_polarity[noise]):
            if count < out.size:
                out[count] = (x, y, int(np.floor(time * 1000.0)), polarity)
            count += 1
    return count


def _seen(
    scene: npt.NDArray[np.float64], points: npt.NDArray[np.int64], share: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Bilinear interpolation of the scene beyond the given grid points."""
    (column, row), (fu, fv) = points.T, share.T
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
            if ready >= now:
                now = ready
                memory = levels[step - 1] + slope * (now - start)
            crossing = []
            if levels[step] > memory + thresholds[0]:
                crossing = [(start + (memory + thresholds[0] - levels[step - 1]) / slope, 1)]
            elif levels[step] < memory - thresholds[1]:
                crossing = [(start + (memory - thresholds[1] - levels[step - 1]) / slope, 0)]
            candidates = [(min(max(time, now), end), p) for time, p in crossing]
            candidates += [(t, int(p)) for t, p in zip(noise_time, noise_polarity, strict=True) if now <= t < end]
            if not candidates:
                break
            time, polarity = min(candidates, key=lambda candidate: candidate[0])
            events.append((time, polarity))
            ready = time + refractory
    return events
