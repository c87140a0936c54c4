r"""LIF neurons whose threshold follows the population: about k winners a step, without sorting.

.. math:: v_t = β v_{t-1} + x_t, \quad θ_t = \max(v_{th}, \mathrm{mean}(v_t) + \mathrm{std}(v_t) Φ^{-1}(1 - k/n)), \quad
          s_t = [v_t > θ_t], \quad v_t \leftarrow v_t (1 - s_t)

Mean and deviation are taken over the n neurons of a layer at each step, the statistical top-k of the Spark Transformer
(You et al. 2025, arXiv:2506.06644; paper 6) on membranes: lateral inhibition that costs two sums. k = n is a plain
LIF with reset to 0. Normal membranes give k winners on average; resets thin their upper tail, so with a long memory
fewer win (14 of 24 at a time constant of 20 steps), and fewer where many neurons are silent alike.

=========  ======  =====  ========  ===========================================
argument   symbol  unit   default   meaning (range)
=========  ======  =====  ========  ===========================================
k          k       --     --        winners wanted a step (1 to n)
tau_m               ms     100       membrane time constant (> 0)
dt                  ms     1         step (> 0); β = exp(-dt / tau_m)
v_th               --     1         least threshold (> 0)
=========  ======  =====  ========  ===========================================

The derivative of a spike is a surrogate of ``v - θ``; gradients pass the statistics and not the reset.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from spikeframe.errors import ParameterError
from spikeframe.modules.activation.gates import statistical_threshold
from spikeframe.modules.checks import positive, time_step, whole
from spikeframe.neurons.temporal import Temporal


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (u,) = ctx.saved_tensors
        found: Tensor = gradients[0] / (1.0 + 10.0 * u.abs()) ** 2
        return found


class KWinnersLIF(Temporal):
    """See above.

    Args:
        k: winners wanted a step.
        tau_m: ms.
        dt: ms.
        v_th: least threshold.

    Raises:
        ParameterError, NonFiniteError, TimeGridError: a number outside its range.
    """

    def __init__(self, k: int, tau_m: float = 100.0, dt: float = 1.0, v_th: float = 1.0) -> None:
        super().__init__()
        self.k, self.v_th = whole("KWinnersLIF(k)", k), positive("KWinnersLIF(v_th)", v_th)
        self.decay = math.exp(-time_step("KWinnersLIF(dt)", dt) / positive("KWinnersLIF(tau_m)", tau_m))

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run over time.

        Args:
            x: ``[T, B, n]`` currents.
            state: ``[B, n]`` membranes, or None.

        Returns:
            Spikes ``[T, B, n]`` and the membranes.

        Raises:
            DTypeError, ShapeError, NonFiniteError: the input is not usable.
            ParameterError: k is above n.
        """
        self._checked(x)
        if self.k > x.shape[-1]:
            raise ParameterError(f"KWinnersLIF(k={self.k}): more than the {x.shape[-1]} neurons there are.")
        v = torch.zeros_like(x[0]) if state is None else state
        spikes = []
        for current in x:
            v = self.decay * v + current
            theta = torch.full_like(v[..., :1], self.v_th)
            if self.k < x.shape[-1]:
                theta = torch.maximum(theta, statistical_threshold(v, self.k))
            s: Tensor = _Spike.apply(v - theta)  # type: ignore[no-untyped-call]
            v = v * (1.0 - s.detach())
            spikes.append(s)
        return torch.stack(spikes), v

    def cost(self, n: int) -> dict[str, int]:
        """Return the operations of one step of a population.

        Args:
            n: neurons.
        """
        return {"neu_mac": 3 * n, "neu_ac": 4 * n, "neu_cmp": 2 * n}
