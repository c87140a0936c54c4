"""To which population each call of a weight layer belongs, while a model runs.

In a chain that is the population that runs next. In a `GraphNetwork` it is every population that an edge leads to:
what a node leaves over arrives at the nodes behind it, whatever else runs between.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from torch import nn

from spikeframe.neurons import GraphNetwork

Call = TypeVar("Call")


@dataclass
class _Pass(Generic[Call]):
    """A run of a graph: the nodes to come, what has arrived at each, and which population each node began with."""

    graph: GraphNetwork
    nodes: Iterator[str]
    arriving: dict[str, list[Call]]
    now: str | None = None
    leaving: list[Call] = field(default_factory=list)
    first: dict[str, str | None] = field(default_factory=dict)


class Waiting(Generic[Call]):
    """Calls of weight layers that no population has followed yet.

    Attributes:
        calls: those that the next population takes.
        later: populations, and calls that lead to them in a later run, over edges that close loops.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.later: list[tuple[str, list[Call]]] = []
        self._passes: list[_Pass[Call]] = []

    def take(self, population: str) -> list[Call]:
        """Return what leads to a population that has just run.

        Args:
            population: its name.
        """
        for run in self._passes:
            if run.now is not None:
                run.first.setdefault(run.now, population)
        taken, self.calls = self.calls, []
        return taken

    def enter(self, graph: GraphNetwork, steps: int) -> None:
        """Begin a run of a graph.

        Args:
            graph: the graph.
            steps: of its input.
        """
        arriving = {name: list(self.calls) for name in graph.inputs}
        self._passes.append(_Pass(graph, graph.visits(steps), arriving))
        self.calls = []

    def enter_node(self, graph: GraphNetwork) -> None:
        """Begin the next node of a graph, unless a layer of it was called from somewhere else.

        Args:
            graph: the graph.
        """
        run = self._passes[-1] if self._passes else None
        if run is not None and run.graph is graph and run.now is None:
            run.now = next(run.nodes)
            self.calls = run.arriving.pop(run.now, [])

    def leave_node(self, graph: GraphNetwork, layer: nn.Module) -> None:
        """End the node that runs; what it left over goes where its edges lead.

        Args:
            graph: the graph.
            layer: what has run.
        """
        run = self._passes[-1] if self._passes else None
        if run is None or run.graph is not graph or run.now is None or graph.layer(run.now) is not layer:
            return
        name, left = run.now, self.calls
        run.first.setdefault(name, None)
        run.now, self.calls = None, []
        for source, target in graph.edges:
            if source == name:
                _add(run.arriving.setdefault(target, []), left)
        if name in graph.outputs:
            _add(run.leaving, left)

    def leave(self) -> None:
        """End the run of a graph."""
        run = self._passes.pop()
        self.calls = run.leaving
        later: dict[str, list[Call]] = {}
        for name, left in run.arriving.items():
            for population in _populations(run, name):
                _add(later.setdefault(population, []), left)
        self.later += later.items()


def _add(calls: list[Call], more: list[Call]) -> None:
    """Add those that are not there yet: two ways from a layer to a population are one synapse."""
    calls += [call for call in more if not any(call is other for other in calls)]


def _populations(run: _Pass[Call], name: str) -> list[str]:
    """Return the populations that what arrives at a node leads to."""
    found, seen, nodes = dict[str, None](), set[str](), [name]
    while nodes:
        node = nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        population = run.first.get(node)
        if population is None:
            nodes += [b for a, b in run.graph.edges if a == node]
        else:
            found[population] = None
    return list(found)
