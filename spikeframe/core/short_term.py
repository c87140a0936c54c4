r"""Short-term plasticity of Tsodyks and Markram: synapses that tire and that warm up.

.. math::

    u' = -u / \tau_{fac}, \quad z' = -z / \tau_{rec} \; (+\, y / \tau_{psc}), \quad y' = -y / \tau_{psc}, \qquad
    \text{arrival: } u \mathrel{+}= U (1 - u), \quad r = u\, (1 - y - z), \quad y \mathrel{+}= r

A fraction z of the resources is inactive and y active, the rest is ready; a spike releases r of them and sends
``w r``. Without `tau_psc`, active resources are inactive at once (y = 0, z += r): NEST's ``tsodyks2_synapse``. With
it they follow its ``tsodyks_synapse``; the receptor should then be an `Exp` of the same time constant.

=========  =======  ====  =======  =================================================================
parameter  symbol   unit  default  meaning (range)
=========  =======  ====  =======  =================================================================
U          U              0.5      rise of u at a spike, the use of resources at rest (0 to 1)
tau_rec    τ_rec    ms    800      of recovery from depression (> 0)
tau_fac    τ_fac    ms    0        of facilitation; 0: none, u = U at every spike (>= 0)
tau_psc    τ_psc    ms    None     of the active resources (> 0, other than tau_rec), or None: two states
=========  =======  ====  =======  =================================================================

At rest u = y = z = 0: the first spike sends ``U w``. Exact between spikes: z is written as ``q - k y`` with
``k = tau_rec / (tau_rec - tau_psc)``, so that u, y and q are plain exponentials. One set of states per source where all
its synapses have one delay, else one per synapse. Reference: Tsodyks, Uziel and Markram 2000,
doi:10.1523/JNEUROSCI.20-01-j0003.2000; Tsodyks, Pawelzik and Markram 1998, doi:10.1162/089976698300017502.
Steady state for a regular train of rate r: u* = U / (1 - (1 - U) e^{-1/(r tau_fac)}),
release u* (1 - e^{-1/(r tau_rec)}) / (1 - (1 - u*) e^{-1/(r tau_rec)}).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spikeframe.errors import ParameterError
from spikeframe.kernels.plasticity import Plasticity, number
from spikeframe.kernels.trace import Names, Value


@dataclass(frozen=True)
class TsodyksMarkram(Plasticity):
    """Short-term depression and facilitation; see the table above. The weights themselves do not change.

    Args:
        U: use of resources at rest.
        tau_rec: ms.
        tau_fac: ms.
        tau_psc: ms, or None for two states.

    Raises:
        ParameterError, NonFiniteError: a value outside its range.
    """

    U: float = 0.5
    tau_rec: float = 800.0
    tau_fac: float = 0.0
    tau_psc: float | None = None

    def __post_init__(self) -> None:
        if number("TsodyksMarkram(U)", self.U, least=0.0) > 1.0:
            raise ParameterError(f"TsodyksMarkram(U={self.U!r}): must be from 0 to 1.")
        number("TsodyksMarkram(tau_rec)", self.tau_rec, above=0.0)
        number("TsodyksMarkram(tau_fac)", self.tau_fac, least=0.0)
        if self.tau_psc is not None and number("TsodyksMarkram(tau_psc)", self.tau_psc, above=0.0) == self.tau_rec:
            raise ParameterError(
                f"TsodyksMarkram(tau_psc={self.tau_psc!r}): must differ from tau_rec; change one of them a little."
            )

    def pre(self) -> dict[str, float]:
        """Return the states that this choice of parameters has."""
        found = {"q": self.tau_rec}
        if self.tau_psc is not None:
            found["y"] = self.tau_psc
        if self.tau_fac > 0.0:
            found["u"] = self.tau_fac
        return found

    def coefficients(self) -> dict[str, float]:
        """Return U and k."""
        k = 0.0 if self.tau_psc is None else self.tau_rec / (self.tau_rec - self.tau_psc)
        return {"U": self.U, "k": k, "k_less": k - 1.0}

    def _use(self, s: Names, c: Names) -> Value:
        """Return u after the spike."""
        used: Value = c.U if self.tau_fac == 0.0 else s.u + c.U * (1.0 - s.u)
        return used

    def _released(self, s: Names, c: Names) -> Value:
        """Return what a spike releases; 1 - y - z is what is ready."""
        ready = 1.0 - s.q if self.tau_psc is None else (1.0 - s.q) + c.k_less * s.y
        released: Value = self._use(s, c) * ready
        return released

    def at_pre(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Send the weight times what is released."""
        return {"sent": s.w * self._released(s, c)}

    def arrive(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Move what is released from ready to active (or inactive), and raise u."""
        released = self._released(s, c)
        active = {"q": s.q + released} if self.tau_psc is None else {"y": s.y + released, "q": s.q + c.k * released}
        return active if self.tau_fac == 0.0 else {**active, "u": self._use(s, c)}
