r"""Resonate-and-fire: a damped oscillator that spikes when its voltage crosses the threshold.

.. math:: dz/dt = (-1/\tau_m + i\omega) z + I, \quad z = u + i v,
          \quad v \ge v_{th}: \text{ spike}, \; z \leftarrow u_r + i v_r

Between grid points z follows its propagator ``exp((-1/tau_m + iω) dt)`` exactly; arrivals add to u at the end of a
step and turn into voltage afterwards. Two pulses a period 2π/ω apart add up, half a period apart they cancel.
Reference: Izhikevich 2001, doi:10.1016/S0893-6080(01)00078-8, who resets to z = i, as the defaults do.

==========  ======  ======  =======  ===========================================================
parameter   symbol  unit    default  meaning (range)
==========  ======  ======  =======  ===========================================================
tau_m       τ_m     ms      10       time constant of the damping (> 0), b = -1/τ_m
omega       ω       rad/ms  1        angular frequency (> 0; below π/dt)
v_th        θ       mV      1        threshold (> 0)
u_reset     u_r     mV      0        reset of the current-like variable
v_reset     v_r     mV      1        reset of the voltage-like variable (at most v_th)
==========  ======  ======  =======  ===========================================================

State: ``u``, ``v``. Cost of an update: 4 multiplies, 3 adds, test and reset. Exact propagator.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from spikeframe.errors import ParameterError, TimeGridError
from spikeframe.kernels.trace import Names, Value, spike
from spikeframe.neurons.neuron import Neuron
from spikeframe.neurons.parameters import Parameter, State, as_switch

#: Spacing of float32 numbers at 1: eight times the rounding of any operation of a step.
_ROUNDING = 2.0**-23


class ResonateFire(Neuron):
    """Resonate-and-fire neuron with the exact propagator of its oscillation.

    Args:
        reset: whether a spike resets z.
        options: parameters of the table above and what every `Neuron` takes.

    Raises:
        ParameterError: v_reset is above v_th, or a parameter is out of range.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "tau_m": Parameter(10.0, "ms", above=0.0, doc="time constant of the damping"),
        "omega": Parameter(1.0, "rad/ms", above=0.0, doc="angular frequency"),
        "v_th": Parameter(1.0, "mV", above=0.0, doc="threshold"),
        "u_reset": Parameter(0.0, "mV", doc="reset of the current-like variable"),
        "v_reset": Parameter(1.0, "mV", doc="reset of the voltage-like variable"),
    }
    STATES: ClassVar[dict[str, State]] = {
        "u": State(0.0, "mV", doc="current-like variable, real part"),
        "v": State(0.0, "mV", doc="voltage-like variable, imaginary part"),
    }

    def __init__(self, *, reset: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.reset = as_switch(type(self).__name__, "reset", reset)
        self.check_values()

    def check_values(self) -> None:
        """Refuse a reset above the threshold, too."""
        super().check_values()
        if self.reset and not bool((self.v_reset <= self.v_th).all()):
            raise ParameterError(
                f"{type(self).__name__}: v_reset must be at most v_th, "
                f"got {self.v_reset.tolist()} and {self.v_th.tolist()}."
            )

    def check(self, dt: float) -> None:
        """Refuse an oscillation that the time grid cannot show."""
        if not bool((self.omega * dt < math.pi).all()):
            raise TimeGridError(
                f"{type(self).__name__}: omega={self.omega.tolist()} rad/ms turns by pi or more in a step of "
                f"dt={dt:g} ms; take a smaller dt."
            )

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return the propagator, and the square of the modulus below which no spike can come by itself."""
        decay = torch.exp(-dt / self.tau_m)
        # Rounding adds at most 8 units of 2^-24 to a modulus: where damping takes off more, a modulus never grows.
        damped = decay.detach() * (1.0 + 16 * _ROUNDING) < 1.0
        safe = torch.where(damped, self.v_th.detach() ** 2 * (1.0 - 16 * _ROUNDING), 0.0)
        return {
            "turn_cos": decay * torch.cos(self.omega * dt),
            "turn_sin": decay * torch.sin(self.omega * dt),
            "safe": safe,
        }

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Turn and damp, take in, test, reset."""
        u = c.turn_cos * s.u - c.turn_sin * s.v + x
        v = c.turn_sin * s.u + c.turn_cos * s.v
        z = spike(v - c.v_th)
        if not self.reset:
            return z, {"u": u, "v": v}
        kept = 1.0 - z
        return z, {"u": u * kept + c.u_reset * z, "v": v * kept + c.v_reset * z}

    def waits(self, s: Names, c: Names) -> list[Value] | None:
        """While |z| is below the threshold, which damping keeps so."""
        return [s.u * s.u + s.v * s.v < c.safe]
