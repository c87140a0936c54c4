"""Layers of neurons compiled by Numba: one call runs all samples and steps of a layer, or of a loop of layers.

What leads into a layer outside loops has run all its steps before; its spikes are the layer's events. The layers of a
loop take turns step by step within one call. A part's driver is generated: it delivers the events of a step and calls
the update of its neurons' traced step. A lazy layer keeps, per block of neurons, the step up to which its state is
valid: a block that no event reached and in which nobody can spike is left alone, and caught up by the same update with
zero input when an event reaches it, so its bits are those of a run that updates everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from spikeframe.kernels import source
from spikeframe.kernels.chain import INPUT, Events, Layer, Link, Past, Trains, loops, memory
from spikeframe.kernels.emit import identifier
from spikeframe.kernels.numba import lazy, population
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
_SINGLE = np.dtype(np.float32)

_DRIVER = '''"""Driver of a part of a network, layer by layer: generated; do not edit."""

from numba import njit

{imports}
from spikeframe.kernels.numba.borrowing import BORROWING, unsound
from spikeframe.kernels.numba.deliver import lists, rows, stencil
from spikeframe.kernels.numba.delivery import collect, counted, fill
from spikeframe.kernels.numba.views import row, stretch

# Of a block that was updated: whether it is awake matters only if no event reaches it in the next step.
UNKNOWN = 2


@njit(**BORROWING)
def drive({parameters}):
    """Run samples lo..hi; `done` gets, per layer: spikes, updates, whether a state or output is not finite."""
    {before}
    for sample in range(lo, hi):
        {begin}
        for t in range(steps):
            place = (sample - lo) * steps + t
            {step}
        {end}
    {after}
'''

#: Delivery of one link's events of a step; `{first}` to `{last}` are those of the window that arrives.
_DELIVER = """
if {of}_start[{first}] < {of}_start[{last}]:
    {form}({of}_source, {of}_count, {of}_start[{first}], {of}_start[{last}], {synapses}, acc_{k}, touched_{k})
"""

_LATE = """
if t >= {delay}:
    {now}
else:
    {past}
"""

_SPIKING = """
update_{k}(0, n_{k}, flags_{k}, {update})
at_{k} = collect(0, n_{k}, flags_{k}, words_{k}, out_{k}, at_{k})
start_{k}[place + 1] = at_{k}
updates_{k} += n_{k}
"""

_COUNTED = """
update_{k}(0, n_{k}, row_{k}, {update})
wrong_{k} |= unsound(row_{k})
at_{k} = counted(row_{k}, each_{k}, out_{k}, count_{k}, at_{k})
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
    at_{k} = collect(first, last, flags_{k}, words_{k}, out_{k}, at_{k})
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
    """What a run asks about a layer: its place, what it gives, names of its states, and its size."""

    place: int
    kind: str
    states: tuple[str, ...]
    neurons: int


class _Driver(NamedTuple):
    """The driver of a part and what its runs share.

    Attributes:
        members: its layers, as far as a run asks.
        layers: the layers.
        drive: the compiled loop over samples and steps.
        before: sources of events outside the part, in the order of its arguments.
        past: sources of which it needs past events, in the order of its arguments.
        fixed: arguments that are the same in every run.
        spare: workspaces that no run uses at the moment.
    """

    members: list[_Member]
    layers: list[Layer]
    drive: Any
    before: list[int]
    past: list[int]
    fixed: list[Any]
    spare: list[list[Any]]

    def run(
        self, lo: int, hi: int, steps: int, arriving: Mapping[int, tuple[Array, Array, Array]],
        past: Mapping[int, Past], states: list[dict[str, Array]], outputs: list[Array | None],
    ) -> list[_Piece]:  # fmt: skip
        """Run samples lo..hi; `arriving` has start, source and count of the events of each source."""
        room = (hi - lo) * steps
        made: list[tuple[Array, Array, Array]] = []
        done = np.zeros((len(self.members), 3), np.int64)
        arguments: list[Any] = [steps, done]
        for place, kind, names, neurons in self.members:
            # Pages of a record cost nothing until a spike is written to them.
            out = np.empty(room * neurons, np.int32) if kind != "graded" else outputs[place]
            count = np.empty(room * neurons, np.int32) if kind == "counted" else _ONES
            made.append((np.zeros(room + 1, np.int64), out, count))  # type: ignore[arg-type]
            arguments += [*made[-1], *map(states[place].__getitem__, names)]
        for s in self.before:
            arguments += arriving[s]
        for s in self.past:
            arguments += past[s].start, past[s].source, past[s].count
        try:
            workspace = self.spare.pop()
        except IndexError:
            workspace = [array for layer in self.layers for array in _workspace(layer).values()]
        arguments += [*self.fixed, *workspace]
        if not self.drive.overloads:
            prepared(self.drive, "the event-driven run", arguments)
        self.drive(lo, hi, *arguments)
        self.spare.append(workspace)
        found = []
        for member, (start, out, count), (spikes, updates, wrong) in zip(
            self.members, made, done.tolist(), strict=True
        ):
            neuron = _ONES if member.kind == "graded" else out[:spikes].copy()
            times = count[:spikes].copy() if member.kind == "counted" else _ONES
            found.append(_Piece(start, neuron, times, updates, wrong == 0))
        return found


class _Piece(NamedTuple):
    """What a layer did in some samples; `start` counts from their first."""

    start: Array
    neuron: Array
    times: Array
    updates: int
    finite: bool


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
        return {"table": s.table, "row": s.row, "whole": bool((s.row >= 0).all()), "together": s.together}
    if isinstance(s, Stencil):
        geometry = (*s.plane, *s.stride, *s.padding, *s.dilation, block)
        return {"weight": s.weight, "channel": s.channel, "y": s.y, "x": s.x, "geometry": geometry}
    return {"at_source": s.start, "target": s.target, "weight": s.weight, "block": block}


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
    tables = [link.synapses.table.shape[1] for link in layer.links if isinstance(link.synapses, Rows)]
    return int(max([layer.neurons, *tables]))


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
    if layer.lazy:
        found |= {"awake": np.empty_like(touched), "valid": np.empty(touched.size, np.int64)}
    return found


def _delivery(layer: Layer, k: int, j: int, link: Link, part: list[int], inside: dict[int, int]) -> str:
    """Source of the delivery through one link, four levels deep."""
    synapses = ", ".join(f"{name}_{j}_{k}" for name in _synapses(link.synapses, BLOCK))
    names = {"k": k, "form": type(link.synapses).__name__.lower(), "synapses": synapses}
    of = f"own_{inside[link.source]}" if link.source in inside else f"in_{_tag(link.source)}"
    if layer.window:
        now = _lines(_DELIVER, 1, of=of, first="place", last="place + steps", **names)
        return f"if t == 0:\n    {now}".replace("\n", "\n" + "    " * 3)
    if not link.delay:
        return _lines(_DELIVER, 3, of=of, first="place", last="place + 1", **names)
    back = f"place - {link.delay}"
    now = _lines(_DELIVER, 1, of=of, first=back, last=f"{back} + 1", **names)
    tag = f"past_{_tag(link.source)}"
    slot = f"sample * {tag}_steps + {tag}_steps + t - {link.delay}"
    past = _lines(_DELIVER, 1, of=tag, first=slot, last=f"{slot} + 1", **names)
    return _lines(_LATE, 3, delay=link.delay, now=now, past=past)


def _tag(source_: int) -> str:
    return "input" if source_ == INPUT else str(source_)


def _filled(name: str, value: str) -> str:
    return f"fill({name}, 0, {name}.size, {value})"


class _Text(NamedTuple):
    """The lines of a layer in its part's driver."""

    imports: str
    begin: list[str]
    step: list[str]
    end: list[str]


def _layer_text(layer: Layer, k: int, home: str, part: list[int], inside: dict[int, int]) -> _Text:
    """Return the lines of layer `k` of a part; `home` is the module with the functions of its neurons."""
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
        end.insert(0, _lines(_CATCH_UP, 2, own=own, k=k))
    functions = ", ".join(f"{f} as {f}_{k}" for f in (("silent", "update", "waiting") if layer.lazy else ("update",)))
    deliveries = [_delivery(layer, k, j, link, part, inside) for j, link in enumerate(layer.links)]
    return _Text(
        f"from {home} import {functions}", begin, [*deliveries, _lines(step, 3, own=own, update=update, k=k)], end
    )


def _text(part: list[int], layers: list[Layer], homes: list[str], before: list[int], past: list[int]) -> str:
    """Source of the driver of a part."""
    inside = {i: k for k, i in enumerate(part)}
    texts = [
        _layer_text(layer, k, home, part, inside) for k, (layer, home) in enumerate(zip(layers, homes, strict=True))
    ]
    parameters = ["lo", "hi", "steps", "done"]
    for k, layer in enumerate(layers):
        parameters += [f"start_{k}", f"out_{k}", f"count_{k}"]
        parameters += [f"s_{identifier(s)}_{k}" for s in layer.program.names("state")]
    for tag in (*(f"in_{_tag(s)}" for s in before), *(f"past_{_tag(s)}" for s in past)):
        parameters += [f"{tag}_start", f"{tag}_source", f"{tag}_count"]
    parameters += [f"past_{_tag(s)}_steps" for s in past]
    parameters += [f"{name}_{k}" for k, layer in enumerate(layers) for name in _fixed(layer)]
    parameters += [f"{name}_{k}" for k, layer in enumerate(layers) for name in _workspace(layer)]
    before_all, after = [], []
    for k in range(len(part)):
        before_all.append(f"at_{k} = updates_{k} = wrong_{k} = 0")
        if any(link.source == part[k] for layer in layers for link in layer.links):
            before_all.append(f"own_{k}_start, own_{k}_source, own_{k}_count = start_{k}, out_{k}, count_{k}")
        after.append(f"done[{k}, 0], done[{k}, 1], done[{k}, 2] = at_{k}, updates_{k}, wrong_{k}")
    return _DRIVER.format(
        imports="\n".join(text.imports for text in texts),
        parameters=", ".join(parameters),
        before="\n    ".join(before_all),
        begin="\n        ".join(line for text in texts for line in text.begin),
        step="\n            ".join(line for text in texts for line in text.step),
        end="\n        ".join(line for text in texts for line in text.end) or "pass",
        after="\n    ".join(after),
    )


def _driver(part: list[int], layers: list[Layer], longest: Mapping[int, int]) -> _Driver:
    """Compile a part."""
    own = [layers[i] for i in part]
    homes = []
    for layer in own:
        inputs = layer.program.names("input")
        if layer.lazy and layer.waits is not None:
            home = lazy.functions(layer.program, layer.waits, inputs, layer.coefficients, _SINGLE)
        else:
            home = population.module(layer.program, inputs, layer.coefficients, layer.bias is not None, _SINGLE)
        homes.append(home.__name__)
    links = [link for layer in own for link in layer.links]
    before = sorted({link.source for link in links if link.source not in part})
    past = sorted({link.source for link in links if link.delay})
    drive = source.load(_text(part, own, homes, before, past), "chain").drive
    fixed = [longest[s] for s in past] + [value for layer in own for value in _fixed(layer).values()]
    members = [_Member(i, _kind(n), n.program.names("state"), n.neurons) for i, n in zip(part, own, strict=True)]
    return _Driver(members, own, drive, before, past, fixed, [])


class _Compiled(NamedTuple):
    """The drivers of a network and what its runs ask about its layers."""

    drivers: list[_Driver]
    graded: list[int | None]
    most: int


class NumbaChain:
    """Compiled runs of layers (see `spikeframe.kernels.chain.ChainProvider`)."""

    def __init__(self) -> None:
        self._chains: dict[tuple[int, ...], _Compiled] = {}

    def _compiled(self, layers: list[Layer]) -> _Compiled:
        # Drivers hold their layers, so that ids stay theirs.
        key = tuple(map(id, layers))
        found = self._chains.get(key)
        if found is None:
            drivers = [_driver(part, layers, memory(layers)) for part in loops(layers)]
            graded = [n.neurons if _kind(n) == "graded" else None for n in layers]
            found = self._chains[key] = _Compiled(drivers, graded, max((n.neurons for n in layers), default=1))
        return found

    def run(
        self, layers: list[Layer], events: Events, states: list[dict[str, Array]], past: Mapping[int, Past],
        threads: int,
    ) -> list[Trains]:  # fmt: skip
        """Run every sample."""
        drivers, graded, most = self._compiled(layers)
        samples, steps = events.samples, events.steps
        outputs = [None if n is None else np.zeros((samples, steps, n), np.float32) for n in graded]
        #: Of each range of samples, by its first: what every layer did.
        pieces: dict[int, list[_Piece]] = {}

        def work(lo: int, hi: int) -> None:
            arriving = {INPUT: (events.start[lo * steps : hi * steps + 1], events.source, events.count)}
            found: dict[int, _Piece] = {}
            for driver in drivers:
                made = driver.run(lo, hi, steps, arriving, past, states, outputs)
                for member, piece in zip(driver.members, made, strict=True):
                    arriving[member.place] = piece.start, piece.neuron, piece.times
                    found[member.place] = piece
            pieces[lo] = [found[i] for i in range(len(layers))]

        work(0, min(1, samples))
        chunk = max(1, _RECORD_LIMIT // max(1, steps * most))
        for begin in range(1, samples, chunk):
            in_ranges(lambda lo, hi, at=begin: work(at + lo, at + hi), min(chunk, samples - begin), threads)  # type: ignore[misc]
        parts = [pieces[lo] for lo in sorted(pieces)]
        finite = all(piece.finite for part in parts for piece in part)
        return [_joined([part[i] for part in parts], output, finite) for i, output in enumerate(outputs)]


def _joined(pieces: list[_Piece], output: Array | None, finite: bool) -> Trains:
    """Put the pieces of a layer together."""
    start, neuron, count, updates, _ = pieces[0]
    if len(pieces) > 1:
        before = np.cumsum([0, *(piece.neuron.size for piece in pieces)])
        start = np.concatenate([start[:1], *(p.start[1:] + b for p, b in zip(pieces, before, strict=False))])
        neuron = np.concatenate([piece.neuron for piece in pieces])
        count = np.concatenate([piece.times for piece in pieces])
        updates = sum(piece.updates for piece in pieces)
    return Trains(start, neuron, output, updates, finite, count)
