r"""Linear mixers: the products of keys and values are summed up first, so cost does not grow with pairs.

.. math::

    \text{linear:}\ o_i = s\, q_i \sum_j k_j^T v_j, \qquad
    \text{gated:}\ S_i = \mathrm{diag}(α_i) S_{i-1} + k_i^T v_i, \quad o_i = s\, q_i S_i

`LinearState` is attention by overlaps, in the other order: the same sums exactly. Gated linear attention (GLA) lets
every feature's row of the state decay as the token's input says,

.. math:: α_i = σ(W_2 W_1 x_i + b)^{1/16}, \qquad W_1: \text{width} \to 16

which is a bank of leaky integrators; an event touches the rows of its active features only, and a row decays when it is
next touched. `BidirectionalGLA` (ViG) runs both ways with gates of their own over the same spikes, averages, and blends
in a local convolution: ``g o + (1 - g) conv(v)``.

Training runs in chunks, which equals the recurrence. Such gates cannot count parity. References: Yang et al. 2024
(GLA), arXiv:2312.06635; Liao et al. 2024 (ViG), arXiv:2405.18425. Deviations: no norm of the output and no swish
gate, the neuron behind thresholds it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeframe.core.counts import Counts
from spikeframe.errors import ShapeError
from spikeframe.kernels.attention import provider
from spikeframe.modules.attention.execute import check
from spikeframe.modules.attention.gates import LocalConv, SigmoidGate
from spikeframe.modules.attention.mixer import EventRun, Mixer, silenced
from spikeframe.modules.attention.operations import Operations, added, dense_twin, heads_of
from spikeframe.modules.attention.plans import cut
from spikeframe.modules.checks import on_cpu, positive, same_shape, whole

#: Logarithm that stands for a gate of 0.
SHUT = -100.0


def chunked(
    q: Tensor, k: Tensor, v: Tensor, log_gate: Tensor, state: Tensor | None = None, size: int = 16
) -> tuple[Tensor, Tensor]:
    """Run gated linear attention in chunks; differentiable.

    Args:
        q: ``[..., tokens, d]``.
        k: ``[..., tokens, d]``.
        v: ``[..., tokens, e]``.
        log_gate: ``[..., tokens, d]``, at most 0.
        state: ``[..., d, e]``, or None.
        size: tokens in a chunk.

    Returns:
        ``[..., tokens, e]``, and the state after the last token.
    """
    s = q.new_zeros(*q.shape[:-2], q.shape[-1], v.shape[-1]) if state is None else state
    if q.shape[-2] == 0:
        return v.clone(), s
    outs = []
    for begin in range(0, q.shape[-2], size):
        a, b, c, g = (x[..., begin : begin + size, :] for x in (q, k, v, log_gate.clamp(min=SHUT)))
        kept = g.cumsum(-2)
        past = a.new_ones(a.shape[-2], a.shape[-2], dtype=torch.bool).tril()[..., None]
        between = (kept.unsqueeze(-2) - kept.unsqueeze(-3)).masked_fill(~past, 0.0).exp() * past
        weights = (a.unsqueeze(-2) * b.unsqueeze(-3) * between).sum(-1)
        outs.append(weights @ c + (a * kept.exp()) @ s)
        last = kept[..., -1:, :]
        s = s * last.exp().transpose(-1, -2) + (b * (last - kept).exp()).transpose(-1, -2) @ c
    return torch.cat(outs, -2), s


def recurrent(q: Tensor, k: Tensor, v: Tensor, log_gate: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Run gated linear attention token by token: the meaning of `chunked`, with the same arguments and results."""
    s = q.new_zeros(*q.shape[:-2], q.shape[-1], v.shape[-1]) if state is None else state
    outs = [v[..., :0, :]]
    for i in range(q.shape[-2]):
        s = s * log_gate[..., i, :, None].clamp(min=SHUT).exp() + k[..., i, :, None] * v[..., i, None, :]
        outs.append(q[..., i, None, :] @ s)
    return torch.cat(outs, -2), s


def gated_events(
    q: Tensor, k: Tensor, v: Tensor, log_gate: Tensor, state: Tensor | None = None, backend: str = "auto"
) -> tuple[Tensor, Tensor, Counts]:
    """Run gated linear attention event by event.

    Args:
        q: ``[..., tokens, d]``.
        k: ``[..., tokens, d]``.
        v: ``[..., tokens, e]``.
        log_gate: ``[..., tokens, d]``, at most 0.
        state: ``[..., d, e]``, or None.
        backend: ``"auto"``, ``"numba"`` or ``"reference"``.

    Returns:
        ``[..., tokens, e]``, the state, and the operations.
    """
    on_cpu("event-driven attention", q)
    lead = q.shape[:-2]
    s = torch.zeros(*lead, q.shape[-1], v.shape[-1], dtype=torch.float64) if state is None else state.detach().double()
    s = s.clone()
    out = v.new_zeros(v.shape)
    counts = np.zeros(3, np.int64)
    a, b, c, g = (x.detach().flatten(0, -3).contiguous().numpy() for x in (q, k, v, log_gate.clamp(min=SHUT)))
    provider(backend).gated(a, b, c, g, s.flatten(0, -3).numpy(), out.flatten(0, -3).numpy(), counts)
    built, read, decayed = counts.tolist()
    made = added(built, k, v) + added(read, q) + Counts(neu_mac=decayed * v.shape[-1], neu_exp=decayed)
    return out, s.to(q), made


class LinearState(Mixer):
    """Attention by overlaps in linear order.

    Args:
        scale: s.
        causal: whether a token reads itself and earlier ones only.
    """

    def __init__(self, scale: float = 0.25, *, causal: bool = False) -> None:
        super().__init__()
        self.scale, self.causal = positive("LinearState(scale)", scale), bool(causal)

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None = None, state: Any = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Mix; there is no state over steps."""
        check(q, k, v, valid)
        q, k, v = silenced(valid, q, k, v)
        if not self.causal:
            return self.scale * (q @ (k.transpose(-1, -2) @ v)), None
        return self.scale * chunked(q, k, v, torch.zeros_like(q), size=64)[0], None

    def events(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None = None, state: Any = None, valid: Tensor | None = None
    ) -> EventRun:
        """Mix event by event: a state is built from active keys and values, its rows are read by active queries."""
        check(q, k, v, valid)
        q, k, v = silenced(valid, q.detach(), k.detach(), v.detach())
        width, groups = q.shape[-1] + v.shape[-1], heads_of(q)
        if self.causal:
            out, _, made = gated_events(q, k, v, torch.zeros_like(q))
            made = Counts(**{**made.as_dict(), "neu_mac": 0, "neu_exp": 0})  # nothing decays
        else:
            s = k.transpose(-1, -2) @ v
            out = q @ s
            built = int(((k != 0).sum(-1) * (v != 0).sum(-1)).sum())
            read = int(((q != 0).sum(-2) * (s != 0).sum(-1)).sum())
            made = added(built, k, v) + added(read, q)
        return EventRun(self.scale * out, None, Operations(dense_twin(made, q.shape[-2], groups, width, self.causal)))


class GLA(Mixer):
    """Gated linear attention; causal.

    Args:
        width: features of the layer's input, which the gates look at.
        heads: how many.
        features: d of a key.
        rank: of the gate's map.
        scale: s; features^-1/2 rounded to a power of two if not given.
        gates: how many gates there are (2 for both directions).
    """

    causal = True

    def __init__(
        self, width: int, heads: int, features: int, rank: int = 16, scale: float | None = None, gates: int = 1
    ) -> None:
        super().__init__()
        self.shape = (gates, heads, features)
        self.low = nn.Linear(width, whole("GLA(rank)", rank), bias=False)
        self.high = nn.Linear(rank, gates * heads * features)
        usual = 2.0 ** round(np.log2(features**-0.5))
        self.scale = usual if scale is None else positive("GLA(scale)", scale)

    def log_gate(self, x: Tensor | None) -> Tensor:
        """Return the logarithm of the gates, ``[gates, ..., heads, tokens, d]``.

        Args:
            x: ``[..., tokens, width]`` the layer's input.

        Raises:
            ShapeError: it was not given, or does not fit.
        """
        if x is None or x.shape[-1] != self.low.in_features:
            got = None if x is None else tuple(x.shape)
            raise ShapeError(f"GLA: x is {got}; give the layer's input [..., tokens, {self.low.in_features}] as x=.")
        found = cut(functional.logsigmoid(self.high(self.low(x))), -1, self.shape) / 16.0
        return found.movedim(-3, 0).transpose(-2, -3)

    def _gate_operations(self, x: Tensor) -> Counts:
        tokens = x.numel() // max(x.shape[-1], 1)
        rank, out = self.low.out_features, self.high.out_features
        return added(int(x.count_nonzero()) * rank, x) + Counts(
            dense_mac=tokens * rank * out, neu_exp=tokens * out, bias_ac=tokens * out
        )

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None = None, state: Any = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Mix, from rest at the first token of every step; there is no state over steps."""
        check(q, k, v, valid)
        q, k, v = silenced(valid, q, k, v)
        return self.stream(q, k, v, x)[0], None

    def stream(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Go on along tokens.

        Args:
            q: ``[..., heads, tokens, d]``.
            k: ``[..., heads, tokens, d]``.
            v: ``[..., heads, tokens, e]``.
            x: ``[..., tokens, width]`` the layer's input.
            state: ``[..., heads, d, e]`` after earlier tokens, or None.

        Returns:
            ``[..., heads, tokens, e]``, and the state after the last token.

        Raises:
            ShapeError, DTypeError: the state does not fit.
        """
        if state is not None:
            same_shape("GLA: state", state, (*q.shape[:-2], q.shape[-1], v.shape[-1]), q.dtype)
        out, after = chunked(q, k, v, self.log_gate(x)[0], state)
        return self.scale * out, after

    def events(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None = None, state: Any = None, valid: Tensor | None = None
    ) -> EventRun:
        """Mix event by event."""
        check(q, k, v, valid)
        q, k, v = silenced(valid, q.detach(), k.detach(), v.detach())
        out, _, made = gated_events(q, k, v, self.log_gate(x)[0])
        return EventRun(self.scale * out, None, self._counted(made, q, v, x))

    def _counted(self, made: Counts, q: Tensor, v: Tensor, x: Tensor | None) -> Operations:
        gates = Counts() if x is None else self._gate_operations(x)
        width = q.shape[-1] + v.shape[-1]
        return Operations(dense_twin(made + gates, q.shape[-2], heads_of(q), width, self.causal))


class BidirectionalGLA(GLA):
    """Gated linear attention both ways, blended with a local convolution of the values (ViG); not causal.

    Args:
        width: features of the layer's input.
        heads: how many.
        features: d of keys and of values.
        grid: (rows, columns) of the tokens; None leaves the local branch out.
        rank: of the gate's map.
    """

    causal = False

    def __init__(
        self, width: int, heads: int, features: int, grid: tuple[int, ...] | None = None, rank: int = 16
    ) -> None:
        super().__init__(width, heads, features, rank, gates=2)
        self.local = None if grid is None else LocalConv(heads * features, grid, 3)
        self.blend = None if grid is None else SigmoidGate(width, heads, features)

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None = None, state: Any = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Mix; there is no state."""
        check(q, k, v, valid)
        q, k, v = silenced(valid, q, k, v)
        ahead, back = self.log_gate(x)
        a, b, c, g = (t.flip(-2) for t in (q, k, v, back))
        out = chunked(q, k, v, ahead)[0] + chunked(a, b, c, g)[0].flip(-2)
        return self._blended(0.5 * self.scale * out, v, x), None

    def _blended(self, out: Tensor, v: Tensor, x: Tensor | None) -> Tensor:
        if self.local is None or self.blend is None:
            return out
        gate = self.blend(x)[0]
        blended: Tensor = gate * out + (1.0 - gate) * self.local(v)
        return blended

    def events(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None = None, state: Any = None, valid: Tensor | None = None
    ) -> EventRun:
        """Mix event by event, both ways."""
        check(q, k, v, valid)
        q, k, v = silenced(valid, q.detach(), k.detach(), v.detach())
        ahead, back = self.log_gate(x)
        one, _, made = gated_events(q, k, v, ahead)
        a, b, c, g = (t.flip(-2) for t in (q, k, v, back))
        other, _, more = gated_events(a, b, c, g)
        done = self._counted(made + more, q, v, x)
        if self.local is not None and self.blend is not None and x is not None:
            done += Operations(self.local.operations(v) + self.blend.operations(x, v.new_ones(2 * v.numel())))
        out = self._blended(0.5 * self.scale * (one + other.flip(-2)), v, x)
        return EventRun(out.detach(), None, done)
