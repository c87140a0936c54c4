r"""Which patterns a mask may have, and the mask of a pattern with the largest saliency.

A structure is a view of a weight ``[targets, sources]`` (a convolution's is flattened behind its first axis) as
``[rows, units, entries]``: every row keeps the same number of units, those of the largest saliency (summed over their
entries), and a unit is kept or dropped as a whole.

==================  ==================  ======================  ========  ===================================
structure           rows                units of a row          entries   units kept per row
==================  ==================  ======================  ========  ===================================
``Unstructured()``  1                   all weights             1         round(density x weights)
``NM(n, m)``        groups of m inputs  the m weights           1         n, whatever the density
``ConstFanIn()``    targets             sources                 1         round(density x sources), at least 1
``Block(h, w)``     1                   blocks                  h w       round(density x blocks), at least 1
``Channel()``       1                   targets                 sources   round(density x targets), at least 1
==================  ==================  ======================  ========  ===================================

Selection is by rank, never by threshold, so counts are exact whatever the ties; equals go by the lower index.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from spikeframe.errors import NonFiniteError, ParameterError, ShapeError
from spikeframe.kernels.plasticity import number
from spikeframe.modules.checks import whole


def share(what: str, value: float) -> float:
    """Return a sparsity, or refuse it.

    Args:
        what: its name, for the message.
        value: part of the weights that is missing, from 0 to below 1.

    Raises:
        ParameterError, NonFiniteError: it is outside its range.
    """
    if not 0.0 <= number(what, value) < 1.0:
        raise ParameterError(f"{what}={value!r}: must be from 0 to below 1 (0.9 leaves a tenth of the weights).")
    return float(value)


def no_nan(what: str, values: Tensor) -> None:
    """Refuse NaN.

    Args:
        what: their name, for the message.
        values: scores of weights.

    Raises:
        NonFiniteError: one is NaN.
    """
    if bool(torch.isnan(values).any()):
        place = torch.isnan(values).nonzero()[0].tolist()
        raise NonFiniteError(
            f"{what} at {place} (target, source, ...) is NaN; look for NaN in weights, gradients or calibration input."
        )


@dataclass(frozen=True)
class Structure:
    """A pattern of masks; see the table above."""

    def units(self, values: Tensor) -> Tensor:
        """View a weight, or anything of its shape, as ``[rows, units, entries]``.

        Args:
            values: ``[targets, ...]``.

        Raises:
            ShapeError: the pattern's groups do not divide it.
        """
        raise NotImplementedError

    def whole(self, units: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return what `units` viewed.

        Args:
            units: ``[rows, units, entries]``.
            shape: of the weight.
        """
        raise NotImplementedError

    def kept(self, units: int, density: float) -> int:
        """Return how many of a row's units are kept.

        Args:
            units: of a row.
            density: part that is wanted, above 0 to 1.
        """
        return max(1, round(density * units))

    def mask(self, saliency: Tensor, density: float) -> Tensor:
        """Return the mask of the largest saliency.

        Args:
            saliency: of the weight's shape; minus infinity is kept last.
            density: part of the weights that is kept, above 0 to 1; N:M has its own.

        Returns:
            Bool, of the same shape.

        Raises:
            ParameterError: the density is outside its range.
            NonFiniteError: a saliency is NaN.
            ShapeError: groups do not divide the shape.
        """
        if not 0.0 < number("mask(density)", density) <= 1.0:
            raise ParameterError(f"mask(density={density!r}): must be above 0 to 1.")
        no_nan("saliency", saliency)
        scores = self.units(saliency).sum(-1)
        count = self.kept(scores.shape[1], density)
        best = torch.sort(scores, dim=1, descending=True, stable=True).indices[:, :count]
        chosen = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, best, True)
        entries = self.units(torch.empty(saliency.shape, device="meta")).shape[-1]
        return self.whole(chosen[:, :, None].expand(-1, -1, entries), tuple(saliency.shape))

    def groups(self, shape: tuple[int, ...]) -> Tensor:
        """Return the number of the unit that each weight belongs to, of the weight's shape.

        Args:
            shape: of the weight.
        """
        view = self.units(torch.empty(shape, device="meta"))
        numbers = torch.arange(view.shape[0] * view.shape[1]).reshape(view.shape[0], view.shape[1], 1)
        return self.whole(numbers.expand(view.shape), shape)

    def holds(self, mask: Tensor, density: float) -> bool:
        """Return whether a mask has exactly this pattern and density.

        Args:
            mask: bool, of the weight's shape.
            density: as it was asked for.
        """
        view = self.units(mask)
        whole_units = bool((view == view[:, :, :1]).all())
        return whole_units and bool((view[:, :, 0].sum(1) == self.kept(view.shape[1], density)).all())


@dataclass(frozen=True)
class Unstructured(Structure):
    """Any weights."""

    def units(self, values: Tensor) -> Tensor:
        """View as one row of single weights."""
        return values.reshape(1, -1, 1)

    def whole(self, units: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Undo `units`."""
        return units.reshape(shape)

    def kept(self, units: int, density: float) -> int:
        """Return the exact count."""
        return round(density * units)


@dataclass(frozen=True)
class NM(Structure):
    """N of every M consecutive inputs of each target, or consecutive targets of each input.

    Args:
        n: weights kept of a group.
        m: weights of a group.
        axis: ``"in"`` or ``"out"``: along which a group lies.

    Raises:
        ParameterError: not 1 <= n <= m, or another axis.
    """

    n: int
    m: int
    axis: str = "in"

    def __post_init__(self) -> None:
        if whole("NM(m)", self.m) < whole("NM(n)", self.n):
            raise ParameterError(f"NM(n={self.n}, m={self.m}): a group of m cannot keep more than m.")
        if self.axis not in ("in", "out"):
            raise ParameterError(f"NM(axis={self.axis!r}): accepted are 'in' and 'out'.")

    @property
    def density(self) -> float:
        """N / M."""
        return self.n / self.m

    def units(self, values: Tensor) -> Tensor:
        """View as groups of single weights."""
        flat = values.reshape(values.shape[0], -1)
        flat = flat if self.axis == "in" else flat.T
        _divides("NM", "inputs" if self.axis == "in" else "targets", flat.shape[1], self.m)
        return flat.reshape(-1, self.m, 1)

    def whole(self, units: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Undo `units`."""
        if self.axis == "in":
            return units.reshape(shape)
        return units.reshape(math.prod(shape[1:]), shape[0]).T.reshape(shape)

    def kept(self, units: int, density: float) -> int:
        """Return N."""
        return self.n


@dataclass(frozen=True)
class ConstFanIn(Structure):
    """Any weights, as many for each target."""

    def units(self, values: Tensor) -> Tensor:
        """View as one row per target."""
        return values.reshape(values.shape[0], -1, 1)

    def whole(self, units: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Undo `units`."""
        return units.reshape(shape)


@dataclass(frozen=True)
class Block(Structure):
    """Blocks of neighbouring targets and sources.

    Args:
        height: targets of a block.
        width: sources of a block.

    Raises:
        ParameterError: a side is no whole number from 1.
    """

    height: int
    width: int

    def __post_init__(self) -> None:
        whole("Block(height)", self.height)
        whole("Block(width)", self.width)

    def units(self, values: Tensor) -> Tensor:
        """View as one row of blocks."""
        flat = values.reshape(values.shape[0], -1)
        _divides("Block", "targets", flat.shape[0], self.height)
        _divides("Block", "inputs", flat.shape[1], self.width)
        tiles = flat.reshape(flat.shape[0] // self.height, self.height, flat.shape[1] // self.width, self.width)
        return tiles.permute(0, 2, 1, 3).reshape(1, -1, self.height * self.width)

    def whole(self, units: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Undo `units`."""
        rows, columns = shape[0] // self.height, math.prod(shape[1:]) // self.width
        return units.reshape(rows, columns, self.height, self.width).permute(0, 2, 1, 3).reshape(shape)


@dataclass(frozen=True)
class Channel(Structure):
    """Whole targets: all that leads into a neuron."""

    def units(self, values: Tensor) -> Tensor:
        """View as one row of targets."""
        return values.reshape(1, values.shape[0], -1)

    def whole(self, units: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Undo `units`."""
        return units.reshape(shape)


def _divides(kind: str, what: str, size: int, group: int) -> None:
    if size % group:
        more = -size % group
        pad = f"(0, {more})" if what == "inputs" else f"(0, 0, 0, {more})"
        raise ShapeError(
            f"{kind}: groups of {group} do not divide {size} {what}. Pad the weight with {more} more: "
            f"torch.nn.functional.pad(weight, {pad}), and give the layer as many silent {what}; or choose a group that "
            f"divides {size}."
        )
