r"""Neurons chosen once a sample, from its first steps, and kept: no choice is made after that.

During the first `window` steps everything passes. A neuron's count is the number of those steps in which it is among
the share `alpha` of the largest positive values (all of them for spikes); the ``beta n`` neurons of the highest count
are the sample's core. Afterwards only they pass: the others need no update and send nothing, which `spared` counts.
beta = 1 changes nothing. Causal. Reference: CoreInfer, Wang et al. 2024, arXiv:2410.18311 (paper 60; alpha 0.2,
beta 0.4); the core in place of clusters of sentences is its "stability-guided" form.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from spikeframe.errors import ParameterError
from spikeframe.kernels.plasticity import number
from spikeframe.modules.activation.gates import TopK
from spikeframe.modules.checks import whole
from spikeframe.neurons.temporal import Temporal


class CoreState(NamedTuple):
    """State of a `CoreSet`.

    Attributes:
        steps: seen so far.
        seen: ``[B, n]`` in how many of them each neuron counted.
    """

    steps: int
    seen: Tensor


class CoreSet(Temporal):
    """See above.

    Args:
        window: steps that the core is found in, from 1.
        beta: part of the neurons in the core, above 0 to 1.
        alpha: part of a step's positive values that counts, above 0 to 1.

    Raises:
        ParameterError, NonFiniteError: a number outside its range.
    """

    def __init__(self, window: int, beta: float = 0.4, alpha: float = 1.0) -> None:
        super().__init__()
        self.window = whole("CoreSet(window)", window)
        for name, value in (("beta", beta), ("alpha", alpha)):
            if not 0.0 < number(f"CoreSet({name})", value) <= 1.0:
                raise ParameterError(f"CoreSet({name}={value!r}): must be above 0 to 1.")
        self.beta, self.alpha = beta, alpha

    def counted(self, x: Tensor) -> Tensor:
        """Return which values of each step count, as 0 and 1.

        Args:
            x: ``[T, B, n]``.
        """
        on = x > 0
        if self.alpha == 1.0:
            return on.to(x.dtype)
        many = torch.ceil(self.alpha * on.sum(-1, keepdim=True))
        rank = torch.argsort(torch.argsort(-x, dim=-1, stable=True), dim=-1)
        return (on & (rank < many)).to(x.dtype)

    def core(self, state: CoreState, n: int) -> Tensor:
        """Return the core of each sample, bool ``[B, n]``.

        Args:
            state: after the window.
            n: neurons.
        """
        return TopK(max(1, round(self.beta * n))).mask(state.seen)

    def forward(self, x: Tensor, state: CoreState | None = None) -> tuple[Tensor, CoreState]:
        """Run over time.

        Args:
            x: ``[T, B, n]`` what the neurons send.
            state: of an earlier call, or None.

        Returns:
            What passes, and the state.

        Raises:
            DTypeError, ShapeError, NonFiniteError: the input is not usable.
        """
        self._checked(x)
        steps, count = (0, torch.zeros_like(x[0])) if state is None else state
        looks = min(len(x), max(0, self.window - steps))
        count = count + self.counted(x[:looks].detach()).sum(0)
        after = CoreState(steps + len(x), count)
        if looks == len(x):
            return x, after
        return torch.cat([x[:looks], x[looks:] * self.core(after, x.shape[-1])]), after

    def spared(self, steps: int, n: int) -> int:
        """Return the neuron updates of a sample that are not needed.

        Args:
            steps: of the sample.
            n: neurons.
        """
        return max(0, steps - self.window) * (n - max(1, round(self.beta * n)))
