"""Overlaps of dendritic segments with active inputs, in plain NumPy: the meaning of the compiled ones.

Every event adds the weights of the synapses that listen to it, in float64, one after another in the order of events and
synapses. Segments that no event reaches are not looked at.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def active(
    bounds: Array, source: Array, first: Array, segment: Array, weight: Array, theta: float, segments: int
) -> tuple[Array, Array, Array]:
    """Find the segments whose overlap in a step reaches the threshold.

    Args:
        bounds: ``[T + 1]`` int64; the events of step t are ``bounds[t]`` to ``bounds[t + 1]``.
        source: ``[events]`` int64 input of each.
        first: ``[inputs + 1]`` int64; the synapses of input i are ``first[i]`` to ``first[i + 1]``.
        segment: ``[synapses]`` int64 segment of each.
        weight: ``[synapses]`` float64.
        theta: threshold.
        segments: number of segments.

    Returns:
        Step and segment of every one that is active, sorted by both, int64; and two counts: weights added, segments
        compared.
    """
    steps, found = [], []
    added = compared = 0
    for t in range(len(bounds) - 1):
        overlap = np.zeros(segments)
        touched = np.zeros(segments, bool)
        for i in source[bounds[t] : bounds[t + 1]]:
            for k in range(first[i], first[i + 1]):
                overlap[segment[k]] += weight[k]
                touched[segment[k]] = True
                added += 1
        compared += int(touched.sum())
        hits = np.flatnonzero(touched & (overlap >= theta))
        steps += [t] * len(hits)
        found += hits.tolist()
    return np.array(steps, np.int64), np.array(found, np.int64), np.array([added, compared], np.int64)
