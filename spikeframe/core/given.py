"""Spikes of sources on the grid clock: given ones, and those drawn from the network's random streams."""

from __future__ import annotations

from typing import cast

import numpy as np

from spikeframe.core.layout import steps_of, stream
from spikeframe.core.network import Population
from spikeframe.core.stimulation import PoissonSource, SpikeSource
from spikeframe.errors import TimeGridError
from spikeframe.kernels.grid import Ints, Longs
from spikeframe.kernels.numba.sources import poisson_trains


def train(p: Population, dt: float) -> tuple[Longs, Ints]:
    """Return the spikes of a `SpikeSource` as (step, id), in order; a spike at k dt is the k-th step's.

    Args:
        p: population of the source.
        dt: ms.

    Raises:
        TimeGridError: a time is off the grid.
    """
    source = cast(SpikeSource, p.neuron)
    times, ids = np.asarray(source.times, np.float64), np.asarray(source.ids, np.int64)
    steps = np.rint(times / dt).astype(np.int64)
    off = np.flatnonzero(np.abs(steps * dt - times) > 1e-6 * np.maximum(dt, times * 1e-6))
    if off.size or (steps < 1).any():
        bad = times[off[0]] if off.size else times[steps < 1][0]
        raise TimeGridError(
            f"population {p.name!r}: a spike at {bad:g} ms is not a positive multiple of dt={dt:g} ms; round the times."
        )
    order = np.lexsort((ids, steps))
    return steps[order], ids[order].astype(np.int32)


def window(train: tuple[Longs, Ints], first: int, steps: int) -> tuple[Longs, Ints]:
    """Return where each step's spikes begin, and their neurons, for a stretch of steps.

    Args:
        train: what `train` returned.
        first: steps done before.
        steps: length of the stretch.
    """
    at, ids = train
    edges = np.searchsorted(at, np.arange(first + 1, first + steps + 2))
    return (edges - edges[0]).astype(np.int64), ids[edges[0] : edges[-1]]


def drawn_spikes(p: Population, seed: int, dt: float, first: int, steps: int) -> tuple[Longs, Ints]:
    """Return where each step's spikes of a `PoissonSource` begin, and their neurons.

    Args:
        p: population of the source.
        seed: key of the random numbers.
        dt: ms.
        first: steps done before.
        steps: length of the stretch.
    """
    source = cast(PoissonSource, p.neuron)
    rate = np.broadcast_to(np.asarray(source.rate, np.float64), (p.size,))
    spans = [
        np.array([2**62 if time == np.inf else steps_of(f"PoissonSource({name})", float(time), dt) for time in each])
        for name, each in (("start", np.atleast_1d(source.start)), ("stop", np.atleast_1d(source.stop)))
    ]
    k0, k1 = np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32)
    chance = -np.expm1(-rate * dt * 1e-3)
    begin, end = (np.ascontiguousarray(np.broadcast_to(span, (p.size,)), np.int64) for span in spans)
    return poisson_trains(chance, begin, end, first, first + steps, stream("population", p.index, 8), k0, k1)
