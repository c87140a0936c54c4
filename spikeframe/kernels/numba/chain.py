"""Layers of neurons compiled by Numba: one call runs all samples and steps of all layers.

What leads into a layer outside loops has run all its steps before; its spikes are the layer's events. The layers of a
loop take turns step by step. A network's driver is generated: it delivers the events of a step and calls the update of
its neurons' traced steps. A lazy layer keeps, per block of neurons, the step up to which its state is valid: a block
that no event reached and in which nobody can spike is left alone, and caught up by the same update with zero input when
an event reaches it, so its bits are those of a run that updates everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from spikeframe.kernels import source
from spikeframe.kernels.chain import INPUT, Events, Layer, Link, Past, Trains, loops, memory
from spikeframe.kernels.emit import identifier
from spikeframe.kernels.numba import lazy, population
from spikeframe.kernels.numba.planes import COLUMNS, COUNTERS, MOST, planes
from spikeframe.kernels.numba.steps import in_ranges, per_neuron_names, prepared
from spikeframe.kernels.steps import Array
from spikeframe.kernels.synapses import Rows, Stencil, Synapses
from spikeframe.kernels.trace import FLOAT

#: Neurons of a block in layers whose events reach only some neurons.
BLOCK = 64
#: Spikes recorded per call at the most, so that buffers stay bounded.
_RECORD_LIMIT = 1 << 24
#: The counts of spikes: as there are none, each is 1.
_ONES = np.zeros(0, np.int32)
#: Where the steps of a layer begin that sends nothing.
_NOTHING = np.zeros(0, np.int64)
#: Kinds of layers that send neurons, and counts.
_SENDS = ("spiking", "counted"), ("counted",)
_SINGLE = np.dtype(np.float32)

_DRIVER = '''"""Driver of a network, layer by layer: generated; do not edit."""

from numba import njit

{imports}
from spikeframe.kernels.numba.borrowing import BORROWING, unsound
from spikeframe.kernels.numba.deliver import lists, packed, rows, stencil
from spikeframe.kernels.numba.delivery import collect, counted, fill
from spikeframe.kernels.numba.views import row, stretch

# Of a block that was updated: whether it is awake matters only if no event reaches it in the next step.
UNKNOWN = 2


@njit(**BORROWING)
def drive({parameters}):
    """Run samples lo..hi; `done` gets, per layer: spikes, updates, whether a state or output is not finite."""
    {before}
    {parts}
    {after}
'''

#: A layer, or the layers of a loop.
_PART = """
for sample in range(lo, hi):
    {begin}
    for t in range(steps):
        place = (sample - lo) * steps + t
        {step}
    {end}
"""

#: Delivery of one link's events of a step; `{first}` to `{last}` are those of the window that arrives.
_DELIVER = """
if start_{of}[{first}] < start_{of}[{last}]:
    {form}(source_{of}, count_{of}, start_{of}[{first}], start_{of}[{last}], {synapses}, acc_{k}, touched_{k})
"""

_LATE = """
if t >= {delay}:
    {now}
else:
    {past}
"""

_SPIKING = """
update_{k}(0, n_{k}, flags_{k}, {update})
at_{k} = collect(0, n_{k}, flags_{k}, words_{k}, source_{k}, at_{k})
start_{k}[place + 1] = at_{k}
updates_{k} += n_{k}
"""

_COUNTED = """
update_{k}(0, n_{k}, row_{k}, {update})
wrong_{k} |= unsound(row_{k})
at_{k} = counted(row_{k}, each_{k}, source_{k}, count_{k}, at_{k})
start_{k}[place + 1] = at_{k}
updates_{k} += n_{k}
"""

_GRADED = """
update_{k}(0, n_{k}, out_{k}[sample, t], {update})
wrong_{k} |= unsound(out_{k}[sample, t])
updates_{k} += n_{k}
"""

_LAZY = """
for b in range(touched_{k}.size):
    first, last = b * block_{k}, min(n_{k}, (b + 1) * block_{k})
    if touched_{k}[b] == 0:
        if awake_{k}[b] == UNKNOWN:
            awake_{k}[b] = not waiting_{k}(first, last, {own})
        if awake_{k}[b] == 0:
            continue
    touched_{k}[b] = 0
    if valid_{k}[b] < t:
        updates_{k} += (last - first) * silent_{k}(first, last, t - valid_{k}[b], {own})[0]
    updates_{k} += last - first
    update_{k}(first, last, flags_{k}, {update})
    at_{k} = collect(first, last, flags_{k}, words_{k}, source_{k}, at_{k})
    valid_{k}[b] = t + 1
    awake_{k}[b] = UNKNOWN
start_{k}[place + 1] = at_{k}
"""

_CATCH_UP = """
for b in range(touched_{k}.size):
    if valid_{k}[b] < steps:
        first, last = b * block_{k}, min(n_{k}, (b + 1) * block_{k})
        updates_{k} += (last - first) * silent_{k}(first, last, steps - valid_{k}[b], {own})[0]
"""


class _Member(NamedTuple):
    """What a run asks about a layer: what it gives, and names of its states."""

    kind: str
    states: tuple[str, ...]
    neurons: int


class _Workspace(NamedTuple):
    """What one run at a time writes to and nobody reads afterwards.

    Attributes:
        room: samples x steps of the run.
        done: per layer its spikes, updates, and whether something is not finite.
        records: per layer the neurons and counts that it sends; none for graded values.
        arguments: the driver's last arguments, these arrays among them.
    """

    room: int
    done: Array
    records: list[tuple[Array, Array]]
    arguments: list[Any]


class _Chain(NamedTuple):
    """A compiled network and what its runs share.

    Attributes:
        layers: its layers.
        members: the same, as far as a run asks.
        drive: the compiled loop over samples and steps.
        past: sources of which it needs past events, in the order of its arguments.
        spare: workspaces that no run uses at the moment.
    """

    layers: list[Layer]
    members: list[_Member]
    drive: Any
    past: list[int]
    spare: list[_Workspace]

    def run(
        self, lo: int, hi: int, events: Events, states: list[dict[str, Array]], past: Mapping[int, Past],
        outputs: list[Array | None],
    ) -> list[Trains]:  # fmt: skip
        """Run samples lo..hi; `start` of what they emit counts from their first."""
        # Small samples take as long as a few dozen calls of NumPy: hence few arrays, and what can be is kept.
        first = events.start[lo * events.steps :] if lo else events.start
        arguments: list[Any] = [events.steps, first, events.source, events.count]
        room = (hi - lo) * events.steps
        starts = []
        for (_, names, _), state, output in zip(self.members, states, outputs, strict=True):
            starts.append(np.zeros(room + 1, np.int64) if output is None else _NOTHING)
            arguments.append(starts[-1] if output is None else output)
            arguments += map(state.__getitem__, names)
        for s in self.past:
            arguments += past[s].start, past[s].source, past[s].count
        try:
            workspace = self.spare.pop()
        except IndexError:
            workspace = self._workspace(room)
        if workspace.room != room:
            workspace = self._workspace(room)
        arguments += workspace.arguments
        if not self.drive.overloads:
            prepared(self.drive, "the event-driven run", arguments)
        self.drive(lo, hi, *arguments)
        told = workspace.done.tolist()
        finite = not any(wrong for _, _, wrong in told)
        found = [
            Trains(start, _kept(source, n), output, updates, finite, _kept(count, n))
            for start, (source, count), output, (n, updates, _) in zip(
                starts, workspace.records, outputs, told, strict=True
            )
        ]
        self.spare.append(workspace)
        return found

    def _workspace(self, room: int) -> _Workspace:
        """Return a fresh workspace."""
        done = np.zeros((len(self.layers), 3), np.int64)
        records: list[tuple[Array, Array]] = []
        arguments: list[Any] = []
        for kind, _, neurons in self.members:
            # Pages of a record cost nothing until a spike is written to them.
            source, count = (np.empty(room * neurons, np.int32) if kind in of else _ONES for of in _SENDS)
            records.append((source, count))
            arguments += [source, count] if kind != "graded" else []
        longest = memory(self.layers)
        arguments += [longest[s] for s in self.past]
        arguments += [value for layer in self.layers for value in _fixed(layer).values()]
        arguments += [value for layer in self.layers for value in _workspace(layer).values()]
        return _Workspace(room, done, records, [done, *arguments])


def _kept(record: Array, n: int) -> Array:
    """Return what was written to a record."""
    return record if record is _ONES else record[:n].copy()


def _lines(text: str, levels: int, **names: Any) -> str:
    """Return a template filled in and indented."""
    return text.strip().format(**names).replace("\n", "\n" + "    " * levels)


def _kind(layer: Layer) -> str:
    """Return what a layer gives: ``"spiking"``, ``"counted"`` or ``"graded"``."""
    if layer.unit is None:
        return "graded"
    return "spiking" if layer.program.spikes else "counted"


def _block(layer: Layer) -> int:
    """Return how many neurons are updated together: all of them where an event reaches all."""
    return max(1, layer.neurons) if any(isinstance(link.synapses, Rows) for link in layer.links) else BLOCK


def _synapses(s: Synapses, block: int) -> dict[str, Any]:
    """Return what the delivery through synapses takes, between the events and the accumulators."""
    if isinstance(s, Rows):
        found = {"table": s.table, "row": s.row, "whole": bool((s.row >= 0).all()), "together": s.together}
        narrow = planes(s)
        if narrow is not None:
            found |= {"together": min(MOST, s.together), "narrow": narrow.table, "lowest": narrow.lowest}
        return found
    if isinstance(s, Stencil):
        geometry = (*s.plane, *s.stride, *s.padding, *s.dilation, block)
        return {"weight": s.weight, "channel": s.channel, "y": s.y, "x": s.x, "geometry": geometry}
    return {"at_source": s.start, "target": s.target, "weight": s.weight, "block": block}


def _form(s: Synapses) -> str:
    """Return the name of the function that delivers through synapses."""
    return "packed" if isinstance(s, Rows) and planes(s) is not None else type(s).__name__.lower()


def _fixed(layer: Layer) -> dict[str, Any]:
    """Return the driver's arguments of a layer that are the same in every run."""
    found: dict[str, Any] = {"n": layer.neurons, "block": _block(layer), "scale": layer.scale}
    for j, link in enumerate(layer.links):
        found |= {f"{name}_{j}": value for name, value in _synapses(link.synapses, _block(layer)).items()}
    if layer.bias is not None:
        found["r_bias"] = layer.bias
        if layer.window:
            found["r_none"] = np.zeros_like(layer.bias)
    if _kind(layer) == "counted":
        found["each"] = np.float32(1.0 / (layer.unit or 1.0))
    for name in layer.program.names("coefficient"):
        value = layer.coefficients[name]
        found[f"r_{identifier(name)}" if np.ndim(value) else identifier(name)] = value if np.ndim(value) else value[()]
    return found


def _wide(layer: Layer) -> int:
    """Return how many accumulators a layer needs."""
    wide = [layer.neurons]
    for s in (link.synapses for link in layer.links if isinstance(link.synapses, Rows)):
        narrow = planes(s)
        wide += [s.table.shape[1], 0 if narrow is None else narrow.lowest.size]
    return max(wide)


def _workspace(layer: Layer) -> dict[str, Any]:
    """Return fresh arrays that a layer writes to during a run and nobody reads afterwards."""
    n, kind = layer.neurons, _kind(layer)
    touched = np.zeros(-(-max(n, 1) // _block(layer)), np.uint8)
    found: dict[str, Any] = {"acc": np.zeros(_wide(layer), np.int32), "touched": touched}
    if kind == "spiking":
        flags = np.zeros(-(-max(n, 1) // 8) * 8, np.uint8)
        found |= {"flags": flags, "words": flags.view(np.uint64)}
    if kind == "counted":
        found["row"] = np.zeros(n, np.float32)
    if any(_form(link.synapses) == "packed" for link in layer.links):
        found |= {"sums": np.zeros(COLUMNS, np.uint16), "counters": np.zeros(COUNTERS, np.uint8)}
    if layer.lazy:
        found |= {"awake": np.empty_like(touched), "valid": np.empty(touched.size, np.int64)}
    return found


def _delivery(layer: Layer, k: int, j: int, link: Link) -> str:
    """Source of the delivery through one link, three levels deep."""
    form = _form(link.synapses)
    own = [f"{name}_{j}_{k}" for name in _synapses(link.synapses, BLOCK)]
    own += [f"sums_{k}", f"counters_{k}"] if form == "packed" else []
    names = {"k": k, "form": form, "synapses": ", ".join(own)}
    of = _tag(link.source)
    if layer.window:
        now = _lines(_DELIVER, 1, of=of, first="place", last="place + steps", **names)
        return f"if t == 0:\n    {now}".replace("\n", "\n" + "    " * 2)
    if not link.delay:
        return _lines(_DELIVER, 2, of=of, first="place", last="place + 1", **names)
    back = f"place - {link.delay}"
    now = _lines(_DELIVER, 1, of=of, first=back, last=f"{back} + 1", **names)
    slot = f"sample * past_{of} + past_{of} + t - {link.delay}"
    past = _lines(_DELIVER, 1, of=f"past_{of}", first=slot, last=f"{slot} + 1", **names)
    return _lines(_LATE, 2, delay=link.delay, now=now, past=past)


def _tag(source_: int) -> str:
    return "input" if source_ == INPUT else str(source_)


def _filled(name: str, value: str) -> str:
    return f"fill({name}, 0, {name}.size, {value})"


class _Text(NamedTuple):
    """The lines of a layer in its network's driver."""

    imports: str
    begin: list[str]
    step: list[str]
    end: list[str]


def _layer_text(layer: Layer, k: int, home: str) -> _Text:
    """Return the lines of layer `k`; `home` is the module with the functions of its neurons."""
    program, kind = layer.program, _kind(layer)
    inputs, states = program.names("input"), [identifier(s) for s in program.names("state")]
    per_neuron = per_neuron_names(program, layer.coefficients)
    own = ", ".join(f"{name}_{k}" for name in lazy.own_parameters(program, per_neuron))
    block = ("first", "last") if layer.lazy else ("0", f"n_{k}")
    given = {
        f"q_{identifier(inputs[0])}": f"stretch(acc_{k}, {block[0]}, {block[1]})",
        f"unit_{identifier(inputs[0])}": f"scale_{k}",
    }
    if layer.window:
        given["r_bias"] = f"r_bias_{k} if t == 0 else r_none_{k}"
    taken = population.parameters(program, inputs, per_neuron, layer.bias is not None)
    update = ", ".join(given.get(name, f"{name}_{k}") for name in taken)
    begin = [_filled(f"acc_{k}", "0"), *(f"r_{s}_{k} = row(s_{s}_{k}, sample)" for s in states)]
    end = [
        f"wrong_{k} |= unsound(r_{identifier(s.name)}_{k})"
        for s in program.leaves
        if (s.kind, s.dtype) == ("state", FLOAT)
    ]
    step = {"spiking": _SPIKING, "counted": _COUNTED, "graded": _GRADED}[kind]
    if layer.lazy:
        step = _LAZY
        begin += [_filled(f"touched_{k}", "0"), _filled(f"valid_{k}", "0"), _filled(f"awake_{k}", "UNKNOWN")]
        end.insert(0, _lines(_CATCH_UP, 1, own=own, k=k))
    functions = ", ".join(f"{f} as {f}_{k}" for f in (("silent", "update", "waiting") if layer.lazy else ("update",)))
    deliveries = [_delivery(layer, k, j, link) for j, link in enumerate(layer.links)]
    return _Text(
        f"from {home} import {functions}", begin, [*deliveries, _lines(step, 2, own=own, update=update, k=k)], end
    )


def _text(layers: list[Layer], homes: list[str], past: list[int]) -> str:
    """Source of the driver of a network."""
    texts = [_layer_text(layer, k, home) for k, (layer, home) in enumerate(zip(layers, homes, strict=True))]
    parameters = ["lo", "hi", "steps", "start_input", "source_input", "count_input"]
    for k, layer in enumerate(layers):
        parameters.append(f"out_{k}" if layer.unit is None else f"start_{k}")
        parameters += [f"s_{identifier(s)}_{k}" for s in layer.program.names("state")]
    for tag in map(_tag, past):
        parameters += [f"start_past_{tag}", f"source_past_{tag}", f"count_past_{tag}"]
    parameters.append("done")
    for k, layer in enumerate(layers):
        parameters += [] if layer.unit is None else [f"source_{k}", f"count_{k}"]
    parameters += [f"past_{_tag(s)}" for s in past]
    parameters += [f"{name}_{k}" for k, layer in enumerate(layers) for name in _fixed(layer)]
    parameters += [f"{name}_{k}" for k, layer in enumerate(layers) for name in _workspace(layer)]
    parts = []
    for part in loops(layers):
        own = [texts[k] for k in part]
        parts.append(
            _lines(
                _PART,
                1,
                begin="\n    ".join(line for text in own for line in text.begin),
                step="\n        ".join(line for text in own for line in text.step),
                end="\n    ".join(line for text in own for line in text.end) or "pass",
            )
        )
    every = range(len(layers))
    return _DRIVER.format(
        imports="\n".join(text.imports for text in texts),
        parameters=", ".join(parameters),
        before="\n    ".join(f"at_{k} = updates_{k} = wrong_{k} = 0" for k in every),
        parts="\n    ".join(parts),
        after="\n    ".join(
            f"done[{k}, 0], done[{k}, 1], done[{k}, 2] = at_{k}, updates_{k}, wrong_{k}" for k in every
        ),
    )


def _compiled(layers: list[Layer]) -> _Chain:
    """Compile a network."""
    homes = []
    for layer in layers:
        inputs = layer.program.names("input")
        if layer.lazy and layer.waits is not None:
            home = lazy.functions(layer.program, layer.waits, inputs, layer.coefficients, _SINGLE)
        else:
            home = population.module(layer.program, inputs, layer.coefficients, layer.bias is not None, _SINGLE)
        homes.append(home.__name__)
    past = sorted(memory(layers))
    drive = source.load(_text(layers, homes, past), "chain").drive
    members = [_Member(_kind(n), n.program.names("state"), n.neurons) for n in layers]
    return _Chain(layers, members, drive, past, [])


class NumbaChain:
    """Compiled runs of layers (see `spikeframe.kernels.chain.ChainProvider`)."""

    def __init__(self) -> None:
        self._chains: dict[tuple[int, ...], _Chain] = {}

    def run(
        self, layers: list[Layer], events: Events, states: list[dict[str, Array]], past: Mapping[int, Past],
        threads: int,
    ) -> list[Trains]:  # fmt: skip
        """Run every sample."""
        # Chains hold their layers, so that ids stay theirs.
        key = tuple(map(id, layers))
        chain = self._chains.get(key)
        if chain is None:
            chain = self._chains[key] = _compiled(layers)
        samples, steps = events.samples, events.steps
        outputs = [
            np.zeros((samples, steps, member.neurons), np.float32) if member.kind == "graded" else None
            for member in chain.members
        ]
        if samples == 1:
            return chain.run(0, 1, events, states, past, outputs)
        #: Of each range of samples, by its first: what every layer did.
        pieces: dict[int, list[Trains]] = {}

        def work(lo: int, hi: int) -> None:
            pieces[lo] = chain.run(lo, hi, events, states, past, outputs)

        work(0, min(1, samples))
        chunk = max(1, _RECORD_LIMIT // max(1, steps * sum(member.neurons for member in chain.members)))
        for begin in range(1, samples, chunk):
            in_ranges(lambda lo, hi, at=begin: work(at + lo, at + hi), min(chunk, samples - begin), threads)  # type: ignore[misc]
        return [_joined(found) for found in zip(*(pieces[lo] for lo in sorted(pieces)), strict=True)]


def _joined(pieces: tuple[Trains, ...]) -> Trains:
    """Put the pieces of a layer together."""
    before = np.cumsum([0, *(piece.neuron.size for piece in pieces)])
    start = [piece.start[1:] + b for piece, b in zip(pieces, before, strict=False)]
    return Trains(
        np.concatenate([pieces[0].start[:1], *start]),
        np.concatenate([piece.neuron for piece in pieces]),
        pieces[0].output,
        sum(piece.updates for piece in pieces),
        all(piece.finite for piece in pieces),
        np.concatenate([piece.count for piece in pieces]),
    )
