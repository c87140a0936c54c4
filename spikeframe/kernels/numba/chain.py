"""A chain of populations compiled by Numba: one call runs samples, steps and layers.

Each population's update is generated from its traced step; a driver for the chain's shape calls deliveries and
updates in order. A lazy layer keeps, per block of neurons, the step up to which its state is valid: a block that no
event reached and in which nobody can spike is left alone, and caught up by the same update with zero input when an
event reaches it, so its bits are those of a run that updates everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from spikeframe.kernels import source
from spikeframe.kernels.chain import Events, Layer, Trains
from spikeframe.kernels.emit import NUMBA, identifier, result, statements
from spikeframe.kernels.numba.steps import header, in_ranges, loads, per_neuron_names, prepared
from spikeframe.kernels.steps import Array
from spikeframe.kernels.synapses import Rows, Stencil
from spikeframe.kernels.trace import Program

#: Neurons of a block in layers whose events reach only some neurons.
BLOCK = 64
#: Spikes recorded per call at the most, so that buffers stay bounded.
_RECORD_LIMIT = 1 << 24

_POPULATION = '''

@njit(cache=True, nogil=True, error_model="numpy")
def update(lo, hi, acc, scale, {bias}flags, {arrays}):
    """One step for neurons lo..hi; returns whether any spiked."""
    hit = I(0)
    {slices}
    {own_slices}
    for j in range(hi - lo):
        {x} = F(acc[j]) * scale{plus_bias}
        acc[j] = I(0)
        {body}
        {store}
    return hit


@njit(cache=True, nogil=True, error_model="numpy")
def silent(lo, hi, steps, {arrays}):
    """Up to `steps` steps without input; stops where nothing changes any more; returns the steps done."""
    {slices}
    for k in range(steps):
        changed = I(0)
        for j in range(hi - lo):
            {x} = ZERO
            {silent_body}
            {silent_store}
        if changed == 0:
            return k + 1
    return steps


@njit(cache=True, nogil=True, error_model="numpy")
def collect(lo, hi, flags, words, neuron, n):
    """Append the neurons whose flag is set; flags are read eight at a time."""
    for q in range(lo >> 3, (hi + 7) >> 3):
        if words[q] != 0:
            for j in range(q << 3, min(hi, (q << 3) + 8)):
                if flags[j]:
                    neuron[n] = j
                    n += 1
    return n
'''

_LAZY = '''

@njit(cache=True, nogil=True, error_model="numpy")
def awake_after(lo, hi, {arrays}):
    """Whether any neuron could spike without further input."""
    awake = I(0)
    {slices}
    for j in range(hi - lo):
        {body}
        awake |= I(0) if {waits} else I(1)
    return awake


@njit(cache=True, nogil=True, error_model="numpy")
def rouse(n, block, awake, {arrays}):
    """Mark the blocks in which the state at the start may bring a spike without input."""
    for b in range(awake.size):
        awake[b] = awake_after(b * block, min(n, (b + 1) * block), {arrays})


@njit(cache=True, nogil=True, error_model="numpy")
def tick(t, n, block, acc, scale, flags, words, touched, awake, valid, neuron, {arrays}):
    """Advance the blocks that need it to the end of step t; returns (spikes, neuron updates)."""
    found = 0
    updates = 0
    for b in range(touched.size):
        if touched[b] == 0 and awake[b] == 0:
            continue
        touched[b] = 0
        lo = b * block
        hi = min(n, lo + block)
        if valid[b] < t:
            updates += (hi - lo) * silent(lo, hi, t - valid[b], {arrays})
        updates += hi - lo
        if update(lo, hi, acc, scale, flags, {arrays}):
            found = collect(lo, hi, flags, words, neuron, found)
        valid[b] = t + 1
        awake[b] = awake_after(lo, hi, {arrays})
    return found, updates


@njit(cache=True, nogil=True, error_model="numpy")
def finish(steps, n, block, valid, {arrays}):
    """Bring every block to the end of the run; returns the updates done."""
    updates = 0
    for b in range(valid.size):
        if valid[b] < steps:
            lo = b * block
            hi = min(n, lo + block)
            updates += (hi - lo) * silent(lo, hi, steps - valid[b], {arrays})
    return updates
'''


def _indented(lines: list[str], levels: int) -> str:
    return ("\n" + "    " * levels).join(lines)


@lru_cache(maxsize=256)
def _population_text(program: Program, waits: Program | None, per_neuron: frozenset[str], biased: bool) -> str:
    """Source of one population's functions."""
    kinds = ("state", "coefficient")
    states = program.names("state")
    read = loads(program, kinds, per_neuron)
    body = [*read, *statements(program, NUMBA)]
    out = result(program, "out")
    emit = (
        [f"flags[j] = np.uint8({out} != ZERO)", f"hit |= I({out} != ZERO)"] if program.spikes else [f"flags[j] = {out}"]
    )
    store = [f"r_{identifier(s)}[j] = {result(program, s)}" for s in states]
    # A comparison with itself lets NaN count as unchanged, so that silence still ends.
    changed = [
        f"changed |= I(({result(program, s)} != {identifier(s)}) & ({identifier(s)} == {identifier(s)}))"
        for s in states
    ]
    # From slices the compiler sees that indices start at 0, and vectorises.
    slices = _indented(
        [f"{name} = {name}[lo:hi]" for name in array_names(program, per_neuron).split(", ") if name[:2] == "r_"], 1
    )
    own = ["acc", "flags"] + ["bias"] * biased
    text = _POPULATION.format(
        arrays=array_names(program, per_neuron),
        slices=slices,
        own_slices=_indented([f"{name} = {name}[lo:hi]" for name in own], 1),
        bias="bias, " if biased else "",
        plus_bias=" + bias[j]" if biased else "",
        x=identifier(program.names("input")[0]),
        body=_indented(body, 2),
        store=_indented([*emit, *store], 2),
        silent_body=_indented(body, 3),
        silent_store=_indented([*changed, *store], 3),
    )
    if waits is not None:
        waiting = [*loads(waits, kinds, per_neuron), *statements(waits, NUMBA)]
        text += _LAZY.format(
            arrays=array_names(program, per_neuron),
            slices=slices,
            body=_indented(waiting, 2),
            waits=result(waits, "waits"),
        )
    return text


def array_names(program: Program, per_neuron: frozenset[str]) -> str:
    """Return the parameters of a population's functions: states, then coefficients."""
    names = [f"r_{identifier(s)}" for s in program.names("state")]
    names += [f"r_{identifier(c)}" if c in per_neuron else identifier(c) for c in program.names("coefficient")]
    return ", ".join(names)


def _population(layer: Layer) -> Any:
    per_neuron = per_neuron_names(layer.program, layer.coefficients)
    waits = layer.waits if layer.lazy else None
    text = header("Population update", np.dtype(np.float32))
    return source.load(text + _population_text(layer.program, waits, per_neuron, layer.bias is not None), "population")


def _deliver_call(layer: Layer, p: str) -> str:
    """Source of the delivery of events ``src[a:b]`` into the layer whose variables begin with `p`."""
    kind = type(layer.synapses).__name__.lower()
    block = "" if isinstance(layer.synapses, (Rows, Stencil)) else f"{p}block, "
    return f"{kind}(src, cnt, a, b, {', '.join(_synapse_arguments(layer, p)[0])}, {block}{p}acc, {p}touched)"


def _synapse_arguments(layer: Layer, p: str) -> tuple[list[str], list[Any]]:
    """Return names and values of what the delivery into a layer needs."""
    s = layer.synapses
    if isinstance(s, Rows):
        return [f"{p}weight", f"{p}row", f"{p}narrow"], [s.weight, s.row, s.narrow]
    if isinstance(s, Stencil):
        geometry = (*s.plane, *s.stride, *s.padding, *s.dilation, BLOCK)
        return [f"{p}weight", f"{p}channel", f"{p}y", f"{p}x", f"{p}geometry"], [
            s.weight,
            s.channel,
            s.y,
            s.x,
            geometry,
        ]
    return [f"{p}start", f"{p}target", f"{p}weight"], [s.start, s.target, s.weight]


def _coefficient_arguments(layer: Layer, p: str) -> tuple[list[str], list[Any]]:
    """Return names and values of a layer's coefficients."""
    names = layer.program.names("coefficient")
    values = [layer.coefficients[name] for name in names]
    return [f"{p}c_{identifier(n)}" for n in names], [v if np.ndim(v) else v[()] for v in values]


def _step(layer: Layer, i: int, arrays: str) -> list[str]:
    """Statements of one step of layer `i`: deliver ``src[a:b]``, update, and hand the spikes on."""
    p = f"l{i}_"
    bias = f"{p}bias, " if layer.bias is not None else ""
    lines = ["if b > a:", f"    {_deliver_call(layer, p)}"]
    if not layer.program.spikes:
        return [
            *lines,
            f"update{i}(0, {p}n, {p}acc, {p}scale, {bias}{p}output[sample, t], {arrays})",
            f"done[sample, {i}] += {p}n",
        ]
    if layer.lazy:
        work = f"{p}acc, {p}scale, {p}flags, {p}words, {p}touched, {p}awake, {p}valid, {p}now"
        lines += [f"found, updates = tick{i}(t, {p}n, {p}block, {work}, {arrays})", f"done[sample, {i}] += updates"]
    else:
        lines += [
            "found = 0",
            f"if update{i}(0, {p}n, {p}acc, {p}scale, {bias}{p}flags, {arrays}):",
            f"    found = collect{i}(0, {p}n, {p}flags, {p}words, {p}now, 0)",
            f"done[sample, {i}] += {p}n",
        ]
    return [
        *lines,
        "for e in range(found):",
        f"    {p}record[{p}at + e] = {p}now[e]",
        f"{p}at += found",
        f"many[{i}, sample * steps + t] = found",
        f"src, cnt, a, b = {p}now, {p}ones, 0, found",
    ]


def _workspace(layer: Layer, p: str) -> list[str]:
    """Statements that allocate what a layer needs during a run."""
    lines = [
        f"{p}acc = np.zeros({p}n, np.int32)",
        f"{p}touched = np.zeros((max({p}n, 1) + {p}block - 1) // {p}block, np.uint8)",
    ]
    if layer.program.spikes:
        lines += [
            f"{p}flags = np.zeros((max({p}n, 1) + 7) // 8 * 8, np.uint8)",
            f"{p}words = {p}flags.view(np.uint64)",
            f"{p}now = np.empty({p}n, np.int32)",
            f"{p}ones = np.ones({p}n, np.int32)",
            f"{p}at = 0",
        ]
    if layer.lazy:
        lines += [f"{p}awake = np.empty_like({p}touched)", f"{p}valid = np.empty({p}touched.size, np.int64)"]
    return lines


def _driver(layers: list[Layer], modules: list[str]) -> str:
    """Source of the loop over samples, steps and layers."""
    imports: list[str] = []
    parameters: list[str] = []
    allocate: list[str] = []
    begin: list[str] = []
    step: list[str] = []
    end: list[str] = []
    for i, layer in enumerate(layers):
        p = f"l{i}_"
        functions = ["update"] + ["collect"] * layer.program.spikes + ["tick", "finish", "rouse"] * layer.lazy
        imports.append(f"from {modules[i]} import " + ", ".join(f"{f} as {f}{i}" for f in functions))
        parameters += _layer_arguments(layer, i)
        allocate += _workspace(layer, p)
        states = [f"{p}{identifier(s)}" for s in layer.program.names("state")]
        arrays = ", ".join([*states, *_coefficient_arguments(layer, p)[0]])
        begin += [
            f"{p}acc[:] = 0",
            *(f"{p}{identifier(s)} = {p}s_{identifier(s)}[sample]" for s in layer.program.names("state")),
        ]
        if layer.lazy:
            begin += [f"{p}valid[:] = 0", f"{p}touched[:] = 0", f"rouse{i}({p}n, {p}block, {p}awake, {arrays})"]
            end.append(f"done[sample, {i}] += finish{i}(steps, {p}n, {p}block, {p}valid, {arrays})")
        step += _step(layer, i, arrays)
    head = ["lo", "hi", "steps", "in_start", "in_source", "in_count", "done", "many", *parameters]
    first = [
        "src, cnt = in_source, in_count",
        "a = in_start[sample * steps + t]",
        "b = in_start[sample * steps + t + 1]",
    ]
    lines = [
        '"""Driver of a chain: generated; do not edit."""', "", "import numpy as np", "from numba import njit", "",
        "from spikeframe.kernels.numba.deliver import lists, rows, stencil", *imports, "", "",
        '@njit(cache=True, nogil=True, error_model="numpy")', f"def drive({', '.join(head)}):",
        *_indent(allocate), "    for sample in range(lo, hi):", *_indent(begin, 2),
        "        for t in range(steps):", *_indent([*first, *step], 3), *_indent(end, 2), "",
    ]  # fmt: skip
    return "\n".join(lines)


def _layer_arguments(layer: Layer, i: int) -> list[str]:
    """Return the driver's parameters for one layer: `_fixed_values`, its states, what it writes."""
    p = f"l{i}_"
    names = [f"{p}n", f"{p}block", f"{p}scale", *_synapse_arguments(layer, p)[0], *_coefficient_arguments(layer, p)[0]]
    names += [f"{p}bias"] * (layer.bias is not None)
    names += [f"{p}s_{identifier(s)}" for s in layer.program.names("state")]
    return [*names, f"{p}record" if layer.program.spikes else f"{p}output"]


def _fixed_values(layer: Layer) -> list[Any]:
    """Return the driver's arguments for one layer that are the same in every run."""
    block = max(1, layer.neurons) if isinstance(layer.synapses, Rows) else BLOCK
    values = [layer.neurons, block, layer.synapses.scale, *_synapse_arguments(layer, "")[1]]
    values += _coefficient_arguments(layer, "")[1]
    return [*values, *([] if layer.bias is None else [layer.bias])]


def _indent(lines: list[str], levels: int = 1) -> list[str]:
    return ["    " * levels + line for line in lines]


def _samples_per_call(layers: list[Layer], events: Events) -> int:
    widest = max((layer.neurons for layer in layers), default=1)
    return max(1, _RECORD_LIMIT // max(1, widest * events.steps))


@dataclass(frozen=True)
class _Compiled:
    """A chain's driver and what its runs share; holds the layers, so that their ids stay theirs."""

    layers: list[Layer]
    drive: Any
    fixed: list[list[Any]]
    states: list[tuple[str, ...]]
    spiking: list[bool]


class NumbaChain:
    """Compiled chain runs (see `spikeframe.kernels.chain.ChainProvider`)."""

    def __init__(self) -> None:
        self._chains: dict[tuple[int, ...], _Compiled] = {}

    def _compiled(self, layers: list[Layer]) -> _Compiled:
        key = tuple(id(layer) for layer in layers)
        if key not in self._chains:
            modules = [_population(layer).__name__ for layer in layers]
            self._chains[key] = _Compiled(
                list(layers),
                source.load(_driver(layers, modules), "chain").drive,
                [_fixed_values(layer) for layer in layers],
                [layer.program.names("state") for layer in layers],
                [layer.program.spikes for layer in layers],
            )
        return self._chains[key]

    def run(self, layers: list[Layer], events: Events, states: list[dict[str, Array]], threads: int) -> list[Trains]:
        """Run every sample."""
        compiled = self._compiled(layers)
        spiking, sizes = compiled.spiking, [layer.neurons for layer in layers]
        places = events.samples * events.steps
        done = np.zeros((events.samples, len(layers)), np.int64)
        many = np.zeros((len(layers), places), np.int64)
        outputs = [
            np.zeros((0 if emits else events.samples, events.steps, n), np.float32)
            for emits, n in zip(spiking, sizes, strict=True)
        ]
        pieces: list[dict[int, Array]] = [{} for _ in layers]

        def work(lo: int, hi: int) -> None:
            arguments: list[Any] = [events.steps, events.start, events.source, events.count, done, many]
            records = []
            for i, n in enumerate(sizes):
                # Pages of this buffer cost nothing until a spike is written to them.
                records.append(np.empty((hi - lo) * events.steps * n if spiking[i] else 0, np.int32))
                arguments += compiled.fixed[i]
                arguments += [states[i][name] for name in compiled.states[i]]
                arguments.append(records[i] if spiking[i] else outputs[i])
            prepared(compiled.drive, "the event-driven run", arguments)
            compiled.drive(lo, hi, *arguments)
            for i, record in enumerate(records):
                if spiking[i]:
                    pieces[i][lo] = record[: many[i, lo * events.steps : hi * events.steps].sum()].copy()

        chunk = _samples_per_call(layers, events)
        work(0, min(1, events.samples))
        for begin in range(1, events.samples, chunk):
            in_ranges(lambda lo, hi, at=begin: work(at + lo, at + hi), min(chunk, events.samples - begin), threads)  # type: ignore[misc]
        updates = done.sum(axis=0)
        trains = []
        for i, output in enumerate(outputs):
            start = np.zeros(places + 1, np.int64)
            np.cumsum(many[i], out=start[1:])
            found = [pieces[i][lo] for lo in sorted(pieces[i])] or [np.zeros(0, np.int32)]
            neuron = found[0] if len(found) == 1 else np.concatenate(found)
            trains.append(Trains(start, neuron, None if spiking[i] else output, int(updates[i])))
        return trains
