r"""A linear layer behind a gate: ``y_t = W gate(x_t) + b``.

Event-driven, a step reads only the columns of W that pass: ``y_t = sum over passing j of w_j x_tj + b``.
Where weights and inputs lie on power-of-two grids whose sums are exact it equals the clocked form to the bit. Cost of a
step: the gate's, a multiply-accumulate per output and passing graded input (an accumulate where it is 1), an addition
per output with a bias.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from spikeframe.core.counts import Counts
from spikeframe.errors import DTypeError
from spikeframe.modules.activation.columns import Columns
from spikeframe.modules.activation.gates import ActivityGate
from spikeframe.modules.checks import sequence


class GatedLinear(nn.Module):
    """A linear layer behind a gate; causal, without state.

    Args:
        dense: the layer.
        gate: on its input.

    Raises:
        DTypeError: it is no linear layer.
    """

    def __init__(self, dense: nn.Linear, gate: ActivityGate) -> None:
        super().__init__()
        if not isinstance(dense, nn.Linear):
            raise DTypeError(f"GatedLinear takes a torch.nn.Linear, got {type(dense).__name__}.")
        self.dense, self.gate = dense, gate

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run over time.

        Args:
            x: ``[T, B, sources]``.
            state: None.

        Raises:
            ShapeError, DTypeError, NonFiniteError: the input is not usable.
        """
        sequence("GatedLinear", x, 3, self.dense.in_features)
        return self.dense(self.gate(x)), None

    def event_driven(self) -> EventDrivenGatedLinear:
        """Return the event-driven run of the layer as it is now."""
        return EventDrivenGatedLinear(self)


class EventDrivenGatedLinear:
    """The event-driven run of a `GatedLinear`; made by its `event_driven`.

    Args:
        layer: what is run.

    Attributes:
        counts: operations of the last call.
    """

    def __init__(self, layer: GatedLinear) -> None:
        self.layer, self.counts = layer, Counts()
        self._columns = Columns(layer.dense.weight, layer.dense.bias)

    def __call__(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run over time.

        Args:
            x: ``[T, B, sources]``.
            state: None.

        Raises:
            ShapeError, DTypeError, NonFiniteError: the input is not usable.
        """
        dense, gate = self.layer.dense, self.layer.gate
        sequence("EventDrivenGatedLinear", x, 3, dense.in_features)
        with torch.no_grad():
            passed = gate(x)
        y, counts = self._columns(passed)
        steps = x.shape[0] * x.shape[1]
        cost = {name: steps * n for name, n in gate.cost(dense.in_features).items()}
        self.counts = replace(counts, **cost)
        return y, None
