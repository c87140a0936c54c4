r"""What becomes of an expert's state on steps that it does not run: a policy per layer.

==========  =======================================================================================================
policy      state of an expert when it runs again, g steps after it last did
==========  =======================================================================================================
``leak``    as if every step between had been silent: `Expert.rest`. For membranes; equals running with no input
``freeze``  unchanged: the expert knows only the time in which it runs
``reset``   from the start, if a step lay between
``decay``   :math:`s\, e^{-\max(0, w)(g - 1)}` with a learned w per expert (as GRU-D); for a GRU where gaps matter
``shadow``  every expert runs on every row with input, and the selected ones are heard: no saving; the reference
==========  =======================================================================================================

Experts without private state share the membrane of the neurons behind the layer, which needs no policy.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spikeframe.errors import unknown_name
from spikeframe.modules.moe.experts import Expert, State

POLICIES = ("leak", "freeze", "reset", "decay", "shadow")


class Policy(nn.Module):
    """The policy of a layer.

    Args:
        name: one of `POLICIES`.
        experts: how many.
    """

    def __init__(self, name: str, experts: int) -> None:
        super().__init__()
        if name not in POLICIES:
            raise unknown_name("state policy", name, POLICIES)
        self.name = name
        self.rate = nn.Parameter(torch.full((experts,), 0.05)) if name == "decay" else None

    def over(self, number: int, expert: Expert, state: State, start: State, steps: Tensor) -> State:
        """Return the state after steps that the expert did not run.

        Args:
            number: of the expert.
            expert: the expert.
            state: tensors ``[R, ...]``.
            start: those of rows that nothing has reached.
            steps: ``[R]`` how many; where 0, the state is returned as it is.
        """
        if self.name == "leak":
            return expert.rest(state, steps)
        if self.name == "reset":
            return tuple(torch.where(_column(steps > 0, s), at, s) for s, at in zip(state, start, strict=True))
        if self.rate is not None:
            kept = torch.exp(-self.rate[number].clamp(min=0.0) * steps)
            return tuple(s * _column(kept, s) for s in state)
        return state


def _column(values: Tensor, like: Tensor) -> Tensor:
    """Return values ``[R]`` such that they broadcast to ``[R, ...]``."""
    return values.view(-1, *[1] * (like.ndim - 1))
