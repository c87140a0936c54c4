"""A neuron's step and its partial derivatives as torch functions, for rules that carry derivatives forward in time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spikeframe.errors import TimeGridError, UnsupportedLayerError
from spikeframe.kernels.differentiate import jacobian
from spikeframe.kernels.trace import FLOAT
from spikeframe.neurons import Neuron
from spikeframe.neurons.torch_form import form


class Partials:
    """One step of a neuron, and the derivatives of output and states by input and states, for each neuron by itself.

    Args:
        neuron: with one receptor, no random numbers and nothing to learn.
        rule: which rule asks, for errors.

    Attributes:
        states: names of the float states.

    Raises:
        UnsupportedLayerError: it is another kind of neuron.
        TimeGridError: it has no time step.
    """

    def __init__(self, neuron: Neuron, rule: str) -> None:
        kind = type(neuron).__name__
        if neuron.dt is None:
            raise TimeGridError(f"{rule}: {kind} has no time step; make it with dt=... (ms).")
        if any(p.requires_grad for p in neuron.parameters()):
            raise UnsupportedLayerError(f"{rule}: {kind} has parameters to learn; the rule changes weights alone.")
        self.neuron, self.dt = neuron, neuron.dt
        self.program = neuron.program()
        if len(self.program.names("input")) != 1:
            raise UnsupportedLayerError(
                f"{rule}: {kind} has the inputs {list(self.program.names('input'))}; accepted is one receptor, without "
                "random numbers."
            )
        self.states = tuple(a.name for a in self.program.leaves if a.kind == "state" and a.dtype == FLOAT)
        derived = jacobian(self.program)
        named = [name.removeprefix("d.") for name, _ in derived.outputs]
        outputs = [next(o for o in ("out", *self.states) if name.startswith(f"{o}.")) for name in named]
        arriving = self.program.names("input")[0]
        arguments = [name.removeprefix(f"{o}.") for name, o in zip(named, outputs, strict=True)]
        self._pairs = [(o, "input" if a == arriving else a) for o, a in zip(outputs, arguments, strict=True)]
        self._step, self._derived = form(self.program), form(derived)

    def __call__(
        self, x: Tensor, states: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], dict[tuple[str, str], Tensor]]:
        """Step once.

        Args:
            x: what arrives, ``[B, N]``.
            states: by name, ``[B, N]``.

        Returns:
            Output, new states, and ``d output / d argument`` by (output, argument), ``"out"`` and ``"input"`` being
            the neuron's own. A derivative that is the same for all neurons at all times has no axes; a pair that is
            missing is zero.
        """
        fixed = self.neuron.cast(self.dt, x.dtype, tuple(x.shape[1:]))
        leaves = {self.program.names("input")[0]: x, **states, **fixed}
        arguments = [leaves[leaf.name] for leaf in self.program.leaves]
        out, *new = (value.expand(x.shape) for value in self._step(*arguments))
        found = dict(zip(self._pairs, self._derived(*arguments), strict=True))
        return out, dict(zip(self.program.names("state"), new, strict=True)), found

    def start(self, x: Tensor) -> dict[str, Tensor]:
        """Return the states at the start.

        Args:
            x: what arrives first, ``[B, N]``.
        """
        initial = self.neuron.initial_state(tuple(x.shape), x.dtype, x.device)
        return dict(zip(self.neuron.all_states(), initial, strict=True))


def constant_decay(neuron: Neuron, rule: str) -> float:
    """Return by what a neuron's only state decays in a step, if that is a constant and what arrives adds to it.

    Args:
        neuron: the neuron.
        rule: which rule asks, for errors.

    Raises:
        UnsupportedLayerError: it is another kind of neuron.
        TimeGridError: it has no time step.
    """
    partials = Partials(neuron, rule)
    states = partials.program.names("state")
    nothing = torch.full((1, 1), math.nan, dtype=torch.float64, device=neuron.device)
    found = partials(nothing, dict.fromkeys(states, nothing))[2] if len(states) == 1 else {}
    constant = {pair: float(value) for pair, value in found.items() if value.ndim == 0}
    decay = constant.get((states[0], states[0])) if states else None
    if decay is None or constant.get((states[0], "input")) != 1.0:
        raise UnsupportedLayerError(
            f"{rule}: {type(neuron).__name__} has the states {list(states)}, or one that does more than decay and add "
            "what arrives; accepted are LIF, IF and LI with a Delta receptor, one number as time constant and, where "
            "there is a reset, detach_reset=True."
        )
    return decay
