"""A network that a torch model describes, a chain or a graph with loops, as the event-driven run takes it."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import frexp, prod
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spikeframe.core.encoding import Frames, Recordings, from_frames, from_recordings
from spikeframe.core.graph import IGNORED, NORMS, POOLING, WEIGHTED, Graph, Path
from spikeframe.core.snapping import Snapped, Term, check_bits, snap_sums
from spikeframe.core.wiring import Connection, Way, connection, own_order
from spikeframe.errors import (
    ConfigError,
    DTypeError,
    ExactnessError,
    ParameterError,
    ShapeError,
    TimeGridError,
    UnsupportedLayerError,
)
from spikeframe.kernels import chain
from spikeframe.neurons import Neuron, Scale, Sequential, StackedAffine
from spikeframe.neurons.definition import OutputGrid
from spikeframe.neurons.sequential import in_order


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of neurons with the synapses that lead to it.

    Attributes:
        name: path of the neuron layer in the model.
        neuron: the neuron layer.
        shape: shape of its neurons, e.g. ``(16, 8, 8)``.
        connection: synapses from other layers, from itself, and from the input.
        bias: ``[neurons]`` in the population's own order, or None.
    """

    name: str
    neuron: Neuron
    shape: tuple[int, ...]
    connection: Connection
    bias: NDArray[np.float32] | None

    @property
    def size(self) -> int:
        """Number of neurons."""
        return prod(self.shape)

    @property
    def threshold(self) -> float | None:
        """The neurons' threshold, if they have one and the same."""
        if "v_th" not in self.neuron.PARAMETERS:
            return None
        values = self.neuron.on_host("v_th").numpy().ravel()
        return float(values[0]) if (values == values[0]).all() else None

    def plan(self, dt: float) -> chain.Layer:
        """Return what the kernels need.

        Args:
            dt: time step, ms.
        """
        found: dict[str, NDArray[np.generic]] = {}
        for name, value in self.neuron.cast(dt, torch.float32, self.shape).items():
            array = (
                value.detach().reshape(-1).numpy()
                if value.ndim
                else np.asarray(value.detach().item(), value.detach().numpy().dtype)
            )
            found[name] = self.connection.to_own_order(array) if value.ndim else array
        grid = self.neuron.output_grid()
        return chain.Layer(
            name=self.name,
            links=self.connection.links,
            program=self.neuron.program(),
            waits=self.neuron.waiting_program(),
            coefficients=found,
            bias=self.bias,
            unit=None if grid is None else grid[1],
            window=self.neuron.window is not None,
        )


@dataclass(frozen=True, eq=False)
class FeedForward:
    """A torch model of layers and neurons, ready for the event-driven run; `Network.from_module` makes one.

    Attributes:
        populations: in order from input to output.
        input_shape: shape of one step's input, e.g. ``(2, 34, 34)``.
        input_max: largest magnitude of an input count for which sums are exact.
        dt: time step, ms.
        module: the torch model it is bit-identical to: batch norm folded, weights on their grid, in evaluation mode.
        snapping: per weight layer, how far its weights moved.
        outputs: per output of the model, the populations whose values add up to it.
    """

    populations: tuple[Layer, ...]
    input_shape: tuple[int, ...]
    input_max: int
    dt: float
    module: nn.Module = field(repr=False)
    snapping: dict[str, Snapped]
    outputs: dict[str, tuple[int, ...]]

    @classmethod
    def from_module(
        cls, model: nn.Module, input_shape: tuple[int, ...], input_max: int = 16, weight_bits: int | None = None
    ) -> FeedForward:
        """Read a torch model of linear layers and neurons: a chain, or a graph with branches, sums and loops.

        Known are Linear, Conv1d, Conv2d, pooling, Flatten, Dropout, batch norm, element-wise scales, delays, neurons
        and `Recurrent` ones, in Sequentials and `GraphNetwork`. What an edge that closes a loop carries arrives one
        step later. Structured and sparse layers of `spikeframe.modules.structured` run as the dense matrix that they
        stand for.

        Batch norm is folded into the layer before it and weights are rounded to a power-of-two grid, on a copy
        (`module`), on the CPU: on it the event-driven run and the torch forward give the same bits. The model stays as
        it is.

        Args:
            model: `Sequential`, `nn.Sequential` or `GraphNetwork` of known layers, nested as you like.
            input_shape: shape of one step's input without time and batch, e.g. ``(2, 34, 34)``.
            input_max: largest magnitude of an input count; larger ones make the weight grid coarser.
            weight_bits: most bits of a weight, sign included, 2 to 16: fewer move weights farther (`snapping`) and
                run faster, 8 at half the memory traffic of 16. None takes all that exact sums allow.

        Returns:
            The network.

        Raises:
            ParameterError: `input_max` or `weight_bits` is out of range.
            UnsupportedLayerError: a layer the core does not know, named with those it knows; two weight layers without
                neurons between them; graded values that go on; a loop without neurons.
            NonFiniteError: a weight is NaN or infinite.
            ExactnessError: sums cannot be made exact, e.g. after average pooling by 3.
            TimeGridError: neurons without dt, or with different ones.
        """
        if isinstance(input_max, bool) or not isinstance(input_max, int) or not 1 <= input_max < 2**23:
            raise ParameterError(f"input_max={input_max!r}: must be a whole number from 1 to {2**23 - 1}.")
        check_bits(weight_bits, "weight_bits")
        if (
            not isinstance(input_shape, (tuple, list, torch.Size))
            or not input_shape
            or not all(map(_is_size, input_shape))
        ):
            raise ShapeError(f"input_shape={input_shape!r}: must be positive sizes, e.g. (2, 34, 34).")
        if not isinstance(model, nn.Module):
            raise DTypeError(f"Network.from_module takes a torch module, got {type(model).__name__}.")
        input_shape = tuple(int(n) for n in input_shape)
        _check_layers(Graph(_over_time(model)))
        module = _over_time(copy.deepcopy(model)).cpu().float().eval().requires_grad_(False)
        graph = Graph(module)
        folded = _fold_norms(module, graph)
        shapes = [tuple(x.shape[1:]) for x in graph.silent(input_shape)]
        _check_folded(graph, shapes, folded)
        neurons = {i: k for k, i in enumerate(graph.neurons)}
        paths = {i: graph.paths(i) for i in neurons}
        outputs = _outputs(graph, neurons)
        terms = [_terms(graph, i, paths[i], input_max) for i in neurons]
        moved, grids = snap_sums(terms, weight_bits)
        _put(paths, moved)
        silent = graph.silent(input_shape)
        entered = {**dict(enumerate(shapes)), chain.INPUT: input_shape}
        orders = {
            i: own_order([list(p.layers) for p in paths[i]], [entered[p.source] for p in paths[i]], shapes[i])
            for i in neurons
        }
        populations: list[Layer] = []
        for i, grid in zip(neurons, grids, strict=True):
            ways = [
                Way(neurons.get(p.source, chain.INPUT), p.delay, list(p.layers), entered[p.source],
                    orders.get(p.source), _grid(graph, p.source, input_max).unit)
                for p in paths[i]
            ]  # fmt: skip
            link = connection(ways, shapes[i], orders[i], grid)
            neuron: Any = graph.nodes[i].layer
            populations.append(Layer(graph.nodes[i].name, neuron, shapes[i], link, _bias(graph, i, link, silent)))
        snapping = {name: report for name, (_, _, report) in moved.items()}
        return cls(tuple(populations), input_shape, input_max, _common_dt(populations), module, snapping, outputs)

    @cached_property
    def plan(self) -> list[chain.Layer]:
        """What the kernels need, one entry per population."""
        return [population.plan(self.dt) for population in self.populations]

    def encode(self, inputs: Frames | Recordings, steps: int | None = None) -> chain.Events:
        """Turn frames or event recordings into what `Simulator.run` takes.

        Args:
            inputs: ``[T, B, ...]`` whole counts, or a list of recordings (structured arrays with x, y, t in µs, p).
            steps: number of time steps, for recordings.

        Returns:
            The events on the network's time grid.

        Raises:
            ShapeError, DTypeError, NonFiniteError, ExactnessError, EventError, TimeGridError: they do not fit.
        """
        if isinstance(inputs, (list, tuple)):
            if steps is None:
                raise ParameterError("recordings need steps=..., the number of time steps of the run.")
            return from_recordings(inputs, self.input_shape, self.input_max, self.dt, steps)
        return from_frames(inputs, self.input_shape, self.input_max)


def _is_size(n: object) -> bool:
    """Whether a value is a positive whole number."""
    return not isinstance(n, bool) and isinstance(n, Integral) and int(n) >= 1


def _check_layers(graph: Graph) -> None:
    """Refuse layers that stand in two places, or that compute something other than their weights say."""
    first: dict[int, str] = {}
    for node in graph.nodes:
        layer = node.layer
        if isinstance(layer, (Neuron, *WEIGHTED, *NORMS)) and first.setdefault(id(layer), node.name) != node.name:
            raise UnsupportedLayerError(
                f"{node.name}: the same layer as {first[id(layer)]}; give each place a copy of its own."
            )
        if isinstance(layer, WEIGHTED) and (
            layer._forward_hooks or layer._forward_pre_hooks or hasattr(layer, "parametrizations")
        ):
            raise UnsupportedLayerError(
                f"{node.name}: {type(layer).__name__} has forward hooks or parametrizations, so its weights are not "
                "all it does; make them permanent first (remove_parametrizations, prune.remove)."
            )


def _over_time(model: nn.Module) -> nn.Module:
    """Return the model as a Sequential of ours, which takes ``[T, B, ...]``; its layers stay the same objects.

    Structured layers (`spikeframe.modules.structured`) become the dense ones that they stand for.
    """
    to_linear: Any = getattr(model, "to_linear", None)
    if to_linear is not None:
        linear: nn.Module = to_linear()
        return linear
    if isinstance(model, nn.Sequential):
        return Sequential(OrderedDict((name, _over_time(child)) for name, child in in_order(model)))
    return model


def _fold_norms(module: nn.Module, graph: Graph) -> set[int]:
    """Fold every batch norm into the Linear or Conv2d before it, put an Identity in its place; return who took one."""
    folded: set[int] = set()
    for node in graph.nodes:
        layer = node.layer
        if not isinstance(layer, NORMS):
            continue
        at, nodes = node.sources[0][0] if len(node.sources) == 1 else chain.INPUT, graph.nodes
        while at != chain.INPUT and isinstance(nodes[at].layer, IGNORED) and len(nodes[at].sources) == 1:
            at = nodes[at].sources[0][0]
        target: Any = None if at == chain.INPUT else nodes[at].layer
        kind = nn.Linear if isinstance(layer, nn.BatchNorm1d) else nn.Conv2d
        alone = sum(source == at for other in nodes for source, _ in other.sources) == 1
        if not isinstance(target, kind) or not alone or target.weight.shape[0] != layer.num_features:
            raise UnsupportedLayerError(
                f"{node.name}: batch norm can only be folded into a Linear (BatchNorm1d) or Conv2d (BatchNorm2d) with "
                "as many outputs right before it."
            )
        if layer.running_mean is None or layer.running_var is None:
            raise UnsupportedLayerError(f"{node.name}: batch norm without running statistics cannot be folded.")
        scale = (1.0 if layer.weight is None else layer.weight.double()) / torch.sqrt(
            layer.running_var.double() + layer.eps
        )
        offset = 0.0 if layer.bias is None else layer.bias.double()
        bias = (
            torch.zeros_like(layer.running_mean, dtype=torch.float64) if target.bias is None else target.bias.double()
        )
        weight = target.weight.double() * scale.reshape(-1, *[1] * (target.weight.ndim - 1))
        target.weight = nn.Parameter(weight.float(), requires_grad=False)
        target.bias = nn.Parameter(((bias - layer.running_mean.double()) * scale + offset).float(), requires_grad=False)
        folded.add(at)
        node.layer = nn.Identity()
        for parent in module.modules():
            for key, child in parent._modules.items():
                if child is layer:
                    parent._modules[key] = node.layer
    return folded


def _check_folded(graph: Graph, shapes: list[tuple[int, ...]], folded: set[int]) -> None:
    """A norm behind a Linear works on its outputs only where these are the first axis after the batch."""
    for i in folded:
        if isinstance(graph.nodes[i].layer, nn.Linear) and len(shapes[i]) != 1:
            raise UnsupportedLayerError(
                f"{graph.nodes[i].name}: a Linear with batch norm behind it must have flat inputs to be folded."
            )


def _grid(graph: Graph, source: int, input_max: int) -> OutputGrid:
    """Return what a source sends."""
    if source == chain.INPUT:
        return OutputGrid(float(input_max), 1.0)
    node = graph.nodes[source]
    neuron: Any = node.layer
    found: OutputGrid | None = neuron.output_grid()
    if found is None:
        raise UnsupportedLayerError(
            f"{node.name}: {type(neuron).__name__} gives graded values; only the last layer may."
        )
    return found


def _terms(graph: Graph, i: int, paths: list[Path], input_max: int) -> list[Term]:
    """Return what adds up at one layer of neurons, in a step or over its window."""
    node = graph.nodes[i]
    neuron: Any = node.layer
    steps: int = neuron.window or 1
    found = []
    for path in paths:
        grid = _grid(graph, path.source, input_max)
        if neuron.window and path.delay:
            raise UnsupportedLayerError(
                f"{node.name}: {type(neuron).__name__} takes whole windows; it can stand in no loop, behind no delay."
            )
        largest = grid.together if neuron.window and grid.together else grid.largest * steps
        found.append(replace(_term(path, largest, grid.unit, node.name), steps=steps))
    return found


def _term(path: Path, largest: float, unit: float, population: str) -> Term:
    """Return what one path adds to the sums of a population.

    Pooling adds up patches and then divides: sums before the weights grow by the patch, and so do those behind them.
    """
    areas, divisors, weighted = [1.0, 1.0], [1.0, 1.0], None  # before and behind the weights
    for name, layer in path.layers:
        if isinstance(layer, WEIGHTED):
            if weighted is not None:
                raise UnsupportedLayerError(
                    f"{name}: two weight layers without neurons between them ({weighted[0]} before); put neurons "
                    "between."
                )
            weighted = (name, layer)
        elif isinstance(layer, POOLING):
            side = layer.kernel_size
            area = prod(side) if isinstance(side, tuple) else side * side
            behind = weighted is not None
            areas[behind] *= area
            divisors[behind] *= _divisor(name, layer, area)
    if frexp(divisors[0] * divisors[1])[0] != 0.5:
        total = divisors[0] * divisors[1]
        raise ExactnessError(f"{population}: pooling divides by {total:g}, which is no power of two; use SumPool2d.")
    if weighted is None:
        if largest * areas[0] >= 2**24 * unit:
            raise ExactnessError(
                f"{population}: pooled counts of up to {largest:g} can pass 2^24; use a smaller input_max."
            )
        return Term(population, None, None, largest * areas[0], unit, 1.0, divisors[0])
    name, layer = weighted
    rows, bias = _rows(layer)
    return Term(name, rows, bias, largest * areas[0] / divisors[0], unit / divisors[0], areas[1], divisors[1])


def _rows(layer: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the weights of a layer, one row an output, and its bias."""
    if isinstance(layer, Scale):
        return layer.scale.data.reshape(-1, 1), None
    if isinstance(layer, StackedAffine):
        return layer.weight.data.flatten(0, -2), None if layer.bias is None else layer.bias.data.flatten()
    return layer.weight.data, None if layer.bias is None else layer.bias.data


def _put(paths: dict[int, list[Path]], moved: dict[str, Any]) -> None:
    """Give the layers their weights on the grid."""
    for name, layer in {item for found in paths.values() for path in found for item in path.layers}:
        if not isinstance(layer, WEIGHTED):
            continue
        weight, bias, _ = moved[name]
        if isinstance(layer, Scale):
            layer.scale.data = weight.reshape(layer.scale.shape)
            continue
        layer.weight.data = weight.reshape(layer.weight.shape)
        if layer.bias is not None:
            layer.bias.data = bias.reshape(layer.bias.shape)


def _bias(graph: Graph, i: int, link: Connection, silent: list[torch.Tensor]) -> NDArray[np.float32] | None:
    """Return what biases add to the input of neurons at every step (over a window, all at once)."""
    arriving = [silent[a] for a, _ in graph.nodes[i].sources if a != chain.INPUT]
    total = sum(arriving[1:], arriving[0]) if arriving else torch.zeros(1)
    if not bool((total != 0).any()):
        return None
    neuron: Any = graph.nodes[i].layer
    whole: NDArray[np.float32] = (total * (neuron.window or 1)).reshape(-1).numpy().astype(np.float32)
    return link.to_own_order(whole)


def _outputs(graph: Graph, neurons: dict[int, int]) -> dict[str, tuple[int, ...]]:
    """Return the populations that each output of the model adds up."""
    if not neurons:
        raise ConfigError("The model has no neuron layer; the event-driven core runs spiking networks.")
    found: dict[str, tuple[int, ...]] = {}
    for name, sources in graph.outputs:
        paths = [path for source in sources for path in graph.paths_from(source)]
        for path in paths:
            if path.layers or path.delay or path.source == chain.INPUT:
                last = path.layers[-1][0] if path.layers else name
                kind = type(path.layers[-1][1]).__name__ if path.layers else "its input or a delay"
                raise UnsupportedLayerError(
                    f"{last}: the model ends in {kind} without neurons after it; end it in a neuron layer, e.g. "
                    "neurons.LI as a readout."
                )
        found[name] = tuple(neurons[path.source] for path in paths)
    return found


def _divisor(name: str, layer: nn.Module, area: float) -> float:
    """Return what a pooling layer divides its sums by, the same at every place."""
    if not isinstance(layer, nn.AvgPool2d):
        return 1.0
    if layer.divisor_override:
        return float(layer.divisor_override)
    if layer.ceil_mode or (layer.padding not in (0, (0, 0)) and not layer.count_include_pad):
        raise ExactnessError(
            f"{name}: the average divides by other numbers at the border; use SumPool2d or divisor_override."
        )
    return float(area)


def _common_dt(populations: list[Layer]) -> float:
    found = {p.neuron.dt for p in populations}
    if len(found) != 1 or None in found:
        listed = ", ".join(f"{p.name}: {p.neuron.dt}" for p in populations)
        raise TimeGridError(f"All neuron layers need the same dt (ms); got {listed}.")
    return float(next(iter(found)) or 0.0)
