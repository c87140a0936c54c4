r"""Parametric LIF: leaky integrate-and-fire whose learnt time constant scales the input too.

.. math:: v \leftarrow v + k (x - (v - v_{rest})), \quad k = 1 - e^{-dt/\tau_m},
          \quad v \ge v_{th}: \text{ spike and reset}

Fang et al. 2021, arXiv:2007.05785, learn a with k = σ(a) per layer; here the logarithm of tau_m is learnt, which spans
the same k in (0, 1). Their initial τ = 1/k = 2 is ``tau_m = dt / log(2)``, the default at dt = 1. What this model has
beside ``LIF(learnable=["tau_m"])`` is the factor k on the input ("decay input"): the steady membrane does not depend on
the time constant. Without it (their later variant) take that LIF.

Parameters, state and options are those of `LIF`, tau_m learnable, hard reset. Cost of an update: that of LIF and a
multiply.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from spikeframe.kernels.trace import Names, Value
from spikeframe.neurons.lif import LIF
from spikeframe.neurons.parameters import Parameter


class PLIF(LIF):
    """Leaky integrate-and-fire neuron with a learnt time constant that scales its input.

    Args:
        reset: ``"value"`` (as published) or ``"subtract"``.
        learnable: names of the parameters to train.
        options: parameters and options of `LIF`.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        **LIF.PARAMETERS,
        "tau_m": Parameter(1.0 / math.log(2.0), "ms", above=0.0, doc="membrane time constant"),
    }

    def __init__(self, *, reset: str = "value", learnable: Iterable[str] = ("tau_m",), **options: Any) -> None:
        super().__init__(reset=reset, learnable=learnable, **options)

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return those of `LIF` and the factor k on the input."""
        return {**super().coefficients(dt), "gain": -torch.expm1(-dt / self.tau_m)}

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Scale the input; then as `LIF`."""
        return super().step(c.gain * x, s, c)
