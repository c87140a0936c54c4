r"""Leaky integrate-and-fire.

.. math:: \tau_m \, dv/dt = -(v - v_{rest}) + r_m (I + i_e), \qquad v \ge v_{th}: \text{ spike and reset}

Between grid points v follows its propagator exactly: ``v -> e^{-dt/tau_m} v + receptors + constant drive``. A step
integrates, tests the threshold, resets. While refractory v rests at v_reset and delta arrivals are lost, as in NEST's
``iaf_psc_delta``; receptor currents go on.

==========  ======  ====  =======  ===========================================================
parameter   symbol  unit  default  meaning (range)
==========  ======  ====  =======  ===========================================================
tau_m       τ_m     ms    20       membrane time constant (> 0)
r_m         r_m     GΩ    1        resistance: mV per pA, or any unit of v per unit of input (> 0)
v_rest      E_L     mV    0        resting potential
v_th        θ       mV    1        threshold (above v_reset)
v_reset     V_r     mV    0        reset potential
t_ref       t_ref   ms    0        refractory period (>= 0, a multiple of dt)
i_e         I_e     pA    0        constant input current
==========  ======  ====  =======  ===========================================================

State: ``v``; ``ref`` (steps left) if t_ref > 0; the receptors' currents. Cost of an update (delta input, subtractive
reset): 1 multiply and 1 add to integrate, 1 subtract and compare to test, 1 multiply and 1 subtract to reset.
Reference: Rotter and Diesmann 1999, doi:10.1007/s004220050570.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from spikeframe.errors import ParameterError
from spikeframe.kernels.trace import Names, Value, detach, spike
from spikeframe.neurons.parameters import Parameter, State, as_switch, first_of
from spikeframe.neurons.refractory import Refractory


def check_reset(kind: str, reset: str) -> str:
    """Return the way of reset, or refuse it.

    Args:
        kind: the neuron's class, for the message.
        reset: ``"subtract"`` or ``"value"``.
    """
    if not isinstance(reset, str) or reset not in ("subtract", "value"):
        raise ParameterError(
            f"{kind}(reset={reset!r}): must be 'subtract' (v -= v_th - v_reset) or 'value' (v = v_reset)."
        )
    return reset


def after_spike(v: Value, z: Value, c: Names, reset: str, detached: bool) -> Value:
    """Return the membrane after the reset.

    Args:
        v: membrane before.
        z: 1 where there was a spike, else 0.
        c: coefficients, with ``v_jump = v_th - v_reset`` and ``v_reset``.
        reset: ``"subtract"`` takes v_jump off; ``"value"`` sets v_reset.
        detached: send no gradient through z.
    """
    kept = detach(z) if detached else z
    if reset == "subtract":
        after: Value = v - kept * c.v_jump
    else:
        after = v * (1.0 - kept) + c.v_reset * kept
    return after


def check_order(neuron: Any, low: str, high: str) -> None:
    """Refuse a neuron one of whose potentials is not below another.

    Args:
        neuron: what has them as parameters.
        low: name of the lower one.
        high: name of the higher one.

    Raises:
        ParameterError: it is not lower.
    """
    below, above = neuron.value(low).detach(), neuron.value(high).detach()
    wrong = ~(below < above)
    if bool(wrong.any()):
        below, above = below.expand_as(wrong), above.expand_as(wrong)
        raise ParameterError(
            f"{type(neuron).__name__}: {low} must be below {high}, "
            f"got {first_of(below, wrong)} and {first_of(above, wrong)}."
        )


def safe_below(decay: Tensor, leak: Tensor, v_th: Tensor) -> Tensor:
    """Return below which a membrane ``v -> decay v + leak`` never reaches v_th by itself, in float32 and in float64.

    Rounding keeps order: no v below the threshold can get further than the largest float below it does. So where that
    one stays below, all do for ever, and the answer is v_th; else it is a number that no membrane is below.
    """
    safe = torch.ones((), dtype=torch.bool, device="cpu")
    for dtype in (torch.float32, torch.float64):
        d, k, th = (value.detach().to(dtype) for value in (decay, leak, v_th))
        safe = safe & (d * torch.nextafter(th, torch.full_like(th, -torch.inf)) + k < th)
    return torch.where(safe, v_th.detach(), float(torch.finfo(torch.float32).min))


class LIF(Refractory):
    """Leaky integrate-and-fire neuron with exact propagators.

    Args:
        reset: ``"subtract"`` or ``"value"``. Default: subtract, or value if there is a refractory period.
        detach_reset: send no gradient through the reset.
        options: parameters of the table above and what every `Neuron` takes.

    Raises:
        ParameterError: v_reset is not below v_th, or a parameter is out of range.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "tau_m": Parameter(20.0, "ms", above=0.0, doc="membrane time constant"),
        "r_m": Parameter(1.0, "GOhm", above=0.0, doc="membrane resistance"),
        "v_rest": Parameter(0.0, "mV", doc="resting potential"),
        "v_th": Parameter(1.0, "mV", doc="threshold"),
        "v_reset": Parameter(0.0, "mV", doc="reset potential"),
        "t_ref": Parameter(0.0, "ms", least=0.0, doc="refractory period"),
        "i_e": Parameter(0.0, "pA", doc="constant input current"),
    }
    STATES: ClassVar[dict[str, State]] = {
        "v": State("v_rest", "mV", doc="membrane potential"),
        "ref": State(0, "steps", dtype="int", doc="refractory steps left"),
    }

    def __init__(self, *, reset: str | None = None, detach_reset: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.reset = check_reset(
            type(self).__name__, ("value" if self._refractory else "subtract") if reset is None else reset
        )
        self.detach_reset = as_switch(type(self).__name__, "detach_reset", detach_reset)
        self.check_values()

    def check_values(self) -> None:
        """Refuse a reset that is not below the threshold, too."""
        super().check_values()
        check_order(self, "v_reset", "v_th")

    @property
    def _driven(self) -> bool:
        """Whether a constant drive has to be added at every step."""
        learnt = bool({"v_rest", "i_e"} & self.learnable)
        return learnt or bool((self.v_rest != 0).any() or (self.i_e != 0).any())

    def membrane(self) -> tuple[Tensor, Tensor]:
        """Return leak rate 1/tau_m and gain r_m/tau_m."""
        return 1.0 / self.tau_m, self.r_m / self.tau_m

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return decay, constant drive, reset jump, refractory steps, and below which drive alone brings no spike."""
        found = {
            "decay": torch.exp(-dt / self.tau_m),
            "leak": (self.v_rest + self.r_m * self.i_e) * -torch.expm1(-dt / self.tau_m),
            "v_jump": self.v_th - self.v_reset,
        }
        return {
            **found,
            "v_safe": safe_below(found["decay"], found["leak"], self.v_th),
            **super().coefficients(dt),
        }

    def fired(self, v: Value, s: Names, c: Names) -> Value:
        """Return the spike of a step that brought the membrane to v."""
        return spike(v - c.v_th)

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Integrate, test, reset."""
        v = c.decay * s.v + x
        if self._driven:
            v = v + c.leak
        v = self.clamped(v, s, c)
        z = self.fired(v, s, c)
        return z, {"v": after_spike(v, z, c, self.reset, self.detach_reset), **self.counted(z, s, c)}

    def waits(self, s: Names, c: Names) -> list[Value] | None:
        """Below threshold, if decay towards ``v_rest + r_m i_e`` cannot cross it."""
        never = not self.learnable and bool((self.v_rest + self.r_m * self.i_e > self.v_th).all())
        return None if never else [s.v < c.v_safe]
