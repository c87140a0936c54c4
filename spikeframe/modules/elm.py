r"""ELM, the expressive leaky memory neuron: leaky synapses, a dendrite that is a small network, slow leaky memories.

.. math::
    b_t = κ_s b_{t-1} + w_s x_t, \qquad
    Δ_t = 1.7159 \tanh(\tfrac{2}{3} \, \mathrm{MLP}[b_t, κ_m m_{t-1}]), \\
    m_t = κ_m m_{t-1} + λ (1 - κ_m) Δ_t, \qquad y_t = W_y m_t + c_y, \qquad κ = e^{-dt/τ}

==============  ======  ====  =========  =======================================================================
argument        symbol  unit  default    meaning (range)
==============  ======  ====  =========  =======================================================================
memories        d_m                      memory units
tau_m           τ_m     ms    (1, 1000)  range over which their time constants are spread, evenly in the logarithm
                                         (from dt: a shorter memory is gone within a step)
tau_s           τ_s     ms    5          time constant of the synapses (> 0)
gain            λ             5          how far a memory moves towards Δ, in units of 1 - κ_m (> 0)
hidden                        2 d_m      units of the MLP's one hidden layer
activation                    "relu"     of the hidden layer, or "silu" (as in the best published model)
==============  ======  ====  =========  =======================================================================

Synaptic weights are w_s = max(0, p), p from 0.5. State: ``b``, ``m``. Trained parameters: one per synapse,
``(n_b + d_m + 1) hidden + (hidden + 1) d_m`` of the MLP, ``(d_m + 1) outputs``, with n_b the number of its inputs: here
that of the synapses. `BranchELM` sums synapses by branches first.

b has a closed form between events and one time constant, so the event-driven run (`event_driven`) keeps ``W_1 b`` and
adds a column of W_1 per event; m has none, since Δ depends on m: the MLP is evaluated at every step at which its input
has changed. Cost of a step: (n_b + d_m) hidden + hidden d_m + d_m outputs multiply-accumulates clocked; event-driven
hidden accumulates per event, and d_m hidden + hidden d_m multiply-accumulates per evaluation. Reference: Spieler et al.
2023 (version 1 of their code), arXiv:2306.16922; their SHD runs begin τ_m at 1 ms on a grid of 10 ms, which is refused.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikeframe.errors import NonFiniteError, ParameterError, ShapeError, TimeGridError
from spikeframe.modules.checks import positive, same_shape, time_step, whole
from spikeframe.modules.elm_events import SCALE, SLOPE, EventDrivenELM
from spikeframe.neurons.temporal import Temporal

_ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU}


class ELMState(NamedTuple):
    """State of an ELM neuron.

    Attributes:
        b: ``[B, branches]`` synaptic traces, summed by branches.
        m: ``[B, memories]`` memories.
    """

    b: Tensor
    m: Tensor


def _timescales(kind: str, tau_m: Any, memories: int, dt: float) -> Tensor:
    """Return the time constants of the memories, or refuse their range."""
    try:
        low, high = (positive(f"{kind}(tau_m)", end) for end in tau_m)
    except (TypeError, ValueError) as error:
        if isinstance(error, (ParameterError, ShapeError, NonFiniteError)):
            raise
        raise ParameterError(f"{kind}(tau_m={tau_m!r}): must be two times in ms, e.g. (1.0, 150.0).") from None
    if low < dt:
        raise TimeGridError(
            f"{kind}(tau_m={tau_m!r}): a memory of {low:g} ms is gone within a step of dt={dt:g} ms; "
            f"begin at {dt:g} ms or later."
        )
    if high < low:
        raise ParameterError(f"{kind}(tau_m={tau_m!r}): must rise.")
    return torch.logspace(math.log10(low), math.log10(high), memories, dtype=torch.float64)


class ELM(Temporal):
    """Expressive leaky memory neuron.

    Called as ``y, state = layer(x, state)`` with ``x`` of shape ``[T, B, inputs]``: spikes, counts or values.

    Args:
        inputs: number of inputs, one synapse each.
        outputs: number of readouts.
        memories: number of memory units.
        dt: time step, ms.
        tau_m: shortest and longest time constant of the memories, ms.
        tau_s: time constant of the synapses, ms.
        gain: λ.
        hidden: units of the hidden layer.
        activation: ``"relu"`` or ``"silu"``.
        learn_tau_m: whether the time constants are trained, within their range.

    Raises:
        TimeGridError: dt is not above 0, or a memory's time constant is below it.
        ParameterError, NonFiniteError, ShapeError, DTypeError: an argument is not usable.
    """

    tau: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        memories: int,
        dt: float = 1.0,
        *,
        tau_m: tuple[float, float] = (1.0, 1000.0),
        tau_s: float = 5.0,
        gain: float = 5.0,
        hidden: int | None = None,
        activation: str = "relu",
        learn_tau_m: bool = False,
    ) -> None:
        super().__init__()
        kind = type(self).__name__
        self.inputs, self.outputs = whole(f"{kind}(inputs)", inputs), whole(f"{kind}(outputs)", outputs)
        self.memories = whole(f"{kind}(memories)", memories)
        self.dt = time_step(f"{kind}(dt)", dt)
        self.tau_s, self.gain = positive(f"{kind}(tau_s)", tau_s), positive(f"{kind}(gain)", gain)
        if activation not in _ACTIVATIONS:
            raise ParameterError(f"{kind}(activation={activation!r}): must be 'relu' or 'silu'.")
        self.activation = activation
        tau = _timescales(kind, tau_m, self.memories, self.dt)
        self.range = float(tau_m[0]), float(tau_m[1])
        self.learn_tau_m = bool(learn_tau_m)
        if self.learn_tau_m:
            if self.range[0] == self.range[1]:
                raise ParameterError(f"{kind}(tau_m={tau_m!r}): a range of one value leaves nothing to learn.")
            low, high = self.range
            share = ((tau - low) / (high - low)).clamp(1e-6, 1.0 - 1e-6)
            self.place = nn.Parameter(torch.logit(share).to(torch.get_default_dtype()))
        else:
            self.register_buffer("tau", tau)
        units = 2 * self.memories if hidden is None else whole(f"{kind}(hidden)", hidden)
        self.synapse = nn.Parameter(torch.full((self._synapses(),), 0.5))
        self.first = nn.Linear(self._branches() + self.memories, units)
        self.second = nn.Linear(units, self.memories)
        self.readout = nn.Linear(self.memories, self.outputs)

    def _synapses(self) -> int:
        return self.inputs

    def _branches(self) -> int:
        return self.inputs

    @property
    def tau_m(self) -> Tensor:
        """Time constants of the memories, ms, float64."""
        if not self.learn_tau_m:
            return self.tau
        low, high = self.range
        return low + (high - low) * torch.sigmoid(self.place.double())

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Move with the module, but keep fixed time constants in float64."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if not self.learn_tau_m:
            self.tau = self.tau.double()
        return self

    def arriving(self, x: Tensor) -> Tensor:
        """Return what an input adds to the branches.

        Args:
            x: ``[..., inputs]``.

        Returns:
            ``[..., branches]``.
        """
        return x * torch.relu(self.synapse).to(x)

    def initial_state(self, x: Tensor) -> ELMState:
        """Return the state before the first step of an input ``[T, B, inputs]``: zeros."""
        return ELMState(x.new_zeros(x.shape[1], self._branches()), x.new_zeros(x.shape[1], self.memories))

    def forward(self, x: Tensor, state: ELMState | None = None) -> tuple[Tensor, ELMState]:
        """Run over time.

        Args:
            x: ``[T, B, inputs]``.
            state: as returned by an earlier call, or None for zeros.

        Returns:
            Readouts ``[T, B, outputs]`` and the final state.

        Raises:
            ShapeError, DTypeError, NonFiniteError: the input or state is not usable.
        """
        x = self._checked(x)
        kind = type(self).__name__
        if x.ndim != 3 or x.shape[2] != self.inputs:
            raise ShapeError(f"{kind}: the input has shape {tuple(x.shape)}; it must be [T, B, {self.inputs}].")
        start = self.initial_state(x)
        if state is not None:
            for name, given, wanted in zip(ELMState._fields, state, start, strict=True):
                same_shape(f"{kind}: state {name!r}", given, tuple(wanted.shape), x.dtype)
            start = state
        if not len(x):
            return x.new_zeros(0, x.shape[1], self.outputs), start
        b, m = start
        traces = []
        fade = math.exp(-self.dt / self.tau_s)
        for arriving in self.arriving(x).unbind(0):
            b = fade * b + arriving
            traces.append(b)
        weight, n = self.first.weight.to(x), self._branches()
        from_branches, from_memories = weight[:, :n], weight[:, n:]
        driven = torch.stack(traces) @ from_branches.T + self.first.bias.to(x)
        keep = torch.exp(-self.dt / self.tau_m).to(x)
        move = (-self.gain * torch.expm1(-self.dt / self.tau_m)).to(x)
        act = torch.relu if self.activation == "relu" else nn.functional.silu
        second, offset = self.second.weight.to(x).T, self.second.bias.to(x)
        memories = []
        for arriving in driven.unbind(0):
            kept = keep * m
            z = act(torch.addmm(arriving, kept, from_memories.T))
            m = kept + move * (SCALE * torch.tanh(SLOPE * torch.addmm(offset, z, second)))
            memories.append(m)
        out = nn.functional.linear(torch.stack(memories), self.readout.weight.to(x), self.readout.bias.to(x))
        return out, ELMState(b, m)

    @torch.no_grad()
    def event_driven(self, tolerance: float = 0.0) -> EventDrivenELM:
        """Return the event-driven run of the neuron as it is now, in float64.

        Args:
            tolerance: how far any input of the MLP may have moved since its last evaluation before it is evaluated
                again; 0 gives the clocked run up to rounding.
        """
        branches = self.arriving(torch.eye(self.inputs, dtype=torch.float64, device=self.first.weight.device))
        weight, n = self.first.weight.double(), self._branches()
        from_branches, from_memories = weight[:, :n], weight[:, n:]
        return EventDrivenELM(
            columns=_array(branches @ from_branches.T),
            memory=_array(from_memories.T),
            offset=_array(self.first.bias),
            second=_array(self.second.weight.T),
            second_offset=_array(self.second.bias),
            readout=_array(self.readout.weight.T),
            readout_offset=_array(self.readout.bias),
            tau_m=self.tau_m.detach().cpu().numpy().copy(),
            tau_s=self.tau_s,
            gain=self.gain,
            dt=self.dt,
            activation=self.activation,
            branches=self._branches(),
            tolerance=tolerance,
        )

    def extra_repr(self) -> str:
        """Show sizes and time constants."""
        low, high = self.range
        return f"{self.inputs}, {self.outputs}, memories={self.memories}, tau_m=({low:g}, {high:g}), dt={self.dt:g}"


def _array(value: Tensor) -> NDArray[np.float64]:
    """Return values as the event-driven run takes them."""
    found: NDArray[np.float64] = np.ascontiguousarray(value.detach().double().cpu().numpy())
    return found
