r"""Gates: which entries of a step pass, by a score ``abs(x) scale``, and what becomes of them.

====================  ==========================================================================================
selector              passes
====================  ==========================================================================================
``Threshold(t)``      scores above t, one number or one per channel
``TopK(k)``           the k largest scores of the step, the lower index first among equals
``StatTopK(k)``       values above mean + deviation x Phi^-1(1 - k / n): about k of n normal values, no sort
``Elbow()``           scores above the point of the sorted curve that is furthest below the line between its ends
====================  ==========================================================================================

============  ====================================  ===================================================
operator      output                                with
============  ====================================  ===================================================
``hard``      x where it passes                     every selector
``soft``      ``max(x - threshold, 0)``             `Threshold`, `StatTopK`; gradients pass the statistics
``fat``       x where x itself is above threshold   `Threshold` (FATReLU)
============  ====================================  ===================================================

Scales: none (magnitude); norms of the outgoing weights (WINA, CETT); root mean square of a partner branch (CHESS).
Reference of the statistical top-k: Spark Transformer, You et al. 2025, arXiv:2506.06644 (paper 6). Causal: a step's
gate depends on this step alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn

from spikeframe.errors import ConfigError, NonFiniteError, ParameterError, ShapeError, unknown_name
from spikeframe.modules.checks import threshold, whole

OPERATORS = ("hard", "soft", "fat")


def statistical_threshold(x: Tensor, k: float) -> Tensor:
    """Return mean + deviation x Phi^-1(1 - k / n) over the last axis, which is kept with length 1.

    Args:
        x: ``[..., n]``, n from 2.
        k: how many should be above, above 0 and below n.

    Raises:
        ParameterError: another k.
    """
    n = x.shape[-1]
    if isinstance(k, bool) or not isinstance(k, (int, float)) or not 0 < k < n:
        raise ParameterError(f"statistical top-k: k={k!r} of {n}; must be above 0 and below {n}.")
    deviation, mean = torch.std_mean(x, dim=-1, keepdim=True)
    return mean + deviation * NormalDist().inv_cdf(1.0 - k / n)


class Selector:
    """Chooses entries of the last axis."""

    def mask(self, score: Tensor) -> Tensor:
        """Return which entries pass, bool.

        Args:
            score: ``[..., n]``.
        """
        raise NotImplementedError

    def threshold(self, x: Tensor) -> Tensor:
        """Return the threshold that values are compared with, which broadcasts to them.

        Args:
            x: ``[..., n]``.

        Raises:
            ConfigError: the selector has none.
        """
        raise ConfigError(f"{type(self).__name__} has no threshold; use operator='hard'.")

    def cost(self, n: int) -> dict[str, int]:
        """Return additions, multiplications and comparisons of one step's choice.

        Args:
            n: entries.
        """
        return {"neu_cmp": n}


class Threshold(Selector):
    """Scores above a threshold.

    Args:
        value: a number from 0, or one per channel.

    Raises:
        DTypeError, NonFiniteError, ParameterError: it is not usable.
    """

    def __init__(self, value: Any) -> None:
        self.value = threshold("Threshold(value)", value)

    def mask(self, score: Tensor) -> Tensor:
        """Return which entries pass."""
        return score > self.threshold(score)

    def threshold(self, x: Tensor) -> Tensor:
        """Return the threshold."""
        return threshold("Threshold(value)", self.value, (x.shape[-1],)).to(x)


@dataclass(frozen=True)
class TopK(Selector):
    """The k largest scores of a step.

    Args:
        k: how many, from 1.

    Raises:
        ParameterError: it is no whole number from 1.
    """

    k: int

    def __post_init__(self) -> None:
        whole("TopK(k)", self.k)

    def mask(self, score: Tensor) -> Tensor:
        """Return which entries pass."""
        best = torch.sort(score, dim=-1, descending=True, stable=True).indices[..., : self.k]
        return torch.zeros_like(score, dtype=torch.bool).scatter_(-1, best, True)

    def cost(self, n: int) -> dict[str, int]:
        """Return those of a sort."""
        return {"neu_cmp": n * max(1, math.ceil(math.log2(n)))}


@dataclass(frozen=True)
class StatTopK(Selector):
    """Values above mean and deviations, about k of n.

    Args:
        k: how many are wanted, from 1.

    Raises:
        ParameterError: it is no whole number from 1.
    """

    k: int

    def __post_init__(self) -> None:
        whole("StatTopK(k)", self.k)

    def mask(self, score: Tensor) -> Tensor:
        """Return which entries pass."""
        return score > self.threshold(score)

    def threshold(self, x: Tensor) -> Tensor:
        """Return the threshold of every step."""
        return statistical_threshold(x, self.k)

    def cost(self, n: int) -> dict[str, int]:
        """Return those of a mean, a deviation and a comparison."""
        return {"neu_ac": 2 * n, "neu_mac": n, "neu_cmp": n}


@dataclass(frozen=True)
class Elbow(Selector):
    """Scores strictly above the elbow of the sorted curve; all where there is none (Wang et al. 2025, CoreMatching)."""

    def mask(self, score: Tensor) -> Tensor:
        """Return which entries pass."""
        n = score.shape[-1]
        curve = torch.sort(score, dim=-1, descending=True).values
        line = curve[..., :1] + (curve[..., -1:] - curve[..., :1]) * (
            torch.arange(n, device=score.device) / max(1, n - 1)
        ).to(score)
        below = line - curve
        at = below.argmax(-1, keepdim=True)
        chosen = score > curve.gather(-1, at)
        return torch.where(below.gather(-1, at) > 0, chosen, True)

    def cost(self, n: int) -> dict[str, int]:
        """Return those of a sort and a line."""
        return {"neu_cmp": n * max(1, math.ceil(math.log2(n))), "neu_mac": n, "neu_ac": 2 * n}


class ActivityGate(nn.Module):
    """Lets some entries of every step pass.

    Args:
        selector: which ones.
        scale: of each channel's score, ``[n]`` from 0; 1 if not given.
        operator: what becomes of what passes.

    Raises:
        UnknownNameError: no such operator.
        ConfigError: the selector has no threshold for it, or there is a scale and it needs none.
        ShapeError, NonFiniteError, ParameterError: the scale is not usable.
    """

    scale: Tensor | None

    def __init__(self, selector: Selector, scale: Tensor | None = None, operator: str = "hard") -> None:
        super().__init__()
        if operator not in OPERATORS:
            raise unknown_name("operator of an ActivityGate", operator, OPERATORS)
        if operator != "hard":
            if type(selector).threshold is Selector.threshold or (
                operator == "fat" and type(selector) is not Threshold
            ):
                raise ConfigError(f"ActivityGate: {type(selector).__name__} with operator {operator!r}; see the table.")
            if scale is not None:
                raise ConfigError(
                    f"ActivityGate: operator {operator!r} compares values themselves; leave out the scale."
                )
        if scale is not None:
            scale = threshold("ActivityGate(scale)", scale)
            if scale.ndim != 1:
                raise ShapeError(f"ActivityGate(scale) has shape {tuple(scale.shape)}; give one per channel, [n].")
        self.selector, self.operator = selector, operator
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return what passes, 0 elsewhere.

        Args:
            x: ``[..., n]``.

        Raises:
            ShapeError: the scale is for another number of channels.
            NonFiniteError: x is NaN somewhere.
        """
        if bool(torch.isnan(x.detach()).any()):
            place = torch.isnan(x.detach()).nonzero()[0].tolist()
            raise NonFiniteError(f"ActivityGate: input {place} is NaN; it has no rank.")
        if self.operator == "soft":
            return torch.relu(x - self.selector.threshold(x))
        if self.operator == "fat":
            return x * (x > self.selector.threshold(x))
        score = x.detach().abs()
        if self.scale is not None:
            if self.scale.numel() != x.shape[-1]:
                raise ShapeError(f"ActivityGate: scale of {self.scale.numel()} channels, input of {x.shape[-1]}.")
            score = score * self.scale.to(score)
        return x * self.selector.mask(score)

    def cost(self, n: int) -> dict[str, int]:
        """Return the operations of one step's choice.

        Args:
            n: channels.
        """
        found = self.selector.cost(n)
        scaled = n if self.scale is not None else 0
        return found | {"neu_mac": found.get("neu_mac", 0) + scaled}
