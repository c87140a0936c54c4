"""How many synaptic events can reach a neuron in one step: what the accumulators must hold without overflow."""

from __future__ import annotations

from math import sqrt

import numpy as np

from spikeframe.core.distributions import Constant
from spikeframe.core.network import Population, Projection
from spikeframe.core.rules import FixedInDegree, FixedOutDegree, FixedTotal, FromMatrix, Pairs
from spikeframe.core.stimulation import SpikeSource


def most_arrivals(link: Projection, dt: float) -> int:
    """Return the most events that a projection can bring to a neuron in a step, when every source fires.

    Given spikes count as often as they stand in one step. Where chance decides how many of a source's synapses a neuron
    has, it has more in less than one of 10^20 networks.

    Args:
        link: the projection.
        dt: ms.
    """
    together, each = _given(link.source, dt)
    several = _synapses(link)
    if several <= link.source.size and isinstance(link.delay, Constant):
        return max(link.source.size, together)
    return each * max(link.source.size, several)


def _synapses(link: Projection) -> int:
    """Return the most synapses that a target has, where a pair may have several; else 0."""
    rule, targets = link.rule, max(link.target.size, 1)
    if isinstance(rule, FixedInDegree) and rule.multapses:
        return rule.k
    if isinstance(rule, FixedOutDegree) and rule.multapses:
        return _tail(rule.k * link.source.size, targets)
    if isinstance(rule, FixedTotal):
        return _tail(rule.n, targets)
    if isinstance(rule, (Pairs, FromMatrix)):
        return int(np.bincount(np.asarray(getattr(rule, "target", ()), np.int64)).max(initial=0))
    return 0


def _tail(n: int, targets: int) -> int:
    """Return how many of n synapses, each on a target drawn at random, one target has at the most."""
    mean = n / targets
    return min(n, int(mean + 10.0 * sqrt(mean)) + 50)


def _given(source: Population, dt: float) -> tuple[int, int]:
    """Return the most spikes that a given source has in a step, of all its neurons and of one; else 0 and 1."""
    if not isinstance(source.neuron, SpikeSource) or not np.size(source.neuron.times):
        return 0, 1
    steps = np.rint(np.asarray(source.neuron.times) / dt).astype(np.int64)
    together = int(np.unique(steps, return_counts=True)[1].max())
    own = steps * source.size + np.asarray(source.neuron.ids, np.int64)
    return together, int(np.unique(own, return_counts=True)[1].max()) if together > 1 else 1
