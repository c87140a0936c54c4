r"""Conductances: receptors whose current depends on the membrane, ``I = g(t) (e_rev - v)``.

===========  =====================================================================  ==========================
receptor     conductance after a spike of weight w (nS)                             NEST's name
===========  =====================================================================  ==========================
`CondExp`    jumps by w, decays: ``g' = -g / tau``                                  ``iaf_cond_exp``
`CondAlpha`  ``w (t/tau) e^{1 - t/tau}``, peak w after tau                          ``iaf_cond_alpha``
`CondBeta`   difference of two exponentials, peak w                                 ``iaf_cond_beta``
`NMDA`       that, times the magnesium block ``1 / (1 + mg/3.57 mM e^{-0.062 v/mV})``
===========  =====================================================================  ==========================

No closed form is known for the membrane, so conductances act on neurons that integrate numerically: `CondLIF`, `EIF`,
`AdEx`, `HodgkinHuxley`, `Izhikevich`. g itself is exact at every place where the integration asks for it. The block is
that of Jahr and Stevens 1990, doi:10.1523/JNEUROSCI.10-09-03178.1990.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from spikeframe.kernels.trace import Names, Value, exp
from spikeframe.neurons.parameters import Parameter, State
from spikeframe.neurons.receptors import Alpha, DoubleExp, Exp, Receptor


class Conductance(Receptor):
    """A receptor whose time course is a conductance; mixed into a class that gives the course."""

    LEVEL = "g"

    def propagators(self, span: float) -> dict[str, torch.Tensor]:
        """Return the course's propagators and ``e_rev``."""
        return {**super().propagators(span), "e_rev": self.value("e_rev")}

    def current(self, x: Value, s: Mapping[str, Value]) -> None:
        """Return none: the current depends on the membrane."""

    def through(self, v: Value, s: Mapping[str, Value], c: Names) -> Value:
        """Return ``g (e_rev - v)``."""
        passing: Value = s["g"] * (c.e_rev - v)
        return passing


class CondExp(Conductance, Exp):
    """Exponentially decaying conductance; a spike of weight w adds w (nS)."""

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        **Exp.PARAMETERS,
        "e_rev": Parameter(0.0, "mV", doc="reversal potential"),
    }
    STATES: ClassVar[dict[str, State]] = {"g": State(unit="nS", doc="conductance")}


class CondAlpha(Conductance, Alpha):
    """Alpha-shaped conductance ``w (t/tau) e^{1 - t/tau}``; a spike of weight w peaks at w (nS) after tau."""

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        **Alpha.PARAMETERS,
        "e_rev": Parameter(0.0, "mV", doc="reversal potential"),
    }
    STATES: ClassVar[dict[str, State]] = {
        "y": State(unit="nS/ms", doc="rise"),
        "g": State(unit="nS", doc="conductance"),
    }


class CondBeta(Conductance, DoubleExp):
    """Conductance that rises and decays exponentially; a spike of weight w peaks at w (nS)."""

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        **DoubleExp.PARAMETERS,
        "e_rev": Parameter(0.0, "mV", doc="reversal potential"),
    }
    STATES: ClassVar[dict[str, State]] = CondAlpha.STATES


class NMDA(CondBeta):
    """Slow conductance that a depolarised membrane frees of its magnesium block; unblocked, it peaks at w (nS)."""

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "tau_rise": Parameter(2.0, "ms", above=0.0, doc="rise time constant"),
        "tau_decay": Parameter(100.0, "ms", above=0.0, doc="decay time constant"),
        "e_rev": Parameter(0.0, "mV", doc="reversal potential"),
        "mg": Parameter(1.0, "mM", least=0.0, doc="magnesium concentration"),
    }

    def propagators(self, span: float) -> dict[str, torch.Tensor]:
        """Return the course's propagators, ``e_rev`` and ``block``, the magnesium at 0 mV over its half-block."""
        return {**super().propagators(span), "block": self.value("mg") / 3.57}

    def through(self, v: Value, s: Mapping[str, Value], c: Names) -> Value:
        """Return ``g (e_rev - v)``, blocked."""
        passing: Value = super().through(v, s, c) / (1.0 + c.block * exp(v * -0.062))
        return passing
