r"""Generalised leaky integrate-and-fire neuron with reset rule, after-spike currents and threshold adaptation (GLIF4).

.. math:: \tau_m \dot v = -(v - v_{rest}) + r_m (I_e + I + I_1 + I_2), \quad \dot I_k = -I_k / \tau_k, \quad
          \dot\theta = -\theta / \tau_\theta, \\
          v \ge v_{th} + \theta: \quad v \leftarrow v_{rest} + f_v (v - v_{rest}) - \delta_v, \quad I_k \leftarrow f_k
          I_k + \delta_k, \quad \theta \leftarrow \theta + \delta_\theta

==========  =======  ====  =======  =========================================================
parameter   symbol   unit  default  meaning (range)
==========  =======  ====  =======  =========================================================
tau_m       τ_m      ms    10       membrane time constant (> 0)
r_m         r_m      GΩ    0.1      resistance (> 0)
v_rest      v_rest   mV    -75      resting potential
v_th        v_th     mV    -50      resting threshold
f_v         f_v      1     0.2      share of the membrane that a spike leaves
d_v         δ_v      mV    5        what a spike takes off the membrane
tau_1       τ_1      ms    10       time constant of the first after-spike current (> 0)
tau_2       τ_2      ms    100      of the second (> 0)
f_1, f_2    f_k      1     1        share of a current that a spike leaves
d_1         δ_1      pA    -10      what a spike adds to the first current
d_2         δ_2      pA    -5       to the second
tau_th      τ_θ      ms    50       time constant of the threshold (> 0)
d_th        δ_θ      mV    2        what a spike adds to the threshold
t_ref       t_ref    ms    2        refractory period, whole steps; v is held, all else goes on (>= 0)
i_e         I_e      pA    0        constant current
==========  =======  ====  =======  =========================================================

Exact propagators. Reference: Teeter et al. 2018, doi:10.1038/s41467-017-02717-4 (its voltage-dependent threshold, level
5, is not included).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from spikeframe.errors import ParameterError
from spikeframe.kernels.trace import Names, Value, spike, where
from spikeframe.neurons.parameters import Parameter, State
from spikeframe.neurons.receptors import charge
from spikeframe.neurons.refractory import Refractory


class GLIF(Refractory):
    """Generalised leaky integrate-and-fire neuron, level 4.

    Args:
        options: parameters of the table above and what every `Neuron` takes.

    Raises:
        ParameterError: the reset rule leaves a membrane at threshold above the threshold.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "tau_m": Parameter(10.0, "ms", above=0.0, doc="membrane time constant"),
        "r_m": Parameter(0.1, "GOhm", above=0.0, doc="membrane resistance"),
        "v_rest": Parameter(-75.0, "mV", doc="resting potential"),
        "v_th": Parameter(-50.0, "mV", doc="resting threshold"),
        "f_v": Parameter(0.2, "", doc="share of the membrane that a spike leaves"),
        "d_v": Parameter(5.0, "mV", doc="what a spike takes off the membrane"),
        "tau_1": Parameter(10.0, "ms", above=0.0, doc="first after-spike current"),
        "tau_2": Parameter(100.0, "ms", above=0.0, doc="second after-spike current"),
        "f_1": Parameter(1.0, "", doc="share of the first current that a spike leaves"),
        "f_2": Parameter(1.0, "", doc="share of the second current that a spike leaves"),
        "d_1": Parameter(-10.0, "pA", doc="added to the first current by a spike"),
        "d_2": Parameter(-5.0, "pA", doc="added to the second current by a spike"),
        "tau_th": Parameter(50.0, "ms", above=0.0, doc="threshold time constant"),
        "d_th": Parameter(2.0, "mV", doc="added to the threshold by a spike"),
        "t_ref": Parameter(2.0, "ms", least=0.0, doc="refractory period"),
        "i_e": Parameter(0.0, "pA", doc="constant current"),
    }
    STATES: ClassVar[dict[str, State]] = {
        "v": State("v_rest", "mV", doc="membrane potential"),
        "i_1": State(0.0, "pA", doc="first after-spike current"),
        "i_2": State(0.0, "pA", doc="second after-spike current"),
        "th": State(0.0, "mV", doc="adaptation of the threshold"),
        "ref": State(0, "steps", dtype="int", doc="steps left of the refractory period"),
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.check_values()

    def check_values(self) -> None:
        """Refuse a reset that is not below the threshold after it, too."""
        super().check_values()
        after = self.v_rest + self.f_v * (self.v_th - self.v_rest) - self.d_v
        if not bool((after < self.v_th + self.d_th).all()):
            raise ParameterError(
                f"{type(self).__name__}: a spike at v_th={self.v_th.tolist()} leaves v at {after.tolist()}, not below "
                "the threshold after it; choose f_v and d_v so that v_rest + f_v (v_th - v_rest) - d_v < v_th + d_th."
            )

    def membrane(self) -> tuple[Tensor, Tensor]:
        """Return leak rate 1/tau_m and gain r_m/tau_m."""
        return 1.0 / self.tau_m, self.r_m / self.tau_m

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return decays, the charges of the after-spike currents, and the reset's offset."""
        leak, gain = self.membrane()
        return {
            "decay": torch.exp(-dt / self.tau_m),
            "leak": (self.v_rest + self.r_m * self.i_e) * -torch.expm1(-dt / self.tau_m),
            "decay_1": torch.exp(-dt / self.tau_1),
            "decay_2": torch.exp(-dt / self.tau_2),
            "decay_th": torch.exp(-dt / self.tau_th),
            "charge_1": charge(leak, 1.0 / self.tau_1, gain, dt),
            "charge_2": charge(leak, 1.0 / self.tau_2, gain, dt),
            "v_after": self.v_rest * (1.0 - self.f_v) - self.d_v,
            **super().coefficients(dt),
        }

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Integrate, test against the adapted threshold, apply the reset rule, adapt."""
        v = c.decay * s.v + x + c.leak + c.charge_1 * s.i_1 + c.charge_2 * s.i_2
        first, second, th = c.decay_1 * s.i_1, c.decay_2 * s.i_2, c.decay_th * s.th
        above = v - (c.v_th + th)
        if self._refractory:
            v, above = where(s.ref > 0, s.v, v), where(s.ref > 0, -1.0, above)
        z = spike(above)
        return z, {
            "v": where(z, c.f_v * v + c.v_after, v),
            "i_1": where(z, c.f_1 * first + c.d_1, first),
            "i_2": where(z, c.f_2 * second + c.d_2, second),
            "th": th + c.d_th * z,
            **self.counted(z, s, c),
        }
