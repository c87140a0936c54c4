r"""COMET: a gate of soft decision trees whose sparsity is exact and differentiable, and a search for a permutation.

Gates come from `spikeframe.modules.moe.scores.Tree`: at most as many experts as trees once nodes are decided, none of
it by top-k. The entropy of the paths, :math:`-\lambda \overline{v \log v}`, drives nodes to decide. Early in training
leaves are matched to experts: a soft permutation :math:`P = Sinkhorn(L / \tau)` becomes hard as τ falls, and is frozen;
meanwhile the loss has 1e-4 times the entropies of P and of P with rows made to sum to 1.
With scores of size ±0.05 the published τ (1e-3 to 1e-7) is hard from the first step; ours falls from 0.1 to 0.001.
Reference: Ibrahim et al. 2023 (KDD), arXiv:2306.02824.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from spikeframe.modules.checks import whole
from spikeframe.modules.moe.experts import Expert, experts_of
from spikeframe.modules.moe.layer import MoE
from spikeframe.modules.moe.losses import entropy
from spikeframe.modules.moe.router import Heard, Router, features
from spikeframe.modules.moe.schedules import Anneal
from spikeframe.modules.moe.scores import Tree
from spikeframe.modules.moe.selection import Threshold

#: Weight of the permutation's entropy in the loss.
PERMUTED = 1e-4


class PermutationSearch(nn.Module):
    """A permutation that is learned for some steps and then frozen.

    Args:
        size: n.
        steps: of the search.
        first: τ at the start.
        last: τ at the end.
    """

    def __init__(self, size: int, steps: int, first: float = 0.1, last: float = 1e-3) -> None:
        super().__init__()
        self.steps = whole("PermutationSearch(steps)", steps)
        self.temperature = Anneal(first, last, self.steps)
        self.logits = nn.Parameter(torch.empty(size, size).uniform_(-0.05, 0.05))

    def soft(self, step: int) -> Tensor:
        """Return the doubly stochastic matrix of a step."""
        m = self.logits / self.temperature(step)
        for _ in range(round(20 + 130 * min(step / self.steps, 1.0))):
            m = m - torch.logsumexp(m, 1, keepdim=True)
            m = m - torch.logsumexp(m, 0, keepdim=True)
        return m.exp()

    def hard(self) -> Tensor:
        """Return the permutation that the logits stand for."""
        rows, columns = linear_sum_assignment(-self.logits.detach().double().cpu().numpy())
        found = np.zeros(self.logits.shape, np.float32)
        found[rows, columns] = 1.0
        return torch.from_numpy(found).to(self.logits.device)

    def matrix(self, step: int, training: bool) -> Tensor:
        """Return the soft matrix while the search goes on in training, else the hard one."""
        return self.soft(step) if training and step < self.steps else self.hard()


class TreeRouter(Router):
    """A router by trees, with the entropy of their paths as a loss.

    Args:
        score: the trees.
        sure: λ.
        search: of the leaves' permutation, or None.
        options: of `Router`.
    """

    score: Tree

    def __init__(self, score: Tree, sure: float, search: PermutationSearch | None, **options: Any) -> None:
        super().__init__(score, Threshold(0.0), normalise="none", gain=1.0, **options)
        self.sure, self.search = float(sure), search

    def scored(self, x: Tensor, state: Any) -> Heard:
        """Return the gates of ``[T, B, ...]``, and the entropy of the paths."""
        active = x.detach().flatten(2).ne(0)
        traced, ready, state = self.tap(features(x), active.any(2), state)
        matrix = None if self.search is None else self.search.matrix(int(self.step), self.training)
        extra = {}
        if self.training:
            v = self.score.paths(traced[ready])
            extra["paths"] = self.sure * -(v * (v + 1e-6).log()).sum() / max(len(v), 1)
            if matrix is not None and matrix.requires_grad:  # while the search goes on
                both = torch.cat([matrix, matrix / matrix.sum(1, True)])
                both = both.clamp(min=torch.finfo(both.dtype).tiny)  # at 0 the gradient of an entropy is infinite
                extra["permutation"] = PERMUTED * entropy(both).sum()
        return Heard(self.score.gates(traced, matrix), ready, active.sum(2), state, extra)


def comet(
    inputs: int,
    outputs: int,
    *,
    experts: int | Sequence[Expert] = 8,
    trees: int = 2,
    gamma: float = 0.2,
    sure: float = 0.05,
    search: int | None = 100,
    seed: int = 0,
) -> MoE:
    """Return the layer.

    Args:
        inputs: features of a step.
        outputs: currents of a step.
        experts: how many linear ones, or a list of experts.
        trees: k.
        gamma: γ; about twice the spread of the nodes' scores, or nodes always or never decide.
        sure: λ, weight of the paths' entropy.
        search: steps of the search for a permutation, or None for no search.
        seed: of the router.
    """
    made = experts_of(experts, inputs, outputs)
    found = None if search is None else PermutationSearch(len(made), search)
    return MoE(TreeRouter(Tree(inputs, len(made), trees, gamma), sure, found, seed=seed), made)
