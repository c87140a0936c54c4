r"""Triplet spike-timing-dependent plasticity.

.. math::

    r_1' = -r_1 / \tau_+, \quad r_2' = -r_2 / \tau_x, \quad o_1' = -o_1 / \tau_-, \quad o_2' = -o_2 / \tau_y, \\
    \text{pre: } w \mathrel{-}= w_{max}\, o_1 (A_2^- + A_3^- r_2), \qquad
    \text{post: } w \mathrel{+}= w_{max}\, r_1 (A_2^+ + A_3^+ o_2)

A presynaptic spike then adds 1 to r_1 and r_2, a postsynaptic one 1 to o_1 and o_2 (``pairing="all"``), or sets them to
1 (``"nearest"``). Weights are clipped to ``[0, w_max]`` (or ``[w_max, 0]``) after every change. The slow traces r_2 and
o_2 are those before the spike itself, so a pair alone meets A_2 only, and potentiation grows with the rate.

==========  =======  ====  =======  =================================================================
parameter   symbol   unit  default  meaning (range)
==========  =======  ====  =======  =================================================================
w_max       w_max    as w  --       the weight's other bound beside 0; its sign is that of the weights
tau_plus    τ_+      ms    16.8     fast presynaptic trace (> 0)
tau_x       τ_x      ms    101      slow presynaptic trace (> 0)
tau_minus   τ_-      ms    33.7     fast postsynaptic trace (> 0)
tau_y       τ_y      ms    125      slow postsynaptic trace (> 0)
a2_plus     A_2^+          5e-10    potentiation by a pair, of w_max (>= 0)
a3_plus     A_3^+          6.2e-3   potentiation by a post-pre-post triplet, of w_max (>= 0)
a2_minus    A_2^-          7e-3     depression by a pair, of w_max (>= 0)
a3_minus    A_3^-          2.3e-4   depression by a pre-post-pre triplet, of w_max (>= 0)
==========  =======  ====  =======  =================================================================

The defaults are the full set for visual cortex, all-to-all. Conventions (delays, simultaneous spikes) as in
`spikeframe.learning_rules.stdp`. Reference: Pfister and Gerstner 2006, doi:10.1523/JNEUROSCI.1425-06.2006. Cost: two
multiplications, two additions and two comparisons per synapse at a spike of either side; none between spikes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spikeframe.errors import known_name
from spikeframe.kernels.plasticity import Plasticity, number
from spikeframe.kernels.trace import Names, Value
from spikeframe.learning_rules.stdp import PAIRINGS, limits


@dataclass(frozen=True)
class TripletSTDP(Plasticity):
    """Triplet STDP; see the table above.

    Args:
        w_max: the weight's bound beside 0.
        tau_plus: ms.
        tau_x: ms.
        tau_minus: ms.
        tau_y: ms.
        a2_plus: potentiation by a pair.
        a3_plus: potentiation by a triplet.
        a2_minus: depression by a pair.
        a3_minus: depression by a triplet.
        pairing: ``"all"`` or ``"nearest"``.

    Raises:
        ParameterError, NonFiniteError: a value outside its range.
        UnknownNameError: no such pairing.
    """

    w_max: float
    tau_plus: float = 16.8
    tau_x: float = 101.0
    tau_minus: float = 33.7
    tau_y: float = 125.0
    a2_plus: float = 5e-10
    a3_plus: float = 6.2e-3
    a2_minus: float = 7e-3
    a3_minus: float = 2.3e-4
    pairing: str = "all"

    def __post_init__(self) -> None:
        limits("TripletSTDP", self.w_max)
        for name in ("tau_plus", "tau_x", "tau_minus", "tau_y"):
            number(f"TripletSTDP({name})", getattr(self, name), above=0.0)
        for name in ("a2_plus", "a3_plus", "a2_minus", "a3_minus"):
            number(f"TripletSTDP({name})", getattr(self, name), least=0.0)
        known_name("pairing of TripletSTDP", self.pairing, PAIRINGS)

    def pre(self) -> dict[str, float]:
        """Return both traces of presynaptic spikes."""
        return {"r1": self.tau_plus, "r2": self.tau_x}

    def post(self) -> dict[str, float]:
        """Return both traces of postsynaptic spikes."""
        return {"o1": self.tau_minus, "o2": self.tau_y}

    def coefficients(self) -> dict[str, float]:
        """Return the four amplitudes in units of the weight."""
        return {n: getattr(self, n) * self.w_max for n in ("a2_plus", "a3_plus", "a2_minus", "a3_minus")}

    def bounds(self) -> tuple[float, float]:
        """Return 0 and w_max in their order."""
        return limits("TripletSTDP", self.w_max)

    def at_pre(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Depress."""
        return {"w": s.w - s.o1 * (c.a2_minus + c.a3_minus * s.r2)}

    def at_post(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Potentiate."""
        return {"w": s.w + s.r1 * (c.a2_plus + c.a3_plus * s.o2)}

    def arrive(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Add a presynaptic spike to its traces."""
        return {name: 1.0 if self.pairing == "nearest" else getattr(s, name) + 1.0 for name in ("r1", "r2")}

    def fire(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Add a postsynaptic spike to its traces."""
        return {name: 1.0 if self.pairing == "nearest" else getattr(s, name) + 1.0 for name in ("o1", "o2")}
