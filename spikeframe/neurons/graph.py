"""Layers and neurons joined as a graph, with branches and loops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spikeframe.errors import ShapeError, unknown_name
from spikeframe.kernels.parts import parts
from spikeframe.neurons.neuron import HALF, Neuron
from spikeframe.neurons.sequential import Sequential
from spikeframe.neurons.temporal import Temporal


class GraphState(NamedTuple):
    """State of a `GraphNetwork`.

    Attributes:
        nodes: per node with a state, what it returned.
        past: per node whose output goes back in the graph, its last output ``[B, ...]``.
    """

    nodes: dict[str, Any]
    past: dict[str, Tensor]


class GraphNetwork(Temporal):
    """Layers and neurons joined as a graph, called as ``out, state = net(x, state)``.

    Nodes are evaluated in the given order; what several nodes send to one is added. An edge from a node to itself or to
    an earlier one carries the output of the step before (in the first: what the node gives in silence). Parts without
    such edges run over all steps at once, loops step by step.

    Args:
        layers: node to layer, in the order of evaluation; inputs and outputs are `torch.nn.Identity`.
        edges: pairs of nodes.
        inputs: the nodes that take x.
        outputs: the nodes whose values are returned.

    Raises:
        UnknownNameError: an edge, input or output names no node.
    """

    TYPES = (*Temporal.TYPES, *HALF)

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        edges: Sequence[tuple[str, str]],
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> None:
        super().__init__()
        for name in (*(end for edge in edges for end in edge), *inputs, *outputs):
            if name not in layers:
                raise unknown_name("node", name, layers)
        self.order = list(layers)
        self.layers = nn.ModuleList(layers.values())
        self.inputs, self.outputs = list(inputs), list(outputs)
        place = {name: k for k, name in enumerate(self.order)}
        self.edges = list(edges)
        self.sources = {name: [a for a, b in edges if b == name and place[a] < place[name]] for name in self.order}
        self.late = {name: [a for a, b in edges if b == name and place[a] >= place[name]] for name in self.order}
        self.parts = parts(self.order, edges)

    def layer(self, name: str) -> nn.Module:
        """Return the layer of a node.

        Args:
            name: the node.
        """
        return self.layers[self.order.index(name)]

    def forward(self, x: Tensor | Mapping[str, Tensor], state: GraphState | None = None) -> tuple[Any, GraphState]:
        """Run over time.

        Args:
            x: ``[T, B, ...]``; with several inputs one for each, by name.
            state: as an earlier call returned it, or None.

        Returns:
            ``[T, B, ...]`` (with several outputs one for each, by name), and the final state.

        Raises:
            ShapeError: no input for a node, or another number of steps.
            DTypeError, NonFiniteError: an input is not usable.
        """
        values = self._given(x)
        nodes, before = self._started(values, state)
        late = self._late()
        steps = next(iter(values.values())).shape[0]
        for part in self.parts:
            if not steps or not self._loops(part):
                for name in part:
                    self._evaluate(name, values, before, nodes)
                continue
            rows: dict[str, list[Tensor]] = {name: [] for name in part}
            outside = {a for name in part for a in (name, *self.sources[name], *self.late[name]) if a in values}
            past = dict(before)
            for t in range(steps):
                now = {name: values[name][t : t + 1] for name in outside}
                for name in part:
                    self._evaluate(name, now, past, nodes)
                    rows[name].append(now[name])
                past |= {a: now[a][0] for name in part for a in self.late[name]}
            values |= {name: torch.cat(found) for name, found in rows.items()}
        out = {name: values[name] for name in self.outputs}
        after = {a: values[a][-1] for a in late} if steps else before
        return (out if len(out) > 1 else out[self.outputs[0]]), GraphState(nodes, after)

    def started(self, x: Tensor | Mapping[str, Tensor], state: GraphState | None = None) -> GraphState:
        """Return the state that a call with these arguments starts from, complete.

        Args:
            x: as in a call.
            state: as in a call.

        Raises:
            ShapeError, DTypeError, NonFiniteError: as in a call.
        """
        return self._started(self._given(x), state)

    def visits(self, steps: int) -> Iterator[str]:
        """Yield the nodes in the order in which a call evaluates them, those of a loop once a step.

        Args:
            steps: of the input, at least 1.
        """
        for part in self.parts:
            for _ in range(steps if self._loops(part) else 1):
                yield from part

    def _given(self, x: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the inputs by node, or refuse them."""
        given = dict(x) if isinstance(x, Mapping) else dict.fromkeys(self.inputs[:1], x)
        if list(given) != self.inputs and set(given) != set(self.inputs):
            raise ShapeError(f"GraphNetwork: inputs {sorted(given)} were given; it has {self.inputs}.")
        values = {name: self._checked(value) for name, value in given.items()}
        if len({value.shape[:2] for value in values.values()}) > 1:
            raise ShapeError("GraphNetwork: all inputs must have the same number of steps and samples.")
        return values

    def _late(self) -> set[str]:
        """Return the nodes whose output goes back."""
        return {a for found in self.late.values() for a in found}

    def _loops(self, part: list[str]) -> bool:
        """Whether nodes run step by step."""
        return len(part) > 1 or bool(self.late[part[0]])

    def _started(self, values: dict[str, Tensor], state: GraphState | None) -> GraphState:
        """Return the state at the start; at first, what goes back is what the nodes give in silence."""
        nodes, before = ({}, {}) if state is None else (dict(state.nodes), dict(state.past))
        if not (late := self._late()) <= set(before):
            rest = self.silence({name: torch.zeros_like(value[:1]) for name, value in values.items()})
            before |= {a: rest[a][0] for a in late}
        return GraphState(nodes, before)

    def silence(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what every node puts out while nobody spikes, ``[1, B, ...]``.

        Args:
            given: what comes in by node, ``[1, B, ...]``: zeros, or what silence is before the graph.
        """
        rest: dict[str, Tensor] = {}
        for _ in range(1 + sum(map(bool, self.late.values()))):  # until what goes back has gone round
            for name in self.order:
                arriving = [given[name]] if name in given else []
                arriving += [rest[a] for a in (*self.sources[name], *self.late[name]) if a in rest]
                if arriving:
                    rest[name] = _silent(self.layer(name), sum(arriving[1:], arriving[0]))
        return rest

    def _evaluate(self, name: str, values: dict[str, Tensor], past: dict[str, Tensor], nodes: dict[str, Any]) -> None:
        """Compute one node's values ``[T, B, ...]`` from those before it."""
        arriving = [values[name]] if name in values else []
        arriving += [values[a] for a in self.sources[name]] + [past[a][None] for a in self.late[name] if a in past]
        x = sum(arriving[1:], arriving[0])
        layer = self.layer(name)
        if isinstance(layer, (Neuron, Sequential, Temporal)):
            values[name], nodes[name] = layer(x, nodes.get(name))
        else:
            values[name] = _stateless(layer, x)


def _stateless(layer: nn.Module, x: Tensor) -> Tensor:
    """Return what a layer without state makes of ``[T, B, ...]``."""
    found: Tensor = layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])
    return found


def _silent(layer: nn.Module, x: Tensor) -> Tensor:
    """Return what a layer makes of ``[1, B, ...]`` while nobody spikes."""
    if isinstance(layer, Sequential):
        for part in layer:
            x = _silent(part, x)
        return x
    if isinstance(layer, GraphNetwork):
        return layer.silence(dict.fromkeys(layer.inputs[:1], x))[layer.outputs[0]]
    return torch.zeros_like(x) if isinstance(layer, (Neuron, Temporal)) else _stateless(layer, x)
