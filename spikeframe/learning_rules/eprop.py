r"""e-prop: a trace that every synapse computes by itself, times a learning signal sent back from the error.

A neuron with states s gets ``x_t = \sum_i W_i pre_i``. Its own partial derivatives carry the eligibility vector ε:

.. math:: e_{i,t} = \frac{\partial z_t}{\partial s_{t-1}} \epsilon_{i,t-1}
                    + \frac{\partial z_t}{\partial x_t} pre_{i,t}, \qquad
          \epsilon_{i,t} = \frac{\partial s_t}{\partial s_{t-1}} \epsilon_{i,t-1}
                           + \frac{\partial s_t}{\partial x_t} pre_{i,t}

.. math:: \bar e_t = \kappa \bar e_{t-1} + e_t, \quad
          \ell_{j,t} = \sum_k B_{kj} \frac{\partial L_t}{\partial y_{k,t}}, \quad
          \nabla_{W_{ji}} = \sum_t \ell_{j,t} \bar e_{ji,t}

with κ the decay of the readout y and pre the input, or the layer's own last spikes for recurrent weights. The partial
derivatives are those of the traced step with its surrogate, so any neuron of ours will do; a reset with
``detach_reset=True`` is left out of them, as is published. What is dropped is how a spike acts on other neurons later:
without recurrent weights and with B = the readout's weights the result is the gradient of BPTT exactly.

Feedback B: ``"symmetric"`` is the readout's weights, ``"random"`` fixed normal numbers, ``"adaptive"`` starts random
and gets the readout's updates, and `weight_decay` pulls both together. Memory: an ε per state (shared by all neurons
where its derivatives are constants, as for LIF) and, with κ > 0, one ē per sample and synapse; none grows with T.
Reference: Bellec et al. 2020, doi:10.1038/s41467-020-17236-y.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeframe.errors import UnsupportedLayerError, unknown_name
from spikeframe.learning_rules.gradient import GradientRule, Learnt, Loss, per_step, rate
from spikeframe.learning_rules.partials import Partials, constant_decay
from spikeframe.neurons import LI, Neuron, Recurrent, Sequential
from spikeframe.neurons.sequential import in_order

FEEDBACK = ("symmetric", "random", "adaptive")


@dataclass
class _Hidden:
    """A layer of neurons and what its synapses remember during a run.

    Eligibility vectors are ``[B, N, P]``, or ``[B, 1, P]`` where all neurons share them; P presynaptic sides: inputs,
    a one if there is a bias, own spikes if it is recurrent.
    """

    linear: nn.Linear
    recurrent: Recurrent | None
    partials: Partials
    states: dict[str, Tensor] = field(default_factory=dict)
    spikes: Tensor | None = None
    vectors: dict[str, Tensor] = field(default_factory=dict)
    terms: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    filtered: Tensor | None = None
    gradient: Tensor | None = None
    activity: Tensor | None = None

    def start(self, x: Tensor) -> None:
        """Begin a run of inputs like x, [B, ...]."""
        self.forget()
        nothing = x.new_zeros(len(x), self.linear.out_features)
        self.states, self.spikes = self.partials.start(nothing), nothing

    def forget(self) -> None:
        """Let go of the traces."""
        self.states, self.vectors, self.terms = {}, {}, []
        self.spikes = self.filtered = self.gradient = self.activity = None

    def step(self, x: Tensor) -> Tensor:
        """Run one step; leave the terms of the eligibility trace in `terms`, as (derivative [B, N], vector)."""
        sides = [x] + ([] if self.linear.bias is None else [x.new_ones(len(x), 1)])
        arriving = self.linear(x)
        if self.recurrent is not None and self.spikes is not None:
            sides.append(self.spikes)
            arriving = arriving + functional.linear(self.spikes, self.recurrent.weight)
        now = torch.cat(sides, 1)[:, None]
        vectors = {"input": now, **(self.vectors or {name: torch.zeros_like(now) for name in self.partials.states})}
        out, self.states, derivatives = self.partials(arriving, self.states)
        self.terms = [
            (derivatives["out", name].expand(out.shape), vector)
            for name, vector in vectors.items()
            if ("out", name) in derivatives
        ]
        self.vectors = {}
        for state in self.partials.states:
            total = torch.zeros_like(now)
            for name, vector in vectors.items():
                if (state, name) in derivatives:
                    derivative = derivatives[state, name]
                    total = total + (derivative if derivative.ndim == 0 else derivative[..., None]) * vector
            self.vectors[state] = total
        self.spikes = out
        return out

    def learn(self, signal: Tensor, kappa: float, counts_activity: bool) -> None:
        """Add the product of learning signal [B, N] and filtered trace to the gradient [N, P]."""
        if counts_activity:
            found = _contracted(self.terms)
            self.activity = found if self.activity is None else self.activity + found
        if kappa == 0.0:
            found = _contracted([(signal * derivative, vector) for derivative, vector in self.terms])
        else:
            self.filtered = _filtered(self.filtered, kappa, self.terms)
            found = torch.einsum("bn,bnp->np", signal, self.filtered)
        self.gradient = found if self.gradient is None else self.gradient.add_(found)

    def give(self, gradient: Tensor) -> None:
        """Add a gradient [N, P] to those of weights and bias."""
        inputs = self.linear.in_features
        parts = [(self.linear.weight, gradient[:, :inputs])]
        if self.linear.bias is not None:
            parts.append((self.linear.bias, gradient[:, inputs]))
        if self.recurrent is not None:
            parts.append((self.recurrent.weight, gradient[:, -self.recurrent.size :]))
        for parameter, value in parts:
            _add(parameter, value)


class EProp(GradientRule):
    """e-prop on a chain of layers of neurons with a linear readout.

    Args:
        model: a `Sequential` of layers without weights, then pairs of `Linear` and a neuron (or `Recurrent`), then a
            `Linear` readout, with a `LI` behind it or without.
        loss: see `GradientRule`.
        feedback: ``"symmetric"``, ``"random"`` or ``"adaptive"``; all but random need exactly one layer of neurons.
        rate_target: wanted spikes per neuron and step.
        rate_weight: c of the term ``c/2 sum_j (rate_j - rate_target)^2``, through the same eligibility traces; 0 leaves
            it out.
        weight_decay: with adaptive feedback, ``weight_decay * W`` is added to the gradients of readout and feedback.
        generator: draws the feedback; None is torch's global one.

    Attributes:
        feedback: the matrices B, ``[outputs, N]`` for each layer; empty with symmetric feedback.

    Raises:
        UnsupportedLayerError: the model is of another kind; the message names the layer.
        ParameterError: a weight of a term is not finite, or negative.
        UnknownNameError: there is no such feedback.
    """

    READS: ClassVar[str] = "a trace of every synapse, and the error of the readout"
    WHEN: ClassVar[str] = "at every step"

    def __init__(
        self,
        model: nn.Module,
        loss: Loss = functional.cross_entropy,
        *,
        feedback: str = "symmetric",
        rate_target: float = 0.0,
        rate_weight: float = 0.0,
        weight_decay: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(model, loss)
        if feedback not in FEEDBACK:
            raise unknown_name("feedback", feedback, FEEDBACK)
        self.kind = feedback
        self.rate_target = rate("EProp", "rate_target", rate_target)
        self.rate_weight = rate("EProp", "rate_weight", rate_weight)
        self.weight_decay = rate("EProp", "weight_decay", weight_decay)
        self._before, self._hidden, self.readout, self.kappa = _parts(model)
        if feedback != "random" and len(self._hidden) != 1:
            raise UnsupportedLayerError(
                f"EProp(feedback={feedback!r}): the model has {len(self._hidden)} layers of neurons, and only the last "
                "meets the readout's weights; use feedback='random'."
            )
        self.feedback: list[nn.Parameter] = []
        if feedback != "symmetric":
            like = self.readout.weight
            for layer in self._hidden:
                size = len(like), layer.linear.out_features
                drawn = torch.randn(size, generator=generator, dtype=like.dtype)
                self.feedback.append(nn.Parameter(drawn.to(like.device), requires_grad=feedback == "adaptive"))

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield what an optimiser should step: the model's parameters, and the feedback if it adapts."""
        yield from self.model.parameters()
        yield from (b for b in self.feedback if b.requires_grad)

    @torch.no_grad()
    def backward(self, x: Tensor, target: Tensor) -> Learnt:
        """Add the gradient as e-prop has it (see `GradientRule.backward`)."""
        wanted = per_step(x, target)
        batch = x.shape[1]
        backs: list[Tensor] = list(self.feedback) or [self.readout.weight]
        for layer in self._hidden:
            layer.start(x[0])
        y = x.new_zeros(batch, self.readout.out_features)
        seen = x.new_zeros(batch, self.readout.in_features)
        ones, total, mean = 0.0, 0.0, torch.zeros_like(y)
        g_weight, g_bias = torch.zeros_like(self.readout.weight), y.new_zeros(y.shape[1])
        spikes = [x.new_zeros(layer.linear.out_features) for layer in self._hidden]
        for t in range(len(x)):
            z = self._before(x[t])
            for layer, count in zip(self._hidden, spikes, strict=True):
                z = layer.step(z)
                count += z.sum(0)
            y = self.kappa * y + self.readout(z)
            seen, ones = self.kappa * seen + z, self.kappa * ones + 1.0
            value, error = self._error(y, wanted[t : t + 1], t)
            total, mean, error = total + value, mean + y / len(x), error / len(x)
            g_weight += error.t() @ seen
            g_bias += error.sum(0) * ones
            for layer, back in zip(self._hidden, backs, strict=True):
                layer.learn(error @ back, self.kappa, self.rate_weight > 0)
        for layer, count in zip(self._hidden, spikes, strict=True):
            gradient, runs = layer.gradient, len(x) * batch
            if layer.activity is not None and gradient is not None:
                excess = self.rate_weight * (count / runs - self.rate_target) / runs
                gradient = gradient + excess[:, None] * layer.activity
            if gradient is not None:
                layer.give(gradient)
            layer.forget()
        if self.kind == "adaptive":
            _add(self.feedback[0], g_weight + self.weight_decay * self.feedback[0])
            g_weight = g_weight + self.weight_decay * self.readout.weight
        _add(self.readout.weight, g_weight)
        if self.readout.bias is not None:
            _add(self.readout.bias, g_bias)
        return Learnt(total / len(x), mean)

    def _error(self, y: Tensor, target: Tensor, t: int) -> tuple[float, Tensor]:
        """Return a step's loss and its gradient in the output, [B, outputs]."""
        with torch.enable_grad():
            free = y.detach().requires_grad_()
            value = self._value(free[None], target, f"step {t}")
            (error,) = torch.autograd.grad(value, free)
        return float(value), error


def _contracted(terms: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Sum derivative [B, N] times vector [B, N or 1, P] over terms and batch, [N, P]."""
    parts = [d.t() @ v[:, 0] if v.shape[1] == 1 else torch.einsum("bn,bnp->np", d, v) for d, v in terms]
    return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]


def _filtered(before: Tensor | None, kappa: float, terms: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Return ``kappa * before`` plus the sum of the terms, [B, N, P]; `before` may be overwritten."""
    shared = [(d, v) for d, v in terms if v.shape[1] == 1]
    if shared:
        derivatives = torch.stack([d for d, _ in shared], 2)
        vectors = torch.cat([v for _, v in shared], 1)
        total = torch.bmm(derivatives, vectors) if before is None else before.baddbmm_(derivatives, vectors, beta=kappa)
    else:
        d, v = terms[0]
        total = torch.zeros_like(v) if before is None else before.mul_(kappa)
    for d, v in terms:
        if v.shape[1] != 1:
            total.addcmul_(d[..., None], v)
    return total


def _add(parameter: Tensor, value: Tensor) -> None:
    """Add to the gradient of a parameter, if it asks for one."""
    if parameter.requires_grad:
        parameter.grad = value.clone() if parameter.grad is None else parameter.grad + value


def _parts(model: nn.Module) -> tuple[nn.Sequential, list[_Hidden], nn.Linear, float]:
    """Return the layers before the first weights, the layers of neurons, the readout and its decay."""
    accepted = (
        "accepted is a Sequential of layers without weights, pairs of Linear and a neuron (or Recurrent), a Linear "
        "readout, and a LI or nothing"
    )
    if not isinstance(model, Sequential):
        raise UnsupportedLayerError(f"EProp: {type(model).__name__}; {accepted}.")
    layers = [layer for _, layer in in_order(model)]
    kappa = 0.0
    last = layers[-1] if layers else None
    if isinstance(last, LI):
        kappa = constant_decay(last, "EProp")
        layers.pop()
    start = next((i for i, layer in enumerate(layers) if any(True for _ in layer.parameters())), len(layers))
    rest = layers[start:]
    readout = rest[-1] if rest else None
    if len(rest) < 3 or len(rest) % 2 == 0 or not isinstance(readout, nn.Linear):
        raise UnsupportedLayerError(f"EProp: the model is {[type(layer).__name__ for layer in layers]}; {accepted}.")
    hidden = []
    for i in range(0, len(rest) - 1, 2):
        linear, after = rest[i], rest[i + 1]
        neuron = after.neuron if isinstance(after, Recurrent) else after
        if not isinstance(linear, nn.Linear) or not isinstance(neuron, Neuron) or isinstance(neuron, LI):
            names = f"{type(linear).__name__} and {type(neuron).__name__}"
            raise UnsupportedLayerError(f"EProp: layers {start + i} and {start + i + 1} are {names}; {accepted}.")
        hidden.append(_Hidden(linear, after if isinstance(after, Recurrent) else None, Partials(neuron, "EProp")))
    return nn.Sequential(*layers[:start]), hidden, readout, kappa
