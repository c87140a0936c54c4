"""A traced step in fewer operations and the same bits.

=============================================  ====================================  =================================
written                                        computed                              the same bits because
=============================================  ====================================  =================================
``spike(v - v_th)``, v_th a coefficient        ``v >= v_th``                         a difference rounds to 0 only if
                                                                                     it is 0 (v_th is finite)
``v * (1 - z) + r * z``, z a spike             ``v + r * 0`` or, after a spike,      products with 0 and 1 are exact
                                               ``fma(v, 0, r)``
``x + input``, input = integer * unit          ``fma(integer, unit, x)``             units are powers of two: exact
=============================================  ====================================  =================================
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from spikeframe.kernels.emit import NUMBA, identifier, spelled, statements
from spikeframe.kernels.trace import Node, Program


@intrinsic
def _fma(typing, a, b, c):  # type: ignore[no-untyped-def]
    """``a * b + c`` rounded once."""
    return a(a, a, a), lambda context, builder, signature, arguments: builder.fma(*arguments)


@intrinsic
def _wide(typing):  # type: ignore[no-untyped-def]
    """Let loops of the calling function use the widest vectors; on some machines LLVM prefers half of that."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), build


# Called from compiled code, where the context argument is not given.
fma: Any = _fma
wide: Any = _wide


def lean_statements(program: Program, scaled: tuple[str, ...]) -> list[str]:
    """Return one line per node, in executable order.

    Args:
        program: the traced step.
        scaled: inputs that are ``whole_<name> * unit_<name>`` without rounding.
    """
    lines = statements(program, NUMBA)
    for i, node in enumerate(program.nodes):
        lines[i] = (
            _compared(program, i, node) or _reset(program, i, node) or _added(program, i, node, scaled) or lines[i]
        )
    return lines


def _node(program: Program, value: int) -> Node | None:
    """Return the node of a value, or None for a leaf."""
    return program.nodes[value - len(program.leaves)] if value >= len(program.leaves) else None


def _compared(program: Program, i: int, node: Node) -> str | None:
    inner = _node(program, node.args[0]) if node.op == "spike" else None
    if inner is None or inner.op != "sub" or _node(program, inner.args[1]) is not None:
        return None
    if program.leaves[inner.args[1]].kind != "coefficient":
        return None
    v, threshold = (spelled(program, a) for a in inner.args)
    return f"n{i} = ONE if {v} >= {threshold} else ZERO"


def _spike(program: Program, value: int) -> bool:
    """Whether a value is a spike, 0 or 1."""
    node = _node(program, value)
    return node is not None and (node.op == "spike" or (node.op == "detach" and _spike(program, node.args[0])))


def _reset(program: Program, i: int, node: Node) -> str | None:
    kept, jump = (_node(program, a) for a in node.args) if node.op == "add" else (None, None)
    if kept is None or jump is None or kept.op != "mul" or jump.op != "mul" or not _spike(program, jump.args[1]):
        return None
    rest, z = _node(program, kept.args[1]), jump.args[1]
    if rest is None or rest.op != "sub" or rest.args[1] != z:
        return None
    one = _node(program, rest.args[0])
    if one is None or one.op != "const" or float(one.constant or 0) != 1.0:
        return None
    v, r, spiked = spelled(program, kept.args[0]), spelled(program, jump.args[0]), spelled(program, z)
    return f"k{i} = {v} + {r} * ZERO; s{i} = fma({v}, ZERO, {r}); n{i} = s{i} if {spiked} != ZERO else k{i}"


def _added(program: Program, i: int, node: Node, scaled: tuple[str, ...]) -> str | None:
    for at, other in (node.args[::-1], node.args) if node.op == "add" else ():
        if _node(program, at) is None and program.leaves[at].name in scaled and other != at:
            name = identifier(program.leaves[at].name)
            return f"n{i} = fma(whole_{name}, unit_{name}, {spelled(program, other)})"
    return None
