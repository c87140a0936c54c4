r"""Surrogate gradients: what stands in for the derivative of the Heaviside step in a backward pass.

========================  =====================================================  ==============================
class                     g(u), u = v - v_th                                     published with
========================  =====================================================  ==============================
`FastSigmoid`             1 / (1 + k|u|)^2                                       Zenke & Ganguli 2018 (SuperSpike)
`ATan`                    (a/2) / (1 + (pi a u / 2)^2)                           Fang et al. 2021
`Sigmoid`                 k s(1 - s), s = 1 / (1 + exp(-k u))                    Zenke & Vogels 2021
`Triangle`                gamma max(0, 1 - |u| / w)                              Bellec et al. 2018, 2020
`Gaussian`                exp(-u^2 / 2 s^2) / (s sqrt(2 pi))                     Yin et al. 2020
`MultiGaussian`           c [(1+h) N(u;0,s) - h N(u;s,6s) - h N(u;-s,6s)]        Yin et al. 2021
`Boxcar`                  1 / 2w where |u| < w                                   Wu et al. 2018 (STBP)
`StraightThrough`         1                                                      Bengio et al. 2013
========================  =====================================================  ==============================

Each is written in traced operations, so the same expression is compiled into the fused backward kernels. All are
finite for every finite u: none evaluates an exponential of a positive number, and parameters so extreme that float32
cannot hold what is made of them (a steepness of 1e39) are refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from spikeframe.errors import ParameterError, unknown_name
from spikeframe.kernels.reference.steps import interpret
from spikeframe.kernels.trace import FLOAT, Value, exp, maximum, trace, where

# Distances to threshold at which a derivative must be finite in float32: at 0, near it, and as far as there is.
_PROBES = np.array([s * u for u in (0.0, 1e-45, 1e-30, 1e-6, 1.0, 1e6, 1e30, 3.4e38) for s in (1, -1)], np.float32)


@dataclass(frozen=True)
class Surrogate:
    """Base of the surrogate gradients; a subclass is a frozen set of parameters and one method."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
                name = f"{type(self).__name__}({item.name}={value!r})"
                raise ParameterError(f"{name}: {item.name} must be a finite number above 0.")
        program = trace(lambda u, s, c: (self.derivative(u), {}), ["u"], {}, {})
        found = np.broadcast_to(interpret(program, {"u": _PROBES}, np.dtype(np.float32))["out"], _PROBES.shape)
        for u, g in zip(_PROBES.tolist(), found.tolist(), strict=True):
            if not math.isfinite(g):
                raise ParameterError(
                    f"{self!r}: the gradient at u = {u:g} would be {g} in float32; take less extreme parameters."
                )

    def derivative(self, u: Value) -> Value:
        """Return g(u).

        Args:
            u: membrane distance to threshold, in the membrane's unit.
        """
        raise NotImplementedError(f"{type(self).__name__} must define derivative(u).")


def _magnitude(u: Value) -> Value:
    return maximum(u, -u)


@dataclass(frozen=True)
class FastSigmoid(Surrogate):
    """Derivative of the fast sigmoid, ``1 / (1 + k|u|)^2`` (Zenke & Ganguli 2018, doi:10.1162/neco_a_01086).

    Attributes:
        k: steepness, per unit of u; 25 in snnTorch, 100 in norse.
    """

    k: float = 25.0

    def derivative(self, u: Value) -> Value:
        """Return g(u)."""
        base = 1.0 / (1.0 + self.k * _magnitude(u))
        return base * base


@dataclass(frozen=True)
class ATan(Surrogate):
    """Derivative of the arctangent, ``(a/2) / (1 + (pi a u / 2)^2)`` (Fang et al. 2021, arXiv:2007.05785).

    Attributes:
        a: steepness, per unit of u; 2 in SpikingJelly and snnTorch.
    """

    a: float = 2.0

    def derivative(self, u: Value) -> Value:
        """Return g(u)."""
        scaled = (math.pi * self.a / 2) * u
        return (self.a / 2) / (1.0 + scaled * scaled)


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    """Derivative of the logistic function of ``k u`` (Zenke & Vogels 2021, doi:10.1162/neco_a_01367).

    Attributes:
        k: steepness, per unit of u; 4 in SpikingJelly, 25 in snnTorch.
    """

    k: float = 4.0

    def derivative(self, u: Value) -> Value:
        """Return g(u)."""
        e = exp(-self.k * _magnitude(u))
        s = 1.0 / (1.0 + e)
        return self.k * (e * s * s)


@dataclass(frozen=True)
class Triangle(Surrogate):
    """Triangle ``gamma max(0, 1 - |u| / w)`` (Bellec et al. 2020, doi:10.1038/s41467-020-17236-y).

    Attributes:
        gamma: height; 0.3 in the paper.
        w: half width, in the unit of u; the threshold in the paper.
    """

    gamma: float = 0.3
    w: float = 1.0

    def derivative(self, u: Value) -> Value:
        """Return g(u)."""
        return self.gamma * maximum(1.0 - _magnitude(u) / self.w, 0.0)


def _bell(u: Value, s: float) -> Value:
    """Normal density of standard deviation `s`."""
    scaled = u / s
    return (1.0 / (s * math.sqrt(2 * math.pi))) * exp(-0.5 * (scaled * scaled))


@dataclass(frozen=True)
class Gaussian(Surrogate):
    """Normal density of u (Yin et al. 2020, arXiv:2005.11633).

    Attributes:
        s: standard deviation, in the unit of u.
    """

    s: float = 0.5

    def derivative(self, u: Value) -> Value:
        """Return g(u)."""
        return _bell(u, self.s)


@dataclass(frozen=True)
class MultiGaussian(Surrogate):
    """Sum of three normal densities with negative flanks (Yin et al. 2021, doi:10.1038/s42256-021-00397-w).

    Attributes:
        h: depth of the flanks.
        s: standard deviation of the centre; the flanks sit at ±s and are six times as wide.
        c: overall scale.
    """

    h: float = 0.15
    s: float = 0.5
    c: float = 0.5

    def derivative(self, u: Value) -> Value:
        """Return g(u)."""
        flanks = _bell(u - self.s, 6 * self.s) + _bell(u + self.s, 6 * self.s)
        return self.c * ((1.0 + self.h) * _bell(u, self.s) - self.h * flanks)


@dataclass(frozen=True)
class Boxcar(Surrogate):
    """Rectangle ``1 / 2w`` where ``|u| < w`` (Wu et al. 2018, doi:10.3389/fnins.2018.00331).

    Attributes:
        w: half width, in the unit of u.
    """

    w: float = 0.5

    def derivative(self, u: Value) -> Value:
        """Return g(u)."""
        return where(_magnitude(u) < self.w, 1.0 / (2 * self.w), 0.0)


@dataclass(frozen=True)
class StraightThrough(Surrogate):
    """The identity's derivative, 1 (Bengio et al. 2013, arXiv:1308.3432)."""

    def derivative(self, u: Value) -> Value:
        """Return g(u)."""
        return u.recorder.constant(1.0, FLOAT)


SURROGATES: dict[str, type[Surrogate]] = {
    "fast_sigmoid": FastSigmoid,
    "atan": ATan,
    "sigmoid": Sigmoid,
    "triangle": Triangle,
    "gaussian": Gaussian,
    "multi_gaussian": MultiGaussian,
    "boxcar": Boxcar,
    "straight_through": StraightThrough,
}


def surrogate(choice: str | Surrogate) -> Surrogate:
    """Return a surrogate by name with its default parameters, or the one given.

    Args:
        choice: a name, e.g. ``"atan"``, or a `Surrogate`.

    Raises:
        UnknownNameError: there is no surrogate of that name.
        ParameterError: it is neither a name nor a surrogate.
    """
    if isinstance(choice, Surrogate):
        return choice
    if not isinstance(choice, str):
        raise ParameterError(f"surrogate={choice!r}: give a name ({', '.join(SURROGATES)}) or a Surrogate.")
    if choice not in SURROGATES:
        raise unknown_name("surrogate", choice, SURROGATES)
    return SURROGATES[choice]()
