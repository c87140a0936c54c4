r"""Generalised integrate-and-fire neuron: spike-triggered current, moving threshold, stochastic spikes.

.. math:: C_m \dot v = -g_L (v - E_L) - \textstyle\sum_k \eta_k + I_e + \sum_r I_r + \sum_r g_r (E_r - v), \qquad
          \tau_{\eta,k} \dot\eta_k = -\eta_k, \quad \tau_{\gamma,k} \dot\gamma_k = -\gamma_k, \\
          P(\text{spike in a step}) = 1 - e^{-\lambda \, dt}, \quad
          \lambda = \lambda_0 \, e^{(v - v_T^* - \sum_k \gamma_k) / \Delta_V}, \\
          \text{spike: } v \leftarrow v_{reset} \text{, held for } t_{ref}, \quad \eta_k \leftarrow \eta_k + q_{\eta,k},
          \quad \gamma_k \leftarrow \gamma_k + q_{\gamma,k}

==============  ========  ====  ==========  =========================================================
parameter       symbol    unit  default     meaning (range)
==============  ========  ====  ==========  =========================================================
c_m             C_m       pF    80          capacitance (> 0)
g_l             g_L       nS    4           leak conductance (> 0)
e_l             E_L       mV    -70         leak reversal potential
v_reset         v_reset   mV    -55         reset value
t_ref           t_ref     ms    4           refractory period, whole steps (>= 0)
i_e             I_e       pA    0           constant current
delta_v         Δ_V       mV    0.5         width of the threshold; tiny: no chance is left (> 0)
v_t_star        v_T*      mV    -35         threshold at rest
lambda_0        λ_0       1/s   1           hazard at threshold (> 0)
tau_eta_k       τ_η,k     ms    1, 10, 100  time constants of the spike-triggered current, k = 1, 2, 3 (> 0)
q_eta_k         q_η,k     pA    0           its rises per spike
tau_gamma_k     τ_γ,k     ms    1, 10, 100  time constants of the threshold's movement (> 0)
q_gamma_k       q_γ,k     mV    0           its rises per spike
==============  ========  ====  ==========  =========================================================

Receptors: ``exc`` and ``inh``, exponential conductances of 2 ms to 0 and -85 mV, if none are given. State: ``v``,
``i_eta`` (the sum of the currents, held over a step), ``v_t`` (the threshold of the next step), the six parts of both,
``ref`` and the receptors'. Integration: see `spikeframe.neurons.integrated`; the parts decay exactly. Random numbers:
one a step, of 24 bits, so probabilities below 6e-8 a step are 0. NEST's ``gif_cond_exp``; where no chance is left, its
spikes in a recurrent network are met step by step.

References: Mensi, Naud, Pozzorini, Avermann, Petersen and Gerstner 2012, doi:10.1152/jn.00408.2011; Pozzorini, Mensi,
Hagens, Naud, Koch and Gerstner 2015, doi:10.1371/journal.pcbi.1004275.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from spikeframe.kernels.trace import Names, Value, exp, spike, where
from spikeframe.neurons.conductances import CondExp
from spikeframe.neurons.escape import HALF
from spikeframe.neurons.integrated import Flow, Integrated, drive, plus
from spikeframe.neurons.lif import after_spike
from spikeframe.neurons.parameters import Parameter, State

_PARTS = ((1, 1.0), (2, 10.0), (3, 100.0))


class GIF(Integrated):
    """Generalised integrate-and-fire neuron with three exponentials for current and threshold each.

    Args:
        options: parameters of the table above, ``method``, ``substeps``, and what every `Neuron` takes.
    """

    RANDOM: ClassVar[tuple[str, ...]] = ("chance",)
    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "c_m": Parameter(80.0, "pF", above=0.0, doc="capacitance"),
        "g_l": Parameter(4.0, "nS", above=0.0, doc="leak conductance"),
        "e_l": Parameter(-70.0, "mV", doc="leak reversal potential"),
        "v_reset": Parameter(-55.0, "mV", doc="reset value"),
        "t_ref": Parameter(4.0, "ms", least=0.0, doc="refractory period"),
        "i_e": Parameter(0.0, "pA", doc="constant current"),
        "delta_v": Parameter(0.5, "mV", above=0.0, doc="width of the threshold"),
        "v_t_star": Parameter(-35.0, "mV", doc="threshold at rest"),
        "lambda_0": Parameter(1.0, "1/s", above=0.0, doc="hazard at threshold"),
        **{f"tau_eta_{k}": Parameter(tau, "ms", above=0.0, doc="decay of the current") for k, tau in _PARTS},
        **{f"q_eta_{k}": Parameter(0.0, "pA", doc="current per spike") for k, _ in _PARTS},
        **{f"tau_gamma_{k}": Parameter(tau, "ms", above=0.0, doc="decay of the threshold") for k, tau in _PARTS},
        **{f"q_gamma_{k}": Parameter(0.0, "mV", doc="threshold per spike") for k, _ in _PARTS},
    }
    STATES: ClassVar[dict[str, State]] = {
        "v": State("e_l", "mV", doc="membrane potential"),
        "i_eta": State(0.0, "pA", doc="spike-triggered current of the next step"),
        "v_t": State("v_t_star", "mV", doc="threshold of the next step"),
        **{f"eta_{k}": State(0.0, "pA", doc="part of the current") for k, _ in _PARTS},
        **{f"gamma_{k}": State(0.0, "mV", doc="part of the threshold's movement") for k, _ in _PARTS},
        "ref": State(0, "steps", dtype="int", doc="steps left of the refractory period"),
    }

    def __init__(self, **options: Any) -> None:
        if options.get("receptors") is None:
            options["receptors"] = {"exc": CondExp(tau=2.0), "inh": CondExp(tau=2.0, e_rev=-85.0)}
        super().__init__(**options)

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return leak rate, gain, constant drive, the hazard of a step, and the decays of the parts."""
        parts = [f"{what}_{k}" for what in ("eta", "gamma") for k, _ in _PARTS]
        return {
            "leak": self.g_l / self.c_m,
            "gain": 1.0 / self.c_m,
            "bias": (self.g_l * self.e_l + self.i_e) / self.c_m,
            "hazard": self.lambda_0 * (1e-3 * dt),
            "sharpness": 1.0 / self.delta_v,
            **{f"decay_{part}": torch.exp(-dt / getattr(self, f"tau_{part}")) for part in parts},
            **super().coefficients(dt),
        }

    def flow(self, y: Names, i: Value | None, s: Names, c: Names) -> Flow:
        """Leak, constant current, spike-triggered current and receptors."""
        current = -s.i_eta if i is None else i - s.i_eta
        return {"v": plus(c.bias - c.leak * y.v, drive(lambda: c.gain, current))}

    def settle(self, y: Names, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Hold while refractory, fire by chance, reset, let current and threshold rise and decay."""
        v = self.clamped(y.v, s, c)
        stays = exp(-(c.hazard * exp((v - s.v_t) * c.sharpness)))
        margin = (1.0 - s.chance - HALF) - stays
        z = spike(where(s.ref > 0, -1.0, margin) if self._refractory else margin)
        parts = {
            f"{part}_{k}": getattr(c, f"decay_{part}_{k}") * getattr(s, f"{part}_{k}") + getattr(c, f"q_{part}_{k}") * z
            for part in ("eta", "gamma")
            for k, _ in _PARTS
        }
        current = parts["eta_1"] + parts["eta_2"] + parts["eta_3"]
        moved = parts["gamma_1"] + parts["gamma_2"] + parts["gamma_3"]
        own = {"v": after_spike(v, z, c, "value", False), "i_eta": current, "v_t": c.v_t_star + moved, **parts}
        return z, {**own, **self.counted(z, s, c)}
