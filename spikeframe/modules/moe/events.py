r"""Event-driven run of a mixture: silent rows, silent inputs and unselected experts are skipped, and all is counted.

Routing comes first, for all steps: it depends on the input alone. A linear score is kept filtered, E values a sample:
an event adds a row of E weights, and a decay is made up for at the next event. Then every selected expert adds a row of
weights per event. Experts other than linear ones and rectified hidden layers run in torch on the rows that chose them.

What is counted: `route` look-ups (an event's row of router weights, and one per expert it goes to); events' additions
(`syn_ac` of unit events, else `syn_mac`) in router and experts; decay, gain and weights of pairs (`neu_mac`); what
normalising (`neu_exp`, one per expert and row) and selecting (`neu_cmp`, E a row and selected expert) take. The
``_dense`` twins are those of the mixture with all experts run on every row by every input.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikeframe.core.counts import Counts
from spikeframe.kernels.moe import provider
from spikeframe.modules.checks import on_cpu
from spikeframe.modules.moe.execution import grouped
from spikeframe.modules.moe.experts import LinearExpert, MLPExpert
from spikeframe.modules.moe.layer import MoE, MoERun, MoEState
from spikeframe.modules.moe.plan import Plan
from spikeframe.modules.moe.router import Heard
from spikeframe.modules.moe.taps import Trace, TraceState


class EventDrivenMoE:
    """A mixture that is run on events. Weights of linear and rectified experts are copied when it is made.

    Args:
        layer: the mixture.
        backend: ``"auto"``, ``"numba"`` or ``"reference"``.

    Attributes:
        plan: which experts ran in the last call.

    Raises:
        BackendError, UnknownNameError: the backend is not available.
    """

    def __init__(self, layer: MoE, backend: str = "auto") -> None:
        self.provider: Any = provider(backend)
        self.layer = layer
        self.plan: Plan | None = None
        self._last: tuple[Tensor, Plan, Tensor] | Counts = Counts()
        experts: Any = layer.experts
        self.kind = "torch"
        self.weights: tuple[Any, ...] = ()
        if all(type(e) is LinearExpert for e in experts) and len({e.outputs for e in experts}) == 1:
            weight = torch.stack([e.layer.weight.detach().T for e in experts]).contiguous()
            self.kind = "linear"
            self.weights = (weight, np.array([e.after[0] for e in experts], np.int64))
            self.outputs = experts[0].outputs + sum(experts[0].after)
        elif all(type(e) is MLPExpert for e in experts) and len({e.first.out_features for e in experts}) == 1:
            self.kind = "mlp"
            self.weights = tuple(
                torch.stack([w.detach().T for w in ws]).contiguous()
                for ws in ([e.first.weight for e in experts], [e.second.weight for e in experts])
            )
            self.outputs = experts[0].outputs

    @torch.no_grad()
    def __call__(self, x: Tensor, state: MoEState | None = None) -> tuple[Tensor, MoEState]:
        """Run over time.

        Args:
            x: ``[T, B, ...]``, CPU.
            state: as the layer or this returned it, or None.

        Returns:
            Currents ``[T, B, ...]`` and the state after the last step.

        Raises:
            ShapeError, DTypeError, NonFiniteError, BackendError: the input is not usable.
        """
        done = self.run(x, state)
        return done.out, done.state

    @torch.no_grad()
    def run(self, x: Tensor, state: MoEState | None = None) -> MoERun:
        """Run over time, and return the plan too; see `__call__`."""
        layer = self.layer
        layer.checked(x)
        state = state or layer.start(x)
        on_cpu("event-driven run", x)
        rows = np.ascontiguousarray(x.flatten(2).flatten(0, 1).numpy())
        events = self.provider.events(rows)
        heard = self._scored(x, state.router, events)
        plan = layer.router.planned(heard)
        done = plan.among(len(layer.experts))
        if self.kind == "torch":
            out, experts, gap = grouped(x, done, layer.experts, layer.policy, state.experts, state.gap)
        else:
            out, experts, gap = self._added(x, done, events), state.experts, state.gap
        self.plan, self._last = plan, (x, done, out)
        return MoERun(out, MoEState(heard.state, experts, gap), plan)

    @property
    def counts(self) -> Counts:
        """Operations of the last call, counted when they are asked for."""
        if isinstance(self._last, tuple):
            x, done, out = self._last
            plan = done if self.plan is None else self.plan
            self._last = routing(self.layer.router, x, plan) + self._counted(x, done, out)
        return self._last

    def _scored(self, x: Tensor, state: Any, events: tuple[Any, ...]) -> Heard:
        """Return the scores; linear ones behind a trace from events."""
        router = self.layer.router
        tap: Any = router.tap
        if not (router.filters_scores and type(tap) is Trace and x.ndim == 3):
            return router.scored(x, state)
        weight: Any = router.score.weight
        z, gap = tap.start(x.new_zeros(*x.shape[:2], router.experts), router.tap_state(state))
        z, gap = z.clone(), gap.clone()
        powers = tap.powers(x, len(x) + 1 + int(gap.max())).numpy()
        out = np.empty((x.shape[0] * x.shape[1], router.experts), powers.dtype)
        first = events[0]
        self.provider.filtered(
            *events, np.ascontiguousarray(weight.detach().T.to(x).numpy()), powers, powers.dtype.type(tap.scale),
            z.numpy(), gap.numpy(), out,
        )  # fmt: skip
        size = torch.from_numpy(np.diff(first)).view(x.shape[:2])
        scores = torch.from_numpy(out).view(*x.shape[:2], -1)
        return router.mixed(Heard(scores, size > 0, size, TraceState(z, gap)), state)

    def _added(self, x: Tensor, plan: Plan, events: tuple[Any, ...]) -> Tensor:
        """Return what linear or rectified experts add up to."""
        pairs = plan.pairs()
        out = torch.zeros(x.shape[0] * x.shape[1], self.outputs, dtype=x.dtype)
        ways = {"linear": self.provider.linear, "mlp": self.provider.mlp}
        weights = tuple(w.to(x).numpy() if isinstance(w, Tensor) else w for w in self.weights)
        ways[self.kind](
            *events, pairs.first.numpy(), pairs.expert.numpy(), pairs.weight.to(x).numpy(), *weights, out.numpy()
        )
        return out.view(*x.shape[:2], -1)

    def _counted(self, x: Tensor, plan: Plan, out: Tensor) -> Counts:
        """Return the operations of the experts, and what the whole layer has."""
        experts: Any = self.layer.experts
        rows, chosen = x.flatten(0, 1), plan.mask.flatten(0, 1)
        every = torch.ones_like(rows[:1])
        total = Counts()
        for e, expert in enumerate(experts):
            mine = plan.heard.flatten() if self._shadowed(expert) else chosen[:, e]
            if bool(mine.any()):
                total += expert.cost(rows[mine])
            own = expert.outputs * (out[0, 0].numel() // (expert.outputs + sum(getattr(expert, "after", ()))))
            total += Counts(neu_mac=int(chosen[:, e].sum()) * own, syn_ac_dense=len(rows) * expert.cost(every).syn_ac)
        return replace(
            total,
            samples=x.shape[1],
            steps=len(rows),
            inputs=rows[0].numel(),
            neurons=out[0, 0].numel(),
            weights=sum(p.numel() for p in self.layer.parameters()),
            spk_in=int((x != 0).sum()),
        )

    def _shadowed(self, expert: Any) -> bool:
        return bool(self.layer.policy.name == "shadow" and expert.stateful)


def routing(router: Any, x: Tensor, plan: Plan) -> Counts:
    """Count what routing takes: scores, normalising, selection; behind a warm-up too, as if it went on.

    Args:
        router: the router.
        x: ``[T, B, ...]`` its input.
        plan: what it decided.
    """
    experts, routed = plan.experts, int(plan.heard.sum())
    pairs = int(plan.mask.sum())
    each: Counts = Counts(neu_mac=2 * routed * experts, neu_cmp=pairs * experts, neu_upd=routed) + router.cost(routed)
    if router.normalise in ("softmax", "sigmoid", "sigmoid_norm"):
        each += Counts(neu_exp=routed * experts)
    if router.filters_scores:
        fan = router.score.fan_out()
        unit, every = x.abs() == 1, x != 0
        if x.ndim == 3:  # pictures are averaged by channel first
            added = int((unit * fan).sum()), int((every * fan).sum())
        else:
            added = 0, int((every.flatten(3).sum(3) * fan).sum())
        events = int(every.sum())
        moved = routed * experts
        return each + Counts(
            route=events, syn_ac=added[0], syn_mac=added[1] - added[0], mem_rd_w=added[1], neu_mac=moved, mem_rd_s=moved
        )
    traced = routed * router.score.inputs  # decay and gain of the features
    each += router.score.cost(routed)
    return each + Counts(neu_mac=traced, neu_ac=int((x != 0).sum()), mem_rd_s=traced)
