"""Event-camera pixel loop in Numba; ``reference/camera.py`` is the meaning."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit


@njit(cache=True, nogil=True)
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
    """Write one recording's events, pixel after pixel, and return how many there are."""
    height, width = theta_on.shape
    steps = cell.shape[0] - 1
    count = 0
    for y in range(height):
        for x in range(width):
            pixel = y * width + x
            noise = noise_start[pixel]
            noise_end = noise_start[pixel + 1]
            high = theta_on[y, x]
            low = theta_off[y, x]
            level = 0.0
            memory = 0.0
            ready = 0.0
            for step in range(steps + 1):
                column = oversample * x + cell[step, 0]
                row = oversample * y + cell[step, 1]
                fu = share[step, 0]
                fv = share[step, 1]
                upper = scene[row, column] * (1.0 - fu) + scene[row, column + 1] * fu
                lower = scene[row + 1, column] * (1.0 - fu) + scene[row + 1, column + 1] * fu
                target = upper * (1.0 - fv) + lower * fv
                if step == 0:
                    level = target
                    memory = target
                    continue
                before = level
                level = before + smoothing * (target - before)
                start = (step - 1) * dt
                end = step * dt
                if ready >= end:
                    continue
                quiet = noise >= noise_end or noise_time[noise] >= end
                if quiet and ready < start and memory - low <= level <= memory + high:
                    continue
                slope = (level - before) / dt
                now = start
                if ready >= start:
                    now = ready
                    memory = before + slope * (ready - start)
                while True:
                    time = end
                    polarity = -1
                    if level > memory + high:
                        time = start + (memory + high - before) / slope
                        polarity = 1
                    elif level < memory - low:
                        time = start + (memory - low - before) / slope
                        polarity = 0
                    time = min(max(time, now), end)
                    while noise < noise_end and noise_time[noise] < now:
                        noise += 1
                    if noise < noise_end and noise_time[noise] < time:
                        time = noise_time[noise]
                        polarity = noise_polarity[noise]
                    if polarity < 0:
                        break
                    if count < out.size:
                        out[count].x = x
                        out[count].y = y
                        out[count].t = np.int64(np.floor(time * 1000.0))
                        out[count].p = polarity
                    count += 1
                    ready = time + refractory
                    if ready >= end:
                        break
                    now = ready
                    memory = before + slope * (ready - start)
    return count
