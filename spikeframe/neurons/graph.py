"""Layers and neurons joined as a graph, with branches and loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spikeframe.errors import ShapeError, unknown_name
from spikeframe.kernels.parts import parts
from spikeframe.neurons.neuron import HALF, Neuron
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
        given = dict(x) if isinstance(x, Mapping) else dict.fromkeys(self.inputs[:1], x)
        if list(given) != self.inputs and set(given) != set(self.inputs):
            raise ShapeError(f"GraphNetwork: inputs {sorted(given)} were given; it has {self.inputs}.")
        values = {name: self._checked(value) for name, value in given.items()}
        if len({value.shape[:2] for value in values.values()}) > 1:
            raise ShapeError("GraphNetwork: all inputs must have the same number of steps and samples.")
        nodes = {} if state is None else dict(state.nodes)
        before = {} if state is None else dict(state.past)
        late = {a for found in self.late.values() for a in found}
        steps = next(iter(values.values())).shape[0]
        if not late <= set(before):
            rest = self._silence(values)
            before |= {a: rest[a][0] for a in late}
        for part in self.parts:
            if not steps or (len(part) == 1 and not self.late[part[0]]):
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

    def _silence(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return what every node puts out while nothing comes and nobody spikes, ``[1, B, ...]``."""
        rest = {name: torch.zeros_like(given[name][:1]) for name in self.inputs}
        for _ in range(1 + sum(map(bool, self.late.values()))):  # until what goes back has gone round
            for name in self.order:
                arriving = [rest[a] for a in (*self.sources[name], *self.late[name]) if a in rest]
                if arriving:
                    x = sum(arriving[1:], arriving[0])
                    still = isinstance(self.layer(name), (Neuron, Temporal))
                    rest[name] = torch.zeros_like(x) if still else self._apply_layer(name, x)
        return rest

    def _apply_layer(self, name: str, x: Tensor) -> Tensor:
        """Return what a layer without state makes of ``[T, B, ...]``."""
        found: Tensor = self.layer(name)(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return found

    def _evaluate(self, name: str, values: dict[str, Tensor], past: dict[str, Tensor], nodes: dict[str, Any]) -> None:
        """Compute one node's values ``[T, B, ...]`` from those before it."""
        arriving = [values[name]] if name in values else []
        arriving += [values[a] for a in self.sources[name]] + [past[a][None] for a in self.late[name] if a in past]
        x = sum(arriving[1:], arriving[0])
        layer = self.layer(name)
        if isinstance(layer, (Neuron, Temporal)):
            values[name], nodes[name] = layer(x, nodes.get(name))
        else:
            values[name] = self._apply_layer(name, x)
