"""A feed-forward network that a torch model describes, as the event-driven run takes it."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import frexp, prod
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spikeframe.core.encoding import Frames, Recordings, from_frames, from_recordings
from spikeframe.core.snapping import Snapped, check_bits, snap
from spikeframe.core.wiring import Connection, connection
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
from spikeframe.neurons import Neuron, Sequential, SumPool2d

WEIGHTED = (nn.Linear, nn.Conv2d)
POOLING = (nn.AvgPool2d, SumPool2d)
IGNORED = (nn.Dropout, nn.Dropout2d, nn.Identity)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_KNOWN = [*WEIGHTED, *POOLING, nn.Flatten, *NORMS, *IGNORED, nn.Sequential]


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of neurons with the connection that leads into it.

    Attributes:
        name: path of the neuron layer in the model.
        neuron: the neuron layer.
        shape: shape of its neurons, e.g. ``(16, 8, 8)``.
        connection: synapses from the layer before, or from the input.
        synapse_names: paths of the layers that make up the connection.
    """

    name: str
    neuron: Neuron
    shape: tuple[int, ...]
    connection: Connection
    synapse_names: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of neurons."""
        return prod(self.shape)

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
        return chain.Layer(
            name=self.name,
            synapses=self.connection.synapses,
            program=self.neuron.program(),
            waits=self.neuron.waiting_program(),
            coefficients=found,
            bias=self.connection.bias,
        )


@dataclass(frozen=True, eq=False)
class FeedForward:
    """A feed-forward spiking network, ready for the event-driven run; `Network.from_module` makes one.

    Attributes:
        populations: in order from input to output.
        input_shape: shape of one step's input, e.g. ``(2, 34, 34)``.
        input_max: largest magnitude of an input count for which sums are exact.
        dt: time step, ms.
        module: the torch model it is bit-identical to: batch norm folded, weights on their grid, in evaluation mode.
        snapping: per weight layer, how far its weights moved.
    """

    populations: tuple[Layer, ...]
    input_shape: tuple[int, ...]
    input_max: int
    dt: float
    module: nn.Module = field(repr=False)
    snapping: dict[str, Snapped]

    @classmethod
    def from_module(
        cls, model: nn.Module, input_shape: tuple[int, ...], input_max: int = 16, weight_bits: int | None = None
    ) -> FeedForward:
        """Read a feed-forward torch model: a chain of Linear, Conv2d, pooling, Flatten, Dropout, batch norm, neurons.

        Structured and sparse layers of `spikeframe.modules.structured` run as the dense matrix that they stand for.

        Batch norm is folded into the layer before it and weights are rounded to a power-of-two grid, on a copy
        (`module`): on it the event-driven run and the torch forward give the same bits. The model stays as it is.

        Args:
            model: `spikeframe.neurons.Sequential` or `nn.Sequential` of known layers, nested as you like.
            input_shape: shape of one step's input without time and batch, e.g. ``(2, 34, 34)``.
            input_max: largest magnitude of an input count; larger ones make the weight grid coarser.
            weight_bits: most bits of a weight, sign included, 2 to 16: fewer move weights farther (`snapping`) and
                run faster, 8 at half the memory traffic of 16. None takes all that exact sums allow.

        Returns:
            The network.

        Raises:
            ParameterError: `input_max` or `weight_bits` is out of range.
            UnsupportedLayerError: a layer the core does not know, named with those it knows.
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
        _check_leaves(list(_leaves(_over_time(model))))
        module = _over_time(copy.deepcopy(model)).float().eval().requires_grad_(False)
        layers, folded = _fold_norms(module, list(_leaves(module)))
        input_shape = tuple(int(n) for n in input_shape)
        shape, order, largest = input_shape, None, float(input_max)
        populations: list[Layer] = []
        snapping: dict[str, Snapped] = {}
        pending: list[tuple[str, nn.Module]] = []
        for name, layer in layers:
            if isinstance(layer, Neuron):
                _check_folded(pending, shape, folded)
                moved, grid = _snap_chain(pending, largest, name, weight_bits)
                snapping |= moved
                link = connection(pending, shape, order, grid, name)
                populations.append(Layer(name, layer, link.shape, link, tuple(n for n, _ in pending)))
                shape, order, largest, pending = link.shape, link.order, 1.0, []
            elif not isinstance(layer, IGNORED):
                pending.append((name, layer))
        _check_chain(populations, pending)
        return cls(tuple(populations), input_shape, input_max, _common_dt(populations), module, snapping)

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


def _leaves(model: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of nested Sequentials in order, with their paths."""
    if isinstance(model, nn.Sequential):
        for name, child in model._modules.items():
            if child is not None:
                yield from _leaves(child, f"{path}.{name}" if path else name)
    elif isinstance(model, Neuron) or type(model) in (*WEIGHTED, *POOLING, nn.Flatten, *NORMS, *IGNORED):
        if isinstance(model, Neuron) and list(model.receptors) != ["input"]:
            raise UnsupportedLayerError(
                f"{path or 'the model'}: a neuron with named receptors {list(model.receptors)}; "
                "a chain feeds one receptor."
            )
        yield path or type(model).__name__.lower(), model
    else:
        known = ", ".join(k.__name__ for k in _KNOWN)
        raise UnsupportedLayerError(
            f"{path or 'the model'}: {type(model).__name__} is not known to the event-driven core. Known: {known} "
            "and every neuron of spikeframe.neurons, in (nested) Sequentials."
        )


def _check_leaves(layers: list[tuple[str, nn.Module]]) -> None:
    """Refuse layers that stand in two places, or that compute something other than their weights say."""
    first: dict[int, str] = {}
    for name, layer in layers:
        if isinstance(layer, (Neuron, *WEIGHTED, *NORMS)) and first.setdefault(id(layer), name) != name:
            raise UnsupportedLayerError(
                f"{name}: the same layer as {first[id(layer)]}; give each place a copy of its own."
            )
        if isinstance(layer, WEIGHTED) and (
            layer._forward_hooks or layer._forward_pre_hooks or hasattr(layer, "parametrizations")
        ):
            raise UnsupportedLayerError(
                f"{name}: {type(layer).__name__} has forward hooks or parametrizations, so its weights are not all "
                "it does; make them permanent first (remove_parametrizations, prune.remove)."
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
        return Sequential(
            OrderedDict((name, _over_time(child)) for name, child in model._modules.items() if child is not None)
        )
    return model


def _check_folded(pending: list[tuple[str, nn.Module]], shape: tuple[int, ...], folded: set[str]) -> None:
    """A norm behind a Linear works on its outputs only where these are the first axis after the batch."""
    axes = len(shape)
    for name, layer in pending:
        if isinstance(layer, nn.Flatten):
            axes = 1
        if isinstance(layer, nn.Linear) and name in folded and axes != 1:
            raise UnsupportedLayerError(
                f"{name}: a Linear with batch norm behind it must have flat inputs to be folded."
            )


def _fold_norms(module: nn.Module, layers: list[tuple[str, nn.Module]]) -> tuple[list[tuple[str, nn.Module]], set[str]]:
    """Fold every batch norm into the Linear or Conv2d before it, put an Identity in its place; return who took one."""
    kept: list[tuple[str, nn.Module]] = []
    folded: set[str] = set()
    for name, layer in layers:
        if not isinstance(layer, NORMS):
            kept.append((name, layer))
            continue
        before = next((item for item in reversed(kept) if not isinstance(item[1], IGNORED)), None)
        kind = nn.Linear if isinstance(layer, nn.BatchNorm1d) else nn.Conv2d
        if before is None or not isinstance(before[1], kind) or before[1].weight.shape[0] != layer.num_features:
            raise UnsupportedLayerError(
                f"{name}: batch norm can only be folded into a Linear (BatchNorm1d) or Conv2d (BatchNorm2d) with as "
                "many outputs right before it."
            )
        folded.add(before[0])
        if layer.running_mean is None or layer.running_var is None:
            raise UnsupportedLayerError(f"{name}: batch norm without running statistics cannot be folded.")
        target = before[1]
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
        parent, _, leaf = name.rpartition(".")
        setattr(module.get_submodule(parent), leaf, nn.Identity())
    return kept, folded


def _snap_chain(
    pending: list[tuple[str, nn.Module]], largest: float, population: str, bits: int | None
) -> tuple[dict[str, Snapped], float]:
    """Snap the weights of one connection in place; return what moved and the grid its sums lie on.

    Pooling adds up patches and then divides: sums before the weights grow by the patch, and so do those behind them.
    """
    areas, divisors, weighted = [1.0, 1.0], [1.0, 1.0], None  # before and behind the weights
    for name, layer in pending:
        if isinstance(layer, WEIGHTED):
            weighted = (name, layer)
        elif isinstance(layer, POOLING):
            side = layer.kernel_size
            area = prod(side) if isinstance(side, tuple) else side * side
            behind = weighted is not None
            areas[behind] *= area
            divisors[behind] *= _divisor(name, layer, area)
    grid = 1.0 / (divisors[0] * divisors[1])
    if frexp(grid)[0] != 0.5:
        raise ExactnessError(f"{population}: pooling divides by {1 / grid:g}, which is no power of two; use SumPool2d.")
    if weighted is None:
        if largest * areas[0] >= 2**24:
            raise ExactnessError(
                f"{population}: pooled counts of up to {largest:g} can pass 2^24; use a smaller input_max."
            )
        return {}, grid
    name, layer = weighted
    bias = None if layer.bias is None else layer.bias.data
    value, finest = largest * areas[0] / divisors[0], 1.0 / divisors[0]
    weight, moved, report = snap(
        layer.weight.data, bias, bits=bits, largest=value, finest=finest, gain=areas[1], where=name
    )
    layer.weight.data = weight
    if moved is not None and layer.bias is not None:
        layer.bias.data = moved
    return {name: report}, grid * report.step


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


def _check_chain(populations: list[Layer], pending: list[tuple[str, nn.Module]]) -> None:
    if not populations:
        raise ConfigError("The model has no neuron layer; the event-driven core runs spiking networks.")
    if pending:
        raise UnsupportedLayerError(
            f"{pending[-1][0]}: the model ends in {type(pending[-1][1]).__name__} without neurons after it; "
            "end it in a neuron layer, e.g. neurons.LI as a readout."
        )
    for population in populations[:-1]:
        if not population.neuron.spiking:
            raise UnsupportedLayerError(
                f"{population.name}: {type(population.neuron).__name__} gives graded values; only the last layer may."
            )


def _common_dt(populations: list[Layer]) -> float:
    found = {p.neuron.dt for p in populations}
    if len(found) != 1 or None in found:
        listed = ", ".join(f"{p.name}: {p.neuron.dt}" for p in populations)
        raise TimeGridError(f"All neuron layers need the same dt (ms); got {listed}.")
    return float(next(iter(found)) or 0.0)
