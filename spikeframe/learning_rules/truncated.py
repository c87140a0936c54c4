r"""Truncated backpropagation through time: gradients go back to the beginning of their window and no further.

Memory grows with the window, not with T. With ``window >= T`` it is BPTT. Reference: Williams and Peng 1990,
doi:10.1162/neco.1990.2.4.490.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeframe.learning_rules.gradient import (
    GradientRule,
    Learnt,
    Loss,
    detached,
    per_step,
    refuse_whole_time,
    whole,
)

#: First step, step after the last, and whether it is learnt from.
Piece = tuple[int, int, bool]


class TruncatedBPTT(GradientRule):
    """Backpropagation through windows of time.

    Args:
        model: see `GradientRule`.
        window: number of steps of a window.
        loss: see `GradientRule`.

    Raises:
        ParameterError: window is no whole number from 1.
        UnsupportedLayerError: the model has no neurons, or a layer that sees all of time at once.
    """

    READS: ClassVar[str] = "inputs and states of a window of steps"
    WHEN: ClassVar[str] = "after every window"

    def __init__(self, model: nn.Module, window: int, loss: Loss = functional.cross_entropy) -> None:
        super().__init__(model, loss)
        refuse_whole_time(type(self).__name__, model)
        self.window = whole(type(self).__name__, "window", window)

    def backward(self, x: Tensor, target: Tensor) -> Learnt:
        """Add the truncated gradient of the mean loss (see `GradientRule.backward`)."""
        return self._in_pieces(x, target, windows(0, len(x), self.window, True))

    def _in_pieces(self, x: Tensor, target: Tensor, pieces: Iterable[Piece]) -> Learnt:
        """Run piece by piece, forget the graph after each, and add the gradients of those to learn from."""
        wanted = per_step(x, target)
        state: Any = None
        total, learnt, mean = 0.0, 0, x.new_zeros(())
        for start, stop, learns in pieces:
            with torch.set_grad_enabled(learns):
                out, state = self.model(x[start:stop], state)
            mean = mean + out.detach().sum(0) / len(x)
            if learns:
                value = self._value(out, wanted[start:stop], f"steps {start} to {stop - 1}") * (stop - start)
                (value / len(x)).backward()  # type: ignore[no-untyped-call]
                total, learnt = total + float(value.detach()), learnt + stop - start
            state = detached(state)
        return Learnt(total / learnt, mean)


def windows(start: int, stop: int, size: int, learns: bool) -> list[Piece]:
    """Cut a span of steps into pieces of a size; the last may be shorter.

    Args:
        start: first step.
        stop: step after the last.
        size: steps of a piece.
        learns: whether they are learnt from.
    """
    return [(a, min(a + size, stop), learns) for a in range(start, stop, size)]
