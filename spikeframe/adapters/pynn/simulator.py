"""The state of the simulation, as PyNN's common code wants it: one network, its time, what records it."""
# mypy: disallow-subclassing-any=False, disallow-untyped-calls=False

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pyNN import common

from spikeframe.errors import TimeGridError

if TYPE_CHECKING:
    from spikeframe.adapters.pynn.building import Built
    from spikeframe.core.counts import Counts

name = "spikeframe"


class ID(int, common.IDMixin):
    """Number of a cell; its attributes are the cell's parameters."""

    def __init__(self, n: int) -> None:
        common.IDMixin.__init__(self)


class State(common.control.BaseState):
    """What `setup` begins anew and every population, projection, source and recorder enters itself in.

    The network is described again and built at a run if anything was changed since the last one; membranes, synapses
    and spikes under way are carried over (`spikeframe.adapters.pynn.building`).

    Attributes:
        limits: what `setup` was given as smallest and largest delay, ms or ``"auto"``.
        step: steps done since `setup` or `reset`.
        built: what runs now, or None before the first run.
        counts: operation counts per population, over all runs since `setup`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mpi_rank, self.num_processes = 0, 1
        self.dt = 0.1
        self.limits: tuple[float | str, float | str] = ("auto", "auto")
        self.seed, self.dtype, self.backend = 0, "float64", "auto"
        self.threads: int | None = None
        self.clear()

    def clear(self) -> None:
        """Forget the network."""
        self.recorders: set[Any] = set()
        self.populations: list[Any] = []
        self.projections: list[Any] = []
        self.sources: list[Any] = []
        self.write_on_end: list[Any] = []
        self.id_counter = 0
        self.segment_counter = -1
        self.counts: dict[str, Counts] = {}
        self.reset()

    def reset(self) -> None:
        """Return to time 0: the next run begins with initial values and weights, and with new random numbers."""
        self.built: Built | None = None
        self.changed = True
        self.running = False
        self.step = 0
        self.t_start = 0
        self.segment_counter += 1
        for population in self.populations:
            population.assigned.clear()
        for projection in self.projections:
            projection.assigned = False

    @property
    def t(self) -> float:
        """Time, ms."""
        return float(np.round(self.step * self.dt, 9))

    @property
    def min_delay(self) -> float:
        """The smallest delay that synapses may have, ms; with ``"auto"``, the smallest that one has."""
        least = self.limits[0]
        return min(self._delays(), default=self.dt) if isinstance(least, str) else least

    @property
    def max_delay(self) -> float:
        """The largest delay that synapses may have, ms; with ``"auto"``, the largest that one has."""
        most = self.limits[1]
        return max(self._delays(), default=self.dt) if isinstance(most, str) else most

    def _delays(self) -> list[float]:
        delays = [p.values["delay"] for p in self.projections if "delay" in p.values and len(p)]
        return [float(end) for each in delays for end in (each.min(), each.max())]

    def least_delay(self) -> float:
        """Return the smallest delay that a synapse may have, ms: that of those to which none is given."""
        return self.dt if isinstance(self.limits[0], str) else self.limits[0]

    def run(self, duration: float) -> None:
        """Go on for some time, ms."""
        self.run_until(self.t + duration)

    def run_until(self, time: float) -> None:
        """Go on to a time, ms, rounded to the grid."""
        from spikeframe.adapters.pynn.building import advance

        steps = round(time / self.dt) - self.step
        if steps < 0:
            raise TimeGridError(f"run_until({time:g}): lies before the present time, {self.t:g} ms.")
        if steps:
            advance(self, steps)
        self.running = True


state = State()
