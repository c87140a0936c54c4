"""The router: tap, score, normalise, select; with a balance, and schedules that follow the step of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spikeframe.core.counts import Counts
from spikeframe.errors import ParameterError, unknown_name
from spikeframe.modules.checks import whole
from spikeframe.modules.moe.balance import Balance
from spikeframe.modules.moe.plan import Plan
from spikeframe.modules.moe.scores import Score
from spikeframe.modules.moe.selection import Select
from spikeframe.modules.moe.taps import Trace


def relu_rms(s: Tensor) -> Tensor:
    """Return rectified scores divided by their root mean square; 0 where none is positive (BlockFFN)."""
    p = torch.relu(s)
    mean = p.square().mean(-1, keepdim=True)
    return torch.where(mean > 0, p * torch.rsqrt(mean + 1e-12), 0.0)


def sigmoid_norm(s: Tensor) -> Tensor:
    """Return sigmoids that sum to 1."""
    p = torch.sigmoid(s)
    return p / p.sum(-1, keepdim=True)


NORMALISE: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda s: torch.softmax(s, -1),
    "sigmoid": torch.sigmoid,
    "sigmoid_norm": sigmoid_norm,
    "relu": torch.relu,
    "relu_rms": relu_rms,
    "none": lambda s: s,
}


class Heard(NamedTuple):
    """Scores of a run.

    Attributes:
        scores: ``[T, B, E]``.
        ready: ``[T, B]`` rows to route.
        size: ``[T, B]`` input of a row.
        state: of the tap.
        extra: losses that came up, by name.
    """

    scores: Tensor
    ready: Tensor
    size: Tensor
    state: Any
    extra: dict[str, Tensor] | None = None


def features(x: Tensor) -> Tensor:
    """Return what a router sees of ``[T, B, ...]``: a vector as it is, pictures by the mean of each channel."""
    return x if x.ndim == 3 else x.flatten(3).mean(3)


class Router(nn.Module):
    """Decides for every row with input which experts run, and what they count.

    Rows without any input select nothing: a trace shrinks all scores alike, so there is nothing to decide. A router
    whose probabilities are not wanted by a silent tap costs nothing there.

    Args:
        score: scores of features.
        select: which experts run.
        tap: what the score sees; `Trace` if not given.
        normalise: of the scores, one of ``softmax``, ``sigmoid``, ``sigmoid_norm``, ``relu``, ``relu_rms``, ``none``.
        gain: what scores are multiplied by first, a number or a schedule: few spikes make small scores.
        balance: none if not given.
        seed: of everything random, with the step of training.

    Raises:
        ParameterError: more experts selected than exist, or another number that cannot be.
        UnknownNameError: there is no such way to normalise.
    """

    step: Tensor

    def __init__(
        self,
        score: Score,
        select: Select,
        *,
        tap: nn.Module | None = None,
        normalise: str = "softmax",
        gain: float | Callable[[int], float] = 3.0,
        balance: Balance | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if normalise not in NORMALISE:
            raise unknown_name("way to normalise scores", normalise, NORMALISE)
        select.fits(score.experts)
        if not callable(gain) and not gain > 0:
            raise ParameterError(f"Router(gain={gain!r}): must be above 0.")
        self.score, self.select, self.tap = score, select, Trace() if tap is None else tap
        self.normalise, self.schedule = normalise, gain
        self.balance = Balance() if balance is None else balance
        self.seed = whole("Router(seed)", seed, 0)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    @property
    def experts(self) -> int:
        """How many experts there are."""
        return self.score.experts

    @property
    def gain(self) -> float:
        """What scores are multiplied by at this step of training."""
        return float(self.schedule(int(self.step)) if callable(self.schedule) else self.schedule)

    @property
    def filters_scores(self) -> bool:
        """Whether the tap follows the score, as it may where both are linear."""
        return self.score.linear

    def random(self, tag: int = 0) -> torch.Generator:
        """Return random numbers of this step of training; the same however often it is computed."""
        return torch.Generator().manual_seed((self.seed * 1_000_003 + int(self.step)) * 1_009 + tag)

    def uniform(self, like: Tensor) -> Tensor:
        """Return random numbers of this step of training, off 0 and 1, the same on every device."""
        drawn = torch.rand(like.shape, generator=self.random(), dtype=like.dtype, device="cpu")
        return drawn.clamp(1e-9, 1.0 - 1e-7).to(like.device)

    def tap_state(self, state: Any) -> Any:
        """Return the part of the router's state that is the tap's: all of it."""
        return state

    def mixed(self, heard: Heard, state: Any) -> Heard:
        """Change scores behind the tap: not at all. `state` is the router's before the run."""
        return heard

    def scored(self, x: Tensor, state: Any) -> Heard:
        """Return the scores of ``[T, B, ...]``."""
        return self.mixed(self.tapped(x, self.tap_state(state)), state)

    def tapped(self, x: Tensor, state: Any) -> Heard:
        """Return the scores as the tap gives them."""
        phi = features(x)
        active = x.detach().flatten(2).ne(0)
        heard, size = active.any(2), active.sum(2)
        if self.filters_scores:
            scores, ready, state = self.tap(self.score(phi), heard, state)
        else:
            traced, ready, state = self.tap(phi, heard, state)
            scores = self.score(traced)
        return Heard(scores, ready, size, state)

    def rows(self, scores: Tensor) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Decide for rows with input.

        Args:
            scores: ``[R, E]``.

        Returns:
            Mask, weights and probabilities ``[R, E]``, and losses by name.
        """
        probs = NORMALISE[self.normalise](self.gain * scores)
        mask = self.select(self.ranked(probs), probs, self.training)
        return mask, self.weights(probs, mask), probs, {}

    def ranked(self, probs: Tensor) -> Tensor:
        """Return what experts are ranked by: probabilities and the balance's bias."""
        rank = probs.detach()
        return rank if self.balance.bias is None else rank + self.balance.bias.to(rank)

    def weights(self, probs: Tensor, mask: Tensor) -> Tensor:
        """Return the weights of the selected experts, 0 for the others."""
        weight = probs * mask
        return weight / weight.sum(-1, keepdim=True).clamp(min=1e-9) if self.select.renormalise else weight

    def planned(self, heard: Heard) -> Plan:
        """Turn scores into a plan."""
        shape = heard.scores.shape
        mask, weight, probs, extra = self.rows(heard.scores[heard.ready])
        full = [part.new_zeros(shape) for part in (mask, weight, probs)]
        full = [
            whole_.index_put((heard.ready,), part) for whole_, part in zip(full, (mask, weight, probs), strict=True)
        ]
        return Plan(full[0], full[1], heard.scores, full[2], heard.ready, heard.size, {**(heard.extra or {}), **extra})

    def forward(self, x: Tensor, state: Any = None) -> tuple[Plan, Any]:
        """Return the plan of ``[T, B, ...]`` and the tap's state."""
        heard = self.scored(x, state)
        return self.planned(heard), heard.state

    def cost(self, rows: int) -> Counts:
        """Return what deciding for so many rows costs beside tap, score, normalising and selection: nothing."""
        return Counts()

    def losses(self, plan: Plan) -> dict[str, Tensor]:
        """Return the weighted losses of a plan by name."""
        return {"balance": self.balance.loss(plan), **plan.extra}

    @torch.no_grad()
    def advance(self, plan: Plan) -> None:
        """Take note of an optimiser step: balance and schedules move on."""
        self.balance.update(plan)
        self.step += 1
