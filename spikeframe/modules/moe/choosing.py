"""The choice between executions of a mixture outside training, by the measured rate of its input.

Event-driven work grows with the share of inputs that are not 0, torch's with their number, so there is a rate at which
they cross. It depends on sizes and machine, so it is timed once, on random input of the first call's shape; then every
call goes the way that its own rate asks for, and `Fastest.choice` says which and why. States fit both.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spikeframe.errors import ParameterError
from spikeframe.modules.moe.layer import MoE, MoEState

RATES = (0.005, 0.02, 0.08, 0.32, 1.0)


class Choice(NamedTuple):
    """How a call was executed.

    Attributes:
        execution: ``"events"`` or ``"torch"``.
        rate: share of the input that is not 0.
        crossing: rate above which torch was faster when timed.
    """

    execution: str
    rate: float
    crossing: float

    def __str__(self) -> str:
        return f"{self.execution}: {100 * self.rate:.2g} % of the input active, crossing at {100 * self.crossing:.2g} %"


class Fastest:
    """A mixture that is run event by event or in torch, whichever is faster for the rate of its input.

    Args:
        layer: the mixture, as it is now.
        crossing: rate up to which events are used; timed at the first call if not given.
        clock: gives seconds.

    Attributes:
        choice: of the last call, or None.
        ratios: torch's time over the events', by rate, as timed.

    Raises:
        ParameterError: the crossing is no share.
    """

    def __init__(
        self, layer: MoE, crossing: float | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        if crossing is not None and (isinstance(crossing, bool) or not 0 <= crossing <= 1):
            raise ParameterError(f"Fastest(crossing={crossing!r}): must be a share from 0 to 1, or None to time it.")
        self.layer, self.events, self.crossing, self.clock = layer, layer.event_driven(), crossing, clock
        self.choice: Choice | None = None
        self.ratios: dict[float, float] = {}

    @torch.no_grad()
    def __call__(self, x: Tensor, state: MoEState | None = None) -> tuple[Tensor, MoEState]:
        """Run over time; see `MoE.forward`."""
        self.layer.checked(x)
        if self.crossing is None:
            self.crossing = self.calibrated(x)
        rate = float(x.count_nonzero()) / x.numel()
        way = "events" if rate <= self.crossing else "torch"
        self.choice = Choice(way, rate, self.crossing)
        ways: dict[str, Any] = {"events": self.events, "torch": self.layer}
        out: tuple[Tensor, MoEState] = ways[way](x, state)
        return out

    @torch.no_grad()
    def calibrated(self, x: Tensor) -> float:
        """Time both on random input of the shape of `x`, and return the rate at which they cross.

        Between two rates it is interpolated in the logarithms; 0 or 1 if one of them is always faster.
        """
        generator, last = torch.Generator().manual_seed(0), (0.0, 1.0)
        for rate in RATES:
            sample = (torch.rand(x.shape, generator=generator, device="cpu") < rate).to(x)
            ratio = self._seconds(self.layer, sample) / self._seconds(self.events, sample)
            self.ratios[rate] = ratio
            if ratio < 1.0:
                if last[0] == 0.0:
                    return 0.0
                share = math.log(last[1]) / (math.log(last[1]) - math.log(ratio))
                return float(last[0] * (rate / last[0]) ** share)
            last = (rate, ratio)
        return 1.0

    def _seconds(self, work: Any, x: Tensor) -> float:
        work(x)
        found = []
        for _ in range(3):
            started = self.clock()
            work(x)
            found.append(self.clock() - started)
        return statistics.median(found)
