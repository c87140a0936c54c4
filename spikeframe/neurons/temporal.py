"""Layers with a time axis that are no traced neurons, because a neuron sees its neighbours or other times."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spikeframe.errors import DTypeError, NonFiniteError, ShapeError
from spikeframe.neurons.compiled import refuse_export


class Temporal(nn.Module):
    """Base of the layers called as ``out, state = layer(x, state)`` with ``x`` of shape ``[T, B, ...]``."""

    #: Types of input that the layer takes.
    TYPES: ClassVar[tuple[torch.dtype, ...]] = (torch.float32, torch.float64)

    def _checked(self, x: Any) -> Tensor:
        """Return the input if it is a finite float tensor with time, batch and neuron axes, or refuse it."""
        refuse_export()
        kind = type(self).__name__
        if not isinstance(x, Tensor) or x.dtype not in self.TYPES:
            got = x.dtype if isinstance(x, Tensor) else type(x).__name__
            taken = " or ".join(str(dtype).removeprefix("torch.") for dtype in self.TYPES)
            raise DTypeError(f"{kind}: the input is {got}; it must be a {taken} tensor.")
        if x.ndim < 3:
            raise ShapeError(f"{kind}: the input has shape {tuple(x.shape)}; it must be [T, B, ...neurons].")
        if not bool(torch.isfinite(x.detach()).all()):
            place = [int(i) for i in (~torch.isfinite(x.detach())).nonzero()[0]]
            raise NonFiniteError(f"{kind}: input {place} (time, batch, neuron) is not finite.")
        return x
