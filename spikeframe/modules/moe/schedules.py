"""Schedules: numbers that change with the step of training. Callables ``value = schedule(step)``."""

from __future__ import annotations

from dataclasses import dataclass

from spikeframe.errors import ParameterError
from spikeframe.modules.checks import positive, whole


@dataclass(frozen=True)
class Anneal:
    """From one value to another within so many steps, then constant.

    Args:
        first: at step 0, above 0.
        last: from `steps` on, above 0.
        steps: how many.
        linear: evenly, instead of by equal factors.
    """

    first: float
    last: float
    steps: int
    linear: bool = False

    def __post_init__(self) -> None:
        positive("Anneal(first)", self.first)
        positive("Anneal(last)", self.last)
        whole("Anneal(steps)", self.steps)

    def __call__(self, step: int) -> float:
        """Return the value at a step."""
        share = min(step / self.steps, 1.0)
        if share == 1.0:
            return self.last
        if self.linear:
            return self.first + (self.last - self.first) * share
        return float(self.first * (self.last / self.first) ** share)


class AdaptiveCoefficient:
    """A coefficient that grows with the loss that it weighs, as BlockFFN has it.

    Fixed for `fixed` steps; then every `window` steps multiplied by the loss of this window over that of the last, at
    least 1.025 if the loss rose; never more than `most` times the start.

    Args:
        start: first value (> 0).
        fixed: steps before the first change.
        window: steps between changes.
        most: largest factor over the start (from 1).
    """

    def __init__(self, start: float, fixed: int = 1000, window: int = 100, most: float = 4.0) -> None:
        self.start = self.value = positive("AdaptiveCoefficient(start)", start)
        self.fixed, self.window = whole("AdaptiveCoefficient(fixed)", fixed, 0), whole("window", window)
        if not most >= 1:
            raise ParameterError(f"AdaptiveCoefficient(most={most!r}): must be 1 or more.")
        self.most = float(most)
        self.step, self.total, self.last = 0, 0.0, 0.0

    def update(self, loss: float) -> None:
        """Take note of a step's loss.

        Args:
            loss: unweighted.
        """
        self.step, self.total = self.step + 1, self.total + loss
        if self.step % self.window:
            return
        mean, self.total = self.total / self.window, 0.0
        if self.last > 0 and self.step > self.fixed:
            factor = mean / self.last
            self.value *= max(factor, 1.025) if factor > 1 else factor
            self.value = min(self.value, self.most * self.start)
        self.last = mean
