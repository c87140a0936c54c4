"""Distributions that weights, delays and initial values are drawn from."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikeframe.errors import DTypeError, NonFiniteError, ParameterError
from spikeframe.kernels.reference import philox

Code: TypeAlias = tuple[int, NDArray[np.float64]]

# Of 1000 redraws with this chance each, none hits in 2 of 10^9 cases.
_LEAST_MASS = 0.02


class _Checked:
    """Turns every field into a float and refuses what is none."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            name, value = f"{type(self).__name__}({field.name})", getattr(self, field.name)
            object.__setattr__(self, field.name, number(name, value, infinite=field.name in ("low", "high")))


@dataclass(frozen=True)
class Constant(_Checked):
    """Always the same value.

    Args:
        value: the value.

    Raises:
        DTypeError: it is no real number.
        NonFiniteError: it is NaN or infinite.
    """

    value: float

    def code(self) -> Code:
        """Return the kernels' kind and parameters."""
        return philox.CONSTANT, np.array([self.value, 0.0, 0.0, 0.0])

    def bounds(self) -> tuple[float, float]:
        """Return the smallest and largest value that can be drawn."""
        return self.value, self.value

    def rms(self) -> float:
        """Return the root of the mean square."""
        return abs(self.value)


@dataclass(frozen=True)
class Uniform(_Checked):
    """Every value between two bounds with equal density.

    Args:
        low: lower bound.
        high: upper bound, at least `low`.

    Raises:
        DTypeError: a bound is no real number.
        NonFiniteError: a bound is NaN or infinite, or their distance overflows.
        ParameterError: `high` is below `low`.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _ordered(self, self.low, self.high)
        if not math.isfinite(self.high - self.low):
            raise NonFiniteError(f"{self}: the bounds and their distance must be finite.")

    def code(self) -> Code:
        """Return the kernels' kind and parameters."""
        return philox.UNIFORM, np.array([self.low, self.high, 0.0, 0.0])

    def bounds(self) -> tuple[float, float]:
        """Return bounds that no drawn value exceeds."""
        return self.low, self.high

    def rms(self) -> float:
        """Return the root of the mean square."""
        centre, width = self.low + 0.5 * (self.high - self.low), self.high - self.low
        return math.hypot(centre, width / math.sqrt(12.0))

    def below(self, x: float) -> float:
        """Return the probability of a draw below x."""
        if not self.low < x < self.high:
            return float(x >= self.high)
        return (x - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Normal(_Checked):
    """Normal distribution, redrawn until within bounds.

    Args:
        mean: mean before truncation.
        sd: standard deviation before truncation, at least 0.
        low: lower bound.
        high: upper bound, at least `low`.

    Raises:
        DTypeError: a parameter is no real number.
        NonFiniteError: mean or standard deviation is NaN or infinite, or a bound NaN, or drawn values overflow.
        ParameterError: `sd` is negative, `high` is below `low`, or hardly any draw falls between them.
    """

    mean: float
    sd: float
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        super().__post_init__()
        _not_negative(self, "sd", self.sd)
        _ordered(self, self.low, self.high)
        if not all(map(math.isfinite, self.bounds())):
            raise NonFiniteError(f"{self}: values overflow; mean and sd must be smaller.")
        if self._mass() < _LEAST_MASS:
            raise ParameterError(
                f"{self}: a fraction {self._mass():.2g} of the draws lies within [low, high]; at least {_LEAST_MASS} "
                "must. Widen the bounds or move the mean."
            )

    def _standard(self) -> tuple[float, float]:
        """Return the bounds in standard deviations from the mean."""
        return (self.low - self.mean) / self.sd, (self.high - self.mean) / self.sd

    def _mass(self) -> float:
        """Return the probability of one draw to lie within the bounds."""
        if self.sd == 0.0:
            return float(self.low <= self.mean <= self.high)
        a, b = self._standard()
        if a > 0.0:
            a, b = -b, -a
        return 0.5 * (math.erfc(-b / math.sqrt(2.0)) - math.erfc(-a / math.sqrt(2.0)))

    def code(self) -> Code:
        """Return the kernels' kind and parameters."""
        return philox.NORMAL, np.array([self.mean, self.sd, self.low, self.high])

    def bounds(self) -> tuple[float, float]:
        """Return the smallest and largest value that can be drawn: some 8.3 standard deviations, or the bounds."""
        reach = self.sd * philox.NORMAL_LARGEST
        return _clip(self.mean - reach, self.low, self.high), _clip(self.mean + reach, self.low, self.high)

    def rms(self) -> float:
        r"""Return the root of the mean square.

        With :math:`\alpha, \beta` the standardised bounds, :math:`\varphi` the normal density and :math:`Z` the mass
        between, :math:`E[z] = (\varphi(\alpha) - \varphi(\beta)) / Z` and
        :math:`E[z^2] = 1 + (\alpha \varphi(\alpha) - \beta \varphi(\beta)) / Z`.
        """
        if self.sd == 0.0:
            return abs(self.mean)
        (a, b), mass = self._standard(), self._mass()
        first = (_density(a) - _density(b)) / mass
        second = 1.0 + ((a * _density(a) if a > -math.inf else 0.0) - (b * _density(b) if b < math.inf else 0.0)) / mass
        square = self.mean * self.mean + 2.0 * self.mean * self.sd * first + self.sd * self.sd * second
        return math.sqrt(max(square, 0.0))

    def below(self, x: float) -> float:
        """Return the probability of a draw below x."""
        if self.sd == 0.0 or not self.low < x < self.high:
            return float(x > self.mean if self.sd == 0.0 else x >= self.high)
        low = math.erfc((self.mean - self.low) / (self.sd * math.sqrt(2.0)))
        return 0.5 * (math.erfc((self.mean - x) / (self.sd * math.sqrt(2.0))) - low) / self._mass()


@dataclass(frozen=True)
class LogNormal(_Checked):
    """The exponential of a normal number.

    Args:
        mu: mean of the logarithm.
        sigma: standard deviation of the logarithm, at least 0.

    Raises:
        DTypeError: a parameter is no real number.
        NonFiniteError: a parameter is NaN or infinite, or drawn values overflow.
        ParameterError: `sigma` is negative.
    """

    mu: float
    sigma: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _not_negative(self, "sigma", self.sigma)
        # exp overflows at 709.8; the margin keeps the widened bound finite.
        if not self.mu + self.sigma * philox.NORMAL_LARGEST < 709.0:
            raise NonFiniteError(f"{self}: values overflow; mu + {philox.NORMAL_LARGEST:.2f} sigma must be below 709.")

    def code(self) -> Code:
        """Return the kernels' kind and parameters."""
        return philox.LOGNORMAL, np.array([self.mu, self.sigma, 0.0, 0.0])

    def bounds(self) -> tuple[float, float]:
        """Return bounds that no drawn value exceeds; some 16 ulp wider than the exponential's own rounding."""
        reach = self.sigma * philox.NORMAL_LARGEST
        return math.exp(self.mu - reach) * (1.0 - 2.0**-48), math.exp(self.mu + reach) * (1.0 + 2.0**-48)

    def rms(self) -> float:
        """Return the root of the mean square, ``exp(mu + sigma^2)``; infinite where that overflows."""
        exponent = self.mu + self.sigma * self.sigma
        return math.exp(exponent) if exponent < 709.0 else math.inf

    def below(self, x: float) -> float:
        """Return the probability of a draw below x."""
        if x <= 0.0 or self.sigma == 0.0:
            return float(x > 0.0 and math.log(x) > self.mu)
        return 0.5 * math.erfc((self.mu - math.log(x)) / (self.sigma * math.sqrt(2.0)))


Distribution: TypeAlias = Constant | Uniform | Normal | LogNormal


def as_distribution(value: object, what: str) -> Distribution:
    """Return a distribution as it is, and a number as the constant it is.

    Args:
        value: a number or a distribution.
        what: what it is for, e.g. ``"weight"``, for errors.

    Raises:
        DTypeError: it is neither.
        NonFiniteError: it is a NaN or an infinity.
    """
    if isinstance(value, (Constant, Uniform, Normal, LogNormal)):
        return value
    return Constant(number(what, value))


def number(name: str, value: object, infinite: bool = False) -> float:
    """Return a real number as a float, or refuse it.

    Args:
        name: what it is, for errors.
        value: what a user gave.
        infinite: whether an infinity is accepted.

    Raises:
        DTypeError: it is no real number.
        NonFiniteError: it is a NaN or an infinity.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise DTypeError(f"{name}={value!r}: must be a number.")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if math.isnan(found) or (math.isinf(found) and not infinite):
        raise NonFiniteError(f"{name}={value!r}: must be finite.")
    return found


def numbers(name: str, value: object, infinite: bool = False) -> NDArray[np.float64]:
    """Return real numbers as an array of its own, which no later change of `value` reaches, or refuse them.

    Args:
        name: what they are, for errors.
        value: a number, a list, an array.
        infinite: whether infinities are accepted.

    Raises:
        DTypeError: they are no real numbers, or have a unit of their own.
        NonFiniteError: there is a NaN or an infinity among them.
    """
    if any(hasattr(value, unit) for unit in ("dimensionality", "dimensions", "unit")):
        raise DTypeError(
            f"{name}: {type(value).__name__} has a unit; give plain numbers in the documented unit (of times: ms)."
        )
    try:
        found = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DTypeError(f"{name}: must be numbers ({error}).") from None
    if found.dtype.kind not in "iuf" and found.size:
        raise DTypeError(f"{name}: must be real numbers, got {found.dtype}.")
    array = np.array(found, np.float64)
    wrong = np.flatnonzero(np.isnan(array) | (np.isinf(array) & (not infinite)))
    if wrong.size:
        raise NonFiniteError(f"{name}[{int(wrong[0])}]={array.flat[wrong[0]]}: must be finite.")
    return array


def _ordered(owner: object, low: float, high: float) -> None:
    if not low <= high:
        raise ParameterError(f"{owner}: high must be at least low.")


def _not_negative(owner: object, name: str, value: float) -> None:
    if value < 0.0:
        raise ParameterError(f"{owner}: {name} must be at least 0.")


def _clip(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


def _density(z: float) -> float:
    return math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
