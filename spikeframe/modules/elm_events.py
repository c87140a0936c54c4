r"""Event-driven run of an ELM neuron: synaptic traces in closed form between events.

All synapses have one time constant, so what they contribute to the hidden layer decays as a whole,

.. math:: h(t) = \sum_{\text{events } e} e^{-(t - t_e)/τ_s} \, v_e W_1 w_{i_e},

and an event adds one column. An event takes effect at the first step that does not begin before it, so events on the
grid give the clocked run; others need no grid. Memories have no such form, since Δ depends on them; but Δ is held, and
the MLP is not evaluated, while no input of the MLP has moved further than a tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError, TimeGridError
from spikeframe.modules.checks import whole

Floats = NDArray[np.float64]

#: Scale and slope of the hyperbolic tangent.
SCALE, SLOPE = 1.7159, 2.0 / 3.0


@dataclass(frozen=True, eq=False)
class ELMRun:
    """What an event-driven run gave.

    Attributes:
        out: ``[T, outputs]`` readouts.
        memory: ``[memories]`` at the end.
        evaluations: steps at which the MLP was evaluated.
        operations: by class: ``syn_ac`` (events), ``dense_mac`` (MLP and readout), ``neu_mac`` (decays), ``neu_exp``;
            and ``dense_equiv_mac``, the multiply-accumulates of the clocked run.
    """

    out: Floats
    memory: Floats
    evaluations: int
    operations: dict[str, int]


class EventDrivenELM:
    """An ELM neuron that is run on events; made by `ELM.event_driven`.

    Args:
        columns: ``[inputs, hidden]`` what a unit event adds to the hidden layer.
        tolerance: how far an input of the MLP may move before it is evaluated again.
        dt: step, ms.
        tau_m: ``[memories]`` ms.
        tau_s: ms.
        gain: λ.
        activation: ``"relu"`` or ``"silu"``.
        branches: inputs of the clocked MLP that are no memories.
        weights: the neuron's other weights, transposed.

    Raises:
        ParameterError: a tolerance that is negative or no number.
    """

    def __init__(
        self,
        *,
        columns: Floats,
        tolerance: float,
        dt: float,
        tau_m: Floats,
        tau_s: float,
        gain: float,
        activation: str,
        branches: int,
        **weights: Floats,
    ) -> None:
        if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not tolerance >= 0:
            raise ParameterError(f"event_driven(tolerance={tolerance!r}): must be a number from 0.")
        self.columns, self.tolerance, self.dt, self.tau_s = columns, float(tolerance), dt, tau_s
        self.keep, self.move = np.exp(-dt / tau_m), -gain * np.expm1(-dt / tau_m)
        self.relu, self.branches = activation == "relu", branches
        self.w: dict[str, Any] = weights

    def _delta(self, hidden: Floats, kept: Floats) -> Floats:
        """Evaluate the MLP."""
        z = hidden + kept @ self.w["memory"] + self.w["offset"]
        z = np.maximum(z, 0.0) if self.relu else z / (1.0 + np.exp(-z))
        found: Floats = SCALE * np.tanh(SLOPE * (z @ self.w["second"] + self.w["second_offset"]))
        return found

    def __call__(self, times: ArrayLike, sources: ArrayLike, steps: int, values: ArrayLike | None = None) -> ELMRun:
        """Run from rest.

        Args:
            times: of the events, ms from the first step, not falling; on the grid or not.
            sources: input of every event.
            steps: T, number of steps to run, at 0, dt, 2 dt, ...; what comes after the last is not used.
            values: size of every event; 1 if not given.

        Raises:
            ShapeError, DTypeError, NonFiniteError, ParameterError, TimeGridError: the events are not usable.
        """
        t, source, size = self._events(times, sources, values)
        steps = whole("steps", steps, 0)
        first = np.ceil(t / self.dt - 1e-9).astype(np.int64)  # step at which it takes effect
        bounds = np.searchsorted(first, np.arange(steps + 1))
        aged = size * np.exp(-np.maximum(first * self.dt - t, 0.0) / self.tau_s)
        count, hidden = self.w["readout"].shape[0], self.columns.shape[1]
        h, m = np.zeros(hidden), np.zeros(count)
        delta = np.zeros(count)
        seen: tuple[Floats, Floats] | None = None
        memories, evaluations = np.empty((steps, count)), 0
        fade = np.exp(-self.dt / self.tau_s)
        for step in range(steps):
            h = fade * h
            for e in range(bounds[step], bounds[step + 1]):
                h = h + aged[e] * self.columns[source[e]]
            kept = self.keep * m
            if seen is None or self._moved(h, seen[0]) or self._moved(kept, seen[1]):
                delta, seen, evaluations = self._delta(h, kept), (h, kept), evaluations + 1
            m = kept + self.move * delta
            memories[step] = m
        out: Floats = memories @ self.w["readout"] + self.w["readout_offset"]
        used = int(bounds[-1])
        operations = {
            "syn_ac": used * hidden,
            "dense_mac": evaluations * 2 * count * hidden + steps * out.shape[1] * count,
            "neu_mac": steps * (hidden + 2 * count),
            "neu_exp": evaluations * count,
            "dense_equiv_mac": steps * ((self.branches + 2 * count) * hidden + out.shape[1] * count),
        }
        return ELMRun(out, m, evaluations, operations)

    def _moved(self, now: Floats, then: Floats) -> bool:
        return bool((np.abs(now - then) > self.tolerance).any())

    def _events(
        self, times: ArrayLike, sources: ArrayLike, values: ArrayLike | None
    ) -> tuple[Floats, NDArray[np.int64], Floats]:
        """Return the events' columns, or refuse them."""
        source = np.asarray(sources)
        if source.size == 0:
            source = source.astype(np.int64)
        try:
            t = np.asarray(times, np.float64)
            size = np.ones(t.shape) if values is None else np.asarray(values, np.float64)
        except (TypeError, ValueError) as error:
            raise DTypeError(f"events: times and values must be numbers ({error}).") from None
        if t.ndim != 1 or source.shape != t.shape or size.shape != t.shape:
            raise ShapeError(f"events: times {t.shape}, sources {source.shape} and values {size.shape} must be alike.")
        if source.dtype.kind not in "iu":
            raise DTypeError(f"events: sources are {source.dtype}; they must be whole numbers.")
        if not np.isfinite(t).all() or not np.isfinite(size).all():
            bad = int(np.flatnonzero(~(np.isfinite(t) & np.isfinite(size)))[0])
            raise NonFiniteError(f"event {bad}: time {t[bad]:g}, value {size[bad]:g}; both must be finite.")
        if t.size and (t[0] < 0 or (np.diff(t) < 0).any()):
            raise TimeGridError("events: times must be from 0 and must not fall; sort them first.")
        if source.size and not 0 <= source.min() <= source.max() < len(self.columns):
            raise ParameterError(
                f"events: sources from {source.min()} to {source.max()}; inputs are 0 to {len(self.columns) - 1}."
            )
        return t, source.astype(np.int64), size
