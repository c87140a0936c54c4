r"""Voltage-based plasticity: presynaptic spikes and the membrane of the target.

.. math::

    \tau_\pm \bar u_\pm' = u - \bar u_\pm, \qquad \bar x' = -\bar x / \tau_x, \qquad
    \text{pre: } w \mathrel{-}= w_{max} A_{LTD}\, h\, [\bar u_- - \theta_-]_+, \\
    \text{post: } w \mathrel{+}= w_{max} A_{LTP}\, (u_{peak} - \theta_+)\, t_{peak}\, \bar x\, [\bar u_+ - \theta_-]_+

A presynaptic spike then adds ``1 / tau_x`` to x. The published rule potentiates while u is above theta_+; our neurons
are reset, they have no shape of a spike, so a spike is taken as one of height u_peak and width t_peak in no time:
potentiation is the integral over it, and it moves the filters by ``(u_peak - u)(1 - e^{-t_peak / tau})``.
Depolarisation above theta_+ without a spike does not potentiate. With `u_ref`, depression is scaled by
``h = (m - e_l)^2 / u_ref^2`` with m the membrane filtered over `tau_ref` (homeostasis); else h = 1. Weights are
            clipped to
``[0, w_max]`` (or ``[w_max, 0]``) after every change.

===========  =========  =====  =======  ===========================================================
parameter    symbol     unit   default  meaning (range)
===========  =========  =====  =======  ===========================================================
w_max        w_max      as w   --       the weight's other bound beside 0; its sign is that of the weights
tau_x        τ_x        ms     15       of the trace of presynaptic spikes (> 0)
tau_minus    τ_-        ms     10       of the membrane for depression (> 0)
tau_plus     τ_+        ms     7        of the membrane for potentiation (> 0)
theta_minus  θ_-        mV     -70.6    what both filtered membranes must exceed
theta_plus   θ_+        mV     -45.3    what u must exceed: only spikes do (below u_peak)
a_ltd        A_LTD      1/mV   1.4e-4   depression, of w_max (>= 0)
a_ltp        A_LTP      1/mV²  8e-5     potentiation, of w_max (>= 0)
u_peak       u_peak     mV     30       height of a spike
t_peak       t_peak     ms     2        width of a spike (> 0)
u_ref        u_ref      mV     None     depolarisation at which depression is as given (> 0), or None
tau_ref      τ_ref      ms     1000     of the membrane for homeostasis (> 0)
e_l          E_L        mV     -70.6    rest
===========  =========  =====  =======  ===========================================================

The target must have a state variable ``v``. Defaults: visual cortex. Reference: Clopath, Büsing, Vasilaki and Gerstner
2010, doi:10.1038/nn.2479. Conventions (delays, simultaneous spikes) as in `spikeframe.learning_rules.stdp`; both
filters are those of the step before. Cost: two (three) filters per target and step; a subtraction, a comparison, a
multiplication, an addition and the clipping per synapse at a spike of either side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import expm1

from spikeframe.errors import ParameterError
from spikeframe.kernels.plasticity import Plasticity, number
from spikeframe.kernels.trace import Names, Value, maximum
from spikeframe.learning_rules.stdp import limits


@dataclass(frozen=True)
class VoltageSTDP(Plasticity):
    """Plasticity by the target's membrane; see the table above.

    Args:
        w_max: the weight's bound beside 0.
        tau_x: ms.
        tau_minus: ms.
        tau_plus: ms.
        theta_minus: mV.
        theta_plus: mV.
        a_ltd: depression, per mV.
        a_ltp: potentiation, per mV^2.
        u_peak: mV.
        t_peak: ms.
        u_ref: mV, or None.
        tau_ref: ms.
        e_l: mV.

    Raises:
        ParameterError, NonFiniteError: a value outside its range.
    """

    w_max: float
    tau_x: float = 15.0
    tau_minus: float = 10.0
    tau_plus: float = 7.0
    theta_minus: float = -70.6
    theta_plus: float = -45.3
    a_ltd: float = 1.4e-4
    a_ltp: float = 8e-5
    u_peak: float = 30.0
    t_peak: float = 2.0
    u_ref: float | None = None
    tau_ref: float = 1000.0
    e_l: float = -70.6

    def __post_init__(self) -> None:
        limits("VoltageSTDP", self.w_max)
        for name in ("tau_x", "tau_minus", "tau_plus", "t_peak", "tau_ref", *(("u_ref",) * (self.u_ref is not None))):
            number(f"VoltageSTDP({name})", getattr(self, name), above=0.0)
        for name in ("a_ltd", "a_ltp"):
            number(f"VoltageSTDP({name})", getattr(self, name), least=0.0)
        for name in ("theta_minus", "theta_plus", "u_peak", "e_l"):
            number(f"VoltageSTDP({name})", getattr(self, name))
        if self.u_peak <= self.theta_plus:
            raise ParameterError(
                f"VoltageSTDP(u_peak={self.u_peak!r}): must be above theta_plus={self.theta_plus!r}, or nothing "
                "potentiates."
            )

    def pre(self) -> dict[str, float]:
        """Return the trace of presynaptic spikes."""
        return {"x": self.tau_x}

    def post(self) -> dict[str, float]:
        """Return the filtered membranes."""
        found = {"u_minus": self.tau_minus, "u_plus": self.tau_plus}
        return found if self.u_ref is None else found | {"u_mean": self.tau_ref}

    def follow(self) -> dict[str, str]:
        """Let all of them follow the membrane."""
        return dict.fromkeys(self.post(), "v")

    def coefficients(self) -> dict[str, float]:
        """Return amplitudes, thresholds and how far a spike moves each filter."""
        found = {
            "down": self.a_ltd * self.w_max, "theta": self.theta_minus, "u_peak": self.u_peak,
            "up": self.a_ltp * self.w_max * (self.u_peak - self.theta_plus) * self.t_peak / self.tau_x,
        }  # fmt: skip
        found |= {f"move_{name}": -expm1(-self.t_peak / tau) for name, tau in self.post().items()}
        if self.u_ref is not None:
            found |= {"per_ref": 1.0 / self.u_ref, "e_l": self.e_l}
        return found

    def bounds(self) -> tuple[float, float]:
        """Return 0 and w_max in their order."""
        return limits("VoltageSTDP", self.w_max)

    def at_pre(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Depress a depolarised target's synapse."""
        step = c.down * maximum(s.u_minus - c.theta, 0.0)
        if self.u_ref is not None:
            depolarised = (s.u_mean - c.e_l) * c.per_ref
            step = step * (depolarised * depolarised)
        return {"w": s.w - step}

    def at_post(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Potentiate, if the target was depolarised before its spike."""
        return {"w": s.w + c.up * s.x * maximum(s.u_plus - c.theta, 0.0)}

    def arrive(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Add a presynaptic spike to its trace (tau_x times the published one)."""
        return {"x": s.x + 1.0}

    def fire(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Move the filters through a spike."""
        return {
            name: getattr(s, name) + (c.u_peak - getattr(s, name)) * getattr(c, f"move_{name}") for name in self.post()
        }
