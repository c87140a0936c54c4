r"""Thresholds of sparse coding: the proximal maps of its penalties.

Each is ``T(z) = argmin over r of (r - z)²/2 + μ pen(r)``, with μ the step size of the inference:

================  =========================================================  =================================
class             pen(r)                                                     T(z)
================  =========================================================  =================================
`Soft`            λ|r|                                                       sign(z) max(|z| - λμ, 0)
`Hard`            λ where r is not 0                                         z where |z| > √(2λμ)
`Lq`              λ|r|^q, 0 < q < 1                                          root of r + λμq r^(q-1) = |z|
`CEL0`            λ - (|r| - √(2λ))²/2 below √(2λ), then λ                   a ramp from √(2λ)μ to z at √(2λ)
================  =========================================================  =================================

CEL0 is the continuous exact relaxation of the number of non-zeros for unit columns (Soubies et al. 2015,
doi:10.1137/151003714); at μ >= 1 its map is that of `Hard`. The comparison of these in models of V1 is Rentzeperis et
al. 2023, doi:10.1371/journal.pcbi.1011459; their code thresholds at √(λμ) in `Hard` and takes half the λ in l_1/2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from spikeframe.errors import ParameterError


@dataclass(frozen=True)
class Threshold:
    """Base of the thresholds.

    Attributes:
        lam: weight λ of the penalty, above 0.
    """

    lam: float = 0.1

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
                name = f"{type(self).__name__}({item.name}={value!r})"
                raise ParameterError(f"{name}: {item.name} must be a finite number above 0.")

    def __call__(self, z: Tensor, mu: float = 1.0) -> Tensor:
        """Return T(z), of z's shape.

        Args:
            z: any shape.
            mu: step size, above 0.
        """
        raise NotImplementedError(f"{type(self).__name__} must define __call__(z, mu).")

    def penalty(self, r: Tensor) -> Tensor:
        """Return pen(r), element by element.

        Args:
            r: codes, any shape.
        """
        raise NotImplementedError(f"{type(self).__name__} must define penalty(r).")


@dataclass(frozen=True)
class Soft(Threshold):
    """Soft threshold of the l_1 penalty: what it keeps, it shrinks by λμ."""

    def __call__(self, z: Tensor, mu: float = 1.0) -> Tensor:
        """Return T(z)."""
        return torch.sign(z) * torch.relu(z.abs() - self.lam * mu)

    def penalty(self, r: Tensor) -> Tensor:
        """Return λ|r|."""
        return self.lam * r.abs()


@dataclass(frozen=True)
class Hard(Threshold):
    """Hard threshold of the l_0 penalty: what it keeps, it keeps whole."""

    def __call__(self, z: Tensor, mu: float = 1.0) -> Tensor:
        """Return T(z)."""
        return torch.where(z.abs() > math.sqrt(2 * self.lam * mu), z, torch.zeros_like(z))

    def penalty(self, r: Tensor) -> Tensor:
        """Return λ where r is not 0."""
        return self.lam * (r != 0).to(r)


@dataclass(frozen=True)
class Lq(Threshold):
    """Threshold of the l_q penalty, 0 < q < 1, between the hard and the soft one.

    Attributes:
        lam: weight λ of the penalty.
        q: exponent.
    """

    q: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.q >= 1:
            raise ParameterError(f"Lq(q={self.q!r}): q must be below 1; q = 1 is Soft.")

    def __call__(self, z: Tensor, mu: float = 1.0) -> Tensor:
        """Return T(z): Newton's iteration from |z| on a convex increasing function, in which it never overshoots."""
        weight, q = self.lam * mu, self.q
        least = (2 * weight * (1 - q)) ** (1 / (2 - q))  # smallest value that is kept
        magnitude = z.abs()
        kept = magnitude > least + weight * q * least ** (q - 1)
        r = torch.where(kept, magnitude, torch.full_like(z, 2 * least))
        target = torch.where(kept, magnitude, r + weight * q * r ** (q - 1))
        for _ in range(8):
            power = weight * q * r ** (q - 1)
            r = r - (r + power - target) / (1 - (1 - q) * power / r)
        return torch.where(kept, torch.sign(z) * r, torch.zeros_like(z))

    def penalty(self, r: Tensor) -> Tensor:
        """Return λ|r|^q."""
        return self.lam * r.abs() ** self.q


@dataclass(frozen=True)
class CEL0(Threshold):
    """Threshold of the continuous exact l_0 penalty for unit columns: keeps large values whole, and has no jump."""

    def __call__(self, z: Tensor, mu: float = 1.0) -> Tensor:
        """Return T(z)."""
        if mu >= 1:
            return Hard(self.lam)(z, mu)
        ramp = torch.relu(z.abs() - math.sqrt(2 * self.lam) * mu) / (1 - mu)
        return torch.sign(z) * torch.minimum(z.abs(), ramp)

    def penalty(self, r: Tensor) -> Tensor:
        """Return λ - (|r| - √(2λ))²/2 below √(2λ), then λ."""
        return self.lam - 0.5 * torch.relu(math.sqrt(2 * self.lam) - r.abs()) ** 2
