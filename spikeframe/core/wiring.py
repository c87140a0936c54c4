"""From the torch layers that lead to a population to synapses: whole rows, a convolution's stencil, or lists."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spikeframe.core.layer_matrix import layer_matrix
from spikeframe.kernels.chain import Link
from spikeframe.kernels.synapses import Lists, Rows, Stencil, Synapses, lined, whole
from spikeframe.neurons import SumPool2d

Named = list[tuple[str, nn.Module]]
Order = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Way:
    """Linear layers from a population, or the input, to another population.

    Attributes:
        source: index of the population, or `INPUT`.
        delay: steps.
        layers: names and layers, weights already snapped.
        shape: shape of the source neurons.
        order: the sources' own order (see `Connection`).
        unit: what a count of 1 of the source stands for.
    """

    source: int
    delay: int
    layers: Named
    shape: tuple[int, ...]
    order: Order | None
    unit: float


@dataclass(frozen=True, eq=False)
class Connection:
    """All synapses that lead to a population.

    Attributes:
        links: what the kernels deliver from; targets in the population's own order.
        shape: shape of the target neurons, as torch has them.
        order: torch's flat index of each neuron in the population's own order; None where they are the same.
    """

    links: tuple[Link, ...]
    shape: tuple[int, ...]
    order: Order | None

    def to_own_order(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return per-neuron values, given in torch's order, in the population's own."""
        return values if self.order is None else np.ascontiguousarray(values[..., self.order])

    def to_torch_order(self, neurons: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return torch's flat indices of neurons given in the population's own order."""
        return neurons.astype(np.int64) if self.order is None else self.order[neurons]


def own_order(layers: list[Named], shapes: list[tuple[int, ...]], shape: tuple[int, ...]) -> Order | None:
    """Return the order of a population that is fast to deliver to: channels last where a convolution leads to it.

    Args:
        layers: of each way that leads there.
        shapes: of each way's source.
        shape: of the population.
    """
    able = any(_convolves(own, source, shape) for own, source in zip(layers, shapes, strict=True))
    return _channels_last(shape) if able else None


def connection(ways: list[Way], shape: tuple[int, ...], order: Order | None, grid: float) -> Connection:
    """Build the synapses that lead to a population.

    Args:
        ways: all that lead there.
        shape: shape of the population.
        order: its own order, from `own_order`.
        grid: power of two that what arrives is a multiple of.
    """
    links = []
    for way in ways:
        own = _fast(way, grid / way.unit, shape) or _multiplied(way, grid / way.unit)
        links.append(Link(way.source, way.delay, own if order is None else _reordered(own, order), way.unit))
    return Connection(tuple(links), shape, order)


def _reordered(synapses: Synapses, order: Order) -> Synapses:
    """Return synapses with their targets in another order; those of a convolution have it already."""
    if isinstance(synapses, Rows):
        weight: Any = np.ascontiguousarray(synapses.weight[:, order])
        return replace(synapses, table=lined(weight))
    if isinstance(synapses, Lists):
        place = np.empty(order.size, np.int32)
        place[order] = np.arange(order.size)
        return replace(synapses, target=place[synapses.target])
    return synapses


def out_shape(layers: Named, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that linear layers make of another.

    Args:
        layers: names and layers.
        shape: of what goes in.
    """
    x = torch.zeros((1, *shape))
    for _, layer in layers:
        x = layer(x)
    return tuple(x.shape[1:])


def _channels_last(shape: tuple[int, ...]) -> Order:
    return np.arange(prod(shape)).reshape(shape).transpose(1, 2, 0).reshape(-1).astype(np.int64)


def _pooled(
    layers: Named, shape: tuple[int, ...], order: Order | None
) -> tuple[NDArray[np.int64], tuple[int, ...], float] | None:
    """Follow every source through layers that only merge positions.

    Returns torch's flat index of each source's position after them (-1 if it is cropped), the shape there and the
    factor on its value; None if a layer does more than that.
    """
    place = np.arange(prod(shape)) if order is None else order
    factor = 1.0
    for _, layer in layers:
        if isinstance(layer, nn.Flatten):
            shape = tuple(torch.zeros((1, *shape)).flatten(layer.start_dim, layer.end_dim).shape[1:])
            continue
        geometry = _simple_pool(layer)
        if geometry is None or len(shape) != 3:
            return None
        k, weight = geometry
        factor *= weight
        channels, rows, columns = shape
        pooled = (channels, rows // k, columns // k)
        safe = np.maximum(place, 0)
        c, y, x = np.unravel_index(safe, shape)
        y, x = y // k, x // k
        inside = (place >= 0) & (y < pooled[1]) & (x < pooled[2])
        place = np.where(inside, (c * pooled[1] + y) * pooled[2] + x, -1)
        shape = pooled
    return place.astype(np.int64), shape, factor


def _simple_pool(layer: nn.Module) -> tuple[int, float] | None:
    """Return (side, factor) of a pooling whose patches are square and tile the plane."""

    def square(value: Any) -> int | None:
        sides = set(value) if isinstance(value, tuple) else {value}
        return sides.pop() if len(sides) == 1 else None

    if not isinstance(layer, (nn.AvgPool2d, SumPool2d)):
        return None
    k = square(layer.kernel_size)
    if k is None or square(layer.stride) != k:
        return None
    if isinstance(layer, SumPool2d):
        return k, 1.0
    if square(layer.padding) != 0 or layer.ceil_mode:
        return None
    return k, 1.0 / (layer.divisor_override or k * k)


def _weights(layers: Named) -> int | None:
    """Return the place of the one Linear or Conv2d, if only flattening comes behind it."""
    index = next((i for i, (_, layer) in enumerate(layers) if isinstance(layer, (nn.Linear, nn.Conv2d))), None)
    if index is None or any(not isinstance(layer, nn.Flatten) for _, layer in layers[index + 1 :]):
        return None
    return index


def _convolves(layers: Named, source: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether layers are pooling and then a plain convolution."""
    index = _weights(layers)
    layer = None if index is None else layers[index][1]
    if not isinstance(layer, nn.Conv2d) or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return False
    return len(shape) == 3 and layer.groups == 1 and _pooled(layers[:index], source, None) is not None


def _fast(way: Way, grid: float, shape: tuple[int, ...]) -> Synapses | None:
    """Return whole rows or a stencil where the layers are pooling and then one weight layer."""
    index = _weights(way.layers)
    pooled = None if index is None else _pooled(way.layers[:index], way.shape, way.order)
    if index is None or pooled is None:
        return None
    place, middle, factor = pooled
    layer = way.layers[index][1]
    if isinstance(layer, nn.Linear):
        if len(middle) != 1:
            return None
        weight = whole(layer.weight.detach().numpy().T * np.float32(factor), grid)
        return Rows(lined(weight), place.astype(np.int32), np.float32(grid), layer.out_features)
    if not isinstance(layer, nn.Conv2d) or not _convolves(way.layers, way.shape, shape):
        return None
    c, y, x = np.unravel_index(np.maximum(place, 0), middle)
    return Stencil(
        weight=whole(layer.weight.detach().numpy().transpose(1, 2, 3, 0) * np.float32(factor), grid),
        channel=np.where(place >= 0, c, -1).astype(np.int32),
        y=y.astype(np.int32),
        x=x.astype(np.int32),
        plane=(shape[1], shape[2]),
        stride=(layer.stride[0], layer.stride[1]),
        padding=(int(layer.padding[0]), int(layer.padding[1])),
        dilation=(layer.dilation[0], layer.dilation[1]),
        scale=np.float32(grid),
    )


def _multiplied(way: Way, grid: float) -> Lists:
    """Return the synapses of any linear layers: the product of their sparse matrices, by source.

    Every weight is a multiple of the grid below 2^24 of it, so that products and sums in float64 are exact.
    """
    from scipy import sparse

    matrix, shape = sparse.identity(prod(way.shape), format="csr"), way.shape
    for item in way.layers:
        after = out_shape([item], shape)
        matrix = layer_matrix(item[1], shape, after) @ matrix
        shape = after
    by_source = matrix.tocsc()
    by_source = by_source if way.order is None else by_source[:, way.order]
    by_source.eliminate_zeros()
    by_source.sort_indices()
    return Lists(
        by_source.indptr.astype(np.int64),
        by_source.indices.astype(np.int32),
        whole(by_source.data.astype(np.float32), grid),
        prod(shape),
        np.float32(grid),
    )
