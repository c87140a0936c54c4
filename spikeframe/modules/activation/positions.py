r"""The same places of an image for all channels: whole columns of a convolution's matrix are left out.

One map of scores at the input's resolution is averaged to each layer's; the ``round(s H W)`` places of the lowest score
are 0 in all channels and samples, so the layer behind reads that many places less. Scores are drawn, and drawn again
at every sparse step, or given, e.g. how many events a camera's pixel sends. The sparsity rises as ``s (1 - (1 -
t / freeze)^2)`` to step `freeze`, dense and sparse steps alternate until then; from there on the map stays.
Reference: Grimaldi et al. 2023, arXiv:2309.06626 (paper 152; s from 0.1 to 0.3).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeframe.errors import ParameterError, ShapeError
from spikeframe.learning_rules.rewiring import drawing
from spikeframe.modules.checks import whole
from spikeframe.modules.sparsity.schedules import Polynomial
from spikeframe.modules.sparsity.structure import share

#: First random stream of maps.
_MAPS = 2**61


class Positions:
    """A map of places at one resolution, shared by the gates of a network.

    Args:
        size: (H, W) of the input.
        sparsity: s, part of the places that is left out in the end.
        freeze: step from which on the map stays, from 1.
        scores: ``[H, W]``, higher is kept; drawn if not given.
        seed: of what is drawn.

    Attributes:
        step: counted by `advance`.

    Raises:
        ParameterError, NonFiniteError: a number outside its range.
        ShapeError: scores of another size.
    """

    def __init__(
        self, size: tuple[int, int], sparsity: float, freeze: int = 1, scores: Tensor | None = None, seed: int = 0
    ) -> None:
        self.size, self.sparsity = size, share("Positions(sparsity)", sparsity)
        self.freeze, self.seed, self.step, self.given = whole("Positions(freeze)", freeze), seed, 0, scores is not None
        if scores is not None and tuple(scores.shape) != size:
            raise ShapeError(f"Positions(scores) has shape {tuple(scores.shape)}; the input is {size}.")
        self.rises = Polynomial(0.0, sparsity, 0, freeze, 2.0)
        self.scores = self._drawn(0) if scores is None else scores.float()

    def _drawn(self, step: int) -> Tensor:
        return torch.from_numpy(drawing(self.seed, _MAPS + step).random(self.size, "float32"))

    def advance(self) -> None:
        """Count a training step; before `freeze`, every other one has a new map and the ones between are dense."""
        self.step += 1
        if not self.given and self.step < self.freeze and self.step % 2 == 1:
            self.scores = self._drawn(self.step)

    @property
    def now(self) -> float:
        """Sparsity at this step."""
        if self.step >= self.freeze:
            return self.sparsity
        return self.rises(self.step) if self.step % 2 == 1 else 0.0

    def mask(self, height: int, width: int) -> Tensor:
        """Return the map at a resolution, bool ``[height, width]``, with exactly ``round(s height width)`` places off.

        Args:
            height: of the layer.
            width: of the layer.

        Raises:
            ParameterError: a size above the input's.
        """
        if height > self.size[0] or width > self.size[1]:
            raise ParameterError(f"Positions of {self.size}: a layer of {(height, width)} is larger than the input.")
        pooled = functional.adaptive_avg_pool2d(self.scores[None], (height, width)).flatten()
        off = torch.sort(pooled, stable=True).indices[: round(self.now * pooled.numel())]
        found = torch.ones_like(pooled, dtype=torch.bool)
        found[off] = False
        return found.reshape(height, width)


class PositionGate(nn.Module):
    """Leaves out a map's places, in all channels alike.

    Args:
        positions: the map.
    """

    def __init__(self, positions: Positions) -> None:
        super().__init__()
        self.positions = positions

    def forward(self, x: Tensor) -> Tensor:
        """Return what is kept.

        Args:
            x: ``[..., C, H, W]``.
        """
        return x * self.positions.mask(int(x.shape[-2]), int(x.shape[-1])).to(x)
