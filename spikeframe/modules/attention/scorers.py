r"""Scorers: how promising each block of keys is to each block of queries, before any pair is computed.

.. math:: \sum_{i \in I, j \in J} q_i \cdot k_j = \Big(\sum_{i \in I} q_i\Big) \cdot \Big(\sum_{j \in J} k_j\Big)

So with overlaps the product of summed spikes (`Sums`) is the mass of a block itself, not an approximation of it; other
scorers are worth having for other scores, for fewer operations, or because they learn. All work on detached spikes;
what learns does so from its own loss.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeframe.core.counts import Counts
from spikeframe.errors import ParameterError, ShapeError
from spikeframe.modules.attention.operations import added
from spikeframe.modules.attention.plans import block_count, cut
from spikeframe.modules.checks import whole


def block_sums(x: Tensor, size: int) -> Tensor:
    """Return the sums of neighbouring tokens, ``[..., tokens / size, d]``.

    Args:
        x: ``[..., tokens, d]``.
        size: tokens in a block.
    """
    return cut(x, -2, (block_count(x.shape[-2], size), size)).sum(-2)


def products(a: Tensor, b: Tensor) -> int:
    """Count the products of nonzero entries in ``a @ b.T``.

    Args:
        a: ``[..., m, d]``.
        b: ``[..., n, d]``.
    """
    return int(((a != 0).double().sum(-2) * (b != 0).double().sum(-2)).sum())


class Scorer(nn.Module):
    """Base of the scorers: called as ``scorer(q, k)`` with ``[..., heads, tokens, d]``.

    Attributes:
        rows: queries in a block.
        columns: keys in a block.
        looks_ahead: whether a score depends on later tokens than the query's own and those of the block scored.
    """

    rows = 1
    columns = 1
    looks_ahead = False

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """Return scores ``[..., heads, blocks of queries, blocks of keys]``."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(q, k).")

    def operations(self, q: Tensor, k: Tensor) -> Counts:
        """Count what scoring these spikes takes."""
        raise NotImplementedError(f"{type(self).__name__} must define operations(q, k).")

    def loss(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the loss that trains the scorer; 0 where nothing is to be learnt."""
        return q.new_zeros(())


class Sums(Scorer):
    """Spikes summed in blocks: the exact mass of a block pair.

    Args:
        columns: keys in a block.
        rows: queries in a block.
    """

    def __init__(self, columns: int, rows: int = 1) -> None:
        super().__init__()
        self.columns, self.rows = whole("Sums(columns)", columns), whole("Sums(rows)", rows)
        self.looks_ahead = self.rows > 1

    def _sums(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        return block_sums(q, self.rows), block_sums(k, self.columns)

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the mass of every pair of blocks."""
        a, b = self._sums(q, k)
        return a @ b.transpose(-1, -2)

    def operations(self, q: Tensor, k: Tensor) -> Counts:
        """Count the sums and their products."""
        a, b = self._sums(q, k)
        sums = sum(int(x.count_nonzero()) for x, size in ((q, self.rows), (k, self.columns)) if size > 1)
        return Counts(syn_ac=sums) + added(products(a, b), a, b)


class Bound(Scorer):
    """Bound of every overlap in a block: the query against the largest and smallest of each feature (Quest).

    Args:
        columns: keys in a block.
    """

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns = whole("Bound(columns)", columns)

    def _ends(self, k: Tensor) -> tuple[Tensor, Tensor]:
        blocks = cut(k, -2, (block_count(k.shape[-2], self.columns), self.columns))
        return (blocks.amax(-2), blocks.amin(-2)) if k.shape[-2] else (blocks.sum(-2), blocks.sum(-2))

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the bound, for every query."""
        high, low = self._ends(k)
        return q.relu() @ high.transpose(-1, -2) - (-q).relu() @ low.transpose(-1, -2)

    def operations(self, q: Tensor, k: Tensor) -> Counts:
        """Count comparisons of keys, and products."""
        high, low = self._ends(k)
        number = products(q.relu(), high) + products((-q).relu(), low)
        return Counts(neu_cmp=2 * int(k.count_nonzero())) + added(number, q)


class LeadingFeatures(Scorer):
    """Overlap in the first features only, of every pair of tokens.

    Args:
        count: r, how many features.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = whole("LeadingFeatures(count)", count)

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """Return overlaps."""
        return q[..., : self.count] @ k[..., : self.count].transpose(-1, -2)

    def operations(self, q: Tensor, k: Tensor) -> Counts:
        """Count the hits."""
        a, b = q[..., : self.count], k[..., : self.count]
        return added(products(a, b), a, b)


class PooledGate(Scorer):
    """Learnt gate on pooled queries and keys (SeerAttention): sum of queries; sum and maximum of keys.

    It starts as `Sums`: the projections are the identity. Trained to the masses of blocks, by the divergence of row
    shares.

    Args:
        heads: how many.
        features: d.
        columns: keys in a block.
        rows: queries in a block.
        hidden: width of the projections; d if not given.
    """

    def __init__(self, heads: int, features: int, columns: int, rows: int = 1, hidden: int | None = None) -> None:
        super().__init__()
        self.columns, self.rows = whole("PooledGate(columns)", columns), whole("PooledGate(rows)", rows)
        self.looks_ahead = self.rows > 1
        hidden = features if hidden is None else whole("PooledGate(hidden)", hidden)
        start = torch.eye(features, hidden).expand(heads, -1, -1)
        self.query = nn.Parameter(start.clone())
        self.key = nn.Parameter(torch.cat([start, torch.zeros_like(start)], 1))

    def _pooled(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        blocks = cut(k, -2, (block_count(k.shape[-2], self.columns), self.columns))
        largest = blocks.amax(-2) if k.shape[-2] else blocks.sum(-2)
        return block_sums(q, self.rows), torch.cat([blocks.sum(-2), largest], -1)

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the gate's logits."""
        a, b = self._pooled(q, k)
        return (a @ self.query.to(q)) @ (b @ self.key.to(q)).transpose(-1, -2)

    def operations(self, q: Tensor, k: Tensor) -> Counts:
        """Count pooling, projections and products."""
        a, b = self._pooled(q, k)
        hidden = self.query.shape[-1]
        pooled = int(q.count_nonzero()) * (self.rows > 1) + int(k.count_nonzero()) * (self.columns > 1)
        macs = hidden * int(a.count_nonzero() + b.count_nonzero()) + hidden * a.shape[-2] * b.shape[-2] * (
            a.numel() // max(a.shape[-1] * a.shape[-2], 1)
        )
        return Counts(syn_ac=pooled, neu_cmp=int(k.count_nonzero()), syn_mac=macs)

    def loss(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the divergence of the gate's rows from the shares of mass; trains the gate alone."""
        q, k = q.detach(), k.detach()
        mass = (block_sums(q, self.rows) @ block_sums(k, self.columns).transpose(-1, -2)).relu()
        total = mass.sum(-1, keepdim=True)
        target = mass / total.clamp(min=1e-6)
        gate = torch.log_softmax(self(q, k) / self.query.shape[-1] ** 0.5, -1)
        rows = functional.kl_div(gate, target, reduction="none").sum(-1)
        return rows[total[..., 0] > 0].mean() if bool((total > 0).any()) else rows.sum() * 0.0


class TokenBasis(Scorer):
    r"""Low-rank guess of the map of all pairs, in a learnt basis over the places of tokens (Sparsifiner).

    .. math:: c = softmax(q P_q (W_{down} k P_k)^T / \sqrt r), \qquad \tilde A = c \, W_{up}

    Args:
        tokens: N, fixed.
        features: d.
        basis: rows of the basis; N / 8 if not given.
        rank: r; d / 2 if not given.
    """

    looks_ahead = True

    def __init__(self, tokens: int, features: int, basis: int | None = None, rank: int | None = None) -> None:
        super().__init__()
        basis = max(tokens // 8, 1) if basis is None else whole("TokenBasis(basis)", basis)
        rank = max(features // 2, 1) if rank is None else whole("TokenBasis(rank)", rank)
        self.tokens = whole("TokenBasis(tokens)", tokens)
        wide = 3.0 / features**0.5  # so that the softmax does not start flat
        self.query, self.key = (nn.Parameter(wide * torch.randn(features, rank)) for _ in range(2))
        self.down = nn.Parameter(torch.randn(basis, tokens) / tokens**0.5)
        self.up = nn.Parameter(torch.randn(basis, tokens) / tokens**0.5)

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the guessed map."""
        if q.shape[-2] != self.tokens:
            raise ShapeError(f"TokenBasis: {q.shape[-2]} tokens; its basis is one over {self.tokens} places.")
        keys = self.down.to(q) @ (k @ self.key.to(q))
        c = torch.softmax((q @ self.query.to(q)) @ keys.transpose(-1, -2) / self.query.shape[1] ** 0.5, -1)
        return c @ self.up.to(q)

    def operations(self, q: Tensor, k: Tensor) -> Counts:
        """Count projections, coefficients and the map."""
        basis, rank = len(self.down), self.query.shape[1]
        groups = q.numel() // max(q.shape[-1] * q.shape[-2], 1)
        adds = rank * int(q.count_nonzero() + k.count_nonzero())
        each = basis * self.tokens * rank * 2 + self.tokens * basis * self.tokens
        return added(adds, q, k) + Counts(dense_mac=groups * each, neu_exp=groups * self.tokens * basis)

    def loss(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the mean squared distance from N times the shares of overlap; trains the guess alone."""
        q, k = q.detach(), k.detach()
        mass = (q @ k.transpose(-1, -2)).relu()
        target = self.tokens * mass / mass.sum(-1, keepdim=True).clamp(min=1e-6)
        return functional.mse_loss(self(q, k), target)


def check_share(what: str, value: float) -> float:
    """Return a share above 0 and at most 1.

    Args:
        what: its name, for the message.
        value: what was given.

    Raises:
        ParameterError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise ParameterError(f"{what}={value!r}: must be above 0 and at most 1.")
    return float(value)
