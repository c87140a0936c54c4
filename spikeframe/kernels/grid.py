"""A recurrent network on the grid clock: what every provider takes and gives.

Neurons of one model form a group, whatever populations they belong to. Groups are cut into *parts*, each owned by one
thread; a part's accumulators (one slot per neuron and receptor) receive integers, so no order of addition matters.
A step is: deliver what arrives, add the stimuli, integrate, test, reset, record. A spike of step t with delay d is
delivered in step t + d. There is no ring of future input: only the spikes of the last steps are kept and, for rows
with several delays, a cursor per spike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spikeframe.errors import unknown_name
from spikeframe.kernels.gap_junctions import Gaps
from spikeframe.kernels.plasticity import Plastic
from spikeframe.kernels.procedural import Regenerated
from spikeframe.kernels.reference.poisson import Laws, laws
from spikeframe.kernels.steps import Array
from spikeframe.kernels.trace import Program

#: Neurons that are skipped or updated together.
BLOCK = 64

Longs = NDArray[np.int64]
Ints = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Group:
    """Neurons of one model.

    Attributes:
        name: shown in errors.
        size: number of neurons.
        program: the traced step, or None for a group whose spikes are given from outside.
        coefficients: scalar or one value per neuron.
        receptors: inputs of the program that synapses feed, in the order of their slots.
        units: what an integer of 1 stands for, per receptor; powers of two.
        current: the input that takes the sum of the injected currents, or None.
        randoms: inputs that are uniform random numbers.
        stream: first of the random streams of `randoms`.
        bias: ``[size]`` added to the first receptor at every step, or None.
        waits: the traced condition under which no spike can come before the next input, over the leaves of `program`;
            None: none is known.
        slope: the traced slope of a membrane that is integrated numerically (`Integrated.slope_program`), or None.
    """

    name: str
    size: int
    program: Program | None = None
    coefficients: Mapping[str, Array] = field(default_factory=dict)
    receptors: tuple[str, ...] = ()
    units: tuple[float, ...] = ()
    current: str | None = None
    randoms: tuple[str, ...] = ()
    stream: int = 0
    bias: Array | None = None
    waits: Program | None = None
    slope: Program | None = None

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the state variables."""
        return () if self.program is None else self.program.names("state")


@dataclass(frozen=True, eq=False)
class Bundle:
    """Synapses from one group, cut by part: row ``[part, source]`` runs from ``start[part, source]`` to the next.

    Attributes:
        source: index of the group whose spikes it carries.
        start: ``[parts, sources + 1]``.
        target: accumulator slot within the part.
        weight: integers, per synapse; per source if `shared`.
        shared: whether all synapses of a source have one weight.
        delay: steps, the same for all; None: rows are sorted by delay and come in segments.
        segment_start: ``[parts, sources + 1]`` first segment of each row (empty if `delay` is given).
        segment_delay: delay of each segment, ascending within a row.
        segment_size: synapses of each segment.
        delays: (smallest, largest) delay, steps.
        plastic: the rule of synapses that change with spikes; `weight` then has each one's place in its projection,
            and the weights themselves are in `State.plastic`.
    """

    source: int
    start: Longs
    target: Array
    weight: Array
    shared: bool
    delay: int | None
    segment_start: Longs
    segment_delay: Ints
    segment_size: Ints
    delays: tuple[int, int]
    plastic: Plastic | None = None

    @property
    def synapses(self) -> int:
        """Number of synapses."""
        return int(self.target.size)

    @property
    def bytes(self) -> int:
        """Bytes of everything that grows with the synapses."""
        arrays = (self.start, self.target, self.weight, self.segment_start, self.segment_delay, self.segment_size)
        return int(sum(a.nbytes for a in arrays)) + (0 if self.plastic is None else self.plastic.bytes)


@dataclass(frozen=True, eq=False)
class PoissonDrive:
    """Independent Poisson arrivals at the neurons lo..hi of a group.

    Attributes:
        group: index of the group.
        receptor: index of its receptor.
        lo: first neuron.
        hi: one past the last.
        rate: mean arrivals per step; a number, or ``[hi - lo]`` where neurons have their own.
        weight: integer weight of an arrival.
        stream: random stream.
        start: first step with arrivals.
        stop: one past the last such step.
    """

    group: int
    receptor: int
    lo: int
    hi: int
    rate: Any
    weight: int
    stream: int
    start: int
    stop: int

    @cached_property
    def laws(self) -> Laws:
        """Where each neuron's thresholds begin, and the thresholds: where neurons have rates of their own."""
        return laws(self.rate)


@dataclass(frozen=True, eq=False)
class CurrentDrive:
    """A current injected into the neurons lo..hi of a group, constant over each step.

    Attributes:
        group: index of the group.
        lo: first neuron.
        hi: one past the last.
        amplitude: step indices (int64 array) to the current in each of them.
        sd: standard deviation of white noise added in every step of [start, stop), independent for each neuron.
        stream: random stream of the noise.
        start: first step.
        stop: one past the last.
        levels: ``[n, hi - lo]`` float64 currents where neurons have their own: `amplitude` gives the row; or None.
    """

    group: int
    lo: int
    hi: int
    amplitude: Any
    sd: float
    stream: int
    start: int
    stop: int
    levels: Array | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """State variables to be written down at steps that are multiples of `every`.

    Attributes:
        group: index of the group.
        state: name of the variable.
        ids: neurons of the group, ascending.
        every: steps between samples.
    """

    group: int
    state: str
    ids: Longs
    every: int


@dataclass(frozen=True, eq=False)
class WeightSample:
    """Weights to be written down at steps that are multiples of `every`.

    Attributes:
        bundle: index of the bundle.
        places: in the bundle, ascending.
        every: steps between samples.
    """

    bundle: int
    places: Longs
    every: int


@dataclass(frozen=True, eq=False)
class Plan:
    """A network ready to run.

    Attributes:
        dtype: float type of the states.
        seed: key of every random number.
        groups: in the order of their update; a delay of 0 leads from a group to a later one only.
        cuts: ``[groups, parts + 1]`` where each part's neurons begin.
        offsets: ``[parts + 1]`` where each part's accumulator slots begin.
        bases: ``[groups, parts]`` a group's first slot within the part; receptor r follows at ``r * width``.
        bundles: the synapses.
        poisson: Poisson inputs.
        currents: injected currents.
        samples: what to write down.
        weights: what to write down of plastic synapses.
        gaps: gap junctions, or None.
        regenerated: synapses that are not stored; they count behind the bundles.
    """

    dtype: np.dtype[Any]
    seed: int
    groups: list[Group]
    cuts: Longs
    offsets: Longs
    bases: Longs
    bundles: list[Bundle]
    poisson: list[PoissonDrive]
    currents: list[CurrentDrive]
    samples: list[Sample]
    weights: list[WeightSample] = field(default_factory=list)
    gaps: Gaps | None = None
    regenerated: list[Regenerated] = field(default_factory=list)

    @property
    def parts(self) -> int:
        """Number of parts."""
        return int(self.cuts.shape[1] - 1)

    @property
    def carriers(self) -> list[Bundle | Regenerated]:
        """All that spikes travel through, stored or not."""
        return [*self.bundles, *self.regenerated]

    @property
    def interval(self) -> int:
        """Steps that threads may run without meeting: the smallest delay, or 1 with gap junctions."""
        return 1 if self.gaps is not None else max(1, min([b.delays[0] for b in self.carriers], default=64))

    @property
    def horizon(self) -> int:
        """Steps for which spikes are kept: the largest delay."""
        return max([b.delays[1] for b in self.carriers], default=1)

    def first_neuron(self, group: int, receptor: int, part: int) -> int:
        """Return what a slot of a receptor in a part is added to, to give the neuron."""
        lo, hi = self.cuts[group, part : part + 2]
        return int(lo - self.bases[group, part] - receptor * (hi - lo))


@dataclass(eq=False)
class State:
    """All that a run needs to go on, whatever the number of threads.

    Attributes:
        step: steps done.
        values: per group, the state variables, each ``[size]``.
        start: per group, ``[horizon + 1]`` where the spikes of each kept step begin.
        ids: per group, the neurons of those spikes.
        plastic: per bundle, weights and traces of plastic synapses (`spikeframe.kernels.plasticity.fresh`).
    """

    step: int
    values: list[dict[str, Array]]
    start: list[Longs]
    ids: list[Ints]
    plastic: list[dict[str, Array]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Chunk:
    """What a stretch of steps gave.

    Attributes:
        steps: steps done.
        start: per group, ``[steps + 1]`` where each step's spikes begin.
        ids: per group, the neurons, ascending within a step.
        samples: per `Sample`, ``[n, ids]``.
        delivered: synaptic events delivered, per bundle, then per regenerated projection.
        arrivals: Poisson arrivals, per drive.
        updates: per group, the steps that each block of `BLOCK` neurons was updated for.
        weights: per `WeightSample`, ``[n, places]``.
    """

    steps: int
    start: list[Longs]
    ids: list[Ints]
    samples: list[Array]
    delivered: Longs
    arrivals: Longs
    updates: list[Longs]
    weights: list[Array] = field(default_factory=list)


def blocks(neurons: int) -> int:
    """Return the number of blocks that some neurons fill."""
    return -(-neurons // BLOCK)


def dense_updates(group: Group, steps: int) -> Longs:
    """Return the updates of a group's blocks if none is skipped.

    Args:
        group: its neurons.
        steps: steps done.
    """
    return np.full(blocks(group.size), steps if group.program is not None else 0, np.int64)


class GridProvider(Protocol):
    """The functions a provider of grid runs has.

    Attributes:
        speed: about how many times faster than one core it is; its stretches are as much longer.
    """

    speed: float

    def parts(self, neurons: int, threads: int) -> int:
        """Return the least number of parts that a plan of so many neurons should have."""

    def run(self, plan: Plan, state: State, steps: int, given: list[tuple[Longs, Ints] | None], threads: int) -> Chunk:
        """Run up to `steps` steps (at least one); `given` holds the spikes of groups without a program.

        `state` is advanced in place.
        """


def provider(backend: str) -> GridProvider:
    """Return the provider of grid runs.

    Args:
        backend: ``"auto"``, ``"reference"``, ``"numba"`` or ``"cuda"``.

    Raises:
        BackendError: the backend is not available.
        UnknownNameError: there is no such backend.
    """
    if backend in ("auto", "numba"):
        from spikeframe.kernels.numba.grid import NumbaGrid

        return NumbaGrid()
    if backend == "reference":
        from spikeframe.kernels.reference.grid import ReferenceGrid

        return ReferenceGrid()
    if backend == "cuda":
        from spikeframe.kernels.cuda.grid import gpu_grid

        return gpu_grid()
    raise unknown_name("backend", backend, ("auto", "reference", "numba", "cuda"))


def kept_spikes(state: State, group: int, chunk_start: Longs, chunk_ids: Ints, steps: int) -> None:
    """Append a stretch of spikes to a group's history and drop what no delay reaches any more.

    Args:
        state: changed in place.
        group: index of the group.
        chunk_start: ``[steps + 1]`` where each step's spikes begin.
        chunk_ids: their neurons.
        steps: steps of the stretch.
    """
    old = state.start[group]
    start = np.concatenate([old, old[-1] + chunk_start[1:]])[steps:]
    late = int(start[0]) - int(old[-1])  # of the stretch's spikes; less than 0: some from before are kept too
    before = state.ids[group][old[-1] + min(late, 0) :]
    state.ids[group] = np.concatenate([before, chunk_ids[max(late, 0) :]])
    state.start[group] = start - start[0]
