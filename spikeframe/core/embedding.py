"""A torch model as populations and projections of a described network."""

from __future__ import annotations

import copy
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from spikeframe.core.feedforward import FeedForward
from spikeframe.core.network import Network, Population
from spikeframe.core.rules import Pairs
from spikeframe.core.synapses import Weights
from spikeframe.errors import DTypeError, ParameterError, ShapeError, TimeGridError, UnsupportedLayerError
from spikeframe.kernels.chain import INPUT
from spikeframe.kernels.synapses import Lists, Rows, Stencil, Synapses
from spikeframe.neurons import Neuron
from spikeframe.neurons.parameters import Parametric

Longs = NDArray[np.int64]


def embed(
    network: Network, model: FeedForward | nn.Module, name: str, source: Population,
    input_shape: tuple[int, ...] | None = None, delay: float | None = None,
) -> list[Population]:  # fmt: skip
    """Add the layers of a torch model to a network.

    Each layer becomes a population whose neurons are numbered as torch's flat index does, each connection a list of
    pairs: whatever a Linear, a convolution or pooling connects with a weight that is not 0. Batch norm is folded,
    weights and biases lie on the model's exact grid, so spikes and membranes are those of the model's own run on the
    same events. (What else is connected to a layer's receptor leaves that grid as it is only if its weights are numbers
    or distributions, or lie on a power-of-two grid themselves.)

    Args:
        network: what to add to.
        model: what `Network.from_module` gave, or a torch model that it takes.
        name: of the model; its populations are named ``<name>.<layer>``.
        source: population whose spikes enter the model, one neuron for each of its inputs in torch's order; several
            spikes of a neuron in a step are a count, as `SpikeSource.from_events` makes them.
        input_shape: for a torch model, the shape of one step's input.
        delay: of every layer, ms. Not given: spikes pass all layers within a step (`Network.same_step`), as in torch.
            With a delay, layer k lags by k delays; biases act from the first step on all the same.

    Returns:
        The populations, from the first layer to the last.

    Raises:
        DTypeError: the model is neither.
        ShapeError: the source has not as many neurons as the model has inputs, or input_shape is missing.
        ParameterError: a name is taken.
        TimeGridError: the delay is no positive number.
        UnsupportedLayerError, ExactnessError: a layer cannot be taken; see `FeedForward.from_module`.
    """
    if not isinstance(model, (FeedForward, nn.Module)):
        raise DTypeError(f"add({name!r}): takes a torch model or what from_module gave, not {type(model).__name__}.")
    if isinstance(model, nn.Module):
        if input_shape is None:
            raise ShapeError(f"add({name!r}): give the shape of one step's input, e.g. input_shape=(2, 34, 34).")
        model = FeedForward.from_module(model, input_shape)
    if source.size != prod(model.input_shape):
        raise ShapeError(
            f"add({name!r}): {source.name!r} has {source.size} neurons, the model {model.input_shape} inputs."
        )
    if delay is not None and (
        isinstance(delay, bool) or not isinstance(delay, (int, float, np.number)) or not 0 < delay < 1e12
    ):
        raise TimeGridError(f"add({name!r}, delay={delay!r}): must be a positive number of milliseconds, or None.")
    for layer in model.populations:
        if f"{name}.{layer.name.replace('/', '.')}" in network.populations:
            raise ParameterError(f"add({name!r}): there is a population {name}.{layer.name} already; use another name.")
    made: list[Population] = []
    for layer in model.populations:
        if layer.neuron.window or (not layer.neuron.spiking and layer.neuron.output_grid()):
            raise UnsupportedLayerError(
                f"add({name!r}): {layer.name} sends counts or takes whole windows ({type(layer.neuron).__name__}); "
                "synapses of a described network carry single spikes. Run the model by itself (Network.from_module)."
            )
        bias = None
        if layer.bias is not None:
            bias = np.empty(layer.size)
            bias[np.arange(layer.size) if layer.connection.order is None else layer.connection.order] = layer.bias
        neurons = _flat(layer.neuron, layer.shape)
        made.append(network.population(f"{name}.{layer.name.replace('/', '.')}", layer.size, neurons, bias=bias))
    for link in synapses(model):
        before, rule = (
            source if link.source == INPUT else made[link.source],
            Pairs(link.weights.source, link.weights.target),
        )
        lag = link.delay * model.dt + (delay or 0.0)
        if lag:
            network.connect(before, made[link.target], rule, weight=link.weights.weight, delay=lag)
        else:
            network.same_step(before, made[link.target], rule, weight=link.weights.weight)
    return made


class Joined(NamedTuple):
    """What joins two populations of a torch model.

    Attributes:
        source: place of the sending population, or `INPUT`.
        target: place of the receiving one.
        delay: steps.
        weights: every synapse whose weight is not 0; neurons are numbered as torch's flat index does.
    """

    source: int
    target: int
    delay: int
    weights: Weights


def synapses(model: FeedForward) -> list[Joined]:
    """Return the synapses of a torch model.

    Args:
        model: what `Network.from_module` gave.
    """
    found = []
    for k, layer in enumerate(model.populations):
        for link in layer.connection.links:
            order = None if link.source == INPUT else model.populations[link.source].connection.order
            source, target, weight = pairs(link.synapses)
            ids = layer.connection.to_torch_order(target.astype(np.int32))
            own = Weights(source if order is None else order[source], ids, weight)
            found.append(Joined(link.source, k, link.delay, own))
    return found


def _flat(neuron: Neuron, shape: tuple[int, ...]) -> Neuron:
    """Return a copy whose per-neuron parameters are one list."""
    own = copy.deepcopy(neuron)
    for part in own.modules():
        if isinstance(part, Parametric):
            for held in (part._buffers, part._parameters):
                for key, value in held.items():
                    if value is not None and value.ndim:
                        spread = value.detach().expand(shape).reshape(-1).clone()
                        held[key] = nn.Parameter(spread) if isinstance(value, nn.Parameter) else spread  # type: ignore[assignment]
    return own


def pairs(synapses: Synapses) -> tuple[Longs, Longs, NDArray[np.float64]]:
    """Return source, target and weight of every synapse whose weight is not 0.

    Args:
        synapses: of a layer, in any of its forms.
    """
    whole: Any
    if isinstance(synapses, Rows):
        alive = np.flatnonzero(synapses.row >= 0)
        spread = synapses.weight[synapses.row[alive]]
        rows, target = np.nonzero(spread)
        source, whole = alive[rows], spread[rows, target]
    elif isinstance(synapses, Lists):
        source = np.repeat(np.arange(synapses.start.size - 1), np.diff(synapses.start))
        target, whole = synapses.target.astype(np.int64), synapses.weight
    else:
        source, target, whole = _stencil(synapses)
    kept = whole != 0
    return source[kept], target[kept], whole[kept].astype(np.float64) * float(synapses.scale)


def _stencil(s: Stencil) -> tuple[Longs, Longs, Any]:
    """Return all synapses of a convolution, tap by tap."""
    channels = s.weight.shape[3]
    found: list[tuple[Longs, Longs, Any]] = []
    for ky in range(s.weight.shape[1]):
        oy, left_y = np.divmod(s.y.astype(np.int64) + s.padding[0] - ky * s.dilation[0], s.stride[0])
        for kx in range(s.weight.shape[2]):
            ox, left_x = np.divmod(s.x.astype(np.int64) + s.padding[1] - kx * s.dilation[1], s.stride[1])
            inside = (s.channel >= 0) & (left_y == 0) & (left_x == 0)
            inside &= (oy >= 0) & (oy < s.plane[0]) & (ox >= 0) & (ox < s.plane[1])
            source = np.flatnonzero(inside)
            position = oy[source] * s.plane[1] + ox[source]
            target = position[:, np.newaxis] * channels + np.arange(channels)
            weight = s.weight[s.channel[source], ky, kx]
            found.append((np.repeat(source, channels), target.ravel(), weight.ravel()))
    source, target, weight = (np.concatenate(column) for column in zip(*found, strict=True))
    return source, target, weight
