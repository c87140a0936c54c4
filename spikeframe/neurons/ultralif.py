r"""UltraLIF: a neuron without any hard step, whose maximum and threshold are smooth at temperature ε.

.. math:: v \leftarrow \varepsilon \log(e^{(v + \log\tau)/\varepsilon} + e^{I/\varepsilon}), \quad
          s = \sigma((v - \theta)/\varepsilon), \quad v \leftarrow v (1 - s), \qquad \tau = e^{-dt/\tau_m}

The output s is a number in (0, 1), not a spike, and the gradient is the derivative of what is computed: no surrogate.
Reference: UltraLIF 2026, arXiv:2602.11206; its library takes θ = 0 and τ = 0.9 a step, its ablation θ = 1.

==========  ======  ====  =======  ===========================================================
parameter   symbol  unit  default  meaning (range)
==========  ======  ====  =======  ===========================================================
tau_m       τ_m     ms    9.49     leak time constant (> 0); the default is τ = 0.9 at dt = 1
eps         ε       mV    1        temperature (> 0)
v_th        θ       mV    0        threshold
kappa       κ       1/mV  1        slope of s if decoupled from ε (> 0)
==========  ======  ====  =======  ===========================================================

**The limit ε → 0 is not the usual LIF.** The published step (``form="max_plus"``) tends to ``v <- max(v - dt/tau_m,
I)``: a max-plus LIF (`TropicalLIF`), in which the leak is subtracted and inputs of different steps do not add, so two
inputs of 0.6 never reach a threshold of 1. With θ = 0 the membrane lies above that limit by at most
``t ε (log 2 + 0.2785)`` after t steps, for any θ by at most ``ε log(t + 1)`` without reset (with reset and θ > 0 the
limit jumps at θ, so there is no bound for every input). ``form="additive"``, ``v <- τ v + I`` with the same s and
reset, is the form that does tend to the summing LIF (`LIF` with ``reset="value"``), exponentially fast in 1/ε as long
as that one's membrane keeps a distance from θ.

At ε = 1 without reset, exp(v) is a linear leaky integrator of exp(I). State: ``v``. Silence is an input of 0, not of
-∞: a neuron at rest goes on to emit s > 0, so no step can be skipped. The published sparsity penalty is λ times the
mean output, with λ = 0.1; one time step (T = 1) gives ``s = (r + e^{I/ε}) / (1 + r + e^{I/ε})``, r = τ^{1/ε}. The
library clips ε to [0.1, 20]; here a learnable ε is positive and not clipped. With ``learnable=["tau_m"]`` it is the
published UltraPLIF, with ``decoupled=True`` its DS variant.
Cost of an update: 2 exponentials and a 16-term series for the logarithm.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from spikeframe.errors import ParameterError
from spikeframe.kernels.trace import Names, Value, exp, maximum, spike, where
from spikeframe.neurons.neuron import Neuron
from spikeframe.neurons.parameters import Parameter, State, as_switch

#: Terms of artanh(t)/t = 1 + t²/3 + t⁴/5 + ..., highest first; the next is below 1e-17 for t <= 1/3.
_SERIES = tuple(1.0 / (2 * k + 1) for k in reversed(range(16)))
#: Time constant of a leak of 0.9 a millisecond.
TAU_M = -1.0 / math.log(0.9)


def log_one_plus(z: Value) -> Value:
    """Return log(1 + z) for z in [0, 1], as 2 artanh(z / (2 + z)) by its series.

    Args:
        z: traced value.
    """
    t = z / (2.0 + z)
    square = t * t
    total = square * _SERIES[0] + _SERIES[1]
    for term in _SERIES[2:]:
        total = total * square + term
    return (t + t) * total


def soft_maximum(a: Value, b: Value, eps: Value, rate: Value) -> Value:
    """Return ``eps log(exp(a / eps) + exp(b / eps))``, which lies in [max, max + eps log 2].

    Args:
        a: one value.
        b: the other.
        eps: temperature.
        rate: 1 / eps.
    """
    first = a > b  # one choice for both, so that the gradient at a tie is a half each
    high, low = where(first, a, b), where(first, b, a)
    return high + eps * log_one_plus(exp((low - high) * rate))


def logistic(u: Value) -> Value:
    """Return 1 / (1 + exp(-u)) without ever taking the exponential of a positive number.

    Args:
        u: traced value.
    """
    positive = u >= 0.0
    e = exp(where(positive, -u, u))
    return where(positive, 1.0, e) / (1.0 + e)


class UltraLIF(Neuron):
    """Smooth leaky integrate-and-fire neuron with a temperature.

    Args:
        form: ``"max_plus"`` (as published) or ``"additive"`` (tends to the summing LIF).
        reset: whether the membrane is scaled by 1 - s.
        decoupled: take the slope of s from kappa instead of 1/eps.
        options: parameters of the table above and what every `Neuron` takes.

    Raises:
        ParameterError: a form that there is not, or a parameter out of range.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "tau_m": Parameter(TAU_M, "ms", above=0.0, doc="leak time constant"),
        "eps": Parameter(1.0, "mV", above=0.0, doc="temperature"),
        "v_th": Parameter(0.0, "mV", doc="threshold"),
        "kappa": Parameter(1.0, "1/mV", above=0.0, doc="slope of the output if decoupled"),
    }
    STATES: ClassVar[dict[str, State]] = {"v": State(0.0, "mV", doc="membrane potential")}
    TRACED = Neuron.TRACED | {"form", "decoupled"}

    def __init__(self, *, form: str = "max_plus", reset: bool = True, decoupled: bool = False, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(form, str) or form not in ("max_plus", "additive"):
            raise ParameterError(
                f"{type(self).__name__}(form={form!r}): must be 'max_plus' (as published) or 'additive'."
            )
        self.form = form
        self.reset = as_switch(type(self).__name__, "reset", reset)
        self.decoupled = as_switch(type(self).__name__, "decoupled", decoupled)

    def membrane(self) -> tuple[Tensor, Tensor]:
        """Return leak rate and gain of the additive form; the other has no linear membrane."""
        return (1.0 / self.tau_m, 1.0 / self.tau_m) if self.form == "additive" else super().membrane()

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return the leak as a subtrahend and as a factor, 1/eps, and the slope of the output."""
        return {
            "log_leak": -dt / self.tau_m,
            "decay": torch.exp(-dt / self.tau_m),
            "rate": 1.0 / self.eps,
            "slope": self.kappa if self.decoupled else 1.0 / self.eps,
        }

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Leak and take in, put out, reset."""
        additive = self.form == "additive"
        v = c.decay * s.v + x if additive else soft_maximum(s.v + c.log_leak, x, c.eps, c.rate)
        out = logistic((v - c.v_th) * c.slope)
        return out, {"v": v * (1.0 - out) if self.reset else v}


class TropicalLIF(Neuron):
    """Max-plus leaky integrate-and-fire neuron, the limit of `UltraLIF` as eps -> 0.

    ``v <- max(v - dt/tau_m, x)``, spike where ``v > v_th`` (strictly: at rest v = 0, and a silent neuron with threshold
    0 must not fire), ``v <- 0`` after a spike.

    Args:
        options: tau_m (ms, > 0), v_th (mV, 0) and what every `Neuron` takes.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "tau_m": Parameter(TAU_M, "ms", above=0.0, doc="leak time constant"),
        "v_th": Parameter(0.0, "mV", doc="threshold"),
    }
    STATES: ClassVar[dict[str, State]] = {"v": State(0.0, "mV", doc="membrane potential")}

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return what the leak adds in a step."""
        return {"log_leak": -dt / self.tau_m}

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Leak and take in, test, reset."""
        v = maximum(s.v + c.log_leak, x)
        above = v - c.v_th
        z = spike(where(above > 0.0, above, above - 1e-30))
        return z, {"v": v * (1.0 - z)}

    def waits(self, s: Names, c: Names) -> list[Value] | None:
        """At or below a threshold that is not negative, which silence cannot lift the membrane above."""
        return [s.v <= c.v_th, c.v_th >= 0.0]
