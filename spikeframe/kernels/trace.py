"""Tracing: one call of a neuron's `step` with recording values becomes a list of nodes in written order.

Every execution is generated from that list (see `emit`), so the order of rounding is part of a model's meaning:
nothing is folded, re-associated or shortened. A `step` may use ``+ - * /``, negation, comparisons joined by ``&``
and ``|``, and the functions `where`, `minimum`, `maximum`, `exp`, `spike` and `detach` of this module.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

from spikeframe.errors import TraceError, unknown_name

FLOAT, INT, BOOL = "float", "int", "bool"
_COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
#: How the report of operations classes each node.
OPERATION_CLASS = {
    **dict.fromkeys(("add", "sub", "neg"), "ac"),
    **dict.fromkeys(("mul", "div"), "mac"),
    "exp": "exp",
    **dict.fromkeys((*_COMPARISONS, "where", "minimum", "maximum", "spike", "and", "or"), "cmp"),
}

Derivative = Callable[["Value"], "Value"]


@dataclass(frozen=True)
class Node:
    """One operation: its name, the indices of its arguments, its type and, for a constant, its literal.

    Literals are text, so that 0.0 and -0.0 are different programs.
    """

    op: str
    args: tuple[int, ...]
    dtype: str
    constant: str | None = None


@dataclass(frozen=True)
class Leaf:
    """One named argument of a program: an input, a state variable, a coefficient or an incoming gradient."""

    kind: str
    name: str
    dtype: str = FLOAT


@dataclass(frozen=True)
class Program:
    """A traced step.

    Value `i` is leaf `i` for ``i < len(leaves)`` and the result of node ``i - len(leaves)`` after that.

    Attributes:
        leaves: the arguments, in the order inputs, states, coefficients (and gradients in a derived program).
        nodes: the operations, in executable order.
        outputs: name and value index of every result, e.g. ``("out", 7), ("v", 9)``.
        derivative: stands in for the derivative of `spike` (the surrogate); not part of the forward meaning.
        rounds: nodes at which the rounds of a repeated part begin, and the last ends (`kernels.rounds`); may be empty.
    """

    leaves: tuple[Leaf, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[tuple[str, int], ...]
    derivative: Derivative | None = field(default=None, compare=False, repr=False)
    rounds: tuple[int, ...] = field(default=(), compare=False, repr=False)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Hash the nodes once: programs are looked up at every call of a layer."""
        return hash((self.leaves, self.nodes, self.outputs))

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the names of the leaves of one kind: ``"input"``, ``"state"``, ``"coefficient"``, ``"gradient"``."""
        return self._names.get(kind, ())

    @cached_property
    def _names(self) -> dict[str, tuple[str, ...]]:
        """The names of the leaves by kind."""
        return {kind: tuple(a.name for a in self.leaves if a.kind == kind) for kind in {a.kind for a in self.leaves}}

    @cached_property
    def spikes(self) -> bool:
        """Whether the step can emit spikes (its ``out`` is the result of `spike`)."""
        index = dict(self.outputs)["out"] - len(self.leaves)
        return index >= 0 and self.nodes[index].op == "spike"

    def operations(self) -> dict[str, int]:
        """Count the operations of one update by class: ``ac``, ``mac``, ``exp``, ``cmp``."""
        counts = dict.fromkeys(("ac", "mac", "exp", "cmp"), 0)
        for node in self.nodes:
            if node.op in OPERATION_CLASS:
                counts[OPERATION_CLASS[node.op]] += 1
        return counts


def _refuse(message: str) -> NoReturn:
    """Raise a TraceError that names the line of the user's step."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    raise TraceError(f"{frame.f_code.co_filename}:{frame.f_lineno}: {message}")


class Recorder:
    """Collects the nodes of one trace."""

    def __init__(self, leaves: Sequence[Leaf], derivative: Derivative | None = None, soft: bool = False) -> None:
        self.leaves = tuple(leaves)
        self.nodes: list[Node] = []
        self.rounds: list[int] = []
        self.derivative = derivative
        self.soft = soft

    def leaf(self, index: int) -> Value:
        """Return the recording value of one leaf."""
        return Value(self, index, self.leaves[index].dtype)

    def constant(self, value: float | int, dtype: str) -> Value:
        """Record a literal."""
        if not math.isfinite(value):
            _refuse(f"{value!r} in a step; use finite numbers.")
        if dtype == INT and not -(2**31) <= value < 2**31:
            _refuse(f"{value!r} does not fit an integer counter, which has 32 bits.")
        return self._append(Node("const", (), dtype, repr(float(value)) if dtype == FLOAT else repr(int(value))))

    def record(self, op: str, dtype: str, *args: Value) -> Value:
        """Record one operation on recorded values."""
        return self._append(Node(op, tuple(a.index for a in args), dtype))

    def _append(self, node: Node) -> Value:
        self.nodes.append(node)
        return Value(self, len(self.leaves) + len(self.nodes) - 1, node.dtype)

    def is_fixed(self, value: Value) -> bool:
        """Whether a value depends on nothing but coefficients and literals."""
        if value.index < len(self.leaves):
            return self.leaves[value.index].kind == "coefficient"
        return self.nodes[value.index - len(self.leaves)].op == "const"

    def program(self, outputs: Iterable[tuple[str, Value]]) -> Program:
        """Close the trace: keep the nodes that the outputs need, in written order."""
        named = [(name, value.index) for name, value in outputs]
        base = len(self.leaves)
        needed: set[int] = set()
        stack = [index for _, index in named]
        while stack:
            index = stack.pop()
            if index >= base and index not in needed:
                needed.add(index)
                stack.extend(self.nodes[index - base].args)
        place = {index: index for index in range(base)}
        kept: list[Node] = []
        for index in sorted(needed):
            node = self.nodes[index - base]
            place[index] = base + len(kept)
            kept.append(Node(node.op, tuple(place[a] for a in node.args), node.dtype, node.constant))
        order = sorted(needed)
        rounds = tuple(bisect_left(order, base + at) for at in self.rounds)
        return Program(self.leaves, tuple(kept), tuple((n, place[i]) for n, i in named), self.derivative, rounds)


class Value:
    """A number that records what is done with it instead of doing it."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, recorder: Recorder, index: int, dtype: str) -> None:
        self.recorder, self.index, self.dtype = recorder, index, dtype

    def _lift(self, other: object) -> Value:
        """Turn a literal into a value of this one's type; refuse everything else."""
        if isinstance(other, Value):
            if other.recorder is not self.recorder:
                _refuse("a value of another trace is used here; use only the arguments of this step.")
            return other
        if isinstance(other, bool) or not isinstance(other, (int, float)):
            _refuse(f"{type(other).__name__} cannot be used in a step; use numbers and the step's own arguments.")
        if self.dtype == INT and not isinstance(other, int):
            _refuse(f"{other!r} meets an integer counter; use an integer.")
        return self.recorder.constant(other, FLOAT if self.dtype == BOOL else self.dtype)

    def _binary(self, op: str, left: Value, right: Value) -> Value:
        if left.dtype != right.dtype or left.dtype == BOOL:
            _refuse(
                f"{op} of {left.dtype} and {right.dtype}; both must be float or both integer, "
                "use where(...) to convert."
            )
        if op == "div" and left.dtype == INT:
            _refuse("integer counters cannot be divided.")
        if self.recorder.is_fixed(left) and self.recorder.is_fixed(right):
            _refuse(f"{op} of two constants; compute it once, in float64, in coefficients(dt).")
        return self.recorder.record(op, left.dtype, left, right)

    def __add__(self, other: Value | float) -> Value:
        return self._binary("add", self, self._lift(other))

    def __radd__(self, other: float) -> Value:
        return self._binary("add", self._lift(other), self)

    def __sub__(self, other: Value | float) -> Value:
        return self._binary("sub", self, self._lift(other))

    def __rsub__(self, other: float) -> Value:
        return self._binary("sub", self._lift(other), self)

    def __mul__(self, other: Value | float) -> Value:
        return self._binary("mul", self, self._lift(other))

    def __rmul__(self, other: float) -> Value:
        return self._binary("mul", self._lift(other), self)

    def __truediv__(self, other: Value | float) -> Value:
        return self._binary("div", self, self._lift(other))

    def __rtruediv__(self, other: float) -> Value:
        return self._binary("div", self._lift(other), self)

    def __neg__(self) -> Value:
        if self.dtype != FLOAT or self.recorder.is_fixed(self):
            _refuse("negation works on float values that change; negate constants in coefficients(dt).")
        return self.recorder.record("neg", FLOAT, self)

    def _compare(self, op: str, other: object) -> Value:
        right = self._lift(other)
        if self.dtype != right.dtype or self.dtype == BOOL:
            _refuse(f"comparison of {self.dtype} and {right.dtype}.")
        return self.recorder.record(op, BOOL, self, right)

    def __lt__(self, other: object) -> Value:
        return self._compare("lt", other)

    def __le__(self, other: object) -> Value:
        return self._compare("le", other)

    def __gt__(self, other: object) -> Value:
        return self._compare("gt", other)

    def __ge__(self, other: object) -> Value:
        return self._compare("ge", other)

    def __eq__(self, other: object) -> Value:  # type: ignore[override]
        return self._compare("eq", other)

    def __ne__(self, other: object) -> Value:  # type: ignore[override]
        return self._compare("ne", other)

    def __and__(self, other: Value) -> Value:
        return self._logical("and", other)

    def __or__(self, other: Value) -> Value:
        return self._logical("or", other)

    def _logical(self, op: str, other: object) -> Value:
        if self.dtype != BOOL or not isinstance(other, Value) or other.dtype != BOOL:
            _refuse("& and | join comparisons; put each comparison in parentheses.")
        return self.recorder.record(op, BOOL, self, self._lift(other))

    def __bool__(self) -> bool:
        _refuse(
            "a Python condition (if, and, or, min, max, chained comparison) on a traced value; "
            "use where(condition, a, b)."
        )

    def __float__(self) -> float:
        _refuse(
            "a traced value cannot become a Python number (math.exp, numpy, float); "
            "use exp, where, minimum, maximum of spikeframe.neurons."
        )

    __int__ = __index__ = __complex__ = __float__

    def __array_ufunc__(self, ufunc: Any, *_: Any, **__: Any) -> NoReturn:
        _refuse(
            f"numpy.{ufunc.__name__} cannot be traced; "
            "use + - * /, where, minimum, maximum, exp, spike of spikeframe.neurons."
        )

    @classmethod
    def __torch_function__(cls, function: Any, *_: Any, **__: Any) -> NoReturn:
        name = getattr(function, "__name__", function)
        _refuse(
            f"torch.{name} cannot be traced; use + - * /, where, minimum, maximum, exp, spike of spikeframe.neurons."
        )

    def __iter__(self) -> NoReturn:
        _refuse("a traced value is one number; it cannot be iterated or unpacked.")

    def __pow__(self, other: object) -> Value:
        _refuse("** is not available; write the product out.")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        _refuse(f"a traced value has no attribute {name!r}; use + - * /, where, minimum, maximum, exp, spike.")


def _recorder(*values: object) -> Value:
    for value in values:
        if isinstance(value, Value):
            return value
    _refuse("no traced value among the arguments; compute constants in coefficients(dt).")


def where(condition: Value, a: Value | float, b: Value | float) -> Value:
    """Select `a` where the condition holds (or a spike is non-zero) and `b` elsewhere; both sides are evaluated."""
    first = _recorder(condition)
    recorder = first.recorder
    if condition.dtype == FLOAT:
        condition = condition != 0.0
    if condition.dtype != BOOL:
        _refuse("the condition of where must be a comparison or a spike.")
    if not isinstance(a, Value) and not isinstance(b, Value):
        both_int = all(isinstance(v, int) and not isinstance(v, bool) for v in (a, b))
        a = recorder.constant(a, INT if both_int else FLOAT)
        b = recorder.constant(b, INT if both_int else FLOAT)
    known = a if isinstance(a, Value) else _recorder(b)
    a, b = known._lift(a), known._lift(b)
    if a.dtype != b.dtype or a.dtype == BOOL:
        _refuse(f"where selects between {a.dtype} and {b.dtype}; both must be float or both integer.")
    return recorder.record("where", a.dtype, condition, a, b)


def minimum(a: Value | float, b: Value | float) -> Value:
    """Take the smaller of two values; NaN if either is NaN."""
    known = _recorder(a, b)
    return known._binary("minimum", known._lift(a), known._lift(b))


def maximum(a: Value | float, b: Value | float) -> Value:
    """Take the larger of two values; NaN if either is NaN."""
    known = _recorder(a, b)
    return known._binary("maximum", known._lift(a), known._lift(b))


def exp(a: Value) -> Value:
    """Exponential by one polynomial that every provider evaluates alike (at most 2 ulp off)."""
    known = _recorder(a)
    if known.dtype != FLOAT or known.recorder.is_fixed(known):
        _refuse("exp works on float values that change; exponentials of constants belong in coefficients(dt).")
    return known.recorder.record("exp", FLOAT, known)


def spike(u: Value) -> Value:
    """Heaviside step: 1.0 where ``u >= 0``, else 0.0; its derivative is the neuron's surrogate."""
    known = _recorder(u)
    if known.dtype != FLOAT:
        _refuse("spike works on a float value, e.g. spike(v - c.v_th).")
    if known.recorder.soft:
        return known.recorder.constant(1.0, FLOAT) / (1.0 + exp(-known))
    return known.recorder.record("spike", FLOAT, known)


def begin_round(a: Value) -> None:
    """Note that a round of a part that a step repeats begins here, or that the last one has ended.

    Where rounds turn out alike, kernels are generated with a loop, and compile as fast for many as for few.

    Args:
        a: any value of the step.
    """
    a.recorder.rounds.append(len(a.recorder.nodes))


def detach(a: Value) -> Value:
    """Use a value without sending a gradient through it; for states between calls see `learning_rules.detached`."""
    if not isinstance(a, Value):
        _refuse(
            "detach works on the values of a step; a state that a call returned is cut off by "
            "spikeframe.learning_rules.detached(state)."
        )
    known = _recorder(a)
    return known.recorder.record("detach", known.dtype, known)


class Names:
    """Attribute access to named values; a misspelt name is an error with suggestions."""

    def __init__(self, kind: str, values: Mapping[str, Any]) -> None:
        self.__dict__["_kind"] = kind
        self.__dict__["_values"] = dict(values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise unknown_name(self._kind, name, self._values) from None

    def __setattr__(self, name: str, value: object) -> NoReturn:
        _refuse(f"assignment to {self._kind} {name!r}; return the new states as a dict instead.")


def trace(
    step: Callable[..., tuple[Value, Mapping[str, Value | float]]],
    inputs: Sequence[str],
    states: Mapping[str, str],
    coefficients: Mapping[str, str],
    derivative: Derivative | None = None,
    soft: bool = False,
) -> Program:
    """Record one call of ``step(x, s, c)``.

    Args:
        step: takes the inputs (one value, or `Names` if there are several), the states and the coefficients as
            `Names`; returns the output and a dict of new states.
        inputs: names of the inputs.
        states: state name to type, ``"float"`` or ``"int"``.
        coefficients: coefficient name to type.
        derivative: surrogate for the derivative of `spike`, itself written in traced operations.
        soft: replace every `spike` by the logistic function, for checks with finite differences.

    Returns:
        The traced program; its outputs are ``"out"`` and every state name.

    Raises:
        TraceError: the step uses something that cannot be traced; the message names the line.
    """
    names = [*inputs, *states, *coefficients]
    if twice := sorted({name for name in names if names.count(name) > 1} | ({"out"} & set(states))):
        raise TraceError(
            f"{step.__qualname__}: the name {twice[0]!r} stands for two things (inputs: {list(inputs)}, "
            f"states: {list(states)}, coefficients: {list(coefficients)}; 'out' is the output); rename one."
        )
    leaves = [Leaf("input", name) for name in inputs]
    leaves += [Leaf("state", name, dtype) for name, dtype in states.items()]
    leaves += [Leaf("coefficient", name, dtype) for name, dtype in coefficients.items()]
    recorder = Recorder(leaves, derivative, soft)
    values = {kind: {} for kind in ("input", "state", "coefficient")}  # type: dict[str, dict[str, Value]]
    for index, leaf in enumerate(leaves):
        values[leaf.kind][leaf.name] = recorder.leaf(index)
    x = values["input"][inputs[0]] if len(inputs) == 1 else Names("input", values["input"])
    result = step(x, Names("state", values["state"]), Names("coefficient", values["coefficient"]))
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping)):
        raise TraceError(
            f"{step.__qualname__} must return (output, {{state: new value}}), got {type(result).__name__}."
        )
    out, new_states = result
    if not isinstance(out, Value) or out.dtype != FLOAT:
        raise TraceError(f"{step.__qualname__} must return a traced float as output, got {type(out).__name__}.")
    for name in new_states:
        if name not in states:
            raise unknown_name("state", name, states)
    outputs = [("out", out)]
    for name, dtype in states.items():
        if name not in new_states:
            raise TraceError(f"{step.__qualname__} returns no new value for state {name!r}.")
        value = values["state"][name]._lift(new_states[name])
        if value.dtype != dtype:
            raise TraceError(f"{step.__qualname__} returns a {value.dtype} for state {name!r}, which is {dtype}.")
        outputs.append((name, value))
    return recorder.program(outputs)
