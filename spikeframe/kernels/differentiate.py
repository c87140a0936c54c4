"""Derivatives of a traced step, as other traced programs: reverse mode, and the Jacobian.

Each node is reversed by the usual rule; the surrogate stands in for the derivative of `spike`, `where` routes by its
condition, `detach` stops. The derived program recomputes the forward values it needs, so a kernel needs only the
states at the beginning of a step.
"""

from __future__ import annotations

from collections.abc import Callable

from spikeframe.errors import TraceError
from spikeframe.kernels.trace import FLOAT, Leaf, Node, Program, Recorder, Value, where

Rule = Callable[[Value, Value, list[Value]], list[tuple[int, Value]]]


def _product(a: Value, b: Value) -> Value:
    """Multiply without the tracer's ban on constant arithmetic: adjoints may well be constant."""
    return a.recorder.record("mul", FLOAT, a, b)


def _reverse_where(gradient: Value, arguments: list[Value]) -> list[tuple[int, Value]]:
    condition, a, _ = arguments
    if a.dtype != FLOAT:
        return []
    zero = gradient.recorder.constant(0.0, FLOAT)
    return [(1, where(condition, gradient, zero)), (2, where(condition, zero, gradient))]


def _reverse_extremum(op: str, gradient: Value, arguments: list[Value]) -> list[tuple[int, Value]]:
    """Send the gradient to the argument that was taken, the second one at a tie, as autograd through `where` does."""
    a, b = arguments
    zero = gradient.recorder.constant(0.0, FLOAT)
    first = a < b if op == "minimum" else a > b
    return [(0, where(first, gradient, zero)), (1, where(first, zero, gradient))]


def _reverse(
    op: str, gradient: Value, result: Value, arguments: list[Value], program: Program
) -> list[tuple[int, Value]]:
    """Return (argument position, contribution to its adjoint) for one node."""
    r = gradient.recorder
    if op == "add":
        return [(0, gradient), (1, gradient)]
    if op == "sub":
        return [(0, gradient), (1, r.record("neg", FLOAT, gradient))]
    if op == "neg":
        return [(0, r.record("neg", FLOAT, gradient))]
    if op == "mul":
        return [(0, _product(gradient, arguments[1])), (1, _product(gradient, arguments[0]))]
    if op == "div":
        part = r.record("div", FLOAT, gradient, arguments[1])
        return [(0, part), (1, r.record("neg", FLOAT, _product(part, result)))]
    if op == "exp":
        return [(0, _product(gradient, result))]
    if op == "where":
        return _reverse_where(gradient, arguments)
    if op in ("minimum", "maximum"):
        return _reverse_extremum(op, gradient, arguments)
    if op == "spike":
        if program.derivative is None:
            raise TraceError("The step uses spike, but no surrogate gradient was given for it.")
        return [(0, _product(gradient, program.derivative(arguments[0])))]
    return []


def differentiate(program: Program, coefficients: tuple[str, ...] | None = None) -> Program:
    """Derive the vector-Jacobian product of one step.

    Args:
        program: a traced step with outputs ``"out"`` and its states.
        coefficients: the coefficients whose gradients are wanted; all float ones by default.

    Returns:
        A program with the leaves of `program` and then the incoming gradients ``g.out`` and ``g.<state>`` of every
        float state; its outputs are ``g.<name>`` of every input, float state and wanted coefficient.
    """
    gradients = [Leaf("gradient", "g.out")]
    gradients += [
        Leaf("gradient", f"g.{leaf.name}") for leaf in program.leaves if leaf.kind == "state" and leaf.dtype == FLOAT
    ]
    recorder = Recorder((*program.leaves, *gradients), program.derivative)
    values = _repeat(program, recorder)
    arriving = {leaf.name: recorder.leaf(len(program.leaves) + i) for i, leaf in enumerate(gradients)}
    seeds = [(i, arriving[f"g.{name}"]) for name, i in program.outputs if f"g.{name}" in arriving]
    adjoint = _adjoints(program, recorder, values, seeds)
    outputs = []
    for index, leaf in enumerate(program.leaves):
        wanted = leaf.kind != "coefficient" or coefficients is None or leaf.name in coefficients
        if leaf.dtype == FLOAT and wanted:
            outputs.append((f"g.{leaf.name}", adjoint[index] if index in adjoint else recorder.constant(0.0, FLOAT)))
    return _share(recorder.program(outputs))


def jacobian(program: Program) -> Program:
    """Derive the partial derivatives of one step.

    Args:
        program: a traced step with outputs ``"out"`` and its states.

    Returns:
        A program with the leaves of `program`; its outputs are ``d.<output>.<leaf>`` for the output and every float
        state by every input and float state that reaches it. A pair that is missing is zero.
    """
    recorder = Recorder(program.leaves, program.derivative)
    values = _repeat(program, recorder)
    floats = {leaf.name for leaf in program.leaves if leaf.kind == "state" and leaf.dtype == FLOAT}
    outputs = []
    for name, index in program.outputs:
        if name != "out" and name not in floats:
            continue
        adjoint = _adjoints(program, recorder, values, [(index, recorder.constant(1.0, FLOAT))])
        outputs += [
            (f"d.{name}.{leaf.name}", adjoint[i])
            for i, leaf in enumerate(program.leaves)
            if i in adjoint and (leaf.name in floats or leaf.kind == "input")
        ]
    return _share(recorder.program(outputs))


def _repeat(program: Program, recorder: Recorder) -> list[Value]:
    """Record the nodes of a program again, whose leaves are the recorder's first; return all its values."""
    base, shift = len(program.leaves), len(recorder.leaves) - len(program.leaves)

    def moved(index: int) -> int:
        return index if index < base else index + shift

    for node in program.nodes:
        recorder.nodes.append(type(node)(node.op, tuple(moved(a) for a in node.args), node.dtype, node.constant))
    values = [recorder.leaf(i) for i in range(base)]
    return values + [Value(recorder, moved(base + i), node.dtype) for i, node in enumerate(program.nodes)]


def _adjoints(
    program: Program, recorder: Recorder, values: list[Value], seeds: list[tuple[int, Value]]
) -> dict[int, Value]:
    """Go backwards through a program from the adjoints of some of its values; return those that are not zero."""
    base = len(program.leaves)
    adjoint: dict[int, Value] = {}

    def accumulate(index: int, contribution: Value) -> None:
        known = adjoint.get(index)
        adjoint[index] = contribution if known is None else recorder.record("add", FLOAT, known, contribution)

    for index, seed in seeds:
        accumulate(index, seed)
    for position in range(len(program.nodes) - 1, -1, -1):
        node = program.nodes[position]
        gradient = adjoint.get(base + position)
        if gradient is None or node.dtype != FLOAT:
            continue
        arguments = [values[a] for a in node.args]
        for place, contribution in _reverse(node.op, gradient, values[base + position], arguments, program):
            target = node.args[place]
            if target < base or program.nodes[target - base].op != "const":
                accumulate(target, contribution)
    return adjoint


def _share(program: Program) -> Program:
    """Evaluate equal nodes once; equal nodes give equal bits, so this changes no result."""
    base = len(program.leaves)
    place = list(range(base))
    seen: dict[object, int] = {}
    kept: list[Node] = []
    for node in program.nodes:
        moved = Node(node.op, tuple(place[a] for a in node.args), node.dtype, node.constant)
        key = (moved.op, moved.args, moved.dtype, moved.constant)
        if key not in seen:
            seen[key] = base + len(kept)
            kept.append(moved)
        place.append(seen[key])
    outputs = tuple((name, place[index]) for name, index in program.outputs)
    return Program(program.leaves, tuple(kept), outputs, program.derivative)
