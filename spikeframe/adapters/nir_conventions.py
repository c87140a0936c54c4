r"""How programs turn the equations of a NIR graph into steps, and what they write differently.

A graph means equations in continuous time. Everyone who runs one chooses a step h and, without saying so in the graph:

===========  ===========================  =========================================================================
field        values                       meaning
===========  ===========================  =========================================================================
method       ``"exact"``                  v decays by e^{-h/tau}
             ``"euler"``                  v decays by 1 - h/tau
reset        ``"value"``                  a spike sets v to v_reset (what NIR says)
             ``"subtract"``               a spike takes v_threshold - v_reset off v
             ``"stated"``                 as the metadata of each node say, else value
fires        ``"above"``                  at v > v_threshold (what NIR says)
             ``"at"``                     at v >= v_threshold
integrator   ``"time"``                   I and IF add r x h (what NIR says)
             ``"step"``                   I and IF add r x, whatever h is
arrival      ``"filtered"``               an input x adds w_in x (1 - decay of the current), as NIR says
             ``"added"``                  an input x adds w_in x
gain         ``"stated"``                 an input reaches the membrane with r, as NIR says
             ``"one"``                    r is taken for 1, whatever the graph says
             ``"unit"``                   a reader wants, or takes, inputs that add 1 in their step
axes         ``"sample"``                 Flatten counts axes without the batch, as NIR says
             ``"batch"``                  Flatten counts the batch as axis 0
second       ms                           length of the graph's unit of time (1000: NIR's second); None: one step
dt           ms                           the step h, where a program has a fixed one
===========  ===========================  =========================================================================

``"euler"`` with a time constant tau is ``"exact"`` with ``-h / log(1 - h/tau)``: so either runs on neurons with exact
propagators, to rounding error. `WRITTEN_BY` has what graphs of a program mean, `READ_BY` what it makes of ours; both
were found by reading and running norse 1.1, snnTorch 1.0, SpikingJelly 2.0 and sinabs 3.1 (`benchmarks/exchange.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from spikeframe.errors import GraphError, ParameterError, TimeGridError, unknown_name

_CHOICES = {
    "method": ("exact", "euler"),
    "reset": ("value", "subtract", "stated"),
    "fires": ("above", "at"),
    "integrator": ("time", "step"),
    "arrival": ("filtered", "added"),
    "gain": ("stated", "one", "unit"),
    "axes": ("sample", "batch"),
}


@dataclass(frozen=True)
class Convention:
    """What a NIR graph leaves open; see the module's table.

    Args:
        dt: step, ms; None: to be said when it is used.
        method: how membranes and currents decay.
        reset: what a spike does to the membrane.
        fires: whether a membrane at the threshold spikes.
        integrator: what I and IF add in a step.
        arrival: what an input adds to a current.
        gain: how much of an input reaches the membrane; only for writing: potentials are scaled to fit.
        axes: whether Flatten counts the batch.
        second: ms per unit of time of the graph, or None for a step.

    Raises:
        UnknownNameError: a choice that is not known.
        TimeGridError: dt or second is no positive number.
    """

    dt: float | None = None
    method: str = "exact"
    reset: str = "value"
    fires: str = "above"
    integrator: str = "time"
    arrival: str = "filtered"
    gain: str = "stated"
    axes: str = "sample"
    second: float | None = 1000.0

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise unknown_name(f"Convention({name}=...)", getattr(self, name), known)
        for name in ("dt", "second"):
            value = getattr(self, name)
            wrong = isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e12
            if value is not None and wrong:
                raise TimeGridError(f"Convention({name}={value!r}): must be a positive number of milliseconds.")

    def at(self, dt: float | None) -> Convention:
        """Return the convention with a step.

        Args:
            dt: ms, or None for its own.

        Raises:
            TimeGridError: there is none.
            ParameterError: the program has another.
        """
        if dt is None and self.dt is None:
            raise TimeGridError("NIR graphs have no time step: give dt=... (ms).")
        if dt is not None and self.dt is not None and not math.isclose(dt, self.dt, rel_tol=1e-9):
            raise ParameterError(f"dt={dt:g} ms: this convention has a fixed step of {self.dt:g} ms; leave dt out.")
        return self if dt is None else replace(self, dt=float(dt))

    @property
    def step(self) -> float:
        """The step, ms."""
        if self.dt is None:
            raise TimeGridError("NIR graphs have no time step: give dt=... (ms).")
        return self.dt

    @property
    def unit(self) -> float:
        """Milliseconds per unit of time of the graph."""
        return self.step if self.second is None else self.second

    def time_constant(self, tau: Tensor, where: str) -> Tensor:
        """Return the time constant of exact propagators, ms, for one that a graph holds.

        Args:
            tau: in the graph's unit, float64.
            where: node and parameter, for the message.

        Raises:
            ParameterError: Euler's method is not stable with it, or it is longer than an hour (a wrong unit).
        """
        ms = tau * self.unit
        if bool((ms > 3.6e6).any()):
            raise ParameterError(
                f"{where}={float(tau.max()):g}: that is {float(ms.max()) / 1000:g} s. NIR's times are seconds; if the "
                "graph's are not, say so with Convention(second=...), the milliseconds of one unit."
            )
        if self.method == "exact":
            return ms
        if bool((ms < self.step).any()):
            raise ParameterError(
                f"{where}={float(tau.min()):g}: Euler's method overshoots with a time constant ({float(ms.min()):g} "
                f"ms) below dt={self.step:g} ms; use a smaller dt, method='exact', or check the unit of time (second)."
            )
        # At tau = dt nothing is left after a step; e^{-1000} is 0 in every float.
        return torch.where(ms == self.step, self.step / 1000, -self.step / torch.log1p(-self.step / ms))

    def written(self, decayed: Tensor) -> Tensor:
        """Return the time constant to write, in the graph's unit, for a decay of ``1 - decayed`` in a step.

        Args:
            decayed: share that is lost in a step, float64.
        """
        if self.method == "euler":
            return self.step / decayed / self.unit
        return -self.step / torch.log1p(-decayed) / self.unit

    def to_metadata(self) -> dict[str, Any]:
        """Return it as text and numbers for a graph's metadata; times in seconds, as NIR has them."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        del found["second"]
        return {**found, "dt": self.step / 1000.0, "unit": self.unit / 1000.0}

    @classmethod
    def from_metadata(cls, metadata: dict[str, Any]) -> Convention:
        """Return the convention that a graph's metadata states, NIR's own where it says nothing.

        Args:
            metadata: of a graph.

        Raises:
            GraphError: an entry makes no sense.
        """
        given: dict[str, Any] = {k: _text(metadata[k]) for k in _CHOICES if k in metadata}
        try:
            for key, name in (("dt", "dt"), ("unit", "second")):
                if key in metadata:
                    given[name] = float(metadata[key]) * 1000.0
            return cls(**given)
        except (LookupError, TypeError, ValueError) as error:
            raise GraphError(f"NIR graph: its metadata says {metadata!r}, which makes no sense: {error}") from None


def _text(value: Any) -> str:
    return value.decode("utf8", "replace") if isinstance(value, bytes) else str(value)


#: What the graphs that a program writes mean.
WRITTEN_BY = {
    "nir": Convention(),
    # norse.torch.to_nir writes dt / (1 / tau), which is seconds only with its argument dt=1 (then use second=1000).
    "norse": Convention(method="euler", integrator="step", arrival="added", second=1e6),
    "snntorch": Convention(dt=0.1, method="euler"),
    "spikingjelly": Convention(method="euler", fires="at"),
    "sinabs": Convention(method="exact", reset="subtract", fires="at", second=None),
}

#: What a program makes of the graphs that it reads.
READ_BY = {
    "nir": Convention(reset="stated", fires="at"),
    "norse": Convention(method="euler", integrator="step", gain="one", axes="batch"),
    "snntorch": Convention(dt=0.1, method="euler", gain="unit", axes="batch"),
    "spikingjelly": Convention(method="euler", fires="at", gain="unit"),
    "sinabs": Convention(method="exact", reset="subtract", fires="at", gain="unit", second=None),
}


def named(convention: str | Convention, known: dict[str, Convention]) -> Convention:
    """Return a convention given by name or as such.

    Args:
        convention: either.
        known: those with names.

    Raises:
        UnknownNameError: no convention has this name.
    """
    if isinstance(convention, Convention):
        return convention
    if convention not in known:
        raise unknown_name("NIR convention", convention, known)
    return known[convention]
