"""Loops over events in plain Python and NumPy: the meaning of the compiled ones in ``numba/events.py``.

Events are record arrays of the one event layout; a *legal* array has passed `first_bad_event`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MAX_TIME = 2**62


def first_bad_event(events: Array, width: int, height: int) -> int:
    """Index of the first event out of order or out of range, or -1."""
    x, y, t, p = (events[name] for name in ("x", "y", "t", "p"))
    good = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (p >= 0) & (p <= 1) & (t >= 0) & (t <= MAX_TIME)
    good[1:] &= t[1:] >= t[:-1]
    return -1 if good.all() else int(good.argmin())


def decode_40bit(records: Array, out: Array, width: int, height: int, marker: int) -> tuple[int, int, int]:
    """Decode 40-bit records; (events written, overflow markers, first record that breaks a rule or -1).

    The five bytes are x, y, polarity (highest bit) and 23 bits of time in µs, big-endian. A record with y = ``marker``
    is no event and adds 2^13 µs to all that follow. The event that breaks a rule is written too.
    """
    count = before = markers = 0
    for i, (x, y, high, middle, low) in enumerate(records.view(np.uint8).reshape(-1, 5).tolist()):
        if y == marker:
            markers += 1
            continue
        t = ((high & 0x7F) << 16 | middle << 8 | low) + 2**13 * markers
        out[count] = (x, y, t, high >> 7)
        if x >= width or y >= height or t < before:
            return count, markers, i
        before = t
        count += 1
    return count, markers, -1


def decode_evt2(words: Array, out: Array, target: int, dropped: Array) -> tuple[int, int]:
    """Decode EVT 2.0 words into ``out`` as far as it reaches, and count what is dropped.

    A word is type (4 bits) and content. Types 0 and 1: an OFF or ON event with the low 6 bits of time, x and y (11 bits
    each). 8: the high 28 bits of time, which wrap. 10: external trigger. 14, 15: other. ``dropped`` counts events
    before the first time, events before the first address (none here), triggers, others.

    Returns (number of events, -1), or (events so far, index of the word) for the first word that is of no known type or
    that gives event number ``target``.
    """
    count, high = 0, None
    for i, word in enumerate(words.tolist()):
        kind = word >> 28
        if kind in (0, 1):
            if high is None:
                dropped[0] += 1
                continue
            if count < out.size:
                out[count] = (word >> 11 & 2047, word & 2047, 64 * high + (word >> 22 & 63), kind)
            if count == target:
                return count, i
            count += 1
        elif kind == 8:
            high = _unwrapped(word % 2**28, high, 2**28)
        elif kind == 10:
            dropped[2] += 1
        elif kind in (14, 15):
            dropped[3] += 1
        else:
            return count, i
    return count, -1


def decode_evt3(words: Array, out: Array, target: int, dropped: Array) -> tuple[int, int]:
    """Decode EVT 3.0 words; arguments and result as `decode_evt2`.

    A word is type (4 bits) and content. 0: y of what follows. 2: an event with polarity and x. 3: polarity and x at
    which vectors begin. 4, 5: 12 or 8 bits, lowest first, each set one an event at the next x; the next vector goes on
    from there. 6: low 12 bits of time. 8: high 12 bits of time, which wrap; a new value sets the low bits to 0. 10:
    external trigger. 7, 14, 15: other. A vector that would give x > 2047 counts as unknown.
    """
    count, high, low, y, base, polarity = 0, None, 0, None, None, 0
    for i, word in enumerate(words.tolist()):
        kind, content = word >> 12, word & 4095
        if kind in (2, 4, 5):
            if kind == 2:
                places = [(content & 2047, content >> 11)]
            else:
                width = 12 if kind == 4 else 8
                places = [(None if base is None else base + k, polarity) for k in range(width) if content >> k & 1]
                base = None if base is None else base + width
            for x, p in places:
                if high is None:
                    dropped[0] += 1
                elif x is None or y is None:
                    dropped[1] += 1
                elif x > 2047:
                    return count, i
                else:
                    if count < out.size:
                        out[count] = (x, y, 4096 * high + low, p)
                    if count == target:
                        return count, i
                    count += 1
        elif kind == 0:
            y = content & 2047
        elif kind == 3:
            base, polarity = content & 2047, content >> 11
        elif kind == 6:
            low = content if high is not None else 0
        elif kind == 8:
            new = _unwrapped(content, high, 4096)
            low = low if new == high else 0
            high = new
        elif kind == 10:
            dropped[2] += 1
        elif kind in (7, 14, 15):
            dropped[3] += 1
        else:
            return count, i
    return count, -1


def equal_edges(first: int, span: int, n: int) -> Array:
    """Edges first + ceil(k span / n) of n equal bins."""
    return np.array([first + -(-k * span // n) for k in range(n + 1)], np.int64)


def window_starts(events: Array, edges: Array, width: int, height: int, starts: Array) -> int:
    """Write the index of the first event at or after each edge, and check all events as `first_bad_event` does."""
    bad = first_bad_event(events, width, height)
    if bad < 0:
        starts[:] = np.searchsorted(events["t"], edges)
    return bad


def count_windows(events: Array, starts: Array, limit: int, frames: Array) -> int:
    """Count legal events starts[k] to starts[k + 1] - 1 into frames[k] [T, P, H, W]; number above the limit."""
    exact = np.zeros(frames.shape, np.int64)
    for k in range(len(frames)):
        part = events[starts[k] : starts[k + 1]]
        polarity = part["p"] if frames.shape[1] == 2 else np.zeros_like(part["p"])
        np.add.at(exact[k], (polarity, part["y"], part["x"]), 1)
    frames[...] = np.minimum(exact, limit)
    return int((exact - frames).sum())


def spread_in_time(events: Array, signed: bool, grid: Array) -> None:
    """Add each legal event to the two nearest instants of grid [T, H, W], in float32 and in the order of events."""
    if events.size == 0:
        return
    instants, first = len(grid), int(events["t"][0])
    span = int(events["t"][-1]) - first
    scale = (instants - 1) / span if span else 0.0
    for x, y, t, p in events.tolist():
        sign = -1.0 if signed and p == 0 else 1.0
        place = scale * (t - first)
        k = min(int(place), instants - 1)
        grid[k, y, x] += np.float32(sign * (1.0 - (place - k)))
        if place > k and k + 1 < instants:
            grid[k + 1, y, x] += np.float32(sign * (place - k))


def rested(events: Array, period: int, last: Array, keep: Array) -> None:
    """Mark events at least ``period`` after the last marked one of their pixel; ``last`` [H, W] starts at 0."""
    kept: dict[tuple[int, int], int] = {}
    for i, (x, y, t, _) in enumerate(events.tolist()):
        keep[i] = (x, y) not in kept or t - kept[x, y] >= period
        if keep[i]:
            kept[x, y] = t
            last[y, x] = t + 1


def supported(events: Array, window: int, last: Array, keep: Array) -> None:
    """Mark events that follow one of their 8 neighbours within ``window``; ``last`` [H + 2, W + 2] starts at 0."""
    x, y, t = events["x"].astype(int), events["y"].astype(int), events["t"]
    for i in range(events.size):
        distance = np.maximum(abs(x[:i] - x[i]), abs(y[:i] - y[i]))
        keep[i] = bool(((distance == 1) & (t[i] - t[:i] <= window)).any())
        last[y[i] + 1, x[i] + 1] = t[i] + 1


def _unwrapped(new: int, old: int | None, period: int) -> int:
    """Continue a counter that wraps at ``period``: a step back by more than half of it is a wrap."""
    if old is None:
        return new
    wraps, before = divmod(old, period)
    return new + period * (wraps + (new < before - period // 2))
