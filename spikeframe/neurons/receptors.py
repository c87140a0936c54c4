r"""Receptors: how an arriving spike becomes current, and what it adds to the membrane over one step, exactly.

A linear membrane obeys ``dv/dt = -a v + k I`` with leak rate ``a`` (1/tau_m, or 0 without leak) and gain ``k``
(r_m/tau_m, or 1/C). With ``b = 1/tau`` and ``h = dt``, over one step without arrivals:

===========  =================================  ========================================================
receptor     current after a spike of weight w  propagators
===========  =================================  ========================================================
`Delta`      w in the membrane's unit, at once  v += w
`Current`    ``I = w`` during this step alone   v += I k (1 - e^{-ah}) / a
`Exp`        ``I += w``, ``I' = -b I``          I -> I e^{-bh};  v += I k (e^{-bh} - e^{-ah}) / (a - b)
`Alpha`      ``y += e b w``, ``y' = -b y``,     y -> y e^{-bh};  I -> I e^{-bh} + y h e^{-bh};
             ``I' = y - b I`` (peak w at tau)   v += I (as above) + y k \int_0^h e^{-a(h-s)} s e^{-bs} ds
`DoubleExp`  ``y += n w``, ``y' = -y/tau_rise``, as `Alpha`, with one rate for y and one for I;
             ``I' = y - I/tau_decay`` (peak w)  n makes the peak w
===========  =================================  ========================================================

Equal time constants are the limit of the same expressions, evaluated without cancellation. Reference: Rotter and
Diesmann 1999, doi:10.1007/s004220050570. An arrival takes effect on I at the end of its step, so it moves v from the
next step on (`Delta` and `Current`: at once). A neuron that integrates numerically (see
`spikeframe.neurons.integrated`) takes the same receptors, and conductances (`spikeframe.neurons.conductances`) too:
there I is given at the start, the middle and the end of a substep, by the same exact propagators.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch

from spikeframe.errors import ParameterError
from spikeframe.kernels.trace import Names, Value
from spikeframe.neurons.parameters import Parameter, Parametric, State


def _mean_exponential(z: torch.Tensor) -> torch.Tensor:
    """``(1 - e^{-z}) / z``, 1 at z = 0, float64."""
    safe = torch.where(z == 0, torch.ones_like(z), z)
    return torch.where(z == 0, 1 - z / 2, -torch.expm1(-safe) / safe)


def charge(leak: torch.Tensor, rate: torch.Tensor, gain: torch.Tensor | float, dt: float) -> torch.Tensor:
    """Return ``k (e^{-bh} - e^{-ah}) / (a - b)``, what a current that decays adds to the membrane in one step.

    It is written around the slower of the two, so that nothing overflows.

    Args:
        leak: the membrane's leak rate a, 1/ms.
        rate: the current's decay rate b, 1/ms.
        gain: the membrane's gain k.
        dt: step h, ms.
    """
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


def _three_rates(*rates: torch.Tensor, dt: float) -> torch.Tensor:
    r"""Second divided difference of ``e^{-x}`` at the three rates times dt, symmetric in them.

    It is ``\int_0^1 \int_0^s`` of the three exponentials in a chain. Rates far apart allow the difference of two first
    differences; close ones the series ``e^{-low} \sum (-1)^n h_n / (n + 2)!`` with h_n the sum of all products of n
    distances from the lowest.
    """
    spread = torch.broadcast_tensors(*rates)  # type: ignore[no-untyped-call]
    low, middle, high = torch.sort(torch.stack(spread), dim=0).values * dt
    near, far = middle - low, high - low
    products, power, series = torch.ones_like(far), torch.ones_like(far), torch.full_like(far, 0.5)
    for n in range(1, 20):
        power = power * near
        products = products * far + power
        series = series + (-1) ** n / math.factorial(n + 2) * products
    large = far > 1.0
    first = torch.exp(-low) * _mean_exponential(near) - torch.exp(-middle) * _mean_exponential(high - middle)
    closed = first / torch.where(large, far, torch.full_like(far, 2.0))
    return torch.where(large, closed, torch.exp(-low) * torch.where(large, torch.zeros_like(series), series))


class Receptor(Parametric):
    """Base of the receptors: a parameter table, state variables and their exact course.

    A receptor with a course of its own may instead define `coefficients` and `step` directly; it then works on linear
    membranes alone.

    Args:
        learnable: names of the parameters to train.
        values: the table's parameters, by name.
    """

    STATES: ClassVar[dict[str, State]] = {}
    #: The state that is the current (or, of a conductance, the conductance).
    LEVEL: ClassVar[str] = ""

    def __init__(self, *, learnable: Iterable[str] = (), **values: Any) -> None:
        super().__init__(values, learnable)

    def propagators(self, span: float) -> dict[str, torch.Tensor]:
        """Return what `advance` and `arrive` need, in float64.

        Args:
            span: time between the two states that `advance` connects, ms.
        """
        return {}

    def charges(self, leak: torch.Tensor, gain: torch.Tensor, dt: float) -> dict[str, torch.Tensor]:
        """Return what `added` needs, in float64.

        Args:
            leak: the membrane's leak rate a, 1/ms.
            gain: the membrane's gain k.
            dt: step, ms.
        """
        return {}

    def added(self, x: Value, s: Mapping[str, Value], c: Names) -> Value:
        """Return what the receptor adds to a linear membrane in one step.

        Args:
            x: sum of the weights that arrive in this step.
            s: its states at the start of the step.
            c: its coefficients.
        """
        raise NotImplementedError(f"{type(self).__name__} must define added(x, s, c), or coefficients and step.")

    def advance(self, s: Mapping[str, Value], c: Names) -> dict[str, Value]:
        """Return the states one span later, without arrivals.

        Args:
            s: its states.
            c: its coefficients.
        """
        return {}

    def arrive(self, x: Value, s: Mapping[str, Value], c: Names) -> dict[str, Value]:
        """Return the states right after arrivals.

        Args:
            x: sum of the weights that arrive.
            s: its states right before.
            c: its coefficients.
        """
        return {}

    def jump(self, x: Value) -> Value | None:
        """Return by how much arrivals move the membrane at the end of their step; None if they do not."""
        return None

    def current(self, x: Value, s: Mapping[str, Value]) -> Value | None:
        """Return the current into the membrane; None if it depends on the membrane, or there is none.

        Args:
            x: sum of the weights that arrive in this step.
            s: its states at this moment.
        """
        return s[self.LEVEL] if self.LEVEL else None

    def through(self, v: Value, s: Mapping[str, Value], c: Names) -> Value | None:
        """Return the current through a conductance at membrane `v`; None if it is no conductance."""
        return None

    def coefficients(self, leak: torch.Tensor, gain: torch.Tensor, dt: float) -> dict[str, torch.Tensor]:
        """Return the propagators for one step of a linear membrane, in float64.

        Args:
            leak: the membrane's leak rate a, 1/ms.
            gain: the membrane's gain k.
            dt: step, ms.
        """
        return {**self.propagators(dt), **self.charges(leak, gain, dt)}

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Value]]:
        """Return what the receptor adds to a linear membrane in this step, and its new states.

        Args:
            x: sum of the weights that arrive in this step.
            s: its states.
            c: its coefficients.
        """
        states = {name: getattr(s, name) for name in self.STATES}
        return self.added(x, states, c), self.arrive(x, self.advance(states, c), c)

    def waits(self, s: Names) -> list[Value]:
        """Return the conditions under which silence cannot raise the membrane any more: no state is exciting."""
        return [getattr(s, name) <= 0.0 for name in reversed(self.STATES)]


class Delta(Receptor):
    """A spike of weight w moves the membrane by w at once."""

    def added(self, x: Value, s: Mapping[str, Value], c: Names) -> Value:
        """Return the arriving weight itself."""
        return x

    def jump(self, x: Value) -> Value:
        """Return the arriving weight itself."""
        return x


class Current(Receptor):
    """What arrives is a current (pA) that is held over its step: an injected current, or a layer's output."""

    def charges(self, leak: torch.Tensor, gain: torch.Tensor, dt: float) -> dict[str, torch.Tensor]:
        """Return ``drive``, what a unit of current adds in one step."""
        return {"drive": charge(leak, torch.zeros_like(leak), gain, dt)}

    def added(self, x: Value, s: Mapping[str, Value], c: Names) -> Value:
        """Return the charge of the current."""
        found: Value = c.drive * x
        return found

    def current(self, x: Value, s: Mapping[str, Value]) -> Value:
        """Return the current itself."""
        return x


class Exp(Receptor):
    """Exponentially decaying current: ``I' = -I / tau``, a spike of weight w adds w."""

    PARAMETERS: ClassVar[dict[str, Parameter]] = {"tau": Parameter(5.0, "ms", above=0.0, doc="decay time constant")}
    STATES: ClassVar[dict[str, State]] = {"i": State(doc="current")}
    LEVEL = "i"

    def propagators(self, span: float) -> dict[str, torch.Tensor]:
        """Return ``decay``."""
        rate = 1.0 / self.value("tau")
        return {"decay": torch.exp(-rate * span)}

    def charges(self, leak: torch.Tensor, gain: torch.Tensor, dt: float) -> dict[str, torch.Tensor]:
        """Return ``drive``, the charge of a unit of current."""
        return {"drive": charge(leak, 1.0 / self.value("tau"), gain, dt)}

    def added(self, x: Value, s: Mapping[str, Value], c: Names) -> Value:
        """Return the charge of the old current."""
        found: Value = c.drive * s[self.LEVEL]
        return found

    def advance(self, s: Mapping[str, Value], c: Names) -> dict[str, Value]:
        """Decay."""
        return {self.LEVEL: c.decay * s[self.LEVEL]}

    def arrive(self, x: Value, s: Mapping[str, Value], c: Names) -> dict[str, Value]:
        """Add the arriving weights."""
        return {self.LEVEL: s[self.LEVEL] + x}


class Alpha(Receptor):
    """Alpha-shaped current ``w (t/tau) e^{1 - t/tau}``: a spike of weight w peaks at w after tau."""

    PARAMETERS: ClassVar[dict[str, Parameter]] = {"tau": Parameter(5.0, "ms", above=0.0, doc="time to peak")}
    STATES: ClassVar[dict[str, State]] = {"y": State(doc="rise"), "i": State(doc="current")}
    LEVEL = "i"

    def propagators(self, span: float) -> dict[str, torch.Tensor]:
        """Return ``decay``, ``rise`` and ``peak``."""
        rate = 1.0 / self.value("tau")
        decay = torch.exp(-rate * span)
        return {"decay": decay, "rise": span * decay, "peak": math.e * rate}

    def charges(self, leak: torch.Tensor, gain: torch.Tensor, dt: float) -> dict[str, torch.Tensor]:
        """Return ``drive`` and ``rise_drive``, the charges of a unit of current and of rise."""
        rate = 1.0 / self.value("tau")
        return {"drive": charge(leak, rate, gain, dt), "rise_drive": gain * dt * dt * _rise(leak, rate, dt)}

    def added(self, x: Value, s: Mapping[str, Value], c: Names) -> Value:
        """Return the charge of the old current and rise."""
        found: Value = c.drive * s[self.LEVEL] + c.rise_drive * s["y"]
        return found

    def advance(self, s: Mapping[str, Value], c: Names) -> dict[str, Value]:
        """Decay, and let the rise pass into the current."""
        return {"y": c.decay * s["y"], self.LEVEL: c.decay * s[self.LEVEL] + c.rise * s["y"]}

    def arrive(self, x: Value, s: Mapping[str, Value], c: Names) -> dict[str, Value]:
        """Add the arriving weights to the rise."""
        return {"y": s["y"] + c.peak * x, self.LEVEL: s[self.LEVEL]}


class DoubleExp(Alpha):
    """Difference of two exponentials, peak w for a spike of weight w; equal time constants give `Alpha`."""

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "tau_rise": Parameter(1.0, "ms", above=0.0, doc="rise time constant"),
        "tau_decay": Parameter(5.0, "ms", above=0.0, doc="decay time constant"),
    }

    def _rates(self) -> tuple[torch.Tensor, torch.Tensor]:
        return 1.0 / self.value("tau_rise"), 1.0 / self.value("tau_decay")

    def propagators(self, span: float) -> dict[str, torch.Tensor]:
        """Return ``fall`` (the decay of the rise), ``decay``, ``rise`` and ``peak``."""
        quick, slow = self._rates()
        ratio = quick / slow
        apart = torch.where(ratio == 1.0, torch.ones_like(ratio), ratio - 1.0)
        # The peak comes at t with quick t = ratio log(ratio) / (ratio - 1), where y = slow I: so I peaks at 1/peak.
        latency = torch.where(ratio == 1.0, torch.ones_like(ratio), ratio * torch.log1p(apart) / apart)
        return {
            "fall": torch.exp(-quick * span),
            "decay": torch.exp(-slow * span),
            "rise": charge(slow, quick, 1.0, span),
            "peak": slow * torch.exp(latency),
        }

    def charges(self, leak: torch.Tensor, gain: torch.Tensor, dt: float) -> dict[str, torch.Tensor]:
        """Return ``drive`` and ``rise_drive``, the charges of a unit of current and of rise."""
        quick, slow = self._rates()
        return {
            "drive": charge(leak, slow, gain, dt),
            "rise_drive": gain * dt * dt * _three_rates(leak, quick, slow, dt=dt),
        }

    def advance(self, s: Mapping[str, Value], c: Names) -> dict[str, Value]:
        """Decay, and let the rise pass into the current."""
        return {"y": c.fall * s["y"], self.LEVEL: c.decay * s[self.LEVEL] + c.rise * s["y"]}


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
