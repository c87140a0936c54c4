"""Rewiring of a running simulation: another set of synapses in the description, the state carried over.

The description of a rewired projection is a list of pairs with weights and delays, so everything that a described
network can do goes on: any number of threads, checkpoints, counts. Synapses that stay keep weight and traces. A new
one gets the weight of the rule, the delay of one that goes (in turn, where more come than go), and traces of 0 (but its
source's and its target's, where these are theirs); none leads from a neuron to itself. Spikes under way travel on
through the synapses that are there when they arrive.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeframe.core import rules, synapses
from spikeframe.core.layout import Laid
from spikeframe.core.network import Network, Projection
from spikeframe.errors import ParameterError
from spikeframe.kernels.grid import Longs, State
from spikeframe.learning_rules.rewiring import Activity, Exchange, Rewiring, Scores


def check(network: Network, link: Projection) -> None:
    """Refuse a projection that cannot be rewired.

    Args:
        network: what it is in.
        link: the projection.

    Raises:
        ParameterError: its synapses are not stored, arrive in the step they are sent in, or have recorded weights.
    """
    if link.procedural or link.same_step:
        kind = "drawn again at every spike, not stored" if link.procedural else "those of same_step"
        raise ParameterError(f"rewire({link.name}): its synapses are {kind}.")
    if any(recorder.projection is link for recorder in network.weight_recorders):
        raise ParameterError(f"rewire({link.name}): its weights are recorded by place, and places change; read them "
                             "with Simulator.weights instead.")  # fmt: skip


def exchanged(
    link: Projection, now: synapses.Weights, rule: Rewiring, turn: int, correlation: Activity | Scores | None,
    gradient: Scores | None, saliency: NDArray[Any] | None,
) -> Exchange:  # fmt: skip
    """Return which synapses of a projection go and which come.

    Args:
        link: the projection.
        now: its synapses.
        rule: how they are exchanged.
        turn: of the rule's random numbers.
        correlation: of sources and targets.
        gradient: ``[targets, sources]``.
        saliency: ``[n]`` of each synapse.
    """
    limits = None if link.synapse is None else link.synapse.bounds()
    if limits is not None and not limits[0] <= rule.weight <= limits[1]:
        raise ParameterError(
            f"rewire({link.name}): new synapses of weight {rule.weight:g}, but {type(link.synapse).__name__} keeps "
            f"them within [{limits[0]:g}, {limits[1]:g}]."
        )
    sign = np.full(now.weight.size, -1.0 if limits is not None and limits[1] <= 0.0 else 1.0)
    pairs, shape = now.target * link.source.size + now.source, (link.target.size, link.source.size)
    weight = now.weight.astype(np.float64)
    own = np.arange(shape[0]) * (shape[1] + 1) if link.source is link.target else None
    return rule.exchange(pairs, shape, weight, turn, correlation=correlation, gradient=gradient, sign=sign,
                         saliency=saliency, barred=own)  # fmt: skip


def described(
    network: Network, link: Projection, now: synapses.Weights, delay: Longs | None, dt: float, exchange: Exchange,
    weight: float,
) -> tuple[Network, Longs]:  # fmt: skip
    """Return the network with the projection rewired, and where each of its synapses was, -1 for new ones.

    Args:
        network: as it is; not changed.
        link: the projection.
        now: its synapses.
        delay: of each, steps, or None if all are the same.
        dt: ms.
        exchange: what goes and comes.
        weight: of new synapses.
    """
    stays = np.delete(np.arange(now.source.size), exchange.dropped)
    target, source = np.divmod(exchange.added, link.source.size)
    ends = np.concatenate([now.source[stays], source]), np.concatenate([now.target[stays], target])
    was = np.concatenate([stays, np.full(source.size, -1)])
    weights = np.concatenate([now.weight[stays].astype(np.float64), np.full(source.size, weight)])
    order = np.lexsort((ends[1], ends[0]))
    given: Any = link.delay
    if delay is not None:
        steps = np.concatenate([delay[stays], np.resize(delay[exchange.dropped], source.size)])[order]
        given = steps * dt
    new = replace(link, rule=rules.Pairs(ends[0][order], ends[1][order]), weight=weights[order], delay=given)
    found = copy.copy(network)
    found.projections = [new if other is link else other for other in network.projections]
    return found, was[order]


def carried(old: Laid, new: Laid, state: State, link: Projection, was: Longs) -> State:
    """Return the state of a rewired network.

    Args:
        old: the plan before.
        new: the plan after.
        state: before.
        link: the projection that was rewired.
        was: where each of its synapses was, -1 for new ones.
    """
    fresh = State(state.step, state.values, state.start, state.ids, new.synapses)
    before, after = synapses.saved(old.plan, state), synapses.saved(new.plan, fresh)
    for index, b in new.plastic.items():
        held = before[old.plastic[index]]
        if index == link.index:
            for name, value in after[b].items():
                of_synapses = synapses.kind(new.plan.bundles[b], name) == "synapse"
                after[b][name] = np.where(was >= 0, held[name][was], value) if of_synapses and was.size else held[name]
        else:
            after[b] = held
    return replace(fresh, plastic=synapses.restored(new.plan, fresh, after, "rewire"))
