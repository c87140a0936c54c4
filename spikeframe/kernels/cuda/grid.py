"""Runs of a recurrent network on the grid clock on a GPU (see `spikeframe.kernels.grid` and `grid_source`).

A plan's synapses are copied to the GPU once. A stretch of steps is one launch; states and the spikes that are still
under way come from the host and go back to it, so that any provider can go on from there.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from spikeframe.errors import BackendError
from spikeframe.kernels.cuda import grid_source
from spikeframe.kernels.cuda.rows import Packing, Rows, Shape, packing, rows, shape_of
from spikeframe.kernels.emit import identifier
from spikeframe.kernels.grid import Chunk, Ints, Longs, Plan, State, dense_updates, kept_spikes
from spikeframe.kernels.reference.poisson import guide, thresholds
from spikeframe.kernels.steps import Array

#: Spikes that a stretch may have before it is cut.
_CAPACITY = 1 << 24
#: Most steps of a stretch: exchanges are told apart by 20 bits.
_STEPS = 1 << 19
#: A block owns at least so many neurons, so that a small network does not wait for idle blocks.
_LEAST = 64
#: Most nodes of a step for which a block has 1024 threads: a thread then has 64 registers.
_SHORT = 100


class GridDevice(Protocol):
    """Arrays on a device, and the kernel that runs on them.

    Attributes:
        blocks: blocks that run at once.
        shared: bytes of shared memory that a block may have.
        threads: threads of a block, or None for the provider's own choice.
        module: what works on the arrays as NumPy does.
    """

    blocks: int
    shared: int
    threads: int | None
    module: Any

    def put(self, array: Array) -> Any:
        """Copy an array to the device."""

    def empty(self, size: int, dtype: Any) -> Any:
        """Return an uninitialised array of one axis."""

    def zeros(self, size: int, dtype: Any) -> Any:
        """Return an array of zeros of one axis."""

    def ones(self, size: int) -> Any:
        """Return an array of 64-bit words all of whose bits are set."""

    def get(self, array: Any) -> Array:
        """Copy an array to the host, after all that was launched before."""

    def address(self, array: Any) -> int:
        """Return where an array begins."""

    def room(self) -> int:
        """Return the bytes that are free."""

    def launch(self, text: str, blocks: int, threads: int, shared: int, table: Longs) -> None:
        """Launch ``drive`` of a module with all its blocks at once."""

    def each(self, text: str, kernel: str, many: int, arguments: list[int]) -> None:
        """Launch a kernel of a module with so many threads that know nothing of each other."""


@dataclass
class _Resident:
    """What stays on the device between stretches of one plan: arguments by name, and per sample its columns."""

    shape: Shape
    form: Packing
    rows: list[Rows]
    arrays: dict[str, Any]
    sources: dict[tuple[bool, ...], grid_source.Source] = field(default_factory=dict)
    columns: list[tuple[int, Longs]] = field(default_factory=list)


class CudaGrid:
    """Grid runs on a GPU (see `spikeframe.kernels.grid.GridProvider`).

    Args:
        device: where it runs.
    """

    speed = 100.0

    def __init__(self, device: GridDevice) -> None:
        self.device = device
        self._resident: weakref.WeakKeyDictionary[Plan, _Resident] = weakref.WeakKeyDictionary()

    def parts(self, neurons: int, threads: int) -> int:
        """Return how many parts a plan should have: the threads that build it; the blocks here are cut anew.

        Args:
            neurons: of the network.
            threads: of the host.
        """
        return threads

    def run(self, plan: Plan, state: State, steps: int, given: list[tuple[Longs, Ints] | None], threads: int) -> Chunk:
        """Run up to `steps` steps.

        Raises:
            BackendError: the network has something that this provider does not run, or does not fit the GPU.
        """
        _check(plan)
        resident = self._resident.get(plan)
        if resident is None:
            resident = self._resident[plan] = self._load(plan)
        capacity = max(_CAPACITY // resident.shape.parts, grid_source.most(plan, resident.shape))
        steps = min(steps, _STEPS)
        while True:
            done = _Stretch(self.device, plan, state, steps, given, resident, capacity)
            done.launch()
            if done.steps == steps:
                return done.chunk()
            steps = done.steps  # a log was full: run only what fits, from the same state

    def _load(self, plan: Plan) -> _Resident:
        """Copy what a plan's runs share to the device."""
        neurons = sum(group.size for group in plan.groups if group.program is not None)
        shape = shape_of(plan, max(1, min(self.device.blocks, neurons // _LEAST)))
        form = packing(plan, shape)
        placed = [rows(self.device, plan, bundle, shape, form) for bundle in plan.bundles]
        put = self.device.put
        arrays: dict[str, Any] = {}
        for b, one in enumerate(placed):
            arrays[f"b{b}_places"], arrays[f"b{b}_begin"] = one.held, put(one.places.begin)
            arrays[f"b{b}_rest_start"], arrays[f"b{b}_rest"] = one.rest_start, one.rest
        for g, group in enumerate(plan.groups):
            if group.bias is not None:
                arrays[f"g{g}_bias"] = put(np.asarray(group.bias, plan.dtype))
            for name in group.program.names("coefficient") if group.program else ():
                arrays[f"g{g}_{identifier(name)}"] = put(np.atleast_1d(group.coefficients[name]))
        if plan.poisson:
            laws = [thresholds(drive.rate) for drive in plan.poisson]
            begins = np.concatenate([[0], np.cumsum([high.size for high, _ in laws])])
            arrays["high"], arrays["low"] = (put(np.concatenate([law[k] for law in laws])) for k in (0, 1))
            arrays["guide"] = put(np.concatenate([guide(high, 8) for high, _ in laws]).astype(np.int32))
            arrays["drives"] = put(np.array([
                [shape.bases[d.group] + d.receptor * shape.widths[d.group], d.lo, d.hi, d.weight, d.stream, d.start,
                 d.stop, begin]
                for d, begin in zip(plan.poisson, begins[:-1], strict=True)
            ], np.int64))  # fmt: skip
        columns = []
        for i, sample in enumerate(plan.samples):
            ids, back = np.unique(sample.ids, return_inverse=True)
            where = np.full(plan.groups[sample.group].size, -1, np.int32)
            where[ids] = np.arange(ids.size)
            arrays[f"where{i}"] = put(where)
            columns.append((int(ids.size), back.astype(np.int64)))
        lines = [(one.places, one.rest_start is not None) for one in placed]
        if grid_source.pool_bytes(shape, lines) + grid_source.accumulator_bytes(plan, shape) > self.device.shared:
            kind = np.int32 if plan.dtype == np.float32 else np.int64
            arrays["ring_memory"] = self.device.empty(shape.parts * shape.slots * plan.horizon, kind)
        return _Resident(shape, form, placed, arrays, columns=columns)


class _Stretch:
    """One launch: its arguments, and what comes of it."""

    def __init__(
        self, device: GridDevice, plan: Plan, state: State, steps: int, given: list[tuple[Longs, Ints] | None],
        resident: _Resident, capacity: int,
    ) -> None:  # fmt: skip
        self.device, self.plan, self.state, self.steps, self.given = device, plan, state, steps, given
        self.resident = resident
        put, parts = device.put, resident.shape.parts
        most = grid_source.most(plan, resident.shape)
        kept = [
            (np.repeat(np.arange(-plan.horizon, 0, dtype=np.int64), np.diff(state.start[g])) << 32)
            | (state.ids[g].astype(np.int64) + at)
            for g, at in enumerate(_firsts(plan))
        ]
        self.arrays: dict[str, Any] = {
            **resident.arrays,
            "first": state.step, "capacity": capacity, "steps": steps,
            "k0_64": plan.seed & 0xFFFFFFFF, "k1_64": plan.seed >> 32,
            "words": device.zeros(2 * grid_source.COPIES * parts, np.uint64),
            "others": device.zeros(2 * parts * (most + 1), np.uint64),
            "log": device.ones(capacity * parts), "finished": device.zeros(1 + parts, np.uint64),
            "kept": put(np.concatenate(kept)), "many_kept": sum(k.size for k in kept),
            "delivered": device.zeros(max(1, len(plan.bundles)), np.uint64),
            "came": device.zeros(max(1, len(plan.poisson)), np.uint64),
        }  # fmt: skip
        for g, group in enumerate(plan.groups):
            for name in group.states:
                self.arrays[f"g{g}_{identifier(name)}"] = put(state.values[g][name])
            outside = given[g]
            if outside is not None:
                self.arrays[f"given_start{g}"] = put(np.ascontiguousarray(outside[0], np.int64))
                self.arrays[f"given{g}"] = put(np.ascontiguousarray(outside[1], np.int32))
        at = np.arange(state.step, state.step + steps, dtype=np.int64)
        for d, drive in enumerate(plan.currents):
            level = np.where((at >= drive.start) & (at < drive.stop), drive.amplitude(at), 0.0)
            self.arrays[f"level{d}"] = put(level.astype(np.float64))
        for i, sample in enumerate(plan.samples):
            self.arrays[f"width{i}"] = resident.columns[i][0]
            rows = _samples(state.step, steps, sample.every) * resident.columns[i][0]
            self.arrays[f"rows{i}"] = device.empty(max(1, rows), plan.dtype)

    def launch(self) -> None:
        """Run; afterwards `steps` is how many were done and `spikes` how many there were."""
        given = tuple(g is not None for g in self.given)
        programs = [g.program for g in self.plan.groups if g.program is not None]
        shape = self.resident.shape
        largest = 1024 if all(len(p.nodes) <= _SHORT for p in programs) else 512
        threads = self.device.threads or min(largest, max(768, -(-max(shape.widths) // 64) * 64))
        source = self.resident.sources.get(given)
        if source is None:
            lines = [(one.places, one.rest_start is not None) for one in self.resident.rows]
            source = grid_source.write(
                self.plan, shape, self.resident.form, lines, list(given), threads, self.device.shared
            )  # fmt: skip
            self.resident.sources[given] = source
        table = [a if isinstance(a, int) else self.device.address(a) for a in (self.arrays[n] for n in source.names)]
        self.device.launch(source.text, shape.parts, threads, source.shared, np.array(table, np.int64))
        self.steps, *logged = (int(n) for n in self.device.get(self.arrays["finished"]))
        self.spikes, self.longest = sum(logged), max(1, *logged)

    def _fired(self) -> tuple[Longs, Ints]:
        """Return where each step's spikes begin, and all neurons that fired, numbered over all groups, in order."""
        device = self.device.module
        log = self.arrays["log"].reshape(self.resident.shape.parts, -1)[:, : self.longest]
        keys = device.sort(log.ravel())[: self.spikes]
        start = device.searchsorted(keys, device.arange(self.steps + 1, dtype=np.uint64) << np.uint64(32))
        who = keys.astype(np.uint32).astype(np.int32)
        return self.device.get(start).astype(np.int64), self.device.get(who)

    def chunk(self) -> Chunk:
        """Return what the stretch gave, and bring the state to its end."""
        plan, state, steps = self.plan, self.state, self.steps
        start_of_all, who = self._fired()
        starts, ids = [], []
        several = sum(group.program is not None for group in plan.groups) > 1
        when = np.repeat(np.arange(steps), np.diff(start_of_all)) if several else None
        for g, (group, at) in enumerate(zip(plan.groups, _firsts(plan), strict=True)):
            outside = self.given[g]
            if outside is not None:
                start, neuron = outside[0][: steps + 1] - outside[0][0], outside[1][outside[0][0] : outside[0][steps]]
            else:
                start, neuron = start_of_all, who
                if when is not None:
                    own = (who >= at) & (who < at + group.size)
                    start = np.searchsorted(when[own], np.arange(steps + 1)).astype(np.int64)
                    neuron = who[own]
                neuron = neuron - np.int32(at)
            neuron = neuron.astype(np.int32, copy=False)
            kept_spikes(state, g, start, neuron, steps)
            starts.append(start)
            ids.append(neuron)
            for name in group.states:
                state.values[g][name][:] = self.device.get(self.arrays[f"g{g}_{identifier(name)}"])
        samples = []
        for i, sample in enumerate(plan.samples):
            width, back = self.resident.columns[i]
            rows = _samples(state.step, steps, sample.every)
            found = self.device.get(self.arrays[f"rows{i}"])[: rows * width].reshape(rows, width)
            samples.append(np.ascontiguousarray(found[:, back]))
        state.step += steps
        delivered = self.device.get(self.arrays["delivered"])[: len(plan.bundles)].astype(np.int64)
        came = self.device.get(self.arrays["came"])[: len(plan.poisson)].astype(np.int64)
        updates = [dense_updates(group, steps) for group in plan.groups]
        return Chunk(steps, starts, ids, samples, delivered, came, updates)


def _firsts(plan: Plan) -> list[int]:
    """Return the number that the first neuron of each group has among all."""
    return [sum(group.size for group in plan.groups[:g]) for g in range(len(plan.groups))]


def _samples(first: int, steps: int, every: int) -> int:
    """Return how many multiples of `every` lie in (first, first + steps]."""
    return (first + steps) // every - first // every


def _check(plan: Plan) -> None:
    """Refuse what is not run here."""
    others = {
        "plastic synapses": any(bundle.plastic is not None for bundle in plan.bundles),
        "recorded weights": bool(plan.weights),
        "gap junctions": plan.gaps is not None, "projections drawn at every spike": bool(plan.regenerated),
    }  # fmt: skip
    for name, there in others.items():
        if there:
            raise BackendError(f"backend 'cuda' does not run {name} yet: use backend='numba'.")
    if any(bundle.delays[0] < 1 for bundle in plan.bundles):
        raise BackendError("backend 'cuda' does not run synapses without delay yet: use backend='numba'.")
    for group in plan.groups:
        known = {*group.receptors, *group.randoms, group.current}
        if group.program is not None and not set(group.program.names("input")) <= known:
            raise BackendError(f"backend 'cuda': {group.name} has inputs that are not run yet: use backend='numba'.")


class _CupyGrid:
    """CuPy arrays and cooperative launches on the current GPU."""

    threads: int | None = None

    def __init__(self) -> None:
        from spikeframe.kernels.cuda.launch import cupy

        self.cupy = self.module = cupy()
        properties = self.cupy.cuda.runtime.getDeviceProperties(self.cupy.cuda.Device().id)
        self.blocks = int(properties["multiProcessorCount"])
        self.shared = int(properties["sharedMemPerBlockOptin"])

    def put(self, array: Array) -> Any:
        """Copy an array to the device."""
        return self.cupy.asarray(np.ascontiguousarray(array))

    def empty(self, size: int, dtype: Any) -> Any:
        """Return an uninitialised array of one axis."""
        return self.cupy.empty(size, dtype)

    def zeros(self, size: int, dtype: Any) -> Any:
        """Return an array of zeros of one axis."""
        return self.cupy.zeros(size, dtype)

    def ones(self, size: int) -> Any:
        """Return an array of 64-bit words all of whose bits are set."""
        return self.cupy.full(size, 2**64 - 1, np.uint64)

    def get(self, array: Any) -> Array:
        """Copy an array to the host."""
        found: Array = self.cupy.asnumpy(array)
        return found

    def address(self, array: Any) -> int:
        """Return where an array begins."""
        return int(array.data.ptr)

    def room(self) -> int:
        """Return the bytes that are free."""
        return int(self.cupy.cuda.runtime.memGetInfo()[0]) + int(self.cupy.get_default_memory_pool().free_bytes())

    def launch(self, text: str, blocks: int, threads: int, shared: int, table: Longs) -> None:
        """Launch ``drive`` of a module with all its blocks at once."""
        from spikeframe.kernels.cuda.launch import cooperative

        held = self.put(table)
        cooperative(text, blocks, threads, shared, self.address(held), self.cupy.cuda.get_current_stream().ptr)

    def each(self, text: str, kernel: str, many: int, arguments: list[int]) -> None:
        """Launch a kernel of a module with so many threads that know nothing of each other."""
        from spikeframe.kernels.cuda.launch import launch

        launch(text, kernel, many, arguments, self.cupy.cuda.Device().id, self.cupy.cuda.get_current_stream().ptr)


def gpu_grid() -> CudaGrid:
    """Return the provider of grid runs on the current GPU.

    Raises:
        BackendError: there is no CuPy or no GPU.
    """
    return CudaGrid(_CupyGrid())
