r"""JEI-DNN in time: classifiers and gates trained together decide when enough of a sample has been seen.

.. math:: g_l = \sigma(w_l^T \phi_l + b_l), \quad P_l = clip(g_l, 0, 1 - \textstyle\sum_{j<l} P_j), \quad
          q_l = P_l / \textstyle\prod_{j<l} (1 - q_j) \ge 1/2: \text{ exit}

A body sees the sample; at each of some steps a head reads the spikes counted so far, and a gate looks at four numbers
of its logits: largest probability, entropy, margin, and entropy of the squared probabilities. Heads are trained on the
samples that exit at them (weights P; the last too, which in the paper belongs to a trained backbone), gates on which
exit has the least of cross-entropy + λ cost; the two alternate.
An exit saves every later event of the sample: the paper exits in depth. λ must be above 0: without a price the gates
follow noise in the loss. `gate_loss` wants samples new to the heads, which are sure of those they know. Reference:
Regol et al. 2023 (ICLR 2024), arXiv:2310.09163.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeframe.core.counts import Counts
from spikeframe.errors import ParameterError, ShapeError
from spikeframe.modules.checks import positive, sequence, whole
from spikeframe.modules.moe.experts import Expert, LIFExpert, synapses
from spikeframe.modules.moe.losses import entropy


class ExitState(NamedTuple):
    """State of an early-exit network.

    Attributes:
        step: steps seen.
        body: state of the body, tensors ``[B, ...]``.
        counts: ``[B, units]`` spikes so far.
        ruled: ``[B]`` product of 1 - q over past exits.
        taken: ``[B]`` sum of P over past exits.
        logits: ``[B, C]`` of the exit, 0 before.
        exited: ``[B]`` bool.
    """

    step: int
    body: tuple[Tensor, ...]
    counts: Tensor
    ruled: Tensor
    taken: Tensor
    logits: Tensor
    exited: Tensor


def uncertainty(logits: Tensor) -> Tensor:
    """Return largest probability, entropy, margin and entropy of the squared probabilities, ``[..., 4]``.

    Args:
        logits: ``[..., C]``.
    """
    p = torch.softmax(logits, -1)
    best = p.topk(2, -1).values
    squared = p.square() / p.square().sum(-1, keepdim=True)
    return torch.stack([best[..., 0], entropy(p), best[..., 0] - best[..., 1], entropy(squared)], -1)


def exit_shares(gates: Tensor) -> Tensor:
    """Return P, the share of a sample that leaves at every exit, the last one included.

    Args:
        gates: ``[G, B]`` of all exits but the last.

    Returns:
        ``[G + 1, B]``, from 0, summing to 1.
    """
    left, shares = torch.ones_like(gates[0]), []
    for gate in gates:
        shares.append(torch.minimum(gate, left))
        left = left - shares[-1]
    return torch.stack([*shares, left])


class EarlyExit(nn.Module):
    """A body with heads at some steps and gates that say whether to go on.

    Called as ``y, state = layer(x, state)``: y ``[T, B, classes]`` holds the logits from a sample's exit on, 0 before.

    Args:
        body: an expert, run on every step with input or not.
        classes: number of classes.
        exits: steps (counted from 1) at which a sample may leave; at the last all do.
        price: λ, what all steps cost, in units of cross-entropy (> 0).

    Raises:
        ParameterError: exits do not rise, or the price is not above 0.
    """

    per = "run"

    def __init__(self, body: Expert, classes: int, exits: Sequence[int], price: float = 0.1) -> None:
        super().__init__()
        self.body, self.classes = body, whole("jei_dnn(classes)", classes)
        self.exits = tuple(whole("jei_dnn(exits)", e) for e in exits)
        if len(self.exits) < 2 or list(self.exits) != sorted(set(self.exits)):
            raise ParameterError(f"jei_dnn(exits={list(exits)}): give two or more steps, rising.")
        self.price = positive("jei_dnn(price)", price)
        self.heads = nn.ModuleList(nn.Linear(body.outputs, classes) for _ in self.exits)
        self.gates = nn.ModuleList(nn.Linear(4, 1) for _ in self.exits[:-1])

    def start(self, x: Tensor) -> ExitState:
        """Return the state to begin with for ``[T, B, inputs]``."""
        many = x.shape[1]
        one = x.new_ones(many)
        return ExitState(
            0, self.body.start(x[0]), x.new_zeros(many, self.body.outputs), one, 0 * one,
            x.new_zeros(many, self.classes), x.new_zeros(many, dtype=torch.bool),
        )  # fmt: skip

    def checked(self, x: Tensor) -> Tensor:
        """Return an input, or refuse it."""
        sequence("EarlyExit", x, 3, self.body.inputs)
        if x.ndim != 3 or 0 in x.shape[:2]:
            raise ShapeError(f"EarlyExit: input has shape {tuple(x.shape)}; it must be [T, B, {self.body.inputs}].")
        return x

    def all_logits(self, x: Tensor) -> Tensor:
        """Return what every head says, for training.

        Args:
            x: ``[T, B, inputs]`` from the first step, T as far as the last exit.

        Returns:
            ``[exits, B, classes]``.
        """
        if len(self.checked(x)) < self.exits[-1]:
            raise ShapeError(f"EarlyExit: {len(x)} steps; the last exit is at {self.exits[-1]}.")
        state, total = self.body.start(x[0]), x.new_zeros(x.shape[1], self.body.outputs)
        found: list[Tensor] = []
        for t, frame in enumerate(x[: self.exits[-1]], 1):
            z, state = self.body(frame, state)
            total = total + z
            if t in self.exits:
                found.append(self.heads[len(found)](total / t))
        return torch.stack(found)

    def gate(self, number: int, logits: Tensor) -> Tensor:
        """Return a gate's logit ``[B]`` for its head's logits; no gradient goes through to the head."""
        found: Tensor = self.gates[number](uncertainty(logits.detach()))[..., 0]
        return found

    def warm_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss before gates play a part: earlier heads weigh more."""
        many = len(self.exits)
        return torch.stack([(many - i) * functional.cross_entropy(z, labels) for i, z in enumerate(logits)]).mean()

    def head_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the heads' loss: each on the samples that exit there, the gates as they are."""
        each = torch.stack([functional.cross_entropy(z, labels, reduction="none") for z in logits])
        with torch.no_grad():
            shares = exit_shares(torch.stack([self.gate(i, z) for i, z in enumerate(logits[:-1])]).sigmoid())
            scale = each.sum() / (shares * each).sum().clamp(min=1e-9)
        return (shares * each * scale).mean()

    def gate_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the gates' loss: whether the cheapest exit, by cross-entropy + λ cost, is theirs or before."""
        with torch.no_grad():
            each = torch.stack([functional.cross_entropy(z, labels, reduction="none") for z in logits])
            cost = each.new_tensor(self.exits) / self.exits[-1]
            best = (each + self.price * cost[:, None]).argmin(0)
        losses = []
        for i, z in enumerate(logits[:-1]):
            wanted = (best <= i).to(z)
            weight = ((wanted == 0).sum() / wanted.sum().clamp(min=1)).clamp(max=5.0)
            losses.append(functional.binary_cross_entropy_with_logits(self.gate(i, z), wanted, pos_weight=weight))
        return torch.stack(losses).mean()

    def _at_exit(self, state: ExitState) -> ExitState:
        """Return the state after the exit of this step, if there is one."""
        if state.step not in self.exits:
            return state
        number = self.exits.index(state.step)
        logits = self.heads[number](state.counts / state.step)
        if number == len(self.gates):
            leaves, share, q = ~state.exited, 1.0 - state.taken, torch.ones_like(state.taken)
        else:
            share = torch.minimum(self.gate(number, logits).sigmoid(), 1.0 - state.taken)
            q = (share / state.ruled.clamp(min=1e-9)).clamp(0.0, 1.0)
            leaves = (q >= 0.5) & ~state.exited
        return state._replace(
            ruled=state.ruled * (1.0 - q), taken=state.taken + share, exited=state.exited | leaves,
            logits=torch.where(leaves[:, None], logits, state.logits),
        )  # fmt: skip

    def forward(self, x: Tensor, state: ExitState | None = None) -> tuple[Tensor, ExitState]:
        """Run over time.

        Args:
            x: ``[T, B, inputs]``.
            state: as an earlier call returned it, or None.

        Returns:
            Logits ``[T, B, classes]`` and the state after the last step.
        """
        state = state or self.start(self.checked(x))
        out = []
        for frame in self.checked(x):
            z, body = self.body(frame, state.body)
            state = self._at_exit(state._replace(step=state.step + 1, body=body, counts=state.counts + z))
            out.append(state.logits)
        return torch.stack(out), state

    def event_driven(self) -> EventDrivenExit:
        """Return the event-driven run: samples that have left are not run on."""
        return EventDrivenExit(self)


class EventDrivenExit:
    """An early-exit network that stops where samples leave.

    Args:
        layer: the network.

    Attributes:
        counts: operations of the last call.
        steps: ``[B]`` steps that every sample was looked at in the last call.
    """

    def __init__(self, layer: EarlyExit) -> None:
        self.layer, self.counts, self.steps = layer, Counts(), torch.zeros(0, dtype=torch.int64)

    @torch.no_grad()
    def __call__(self, x: Tensor, state: ExitState | None = None) -> tuple[Tensor, ExitState]:
        """Run over time; see `EarlyExit.forward`. Bodies of samples that have left stay as they were."""
        layer = self.layer
        state = state or layer.start(layer.checked(x))
        self.steps, self.counts, out = x.new_zeros(x.shape[1], dtype=torch.int64), Counts(), []
        for frame in layer.checked(x):
            rows = (~state.exited).nonzero()[:, 0]
            counts, body = state.counts, state.body
            if len(rows):
                z, new = layer.body(frame[rows], tuple(s[rows] for s in body))
                body = tuple(s.index_copy(0, rows, n) for s, n in zip(body, new, strict=True))
                counts = counts.index_add(0, rows, z)
                heard = frame[rows].flatten(1).any(1)
                self.counts += layer.body.cost(frame[rows][heard]) + Counts(syn_ac=int(z.count_nonzero()))
                self.steps[rows] += 1
            state = layer._at_exit(state._replace(step=state.step + 1, body=body, counts=counts))
            if state.step in layer.exits and len(rows):
                self.counts += self._exit_cost(counts[rows])
            out.append(state.logits)
        return torch.stack(out), state

    def _exit_cost(self, counts: Tensor) -> Counts:
        """Return what asking a head and its gate costs."""
        rows, classes = len(counts), self.layer.classes
        head = synapses(counts, classes)
        features = Counts(neu_exp=3 * rows * classes, neu_mac=4 * rows * classes, neu_cmp=2 * rows * classes)
        return Counts(syn_mac=head.syn_ac + head.syn_mac, mem_rd_w=head.mem_rd_w, dense_mac=4 * rows) + features


def jei_dnn(
    inputs: int,
    outputs: int,
    *,
    body: Expert | None = None,
    hidden: int = 64,
    exits: Sequence[int] = (4, 8, 12, 16, 20, 24),
    price: float = 0.1,
) -> EarlyExit:
    """Return the network.

    Args:
        inputs: features of a step.
        outputs: classes.
        body: an expert; LIF neurons if not given.
        hidden: number of those.
        exits: steps at which a sample may leave.
        price: λ.
    """
    return EarlyExit(LIFExpert(inputs, hidden) if body is None else body, outputs, exits, price)
