r"""Dictionary factors (CoSpaDi): a weight as few atoms for each neuron out of a shared dictionary.

.. math:: W = C D, \qquad D \in R^{k \times in}, \qquad \|C_j\|_0 = s \ \text{for every target } j

A union of subspaces in place of a single one. `from_dense` fits it to the outputs on calibration data: with
:math:`L L^T = X^T X`, the rows of ``W L`` are coded by orthogonal matching pursuit and atoms are renewed one by one
(K-SVD: the rank-one fit of what its users leave), in turn. Codes are stored with constant fan-in. Parameters:
``k in + s out``. Cost of a step: k additions per spike, then ``s out`` multiply-accumulates; good for storage, not for
events: `to_linear` unpacks. Reference: Shopkhoev et al. 2025 (CoSpaDi), arXiv:2509.22075.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from spikeframe.errors import ParameterError
from spikeframe.kernels.formats import Condensed, Format, narrow
from spikeframe.modules.checks import whole
from spikeframe.modules.structured.factor import Chain, StructuredLinear, event_major, matrix_of, second_moment
from spikeframe.modules.structured.sparse_linear import SparseLinear


class DictSparse(StructuredLinear):
    """A layer of dictionary and sparse codes.

    Args:
        dictionary: D ``[k, in]``.
        codes: C ``[out, k]``.
        bias: ``[out]`` first values, or None.

    Attributes:
        atoms: D.
        codes: C, a `SparseLinear`.
    """

    def __init__(self, dictionary: Tensor, codes: Format, bias: Tensor | None = None) -> None:
        super().__init__(dictionary.shape[1], codes.shape[0], bias is not None)
        if dictionary.ndim != 2 or dictionary.shape[0] != codes.shape[1]:
            raise ParameterError(
                f"DictSparse: dictionary of shape {tuple(dictionary.shape)} for codes of {codes.shape[1]} atoms."
            )
        self.atoms = nn.Parameter(dictionary.detach().clone())
        self.codes = SparseLinear(codes)
        if bias is not None:
            self.bias = nn.Parameter(bias.detach().clone())

    def chains(self) -> tuple[Chain, ...]:
        """Return D and C."""
        return ((self.atoms, self.codes.to_dense()),)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``W x + bias``.

        Args:
            x: ``[..., in_features]``.

        Raises:
            ShapeError: another number of features.
        """
        self._fits(x)
        y: Tensor = self.codes(nn.functional.linear(x, self.atoms))
        return y if self.bias is None else y + self.bias

    def stored(self) -> list[list[Format]]:
        """Return the factors as the event-driven run holds them."""
        return [[event_major(self.atoms), self.codes.stored_format]]

    @classmethod
    def from_dense(
        cls, weight: Any, atoms: int, fan_in: int, calibration: Tensor | None = None, *, rounds: int = 20,
        seed: int = 0, history: list[float] | None = None,
    ) -> Self:  # fmt: skip
        """Return the layer near to a matrix on the inputs of a calibration set.

        Args:
            weight: ``[out, in]`` tensor, array or `nn.Linear`, whose bias comes along.
            atoms: k.
            fan_in: s, at most k and in.
            calibration: ``[..., in]`` inputs, or None.
            rounds: of coding and renewal; the error does not rise.
            seed: of the rows that the dictionary begins with.
            history: gets the relative error after every round.

        Raises:
            DTypeError, ShapeError, NonFiniteError, ParameterError: something does not fit.
        """
        dense = matrix_of("DictSparse.from_dense", weight)
        k, s = whole("DictSparse(atoms)", atoms), whole("DictSparse(fan_in)", fan_in)
        if s > min(k, dense.shape[1]):
            raise ParameterError(f"DictSparse(fan_in={s}): at most the {k} atoms and the {dense.shape[1]} inputs.")
        root = torch.linalg.cholesky(second_moment("DictSparse.from_dense", calibration, dense.shape[1]))
        rows = dense @ root
        draw = torch.Generator().manual_seed(seed)
        pick = torch.randperm(len(rows), generator=draw)[:k]
        d = torch.cat([rows[pick], torch.randn(k - len(pick), rows.shape[1], generator=draw, dtype=torch.float64)])
        d = d / d.norm(dim=1, keepdim=True).clamp(min=1e-12)
        codes = torch.zeros(len(rows), k, dtype=torch.float64)
        for _ in range(rounds):
            codes = better_coded(rows, d, codes, s)
            renew(rows, d, codes)
            if history is not None:
                history.append(float((rows - codes @ d).norm() / rows.norm()))
        support = _support(codes, s)
        stored = Condensed((len(rows), k), np.take_along_axis(codes.numpy(), support, 1).astype(np.float32),
                           narrow(support, k))  # fmt: skip
        atoms_ = torch.linalg.solve_triangular(root, d, upper=False, left=False).float()
        bias = weight.bias if isinstance(weight, nn.Linear) else None
        return cls(atoms_, stored, bias)


def pursuit(rows: Tensor, atoms: Tensor, count: int) -> Tensor:
    """Return codes ``[rows, k]`` of at most `count` atoms each, by orthogonal matching pursuit.

    Args:
        rows: ``[rows, in]``.
        atoms: ``[k, in]`` of length one.
        count: s.
    """
    gram, product = atoms @ atoms.T, rows @ atoms.T
    chosen = torch.zeros(len(rows), 0, dtype=torch.int64)
    left = product.clone()
    value = torch.zeros(len(rows), 0, dtype=rows.dtype)
    for _ in range(count):
        score = left.abs().scatter(1, chosen, -1.0)
        chosen = torch.cat([chosen, score.argmax(1, keepdim=True)], 1)
        own = gram[chosen[:, :, None], chosen[:, None, :]]
        own = own + 1e-10 * torch.eye(chosen.shape[1], dtype=rows.dtype)
        value = torch.linalg.solve(own, product.gather(1, chosen))
        left = product - (value[:, None, :] @ gram[chosen])[:, 0]
    return torch.zeros_like(product).scatter(1, chosen, value)


def better_coded(rows: Tensor, atoms: Tensor, codes: Tensor, count: int) -> Tensor:
    """Return new codes for the rows that pursuit codes better, the old ones for the others.

    Args:
        rows: ``[rows, in]``.
        atoms: ``[k, in]``.
        codes: ``[rows, k]`` before.
        count: s.
    """
    new = pursuit(rows, atoms, count)
    before, after = ((rows - c @ atoms).square().sum(1) for c in (codes, new))
    return torch.where((after <= before)[:, None], new, codes)


def renew(rows: Tensor, atoms: Tensor, codes: Tensor) -> None:
    """Replace every atom and its codes by the best ones for what its users leave, in place.

    Args:
        rows: ``[rows, in]``.
        atoms: ``[k, in]``.
        codes: ``[rows, k]``.
    """
    rest = rows - codes @ atoms
    for a in range(len(atoms)):
        users = codes[:, a].nonzero()[:, 0]
        if len(users) == 0:
            continue
        own = rest[users] + codes[users, a, None] * atoms[a]
        u, s, v = torch.linalg.svd(own, full_matrices=False)
        atoms[a], codes[users, a] = v[0], s[0] * u[:, 0]
        rest[users] = own - codes[users, a, None] * atoms[a]


def _support(codes: Tensor, count: int) -> Any:
    """Return the `count` largest entries' places of each row, ascending."""
    return torch.sort(codes.abs().topk(count, dim=1).indices, 1).values.numpy()
