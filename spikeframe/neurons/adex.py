r"""Adaptive exponential integrate-and-fire neuron.

.. math:: C_m \dot v = -g_L (v - E_L) + g_L \Delta_T e^{(v - V_T)/\Delta_T} - w + I_e + I, \qquad
          \tau_w \dot w = a (v - E_L) - w, \qquad v \ge v_{peak}: v \leftarrow v_{reset}, w \leftarrow w + b

Parameters are those of `spikeframe.neurons.eif`, and

==========  =======  ====  =======  =========================================================
parameter   symbol   unit  default  meaning (range)
==========  =======  ====  =======  =========================================================
a           a        nS    4        subthreshold adaptation
b           b        pA    80.5     adaptation per spike
tau_w       τ_w      ms    144      adaptation time constant (> 0)
==========  =======  ====  =======  =========================================================

State: ``v`` (mV), ``w`` (pA), ``ref`` and the receptors'. The reset happens at the end of the step in which v reaches
v_peak: an error of order dt in w and v after a spike (NEST's ``aeif_*`` reset within the step), which a neuron that
hovers below threshold magnifies. At dt = 0.1 ms a single substep may also find a spike one step late, for the
upstroke is steep: take ``substeps=2`` where that matters. Reference: Brette and Gerstner 2005,
doi:10.1152/jn.00686.2005.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from spikeframe.kernels.trace import Names, Value, minimum
from spikeframe.neurons.eif import EIF
from spikeframe.neurons.integrated import Flow
from spikeframe.neurons.parameters import Parameter, State


class AdEx(EIF):
    """Adaptive exponential integrate-and-fire neuron.

    Args:
        options: parameters of the tables above, ``method``, ``substeps``, and what every `Neuron` takes.
    """

    FLOWING: ClassVar[tuple[str, ...]] = ("v", "w")
    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        **EIF.PARAMETERS,
        "a": Parameter(4.0, "nS", doc="subthreshold adaptation"),
        "b": Parameter(80.5, "pA", doc="adaptation per spike"),
        "tau_w": Parameter(144.0, "ms", above=0.0, doc="adaptation time constant"),
    }
    STATES: ClassVar[dict[str, State]] = {
        "v": EIF.STATES["v"],
        "w": State(0.0, "pA", doc="adaptation current"),
        "ref": EIF.STATES["ref"],
    }

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return those of `EIF` and the adaptation's rate."""
        return {**super().coefficients(dt), "rate_w": 1.0 / self.tau_w}

    def flow(self, y: Names, i: Value | None, s: Names, c: Names) -> Flow:
        """Let the membrane flow as in `EIF`, less w; w follows it."""
        v = minimum(y.v, c.v_peak)
        current = -y.w if i is None else i - y.w
        return {"v": self.rise(v, current, s, c), "w": (c.a * (v - c.e_l) - y.w) * c.rate_w}

    def settle(self, y: Names, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Hold while refractory, test, reset, adapt."""
        z, own = super().settle(y, s, c)
        return z, {**own, "w": y.w + c.b * z}
