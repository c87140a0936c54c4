"""The precise clock in plain Python: the meaning of `spikeframe.kernels.numba.precise`, operation by operation."""

from __future__ import annotations

import heapq
import math

import numpy as np

from spikeframe.kernels.precise import (
    ALPHA,
    CURRENT,
    DELTA,
    FAR,
    FLIGHT,
    NEURON,
    SHORTEST,
    Counts,
    Events,
    Floats,
    Ints,
    Plan,
    Run,
    State,
    Stop,
    Time,
    later,
)
from spikeframe.kernels.reference.precise_lif import NEVER, Neuron, next_spike, propagate, span


class Stuck(Exception):  # noqa: N818 - leaves the loop; `run` turns it into a `Stop`
    """The loop cannot go on, for the reason given."""


class Clock:
    """The event loop: neurons, the queue of spikes in flight, and what has been recorded.

    Queue entries are (when the next arrivals are due, source, where in its row they begin, when it was sent).
    """

    def __init__(self, plan: Plan, state: State) -> None:
        self.plan = plan
        self.neurons = _neurons(plan, state)
        self.now = (int(state.now_step[0]), float(state.now_offset[0]))
        self.queue = [((a, b), source, place, (c, d)) for a, b, source, place, c, d in state.flights.tolist()]
        heapq.heapify(self.queue)
        self.spikes: list[tuple[Time, int]] = []
        self.sent = self.delivered = self.lost = self.predictions = 0

    def run(self, events: Events, end: Time) -> None:
        """Do everything up to and including `end`: at one instant external spikes, own events, then arrivals."""
        source = events.source.tolist()
        outside = list(zip(events.step.tolist(), events.offset.tolist(), strict=True))
        k = 0
        while True:
            own = min(range(len(self.neurons)), key=lambda j: self.neurons[j].next, default=None)
            due = NEVER if own is None else self.neurons[own].next
            arrival = self.queue[0][0] if self.queue else NEVER
            if k < len(outside) and outside[k] <= min(due, arrival):
                self.send(source[k], outside[k])
                k += 1
            elif min(due, arrival) > end:
                break
            elif due <= arrival and own is not None:
                self.wake_or_fire(own)
            else:
                self.receive(arrival)
        self.now = end

    def send(self, source: int, time: Time) -> None:
        """Put a spike on its way to the first of its targets."""
        start, stop = int(self.plan.start[source]), int(self.plan.start[source + 1])
        if start < stop:
            self.sent += stop - start
            heapq.heappush(self.queue, (later(time, float(self.plan.synapses["delay"][start])), source, 0, time))

    def reach(self, k: int, time: Time) -> None:
        """Advance a neuron; asleep, only its currents move."""
        n = self.neurons[k]
        u, i, y = propagate(n, span(time, n.time), n.u, n.i, n.y)
        n.u, n.i, n.y, n.time = n.u if n.asleep else u, i, y, time

    def look(self, k: int) -> None:
        """Work out when the neuron crosses its threshold next."""
        n = self.neurons[k]
        self.predictions += 1
        d = next_spike(n)
        n.next = later(n.time, d) if d < FAR else NEVER

    def wake_or_fire(self, k: int) -> None:
        """Do a neuron's own event: the end of its refractory period, or a spike."""
        n = self.neurons[k]
        time = n.next
        self.reach(k, time)
        if n.asleep:
            n.asleep = False
            self.look(k)
            return
        self.spikes.append((time, k))
        self.send(k, time)
        n.u, n.end = n.reset, later(time, n.t_ref)
        n.asleep = n.end > time
        n.next = n.end
        if not n.asleep:
            self.look(k)
            if span(n.next, time) < SHORTEST:
                raise Stuck("stuck", k, time)

    def receive(self, time: Time) -> None:
        """Deliver everything that arrives at one instant, then test each neuron that it reached."""
        plan = self.plan
        arrived: dict[int, float] = {}
        targets = set()
        while self.queue and self.queue[0][0] == time:
            _, source, place, sent = heapq.heappop(self.queue)
            row = plan.synapses[plan.start[source] : plan.start[source + 1]].tolist()
            delay = row[place][1]
            while place < len(row) and row[place][1] == delay:
                weight, _, k, slot = row[place]
                arrived[slot] = arrived.get(slot, 0.0) + weight
                self.lost += bool(self.neurons[k].asleep and plan.slots["kind"][slot] == DELTA)
                self.delivered += 1
                targets.add(k)
                place += 1
            if place < len(row):
                heapq.heappush(self.queue, (later(sent, row[place][1]), source, place, sent))
        for k in sorted(targets):
            slot = int(plan.cells["slot"][k])
            self.take(k, time, [arrived.get(slot + r, 0.0) for r in range(len(self.neurons[k].receptors))])

    def take(self, k: int, time: Time, arrived: list[float]) -> None:
        """Add the summed weights of one instant to a neuron."""
        n = self.neurons[k]
        self.reach(k, time)
        size = 0.0
        for r, (kind, tau, _, _) in enumerate(n.receptors):
            if kind == DELTA:
                n.u += 0.0 if n.asleep else arrived[r]
            elif kind == ALPHA:
                n.y[r] += math.e / tau * arrived[r]
            else:
                n.i[r] += arrived[r]
            size += abs(n.i[r]) + tau * abs(n.y[r])
        if not math.isfinite(abs(n.u) + n.r_m * size):
            raise Stuck("not finite", k, time)
        if not n.asleep:
            self.look(k)


class ReferencePrecise:
    """Reference provider of the precise clock."""

    def run(self, plan: Plan, state: State, events: Events, end: Time) -> Run | Stop:
        """Do everything up to and including `end`."""
        clock = Clock(plan, state)
        try:
            clock.run(events, end)
        except Stuck as stuck:
            reason, k, time = stuck.args
            return Stop(reason, k, time[0] + time[1])
        spikes = sorted(clock.spikes)
        counts = Counts(clock.sent, clock.delivered, clock.lost, clock.predictions)
        return Run(
            *_times([time for time, _ in spikes]), np.array([k for _, k in spikes], np.int64), _state(clock), counts
        )

    def read(self, plan: Plan, state: State) -> Floats:
        """Return the membrane ``[N]`` in mV at the state's time."""
        clock = Clock(plan, state)
        for k in range(len(clock.neurons)):
            clock.reach(k, clock.now)
        rest: Floats = plan.cells["v_rest"]
        return np.array([n.u for n in clock.neurons], np.float64) + rest


def _neurons(plan: Plan, state: State) -> list[Neuron]:
    """Return the neurons, which do not share memory with the arrays."""
    found = []
    for cell, now in zip(plan.cells, state.neurons, strict=True):
        own = slice(cell["slot"], cell["slot"] + cell["receptors"])
        names = ("tau_m", "r_m", "theta", "reset", "t_ref", "i_e", "first", "horizon")
        neuron = Neuron(
            **{name: float(cell[name]) for name in names},
            closed=bool(cell["closed"]),
            receptors=plan.slots[own][["kind", "tau", "peak", "rise_peak"]].tolist(),
            u=float(now["u"]),
            i=state.currents["i"][own].tolist(),
            y=state.currents["y"][own].tolist(),
            time=(int(now["step"]), float(now["offset"])),
            end=(int(now["end_step"]), float(now["end_offset"])),
            next=(int(now["next_step"]), float(now["next_offset"])),
            asleep=bool(now["asleep"]),
        )
        found.append(neuron)
    return found


def _times(times: list[Time]) -> tuple[Ints, Floats]:
    return np.array([t[0] for t in times], np.int64), np.array([t[1] for t in times], np.float64)


def _state(clock: Clock) -> State:
    neurons = [(n.u, *n.time, *n.end, *n.next, n.asleep) for n in clock.neurons]
    currents = [pair for n in clock.neurons for pair in zip(n.i, n.y, strict=True)]
    flights = [(*due, source, place, *sent) for due, source, place, sent in sorted(clock.queue)]
    return State(
        np.array(neurons, NEURON), np.array(currents, CURRENT), np.array(flights, FLIGHT), *_times([clock.now])
    )
