r"""Leaky integrate-and-fire neuron with conductances for adaptation and relative refractoriness.

.. math:: C_m \dot v = -g_L (v - E_L) + I_e + \sum_r g_r (E_r - v) + g_{sfa} (E_{sfa} - v) + g_{rr} (E_{rr} - v),
          \qquad \tau_x \dot g_x = -g_x, \\
          v \ge v_{th}: v \leftarrow v_{reset} \text{, held for } t_{ref}, \quad g_{sfa} \leftarrow g_{sfa} + q_{sfa},
          \quad g_{rr} \leftarrow g_{rr} + q_{rr}

Parameters are those of `spikeframe.neurons.condlif`, and

==========  =======  ====  =======  =========================================================
parameter   symbol   unit  default  meaning (range)
==========  =======  ====  =======  =========================================================
tau_sfa     τ_sfa    ms    110      time constant of spike-frequency adaptation (> 0)
e_sfa       E_sfa    mV    -70      its reversal potential
q_sfa       q_sfa    nS    14.48    its rise per spike (>= 0)
tau_rr      τ_rr     ms    1.97     time constant of relative refractoriness (> 0)
e_rr        E_rr     mV    -70      its reversal potential
q_rr        q_rr     nS    3214     its rise per spike (>= 0)
==========  =======  ====  =======  =========================================================

State: ``v`` (mV), ``g_sfa`` and ``g_rr`` (nS), ``ref`` and the receptors'. Integration: all three by Runge-Kutta, see
`spikeframe.neurons.integrated`. NEST's ``iaf_cond_exp_sfa_rr``; its spikes in a recurrent network are met step by step.
Reference: Muller, Buesing, Schemmel and Meier 2007, doi:10.1162/neco.2007.19.11.2958.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from spikeframe.kernels.trace import Names, Value
from spikeframe.neurons.condlif import CondLIF
from spikeframe.neurons.integrated import Flow
from spikeframe.neurons.parameters import Parameter, State


class AdaptingCondLIF(CondLIF):
    """Conductance-based integrate-and-fire neuron that adapts.

    Args:
        options: parameters of the tables above, ``method``, ``substeps``, and what every `Neuron` takes.
    """

    FLOWING: ClassVar[tuple[str, ...]] = ("v", "g_sfa", "g_rr")
    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        **CondLIF.PARAMETERS,
        "tau_sfa": Parameter(110.0, "ms", above=0.0, doc="adaptation time constant"),
        "e_sfa": Parameter(-70.0, "mV", doc="adaptation reversal potential"),
        "q_sfa": Parameter(14.48, "nS", least=0.0, doc="adaptation per spike"),
        "tau_rr": Parameter(1.97, "ms", above=0.0, doc="relative refractory time constant"),
        "e_rr": Parameter(-70.0, "mV", doc="relative refractory reversal potential"),
        "q_rr": Parameter(3214.0, "nS", least=0.0, doc="relative refractory conductance per spike"),
    }
    STATES: ClassVar[dict[str, State]] = {
        "v": CondLIF.STATES["v"],
        "g_sfa": State(0.0, "nS", doc="adaptation conductance"),
        "g_rr": State(0.0, "nS", doc="relative refractory conductance"),
        "ref": CondLIF.STATES["ref"],
    }

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return those of `CondLIF` and the rates of both conductances."""
        return {**super().coefficients(dt), "rate_sfa": 1.0 / self.tau_sfa, "rate_rr": 1.0 / self.tau_rr}

    def flow(self, y: Names, i: Value | None, s: Names, c: Names) -> Flow:
        """Let the membrane flow as in `CondLIF` with two more conductances, which decay."""
        own = y.g_sfa * (c.e_sfa - y.v) + y.g_rr * (c.e_rr - y.v)
        total = own if i is None else i + own
        return {**super().flow(y, total, s, c), "g_sfa": -y.g_sfa * c.rate_sfa, "g_rr": -y.g_rr * c.rate_rr}

    def settle(self, y: Names, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Hold while refractory, test, reset, let both conductances rise."""
        z, own = super().settle(y, s, c)
        return z, {**own, "g_sfa": y.g_sfa + c.q_sfa * z, "g_rr": y.g_rr + c.q_rr * z}
