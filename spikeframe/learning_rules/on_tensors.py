"""Rules of plastic synapses on torch tensors: what the simulator does, for a dense weight matrix and a batch.

A rule is local: it knows the spikes of both sides, its traces and, if it asks for them, state variables of the target
and a signal. So the traced statements of `spikeframe.kernels.plasticity` run on spike tensors as well. In each step
come, as there, arrivals, spikes of the target, traces, then the signal. Each example of the batch has traces of its
own; the one matrix of weights takes the mean of their changes, after each of the three.

For a batch of one this is the simulator with `AllToAll` and one delay, to rounding. Cost: B x targets x sources a step,
whatever the spikes: it is for training layers, not for speed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError
from spikeframe.kernels.plasticity import Plasticity, Traced, number, traced
from spikeframe.kernels.trace import Program


def _ordered(less: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the smaller or the larger of two values; NaN if either is."""
    return lambda a, b: torch.where(((a < b) if less else (a > b)) | (a != a), a, b)


_TORCH: dict[str, Callable[..., Tensor]] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "neg": torch.neg, "lt": torch.lt,
    "le": torch.le, "gt": torch.gt, "ge": torch.ge, "eq": torch.eq, "ne": torch.ne, "and": torch.logical_and,
    "or": torch.logical_or, "where": torch.where, "exp": torch.exp, "log": torch.log, "minimum": _ordered(True),
    "maximum": _ordered(False),
}  # fmt: skip


@dataclass(frozen=True)
class LocalState:
    """What a rule remembers between two calls of `plasticity`.

    Attributes:
        traces: name to ``[B, sources]`` (pre), ``[B, targets]`` (post), ``[B, targets, sources]`` (own), ``[B]``
            (whole).
        last: the target's state variables at the end, each ``[B, targets]``.
    """

    traces: dict[str, Tensor]
    last: dict[str, Tensor]


def plasticity(
    rule: Plasticity, weight: Tensor, pre: Tensor, post: Tensor, dt: float, *, state: LocalState | None = None,
    target: Mapping[str, Tensor] | None = None, signal: Tensor | None = None,
) -> tuple[Tensor, LocalState]:  # fmt: skip
    """Let a rule change a layer's weights by the spikes of both its sides.

    Args:
        rule: e.g. ``TripletSTDP(w_max=1.0)``; what it sends to its targets (short-term plasticity) is not used.
        weight: ``[targets, sources]``; not changed.
        pre: ``[T, B, sources]``, spikes as they arrive: not 0 is a spike.
        post: ``[T, B, targets]``.
        dt: ms.
        state: what an earlier call returned; None: all traces are 0.
        target: state variables that the rule reads or follows, e.g. ``{"v": [T, B, targets]}``, after each step.
            Before the first they are 0, as are the traces that follow them, unless `state` says otherwise.
        signal: ``[T]`` or ``[T, B]``, the third factor after each step's spikes; 0: none.

    Returns:
        The new weights and the state at the end.

    Raises:
        ShapeError: shapes that do not fit together.
        ParameterError: dt is not positive, or a state variable or signal is missing or not used.
        DTypeError, NonFiniteError: the rule is none, or weights or spikes are no tensors of finite numbers.
    """
    if not isinstance(rule, Plasticity):
        raise DTypeError(f"plasticity: the rule is {rule!r}; give one, e.g. PairSTDP(w_max=1.0).")
    for name, value in (("weight", weight), ("pre", pre), ("post", post)):
        if not isinstance(value, Tensor):
            raise DTypeError(f"plasticity: {name} is {type(value).__name__}; it must be a tensor.")
        if not bool(torch.isfinite(value).all()):
            raise NonFiniteError(f"plasticity: {name} holds NaN or infinite values.")
    made = traced(rule, number("plasticity(dt)", dt, above=0.0))
    target = dict(target or {})
    _check(rule, made, weight, pre, post, target, signal)
    with torch.no_grad():
        run = _Layer(made, weight, pre.shape[1], state)
        spikes = (pre != 0), (post != 0)
        for t in range(pre.shape[0]):
            run.step(spikes[0][t], spikes[1][t], {name: value[t] for name, value in target.items()})
            if signal is not None and bool((signal[t] != 0).any()):
                run.signal(signal[t].to(weight.dtype).expand(pre.shape[1]))
        return run.weight, LocalState(run.traces, run.last)


def _check(
    rule: Plasticity, made: Traced, weight: Tensor, pre: Tensor, post: Tensor, target: Mapping[str, Tensor],
    signal: Tensor | None,
) -> None:  # fmt: skip
    kind, expected = type(rule).__name__, (*pre.shape[:2], weight.shape[0] if weight.dim() else 0)
    if weight.dim() != 2 or pre.dim() != 3 or pre.shape[2] != weight.shape[1] or post.shape != expected:
        raise ShapeError(
            f"plasticity: weight {tuple(weight.shape)}, pre {tuple(pre.shape)}, post {tuple(post.shape)}; must be "
            "[targets, sources], [T, B, sources] and [T, B, targets]."
        )
    for name, value in target.items():
        if value.shape != post.shape:
            raise ShapeError(f"plasticity: target[{name!r}] is {tuple(value.shape)}; must be as post, {expected}.")
    if set(target) != set(made.states):
        raise ParameterError(f"plasticity: target has {sorted(target)}, but {kind} reads {sorted(made.states)}.")
    takes = made.program("at_signal") is not None or made.program("signal") is not None
    if signal is not None and (not takes or signal.shape not in (pre.shape[:1], pre.shape[:2])):
        shape, why = tuple(signal.shape), "must be [T] or [T, B]" if takes else f"{kind} takes none"
        raise ParameterError(f"plasticity: a signal of shape {shape}; {why}.")


class _Layer:
    """Weights and traces of one layer on their way through time."""

    def __init__(self, made: Traced, weight: Tensor, batch: int, state: LocalState | None) -> None:
        self.made, self.weight, self.batch = made, weight.detach().clone(), batch
        targets, sources = weight.shape
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(made.pre, (batch, sources))
        shapes |= dict.fromkeys(made.post, (batch, targets)) | dict.fromkeys(made.own, (batch, targets, sources))
        shapes |= dict.fromkeys(made.whole, (batch,))
        zeros = {name: weight.new_zeros(shape) for name, shape in shapes.items()}
        self.traces = dict(state.traces) if state else zeros
        self.last = dict(state.last) if state else {n: weight.new_zeros(batch, targets) for n in made.states}
        if {n: tuple(t.shape) for n, t in self.traces.items()} != shapes:
            raise ShapeError(f"plasticity: the state is not one of this rule, a batch of {batch} and this layer.")
        rates = dict(zip(made.traces, made.rate, strict=True))
        self.decay = {n: torch.exp(torch.tensor(-r, dtype=torch.float64)).to(weight) for n, r in rates.items()}
        self.numbers = {n: weight.new_tensor(value) for n, value in made.coefficients}

    def step(self, pre: Tensor, post: Tensor, target: dict[str, Tensor]) -> None:
        """Do one time step: ``[B, sources]`` and ``[B, targets]`` spikes."""
        self.traces = {name: value * self.decay[name] for name, value in self.traces.items()}
        before = self.traces
        self._weights("at_pre", pre[:, None, :], before, self.last)
        self._weights("at_post", post[:, :, None], before, target)
        self._traces("arrive", self.made.pre, pre)
        self._traces("fire", self.made.post, post)
        for (name, variable), gain in zip(self.made.follow, self.made.gain, strict=True):
            self.traces[name] = self.traces[name] + gain * target[variable]
        self.last = dict(target)

    def signal(self, value: Tensor) -> None:
        """Give each example of the batch its signal, ``[B]``; 0 is none."""
        everywhere = (value != 0)[:, None, None]
        self._weights("at_signal", everywhere, self.traces, self.last, signal=value[:, None, None])
        self._traces("signal", self.made.whole, value != 0, signal=value)

    def _weights(
        self, name: str, where: Tensor, traces: Mapping[str, Tensor], target: Mapping[str, Tensor], **more: Tensor
    ) -> None:
        """Change weights and own traces where something happened."""
        program, made = self.made.program(name), self.made
        if program is None or not bool(where.any()):
            return
        values = self.numbers | more | {"w": self.weight}
        values |= {n: traces[n][:, None, :] for n in made.pre} | {n: traces[n][:, :, None] for n in made.post}
        values |= {n: self.traces[n] for n in made.own} | {n: traces[n][:, None, None] for n in made.whole}
        values |= {n: target[n][:, :, None] for n in made.state}
        for changed, new in _evaluate(program, values, self.weight).items():
            if changed == "w":
                shift = torch.where(where, new - self.weight, torch.zeros_like(self.weight))
                self.weight = self.weight + shift.expand(self.batch, *self.weight.shape).mean(0)
            elif changed in made.own:
                self.traces[changed] = torch.where(where, new, self.traces[changed])

    def _traces(self, name: str, names: tuple[str, ...], where: Tensor, **more: Tensor) -> None:
        """Change the traces of who spiked."""
        program = self.made.program(name)
        if program is not None:
            values = self.numbers | more | {n: self.traces[n] for n in names}
            for changed, new in _evaluate(program, values, self.weight).items():
                self.traces[changed] = torch.where(where, new, self.traces[changed])


def _evaluate(program: Program, values: Mapping[str, Any], like: Tensor) -> dict[str, Tensor]:
    """Evaluate a program node by node; leaves that no node needs may be missing."""
    results: list[Any] = [values.get(leaf.name) for leaf in program.leaves]
    for node in program.nodes:
        if node.op == "const":
            results.append(like.new_tensor(float(node.constant or 0)))
        else:
            results.append(_TORCH[node.op](*(results[a] for a in node.args)))
    return {name: results[index] for name, index in program.outputs}
