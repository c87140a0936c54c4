"""Structured layers by name, each within a budget of parameters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from spikeframe.errors import ParameterError, unknown_name
from spikeframe.kernels.formats import CSR, Condensed, divides, narrow
from spikeframe.modules.checks import whole
from spikeframe.modules.structured.blast import BLAST
from spikeframe.modules.structured.factor import StructuredLinear, budget
from spikeframe.modules.structured.gblr import GBLR
from spikeframe.modules.structured.low_rank import LowRank
from spikeframe.modules.structured.pixelfly import Pixelfly, flat_butterfly, stretched
from spikeframe.modules.structured.sparse_linear import SparseLinear


def _low_rank(n: int, m: int, density: float, bias: bool) -> StructuredLinear:
    return LowRank(n, m, _at_least_one("low-rank", density * n * m / (n + m)), bias)


def _pixelfly(n: int, m: int, density: float, bias: bool) -> StructuredLinear:
    """Blocks of 8; the most butterfly factors that leave the low-rank part about a quarter of the budget."""
    divides("pixelfly", (m, n), 8, 8)
    grid = m // 8, n // 8
    total = density * n * m
    best: tuple[float, int, int] | None = None
    for size in (1 << e for e in range(min(grid).bit_length())):
        for factors in range(size.bit_length()):
            blocks = 64 * int(stretched(flat_butterfly(size, factors), *grid).sum())
            distance = abs(blocks - 0.75 * total)
            if blocks <= total and (best is None or distance < best[0]):
                best = (distance, size, factors)
    if best is None:
        raise ParameterError(f"pixelfly(density={density}): less than one block a row; raise it.")
    _, size, factors = best
    blocks = 64 * int(stretched(flat_butterfly(size, factors), *grid).sum())
    return Pixelfly(n, m, 8, size, factors, int((total - blocks) // (n + m)), bias)


def _blast(n: int, m: int, density: float, bias: bool) -> StructuredLinear:
    """As many blocks as divide both sides, up to 16 (and no more than a quarter of them)."""
    b = max(d for d in range(1, 17) if d == 1 or (n % d == 0 and m % d == 0 and 4 * d <= min(n, m)))
    return BLAST(n, m, b, _at_least_one("blast", density * n * m / (n + m + b * b)), bias)


def _gblr(n: int, m: int, density: float, bias: bool) -> StructuredLinear:
    """Parameters within the budget: both vectors and four numbers a component."""
    return GBLR(n, m, _at_least_one("gblr", density * n * m / (n + m + 4)), bias=bias)


def _random(n: int, m: int, density: float, bias: bool) -> StructuredLinear:
    """Sources drawn from all pairs."""
    mask = np.zeros(n * m, bool)
    mask[torch.randperm(n * m).numpy()[: round(density * n * m)]] = True
    weight, offset = _uniform(n, m, density, bias)
    return SparseLinear(CSR.from_dense(weight, mask.reshape(m, n)), offset)


def _fan_in(n: int, m: int, density: float, bias: bool) -> StructuredLinear:
    """As many sources, drawn, for each neuron."""
    k = min(n, _at_least_one("fan-in", density * n))
    index = np.sort(torch.rand(m, n).argsort(1)[:, :k].numpy(), 1)
    weight, offset = _uniform(n, m, density, bias)
    return SparseLinear(Condensed((m, n), np.take_along_axis(weight, index, 1), narrow(index, n)), offset)


def _blocks(n: int, m: int, density: float, bias: bool) -> StructuredLinear:
    """Blocks of 8 by 8, drawn."""
    divides("blocks", (m, n), 8, 8)
    rows, columns = m // 8, n // 8
    active = np.zeros(rows * columns, bool)
    active[torch.randperm(rows * columns).numpy()[: _at_least_one("blocks", density * rows * columns)]] = True
    weight, offset = _uniform(n, m, density, bias)
    mask = active.reshape(rows, columns).repeat(8, 0).repeat(8, 1)
    return SparseLinear.from_dense(weight, mask, "bsr", bias=offset, h=8, w=8)


def _uniform(n: int, m: int, density: float, bias: bool) -> tuple[np.ndarray, torch.Tensor | None]:
    """Return weights as wide as `nn.Linear`'s for the inputs that are left, and a bias of 0."""
    bound = 1.0 / np.sqrt(n * density)
    return torch.empty(m, n).uniform_(-bound, bound).numpy(), torch.zeros(m) if bias else None


def _at_least_one(name: str, count: float) -> int:
    if count < 1:
        raise ParameterError(f"{name}: the budget is {count:.2g} of the least; raise the density.")
    return int(count)


RECIPES: dict[str, Callable[[int, int, float, bool], StructuredLinear]] = {
    "blast": _blast,
    "blocks": _blocks,
    "fan-in": _fan_in,
    "gblr": _gblr,
    "low-rank": _low_rank,
    "pixelfly": _pixelfly,
    "random": _random,
}


def structured(name: str, in_features: int, out_features: int, density: float, bias: bool = True) -> nn.Module:
    """Return a new layer of a structure, with at most ``density * in * out`` parameters beside the bias.

    Args:
        name: ``"low-rank"``, ``"pixelfly"``, ``"blast"``, ``"gblr"``, or sparse weights drawn at ``"random"``, in
            ``"blocks"`` or with constant ``"fan-in"``.
        in_features: sources.
        out_features: targets.
        density: above 0, at most 1.
        bias: whether there is one.

    Raises:
        UnknownNameError: no such structure.
        ParameterError, ShapeError: sizes or density that it cannot have.
    """
    if name not in RECIPES:
        raise unknown_name("structure", name, RECIPES)
    whole(f"{name}(in_features)", in_features)
    whole(f"{name}(out_features)", out_features)
    return RECIPES[name](in_features, out_features, budget(name, density), bias)
