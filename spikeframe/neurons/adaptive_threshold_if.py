r"""Adaptive-threshold integrate-and-fire: activations become whole numbers of spikes, of either sign.

.. math:: V_{th} = \mathrm{mean}(|x|) / k, \qquad s = \mathrm{round}(x / V_{th}), \qquad x \approx V_{th} s

It is an integrate-and-fire neuron that takes all its input at once: from v = \|x\| + V_th / 2 it fires while v >= V_th,
each spike subtracting V_th; s is the number of spikes with the sign of x, but for exact halves, which round to the even
number. (Without the half threshold it would be the floor.) The threshold adapts to the activations of one token, so
``s(c x) = s(x)`` for c > 0. A projection of x is ``V_th W s``: whole numbers of additions, and one multiplication per
output. `spikeframe.modules.spike_coding` expands s over time steps.

==========  ======  ====  =======  ===========================================================
parameter   symbol  unit  default  meaning (range)
==========  ======  ====  =======  ===========================================================
k           k             3        mean number of spikes of an activation (> 0)
v_min                     1e-5     smallest threshold (> 0)
v_max                     1e4      largest threshold (at least v_min)
==========  ======  ====  =======  ===========================================================

No state. Backward V_th s is the identity and V_th a constant (straight-through). Cost of an activation: one absolute
value, one addition, one division, one rounding. Reference: SpikingBrain technical report, arXiv:2509.05276.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError
from spikeframe.neurons.parameters import Parameter, Parametric


class SpikeCounts(NamedTuple):
    """Whole numbers of spikes and what one is worth.

    Attributes:
        counts: ``[...]`` whole numbers, in the type of the activations.
        v_th: ``[..., 1]`` threshold: one spike's value.
    """

    counts: Tensor
    v_th: Tensor

    def decoded(self) -> Tensor:
        """Return the activations that the counts stand for, ``[...]``, within half a threshold."""
        return self.counts * self.v_th


class _Round(torch.autograd.Function):
    """Round forward, identity backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.round(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class AdaptiveThresholdIF(Parametric):
    """Neuron that turns activations into spike counts by a threshold of their own size.

    Args:
        axis: along which the threshold is shared: the channels of a token.
        values: parameters of the table above.

    Raises:
        UnknownNameError, ParameterError, NonFiniteError, DTypeError: a parameter is not usable.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "k": Parameter(3.0, above=0.0, doc="mean number of spikes of an activation"),
        "v_min": Parameter(1e-5, above=0.0, doc="smallest threshold"),
        "v_max": Parameter(1e4, above=0.0, doc="largest threshold"),
    }

    def __init__(self, axis: int = -1, **values: Any) -> None:
        super().__init__(values)
        if isinstance(axis, bool) or not isinstance(axis, int):
            raise ParameterError(f"AdaptiveThresholdIF(axis={axis!r}): must be a whole number, e.g. -1.")
        if any(self.value(name).ndim for name in self.PARAMETERS):
            raise ShapeError("AdaptiveThresholdIF: parameters must be numbers, not arrays.")
        if not bool(self.value("v_min") <= self.value("v_max")):
            raise ParameterError(f"AdaptiveThresholdIF: v_min={self.v_min:g} must not be above v_max={self.v_max:g}.")
        self.axis = axis

    def operations(self) -> dict[str, int]:
        """Count the operations of one activation, by the classes of `Neuron.operations`."""
        return {"ac": 1, "mac": 1, "exp": 0, "cmp": 2}

    def forward(self, x: Tensor) -> SpikeCounts:
        """Count spikes.

        Args:
            x: float activations of any shape, e.g. ``[T, B, tokens, channels]``.

        Raises:
            DTypeError: they are no floats.
            ShapeError: they have no such axis, or nothing along it.
            NonFiniteError: one is not finite.
        """
        if not isinstance(x, Tensor) or not x.is_floating_point():
            got = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise DTypeError(f"AdaptiveThresholdIF: input is {got}; it must be a float tensor.")
        if not -x.ndim <= self.axis < x.ndim or x.shape[self.axis] == 0:
            raise ShapeError(f"AdaptiveThresholdIF: input has shape {tuple(x.shape)}, no values along {self.axis}.")
        if not bool(torch.isfinite(x).all()):
            place = [int(i) for i in (~torch.isfinite(x)).nonzero()[0]]
            raise NonFiniteError(f"AdaptiveThresholdIF: input {place} is not finite.")
        scale = x.detach().abs().mean(self.axis, keepdim=True) / self.value("k").to(x)
        v_th = scale.clamp(float(self.value("v_min")), float(self.value("v_max")))
        counts: Tensor = _Round.apply(x / v_th)  # type: ignore[no-untyped-call]
        return SpikeCounts(counts, v_th)
