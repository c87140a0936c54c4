r"""Gated associative memory: learnt patterns are looked up, beside a causal convolution; in place of attention.

.. math:: o_i = σ(g_{1,i}) \,(\mathrm{conv}\,v)_i + σ(g_{2,i}) \sum_m A(q_i \cdot M_m)\, M'_m

The patterns M are binary codewords (1 where a learnt number is at least 0, with a surrogate gradient), what is recalled
is M', and the best `k` of them answer, by overlap divided by the root of the pattern's spikes; ties go to the lower
slot. A token sees no other tokens but through the convolution, of 3 taps: the receptive field is 1 + 2 layers.
Reference: Acharya 2025, arXiv:2509.00605. Deviations: binary patterns and the k best in place of a softmax over all;
queries in place of the layer's normed input.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from spikeframe.core.counts import Counts
from spikeframe.modules.attention.execute import check
from spikeframe.modules.attention.gates import LocalConv, SigmoidGate
from spikeframe.modules.attention.mixer import EventRun, Mixer, silenced
from spikeframe.modules.attention.operations import Operations, added, dense_twin, heads_of, sorting
from spikeframe.modules.attention.scores import fire
from spikeframe.modules.attention.selectors import TopK
from spikeframe.modules.checks import positive, whole


class AssociativeMemory(Mixer):
    """Memory of learnt patterns, and a causal convolution; causal.

    Args:
        width: features of the layer's input, which the gates look at.
        heads: how many.
        features: d of queries and of values.
        slots: patterns of a head.
        k: patterns that answer.
        scale: of their weights.
    """

    causal = True

    def __init__(self, width: int, heads: int, features: int, slots: int = 64, k: int = 4, scale: float = 0.25) -> None:
        super().__init__()
        self.slots, self.scale = whole("AssociativeMemory(slots)", slots), positive("AssociativeMemory(scale)", scale)
        self.select = TopK(k)
        self.pattern = nn.Parameter(torch.randn(heads, slots, features) - 0.7)
        self.answer = nn.Parameter(torch.randn(heads, slots, features) - 0.7)
        self.local = LocalConv(heads * features, (1,), 3)
        self.gate = SigmoidGate(width, heads, branches=2)

    def recall(self, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weights of patterns, the patterns, and the answers.

        Args:
            q: ``[..., heads, tokens, d]``.
        """
        pattern, answer = fire(self.pattern.to(q)), fire(self.answer.to(q))
        overlap = q @ pattern.transpose(-1, -2)
        size = pattern.detach().sum(-1).clamp(min=1.0).sqrt()[:, None]
        there = overlap.detach() > 0
        best = self.select(overlap.detach() / size, there, torch.zeros_like(there))
        return self.scale * overlap * best, pattern, answer

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None = None, state: Any = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Mix; keys are not used, there is no state."""
        check(q, k, v, valid)
        q, v = silenced(valid, q, v)
        weights, _, answer = self.recall(q)
        near, far = self.gate(x)
        return near * self.local(v) + far * (weights @ answer), None

    def events(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None = None, state: Any = None, valid: Tensor | None = None
    ) -> EventRun:
        """Mix, and count what active spikes cause."""
        out = self.forward(q, k, v, x, state, valid)[0].detach()
        q, v = silenced(valid, q.detach(), v.detach())
        with torch.no_grad():
            weights, pattern, answer = self.recall(q)
        rows = q.shape[:-1].numel()
        hits = int(((q != 0).double() @ (pattern != 0).double().transpose(-1, -2)).sum())
        entries = int(((weights != 0).double() @ (answer != 0).double().sum(-1, keepdim=True)).sum())
        made = added(hits, q) + added(entries, answer) + self.local.operations(v)
        if x is not None:
            made += self.gate.operations(x, out.new_ones(2 * out.numel()))
        made = dense_twin(made, q.shape[-2], heads_of(q), q.shape[-1] + v.shape[-1], True)
        chosen = Counts(neu_cmp=sorting(rows, self.slots), neu_mac=rows * self.slots)
        return EventRun(out, None, Operations(made, chosen))
