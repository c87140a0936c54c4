"""Numba loops over events; `spikeframe.kernels.reference.events` says what each one means.

All take the record array of the one event layout, so each is compiled once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[Any]

# Sums and differences of two legal times fit in int64.
MAX_TIME = 2**62


@njit(cache=True, nogil=True)
def first_bad_event(events: Array, width: int, height: int) -> int:
    """Index of the first event out of order or out of range, or -1."""
    before = np.int64(0)
    for i in range(events.size):
        e = events[i]
        if e.t < before or e.x < 0 or e.x >= width or e.y < 0 or e.y >= height or e.p < 0 or e.p > 1 or e.t > MAX_TIME:
            return i
        before = e.t
    return -1


@njit(cache=True, nogil=True)
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
        event = out[count]
        event.x = x
        event.y = y
        event.t = t
        event.p = (head >> 23) & 1
        if x >= width or y >= height or t < before:
            return count, i - count, i
        before = t
        count += 1
    return count, records.size - count, -1


# Counters of the EVT decoders: before the first time, before the first address, external triggers, other words.
_NO_TIME, _NO_ADDRESS, _TRIGGER, _OTHER = 0, 1, 2, 3


@njit(cache=True, nogil=True)
def decode_evt2(words: Array, out: Array, target: int, dropped: Array) -> tuple[int, int]:
    """Decode EVT 2.0 words into ``out`` as far as it reaches, and count what is dropped.

    Returns (number of events, -1), or (events so far, index of the word) for the first word that is of no known type or
    that gives event number ``target``.
    """
    count = 0
    high = np.int64(-1)
    for i in range(words.size):
        word = np.int64(words[i])
        kind = word >> 28
        if kind <= 1:
            if high < 0:
                dropped[_NO_TIME] += 1
                continue
            if count < out.size:
                event = out[count]
                event.x = (word >> 11) & 0x7FF
                event.y = word & 0x7FF
                event.t = high << 6 | (word >> 22) & 0x3F
                event.p = kind
            if count == target:
                return count, i
            count += 1
        elif kind == 0x8:
            new = word & 0xFFFFFFF
            # The 28 bits wrap; a small step back is left for the check of order.
            if high >= 0:
                wraps = high >> 28
                if new < (high & 0xFFFFFFF) - 0x8000000:
                    wraps += 1
                new += wraps << 28
            high = new
        elif kind == 0xA:
            dropped[_TRIGGER] += 1
        elif kind == 0xE or kind == 0xF:
            dropped[_OTHER] += 1
        else:
            return count, i
    return count, -1


@njit(cache=True, nogil=True)
def decode_evt3(words: Array, out: Array, target: int, dropped: Array) -> tuple[int, int]:
    """Decode EVT 3.0 words; arguments and result as `decode_evt2`."""
    count = 0
    high = np.int64(-1)
    time = np.int64(0)
    y = np.int64(-1)
    base = np.int64(-1)
    polarity = np.int64(0)
    for i in range(words.size):
        word = np.int64(words[i])
        kind = word >> 12
        if kind == 0x2 or kind == 0x4 or kind == 0x5:
            if kind == 0x2:
                width = 0
                valid, x, p = np.int64(1), word & 0x7FF, (word >> 11) & 1
            else:
                width = 12 if kind == 0x4 else 8
                valid, x, p = word & ((1 << width) - 1), base, polarity
            while valid:
                if valid & 1:
                    if high < 0:
                        dropped[_NO_TIME] += 1
                    elif y < 0 or x < 0:
                        dropped[_NO_ADDRESS] += 1
                    elif x > 0x7FF:
                        return count, i
                    else:
                        if count < out.size:
                            event = out[count]
                            event.x = x
                            event.y = y
                            event.t = time
                            event.p = p
                        if count == target:
                            return count, i
                        count += 1
                valid >>= 1
                x += 1
            if base >= 0:
                base += width
        elif kind == 0x0:
            y = word & 0x7FF
        elif kind == 0x3:
            base = word & 0x7FF
            polarity = (word >> 11) & 1
        elif kind == 0x6:
            if high >= 0:
                time = high << 12 | word & 0xFFF
        elif kind == 0x8:
            new = word & 0xFFF
            # The 24-bit clock wraps every 16.8 s; a small step back is left for the check of order.
            if high >= 0:
                wraps = high >> 12
                if new < (high & 0xFFF) - 0x800:
                    wraps += 1
                new += wraps << 12
            if new != high:
                high = new
                time = high << 12
        elif kind == 0xA:
            dropped[_TRIGGER] += 1
        elif kind == 0x7 or kind == 0xE or kind == 0xF:
            dropped[_OTHER] += 1
        else:
            return count, i
    return count, -1


@njit(cache=True, nogil=True)
def equal_edges(first: int, span: int, n: int) -> Array:
    """Edges first + ceil(k span / n) of n equal bins, written so that no product leaves int64."""
    length, rest = span // n, span % n
    edges = np.empty(n + 1, np.int64)
    for k in range(n + 1):
        edges[k] = first + k * length + (k * rest + n - 1) // n
    return edges


@njit(cache=True, nogil=True)
def window_starts(events: Array, edges: Array, width: int, height: int, starts: Array) -> int:
    """Write the index of the first event at or after each edge, and check all events as `first_bad_event` does."""
    before = np.int64(0)
    k = 0
    for i in range(events.size):
        e = events[i]
        if e.t < before or e.x < 0 or e.x >= width or e.y < 0 or e.y >= height or e.p < 0 or e.p > 1 or e.t > MAX_TIME:
            return i
        before = e.t
        while k < edges.size and edges[k] <= before:
            starts[k] = i
            k += 1
    starts[k:] = events.size
    return -1


@njit(cache=True, nogil=True)
def count_windows(events: Array, starts: Array, limit: int, frames: Array) -> int:
    """Count legal events starts[k] to starts[k + 1] - 1 into frames[k] [T, P, H, W]; number above the limit."""
    windows, polarities, height, width = frames.shape
    area = height * width
    flat = frames.reshape(windows, polarities * area)
    second = area if polarities == 2 else 0
    above = 0
    for k in range(windows):
        # From slices the compiler sees that indices are not negative.
        part, places = events[starts[k] : starts[k + 1]], flat[k]
        if part.size <= limit:
            for i in range(part.size):
                event = part[i]
                places[second * np.int64(event.p) + width * np.int64(event.y) + event.x] += 1
            continue
        for i in range(part.size):
            event = part[i]
            place = second * np.int64(event.p) + width * np.int64(event.y) + event.x
            if places[place] < limit:
                places[place] += 1
            else:
                above += 1
    return above


@njit(cache=True, nogil=True)
def spread_in_time(events: Array, signed: bool, grid: Array) -> None:
    """Add each legal event to the two nearest instants of grid [T, H, W]."""
    if events.size == 0:
        return
    instants = grid.shape[0]
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


@njit(cache=True, nogil=True)
def rested(events: Array, period: int, last: Array, keep: Array) -> None:
    """Mark events at least ``period`` after the last marked one of their pixel; ``last`` [H, W] starts at 0."""
    for i in range(events.size):
        event = events[i]
        # One is added to times, so that 0 stands for never.
        before = last[event.y, event.x]
        keep[i] = before == 0 or event.t + 1 - before >= period
        if keep[i]:
            last[event.y, event.x] = event.t + 1


@njit(cache=True, nogil=True)
def supported(events: Array, window: int, last: Array, keep: Array) -> None:
    """Mark events that follow one of their 8 neighbours within ``window``; ``last`` [H + 2, W + 2] starts at 0."""
    for i in range(events.size):
        event = events[i]
        y, x = event.y + 1, event.x + 1
        keep[i] = False
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                before = last[y + dy, x + dx]
                if (dy != 0 or dx != 0) and before > 0 and event.t + 1 - before <= window:
                    keep[i] = True
        last[y, x] = event.t + 1
