r"""Numerical integration: the base of neurons whose membrane has no closed form.

A step of dt is cut into `substeps` of h. Within each, the receptors' currents and conductances follow their exact
courses; membrane and further variables follow the classical Runge-Kutta method (``"rk4"``, error of a step
:math:`O(h^5)`), the midpoint method (``"midpoint"``, :math:`O(h^3)`, half the work) or forward Euler (``"euler"``,
:math:`O(h^2)`). Arrivals take effect at the end of the step, then the threshold is tested, once a step: so a spike time
is exact to dt whatever `substeps` is.

These methods are explicit: where h times a rate of the flow, e.g. the sum of all conductances over the capacitance,
goes beyond 2.78 (Runge-Kutta) or 2 (the others), the membrane oscillates and grows. Take more `substeps` then. The
simulator looks for that now and then (`spikeframe.core.accuracy`).

Three and more substeps are a loop in generated code, so a simulation compiles as fast for many as for few
(`HodgkinHuxley` with 8: 8 s). Only the backward kernel of training has all of them written out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from spikeframe.errors import ParameterError, known_name
from spikeframe.kernels.trace import Names, Program, Recorder, Value, begin_round
from spikeframe.neurons.receptors import Receptor
from spikeframe.neurons.refractory import Refractory

Flow = dict[str, Value]
#: The methods, each with the lengths it takes from a substep: their names and the substep over each.
METHODS = {
    "rk4": {"span": 1.0, "span_half": 2.0, "span_sixth": 6.0},
    "midpoint": {"span": 1.0, "span_half": 2.0},
    "euler": {"span": 1.0},
}
#: Substep times rate of the flow from which each is unstable.
LIMITS = {"rk4": 2.785, "midpoint": 2.0, "euler": 2.0}
#: A receptor with its coefficients, what arrives at it, its states' prefix and its states now.
_Course = tuple[Receptor, Names, Value, str, dict[str, Value]]


class Integrated(Refractory):
    """Base of neurons that integrate numerically.

    A model lists in `FLOWING` the states that flow, gives their time derivatives in `flow`, and in `settle` what
    happens after the flow: threshold and reset.

    Args:
        method: one of `METHODS`.
        substeps: integration steps per time step.
        options: parameters and what every `Neuron` takes.

    Raises:
        UnknownNameError: no such method.
        ParameterError: substeps is no whole number from 1 to 64.
    """

    NUMERIC: ClassVar[bool] = True
    FLOWING: ClassVar[tuple[str, ...]] = ("v",)
    TRACED: ClassVar[frozenset[str]] = Refractory.TRACED | {"method", "substeps"}

    def __init__(self, *, method: str = "rk4", substeps: int = 1, **options: Any) -> None:
        super().__init__(**options)
        known_name(f"method of {type(self).__name__}", method, METHODS)
        if isinstance(substeps, bool) or not isinstance(substeps, int) or not 1 <= substeps <= 64:
            raise ParameterError(f"{type(self).__name__}(substeps={substeps!r}): must be a whole number from 1 to 64.")
        self.method, self.substeps = method, substeps

    def flow(self, y: Names, i: Value | None, s: Names, c: Names) -> Flow:
        """Return the time derivatives (1/ms) of the flowing states.

        Args:
            y: the flowing states at this moment.
            i: current into the membrane at this moment (pA), or None if no receptor gives any.
            s: all states at the start of the step.
            c: parameters and coefficients.
        """
        raise NotImplementedError(f"{type(self).__name__} must define flow(y, i, s, c).")

    def settle(self, y: Names, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Return the spike, and all own states after it.

        Args:
            y: the flowing states at the end of the step, arrivals included.
            s: all states at the start of the step.
            c: parameters and coefficients.
        """
        raise NotImplementedError(f"{type(self).__name__} must define settle(y, s, c).")

    def remedy(self, dt: float) -> str:
        """Return what to do where a state is no longer finite.

        Args:
            dt: time step, ms.
        """
        many = f"{self.substeps} substeps" if self.substeps > 1 else "1 substep"
        return (
            f"{type(self).__name__} integrates by {self.method} in {many} of {dt / self.substeps:g} ms, and grows "
            f"without bound where that is too long for its rates: give it substeps={min(64, 2 * self.substeps)} or "
            "more, use a smaller dt, or look at its input and parameters."
        )

    def receptor_coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return the propagators over one stage of the integration, and the lengths of its substeps."""
        h = dt / self.substeps
        stage = h if self.method == "euler" else h / 2
        lengths = {name: h / part for name, part in METHODS[self.method].items()}
        found = {name: torch.tensor(value, dtype=torch.float64, device="cpu") for name, value in lengths.items()}
        for name, receptor in self._named_receptors():
            found |= {f"{name}.{k}": v for k, v in receptor.propagators(stage).items()}
        return found

    def _composed(self, x: Any, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Integrate over the substeps, let arrivals in, settle."""
        views = self._views(x, s, c)
        courses = [(r, k, x_r, prefix, dict(inner._values)) for prefix, r, x_r, inner, k in views]
        y: Flow = {name: getattr(s, name) for name in self.FLOWING}
        for _ in range(self.substeps):
            begin_round(c.span)
            y, courses = self._substep(y, courses, s, c)
        begin_round(c.span)
        states: dict[str, Any] = {}
        for receptor, k, x_r, prefix, now in courses:
            states |= {prefix + name: value for name, value in receptor.arrive(x_r, now, k).items()}
            jump = receptor.jump(x_r)
            if jump is not None:
                y["v"] = y["v"] + jump
        out, own = self.settle(Names("state", y), self._with_randoms(x, s), c)
        return out, {**own, **states}

    def slope_program(self) -> Program:
        """Return the traced slope of the membrane in units of the stable one: below -1 over v, integration is unstable.

        Its leaves are those of `program`; its outputs the slope as it is (``"v"``), without the receptors (``"own"``),
        and, if these give a current, with one unit more of it (``"more"``).
        """
        leaves = self.program().leaves
        recorder = Recorder(leaves)
        named: dict[str, dict[str, Value]] = {kind: {} for kind in ("input", "state", "coefficient")}
        for i, leaf in enumerate(leaves):
            named[leaf.kind][leaf.name] = recorder.leaf(i)
        x, s, c = (Names(kind, values) for kind, values in named.items())
        y = {name: getattr(s, name) for name in self.FLOWING}
        views = self._views(x, s, c)
        total = _current(y["v"], [(r, k, x_r, prefix, dict(inner._values)) for prefix, r, x_r, inner, k in views])
        currents: dict[str, Value | None] = {"v": total, "own": total}
        if total is not None:  # a flow need not know what to do without a current
            currents |= {"own": total * 0.0, "more": total + 1.0}
        slopes = {name: self.flow(Names("state", y), current, s, c)["v"] for name, current in currents.items()}
        return recorder.program([(n, slope * c.span * (1.0 / LIMITS[self.method])) for n, slope in slopes.items()])

    def _substep(self, y: Flow, courses: list[_Course], s: Names, c: Names) -> tuple[Flow, list[_Course]]:
        """Return the flowing states and the receptors' one substep later."""

        def slope(at: Flow, now: list[_Course]) -> Flow:
            return self.flow(Names("state", at), _current(at["v"], now), s, c)

        if self.method == "euler":
            return _moved(y, slope(y, courses), c.span), _later(courses)
        middle = _later(courses)
        end = _later(middle)
        k1 = slope(y, courses)
        k2 = slope(_moved(y, k1, c.span_half), middle)
        if self.method == "midpoint":
            return _moved(y, k2, c.span), end
        k3 = slope(_moved(y, k2, c.span_half), middle)
        k4 = slope(_moved(y, k3, c.span), end)
        mean = {n: k1[n] + (k2[n] + k3[n]) * 2.0 + k4[n] for n in y}
        return _moved(y, mean, c.span_sixth), end


def _moved(y: Flow, slope: Flow, span: Value) -> Flow:
    """Return ``y + span * slope``."""
    return {name: y[name] + span * slope[name] for name in y}


def _later(courses: list[_Course]) -> list[_Course]:
    """Return the receptors one stage later."""
    return [(r, k, x, prefix, r.advance(now, k)) for r, k, x, prefix, now in courses]


def _current(v: Value, courses: list[_Course]) -> Value | None:
    """Sum the receptors' currents at membrane `v`, in the order they are named."""
    total = None
    for receptor, k, x, _, now in courses:
        each = receptor.through(v, now, k)
        each = receptor.current(x, now) if each is None else each
        if each is not None:
            total = each if total is None else total + each
    return total


def plus(a: Value, b: Value | None) -> Value:
    """Add what may be missing.

    Args:
        a: a value.
        b: another, or None.
    """
    return a if b is None else a + b


def drive(gain: Callable[[], Value], i: Value | None) -> Value | None:
    """Return a current times a gain, or None without a current; the gain is read only if needed.

    Args:
        gain: gives the coefficient.
        i: the current or None.
    """
    return None if i is None else gain() * i
