r"""Pair-based spike-timing-dependent plasticity.

.. math::

    x' = -x / \tau_+, \quad y' = -y / \tau_-, \qquad
    \text{pre: } w \mathrel{-}= \lambda \alpha\, w_{max} (w / w_{max})^{\mu_-} y, \qquad
    \text{post: } w \mathrel{+}= \lambda\, w_{max} (1 - w / w_{max})^{\mu_+} x

A presynaptic spike then adds 1 to x, a postsynaptic one 1 to y (``pairing="all"``), or sets it to 1 (``"nearest"``:
each spike pairs with the last one on the other side only). Weights are clipped to ``[0, w_max]`` (or ``[w_max, 0]`` for
a negative `w_max`) after every change.

===========  =======  ====  =======  ================================================================
parameter    symbol   unit  default  meaning (range)
===========  =======  ====  =======  ================================================================
w_max        w_max    as w  --       the weight's other bound beside 0; its sign is that of the weights
tau_plus     τ_+      ms    20       of the trace of presynaptic spikes, which potentiates (> 0)
tau_minus    τ_-      ms    20       of the trace of postsynaptic spikes, which depresses (> 0)
lambda\_     λ                0.01     step of a weight (>= 0)
alpha        α                1        depression over potentiation
mu_plus      μ_+              1        how potentiation depends on the weight: 0 additive, 1 linear (>= 0)
mu_minus     μ_-              1        how depression does (>= 0)
===========  =======  ====  =======  ================================================================

Conventions. A delay is axonal: the presynaptic spike of time t counts at ``t + delay``, when it arrives; the
postsynaptic one at once (Brian2's usual form; NEST's delay is dendritic: there the *postsynaptic* spike counts later,
so its pairs are those of presynaptic spikes later by twice the delay). Spikes of both sides in one step are no pair, as
in NEST; the depression of that step comes before its potentiation (NEST: after). An arriving spike carries the weight
after its own depression, as in NEST. Weights are always up to date (NEST applies potentiation only when the source
spikes next).

With exponents 0: Song, Miller and Abbott 2000, doi:10.1038/78829; in between: Gütig et al. 2003,
doi:10.1523/JNEUROSCI.23-09-03697.2003; pairings: Morrison, Diesmann and Gerstner 2008, doi:10.1007/s00422-008-0233-1.
Cost: a multiply, an add and two comparisons (additive) per synapse at a spike of either side; none between spikes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spikeframe.errors import ParameterError, known_name
from spikeframe.kernels.plasticity import Plasticity, number, power
from spikeframe.kernels.trace import Names, Value

PAIRINGS = ("all", "nearest")


def limits(kind: str, w_max: float) -> tuple[float, float]:
    """Return the bounds of a weight between 0 and w_max, in their order.

    Args:
        kind: the rule, for the message.
        w_max: the bound beside 0.

    Raises:
        ParameterError, NonFiniteError: w_max is 0 or no finite number.
    """
    if number(f"{kind}(w_max)", w_max) == 0.0:
        raise ParameterError(f"{kind}(w_max=0): weights lie between 0 and w_max, so it must not be 0.")
    return min(0.0, w_max), max(0.0, w_max)


@dataclass(frozen=True)
class PairSTDP(Plasticity):
    """Pair STDP; see the table and the conventions above.

    Args:
        w_max: the weight's bound beside 0.
        tau_plus: ms.
        tau_minus: ms.
        lambda_: step of a weight.
        alpha: depression over potentiation.
        mu_plus: exponent of potentiation.
        mu_minus: exponent of depression.
        pairing: ``"all"`` or ``"nearest"``.

    Raises:
        ParameterError, NonFiniteError: a value outside its range.
        UnknownNameError: no such pairing.
    """

    w_max: float
    tau_plus: float = 20.0
    tau_minus: float = 20.0
    lambda_: float = 0.01
    alpha: float = 1.0
    mu_plus: float = 1.0
    mu_minus: float = 1.0
    pairing: str = "all"

    def __post_init__(self) -> None:
        for name in ("tau_plus", "tau_minus"):
            number(f"PairSTDP({name})", getattr(self, name), above=0.0)
        for name in ("lambda_", "alpha", "mu_plus", "mu_minus"):
            number(f"PairSTDP({name})", getattr(self, name), least=0.0)
        limits("PairSTDP", self.w_max)
        known_name("pairing of PairSTDP", self.pairing, PAIRINGS)

    def pre(self) -> dict[str, float]:
        """Return the trace of presynaptic spikes."""
        return {"x": self.tau_plus}

    def post(self) -> dict[str, float]:
        """Return the trace of postsynaptic spikes."""
        return {"y": self.tau_minus}

    def coefficients(self) -> dict[str, float]:
        """Return steps and exponents."""
        return {
            "up": self.lambda_ * self.w_max, "down": self.lambda_ * self.alpha * self.w_max,
            "per_w_max": 1.0 / self.w_max, "mu_plus": self.mu_plus, "mu_minus": self.mu_minus,
        }  # fmt: skip

    def bounds(self) -> tuple[float, float]:
        """Return 0 and w_max in their order."""
        return limits("PairSTDP", self.w_max)

    def at_pre(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Depress."""
        step = c.down * s.y
        if self.mu_minus != 0.0:
            step = step * power(s.w * c.per_w_max, self.mu_minus, c.mu_minus)
        return {"w": s.w - step}

    def at_post(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Potentiate."""
        step = c.up * s.x
        if self.mu_plus != 0.0:
            step = step * power(1.0 - s.w * c.per_w_max, self.mu_plus, c.mu_plus)
        return {"w": s.w + step}

    def arrive(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Add a presynaptic spike to its trace."""
        return {"x": 1.0 if self.pairing == "nearest" else s.x + 1.0}

    def fire(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Add a postsynaptic spike to its trace."""
        return {"y": 1.0 if self.pairing == "nearest" else s.y + 1.0}
