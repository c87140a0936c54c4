r"""Homeostatic scaling: all synapses of a neuron grow or shrink by one factor until it fires at its rate.

.. math::

    r' = -r / \tau, \qquad \text{pre: } w \mathrel{+}= \eta\, (r^* - r)\, w, \qquad
    \text{post: } r \mathrel{+}= 1 / \tau

Each arriving spike scales its synapse, so synapses that nothing arrives at stay; relative differences between weights
of equally active sources are kept. Weights are clipped to ``[0, w_max]`` (or ``[w_max, 0]``) after every change.

=========  =======  ========  =======  =============================================================
parameter  symbol   unit      default  meaning (range)
=========  =======  ========  =======  =============================================================
w_max      w_max    as w      --       the weight's other bound beside 0; its sign is that of the weights
rate       r*       spikes/s  5        that the target is held at (> 0)
tau        τ        ms        1000     of the estimate of the target's rate (> 0)
eta        η        s         1e-4     relative step per arrival and spike/s of error (>= 0)
=========  =======  ========  =======  =============================================================

A stable loop needs a slow one: eta times the rate of arrivals well below 1 / (r* tau). Conventions (delays,
simultaneous spikes) as in `spikeframe.learning_rules.stdp`. Reference: Turrigiano et al. 1998, doi:10.1038/36103; van
Rossum, Bi and Turrigiano 2000, doi:10.1523/JNEUROSCI.20-23-08812.2000 (there in continuous time). Cost: two
multiplications, two additions and two comparisons per arrival; nothing per synapse at a spike of the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spikeframe.kernels.plasticity import Plasticity, number
from spikeframe.kernels.trace import Names, Value
from spikeframe.learning_rules.stdp import limits


@dataclass(frozen=True)
class SynapticScaling(Plasticity):
    """Homeostatic scaling; see the table above.

    Args:
        w_max: the weight's bound beside 0.
        rate: spikes/s.
        tau: ms.
        eta: relative step per arrival and spike/s of error.

    Raises:
        ParameterError, NonFiniteError: a value outside its range.
    """

    w_max: float
    rate: float = 5.0
    tau: float = 1000.0
    eta: float = 1e-4

    def __post_init__(self) -> None:
        limits("SynapticScaling", self.w_max)
        number("SynapticScaling(rate)", self.rate, above=0.0)
        number("SynapticScaling(tau)", self.tau, above=0.0)
        number("SynapticScaling(eta)", self.eta, least=0.0)

    def post(self) -> dict[str, float]:
        """Return the estimate of the target's rate."""
        return {"r": self.tau}

    def coefficients(self) -> dict[str, float]:
        """Return step, aim, and what a spike adds to the estimate, spikes/s."""
        return {"eta": self.eta, "aim": self.rate, "each": 1e3 / self.tau}

    def bounds(self) -> tuple[float, float]:
        """Return 0 and w_max in their order."""
        return limits("SynapticScaling", self.w_max)

    def at_pre(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Scale towards the rate."""
        return {"w": s.w + c.eta * (c.aim - s.r) * s.w}

    def fire(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Count a spike of the target."""
        return {"r": s.r + c.each}
