"""Steps with rounds (`spikeframe.kernels.rounds`) in Numba: what a round hands on stays in small arrays.

A loop over rounds within that over neurons would not vectorise. So a block of neurons does the first round's beginning,
then every round, then the rest, each in a loop over its neurons; same operations, same bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from spikeframe.kernels.emit import NUMBA, spelled, statements
from spikeframe.kernels.rounds import Rounds
from spikeframe.kernels.trace import BOOL, FLOAT, INT, Program

#: Neurons of a block: all that they hand on stays in the first cache.
BLOCK = 128
_KIND = {FLOAT: "F", INT: "I", BOOL: "np.bool_"}


@intrinsic
def _held(typing, kind):  # type: ignore[no-untyped-def]
    """``[BLOCK]`` numbers on the stack, as generated code makes no arrays of its own."""
    array = types.Array(kind.dtype, 1, "C")

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        each = context.get_data_type(array.dtype)
        data = cgutils.alloca_once(builder, each, size=context.get_constant(types.intp, BLOCK))  # type: ignore[no-untyped-call]
        made = context.make_array(array)(context, builder)
        itemsize = context.get_constant(types.intp, context.get_abi_sizeof(each))
        shape = [context.get_constant(types.intp, BLOCK)]
        parts = {"shape": shape, "strides": [itemsize], "itemsize": itemsize, "meminfo": None}
        populate_array(made, data=data, **parts)  # type: ignore[no-untyped-call]
        return made._getvalue()

    return array(kind), build


# Called from compiled code, where the context argument is not given.
held: Any = _held


def in_rounds(
    program: Program, found: Rounds, reads: Mapping[int, list[str]], last: list[str], uses: Iterable[int], width: str
) -> list[str]:
    """Return the statements that do a step for `width` neurons ``j``, at most `BLOCK`.

    Args:
        program: a traced step.
        found: its rounds.
        reads: for every leaf that needs it, the statements that read its value of neuron ``j``.
        last: what comes behind the step's own statements, for each neuron.
        uses: the value indices that `last` uses.
        width: how many neurons.
    """
    base, lines = len(program.leaves), statements(program, NUMBA)
    kinds = [leaf.dtype for leaf in program.leaves] + [node.dtype for node in program.nodes]
    fixed = [i for i in range(found.begin) if program.nodes[i].op == "const"]
    later = [*found.second, *range(found.end, len(program.nodes))]
    wanted = {a for i in later for a in program.nodes[i].args} | set(uses)
    ready = [base + i for i in range(found.begin) if i not in fixed and base + i in wanted]

    def loop(nodes: Iterable[int], start: list[str], end: list[str], also: Iterable[int], kept: list[int]) -> list[str]:
        used = {a for i in nodes for a in program.nodes[i].args} | set(also)
        body = [line for leaf, read in reads.items() if leaf in used for line in read]
        body += [lines[i] for i in fixed if base + i in used]
        body += [f"{spelled(program, v)} = held_{spelled(program, v)}[j]" for v in kept if v in used]
        return [f"for j in range({width}):", *_indented([*body, *start, *(lines[i] for i in nodes), *end] or ["pass"])]

    handed = {c: spelled(program, c.first) for c in found.carried}
    starts = {name: c.start for c, name in handed.items() if c.start is not None}
    arrays = {spelled(program, v): v for v in ready} | {name: c.first for c, name in handed.items()}
    save = [f"held_{spelled(program, v)}[j] = {spelled(program, v)}" for v in ready]
    save += [f"held_{name}[j] = {spelled(program, v)}" for name, v in starts.items()]
    before = [i for i in range(found.begin) if i not in fixed]
    take = [f"{name} = held_{name}[j]" for name in starts]
    leave = [f"held_{name}[j] = {spelled(program, c.second)}" for c, name in handed.items()]
    result = [f"{spelled(program, c.last)} = held_{name}[j]" for c, name in handed.items()]
    return [
        *(f"held_{name} = held({_KIND[kinds[v]]})" for name, v in arrays.items()),
        *loop(before, [], save, starts.values(), []),
        f"for _ in range({found.count}):",
        *_indented(loop(found.second, take, leave, [], ready)),
        *loop(range(found.end, len(program.nodes)), result, last, uses, ready),
    ]


def _indented(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]
