"""Event-driven networks and their adjoint, compiled (meaning: `spikeframe.kernels.reference.eventprop`).

A neuron is carried forward only when something reaches it, and so is its adjoint on the way back. With a running loss,
every such touch leaves a record of the state before it, chained per neuron, which the way back takes up again.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from spikeframe.kernels.eventprop import Arrivals, Floats, Graph, Run

#: What there may be no room for.
SPIKES, TOUCHES = -1, -2


@njit(cache=True, nogil=True, error_model="numpy")
def mixing(h, first, second):  # type: ignore[no-untyped-def]
    """Evaluate ``(e^{-first h} - e^{-second h}) / (second - first)``."""
    z = abs(second - first) * h
    return h * math.exp(-min(first, second) * h) * (-math.expm1(-z) / z if z > 0.0 else 1.0)


@njit(cache=True, nogil=True, error_model="numpy")
def span(rate, h):  # type: ignore[no-untyped-def]
    """Evaluate ``(1 - e^{-rate h}) / rate``."""
    return -math.expm1(-rate * h) / rate if rate > 0.0 else h


@njit(cache=True, nogil=True, error_model="numpy")
def crossing(v, i, tau_m, tau_s, theta):  # type: ignore[no-untyped-def]
    """Return the time to the first crossing without further events, inf if there is none.

    It rises, ever more slowly, until it meets the current: Newton's steps start on the parabola with that peak, and
    from the left they never go too far.
    """
    if not i > theta:
        return math.inf
    if v >= theta:
        return 0.0
    gap = 1.0 - v / i
    z = (1.0 - tau_s / tau_m) * gap
    if z >= 1.0:
        return math.inf
    peak = tau_s * gap * (-math.log1p(-z) / z if z != 0.0 else 1.0)
    top = i * math.exp(-peak / tau_s)
    if top <= theta:
        return math.inf
    h, rates = peak * (1.0 - math.sqrt((top - theta) / (top - v))), 1.0 / tau_s - 1.0 / tau_m
    for _ in range(100):
        left_m, left_s = math.exp(-h / tau_m), math.exp(-h / tau_s)
        mixed = (left_m - left_s) / rates if abs(rates) * h > 0.5 else mixing(h, 1.0 / tau_m, 1.0 / tau_s)
        reached = v * left_m + i / tau_m * mixed
        slope = (i * left_s - reached) / tau_m
        if slope <= 0.0:
            break
        last, h = h, min(max(h + (theta - reached) / slope, 0.0), peak)
        if abs(h - last) <= 1e-15 * peak:
            break
    return h


@njit(cache=True, nogil=True, error_model="numpy")
def deviation_of(v, i, h, tau_m, tau_s, centre):  # type: ignore[no-untyped-def]
    """Integrate ``(V - centre)^2`` over h ms."""
    slow = i * tau_s / (tau_m - tau_s)
    amplitude = (v + slow, -slow, -centre)
    rate = (1.0 / tau_m, 1.0 / tau_s, 0.0)
    total = 0.0
    for k in range(3):
        for m in range(3):
            total += amplitude[k] * amplitude[m] * span(rate[k] + rate[m], h)
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def run_sample(  # type: ignore[no-untyped-def]
    tau_m, tau_s, theta, inputs, first, target, weights, at, source, duration, centre, times, neuron, current,
    deviation, before, touched, head,
):  # fmt: skip
    """Run one sample; return its spikes and touches, or what there was no room for."""
    size = theta.size
    v, i, last = np.zeros(size), np.zeros(size), np.zeros(size)
    due = np.full(size, np.inf)
    keeps = centre.size > 0
    spikes, touches, e = 0, 0, 0
    while True:
        n = int(np.argmin(due))
        arrival = at[e] if e < at.size else np.inf
        fires = due[n] <= arrival
        now = due[n] if fires else arrival
        over = now > duration
        if over:
            now, low, high = duration, 0, size
        elif fires:
            low, high = first[inputs + n], first[inputs + n + 1]
        else:
            low, high = first[source[e]], first[source[e] + 1]
        for k in range(low - 1, high):
            # First the neuron that fires, then every synapse's target; at the end every neuron.
            if k < low:
                if over or not fires:
                    continue
                j = n
            else:
                j = k if over else target[k]
            h = now - last[j]
            if keeps:
                if touches == before.shape[0]:
                    return TOUCHES, 0
                before[touches, 0], before[touches, 1], before[touches, 2] = last[j], v[j], i[j]
                touched[touches] = head[j]
                head[j] = touches
                touches += 1
                deviation[j] += deviation_of(v[j], i[j], h, tau_m[j], tau_s[j], centre[j])
            v[j] = v[j] * math.exp(-h / tau_m[j]) + i[j] / tau_m[j] * mixing(h, 1.0 / tau_m[j], 1.0 / tau_s[j])
            i[j] *= math.exp(-h / tau_s[j])
            last[j] = now
            if k < low:
                if spikes == times.size:
                    return SPIKES, 0
                times[spikes], neuron[spikes], current[spikes] = now, n, i[n]
                spikes += 1
                v[n] = 0.0
            elif not over:
                i[j] += weights[k]
            if not over:
                due[j] = now + crossing(v[j], i[j], tau_m[j], tau_s[j], theta[j])
        if over:
            return spikes, touches
        if not fires:
            e += 1


@njit(cache=True, nogil=True, error_model="numpy")
def back_sample(  # type: ignore[no-untyped-def]
    tau_m, tau_s, theta, inputs, first, target, weights, at, source, duration, centre, times, neuron, current, before,
    touched, head, g_times, g_deviation, least, g_weights, g_at,
):  # fmt: skip
    """Run the adjoint of one sample; add to the gradients of the weights, write those of the input times."""
    size = theta.size
    of_v, of_i, last = np.zeros(size), np.zeros(size), np.full(size, duration)
    keeps = centre.size > 0
    p, e = times.size - 1, at.size - 1
    while e >= 0 and at[e] > duration:
        e -= 1
    while p >= 0 or e >= 0:
        fires = e < 0 or (p >= 0 and times[p] > at[e])
        now = times[p] if fires else at[e]
        origin = inputs + neuron[p] if fires else source[e]
        moved = 0.0
        for k in range(first[origin + 1] - 1, first[origin] - 2, -1):
            own = k < first[origin]
            if own and not fires:
                continue
            j = neuron[p] if own else target[k]
            h = last[j] - now
            last[j] = now
            rate_m, rate_s = 1.0 / tau_m[j], 1.0 / tau_s[j]
            of_i[j] = of_i[j] * math.exp(-rate_s * h) + of_v[j] * rate_s * mixing(h, rate_m, rate_s)
            of_v[j] *= math.exp(-rate_m * h)
            if keeps:
                v, i = before[head[j], 1], before[head[j], 2]
                head[j] = touched[head[j]]
                slow = i * tau_s[j] / (tau_m[j] - tau_s[j])
                amplitude = (v + slow, -slow, -centre[j])
                rate = (rate_m, rate_s, 0.0)
                for m in range(3):
                    drive, inner, outer = (
                        2.0 * g_deviation[j] * amplitude[m] * rate_m,
                        rate[m] + rate_m,
                        rate[m] + rate_s,
                    )
                    of_v[j] -= drive * span(inner, h)
                    of_i[j] -= drive * rate_s * (span(outer, h) - mixing(h, inner, outer)) / inner
            if own:
                jump = 0.0
                if keeps:
                    jump = g_deviation[j] * ((theta[j] - centre[j]) ** 2 - centre[j] ** 2)
                total = theta[j] * of_v[j] + moved + g_times[p] + jump
                of_v[j] += total / max(current[p] - theta[j], least)
            else:
                g_weights[k] -= tau_s[j] * of_i[j]
                moved += weights[k] * (of_v[j] - of_i[j])
        if fires:
            p -= 1
        else:
            g_at[e] = moved
            e -= 1


@njit(cache=True, nogil=True, error_model="numpy")
def run_batch(  # type: ignore[no-untyped-def]
    tau_m, tau_s, theta, inputs, first, target, weights, at, source, begin, duration, centre, times, neuron, current,
    bounds, deviation, before, touched, marks, heads,
):  # fmt: skip
    """Run the samples one after another; return 0, or what there was no room for."""
    bounds[0], marks[0] = 0, 0
    for b in range(begin.size - 1):
        low, high, p, q = begin[b], begin[b + 1], bounds[b], marks[b]
        spikes, touches = run_sample(
            tau_m, tau_s, theta, inputs, first, target, weights, at[low:high], source[low:high], duration, centre,
            times[p:], neuron[p:], current[p:], deviation[b], before[q:], touched[q:], heads[b],
        )  # fmt: skip
        if spikes < 0:
            return spikes
        bounds[b + 1], marks[b + 1] = p + spikes, q + touches
    return 0


@njit(cache=True, nogil=True, error_model="numpy")
def back_batch(  # type: ignore[no-untyped-def]
    tau_m, tau_s, theta, inputs, first, target, weights, at, source, begin, duration, centre, times, neuron, current,
    bounds, before, touched, marks, heads, g_times, g_deviation, least, g_weights, g_at,
):  # fmt: skip
    """Run the adjoints of the samples one after another."""
    for b in range(begin.size - 1):
        low, high, p, p_end, q = begin[b], begin[b + 1], bounds[b], bounds[b + 1], marks[b]
        back_sample(
            tau_m, tau_s, theta, inputs, first, target, weights, at[low:high], source[low:high], duration, centre,
            times[p:p_end], neuron[p:p_end], current[p:p_end], before[q:], touched[q:], heads[b].copy(),
            g_times[p:p_end], g_deviation[b], least, g_weights, g_at[low:high],
        )  # fmt: skip


class NumbaEventProp:
    """Compiled loops; arrays grow until a batch fits."""

    def forward(
        self, graph: Graph, weights: Floats, arrivals: Arrivals, duration: float, centre: Floats | None, most: int
    ) -> Run | None:
        """Run a batch (see `spikeframe.kernels.eventprop.Provider`)."""
        samples, size = len(arrivals.begin) - 1, len(graph.theta)
        room = min(most, 1024 + 4 * samples * size)
        touches = 0 if centre is None else 1024 + 4 * (samples * size + len(arrivals.times) * size)
        while True:
            times, neuron, current = np.empty(room), np.empty(room, np.int64), np.empty(room)
            bounds, deviation = np.empty(samples + 1, np.int64), np.zeros((samples, size))
            before, touched = np.empty((touches, 3)), np.empty(touches, np.int64)
            marks, heads = np.empty(samples + 1, np.int64), np.full((samples, size), -1)
            short = run_batch(
                graph.tau_m, graph.tau_s, graph.theta, graph.inputs, graph.first, graph.target, weights,
                arrivals.times, arrivals.source, arrivals.begin, duration, np.empty(0) if centre is None else centre,
                times, neuron, current, bounds, deviation, before, touched, marks, heads,
            )  # fmt: skip
            if short == 0:
                count, kept = bounds[-1], (before, touched, marks, heads)
                return Run(times[:count].copy(), neuron[:count].copy(), current[:count].copy(), bounds, deviation, kept)
            if short == TOUCHES:
                touches *= 2
            elif room == most:
                return None
            else:
                room = min(most, 2 * room)

    def backward(
        self, graph: Graph, weights: Floats, arrivals: Arrivals, duration: float, centre: Floats | None, run: Run,
        g_times: Floats, g_deviation: Floats, least: float,
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """Run the adjoint (see `spikeframe.kernels.eventprop.Provider`)."""
        g_weights, g_at = np.zeros(len(weights)), np.zeros(len(arrivals.times))
        before, touched, marks, heads = run.kept
        back_batch(
            graph.tau_m, graph.tau_s, graph.theta, graph.inputs, graph.first, graph.target, weights, arrivals.times,
            arrivals.source, arrivals.begin, duration, np.empty(0) if centre is None else centre, run.times,
            run.neuron, run.current, run.begin, before, touched, marks, heads, g_times, g_deviation, least, g_weights,
            g_at,
        )  # fmt: skip
        return g_weights, g_at
