"""Runs of a recurrent network on the grid clock on a GPU (see `spikeframe.kernels.grid` and `grid_source`).

A plan's synapses are copied to the GPU once. A stretch of steps is one launch (`grid_source`), or launches of every
phase of a step where a network needs them (`plain_source`); states and the spikes that are still under way come from
the host and go back to it, so that any provider can go on from there.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from spikeframe.errors import BackendError
from spikeframe.kernels.cuda import grid_source, plain_source, plastic_source, procedural_source
from spikeframe.kernels.cuda.grid_text import accumulator_bytes, ring
from spikeframe.kernels.cuda.rows import Packing, Places, Rows, Shape, packing, rows, shape_of
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

    def sequence(
        self, text: str, once: list[str], kernels: list[str], blocks: int, threads: int, table: Longs, times: int
    ) -> None:
        """Launch kernels of a module one after the other: some once, then others at least so many times."""

    def each(self, text: str, kernel: str, many: int, arguments: list[int]) -> None:
        """Launch a kernel of a module with so many threads that know nothing of each other."""


@dataclass
class _Resident:
    """What stays on the device between stretches of one plan: arguments by name, and per sample its columns."""

    shape: Shape
    form: Packing
    rows: list[Rows | None]
    arrays: dict[str, Any]
    room: grid_source.Fit
    plain: bool
    sources: dict[tuple[bool, ...], grid_source.Source] = field(default_factory=dict)
    columns: list[tuple[int, Longs]] = field(default_factory=list)


class CudaGrid:
    """Grid runs on a GPU (see `spikeframe.kernels.grid.GridProvider`).

    Args:
        device: where it runs.
        plain: launch every phase of a step, also of networks that one kernel could run.
    """

    speed = 100.0

    def __init__(self, device: GridDevice, plain: bool = False) -> None:
        self.device, self.plain = device, plain
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
        resident = self._resident.get(plan)
        if resident is None:
            resident = self._resident[plan] = self._load(plan)
        kind = _Launches if resident.plain else _Stretch
        steps = min(steps, _STEPS)
        while True:
            done = kind(self.device, plan, state, steps, given, resident)
            done.launch()
            if done.steps == steps:
                return done.chunk()
            steps = done.steps  # a log was full: run only what fits, from the same state

    def _load(self, plan: Plan) -> _Resident:
        """Copy what a plan's runs share to the device."""
        neurons = sum(group.size for group in plan.groups if group.program is not None)
        shape = shape_of(plan, max(1, min(self.device.blocks, neurons // _LEAST)))
        form = packing(plan, shape)
        placed = [None if b.plastic is not None else rows(self.device, plan, b, shape, form) for b in plan.bundles]
        put = self.device.put
        arrays: dict[str, Any] = {}
        for b, (bundle, one) in enumerate(zip(plan.bundles, placed, strict=True)):
            if bundle.plastic is not None:
                arrays |= {n: put(a) for n, a in plastic_source.arrays(plan, b, bundle.plastic).items()}
            if one is not None:
                arrays[f"b{b}_places"], arrays[f"b{b}_begin"] = one.held, put(one.places.begin)
                arrays[f"b{b}_rest_start"], arrays[f"b{b}_rest"] = one.rest_start, one.rest
        for g, group in enumerate(plan.groups):
            if group.bias is not None:
                arrays[f"g{g}_bias"] = put(np.asarray(group.bias, plan.dtype))
            for name in group.program.names("coefficient") if group.program else ():
                arrays[f"g{g}_{identifier(name)}"] = put(np.atleast_1d(group.coefficients[name]))
        if plan.poisson:
            tables = [drive.laws if np.ndim(drive.rate) else (None, *thresholds(drive.rate)) for drive in plan.poisson]
            begins = np.concatenate([[0], np.cumsum([high.size for _, high, _ in tables])])
            arrays["high"], arrays["low"] = (put(np.concatenate([law[k] for law in tables])) for k in (1, 2))
            shared = [guide(high, 8) if own is None else np.zeros(256) for own, high, _ in tables]
            arrays["guide"] = put(np.concatenate(shared).astype(np.int32))
            laws = np.zeros(0, np.int64)  # where the thresholds of neurons with rates of their own begin
            for i, (own, _, _) in enumerate(tables):
                if own is not None:
                    laws, begins[i] = np.concatenate([laws, own + begins[i]]), -1 - laws.size
            arrays["laws"] = put(np.append(laws, 0).astype(np.int32))
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
        for d, drive in enumerate(plan.currents):
            if drive.levels is not None:
                arrays[f"levels{d}"] = put(np.ascontiguousarray(drive.levels, np.float64))
        if plan.gaps is not None:
            for name in ("start", "other", "conductance"):
                arrays[f"gap_{name}"] = put(getattr(plan.gaps, name))
        for k, weight in enumerate(plan.weights):
            arrays[f"weights_at{k}"], arrays[f"weights_width{k}"] = put(weight.places), int(weight.places.size)
        for r, link in enumerate(plan.regenerated):
            arrays |= {n: put(a) for n, a in procedural_source.arrays(r, link).items()}
        room = grid_source.fit(plan, shape, [_line(one) for one in placed if one is not None], self.device.shared)
        plain = self.plain or not _stays(plan) or room.shared > self.device.shared
        if plain or not room.inside or room.near < ring(plan):
            size = shape.parts * accumulator_bytes(plan, shape) * ring(plan)
            if size > self.device.room():
                raise BackendError(
                    f"backend 'cuda': delays of up to {plan.horizon} steps need {size / 2**20:,.0f} MiB of "
                    f"accumulators and {self.device.room() / 2**20:,.0f} MiB are free: shorten the longest delay or "
                    "enlarge dt."
                )
            arrays["far_memory" if room.inside and not plain else "ring_memory"] = self.device.empty(
                size // 4, np.int32
            )
        found = _Resident(shape, form, placed, arrays, room, plain, columns=columns)
        if plan.regenerated:
            warps = shape.parts * -(-_threads(self.device, plan, shape) // 4)  # a warp on the host has 4 lanes
            each = max(procedural_source.room(link) for link in plan.regenerated)
            arrays["scratch"] = self.device.empty(max(1, warps * each), np.int32)
        return found


class _Stretch:
    """One launch: its arguments, and what comes of it."""

    def __init__(
        self, device: GridDevice, plan: Plan, state: State, steps: int, given: list[tuple[Longs, Ints] | None],
        resident: _Resident,
    ) -> None:  # fmt: skip
        self.device, self.plan, self.state, self.steps, self.given = device, plan, state, steps, given
        self.resident = resident
        put = device.put
        kept = np.concatenate([
            (np.repeat(np.arange(-plan.horizon, 0, dtype=np.int64), np.diff(state.start[g])) << 32)
            | (state.ids[g].astype(np.int64) + at)
            for g, at in enumerate(_firsts(plan))
        ])  # fmt: skip
        self.arrays: dict[str, Any] = {
            **resident.arrays,
            "first": state.step, "steps": steps, "many_kept": kept.size,
            "k0": plan.seed & 0xFFFFFFFF, "k1": plan.seed >> 32,
            "delivered": device.zeros(max(1, len(plan.carriers)), np.uint64),
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
        self._own(kept)

    def _own(self, kept: Longs) -> None:
        """Make what this driver keeps its spikes in, those from before among them."""
        device, parts, interval = self.device, self.resident.shape.parts, self.resident.room.interval
        most = grid_source.most(self.resident.shape, interval)
        self.capacity = max(_CAPACITY // parts, 2 * most)
        self.arrays |= {
            "capacity": self.capacity, "kept": device.put(kept),
            "words": device.zeros(2 * grid_source.COPIES * parts, np.uint64),
            "others": device.zeros(2 * parts * (most + 1), np.uint64),
            "log": device.ones(self.capacity * parts), "finished": device.zeros(1 + parts, np.uint64),
        }  # fmt: skip

    def _written(self, given: list[bool], threads: int) -> grid_source.Source:
        """Write the source."""
        one = self.resident
        lines = [_line(held) for held in one.rows if held is not None]
        return grid_source.write(self.plan, one.shape, one.form, lines, given, threads, one.room)

    def launch(self) -> None:
        """Run; afterwards `steps` is how many were done and `spikes` how many there were."""
        given = tuple(g is not None for g in self.given)
        threads = _threads(self.device, self.plan, self.resident.shape)
        source = self.resident.sources.get(given)
        if source is None:
            source = self.resident.sources[given] = self._written(list(given), threads)
        table = [a if isinstance(a, int) else self.device.address(a) for a in (self.arrays[n] for n in source.names)]
        self._drive(source, threads, np.array(table, np.int64))

    def _drive(self, source: grid_source.Source, threads: int, table: Longs) -> None:
        self.device.launch(source.text, self.resident.shape.parts, threads, source.shared, table)
        self.steps, *logged = (int(n) for n in self.device.get(self.arrays["finished"]))
        self.spikes, self.longest = sum(logged), max(1, *logged)

    def _keys(self) -> Any:
        """Return the spikes on the device: step, and neuron among those of all groups; more may follow."""
        return self.arrays["log"].reshape(self.resident.shape.parts, -1)[:, : self.longest].ravel()

    def _fired(self) -> tuple[Longs, Ints]:
        """Return where each step's spikes begin, and all neurons that fired, numbered over all groups, in order."""
        device = self.device.module
        keys = device.sort(self._keys())[: self.spikes]
        start = device.searchsorted(keys, device.arange(self.steps + 1, dtype=np.uint64) << np.uint64(32))
        who = keys.astype(np.uint32).astype(np.int32)
        return self.device.get(start).astype(np.int64, copy=False), self.device.get(who)

    def chunk(self) -> Chunk:
        """Return what the stretch gave, and bring the state to its end."""
        plan, state, steps = self.plan, self.state, self.steps
        start_of_all, who = self._fired()
        starts, ids = [], []
        several = sum(group.program is not None for group in plan.groups) > 1 or self.resident.plain
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
                neuron = neuron - np.int32(at) if at else neuron
            neuron = neuron.astype(np.int32, copy=False)
            kept_spikes(state, g, start, neuron, steps)
            starts.append(start)
            ids.append(neuron)
            for name in group.states:
                state.values[g][name][:] = self.device.get(self.arrays[f"g{g}_{identifier(name)}"])
        samples = []
        for i, sample in enumerate(plan.samples):
            width, back = self.resident.columns[i]
            samples.append(np.ascontiguousarray(self._recorded(f"rows{i}", sample.every, width)[:, back]))
        weights = [self._recorded(f"weights{k}", w.every, w.places.size) for k, w in enumerate(plan.weights)]
        self._changed()
        delivered = self.device.get(self.arrays["delivered"])[: len(plan.carriers)].astype(np.int64)
        came = self.device.get(self.arrays["came"])[: len(plan.poisson)].astype(np.int64)
        updates = [dense_updates(group, steps) for group in plan.groups]
        state.step += steps
        return Chunk(steps, starts, ids, samples, delivered, came, updates, weights)

    def _recorded(self, name: str, every: int, width: int) -> Array:
        """Return the rows that were written down."""
        rows = _samples(self.state.step, self.steps, every)
        return self.device.get(self.arrays[name])[: rows * width].reshape(rows, width)

    def _changed(self) -> None:
        """Bring what else the state has to the stretch's end."""


class _Launches(_Stretch):
    """A stretch as a sequence of plain launches."""

    def _own(self, kept: Longs) -> None:
        """Put all spikes into one list, step by step; copy plastic synapses and membranes."""
        device, plan, state, steps = self.device, self.plan, self.state, self.steps
        for bundle in plan.bundles:
            outside = self.given[bundle.source]
            if bundle.plastic is not None and outside is not None:
                _once(plan.groups[bundle.source].name, *outside)
        order = np.argsort(kept >> 32, kind="stable")
        given = [int(np.diff(g[0]).max(initial=0)) for g in self.given if g is not None]
        most = sum(group.size for group in plan.groups if group.program is not None) + sum(given)
        capacity = max(_CAPACITY, most)
        log = device.empty(kept.size + capacity, np.uint64)
        log[: kept.size] = device.put(kept[order].astype(np.uint64))
        when = np.zeros(ring(plan) + steps + 1, np.int64)
        when[: ring(plan) + 1] = np.searchsorted(kept[order] >> 32, np.arange(-ring(plan), 1))
        self.arrays |= {"capacity": capacity, "most": most, "kept": log, "log": log, "when": device.put(when),
                        "clock": device.zeros(3, np.uint64)}  # fmt: skip
        if plan.gaps is not None:
            self.arrays["gap_v"] = device.put(np.tile(plan.gaps.membranes(state.values), 2))
        for k, weight in enumerate(plan.weights):
            rows = _samples(state.step, steps, weight.every) * weight.places.size
            self.arrays[f"weights{k}"] = device.empty(max(1, rows), plan.dtype)
        for b, bundle in enumerate(plan.bundles):
            if bundle.plastic is not None:
                fall, lift = plastic_source.factors(bundle.plastic.rule, state.step, steps, plan.dtype)
                self.arrays |= {f"p{b}_fall": device.put(fall), f"p{b}_lift": device.put(lift)}
                for array, name, value in self._plastic(b):
                    self.arrays[array], self.arrays[f"p{b}_many_{name}"] = device.put(value.ravel()), int(value.size)

    def _plastic(self, b: int) -> list[tuple[str, str, Array]]:
        """Return name on the device, name and value of a bundle's weights and traces."""
        return [(f"p{b}_w" if name == "w" else f"p{b}_r_{name}", name, v) for name, v in self.state.plastic[b].items()]

    def _written(self, given: list[bool], threads: int) -> grid_source.Source:
        """Write the source."""
        one = self.resident
        lines = [None if held is None else _line(held) for held in one.rows]
        return plain_source.write(self.plan, one.shape, one.form, lines, given, threads)

    def _drive(self, source: grid_source.Source, threads: int, table: Longs) -> None:
        once = [name for name in source.kernels if name.startswith("begin")]
        again = [name for name in source.kernels if name not in once]
        self.device.sequence(source.text, once, again, self.resident.shape.parts, threads, table, self.steps)
        self.steps, self.spikes, _ = (int(n) for n in self.device.get(self.arrays["clock"]))

    def _keys(self) -> Any:
        first = self.arrays["many_kept"]
        return self.arrays["log"][first : first + self.spikes]

    def _changed(self) -> None:
        """Bring plastic synapses to the stretch's end."""
        for b, bundle in enumerate(self.plan.bundles):
            if bundle.plastic is not None:
                for array, _, value in self._plastic(b):
                    value[...] = self.device.get(self.arrays[array]).reshape(value.shape)


def _once(name: str, start: Longs, ids: Ints) -> None:
    """Refuse two spikes of one source in one step, which would change its plastic synapses twice at once."""
    key = np.sort(np.repeat(np.arange(start.size - 1), np.diff(start)) << 32 | ids[start[0] : start[-1]])
    twice = np.flatnonzero(key[1:] == key[:-1])
    if twice.size:
        neuron = int(key[twice[0]] & 0xFFFFFFFF)
        raise BackendError(
            f"backend 'cuda': neuron {neuron} of {name!r} is given two spikes in one step, and its synapses are "
            "plastic: give one, or use backend='numba'."
        )


def _line(one: Rows) -> tuple[Places, bool]:
    """Return where a bundle's rows are, and whether some go on behind."""
    return one.places, one.rest_start is not None


def _threads(device: GridDevice, plan: Plan, shape: Shape) -> int:
    """Return the threads of a block."""
    programs = [g.program for g in plan.groups if g.program is not None]
    largest = 1024 if all(len(p.nodes) <= _SHORT for p in programs) else 512
    return device.threads or min(largest, max(768, -(-max(shape.widths) // 64) * 64))


def _firsts(plan: Plan) -> list[int]:
    """Return the number that the first neuron of each group has among all."""
    return [sum(group.size for group in plan.groups[:g]) for g in range(len(plan.groups))]


def _samples(first: int, steps: int, every: int) -> int:
    """Return how many multiples of `every` lie in (first, first + steps]."""
    return (first + steps) // every - first // every


def _stays(plan: Plan) -> bool:
    """Return whether one kernel runs a network."""
    later = all(bundle.plastic is None and bundle.delays[0] > 0 for bundle in plan.bundles)
    return later and plan.gaps is None and not plan.regenerated


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

    def sequence(
        self, text: str, once: list[str], kernels: list[str], blocks: int, threads: int, table: Longs, times: int
    ) -> None:
        """Launch kernels one after the other; those of some steps are captured in a graph."""
        from spikeframe.kernels.cuda.launch import sequence

        held = self.put(table)
        sequence(text, once, kernels, blocks, threads, self.address(held), times)

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
