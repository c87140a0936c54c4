r"""Integrate-and-fire, without leak.

.. math:: C \, dv/dt = I, \qquad v \ge v_{th}: \text{ spike and reset}

==========  ======  ====  =======  ===========================================================
parameter   symbol  unit  default  meaning (range)
==========  ======  ====  =======  ===========================================================
c_m         C       pF    1        membrane capacitance (> 0); receptors with a time course use it
v_th        θ       mV    1        threshold (above v_reset)
v_reset     V_r     mV    0        reset potential
==========  ======  ====  =======  ===========================================================

State: ``v`` and the receptors' currents. Cost of an update: 1 add, test and reset. Exact: nothing decays. Reset by
subtraction keeps the rate proportional to the input (Rueckauer et al. 2017, doi:10.3389/fnins.2017.00682).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from spikeframe.kernels.trace import Names, Value, spike
from spikeframe.neurons.lif import after_spike, check_order, check_reset
from spikeframe.neurons.neuron import Neuron
from spikeframe.neurons.parameters import Parameter, State, as_switch


class IF(Neuron):
    """Integrate-and-fire neuron without leak.

    Args:
        reset: ``"subtract"`` or ``"value"``.
        detach_reset: send no gradient through the reset.
        options: parameters of the table above and what every `Neuron` takes.

    Raises:
        ParameterError: v_reset is not below v_th, or a parameter is out of range.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "c_m": Parameter(1.0, "pF", above=0.0, doc="membrane capacitance"),
        "v_th": Parameter(1.0, "mV", doc="threshold"),
        "v_reset": Parameter(0.0, "mV", doc="reset potential"),
    }
    STATES: ClassVar[dict[str, State]] = {"v": State(0.0, "mV", doc="membrane potential")}

    def __init__(self, *, reset: str = "subtract", detach_reset: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.reset = check_reset(type(self).__name__, reset)
        self.detach_reset = as_switch(type(self).__name__, "detach_reset", detach_reset)
        self.check_values()

    def check_values(self) -> None:
        """Refuse a reset that is not below the threshold, too."""
        super().check_values()
        check_order(self, "v_reset", "v_th")

    def membrane(self) -> tuple[Tensor, Tensor]:
        """Return leak rate 0 and gain 1/C."""
        return torch.zeros((), dtype=torch.float64, device="cpu"), 1.0 / self.c_m

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return the reset jump."""
        return {"v_jump": self.v_th - self.v_reset}

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Integrate, test, reset."""
        v = s.v + x
        z = spike(v - c.v_th)
        return z, {"v": after_spike(v, z, c, self.reset, self.detach_reset)}

    def waits(self, s: Names, c: Names) -> list[Value] | None:
        """Below threshold nothing moves without input."""
        return [s.v < c.v_th]
