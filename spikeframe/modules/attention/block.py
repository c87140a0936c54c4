r"""A spiking transformer block around any token mixer, and a classifier of events made of such blocks.

.. math::

    s = \mathrm{LIF}(x), \quad q, k, v = \mathrm{LIF}(\mathrm{BN}(W s)), \quad
    x \leftarrow x + \mathrm{BN}(W_o \,\mathrm{LIF}_{0.5}(\mathrm{mix}(q, k, v))), \quad
    x \leftarrow x + \mathrm{BN}(W_2 \,\mathrm{LIF}(\mathrm{BN}(W_1 \,\mathrm{LIF}(x))))

The residual x carries membranes, and every linear map sees spikes. Neurons have a time constant of two steps and reset
to 0. `Block.event_driven` gives the run that works through active spikes only and counts what it does.
Reference: Yao et al. 2023 (membrane shortcut), arXiv:2307.01694; Zhou et al. 2023 (Spikformer), arXiv:2209.15425.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from spikeframe.errors import ParameterError, ShapeError
from spikeframe.modules.attention.block_events import EventDrivenBlock
from spikeframe.modules.attention.mixer import Mixer
from spikeframe.modules.attention.plans import cut
from spikeframe.modules.checks import sequence, whole
from spikeframe.neurons import LIF


def neuron(v_th: float = 1.0) -> LIF:
    """Return the neuron of the blocks.

    Args:
        v_th: threshold.
    """
    return LIF(tau_m=2.0, v_th=v_th, dt=1.0, reset="value", detach_reset=True)


class Project(nn.Module):
    """Linear map without bias and a normalisation over features, on ``[T, B, tokens, features]``.

    Args:
        inputs: how many.
        outputs: how many.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map and normalise."""
        return self.normed(self.linear(x))

    def normed(self, y: Tensor) -> Tensor:
        """Normalise what the linear map gave.

        Args:
            y: ``[..., outputs]``.
        """
        found: Tensor = self.norm(y.flatten(0, -2)).view(y.shape) if y.numel() else y
        return found


class Block(nn.Module):
    """One block, called as ``out, state = block(x, state)``; causal over tokens if its mixer is, and over steps.

    Args:
        width: D.
        heads: that divide it.
        mixer: of the tokens.
        hidden: width of the second half; 2 D if not given.

    Raises:
        ParameterError: heads do not divide the width.
    """

    def __init__(self, width: int, heads: int, mixer: Mixer, hidden: int | None = None) -> None:
        super().__init__()
        if width % whole("Block(heads)", heads):
            raise ParameterError(f"Block(width={width}, heads={heads}): heads must divide the width.")
        hidden = 2 * width if hidden is None else whole("Block(hidden)", hidden)
        self.width, self.heads, self.mixer = width, heads, mixer
        self.qkv, self.out = Project(width, 3 * width), Project(width, width)
        self.up, self.down = Project(width, hidden), Project(hidden, width)
        self.neurons = nn.ModuleDict(
            {"in": neuron(), "qkv": neuron(), "mixed": neuron(0.5), "up": neuron(), "down": neuron()}
        )

    def forward(
        self, x: Tensor, state: dict[str, Any] | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Run over steps.

        Args:
            x: ``[T, B, tokens, width]`` membranes.
            state: of an earlier call, or None.
            valid: ``[B, tokens]`` bool, tokens that are there; None if all are.

        Returns:
            ``[T, B, tokens, width]``, and the state.

        Raises:
            ShapeError, DTypeError, NonFiniteError: x is not usable.
        """
        self.check(x)
        out, after, _ = self.run(x, state, valid, self.dense_map, self.mix)
        return out, after

    def check(self, x: Tensor) -> None:
        """Refuse an input that is not usable.

        Args:
            x: ``[T, B, tokens, width]``.

        Raises:
            ShapeError, DTypeError, NonFiniteError: it is none.
        """
        sequence("Block", x, 4, self.width)
        if x.ndim != 4:
            raise ShapeError(f"Block: input has shape {tuple(x.shape)}; it must be [T, B, tokens, {self.width}].")

    @staticmethod
    def dense_map(name: str, layer: Project, spikes: Tensor) -> Tensor:
        """Map spikes, all of them."""
        found: Tensor = layer(spikes)
        return found

    def mix(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, state: Any, valid: Tensor | None
    ) -> tuple[Tensor, Any]:  # fmt: skip
        """Mix tokens."""
        found: tuple[Tensor, Any] = self.mixer(q, k, v, x, state, valid)
        return found

    def run(
        self, x: Tensor, state: dict[str, Any] | None, valid: Tensor | None, project: Callable[..., Tensor],
        mix: Callable[..., tuple[Tensor, Any]],
    ) -> tuple[Tensor, dict[str, Any], dict[str, Tensor]]:  # fmt: skip
        """Run over steps, with the linear maps and the mixer as they are given.

        Args:
            x: ``[T, B, tokens, width]``.
            state: of an earlier call, or None.
            valid: ``[B, tokens]`` bool, or None.
            project: called with name, layer and spikes.
            mix: called with q, k, v, spikes, state and valid.

        Returns:
            Output, state, and the spikes of each population.
        """
        before = {} if state is None else state
        after: dict[str, Any] = {}
        spikes: dict[str, Tensor] = {}

        def fire(name: str, current: Tensor) -> Tensor:
            spikes[name], after[name] = self.neurons[name](current, before.get(name))
            return spikes[name]

        s = fire("in", x)
        q, k, v = self._heads(fire("qkv", project("qkv", self.qkv, s)))
        mixed, after["mixer"] = mix(q, k, v, s, before.get("mixer"), valid)
        x = x + project("out", self.out, fire("mixed", mixed.transpose(2, 3).flatten(3)))
        hidden = fire("down", project("up", self.up, fire("up", x)))
        return x + project("down", self.down, hidden), after, spikes

    def _heads(self, spikes: Tensor) -> tuple[Tensor, ...]:
        """Return queries, keys and values, ``[T, B, heads, tokens, features]``."""
        return tuple(part.transpose(2, 3) for part in cut(spikes, -1, (3, self.heads, -1)).unbind(3))

    def loss(self, x: Tensor) -> Tensor:
        """Return the mixer's own loss on the block's queries and keys, 0 if it has none.

        Args:
            x: ``[T, B, tokens, width]``.
        """
        with torch.no_grad():
            s, _ = self.neurons["in"](x)
            q, k, _ = self._heads(self.neurons["qkv"](self.qkv(s))[0])
        return self.mixer.loss(q, k)

    def event_driven(self, backend: str = "auto") -> EventDrivenBlock:
        """Return the event-driven run of the block as it is now.

        Args:
            backend: ``"auto"``, ``"numba"`` or ``"reference"``.
        """
        return EventDrivenBlock(self, backend)
