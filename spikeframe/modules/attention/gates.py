r"""Output gates and local branches: what acts on an attention's membrane before it spikes.

A sigmoid gate multiplies the membrane of a token and head by :math:`σ(x_i W_g)`, x the layer's input: a gain on the
firing threshold, and spikes stay spikes. A spike gate lets it through or not, and what is not let through need not be
read. Reference: Qiu et al. 2025, arXiv:2505.06708 (gate after attention, per head); Zhu et al. 2023 (BiFormer),
arXiv:2303.08810, for the local convolution of values.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spikeframe.core.counts import Counts
from spikeframe.errors import ShapeError
from spikeframe.modules.attention.operations import added
from spikeframe.modules.attention.plans import cut
from spikeframe.modules.attention.scores import fire


class SigmoidGate(nn.Module):
    """Sigmoid of a linear map of the layer's input, per head, or per head and feature.

    Args:
        width: features of the layer's input.
        heads: how many.
        features: of a head's output for a gate per feature; 1 for one per head.
        branches: gates per head, for as many mixers side by side.
    """

    def __init__(self, width: int, heads: int, features: int = 1, branches: int = 1) -> None:
        super().__init__()
        self.shape = (branches, heads, features)
        self.map = nn.Linear(width, branches * heads * features)

    def membrane(self, x: Tensor | None) -> Tensor:
        """Return what the gate is a function of, ``[branches, ..., heads, tokens, features]``.

        Args:
            x: ``[..., tokens, width]`` the layer's input.

        Raises:
            ShapeError: it was not given, or does not fit.
        """
        if x is None or x.shape[-1] != self.map.in_features:
            got = None if x is None else tuple(x.shape)
            raise ShapeError(f"gate: x is {got}; give the layer's input [..., tokens, {self.map.in_features}] as x=.")
        found = cut(self.map(x), -1, self.shape)  # [..., tokens, branches, heads, features]
        return found.movedim(-3, 0).transpose(-2, -3)

    def forward(self, x: Tensor | None) -> Tensor:
        """Return the gate, ``[branches, ..., heads, tokens, features]``."""
        return torch.sigmoid(self.membrane(x))

    def operations(self, x: Tensor, out: Tensor) -> Counts:
        """Count the map, the sigmoid and the products.

        Args:
            x: ``[..., tokens, width]``.
            out: what is gated.
        """
        each = self.map.out_features
        tokens = x.numel() // max(x.shape[-1], 1)
        made = added(int(x.count_nonzero()) * each, x) + Counts(syn_mac=int(out.count_nonzero()))
        return made + Counts(bias_ac=tokens * each, neu_exp=tokens * each)


class SpikeGate(SigmoidGate):
    """A gate of spikes: 1 where the linear map is at least 0."""

    def forward(self, x: Tensor | None) -> Tensor:
        """Return the gate, 0 or 1."""
        return fire(self.membrane(x))

    def operations(self, x: Tensor, out: Tensor) -> Counts:
        """Count the map and comparisons."""
        each = self.map.out_features
        tokens = x.numel() // max(x.shape[-1], 1)
        return added(int(x.count_nonzero()) * each, x) + Counts(bias_ac=tokens * each, neu_cmp=tokens * each)


class LocalConv(nn.Module):
    """Depthwise convolution of values over the tokens' grid, added to the membrane.

    Args:
        channels: heads times features of a value.
        grid: (rows, columns) of the tokens; (tokens,) for a causal convolution along them.
        size: taps along each side, odd in two dimensions.
    """

    def __init__(self, channels: int, grid: tuple[int, ...], size: int = 5) -> None:
        super().__init__()
        self.grid, self.size = tuple(grid), size
        conv = nn.Conv1d if len(self.grid) == 1 else nn.Conv2d
        padding = size - 1 if len(self.grid) == 1 else size // 2
        self.conv = conv(channels, channels, size, padding=padding, groups=channels, bias=False)

    def forward(self, v: Tensor) -> Tensor:
        """Return ``[..., heads, tokens, e]``.

        Args:
            v: ``[..., heads, tokens, e]``.

        Raises:
            ShapeError: the tokens do not fill the grid.
        """
        heads, tokens, features = v.shape[-3:]
        if tokens != torch.Size(self.grid).numel() and len(self.grid) == 2:
            raise ShapeError(f"LocalConv: {tokens} tokens for a grid of {self.grid}.")
        if v.numel() == 0:
            return v
        flat = v.transpose(-1, -2).reshape(
            v.shape[:-3].numel(), heads * features, *(self.grid if len(self.grid) == 2 else (tokens,))
        )
        out = self.conv(flat)[..., :tokens] if len(self.grid) == 1 else self.conv(flat)
        found: Tensor = out.reshape(*v.shape[:-3], heads, features, tokens).transpose(-1, -2)
        return found

    def operations(self, v: Tensor) -> Counts:
        """Count what active values cause: one per output that they reach."""
        tokens = v.shape[-2]
        if len(self.grid) == 1:
            reached = (tokens - torch.arange(tokens, device=v.device)).clamp(max=self.size)
        else:
            half = self.size // 2
            places = (torch.arange(n, device=v.device) for n in self.grid)
            sides = [(at + half).clamp(max=len(at) - 1) - (at - half).clamp(min=0) + 1 for at in places]
            reached = (sides[0][:, None] * sides[1]).flatten()
        return added(int(((v != 0).sum(-1) * reached).sum()), v)
