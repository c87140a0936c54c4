r"""DeltaGRU: a gated recurrent unit on the changes of its input and of its own output.

.. math::
    r_t &= σ(W_r \hat x_t + U_r \hat h_{t-1} + b_r), \qquad z_t = σ(W_z \hat x_t + U_z \hat h_{t-1} + b_z) \\
    n_t &= \tanh(W_n \hat x_t + b_n + r_t \odot (U_n \hat h_{t-1} + c_n)), \qquad h_t = (1 - z_t) n_t + z_t h_{t-1}

Held values as in `spikeframe.modules.changes`. The products are what costs; each is kept as a sum to which a change
adds its column. The last term takes h itself. At thresholds 0 this is `torch.nn.GRU`. Reference: Neil et al. 2017,
arXiv:1612.05571; Gao et al. 2018 (DeltaRNN), doi:10.1145/3174243.3174261.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeframe.errors import UnsupportedLayerError
from spikeframe.modules.changes import Changes, DeltaState, change_code, differences, hold
from spikeframe.modules.checks import same_shape, sequence, threshold
from spikeframe.modules.delta_events import EventDrivenLinear, EventRun, EventState


class GRUState(NamedTuple):
    """State of a DeltaGRU.

    Attributes:
        hidden: ``[B, H]`` output of the last step.
        held_input: ``[B, I]`` input values last sent.
        held_hidden: ``[B, H]`` output values last sent.
    """

    hidden: Tensor
    held_input: Tensor
    held_hidden: Tensor


class GRURun(NamedTuple):
    """What a clocked run gave.

    Attributes:
        out: ``[T, B, H]``.
        state: after the last step.
        inputs: changes of the input.
        hidden: changes of the fed-back output; entry t enters step t.
    """

    out: Tensor
    state: GRUState
    inputs: Changes
    hidden: Changes


class GRUEventState(NamedTuple):
    """State of an event-driven DeltaGRU.

    Attributes:
        hidden: ``[B, H]`` output of the last step.
        inputs: of the input's products.
        recurrent: of the fed-back products.
    """

    hidden: Tensor
    inputs: EventState | None
    recurrent: EventState | None


def _gates(driven: Tensor, fed: Tensor, h: Tensor) -> Tensor:
    """Return the next output from the two products, each ``[B, 3H]`` for r, z, n."""
    (xr, xz, xn), (hr, hz, hn) = driven.chunk(3, -1), fed.chunk(3, -1)
    z = torch.sigmoid(hz + xz)
    n = torch.tanh(xn + hn * torch.sigmoid(hr + xr))
    return (h - n) * z + n


class DeltaGRU(nn.Module):
    """A gated recurrent unit that responds to changes.

    Args:
        dense: `torch.nn.GRU` with one layer, one direction, time first.
        threshold: of the input, a number from 0 or one per feature.
        hidden_threshold: of the fed-back output; that of the input if not given.

    Raises:
        UnsupportedLayerError: another kind of GRU.
        DTypeError, NonFiniteError, ParameterError, ShapeError: a threshold is not usable.
    """

    def __init__(self, dense: nn.GRU, threshold: Any = 0.0, hidden_threshold: Any = None) -> None:
        super().__init__()
        if type(dense) is not nn.GRU or dense.num_layers != 1 or dense.bidirectional or dense.batch_first:
            raise UnsupportedLayerError(
                f"DeltaGRU takes a torch.nn.GRU with num_layers=1, batch_first=False, one direction; got {dense}."
            )
        self.dense = dense
        hidden_threshold = threshold if hidden_threshold is None else hidden_threshold
        self.register_buffer("threshold", _limit("threshold", threshold, dense.input_size))
        self.register_buffer("hidden_threshold", _limit("hidden_threshold", hidden_threshold, dense.hidden_size))

    @property
    def fan_out(self) -> int:
        """Multiply-accumulates that one change causes."""
        return 3 * int(self.dense.hidden_size)

    def initial_state(self, x: Tensor) -> GRUState:
        """Return the state before the first step of an input ``[T, B, I]``: nothing sent, output 0."""
        hidden = x.new_zeros(x.shape[1], self.dense.hidden_size)
        return GRUState(hidden, x.new_zeros(x.shape[1:]), hidden)

    def run(self, x: Tensor, state: GRUState | None = None) -> GRURun:
        """Run over time, and return the changes too.

        Args:
            x: ``[T, B, I]``.
            state: state of an earlier run, or None.

        Raises:
            ShapeError, DTypeError, NonFiniteError: input or state is not usable.
        """
        sequence("DeltaGRU", x, 3, self.dense.input_size)
        start = self.initial_state(x) if state is None else _checked(state, self.initial_state(x))
        inputs, after = change_code(x, self.threshold, DeltaState(start.held_input))
        driven = self._product("ih", inputs.held)
        h, held, theta = start.hidden, start.held_hidden, self.get_buffer("hidden_threshold")
        outputs, sent = [], []
        for t in range(len(x)):
            held = hold(h.unsqueeze(0), theta, held)[0]
            h = _gates(driven[t], self._product("hh", held), h)
            sent.append(held)
            outputs.append(h)
        fed = torch.stack(sent) if sent else x.new_zeros(0, *h.shape)
        hidden = Changes(fed, differences(fed, start.held_hidden))
        out = torch.stack(outputs) if outputs else fed
        return GRURun(out, GRUState(h, after.held, held.detach()), inputs, hidden)

    def forward(self, x: Tensor, state: GRUState | None = None) -> tuple[Tensor, GRUState]:
        """Run over time; see `run`.

        Args:
            x: ``[T, B, I]``.
            state: state of an earlier run, or None.

        Returns:
            Output ``[T, B, H]`` and the state after the last step.
        """
        done = self.run(x, state)
        return done.out, done.state

    def _product(self, which: str, x: Tensor) -> Tensor:
        """Return the product of the input ("ih") or of the fed-back output ("hh") with its weights."""
        bias = getattr(self.dense, f"bias_{which}_l0") if self.dense.bias else None
        return functional.linear(x, getattr(self.dense, f"weight_{which}_l0"), bias)

    def event_driven(self, backend: str = "auto") -> EventDrivenGRU:
        """Return the event-driven run of the layer as it is now.

        Args:
            backend: ``"auto"``, ``"numba"`` or ``"reference"``.
        """
        return EventDrivenGRU(self, backend)


class EventDrivenGRU:
    """A DeltaGRU that adds the columns of what changed; weights are copied when it is made.

    Args:
        layer: the DeltaGRU.
        backend: ``"auto"``, ``"numba"`` or ``"reference"``.
    """

    def __init__(self, layer: DeltaGRU, backend: str = "auto") -> None:
        dense = layer.dense
        self.hidden_size = dense.hidden_size
        self.inputs = EventDrivenLinear(_linear(dense, "ih"), layer.threshold, backend)
        self.recurrent = EventDrivenLinear(_linear(dense, "hh"), layer.hidden_threshold, backend)

    @torch.no_grad()
    def __call__(self, x: Tensor, state: GRUEventState | None = None) -> EventRun:
        """Run over time; changes and multiply-accumulates count input and fed-back output.

        Args:
            x: ``[T, B, I]``, CPU.
            state: state of an earlier run, or None.

        Raises:
            ShapeError, DTypeError, NonFiniteError, BackendError: input or state is not usable.
        """
        driven = self.inputs(x, None if state is None else state.inputs)
        h = x.new_zeros(x.shape[1], self.hidden_size) if state is None else state.hidden
        fed_state = None if state is None else state.recurrent
        out = x.new_empty(*x.shape[:2], self.hidden_size)
        sent, macs = driven.sent.clone(), driven.macs.clone()
        for t in range(len(x)):
            fed = self.recurrent(h.unsqueeze(0), fed_state)
            fed_state = fed.state
            h = _gates(driven.out[t], fed.out[0], h)
            out[t], sent[t], macs[t] = h, sent[t] + fed.sent[0], macs[t] + fed.macs[0]
        dense = driven.dense_macs + out.numel() * 3 * self.hidden_size
        return EventRun(out, GRUEventState(h, driven.state, fed_state), sent, macs, dense)


def _limit(what: str, value: Any, features: int) -> Tensor:
    return threshold(f"DeltaGRU({what})", value, (features,)).clone()


def _checked(state: GRUState, like: GRUState) -> GRUState:
    for name, given, wanted in zip(like._fields, state, like, strict=True):
        same_shape(f"state: {name}", given, tuple(wanted.shape), wanted.dtype)
    return state


def _linear(dense: nn.GRU, which: str) -> nn.Linear:
    """Return one of the two products as a layer."""
    weight = getattr(dense, f"weight_{which}_l0").detach()
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=dense.bias, dtype=weight.dtype)
    made.weight.data.copy_(weight)
    if dense.bias:
        made.bias.data.copy_(getattr(dense, f"bias_{which}_l0").detach())
    return made
