r"""Receptors: how an arriving spike becomes current, and what it adds to the membrane over one step, exactly.

The membrane obeys ``dv/dt = -a v + k I`` with leak rate ``a`` (1/tau_m, or 0 without leak) and gain ``k``
(r_m/tau_m, or 1/C). With ``b = 1/tau`` and ``h = dt``, over one step without arrivals:

=========  =================================  ==========================================================
receptor   current after a spike of weight w  propagators
=========  =================================  ==========================================================
`Delta`    w in the membrane's unit, at once  v += w
`Exp`      ``I += w``, ``I' = -b I``          I -> I e^{-bh};  v += I k (e^{-bh} - e^{-ah}) / (a - b)
`Alpha`    ``y += e b w``, ``y' = -b y``,     y -> y e^{-bh};  I -> I e^{-bh} + y h e^{-bh};
           ``I' = y - b I`` (peak w at tau)   v += I (as above) + y k \int_0^h e^{-a(h-s)} s e^{-bs} ds
=========  =================================  ==========================================================

Equal time constants are the limit of the same expressions, evaluated without cancellation. Reference: Rotter and
Diesmann 1999, doi:10.1007/s004220050570. An arrival takes effect on I at the end of its step, so it moves v from the
next step on (delta arrivals: at once).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import torch

from spikeframe.errors import ParameterError
from spikeframe.kernels.trace import Names, Value
from spikeframe.neurons.parameters import Parameter, Parametric, State


def _mean_exponential(z: torch.Tensor) -> torch.Tensor:
    """``(1 - e^{-z}) / z``, 1 at z = 0, float64."""
    safe = torch.where(z == 0, torch.ones_like(z), z)
    return torch.where(z == 0, 1 - z / 2, -torch.expm1(-safe) / safe)


def _charge(leak: torch.Tensor, rate: torch.Tensor, gain: torch.Tensor, dt: float) -> torch.Tensor:
    """``k (e^{-bh} - e^{-ah}) / (a - b)``; written around the slower of the two, so that nothing overflows."""
    slower = torch.minimum(leak, rate)
    return gain * dt * torch.exp(-slower * dt) * _mean_exponential(torch.abs(leak - rate) * dt)


def _rise(leak: torch.Tensor, rate: torch.Tensor, dt: float) -> torch.Tensor:
    r"""``e^{-ah} \int_0^1 s e^{zs} ds = (e^{-bh} (z - 1) + e^{-ah}) / z^2``, z = (a - b) h; a series near 0."""
    z = (leak - rate) * dt
    series = torch.zeros_like(z)
    for n in range(24, -1, -1):
        series = series * z + 1.0 / (math.factorial(n) * (n + 2))
    large = torch.abs(z) > 1.0
    safe = torch.where(large, z, torch.full_like(z, 2.0))
    closed = (torch.exp(-rate * dt) * (safe - 1) + torch.exp(-leak * dt)) / (safe * safe)
    return torch.where(large, closed, series * torch.exp(-leak * dt))


class Receptor(Parametric):
    """Base of the receptors: a parameter table, state variables and one traced step, like a neuron's.

    Args:
        learnable: names of the parameters to train.
        values: the table's parameters, by name.
    """

    STATES: ClassVar[dict[str, State]] = {}

    def __init__(self, *, learnable: Iterable[str] = (), **values: Any) -> None:
        super().__init__(values, learnable)

    def coefficients(self, leak: torch.Tensor, gain: torch.Tensor, dt: float) -> dict[str, torch.Tensor]:
        """Return the propagators for one step, in float64.

        Args:
            leak: the membrane's leak rate a, 1/ms.
            gain: the membrane's gain k.
            dt: step, ms.
        """
        raise NotImplementedError

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Value]]:
        """Return what the receptor adds to the membrane in this step, and its new states.

        Args:
            x: sum of the weights that arrive in this step.
            s: its states.
            c: its coefficients.
        """
        raise NotImplementedError

    def waits(self, s: Names) -> list[Value]:
        """Return the conditions under which silence cannot raise the membrane any more."""
        raise NotImplementedError


class Delta(Receptor):
    """A spike of weight w moves the membrane by w at once."""

    def coefficients(self, leak: torch.Tensor, gain: torch.Tensor, dt: float) -> dict[str, torch.Tensor]:
        """Return nothing: a delta needs no propagator."""
        return {}

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Value]]:
        """Return the arriving weight itself."""
        return x, {}

    def waits(self, s: Names) -> list[Value]:
        """Return no condition."""
        return []


class Exp(Receptor):
    """Exponentially decaying current: ``I' = -I / tau``, a spike of weight w adds w."""

    PARAMETERS: ClassVar[dict[str, Parameter]] = {"tau": Parameter(5.0, "ms", above=0.0, doc="decay time constant")}
    STATES: ClassVar[dict[str, State]] = {"i": State(doc="current")}

    def coefficients(self, leak: torch.Tensor, gain: torch.Tensor, dt: float) -> dict[str, torch.Tensor]:
        """Return ``decay`` and ``drive``."""
        rate = 1.0 / self.value("tau")
        decay = torch.exp(-rate * dt)
        return {"decay": decay, "drive": _charge(leak, rate, gain, dt)}

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Value]]:
        """Return the charge of the old current, and the current after this step's arrivals."""
        return c.drive * s.i, {"i": c.decay * s.i + x}

    def waits(self, s: Names) -> list[Value]:
        """Return that no exciting current is left."""
        return [s.i <= 0.0]


class Alpha(Receptor):
    """Alpha-shaped current ``w (t/tau) e^{1 - t/tau}``: a spike of weight w peaks at w after tau."""

    PARAMETERS: ClassVar[dict[str, Parameter]] = {"tau": Parameter(5.0, "ms", above=0.0, doc="time to peak")}
    STATES: ClassVar[dict[str, State]] = {"y": State(doc="rise"), "i": State(doc="current")}

    def coefficients(self, leak: torch.Tensor, gain: torch.Tensor, dt: float) -> dict[str, torch.Tensor]:
        """Return ``decay``, ``rise``, ``drive``, ``rise_drive`` and ``peak``."""
        rate = 1.0 / self.value("tau")
        decay = torch.exp(-rate * dt)
        return {
            "decay": decay,
            "rise": dt * decay,
            "drive": _charge(leak, rate, gain, dt),
            "rise_drive": gain * dt * dt * _rise(leak, rate, dt),
            "peak": math.e * rate,
        }

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Value]]:
        """Return the charge of the old current and rise, and both after this step's arrivals."""
        added = c.drive * s.i + c.rise_drive * s.y
        return added, {"y": c.decay * s.y + c.peak * x, "i": c.decay * s.i + c.rise * s.y}

    def waits(self, s: Names) -> list[Value]:
        """Return that neither current nor rise is exciting."""
        return [s.i <= 0.0, s.y <= 0.0]


def as_receptors(given: Any) -> dict[str, Receptor]:
    """Return receptors by name; a single one is named ``"input"``.

    Args:
        given: a `Receptor` or a mapping of names to receptors.

    Raises:
        ParameterError: it is neither, is empty, or a name is not an identifier.
    """
    if isinstance(given, Receptor):
        return {"input": given}
    if isinstance(given, dict) and given and all(isinstance(r, Receptor) for r in given.values()):
        for name in given:
            if not isinstance(name, str) or not name.isidentifier():
                raise ParameterError(f"receptor name {name!r}: must be an identifier, e.g. 'exc'.")
            if name.startswith("_") or hasattr(torch.nn.ModuleDict, name):
                raise ParameterError(f"receptor name {name!r} is taken; choose another, e.g. 'exc'.")
        return dict(given)
    raise ParameterError(
        f"receptors={given!r}: give a receptor (Delta(), Exp(tau=5.0), Alpha(tau=5.0)) or a dict of them by name."
    )
