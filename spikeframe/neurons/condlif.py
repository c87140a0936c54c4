r"""Leaky integrate-and-fire neuron with conductances.

.. math:: C_m \dot v = -g_L (v - E_L) + I_e + \sum_r I_r + \sum_r g_r (E_r - v), \qquad v \ge v_{th}: v \leftarrow
          v_{reset} \text{, held for } t_{ref}

==========  =======  ====  =======  =========================================================
parameter   symbol   unit  default  meaning (range)
==========  =======  ====  =======  =========================================================
c_m         C_m      pF    250      capacitance (> 0)
g_l         g_L      nS    16.6667  leak conductance (> 0)
e_l         E_L      mV    -70      leak reversal potential
v_th        v_th     mV    -55      threshold
v_reset     v_reset  mV    -60      reset value (< v_th)
t_ref       t_ref    ms    2        refractory period, whole steps (>= 0)
i_e         I_e      pA    0        constant current
==========  =======  ====  =======  =========================================================

Receptors: ``exc`` and ``inh``, exponential conductances of 0.2 and 2 ms to 0 and -85 mV, if none are given. Weights in
nS. State: ``v`` (mV), ``ref`` and the receptors'. Integration: Runge-Kutta of order 4 with exact conductances (see
`spikeframe.neurons.integrated`). The neuron of NEST's ``iaf_cond_exp`` and ``iaf_cond_alpha``; Meffin et al. 2004,
doi:10.1023/B:JCNS.0000014108.03012.81.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from spikeframe.kernels.trace import Names, Value, spike
from spikeframe.neurons.conductances import CondExp
from spikeframe.neurons.integrated import Flow, Integrated, drive, plus
from spikeframe.neurons.lif import after_spike, check_order
from spikeframe.neurons.parameters import Parameter, State


class CondLIF(Integrated):
    """Leaky integrate-and-fire neuron whose synapses are conductances.

    Args:
        options: parameters of the table above, ``method``, ``substeps``, and what every `Neuron` takes.

    Raises:
        ParameterError: v_reset is not below v_th.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "c_m": Parameter(250.0, "pF", above=0.0, doc="capacitance"),
        "g_l": Parameter(16.6667, "nS", above=0.0, doc="leak conductance"),
        "e_l": Parameter(-70.0, "mV", doc="leak reversal potential"),
        "v_th": Parameter(-55.0, "mV", doc="threshold"),
        "v_reset": Parameter(-60.0, "mV", doc="reset value"),
        "t_ref": Parameter(2.0, "ms", least=0.0, doc="refractory period"),
        "i_e": Parameter(0.0, "pA", doc="constant current"),
    }
    STATES: ClassVar[dict[str, State]] = {
        "v": State("e_l", "mV", doc="membrane potential"),
        "ref": State(0, "steps", dtype="int", doc="steps left of the refractory period"),
    }

    def __init__(self, **options: Any) -> None:
        if options.get("receptors") is None:
            options["receptors"] = {"exc": CondExp(tau=0.2), "inh": CondExp(tau=2.0, e_rev=-85.0)}
        super().__init__(**options)
        self.check_values()

    def check_values(self) -> None:
        """Refuse a reset that is not below the threshold, too."""
        super().check_values()
        check_order(self, "v_reset", "v_th")

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return leak rate, gain and constant drive."""
        return {
            "leak": self.g_l / self.c_m,
            "gain": 1.0 / self.c_m,
            "bias": (self.g_l * self.e_l + self.i_e) / self.c_m,
            **super().coefficients(dt),
        }

    def flow(self, y: Names, i: Value | None, s: Names, c: Names) -> Flow:
        """Leak, constant current and receptors."""
        return {"v": plus(c.bias - c.leak * y.v, drive(lambda: c.gain, i))}

    def settle(self, y: Names, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Hold while refractory, test, reset."""
        v = self.clamped(y.v, s, c)
        z = spike(v - c.v_th)
        return z, {"v": after_spike(v, z, c, "value", False), **self.counted(z, s, c)}
