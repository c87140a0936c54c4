r"""Hodgkin-Huxley neuron with the sodium and potassium currents of Traub and Miles.

.. math:: C_m \dot v = g_L (E_L - v) + g_{Na} m^3 h (E_{Na} - v) + g_K n^4 (E_K - v) + I_e + I, \qquad
          \dot x = \alpha_x (1 - x) - \beta_x x, \quad x \in \{m, h, n\}

with, for :math:`U = v - V_T` in mV and rates in 1/ms,

.. math:: \alpha_m = 0.32 \frac{13 - U}{e^{(13 - U)/4} - 1}, \quad \beta_m = 0.28 \frac{U - 40}{e^{(U - 40)/5} - 1},
          \quad \alpha_h = 0.128 e^{(17 - U)/18}, \quad \beta_h = \frac{4}{1 + e^{(40 - U)/5}}, \\
          \alpha_n = 0.032 \frac{15 - U}{e^{(15 - U)/5} - 1}, \quad \beta_n = 0.5 e^{(10 - U)/40}

==========  =======  ====  =======  =========================================================
parameter   symbol   unit  default  meaning (range)
==========  =======  ====  =======  =========================================================
c_m         C_m      pF    200      capacitance (> 0)
g_l         g_L      nS    10       leak conductance (>= 0)
g_na        g_Na     nS    20000    sodium conductance (>= 0)
g_k         g_K      nS    6000     potassium conductance (>= 0)
e_l         E_L      mV    -60      leak reversal potential
e_na        E_Na     mV    50       sodium reversal potential
e_k         E_K      mV    -90      potassium reversal potential
v_t         V_T      mV    -63      shift of the kinetics
v_th        v_th     mV    -33      a spike is where v crosses this upwards
t_ref       t_ref    ms    2        no second spike within this time, whole steps (>= 0)
i_e         I_e      pA    0        constant current
==========  =======  ====  =======  =========================================================

State: ``v``, the gates ``m``, ``h``, ``n`` (from their steady values at E_L), ``ref`` and the receptors'. There is no
reset. Sodium activation is as fast as 0.03 ms: the Runge-Kutta integration is stable for substeps of at most about
0.05 ms, so `substeps` is 2 by default, meant for dt = 0.1 ms. Reference: Brette et al. 2007,
doi:10.1007/s10827-007-0038-6 (benchmark 3); NEST's ``hh_cond_exp_traub`` counts the spike at the following maximum of
v instead.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from spikeframe.kernels.trace import Names, Value, exp, spike, where
from spikeframe.neurons.conductances import CondExp
from spikeframe.neurons.integrated import Flow, Integrated, drive, plus
from spikeframe.neurons.parameters import Parameter, State


def linoid(x: Value) -> Value:
    """Return ``x / (e^x - 1)``, by its series ``1 - x/2 + x^2/12`` near 0 (error below 1e-9 there).

    Args:
        x: a traced value.
    """
    near = (x < 0.03) & (x > -0.03)
    apart = where(near, 1.0, x)
    return where(near, (x * (1.0 / 12.0) - 0.5) * x + 1.0, apart / (exp(apart) - 1.0))


class HodgkinHuxley(Integrated):
    """Hodgkin-Huxley neuron, Traub-Miles kinetics.

    Args:
        substeps: integration steps per time step.
        options: parameters of the table above, ``method``, and what every `Neuron` takes.
    """

    FLOWING: ClassVar[tuple[str, ...]] = ("v", "m", "h", "n")
    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "c_m": Parameter(200.0, "pF", above=0.0, doc="capacitance"),
        "g_l": Parameter(10.0, "nS", least=0.0, doc="leak conductance"),
        "g_na": Parameter(20000.0, "nS", least=0.0, doc="sodium conductance"),
        "g_k": Parameter(6000.0, "nS", least=0.0, doc="potassium conductance"),
        "e_l": Parameter(-60.0, "mV", doc="leak reversal potential"),
        "e_na": Parameter(50.0, "mV", doc="sodium reversal potential"),
        "e_k": Parameter(-90.0, "mV", doc="potassium reversal potential"),
        "v_t": Parameter(-63.0, "mV", doc="shift of the kinetics"),
        "v_th": Parameter(-33.0, "mV", doc="crossed upwards by a spike"),
        "t_ref": Parameter(2.0, "ms", least=0.0, doc="no second spike within this time"),
        "i_e": Parameter(0.0, "pA", doc="constant current"),
    }
    STATES: ClassVar[dict[str, State]] = {
        "v": State("e_l", "mV", doc="membrane potential"),
        "m": State("m_rest", doc="sodium activation"),
        "h": State("h_rest", doc="sodium inactivation"),
        "n": State("n_rest", doc="potassium activation"),
        "ref": State(0, "steps", dtype="int", doc="steps until another spike may be"),
    }

    def __init__(self, *, substeps: int = 2, **options: Any) -> None:
        if options.get("receptors") is None:
            options["receptors"] = {"exc": CondExp(tau=5.0), "inh": CondExp(tau=10.0, e_rev=-80.0)}
        super().__init__(substeps=substeps, **options)

    def _steady(self, opening: Any, closing: Any) -> Tensor:
        u = self.e_l - self.v_t
        a: Tensor = opening(u)
        b: Tensor = closing(u)
        return a / (a + b)

    @property
    def m_rest(self) -> Tensor:
        """Steady sodium activation at e_l."""
        return self._steady(lambda u: 1.28 * _linoid((13 - u) / 4), lambda u: 1.4 * _linoid((u - 40) / 5))

    @property
    def h_rest(self) -> Tensor:
        """Steady sodium inactivation at e_l."""
        return self._steady(lambda u: 0.128 * torch.exp((17 - u) / 18), lambda u: 4.0 * torch.sigmoid((u - 40) / 5))

    @property
    def n_rest(self) -> Tensor:
        """Steady potassium activation at e_l."""
        return self._steady(lambda u: 0.16 * _linoid((15 - u) / 5), lambda u: 0.5 * torch.exp((10 - u) / 40))

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return the conductances over the capacitance, and the constant drive."""
        return {
            "leak": self.g_l / self.c_m,
            "sodium": self.g_na / self.c_m,
            "potassium": self.g_k / self.c_m,
            "gain": 1.0 / self.c_m,
            "bias": (self.g_l * self.e_l + self.i_e) / self.c_m,
            **super().coefficients(dt),
        }

    def flow(self, y: Names, i: Value | None, s: Names, c: Names) -> Flow:
        """Ionic currents and gates."""
        u = y.v - c.v_t
        open_m, close_m = linoid((13.0 - u) * 0.25) * 1.28, linoid((u - 40.0) * 0.2) * 1.4
        open_n, close_n = linoid((15.0 - u) * 0.2) * 0.16, exp((10.0 - u) * 0.025) * 0.5
        open_h, close_h = exp((17.0 - u) * (1.0 / 18.0)) * 0.128, 4.0 / (1.0 + exp((40.0 - u) * 0.2))
        squared = y.n * y.n
        ionic = c.sodium * (y.m * y.m * y.m * y.h) * (c.e_na - y.v) + c.potassium * (squared * squared) * (c.e_k - y.v)
        return {
            "v": plus(c.bias - c.leak * y.v + ionic, drive(lambda: c.gain, i)),
            "m": open_m * (1.0 - y.m) - close_m * y.m,
            "h": open_h * (1.0 - y.h) - close_h * y.h,
            "n": open_n * (1.0 - y.n) - close_n * y.n,
        }

    def settle(self, y: Names, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Count an upward crossing of v_th, once per refractory period."""
        below = s.v < c.v_th
        if self._refractory:
            below = below & (s.ref == 0)
        z = spike(where(below, y.v - c.v_th, -1.0))
        return z, {name: getattr(y, name) for name in self.FLOWING} | self.counted(z, s, c)


def _linoid(x: Tensor) -> Tensor:
    """Return ``x / (e^x - 1)`` of tensors."""
    safe = torch.where(x == 0, torch.ones_like(x), x)
    return torch.where(x == 0, torch.ones_like(x), safe / torch.expm1(safe))
