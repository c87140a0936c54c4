r"""Leaky integrator: a membrane without threshold, the usual readout.

.. math:: \tau_m \, dv/dt = -v + r_m I, \qquad \text{output } v

==========  ======  ====  =======  ===========================================================
parameter   symbol  unit  default  meaning (range)
==========  ======  ====  =======  ===========================================================
tau_m       τ_m     ms    20       membrane time constant (> 0)
r_m         r_m     GΩ    1        resistance: mV per pA, or any unit of v per unit of input (> 0)
==========  ======  ====  =======  ===========================================================

State: ``v`` and the receptors' currents. Cost of an update: 1 multiply, 1 add. Exact propagator.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from spikeframe.kernels.trace import Names, Value
from spikeframe.neurons.neuron import Neuron
from spikeframe.neurons.parameters import Parameter, State


class LI(Neuron):
    """Leaky integrator; its output is its membrane.

    Args:
        options: parameters of the table above and what every `Neuron` takes.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "tau_m": Parameter(20.0, "ms", above=0.0, doc="membrane time constant"),
        "r_m": Parameter(1.0, "GOhm", above=0.0, doc="membrane resistance"),
    }
    STATES: ClassVar[dict[str, State]] = {"v": State(0.0, "mV", doc="membrane potential")}

    def membrane(self) -> tuple[Tensor, Tensor]:
        """Return leak rate 1/tau_m and gain r_m/tau_m."""
        return 1.0 / self.tau_m, self.r_m / self.tau_m

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return the decay over one step."""
        return {"decay": torch.exp(-dt / self.tau_m)}

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Integrate; the output is the new membrane."""
        v = c.decay * s.v + x
        return v, {"v": v}
