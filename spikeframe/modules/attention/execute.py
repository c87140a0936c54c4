"""Executors: three ways to run a plan, which agree, and the choice between them by measured spike rates.

`dense` computes all pairs and masks them, and is what the others are tested against; `gather` fetches the chosen
blocks of keys for each block of queries, differentiable too; `events` works through active spikes only and counts what
it does. With whole-number spikes all three give the same numbers to the bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from spikeframe.core.counts import Counts
from spikeframe.errors import DTypeError, NonFiniteError, ShapeError, unknown_name
from spikeframe.kernels.attention import provider
from spikeframe.modules.attention.operations import Operations
from spikeframe.modules.attention.plans import Blocks, Plan, Subset, cut, inverse, permitted
from spikeframe.modules.attention.scores import Score
from spikeframe.modules.checks import on_cpu

EXECUTIONS = ("auto", "dense", "gather", "events")

#: Nanoseconds on one core of the machine where they were measured; `benchmarks/attention.py` has what is fastest beside
#: what they choose. Dense: a pair, a multiply-accumulate. Gather: the same, and a feature fetched. Events: an entry
#: that is scanned, a block of keys that a query visits, an addition.
PAIR, MAC, FETCH, SCAN, VISIT, ADD = 4.0, 0.025, 6.0, 3.0, 7.0, 6.0


class Choice(NamedTuple):
    """Which executor is taken, and why.

    Attributes:
        execution: ``"dense"``, ``"gather"`` or ``"events"``.
        reason: in words.
    """

    execution: str
    reason: str


def check(q: Tensor, k: Tensor, v: Tensor, valid: Tensor | None = None) -> None:
    """Refuse queries, keys and values that do not fit together.

    Args:
        q: ``[..., heads, tokens, d]``.
        k: ``[..., heads, tokens, d]``.
        v: ``[..., heads, tokens, e]``.
        valid: ``[..., tokens]`` bool, or None.

    Raises:
        ShapeError, DTypeError, NonFiniteError: they are not usable.
    """
    for name, x in (("q", q), ("k", k), ("v", v)):
        if not isinstance(x, Tensor) or x.dtype not in (torch.float32, torch.float64) or x.dtype != q.dtype:
            got = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise DTypeError(f"attention: {name} is {got}; q, k and v must be float32, or float64, tensors.")
        if not bool(torch.isfinite(x).all()):
            place = (~torch.isfinite(x)).nonzero()[0].tolist()
            raise NonFiniteError(f"attention: {name}{place} (..., head, token, feature) is not finite.")
    if q.ndim < 3 or q.shape != k.shape or v.shape[:-1] != q.shape[:-1]:
        raise ShapeError(
            f"attention: q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}; they must be "
            "[..., heads, tokens, features] and alike but for the features of v."
        )
    if valid is not None and (valid.dtype != torch.bool or valid.shape[-1] != q.shape[-2]):
        raise ShapeError(
            f"attention: valid is {valid.dtype} {tuple(valid.shape)}; it must be bool [..., {q.shape[-2]}]."
        )


def dense(
    q: Tensor, k: Tensor, v: Tensor, plan: Plan, score: Score, causal: bool = False, valid: Tensor | None = None
) -> Tensor:
    """Compute all pairs and mask them: the reference.

    Args:
        q: ``[..., heads, tokens, d]``.
        k: ``[..., heads, tokens, d]``.
        v: ``[..., heads, tokens, e]``.
        plan: which pairs are read.
        score: how they are weighted.
        causal: whether a token reads itself and earlier ones only.
        valid: ``[..., tokens]`` bool, tokens that are there; None if all are.

    Returns:
        ``[..., heads, tokens, e]``.
    """
    mask = plan.mask() & permitted(q.shape[-2], causal, valid, q.device)
    return score.weights(q @ k.transpose(-1, -2), mask) @ v


def gather(
    q: Tensor, k: Tensor, v: Tensor, plan: Plan, score: Score, causal: bool = False, valid: Tensor | None = None
) -> Tensor:
    """Fetch the chosen blocks of keys for each block of queries; arguments and result as for `dense`."""
    if isinstance(plan, Subset):
        return _gather_subset(q, k, v, plan, score, causal, valid)
    tokens, lead = q.shape[-2], q.shape[:-2]
    if tokens == 0:
        return v.clone()
    place = torch.arange(tokens, device=q.device) if plan.order is None else plan.order
    q, k, v = (x if plan.order is None else x[..., place, :] for x in (q, k, v))
    rows, columns = plan.rows, plan.columns
    keys, query = place.view(-1, columns), place.view(-1, rows)
    chosen = plan.chosen & (keys.amin(1) <= query.amax(1, keepdim=True)) if causal else plan.chosen
    chosen = chosen.expand(*lead, len(query), len(keys))
    index, there = listed(chosen)
    most = index.shape[-1]
    token = keys[index]  # [..., blocks of queries, most, columns]
    mask = there[..., None].expand_as(token).flatten(-2)[..., None, :]
    token = token.flatten(-2)[..., None, :]
    if causal:
        mask = mask & (token <= query[..., None])
    if valid is not None:
        known = (valid.unsqueeze(-2) if valid.ndim > 1 else valid).expand(*lead, tokens)
        seen = torch.take_along_dim(known, token.flatten(-3), -1).view(token.shape)
        mask = mask & seen & known[..., query][..., None]
    flat = index.flatten(-2)[..., None]

    def fetched(x: Tensor) -> Tensor:
        blocks = cut(x, -2, (-1, columns)).flatten(-2)
        found = torch.take_along_dim(blocks, flat, -2)
        return found.view(*lead, len(query), most * columns, x.shape[-1])

    overlap = cut(q, -2, (-1, rows)) @ fetched(k).transpose(-1, -2)
    out = (score.weights(overlap, mask) @ fetched(v)).flatten(-3, -2)
    return out if plan.order is None else out[..., inverse(place), :]


def listed(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices of chosen entries, as many for every row, in order.

    Args:
        chosen: ``[..., n]`` bool.

    Returns:
        ``[..., most]`` indices, 0 where a row has fewer, and bool: which are there.
    """
    number = chosen.sum(-1, keepdim=True)
    most = max(int(number.max()), 1) if chosen.numel() else 1
    rank = (chosen.cumsum(-1) - 1).masked_fill(~chosen, most)
    place = torch.arange(max(chosen.shape[-1], most), device=chosen.device)
    index = place.new_zeros(*chosen.shape[:-1], most + 1)
    index.scatter_(-1, rank, place[: chosen.shape[-1]].expand(chosen.shape))
    return index[..., :most], place[:most] < number


def _gather_subset(
    q: Tensor, k: Tensor, v: Tensor, plan: Subset, score: Score, causal: bool, valid: Tensor | None
) -> Tensor:
    """Run the tokens that are kept as a shorter sequence, and put the outputs back."""
    kept = plan.kept.expand(q.shape[:-1])
    if valid is not None:
        kept = kept & (valid.unsqueeze(-2) if valid.ndim > 1 else valid)
    index, there = listed(kept)
    most, index = index.shape[-1], index[..., None]
    short = [torch.take_along_dim(x, index, -2) for x in (q, k, v)]
    mask = there.unsqueeze(-1) & there.unsqueeze(-2) & permitted(most, causal, device=q.device)
    out = score.weights(short[0] @ short[1].transpose(-1, -2), mask) @ short[2]
    return torch.zeros_like(v).scatter_add(-2, index.expand_as(out), out)


def events(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    plan: Plan,
    score: Score,
    causal: bool = False,
    valid: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Operations]:
    """Work through active spikes only; for inference on the CPU.

    Args:
        q: ``[..., heads, tokens, d]``.
        k: ``[..., heads, tokens, d]``.
        v: ``[..., heads, tokens, e]``.
        plan: which pairs are read.
        score: how they are weighted; not softmax.
        causal: whether a token reads itself and earlier ones only.
        valid: ``[..., tokens]`` bool, tokens that are there; None if all are.
        backend: ``"auto"``, ``"numba"`` or ``"reference"``.

    Returns:
        ``[..., heads, tokens, e]``, and what was done.

    Raises:
        BackendError: the tensors are not on the CPU, or the backend is not there.
        UnsupportedLayerError: the score has no event-driven form.
    """
    on_cpu("event-driven attention", q)
    q, k, v = (x.detach() for x in (q, k, v))
    tokens = q.shape[-2]
    silent = [valid.unsqueeze(-2) if valid.ndim > 1 else valid] if valid is not None else []
    silent += [plan.kept] if isinstance(plan, Subset) else []
    for there in silent:
        q, k, v = (x * there.unsqueeze(-1) for x in (q, k, v))
    chosen = plan.chosen if isinstance(plan, Blocks) else torch.ones(1, 1, dtype=torch.bool)
    order = plan.order if isinstance(plan, Blocks) else None
    place = torch.arange(tokens) if order is None else order
    out = v.new_zeros(v.shape)
    counts = np.zeros(7, np.int64)
    a, b, c = (x.flatten(0, -3).contiguous().numpy() for x in (q, k, v))
    chosen = chosen.expand(*q.shape[:-2], -1, -1).flatten(0, -3)
    provider(backend).attend(
        a, b, c, chosen.contiguous().numpy(), place.numpy(), causal, score.number, score.scale, float(score.theta),
        out.view(c.shape).numpy(), counts,
    )  # fmt: skip
    hits, entries, _, divided, *graded = counts.tolist()
    made = Counts(**{"syn_mac" if min(graded[:2]) else "syn_ac": hits})
    made += Counts(**{"syn_mac" if graded[2] else "syn_ac": entries})
    return out, Operations(made + Counts(neu_mac=divided * v.shape[-1]))


def choose(q: Tensor, k: Tensor, v: Tensor, plan: Plan, score: Score) -> Choice:
    """Choose an executor by the rates of these spikes and the density of this plan.

    Args:
        q: ``[..., heads, tokens, d]``.
        k: ``[..., heads, tokens, d]``.
        v: ``[..., heads, tokens, e]``.
        plan: which pairs are read.
        score: how they are weighted.
    """
    rates = [int(x.count_nonzero()) / max(x.numel(), 1) for x in (q, k, v)]
    tokens, width = q.shape[-2], q.shape[-1] + v.shape[-1]
    kept = plan.chosen.double().mean() if isinstance(plan, Blocks) else plan.kept.double().mean() ** 2
    density = float(kept) if tokens else 0.0
    rows, blocks = (plan.rows, plan.chosen.shape[-1]) if isinstance(plan, Blocks) else (tokens, 1)
    pairs = density * tokens * tokens  # of a head
    pair = PAIR + MAC * width
    costs = {"dense": tokens * tokens * pair, "gather": pairs * (pair + FETCH * width / max(rows, 1))}
    learns = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
    if score.kind != "softmax" and q.device.type == "cpu" and not learns:
        hits = q.shape[-1] * rates[0] * rates[1]  # a pair
        additions = pairs * (hits + min(hits, 1.0) * v.shape[-1] * rates[2])
        costs["events"] = tokens * (SCAN * (width + q.shape[-1]) + VISIT * blocks) + ADD * additions
    best = min(costs, key=lambda name: costs[name])
    told = ", ".join(f"{name} {cost / max(costs['dense'], 1.0):.3g}" for name, cost in costs.items())
    return Choice(
        best,
        f"{best}: {rates[0]:.1%} of queries, {rates[1]:.1%} of keys, {rates[2]:.1%} of values active, {density:.1%} of "
        f"pairs chosen; expected time in that of dense: {told}" + ("; gradients are asked for" if learns else ""),
    )


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    plan: Plan,
    score: Score,
    causal: bool = False,
    valid: Tensor | None = None,
    execution: str = "auto",
) -> Tensor:
    """Run a plan; arguments and result as for `dense`.

    Args:
        q: queries.
        k: keys.
        v: values.
        plan: which pairs are read.
        score: how they are weighted.
        causal: whether a token reads itself and earlier ones only.
        valid: tokens that are there.
        execution: ``"dense"``, ``"gather"``, ``"events"``, or ``"auto"`` for what `choose` says.

    Raises:
        UnknownNameError: there is no such execution.
    """
    if execution not in EXECUTIONS:
        raise unknown_name("execution", execution, EXECUTIONS)
    name = choose(q, k, v, plan, score).execution if execution == "auto" else execution
    if name == "events":
        return events(q, k, v, plan, score, causal, valid)[0]
    return (gather if name == "gather" else dense)(q, k, v, plan, score, causal, valid)
