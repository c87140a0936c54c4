"""Parts of a step that it repeats, found in its trace: what generated code can do in a loop.

A trace has every round written out, which is its meaning. Where the rounds of a program are alike (the substeps of a
numerical integration), each the same nodes over what the round before it left, code need be written for one of them
only, and the time to compile it does not grow with their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from spikeframe.kernels.trace import Node, Program


@dataclass(frozen=True)
class Carried:
    """What a round hands to the next: value indices.

    Attributes:
        start: what the first round finds, or None where no round reads it.
        first: what the first round leaves; its name is used for what every round finds.
        second: what the second round, the one that code is written for, leaves.
        last: what the last round leaves.
    """

    start: int | None
    first: int
    second: int
    last: int


@dataclass(frozen=True)
class Rounds:
    """The rounds of a program.

    Attributes:
        begin: first node of the first round.
        size: nodes of a round.
        count: number of rounds, at least 3: two compile almost as fast written out, and run faster.
        end: one past the last node of the last round.
        carried: what rounds hand on, and what is used after the last.
    """

    begin: int
    size: int
    count: int
    end: int
    carried: tuple[Carried, ...]

    @property
    def second(self) -> range:
        """The nodes of the second round: it finds what every one but the first finds."""
        return range(self.begin + self.size, self.begin + 2 * self.size)


@lru_cache(maxsize=256)
def rounds_of(program: Program) -> Rounds | None:
    """Return the rounds of a program, or None if it has none that are alike.

    Args:
        program: a traced step.
    """
    marks = program.rounds
    if len(marks) < 4 or len({b - a for a, b in pairwise(marks)}) != 1 or marks[0] == marks[1]:
        return None
    begin, size, count = marks[0], marks[1] - marks[0], len(marks) - 1
    base = len(program.leaves)
    handed: dict[int, int] = {}  # place in a round -> what the first round finds instead
    for i in range(begin, begin + size):
        if not _alike(program, i, begin, size, count, handed):
            return None
    later = [a for node in program.nodes[marks[-1] :] for a in node.args] + [a for _, a in program.outputs]
    used = {a - base for a in later if a - base >= begin and a - base < marks[-1]}
    if any(a < marks[-2] for a in used):  # what an earlier round but the last computed
        return None
    places = sorted(handed.keys() | {a - marks[-2] for a in used})
    carried = tuple(Carried(handed.get(p), *(base + begin + p + k * size for k in (0, 1, count - 1))) for p in places)
    return Rounds(begin, size, count, marks[-1], carried)


def _alike(program: Program, i: int, begin: int, size: int, count: int, handed: dict[int, int]) -> bool:
    """Whether node `i` of the first round has its like in every other; note what it finds from the round before."""
    base, nodes = len(program.leaves), program.nodes
    own = [nodes[i + k * size] for k in range(count)]
    if any(_kind(node) != _kind(own[0]) for node in own):
        return False
    for args in zip(*(node.args for node in own), strict=True):
        inside = [a - base - begin - k * size for k, a in enumerate(args)]
        if all(p == inside[0] for p in inside) and inside[0] >= 0:
            continue
        if all(a == args[0] for a in args) and args[0] < base + begin:
            continue
        place = inside[1] + size
        if args[0] >= base + begin or any(p != place - size for p in inside[1:]) or not 0 <= place < size:
            return False
        if handed.setdefault(place, args[0]) != args[0]:
            return False
    return True


def _kind(node: Node) -> tuple[str, str, str | None, int]:
    return node.op, node.dtype, node.constant, len(node.args)
