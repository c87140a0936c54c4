r"""Mixture of experts as a layer on spikes: a router chooses, per step and sample, the few experts that compute.

.. math:: y_t = \sum_{e \in S_t} w_{t,e} \, f_e(x_t), \qquad
          S_t, w_t \text{ from } \phi_t = \lambda^g \phi + (1 - \lambda) x_t

Weights act on currents, before the threshold of the neurons behind, so what those send stays binary. A row (step,
sample) without input selects nothing and costs nothing; an expert that is not selected is not touched, and its state,
if it has any, follows the layer's policy (`spikeframe.modules.moe.policies`). Causal: output at t depends on input up
to t, with one exception that says so (`ExpertChoice`, in training). Executions: ``"dense"`` runs all experts on all
rows (the reference), ``"grouped"`` each on the rows that chose it; `event_driven` skips silent inputs too and counts.
Cost of an event: E accumulates to route it and fan-out accumulates per selected expert; of a row with input: E
multiplications and the selection, and a multiplication per selected expert and output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from spikeframe.errors import ParameterError, ShapeError, unknown_name
from spikeframe.modules.checks import sequence
from spikeframe.modules.moe import execution
from spikeframe.modules.moe.experts import Expert
from spikeframe.modules.moe.plan import Plan
from spikeframe.modules.moe.policies import Policy
from spikeframe.modules.moe.router import Router

if TYPE_CHECKING:
    from spikeframe.modules.moe.events import EventDrivenMoE

EXECUTIONS = {"dense": execution.dense, "grouped": execution.grouped}


class MoEState(NamedTuple):
    """State of a mixture.

    Attributes:
        router: of the tap.
        experts: of every expert, tensors ``[B, ...]``.
        gap: ``[E, B]`` steps since each expert last ran.
    """

    router: Any
    experts: tuple[tuple[Tensor, ...], ...]
    gap: Tensor


class MoERun(NamedTuple):
    """What a run gave.

    Attributes:
        out: ``[T, B, ...]`` currents.
        state: after the last step.
        plan: which experts ran.
    """

    out: Tensor
    state: MoEState
    plan: Plan


class MoE(nn.Module):
    """A mixture of experts.

    Training: ``run = layer.run(x)``, add ``layer.loss(run.plan)``, and call ``layer.advance(run.plan)`` after the
    optimiser's step.

    Args:
        router: chooses.
        experts: of one width of outputs.
        shared: an expert that every row with input uses, with weight 1; none if not given.
        policy: of the state of experts that do not run.
        execution: ``"grouped"`` or ``"dense"``.

    Raises:
        ParameterError: the router's number of experts is another.
        UnknownNameError: there is no such policy or execution.
    """

    per = "run"

    def __init__(
        self,
        router: Router,
        experts: Sequence[Expert],
        *,
        shared: Expert | None = None,
        policy: str = "leak",
        execution: str = "grouped",
    ) -> None:
        super().__init__()
        if router.experts != len(experts):
            raise ParameterError(
                f"MoE: the router chooses among {router.experts} experts, and {len(experts)} are given."
            )
        if execution not in EXECUTIONS:
            raise unknown_name("execution", execution, EXECUTIONS)
        self.router, self.execution = router, execution
        self.experts = nn.ModuleList([*experts, *([] if shared is None else [shared])])
        self.policy = Policy(policy, len(self.experts))

    def start(self, x: Tensor) -> MoEState:
        """Return the state to begin with for ``[T, B, ...]``."""
        experts: Any = self.experts
        return MoEState(
            None, tuple(e.start(x[0]) for e in experts), x.new_zeros(len(experts), x.shape[1], dtype=torch.int64)
        )

    def checked(self, x: Tensor) -> Tensor:
        """Return an input, or refuse it."""
        sequence("MoE", x, 3)
        wanted = self.experts[0].inputs
        if x.ndim not in (3, 5) or x.shape[2] != wanted or 0 in x.shape[:2]:
            raise ShapeError(
                f"MoE: input has shape {tuple(x.shape)}; it must be [T, B, {wanted}] or [T, B, {wanted}, H, W], with "
                f"steps and samples."
            )
        return x

    def run(self, x: Tensor, state: MoEState | None = None) -> MoERun:
        """Run over time, and return the plan too.

        Args:
            x: ``[T, B, inputs]``, or ``[T, B, channels, H, W]`` for convolutions.
            state: as an earlier call returned it, or None.

        Raises:
            ShapeError, DTypeError, NonFiniteError: the input is not usable.
        """
        self.checked(x)
        state = state or self.start(x)
        plan, router = self.router(x, state.router)
        out, experts, gap = EXECUTIONS[self.execution](
            x, plan.among(len(self.experts)), self.experts, self.policy, state.experts, state.gap
        )
        return MoERun(out, MoEState(router, experts, gap), plan)

    def forward(self, x: Tensor, state: MoEState | None = None) -> tuple[Tensor, MoEState]:
        """Run over time; see `run`.

        Args:
            x: ``[T, B, ...]``.
            state: as an earlier call returned it, or None.

        Returns:
            Currents ``[T, B, ...]`` and the state after the last step.
        """
        done = self.run(x, state)
        return done.out, done.state

    def loss(self, plan: Plan) -> Tensor:
        """Return the sum of the weighted losses of a plan."""
        return torch.stack([loss.sum() for loss in self.router.losses(plan).values()]).sum()

    def advance(self, plan: Plan) -> None:
        """Take note of an optimiser step."""
        self.router.advance(plan)

    def event_driven(self, backend: str = "auto") -> EventDrivenMoE:
        """Return the event-driven run of the layer as it is now, in the mode (train or eval) it is in.

        Args:
            backend: ``"auto"``, ``"numba"`` or ``"reference"``.
        """
        from spikeframe.modules.moe.events import EventDrivenMoE

        return EventDrivenMoE(self, backend)
