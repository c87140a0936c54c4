"""Plans: which keys each query reads. Every plan becomes a mask; causality and validity are added by who runs it.

A plan is expressed in blocks of neighbouring queries and keys (of one token, if need be), possibly after the tokens
were put in another order; or it is one subset of the tokens on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spikeframe.errors import ShapeError


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks of keys per block of queries.

    Attributes:
        chosen: ``[..., tokens / rows, tokens / columns]`` bool.
        rows: queries in a block.
        columns: keys in a block.
        order: ``[tokens]`` token that stands at each place when blocks are cut; None leaves the order.
    """

    chosen: Tensor
    rows: int
    columns: int
    order: Tensor | None = None

    def mask(self) -> Tensor:
        """Return ``[..., tokens, tokens]`` bool in the tokens' own order."""
        full = self.chosen.repeat_interleave(self.rows, -2).repeat_interleave(self.columns, -1)
        if self.order is None:
            return full
        back = inverse(self.order)
        return full[..., back[:, None], back]

    def words(self) -> int:
        """Numbers that store it: one per chosen block."""
        return int(self.chosen.sum())


@dataclass(frozen=True, eq=False)
class Subset:
    """The same tokens as queries and as keys; all others stay silent.

    Attributes:
        kept: ``[..., tokens]`` bool.
    """

    kept: Tensor

    def mask(self) -> Tensor:
        """Return ``[..., tokens, tokens]`` bool."""
        return self.kept.unsqueeze(-1) & self.kept.unsqueeze(-2)

    def words(self) -> int:
        """Numbers that store it: one per token kept."""
        return int(self.kept.sum())


Plan = Blocks | Subset


def cut(x: Tensor, axis: int, sizes: tuple[int, ...]) -> Tensor:
    """Return a view with one axis cut into several (`torch.Tensor.unflatten`, typed).

    Args:
        x: any tensor.
        axis: which.
        sizes: of the axes it becomes; one may be -1.
    """
    found: Tensor = x.unflatten(axis, sizes)  # type: ignore[no-untyped-call]
    return found


def everything(tokens: int, device: torch.device | None = None) -> Blocks:
    """Return the plan of all pairs.

    Args:
        tokens: how many.
        device: where they are.
    """
    return Blocks(torch.ones(1, 1, dtype=torch.bool, device=device), tokens, tokens)


def block_count(tokens: int, size: int) -> int:
    """Return how many blocks tokens make.

    Args:
        tokens: how many.
        size: tokens in a block.

    Raises:
        ShapeError: blocks do not divide the tokens.
    """
    if tokens % size:
        raise ShapeError(
            f"{tokens} tokens do not divide into blocks of {size}: append {-tokens % size} silent tokens with "
            f"spikeframe.modules.attention.pad(x, {size}), or take another block size."
        )
    return tokens // size


def pad(x: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Append silent tokens until blocks divide them.

    Args:
        x: ``[..., tokens, features]``.
        size: tokens in a block.

    Returns:
        ``[..., more tokens, features]``, and ``[more tokens]`` bool: those that are tokens, for ``valid``.
    """
    more = -x.shape[-2] % size
    valid = torch.arange(x.shape[-2] + more, device=x.device) < x.shape[-2]
    return torch.cat([x, x.new_zeros(*x.shape[:-2], more, x.shape[-1])], -2), valid


def inverse(order: Tensor) -> Tensor:
    """Return the place of every token.

    Args:
        order: ``[tokens]`` token at every place.
    """
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order), device=order.device)
    return back


def cuboids(grid: tuple[int, ...], size: tuple[int, ...]) -> Tensor:
    """Return an order in which the tokens of every cuboid of a grid stand side by side.

    Args:
        grid: sides of the grid, e.g. (rows, columns) or (time, rows, columns); the last runs fastest.
        size: sides of a cuboid.

    Returns:
        ``[tokens]`` token at every place.

    Raises:
        ShapeError: cuboids do not divide the grid.
    """
    if len(grid) != len(size) or any(s < 1 or n % s for n, s in zip(grid, size, strict=False)):
        raise ShapeError(f"cuboids of {size} do not divide a grid of {grid}: pad the grid with silent tokens.")
    parts = [n for side, s in zip(grid, size, strict=True) for n in (side // s, s)]
    axes = len(grid)
    numbers = torch.arange(torch.Size(grid).numel()).view(parts)
    return numbers.permute(*range(0, 2 * axes, 2), *range(1, 2 * axes, 2)).reshape(-1)


def permitted(tokens: int, causal: bool, valid: Tensor | None = None, device: torch.device | None = None) -> Tensor:
    """Return the pairs that any plan may use.

    Args:
        tokens: how many.
        causal: whether a token reads itself and earlier ones only.
        valid: ``[..., tokens]`` bool, or None.
        device: where they are.

    Returns:
        ``[..., tokens, tokens]`` bool, with an axis for heads if valid has leading axes.
    """
    mask = torch.ones(tokens, tokens, dtype=torch.bool, device=device)
    mask = mask.tril() if causal else mask
    if valid is None:
        return mask
    both = mask & valid.unsqueeze(-1) & valid.unsqueeze(-2)
    return both.unsqueeze(-3) if valid.ndim > 1 else both
