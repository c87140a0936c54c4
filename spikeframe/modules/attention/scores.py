r"""Scores: how the overlap of a query and a key becomes the weight of the pair, in place of softmax.

.. math:: x_{ij} = q_i \cdot k_j, \qquad o_i = s \sum_j A(x_{ij}) \, v_j

===========  ====================================  ==========================================================
kind         A                                     note
===========  ====================================  ==========================================================
overlap      x                                     sums over blocks are exact; equals s q (K^T V)
coincidence  1 where x >= θ, else 0                real sparsity of pairs; gradient 1 / (1 + (π (x - θ))^2)
rectified    max(x - θ + 1, 0)                     its graded form
share        x / sum_j x                           where a method speaks of probabilities; 0 in a silent row
softmax      softmax_j(s x)                        of non-spiking attention; reference only, no event-driven form
===========  ====================================  ==========================================================

θ is a whole number of common spikes, from 1 (default 2): a silent query or key weighs nothing in all but softmax.
Scales are powers of two by default, so results stay exact. Reference: Zhou et al. 2023 (Spikformer), arXiv:2209.15425,
for overlap; the others follow from it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from spikeframe.errors import UnsupportedLayerError, unknown_name
from spikeframe.kernels.attention import KINDS
from spikeframe.modules.checks import positive, whole


class _Fire(torch.autograd.Function):
    """Whether a number is at least 0; backward 1 / (1 + (pi u)^2)."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (u,) = ctx.saved_tensors
        gradient: Tensor = gradients[0] / (1.0 + (math.pi * u) ** 2)
        return gradient


def fire(u: Tensor) -> Tensor:
    """Return 1 where u >= 0, else 0, with the surrogate gradient of the arctangent.

    Args:
        u: distance to threshold, any shape.
    """
    z: Tensor = _Fire.apply(u)  # type: ignore[no-untyped-call]
    return z


class Score:
    """A kind of score with its scale and threshold.

    Args:
        kind: one of the table above.
        scale: s, above 0; 0.25 if not given (0.5 for coincidence, 1 for share).
        theta: θ of coincidence and rectified, from 1.

    Raises:
        UnknownNameError: there is no such kind.
        ParameterError, NonFiniteError, DTypeError: scale or theta is out of range.
    """

    def __init__(self, kind: str = "overlap", scale: float | None = None, theta: int = 2) -> None:
        if kind not in (*KINDS, "softmax"):
            raise unknown_name("score", kind, (*KINDS, "softmax"))
        self.kind = kind
        usual = {"coincidence": 0.5, "share": 1.0}.get(kind, 0.25)
        self.scale = usual if scale is None else positive("Score(scale)", scale)
        self.theta = whole("Score(theta)", theta)

    @property
    def number(self) -> int:
        """Number of the kind in the kernels.

        Raises:
            UnsupportedLayerError: softmax, where silent pairs weigh something too.
        """
        if self.kind not in KINDS:
            raise UnsupportedLayerError(
                f"score {self.kind!r} has no event-driven form, as a pair without a common spike has a weight too; "
                f"use one of {', '.join(KINDS)}."
            )
        return KINDS.index(self.kind)

    def weights(self, overlap: Tensor, mask: Tensor) -> Tensor:
        """Return the weights of pairs.

        Args:
            overlap: ``[..., queries, keys]``.
            mask: bool, broadcasts to it: pairs that are there.
        """
        x = torch.where(mask, overlap, 0.0)
        if self.kind == "coincidence":
            return torch.where(mask, self.scale * fire(x - self.theta), 0.0)
        if self.kind == "rectified":
            return self.scale * torch.relu(x - self.theta + 1.0)
        if self.kind == "share":
            total = x.sum(-1, keepdim=True)
            return self.scale * torch.where(total > 0, x / torch.where(total > 0, total, 1.0), 0.0)
        if self.kind == "softmax":
            logits = (self.scale * overlap).masked_fill(~mask, -math.inf)
            return torch.softmax(logits.masked_fill(~mask.any(-1, keepdim=True), 0.0), -1) * mask
        return self.scale * x

    def __repr__(self) -> str:
        threshold = f", theta={self.theta}" if self.kind in ("coincidence", "rectified") else ""
        return f"Score({self.kind!r}, scale={self.scale:g}{threshold})"
