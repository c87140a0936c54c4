r"""Multi-timescale adaptive threshold neuron (MAT2): a membrane that is never reset, a threshold with two memories.

.. math:: \tau_m \dot v = -(v - v_{rest}) + r_m (I + I_e), \qquad \theta = \omega + \theta_1 + \theta_2, \quad
          \dot\theta_k = -\theta_k / \tau_k, \qquad v \ge \theta: \theta_k \leftarrow \theta_k + \alpha_k

==========  =======  ====  =======  =========================================================
parameter   symbol   unit  default  meaning (range)
==========  =======  ====  =======  =========================================================
tau_m       τ_m      ms    5        membrane time constant (> 0)
r_m         r_m      GΩ    0.05     resistance, mV per pA (> 0)
v_rest      v_rest   mV    -70      resting potential
omega       ω        mV    -51      resting threshold
tau_1       τ_1      ms    10       short memory (> 0)
tau_2       τ_2      ms    200      long memory (> 0)
alpha_1     α_1      mV    37       what a spike adds to the short memory
alpha_2     α_2      mV    2        what a spike adds to the long memory
t_ref       t_ref    ms    2        no second spike within this time, whole steps (>= 0)
i_e         I_e      pA    0        constant current
==========  =======  ====  =======  =========================================================

Exact propagators. The model of NEST's ``mat2_psc_exp`` (whose V_th and omega are relative to E_L here absolute).
Reference: Kobayashi, Tsubo and Shinomoto 2009, doi:10.3389/neuro.10.009.2009.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from spikeframe.kernels.trace import Names, Value, spike, where
from spikeframe.neurons.parameters import Parameter, State
from spikeframe.neurons.refractory import Refractory


class MAT2(Refractory):
    """Multi-timescale adaptive threshold neuron.

    Args:
        options: parameters of the table above and what every `Neuron` takes.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "tau_m": Parameter(5.0, "ms", above=0.0, doc="membrane time constant"),
        "r_m": Parameter(0.05, "GOhm", above=0.0, doc="membrane resistance"),
        "v_rest": Parameter(-70.0, "mV", doc="resting potential"),
        "omega": Parameter(-51.0, "mV", doc="resting threshold"),
        "tau_1": Parameter(10.0, "ms", above=0.0, doc="short memory"),
        "tau_2": Parameter(200.0, "ms", above=0.0, doc="long memory"),
        "alpha_1": Parameter(37.0, "mV", doc="added to the short memory by a spike"),
        "alpha_2": Parameter(2.0, "mV", doc="added to the long memory by a spike"),
        "t_ref": Parameter(2.0, "ms", least=0.0, doc="no second spike within this time"),
        "i_e": Parameter(0.0, "pA", doc="constant current"),
    }
    STATES: ClassVar[dict[str, State]] = {
        "v": State("v_rest", "mV", doc="membrane potential"),
        "th_1": State(0.0, "mV", doc="short memory of the threshold"),
        "th_2": State(0.0, "mV", doc="long memory of the threshold"),
        "ref": State(0, "steps", dtype="int", doc="steps until another spike may be"),
    }

    def membrane(self) -> tuple[Tensor, Tensor]:
        """Return leak rate 1/tau_m and gain r_m/tau_m."""
        return 1.0 / self.tau_m, self.r_m / self.tau_m

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return the decays and the constant drive."""
        return {
            "decay": torch.exp(-dt / self.tau_m),
            "leak": (self.v_rest + self.r_m * self.i_e) * -torch.expm1(-dt / self.tau_m),
            "decay_1": torch.exp(-dt / self.tau_1),
            "decay_2": torch.exp(-dt / self.tau_2),
            **super().coefficients(dt),
        }

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Integrate, let the threshold fall, test, raise it."""
        v = c.decay * s.v + x + c.leak
        first, second = c.decay_1 * s.th_1, c.decay_2 * s.th_2
        above = v - (c.omega + second + first)
        z = spike(where(s.ref == 0, above, -1.0)) if self._refractory else spike(above)
        return z, {"v": v, "th_1": first + c.alpha_1 * z, "th_2": second + c.alpha_2 * z, **self.counted(z, s, c)}
