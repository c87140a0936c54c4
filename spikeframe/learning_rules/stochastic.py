r"""Gradients through stochastic binary neurons: four families of estimators, and their bias and variance measured.

A unit with activation a fires with probability p = σ(a); u is a uniform number of the unit and draw.

=======================  ====================================  ================================================
estimator                forward                               gradient that reaches a
=======================  ====================================  ================================================
`reinforce`              h = 1 where u < p                     (h - p)(L - b): unbiased for any b independent of h
`smooth_times_random`    h = 1{u < √p} √p, E[h] = p            h's own with the random factor held: half of the
                                                               exact one for a linear loss, b ~ Bernoulli(√p)
`noisy`                  max(0, a + n) or σ(a + n)             h's own: unbiased for the loss under that noise
`straight_through`       h = 1 where u < p                     that of a, or of σ(a): biased unless L is linear
=======================  ====================================  ================================================

Reference: Bengio, Léonard and Courville 2013, arXiv:1308.3432. The baseline b of least variance is
``E[(h - p)² L] / E[(h - p)²]`` per unit, for one unit ``(1 - p) E[L | h = 1] + p E[L | h = 0]``; there it removes all
variance that the unit itself causes. Every function takes its random numbers as an argument and keeps no state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from spikeframe.errors import NonFiniteError, ParameterError, ShapeError
from spikeframe.neurons import randoms

#: Half a unit of the uniform numbers' last bit, so that their logarithms are finite.
_HALF = 2.0**-25


def bernoulli(a: Tensor, u: Tensor) -> Tensor:
    """Return 1 where ``u < sigmoid(a)``, else 0, without a gradient.

    Args:
        a: activations of any shape.
        u: uniform numbers in [0, 1) of that shape.

    Raises:
        ShapeError: the shapes differ.
    """
    if a.shape != u.shape:
        raise ShapeError(f"u has shape {tuple(u.shape)}, the activations {tuple(a.shape)}; one number per activation.")
    return (u < torch.sigmoid(a.detach())).to(a)


@dataclass(frozen=True)
class Baseline:
    """What `reinforce` subtracts from the loss, from running averages of earlier draws.

    Attributes:
        kind: ``"none"`` (0), ``"mean"`` (the mean loss) or ``"minimum"`` (the one of least variance, per unit).
        decay: of the running averages, in [0, 1).
        numerator: running average of the weighted loss.
        denominator: running average of the weight.
    """

    kind: str = "minimum"
    decay: float = 0.99
    numerator: Tensor | None = None
    denominator: Tensor | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("none", "mean", "minimum"):
            raise ParameterError(f"Baseline(kind={self.kind!r}): must be 'none', 'mean' or 'minimum'.")
        if isinstance(self.decay, bool) or not isinstance(self.decay, (int, float)) or not 0 <= self.decay < 1:
            raise ParameterError(f"Baseline(decay={self.decay!r}): must be a number from 0 and below 1.")

    def value(self, a: Tensor) -> Tensor:
        """Return the baseline of every unit; 0 before the first draw.

        Args:
            a: activations ``[B, N]``.
        """
        if self.numerator is None or self.denominator is None:
            return torch.zeros_like(a[0])
        return self.numerator / self.denominator.clamp(min=torch.finfo(a.dtype).tiny)

    def after(self, a: Tensor, h: Tensor, losses: Tensor) -> Baseline:
        """Return the baseline that has seen one more batch; use it for the next one, never for this.

        Args:
            a: activations ``[B, N]``.
            h: what the units did.
            losses: loss of every sample, ``[B]``.
        """
        if self.kind == "none":
            return self
        weight = (h - torch.sigmoid(a.detach())) ** 2 if self.kind == "minimum" else torch.ones_like(h)
        new = (weight * losses.detach()[:, None]).mean(0), weight.mean(0)
        if self.numerator is None or self.denominator is None:
            return replace(self, numerator=new[0], denominator=new[1])
        kept = self.decay
        return replace(
            self,
            numerator=kept * self.numerator + (1 - kept) * new[0],
            denominator=kept * self.denominator + (1 - kept) * new[1],
        )


def reinforce(a: Tensor, h: Tensor, losses: Tensor, baseline: Tensor | float = 0.0) -> Tensor:
    """Return, per sample, a number whose gradient is ``(h - p)(L - b)`` at every unit (its own value has no meaning).

    Args:
        a: activations ``[B, N]``.
        h: what the units did, by `bernoulli`.
        losses: loss of every sample, ``[B]``; no gradient goes through it.
        baseline: b, a number or one per unit.

    Returns:
        ``[B]``; add its mean to the loss that is back-propagated.

    Raises:
        ShapeError: there is not one loss per sample.
    """
    if losses.shape != a.shape[:1] or h.shape != a.shape:
        raise ShapeError(
            f"reinforce: losses {tuple(losses.shape)} and h {tuple(h.shape)} do not fit activations {tuple(a.shape)}; "
            "they must be [B], [B, N] and [B, N]."
        )
    log_probability = h * functional.logsigmoid(a) + (1.0 - h) * functional.logsigmoid(-a)
    return (log_probability * (losses.detach()[:, None] - baseline)).sum(1)


def smooth_times_random(a: Tensor, u: Tensor) -> Tensor:
    """Return ``b √p`` with b = 1 where ``u < √p``; the gradient flows through √p alone.

    Args:
        a: activations of any shape.
        u: uniform numbers in [0, 1) of that shape.
    """
    root = torch.exp(0.5 * functional.logsigmoid(a))
    return (u < root.detach()).to(a) * root


def gaussian_noise(u: Tensor) -> Tensor:
    """Turn uniform numbers into standard normal ones.

    Args:
        u: uniform numbers in [0, 1), any shape.
    """
    noise: Tensor = torch.special.ndtri(u.double() + _HALF)
    return noise.to(u)


def logistic_noise(u: Tensor) -> Tensor:
    """Turn uniform numbers into logistic ones: ``a + noise > 0`` has probability σ(a).

    Args:
        u: uniform numbers in [0, 1), any shape.
    """
    return torch.logit(u.double() + _HALF).to(u)


def noisy(a: Tensor, noise: Tensor, form: str = "rectifier") -> Tensor:
    """Return ``max(0, a + noise)`` or ``σ(a + noise)``, differentiable as it is.

    Args:
        a: activations of any shape.
        noise: of that shape, e.g. a scale times `gaussian_noise`.
        form: ``"rectifier"`` or ``"sigmoid"``.

    Raises:
        ParameterError: there is no such form.
    """
    if form not in ("rectifier", "sigmoid"):
        raise ParameterError(f"noisy(form={form!r}): must be 'rectifier' or 'sigmoid'.")
    return torch.relu(a + noise) if form == "rectifier" else torch.sigmoid(a + noise)


def straight_through(a: Tensor, u: Tensor, slope: bool = False) -> Tensor:
    """Return 1 where ``u < σ(a)``, else 0, with the gradient of a itself or of σ(a).

    Args:
        a: activations of any shape.
        u: uniform numbers in [0, 1) of that shape.
        slope: multiply the gradient by σ'(a).
    """
    through = torch.sigmoid(a) if slope else a
    return bernoulli(a, u) + (through - through.detach())


@dataclass(frozen=True)
class Statistics:
    """Mean and variance of a gradient estimator.

    Attributes:
        mean: mean estimate per unit, ``[N]``.
        variance: variance of one draw's estimate per unit, ``[N]``.
        draws: number of draws.
    """

    mean: Tensor
    variance: Tensor
    draws: int

    @property
    def standard_error(self) -> Tensor:
        """Standard error of the mean."""
        return (self.variance / self.draws).sqrt()


def measure(
    estimator: Callable[[Tensor, Tensor], Tensor], a: Tensor, draws: int = 100_000, seed: int = 0
) -> Statistics:
    """Measure mean and variance of a gradient estimator at one point.

    Args:
        estimator: takes activations and uniform numbers, both ``[B, N]``, and returns what is back-propagated for
            every sample, ``[B]``: the loss of its units' values, or `reinforce` of it.
        a: activations ``[N]``.
        draws: how many independent draws, at least 2.
        seed: of the random numbers.

    Raises:
        ParameterError: fewer than two draws.
        NonFiniteError: a gradient is not finite.
    """
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 2:
        raise ParameterError(f"measure(draws={draws!r}): must be a whole number from 2.")
    repeated = a.detach().expand(draws, *a.shape).clone().requires_grad_()
    u = randoms.uniform(repeated.detach().unsqueeze(0), seed, 0, 0)[0]
    (gradients,) = torch.autograd.grad(estimator(repeated, u).sum(), repeated)
    if not bool(torch.isfinite(gradients).all()):
        raise NonFiniteError("measure: a gradient of the estimator is not finite.")
    return Statistics(gradients.mean(0), gradients.var(0), draws)


def exact_gradient(a: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the gradient of the expected loss over all 2^N states of binary units.

    Args:
        a: activations ``[N]``, N at most 20.
        loss: takes states ``[B, N]`` of zeros and ones and returns ``[B]``.

    Raises:
        ShapeError: there are more than 20 units, or a is no vector.
    """
    if a.ndim != 1 or len(a) > 20:
        raise ShapeError(f"exact_gradient: a has shape {tuple(a.shape)}; it must be [N] with N at most 20.")
    number = torch.arange(2 ** len(a), device=a.device)
    states = (number[:, None] >> number[: len(a)] & 1).to(a)
    p = torch.sigmoid(a.detach())
    weight = torch.where(states == 1, p, 1.0 - p).prod(1) * loss(states)
    return ((states - p) * weight[:, None]).sum(0)
