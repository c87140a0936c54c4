"""Numba loops over events; `spikeframe.kernels.reference.events` says what each one means.

All take the record array of the one event layout, so each is compiled once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[Any]


@njit(cache=True)
def first_bad_event(events: Array, width: int, height: int) -> int:
    """Index of the first event out of order or out of range, or -1."""
    before = 0
    for i in range(events.size):
        e = events[i]
        if e.t < before or e.x < 0 or e.x >= width or e.y < 0 or e.y >= height or e.p < 0 or e.p > 1:
            return i
        before = e.t
    return -1


@njit(cache=True)
def decode_40bit(records: Array, out: Array, width: int, height: int, marker: int) -> tuple[int, int, int]:
    """Decode 40-bit records; (events written, overflow markers, first record that breaks a rule or -1)."""
    count = 0
    before = np.int64(0)
    shift = np.int64(0)
    for i in range(records.size):
        head = np.int64(records[i].head)
        x = head & 255
        y = (head >> 8) & 255
        t = ((head & 0x7F0000) | ((head >> 16) & 0xFF00) | records[i].tail) + shift
        if y == marker:
            shift += 8192
            continue
        if x >= width or y >= height or t < before:
            return count, i - count, i
        before = t
        event = out[count]
        event.x = x
        event.y = y
        event.t = t
        event.p = (head >> 23) & 1
        count += 1
    return count, records.size - count, -1


@njit(cache=True)
def count_by_time(events: Array, edges: Array, limit: int, frames: Array) -> tuple[int, int, int]:
    """Count events into frames [T, P, H, W]; (outside the edges, over the limit, first bad event or -1)."""
    windows, polarities, height, width = frames.shape
    before = np.int64(0)
    outside = 0
    over = 0
    k = 0
    for i in range(events.size):
        event = events[i]
        t, x, y, p = event.t, event.x, event.y, event.p
        if t < before or x < 0 or x >= width or y < 0 or y >= height or p < 0 or p > 1:
            return outside, over, i
        before = t
        while k < windows and t >= edges[k + 1]:
            k += 1
        if t < edges[0] or k == windows:
            outside += 1
            continue
        c = p if polarities == 2 else 0
        if frames[k, c, y, x] < limit:
            frames[k, c, y, x] += 1
        else:
            over += 1
    return outside, over, -1


@njit(cache=True)
def count_by_number(events: Array, per_window: int, limit: int, frames: Array) -> tuple[int, int]:
    """Count runs of ``per_window`` events into frames [T, P, H, W]; (over the limit, first bad event or -1)."""
    _, polarities, height, width = frames.shape
    bad = first_bad_event(events, width, height)
    if bad >= 0:
        return 0, bad
    over = 0
    for i in range(events.size):
        event = events[i]
        k = i // per_window
        c = event.p if polarities == 2 else 0
        if frames[k, c, event.y, event.x] < limit:
            frames[k, c, event.y, event.x] += 1
        else:
            over += 1
    return over, -1


@njit(cache=True)
def spread_in_time(events: Array, signed: bool, grid: Array) -> int:
    """Add each event to the two nearest instants of grid [T, H, W]; first bad event or -1."""
    instants, height, width = grid.shape
    bad = first_bad_event(events, width, height)
    if bad >= 0 or events.size == 0:
        return bad
    first = events[0].t
    span = events[events.size - 1].t - first
    scale = (instants - 1) / span if span > 0 else 0.0
    for i in range(events.size):
        event = events[i]
        sign = -1.0 if signed and event.p == 0 else 1.0
        place = scale * (event.t - first)
        k = min(np.int64(place), instants - 1)
        later = place - k
        grid[k, event.y, event.x] += np.float32(sign * (1.0 - later))
        if later > 0 and k + 1 < instants:
            grid[k + 1, event.y, event.x] += np.float32(sign * later)
    return -1
