r"""Delta attention: scores outside a window come from thresholded changes of the keys, token to token.

.. math:: q_i \cdot \hat k_j = q_i \cdot \hat k_{j-1} + q_i \cdot δ_j \ \ (i - j \ge W), \qquad
          q_i \cdot k_j \ \ (i - j < W)

The changes are those of `spikeframe.modules.delta_matrix`; a full key every `group` tokens bounds the drift. With
binary keys and a threshold below 1 changes are exact and scores those of dense attention; it pays while keys change
rarely (a feature drawn anew with probability f and rate p: while 2 f (1 - p) < 1). Above, a score is wrong by at most
θ times the query's spikes. Gradients pass through the held keys as if they were the keys. Reference: DeltaLLM 2025,
arXiv:2507.19608, of which the abstract alone was at hand: grouping and window are reconstructed.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from spikeframe.errors import ParameterError
from spikeframe.modules.attention.execute import check
from spikeframe.modules.attention.mixer import EventRun, Mixer, silenced
from spikeframe.modules.attention.operations import Operations, added, dense_twin, heads_of
from spikeframe.modules.attention.plans import block_count, cut, permitted
from spikeframe.modules.attention.scores import Score
from spikeframe.modules.changes import Changes, change_code
from spikeframe.modules.checks import whole


class DeltaKeys(Mixer):
    """Attention with keys as changes; causal.

    Args:
        theta: threshold of a change, from 0.
        group: tokens from one full key to the next.
        window: W, tokens whose scores are exact, the own one included; 0 has none.
        score: how pairs are weighted; overlap if not given.

    Raises:
        ParameterError: an argument is out of range, or softmax as score.
    """

    causal = True

    def __init__(self, theta: float = 0.5, group: int = 64, window: int = 8, score: Score | None = None) -> None:
        super().__init__()
        if isinstance(theta, bool) or not isinstance(theta, (int, float)) or not 0 <= theta < float("inf"):
            raise ParameterError(f"DeltaKeys(theta={theta!r}): must be a finite number from 0.")
        self.theta, self.group = float(theta), whole("DeltaKeys(group)", group)
        self.window = whole("DeltaKeys(window)", window, 0)
        self.score = Score() if score is None else score

    def changes(self, k: Tensor) -> Changes:
        """Return held keys and their changes, ``[..., tokens, d]``; a group starts from 0.

        Args:
            k: ``[..., tokens, d]``.
        """
        groups = cut(k, -2, (block_count(k.shape[-2], self.group), self.group)).movedim(-2, 0)
        coded, _ = change_code(groups, self.theta)
        return Changes(*(x.movedim(0, -2).flatten(-3, -2) for x in coded))

    def _far(self, q: Tensor) -> Tensor:
        """Return the pairs whose scores come from changes."""
        return permitted(q.shape[-2], True, device=q.device).tril(-self.window)

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None = None, state: Any = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Mix; there is no state."""
        check(q, k, v, valid)
        q, k, v = silenced(valid, q, k, v)
        exact, held = q @ k.transpose(-1, -2), q @ self.changes(k).held.transpose(-1, -2)
        far = self._far(q)
        overlap = exact.where(~far, held)
        return self.score.weights(overlap, permitted(q.shape[-2], True, valid, q.device)) @ v, None

    def events(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor | None = None, state: Any = None, valid: Tensor | None = None
    ) -> EventRun:
        """Mix with running sums over changes, and count them: changes outside the window, keys inside."""
        check(q, k, v, valid)
        q, k, v = silenced(valid, q.detach(), k.detach(), v.detach())
        delta = self.changes(k).delta
        far, near = self._far(q), permitted(q.shape[-2], True).triu(1 - self.window)
        sent = cut(q @ delta.transpose(-1, -2), -1, (-1, self.group)).cumsum(-1).flatten(-2)
        overlap = (q @ k.transpose(-1, -2)).where(~far, sent)
        weights = self.score.weights(overlap, permitted(q.shape[-2], True, valid))
        on, on_keys, on_changes = ((t != 0).double() for t in (q, k, delta))
        hits = int(((on @ on_changes.transpose(-1, -2)) * far).sum() + ((on @ on_keys.transpose(-1, -2)) * near).sum())
        entries = int(((weights != 0).double() @ (v != 0).double().sum(-1, keepdim=True)).sum())
        made = added(hits, q, delta) + added(entries, v)
        made = dense_twin(made, q.shape[-2], heads_of(q), q.shape[-1] + v.shape[-1], True)
        return EventRun(weights @ v, None, Operations(made))
