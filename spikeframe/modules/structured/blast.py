r"""BLAST: blocks that share left and right factors and differ by a diagonal.

.. math:: W_{ij} = U_i \,\mathrm{diag}(s_{ij})\, V_j^T, \qquad i, j < b

Blocks of ``out / b`` by ``in / b``, rank r. All s = 1 is a low-rank matrix, ``s_ij = 0`` off the diagonal a block
diagonal one. Parameters and multiply-accumulates: ``r (out + in + b^2)``. Events meet V; its ``b r`` values are graded.
`from_dense` goes down the gradient in U, V and s in turn, each preconditioned by the inverse Gram matrix of the other
two plus ``δ sqrt(loss) I``. Reference: Lee et al. 2024, arXiv:2410.21262.
"""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor, nn

from spikeframe.kernels.formats import divides
from spikeframe.modules.checks import whole
from spikeframe.modules.structured.factor import Chain, StructuredLinear, has_bias, matrix_of
from spikeframe.modules.structured.low_rank import checked_rank


class BLAST(StructuredLinear):
    """A BLAST layer.

    Args:
        in_features: sources.
        out_features: targets.
        blocks: b, divides both.
        rank: r of a block, at most the smaller side of the matrix.
        bias: whether there is one.

    Attributes:
        u: ``[b, out / b, r]``.
        v: ``[b, in / b, r]``.
        s: ``[b, b, r]``.

    Raises:
        ParameterError: a number out of range.
        ShapeError: blocks that do not divide the shape.
    """

    def __init__(self, in_features: int, out_features: int, blocks: int, rank: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        b = whole("BLAST(blocks)", blocks)
        divides(f"BLAST(blocks={b})", (out_features, in_features), b, b)
        self.blocks, self.rank = b, checked_rank("BLAST", rank, in_features, out_features)
        self.u = nn.Parameter(torch.randn(b, out_features // b, rank) / math.sqrt(rank))
        self.v = nn.Parameter(torch.randn(b, in_features // b, rank) / math.sqrt(3.0 * in_features))
        self.s = nn.Parameter(torch.randn(b, b, rank))

    def chains(self) -> tuple[Chain, ...]:
        """Return the blocks of V^T, the diagonals, and the blocks of U."""
        mix = torch.diag_embed(self.s).transpose(1, 2).reshape(2 * [self.blocks * self.rank])
        diagonal: Any = torch.block_diag
        return ((diagonal(*self.v.transpose(1, 2)), mix, diagonal(*self.u)),)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``W x + bias``.

        Args:
            x: ``[..., in_features]``.

        Raises:
            ShapeError: another number of features.
        """
        self._fits(x)
        z = torch.einsum("mjq,jqr->mjr", x.reshape(-1, self.blocks, self.v.shape[1]), self.v)
        y: Tensor = torch.einsum("mir,ipr->mip", torch.einsum("ijr,mjr->mir", self.s, z), self.u)
        y = y.reshape(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias

    @classmethod
    def from_dense(
        cls, weight: Any, blocks: int, rank: int, *, rounds: int = 300, delta: float = 0.1,
        seed: int = 0, history: list[float] | None = None,
    ) -> Self:  # fmt: skip
        """Return a layer near to a matrix.

        Args:
            weight: ``[out, in]`` tensor, array or `nn.Linear`, whose bias comes along.
            blocks: b.
            rank: r.
            rounds: of descent in U, V and s; the step falls from 1 to 0.01.
            delta: δ.
            seed: of the start.
            history: gets the relative error after every round.

        Raises:
            DTypeError, ShapeError, NonFiniteError, ParameterError: something does not fit.
        """
        dense = matrix_of("BLAST.from_dense", weight)
        found = cls(dense.shape[1], dense.shape[0], blocks, rank, has_bias(weight))
        scale = float(dense.std()) or 1.0
        p, q = dense.shape[0] // blocks, dense.shape[1] // blocks
        a = (dense / scale).reshape(blocks, p, blocks, q).transpose(1, 2)
        draw = torch.Generator().manual_seed(seed)
        u, v, s = (
            torch.randn(*shape, generator=draw, dtype=torch.float64)
            for shape in ((blocks, p, rank), (blocks, q, rank), (blocks, blocks, rank))
        )
        u, v = u * 1e-3 / math.sqrt(rank), v * 1e-3 / math.sqrt(rank)
        eye = torch.eye(rank, dtype=torch.float64)

        def rest() -> Tensor:
            return torch.einsum("ipr,ijr,jqr->ijpq", u, s, v) - a

        def direction(slope: Tensor, gram: Tensor, error: Tensor) -> Tensor:
            damped = gram + delta * error.square().sum().sqrt() * eye
            found: Tensor = torch.linalg.solve(damped, slope, left=False)
            return found

        for turn in range(rounds):
            step = 1.0 + (0.01 - 1.0) * turn / max(1, rounds - 1)
            e = rest()
            sv = torch.einsum("ijr,jqr->ijqr", s, v)
            u = u - step * direction(torch.einsum("ijpq,ijqr->ipr", e, sv), torch.einsum("ijqr,ijqt->irt", sv, sv), e)
            e = rest()
            su = torch.einsum("ijr,ipr->ijpr", s, u)
            v = v - step * direction(torch.einsum("ijpq,ijpr->jqr", e, su), torch.einsum("ijpr,ijpt->jrt", su, su), e)
            e = rest()
            grams = torch.einsum("ipr,ipt->irt", u, u)[:, None] * torch.einsum("jqr,jqt->jrt", v, v)[None]
            slope = torch.einsum("ijpq,ipr,jqr->ijr", e, u, v).reshape(-1, 1, rank)
            s = s - step * direction(slope, grams.reshape(-1, rank, rank), e).reshape(s.shape)
            if history is not None:
                history.append(float(rest().norm() / a.norm()))
        with torch.no_grad():
            found.u.copy_(u * scale)
            found.v.copy_(v)
            found.s.copy_(s)
            if found.bias is not None:
                found.bias.copy_(weight.bias)
        return found
