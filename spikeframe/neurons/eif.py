r"""Exponential integrate-and-fire neuron.

.. math:: C_m \dot v = -g_L (v - E_L) + g_L \Delta_T e^{(v - V_T)/\Delta_T} + I_e + I, \qquad v \ge v_{peak}: v
          \leftarrow v_{reset} \text{, held for } t_{ref}

==========  =======  ====  =======  =========================================================
parameter   symbol   unit  default  meaning (range)
==========  =======  ====  =======  =========================================================
c_m         C_m      pF    281      capacitance (> 0)
g_l         g_L      nS    30       leak conductance (> 0)
e_l         E_L      mV    -70.6    leak reversal potential
v_t         V_T      mV    -50.4    threshold of the upstroke
delta_t     Δ_T      mV    2        sharpness of the upstroke (> 0, at least (v_peak - v_t) / 60)
v_peak      v_peak   mV    0        a spike is where v reaches this
v_reset     v_reset  mV    -60      reset value (< v_peak)
t_ref       t_ref    ms    0        refractory period, whole steps (>= 0)
i_e         I_e      pA    0        constant current
==========  =======  ====  =======  =========================================================

Within a step the membrane enters the equations as at most v_peak, so the upstroke ends in the step in which it gets
there. Integration: see `spikeframe.neurons.integrated`. Reference: Fourcaud-Trocmé et al. 2003,
doi:10.1523/JNEUROSCI.23-37-11628.2003.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from spikeframe.errors import ParameterError
from spikeframe.kernels.trace import Names, Value, exp, minimum, spike, where
from spikeframe.neurons.integrated import Flow, Integrated, drive, plus
from spikeframe.neurons.lif import after_spike, check_order
from spikeframe.neurons.parameters import Parameter, State


class EIF(Integrated):
    """Exponential integrate-and-fire neuron.

    Args:
        options: parameters of the table above, ``method``, ``substeps``, and what every `Neuron` takes.

    Raises:
        ParameterError: v_reset is not below v_peak, or the upstroke is too sharp for floating point.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "c_m": Parameter(281.0, "pF", above=0.0, doc="capacitance"),
        "g_l": Parameter(30.0, "nS", above=0.0, doc="leak conductance"),
        "e_l": Parameter(-70.6, "mV", doc="leak reversal potential"),
        "v_t": Parameter(-50.4, "mV", doc="threshold of the upstroke"),
        "delta_t": Parameter(2.0, "mV", above=0.0, doc="sharpness of the upstroke"),
        "v_peak": Parameter(0.0, "mV", doc="where a spike is"),
        "v_reset": Parameter(-60.0, "mV", doc="reset value"),
        "t_ref": Parameter(0.0, "ms", least=0.0, doc="refractory period"),
        "i_e": Parameter(0.0, "pA", doc="constant current"),
    }
    STATES: ClassVar[dict[str, State]] = {
        "v": State("e_l", "mV", doc="membrane potential"),
        "ref": State(0, "steps", dtype="int", doc="steps left of the refractory period"),
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.check_values()

    def check_values(self) -> None:
        """Refuse a reset that is not below the peak, and an upstroke that no step resolves, too."""
        super().check_values()
        check_order(self, "v_reset", "v_peak")
        if bool(((self.v_peak - self.v_t) > 60.0 * self.delta_t).any()):
            raise ParameterError(
                f"{type(self).__name__}: delta_t={self.delta_t.tolist()} mV is too sharp for v_peak - v_t = "
                f"{(self.v_peak - self.v_t).tolist()} mV (at most 60 delta_t); lower v_peak, or use CondLIF."
            )

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return leak rate, gain, constant drive, and the upstroke's strength and sharpness."""
        return {
            "leak": self.g_l / self.c_m,
            "gain": 1.0 / self.c_m,
            "bias": (self.g_l * self.e_l + self.i_e) / self.c_m,
            "upstroke": self.g_l * self.delta_t / self.c_m,
            "sharpness": 1.0 / self.delta_t,
            **super().coefficients(dt),
        }

    def rise(self, v: Value, i: Value | None, s: Names, c: Names) -> Value:
        """Return the membrane's slope, 0 while refractory.

        Args:
            v: the membrane, at most v_peak.
            i: current from the receptors, or None.
            s: the states at the start of the step.
            c: the coefficients.
        """
        slope = plus(c.bias - c.leak * v + c.upstroke * exp((v - c.v_t) * c.sharpness), drive(lambda: c.gain, i))
        return where(s.ref > 0, 0.0, slope) if self._refractory else slope

    def flow(self, y: Names, i: Value | None, s: Names, c: Names) -> Flow:
        """Leak, upstroke, constant current and receptors."""
        return {"v": self.rise(minimum(y.v, c.v_peak), i, s, c)}

    def settle(self, y: Names, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Hold while refractory, test, reset."""
        v = self.clamped(y.v, s, c)
        z = spike(v - c.v_peak)
        return z, {"v": after_spike(v, z, c, "value", False), **self.counted(z, s, c)}
