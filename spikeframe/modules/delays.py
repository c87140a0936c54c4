r"""Synapses with delays of their own: fixed, or learned.

.. math:: y_o(t) = \sum_i w_{oi} \, x_i(t - d_{oi})

`DelayLinear` has delays that are multiples of dt. `LearnedDelayLinear` has continuous ones: a synapse is spread over
the delays n on the grid, with shares that sum to 1,

.. math:: k_{oi}[n] \propto e^{-(n - d_{oi})^2 / 2σ^2} \; \text{(gaussian)}, \qquad
          k_{oi}[n] = \max(0, 1 - |n - d_{oi}|) \; \text{(triangle)},

with n, d and σ in steps, so gradients move d. Training starts with a wide σ and narrows it (`dcls_sigma`); `rounded`
then gives the `DelayLinear` with the nearest delays. Its `synapses` connect populations of a simulation
(`Pairs(source, target)`), where every spike arrives after exactly the same delay.

State: the last steps of input, as many as the longest delay. Cost of a step: outputs x inputs x delays
multiply-accumulates clocked, one accumulate per spike and synapse in a simulation. Reference: Hammouamri et al. 2023
(DCLS-delays), arXiv:2306.17670; delays here instead of kernel positions (position = longest delay - delay), no right
padding, and the shares normalised without an offset of 1e-7.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from spikeframe.errors import ParameterError, ShapeError, TimeGridError
from spikeframe.modules.checks import positive, same_shape, sequence, steps_of, time_step, whole
from spikeframe.modules.delay_events import EventDrivenDelays

INTERPOLATIONS = ("gaussian", "triangle")


class Synapses(NamedTuple):
    """Synapses as a simulation takes them.

    Attributes:
        source: ``[n]`` int64.
        target: ``[n]`` int64.
        weight: ``[n]`` float64.
        delay: ``[n]`` ms, multiples of dt.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    weight: NDArray[np.float64]
    delay: NDArray[np.float64]


class DelayState(NamedTuple):
    """State of a layer with delays.

    Attributes:
        past: ``[D, B, ...]`` input of the last D steps, D the longest delay.
    """

    past: Tensor


def with_past(x: Tensor, steps: int, state: DelayState | None) -> tuple[Tensor, DelayState]:
    """Return the input with its past in front, and the state after it.

    Args:
        x: ``[T, B, ...]``.
        steps: longest delay D.
        state: state of an earlier run, or None: silence.

    Returns:
        ``[D + T, B, ...]`` and the last D steps of it.

    Raises:
        ShapeError, DTypeError: the state does not fit.
    """
    shape = (steps, *x.shape[1:])
    past = x.new_zeros(shape) if state is None else same_shape("state: past", state.past, shape, x.dtype)
    both = torch.cat([past, x])
    return both, DelayState(both[len(both) - steps :].detach())


def synapses(weight: Tensor, delay: Tensor, dt: float) -> Synapses:
    """Return the synapses that are not 0.

    Args:
        weight: ``[out, in]``.
        delay: ``[out, in]`` steps.
        dt: ms.

    Raises:
        TimeGridError: a delay of 0 steps, which a simulation cannot deliver.
    """
    w, d = weight.detach().cpu().double().numpy(), delay.cpu().numpy()
    target, source = np.nonzero(w)
    steps = d[target, source]
    if steps.size and steps.min() < 1:
        first = int(steps.argmin())
        raise TimeGridError(
            f"synapse from {source[first]} to {target[first]} has delay 0; in a simulation a spike arrives after one "
            f"step or more: use delays from dt={dt:g} ms."
        )
    return Synapses(source.astype(np.int64), target.astype(np.int64), w[target, source], steps * dt)


class _Delayed(nn.Module):
    """A linear layer whose taps over time a subclass gives."""

    weight: nn.Parameter
    longest: int

    def __init__(self, in_features: int, out_features: int, dt: float) -> None:
        super().__init__()
        kind = type(self).__name__
        self.in_features = whole(f"{kind}(in_features)", in_features)
        self.out_features = whole(f"{kind}(out_features)", out_features)
        self.dt = time_step(f"{kind}(dt)", dt)
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def taps(self) -> Tensor:
        """Return the weight of every synapse at every delay, ``[out, in, longest + 1]``."""
        raise NotImplementedError

    def forward(self, x: Tensor, state: DelayState | None = None) -> tuple[Tensor, DelayState]:
        """Run over time.

        Args:
            x: ``[T, B, in]`` spikes or values.
            state: state of an earlier run, or None: no input before.

        Returns:
            ``[T, B, out]`` input currents, and the state after the last step.

        Raises:
            ShapeError, DTypeError, NonFiniteError: input or state is not usable.
        """
        sequence(type(self).__name__, x, 3, self.in_features)
        if x.ndim != 3:
            raise ShapeError(f"{type(self).__name__}: input has shape {tuple(x.shape)}; it must be [T, B, in].")
        both, after = with_past(x, self.longest, state)
        if not len(x):
            return x.new_zeros(0, x.shape[1], self.out_features), after
        kernel = self.taps().to(x).flip(-1)  # a correlation: its last tap meets the present
        return functional.conv1d(both.permute(1, 2, 0), kernel).permute(2, 0, 1), after

    def extra_repr(self) -> str:
        """Show sizes and the longest delay."""
        return f"{self.in_features}, {self.out_features}, longest delay {self.longest * self.dt:g} ms, dt={self.dt:g}"


class DelayLinear(_Delayed):
    """A linear layer with a fixed delay per synapse.

    Args:
        in_features: inputs.
        out_features: outputs.
        delay: ms, a multiple of dt from 0: a number, or an array that broadcasts to ``[out, in]``.
        dt: time step, ms.

    Raises:
        TimeGridError: a delay is negative, not finite or no multiple of dt, or dt is not above 0.
        ShapeError: the delays do not fit.
        ParameterError, DTypeError: a size or the delay is no number.
    """

    delay: Tensor

    def __init__(self, in_features: int, out_features: int, delay: Any, dt: float) -> None:
        super().__init__(in_features, out_features, dt)
        steps = steps_of("DelayLinear(delay)", delay, self.dt)
        try:
            steps = steps.expand(out_features, in_features).contiguous()
        except RuntimeError:
            raise ShapeError(
                f"DelayLinear: delays have shape {tuple(steps.shape)}; they must broadcast to "
                f"[out, in] = [{out_features}, {in_features}]."
            ) from None
        self.register_buffer("delay", steps)
        self.longest = int(steps.max())

    def taps(self) -> Tensor:
        """Return the weights at their delays, ``[out, in, longest + 1]``."""
        taps = self.weight.new_zeros(*self.weight.shape, self.longest + 1)
        return taps.scatter(2, self.delay.unsqueeze(-1), self.weight.unsqueeze(-1))

    def synapses(self) -> Synapses:
        """Return the synapses that are not 0, for a simulation.

        Raises:
            TimeGridError: a delay of 0.
        """
        return synapses(self.weight, self.delay, self.dt)

    def event_driven(self) -> EventDrivenDelays:
        """Return the event-driven run of the layer as it is now."""
        return EventDrivenDelays(self)


class LearnedDelayLinear(_Delayed):
    """A linear layer with a learned continuous delay per synapse; call `clamp_` after every optimiser step.

    Args:
        in_features: inputs.
        out_features: outputs.
        max_delay: longest delay, ms, a multiple of dt.
        dt: time step, ms.
        min_delay: shortest delay, ms, a multiple of dt; dt if not given, so that the result fits a simulation.
        interpolation: ``"gaussian"`` or ``"triangle"``.
        sigma: width of the Gaussian, steps; a quarter of the delays' range, but at least 0.5, if not given.

    Raises:
        TimeGridError: a delay is off the grid, or dt is not above 0.
        ParameterError: max_delay below min_delay, another interpolation, or sigma not above 0.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        max_delay: float,
        dt: float,
        *,
        min_delay: float | None = None,
        interpolation: str = "gaussian",
        sigma: float | None = None,
    ) -> None:
        super().__init__(in_features, out_features, dt)
        self.longest = int(steps_of("LearnedDelayLinear(max_delay)", float(max_delay), self.dt))
        least = self.dt if min_delay is None else float(min_delay)
        self.shortest = int(steps_of("LearnedDelayLinear(min_delay)", least, self.dt))
        if self.shortest > self.longest:
            raise ParameterError(
                f"LearnedDelayLinear: max_delay={max_delay:g} ms is below min_delay={least:g} ms; give a longer one."
            )
        if interpolation not in INTERPOLATIONS:
            raise ParameterError(
                f"LearnedDelayLinear(interpolation={interpolation!r}): must be one of {', '.join(INTERPOLATIONS)}."
            )
        self.interpolation = interpolation
        self.sigma = max(0.5, (self.longest - self.shortest) / 4) if sigma is None else sigma
        self.delay = nn.Parameter(torch.empty(out_features, in_features).uniform_(self.shortest, self.longest))

    @property
    def sigma(self) -> float:
        """Width of the Gaussian, steps."""
        return self._sigma

    @sigma.setter
    def sigma(self, value: float) -> None:
        self._sigma = positive("LearnedDelayLinear(sigma)", value)

    @torch.no_grad()
    def clamp_(self) -> None:
        """Bring delays that training took out of their range back to its ends."""
        self.delay.clamp_(self.shortest, self.longest)

    def taps(self) -> Tensor:
        """Return the weights spread over the delays, ``[out, in, longest + 1]``."""
        n = torch.arange(self.shortest, self.longest + 1, dtype=self.delay.dtype, device=self.delay.device)
        distance = n - self.delay.clamp(self.shortest, self.longest).unsqueeze(-1)
        if self.interpolation == "gaussian":
            shares = torch.softmax(-0.5 * (distance / self.sigma).square(), -1)
        else:
            shares = (1.0 - distance.abs()).clamp(min=0.0)
        return functional.pad(self.weight.unsqueeze(-1) * shares, (self.shortest, 0))

    def rounded(self) -> DelayLinear:
        """Return the layer with every delay at the nearest step of the grid, as it is run and simulated."""
        nearest = self.delay.detach().clamp(self.shortest, self.longest).round().double()
        fixed = DelayLinear(self.in_features, self.out_features, nearest * self.dt, self.dt)
        fixed.weight = nn.Parameter(self.weight.detach().clone())
        return fixed


def dcls_sigma(epoch: int, epochs: int, taps: int) -> float:
    """Return the width of the Gaussian in an epoch, steps, as DCLS-delays narrows it.

    The published parameter falls geometrically from ``taps // 2`` to 0.23 within a quarter of the epochs and stays
    there; its library adds 0.27 to it, so the width ends at 0.5.

    Args:
        epoch: from 0.
        epochs: of the whole training.
        taps: delays on the grid, 3 or more.

    Raises:
        ParameterError: a number is too small or no whole one.
    """
    start = whole("taps", taps, 3) // 2
    quarter = max(whole("epochs", epochs) // 4, 1)
    share = min(whole("epoch", epoch, 0) / quarter, 1.0)
    return float(start * (0.23 / start) ** share + 0.27)
