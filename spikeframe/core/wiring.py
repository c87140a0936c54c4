"""From the torch layers between two populations to synapses: whole rows, a convolution's stencil, or lists."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spikeframe.core.layer_matrix import layer_matrix
from spikeframe.errors import ShapeError, UnsupportedLayerError
from spikeframe.kernels.synapses import Lists, Rows, Stencil, Synapses, lined, whole
from spikeframe.neurons import SumPool2d

Named = list[tuple[str, nn.Module]]
Order = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Connection:
    """Synapses between two populations.

    Attributes:
        synapses: what the kernels deliver from; targets in the population's own order.
        bias: ``[neurons]`` in the population's own order, or None.
        shape: shape of the target neurons, as torch has them.
        order: torch's flat index of each neuron in the population's own order; None where they are the same.
    """

    synapses: Synapses
    bias: NDArray[np.float32] | None
    shape: tuple[int, ...]
    order: Order | None

    def to_own_order(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return per-neuron values, given in torch's order, in the population's own."""
        return values if self.order is None else np.ascontiguousarray(values[..., self.order])

    def to_torch_order(self, neurons: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return torch's flat indices of neurons given in the population's own order."""
        return neurons.astype(np.int64) if self.order is None else self.order[neurons]


def connection(layers: Named, shape: tuple[int, ...], order: Order | None, grid: float, name: str) -> Connection:
    """Build the synapses that a chain of layers between two populations stands for.

    Args:
        layers: names and layers, weights already snapped.
        shape: shape of the source neurons.
        order: the sources' own order (see `Connection`).
        grid: power of two that every weight is a multiple of, pooling included.
        name: the target population, for errors.

    Returns:
        The connection.

    Raises:
        UnsupportedLayerError: more than one weight layer.
        ShapeError: the layers do not fit the shape.
    """
    weighted = [item for item in layers if isinstance(item[1], (nn.Linear, nn.Conv2d))]
    if len(weighted) > 1:
        raise UnsupportedLayerError(
            f"{weighted[1][0]}: two weight layers without neurons between them ({weighted[0][0]} before); "
            "put neurons between."
        )
    out_shape = _out_shape(layers, shape, name)
    bias = _bias(layers, shape, weighted)
    own = _fast(layers, shape, order, grid, out_shape)
    if own is None:
        link = Connection(_multiplied(layers, shape, order, grid), None, out_shape, None)
    else:
        channels_last = isinstance(own, Stencil)
        link = Connection(own, None, out_shape, _channels_last(out_shape) if channels_last else None)
    return link if bias is None else replace(link, bias=link.to_own_order(bias))


def _out_shape(layers: Named, shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    x = torch.zeros((1, *shape))
    for path, layer in layers:
        try:
            x = layer(x)
        except RuntimeError as error:
            raise ShapeError(
                f"{path}: {type(layer).__name__} does not take {tuple(x.shape[1:])} (input of {name}): {error}"
            ) from None
    return tuple(x.shape[1:])


def _run(layers: Named, x: torch.Tensor) -> torch.Tensor:
    for _, layer in layers:
        x = layer(x)
    return x


def _bias(layers: Named, shape: tuple[int, ...], weighted: Named) -> NDArray[np.float32] | None:
    bias = weighted[0][1].bias if weighted else None
    if not isinstance(bias, torch.Tensor) or not bool((bias != 0).any()):
        return None
    out: NDArray[np.float32] = _run(layers, torch.zeros((1, *shape))).reshape(-1).numpy().astype(np.float32)
    return out


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


def _fast(
    layers: Named, shape: tuple[int, ...], order: Order | None, grid: float, out_shape: tuple[int, ...]
) -> Synapses | None:
    """Return whole rows or a stencil where the chain is pooling and then one weight layer."""
    index = next((i for i, (_, layer) in enumerate(layers) if isinstance(layer, (nn.Linear, nn.Conv2d))), None)
    if index is None or any(not isinstance(layer, nn.Flatten) for _, layer in layers[index + 1 :]):
        return None
    pooled = _pooled(layers[:index], shape, order)
    if pooled is None:
        return None
    place, middle, factor = pooled
    layer = layers[index][1]
    if isinstance(layer, nn.Linear):
        if len(middle) != 1:
            return None
        weight = whole(layer.weight.detach().numpy().T * np.float32(factor), grid)
        return Rows(lined(weight), place.astype(np.int32), np.float32(grid), layer.out_features)
    if not isinstance(layer, nn.Conv2d) or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return None
    if len(out_shape) != 3 or layer.groups != 1:
        return None
    c, y, x = np.unravel_index(np.maximum(place, 0), middle)
    return Stencil(
        weight=whole(layer.weight.detach().numpy().transpose(1, 2, 3, 0) * np.float32(factor), grid),
        channel=np.where(place >= 0, c, -1).astype(np.int32),
        y=y.astype(np.int32),
        x=x.astype(np.int32),
        plane=(out_shape[1], out_shape[2]),
        stride=(layer.stride[0], layer.stride[1]),
        padding=(int(layer.padding[0]), int(layer.padding[1])),
        dilation=(layer.dilation[0], layer.dilation[1]),
        scale=np.float32(grid),
    )


def _multiplied(layers: Named, shape: tuple[int, ...], order: Order | None, grid: float) -> Lists:
    """Return the synapses of any chain of linear layers: the product of their sparse matrices, by source.

    Every weight is a multiple of the grid below 2^24 of it, so that products and sums in float64 are exact.
    """
    from scipy import sparse

    matrix = sparse.identity(prod(shape), format="csr")
    for path, layer in layers:
        after = _out_shape([(path, layer)], shape, "")
        matrix = layer_matrix(layer, shape, after) @ matrix
        shape = after
    by_source = matrix.tocsc()
    by_source = by_source if order is None else by_source[:, order]
    by_source.eliminate_zeros()
    by_source.sort_indices()
    return Lists(
        by_source.indptr.astype(np.int64),
        by_source.indices.astype(np.int32),
        whole(by_source.data.astype(np.float32), grid),
        prod(shape),
        np.float32(grid),
    )
