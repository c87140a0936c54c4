"""A linear layer from the columns of the inputs that are not 0, and a product of which few outputs are wanted.

Both add up in the type of the input, term by term, and skip silent inputs: where weights and inputs lie on power-of-two
grids whose sums are exact they equal the dense product to the bit.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from spikeframe.core.counts import Counts
from spikeframe.kernels import moe, sparse_products
from spikeframe.kernels.formats import Strips
from spikeframe.modules.checks import on_cpu


class Columns:
    """A linear layer's weights by source.

    Args:
        weight: ``[targets, sources]``.
        bias: ``[targets]`` or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.targets, self.sources = weight.shape
        self.bias = bias is not None
        self._weight = weight.detach().cpu().T.contiguous().flatten()
        self._bias = torch.zeros(0) if bias is None else bias.detach().cpu()

    def __call__(self, x: Tensor) -> tuple[Tensor, Counts]:
        """Return the layer's output and the operations that took.

        Args:
            x: ``[T, B, sources]``.
        """
        rows = np.ascontiguousarray(on_cpu("event-driven run", x).detach().reshape(-1, self.sources).numpy())
        whole = np.array([0, 1], np.int64), np.zeros(1, np.int32)
        weight = Strips(self.targets, self.sources, self.targets, *whole, self._weight.to(x.dtype).numpy(), None)
        threads = torch.get_num_threads()
        out = sparse_products.provider("auto").events(weight, rows, self._bias.to(x.dtype).numpy(), threads)
        return torch.from_numpy(out).reshape(*x.shape[:2], self.targets), self.counts(x)

    def counts(self, x: Tensor) -> Counts:
        """Return the operations that an input takes.

        Args:
            x: ``[T, B, sources]``.
        """
        size, steps, targets = x.detach().abs(), x.shape[0] * x.shape[1], self.targets
        unit = int((size == 1).sum())
        graded = int(torch.count_nonzero(size)) - unit
        whole = bool((size == size.round()).all())
        words, dense = (unit + graded) * targets, steps * self.sources * targets
        return Counts(
            samples=x.shape[1], steps=steps, inputs=self.sources, neurons=targets, fan_out=targets,
            weights=self.sources * targets, spk_in=unit + graded, syn_ac=unit * targets, syn_mac=graded * targets,
            mem_rd_w=words, mem_rd_s=words, mem_wr_s=words, route=unit + graded,
            bias_ac=steps * targets if self.bias else 0, syn_ac_dense=dense if whole else 0,
            syn_mac_dense=0 if whole else dense, mem_rd_w_dense=dense, mem_rd_s_dense=dense, mem_wr_s_dense=dense,
        )  # fmt: skip


def wanted(gate: Tensor, weight: Tensor, x: Tensor) -> tuple[Tensor, int]:
    """Return ``gate * (weight x)``, of which only the rows with a gate other than 0 are worked out.

    Args:
        gate: ``[T, B, targets]``.
        weight: ``[targets, sources]``.
        x: ``[T, B, sources]``.

    Returns:
        ``[T, B, targets]`` and how many weights met an input other than 0.
    """
    kernels, targets = moe.provider("auto"), weight.shape[0]
    arrived = kernels.events(np.ascontiguousarray(on_cpu("event-driven run", x).detach().flatten(0, 1).numpy()))
    passed = kernels.events(np.ascontiguousarray(gate.detach().flatten(0, 1).numpy()))
    out = np.zeros((x.shape[0] * x.shape[1], targets), passed[2].dtype)
    # Each row of weights is a linear expert with one output, and the gate its share.
    experts = np.ascontiguousarray(weight.detach().to(gate).numpy())[:, :, np.newaxis]
    done = kernels.linear(*arrived, *passed, experts, np.arange(targets), out)
    return torch.from_numpy(out).reshape(gate.shape), done
