"""Planners: what decides, from queries and keys, which pairs are read.

`Selection` scores blocks and selects among them; `Tree` searches from coarse to fine; `Probe` asks a few queries for
one subset of tokens; a `Pattern` is fixed. A planner sees detached spikes only. In causal use the plan is causal too: a
query chooses among blocks that have ended, by itself, and what looks ahead is refused.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeframe.core.counts import Counts
from spikeframe.errors import ParameterError, ShapeError
from spikeframe.modules.attention.operations import added, heads_of, sorting
from spikeframe.modules.attention.plans import Blocks, Plan, Subset, block_count, everything
from spikeframe.modules.attention.scorers import Scorer, block_sums, products
from spikeframe.modules.attention.selectors import Selector
from spikeframe.modules.checks import whole


class Planner(nn.Module):
    """Base of the planners: called as ``plan, state = planner(q, k, causal, state)``.

    Attributes:
        looks_ahead: whether plans depend on later tokens, so that causal attention cannot use them.
    """

    looks_ahead = False

    def forward(self, q: Tensor, k: Tensor, causal: bool = False, state: Any = None) -> tuple[Plan, Any]:
        """Plan for ``[..., heads, tokens, d]``, of which tokens that are not there are silent."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(q, k, causal, state).")

    def operations(self, q: Tensor, k: Tensor, causal: bool = False) -> Counts:
        """Count what planning takes, from rest."""
        return Counts()

    def loss(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the loss that trains the planner; 0 where nothing is to be learnt."""
        return q.new_zeros(())


class All(Planner):
    """All pairs."""

    def forward(self, q: Tensor, k: Tensor, causal: bool = False, state: Any = None) -> tuple[Plan, Any]:
        """Plan."""
        return everything(q.shape[-2], q.device), None


class Pattern(Planner):
    """A fixed pattern of blocks.

    Args:
        block: tokens in a block.
    """

    def __init__(self, block: int = 1) -> None:
        super().__init__()
        self.block = whole(f"{type(self).__name__}(block)", block)

    def pattern(self, distance: Tensor, key: Tensor) -> Tensor:
        """Return bool: which pairs of blocks are read.

        Args:
            distance: ``[n, n]`` block of the query minus block of the key.
            key: ``[n]`` block of the key.
        """
        raise NotImplementedError(f"{type(self).__name__} must define pattern(distance, key).")

    def forward(self, q: Tensor, k: Tensor, causal: bool = False, state: Any = None) -> tuple[Plan, Any]:
        """Plan."""
        number = torch.arange(block_count(q.shape[-2], self.block), device=q.device)
        chosen = self.pattern(number[:, None] - number, number)
        return Blocks(chosen & (number[:, None] >= number) if causal else chosen, self.block, self.block), None


class Window(Pattern):
    """Blocks less than so many apart, and the first ones.

    Args:
        window: blocks, the own one included.
        sink: first blocks that everyone reads.
        block: tokens in a block.
    """

    def __init__(self, window: int, sink: int = 0, block: int = 1) -> None:
        super().__init__(block)
        self.window, self.sink = whole("Window(window)", window), whole("Window(sink)", sink, 0)

    def pattern(self, distance: Tensor, key: Tensor) -> Tensor:
        """Return which pairs are read."""
        return (distance.abs() < self.window) | (key < self.sink)


class PowersOfTwo(Window):
    """`Window`, and blocks at distances 1, 2, 4, 8, ... (PowerAttention): fixed delays, all within log2 n layers."""

    def pattern(self, distance: Tensor, key: Tensor) -> Tensor:
        """Return which pairs are read."""
        far = distance.abs()
        return super().pattern(distance, key) | ((far > 0) & (far & (far - 1) == 0))


class Accumulated(NamedTuple):
    """State of a selection whose plans are reused: spikes summed so far, and as they were when last planned.

    Attributes:
        q: ``[..., heads, tokens, d]``.
        k: as q.
        planned_q: as q.
        planned_k: as q.
        steps: done.
    """

    q: Tensor
    k: Tensor
    planned_q: Tensor
    planned_k: Tensor
    steps: int


class Selection(Planner):
    """Score blocks, then select.

    Args:
        scorer: what scores them.
        selector: what selects among them.
        sink: first blocks that everyone reads.
        local: blocks around the query's own that it reads: 1 is the own one, 2 its neighbours too.
        order: ``[tokens]`` in which blocks are cut, e.g. `cuboids(...)`; None leaves the order.
        share_heads: whether all heads use the plan of their summed scores.
        reuse: ``"step"``: a plan for every step. ``"window"``: one plan from the spikes of all steps, which the first
            axis holds; not causal in time. ``"stream"``: from the spikes so far, renewed every `every` steps.
        every: steps for which a plan is kept.

    Raises:
        ParameterError: an argument is out of range.
    """

    def __init__(
        self,
        scorer: Scorer,
        selector: Selector,
        *,
        sink: int = 0,
        local: int = 0,
        order: Tensor | None = None,
        share_heads: bool = False,
        reuse: str = "step",
        every: int = 1,
    ) -> None:
        super().__init__()
        if reuse not in ("step", "window", "stream"):
            raise ParameterError(f"Selection(reuse={reuse!r}): must be 'step', 'window' or 'stream'.")
        self.scorer, self.selector = scorer, selector
        self.sink, self.local = whole("Selection(sink)", sink, 0), whole("Selection(local)", local, 0)
        self.register_buffer("order", order)
        self.order: Tensor | None
        self.share_heads, self.reuse, self.every = share_heads, reuse, whole("Selection(every)", every)
        over_head = getattr(selector, "over", "row") == "head"
        self.looks_ahead = scorer.looks_ahead or over_head or order is not None

    def forward(self, q: Tensor, k: Tensor, causal: bool = False, state: Any = None) -> tuple[Plan, Any]:
        """Plan; steps are the first axis where plans are reused."""
        q, k = q.detach(), k.detach()
        q, k, which, state = self._accumulated(q, k, state)
        chosen = self._chosen(q, k, causal)
        if which is not None:
            chosen = chosen[which]
        return Blocks(chosen, self.scorer.rows, self.scorer.columns, self.order), state

    @torch.no_grad()
    def _chosen(self, q: Tensor, k: Tensor, causal: bool) -> Tensor:
        if self.order is not None:
            if len(self.order) != q.shape[-2]:
                raise ShapeError(f"Selection: {q.shape[-2]} tokens; its order is one of {len(self.order)}.")
            q, k = q[..., self.order, :], k[..., self.order, :]
        score = self.scorer(q, k)
        if self.share_heads:
            score = score.sum(-3, keepdim=True)
        allowed, forced = self._blocks(q.shape[-2], causal, q.device)
        active = block_sums((q != 0).to(q), self.scorer.rows).sum(-1, keepdim=True) > 0
        if self.share_heads:
            active = active.any(-3, keepdim=True)
        return self.selector(score, allowed, forced) & active

    def _blocks(self, tokens: int, causal: bool, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return which pairs of blocks may be chosen by score, and which are forced."""
        rows, columns = self.scorer.rows, self.scorer.columns
        first = torch.arange(0, tokens, rows, device=device)[:, None]
        last = first + rows - 1
        key = torch.arange(block_count(tokens, columns), device=device)
        forced = (key < self.sink) | (
            (key > torch.div(first, columns, rounding_mode="floor") - self.local)
            & (key < torch.div(last, columns, rounding_mode="floor") + self.local)
        )
        if not causal:
            return torch.ones_like(forced), forced
        return (key + 1) * columns - 1 <= first, forced & (key * columns <= first)

    def _accumulated(self, q: Tensor, k: Tensor, state: Any) -> tuple[Tensor, Tensor, Tensor | None, Any]:
        """Return the spikes that plans are made from, the plan of each step, and the state."""
        if self.reuse == "step":
            return q, k, None, None
        if q.ndim < 4:
            raise ShapeError(
                f"Selection(reuse={self.reuse!r}): q has shape {tuple(q.shape)}; the first axis must be steps."
            )
        if self.reuse == "window":
            return q.sum(0, keepdim=True), k.sum(0, keepdim=True), None, None
        if state is None:
            zero = torch.zeros_like(q[0])
            state = Accumulated(zero, zero, zero, zero, 0)
        if state.q.shape != q.shape[1:]:
            raise ShapeError(f"Selection: state of {tuple(state.q.shape)}; the input asks for {tuple(q.shape[1:])}.")
        sums = [state.q + q.cumsum(0), state.k + k.cumsum(0)]
        number = torch.arange(state.steps, state.steps + len(q), device=q.device)
        renewed = (number % self.every == 0).nonzero()[:, 0]
        planned = [torch.cat([old[None], x[renewed]]) for old, x in zip(state[2:4], sums, strict=True)]
        which = (number % self.every == 0).cumsum(0)
        after = Accumulated(sums[0][-1], sums[1][-1], planned[0][-1], planned[1][-1], state.steps + len(q))
        return planned[0], planned[1], which, after if len(q) else state

    def operations(self, q: Tensor, k: Tensor, causal: bool = False) -> Counts:
        """Count representatives, products, sorting and the plan's words; with reuse, of the plans made."""
        q, k = q.detach(), k.detach()
        found = Counts()
        if self.reuse != "step":
            found = Counts(syn_ac=int(q.count_nonzero() + k.count_nonzero()))
        q, k, _, _ = self._accumulated(q, k, None)
        if self.reuse == "stream":
            q, k = q[1:], k[1:]
        chosen = self._chosen(q, k, causal)
        lists = chosen.numel() // max(chosen.shape[-1], 1)
        compared = sorting(lists, chosen.shape[-1]) if self.selector.sorts else chosen.numel()
        return found + self.scorer.operations(q, k) + Counts(neu_cmp=compared, mem_wr_s=int(chosen.sum()))

    def loss(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the scorer's loss."""
        return self.scorer.loss(q, k)


class Tree(Planner):
    """Search from coarse to fine (HiP): split every interval kept in two, keep the best, until they are blocks.

    Args:
        keep: blocks of keys kept.
        columns: keys in a block.
        rows: queries in a block.
        first: whether an interval is represented by its first block, as published, or by the sum of its spikes, which
            needs running sums and finds what lies elsewhere in the interval.
        sink: first blocks that everyone reads.
        local: blocks around the query's own that it reads.
    """

    def __init__(
        self, keep: int, columns: int = 1, rows: int = 1, *, first: bool = False, sink: int = 0, local: int = 0
    ) -> None:
        super().__init__()
        self.keep, self.columns, self.rows = (
            whole(f"Tree({name})", n) for name, n in (("keep", keep), ("columns", columns), ("rows", rows))
        )
        self.first, self.sink, self.local = first, whole("Tree(sink)", sink, 0), whole("Tree(local)", local, 0)
        self.looks_ahead = self.rows > 1

    @torch.no_grad()
    def forward(self, q: Tensor, k: Tensor, causal: bool = False, state: Any = None) -> tuple[Plan, Any]:
        """Plan."""
        chosen, _ = self._search(q.detach(), k.detach(), causal)
        return Blocks(chosen, self.rows, self.columns), None

    def levels(self, blocks: int) -> int:
        """Return how many times intervals are split.

        Args:
            blocks: of keys.
        """
        return max(math.ceil(math.log2(blocks / self.keep)), 0) if blocks else 0

    def _search(self, q: Tensor, k: Tensor, causal: bool) -> tuple[Tensor, int]:
        """Return the blocks chosen, and how many scores were computed."""
        tokens = q.shape[-2]
        n, queries = block_count(tokens, self.columns), block_count(tokens, self.rows)
        summed, sums = block_sums(q, self.rows), block_sums(k, self.columns)
        running = torch.cat([torch.zeros_like(sums[..., :1, :]), sums.cumsum(-2)], -2)
        place, key = (torch.arange(many, device=q.device) for many in (queries, n))
        place = place[:, None] * self.rows
        end = (place + 1) // self.columns if causal else torch.full_like(place, n)
        levels = self.levels(n)
        length = 2**levels
        kept = (torch.arange(self.keep, device=q.device) * length).expand(*q.shape[:-2], queries, -1)
        scored = 0
        score = summed.new_zeros(kept.shape)
        for _ in range(levels):
            length //= 2
            halves = torch.stack([kept, kept + length], -1).flatten(-2)
            inside = halves < end
            low, high = (x.minimum(end).clamp(max=n) for x in (halves, halves + length))
            if self.first:
                high = low + inside.long()
            flat = [x.flatten(-2)[..., None] for x in (low, high)]
            between = torch.take_along_dim(running, flat[1], -2) - torch.take_along_dim(running, flat[0], -2)
            score = (between.view(*low.shape, -1) * summed[..., None, :]).sum(-1)
            scored += int(inside.sum())
            ranking = score.masked_fill(~inside, -math.inf)
            best = torch.sort(ranking, dim=-1, descending=True, stable=True).indices[..., : self.keep]
            kept = torch.take_along_dim(halves, best, -1)
            kept = kept.masked_fill(~torch.take_along_dim(inside, best, -1), n * 2)
            kept = kept.sort(-1).values
        chosen = kept.new_zeros(*kept.shape[:-1], n + 1, dtype=torch.bool)
        chosen = chosen.scatter(-1, kept.clamp(max=n), True)[..., :n] & (key < end)
        own = (place // self.columns, (place + self.rows - 1) // self.columns)
        near = (key > own[0] - self.local) & (key < own[1] + self.local)
        chosen = chosen | (near | (key < self.sink)) & (key * self.columns <= place if causal else key >= 0)
        return chosen & (block_sums((q != 0).to(q), self.rows).sum(-1, keepdim=True) > 0), scored

    def operations(self, q: Tensor, k: Tensor, causal: bool = False) -> Counts:
        """Count running sums, scores (as many additions as the query has active features) and sorting."""
        chosen, scored = self._search(q, k, causal)
        summed = block_sums(q, self.rows)
        active = summed.count_nonzero() / max(summed.numel() // max(summed.shape[-1], 1), 1)
        n = block_count(q.shape[-2], self.columns)
        lists = chosen.numel() // max(n, 1) * self.levels(n)
        built = int(k.count_nonzero()) + int(q.count_nonzero()) * (self.rows > 1)
        return (
            Counts(syn_ac=built, neu_cmp=sorting(lists, 2 * self.keep), mem_wr_s=int(chosen.sum()))
            + added(round(scored * float(active)), summed)
        )  # fmt: skip


class Probe(Planner):
    """One subset of tokens per head (token-sparse attention), from what the last queries read.

    Scores are the last queries' shares of every key, averaged over neighbouring tokens. As many tokens may be dropped
    as together hold less than a share of the heads' mean score; every head keeps its own best, and the last ones.

    Args:
        window: W, last queries that probe.
        drop: share of the score that may be dropped, from 0 (nothing is), below 1.
        least: tokens kept at the least.
        pool: tokens averaged over, odd.

    Raises:
        ParameterError: an argument is out of range.
    """

    looks_ahead = True

    def __init__(self, window: int, drop: float, least: int = 1, pool: int = 1) -> None:
        super().__init__()
        self.window, self.least = whole("Probe(window)", window), whole("Probe(least)", least)
        self.pool = whole("Probe(pool)", pool)
        if isinstance(drop, bool) or not isinstance(drop, (int, float)) or not 0 <= drop < 1 or self.pool % 2 == 0:
            raise ParameterError(f"Probe(drop={drop!r}, pool={pool!r}): drop must be from 0 and below 1, pool odd.")
        self.drop = float(drop)

    def shares(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the share of every token in what the last queries read, ``[..., heads, tokens]``.

        Args:
            q: ``[..., heads, tokens, d]``.
            k: as q.
        """
        mass = (k @ q[..., -self.window :, :].sum(-2).unsqueeze(-1)).squeeze(-1).relu()
        if self.pool > 1:
            flat = functional.avg_pool1d(
                mass.reshape(-1, 1, mass.shape[-1]), self.pool, 1, self.pool // 2, count_include_pad=False
            )
            mass = flat.view(mass.shape)
        return mass / mass.sum(-1, keepdim=True).clamp(min=1e-6)

    @torch.no_grad()
    def forward(self, q: Tensor, k: Tensor, causal: bool = False, state: Any = None) -> tuple[Plan, Any]:
        """Plan."""
        if q.shape[-2] == 0:
            return Subset(q.new_zeros(q.shape[:-1], dtype=torch.bool)), None
        share = self.shares(q.detach(), k.detach())
        mean = share.mean(-2).sort(-1).values.double()
        fewer = (mean.cumsum(-1) < self.drop).sum(-1) if self.drop else torch.zeros_like(mean[..., 0], dtype=torch.long)
        number = (share.shape[-1] - fewer).clamp(min=min(self.least, share.shape[-1]))
        order = torch.sort(share, dim=-1, descending=True, stable=True).indices
        kept = inverse_rank(order) < number[..., None, None]
        kept[..., -self.window :] = True
        return Subset(kept & ((q != 0).any(-1) | (k != 0).any(-1))), None

    def operations(self, q: Tensor, k: Tensor, causal: bool = False) -> Counts:
        """Count the probing sums, their products with keys, and sorting."""
        last = q[..., -self.window :, :]
        probe = last.sum(-2, keepdim=True)
        groups = heads_of(q)
        return (
            Counts(syn_ac=int(last.count_nonzero()), neu_cmp=sorting(2 * groups, q.shape[-2]))
            + Counts(mem_wr_s=int(self(q, k)[0].mask().any(-1).sum()))
            + added(products(probe, k), k)
        )


def inverse_rank(order: Tensor) -> Tensor:
    """Return the rank of every index in orders along the last axis.

    Args:
        order: ``[..., n]``.
    """
    rank = torch.arange(order.shape[-1], device=order.device).expand(order.shape)
    return torch.zeros_like(order).scatter(-1, order, rank)
