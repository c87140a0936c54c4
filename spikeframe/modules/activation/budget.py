r"""At most k events a step: of the spikes that wait, those of the largest score are sent.

The score of a neuron is its waiting charge times `scale` (e.g. norms of outgoing weights, WINA's score), the lower
index first among equals. What is not sent waits for the next step (`defer`) or is lost. With deferral, charge is
conserved: what came in is what went out and what waits, to the bit for whole spikes. Causal; the state is what waits.
Cost: a comparison per neuron and level of the selection; sends at most k events.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spikeframe.errors import ShapeError
from spikeframe.modules.activation.gates import TopK
from spikeframe.modules.checks import threshold, whole
from spikeframe.neurons.temporal import Temporal


class EventBudget(Temporal):
    """See above.

    Args:
        k: events a step, from 1.
        scale: of each neuron's score, ``[n]`` from 0; 1 if not given.
        defer: whether what is not sent waits.

    Raises:
        ParameterError, NonFiniteError: a number outside its range.
    """

    scale: Tensor | None

    def __init__(self, k: int, scale: Tensor | None = None, defer: bool = True) -> None:
        super().__init__()
        self.k, self.defer = whole("EventBudget(k)", k), defer
        self.register_buffer("scale", None if scale is None else threshold("EventBudget(scale)", scale))

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run over time.

        Args:
            x: ``[T, B, n]`` spikes or graded events.
            state: ``[B, n]`` waiting charge, or None.

        Returns:
            What is sent ``[T, B, n]``, and what waits.

        Raises:
            DTypeError, ShapeError, NonFiniteError: the input is not usable.
        """
        self._checked(x)
        if self.scale is not None and self.scale.numel() != x.shape[-1]:
            raise ShapeError(f"EventBudget: scale of {self.scale.numel()} neurons, input of {x.shape[-1]}.")
        waiting = torch.zeros_like(x[0]) if state is None else state
        sent = []
        for step in x:
            waiting = waiting + step
            score = waiting.detach().abs() * (1.0 if self.scale is None else self.scale.to(x))
            now = waiting * TopK(self.k).mask(score)
            sent.append(now)
            waiting = waiting - now if self.defer else torch.zeros_like(waiting)
        return torch.stack(sent), waiting
