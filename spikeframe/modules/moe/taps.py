r"""Taps: what a router looks at. Each turns input into features, keeps its state, and says which rows it can route.

``traced, ready, state = tap(values [T, B, D], heard [T, B], state)``. All are linear, so the score of a linear router
may be filtered in place of its input: E values a step instead of D.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from spikeframe.errors import ParameterError
from spikeframe.modules.checks import same_shape, whole


class TraceState(NamedTuple):
    """State of a trace.

    Attributes:
        z: ``[B, D]`` the trace at the last row with input.
        gap: ``[B]`` silent steps since then.
    """

    z: Tensor
    gap: Tensor


class Trace(nn.Module):
    r"""An exponential trace, :math:`z \leftarrow \lambda^{g} z + (1 - \lambda) x` at rows with input, g steps apart.

    In silence all features shrink alike, so nothing needs to be decided; the decay is made up for when input arrives.

    Args:
        decay: λ, from 0 to below 1.
    """

    def __init__(self, decay: float = 0.8) -> None:
        super().__init__()
        if isinstance(decay, bool) or not isinstance(decay, (int, float)) or not 0 <= decay < 1:
            raise ParameterError(f"Trace(decay={decay!r}): must be from 0 to below 1.")
        self.decay = float(decay)

    @property
    def scale(self) -> float:
        """What an input is multiplied by."""
        return 1.0 - self.decay

    def powers(self, like: Tensor, many: int) -> Tensor:
        """Return λ^0, λ^1, ... in the type of `like`."""
        return (self.decay ** torch.arange(many, dtype=torch.float64, device="cpu")).to(like)

    def start(self, values: Tensor, state: TraceState | None) -> TraceState:
        """Return the state to begin with, or refuse one that does not fit."""
        if state is None:
            return TraceState(torch.zeros_like(values[0]), values.new_zeros(values.shape[1], dtype=torch.int64))
        return TraceState(
            same_shape("state: router trace", state.z, tuple(values.shape[1:]), values.dtype),
            same_shape("state: router gap", state.gap, tuple(values.shape[1:2]), torch.int64),
        )

    def forward(self, values: Tensor, heard: Tensor, state: TraceState | None) -> tuple[Tensor, Tensor, TraceState]:
        """Filter ``[T, B, D]``."""
        z, gap = self.start(values, state)
        powers = self.powers(values, len(values) + 1 + int(gap.max()) if gap.numel() else 1)
        scaled, traced = values * self.scale, []
        for t, now in enumerate(heard):
            z = torch.where(now[:, None], powers[gap + 1][:, None] * z + scaled[t], z)
            gap = torch.where(now, 0, gap + 1)
            traced.append(z)
        return torch.stack(traced), heard, TraceState(z, gap)


class Raw(nn.Module):
    """The input of the step itself."""

    def forward(self, values: Tensor, heard: Tensor, state: None) -> tuple[Tensor, Tensor, None]:
        """Return the values."""
        return values, heard, None


class WarmUpState(NamedTuple):
    """State of a warm-up.

    Attributes:
        steps: seen so far.
        total: ``[B, D]`` sum over the warm-up so far.
    """

    steps: int
    total: Tensor


class WarmUp(nn.Module):
    """The mean of a sample's first steps: one decision a sample, from the last of them on; nothing runs before.

    Args:
        steps: how many.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = whole("WarmUp(steps)", steps)

    def forward(self, values: Tensor, heard: Tensor, state: WarmUpState | None) -> tuple[Tensor, Tensor, WarmUpState]:
        """Average ``[T, B, D]``."""
        seen, total = state or WarmUpState(0, torch.zeros_like(values[0]))
        left = max(self.steps - seen, 0)
        total = total + values[:left].sum(0)
        after = torch.arange(seen, seen + len(values), device=values.device) >= self.steps - 1
        return (total / self.steps).expand_as(values), heard & after[:, None], WarmUpState(seen + len(values), total)
