r"""Plasticity of inhibiting synapses that holds their targets at a rate.

.. math::

    x' = -x / \tau, \quad y' = -y / \tau, \qquad
    \text{pre: } w \mathrel{+}= \eta\, w_{max} (y - \alpha), \qquad
    \text{post: } w \mathrel{+}= \eta\, w_{max}\, x, \qquad \alpha = 2 \rho_0 \tau

A presynaptic spike then adds 1 to x, a postsynaptic one 1 to y: near-coincident spikes, in either order, strengthen the
inhibition, lone presynaptic ones weaken it. For uncorrelated spikes the mean change is 0 where the target fires at
rho_0. Weights are clipped to ``[0, w_max]``, or for a negative w_max to ``[w_max, 0]`` (inhibiting currents).

=========  =======  ========  =======  =============================================================
parameter  symbol   unit      default  meaning (range)
=========  =======  ========  =======  =============================================================
w_max      w_max    as w      --       the weight's other bound beside 0; its sign is that of the weights
tau        τ        ms        20       of both traces (> 0)
eta        η                  0.01     step of a weight, of w_max (>= 0)
rate       ρ_0      spikes/s  5        that the target is held at (>= 0)
=========  =======  ========  =======  =============================================================

Conventions (delays, simultaneous spikes) as in `spikeframe.learning_rules.stdp`. Reference: Vogels, Sprekeler, Zenke,
Clopath and Gerstner 2011, doi:10.1126/science.1211095. Cost: one multiplication, one or two additions and two
comparisons per synapse at a spike of either side; none between spikes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spikeframe.kernels.plasticity import Plasticity, number
from spikeframe.kernels.trace import Names, Value
from spikeframe.learning_rules.stdp import limits


@dataclass(frozen=True)
class InhibitorySTDP(Plasticity):
    """Symmetric STDP of inhibiting synapses; see the table above.

    Args:
        w_max: the weight's bound beside 0.
        tau: ms.
        eta: step of a weight.
        rate: that the target is held at, spikes/s.

    Raises:
        ParameterError, NonFiniteError: a value outside its range.
    """

    w_max: float
    tau: float = 20.0
    eta: float = 0.01
    rate: float = 5.0

    def __post_init__(self) -> None:
        limits("InhibitorySTDP", self.w_max)
        number("InhibitorySTDP(tau)", self.tau, above=0.0)
        number("InhibitorySTDP(eta)", self.eta, least=0.0)
        number("InhibitorySTDP(rate)", self.rate, least=0.0)

    def pre(self) -> dict[str, float]:
        """Return the trace of presynaptic spikes."""
        return {"x": self.tau}

    def post(self) -> dict[str, float]:
        """Return the trace of postsynaptic spikes."""
        return {"y": self.tau}

    def coefficients(self) -> dict[str, float]:
        """Return the step in units of the weight, and alpha."""
        return {"step": self.eta * self.w_max, "alpha": 2e-3 * self.rate * self.tau}

    def bounds(self) -> tuple[float, float]:
        """Return 0 and w_max in their order."""
        return limits("InhibitorySTDP", self.w_max)

    def at_pre(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Weaken, unless the target fired lately."""
        return {"w": s.w + c.step * (s.y - c.alpha)}

    def at_post(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Strengthen what arrived lately."""
        return {"w": s.w + c.step * s.x}

    def arrive(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Add a presynaptic spike to its trace."""
        return {"x": s.x + 1.0}

    def fire(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Add a postsynaptic spike to its trace."""
        return {"y": s.y + 1.0}
