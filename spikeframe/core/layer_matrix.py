"""The linear map of a torch layer as a sparse matrix, by index arithmetic: as many steps as it has synapses."""

from __future__ import annotations

from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from spikeframe.neurons import PaddedSumPool2d, StackedAffine, SumPool2d

Pair = tuple[int, int]
#: torch's names of what lies around the plane, as NumPy's pad calls them.
_BORDERS: dict[str, Any] = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def layer_matrix(layer: Any, shape: tuple[int, ...], out_shape: tuple[int, ...]) -> Any:
    """Return a layer without its bias as a ``scipy.sparse`` matrix, ``[prod(out_shape), prod(shape)]`` in float64.

    Args:
        layer: Linear, Conv1d, Conv2d, AvgPool2d, SumPool2d, PaddedSumPool2d, Flatten, Scale, StackedAffine, or a mask
            of elements (``kept``).
        shape: shape of one input.
        out_shape: shape of its output.
    """
    from scipy import sparse

    if isinstance(layer, nn.Flatten):
        return sparse.identity(prod(shape), format="csr")
    if isinstance(layer, nn.Linear):
        return sparse.kron(sparse.identity(prod(shape[:-1])), layer.weight.detach().double().numpy(), format="csr")
    if isinstance(layer, StackedAffine):
        blocks = layer.weight.detach().double().flatten(0, -3).numpy()
        return sparse.block_diag(blocks, format="csr")
    factors = getattr(layer, "kept", getattr(layer, "scale", None))
    if factors is not None:
        return sparse.diags(factors.detach().double().expand(shape).reshape(-1).numpy(), format="csr")
    if isinstance(layer, nn.Conv1d):
        padding = layer.padding if isinstance(layer.padding, str) else (0, *layer.padding)
        row = SimpleNamespace(stride=(1, *layer.stride), dilation=(1, *layer.dilation), padding=padding)
        weight, border = layer.weight.detach().double().unsqueeze(2).numpy(), _BORDERS[layer.padding_mode]
        image = (*shape[:-1], 1, shape[-1]), (*out_shape[:-1], 1, out_shape[-1])
        return _windows(weight, layer.groups, row, border, *image)
    channels = prod(shape[:-2])
    if isinstance(layer, nn.Conv2d):
        weight = layer.weight.detach().double().numpy()
        return _windows(weight, layer.groups, layer, _BORDERS[layer.padding_mode], shape, out_shape)
    side = _pair(layer.kernel_size)
    divisor = 1 if isinstance(layer, (SumPool2d, PaddedSumPool2d)) else layer.divisor_override or prod(side)
    return _windows(np.full((channels, 1, *side), 1.0 / divisor), channels, layer, "constant", shape, out_shape)


def _windows(
    weight: NDArray[np.float64],
    groups: int,
    layer: Any,
    border: str,
    shape: tuple[int, ...],
    out_shape: tuple[int, ...],
) -> Any:
    """Matrix of windows that slide over planes: ``weight[output channel, input channel of its group, row, column]``."""
    from scipy import sparse

    plane = (shape[-2], shape[-1])
    taps = _taps(plane, (weight.shape[2], weight.shape[3]), layer, border, (out_shape[-2], out_shape[-1]))
    outputs, inside = weight.shape[:2]
    output = np.arange(outputs).reshape(-1, 1, 1, 1)
    source_channel = output // (outputs // groups) * inside + np.arange(inside).reshape(1, -1, 1, 1)
    source = source_channel * prod(plane) + taps
    target = output * taps.shape[1] + np.arange(taps.shape[1])
    value = weight.reshape(outputs, inside, -1, 1)
    source, target, value, there = np.broadcast_arrays(source, target, value, taps >= 0)
    entries = (value[there], (target[there], source[there]))
    return sparse.csr_matrix(entries, shape=(outputs * taps.shape[1], prod(shape)))


def _taps(plane: Pair, kernel: Pair, layer: Any, border: Any, out: Pair) -> NDArray[np.int64]:
    """Place on the plane that each tap of each window reads, ``[taps, windows]``; -1 where there is nothing."""
    stride, dilation = _pair(layer.stride), _pair(getattr(layer, "dilation", 1))
    before, after = _padding(layer, kernel, dilation)
    index = np.arange(prod(plane), dtype=np.int64).reshape(plane)
    around: Any = [(before[0], after[0]), (before[1], after[1])]
    if border == "constant":
        # A pool in ceil_mode reads beyond the padding, too.
        reach = [(out[a] - 1) * stride[a] + (kernel[a] - 1) * dilation[a] + 1 for a in (0, 1)]
        around = [(before[a], max(after[a], reach[a] - plane[a] - before[a])) for a in (0, 1)]
        index = np.pad(index, around, constant_values=-1)
    else:
        index = np.pad(index, around, border)
    rows, columns = (np.arange(out[a]) * stride[a] for a in (0, 1))
    taps = [
        index[np.ix_(rows + ky * dilation[0], columns + kx * dilation[1])].reshape(-1)
        for ky in range(kernel[0])
        for kx in range(kernel[1])
    ]
    return np.stack(taps)


def _padding(layer: Any, kernel: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    """Places added before and after the plane on each axis."""
    padding = getattr(layer, "padding", 0)
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        total = [dilation[a] * (kernel[a] - 1) for a in (0, 1)]
        return (total[0] // 2, total[1] // 2), (total[0] - total[0] // 2, total[1] - total[1] // 2)
    return _pair(padding), _pair(padding)


def _pair(value: int | tuple[int, ...]) -> Pair:
    return (value[0], value[-1]) if isinstance(value, tuple) else (value, value)
