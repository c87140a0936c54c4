"""A chain of populations compiled by Numba: one call a layer runs all samples and steps.

Nothing flows back in a chain, so each layer runs all its steps before the next one begins; its spikes are the events
of that one. A layer's driver is generated: it delivers the events of a step and calls the update of its neurons'
traced step. A lazy layer keeps, per block of neurons, the step up to which its state is valid: a block that no event
reached and in which nobody can spike is left alone, and caught up by the same update with zero input when an event
reaches it, so its bits are those of a run that updates everything.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from spikeframe.kernels import source
from spikeframe.kernels.chain import Events, Layer, Trains
from spikeframe.kernels.emit import identifier
from spikeframe.kernels.numba import lazy, population
from spikeframe.kernels.numba.steps import in_ranges, per_neuron_names, prepared
from spikeframe.kernels.steps import Array
from spikeframe.kernels.synapses import Rows, Stencil
from spikeframe.kernels.trace import FLOAT

#: Neurons of a block in layers whose events reach only some neurons.
BLOCK = 64
#: Spikes recorded per call at the most, so that buffers stay bounded.
_RECORD_LIMIT = 1 << 24
#: The counts of spikes: as there are none, each is 1.
_ONES = np.zeros(0, np.int32)
_SINGLE = np.dtype(np.float32)

_DRIVER = '''"""Driver of one layer of a chain: generated; do not edit."""

from numba import njit

from {home} import {functions}
from spikeframe.kernels.numba.borrowing import BORROWING, unsound
from spikeframe.kernels.numba.deliver import {delivery}
from spikeframe.kernels.numba.delivery import collect

# Of a block that was updated: whether it is awake matters only if no event reaches it in the next step.
UNKNOWN = 2


@njit(**BORROWING)
def drive({parameters}):
    """Run samples lo..hi; returns (spikes, neuron updates, whether a state or an output is not finite)."""
    at = 0
    updates = 0
    wrong = 0
    for sample in range(lo, hi):
        {begin}
        for t in range(steps):
            place = (sample - lo) * steps + t
            if in_start[place] < in_start[place + 1]:
                {deliver}
            {step}
        {end}
    return at, updates, wrong
'''

_DENSE = """
update(0, n, flags, {update})
at = collect(0, n, flags, words, out, at)
start[place + 1] = at
updates += n
"""

_GRADED = """
update(0, n, out[sample, t], {update})
wrong |= unsound(out[sample, t])
updates += n
"""

_LAZY = """
for b in range(touched.size):
    first, last = b * block, min(n, (b + 1) * block)
    if touched[b] == 0:
        if awake[b] == UNKNOWN:
            awake[b] = not waiting(first, last, {own})
        if awake[b] == 0:
            continue
    touched[b] = 0
    if valid[b] < t:
        updates += (last - first) * silent(first, last, t - valid[b], {own})[0]
    updates += last - first
    update(first, last, flags, {update})
    at = collect(first, last, flags, words, out, at)
    valid[b] = t + 1
    awake[b] = UNKNOWN
start[place + 1] = at
"""

_CATCH_UP = """
for b in range(touched.size):
    if valid[b] < steps:
        first, last = b * block, min(n, (b + 1) * block)
        updates += (last - first) * silent(first, last, steps - valid[b], {own})[0]
"""


class _Driver(NamedTuple):
    """A layer's driver and what its runs share.

    Attributes:
        layer: the layer.
        drive: the compiled loop over samples and steps.
        states: names of its state variables.
        neurons: number of its neurons.
        spiking: whether it spikes, or gives graded output.
        fixed: arguments that are the same in every run.
        spare: workspaces that no run uses at the moment.
    """

    layer: Layer
    drive: Any
    states: tuple[str, ...]
    neurons: int
    spiking: bool
    fixed: list[Any]
    spare: list[list[Any]]

    def run(
        self, lo: int, hi: int, steps: int, arriving: tuple[Array, Array, Array], state: dict[str, Array],
        output: Array | None,
    ) -> _Piece:  # fmt: skip
        """Run samples lo..hi; `arriving` is start, source and count of their events."""
        start = np.zeros((hi - lo) * steps + 1, np.int64)
        # Pages of a record cost nothing until a spike is written to them.
        out = np.empty((hi - lo) * steps * self.neurons, np.int32) if output is None else output
        try:
            workspace = self.spare.pop()
        except IndexError:
            workspace = list(_workspace(self.layer).values())
        arguments = [steps, *arriving, start, out, *map(state.__getitem__, self.states), *self.fixed, *workspace]
        if not self.drive.overloads:
            prepared(self.drive, "the event-driven run", arguments)
        spikes, updates, wrong = self.drive(lo, hi, *arguments)
        self.spare.append(workspace)
        return _Piece(start, out[:spikes].copy() if output is None else _ONES, updates, wrong == 0)


class _Piece(NamedTuple):
    """What a layer did in some samples; `start` counts from their first."""

    start: Array
    neuron: Array
    updates: int
    finite: bool


def _lines(text: str, levels: int, **names: str) -> str:
    """Return a template filled in and indented."""
    return text.strip().format(**names).replace("\n", "\n" + "    " * levels)


def _block(layer: Layer) -> int:
    """Return how many neurons are updated together: all of them where an event reaches all."""
    return max(1, layer.neurons) if isinstance(layer.synapses, Rows) else BLOCK


def _synapses(layer: Layer) -> dict[str, Any]:
    """Return what the delivery into a layer takes, between the events and the accumulators."""
    s = layer.synapses
    if isinstance(s, Rows):
        return {"table": s.table, "row": s.row, "whole": bool((s.row >= 0).all()), "together": s.together}
    if isinstance(s, Stencil):
        geometry = (*s.plane, *s.stride, *s.padding, *s.dilation, BLOCK)
        return {"weight": s.weight, "channel": s.channel, "y": s.y, "x": s.x, "geometry": geometry}
    return {"at_source": s.start, "target": s.target, "weight": s.weight, "block": BLOCK}


def _fixed(layer: Layer) -> dict[str, Any]:
    """Return the driver's arguments that are the same in every run."""
    found = {"n": layer.neurons, "block": _block(layer), "scale": layer.synapses.scale, **_synapses(layer)}
    if layer.bias is not None:
        found["r_bias"] = layer.bias
    for name in layer.program.names("coefficient"):
        value = layer.coefficients[name]
        found[f"r_{identifier(name)}" if np.ndim(value) else identifier(name)] = value if np.ndim(value) else value[()]
    return found


def _workspace(layer: Layer) -> dict[str, Any]:
    """Return fresh arrays that a layer writes to during a run and nobody reads afterwards."""
    n = layer.neurons
    wide = layer.synapses.table.shape[1] if isinstance(layer.synapses, Rows) else n
    touched = np.zeros(-(-max(n, 1) // _block(layer)), np.uint8)
    found: dict[str, Any] = {"acc": np.zeros(wide, np.int32), "touched": touched}
    if layer.program.spikes:
        flags = np.zeros(-(-max(n, 1) // 8) * 8, np.uint8)
        found |= {"flags": flags, "words": flags.view(np.uint64)}
    if layer.lazy:
        found |= {"awake": np.empty_like(touched), "valid": np.empty(touched.size, np.int64)}
    return found


def _text(layer: Layer, home: str) -> str:
    """Source of a layer's driver; `home` is the module with the functions of its neurons."""
    program = layer.program
    inputs, states = program.names("input"), [identifier(s) for s in program.names("state")]
    per_neuron = per_neuron_names(program, layer.coefficients)
    own = ", ".join(lazy.own_parameters(program, per_neuron))
    block = ("first", "last") if layer.lazy else ("0", "n")
    given = {f"q_{identifier(inputs[0])}": f"acc[{block[0]}:{block[1]}]", f"unit_{identifier(inputs[0])}": "scale"}
    taken = population.parameters(program, inputs, per_neuron, layer.bias is not None)
    update = ", ".join(given.get(name, name) for name in taken)
    begin = ["acc[:] = 0", *(f"r_{s} = s_{s}[sample]" for s in states)]
    end = [f"wrong |= unsound(r_{identifier(s.name)})" for s in program.leaves if (s.kind, s.dtype) == ("state", FLOAT)]
    step = _DENSE if program.spikes else _GRADED
    if layer.lazy:
        step = _LAZY
        begin += ["touched[:] = 0", "valid[:] = 0", "awake[:] = UNKNOWN"]
        end.insert(0, _lines(_CATCH_UP, 2, own=own))
    parameters = ["lo", "hi", "steps", "in_start", "in_source", "in_count", "start", "out"]
    parameters += [*(f"s_{s}" for s in states), *_fixed(layer), *_workspace(layer)]
    delivery = type(layer.synapses).__name__.lower()
    events = "in_source, in_count, in_start[place], in_start[place + 1]"
    return _DRIVER.format(
        home=home,
        functions="silent, update, waiting" if layer.lazy else "update",
        delivery=delivery,
        parameters=", ".join(parameters),
        begin="\n        ".join(begin),
        deliver=f"{delivery}({events}, {', '.join(_synapses(layer))}, acc, touched)",
        step=_lines(step, 3, own=own, update=update),
        end="\n        ".join(end) or "pass",
    )


def _driver(layer: Layer) -> _Driver:
    """Compile a layer."""
    program, inputs = layer.program, layer.program.names("input")
    if layer.lazy and layer.waits is not None:
        home = lazy.functions(program, layer.waits, inputs, layer.coefficients, _SINGLE)
    else:
        home = population.module(program, inputs, layer.coefficients, layer.bias is not None, _SINGLE)
    drive = source.load(_text(layer, home.__name__), "chain").drive
    fixed = list(_fixed(layer).values())
    return _Driver(layer, drive, program.names("state"), layer.neurons, program.spikes, fixed, [])


class NumbaChain:
    """Compiled chain runs (see `spikeframe.kernels.chain.ChainProvider`)."""

    def __init__(self) -> None:
        self._chains: dict[tuple[int, ...], list[_Driver]] = {}

    def _drivers(self, layers: list[Layer]) -> list[_Driver]:
        # Drivers hold their layers, so that ids stay theirs.
        key = tuple(map(id, layers))
        if key not in self._chains:
            self._chains[key] = [_driver(layer) for layer in layers]
        return self._chains[key]

    def run(self, layers: list[Layer], events: Events, states: list[dict[str, Array]], threads: int) -> list[Trains]:
        """Run every sample."""
        drivers = self._drivers(layers)
        samples, steps = events.samples, events.steps
        outputs = [None if d.spiking else np.zeros((samples, steps, d.neurons), np.float32) for d in drivers]
        #: Of each range of samples, by its first: what every layer did.
        pieces: dict[int, list[_Piece]] = {}

        def work(lo: int, hi: int) -> None:
            arriving = events.start[lo * steps : hi * steps + 1], events.source, events.count
            found = []
            for driver, state, output in zip(drivers, states, outputs, strict=True):
                piece = driver.run(lo, hi, steps, arriving, state, output)
                arriving = piece.start, piece.neuron, _ONES
                found.append(piece)
            pieces[lo] = found

        work(0, min(1, samples))
        chunk = max(1, _RECORD_LIMIT // max(1, steps * max((d.neurons for d in drivers), default=1)))
        for begin in range(1, samples, chunk):
            in_ranges(lambda lo, hi, at=begin: work(at + lo, at + hi), min(chunk, samples - begin), threads)  # type: ignore[misc]
        parts = [pieces[lo] for lo in sorted(pieces)]
        finite = all(piece.finite for part in parts for piece in part)
        return [_joined([part[i] for part in parts], output, finite) for i, output in enumerate(outputs)]


def _joined(pieces: list[_Piece], output: Array | None, finite: bool) -> Trains:
    """Put the pieces of a layer together."""
    start, neuron, updates, _ = pieces[0]
    if len(pieces) > 1:
        before = np.cumsum([0, *(piece.neuron.size for piece in pieces)])
        start = np.concatenate([start[:1], *(p.start[1:] + b for p, b in zip(pieces, before, strict=False))])
        neuron = np.concatenate([piece.neuron for piece in pieces])
        updates = sum(piece.updates for piece in pieces)
    return Trains(start, neuron, output, updates, finite)
