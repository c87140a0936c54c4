r"""Conditional computation: stochastic gates choose which groups of units of a layer are computed.

.. math:: y_k = g_k \max(0, W_k x + b_k), \qquad P(g_k = 1) = \sigma(a_k), \quad a = V_2 \tanh(V_1 x + c_1) + c_2

Group k is computed where its gate is open. The gates get their gradient by one of the estimators of
`spikeframe.learning_rules.stochastic`; a penalty, the divergence of their mean probability from a target, keeps most of
them closed. Reference: Bengio, Léonard and Courville 2013, arXiv:1308.3432. Cost of a sample: the gater's
multiply-accumulates and those of the open groups (`ConditionalLinear.operations`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeframe.errors import ParameterError, ShapeError
from spikeframe.learning_rules.stochastic import straight_through


def switched(a: Tensor, u: Tensor) -> Tensor:
    """Return gates of zeros and ones with the straight-through gradient of their probability.

    Args:
        a: activations of any shape.
        u: uniform numbers in [0, 1) of that shape.
    """
    return straight_through(a, u, slope=True)


class ConditionalLinear(nn.Module):
    """A rectified linear layer in groups of units, of which a small gater computes only some (Bengio et al. 2013).

    Called as ``y, gates, probability = layer(x, u)``; ``u=None`` takes u = 1/2: `switched` gates are open where their
    probability is above one half. Without gradients only open groups are computed.

    Args:
        inputs: number of inputs.
        groups: number of groups, one gate each.
        size: units per group.
        hidden: units of the gater's hidden layer.
        target: share of gates that `penalty` asks for, in (0, 1).
        gate: takes activations and uniform numbers ``[B, groups]`` and returns the gates, 0 where closed, such as
            `switched` or `spikeframe.learning_rules.stochastic.smooth_times_random`.

    Raises:
        ParameterError: a number that is no positive whole one, or a target outside its range.
    """

    def __init__(
        self, inputs: int, groups: int, size: int, *, hidden: int = 32, target: float = 0.1,
        gate: Callable[[Tensor, Tensor], Tensor] = switched,
    ) -> None:  # fmt: skip
        super().__init__()
        for name, value in (("inputs", inputs), ("groups", groups), ("size", size), ("hidden", hidden)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ParameterError(f"ConditionalLinear({name}={value!r}): must be a whole number from 1.")
        if isinstance(target, bool) or not isinstance(target, (int, float)) or not 0 < target < 1:
            raise ParameterError(f"ConditionalLinear(target={target!r}): must be a number between 0 and 1.")
        self.groups, self.size, self.target, self.gate = groups, size, float(target), gate
        self.linear = nn.Linear(inputs, groups * size)
        self.gater = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, groups))

    def forward(self, x: Tensor, u: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Gate and compute.

        Args:
            x: ``[B, inputs]``.
            u: uniform numbers ``[B, groups]``, or None.

        Returns:
            Output ``[B, groups * size]``, gates ``[B, groups]``, and σ(a): how often `switched` ones open.

        Raises:
            ShapeError: x or u has another shape.
        """
        if x.ndim != 2 or x.shape[1] != self.linear.in_features:
            raise ShapeError(f"ConditionalLinear: x has shape {tuple(x.shape)}, not [B, {self.linear.in_features}].")
        a = self.gater(x)
        gates = self.gate(a, torch.full_like(a, 0.5) if u is None else u)
        if torch.is_grad_enabled():
            y = torch.relu(self.linear(x)).reshape(-1, self.groups, self.size) * gates[:, :, None]
        else:
            y = self._open_groups(x, gates)
        return y.flatten(1), gates, torch.sigmoid(a)

    def _open_groups(self, x: Tensor, gates: Tensor) -> Tensor:
        """Compute the open groups of every sample and leave the others zero."""
        y = x.new_zeros(len(x), self.groups, self.size)
        weight = self.linear.weight.reshape(self.groups, self.size, -1)
        bias = self.linear.bias.reshape(self.groups, self.size)
        for group in range(self.groups):
            rows = gates[:, group].nonzero()[:, 0]
            computed = torch.relu(functional.linear(x[rows], weight[group], bias[group]))
            y[rows, group] = computed * gates[rows, group, None]
        return y

    def penalty(self, probability: Tensor) -> Tensor:
        """Return the sum over gates of KL(target || mean probability), 0 where every gate opens as often as asked for.

        Args:
            probability: as returned by the call, ``[B, groups]``.
        """
        tiny = torch.finfo(probability.dtype).eps
        mean = probability.mean(0).clamp(tiny, 1.0 - tiny)
        target = torch.full_like(mean, self.target)
        on = target * torch.log(target / mean)
        off = (1.0 - target) * torch.log((1.0 - target) / (1.0 - mean))
        return (on + off).sum()

    def operations(self, gates: Tensor) -> dict[str, int]:
        """Count multiply-accumulates of a call: of the gater and the open groups, beside those of all groups.

        Args:
            gates: as returned by the call.
        """
        gater = sum(layer.weight.numel() for layer in self.gater if isinstance(layer, nn.Linear))
        group = self.linear.in_features * self.size
        return {
            "dense_mac": len(gates) * gater + int(gates.count_nonzero()) * group,
            "dense_equiv_mac": len(gates) * self.groups * group,
        }
