r"""Experts: from rows of input to rows of current. Silence gives 0, so a row without input needs no expert.

``y, state = expert(x [R, ...], state)``; `start` gives the state of rows that nothing has reached, a tuple, empty for
experts without memory; ``rest(state, steps [R])`` makes up for silent steps. `cost` counts what rows cost when silent
inputs, and silent hidden units, are skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeframe.core.counts import Counts
from spikeframe.errors import ContractError, ParameterError
from spikeframe.modules.checks import positive, whole
from spikeframe.neurons.psn import _Threshold

State = tuple[Tensor, ...]


def synapses(x: Tensor, fan_out: int) -> Counts:
    """Count the synaptic operations of events that reach so many targets each.

    Args:
        x: inputs of any shape; units are accumulated, other values multiplied, zeros skipped.
        fan_out: targets of an input.
    """
    events = int(x.count_nonzero())
    unit = int((x.abs() == 1).sum())
    return Counts(
        spk_in=events, route=events, syn_ac=unit * fan_out, syn_mac=(events - unit) * fan_out, mem_rd_w=events * fan_out
    )


class Expert(nn.Module):
    """Base of the experts: no state.

    Args:
        inputs: features of a row.
        outputs: currents of a row.
    """

    stateful = False

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        kind = type(self).__name__
        self.inputs, self.outputs = whole(f"{kind}(inputs)", inputs), whole(f"{kind}(outputs)", outputs)

    def start(self, x: Tensor) -> State:
        """Return the state of rows ``[R, ...]`` at the start."""
        return ()

    def rest(self, state: State, steps: Tensor) -> State:
        """Return the state after silent steps.

        Raises:
            ContractError: silence has no closed form for this expert.
        """
        raise ContractError(
            f"{type(self).__name__} has no closed form of silence: use the state policy 'freeze', 'reset', 'decay' or "
            f"'shadow' instead of 'leak'."
        )

    def cost(self, x: Tensor) -> Counts:
        """Count the operations of rows ``[R, ...]``."""
        return synapses(x, self.outputs)


class LinearExpert(Expert):
    """One weight per input and output.

    Args:
        inputs: features of a row.
        outputs: currents of a row.
        first: where its outputs begin among `whole` ones.
        total: width of a row of currents; `outputs` if not given. So experts can own blocks of a layer's neurons.
    """

    def __init__(self, inputs: int, outputs: int, first: int = 0, total: int | None = None) -> None:
        super().__init__(inputs, outputs)
        self.layer = nn.Linear(inputs, outputs, bias=False)
        self.after = (whole("LinearExpert(first)", first, 0), (total or outputs) - outputs - first)
        whole("LinearExpert: total - first - outputs", self.after[1], 0)

    def forward(self, x: Tensor, state: State = ()) -> tuple[Tensor, State]:
        """Return currents."""
        return functional.pad(self.layer(x), self.after) if any(self.after) else self.layer(x), ()


def blocks(inputs: int, outputs: int, experts: int) -> list[LinearExpert]:
    """Return experts that own a block of a layer's neurons each; neurons of the others get no current.

    Args:
        inputs: features of a row.
        outputs: neurons of the layer.
        experts: how many; they must divide the neurons.

    Raises:
        ParameterError: they do not.
    """
    if whole("blocks(outputs)", outputs) % whole("blocks(experts)", experts):
        raise ParameterError(f"blocks: {experts} experts cannot share {outputs} neurons evenly; give a divisor.")
    width = outputs // experts
    return [LinearExpert(inputs, width, e * width, outputs) for e in range(experts)]


class ColumnExpert(Expert):
    """A constant column of currents, whatever the row holds: the router's score is what it is multiplied by.

    Args:
        inputs: features of a row.
        outputs: currents of a row.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.column = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, state: State = ()) -> tuple[Tensor, State]:
        """Return the column for every row."""
        return self.column.to(x).expand(len(x), -1), ()

    def cost(self, x: Tensor) -> Counts:
        """Count nothing: the weight of the pair is the one multiplication, counted with it."""
        return Counts(mem_rd_w=len(x) * self.outputs)


class LowRankExpert(Expert):
    """Two linear maps with few units between: a cheap approximation of another expert.

    Args:
        inputs: features of a row.
        rank: units between.
        outputs: currents of a row.
    """

    def __init__(self, inputs: int, rank: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.first = nn.Linear(inputs, whole("LowRankExpert(rank)", rank), bias=False)
        self.second = nn.Linear(rank, outputs, bias=False)

    def forward(self, x: Tensor, state: State = ()) -> tuple[Tensor, State]:
        """Return currents."""
        return self.second(self.first(x)), ()

    def cost(self, x: Tensor) -> Counts:
        """Count the operations of rows."""
        rank = self.first.out_features
        return synapses(x, rank) + Counts(dense_mac=len(x) * rank * self.outputs)


class MLPExpert(Expert):
    """A hidden layer of rectified units.

    Args:
        inputs: features of a row.
        hidden: units.
        outputs: currents of a row.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.first = nn.Linear(inputs, whole("MLPExpert(hidden)", hidden), bias=False)
        self.second = nn.Linear(hidden, outputs, bias=False)

    def forward(self, x: Tensor, state: State = ()) -> tuple[Tensor, State]:
        """Return currents."""
        return self.second(torch.relu(self.first(x))), ()

    def cost(self, x: Tensor) -> Counts:
        """Count the operations of rows; hidden units at 0 send nothing."""
        hidden = torch.relu(self.first(x))
        return synapses(x, self.first.out_features) + Counts(
            syn_mac=int(hidden.count_nonzero()) * self.outputs, neu_cmp=hidden.numel()
        )


class DendriticExpert(Expert):
    r"""Branches that saturate: :math:`y_o = g \sum_k f(W_{ok} x) - f(0)`, f a logistic function around a threshold.

    Args:
        inputs: features of a row.
        outputs: currents of a row.
        branches: of every output.
        theta: input of half activation.
        width: of the activation (> 0).
        gain: g.
    """

    def __init__(
        self, inputs: int, outputs: int, branches: int = 2, theta: float = 1.0, width: float = 0.25, gain: float = 1.0
    ) -> None:
        super().__init__(inputs, outputs)
        self.branches = whole("DendriticExpert(branches)", branches)
        self.layer = nn.Linear(inputs, outputs * branches, bias=False)
        self.theta, self.width, self.gain = float(theta), positive("DendriticExpert(width)", width), float(gain)

    def forward(self, x: Tensor, state: State = ()) -> tuple[Tensor, State]:
        """Return currents."""
        b = self.layer(x)
        f = torch.sigmoid((b - self.theta) / self.width)
        rest = torch.sigmoid(b.new_tensor(-self.theta / self.width))
        return self.gain * (f - rest).reshape(*f.shape[:-1], self.outputs, self.branches).sum(-1), ()

    def cost(self, x: Tensor) -> Counts:
        """Count the operations of rows."""
        units = len(x) * self.outputs * self.branches
        return synapses(x, self.outputs * self.branches) + Counts(neu_exp=units, neu_ac=3 * units, neu_mac=2 * units)


class ConvExpert(Expert):
    """A convolution, with padding that keeps the picture's size.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: side, odd.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__(inputs, outputs)
        self.layer = nn.Conv2d(inputs, outputs, whole("ConvExpert(kernel)", kernel), padding=kernel // 2, bias=False)

    def forward(self, x: Tensor, state: State = ()) -> tuple[Tensor, State]:
        """Return currents ``[R, outputs, H, W]``."""
        return self.layer(x), ()

    def cost(self, x: Tensor) -> Counts:
        """Count the operations of rows; what falls on padding costs nothing."""
        side = self.layer.kernel_size[0]
        reach = functional.conv2d(
            torch.ones_like(x[:1, :1]), x.new_ones(1, 1, side, side), padding=side // 2
        )  # by symmetry, the outputs that a place reaches are those that reach it
        unit, any_ = (x.abs() == 1).to(x), (x != 0).to(x)
        ac, every = int((unit * reach).sum()) * self.outputs, int((any_ * reach).sum()) * self.outputs
        events = int(any_.sum())
        return Counts(spk_in=events, route=events, syn_ac=ac, syn_mac=every - ac, mem_rd_w=every)


class LIFExpert(Expert):
    """A layer of leaky integrate-and-fire neurons with a membrane of their own; it sends spikes (graded by weights).

    Args:
        inputs: features of a row.
        outputs: neurons.
        decay: of the membrane per step, from 0 to below 1.
        surrogate: stands in for the derivative of a spike.
    """

    stateful = True

    def __init__(self, inputs: int, outputs: int, decay: float = 0.9, surrogate: Any = "atan") -> None:
        super().__init__(inputs, outputs)
        self.layer = nn.Linear(inputs, outputs, bias=False)
        self.decay, self.test = float(decay), _Threshold(dt=1.0, surrogate=surrogate)

    def start(self, x: Tensor) -> State:
        """Return membranes at rest."""
        return (x.new_zeros(len(x), self.outputs),)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return spikes."""
        v = self.decay * state[0] + self.layer(x)
        z: Tensor = self.test((v - 1.0)[None])[0][0]
        return z, (v - z,)

    def rest(self, state: State, steps: Tensor) -> State:
        """Return leaked membranes: below threshold, a silent one cannot fire."""
        return (state[0] * (self.decay ** steps.to(state[0]))[:, None],)

    def cost(self, x: Tensor) -> Counts:
        """Count the operations of rows."""
        units = len(x) * self.outputs
        return super().cost(x) + Counts(neu_upd=units, neu_mac=units, neu_ac=2 * units, neu_cmp=units)


class GRUExpert(Expert):
    """A gated recurrent unit and a readout of its state. It moves in silence, so unselected steps need a policy.

    Args:
        inputs: features of a row.
        hidden: units.
        outputs: currents of a row.
    """

    stateful = True

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.cell = nn.GRUCell(inputs, whole("GRUExpert(hidden)", hidden))
        self.readout = nn.Linear(hidden, outputs, bias=False)

    def start(self, x: Tensor) -> State:
        """Return empty memories."""
        return (x.new_zeros(len(x), self.cell.hidden_size),)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return currents."""
        h = self.cell(x, state[0])
        return self.readout(h), (h,)

    def cost(self, x: Tensor) -> Counts:
        """Count the operations of rows."""
        units = self.cell.hidden_size
        dense = len(x) * units * (3 * units + self.outputs)
        return synapses(x, 3 * units) + Counts(
            dense_mac=dense, neu_upd=len(x) * units, neu_exp=3 * len(x) * units, neu_mac=5 * len(x) * units
        )


class CountsExpert(Expert):
    """A feed-forward network on the spikes counted so far: order in time does not matter to it.

    Args:
        inputs: features of a row.
        hidden: units, with tanh.
        outputs: currents of a row.
        scale: what counts are multiplied by.
    """

    stateful = True

    def __init__(self, inputs: int, hidden: int, outputs: int, scale: float = 0.2) -> None:
        super().__init__(inputs, outputs)
        self.first = nn.Linear(inputs, whole("CountsExpert(hidden)", hidden), bias=False)
        self.second = nn.Linear(hidden, outputs, bias=False)
        self.scale = positive("CountsExpert(scale)", scale)

    def start(self, x: Tensor) -> State:
        """Return counts and their hidden sums, 0."""
        return (x.new_zeros(len(x), self.first.out_features),)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return currents; the sums of the hidden layer take in what is new."""
        total = state[0] + self.first(x)
        return self.second(torch.tanh(self.scale * total)), (total,)

    def rest(self, state: State, steps: Tensor) -> State:
        """Return the counts: silence adds nothing."""
        return state

    def cost(self, x: Tensor) -> Counts:
        """Count the operations of rows."""
        units = len(x) * self.first.out_features
        return synapses(x, self.first.out_features) + Counts(
            dense_mac=units * self.outputs, neu_exp=units, neu_mac=units
        )


def experts_of(experts: int | Sequence[Expert], inputs: int, outputs: int) -> list[Expert]:
    """Return the experts that are given, or so many linear ones.

    Args:
        experts: how many, or experts.
        inputs: features of a step.
        outputs: currents of a step.
    """
    if isinstance(experts, int):
        return [LinearExpert(inputs, outputs) for _ in range(experts)]
    return list(experts)
