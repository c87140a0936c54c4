r"""Izhikevich's two-variable neuron.

.. math:: \dot v = 0.04 v^2 + 5 v + 140 - u + I_e + I, \qquad \dot u = a (b v - u), \qquad v \ge 30: v \leftarrow c,
          u \leftarrow u + d

==========  =======  ====  =======  =========================================================
parameter   symbol   unit  default  meaning (range)
==========  =======  ====  =======  =========================================================
a           a        1/ms  0.02     rate of the recovery
b           b        1     0.2      sensitivity of the recovery to v
c           c        mV    -65      reset value (< v_th)
d           d        mV    8        recovery added by a spike
v_th        v_th     mV    30       peak, where a spike is
t_ref       t_ref    ms    0        refractory period, whole steps; v is held, u goes on (>= 0)
i_e         I_e      mV/ms 0        constant drive
==========  =======  ====  =======  =========================================================

State: ``v`` from c, ``u`` from ``b c``. ``method="euler"`` is the scheme of NEST's ``izhikevich`` (consistent
integration), ``"rk4"`` follows the equations at any dt below about 0.5 ms. Reference: Izhikevich 2003,
doi:10.1109/TNN.2003.820440 (whose script takes two half steps of Euler at 1 ms).
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from spikeframe.kernels.trace import Names, Value, spike
from spikeframe.neurons.integrated import Flow, Integrated, plus
from spikeframe.neurons.lif import check_order
from spikeframe.neurons.parameters import Parameter, State


class Izhikevich(Integrated):
    """Izhikevich neuron: 20 firing patterns from four parameters.

    Args:
        options: parameters of the table above, ``method``, ``substeps``, and what every `Neuron` takes.

    Raises:
        ParameterError: c is not below v_th.
    """

    FLOWING: ClassVar[tuple[str, ...]] = ("v", "u")
    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "a": Parameter(0.02, "1/ms", doc="rate of the recovery"),
        "b": Parameter(0.2, "", doc="sensitivity of the recovery"),
        "c": Parameter(-65.0, "mV", doc="reset value"),
        "d": Parameter(8.0, "mV", doc="recovery added by a spike"),
        "v_th": Parameter(30.0, "mV", doc="peak"),
        "t_ref": Parameter(0.0, "ms", least=0.0, doc="refractory period"),
        "i_e": Parameter(0.0, "mV/ms", doc="constant drive"),
    }
    STATES: ClassVar[dict[str, State]] = {
        "v": State("c", "mV", doc="membrane potential"),
        "u": State("recovery", "mV", doc="recovery"),
        "ref": State(0, "steps", dtype="int", doc="steps left of the refractory period"),
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.check_values()

    def check_values(self) -> None:
        """Refuse a reset that is not below the threshold, too."""
        super().check_values()
        check_order(self, "c", "v_th")

    @property
    def recovery(self) -> Tensor:
        """The recovery that belongs to the initial membrane, ``b c``."""
        found: Tensor = self.b * self.c
        return found

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return the constant drive and where a refractory membrane is held."""
        return {"bias": 140.0 + self.i_e, "v_reset": self.c, **super().coefficients(dt)}

    def flow(self, y: Names, i: Value | None, s: Names, c: Names) -> Flow:
        """Quadratic upstroke and linear recovery."""
        slope = plus((y.v * 0.04 + 5.0) * y.v + c.bias - y.u, i)
        return {"v": slope, "u": c.a * (c.b * y.v - y.u)}

    def settle(self, y: Names, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Hold while refractory, test, reset, recover."""
        v = self.clamped(y.v, s, c)
        z = spike(v - c.v_th)
        return z, {"v": v * (1.0 - z) + c.c * z, "u": y.u + c.d * z, **self.counted(z, s, c)}
