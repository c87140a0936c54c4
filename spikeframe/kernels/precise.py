r"""The precise clock: leaky integrate-and-fire neurons in continuous time, one event after the other, in float64.

.. math:: \tau_m \, du/dt = -u + r_m (i_e + \sum_r i_r), \qquad u = v - v_{rest} \ge \theta: \text{ spike and reset}

A receptor turns an arriving weight into its current i_r (`DELTA` and the following). Between events everything is
advanced by closed forms; a neuron is touched only when an event reaches it or when its own next event, a predicted
threshold crossing or the end of its refractory period, is due.

**Time** is a whole number of milliseconds plus an offset in [0, 1), so a spike at 10^7 s is as sharp (1e-16 ms) as one
at 1 ms; `split` and `joined` convert. **At one instant**, in this order: refractory periods that end there; predicted
crossings; all arrivals, summed per receptor in the order of source and delay; the threshold test. So neither the order
in which synapses were made nor the chunks of a run can change a bit. A refractory neuron stays at v_reset and loses
delta arrivals, as NEST's ``iaf_psc_delta_ps``; its currents go on.

**Exactness**: crossings are the roots of the closed forms to rounding error, and none is missed, however short, that
exceeds the threshold by more than rounding (some 1e-15 of the largest term of u). References: Brette 2006,
doi:10.1162/neco.2006.18.8.2004; Hanuschkin et al. 2010, doi:10.3389/fninf.2010.00113.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeframe.errors import BackendError, unknown_name

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Table = NDArray[np.void]
#: Whole milliseconds and an offset in [0, 1).
Time = tuple[int, float]

#: Kinds of receptors. An arriving weight w acts as: DELTA: u += w at once. STEP: i += w for good. EXP: i += w,
#: i' = -i / tau. ALPHA: y += w e / tau, y' = -y / tau, i' = y - i / tau, the current w (t / tau) e^{1 - t / tau}.
DELTA, STEP, EXP, ALPHA = range(4)
#: No crossing is predicted, and nothing lasts, longer than this, ms.
FAR = 1e15
#: Shortest delay between neurons, time constant, refractory period but 0, and interval without one, ms: far above the
#: rounding of a time.
SHORTEST = 1e-9


#: Parameters of a neuron. theta and reset are above rest; its slots, one per receptor, begin at `slot`. `closed`: no
#: current decays, so its next crossing has a closed form. `first`: shortest time constant; `horizon`: a time after
#: which its currents are gone.
CELL = np.dtype(
    [(name, np.float64) for name in ("tau_m", "r_m", "v_rest", "theta", "reset", "t_ref", "i_e", "first", "horizon")]
    + [("slot", np.int64), ("receptors", np.int32), ("closed", np.bool_)],
    align=True,
)
#: Parameters of a slot. `peak`: largest response of u to i = 1; `rise_peak`: a bound on that to y = 1.
SLOT = np.dtype([("tau", np.float64), ("peak", np.float64), ("rise_peak", np.float64), ("kind", np.int64)])
#: A synapse: the target's receptor is the slot of that number.
SYNAPSE = np.dtype([("weight", np.float64), ("delay", np.float64), ("target", np.int32), ("slot", np.int32)])
#: State of a neuron, valid at (step, offset): u above rest; the end of its last refractory period; when its own next
#: event is due, which, where it is `asleep`, is the end of the refractory period and no crossing.
NEURON = np.dtype(
    [
        ("u", np.float64), ("step", np.int64), ("offset", np.float64), ("end_step", np.int64),
        ("end_offset", np.float64), ("next_step", np.int64), ("next_offset", np.float64), ("asleep", np.bool_),
    ],
    align=True,
)  # fmt: skip
#: State of a slot: current and, for alpha, its rise.
CURRENT = np.dtype([("i", np.float64), ("y", np.float64)])
#: A spike in flight: when its next arrivals are due, its source, where in its row they begin, when it was sent.
FLIGHT = np.dtype(
    [
        ("step", np.int64), ("offset", np.float64), ("source", np.int64), ("place", np.int64),
        ("from_step", np.int64), ("from_offset", np.float64),
    ]
)  # fmt: skip


class Plan(NamedTuple):
    """Neurons and synapses; sources are the neurons, then external ones.

    Attributes:
        cells: ``[N]`` of `CELL`.
        slots: ``[slots]`` of `SLOT`, neuron by neuron.
        start: ``[sources + 1]`` where each source's row begins.
        synapses: ``[synapses]`` of `SYNAPSE`, rows sorted by delay.
    """

    cells: Table
    slots: Table
    start: Ints
    synapses: Table


class State(NamedTuple):
    """Everything a run goes on from, as arrays only; times are pairs (step, offset).

    Attributes:
        neurons: ``[N]`` of `NEURON`.
        currents: ``[slots]`` of `CURRENT`.
        flights: ``[spikes in flight]`` of `FLIGHT`, sorted.
        now_step: ``[1]`` time up to which everything has happened, with `now_offset`.
    """

    neurons: Table
    currents: Table
    flights: Table
    now_step: Ints
    now_offset: Floats


class Events(NamedTuple):
    """Spikes of external sources, sorted by time, ties by source.

    Attributes:
        step: ``[events]`` whole milliseconds, with `offset` in [0, 1).
        source: ``[events]`` index into the plan's rows.
    """

    step: Ints
    offset: Floats
    source: Ints


class Counts(NamedTuple):
    """What a run did.

    Attributes:
        sent: synaptic events sent out; `delivered` those that arrived (the rest is in flight).
        lost: delta arrivals among them that met a refractory neuron.
        predictions: crossings looked for: one per neuron and instant at which it received, fired or woke.
    """

    sent: int
    delivered: int
    lost: int
    predictions: int


class Run(NamedTuple):
    """What a run gives: spikes sorted by time and id, the state to go on from, counts.

    Attributes:
        step: ``[spikes]`` whole milliseconds, with `offset` in [0, 1).
        ids: ``[spikes]`` neuron.
    """

    step: Ints
    offset: Floats
    ids: Ints
    state: State
    counts: Counts


class Stop(NamedTuple):
    """Why a provider could not go on: ``"not finite"`` or ``"stuck"``, and where."""

    reason: str
    neuron: int
    time: float


class Provider(Protocol):
    """The functions a provider of the precise clock has; the arguments have been checked."""

    def run(self, plan: Plan, state: State, events: Events, end: Time) -> Run | Stop:
        """Do everything up to and including `end`; `events` lie after the state's time and not after `end`.

        The arrays given are left alone.
        """

    def read(self, plan: Plan, state: State) -> Floats:
        """Return the membrane ``[N]`` in mV at the state's time."""


def split(times: ArrayLike) -> tuple[Ints, Floats]:
    """Return float64 times, ms, as whole milliseconds and offsets.

    Args:
        times: ``[...]``.
    """
    values = np.asarray(times, np.float64)
    whole = np.floor(values)
    return whole.astype(np.int64), values - whole


def joined(step: Ints, offset: Floats) -> Floats:
    """Return (step, offset) as one float64, ms."""
    return step.astype(np.float64) + offset


def later(time: Time, d: float) -> Time:
    """Return the time d >= 0 ms after a time."""
    whole = math.floor(d)
    offset = time[1] + (d - whole)
    return (time[0] + whole, offset) if offset < 1.0 else (time[0] + whole + 1, offset - 1.0)


def in_flight(plan: Plan, state: State) -> int:
    """Return the number of synaptic events sent but not yet delivered."""
    source = state.flights["source"]
    return int((plan.start[source + 1] - plan.start[source] - state.flights["place"]).sum())


def provider(backend: str) -> Provider:
    """Return the provider of the precise clock.

    Args:
        backend: ``"auto"``, ``"reference"``, ``"numba"`` or ``"cuda"``.

    Raises:
        BackendError: the backend is not available here.
        UnknownNameError: there is no such backend.
    """
    if backend in ("auto", "numba"):
        from spikeframe.kernels.numba.precise import NumbaPrecise

        return NumbaPrecise()
    if backend == "reference":
        from spikeframe.kernels.reference.precise import ReferencePrecise

        return ReferencePrecise()
    if backend == "cuda":
        raise BackendError("the precise clock has no backend 'cuda'; use 'auto', 'numba' or 'reference'.")
    raise unknown_name("backend", backend, ("auto", "reference", "numba", "cuda"))
