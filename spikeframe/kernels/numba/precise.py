"""The precise clock compiled by Numba (see `spikeframe.kernels.reference.precise`, the same events in the same order).

`p` is the plan, `s` the state, `w` what a run works on besides.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spikeframe.kernels import source
from spikeframe.kernels.numba.precise_lif import next_spike, propagate
from spikeframe.kernels.numba.precise_queue import NEVER, before, later, place_neuron, push, sink, span
from spikeframe.kernels.precise import (
    ALPHA,
    CURRENT,
    DELTA,
    FAR,
    FLIGHT,
    SHORTEST,
    Counts,
    Events,
    Floats,
    Ints,
    Plan,
    Run,
    State,
    Stop,
    Table,
    Time,
)

#: A spike.
SPIKE = np.dtype([("step", np.int64), ("offset", np.float64), ("id", np.int64)])
#: Totals of a run: counts, and how far its arrays are filled; `at` is a neuron, `time` when it failed.
TALLY = np.dtype(
    [(name, np.int64) for name in (*Counts._fields, "queued", "spikes", "events", "touched", "at")]
    + [("time", np.float64)]
)
# How the loop ended.
_DONE, _FULL, _NOT_FINITE, _STUCK = range(4)
_E = math.e


class Work(NamedTuple):
    """What a run works on: queues, spikes, sums of one instant.

    Attributes:
        flights: heap of `FLIGHT`, its last entry is scratch.
        heap: ``[N]`` heap of neurons, `place` where each is in it.
        spikes: room for `SPIKE`.
        arrived: ``[slots]`` sums of the weights of one instant.
        touched: ``[N]`` neurons they reach; `reached` says which.
        search: three states of one neuron, of `CURRENT`.
        tally: ``[1]`` of `TALLY`.
    """

    flights: Table
    heap: Ints
    place: Ints
    spikes: Table
    arrived: Floats
    touched: Ints
    reached: NDArray[np.bool_]
    search: Table
    tally: Table


@njit(cache=True, nogil=True, error_model="numpy")
def _reach(c, slots, n, now, step, offset):  # type: ignore[no-untyped-def]
    """Advance a neuron; asleep, only its currents move."""
    u = propagate(c, slots, span(step, offset, n.step, n.offset), n.u, now, now)
    if not n.asleep:
        n.u = u
    n.step = step
    n.offset = offset


@njit(cache=True, nogil=True, error_model="numpy")
def _look(c, slots, n, now, w):  # type: ignore[no-untyped-def]
    """Work out when a neuron crosses its threshold next."""
    w.tally[0].predictions += 1
    d = next_spike(c, slots, n.u, now, w.search)
    if d < FAR:
        n.next_step, n.next_offset = later(n.step, n.offset, d)
    else:
        n.next_step = NEVER
        n.next_offset = 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _send(p, w, row, step, offset):  # type: ignore[no-untyped-def]
    """Put a spike on its way to the first of its targets; there is room."""
    start, stop = p.start[row], p.start[row + 1]
    if start == stop:
        return
    tally = w.tally[0]
    flight = w.flights[tally.queued]
    flight.step, flight.offset = later(step, offset, p.synapses[start].delay)
    flight.source = row
    flight.place = 0
    flight.from_step = step
    flight.from_offset = offset
    push(w.flights, tally.queued)
    tally.queued += 1
    tally.sent += stop - start


@njit(cache=True, nogil=True, error_model="numpy")
def _wake_or_fire(p, s, w, k):  # type: ignore[no-untyped-def]
    """Do a neuron's own event: the end of its refractory period, or a spike; return whether time can go on."""
    n, c = s.neurons[k], p.cells[k]
    slots, now = p.slots[c.slot : c.slot + c.receptors], s.currents[c.slot : c.slot + c.receptors]
    step, offset, fires = n.next_step, n.next_offset, not n.asleep
    _reach(c, slots, n, now, step, offset)
    n.asleep = False
    if fires:
        tally = w.tally[0]
        spike = w.spikes[tally.spikes]
        spike.step = step
        spike.offset = offset
        spike.id = k
        tally.spikes += 1
        _send(p, w, k, step, offset)
        n.u = c.reset
        n.end_step, n.end_offset = later(step, offset, c.t_ref)
        n.asleep = before(step, offset, n.end_step, n.end_offset)
    if n.asleep:
        n.next_step = n.end_step
        n.next_offset = n.end_offset
    else:
        _look(c, slots, n, now, w)
    place_neuron(w.heap, w.place, s.neurons, k)
    return not fires or n.asleep or span(n.next_step, n.next_offset, step, offset) >= SHORTEST


@njit(cache=True, nogil=True, error_model="numpy")
def _deliver(p, s, w):  # type: ignore[no-untyped-def]
    """Sum the weights of the first arrivals in the queue and send their spike on to its next delay."""
    flight, tally = w.flights[0], w.tally[0]
    row = p.synapses[p.start[flight.source] : p.start[flight.source + 1]]
    j, touched = flight.place, tally.touched
    delay = row[j].delay
    while j < row.size and row[j].delay == delay:
        k, slot = row[j].target, row[j].slot
        w.arrived[slot] += row[j].weight
        if s.neurons[k].asleep and p.slots[slot].kind == DELTA:
            tally.lost += 1
        if not w.reached[k]:
            w.reached[k] = True
            w.touched[touched] = k
            touched += 1
        j += 1
    tally.delivered += j - flight.place
    tally.touched = touched
    if j < row.size:
        flight.step, flight.offset = later(flight.from_step, flight.from_offset, row[j].delay)
        flight.place = j
    else:
        tally.queued -= 1
        w.flights[0] = w.flights[tally.queued]
    sink(w.flights, tally.queued)


@njit(cache=True, nogil=True, error_model="numpy")
def _take(p, s, w, k, step, offset):  # type: ignore[no-untyped-def]
    """Add the summed weights of one instant to a neuron; return whether its state is finite."""
    n, c = s.neurons[k], p.cells[k]
    slots, now = p.slots[c.slot : c.slot + c.receptors], s.currents[c.slot : c.slot + c.receptors]
    _reach(c, slots, n, now, step, offset)
    size = 0.0
    for r in range(slots.size):
        kind, weight = slots[r].kind, w.arrived[c.slot + r]
        w.arrived[c.slot + r] = 0.0
        if kind == DELTA:
            n.u += 0.0 if n.asleep else weight
        elif kind == ALPHA:
            now[r].y += _E / slots[r].tau * weight
        else:
            now[r].i += weight
        size += abs(now[r].i) + slots[r].tau * abs(now[r].y)
    if not np.isfinite(abs(n.u) + c.r_m * size):
        return False
    if not n.asleep:
        _look(c, slots, n, now, w)
        place_neuron(w.heap, w.place, s.neurons, k)
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _receive(p, s, w):  # type: ignore[no-untyped-def]
    """Deliver everything that arrives at one instant, then test each neuron reached; return whether all are finite."""
    step, offset = w.flights[0].step, w.flights[0].offset
    tally = w.tally[0]
    tally.touched = 0
    while tally.queued > 0 and w.flights[0].step == step and w.flights[0].offset == offset:
        _deliver(p, s, w)
    for a in range(tally.touched):
        k = w.touched[a]
        w.reached[k] = False
        if not _take(p, s, w, k, step, offset):
            tally.at = k
            tally.time = step + offset
            return False
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def run(p, s, w, events, end_step, end_offset):  # type: ignore[no-untyped-def]
    """Do everything up to and including the end, or until room runs out; return how it ended.

    At one instant: external spikes, own events, then arrivals.
    """
    tally = w.tally[0]
    while True:
        own_step, own_offset = NEVER, 0.0
        if w.heap.size > 0:
            own_step, own_offset = s.neurons[w.heap[0]].next_step, s.neurons[w.heap[0]].next_offset
        step, offset = own_step, own_offset
        arrival = tally.queued > 0 and before(w.flights[0].step, w.flights[0].offset, step, offset)
        if arrival:
            step, offset = w.flights[0].step, w.flights[0].offset
        e = tally.events
        outside = e < events.step.size and not before(step, offset, events.step[e], events.offset[e])
        if not outside and before(end_step, end_offset, step, offset):
            return _DONE
        if tally.queued + 1 == w.flights.size or tally.spikes == w.spikes.size:
            return _FULL
        if outside:
            _send(p, w, events.source[e], events.step[e], events.offset[e])
            tally.events += 1
        elif arrival:
            if not _receive(p, s, w):
                return _NOT_FINITE
        elif not _wake_or_fire(p, s, w, w.heap[0]):
            tally.at = w.heap[0]
            tally.time = step + offset
            return _STUCK


@njit(cache=True, nogil=True, error_model="numpy")
def read(p, s, step, offset):  # type: ignore[no-untyped-def]
    """Advance all neurons."""
    for k in range(p.cells.size):
        c = p.cells[k]
        own = slice(c.slot, c.slot + c.receptors)
        _reach(c, p.slots[own], s.neurons[k], s.currents[own], step, offset)


class NumbaPrecise:
    """Numba provider of the precise clock."""

    def run(self, plan: Plan, state: State, events: Events, end: Time) -> Run | Stop:
        """Do everything up to and including `end`."""
        s, work = _copied(state), _work(plan, state)
        if not run.signatures:
            with source.compiling("the precise clock"):
                run(plan, s, work, events, -1, 0.0)
        while (status := run(plan, s, work, events, *end)) == _FULL:
            work = work._replace(flights=_doubled(work.flights), spikes=_doubled(work.spikes))
        tally = work.tally[0]
        if status != _DONE:
            return Stop("stuck" if status == _STUCK else "not finite", int(tally["at"]), float(tally["time"]))
        # In order, so that equal states are equal arrays, whatever the heap looked like.
        spikes, flights = np.sort(work.spikes[: tally["spikes"]]), np.sort(work.flights[: tally["queued"]])
        after = s._replace(flights=flights, now_step=np.array([end[0]]), now_offset=np.array([end[1]]))
        step, offset, ids = (spikes[name].copy() for name in ("step", "offset", "id"))
        return Run(step, offset, ids, after, Counts(*(int(tally[name]) for name in Counts._fields)))

    def read(self, plan: Plan, state: State) -> Floats:
        """Return the membrane ``[N]`` in mV at the state's time."""
        s = _copied(state)
        read(plan, s, s.now_step[0], s.now_offset[0])
        u: Floats = s.neurons["u"]
        rest: Floats = plan.cells["v_rest"]
        return u + rest


def _copied(state: State) -> State:
    """Return the state with arrays of its own for what a run changes in place."""
    return state._replace(neurons=state.neurons.copy(), currents=state.currents.copy())


def _doubled(table: Table) -> Table:
    return np.concatenate([table, np.zeros_like(table)])


def _work(plan: Plan, state: State) -> Work:
    n = plan.cells.size
    heap = np.lexsort((state.neurons["next_offset"], state.neurons["next_step"])).astype(np.int64)
    place = np.empty(n, np.int64)
    place[heap] = np.arange(n)
    flights = np.concatenate([state.flights, np.zeros(1024, FLIGHT)])
    search = np.zeros(3 * int(plan.cells["receptors"].max(initial=0)), CURRENT)
    tally = np.zeros(1, TALLY)
    tally["queued"] = state.flights.size
    return Work(
        flights, heap, place, np.zeros(1024, SPIKE), np.zeros(plan.slots.size), np.zeros(n, np.int64),
        np.zeros(n, np.bool_), search, tally,
    )  # fmt: skip
