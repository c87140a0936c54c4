"""A classifier of event recordings: tokens are patches of event frames or stretches of time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from spikeframe.core.counts import Counts
from spikeframe.errors import ShapeError
from spikeframe.modules.attention.block import Block, Project, neuron
from spikeframe.modules.attention.block_events import EventDrivenBlock
from spikeframe.modules.attention.mixer import Mixer
from spikeframe.modules.attention.operations import Operations
from spikeframe.modules.attention.plans import cut
from spikeframe.modules.attention.recipes import Layer
from spikeframe.modules.checks import whole


def patches(frames: Tensor, side: int) -> Tensor:
    """Cut event frames into patches, one token each, row by row.

    Args:
        frames: ``[T, B, P, H, W]``; sides that the patch does not divide are padded with silence at the end.
        side: of a patch.

    Returns:
        ``[T, B, tokens, P * side * side]``.

    Raises:
        ShapeError: frames have other axes.
    """
    whole("patches(side)", side)
    if frames.ndim != 5:
        raise ShapeError(f"patches: frames have shape {tuple(frames.shape)}; they must be [T, B, P, H, W].")
    padded = nn.functional.pad(frames, (0, -frames.shape[-1] % side, 0, -frames.shape[-2] % side))
    parts = cut(cut(padded, -1, (-1, side)), -3, (-1, side))  # [T, B, P, rows, side, columns, side]
    return parts.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(2, 3)


def time_tokens(x: Tensor, steps: int) -> Tensor:
    """Cut a recording into stretches of time, one token each; a token's neurons run over the steps inside it.

    Args:
        x: ``[bins, B, ...]``; bins that steps do not divide are padded with silence at the end.
        steps: bins in a token.

    Returns:
        ``[steps, B, bins / steps, features]``.
    """
    whole("time_tokens(steps)", steps)
    flat = x.flatten(2)
    more = -len(flat) % steps
    flat = torch.cat([flat, flat.new_zeros(more, *flat.shape[1:])])
    return cut(flat, 0, (-1, steps)).permute(1, 2, 0, 3)


class Classifier(nn.Module):
    """Embedding, learnt places, blocks, and a readout of the mean spikes; called as ``logits = net(x)``.

    Args:
        inputs: features of a token.
        classes: how many.
        layer: width, heads and tokens of the blocks.
        mixer: makes the mixer of each block from its `Layer`, e.g. ``lambda layer: recipe("ssa", layer)``.
        depth: blocks.
    """

    def __init__(
        self, inputs: int, classes: int, layer: Layer, mixer: Callable[[Layer], Mixer], depth: int = 1
    ) -> None:
        super().__init__()
        self.embed = Project(inputs, layer.width)
        self.place = nn.Parameter(torch.randn(layer.tokens, layer.width))
        numbered = [Layer(**{**vars(layer), "number": n}) for n in range(whole("Classifier(depth)", depth))]
        self.blocks = nn.ModuleList(Block(layer.width, layer.heads, mixer(one)) for one in numbered)
        self.last = neuron()
        self.read = nn.Linear(layer.width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``[B, classes]``.

        Args:
            x: ``[T, B, tokens, inputs]``.

        Raises:
            ShapeError, DTypeError, NonFiniteError: x does not fit.
        """
        return self.run(x, list(self.blocks))

    def run(self, x: Tensor, blocks: list[Any]) -> Tensor:
        """Return logits ``[B, classes]`` with the blocks as they are given: these, or their event-driven runs.

        Args:
            x: ``[T, B, tokens, inputs]``.
            blocks: one callable per block.

        Raises:
            ShapeError: x does not fit.
        """
        wanted = (len(self.place), self.embed.linear.in_features)
        if x.ndim != 4 or tuple(x.shape[2:]) != wanted:
            raise ShapeError(f"Classifier: x has shape {tuple(x.shape)}; it must be [T, B, {wanted[0]}, {wanted[1]}].")
        x = self.embed(x) + self.place
        for block in blocks:
            x, _ = block(x)
        spikes, _ = self.last(x)
        logits: Tensor = self.read(spikes.mean((0, 2)))
        return logits

    def loss(self, x: Tensor) -> Tensor:
        """Return the sum of the mixers' own losses.

        Args:
            x: ``[T, B, tokens, inputs]``.
        """
        with torch.no_grad():
            x = self.embed(x) + self.place
        total = x.new_zeros(())
        for block in self.blocks:
            total = total + cast("Block", block).loss(x)
            with torch.no_grad():
                x, _ = block(x)
        return total

    @torch.no_grad()
    def on_events(self, x: Tensor) -> tuple[Tensor, dict[str, Counts], Operations]:
        """Run the blocks on events.

        Args:
            x: ``[T, B, tokens, inputs]``.

        Returns:
            Logits; operations by part (``embed`` excluded: it is the same for all mixers); the mixers' operations.
        """
        runs = [EventDrivenBlock(cast("Block", block)) for block in self.blocks]
        logits = self.run(x, runs)
        counts = {f"block {n}": run.counts for n, run in enumerate(runs)}
        return logits, counts, sum((run.operations for run in runs), Operations())
