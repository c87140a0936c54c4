"""Statements from nodes: one node, one statement, in a dialect's own spelling.

Values are named ``n<i>`` for nodes and by their own names for leaves; every rounding a provider does is one statement.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from spikeframe.kernels.rounds import rounds_of
from spikeframe.kernels.trace import BOOL, FLOAT, INT, Program

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==",
          "ne": "!=", "and": "&", "or": "|"}  # fmt: skip


@dataclass(frozen=True)
class Dialect:
    """How one language spells what is not an infix operator; ``{0}``, ``{1}`` stand for the arguments.

    `whole` wraps arithmetic on counters, which are 32 bits wide everywhere; `assignment` names a value of each type.
    A dialect that spells "reciprocal" takes it for one over something. `loop` opens and closes a loop of so many
    rounds, `variable` makes a value that changes in it, `change` changes that.
    """

    spelling: dict[str, str]
    constant: dict[str, str]
    whole: str = "{0}"
    assignment: dict[str, str] = field(default_factory=lambda: dict.fromkeys((FLOAT, INT, BOOL), "{0} = {1}"))
    loop: tuple[str, ...] = ("for _ in range({0}):",)
    variable: dict[str, str] = field(default_factory=lambda: dict.fromkeys((FLOAT, INT, BOOL), "{0} = {1}"))
    change: str = "{0} = {1}"


NUMBA = Dialect(
    spelling={
        "neg": "-{0}",
        "where": "{1} if {0} else {2}",
        "minimum": "{0} if ({0} < {1}) | ({0} != {0}) else {1}",
        "maximum": "{0} if ({0} > {1}) | ({0} != {0}) else {1}",
        "exp": "exp({0})",
        "spike": "ONE if {0} >= ZERO else ZERO",
        "detach": "{0}",
    },
    constant={FLOAT: "F({0})", INT: "I({0})"},
    whole="I({0})",
)

TORCH = Dialect(
    spelling={
        "neg": "torch.neg({0})",
        "where": "torch.where({0}, {1}, {2})",
        "minimum": "torch.where(({0} < {1}) | ({0} != {0}), {0}, {1})",
        "maximum": "torch.where(({0} > {1}) | ({0} != {0}), {0}, {1})",
        "exp": "exp({0})",
        "spike": "spike({0})",
        "detach": "{0}.detach()",
    },
    constant={FLOAT: "like({0})", INT: "like_int({0})"},
)

CUDA = Dialect(
    spelling={
        "neg": "-{0}",
        "where": "{0} ? {1} : {2}",
        "minimum": "({0} < {1}) | ({0} != {0}) ? {0} : {1}",
        "maximum": "({0} > {1}) | ({0} != {0}) ? {0} : {1}",
        "exp": "shared_exp({0})",
        "spike": "{0} >= F(0) ? F(1) : F(0)",
        "detach": "{0}",
    },
    constant={FLOAT: "F({0})", INT: "I({0})"},
    assignment={FLOAT: "const F {0} = {1};", INT: "const I {0} = {1};", BOOL: "const bool {0} = {1};"},
    loop=("#pragma unroll 1", "for (int lap = 0; lap < {0}; ++lap) {{", "}}"),
    variable={FLOAT: "F {0} = {1};", INT: "I {0} = {1};", BOOL: "bool {0} = {1};"},
    change="{0} = {1};",
)

#: CUDA of a derivative, whose reciprocals need not be exact where they leave the range of normal numbers.
CUDA_DERIVATIVE = replace(CUDA, spelling={**CUDA.spelling, "reciprocal": "reciprocal({1})"})


def identifier(name: str) -> str:
    """Return a leaf's name as an identifier, of Python and C, that no node, loop variable or other leaf can have."""
    plain = name.replace("_", "__").replace(".", "_d_")
    return "a_" + "".join(x if x.isascii() and (x.isalnum() or x == "_") else f"_u{ord(x):x}_" for x in plain)


def spelled(program: Program, index: int) -> str:
    """Return the name of value `index` in generated source."""
    base = len(program.leaves)
    return identifier(program.leaves[index].name) if index < base else f"n{index - base}"


def statements(program: Program, dialect: Dialect) -> list[str]:
    """Return one assignment per node, in executable order."""
    lines = []
    for i, node in enumerate(program.nodes):
        arguments = [spelled(program, a) for a in node.args]
        if node.op == "const":
            text = dialect.constant[node.dtype].format(node.constant)
        elif node.op == "div" and "reciprocal" in dialect.spelling and _is_one(program, node.args[0]):
            text = dialect.spelling["reciprocal"].format(*arguments)
        elif node.op in _INFIX:
            text = f"{arguments[0]} {_INFIX[node.op]} {arguments[1]}"
            text = dialect.whole.format(text) if node.dtype == INT else text
        else:
            text = dialect.spelling[node.op].format(*arguments)
        lines.append(dialect.assignment[node.dtype].format(f"n{i}", text))
    return lines


def looped(program: Program, dialect: Dialect) -> list[str]:
    """Return the statements of a program, with a loop where it has rounds that are alike.

    The names of all values that are used outside the loop are those of `statements`.

    Args:
        program: a traced step.
        dialect: its language.
    """
    lines, found = statements(program, dialect), rounds_of(program)
    if found is None:
        return lines
    kinds = [leaf.dtype for leaf in program.leaves] + [node.dtype for node in program.nodes]
    before, change, after = [], [], []
    for value in found.carried:
        name, kind = spelled(program, value.first), kinds[value.first]
        start = dialect.constant.get(kind, "0").format(0) if value.start is None else spelled(program, value.start)
        before.append(dialect.variable[kind].format(name, start))
        change.append("    " + dialect.change.format(name, spelled(program, value.second)))
        after.append(dialect.assignment[kind].format(spelled(program, value.last), name))
    opening, closing = dialect.loop[: 2 if len(dialect.loop) > 2 else 1], dialect.loop[2:]
    return [
        *lines[: found.begin], *before,
        *(line.format(found.count) for line in opening),
        *("    " + lines[i] for i in found.second), *change,
        *(line.format() for line in closing),
        *after, *lines[found.end :],
    ]  # fmt: skip


def _is_one(program: Program, index: int) -> bool:
    """Whether value `index` is the constant 1."""
    at = index - len(program.leaves)
    return at >= 0 and program.nodes[at].op == "const" and float(program.nodes[at].constant or 0) == 1.0


def result(program: Program, name: str) -> str:
    """Return the source name of one output."""
    return spelled(program, dict(program.outputs)[name])
