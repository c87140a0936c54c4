r"""Backpropagation through time with surrogate gradients: the exact gradient of the surrogate model.

.. math:: \nabla_\theta \frac1T \sum_t L(o_t, y_t) \quad \text{through all layers and all steps}

Memory grows with T: per neuron and step a float of input and output, and a state every few steps (the fused kernels
recompute those between). References: Werbos 1990, doi:10.1109/5.58337; Neftci, Mostafa and Zenke 2019,
doi:10.1109/MSP.2019.2931595.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from spikeframe.learning_rules.gradient import GradientRule, Learnt, per_step


class BPTT(GradientRule):
    """Backpropagation through time; arguments as of `GradientRule`."""

    READS: ClassVar[str] = "inputs and states of all steps"
    WHEN: ClassVar[str] = "after the last step"

    def backward(self, x: Tensor, target: Tensor) -> Learnt:
        """Add the gradient of the mean loss (see `GradientRule.backward`)."""
        wanted = per_step(x, target)
        out, _ = self.model(x)
        value = self._value(out, wanted, "the run")
        value.backward()  # type: ignore[no-untyped-call]
        return Learnt(float(value.detach()), out.detach().mean(0))
