"""A torch model as a graph: neurons, and the linear layers on every path that leads to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from spikeframe.errors import ShapeError, SpikeframeError, UnsupportedLayerError
from spikeframe.kernels.chain import INPUT
from spikeframe.neurons import (
    Delay,
    GraphNetwork,
    Neuron,
    PaddedSumPool2d,
    Recurrent,
    Scale,
    StackedAffine,
    SumPool2d,
)
from spikeframe.neurons.sequential import in_order, refuse_own_forward

Shape = tuple[int, ...]
Named = tuple[tuple[str, nn.Module], ...]
WEIGHTED = (nn.Linear, nn.Conv2d, nn.Conv1d, Scale, StackedAffine)
POOLING = (nn.AvgPool2d, SumPool2d, PaddedSumPool2d)
IGNORED = (nn.Dropout, nn.Dropout2d, nn.Identity)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_LAYERS = (*WEIGHTED, *POOLING, nn.Flatten, *NORMS, *IGNORED, Delay)
_KNOWN = [*_LAYERS, Recurrent, nn.Sequential, GraphNetwork]
#: Paths to one layer of neurons; a graph with more has branches within branches that are not worth it.
_MOST_PATHS = 4096


@dataclass(eq=False)
class Node:
    """A layer, or neurons, with what leads into it.

    Attributes:
        name: path in the model.
        layer: what it computes; the sum of what arrives comes in.
        sources: nodes before it, or `INPUT`, and 1 where their output of the step before is meant, else 0.
    """

    name: str
    layer: nn.Module
    sources: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Path:
    """One way from neurons, or from the input, to neurons.

    Attributes:
        source: node it starts at, or `INPUT`.
        delay: steps.
        layers: the linear layers on it, by name.
    """

    source: int
    delay: int
    layers: Named


class Mask(nn.Module):
    """The elements with one of several delays.

    Args:
        kept: 1 where an element passes, else 0.
    """

    def __init__(self, kept: Tensor) -> None:
        super().__init__()
        self.kept = kept

    def forward(self, x: Tensor) -> Tensor:
        """Return what passes.

        Args:
            x: ``[B, ...]``.
        """
        return x * self.kept


class Graph:
    """The nodes of a model in the order of evaluation.

    Args:
        model: `Sequential` and `GraphNetwork` of known layers, nested as you like.

    Attributes:
        nodes: the nodes.
        outputs: the name of each output, and the nodes whose values add up to it.

    Raises:
        UnsupportedLayerError: a layer the core does not know.
    """

    def __init__(self, model: nn.Module) -> None:
        self.nodes: list[Node] = []
        self.outputs: list[tuple[str, list[int]]] = []
        leaving = self._visit(model, "", [(INPUT, 0)])
        if not self.outputs:
            self.outputs = [("", [a for a, _ in leaving])]

    @property
    def neurons(self) -> list[int]:
        """The nodes that are neurons."""
        return [i for i, node in enumerate(self.nodes) if isinstance(node.layer, Neuron)]

    def _add(self, name: str, layer: nn.Module, sources: list[tuple[int, int]]) -> list[tuple[int, int]]:
        self.nodes.append(Node(name, layer, sources))
        return [(len(self.nodes) - 1, 0)]

    def _visit(self, layer: nn.Module, path: str, arriving: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Add what a module consists of; return where its output comes from."""
        name = path or type(layer).__name__.lower()
        if isinstance(layer, nn.Sequential):
            for key, child in in_order(layer, name):
                arriving = self._visit(child, f"{path}.{key}" if path else key, arriving)
            return arriving
        if isinstance(layer, (GraphNetwork, Recurrent, Neuron)):
            refuse_own_forward(layer, name)
        if isinstance(layer, GraphNetwork):
            return self._graph(layer, path, arriving)
        if isinstance(layer, Recurrent):
            ((weights, _),) = self._add(f"{name}.weight", layer.recurrence(), [(len(self.nodes) + 1, 1)])
            return self._visit_neuron(layer.neuron, name, [*arriving, (weights, 0)])
        if isinstance(layer, Neuron):
            return self._visit_neuron(layer, name, arriving)
        if type(layer) in _LAYERS:
            return self._add(name, layer, arriving)
        known, kind = ", ".join(known.__name__ for known in _KNOWN), type(layer)
        named = f"{kind.__module__}.{kind.__name__}" if kind.__name__ in known else kind.__name__
        made_plain = " Make it plain first, by torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight')."
        raise UnsupportedLayerError(
            f"{path or 'the model'}: {named} is not known to the event-driven core."
            f"{made_plain if is_parametrized(layer) else ''} Known: {known} and every neuron of spikeframe.neurons, in "
            "(nested) Sequentials and graphs."
        )

    def _visit_neuron(self, layer: Neuron, name: str, arriving: list[tuple[int, int]]) -> list[tuple[int, int]]:
        if list(layer.receptors) != ["input"]:
            raise UnsupportedLayerError(
                f"{name}: a neuron with named receptors {list(layer.receptors)}; a torch model feeds one receptor."
            )
        return self._add(name, layer, arriving)

    def _graph(self, model: GraphNetwork, path: str, arriving: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Add the nodes of a graph; edges that lead back are joined when all are there."""
        if len(model.inputs) != 1 or (path and len(model.outputs) != 1):
            raise UnsupportedLayerError(
                f"{path or 'the model'}: a graph with inputs {model.inputs} and outputs {model.outputs}; the "
                "event-driven core takes one input, and several outputs only of the whole model."
            )
        entered: dict[str, list[tuple[int, int]]] = {}
        place: dict[str, int] = {}
        for name in model.order:
            own = f"{path}.{name}" if path else name
            sources = list(arriving) if name in model.inputs else []
            sources += [(place[a], 0) for a in model.sources[name]]
            ((joint, _),) = self._add(own, nn.Identity(), sources)
            entered[name] = self.nodes[joint].sources
            left = self._visit(model.layer(name), own, [(joint, 0)])
            place[name] = left[0][0] if len(left) == 1 else self._add(own, nn.Identity(), left)[0][0]
        for name, late in model.late.items():
            entered[name] += [(place[a], 1) for a in late]
        if not path:
            self.outputs = [(name, [place[name]]) for name in model.outputs]
        return [(place[name], 0) for name in model.outputs]

    def paths(self, target: int) -> list[Path]:
        """Return every way to a node from neurons or the input, with only linear layers between.

        Args:
            target: the node.
        """
        found: list[Path] = []
        for source, late in self.nodes[target].sources:
            for path in self._back(source, late, (), frozenset()):
                found.append(path)
                if len(found) > _MOST_PATHS:
                    raise UnsupportedLayerError(
                        f"{self.nodes[target].name}: more than {_MOST_PATHS} ways lead there; merge its branches."
                    )
        return found

    def paths_from(self, node: int) -> list[Path]:
        """Return every way that ends at the output of a node.

        Args:
            node: the node, or `INPUT`.
        """
        return list(self._back(node, 0, (), frozenset()))

    def _back(self, at: int, delay: int, behind: Named, seen: frozenset[int]) -> Iterator[Path]:
        if at == INPUT or isinstance(self.nodes[at].layer, Neuron):
            yield Path(at, delay, behind)
            return
        node = self.nodes[at]
        if at in seen:
            raise UnsupportedLayerError(
                f"{node.name}: stands in a loop without neurons, which no event ends; the core runs loops of neurons."
            )
        layer: Any = node.layer
        steps: list[tuple[int, Named]] = [(0, ((node.name, layer), *behind))]
        if isinstance(layer, IGNORED):
            steps = [(0, behind)]
        elif isinstance(layer, Delay) and layer.steps.ndim == 0:
            steps = [(int(layer.steps), behind)]
        elif isinstance(layer, Delay):
            each = sorted(set(layer.steps.flatten().tolist()))
            steps = [(d, ((node.name, Mask((layer.steps == d).float())), *behind)) for d in each]
        for source, late in node.sources:
            for more, layers in steps:
                yield from self._back(source, delay + late + more, layers, seen | {at})

    def silent(self, shape: Shape) -> list[Tensor]:
        """Return what each node gives in silence, ``[1, ...]``; by the way, the shapes of all.

        Args:
            shape: of one step's input.

        Raises:
            ShapeError: a layer does not take what arrives.
            UnsupportedLayerError: a bias goes through a delay, so that it would not act from the first step on.
        """
        found: dict[int, Tensor] = {INPUT: torch.zeros((1, *shape))}
        order = range(len(self.nodes))
        for _ in range(2 + sum(late for node in self.nodes for _, late in node.sources)):
            for i in order:
                found |= self._given(i, [found[a] for a, _ in self.nodes[i].sources if a in found])
        return [found[i] for i in order]

    def _given(self, i: int, arriving: list[Tensor]) -> dict[int, Tensor]:
        """Return what one node gives in silence, if anything that arrives is known."""
        if not arriving:
            return {}
        node = self.nodes[i]
        try:
            if len({a.shape for a in arriving}) > 1:
                raise ShapeError(
                    f"{node.name}: what arrives has different shapes {[tuple(a.shape[1:]) for a in arriving]}."
                )
            x = sum(arriving[1:], arriving[0])
            if isinstance(node.layer, Neuron):
                return {i: torch.zeros_like(x)}
            if isinstance(node.layer, Delay):
                if bool((x != 0).any()):
                    raise UnsupportedLayerError(
                        f"{node.name}: a bias before a delay acts only from some step on; put the delay before the "
                        "layer with the bias."
                    )
                return {i: node.layer(x[None])[0][0]}
            with torch.no_grad():
                return {i: node.layer(x)}
        except (RuntimeError, IndexError, ValueError) as error:
            if isinstance(error, SpikeframeError):
                raise
            sizes = ", ".join(str(tuple(a.shape[1:])) for a in arriving)
            raise ShapeError(f"{node.name}: {type(node.layer).__name__} does not take {sizes}: {error}") from None
