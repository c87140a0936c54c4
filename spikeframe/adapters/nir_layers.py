r"""What NIR's nodes need that no neuron of ours is: a filtered current, an integrator, a threshold.

A NIR input S is a signal held over a step. `FilteredCurrent` takes one step of
``tau I' = -I + w S`` and gives the *new* current to the membrane, as every program that runs NIR does:

.. math:: I \leftarrow e^{-h/\tau} I + w (1 - e^{-h/\tau}) S,
          \qquad v \leftarrow e^{-h/\tau_m} v + r (1 - e^{-h/\tau_m}) I

(`Exp` instead gives the old one, and adds an arriving weight to I as it is.)
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from spikeframe.kernels.trace import Names, Value, spike
from spikeframe.neurons import LI, Neuron, Parameter, Receptor, State
from spikeframe.neurons.receptors import charge


class FilteredCurrent(Receptor):
    """Current that follows its input with a time constant; the membrane sees it in the same step.

    Args:
        values: ``tau`` (ms) and ``w_in``, the gain.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "tau": Parameter(5.0, "ms", above=0.0, doc="time constant"),
        "w_in": Parameter(1.0, doc="gain"),
    }
    STATES: ClassVar[dict[str, State]] = {"i": State(doc="current")}
    LEVEL = "i"

    def coefficients(self, leak: Tensor, gain: Tensor, dt: float) -> dict[str, Tensor]:
        """Return ``decay`` and ``arrive`` of the current, ``drive`` of the membrane.

        Args:
            leak: the membrane's leak rate, 1/ms.
            gain: the membrane's gain.
            dt: step, ms.
        """
        passed = -dt / self.value("tau")
        return {
            "decay": torch.exp(passed),
            "arrive": self.value("w_in") * -torch.expm1(passed),
            "drive": charge(leak, torch.zeros_like(leak), gain, dt),
        }

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Value]]:
        """Filter, then charge the membrane.

        Args:
            x: what arrives in this step.
            s: its state.
            c: its coefficients.
        """
        i = c.decay * s.i + c.arrive * x
        return c.drive * i, {"i": i}


class Integrator(Neuron):
    """Membrane without leak and threshold, ``v' = r I``; its output is v.

    Args:
        options: ``r_m`` (v per ms and unit of current) and what every `Neuron` takes.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {"r_m": Parameter(1.0, "1/ms", above=0.0, doc="gain")}
    STATES: ClassVar[dict[str, State]] = {"v": State(doc="membrane potential")}

    def membrane(self) -> tuple[Tensor, Tensor]:
        """Return leak rate 0 and the gain."""
        return torch.zeros((), dtype=torch.float64), self.r_m

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Add up; the output is the new membrane."""
        v = s.v + x
        return v, {"v": v}


class RestingLI(LI):
    """Leaky integrator with a resting potential, at which it starts.

    Args:
        options: ``v_rest``, the parameters of `LI` and what every `Neuron` takes.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        **LI.PARAMETERS,
        "v_rest": Parameter(0.0, "mV", doc="resting potential"),
    }
    STATES: ClassVar[dict[str, State]] = {"v": State("v_rest", "mV", doc="membrane potential")}

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return the decay and what the leak adds in a step."""
        return {**super().coefficients(dt), "leak": self.v_rest * -torch.expm1(-dt / self.tau_m)}

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Integrate; the output is the new membrane."""
        v = c.decay * s.v + x + c.leak
        return v, {"v": v}


class Threshold(Neuron):
    """Heaviside function of its input, with a surrogate gradient; no state.

    Args:
        options: ``v_th`` and what every `Neuron` takes.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {"v_th": Parameter(1.0, "mV", doc="threshold")}
    STATES: ClassVar[dict[str, State]] = {}

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Compare."""
        return spike(x - c.v_th), {}
