r"""Renewal processes as given spikes: independent intervals, gamma distributed after a dead time.

.. math:: \text{interval} = d + G, \qquad G \sim \mathrm{Gamma}(k, \text{mean } 1/\text{rate} - d)

With shape k = 1 a Poisson process with dead time d; k > 1 is more regular, k < 1 burstier. The first interval begins at
`start`. The n-th interval of a neuron is a function of seed, stream, neuron and n alone (Philox), so a train does not
depend on where it is cut off. Spikes lie on the grid: each is moved to the end of its step. Gamma numbers by Marsaglia
and Tsang 2000, doi:10.1145/358407.358414.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeframe.core.stimulation import SpikeSource
from spikeframe.errors import NonFiniteError, ParameterError, ShapeError
from spikeframe.kernels.reference.philox import log64, normal64, philox, uniform64

Floats = NDArray[np.float64]
#: Intervals of all neurons that are drawn together.
_BLOCK = 1 << 20
#: Of attempts at a number; the others are those of the factor for shapes below 1.
_BOOST = 1 << 31


def renewal_source(
    size: int, rate: ArrayLike, stop: ArrayLike, dt: float, *, shape: ArrayLike = 1.0, dead_time: ArrayLike = 0.0,
    start: ArrayLike = 0.0, seed: int = 0, stream: int = 6 << 28,
) -> SpikeSource:  # fmt: skip
    """Draw the spikes of some neurons and return them as a source.

    Args:
        size: number of neurons.
        rate: spikes per second, dead time included; this and what follows a number or one per neuron. 0: no spikes.
        stop: ms, finite; nobody fires later.
        dt: ms, the simulation's.
        shape: of the gamma distribution.
        dead_time: ms, less than the mean interval.
        start: ms.
        seed: key of the random numbers.
        stream: of the random numbers; two sources need two.

    Raises:
        ParameterError, NonFiniteError: a value that no process can have.
        ShapeError: neither a number nor one per neuron.
    """
    rates = _each("rate", rate, size, 0.0)
    shapes, dead = _each("shape", shape, size, 0.0), _each("dead_time", dead_time, size, 0.0)
    first, last = _each("start", start, size, 0.0), _each("stop", stop, size)
    if (shapes <= 0).any():
        raise ParameterError("renewal_source(shape): must be above 0.")
    mean = np.divide(1e3, rates, out=np.full(size, np.inf), where=rates > 0)
    wrong = np.flatnonzero(dead >= mean)
    if wrong.size:
        i = int(wrong[0])
        raise ParameterError(
            f"renewal_source: dead_time={dead[i]:g} ms of neuron {i} leaves no room in a mean interval of "
            f"{mean[i]:g} ms (rate={rates[i]:g} spikes/s)."
        )
    alive = np.flatnonzero((rates > 0) & (last > first))
    times, ids = [np.zeros(0)], [np.zeros(0, np.int64)]
    at, done, key = first.copy(), 0, (seed & 0xFFFFFFFF, seed >> 32)
    while alive.size:
        many = max(16, _BLOCK // alive.size)
        many = min(many, 16 + int(1.2 * ((last - at) / mean)[alive].max()))
        number = np.arange(done, done + many)
        g = _gamma(shapes[alive, np.newaxis], number, alive[:, np.newaxis], stream, key)
        intervals = dead[alive, np.newaxis] + g * ((mean - dead) / shapes)[alive, np.newaxis]
        found = at[alive, np.newaxis] + np.cumsum(intervals, axis=1)
        at[alive], done = found[:, -1], done + many
        inside = found <= last[alive, np.newaxis]
        times.append(found[inside])
        ids.append(np.broadcast_to(alive[:, np.newaxis], found.shape)[inside])
        alive = alive[at[alive] <= last[alive]]
    when, who = np.concatenate(times), np.concatenate(ids)
    steps = np.maximum(np.ceil(when / dt - 1e-9), 1.0)
    return SpikeSource(steps * dt, who)


def _each(name: str, value: ArrayLike, size: int, least: float = -np.inf) -> Floats:
    """Return one finite number per neuron, or refuse it."""
    found = np.asarray(value, np.float64)
    if found.shape not in ((), (size,)):
        raise ShapeError(f"renewal_source({name}): has shape {found.shape}; give a number, or {size} of them.")
    if not np.isfinite(found).all():
        raise NonFiniteError(f"renewal_source({name}): must be finite.")
    if (found < least).any():
        raise ParameterError(f"renewal_source({name}={found.min():g}): must be at least {least:g}.")
    return np.broadcast_to(found, (size,)).astype(np.float64)


def _gamma(shape: Floats, number: Any, neuron: Any, stream: int, key: tuple[int, int]) -> Floats:
    """Return gamma numbers of scale 1, one for each pair of a neuron and a number."""
    shape, number, neuron = np.broadcast_arrays(shape, number, neuron)
    d = np.where(shape < 1.0, shape + 1.0, shape) - 1.0 / 3.0
    c = 1.0 / np.sqrt(9.0 * d)
    found = np.zeros(shape.shape)
    todo, attempt = np.ones(shape.shape, bool), 0
    while todo.any():
        words = philox(attempt, number[todo], neuron[todo], stream, *key)
        x, own = normal64(words[0], words[1]), d[todo]
        v = np.maximum(1.0 + c[todo] * x, 0.0) ** 3
        accepted = log64(uniform64(words[2], words[3])) < 0.5 * x * x + own - own * v + own * log64(v)
        at = np.flatnonzero(todo.ravel())[accepted]
        found.ravel()[at] = (own * v)[accepted]
        todo.ravel()[at] = False
        attempt += 1
    low = shape < 1.0
    if low.any():
        words = philox(_BOOST, number[low], neuron[low], stream, *key)
        found[low] *= np.exp(log64(uniform64(words[0], words[1]) + 2.0**-54) / shape[low])
    return found
