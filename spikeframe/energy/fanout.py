"""How many synapses each input position of a weight layer drives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from spikeframe.core.layer_matrix import layer_matrix
from spikeframe.core.wiring import out_shape
from spikeframe.neurons import PaddedSumPool2d, SumPool2d

WEIGHT_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
SUM_POOLS = (nn.AvgPool2d, nn.AvgPool3d, SumPool2d, PaddedSumPool2d)

_ITEM_AXES = {
    nn.Linear: 1,
    nn.Conv1d: 2,
    nn.Conv2d: 3,
    nn.Conv3d: 4,
    nn.AvgPool2d: 3,
    nn.AvgPool3d: 4,
    SumPool2d: 3,
    PaddedSumPool2d: 3,
}


def item_axes(layer: nn.Module) -> int:
    """Return how many trailing axes one input item of a layer has."""
    return next(n for kind, n in _ITEM_AXES.items() if isinstance(layer, kind))


def fan_out(layer: Any, shape: Sequence[int], *, dense: bool = False) -> Tensor:
    """Count the synapses that each input position drives; what falls on padding drives none.

    The count is the gradient of the layer's summed output, all weights set to one, in float64: exact below 2^53.

    Args:
        layer: one of `WEIGHT_LAYERS`.
        shape: shape of one input item.
        dense: count zero weights too.

    Returns:
        Integers of that shape.
    """
    weight = layer.weight.detach()
    ones = torch.ones_like(weight) if dense else weight != 0
    with torch.enable_grad():
        x = torch.zeros((1, *shape), dtype=torch.float64, device=weight.device, requires_grad=True)
        linear = isinstance(layer, nn.Linear)
        y = nn.functional.linear(x, ones.double()) if linear else layer._conv_forward(x, ones.double(), None)
        (counts,) = torch.autograd.grad(y.sum(), x)
    return counts[0].round().to(torch.int64)


def through_pool(pool: Any, shape: Sequence[int], reached: Tensor) -> Tensor:
    """Count the synapses that each input position of a pool drives through the pooled positions it belongs to.

    Args:
        pool: one of `SUM_POOLS`.
        shape: shape of one input item.
        reached: synapses driven by each pooled position.

    Returns:
        Integers of that shape.
    """
    with torch.enable_grad():
        x = torch.zeros((1, *shape), dtype=torch.float64, device=reached.device, requires_grad=True)
        if isinstance(pool, (SumPool2d, PaddedSumPool2d)):
            sums = pool(x)
        else:
            average = nn.functional.avg_pool2d if isinstance(pool, nn.AvgPool2d) else nn.functional.avg_pool3d
            window = (pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode, pool.count_include_pad)
            sums = average(x, *window, divisor_override=1)
        (counts,) = torch.autograd.grad(sums, x, reached.double().reshape(sums.shape))
    return counts[0].round().to(torch.int64)


def merges(layer: Any, pools: Sequence[Any]) -> bool:
    """Whether an input can reach a target over several weights, which are then one synapse: their sum.

    Args:
        layer: one of `WEIGHT_LAYERS`.
        pools: those before it.
    """
    around = isinstance(layer, (nn.Conv1d, nn.Conv2d)) and layer.padding_mode != "zeros"
    flat = [pool for pool in pools if isinstance(pool, (nn.AvgPool2d, SumPool2d, PaddedSumPool2d))]
    overlap = any(s < k for p in flat for s, k in zip(_pair(p.stride), _pair(p.kernel_size), strict=True))
    return (around or overlap) and len(flat) == len(pools) and not isinstance(layer, nn.Conv3d)


def merged_fan_out(layers: Sequence[tuple[nn.Module, tuple[int, ...]]]) -> Tensor:
    """Count the targets that each input position reaches through several layers, in as many steps as synapses.

    Args:
        layers: pools and then one of `WEIGHT_LAYERS`, as they follow each other, each with the shape of one input item.

    Returns:
        Integers of the first shape.
    """
    matrix: Any = None
    for layer, shape in layers:
        own = _plain(layer)
        step = layer_matrix(own, shape, out_shape([("", own)], shape))
        matrix = step if matrix is None else step @ matrix
    reached = torch.as_tensor((matrix != 0).sum(0)).reshape(layers[0][1])
    return reached.to(next(layers[-1][0].parameters()).device)


def _plain(layer: Any) -> nn.Module:
    """Return a layer without bias, hooks and parametrizations, its weights on the CPU; a pool as it is."""
    if not isinstance(layer, WEIGHT_LAYERS):
        return cast("nn.Module", layer)
    own: Any
    if isinstance(layer, nn.Linear):
        own = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
    else:
        kind: Any = nn.Conv1d if isinstance(layer, nn.Conv1d) else nn.Conv2d
        shape = layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation
        own = kind(*shape, layer.groups, bias=False, padding_mode=layer.padding_mode, device="meta")
    own.weight = nn.Parameter(layer.weight.detach().cpu(), requires_grad=False)
    return cast("nn.Module", own)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)
