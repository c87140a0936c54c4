r"""Token mixers: attention as a planner, a score, an executor, and perhaps a gate and a local branch.

.. math:: o_i = g_i \Big( \sum_{j \in P(i)} A(q_i \cdot k_j) \, v_j + (\mathrm{conv}\, v)_i \Big)

========  ==================================================================================================
part      what it may be
========  ==================================================================================================
planner   P: `All`, `Selection` (scorer and selector), `Tree`, `Probe`, `Window`, `PowersOfTwo`
score     A: overlap, coincidence, rectified, share, softmax
gate      g: `SigmoidGate`, `SpikeGate`, or none
local     `LocalConv`, or none
========  ==================================================================================================

Queries, keys and values are spikes ``[..., heads, tokens, features]``; the output is a membrane current, not yet
thresholded, so a mixer owns no neurons. A token that is silent, or not there, reads nothing and is read by nobody.
Plans are made from detached spikes. A causal mixer's output and plan at a token depend on it and earlier ones only;
what cannot promise that is refused when it is made. With overlaps and without a plan the same sums cost less in the
other order, see `LinearState`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from spikeframe.core.counts import Counts
from spikeframe.errors import ParameterError
from spikeframe.modules.attention.execute import attend, check, events
from spikeframe.modules.attention.gates import LocalConv, SigmoidGate, SpikeGate
from spikeframe.modules.attention.operations import Operations, added, dense_twin, heads_of
from spikeframe.modules.attention.planners import All, Planner
from spikeframe.modules.attention.plans import Plan, permitted
from spikeframe.modules.attention.scorers import block_sums
from spikeframe.modules.attention.scores import Score
from spikeframe.modules.checks import whole


class EventRun(NamedTuple):
    """What an event-driven run gave.

    Attributes:
        out: ``[..., heads, tokens, e]``.
        state: after it.
        operations: that it did.
    """

    out: Tensor
    state: Any
    operations: Operations


class Mixer(nn.Module):
    """Base of the token mixers, called as ``out, state = mixer(q, k, v, x, state, valid)``.

    Attributes:
        causal: whether outputs depend on the token itself and earlier ones only.
    """

    causal = False

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None = None, state: Any = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Mix; differentiable.

        Args:
            q: ``[..., heads, tokens, d]``.
            k: ``[..., heads, tokens, d]``.
            v: ``[..., heads, tokens, e]``.
            x: ``[..., tokens, width]`` input of the layer, which gates look at.
            state: of an earlier call on earlier steps, or None.
            valid: ``[..., tokens]`` bool, tokens that are there; None if all are.

        Returns:
            ``[..., heads, tokens, e]``, and the state after the last step.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward.")

    def events(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None = None, state: Any = None, valid: Tensor | None = None
    ) -> EventRun:
        """Mix event by event, skipping what is silent or not chosen; arguments as for `forward`."""
        raise NotImplementedError(f"{type(self).__name__} must define events.")

    def loss(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the mixer's own loss, to be added to the task's; 0 where it has none."""
        return q.new_zeros(())


def silenced(valid: Tensor | None, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return tensors in which tokens that are not there are silent.

    Args:
        valid: ``[..., tokens]`` bool, or None.
        tensors: ``[..., heads, tokens, features]``.
    """
    if valid is None:
        return tensors
    there = (valid.unsqueeze(-2) if valid.ndim > 1 else valid).unsqueeze(-1)
    return tuple(x * there for x in tensors)


class Attention(Mixer):
    """Attention from parts.

    Args:
        planner: which pairs are read; all of them if not given.
        score: how they are weighted; overlap if not given.
        causal: whether a token reads itself and earlier ones only.
        gate: on the output, or None.
        local: branch beside it, or None.
        skip: features of queries and keys that only the planner sees.
        execution: ``"auto"``, ``"dense"``, ``"gather"`` or ``"events"``; see `execute`.

    Raises:
        ParameterError: a planner that looks ahead in causal attention.
    """

    def __init__(
        self,
        planner: Planner | None = None,
        score: Score | None = None,
        *,
        causal: bool = False,
        gate: SigmoidGate | None = None,
        local: LocalConv | None = None,
        skip: int = 0,
        execution: str = "auto",
    ) -> None:
        super().__init__()
        self.planner = All() if planner is None else planner
        self.score = Score() if score is None else score
        self.causal, self.skip, self.execution = bool(causal), whole("Attention(skip)", skip, 0), execution
        self.gate, self.local = gate, local
        if self.causal and (self.planner.looks_ahead or (local is not None and len(local.grid) == 2)):
            raise ParameterError(
                f"Attention(causal=True): {type(self.planner).__name__} plans with later tokens in view (a block of "
                "queries, a whole head, another order, a basis over all tokens or a convolution over a grid); plan for "
                "single queries (rows=1) in their own order, or pass causal=False."
            )

    def plan(
        self, q: Tensor, k: Tensor, state: Any = None, valid: Tensor | None = None
    ) -> tuple[Plan, Any]:  # fmt: skip
        """Return the plan for queries and keys, and the planner's state; arguments as for `forward`."""
        q, k = silenced(valid, q.detach(), k.detach())
        found: tuple[Plan, Any] = self.planner(q, k, self.causal, state)
        return found

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None = None, state: Any = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Mix; see `Mixer`."""
        check(q, k, v, valid)
        plan, after = self.plan(q, k, state, valid)
        out = attend(q[..., self.skip :], k[..., self.skip :], v, plan, self.score, self.causal, valid, self.execution)
        if self.local is not None:
            out = out + self.local(silenced(valid, v)[0])
        if self.gate is not None:
            out = out * self.gate(x)[0]
        return out, after

    def events(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None = None, state: Any = None, valid: Tensor | None = None
    ) -> EventRun:
        """Mix event by event; what a spike gate shuts is not read."""
        check(q, k, v, valid)
        q, k, v = silenced(valid, q.detach(), k.detach(), v.detach())
        plan, after = self.plan(q, k, state)
        gate = self.gate(x)[0].detach() if self.gate is not None else None
        shut = isinstance(self.gate, SpikeGate) and self.local is None and gate is not None
        asked = q * gate.any(-1, keepdim=True) if shut and gate is not None else q
        out, done = events(asked[..., self.skip :], k[..., self.skip :], v, plan, self.score, self.causal)
        groups, width = heads_of(q), q.shape[-1] + v.shape[-1]
        done += Operations(
            dense_twin(Counts(), q.shape[-2], groups, width, self.causal), self.planner.operations(q, k, self.causal)
        )
        if self.local is not None:
            out = out + self.local(v).detach()
            done += Operations(self.local.operations(v))
        if self.gate is not None and gate is not None and x is not None:
            done += Operations(self.gate.operations(x, out))
            out = out * gate
        return EventRun(out, after, done)

    def loss(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the planner's loss."""
        return self.planner.loss(q, k)


class Compressed(Mixer):
    """Attention to blocks instead of tokens: the summed keys and the mean value of each; ended ones only if causal.

    Within a block it drops how values go with keys. Not overlapping, unlike the published compression.

    Args:
        block: tokens in a block.
        score: how block and query are weighted; overlap if not given.
        causal: whether only blocks that have ended are read.
    """

    def __init__(self, block: int, score: Score | None = None, *, causal: bool = False) -> None:
        super().__init__()
        self.block, self.causal = whole("Compressed(block)", block), bool(causal)
        self.score = Score() if score is None else score

    def _weights(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        keys, values = block_sums(k, self.block), block_sums(v, self.block) / self.block
        tokens = q.shape[-2]
        ends = permitted(tokens, self.causal, device=q.device)[:, self.block - 1 :: self.block]
        return keys, values, ends, self.score.weights(q @ keys.transpose(-1, -2), ends)

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None = None, state: Any = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Mix; see `Mixer`."""
        check(q, k, v, valid)
        q, k, v = silenced(valid, q, k, v)
        _, values, _, weights = self._weights(q, k, v)
        return weights @ values, None

    def events(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None = None, state: Any = None, valid: Tensor | None = None
    ) -> EventRun:
        """Mix, and count what active spikes cause."""
        check(q, k, v, valid)
        q, k, v = silenced(valid, q.detach(), k.detach(), v.detach())
        keys, values, ends, weights = self._weights(q, k, v)
        hits = int((((q != 0).double() @ (keys != 0).double().transpose(-1, -2)) * ends).sum())
        entries = int(((weights != 0).double() @ (values != 0).double().sum(-1, keepdim=True)).sum())
        pooled = Counts(syn_ac=int(k.count_nonzero() + v.count_nonzero()))
        made = pooled + added(hits, q, keys) + Counts(syn_mac=entries)
        made = dense_twin(made, q.shape[-2], heads_of(q), q.shape[-1] + v.shape[-1], self.causal)
        return EventRun(weights @ values, None, Operations(made))


class Branches(Mixer):
    """Mixers side by side on the same spikes, each with a sigmoid gate per head, or simply added.

    Args:
        mixers: at least one.
        gate: with as many branches, or None.

    Raises:
        ParameterError: no mixers, or as many gates as they are not.
    """

    def __init__(self, mixers: Sequence[Mixer], gate: SigmoidGate | None = None) -> None:
        super().__init__()
        if not mixers or (gate is not None and gate.shape[0] != len(mixers)):
            gates = None if gate is None else gate.shape[0]
            raise ParameterError(f"Branches: {len(mixers)} mixers and {gates} gates; give as many, at least one.")
        self.mixers = nn.ModuleList(mixers)
        self.gate: SigmoidGate | None = gate
        self.causal = all(mixer.causal for mixer in mixers)

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None = None, state: Any = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Mix; see `Mixer`."""
        before = [None] * len(self.mixers) if state is None else state
        found = [mixer(q, k, v, x, own, valid) for mixer, own in zip(self.mixers, before, strict=True)]
        outs = [out for out, _ in found]
        if self.gate is not None:
            outs = [gate * out for gate, out in zip(self.gate(x), outs, strict=True)]
        return sum(outs[1:], outs[0]), tuple(after for _, after in found)

    def events(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None = None, state: Any = None, valid: Tensor | None = None
    ) -> EventRun:
        """Mix event by event."""
        before = [None] * len(self.mixers) if state is None else state
        runs = [
            cast("Mixer", mixer).events(q, k, v, x, own, valid) for mixer, own in zip(self.mixers, before, strict=True)
        ]
        outs, done = [run.out for run in runs], runs[0].operations
        for run in runs[1:]:  # the dense twin is one attention, however many branches there are
            own = run.operations
            done += Operations(Counts(**{**own.attention.as_dict(), "syn_mac_dense": 0}), own.selection)
        if self.gate is not None and x is not None:
            gates = self.gate(x).detach()
            done += Operations(self.gate.operations(x, torch.stack(outs)))
            outs = [gate * out for gate, out in zip(gates, outs, strict=True)]
        return EventRun(sum(outs[1:], outs[0]), tuple(run.state for run in runs), done)

    def loss(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the sum of the mixers' losses."""
        return sum((cast("Mixer", mixer).loss(q, k) for mixer in self.mixers), q.new_zeros(()))
