"""Dense counts to events, in two passes over the frames (reference: `numpy.nonzero`)."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def count_events(frames, largest, start):  # type: ignore[no-untyped-def]
    """Fill ``start[1 + b * steps + t]`` with the non-zero counts of each step; return whether all counts are legal."""
    steps, samples, sources = frames.shape
    wrong = np.int32(0)
    for t in range(steps):
        for b in range(samples):
            row = frames[t, b]
            n = np.int32(0)
            for i in range(sources):
                n += np.int32(row[i] != np.float32(0.0))
                wrong |= np.int32(not (abs(row[i]) <= largest and row[i] == np.rint(row[i])))
            start[1 + b * steps + t] = n
    return wrong == 0


@njit(cache=True, nogil=True, error_model="numpy")
def gather_events(frames, start, source, count):  # type: ignore[no-untyped-def]
    """Write source and count of every event, sorted by sample, step and source."""
    steps, samples, sources = frames.shape
    for t in range(steps):
        for b in range(samples):
            row = frames[t, b]
            at = start[b * steps + t]
            if at == start[b * steps + t + 1]:
                continue
            for chunk in range(0, sources, 32):
                stop = min(sources, chunk + 32)
                any_event = np.int32(0)
                for i in range(chunk, stop):
                    any_event |= np.int32(row[i] != np.float32(0.0))
                if any_event:
                    for i in range(chunk, stop):
                        if row[i] != np.float32(0.0):
                            source[at] = i
                            count[at] = np.int32(row[i])
                            at += 1


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
