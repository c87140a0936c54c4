r"""Poisson neuron: spikes by chance, at a rate that follows a filtered input (linear-nonlinear-Poisson).

.. math:: \tau_m \dot v = -v + r_m I, \qquad \lambda = \max(0, \lambda_0 + k v), \qquad
          P(\text{spike in a step}) = 1 - e^{-\lambda \, dt}

==========  =======  ========  =======  =========================================================
parameter   symbol   unit      default  meaning (range)
==========  =======  ========  =======  =========================================================
tau_m       τ_m      ms        20       time constant of the filter (> 0)
r_m         r_m      GΩ        1        resistance, for receptors with a time course (> 0)
rate        λ_0      1/s       0        rate without input
gain        k        1/s/mV    1        spikes per second and mV
==========  =======  ========  =======  =========================================================

There is no reset and no refractory period. Random numbers: one a step, of 24 bits. Reference: Chichilnisky 2001,
doi:10.1080/713663221.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from spikeframe.kernels.trace import Names, Value, exp, maximum, spike
from spikeframe.neurons.escape import HALF
from spikeframe.neurons.neuron import Neuron
from spikeframe.neurons.parameters import Parameter, State


class Poisson(Neuron):
    """Neuron whose spikes are a Poisson process driven by its filtered input.

    Args:
        options: parameters of the table above and what every `Neuron` takes.
    """

    RANDOM: ClassVar[tuple[str, ...]] = ("chance",)
    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "tau_m": Parameter(20.0, "ms", above=0.0, doc="time constant of the filter"),
        "r_m": Parameter(1.0, "GOhm", above=0.0, doc="membrane resistance"),
        "rate": Parameter(0.0, "1/s", doc="rate without input"),
        "gain": Parameter(1.0, "1/s/mV", doc="spikes per second and mV"),
    }
    STATES: ClassVar[dict[str, State]] = {"v": State(0.0, "mV", doc="filtered input")}

    def membrane(self) -> tuple[Tensor, Tensor]:
        """Return leak rate 1/tau_m and gain r_m/tau_m."""
        return 1.0 / self.tau_m, self.r_m / self.tau_m

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return the decay, and rate and gain per step."""
        return {
            "decay": torch.exp(-dt / self.tau_m),
            "expected": self.rate * dt * 1e-3,
            "slope": self.gain * dt * 1e-3,
        }

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Filter, then draw."""
        v = c.decay * s.v + x
        stays = exp(-maximum(c.expected + c.slope * v, 0.0))
        return spike((1.0 - s.chance - HALF) - stays), {"v": v}
