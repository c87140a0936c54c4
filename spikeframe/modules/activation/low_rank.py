r"""Large inputs exactly, the rest through a few singular vectors (R-Sparse).

.. math:: y = W (x \odot m) + U_r S_r V_r^T (x \odot (1 - m)) + b, \qquad m_j = |x_j| c_j > t

W = U S V^T. Of the work of the dense layer, ``1 - s`` is left: a part `split` of it for columns (t is the calibration
quantile ``1 - (1 - s) split`` of the scores), the rest for the rank ``r = (1 - s)(1 - split) m n / (m + n)``. At
split = 1 it is plain gating; at full rank it is exact. In trials on heavy-tailed input split = 1 was best, so
`recipes.r_sparse` searches and never returns a worse split than that. Event-driven, a silent input costs nothing in
either path. Reference: Zhang et al. 2025, arXiv:2504.19449 (paper 56).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from spikeframe.core.counts import Counts
from spikeframe.errors import DTypeError, ParameterError
from spikeframe.modules.activation.columns import Columns
from spikeframe.modules.activation.gates import ActivityGate
from spikeframe.modules.checks import sequence


class SplitLinear(nn.Module):
    """See above; causal, without state.

    Args:
        dense: the layer.
        gate: lets the large inputs pass, as they are (operator ``"hard"``).
        rank: r, from 0.

    Raises:
        DTypeError: it is no linear layer.
        ParameterError: the rank is out of range, or another operator.
    """

    def __init__(self, dense: nn.Linear, gate: ActivityGate, rank: int) -> None:
        super().__init__()
        if not isinstance(dense, nn.Linear):
            raise DTypeError(f"SplitLinear takes a torch.nn.Linear, got {type(dense).__name__}.")
        if isinstance(rank, bool) or not isinstance(rank, int) or not 0 <= rank <= min(dense.weight.shape):
            raise ParameterError(f"SplitLinear(rank={rank!r}): from 0 to {min(dense.weight.shape)}.")
        if gate.operator != "hard":
            raise ParameterError(f"SplitLinear: a gate of operator {gate.operator!r}; inputs must pass as they are.")
        self.dense, self.gate, self.rank = dense, gate, rank
        u, s, vt = torch.linalg.svd(dense.weight.detach().double(), full_matrices=False)
        self.left = nn.Parameter((u[:, :rank] * s[:rank]).to(dense.weight.dtype))
        self.right = nn.Parameter(vt[:rank].to(dense.weight.dtype))

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run over time.

        Args:
            x: ``[T, B, sources]``.
            state: None.

        Raises:
            ShapeError, DTypeError, NonFiniteError: the input is not usable.
        """
        sequence("SplitLinear", x, 3, self.dense.in_features)
        large = self.gate(x)
        return self.dense(large) + ((x - large) @ self.right.T) @ self.left.T, None

    def event_driven(self) -> EventDrivenSplitLinear:
        """Return the event-driven run of the layer as it is now."""
        return EventDrivenSplitLinear(self)


class EventDrivenSplitLinear:
    """The event-driven run of a `SplitLinear`; made by its `event_driven`.

    Args:
        layer: what is run.

    Attributes:
        counts: operations of the last call.
    """

    def __init__(self, layer: SplitLinear) -> None:
        self.layer, self.counts = layer, Counts()
        self._dense = Columns(layer.dense.weight, layer.dense.bias)
        self._right, self._left = Columns(layer.right), Columns(layer.left)

    def __call__(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run over time.

        Args:
            x: ``[T, B, sources]``.
            state: None.

        Raises:
            ShapeError, DTypeError, NonFiniteError: the input is not usable.
        """
        layer = self.layer
        sequence("EventDrivenSplitLinear", x, 3, layer.dense.in_features)
        with torch.no_grad():
            large = layer.gate(x)
        y, counts = self._dense(large)
        if layer.rank:
            inner, first = self._right(x - large)
            rest, second = self._left(inner)
            y = y + rest
            low = first + second
            counts = replace(
                counts, syn_ac=counts.syn_ac + low.syn_ac, syn_mac=counts.syn_mac + low.syn_mac,
                mem_rd_w=counts.mem_rd_w + low.mem_rd_w, mem_rd_s=counts.mem_rd_s + low.mem_rd_s,
                mem_wr_s=counts.mem_wr_s + low.mem_wr_s, route=counts.route + low.route,
                weights=counts.weights + layer.left.numel() + layer.right.numel(),
            )  # fmt: skip
        steps = x.shape[0] * x.shape[1]
        self.counts = replace(counts, **{k: steps * v for k, v in layer.gate.cost(layer.dense.in_features).items()})
        return y, None
