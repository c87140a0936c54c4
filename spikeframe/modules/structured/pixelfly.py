r"""Pixelated butterfly: a fixed block-sparse pattern beside a low-rank product.

.. math:: W = γ B + (1 - γ) U V^T

B is block-sparse with the flat butterfly's pattern: on a square grid of ``size`` cells (a power of two), cell (i, j) is
active where ``i = j`` or ``j = i xor 2^t``, t below `factors`, so every row has ``factors + 1`` of them; the grid is
stretched over the weight and rounded out to blocks. γ is learnt. Blocks begin as a dense layer's weights times
``sqrt(blocks of a row / active ones)``. Reference: Dao et al. 2022 (Pixelfly), arXiv:2112.00029. Cost: an addition per
active weight of a spike, and the low-rank part's products at every step: leave that out (rank 0) where events are few.
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikeframe.errors import ParameterError
from spikeframe.kernels.formats import BSR, divides
from spikeframe.modules.checks import whole
from spikeframe.modules.structured.factor import Chain, StructuredLinear, has_bias, matrix_of, second_moment
from spikeframe.modules.structured.low_rank import best_product, checked_rank
from spikeframe.modules.structured.sparse_linear import SparseLinear


def flat_butterfly(size: int, factors: int) -> NDArray[np.bool_]:
    """Return the pattern on the grid of cells, ``[size, size]``.

    Args:
        size: a power of two.
        factors: 0 to log2(size).

    Raises:
        ParameterError: they are none.
    """
    if whole("flat_butterfly(size)", size) & (size - 1):
        raise ParameterError(f"flat_butterfly(size={size}): must be a power of two.")
    if whole("flat_butterfly(factors)", factors, 0) > size.bit_length() - 1:
        raise ParameterError(f"flat_butterfly(factors={factors}): at most log2(size), {size.bit_length() - 1}.")
    cell = np.arange(size)
    active = np.eye(size, dtype=bool)
    for t in range(factors):
        active[cell, cell ^ (1 << t)] = True
    return active


def stretched(cells: NDArray[np.bool_], rows: int, columns: int) -> NDArray[np.bool_]:
    """Return which of ``rows x columns`` blocks touch an active cell.

    Args:
        cells: ``[size, size]``.
        rows: of blocks.
        columns: of blocks.
    """

    def touched(n: int) -> NDArray[np.bool_]:
        size = len(cells)
        block, cell = np.arange(n)[:, np.newaxis], np.arange(size)
        return (cell * n < (block + 1) * size) & (block * size < (cell + 1) * n)

    found: NDArray[np.bool_] = (touched(rows).astype(int) @ cells.astype(int) @ touched(columns).T.astype(int)) > 0
    return found


class Pixelfly(StructuredLinear):
    """A pixelated butterfly layer.

    Args:
        in_features: sources.
        out_features: targets.
        block: side of a block; it divides both.
        size: cells of the grid, a power of two; the largest up to the blocks of the smaller side if not given.
        factors: butterfly factors, 0 to log2(size).
        rank: of the other part; 0 leaves it out, with γ = 1.
        bias: whether there is one.

    Attributes:
        butterfly: B.
        first: V^T ``[rank, in]``.
        second: U ``[out, rank]``.
        gamma: γ.

    Raises:
        ParameterError: a number out of range.
        ShapeError: blocks that do not divide the shape.
    """

    def __init__(
        self, in_features: int, out_features: int, block: int = 8, size: int | None = None, factors: int = 2,
        rank: int = 4, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(in_features, out_features, bias)
        whole("Pixelfly(block)", block)
        divides("Pixelfly", (out_features, in_features), block, block)
        grid = out_features // block, in_features // block
        size = 1 << (min(grid).bit_length() - 1) if size is None else size
        active = stretched(flat_butterfly(size, factors), *grid)
        self.rank = checked_rank("Pixelfly", rank, in_features, out_features) if rank else 0
        # As wide as the weights of nn.Linear; the two parts share the variance where γ is 1/2.
        share = math.sqrt(2.0) if self.rank else 1.0
        bound = share / math.sqrt(in_features)
        row_gain = np.sqrt(grid[1] / np.maximum(active.sum(1), 1)).repeat(block)[:, np.newaxis]
        weight = torch.empty(out_features, in_features).uniform_(-bound, bound).numpy()
        mask = active.repeat(block, 0).repeat(block, 1)
        stored = BSR.from_dense((weight * row_gain).astype(np.float32), mask, h=block, w=block)
        self.butterfly = SparseLinear(stored)
        if self.rank:
            self.gamma = nn.Parameter(torch.tensor(0.5))
            self.first = nn.Parameter(torch.randn(rank, in_features) / math.sqrt(in_features))
            self.second = nn.Parameter(share * torch.randn(out_features, rank) / math.sqrt(3.0 * rank))

    def chains(self) -> tuple[Chain, ...]:
        """Return ``γ B``, and ``V^T`` and ``(1 - γ) U``."""
        if not self.rank:
            return ((self.butterfly.to_dense(),),)
        return (self.gamma * self.butterfly.to_dense(),), (self.first, (1.0 - self.gamma) * self.second)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``W x + bias``.

        Args:
            x: ``[..., in_features]``.

        Raises:
            ShapeError: another number of features.
        """
        self._fits(x)
        y: Tensor = self.butterfly(x)
        if self.rank:
            inner = nn.functional.linear(x, self.first)
            y = self.gamma * y + nn.functional.linear(inner, (1.0 - self.gamma) * self.second)
        return y if self.bias is None else y + self.bias

    @classmethod
    def from_dense(cls, weight: Any, calibration: Tensor | None = None, *, rounds: int = 10, **form: Any) -> Self:
        """Return a layer near to a matrix: blocks of what the product leaves, the best product of the rest, in turn.

        Args:
            weight: ``[out, in]`` tensor, array or `nn.Linear`, whose bias comes along.
            calibration: ``[..., in]`` inputs that the product is fitted on, or None.
            rounds: of alternation; none makes the error larger without calibration.
            form: block, size, factors and rank.

        Raises:
            DTypeError, ShapeError, NonFiniteError, ParameterError: something does not fit.
        """
        dense = matrix_of("Pixelfly.from_dense", weight)
        moment = second_moment("Pixelfly.from_dense", calibration, dense.shape[1])
        found = cls(dense.shape[1], dense.shape[0], bias=has_bias(weight), **form)
        mask = torch.from_numpy(found.butterfly.pattern.mask())
        product = torch.zeros_like(dense)
        first = second = None
        for _ in range(rounds if found.rank else 0):
            first, second = best_product(dense - mask * (dense - product), found.rank, moment)
            product = second @ first
        with torch.no_grad():
            rest = mask * (dense - product)
            if first is not None and second is not None:
                rest = rest / found.gamma.double()
                found.first.copy_(first)
                found.second.copy_(second / (1.0 - found.gamma.double()))
            stored = BSR.from_dense(rest.float().numpy(), mask.numpy(), h=found.butterfly.pattern.form["h"],
                                    w=found.butterfly.pattern.form["w"])  # fmt: skip
            found.butterfly.weight.copy_(torch.from_numpy(stored.weight))
            if found.bias is not None:
                found.bias.copy_(weight.bias)
        return found
