"""A traced step compiled by Numba and run over time, forward and backward.

Layout of the work: columns (batch x neurons) are cut into blocks of up to `WIDTH`; a block's state stays in cache
while time runs, and the innermost loop over its columns vectorises. Threads take ranges of blocks; no result depends
on how blocks are shared out. The backward keeps only the state every K steps, recomputes K steps forward from there
and runs back through them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np

from spikeframe.kernels import buffers, source
from spikeframe.kernels.differentiate import differentiate
from spikeframe.kernels.emit import NUMBA, identifier, result, statements
from spikeframe.kernels.numba.rounds import BLOCK, in_rounds
from spikeframe.kernels.rounds import rounds_of
from spikeframe.kernels.steps import Array, Backward, Forward, coefficient_gradient
from spikeframe.kernels.trace import FLOAT, Program

#: Columns of a block: wide enough that a row of a block is whole pages, narrow enough that its state stays in cache.
WIDTH = 1024
#: Below this many neuron-steps a second thread costs more than it saves.
_ALONE = 1 << 17
CORES = os.cpu_count() or 1

_HEADER = '''"""{title}: generated from a traced step; do not edit."""

import numpy as np
from numba import njit

from spikeframe.kernels.numba.borrowing import BORROWING, INNER
from spikeframe.kernels.numba.exponential import exp{bits} as exp
from spikeframe.kernels.numba.rounds import held
from spikeframe.kernels.numba.views import row, stretch

F = np.float{bits}
I = np.int32
ZERO = F(0.0)
ONE = F(1.0)
BIG = F({largest})
'''


def header(title: str, dtype: np.dtype[Any]) -> str:
    """Return the opening lines of a generated module for one float type."""
    return _HEADER.format(title=title, bits=dtype.itemsize * 8, largest=repr(float(np.finfo(dtype).max)))


def per_neuron_names(program: Program, coefficients: Mapping[str, Array]) -> frozenset[str]:
    """Return the coefficients that have one value per neuron."""
    return frozenset(name for name in program.names("coefficient") if np.ndim(coefficients[name]))


def loads(program: Program, kinds: tuple[str, ...], per_neuron: frozenset[str]) -> list[str]:
    """Return the statements that read element `j` of every array leaf of the given kinds."""
    lines = []
    for leaf in program.leaves:
        name = identifier(leaf.name)
        if leaf.kind in kinds and (leaf.kind != "coefficient" or leaf.name in per_neuron):
            lines.append(f"{name} = r_{name}[j]")
    return lines


def _arrays(program: Program, per_neuron: frozenset[str]) -> dict[int, str]:
    """Return the source names of the leaves that have a value for each column."""
    return {
        i: identifier(leaf.name)
        for i, leaf in enumerate(program.leaves)
        if leaf.kind != "coefficient" or leaf.name in per_neuron
    }


def _arguments(program: Program, kinds: tuple[str, ...], per_neuron: frozenset[str]) -> list[str]:
    """Return the parameter names for leaves of the given kinds: ``r_`` prefixes arrays."""
    names = []
    for leaf in program.leaves:
        if leaf.kind in kinds:
            scalar = leaf.kind == "coefficient" and leaf.name not in per_neuron
            names.append(identifier(leaf.name) if scalar else f"r_{identifier(leaf.name)}")
    return names


def _function(name: str, parameters: list[str], body: list[str], inner: bool = False) -> str:
    """Return a function's source; an `inner` one is called by others of the module only."""
    lines = "\n    ".join(body)
    options = "**BORROWING | INNER" if inner else 'cache=True, nogil=True, error_model="numpy", no_cfunc_wrapper=True'
    return f"\n\n@njit({options})\ndef {name}({', '.join(parameters)}):\n    {lines}\n"


#: A loop compiles in a fraction of the time that an assignment to a slice takes.
_COPY = _function("copy", ["w", "r_from", "o_to"], ["for j in range(w):", "    o_to[j] = r_from[j]"], inner=True)


def _indent(lines: list[str], levels: int = 1) -> list[str]:
    return ["    " * levels + line for line in lines]


def _finite_check(program: Program) -> list[str]:
    """Statements that raise `bad` at the first non-finite input."""
    names = [identifier(name) for name in program.names("input")]
    inside = " & ".join(f"({n} <= BIG) & ({n} >= -BIG)" for n in names)
    return [f"bad |= I(0) if {inside} else I(1)"]


def _advance(program: Program, per_neuron: frozenset[str]) -> str:
    """Source of one step over the columns of a block, from one state row to another."""
    states = program.names("state")
    parameters = ["w", *_arguments(program, ("input", "state", "coefficient"), per_neuron), "r_out"]
    parameters += [f"o_{identifier(s)}" for s in states]
    store = [f"r_out[j] = {result(program, 'out')}"]
    store += [f"o_{identifier(s)}[j] = {result(program, s)}" for s in states]
    if (rounds := rounds_of(program)) is None:
        body = loads(program, ("input", "state", "coefficient"), per_neuron)
        body += [*_finite_check(program), *statements(program, NUMBA), *store]
        lines = ["bad = I(0)", "for j in range(w):", *_indent(body), "return bad"]
        return _function("advance", parameters, lines, inner=True)
    kept = {i: [f"{n} = r_{n}[j]"] for i, n in _arrays(program, per_neuron).items()}
    uses = [i for _, i in program.outputs] + [i for i, leaf in enumerate(program.leaves) if leaf.kind == "input"]
    body = in_rounds(program, rounds, kept, [*_finite_check(program), *store], uses, "w")
    block = _function("block", parameters, ["bad = I(0)", *body, "return bad"], inner=True)
    scalars = {identifier(n) for n in program.names("coefficient")}
    taken = ", ".join(n if n in scalars else f"stretch({n}, at, to)" for n in parameters[1:])
    lines = ["bad = I(0)", f"for at in range(0, w, {BLOCK}):"]
    lines += [f"    to = min(w, at + {BLOCK})", f"    bad |= block(to - at, {taken})", "return bad"]
    return block + _function("advance", parameters, lines, inner=True)


def _slices(program: Program, per_neuron: frozenset[str], rows: dict[str, str]) -> list[str]:
    """Arguments of `advance` or `pull` inside the time loop: a row slice for every array leaf in `rows`."""
    arguments = []
    for leaf in program.leaves:
        if leaf.name in rows:
            arguments.append(rows[leaf.name])
        elif leaf.kind == "coefficient":
            name = identifier(leaf.name)
            arguments.append(f"stretch(r_{name}, n0, n0 + w)" if leaf.name in per_neuron else name)
    return arguments


def _across(name: str, step: str = "t") -> str:
    """The columns of a block in one step's row."""
    return f"stretch(row({name}, {step}), c, c + w)"


def _block(width: str) -> list[str]:
    """Statements that place block `block`: its neurons start at `n0`, its columns are ``[c, c + w)``."""
    return [
        f"across = (n + {width} - 1) // {width}",
        "for block in range(lo, hi):",
        *_indent([f"n0 = (block % across) * {width}", f"w = min({width}, n - n0)", "c = (block // across) * n + n0"]),
    ]


def _forward(program: Program, per_neuron: frozenset[str]) -> str:
    """Source of the forward run over time for a range of blocks."""
    inputs, states = program.names("input"), program.names("state")
    si = {s: identifier(s) for s in states}
    parameters = ["lo", "hi", "steps", "n", "width", "every", *_arguments(program, ("input",), per_neuron)]
    parameters += [*_arguments(program, ("coefficient",), per_neuron), "out", "bad_at"]
    for s in states:
        parameters += [f"first_{si[s]}", f"last_{si[s]}", f"kept_{si[s]}"]
    rows = {name: _across(f"r_{identifier(name)}") for name in inputs}
    rows |= {s: f"row(row_{si[s]}, k)" for s in states}
    call = ", ".join(
        ["w", *_slices(program, per_neuron, rows), _across("out"), *(f"row(row_{si[s]}, 1 - k)" for s in states)]
    )
    body = [f"row_{si[s]} = np.empty((2, width), first_{si[s]}.dtype)" for s in states]
    inner = [f"copy(w, stretch(first_{si[s]}, c, c + w), row(row_{si[s]}, 0))" for s in states]
    keep = [f"copy(w, row(row_{si[s]}, k), {_across(f'kept_{si[s]}', 't // every')})" for s in states] or ["pass"]
    inner += [
        "k = 0",
        "for t in range(steps):",
        *_indent(["if every > 0 and t % every == 0:", *_indent(keep)]),
        *_indent([f"bad = advance({call})", "if bad and bad_at[block] < 0:", "    bad_at[block] = t", "k = 1 - k"]),
    ]
    inner += [f"copy(w, row(row_{si[s]}, k), stretch(last_{si[s]}, c, c + w))" for s in states]
    return _function("forward", parameters, [*body, *_block("width"), *_indent(inner)])


def _pull(program: Program, derived: Program, per_neuron: frozenset[str], wanted: tuple[str, ...]) -> str:
    """Source of one step backwards over the columns of a block."""
    kinds = ("input", "state", "coefficient", "gradient")
    state_gradients = [leaf.name for leaf in derived.leaves if leaf.kind == "gradient" and leaf.name != "g.out"]
    parameters = ["w", *_arguments(derived, kinds, per_neuron)]
    parameters += [f"o_{identifier('g.' + name)}" for name in program.names("input")]
    parameters += [f"sum_{identifier(name)}" for name in wanted]
    body = [*loads(derived, kinds, per_neuron), *statements(derived, NUMBA)]
    body += [f"o_{identifier('g.' + x)}[j] = {result(derived, 'g.' + x)}" for x in program.names("input")]
    body += [f"r_{identifier(g)}[j] = {result(derived, g)}" for g in state_gradients]
    body += [f"sum_{identifier(c)}[j] += {result(derived, 'g.' + c)}" for c in wanted]
    return _function("pull", parameters, ["for j in range(w):", *_indent(body)], inner=True)


def _backward(program: Program, derived: Program, per_neuron: frozenset[str], wanted: tuple[str, ...]) -> str:
    """Source of the backward run over time for a range of blocks."""
    inputs, states = program.names("input"), program.names("state")
    si = {s: identifier(s) for s in states}
    smooth = [leaf.name for leaf in program.leaves if leaf.kind == "state" and leaf.dtype == FLOAT]
    parameters = ["lo", "hi", "steps", "n", "width", "every", *_arguments(program, ("input",), per_neuron)]
    parameters += [*_arguments(program, ("coefficient",), per_neuron), "g_out"]
    parameters += [f"kept_{si[s]}" for s in states] + [f"g_{si[s]}" for s in smooth]
    parameters += [f"o_{identifier('g.' + x)}" for x in inputs] + [f"sum_{identifier(c)}" for c in wanted]
    rows = {x: _across(f"r_{identifier(x)}") for x in inputs} | {s: f"row(path_{si[s]}, t - start)" for s in states}
    forward_call = ", ".join(
        ["w", *_slices(program, per_neuron, rows), "unused", *(f"row(path_{si[s]}, t - start + 1)" for s in states)]
    )
    rows["g.out"] = _across("g_out")
    rows |= {f"g.{s}": f"stretch(g_{si[s]}, c, c + w)" for s in smooth}
    backward_call = ", ".join(
        ["w", *_slices(derived, per_neuron, rows)]
        + [_across(f"o_{identifier('g.' + x)}") for x in inputs]
        + [f"stretch(sum_{identifier(name)}, c, c + w)" for name in wanted]
    )
    body = [f"path_{si[s]} = np.empty((every, width), kept_{si[s]}.dtype)" for s in states]
    body += ["unused = np.empty(width, g_out.dtype)"]
    begin = [f"copy(w, {_across(f'kept_{si[s]}', 'piece')}, row(path_{si[s]}, 0))" for s in states]
    inner = [
        "for piece in range((steps + every - 1) // every - 1, -1, -1):",
        *_indent(["start = piece * every", "stop = min(steps, start + every)", *begin]),
        *_indent(["for t in range(start, stop - 1):", f"    advance({forward_call})"]),
        *_indent(["for t in range(stop - 1, start - 1, -1):", f"    pull({backward_call})"]),
    ]
    return _function("backward", parameters, [*body, *_block("width"), *_indent(inner)])


@lru_cache(maxsize=256)
def _forward_module(program: Program, per_neuron: frozenset[str], dtype: np.dtype[Any]) -> ModuleType:
    text = header("Forward over time", dtype) + _COPY + _advance(program, per_neuron) + _forward(program, per_neuron)
    return source.load(text, "forward")


@lru_cache(maxsize=256)
def _backward_module(
    program: Program, derivative: object, per_neuron: frozenset[str], dtype: np.dtype[Any], wanted: tuple[str, ...]
) -> ModuleType:
    derived = differentiate(program, wanted)
    text = header("Backward over time", dtype) + _COPY + _advance(program, per_neuron)
    text += _pull(program, derived, per_neuron, wanted) + _backward(program, derived, per_neuron, wanted)
    return source.load(text, "backward")


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=max(1, CORES - 1), thread_name_prefix="spikeframe")


# A forked child has the pool's object but not its threads.
os.register_at_fork(after_in_child=_pool.cache_clear)


def in_ranges(work: Callable[[int, int], object], items: int, threads: int) -> None:
    """Call ``work(lo, hi)`` on contiguous ranges of ``range(items)``, one a thread, the first on this one."""
    parts = min(threads, items, CORES)
    if parts <= 1:
        work(0, items)
        return
    cuts = [items * i // parts for i in range(parts + 1)]
    rest = [_pool().submit(work, cuts[i], cuts[i + 1]) for i in range(1, parts)]
    work(cuts[0], cuts[1])
    for future in rest:
        future.result()


_compiled: set[tuple[int, tuple[bool, ...]]] = set()


def prepared(function: Any, what: str, arguments: list[Any]) -> None:
    """Compile (or load from the cache) for these argument types by running over an empty range, once."""
    key = (id(function), tuple(a.flags.writeable for a in arguments if type(a) is np.ndarray))
    if key not in _compiled:
        with source.compiling(what):
            function(0, 0, *arguments)
        _compiled.add(key)


def _coefficient_arguments(program: Program, coefficients: Mapping[str, Array]) -> list[Any]:
    return [c if np.ndim(c) else c[()] for c in (coefficients[name] for name in program.names("coefficient"))]


def _geometry(width: int, per_neuron: frozenset[str], coefficients: Mapping[str, Array]) -> tuple[int, int, int]:
    """Return (neurons, block width, number of blocks) for rows of `width` columns."""
    neurons = coefficients[next(iter(per_neuron))].size if per_neuron else width
    across = -(-neurons // WIDTH)
    return neurons, min(WIDTH, max(neurons, 1)), across * (width // neurons if neurons else 0)


class NumbaSteps:
    """Compiled loops over time (see `spikeframe.kernels.steps.Provider`)."""

    def forward(
        self, program: Program, inputs: list[Array], states: Mapping[str, Array], coefficients: Mapping[str, Array],
        every: int, threads: int,
    ) -> Forward:  # fmt: skip
        """Run the step over time."""
        steps, width = inputs[0].shape
        dtype = inputs[0].dtype
        per_neuron = per_neuron_names(program, coefficients)
        neurons, block, blocks = _geometry(width, per_neuron, coefficients)
        out = buffers.empty((steps, width), dtype)
        bad_at = np.full(max(blocks, 1), -1, np.int64)
        last = {name: np.array(value) for name, value in states.items()}
        pieces = -(-steps // every) if every else 0
        kept = {name: buffers.empty((pieces, width), value.dtype) for name, value in states.items()}
        arguments: list[Any] = [steps, neurons, block, every, *inputs]
        arguments += [*_coefficient_arguments(program, coefficients), out, bad_at]
        for name in program.names("state"):
            arguments += [states[name], last[name], kept[name]]
        function = _forward_module(program, per_neuron, dtype).forward
        prepared(function, f"the forward kernel ({dtype})", arguments)
        threads = 1 if steps * width < _ALONE else threads
        in_ranges(lambda lo, hi: function(lo, hi, *arguments), blocks, threads)
        return Forward(out, last, kept if every else {}, _first_bad(bad_at, inputs))

    def backward(
        self, program: Program, inputs: list[Array], checkpoints: Mapping[str, Array],
        coefficients: Mapping[str, Array], every: int, g_out: Array, g_states: Mapping[str, Array],
        wanted: tuple[str, ...], threads: int,
    ) -> Backward:  # fmt: skip
        """Run the derivative backwards over time."""
        steps, width = inputs[0].shape
        dtype = inputs[0].dtype
        per_neuron = per_neuron_names(program, coefficients)
        neurons, block, blocks = _geometry(width, per_neuron, coefficients)
        gradients = {name: np.array(value) for name, value in g_states.items()}
        g_inputs = [buffers.empty(x.shape, dtype) for x in inputs]
        sums = {name: np.zeros(width, dtype) for name in wanted}
        arguments: list[Any] = [steps, neurons, block, every, *inputs, *_coefficient_arguments(program, coefficients)]
        arguments += [g_out, *(checkpoints[name] for name in program.names("state")), *gradients.values()]
        arguments += [*g_inputs, *sums.values()]
        function = _backward_module(program, program.derivative, per_neuron, dtype, wanted).backward
        prepared(function, f"the backward kernel ({dtype})", arguments)
        threads = 1 if steps * width < _ALONE else threads
        in_ranges(lambda lo, hi: function(lo, hi, *arguments), blocks, threads)
        reduced = {name: coefficient_gradient(value, coefficients[name]) for name, value in sums.items()}
        return Backward(g_inputs, gradients, reduced)


def _first_bad(bad_at: Array, inputs: list[Array]) -> tuple[int, int] | None:
    """Return (step, column) of the first non-finite input, given the step at which each block met one."""
    hit = bad_at[bad_at >= 0]
    if not hit.size:
        return None
    step = int(hit.min())
    wrong = np.logical_or.reduce([~np.isfinite(x[step]) for x in inputs])
    return step, int(np.flatnonzero(wrong)[0])
