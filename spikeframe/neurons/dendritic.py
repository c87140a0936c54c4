r"""Two-layer dendritic LIF: branches with a sigmoidal non-linearity in front of a leaky integrate-and-fire soma.

.. math::
    b_k \leftarrow e^{-dt/\tau_d} b_k + I_k, \qquad
    v \leftarrow e^{-dt/\tau_m} v + \sum_k g \, (f(b_k) - f(0)), \qquad
    f(b) = 1 / (1 + e^{-(b - \theta_d)/\Delta_d}), \\
    v \ge v_{th}: \text{ spike and reset}

Inputs that meet on one branch add up to its threshold and drive the soma more than the same inputs spread over branches
do (an NMDA spike lasts some tau_d). Each branch is a receptor of its own, ``branch_0``, ``branch_1``, ...; what arrives
there goes through that receptor's time course first. Reference: Poirazi, Brannon and Mel 2003,
doi:10.1016/S0896-6273(03)00149-1 (two-layer neuron).

==========  ======  ====  =======  ===========================================================
parameter   symbol  unit  default  meaning (range)
==========  ======  ====  =======  ===========================================================
tau_m       τ_m     ms    20       membrane time constant of the soma (> 0)
tau_d       τ_d     ms    10       time constant of a branch (> 0)
g           g       mV    0.3      what an active branch adds to the soma in a step (> 0)
theta_d     θ_d     mV    1        potential of half activation of a branch
width_d     Δ_d     mV    0.1      width of the activation (> 0)
v_th        θ       mV    1        threshold of the soma (above v_reset)
v_reset     V_r     mV    0        reset potential
==========  ======  ====  =======  ===========================================================

State: ``v``, one ``b_<branch>`` each, and the receptors' currents. Exact propagators of the linear parts. A branch goes
on driving the soma after its input, so silent steps are not skipped. Cost of an update: 4 multiplies or divides, 4 adds
and an exponential per branch; that of a LIF for the soma.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from spikeframe.errors import ParameterError
from spikeframe.kernels.trace import Names, Value, spike
from spikeframe.neurons.lif import after_spike, check_order, check_reset
from spikeframe.neurons.neuron import Neuron
from spikeframe.neurons.parameters import Parameter, State, as_switch
from spikeframe.neurons.receptors import Delta, Receptor
from spikeframe.neurons.ultralif import logistic


class DendriticLIF(Neuron):
    """Leaky integrate-and-fire soma behind sigmoidal branches.

    Called as ``z, state = neuron(x, state)`` with ``x`` a dict of one ``[T, B, ...]`` tensor per branch.

    Args:
        branches: number of branches, 1 to 64.
        receptor: makes the receptor of every branch, e.g. ``lambda: Exp(tau=2.0)``; `Delta` if not given.
        reset: ``"value"`` or ``"subtract"``.
        detach_reset: send no gradient through the reset.
        options: parameters of the table above and what every `Neuron` takes, but receptors.

    Raises:
        ParameterError: a number of branches that there cannot be, v_reset not below v_th, or a parameter out of range.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "tau_m": Parameter(20.0, "ms", above=0.0, doc="membrane time constant of the soma"),
        "tau_d": Parameter(10.0, "ms", above=0.0, doc="time constant of a branch"),
        "g": Parameter(0.3, "mV", above=0.0, doc="what an active branch adds to the soma in a step"),
        "theta_d": Parameter(1.0, "mV", doc="potential of half activation of a branch"),
        "width_d": Parameter(0.1, "mV", above=0.0, doc="width of the activation"),
        "v_th": Parameter(1.0, "mV", doc="threshold of the soma"),
        "v_reset": Parameter(0.0, "mV", doc="reset potential"),
    }

    def __init__(
        self,
        branches: int = 4,
        *,
        receptor: Any = Delta,
        reset: str = "value",
        detach_reset: bool = False,
        **options: Any,
    ) -> None:
        if isinstance(branches, bool) or not isinstance(branches, int) or not 1 <= branches <= 64:
            raise ParameterError(f"{type(self).__name__}(branches={branches!r}): must be a whole number from 1 to 64.")
        made: dict[str, Receptor] = {f"branch_{k}": receptor() for k in range(branches)}
        super().__init__(receptors=made, **options)
        self.branches = branches
        self.reset = check_reset(type(self).__name__, reset)
        self.detach_reset = as_switch(type(self).__name__, "detach_reset", detach_reset)
        self.check_values()

    def check_values(self) -> None:
        """Refuse a reset that is not below the threshold, too."""
        super().check_values()
        check_order(self, "v_reset", "v_th")

    def state_variables(self) -> dict[str, State]:
        """Return the soma's potential and those of the branches."""
        branches = {f"b_{name}": State(0.0, "mV", doc=f"potential of {name}") for name in self.receptors}
        return {"v": State("v_reset", "mV", doc="potential of the soma"), **branches}

    def membrane(self) -> tuple[Tensor, Tensor]:
        """Return leak rate and gain 1/tau_d of a branch, on which the receptors act."""
        return 1.0 / self.tau_d, 1.0 / self.tau_d

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return the decays, the branches' slope and their activation at rest."""
        return {
            "decay": torch.exp(-dt / self.tau_m),
            "decay_d": torch.exp(-dt / self.tau_d),
            "slope_d": 1.0 / self.width_d,
            "rest_d": torch.sigmoid(-self.theta_d / self.width_d),
            "v_jump": self.v_th - self.v_reset,
        }

    def _composed(self, x: Any, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Step the branches, each behind its receptor, in the order they are named; then the soma."""
        total: Value | None = None
        states: dict[str, Any] = {}
        for prefix, receptor, arriving, inner, fixed in self._views(x, s, c):
            added, new = receptor.step(arriving, inner, fixed)
            name = f"b_{prefix[:-1]}"
            b = c.decay_d * getattr(s, name) + added
            drive = c.g * (logistic((b - c.theta_d) * c.slope_d) - c.rest_d)
            total = drive if total is None else total + drive
            states |= {name: b, **{prefix + key: value for key, value in new.items()}}
        out, own = self.step(total, s, c)  # type: ignore[arg-type]
        return out, {**own, **states}

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Integrate what the branches send, test, reset."""
        v = c.decay * s.v + x
        z = spike(v - c.v_th)
        return z, {"v": after_spike(v, z, c, self.reset, self.detach_reset)}
