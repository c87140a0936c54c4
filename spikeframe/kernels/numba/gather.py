"""Dense counts to events, in two passes over the frames (reference: `numpy.nonzero`)."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def count_events(frames, start):  # type: ignore[no-untyped-def]
    """Fill ``start[1 + b * steps + t]`` with the number of non-zero counts of each step."""
    steps, samples, sources = frames.shape
    for t in range(steps):
        for b in range(samples):
            row = frames[t, b]
            n = np.int32(0)
            for i in range(sources):
                n += np.int32(1) if row[i] != np.float32(0.0) else np.int32(0)
            start[1 + b * steps + t] = n


@njit(cache=True, nogil=True, error_model="numpy")
def gather_events(frames, largest, start, source, count):  # type: ignore[no-untyped-def]
    """Write source and count of every event, sorted by sample, step and source; return whether all are legal."""
    steps, samples, sources = frames.shape
    legal = True
    for t in range(steps):
        for b in range(samples):
            row = frames[t, b]
            at = start[b * steps + t]
            if at == start[b * steps + t + 1]:
                continue
            for chunk in range(0, sources, 64):
                part = row[chunk : min(sources, chunk + 64)]
                found = np.int32(0)
                for i in range(part.size):
                    found += np.int32(1) if part[i] != np.float32(0.0) else np.int32(0)
                if found == 0:
                    continue
                for i in range(part.size):
                    value = part[i]
                    if value != np.float32(0.0):
                        if not (abs(value) <= largest and value == np.rint(value)):
                            legal = False
                            value = np.float32(0.0)
                        source[at] = chunk + i
                        count[at] = np.int32(value)
                        at += 1
    return legal


@njit(cache=True, nogil=True, error_model="numpy")
def most_coincident(start, source, seen):  # type: ignore[no-untyped-def]
    """Return how many events at most share a step and a source; `seen` is zero for every source."""
    most = 0
    for step in range(start.size - 1):
        for e in range(start[step], start[step + 1]):
            seen[source[e]] += 1
            most = max(most, seen[source[e]])
        for e in range(start[step], start[step + 1]):
            seen[source[e]] = 0
    return most
