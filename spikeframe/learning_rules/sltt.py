r"""Spatial learning through time: the gradient of every step goes back through the layers of that step alone.

.. math:: \nabla_\theta \frac1T \sum_t L(o_t, y_t) \quad \text{with} \quad
          s_t = \text{step}(\text{stopgrad}(s_{t-1}), x_t)

No gradient crosses from step to step, so steps may be taken in chunks of any size for the same result: memory grows
with the chunk, not with T, and time is that of the fused kernels. SLTT-K learns from K steps drawn anew for every batch
and only runs the others; the gradient is not rescaled by T / K. With a membrane that forgets (decay 0) it equals BPTT.

Reference: Meng et al. 2023, arXiv:2302.14311. There, τ = 1.1 (decay 1/11) and per-step batch normalisation.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeframe.errors import ParameterError
from spikeframe.learning_rules.gradient import Learnt, Loss, cut_in_time, whole
from spikeframe.learning_rules.truncated import Piece, TruncatedBPTT, windows


class SLTT(TruncatedBPTT):
    """Spatial learning through time.

    Args:
        model: see `GradientRule`.
        loss: see `GradientRule`.
        k: steps to learn from in a batch (SLTT-K); None for all.
        chunk: steps that are run in one go. Layers with statistics of their own (batch norm) take them per chunk.
        generator: draws the steps of SLTT-K; None is torch's global one.

    Raises:
        ParameterError: k or chunk is no whole number from 1.
        UnsupportedLayerError: the model has no neurons, or a layer that sees all of time at once.
    """

    READS: ClassVar[str] = "inputs and states of one step"
    WHEN: ClassVar[str] = "after every step (chunk)"

    def __init__(
        self,
        model: nn.Module,
        loss: Loss = functional.cross_entropy,
        *,
        k: int | None = None,
        chunk: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(model, chunk, loss)
        self.k = None if k is None else whole("SLTT", "k", k)
        self.generator = generator

    def backward(self, x: Tensor, target: Tensor) -> Learnt:
        """Add the gradient within steps (see `GradientRule.backward`).

        Raises:
            ParameterError: K is larger than the number of steps.
        """
        steps = len(x)
        if self.k is None:
            pieces = windows(0, steps, self.window, True)
        elif self.k > steps:
            raise ParameterError(f"SLTT(k={self.k}): the input has only {steps} steps.")
        else:
            chosen = torch.randperm(steps, generator=self.generator)[: self.k].sort().values.tolist()
            pieces = self._pieces(steps, chosen)
        with cut_in_time(self.model):
            return self._in_pieces(x, target, pieces)

    def _pieces(self, steps: int, chosen: list[int]) -> list[Piece]:
        """Return the chosen steps one by one, and chunks between them that are only run."""
        pieces, start = [], 0
        for step in [*chosen, steps]:
            pieces += windows(start, step, self.window, False)
            pieces += windows(step, min(step + 1, steps), 1, True)
            start = step + 1
        return pieces
