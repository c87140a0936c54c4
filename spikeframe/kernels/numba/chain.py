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
from spikeframe.kernels.trace import FLOAT, Program

#: Neurons of a block in layers whose events reach only some neurons.
BLOCK = 64
#: Spikes recorded per call at the most, so that buffers stay bounded.
_RECORD_LIMIT = 1 << 24

_POPULATION = '''
from spikeframe.kernels.numba.borrowing import BORROWING
from spikeframe.kernels.numba.lean import wide


@njit(**BORROWING)
def update(lo, hi, acc, scale, {bias}flags, {arrays}):
    """One step for neurons lo..hi; returns whether any spiked."""
    wide()
    hit = I(0)
    for j in range(np.uint64(lo), np.uint64(hi)):
        {x} = F(acc[j]) * scale{plus_bias}
        acc[j] = I(0)
        {body}
        {store}
    return hit


@njit(**BORROWING)
def silent(lo, hi, steps, {arrays}):
    """Up to `steps` steps without input; stops where nothing changes any more; returns the steps done."""
    for k in range(steps):
        changed = I(0)
        for j in range(np.uint64(lo), np.uint64(hi)):
            {x} = ZERO
            {silent_body}
            {silent_store}
        if changed == 0:
            return k + 1
    return steps


@njit(**BORROWING)
def collect(lo, hi, flags, words, neuron, n):
    """Append the neurons whose flag is set, eight flags at a time; one place beyond the last is written as well."""
    for q in range(lo >> 3, (hi + 7) >> 3):
        if words[q] != 0:
            for j in range(q << 3, min(hi, (q << 3) + 8)):
                neuron[n] = j
                n += np.int64(flags[j])
    return n
'''

_LAZY = '''

# Of a block that was updated: whether it is awake matters only if no event reaches it in the next step.
UNKNOWN = 2


@njit(**BORROWING)
def awake_after(lo, hi, {arrays}):
    """Whether any neuron could spike without further input."""
    awake = I(0)
    for j in range(np.uint64(lo), np.uint64(hi)):
        {body}
        awake = I(awake | (I(0) if {waits} else I(1)))
    return awake


@njit(**BORROWING)
def rouse(n, block, awake, {arrays}):
    """Mark the blocks in which the state at the start may bring a spike without input."""
    for b in range(awake.size):
        awake[b] = awake_after(b * block, min(n, (b + 1) * block), {arrays})


@njit(**BORROWING)
def tick(t, n, block, acc, scale, flags, words, touched, awake, valid, neuron, {arrays}):
    """Advance the blocks that need it to the end of step t; returns (spikes, neuron updates)."""
    found = 0
    updates = 0
    for b in range(touched.size):
        lo = b * block
        hi = min(n, lo + block)
        if touched[b] == 0:
            if awake[b] == UNKNOWN:
                awake[b] = awake_after(lo, hi, {arrays})
            if awake[b] == 0:
                continue
        touched[b] = 0
        if valid[b] < t:
            updates += (hi - lo) * silent(lo, hi, t - valid[b], {arrays})
        updates += hi - lo
        if update(lo, hi, acc, scale, flags, {arrays}):
            found = collect(lo, hi, flags, words, neuron, found)
        valid[b] = t + 1
        awake[b] = UNKNOWN
    return found, updates


@njit(**BORROWING)
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
        [f"flags[j] = np.uint8({out} != ZERO)", f"hit = I(hit | I({out} != ZERO))"]
        if program.spikes
        else [f"flags[j] = {out}"]
    )
    store = [f"r_{identifier(s)}[j] = {result(program, s)}" for s in states]
    # A comparison with itself lets NaN count as unchanged, so that silence still ends.
    changed = [
        f"changed = I(changed | I(({result(program, s)} != {identifier(s)}) & ({identifier(s)} == {identifier(s)})))"
        for s in states
    ]
    text = _POPULATION.format(
        arrays=array_names(program, per_neuron),
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


def _deliver_call(layer: Layer, p: str, events: str) -> str:
    """Source of the delivery of events into the layer whose variables begin with `p`."""
    kind = type(layer.synapses).__name__.lower()
    block = "" if isinstance(layer.synapses, (Rows, Stencil)) else f"{p}block, "
    return f"{kind}({events}, {', '.join(_synapse_arguments(layer, p)[0])}, {block}{p}acc, {p}touched)"


def _synapse_arguments(layer: Layer, p: str) -> tuple[list[str], list[Any]]:
    """Return names and values of what the delivery into a layer needs."""
    s = layer.synapses
    if isinstance(s, Rows):
        return [f"{p}table", f"{p}row", f"{p}together"], [s.table, s.row, s.together]
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
    """Statements of one step of layer `i`: deliver the events ``a`` to ``b``, update, and hand the spikes on."""
    p = f"l{i}_"
    bias = f"{p}bias, " if layer.bias is not None else ""
    # Arrays are named where they are used: every other name of one would be counted up and down at every step.
    events = f"l{i - 1}_now, l{i - 1}_ones, 0, found" if i else "in_source, in_count, a, b"
    lines = ["if b > a:" if i == 0 else "if found > 0:", f"    {_deliver_call(layer, p, events)}"]
    if not layer.program.spikes:
        return [
            *lines,
            f"update{i}(0, {p}n, {p}acc, {p}scale, {bias}{p}output[sample, t], {arrays})",
            f"wrong = I(wrong | unsound({p}output[sample, t]))",
            f"{p}done += {p}n",
        ]
    if layer.lazy:
        work = f"{p}acc, {p}scale, {p}flags, {p}words, {p}touched, {p}awake, {p}valid, {p}now"
        lines += [f"found, updates = tick{i}(t, {p}n, {p}block, {work}, {arrays})", f"{p}done += updates"]
    else:
        lines += [
            "found = 0",
            f"if update{i}(0, {p}n, {p}acc, {p}scale, {bias}{p}flags, {arrays}):",
            f"    found = collect{i}(0, {p}n, {p}flags, {p}words, {p}now, 0)",
            f"{p}done += {p}n",
        ]
    return [
        *lines,
        "for e in range(found):",
        f"    {p}record[{p}at + e] = {p}now[e]",
        f"{p}at += found",
        f"start[{i}, sample * steps + t + 1] = {p}at",
    ]


def _workspace(layer: Layer, p: str) -> tuple[list[str], list[Any]]:
    """Return names and fresh values of what a layer writes to during a run and nobody reads afterwards."""
    n = layer.neurons
    wide = layer.synapses.table.shape[1] if isinstance(layer.synapses, Rows) else n
    touched = np.zeros(-(-max(n, 1) // _block(layer)), np.uint8)
    found: dict[str, Any] = {"acc": np.zeros(wide, np.int32), "touched": touched}
    if layer.program.spikes:
        flags = np.zeros(-(-max(n, 1) // 8) * 8, np.uint8)
        found |= {"flags": flags, "words": flags.view(np.uint64)}
        found |= {"now": np.empty(n + 1, np.int32), "ones": np.ones(n, np.int32)}
    if layer.lazy:
        found |= {"awake": np.empty_like(touched), "valid": np.empty(touched.size, np.int64)}
    return [p + name for name in found], list(found.values())


def _floats(layer: Layer) -> list[str]:
    """Return the names of a layer's states that are no counters."""
    return [leaf.name for leaf in layer.program.leaves if leaf.kind == "state" and leaf.dtype == FLOAT]


def _block(layer: Layer) -> int:
    """Return how many neurons are updated together: all of them where an event reaches all."""
    return max(1, layer.neurons) if isinstance(layer.synapses, Rows) else BLOCK


def _driver(layers: list[Layer], modules: list[str]) -> str:
    """Source of the loop over samples, steps and layers."""
    imports: list[str] = []
    varied: list[str] = []
    fixed: list[str] = []
    workspace: list[str] = []
    begin: list[str] = []
    step: list[str] = []
    end: list[str] = []
    for i, layer in enumerate(layers):
        p = f"l{i}_"
        functions = ["update"] + ["collect"] * layer.program.spikes + ["tick", "finish", "rouse"] * layer.lazy
        imports.append(f"from {modules[i]} import " + ", ".join(f"{f} as {f}{i}" for f in functions))
        varied += [f"{p}s_{identifier(s)}" for s in layer.program.names("state")]
        varied.append(f"{p}record" if layer.program.spikes else f"{p}output")
        fixed += _fixed(layer, p)[0]
        workspace += _workspace(layer, p)[0]
        states = [f"{p}{identifier(s)}" for s in layer.program.names("state")]
        arrays = ", ".join([*states, *_coefficient_arguments(layer, p)[0]])
        begin += [
            f"{p}acc[:] = 0",
            *(f"{p}{identifier(s)} = {p}s_{identifier(s)}[sample]" for s in layer.program.names("state")),
        ]
        if layer.lazy:
            begin += [f"{p}valid[:] = 0", f"{p}touched[:] = 0", f"rouse{i}({p}n, {p}block, {p}awake, {arrays})"]
            end.append(f"{p}done += finish{i}(steps, {p}n, {p}block, {p}valid, {arrays})")
        end += [f"wrong = I(wrong | unsound({p}{identifier(s)}))" for s in _floats(layer)]
        step += _step(layer, i, arrays)
    head = ["lo", "hi", "steps", "in_start", "in_source", "in_count", "start", *varied, *fixed, *workspace]
    counters = [f"l{i}_{what}" for what in ("at", "done") for i in range(len(layers))]
    zero = [*(f"{counter} = 0" for counter in counters), "wrong = I(0)"]
    first = [
        "a = in_start[sample * steps + t]",
        "b = in_start[sample * steps + t + 1]",
    ]
    lines = [
        '"""Driver of a chain: generated; do not edit."""', "", "import numpy as np", "from numba import njit", "",
        "from spikeframe.kernels.numba.borrowing import BORROWING, unsound",
        "from spikeframe.kernels.numba.deliver import lists, rows, stencil", *imports, "",
        "I = np.int32", "", "",
        "@njit(**BORROWING)", f"def drive({', '.join(head)}):",
        *_indent(zero), "    for sample in range(lo, hi):", *_indent(begin, 2),
        "        for t in range(steps):", *_indent([*first, *step], 3), *_indent(end, 2),
        f"    return {', '.join(counters)}, wrong", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _fixed(layer: Layer, p: str) -> tuple[list[str], list[Any]]:
    """Return names and values of the driver's arguments for one layer that are the same in every run."""
    names, values = [f"{p}n", f"{p}block", f"{p}scale"], [layer.neurons, _block(layer), layer.synapses.scale]
    for more in (_synapse_arguments(layer, p), _coefficient_arguments(layer, p)):
        names += more[0]
        values += more[1]
    if layer.bias is not None:
        names.append(f"{p}bias")
        values.append(layer.bias)
    return names, values


def _indent(lines: list[str], levels: int = 1) -> list[str]:
    return ["    " * levels + line for line in lines]


@dataclass(frozen=True)
class _Chain:
    """A chain's driver and what its runs share; holds the layers, so that their ids stay theirs.

    Attributes:
        layers: the chain.
        drive: the compiled loop over samples, steps and layers.
        states: names of each layer's state variables.
        sizes: number of its neurons.
        spiking: whether it spikes, or gives graded output.
        fixed: its arguments that are the same in every run.
        spare: workspaces that no run uses at the moment.
    """

    layers: list[Layer]
    drive: Any
    states: list[tuple[str, ...]]
    sizes: list[int]
    spiking: list[bool]
    fixed: list[Any]
    spare: list[list[Any]]

    def workspace(self) -> list[Any]:
        """Return a workspace that is this run's until it is put back into `spare`."""
        try:
            return self.spare.pop()
        except IndexError:
            return [value for layer in self.layers for value in _workspace(layer, "")[1]]


class NumbaChain:
    """Compiled chain runs (see `spikeframe.kernels.chain.ChainProvider`)."""

    def __init__(self) -> None:
        self._chains: dict[tuple[int, ...], _Chain] = {}

    def _compiled(self, layers: list[Layer]) -> _Chain:
        key = tuple(map(id, layers))
        if key not in self._chains:
            modules = [_population(layer).__name__ for layer in layers]
            self._chains[key] = _Chain(
                list(layers),
                source.load(_driver(layers, modules), "chain").drive,
                [layer.program.names("state") for layer in layers],
                [layer.neurons for layer in layers],
                [layer.program.spikes for layer in layers],
                [value for layer in layers for value in _fixed(layer, "")[1]],
                [],
            )
        return self._chains[key]

    def run(self, layers: list[Layer], events: Events, states: list[dict[str, Array]], threads: int) -> list[Trains]:
        """Run every sample."""
        compiled = self._compiled(layers)
        samples, steps = events.samples, events.steps
        start = np.zeros((len(layers), samples * steps + 1), np.int64)
        outputs = [
            None if spikes else np.zeros((samples, steps, n), np.float32)
            for spikes, n in zip(compiled.spiking, compiled.sizes, strict=True)
        ]
        #: Of each range of samples: its spikes per layer, and the counters that the driver returned.
        pieces: dict[int, tuple[int, list[Array], tuple[int, ...]]] = {}

        def work(lo: int, hi: int) -> None:
            varied: list[Any] = []
            records: list[Array] = []
            for n, names, state, output in zip(compiled.sizes, compiled.states, states, outputs, strict=True):
                # Pages of a record cost nothing until a spike is written to them.
                records.append(np.empty((hi - lo) * steps * n if output is None else 0, np.int32))
                varied += [state[name] for name in names]
                varied.append(records[-1] if output is None else output)
            workspace = compiled.workspace()
            arguments = [steps, events.start, events.source, events.count, start, *varied, *compiled.fixed, *workspace]
            if not compiled.drive.overloads:
                prepared(compiled.drive, "the event-driven run", arguments)
            counters = compiled.drive(lo, hi, *arguments)
            compiled.spare.append(workspace)
            pieces[lo] = hi, [record[:n].copy() for record, n in zip(records, counters, strict=False)], counters

        work(0, min(1, samples))
        chunk = max(1, _RECORD_LIMIT // max(1, steps * max(compiled.sizes, default=1)))
        for begin in range(1, samples, chunk):
            in_ranges(lambda lo, hi, at=begin: work(at + lo, at + hi), min(chunk, samples - begin), threads)  # type: ignore[misc]
        return _joined(pieces, start, outputs, steps)


def _joined(
    pieces: dict[int, tuple[int, list[Array], tuple[int, ...]]], start: Array, outputs: list[Array | None], steps: int
) -> list[Trains]:
    """Put the pieces of a batch together; each counted its spikes from zero, in its own rows of `start`."""
    size = len(outputs)
    finite = not any(counters[-1] for _, _, counters in pieces.values())
    trains = []
    for i, output in enumerate(outputs):
        neurons, updates, before = [], 0, 0
        for lo in sorted(pieces):
            hi, records, counters = pieces[lo]
            if before:
                start[i, lo * steps + 1 : hi * steps + 1] += before
            neurons.append(records[i])
            before += counters[i]
            updates += counters[size + i]
        neuron = neurons[0] if len(neurons) == 1 else np.concatenate(neurons)
        trains.append(Trains(start[i], neuron, output, updates, finite))
    return trains
