r"""Attention by masks and additions: spike-driven (SDSA), and query-key attention per token and per channel.

.. math::

    \text{SDSA:}\ o_i = q_i \wedge \mathrm{LIF}\Big(\sum_j k_j \wedge v_j\Big), \qquad
    \text{token:}\ o_i = k_i \, \mathrm{LIF}\Big(\sum_f q_{if}\Big), \qquad
    \text{channel:}\ o_i = k_i \wedge \mathrm{LIF}\Big(\sum_j q_j\Big)

All are linear in the tokens and have one inner neuron per channel, or per token, of each head: LIF with a time constant
of two steps and threshold 0.5, reset to 0. Token attention mixes no tokens: it lets them through or not. Causal ones
sum over the token and earlier ones. References: Yao et al. 2023 (Spike-driven Transformer), arXiv:2307.01694; Zhou et
al. 2024 (QKFormer), arXiv:2403.16552.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from spikeframe.core.counts import Counts
from spikeframe.errors import ShapeError
from spikeframe.modules.attention.execute import check
from spikeframe.modules.attention.mixer import EventRun, Mixer, silenced
from spikeframe.modules.attention.operations import Operations, added, dense_twin, heads_of
from spikeframe.neurons import LIF


class SDSA(Mixer):
    """Spike-driven self-attention; called with ``[T, B, heads, tokens, d]``, values as wide as keys.

    Args:
        causal: whether a token sums over itself and earlier ones only.
    """

    def __init__(self, *, causal: bool = False) -> None:
        super().__init__()
        self.causal = bool(causal)
        self.neuron = LIF(tau_m=2.0, v_th=0.5, dt=1.0, reset="value")

    def _sums(self, x: Tensor) -> Tensor:
        return x.cumsum(-2) if self.causal else x.sum(-2, keepdim=True)

    def _drive(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, int]:
        """Return input of the inner neurons, what they let through, and the additions that the input took."""
        both = k * v
        return self._sums(both), q, int(both.count_nonzero())

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None = None, state: Any = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Mix; the state is that of the inner neurons."""
        q, k, v = self._checked(q, k, v, valid)
        drive, through, _ = self._drive(q, k, v)
        z, after = self.neuron(drive, state)
        return through * z, after

    def events(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None = None, state: Any = None, valid: Tensor | None = None
    ) -> EventRun:
        """Mix, and count: additions of active entries, inner neurons, and masks of what is let through."""
        q, k, v = self._checked(q.detach(), k.detach(), v.detach(), valid)
        drive, through, adds = self._drive(q, k, v)
        z, after = self.neuron(drive, state)
        cost = self.neuron.operations()
        updates = z.numel()
        made = added(adds, q, k, v) + Counts(
            neu_upd=updates, neu_upd_dense=updates, neu_ac=updates * cost["ac"], neu_mac=updates * cost["mac"],
            neu_cmp=updates * cost["cmp"] + int(through.count_nonzero()), spk_out=int(z.sum()),
        )  # fmt: skip
        made = dense_twin(made, q.shape[-2], heads_of(q), q.shape[-1] + v.shape[-1], self.causal)
        return EventRun((through * z).detach(), after, Operations(made))

    def _checked(self, q: Tensor, k: Tensor, v: Tensor, valid: Tensor | None) -> tuple[Tensor, ...]:
        check(q, k, v, valid)
        if q.ndim < 5 or v.shape != q.shape:
            raise ShapeError(
                f"{type(self).__name__}: q {tuple(q.shape)}, v {tuple(v.shape)}; both must be [T, B, heads, tokens, d]."
            )
        return silenced(valid, q, k, v)


class TokenQK(SDSA):
    """Query-key attention per token: a token's keys pass where its queries make the head's neuron fire."""

    def __init__(self) -> None:
        super().__init__(causal=True)

    def _drive(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, int]:
        """Return input, what is let through, and additions."""
        return q.sum(-1, keepdim=True), k, int(q.count_nonzero())


class ChannelQK(SDSA):
    """Query-key attention per channel: a channel's keys pass where its queries, over tokens, make its neuron fire."""

    def _drive(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, int]:
        """Return input, what is let through, and additions."""
        return self._sums(q), k, int(q.count_nonzero())
