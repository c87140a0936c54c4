"""What drives a planned network from outside, over a stretch of steps: the numbers that every provider draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeframe.kernels.grid import CurrentDrive, Group, PoissonDrive
from spikeframe.kernels.numba.poisson import poisson_each, poisson_steps, poisson_table
from spikeframe.kernels.reference import philox

Floats = NDArray[np.floating[Any]]


def arrivals(drive: PoissonDrive, seed: int, first: int, steps: int) -> NDArray[np.int64]:
    """Return ``[steps, neurons]`` Poisson arrivals.

    Args:
        drive: the planned drive.
        seed: key of the random numbers.
        first: steps done before.
        steps: length of the stretch.
    """
    counts = np.zeros((steps, drive.hi - drive.lo), np.int64)
    key = np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32)
    if np.ndim(drive.rate):
        for t in range(max(0, drive.start - first), min(steps, drive.stop - first)):
            rest = *drive.laws, drive.lo, drive.stream, *key, drive.lo
            poisson_each(counts[t], drive.lo, drive.hi, 1, first + t, *rest)
        return counts
    table = poisson_table(drive.rate).arrays
    poisson_steps(counts, drive.lo, drive.hi, first, drive.start, drive.stop, table, drive.stream, *key)
    return counts


def currents(
    drives: Sequence[CurrentDrive], size: int, seed: int, first: int, steps: int, dtype: np.dtype[Any]
) -> Floats:
    """Return ``[steps, neurons]`` injected currents, each rounded to `dtype` and added in the order of the drives.

    Args:
        drives: those of one population.
        size: its neurons.
        seed: key of the random numbers.
        first: steps done before.
        steps: length of the stretch.
        dtype: float type of the run.
    """
    total = np.zeros((steps, size), dtype)
    at = np.arange(first, first + steps, dtype=np.int64)
    for drive in drives:
        inside = (at >= drive.start) & (at < drive.stop)
        value = np.asarray(drive.amplitude(at), np.float64)[:, np.newaxis]
        if drive.levels is not None:
            value = np.asarray(drive.levels, np.float64)[np.where(inside, value[:, 0], 0).astype(np.int64)]
        if drive.sd:
            words = _words(at, np.arange(drive.lo, drive.hi), drive.stream, seed)
            value = value + drive.sd * philox.normal64(words[0], words[1])
        total[inside] += np.broadcast_to(value, total.shape)[inside].astype(dtype)
    return total


def uniforms(group: Group, which: int, at: int, size: int, seed: int, first: int, steps: int) -> NDArray[np.float32]:
    """Return ``[steps, neurons]`` uniform random numbers of a stochastic neuron.

    Args:
        group: the planned group.
        which: which of its `randoms`.
        at: first neuron of the population in the group.
        size: neurons of the population.
        seed: key.
        first: steps done before.
        steps: length of the stretch.
    """
    steps_at = np.arange(first, first + steps, dtype=np.int64)
    return philox.uniform32(_words(steps_at, np.arange(at, at + size), group.stream + which, seed)[0])


def _words(steps: NDArray[np.int64], neurons: NDArray[np.int64], stream: int, seed: int) -> Any:
    high, low = steps[:, np.newaxis] >> 32, steps[:, np.newaxis] & 0xFFFFFFFF
    return philox.philox(high, low, neurons, stream, seed & 0xFFFFFFFF, seed >> 32)
