"""The meaning of rows that are drawn again: the synapses that the builder would have stored."""

from __future__ import annotations

import numpy as np

from spikeframe.kernels.numba import connect
from spikeframe.kernels.procedural import Regenerated, Values

#: Target, weight and delay (steps) of every synapse of every source.
Stored = list[list[tuple[int, int, int]]]


def stored(link: Regenerated, seed: int) -> Stored:
    """Return all synapses of a projection.

    Args:
        link: the projection.
        seed: key.
    """
    start, target = connect.rows(link.law, link.sources, link.targets, seed, link.stream, 1)
    weight, delay = (_all(v, start, seed) for v in (link.weight, link.delay))
    rows = zip(target.tolist(), weight.tolist(), delay.tolist(), strict=True)
    every = list(rows)
    return [every[start[i] : start[i + 1]] for i in range(link.sources)]


def _all(v: Values, start: np.ndarray, seed: int) -> np.ndarray:
    if v.one is not None:
        return np.full(int(start[-1]), v.one, np.int64)
    found: np.ndarray = connect.drawn(
        connect.Drawn(v.kind, v.parameters, v.unit, v.least, np.int64), start, seed, v.stream, 1
    )
    return found
