r"""Leaky integrate-and-fire neuron with escape noise: the nearer the threshold, the likelier a spike.

.. math:: \rho = \rho_0 e^{(v - v_{th})/\Delta}, \qquad P(\text{spike in a step}) = 1 - e^{-\rho \, dt}

The membrane, its reset and its refractory period are those of `spikeframe.neurons.lif`. Further parameters:

==========  =======  ====  =======  =========================================================
parameter   symbol   unit  default  meaning (range)
==========  =======  ====  =======  =========================================================
rho_0       ρ_0      1/ms  1        hazard at threshold (> 0)
delta_u     Δ        mV    1        width of the threshold (> 0)
==========  =======  ====  =======  =========================================================

Random numbers: one a step, of 24 bits, so probabilities below 6e-8 a step are 0. In training the surrogate acts on the
probability of a spike less the random number. Reference: Gerstner, Kistler, Naud and Paninski 2014, Neuronal
Dynamics, section 9.1.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from spikeframe.kernels.trace import Names, Value, exp, spike, where
from spikeframe.neurons.lif import LIF
from spikeframe.neurons.parameters import Parameter

#: Half of the distance of two random numbers: they stand for the middle of their intervals.
HALF = 2.0**-25


class EscapeLIF(LIF):
    """Leaky integrate-and-fire neuron with an exponential escape rate.

    Args:
        options: parameters of LIF and of the table above, and what every `Neuron` takes.
    """

    RANDOM: ClassVar[tuple[str, ...]] = ("chance",)
    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        **LIF.PARAMETERS,
        "rho_0": Parameter(1.0, "1/ms", above=0.0, doc="hazard at threshold"),
        "delta_u": Parameter(1.0, "mV", above=0.0, doc="width of the threshold"),
    }

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return those of LIF, the hazard of a step and the sharpness."""
        return {**super().coefficients(dt), "hazard": self.rho_0 * dt, "sharpness": 1.0 / self.delta_u}

    def fired(self, v: Value, s: Names, c: Names) -> Value:
        """Return the spike, by chance."""
        stays = exp(-(c.hazard * exp((v - c.v_th) * c.sharpness)))
        margin = (1.0 - s.chance - HALF) - stays
        return spike(where(s.ref > 0, -1.0, margin) if self._refractory else margin)

    def waits(self, s: Names, c: Names) -> list[Value] | None:
        """A spike is possible at any time."""
        return None
