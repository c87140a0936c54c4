"""Overlaps of dendritic segments with active inputs, compiled (see `spikeframe.kernels.reference.segments`)."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def active(bounds, source, first, segment, weight, theta, segments):  # type: ignore[no-untyped-def]
    """Find the segments whose overlap in a step reaches the threshold; only what an event reaches is touched."""
    overlap = np.zeros(segments, np.float64)
    last = np.full(segments, -1, np.int64)  # step at which a segment was last reached
    touched = np.empty(segments, np.int64)
    steps, found = np.empty(64, np.int64), np.empty(64, np.int64)
    hits = 0
    counts = np.zeros(2, np.int64)
    for t in range(len(bounds) - 1):
        n = 0
        for e in range(bounds[t], bounds[t + 1]):
            begin, end = first[source[e]], first[source[e] + 1]
            counts[0] += end - begin
            for k in range(begin, end):
                s = segment[k]
                if last[s] != t:
                    last[s] = t
                    overlap[s] = 0.0
                    touched[n] = s
                    n += 1
                overlap[s] += weight[k]
        counts[1] += n
        before = hits
        for j in range(n):
            if overlap[touched[j]] >= theta:
                if hits == len(steps):
                    steps = np.concatenate((steps, np.empty_like(steps)))
                    found = np.concatenate((found, np.empty_like(found)))
                steps[hits], found[hits] = t, touched[j]
                hits += 1
        found[before:hits].sort()
    return steps[:hits].copy(), found[:hits].copy(), counts
