r"""Event-driven run of synapses with fixed delays: an event is added where and when each of its synapses delivers it.

.. math:: y_o(t + d_{oi}) \mathrel{+}= w_{oi} \, x_i(t) \quad \text{for every event } x_i(t) \ne 0

Sums are kept in float64, so on a grid they equal the clocked layer's to the bit. Cost of an event: an accumulate (or a
multiply-accumulate, if it is graded) per synapse that is not 0; nothing between events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from spikeframe.core.counts import Counts
from spikeframe.errors import ShapeError
from spikeframe.modules.checks import on_cpu, sequence

if TYPE_CHECKING:
    from spikeframe.modules.delays import DelayLinear, DelayState


class EventDrivenDelays:
    """A layer of delayed synapses that is run on events; weights are copied when it is made.

    Args:
        layer: the layer.

    Attributes:
        counts: operations of the last call.
    """

    def __init__(self, layer: DelayLinear) -> None:
        self.longest = layer.longest
        self.weight = layer.weight.detach().cpu().double().T.contiguous().numpy()  # [in, out]
        self.delay = layer.delay.cpu().T.contiguous().numpy()
        self.counts = Counts()

    def __call__(self, x: Tensor, state: DelayState | None = None) -> tuple[Tensor, DelayState]:
        """Run over time.

        Args:
            x: ``[T, B, in]``.
            state: as the layer or this returned it, or None.

        Returns:
            Currents ``[T, B, out]`` and the state after the last step.

        Raises:
            ShapeError, DTypeError, NonFiniteError, BackendError: input or state is not usable.
        """
        from spikeframe.modules.delays import with_past

        inputs, outputs = self.weight.shape
        on_cpu("event-driven run", sequence(type(self).__name__, x, 3, inputs))
        if x.ndim != 3:
            raise ShapeError(f"{type(self).__name__}: input has shape {tuple(x.shape)}; it must be [T, B, in].")
        both, after = with_past(x.detach(), self.longest, state)
        when, sample, source = np.nonzero(both.numpy())
        size = both.numpy()[when, sample, source].astype(np.float64)
        arrival = when[:, None] + self.delay[source] - self.longest  # [events, out]
        here = (arrival >= 0) & (arrival < len(x)) & (self.weight[source] != 0)
        event, target = np.nonzero(here)
        out = np.zeros((*x.shape[:2], outputs))
        np.add.at(
            out, (arrival[event, target], sample[event], target), size[event] * self.weight[source[event], target]
        )
        unit = int((np.abs(size[event]) == 1).sum())
        events = int(x.count_nonzero())
        self.counts = Counts(
            samples=x.shape[1], steps=x.shape[0] * x.shape[1], inputs=inputs, neurons=outputs,
            weights=int(np.count_nonzero(self.weight)), spk_in=events, route=events, syn_ac=unit,
            syn_mac=len(event) - unit, mem_rd_w=len(event), syn_ac_dense=x.numel() * outputs,
        )  # fmt: skip
        return torch.from_numpy(out).to(x.dtype), after
