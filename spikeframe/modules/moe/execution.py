"""Executions of a plan in torch: all experts on all rows (the reference), or each on the rows that chose it.

Both add the experts' currents in rising order, so that on a grid where sums are exact they agree to the bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spikeframe.modules.moe.experts import Expert, State
from spikeframe.modules.moe.plan import Plan
from spikeframe.modules.moe.policies import Policy, _column

Result = tuple[Tensor, tuple[State, ...], Tensor]


def dense(x: Tensor, plan: Plan, experts: Any, policy: Policy, states: tuple[State, ...], gap: Tensor) -> Result:
    """Run every expert on every row, and count what was selected.

    Args:
        x: ``[T, B, ...]``.
        plan: which count.
        experts: the experts.
        policy: of states of experts that are not selected.
        states: one per expert.
        gap: ``[E, B]`` steps since each last ran.

    Returns:
        Currents ``[T, B, ...]``, states, and gaps (0: states are kept up to date).
    """
    out: Any = 0.0
    after = []
    for e, expert in enumerate(experts):
        if expert.stateful:
            y, state = _every_step(e, expert, x, plan, policy, states[e], gap[e])
        else:
            y, state = expert(x.flatten(0, 1), ())[0].unflatten(0, x.shape[:2]), ()
        weight = torch.where(plan.mask[..., e], plan.weight[..., e], 0.0)
        out = out + weight.to(y).view(*weight.shape, *[1] * (y.ndim - 2)) * y
        after.append(state)
    return out, tuple(after), torch.zeros_like(gap)


def _every_step(
    e: int, expert: Expert, x: Tensor, plan: Plan, policy: Policy, state: State, gap: Tensor
) -> tuple[Tensor, State]:
    """Run one expert with a state on every row; where it is not selected, the policy says what its state becomes."""
    out, one = [], torch.ones_like(gap)
    start = expert.start(x[0])
    state = policy.over(e, expert, state, start, gap)
    for t, frame in enumerate(x):
        y, new = expert(frame, state)
        runs = plan.heard[t] if policy.name == "shadow" else plan.mask[t, :, e]
        idle = policy.over(e, expert, state, start, one)
        state = tuple(torch.where(_column(runs, n), n, s) for n, s in zip(new, idle, strict=True))
        out.append(y)
    return torch.stack(out), state


def grouped(x: Tensor, plan: Plan, experts: Any, policy: Policy, states: tuple[State, ...], gap: Tensor) -> Result:
    """Run every expert on the rows that chose it; see `dense`. States are touched when their expert runs.

    Returns:
        Currents ``[T, B, ...]``, states, and the steps since each expert last ran.
    """
    rows = x.flatten(0, 1)
    out: Tensor | None = None
    after, gaps = [], []
    for e, expert in enumerate(experts):
        if policy.name == "shadow" and expert.stateful:
            every, state = _every_step(e, expert, x, plan, policy, states[e], gap[e])
            chosen = plan.mask[..., e].flatten().nonzero()[:, 0]
            y, left = every.flatten(0, 1)[chosen], torch.zeros_like(gap[e])
        elif expert.stateful:
            chosen, y, state, left = _chosen_steps(e, expert, x, plan, policy, states[e], gap[e])
        else:
            chosen = plan.mask[..., e].flatten().nonzero()[:, 0]
            y, state, left = expert(rows[chosen], ())[0], (), gap[e]
        if out is None:
            out = y.new_zeros(len(rows), *y.shape[1:])
        weight = plan.weight[..., e].flatten()[chosen].to(y)
        out = out.index_add(0, chosen, weight.view(-1, *[1] * (y.ndim - 1)) * y)
        after.append(state)
        gaps.append(left)
    return _result(out, x, after, gaps)


def _result(out: Any, x: Tensor, states: list[State], gaps: list[Tensor]) -> Result:
    return out.unflatten(0, x.shape[:2]), tuple(states), torch.stack(gaps)


def _chosen_steps(
    e: int, expert: Expert, x: Tensor, plan: Plan, policy: Policy, state: State, gap: Tensor
) -> tuple[Tensor, Tensor, State, Tensor]:
    """Run one expert with a state on its rows: row numbers, currents, state, steps since it ran."""
    batch, places, currents = x.shape[1], [], []
    gap, start = gap.clone(), expert.start(x[0])
    for t, frame in enumerate(x):
        chosen = plan.mask[t, :, e].nonzero()[:, 0]
        if len(chosen):
            before = tuple(s[chosen] for s in state)
            before = policy.over(e, expert, before, tuple(s[chosen] for s in start), gap[chosen])
            y, new = expert(frame[chosen], before)
            state = tuple(s.index_copy(0, chosen, n) for s, n in zip(state, new, strict=True))
            places.append(chosen + t * batch)
            currents.append(y)
        gap += 1
        gap[chosen] = 0
    if not places:
        y, _ = expert(x[0, :0], tuple(s[:0] for s in start))
        return gap[:0], y, state, gap
    return torch.cat(places), torch.cat(currents), state, gap
