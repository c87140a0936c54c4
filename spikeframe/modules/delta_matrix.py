r"""Delta matrix: the keys of an attention head as thresholded changes from token to token.

.. math:: \hat k_j = \hat k_{j-1} + δ_j, \qquad q \cdot \hat k_j = q \cdot \hat k_{j-1} + q \cdot δ_j, \qquad
          |q \cdot k_j - q \cdot \hat k_j| \le \sum_d θ_d |q_d|

An entry of δ_j is sent where the key is further than θ from what was last sent, else 0: the scores of a query are the
running sum of its products with a sparse matrix. The held key moves only where an entry was sent, which is what bounds
the error. It is stored as a bitmap and the entries that are not 0. Reference: DeltaLLM, arXiv:2507.19608, whose body
was not available: the change code is that of Neil et al. 2017, arXiv:1612.05571.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from spikeframe.modules.changes import DeltaState, change_code
from spikeframe.modules.checks import sequence, threshold


@dataclass(frozen=True, eq=False)
class DeltaMatrix:
    """Keys as changes, compressed without loss.

    Attributes:
        values: ``[entries]`` those that are not 0, in order of the bitmap.
        bitmap: ``[..., tokens, d]`` where they stand.
    """

    values: Tensor
    bitmap: Tensor

    @property
    def sparsity(self) -> float:
        """Share of zero entries."""
        return 1.0 - len(self.values) / max(self.bitmap.numel(), 1)

    def words(self, bits: int = 16) -> float:
        """Return the memory taken, in words of a key's entry.

        Args:
            bits: per word.
        """
        return len(self.values) + self.bitmap.numel() / bits

    def dense(self) -> Tensor:
        """Return the changes ``[..., tokens, d]``."""
        return self.values.new_zeros(self.bitmap.shape).masked_scatter(self.bitmap, self.values)

    def keys(self) -> Tensor:
        """Return the held keys ``[..., tokens, d]``, within the threshold of the true ones."""
        return self.dense().cumsum(-2)

    def scores(self, query: Tensor) -> Tensor:
        """Return scores ``[..., queries, tokens]``: products with the changes, summed up along the tokens.

        Args:
            query: ``[..., queries, d]``.
        """
        return (query @ self.dense().transpose(-1, -2)).cumsum(-1)


def delta_matrix(keys: Tensor, theta: Any, state: DeltaState | None = None) -> tuple[DeltaMatrix, DeltaState]:
    """Code keys as changes along the tokens.

    Args:
        keys: ``[..., tokens, d]``, at least three axes (heads, tokens, d).
        theta: threshold, a number or an array that broadcasts to ``[..., d]``, e.g. ``[heads, 1]``.
        state: state after earlier tokens, or None: the first token is coded against 0.

    Returns:
        The matrix of these tokens, and the state to go on from.

    Raises:
        NonFiniteError, ParameterError, DTypeError, ShapeError: keys, threshold or state are not usable.
    """
    tokens_first = sequence("delta_matrix", keys, 3).movedim(-2, 0)
    limit = threshold("delta_matrix(theta)", theta, tuple(tokens_first.shape[1:]))
    changes, after = change_code(tokens_first, limit, state)
    delta = changes.delta.detach().movedim(0, -2)
    return DeltaMatrix(delta[delta != 0], delta != 0), after
