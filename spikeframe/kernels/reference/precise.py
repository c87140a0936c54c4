"""The precise clock in plain Python: the meaning of `spikeframe.kernels.numba.precise`, operation by operation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from spikeframe.kernels.precise import ALPHA, EXP, STEP
from spikeframe.kernels.reference.exponential import FLOAT64
from spikeframe.kernels.reference.philox import log64

#: Coefficients of ``(1 - e^{-z}) / z`` in powers of -z, highest first; enough for 0 <= z < 1/2.
PHI = tuple(1.0 / math.factorial(n + 1) for n in range(15, -1, -1))
#: Coefficients of ``\int_0^1 s e^{zs} ds`` in powers of z, highest first; enough for -1 < z < 1.
RISE = tuple(1.0 / (math.factorial(n) * (n + 2)) for n in range(18, -1, -1))

Time = tuple[int, float]


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


def later(time: Time, d: float) -> Time:
    """Return the time d >= 0 ms after a time."""
    whole = math.floor(d)
    offset = time[1] + (d - whole)
    return (time[0] + whole, offset) if offset < 1.0 else (time[0] + whole + 1, offset - 1.0)


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
    return h * (left * phi(z) if z >= 0.0 else left_m * phi(-z))


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
    arrived: list[float] = field(default_factory=list)


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


def decayed(n: Neuron, h: float) -> tuple[list[float], list[float]]:
    """Return the currents after h ms without events."""
    _, i, y = propagate(n, h, 0.0, n.i, n.y)
    return i, y
