r"""Stochastic short-term plasticity: release sites that are full or empty, each a matter of chance.

.. math::

    u' = -u / \tau_{fac}; \qquad
    \text{arrival after } \Delta t: \quad u \mathrel{+}= U (1 - u), \quad
    m \mathrel{-}= \mathrm{Binomial}(m,\, 1 - e^{-\Delta t / \tau_{rec}}), \quad
    k \sim \mathrm{Binomial}(n - m,\, u), \quad m \mathrel{+}= k

Of n sites m are empty. At an arrival some of them have been filled since the last one, then each full site releases
with probability u; k releases send ``k w``.

=========  =======  ====  =======  ===================================================================
parameter  symbol   unit  default  meaning (range)
=========  =======  ====  =======  ===================================================================
U          U              0.5      rise of u at a spike, the probability of release at rest (0 to 1)
tau_rec    τ_rec    ms    800      mean time until an empty site is full again (> 0)
tau_fac    τ_fac    ms    0        of facilitation; 0: none, u = U at every spike (>= 0)
n          n              1        release sites (1 to 64)
=========  =======  ====  =======  ===================================================================

At rest u = 0 and all sites are full. The weight is that of one site. In the mean over trials a synapse follows
`TsodyksMarkram` of two states with the weight ``n w``: exactly, for an empty site has no memory but that it is empty.
With n = 1 a spike is sent whole or not at all. NEST's ``quantal_stp_synapse``, begun there with ``u = U``. Two uniform
numbers of 24 bits per site and arrival, functions of seed, projection, synapse and step.

References: Fuhrmann, Segev, Markram and Tsodyks 2002, doi:10.1152/jn.00258.2001; Loebel, Silberberg, Helbig, Markram,
Tsodyks and Richardson 2009, doi:10.3389/neuro.10.027.2009.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from spikeframe.errors import ParameterError
from spikeframe.kernels.plasticity import Plasticity, number
from spikeframe.kernels.trace import Names, Value, where

#: Most release sites of a synapse; each has its own statements.
MOST_SITES = 64


@dataclass(frozen=True)
class Quantal(Plasticity):
    """Short-term depression and facilitation by chance, site by site. The weights do not change.

    Args:
        U: probability of release at rest.
        tau_rec: ms.
        tau_fac: ms.
        n: release sites.

    Raises:
        ParameterError, NonFiniteError: a value outside its range.
    """

    U: float = 0.5
    tau_rec: float = 800.0
    tau_fac: float = 0.0
    n: int = 1

    def __post_init__(self) -> None:
        if number("Quantal(U)", self.U, least=0.0) > 1.0:
            raise ParameterError(f"Quantal(U={self.U!r}): must be from 0 to 1.")
        number("Quantal(tau_rec)", self.tau_rec, above=0.0)
        number("Quantal(tau_fac)", self.tau_fac, least=0.0)
        if isinstance(self.n, bool) or not isinstance(self.n, int) or not 1 <= self.n <= MOST_SITES:
            raise ParameterError(f"Quantal(n={self.n!r}): must be a whole number from 1 to {MOST_SITES}.")

    def pre(self) -> dict[str, float]:
        """Return u and ``x = e^{-time since the last arrival / tau_rec}``."""
        return {"x": self.tau_rec} | ({"u": self.tau_fac} if self.tau_fac > 0.0 else {})

    def own(self) -> dict[str, float]:
        """Return the number of empty sites, which spikes alone change."""
        return {"empty": inf}

    def random(self) -> tuple[str, ...]:
        """Return two numbers per site: whether it was filled, whether it releases."""
        return tuple(f"{what}{k}" for k in range(self.n) for what in ("fill", "release"))

    def most(self) -> float:
        """Return n: all sites may release at once."""
        return float(self.n)

    def coefficients(self) -> dict[str, float]:
        """Return U and n."""
        return {"U": self.U, "n": float(self.n)}

    def _use(self, s: Names, c: Names) -> Value:
        """Return u after the spike."""
        used: Value = c.U if self.tau_fac == 0.0 else s.u + c.U * (1.0 - s.u)
        return used

    def at_pre(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Fill empty sites, let full ones release, send the weight of those."""
        empty, used, released = s.empty, self._use(s, c), None
        for k in range(self.n):
            filled = (s.empty > float(k)) & (getattr(s, f"fill{k}") >= s.x)
            empty = empty - where(filled, 1.0, 0.0)
        full = c.n - empty
        for k in range(self.n):
            one = where((full > float(k)) & (getattr(s, f"release{k}") < used), 1.0, 0.0)
            released = one if released is None else released + one
        return {"sent": s.w * released, "empty": empty + released}

    def arrive(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Begin to count the time anew, and raise u."""
        return {"x": 1.0} if self.tau_fac == 0.0 else {"x": 1.0, "u": self._use(s, c)}
