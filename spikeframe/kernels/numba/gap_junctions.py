"""Gap junctions of a grid run, compiled (see `spikeframe.kernels.gap_junctions`)."""

from __future__ import annotations

from numba import njit

from spikeframe.kernels.numba.borrowing import BORROWING


@njit(**BORROWING)
def couple(current, lo, hi, first, v, start, other, conductance):  # type: ignore[no-untyped-def]
    """Add the currents through the junctions of the neurons lo..hi; `first` is the group's first membrane."""
    for j in range(lo, hi):
        i = first + j
        total = v.dtype.type(0.0)
        for e in range(start[i], start[i + 1]):
            total += conductance[e] * (v[other[e]] - v[i])
        current[j] += total


@njit(**BORROWING)
def publish(values, lo, hi, first, v):  # type: ignore[no-untyped-def]
    """Copy the membranes of the neurons lo..hi to where all threads read them."""
    for j in range(lo, hi):
        v[first + j] = values[j]
