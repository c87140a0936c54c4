r"""Reward-modulated spike-timing-dependent plasticity with eligibility (R-STDP, MSTDPET).

.. math::

    c' = -c / \tau_c + w_{max} \left(A_+\, x\, \delta_{post} - A_-\, y\, \delta_{pre}\right), \qquad
    d' = -d / \tau_d + R(t), \qquad w' = c\, d / \tau_d

x and y are the traces of pair STDP (`spikeframe.learning_rules.stdp`, all-to-all). Spikes change the eligibility c of a
synapse, never its weight; the reward R, a sum of impulses given by `Simulator.signal`, turns it into a change. Without
`tau_d` a reward acts at once: ``w += c R`` (MSTDPET), the limit of a short tau_d. Weights are clipped to ``[0, w_max]``
(or ``[w_max, 0]``) at every event of the synapse.

=========  =======  ====  =======  =================================================================
parameter  symbol   unit  default  meaning (range)
=========  =======  ====  =======  =================================================================
w_max      w_max    as w  --       the weight's other bound beside 0; its sign is that of the weights
tau_plus   τ_+      ms    20       of the trace of presynaptic spikes (> 0)
tau_minus  τ_-      ms    20       of the trace of postsynaptic spikes (> 0)
a_plus     A_+            0.01     eligibility by a pre-post pair, of w_max (>= 0)
a_minus    A_-            0.01     by a post-pre pair, of w_max; negative: no order of spikes is punished
tau_c      τ_c      ms    1000     of the eligibility (> 0)
tau_d      τ_d      ms    200      of the reward in the tissue (> 0), or None: it acts at once
=========  =======  ====  =======  =================================================================

Exact between events, at no cost: with both exponential, ``w`` moves by ``k (c d - c_now d_now)``,
``k = (1 / tau_c + 1 / tau_d)^{-1} / tau_d``, since the last event, so a synapse keeps ``p = k c d`` from then. A weight
that is read was brought up to date at the last spike of either side or signal; a signal of 0 brings all up to date. A
reward costs a pass over all synapses of the projection. References: Izhikevich 2007, doi:10.1093/cercor/bhl152 (his
dopamine step is R / tau_d); Florian 2007, doi:10.1162/neco.2007.19.6.1468.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from spikeframe.kernels.plasticity import Plasticity, number
from spikeframe.kernels.trace import Names, Value
from spikeframe.learning_rules.stdp import limits


@dataclass(frozen=True)
class RewardSTDP(Plasticity):
    """STDP that waits for a reward; see the table above.

    Args:
        w_max: the weight's bound beside 0.
        tau_plus: ms.
        tau_minus: ms.
        a_plus: eligibility by a pre-post pair.
        a_minus: eligibility taken by a post-pre pair.
        tau_c: ms.
        tau_d: ms, or None for rewards that act at once.

    Raises:
        ParameterError, NonFiniteError: a value outside its range.
    """

    w_max: float
    tau_plus: float = 20.0
    tau_minus: float = 20.0
    a_plus: float = 0.01
    a_minus: float = 0.01
    tau_c: float = 1000.0
    tau_d: float | None = 200.0

    def __post_init__(self) -> None:
        limits("RewardSTDP", self.w_max)
        for name in ("tau_plus", "tau_minus", "tau_c", *(("tau_d",) if self.tau_d is not None else ())):
            number(f"RewardSTDP({name})", getattr(self, name), above=0.0)
        number("RewardSTDP(a_plus)", self.a_plus, least=0.0)
        number("RewardSTDP(a_minus)", self.a_minus)

    def pre(self) -> dict[str, float]:
        """Return the trace of presynaptic spikes."""
        return {"x": self.tau_plus}

    def post(self) -> dict[str, float]:
        """Return the trace of postsynaptic spikes."""
        return {"y": self.tau_minus}

    def own(self) -> dict[str, float]:
        """Return the eligibility and, if rewards last, what it would still give at the last event."""
        return {"c": self.tau_c} if self.tau_d is None else {"c": self.tau_c, "p": inf}

    def whole(self) -> dict[str, float]:
        """Return the reward, if it lasts."""
        return {} if self.tau_d is None else {"d": self.tau_d}

    def coefficients(self) -> dict[str, float]:
        """Return steps of the eligibility, and k."""
        found = {"up": self.a_plus * self.w_max, "down": self.a_minus * self.w_max}
        if self.tau_d is not None:
            found["k"] = 1.0 / (1.0 + self.tau_d / self.tau_c)
        return found

    def bounds(self) -> tuple[float, float]:
        """Return 0 and w_max in their order."""
        return limits("RewardSTDP", self.w_max)

    def at_pre(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Take from the eligibility."""
        return self._event(s, c, s.c - c.down * s.y)

    def at_post(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Add to the eligibility."""
        return self._event(s, c, s.c + c.up * s.x)

    def _event(self, s: Names, c: Names, eligibility: Value) -> Mapping[str, Value | float]:
        """Bring the weight up to date and begin anew with another eligibility."""
        if self.tau_d is None:
            return {"c": eligibility}
        return {"w": s.w + (s.p - c.k * s.c * s.d), "c": eligibility, "p": c.k * eligibility * s.d}

    def at_signal(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Reward all synapses."""
        if self.tau_d is None:
            return {"w": s.w + s.c * s.signal}
        return {"w": s.w + (s.p - c.k * s.c * s.d), "p": c.k * s.c * (s.d + s.signal)}

    def signal(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Add to the reward."""
        return {} if self.tau_d is None else {"d": s.d + s.signal}

    def arrive(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Add a presynaptic spike to its trace."""
        return {"x": s.x + 1.0}

    def fire(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Add a postsynaptic spike to its trace."""
        return {"y": s.y + 1.0}
