r"""Multi-level LIF: a leaky neuron that puts out how many thresholds its membrane has passed.

.. math:: v \leftarrow e^{-dt/\tau_m} v + I,
          \quad n = \sum_{k=1}^{L} H(v - k\theta) \;\big[- \sum_{k=1}^{L} H(-v - k\theta)\big],
          \quad v \leftarrow v - n\theta

==========  ======  ====  =======  ===========================================================
parameter   symbol  unit  default  meaning (range)
==========  ======  ====  =======  ===========================================================
tau_m       τ_m     ms    20       membrane time constant (> 0)
v_th        θ       mV    1        spacing of the levels (> 0); also the reset jump of one
==========  ======  ====  =======  ===========================================================

The output is a whole number from 0 to L, with ``signed`` from -L to L: a graded spike, or n spikes in a step.
One unsigned level is `LIF` with subtractive reset. Each level has its own surrogate gradient. The membrane is
below θ after a step that brought it to less than (L + 1) θ; what is above stays. Thresholds as in multi-level firing
(Feng et al., IJCAI 2022), one membrane as in the integer LIF of Luo et al. 2024, arXiv:2407.20708.

State: ``v``. Cost of an update: 1 multiply, 1 add; per level a subtract, a compare and an add; reset.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from spikeframe.errors import ParameterError
from spikeframe.kernels.trace import Names, Value, detach, spike
from spikeframe.neurons.definition import OutputGrid
from spikeframe.neurons.neuron import Neuron
from spikeframe.neurons.parameters import Parameter, State, as_switch


class MultilevelLIF(Neuron):
    """Leaky integrate-and-fire neuron whose output is a number of spikes, signed or not.

    Args:
        levels: largest output L, 1 to 64.
        signed: whether there are as many negative levels.
        detach_reset: send no gradient through the reset.
        options: parameters of the table above and what every `Neuron` takes.

    Raises:
        ParameterError: a number of levels that there cannot be, or a parameter out of range.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "tau_m": Parameter(20.0, "ms", above=0.0, doc="membrane time constant"),
        "v_th": Parameter(1.0, "mV", above=0.0, doc="spacing of the levels"),
    }
    STATES: ClassVar[dict[str, State]] = {"v": State(0.0, "mV", doc="membrane potential")}
    TRACED = Neuron.TRACED | {"levels", "signed"}

    def __init__(self, *, levels: int = 3, signed: bool = False, detach_reset: bool = False, **options: Any) -> None:
        super().__init__(**options)
        if isinstance(levels, bool) or not isinstance(levels, int) or not 1 <= levels <= 64:
            raise ParameterError(f"{type(self).__name__}(levels={levels!r}): must be a whole number from 1 to 64.")
        self.levels = levels
        self.signed = as_switch(type(self).__name__, "signed", signed)
        self.detach_reset = as_switch(type(self).__name__, "detach_reset", detach_reset)

    def membrane(self) -> tuple[Tensor, Tensor]:
        """Return leak rate and gain 1/tau_m."""
        return 1.0 / self.tau_m, 1.0 / self.tau_m

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return the decay and the levels."""
        levels = {f"level_{k}": k * self.v_th for k in range(1, self.levels + 1)}
        return {"decay": torch.exp(-dt / self.tau_m), **levels}

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Integrate, count the levels passed, take as many jumps off."""
        v = c.decay * s.v + x
        n = self._passed(v, c)
        if self.signed:
            n = n - self._passed(-v, c)
        jump = detach(n) if self.detach_reset else n
        return n, {"v": v - jump * c.v_th}

    def _passed(self, v: Value, c: Names) -> Value:
        """Return how many levels v has reached."""
        n = spike(v - c.level_1)
        for k in range(2, self.levels + 1):
            n = n + spike(v - getattr(c, f"level_{k}"))
        return n

    def output_grid(self) -> OutputGrid:
        """Return that outputs are whole numbers of so many levels at the most."""
        return OutputGrid(float(self.levels), 1.0)

    def waits(self, s: Names, c: Names) -> list[Value] | None:
        """Between the innermost levels, where the membrane only decays."""
        inside = [s.v < c.level_1]
        return [*inside, -s.v < c.level_1] if self.signed else inside
