"""Neurons of the precise clock, compiled (see `spikeframe.kernels.reference.precise_lif`, the same operations).

`c` is the neuron's record of `CELL`, `slots` its slice of `SLOT`; `now` and `then` are slices of `CURRENT` of the same
length. `work` is three such slices in one array, of which the first is the state that a search starts from.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from spikeframe.kernels.numba.exponential import exp64
from spikeframe.kernels.numba.philox import log64
from spikeframe.kernels.precise import ALPHA, DELTA, EXP, STEP
from spikeframe.kernels.reference.precise_lif import PHI, RISE


@njit(cache=True, nogil=True, error_model="numpy")
def decay(x):  # type: ignore[no-untyped-def]
    """Evaluate e^{-x}."""
    return exp64(-x)


@njit(cache=True, nogil=True, error_model="numpy")
def log1p(z):  # type: ignore[no-untyped-def]
    """Evaluate log(1 + z)."""
    w = 1.0 + z
    return z if w == 1.0 else log64(w) * z / (w - 1.0)


@njit(cache=True, nogil=True, error_model="numpy")
def phi(z):  # type: ignore[no-untyped-def]
    """Evaluate ``(1 - e^{-z}) / z`` for 0 <= z < 1/2."""
    total = PHI[0]
    for coefficient in PHI[1:]:
        total = coefficient - total * z
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def charge(h, z, left_m, left):  # type: ignore[no-untyped-def]
    """What an exponential current of 1 adds in h ms."""
    if abs(z) >= 0.5:
        return h * ((left - left_m) / z)
    return h * ((left if z >= 0.0 else left_m) * phi(abs(z)))


@njit(cache=True, nogil=True, error_model="numpy")
def rise(h, z, left_m, left):  # type: ignore[no-untyped-def]
    """What the rise of 1 of an alpha current adds in h ms."""
    if abs(z) >= 1.0:
        return h * (h / z) * ((left * (z - 1.0) + left_m) / z)
    total = RISE[0]
    for coefficient in RISE[1:]:
        total = total * z + coefficient
    return h * h * left_m * total


@njit(cache=True, nogil=True, error_model="numpy")
def propagate(c, slots, h, u, now, then):  # type: ignore[no-untyped-def]
    """Write the currents after h ms without events and return u; `then` may be `now`."""
    x_m = h / c.tau_m
    if x_m < 0.5:
        gone = x_m * phi(x_m)
        left_m = 1.0 - gone
    else:
        left_m = decay(x_m)
        gone = 1.0 - left_m
    constant, added = c.i_e, 0.0
    for r in range(slots.size):
        kind, tau, i, y = slots[r].kind, slots[r].tau, now[r].i, now[r].y
        if kind == STEP:
            constant += i
        elif kind in (EXP, ALPHA):
            x = h / tau
            left = decay(x)
            added += i * charge(h, x_m - x, left_m, left)
            if kind == ALPHA:
                added += y * rise(h, x_m - x, left_m, left)
                i += y * h
                y *= left
            i *= left
        then[r].i = i
        then[r].y = y
    return u + (c.r_m * constant - u) * gone + c.r_m / c.tau_m * added


@njit(cache=True, nogil=True, error_model="numpy")
def current(c, slots, now):  # type: ignore[no-untyped-def]
    """Return the total current."""
    total = c.i_e
    for r in range(slots.size):
        if slots[r].kind != DELTA:
            total += now[r].i
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def highest(c, slots, u, now):  # type: ignore[no-untyped-def]
    """Return a bound on u for all time without events."""
    constant, added = c.i_e, 0.0
    for r in range(slots.size):
        kind = slots[r].kind
        if kind == STEP:
            constant += now[r].i
        elif kind in (EXP, ALPHA):
            added += max(now[r].i, 0.0) * slots[r].peak + max(now[r].y, 0.0) * slots[r].rise_peak
    return max(u, c.r_m * constant) + added


@njit(cache=True, nogil=True, error_model="numpy")
def current_range(c, slots, now, then):  # type: ignore[no-untyped-def]
    """Return the least and the largest total current between two states without events."""
    low, high = c.i_e, c.i_e
    for r in range(slots.size):
        if slots[r].kind == DELTA:
            continue
        i, end_i, tau = now[r].i, then[r].i, slots[r].tau
        least, most = min(i, end_i), max(i, end_i)
        y, end_y = now[r].y * tau, then[r].y * tau
        if slots[r].kind == ALPHA and (y > i) != (end_y > end_i) and y != 0.0:
            turn = y * decay(max(1.0 - i / y, 0.0))
            least, most = min(least, turn), max(most, turn)
        low += least
        high += most
    return low, high


@njit(cache=True, nogil=True, error_model="numpy")
def closed_crossing(gap, drive, tau_m):  # type: ignore[no-untyped-def]
    """Return the d > 0 at which u, on its way up by `drive` under a constant current, has risen by `gap` > 0."""
    return -tau_m * log1p(-gap / drive) if drive > gap else np.inf


@njit(cache=True, nogil=True, error_model="numpy")
def root(c, slots, length, u, u_end, now, then):  # type: ignore[no-untyped-def]
    """Return where u, rising throughout the window from `now` on, reaches theta."""
    low, high = 0.0, length
    d = length * ((c.theta - u) / (u_end - u))
    noise = 2.0**-52 * (abs(c.theta) + abs(u_end))
    for _ in range(100):
        value = propagate(c, slots, d, u, now, then)
        excess = value - c.theta
        if excess < 0.0:
            low = d
        else:
            high = d
        slope = (c.r_m * current(c, slots, then) - value) / c.tau_m
        nearer = d - excess / slope if slope > 0.0 else np.inf
        inside = low < nearer < high
        if abs(excess) <= noise:
            return nearer if inside else d
        d = nearer if inside else low + 0.5 * (high - low)
        if not low < d < high:
            return high
    return high


@njit(cache=True, nogil=True, error_model="numpy")
def first_crossing(c, slots, u, work):  # type: ignore[no-untyped-def]
    """Return the first d >= 0 with ``u(d) >= theta`` from the first state of `work` on."""
    n = slots.size
    now, then, trial = work[:n], work[n : 2 * n], work[2 * n : 3 * n]
    passed, length = 0.0, c.first
    shortest = 2.0**-50 * c.first
    while passed <= c.horizon:
        if u >= c.theta:
            return passed
        if highest(c, slots, u, now) < c.theta:
            return np.inf
        slope = (c.r_m * current(c, slots, now) - u) / c.tau_m
        if slope > 0.0:
            length = max(min(length, 2.0 * ((c.theta - u) / slope)), shortest)
        u_end = propagate(c, slots, length, u, now, then)
        low, high = current_range(c, slots, now, then)
        top = u + max(c.r_m * high - u, 0.0) * min(length / (c.tau_m + 0.5 * length), 1.0)
        if top >= c.theta:
            if c.r_m * low >= top:
                if u_end >= c.theta:
                    return passed + root(c, slots, length, u, u_end, now, trial)
            elif length > shortest:
                length *= 0.5
                continue
        passed, length, u = passed + length, 2.0 * length, u_end
        now, then = then, now
    return np.inf


@njit(cache=True, nogil=True, error_model="numpy")
def next_spike(c, slots, u, now, work):  # type: ignore[no-untyped-def]
    """Return the ms until the neuron crosses its threshold without further events."""
    if u >= c.theta:
        return 0.0
    if c.closed:
        return closed_crossing(c.theta - u, c.r_m * current(c, slots, now) - u, c.tau_m)
    for r in range(slots.size):
        work[r].i = now[r].i
        work[r].y = now[r].y
    return first_crossing(c, slots, u, work)
