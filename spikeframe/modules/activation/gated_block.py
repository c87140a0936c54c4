r"""Two branches and their product: ``y = V (gate(f(K1 x1)) * (K2 x2))``, of which silent gates spare the rest.

K1 reads the first r inputs (all of them where r is not given), K2 the others (or all). Where the gated branch is 0, the
row of K2 and the column of V are not needed, so a unit costs r products to find out that it is silent. With a
statistical top-k as the gate it is the feed-forward block of the Spark Transformer (You et al. 2025, arXiv:2506.06644;
paper 6: r about half the width, 8 % of the units); with a threshold per channel it is CHESS on a gated block (He et al.
2024, arXiv:2409.01366; paper 63).

For spikes: the inputs are currents or spikes, the gate a dendritic branch, the product what the branch lets through.
Causal, without state; event-driven it reads rows and columns of units that pass, and equals the clocked form where
sums are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from spikeframe.core.counts import Counts
from spikeframe.errors import ParameterError, ShapeError
from spikeframe.modules.activation.columns import Columns, wanted
from spikeframe.modules.activation.gates import ActivityGate
from spikeframe.modules.checks import sequence


class GatedBlock(nn.Module):
    """See above.

    Args:
        key: K1, ``nn.Linear(r or sources, units, bias=False)``.
        up: K2, ``nn.Linear(sources - r or sources, units, bias=False)``.
        down: V, ``nn.Linear(units, targets, bias=False)``.
        gate: on the units of the first branch.
        split: r; None: both branches read all inputs.
        activation: f, before the gate where `inside` is false, else after it.
        inside: whether the gate acts on ``K1 x1`` before f, as in the Spark Transformer.

    Raises:
        ShapeError: the layers do not fit.
        ParameterError: a layer has a bias, or f(0) is not 0.
    """

    def __init__(
        self, key: nn.Linear, up: nn.Linear, down: nn.Linear, gate: ActivityGate, split: int | None = None,
        activation: Callable[[Tensor], Tensor] = nn.functional.gelu, inside: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if not key.out_features == up.out_features == down.in_features:
            raise ShapeError(f"GatedBlock: {key.out_features}, {up.out_features} and {down.in_features} units; must be "
                             "alike.")  # fmt: skip
        if (split is None and key.in_features != up.in_features) or (split is not None and key.in_features != split):
            raise ShapeError(f"GatedBlock(split={split}): branches read {key.in_features} and {up.in_features} inputs.")
        if (
            any(layer.bias is not None for layer in (key, up, down))
            or float(activation(key.weight.new_zeros(1))) != 0.0
        ):
            raise ParameterError("GatedBlock: layers have no bias and f(0) = 0, else silent units are not silent.")
        self.key, self.up, self.down, self.gate = key, up, down, gate
        self.split, self.activation, self.inside = split, activation, inside

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the branches read.

        Args:
            x: ``[T, B, sources]``.
        """
        return (x, x) if self.split is None else (x[..., : self.split], x[..., self.split :])

    def gated(self, q: Tensor) -> Tensor:
        """Return the gated branch.

        Args:
            q: what it reads.
        """
        found = self.key(q)
        return self.activation(self.gate(found)) if self.inside else self.gate(self.activation(found))

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run over time.

        Args:
            x: ``[T, B, sources]``.
            state: None.

        Raises:
            ShapeError, DTypeError, NonFiniteError: the input is not usable.
        """
        self._checked(x)
        first, second = self.halves(x)
        return self.down(self.gated(first) * self.up(second)), None

    def _checked(self, x: Tensor) -> None:
        sources = self.key.in_features + (0 if self.split is None else self.up.in_features)
        sequence("GatedBlock", x, 3, sources)

    def event_driven(self) -> EventDrivenGatedBlock:
        """Return the event-driven run of the block as it is now."""
        return EventDrivenGatedBlock(self)


class EventDrivenGatedBlock:
    """The event-driven run of a `GatedBlock`; made by its `event_driven`.

    Args:
        block: what is run.

    Attributes:
        counts: operations of the last call: all of K1, the rows of K2 and columns of V of units that pass, the gate.
        active: part of the units that passed.
    """

    def __init__(self, block: GatedBlock) -> None:
        self.block, self.counts, self.active = block, Counts(), 0.0
        self._key, self._down = Columns(block.key.weight), Columns(block.down.weight)

    def __call__(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run over time.

        Args:
            x: ``[T, B, sources]``.
            state: None.

        Raises:
            ShapeError, DTypeError, NonFiniteError: the input is not usable.
        """
        block = self.block
        block._checked(x)
        with torch.no_grad():
            first, second = block.halves(x)
            gate = block.gated(first)
        product, done = wanted(gate, block.up.weight, second)
        y, of_down = self._down(product)
        steps, units = x.shape[0] * x.shape[1], gate.shape[-1]
        cost = {name: steps * n for name, n in block.gate.cost(units).items()}
        total = self._key.counts(first) + of_down
        passed = int(torch.count_nonzero(gate))
        mac = cost.get("neu_mac", 0) + passed
        self.counts = replace(
            total, samples=x.shape[1], steps=steps, syn_mac=total.syn_mac + done, mem_rd_w=total.mem_rd_w + done,
            syn_mac_dense=steps * (block.key.weight.numel() + block.up.weight.numel() + block.down.weight.numel()),
            syn_ac_dense=0, **(cost | {"neu_mac": mac}),
        )  # fmt: skip
        self.active = passed / max(gate.numel(), 1)
        return y, None
