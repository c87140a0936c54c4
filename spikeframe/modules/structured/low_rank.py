r"""Low-rank linear layer.

.. math:: W = A B, \qquad A \in R^{out \times r},\ B \in R^{r \times in}

`from_dense` takes the best A B for the inputs of a calibration set: with :math:`L L^T = X^T X`, the truncated SVD of
``W L`` times :math:`L^{-1}` (without calibration, the SVD of W). Cost of a step: r additions per spike, then
``r * out`` multiply-accumulates; break-even at a rate of about ``r / in`` for square layers.
"""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor, nn

from spikeframe.errors import ParameterError
from spikeframe.modules.checks import whole
from spikeframe.modules.structured.factor import Chain, StructuredLinear, has_bias, matrix_of, second_moment
from spikeframe.neurons import Neuron, Sequential


class LowRank(StructuredLinear):
    """A linear layer of given rank.

    Args:
        in_features: sources.
        out_features: targets.
        rank: r, at most the smaller of both.
        bias: whether there is one.

    Attributes:
        first: B ``[r, in]``.
        second: A ``[out, r]``.

    Raises:
        ParameterError: a number out of range.
    """

    def __init__(self, in_features: int, out_features: int, rank: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        self.rank = checked_rank("LowRank", rank, in_features, out_features)
        # Together as wide as the weights of nn.Linear.
        self.first = nn.Parameter(torch.randn(rank, in_features) / math.sqrt(in_features))
        self.second = nn.Parameter(torch.randn(out_features, rank) / math.sqrt(3.0 * rank))

    def chains(self) -> tuple[Chain, ...]:
        """Return B and A."""
        return ((self.first, self.second),)

    def spiking(self, neuron: Neuron) -> Sequential:
        """Return the layer with a neuron between its factors: events stay events, the function is another.

        Args:
            neuron: for the r values between.
        """
        first, second = nn.Linear(self.in_features, self.rank, False), nn.Linear(self.rank, self.out_features)
        first.weight = nn.Parameter(self.first.detach().clone())
        second.weight = nn.Parameter(self.second.detach().clone())
        with torch.no_grad():
            second.bias.copy_(torch.zeros(self.out_features) if self.bias is None else self.bias)
        return Sequential(first, neuron, second)

    @classmethod
    def from_dense(cls, weight: Any, rank: int, calibration: Tensor | None = None) -> Self:
        """Return the layer nearest to a matrix on the inputs of a calibration set.

        Args:
            weight: ``[out, in]`` tensor, array or `nn.Linear`, whose bias comes along.
            rank: r.
            calibration: ``[..., in]`` inputs, or None.

        Raises:
            DTypeError, ShapeError, NonFiniteError, ParameterError: something does not fit.
        """
        dense = matrix_of("LowRank.from_dense", weight)
        found = cls(dense.shape[1], dense.shape[0], rank, has_bias(weight))
        first, second = best_product(dense, rank, second_moment("LowRank.from_dense", calibration, dense.shape[1]))
        with torch.no_grad():
            found.first.copy_(first)
            found.second.copy_(second)
            if found.bias is not None:
                found.bias.copy_(weight.bias)
        return found


def best_product(weight: Tensor, rank: int, moment: Tensor) -> tuple[Tensor, Tensor]:
    """Return B ``[r, in]`` and A ``[out, r]`` with the least ``trace (W - A B) M (W - A B)^T``.

    Args:
        weight: W ``[out, in]`` float64.
        rank: r.
        moment: M ``[in, in]`` of the inputs.
    """
    root = torch.linalg.cholesky(moment)
    u, s, v = torch.linalg.svd(weight @ root, full_matrices=False)
    half = s[:rank].sqrt()
    return torch.linalg.solve_triangular(root, half[:, None] * v[:rank], upper=False, left=False), u[:, :rank] * half


def checked_rank(what: str, rank: int, in_features: int, out_features: int) -> int:
    """Return a rank.

    Args:
        what: who takes it.
        rank: 1 or more.
        in_features: sources.
        out_features: targets.

    Raises:
        ParameterError: it is no whole number from 1, or above the smaller side.
    """
    if whole(f"{what}(rank)", rank) > min(in_features, out_features):
        raise ParameterError(
            f"{what}(rank={rank}): more than the smaller side of {out_features} x {in_features}; a dense layer has no "
            "more rank than that."
        )
    return int(rank)
