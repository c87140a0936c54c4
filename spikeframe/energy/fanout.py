"""How many synapses each input position of a weight layer drives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

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
