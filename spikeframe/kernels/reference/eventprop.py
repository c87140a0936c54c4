"""The meaning of `spikeframe.kernels.eventprop`: every neuron is carried to every event, crossings are bisected."""

from __future__ import annotations

import numpy as np

from spikeframe.kernels.eventprop import Arrivals, Floats, Graph, Run


def mixing(h: Floats | float, first: Floats, second: Floats) -> Floats:
    """Return ``(e^{-first h} - e^{-second h}) / (second - first)``, also where the rates are equal.

    Args:
        h: time, ms.
        first: a rate, 1/ms, [N].
        second: another.
    """
    z = np.abs(second - first) * h
    ratio = np.where(z == 0, 1.0, -np.expm1(-z) / np.where(z == 0, 1.0, z))
    mixed: Floats = h * np.exp(-np.minimum(first, second) * h) * ratio
    return mixed


def voltage(graph: Graph, v: Floats, i: Floats, h: Floats | float) -> Floats:
    """Return the membranes after h ms without events, [N].

    Args:
        graph: the network.
        v: membranes now, [N].
        i: currents now, [N].
        h: ms, a number or one per neuron.
    """
    later: Floats = v * np.exp(-h / graph.tau_m) + i / graph.tau_m * mixing(h, 1 / graph.tau_m, 1 / graph.tau_s)
    return later


def crossings(graph: Graph, v: Floats, i: Floats, longest: float) -> Floats:
    """Return when each neuron first reaches its threshold without further events, ms from now; inf if it does not.

    The membrane rises as long as it is below the current, so first its peak is bisected and then the crossing before.

    Args:
        graph: the network.
        v: membranes now, [N].
        i: currents now, [N].
        longest: how far to look, ms.
    """
    low, high = np.zeros_like(v), np.full_like(v, longest)
    for _ in range(70):
        middle = (low + high) / 2
        rises = i * np.exp(-middle / graph.tau_s) > voltage(graph, v, i, middle)
        low, high = np.where(rises, middle, low), np.where(rises, high, middle)
    reached = (i > graph.theta) & (voltage(graph, v, i, low) > graph.theta)
    low, high = np.zeros_like(v), low
    for _ in range(70):
        middle = (low + high) / 2
        below = voltage(graph, v, i, middle) < graph.theta
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(reached, high, np.inf)


def modes(graph: Graph, v: Floats, i: Floats, centre: Floats) -> tuple[Floats, Floats]:
    """Return ``V - centre`` as a sum of three exponentials: amplitudes and rates, each [3, N]; tau_m != tau_s.

    Args:
        graph: the network.
        v: membranes now, [N].
        i: currents now, [N].
        centre: of the running loss, [N].
    """
    slow = i * graph.tau_s / (graph.tau_m - graph.tau_s)
    rates = np.stack([1 / graph.tau_m, 1 / graph.tau_s, np.zeros_like(v)])
    return np.stack([v + slow, -slow, -centre]), rates


def _span(rate: Floats, h: float) -> Floats:
    """``(1 - e^{-rate h}) / rate``, h where the rate is 0."""
    gone: Floats = np.where(rate == 0, h, -np.expm1(-rate * h) / np.where(rate == 0, 1.0, rate))
    return gone


class ReferenceEventProp:
    """Plain loops."""

    def forward(
        self, graph: Graph, weights: Floats, arrivals: Arrivals, duration: float, centre: Floats | None, most: int
    ) -> Run | None:
        """Run a batch (see `spikeframe.kernels.eventprop.Provider`)."""
        samples, size = len(arrivals.begin) - 1, len(graph.theta)
        deviation = np.zeros((samples, size))
        spikes: list[tuple[float, int, float]] = []
        begin, kept = [0], []
        for b in range(samples):
            v, i, now = np.zeros(size), np.zeros(size), 0.0
            e, end = arrivals.begin[b], arrivals.begin[b + 1]
            record = []
            while True:
                waits = crossings(graph, v, i, duration - now)
                n = int(np.argmin(waits))
                arrival = arrivals.times[e] if e < end else np.inf
                fires = now + waits[n] <= arrival
                then = now + waits[n] if fires else arrival
                over = then > duration
                h = (duration if over else then) - now
                if centre is not None:
                    a, r = modes(graph, v, i, centre)
                    deviation[b] += sum(a[k] * a[m] * _span(r[k] + r[m], h) for k in range(3) for m in range(3))
                record.append((now, h, v, i))
                v, i, now = voltage(graph, v, i, h), i * np.exp(-h / graph.tau_s), now + h
                if over:
                    break
                if fires:
                    if len(spikes) == most:
                        return None
                    spikes.append((now, n, float(i[n])))
                    v[n] = 0.0
                    source = graph.inputs + n
                else:
                    source = int(arrivals.source[e])
                    e += 1
                synapses = slice(graph.first[source], graph.first[source + 1])
                np.add.at(i, graph.target[synapses], weights[synapses])
            begin.append(len(spikes))
            kept.append(record)
        times, neuron, current = (
            np.array([s[k] for s in spikes], t) for k, t in ((0, float), (1, np.int64), (2, float))
        )
        return Run(times, neuron, current, np.array(begin), deviation, kept)

    def backward(
        self, graph: Graph, weights: Floats, arrivals: Arrivals, duration: float, centre: Floats | None, run: Run,
        g_times: Floats, g_deviation: Floats, least: float,
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """Run the adjoint (see `spikeframe.kernels.eventprop.Provider`)."""
        g_weights, g_arrivals = np.zeros(len(weights)), np.zeros(len(arrivals.times))
        tau_s, theta = graph.tau_s, graph.theta
        mean = np.zeros_like(theta) if centre is None else centre
        for b in range(len(arrivals.begin) - 1):
            of_v, of_i = np.zeros(len(theta)), np.zeros(len(theta))
            arriving = [(arrivals.times[e], 1, e) for e in range(arrivals.begin[b], arrivals.begin[b + 1])]
            events = sorted(
                [e for e in arriving if e[0] <= duration]
                + [(run.times[p], 0, p) for p in range(run.begin[b], run.begin[b + 1])]
            )
            for (_, is_arrival, k), (_, h, v, i) in zip(reversed(events), reversed(run.kept[b]), strict=False):
                of_v, of_i = self._earlier(graph, of_v, of_i, h, v, i, mean, g_deviation[b])
                source = int(arrivals.source[k]) if is_arrival else graph.inputs + int(run.neuron[k])
                synapses = slice(graph.first[source], graph.first[source + 1])
                reached = graph.target[synapses]
                g_weights[synapses] -= (tau_s * of_i)[reached]
                moved = float((weights[synapses] * (of_v - of_i)[reached]).sum())
                if is_arrival:
                    g_arrivals[k] = moved
                else:
                    n = int(run.neuron[k])
                    jump = g_deviation[b, n] * ((theta[n] - mean[n]) ** 2 - mean[n] ** 2)
                    total = theta[n] * of_v[n] + moved + g_times[k] + jump
                    of_v[n] += total / max(run.current[k] - theta[n], least)
        return g_weights, g_arrivals

    def _earlier(
        self, graph: Graph, of_v: Floats, of_i: Floats, h: float, v: Floats, i: Floats, centre: Floats, g: Floats
    ) -> tuple[Floats, Floats]:
        """Return the adjoints h ms earlier; v and i are the state there."""
        rate_m, rate_s = 1 / graph.tau_m, 1 / graph.tau_s
        new_v = of_v * np.exp(-rate_m * h)
        new_i = of_i * np.exp(-rate_s * h) + of_v * rate_s * mixing(h, rate_m, rate_s)
        if g.any():
            for a, r in zip(*modes(graph, v, i, centre), strict=True):
                drive, inner, outer = 2 * g * a * rate_m, r + rate_m, r + rate_s
                new_v = new_v - drive * _span(inner, h)
                new_i = new_i - drive * rate_s * (_span(outer, h) - mixing(h, inner, outer)) / inner
        return new_v, new_i
