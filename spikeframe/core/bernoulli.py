r"""Unreliable transmission: every spike passes a synapse with a fixed probability.

.. math::

    \text{arrival: send } w \text{ with probability } p, \text{ else nothing}

=========  =======  ====  =======  =====================================
parameter  symbol   unit  default  meaning (range)
=========  =======  ====  =======  =====================================
p          p              0.5      probability of transmission (0 to 1)
=========  =======  ====  =======  =====================================

One uniform number of 24 bits per arrival, a function of seed, projection, synapse and step: p is met to 6e-8; 0 never
sends, 1 always. NEST's ``bernoulli_synapse``. Reference: Lefort, Tomm, Sarria and Petersen 2009,
doi:10.1016/j.neuron.2008.12.020.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spikeframe.errors import ParameterError
from spikeframe.kernels.plasticity import Plasticity, number
from spikeframe.kernels.trace import Names, Value, where


@dataclass(frozen=True)
class Bernoulli(Plasticity):
    """Synapses that transmit by chance. The weights do not change.

    Args:
        p: probability of transmission.

    Raises:
        ParameterError, NonFiniteError: p is not from 0 to 1.
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        if number("Bernoulli(p)", self.p, least=0.0) > 1.0:
            raise ParameterError(f"Bernoulli(p={self.p!r}): must be from 0 to 1.")

    def random(self) -> tuple[str, ...]:
        """Return one number."""
        return ("chance",)

    def coefficients(self) -> dict[str, float]:
        """Return p."""
        return {"p": self.p}

    def at_pre(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Send the weight or nothing."""
        return {"sent": where(s.chance < c.p, s.w, 0.0)}
