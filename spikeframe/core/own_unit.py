"""Weights given one by one that lie on a power-of-two grid of their own, and whether a run can keep them exactly."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

import numpy as np

from spikeframe.core.network import Projection

#: Weights looked at together.
_CHUNK = 1 << 16


def own_unit(links: Mapping[Projection, int], drive: float, unit: float, most: float) -> float:
    """Return the unit of a receptor's weights: a finer one than was chosen if that keeps all given weights as they are.

    Args:
        links: all projections onto the receptor, and the most events of a step at a neuron (`most_arrivals`).
        drive: largest sum of what stimuli add in a step.
        unit: what was chosen from the weights' size.
        most: units that a sum must stay below.
    """
    given = [link.weight for link in links if isinstance(link.weight, np.ndarray) and link.synapse is None]
    top = max((magnitude(link.weight)[0] for link in links), default=0.0)
    finest = min((_grid(weight, top * 2.0**-31) for weight in given), default=inf)
    if not top * 2.0**-31 < finest < unit:
        return unit
    return finest if drive + sum(_reach(*each) for each in links.items()) < most * finest else unit


def magnitude(weight: Any) -> tuple[float, float]:
    """Return the largest magnitude and the root mean square of a weight description.

    Args:
        weight: a distribution, or one value per pair.
    """
    if isinstance(weight, np.ndarray):
        return float(np.abs(weight).max(initial=0.0)), float(np.sqrt(np.mean(weight**2))) if weight.size else inf
    low, high = weight.bounds()
    return max(abs(low), abs(high)), weight.rms()


def _grid(weight: Any, least: float) -> float:
    """Return the largest power of two that all weights are multiples of, or the first below `least` that is found."""
    found = inf
    for at in range(0, weight.size, _CHUNK):
        some = weight[at : at + _CHUNK]
        mantissa, exponent = np.frexp(some[some != 0])
        whole = (mantissa * 2.0**53).astype(np.int64)
        trailing = np.frexp((whole & -whole).astype(np.float64))[1] - 1
        found = min(found, float((2.0 ** (exponent - 53.0 + trailing)).min(initial=inf)))
        if found <= least:
            break
    return found


def _reach(link: Projection, arrivals: int) -> float:
    """Return the largest magnitude of what arrives at a neuron in a step, twice over."""
    if not isinstance(link.weight, np.ndarray) or link.synapse is not None:
        bounds = [abs(w) for w in (link.synapse.bounds() or ())] if link.synapse is not None else []
        most = 1.0 if link.synapse is None else link.synapse.most()
        return 2.0 * arrivals * max([most * magnitude(link.weight)[0], *bounds])
    target = np.asarray(getattr(link.rule, "target", ()), np.int64)
    if target.size != link.weight.size or target.max(initial=-1) >= link.target.size:
        return inf  # refused where the synapses are built
    often = max(1.0, arrivals / max(link.source.size, int(np.bincount(target).max(initial=0))))
    return 2.0 * often * float(np.bincount(target, np.abs(link.weight), link.target.size).max(initial=0.0))
