"""Projections that are not stored: their description for the kernels, and what counts need to know of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikeframe.core import building
from spikeframe.core.network import Projection
from spikeframe.errors import ParameterError, TimeGridError
from spikeframe.kernels.grid import Longs, Plan
from spikeframe.kernels.numba import procedural as kernels
from spikeframe.kernels.procedural import Regenerated, Values

#: Bytes of the ring of accumulators that drawn delays need, at the most.
_MOST = 1 << 31
#: Rows that are drawn to learn how many synapses a projection has.
_LOOK = 64


def described(
    link: Projection, places: tuple[int, int, int, int], receptor: int, unit: float, one: int | None,
    steps: int | None, stream: int, dt: float,
) -> Regenerated:  # fmt: skip
    """Return a projection as the kernels take it.

    Args:
        link: a procedural one.
        places: group and first neuron of its sources, then of its targets.
        receptor: index of the receptor.
        unit: what a weight of 1 stands for.
        one: the weight of all synapses, in units; None if it is drawn.
        steps: the delay of all synapses; None if it is drawn.
        stream: first of its random streams.
        dt: ms.

    Raises:
        ParameterError, ShapeError: rule and populations do not fit.
        TimeGridError: delays are too long.
    """
    for what, value in (("weight", link.weight), ("delay", link.delay)):
        if isinstance(value, np.ndarray):
            raise ParameterError(f"{link.name}: procedural=True takes no list of {what}s; give a distribution.")
    kind, parameters = link.weight.code()
    weight = Values(one, kind, parameters, unit, -(2**31), stream + building.WEIGHT)
    kind, parameters = link.delay.code()
    delay = Values(steps, kind, parameters, dt, 1, stream + building.DELAY)
    bounds = (steps, steps) if steps is not None else _bounds(link, dt)
    source, source_at, target, target_at = places
    return Regenerated(
        source, source_at, link.source.size, target, target_at, link.target.size, receptor, building.law_of(link),
        stream, weight, delay, bounds,
    )  # fmt: skip


def _bounds(link: Projection, dt: float) -> tuple[int, int]:
    """Return the smallest and largest delay that can be drawn, in steps."""
    low, high = (x / dt for x in link.delay.bounds())
    if high >= 2**31:
        raise TimeGridError(f"{link.name}: delays of up to {high * dt:g} ms are too long for dt={dt:g} ms.")
    return max(1, round(low)), max(1, round(high))


def check_ring(links: list[Projection], found: list[Regenerated], slots: int, width: int) -> None:
    """Refuse delays that need too long a ring of accumulators.

    Args:
        links: the procedural projections.
        found: the same, described.
        slots: accumulators.
        width: bytes of each.

    Raises:
        ParameterError: the ring would not fit; the message names the projection.
    """
    for link, r in zip(links, found, strict=True):
        if r.delay.one is None and (r.delays[1] + 1) * slots * width > _MOST:
            raise ParameterError(
                f"{link.name}: procedural=True with drawn delays keeps {slots} accumulators for each of "
                f"{r.delays[1] + 1} steps, more than {_MOST >> 30} GiB; bound the delays, e.g. Normal(..., high=5.0)."
            )


def learn(plan: Plan, i: int, known: Longs, fired: Any) -> int:
    """Fill in the fan-outs that a count needs; return the number of synapses as the first rows make one expect it.

    Args:
        plan: the network.
        i: index of the projection among those regenerated.
        known: ``[sources]`` fan-outs, -1 where unknown; changed in place.
        fired: ``[sources]`` spikes of each.
    """
    wanted = fired > 0
    wanted[:_LOOK] = True
    chosen = np.flatnonzero(wanted & (known < 0)).astype(np.int64)
    known[chosen] = kernels.fan_out(plan.regenerated[i], chosen, plan.seed)
    return round(float(known[:_LOOK].mean()) * known.size) if known.size else 0
