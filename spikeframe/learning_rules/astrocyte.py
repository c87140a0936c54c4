r"""Pair STDP whose depression an astrocyte sets, from how much more a liquid spikes than its input (NALSM).

.. math::

    \tau_a \, dA/dt = w_a (n_{liquid} - n_{input}) + b - A, \qquad
    \text{pre: } w \mathrel{-}= s f A\, y, \qquad \text{post: } w \mathrel{+}= s f A_+\, x, \qquad f' = -f / \tau_f

with n the spikes per ms of all neurons, x and y the traces of pair STDP (each spike adds `jump`), and s the sign of the
weights. A liquid that spikes more than its input weakens its synapses, one that spikes less strengthens them, and so it
stays near the branching factor of 1. Learning begins with the first signal, at ``f = 1``, and fades if `tau_fade` says
so; weights are clipped to ``[0, w_max]`` (or ``[w_max, 0]``).

============  ======  ====  =======  ==================================================================================
parameter     symbol  unit  default  meaning (range)
============  ======  ====  =======  ==================================================================================
w_max                 as w  --       the weight's other bound beside 0; its sign is that of the weights
a_plus        A_+     as w  0.15     potentiation (>= 0)
tau_plus      τ_+     ms    10       of the trace of presynaptic spikes (> 0)
tau_minus     τ_-     ms    10       of the trace of postsynaptic spikes (> 0)
jump                        0.1      what a spike adds to its trace (> 0)
tau_fade      τ_f     ms    None     over which learning fades after the first signal (> 0); None: never
============  ======  ====  =======  ==================================================================================

============  ======  ====  =======  ==================================================================================
`Astrocyte`   symbol  unit  default  meaning (range)
============  ======  ====  =======  ==================================================================================
weight        w_a     as w  0.015    how much it feels a spike (>= 0); 0.015 for 1,000 neurons, 0.0075 for 8,000
base          b       as w  0.15     its state where liquid and input are in balance, and at the start
tau           τ_a     ms    100      over which it integrates (> 0)
============  ======  ====  =======  ==================================================================================

The astrocyte is one number for the whole liquid, brought to the synapses by `Simulator.signal` after each stretch of a
run: ``a = astrocyte.after(a, spikes, inputs, duration)``. The published code lets A, A_+, w_a and b fade together, step
by step; then A over that fade obeys the equation above as it stands, so the fade stands before both terms here.

Reference: Ivanov and Michmizos 2021, arXiv:2111.01760. Cost: that of pair STDP.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from spikeframe.errors import ParameterError
from spikeframe.kernels.plasticity import Plasticity, number
from spikeframe.kernels.trace import Names, Value, where

#: Time constant (ms) of what must not decay: over any run it does not.
_NEVER = 1e15


@dataclass(frozen=True)
class Astrocyte:
    """One astrocyte for a whole liquid; see the second table above.

    Args:
        weight: how much it feels a spike.
        base: its state in balance and at the start.
        tau: ms.

    Raises:
        ParameterError, NonFiniteError: a value outside its range.
    """

    weight: float = 0.015
    base: float = 0.15
    tau: float = 100.0

    def __post_init__(self) -> None:
        number("Astrocyte(weight)", self.weight, least=0.0)
        number("Astrocyte(base)", self.base)
        number("Astrocyte(tau)", self.tau, above=0.0)

    def after(self, state: float, spikes: int, inputs: int, duration: float) -> float:
        """Return its state after a stretch of a run, whose spikes it takes as evenly spread.

        Args:
            state: A before.
            spikes: of the liquid.
            inputs: spikes of the input.
            duration: of the stretch, ms.
        """
        number("Astrocyte.after(duration)", duration, above=0.0)
        goal = self.base + self.weight * (spikes - inputs) / duration
        return goal + (state - goal) * math.exp(-duration / self.tau)


@dataclass(frozen=True)
class AstroSTDP(Plasticity):
    """Pair STDP with a signalled depression; see the first table above.

    Args:
        w_max: the weight's bound beside 0.
        a_plus: potentiation.
        tau_plus: ms.
        tau_minus: ms.
        jump: what a spike adds to its trace.
        tau_fade: ms, or None.

    Raises:
        ParameterError, NonFiniteError: a value outside its range.
    """

    w_max: float
    a_plus: float = 0.15
    tau_plus: float = 10.0
    tau_minus: float = 10.0
    jump: float = 0.1
    tau_fade: float | None = None

    def __post_init__(self) -> None:
        for name in ("tau_plus", "tau_minus", "jump", *(("tau_fade",) if self.tau_fade is not None else ())):
            number(f"AstroSTDP({name})", getattr(self, name), above=0.0)
        number("AstroSTDP(a_plus)", self.a_plus, least=0.0)
        if number("AstroSTDP(w_max)", self.w_max) == 0.0:
            raise ParameterError("AstroSTDP(w_max=0): weights lie between 0 and w_max, so it must not be 0.")

    def pre(self) -> dict[str, float]:
        """Return the trace of presynaptic spikes."""
        return {"x": self.tau_plus}

    def post(self) -> dict[str, float]:
        """Return the trace of postsynaptic spikes."""
        return {"y": self.tau_minus}

    def whole(self) -> dict[str, float]:
        """Return how much is learned, and the depression times that."""
        tau = _NEVER if self.tau_fade is None else self.tau_fade
        return {"f": tau, "a": tau}

    def coefficients(self) -> dict[str, float]:
        """Return steps, with the weights' sign."""
        sign = math.copysign(1.0, self.w_max)
        return {"up": sign * self.a_plus, "sign": sign, "jump": self.jump}

    def bounds(self) -> tuple[float, float]:
        """Return 0 and w_max in their order."""
        return min(0.0, self.w_max), max(0.0, self.w_max)

    def at_pre(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Depress, as the astrocyte says."""
        return {"w": s.w - c.sign * s.a * s.y}

    def at_post(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Potentiate."""
        return {"w": s.w + c.up * s.f * s.x}

    def arrive(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Add a presynaptic spike to its trace."""
        return {"x": s.x + c.jump}

    def fire(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Add a postsynaptic spike to its trace."""
        return {"y": s.y + c.jump}

    def signal(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Take the astrocyte's state; the first begins to learn."""
        learns = where(s.f > 0.0, s.f, 1.0)
        return {"f": learns, "a": learns * s.signal}
