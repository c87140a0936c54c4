"""Neurons of the precise clock in plain Python: closed forms between events and the next threshold crossing.

The meaning of `spikeframe.kernels.numba.precise_lif`, operation by operation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from spikeframe.kernels.precise import ALPHA, DELTA, EXP, STEP, Time
from spikeframe.kernels.reference.exponential import FLOAT64
from spikeframe.kernels.reference.philox import log64

#: Coefficients of ``(1 - e^{-z}) / z`` in powers of -z, highest first; enough for 0 <= z < 1/2.
PHI = tuple(1.0 / math.factorial(n + 1) for n in range(15, -1, -1))
#: Coefficients of ``\int_0^1 s e^{zs} ds`` in powers of z, highest first; enough for -1 < z < 1.
RISE = tuple(1.0 / (math.factorial(n) * (n + 2)) for n in range(18, -1, -1))

#: When nothing is due.
NEVER: Time = (1 << 62, 0.0)


def exp(x: float) -> float:
    """Evaluate the shared exponential for x <= 0."""
    c = FLOAT64
    n = round(max(x, c.low) * c.log2e)
    r = (max(x, c.low) - n * c.ln2_high) - n * c.ln2_low
    p = c.polynomial[0]
    for coefficient in c.polynomial[1:]:
        p = p * r + coefficient
    return math.ldexp(p, n)


def log1p(z: float) -> float:
    """Evaluate log(1 + z) without loss near 0 (Kahan's quotient)."""
    w = 1.0 + z
    return z if w == 1.0 else float(log64(np.array(w))) * z / (w - 1.0)


def span(end: Time, begin: Time) -> float:
    """Return the ms between two times."""
    return float(end[0] - begin[0]) + (end[1] - begin[1])


def phi(z: float) -> float:
    """Evaluate ``(1 - e^{-z}) / z`` for 0 <= z < 1/2."""
    total = PHI[0]
    for coefficient in PHI[1:]:
        total = coefficient - total * z
    return total


def charge(h: float, z: float, left_m: float, left: float) -> float:
    """``(e^{-bh} - e^{-ah}) / (a - b)``, z = (a - b) h, given both exponentials; no cancellation for a near b."""
    if abs(z) >= 0.5:
        return h * ((left - left_m) / z)
    return h * ((left if z >= 0.0 else left_m) * phi(abs(z)))


def rise(h: float, z: float, left_m: float, left: float) -> float:
    r"""``\int_0^h e^{-a (h - s)} s e^{-b s} ds``, with the arguments of `charge`."""
    if abs(z) >= 1.0:
        return h * (h / z) * ((left * (z - 1.0) + left_m) / z)
    total = RISE[0]
    for coefficient in RISE[1:]:
        total = total * z + coefficient
    return h * h * left_m * total


@dataclass
class Neuron:
    """One neuron: its parameters and its state, valid at `time`."""

    tau_m: float
    r_m: float
    theta: float
    reset: float
    t_ref: float
    i_e: float
    first: float
    horizon: float
    closed: bool
    receptors: list[tuple[int, float, float, float]]
    u: float
    i: list[float]
    y: list[float]
    time: Time
    end: Time
    next: Time
    asleep: bool


def propagate(n: Neuron, h: float, u: float, i: list[float], y: list[float]) -> tuple[float, list[float], list[float]]:
    """Return membrane and currents after h ms without events."""
    x_m = h / n.tau_m
    gone = x_m * phi(x_m) if x_m < 0.5 else 1.0 - exp(-x_m)
    left_m = 1.0 - gone if x_m < 0.5 else exp(-x_m)
    constant, added = n.i_e, 0.0
    new_i, new_y = list(i), list(y)
    for r, (kind, tau, _, _) in enumerate(n.receptors):
        if kind == STEP:
            constant += i[r]
        elif kind in (EXP, ALPHA):
            x = h / tau
            left = exp(-x)
            added += i[r] * charge(h, x_m - x, left_m, left)
            new_i[r] = i[r] * left
            if kind == ALPHA:
                added += y[r] * rise(h, x_m - x, left_m, left)
                new_i[r] = (i[r] + y[r] * h) * left
                new_y[r] = y[r] * left
    return u + (n.r_m * constant - u) * gone + n.r_m / n.tau_m * added, new_i, new_y


def current(n: Neuron, i: list[float]) -> float:
    """Return the total current."""
    total = n.i_e
    for r, (kind, _, _, _) in enumerate(n.receptors):
        if kind != DELTA:
            total += i[r]
    return total


def highest(n: Neuron, u: float, i: list[float], y: list[float]) -> float:
    """Return a bound on u for all time without events.

    The way to the resting value is monotone, and what each positive current adds to it is at most its own peak.
    """
    constant, added = n.i_e, 0.0
    for r, (kind, _, peak, rise_peak) in enumerate(n.receptors):
        if kind == STEP:
            constant += i[r]
        elif kind in (EXP, ALPHA):
            added += max(i[r], 0.0) * peak + max(y[r], 0.0) * rise_peak
    return max(u, n.r_m * constant) + added


def current_range(
    n: Neuron, i: list[float], y: list[float], end_i: list[float], end_y: list[float]
) -> tuple[float, float]:
    """Return the least and the largest total current between two states without events.

    Exponential currents are monotone. An alpha current has one stationary point, at ``s = tau - i / y`` with the value
    ``y tau e^{-s / tau}``; it lies between the states where ``y tau - i`` changes sign.
    """
    low, high = n.i_e, n.i_e
    for r, (kind, tau, _, _) in enumerate(n.receptors):
        if kind == DELTA:
            continue
        least, most = min(i[r], end_i[r]), max(i[r], end_i[r])
        if kind == ALPHA and (y[r] * tau > i[r]) != (end_y[r] * tau > end_i[r]) and y[r] * tau != 0.0:
            turn = y[r] * tau * exp(-max(1.0 - i[r] / (y[r] * tau), 0.0))
            least, most = min(least, turn), max(most, turn)
        low += least
        high += most
    return low, high


def closed_crossing(gap: float, drive: float, tau_m: float) -> float:
    """Return the d > 0 at which u, on its way up by `drive` under a constant current, has risen by `gap` > 0."""
    return -tau_m * log1p(-gap / drive) if drive > gap else math.inf


def root(n: Neuron, length: float, u: float, i: list[float], y: list[float], u_end: float) -> float:
    """Return where u, rising throughout `length` ms from below to theta or above, reaches theta.

    Newton's method inside a shrinking bracket, until the excess is at rounding level.
    """
    low, high = 0.0, length
    d = length * ((n.theta - u) / (u_end - u))
    noise = 2.0**-52 * (abs(n.theta) + abs(u_end))
    for _ in range(100):
        value, now_i, _ = propagate(n, d, u, i, y)
        excess = value - n.theta
        low, high = (d, high) if excess < 0.0 else (low, d)
        slope = (n.r_m * current(n, now_i) - value) / n.tau_m
        nearer = d - excess / slope if slope > 0.0 else math.inf
        inside = low < nearer < high
        if abs(excess) <= noise:
            return nearer if inside else d
        d = nearer if inside else low + 0.5 * (high - low)
        if not low < d < high:
            return high
    return high


def first_crossing(n: Neuron, u: float, i: list[float], y: list[float]) -> float:
    r"""Return the first d >= 0 at which ``u(d) >= theta`` without further events; infinite if there is none.

    Windows are passed from left to right. With currents between `low` and `high` over a window of L ms,

    * ``u <= top = u + max(r_m high - u, 0) min(L / (tau_m + L / 2), 1)``, since ``1 - e^{-x} <= x / (1 + x / 2)``:
      below theta there is no crossing;
    * ``tau_m u' = r_m i - u >= r_m low - top``: not negative, u rises throughout, and its end tells whether there is
      one crossing, which `root` finds, or none;
    * else the window is halved, down to 2^-50 of the shortest time constant.

    The excess of `top` over u shrinks with L^2, so a peak just below theta costs a number of windows that grows with
    the logarithm of its distance only. The search ends where `highest` is below theta.
    """
    passed, length = 0.0, n.first
    shortest = 2.0**-50 * n.first
    while passed <= n.horizon:
        if u >= n.theta:
            return passed
        if highest(n, u, i, y) < n.theta:
            return math.inf
        slope = (n.r_m * current(n, i) - u) / n.tau_m
        if slope > 0.0:
            length = max(min(length, 2.0 * ((n.theta - u) / slope)), shortest)
        u_end, end_i, end_y = propagate(n, length, u, i, y)
        low, high = current_range(n, i, y, end_i, end_y)
        top = u + max(n.r_m * high - u, 0.0) * min(length / (n.tau_m + 0.5 * length), 1.0)
        if top >= n.theta:
            if n.r_m * low >= top:
                if u_end >= n.theta:
                    return passed + root(n, length, u, i, y, u_end)
            elif length > shortest:
                length *= 0.5
                continue
        passed, length = passed + length, 2.0 * length
        u, i, y = u_end, end_i, end_y
    return math.inf


def next_spike(n: Neuron) -> float:
    """Return the ms until the neuron crosses its threshold without further events; infinite if it never does."""
    if n.u >= n.theta:
        return 0.0
    if n.closed:
        return closed_crossing(n.theta - n.u, n.r_m * current(n, n.i) - n.u, n.tau_m)
    return first_crossing(n, n.u, n.i, n.y)
