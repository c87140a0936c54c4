r"""Similarity-aware routing: like rows are routed alike, because they share their probabilities before selection.

.. math:: p_t = \sum_{j} S_{tj} \, softmax(s_j), \qquad S_{tj} \propto e^{-|s_t - s_j|^2 / 2 h^2}, \quad t - W < j \le t

over the last W rows with input of the same sample, so routing stays causal; likeness is that of the scores, E numbers
the router has anyway. Decisions flip less; the entropy of p does not fall, it rises (p is a mixture). Reference: Nguyen
et al. 2025, arXiv:2505.00792, who mix over the whole sequence (the equations are reconstructed).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spikeframe.core.counts import Counts
from spikeframe.modules.checks import positive, whole
from spikeframe.modules.moe.balance import SwitchLoss
from spikeframe.modules.moe.experts import Expert, experts_of
from spikeframe.modules.moe.layer import MoE
from spikeframe.modules.moe.router import Heard, Router
from spikeframe.modules.moe.scores import Linear
from spikeframe.modules.moe.selection import TopK


class SimilarState(NamedTuple):
    """State of the router.

    Attributes:
        tap: of the tap.
        scores: ``[W - 1, B, E]`` of the last steps.
        heard: ``[W - 1, B]`` whether they had input.
    """

    tap: Any
    scores: Tensor
    heard: Tensor


def similarity(scores: Tensor, heard: Tensor, width: float, window: int) -> Tensor:
    """Return S over the window of every step, the oldest first; rows sum to 1.

    Args:
        scores: ``[W - 1 + T, B, E]``, the past in front.
        heard: ``[W - 1 + T, B]``; steps without input have no share.
        width: h.
        window: W.

    Returns:
        ``[T, B, W]``; 0 in rows without input.
    """
    past = scores.unfold(0, window, 1)  # [T, B, E, W]
    distance = (past - past[..., -1:]).square().sum(2)
    logits = (-distance / (2.0 * width * width)).masked_fill(~heard.unfold(0, window, 1), -torch.inf)
    return torch.nan_to_num(torch.softmax(logits, -1))


class SimilarRouter(Router):
    """A router that mixes probabilities over the last rows.

    Args:
        width: h, of the similarity of scores (times gain).
        window: W, steps.
        options: of `Router`.
    """

    def __init__(self, *args: Any, width: float, window: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self.width, self.window = positive("similarity(width)", width), whole("similarity(window)", window)

    def mixed(self, heard: Heard, state: SimilarState | None) -> Heard:
        """Return probabilities of a run, mixed over the window, in place of its scores."""
        past = self.window - 1
        if state is None:
            scores, ears = (
                heard.scores.new_zeros(past, *heard.scores.shape[1:]),
                heard.ready.new_zeros(past, heard.ready.shape[1]),
            )
        else:
            scores, ears = state.scores, state.heard
        scores = torch.cat([scores, self.gain * heard.scores])
        ears = torch.cat([ears, heard.ready])
        share = similarity(scores, ears, self.width, self.window)
        probs = torch.softmax(scores, -1).unfold(0, self.window, 1)
        after = SimilarState(heard.state, scores[len(scores) - past :], ears[len(ears) - past :])
        return heard._replace(scores=torch.einsum("tbew,tbw->tbe", probs, share), state=after)

    def tap_state(self, state: SimilarState | None) -> Any:
        """Return the part of the state that is the tap's."""
        return None if state is None else state.tap

    def cost(self, rows: int) -> Counts:
        """Return what mixing costs: a distance, an exponential and a sum over experts per row of the window."""
        pairs = rows * self.window
        return Counts(neu_mac=pairs * (2 * self.experts + 1), neu_exp=pairs, neu_ac=pairs * self.experts)

    def rows(self, scores: Tensor) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Decide for rows with input."""
        mask = self.select(self.ranked(scores), scores, self.training)
        return mask, self.weights(scores, mask), scores, {}


def similarity_aware(
    inputs: int,
    outputs: int,
    *,
    experts: int | Sequence[Expert] = 8,
    k: int = 2,
    width: float = 1.0,
    window: int = 8,
    alpha: float = 0.01,
    seed: int = 0,
) -> MoE:
    """Return the layer.

    Args:
        inputs: features of a step.
        outputs: currents of a step.
        experts: how many linear ones, or a list of experts.
        k: selected per row.
        width: h; a large one shares evenly.
        window: W.
        alpha: weight of the balance loss.
        seed: of the router.
    """
    made = experts_of(experts, inputs, outputs)
    router = SimilarRouter(
        Linear(inputs, len(made)),
        TopK(k, renormalise=k > 1),
        width=width,
        window=window,
        balance=SwitchLoss(alpha),
        seed=seed,
    )
    return MoE(router, made)
