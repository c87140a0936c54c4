"""PyNN's functions that begin, run and end a simulation."""
# mypy: disallow-subclassing-any=False, disallow-untyped-calls=False

from __future__ import annotations

import warnings
from typing import Any

from pyNN import common
from pyNN.common.control import DEFAULT_MAX_DELAY, DEFAULT_MIN_DELAY, DEFAULT_TIMESTEP
from pyNN.connectors import FixedProbabilityConnector
from pyNN.random import NumpyRNG
from pyNN.recording import get_io

from spikeframe.adapters.pynn import simulator
from spikeframe.adapters.pynn.populations import Population
from spikeframe.adapters.pynn.projections import Projection
from spikeframe.adapters.pynn.synapses import StaticSynapse
from spikeframe.core.circuit import checked
from spikeframe.core.counts import Counts
from spikeframe.core.network import Network
from spikeframe.errors import ParameterError, TimeGridError
from spikeframe.kernels.grid import provider


def setup(timestep: float = DEFAULT_TIMESTEP, min_delay: float | str = DEFAULT_MIN_DELAY, **extra: Any) -> int:
    """Begin anew.

    Args:
        timestep: ms.
        min_delay: smallest delay that synapses may have, ms, and that of those without one; ``"auto"``: the time step.
        extra: ``max_delay`` (ms); ``rng_seed`` of Poisson sources and noise (0), ``threads`` (changes no result),
            ``dtype`` (``"float64"`` or ``"float32"``) and ``backend`` (as for `spikeframe.Simulator`). What only other
            backends know is ignored, as PyNN wants it.

    Returns:
        0, the rank of this process.

    Raises:
        TimeGridError, ParameterError: an argument is not usable.
    """
    state = simulator.state
    dt, dtype = checked(timestep, None, extra.get("dtype", "float64"))
    for name, value in (("min_delay", min_delay), ("max_delay", extra.get("max_delay", DEFAULT_MAX_DELAY))):
        if value != "auto" and (isinstance(value, (bool, str)) or not value >= dt * (1 - 1e-9)):
            raise TimeGridError(f"setup({name}={value!r}): must be 'auto' or at least the time step, {dt:g} ms.")
    common.setup(timestep, min_delay, **extra)
    if extra.get("spike_precision", "on_grid") != "on_grid":
        warnings.warn(
            f"setup(spike_precision={extra['spike_precision']!r}): spikes lie on the time grid here, multiples of "
            f"{dt:g} ms; a smaller timestep moves them less.", stacklevel=2,
        )  # fmt: skip
    seed, threads = extra.get("rng_seed", 0), extra.get("threads")
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise ParameterError(f"setup(threads={threads!r}): must be a whole number of at least 1.")
    Network(seed)
    state.dt, state.dtype, state.seed, state.threads = dt, dtype, seed, threads
    state.backend = extra.get("backend", "auto")
    provider(state.backend)
    state.limits = min_delay, extra.get("max_delay", DEFAULT_MAX_DELAY)
    state.clear()
    return 0


class NativeRNG(NumpyRNG):
    """Random numbers for the backend to draw by itself, as PyNN has it; here they are NumPy's."""


def end(compatible_output: bool = True) -> None:
    """Write what was to be recorded to files.

    Args:
        compatible_output: has no meaning any more.
    """
    for population, variables, filename in simulator.state.write_on_end:
        population.write_data(get_io(filename), variables)
    simulator.state.write_on_end = []


def counts() -> dict[str, Counts]:
    """Return the operation counts of all runs since `setup`, per population: what `spikeframe.energy.report` takes."""
    return dict(simulator.state.counts)


run, run_until = common.build_run(simulator)
run_for = run
reset = common.build_reset(simulator)
initialize = common.initialize
set = common.set
(get_current_time, get_time_step, get_min_delay, get_max_delay, num_processes, rank) = common.build_state_queries(
    simulator
)
create = common.build_create(Population)
connect = common.build_connect(Projection, FixedProbabilityConnector, StaticSynapse)
record = common.build_record(simulator)


def record_v(source: Any, filename: str) -> None:
    """Record the membrane potential to a file.

    Args:
        source: cells.
        filename: written by `end`.
    """
    record(["v"], source, filename)


def record_gsyn(source: Any, filename: str) -> None:
    """Record the synaptic conductances to a file.

    Args:
        source: cells.
        filename: written by `end`.
    """
    record(["gsyn_exc", "gsyn_inh"], source, filename)
