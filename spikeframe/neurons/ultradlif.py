r"""UltraDLIF: smooth neurons coupled to their neighbours by gap junctions, as a log-sum-exp at temperature ε.

.. math:: D(v)_i = \varepsilon \log \Big(e^{v_i/\varepsilon} + \sum_{j \sim i} g\, e^{v_j/\varepsilon}\Big), \qquad
          s = \sigma((\cdot - \theta)/\varepsilon), \quad v \leftarrow v (1 - s), \qquad \tau = e^{-dt/\tau_m}

The published text, its library and its ablation use different steps, all here:

=========  =====================================================  =============================================
form       step                                                   where it is published
=========  =====================================================  =============================================
"leaky"    v <- τ v + I;  s = σ((D(v) - θ)/ε)                     the library, which made the tables
"paper"    v <- D(v) + I;  s = σ((v - θ)/ε)                       the equation; the ablation has θ = 1
"damped"   v <- D(v; centre τ v_i) + I;  s = σ((v - θ)/ε)         the ablation's learnable-leak variant
=========  =====================================================  =============================================

In exponential coordinates w = exp(v/ε), D is one step of diffusion over the neighbourhood: w_i + g Σ w_j. As ε -> 0 it
is the maximum of a neuron and its neighbours (whatever g, unless g shrinks with ε), at most ``ε log(1 + n g)`` below D.
Reference: UltraLIF 2026, arXiv:2602.11206, a ring of g = 1.

==========  ======  ====  =======  ===========================================================
parameter   symbol  unit  default  meaning (range)
==========  ======  ====  =======  ===========================================================
tau_m       τ_m     ms    9.49     leak time constant (> 0); the default is τ = 0.9 at dt = 1
eps         ε       mV    1        temperature (> 0)
v_th        θ       mV    0        threshold
gap         g       1     1        strength of a gap junction (> 0)
==========  ======  ====  =======  ===========================================================

The library's learnable-leak variant starts at τ = σ(0.9) = 0.711 (its text says 0.9), ``tau_m = 2.93`` at dt = 1.
State: ``v``. The output is a number in (0, 1). A neuron sees its neighbours within a step, so this is a torch layer and
not a traced neuron; like `UltraLIF` it has no silent state, hence no event-driven run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from spikeframe.errors import DTypeError, ParameterError, ShapeError, TimeGridError
from spikeframe.neurons.neuron import _time_step
from spikeframe.neurons.parameters import Parameter, Parametric
from spikeframe.neurons.temporal import Temporal
from spikeframe.neurons.ultralif import TAU_M

FORMS = ("leaky", "paper", "damped")


class UltraDLIFState(NamedTuple):
    """State of an UltraDLIF layer: the membrane ``[B, ...]``."""

    v: Tensor


class UltraDLIF(Parametric, Temporal):
    """Smooth leaky neurons on a line, ring, plane or torus of gap junctions.

    Called as ``out, state = layer(x, state)`` with ``x`` of shape ``[T, B, ...]``.

    Args:
        dt: time step, ms.
        form: ``"leaky"``, ``"paper"`` or ``"damped"``.
        axes: neuron axes along which neighbours lie, counted from the last; ``(-1,)`` is a ring of features,
            ``(-2, -1)`` an image's four neighbours, ``(-3,)`` a ring of channels.
        boundary: ``"periodic"`` (as published) or ``"open"`` (the ends have one neighbour less).
        learnable: names of the parameters to train.
        values: parameters of the table above.

    Raises:
        ParameterError: an option that there is not, or a parameter out of range.
        TimeGridError: dt is no positive number.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "tau_m": Parameter(TAU_M, "ms", above=0.0, doc="leak time constant"),
        "eps": Parameter(1.0, "mV", above=0.0, doc="temperature"),
        "v_th": Parameter(0.0, "mV", doc="threshold"),
        "gap": Parameter(1.0, above=0.0, doc="strength of a gap junction"),
    }

    def __init__(
        self,
        *,
        dt: float | None = None,
        form: str = "leaky",
        axes: tuple[int, ...] = (-1,),
        boundary: str = "periodic",
        learnable: Iterable[str] = (),
        **values: Any,
    ) -> None:
        super().__init__(values, learnable)
        kind = type(self).__name__
        if form not in FORMS:
            raise ParameterError(f"{kind}(form={form!r}): must be one of {', '.join(map(repr, FORMS))}.")
        if boundary not in ("periodic", "open"):
            raise ParameterError(f"{kind}(boundary={boundary!r}): must be 'periodic' or 'open'.")
        whole = isinstance(axes, tuple) and all(type(a) is int and a < 0 for a in axes)
        if not whole or not axes or len(set(axes)) < len(axes):
            raise ParameterError(f"{kind}(axes={axes!r}): must be different negative numbers, e.g. (-1,) or (-2, -1).")
        self.dt = None if dt is None else _time_step(kind, dt)
        self.form, self.axes, self.boundary = form, axes, boundary

    def forward(self, x: Tensor, state: UltraDLIFState | None = None) -> tuple[Tensor, UltraDLIFState]:
        """Run over time.

        Args:
            x: ``[T, B, ...]`` input.
            state: as returned by an earlier call, or None for v = 0.

        Returns:
            Output ``[T, B, ...]`` in (0, 1) and the final state.

        Raises:
            ShapeError, DTypeError, NonFiniteError, TimeGridError: the input, state or dt is not usable.
        """
        x = self._checked(x)
        kind = type(self).__name__
        if self.dt is None:
            raise TimeGridError(f"{kind} has no time step; make it with dt=... (ms).")
        if -min(self.axes) > x.ndim - 2:
            raise ShapeError(f"{kind}: axes {self.axes} reach beyond the neuron axes of {tuple(x.shape)} [T, B, ...].")
        v = x.new_zeros(x.shape[1:]) if state is None else state.v
        if v.shape != x.shape[1:]:
            raise ShapeError(f"{kind}: state 'v' has shape {tuple(v.shape)}, the input asks for {tuple(x.shape[1:])}.")
        if v.dtype != x.dtype:
            raise DTypeError(f"{kind}: state 'v' is {v.dtype}, expected {x.dtype}.")
        tau, eps, theta, log_gap = (
            value.to(x) for value in (torch.exp(-self.dt / self.tau_m), self.eps, self.v_th, torch.log(self.gap))
        )
        outputs = []
        for arriving in x.unbind(0):
            if self.form == "leaky":
                v = tau * v + arriving
                seen = self.diffused(v, v, eps, log_gap)
            else:
                v = seen = self.diffused(v, tau * v if self.form == "damped" else v, eps, log_gap) + arriving
            out = torch.sigmoid((seen - theta) / eps)
            v = v * (1.0 - out)
            outputs.append(out)
        return torch.stack(outputs) if outputs else torch.zeros_like(x), UltraDLIFState(v)

    def operations(self) -> dict[str, int]:
        """Count the operations of one update, those of `Neuron.operations`; a logarithm is counted as an exponential.

        A term of the sum of exponentials is a neuron or a neighbour: scaled, shifted, compared, raised and added.
        """
        terms = 1 + 2 * len(self.axes)
        damped = int(self.form != "paper")
        return {"ac": 3 * terms + 6, "mac": terms + 4 + damped, "exp": terms + 2, "cmp": terms - 1}

    def diffused(self, v: Tensor, centre: Tensor, eps: Tensor, log_gap: Tensor) -> Tensor:
        """Return ``eps log(exp(centre / eps) + gap sum of exp(v_j / eps))`` over the neighbours j.

        Args:
            v: membranes ``[B, ...]``.
            centre: what each neuron sees of itself.
            eps: temperature.
            log_gap: logarithm of the junctions' strength.
        """
        own = centre / eps
        terms, weights = [own], [torch.ones_like(v)]
        for axis in self.axes:
            for way in (1, -1):
                present = self._present(v, axis, way)
                terms.append(torch.where(present, torch.roll(v, way, axis) / eps + log_gap, own))
                weights.append(present.to(v))
        stacked = torch.stack(terms)
        high = stacked.amax(0).detach()  # cancels: no gradient through it
        summed = (torch.exp(stacked - high) * torch.stack(weights)).sum(0)
        found: Tensor = eps * (high + torch.log(summed))
        return found

    def _present(self, v: Tensor, axis: int, way: int) -> Tensor:
        """Return whether a neuron has a neighbour on this side; at the end of an open axis it has none."""
        mask = torch.ones_like(v, dtype=torch.bool)
        if self.boundary == "open" and v.shape[axis]:
            mask.select(axis, 0 if way == 1 else -1).fill_(False)
        return mask

    def extra_repr(self) -> str:
        """Show the options and the parameters that differ from the table's defaults."""
        shown = f"form={self.form!r}, axes={self.axes}, boundary={self.boundary!r}"
        return ", ".join(filter(None, [shown, super().extra_repr()]))
