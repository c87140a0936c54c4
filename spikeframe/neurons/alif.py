r"""Adaptive leaky integrate-and-fire: every spike raises the threshold, which decays back.

.. math:: v \leftarrow \alpha v + I, \quad A = v_{th} + \beta a, \quad z = H(v - A), \quad v \leftarrow v - z v_{th},
          \quad a \leftarrow \rho a + z

==========  ======  ====  =======  ===========================================================
parameter   symbol  unit  default  meaning (range)
==========  ======  ====  =======  ===========================================================
tau_m       τ_m     ms    20       membrane time constant (> 0), α = exp(-dt/τ_m)
tau_a       τ_a     ms    200      adaptation time constant (> 0), ρ = exp(-dt/τ_a)
beta        β       mV    0.2      threshold increase per spike (>= 0)
r_m         r_m     GΩ    1        resistance, for receptors with a time course (> 0)
v_th        θ       mV    1        resting threshold (> 0); also the reset jump
==========  ======  ====  =======  ===========================================================

State: ``v``, ``a`` and the receptors' currents. Exact propagators. The spike of a step raises the threshold from the
next step on. Scaling "accumulate" of Bellec et al. 2020, doi:10.1038/s41467-020-17236-y (the low-pass scaling of
2018 has ``beta (1 - rho)`` in place of β).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from spikeframe.kernels.trace import Names, Value, detach, spike
from spikeframe.neurons.neuron import Neuron
from spikeframe.neurons.parameters import Parameter, State, as_switch


class ALIF(Neuron):
    """Leaky integrate-and-fire neuron with an adaptive threshold.

    Args:
        detach_reset: send no gradient through the reset.
        options: parameters of the table above and what every `Neuron` takes.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "tau_m": Parameter(20.0, "ms", above=0.0, doc="membrane time constant"),
        "tau_a": Parameter(200.0, "ms", above=0.0, doc="adaptation time constant"),
        "beta": Parameter(0.2, "mV", least=0.0, doc="threshold increase per spike"),
        "r_m": Parameter(1.0, "GOhm", above=0.0, doc="membrane resistance"),
        "v_th": Parameter(1.0, "mV", above=0.0, doc="resting threshold"),
    }
    STATES: ClassVar[dict[str, State]] = {
        "v": State(0.0, "mV", doc="membrane potential"),
        "a": State(0.0, doc="adaptation"),
    }

    def __init__(self, *, detach_reset: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.detach_reset = as_switch(type(self).__name__, "detach_reset", detach_reset)

    def membrane(self) -> tuple[Tensor, Tensor]:
        """Return leak rate 1/tau_m and gain r_m/tau_m."""
        return 1.0 / self.tau_m, self.r_m / self.tau_m

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return the decays of membrane and adaptation."""
        return {"alpha": torch.exp(-dt / self.tau_m), "rho": torch.exp(-dt / self.tau_a)}

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Integrate, test against the raised threshold, reset, adapt."""
        v = c.alpha * s.v + x
        z = spike(v - (c.v_th + c.beta * s.a))
        jump = detach(z) if self.detach_reset else z
        return z, {"v": v - jump * c.v_th, "a": c.rho * s.a + z}

    def waits(self, s: Names, c: Names) -> list[Value] | None:
        """Below the resting threshold, which no adaptation undercuts, decay cannot cross."""
        return None if "beta" in self.learnable else [s.v < c.v_th, s.a >= 0.0]
