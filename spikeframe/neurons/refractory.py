"""The refractory period: an integer counter of steps, for every model that has the parameter ``t_ref``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spikeframe.errors import ParameterError, TimeGridError
from spikeframe.kernels.trace import Names, Value, maximum, where
from spikeframe.neurons.neuron import Neuron
from spikeframe.neurons.parameters import State


class Refractory(Neuron):
    """Base of neurons with a refractory period ``t_ref``, counted in the state ``ref``; without one, no counter.

    Args:
        options: parameters and what every `Neuron` takes.

    Raises:
        ParameterError: t_ref is to be learnt.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if "t_ref" in self.learnable:
            raise ParameterError("t_ref counts whole steps and cannot be learnable.")

    @property
    def _refractory(self) -> bool:
        """Whether any neuron has a refractory period."""
        return bool((self.on_host("t_ref") > 0).any())

    def state_variables(self) -> dict[str, State]:
        """Return the states, ``ref`` among them only if there is a refractory period."""
        return {name: row for name, row in self.STATES.items() if name != "ref" or self._refractory}

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return the refractory steps, if any."""
        return {"n_ref": torch.round(self.t_ref / dt).to(torch.int64)} if self._refractory else {}

    def check(self, dt: float) -> None:
        """Refuse a refractory period off the time grid."""
        steps = self.on_host("t_ref") / dt
        off = torch.abs(steps - torch.round(steps)) > 1e-9 + 1e-9 * steps
        if bool((steps >= 2**31).any()):
            most = f"t_ref={float(self.on_host('t_ref').max()):g} ms is {float(steps.max()):g} steps of dt={dt:g} ms"
            raise TimeGridError(f"{type(self).__name__}: {most}; the counter takes less than 2^31.")
        if bool(off.any()):
            raise TimeGridError(
                f"{type(self).__name__}: t_ref={self.t_ref.tolist()} ms is not a whole number of steps of dt={dt:g} ms."
            )

    def counted(self, z: Value, s: Names, c: Names) -> dict[str, Value]:
        """Return the counter after this step, if there is one.

        Args:
            z: the spike of this step.
            s: the states before it.
            c: the coefficients.
        """
        return {"ref": where(z, c.n_ref, maximum(s.ref - 1, 0))} if self._refractory else {}

    def clamped(self, v: Value, s: Names, c: Names) -> Value:
        """Return the membrane, held at v_reset while refractory."""
        return where(s.ref > 0, c.v_reset, v) if self._refractory else v
