"""Plans, first states and events of the precise clock from plain arrays (see `spikeframe.kernels.precise`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from spikeframe.kernels.precise import (
    ALPHA,
    CELL,
    CURRENT,
    EXP,
    FAR,
    FLIGHT,
    NEURON,
    SLOT,
    SYNAPSE,
    Events,
    Floats,
    Ints,
    Plan,
    State,
    Table,
    split,
)

_MEMBRANE = ("tau_m", "r_m", "v_rest", "v_th", "v_reset", "t_ref", "i_e")


class Receptor(NamedTuple):
    """A kind of receptor (`spikeframe.kernels.precise.DELTA` and the following) and its time constant, ms."""

    kind: int
    tau: float | Floats = 1.0


class Group(NamedTuple):
    """Neurons with the same receptors; a parameter is one number or one per neuron, as in `spikeframe.neurons.LIF`.

    Attributes:
        size: number of neurons.
        receptors: the receptors, in the order of synapses' receptor indices.
        tau_m: ms, with `r_m`, `v_rest`, `v_th`, `v_reset` (mV), `t_ref` (ms) and `i_e`.
    """

    size: int
    receptors: Sequence[Receptor]
    tau_m: float | Floats
    r_m: float | Floats
    v_rest: float | Floats
    v_th: float | Floats
    v_reset: float | Floats
    t_ref: float | Floats
    i_e: float | Floats


class Synapses(NamedTuple):
    """Synapses in any order; sources are the neurons of all groups in order, then external ones.

    Attributes:
        source: ``[synapses]`` neuron or external source.
        target: ``[synapses]`` neuron.
        receptor: ``[synapses]`` place in the target's receptors.
        weight: ``[synapses]``.
        delay: ``[synapses]`` ms; at least `spikeframe.kernels.precise.SHORTEST`, from external sources at least 0.
    """

    source: Ints
    target: Ints
    receptor: Ints
    weight: Floats
    delay: Floats


def compile_plan(groups: Sequence[Group], synapses: Synapses, externals: int = 0) -> Plan:
    """Return the arrays that the kernels take; rows are sorted by delay, target, receptor and weight.

    Args:
        groups: the neurons, numbered through in this order.
        synapses: all synapses.
        externals: number of external sources.
    """
    m = {name: _joined([np.broadcast_to(getattr(g, name), g.size) for g in groups]) for name in _MEMBRANE}
    receptors = _joined([np.full(g.size, len(g.receptors)) for g in groups], np.int64)
    owner = np.repeat(np.arange(receptors.size), receptors)
    kind = _joined([np.tile([r.kind for r in g.receptors], g.size) for g in groups], np.int64)
    tau = _joined([np.broadcast_to(r.tau, g.size) for g in groups for r in g.receptors])
    tau = tau[_interleaved(groups)]
    peak = _peak(m["r_m"][owner], m["tau_m"][owner], tau)
    slots = _table(SLOT, kind=kind, tau=tau, peak=peak, rise_peak=np.fmin(tau * peak, m["r_m"][owner] * tau / math.e))
    decays = (kind == EXP) | (kind == ALPHA)
    first, longest = m["tau_m"].copy(), m["tau_m"].copy()
    np.minimum.at(first, owner[decays], tau[decays])
    np.maximum.at(longest, owner[decays], tau[decays])
    cells = _table(
        CELL, **{name: m[name] for name in ("tau_m", "r_m", "v_rest", "t_ref", "i_e")}, theta=m["v_th"] - m["v_rest"],
        reset=m["v_reset"] - m["v_rest"], first=first, horizon=np.minimum(1000 * longest, FAR),
        slot=np.cumsum(receptors) - receptors, receptors=receptors,
        closed=np.bincount(owner[decays], minlength=receptors.size) == 0,
    )  # fmt: skip
    slot = cells["slot"][synapses.target] + synapses.receptor
    order = np.lexsort((synapses.weight, slot, synapses.delay, synapses.source))
    table = _table(SYNAPSE, weight=synapses.weight, delay=synapses.delay, target=synapses.target, slot=slot)[order]
    start = np.searchsorted(synapses.source[order], np.arange(receptors.size + externals + 1))
    return Plan(cells, slots, start.astype(np.int64), table)


def resting(plan: Plan, v: ArrayLike | None = None) -> State:
    """Return a state at time 0 without currents and with nothing in flight.

    Args:
        plan: what will be run.
        v: ``[N]`` membrane, mV; at rest by default. A neuron at or above threshold fires at time 0.
    """
    neurons = np.zeros(plan.cells.size, NEURON)
    # All wake at time 0, and so look for their first crossing within the run.
    neurons["asleep"] = True
    if v is not None:
        rest: Floats = plan.cells["v_rest"]
        neurons["u"] = np.asarray(v, np.float64) - rest
    return State(
        neurons, np.zeros(plan.slots.size, CURRENT), np.zeros(0, FLIGHT), np.zeros(1, np.int64), np.zeros(1)
    )  # fmt: skip


def external(times: ArrayLike, source: ArrayLike) -> Events:
    """Return the spikes of external sources, sorted by time and source.

    Args:
        times: ``[events]``, ms, in any order.
        source: ``[events]`` index into the plan's rows.
    """
    values, rows = np.asarray(times, np.float64), np.asarray(source, np.int64)
    order = np.lexsort((rows, values))
    return Events(*split(values[order]), rows[order])


def _joined(parts: Sequence[NDArray[Any]], dtype: DTypeLike = np.float64) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)


def _interleaved(groups: Sequence[Group]) -> Ints:
    """Return where each slot, neuron by neuron, is in a list that goes receptor by receptor within a group."""
    places, at = [], 0
    for g in groups:
        many = g.size * len(g.receptors)
        places.append(at + np.arange(many).reshape(len(g.receptors), g.size).T.ravel())
        at += many
    return _joined(places, np.int64)


def _table(dtype: np.dtype[np.void], **columns: NDArray[Any]) -> Table:
    """Return columns as one structured array."""
    table = np.zeros(next(iter(columns.values())).size, dtype)
    for name, values in columns.items():
        table[name] = values
    return table


def _peak(r_m: Floats, tau_m: Floats, tau: Floats) -> Floats:
    """Largest response of u to an exponential current that starts at 1: ``r_m x^{1 / (1 - x)}``, x = tau / tau_m."""
    with np.errstate(all="ignore"):
        x = tau / tau_m
        exponent = np.where(np.abs(x - 1) < 1e-7, 1.0, np.log(x) / (x - 1))
        # A little more than it is, for rounding; where it cannot be worked out, the bound r_m.
        return np.fmin(r_m * np.exp(-exponent) * (1 + 1e-6), r_m)
