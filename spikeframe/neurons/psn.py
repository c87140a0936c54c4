r"""Parallel spiking neurons: no reset, so all time steps at once.

.. math:: H = W X, \qquad S = \Theta(H - B), \qquad X \in \mathbb{R}^{T \times N}

==============  =====================================================  =============================================
class           W                                                      runs
==============  =====================================================  =============================================
`PSN`           any ``[T, T]``, a B per step: not causal               whole sequences of exactly T steps
`MaskedPSN`     ``[T, T]`` times a mask that closes on a band          the same; causal once λ = 1
`SlidingPSN`    k weights over the last k inputs, one B                a traced neuron: every execution, any length
`ParallelLIF`   powers of a decay: a LIF without reset, one B          a traced neuron, or `ParallelLIF.scan`
==============  =====================================================  =============================================

Fang et al. 2023, arXiv:2304.12760. Their B is learnt and starts at 1, W starts uniform in ±1/sqrt(T) (PSN, masked) or
at (..., 1/4, 1/2, 1) (sliding). The masked matrix is ``W ((1 - λ) + λ M)``, M one where ``0 <= t - t' < k``; λ is to be
raised from 0 to 1 during training, after which no step sees a later one.

Cost of an update: PSN T multiplies and adds, SlidingPSN k, ParallelLIF 1 (its scan log2 T of each, in parallel).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spikeframe.errors import ParameterError, ShapeError, TimeGridError
from spikeframe.kernels.trace import Names, Value, spike
from spikeframe.learning_rules.surrogates import Surrogate
from spikeframe.neurons.neuron import Neuron, _first_bad
from spikeframe.neurons.parameters import Parameter, State
from spikeframe.neurons.temporal import Temporal


def _whole(name: str, value: Any, most: int) -> int:
    """Return a whole number from 1 to `most`, or refuse it."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ParameterError(f"{name}={value!r}: must be a whole number from 1 to {most}.")
    return value


class _Threshold(Neuron):
    """A test without memory: 1 where the input is at least 0, with the surrogate's gradient."""

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        return spike(x), {}


class PSN(Temporal):
    """Parallel spiking neuron: every step sees every step.

    Called as ``out, state = layer(x)`` with ``x`` of shape ``[T, B, ...]``; the state is None: there is nothing to go
    on from.

    Args:
        steps: T.
        surrogate: stands in for the derivative of the spike.
        backend: as of `Neuron`, for the threshold.

    Raises:
        ParameterError: steps is no whole number from 1 to 65536.
    """

    def __init__(self, steps: int, *, surrogate: str | Surrogate = "atan", backend: str = "auto") -> None:
        super().__init__()
        self.steps = _whole(f"{type(self).__name__}(steps)", steps, 2**16)
        self.weight = nn.Parameter(torch.empty(steps, steps).uniform_(-1.0, 1.0) / math.sqrt(steps))
        self.threshold = nn.Parameter(torch.ones(steps))
        self.test = _Threshold(dt=1.0, surrogate=surrogate, backend=backend)

    def matrix(self) -> Tensor:
        """Return W, ``[T, T]``: row t holds what step t takes from every step."""
        return self.weight

    def operations(self) -> dict[str, int]:
        """Count the operations of one update, those of `Neuron.operations`: a row of W, then the threshold."""
        return {k: n + self.steps * (k in ("ac", "mac")) for k, n in self.test.operations().items()}

    def forward(self, x: Tensor, state: None = None) -> tuple[Tensor, None]:
        """Run a whole sequence.

        Args:
            x: ``[T, B, ...]`` input.
            state: None.

        Returns:
            Spikes ``[T, B, ...]``, and None.

        Raises:
            ShapeError, DTypeError, NonFiniteError: the input or state is not usable.
        """
        x = self._checked(x)
        kind = type(self).__name__
        if len(x) != self.steps:
            raise ShapeError(f"{kind}: the input has {len(x)} time steps, the layer was made for {self.steps}.")
        if state is not None:
            raise ShapeError(f"{kind}: takes whole sequences and goes on from no state; got {type(state).__name__}.")
        h = self.matrix().to(x) @ x.flatten(1) - self.threshold.to(x)[:, None]
        return self.test(h.reshape(x.shape))[0], None


class MaskedPSN(PSN):
    """Parallel spiking neuron whose matrix closes on a band during training.

    Args:
        steps: T.
        order: k, how many steps a step sees in the end, itself among them; 1 to T.
        masking: λ from 0 (a plain PSN) to 1 (the band); assign `layer.masking` to raise it.
        options: surrogate and backend as of `PSN`.

    Raises:
        ParameterError: an order or a λ that there cannot be.
    """

    mask: Tensor

    def __init__(self, steps: int, order: int, *, masking: float = 1.0, **options: Any) -> None:
        super().__init__(steps, **options)
        order = _whole("MaskedPSN(order)", order, steps)
        lag = torch.arange(steps)[:, None] - torch.arange(steps)
        self.register_buffer("mask", ((lag >= 0) & (lag < order)).float(), persistent=False)
        self.order = order
        self.masking = masking

    def __setattr__(self, name: str, value: Any) -> None:
        """Check λ."""
        if name == "masking":
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not 0 <= value <= 1:
                raise ParameterError(f"MaskedPSN(masking={value!r}): must be a number from 0 to 1.")
        super().__setattr__(name, value)

    def matrix(self) -> Tensor:
        """Return ``W ((1 - λ) + λ M)``."""
        return self.weight * (1.0 - self.masking + self.masking * self.mask)


class SlidingPSN(Neuron):
    """Parallel spiking neuron over the last k inputs, alike at every step: a finite impulse response and a test.

    Args:
        order: k, 1 to 64.
        learnable: names of the parameters to train; the weights always are.
        options: v_th (1) and what every `Neuron` takes.

    Raises:
        ParameterError: an order that there cannot be.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {"v_th": Parameter(1.0, "mV", doc="threshold")}

    def __init__(self, order: int = 4, *, learnable: Iterable[str] = ("v_th",), **options: Any) -> None:
        super().__init__(learnable=learnable, **options)
        self.order = _whole("SlidingPSN(order)", order, 64)
        self.weight = nn.Parameter(0.5 ** torch.arange(order, dtype=torch.get_default_dtype()))

    def state_variables(self) -> dict[str, State]:
        """Return the inputs of the steps before, ``x_1`` the last."""
        return {f"x_{lag}": State(0.0, "mV", doc=f"input {lag} steps ago") for lag in range(1, self.order)}

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return the weight of every lag, ``w_0`` of the input itself."""
        return {f"w_{lag}": weight for lag, weight in enumerate(self.weight.double().unbind())}

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Weigh the last inputs, test, move them on."""
        seen = [x, *(getattr(s, f"x_{lag}") for lag in range(1, self.order))]
        h = seen[0] * c.w_0
        for lag in range(1, self.order):
            h = h + getattr(c, f"w_{lag}") * seen[lag]
        return spike(h - c.v_th), {f"x_{lag}": seen[lag - 1] for lag in range(1, self.order)}

    def waits(self, s: Names, c: Names) -> list[Value] | None:
        """Once the last inputs were 0, if the threshold is above 0."""
        return [c.v_th > 0.0, *(getattr(s, f"x_{lag}") == 0.0 for lag in range(1, self.order))]


class ParallelLIF(Neuron):
    """Leaky integrate-and-fire neuron without reset, whose time steps can be computed at once.

    ``v <- exp(-dt/tau_m) v + x``, spike where ``v >= v_th``, nothing else: called as any `Neuron`, or all steps at once
    by `scan`.

    Args:
        options: tau_m (ms, > 0), v_th (mV) and what every `Neuron` takes.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "tau_m": Parameter(20.0, "ms", above=0.0, doc="membrane time constant"),
        "v_th": Parameter(1.0, "mV", doc="threshold"),
    }
    STATES: ClassVar[dict[str, State]] = {"v": State(0.0, "mV", doc="membrane potential")}

    def membrane(self) -> tuple[Tensor, Tensor]:
        """Return leak rate and gain 1/tau_m."""
        return 1.0 / self.tau_m, 1.0 / self.tau_m

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return the decay over one step."""
        return {"decay": torch.exp(-dt / self.tau_m)}

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Integrate, test."""
        v = c.decay * s.v + x
        return spike(v - c.v_th), {"v": v}

    def waits(self, s: Names, c: Names) -> list[Value] | None:
        """Below a positive threshold, which decay cannot cross."""
        return [s.v < c.v_th, c.v_th > 0.0]

    def scan(self, x: Tensor, v: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute all steps in log2 T passes; equal to the step-by-step run up to rounding.

        Args:
            x: ``[T, B, ...]`` input, added to the membrane as it is (a `Delta` receptor).
            v: membrane before the first step, ``[B, ...]``; 0 if None.

        Returns:
            Spikes and membranes, both ``[T, B, ...]``.

        Raises:
            ParameterError: there is a receptor with a time course.
            ShapeError, DTypeError, NonFiniteError, TimeGridError: the input or dt is not usable.
        """
        if self.receptor_coefficients(1.0):
            raise ParameterError("ParallelLIF.scan needs Delta receptors; call the neuron itself for others.")
        if self.dt is None:
            raise TimeGridError("ParallelLIF has no time step; make it with dt=... (ms).")
        (x,) = self.widened(self.checked_inputs(x))
        self.refuse_bad([x], _first_bad([x]))
        fixed = self.cast(self.dt, x.dtype, tuple(x.shape[2:]))
        decay, v_th = fixed["decay"], fixed["v_th"]
        if v is not None and len(x):
            x = torch.cat([x[:1] + decay * v, x[1:]])
        found = scanned(x, decay)
        test = _Threshold(dt=1.0, surrogate=self.surrogate, backend=self.backend)
        return test(found - v_th)[0], found


def scanned(x: Tensor, decay: Tensor) -> Tensor:
    """Return ``v[t] = decay v[t - 1] + x[t]`` for all t, by doubling the reach of a sum log2 T times.

    Args:
        x: ``[T, ...]``.
        decay: broadcasts over ``x[0]``.
    """
    v, power, reach = x, decay, 1
    while reach < len(x):
        v = torch.cat([v[:reach], v[reach:] + power * v[:-reach]])
        power, reach = power * power, 2 * reach
    return v
