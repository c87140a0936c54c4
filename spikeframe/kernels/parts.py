"""The order in which the nodes of a graph with loops can run."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)


def parts(order: Sequence[Name], edges: Sequence[tuple[Name, Name]]) -> list[list[Name]]:
    """Return the nodes in an order in which every loop is one part, and parts only look back.

    Args:
        order: the nodes; within a loop they stay in it.
        edges: pairs of nodes.
    """
    onward: dict[Name, set[Name]] = {name: {b for a, b in edges if a == name} for name in order}
    reach: dict[Name, set[Name]] = {}
    for name in order:
        seen, front = set[Name](), set(onward[name])
        while front:
            seen |= front
            front = {b for a in front for b in onward[a]} - seen
        reach[name] = seen
    found: list[list[Name]] = []
    for name in order:
        if not any(name in part for part in found):
            found.append([other for other in order if other == name or (other in reach[name] and name in reach[other])])
    done: list[list[Name]] = []
    while found:  # a part is ready when everything that leads to it is done
        ready = next(
            part
            for part in found
            if not any(other is not part and any(part[0] in reach[a] for a in other) for other in found)
        )
        found.remove(ready)
        done.append(ready)
    return done
