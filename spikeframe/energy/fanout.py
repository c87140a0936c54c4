"""How many synapses each input position of a weight layer drives."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spikeframe.core.layer_matrix import layer_matrix
from spikeframe.core.wiring import out_shape
from spikeframe.neurons import SumPool2d

WEIGHT_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
SUM_POOLS = (nn.AvgPool2d, nn.AvgPool3d, SumPool2d)

_ITEM_AXES = {
    nn.Linear: 1,
    nn.Conv1d: 2,
    nn.Conv2d: 3,
    nn.Conv3d: 4,
    nn.AvgPool2d: 3,
    nn.AvgPool3d: 4,
    SumPool2d: 3,
}


def item_axes(layer: nn.Module) -> int:
    """Return how many trailing axes one input item of a layer has."""
    return next(n for kind, n in _ITEM_AXES.items() if isinstance(layer, kind))


def fan_out(layer: Any, shape: Sequence[int], *, dense: bool = False) -> Tensor:
    """Count the synapses that each input position drives; what falls on padding drives none.

    The count is the gradient of the layer's summed output, all weights set to one, in float64: exact below 2^53.

    Args:
        layer: one of `WEIGHT_LAYERS`; no hook may be on it that must not see the call.
        shape: shape of one input item.
        dense: count zero weights too.

    Returns:
        Integers of that shape.
    """
    weight = layer.weight.detach()
    ones = torch.ones_like(weight) if dense else weight != 0
    swapped = {"weight": ones.double()}
    if layer.bias is not None:
        swapped["bias"] = torch.zeros_like(layer.bias, dtype=torch.float64)
    with torch.enable_grad():
        x = torch.zeros((1, *shape), dtype=torch.float64, device=weight.device, requires_grad=True)
        y = torch.func.functional_call(layer, swapped, (x,))
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
        if isinstance(pool, SumPool2d):
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
    flat = [pool for pool in pools if isinstance(pool, (nn.AvgPool2d, SumPool2d))]
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
        own = copy.deepcopy(layer).cpu()
        step = layer_matrix(own, shape, out_shape([("", own)], shape))
        matrix = step if matrix is None else step @ matrix
    reached = torch.as_tensor((matrix != 0).sum(0)).reshape(layers[0][1])
    return reached.to(next(layers[-1][0].parameters()).device)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)
