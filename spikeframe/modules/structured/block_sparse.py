r"""Block-sparse training (BLaST): blocks of a weight are pruned and regrown until few are left.

.. math:: s(t) = s_{max} \left(1 - (1 - t / t_{end})^3\right), \qquad kept = round((1 - s)\, blocks)

Every so many steps the blocks are chosen anew: a share ρ of those to be kept are the inactive ones with the largest
norm of the gradient, which begin at 0, the others the active ones with the largest norm of the weights. ρ falls to 0
linearly. `to_sparse` gives the layer with its blocks stored (BSR). Reference: Okanovic et al. 2025 (BLaST),
arXiv:2507.03117; schedule and regrowth as far as the abstract and its description tell.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from spikeframe.errors import ParameterError
from spikeframe.kernels.formats import divides
from spikeframe.learning_rules.sparse_training import masked, sparsify
from spikeframe.modules.checks import whole
from spikeframe.modules.structured.sparse_linear import SparseLinear


class BlockSparseTraining:
    """Prunes and regrows the blocks of a layer while an optimiser trains it.

    Args:
        layer: `nn.Linear`; a mask is put on its weight.
        optimizer: that trains it; moments of blocks that come or go become 0.
        block: height and width of a block, which divide the shape.
        sparsity: s_max, from 0 to below 1.
        every: steps between two choices.
        until: t_end, the step of the last choice.
        regrow: ρ at the start, from 0 to below 1.

    Attributes:
        active: ``[block rows, block columns]`` bool.
        history: (step, blocks kept, blocks regrown) of every choice.

    Raises:
        ParameterError: a number out of range.
        ShapeError: blocks that do not divide the shape.
    """

    def __init__(
        self, layer: nn.Linear, optimizer: Optimizer, block: tuple[int, int], sparsity: float, *, every: int,
        until: int, regrow: float = 0.1,
    ) -> None:  # fmt: skip
        self.h, self.w = (whole("BlockSparseTraining(block)", n) for n in block)
        rows, columns = layer.weight.shape
        divides("BlockSparseTraining", (rows, columns), self.h, self.w)
        for name, value in (("sparsity", sparsity), ("regrow", regrow)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
                raise ParameterError(f"BlockSparseTraining({name}={value!r}): must be from 0 to below 1.")
        self.every, self.until = whole("every", every), whole("until", until)
        if self.until < self.every:
            raise ParameterError(f"BlockSparseTraining(until={until}): no choice falls before it; every={every}.")
        self.layer, self.optimizer, self.sparsity, self.regrow = layer, optimizer, float(sparsity), float(regrow)
        self.active = torch.ones(rows // self.h, columns // self.w, dtype=torch.bool)
        sparsify(layer, torch.ones_like(layer.weight))
        self.mask = masked(layer)
        self.mask.watched = torch.zeros_like(layer.weight)
        self.steps = 0
        self.history: list[tuple[int, int, int]] = []
        self._hook = optimizer.register_step_post_hook(lambda *_: self._stepped())

    @property
    def _weight(self) -> Tensor:
        weight: Tensor = self.layer.parametrizations["weight"].original  # type: ignore[index, union-attr]
        return weight

    def kept(self, step: int) -> int:
        """Return how many blocks are kept after the choice at a step.

        Args:
            step: 0 or more.
        """
        left = 1.0 - min(1.0, step / self.until)
        return round((1.0 - self.sparsity * (1.0 - left**3)) * self.active.numel())

    def _stepped(self) -> None:
        self.steps += 1
        if self.steps % self.every == 0 and self.steps <= self.until:
            self._choose()
        elif self.steps > self.until:
            self.mask.watched = None

    def _norms(self, matrix: Tensor) -> Tensor:
        rows, columns = self.active.shape
        return matrix.detach().reshape(rows, self.h, columns, self.w).square().sum((1, 3)).reshape(-1)

    @torch.no_grad()
    def _choose(self) -> None:
        """Choose the blocks to be kept, and clear those that come or go."""
        watched = self.mask.watched
        count = self.kept(self.steps)
        before = self.active.reshape(-1)
        share = self.regrow * (1.0 - self.steps / self.until)
        grown = min(round(share * count), int((~before).sum()))
        # Everything that was active may stay, so no more than what is missing has to be regrown beside it.
        grown = max(grown, count - int(before.sum()))
        after = torch.zeros_like(before)
        size = self._norms(self._weight).masked_fill(~before, -1.0)
        after[size.topk(count - grown).indices] = True
        if grown and watched is not None:
            slope = self._norms(watched).masked_fill(before, -1.0)
            after[slope.topk(grown).indices] = True
        moved = (after != before).reshape(self.active.shape)
        self.active = after.reshape(self.active.shape)
        change = self._whole(moved)
        self.mask.mask.copy_(self._whole(self.active))
        self._weight[change] = 0.0
        for value in self.optimizer.state.get(self._weight, {}).values():
            if isinstance(value, Tensor) and value.shape == change.shape:
                value[change] = 0.0
        if watched is not None:
            watched.zero_()
        self.history.append((self.steps, count, grown))

    def _whole(self, blocks: Tensor) -> Tensor:
        return blocks.repeat_interleave(self.h, 0).repeat_interleave(self.w, 1)

    def finish(self, **options: Any) -> SparseLinear:
        """Stop, and return the layer with its blocks stored.

        Args:
            options: of `SparseLinear`.
        """
        self._hook.remove()
        self.mask.watched = None
        return SparseLinear.from_dense(
            self.layer.weight.detach(), self.mask.mask, "bsr", bias=self.layer.bias, h=self.h, w=self.w, **options
        )
