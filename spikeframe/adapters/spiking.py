r"""Modules as layers on spikes: one contract for `spikeframe.modules` and for torch modules of your own.

A layer on spikes takes ``x [T, B, ...]``, 0 where nothing arrives, and gives currents: ``y, state = layer(x, state)``,
y ``[T, B, ...]``, state None at first. Its event-driven run is called alike, skips what silence and selection leave
out, and has the operations of its last call in ``counts``. `on_spikes` makes such a layer of a module that says what
it is, by its attribute ``per`` or in the call:

==========  =======================================================================================================
``per``     how the module is applied, and what it must be
==========  =======================================================================================================
``run``     to all steps at once: ``forward(x [T, B, ...], state) -> (y, state)``; so is everything that has an
            ``event_driven`` method
``step``    to every step: ``forward(x [B, ...]) -> y [B, ...]``, each sample for itself. If its attribute
            ``stateful`` is true: ``forward(x, state) -> (y, state)``, state a tensor or tuple of tensors
            ``[B, ...]``, or None; with a method ``rest(state, steps [B]) -> state`` that makes up for silent steps
            it promises that silence gives 0
``sample``  once a sample, to its mean over the first `warmup` steps; the result is a constant current from the last
            of them on, 0 before
``event``   to every event: ``forward(place [n, axes], size [n]) -> y [n, ...]``, summed over the events of a step
==========  =======================================================================================================

All are causal: output up to step t depends on input up to step t. Event-driven, a module without state is asked once
what silence gives, and then runs on the rows (step, sample) in which something arrives (a linear layer on the events
alone); one with state and `rest` likewise, and without `rest` on all rows. Operations are counted as by
`spikeframe.energy.count`, or by the module's own ``cost(*inputs) -> Counts``. `verify` tries promises on data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from spikeframe.core.counts import Counts
from spikeframe.energy.counting import count
from spikeframe.errors import ContractError, EventError, ShapeError, UnsupportedLayerError, unknown_name
from spikeframe.kernels.moe import provider
from spikeframe.modules.active_dendrites import EventDrivenDendrites
from spikeframe.modules.checks import on_cpu, sequence, whole
from spikeframe.modules.delta_events import EventRun
from spikeframe.modules.elm_events import EventDrivenELM
from spikeframe.modules.moe.experts import synapses

PER = ("run", "step", "sample", "event")


class EventDriven(Protocol):
    """An event-driven run of a layer."""

    counts: Counts

    def __call__(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run over time, ``[T, B, ...]``, and set `counts`."""


class SampleState(NamedTuple):
    """State of a layer that is applied once a sample.

    Attributes:
        steps: seen so far.
        total: ``[B, ...]`` sum of the input over the warm-up so far.
        out: ``[B, ...]`` the constant current, None during the warm-up.
    """

    steps: int
    total: Tensor
    out: Tensor | None


def on_spikes(module: nn.Module, per: str | None = None, *, warmup: int = 1) -> OnSpikes:
    """Return a module as a layer on spikes.

    Args:
        module: the module; its parameters are the layer's.
        per: how it is applied, one of `PER`; what the module says if not given.
        warmup: steps that a module of kind ``"sample"`` looks at.

    Raises:
        ContractError: the module does not say what it is.
        UnknownNameError: there is no such kind.
        ParameterError: warmup is no whole number from 1.
    """
    said = per or getattr(module, "per", None) or ("run" if hasattr(module, "event_driven") else None)
    if said is None:
        raise ContractError(
            f"{type(module).__name__} does not say how it is applied to spikes: give it an attribute `per`, or call "
            f"on_spikes(module, per=...), with one of {', '.join(PER)}."
        )
    if said not in PER:
        raise unknown_name("way to apply a module", said, PER)
    return OnSpikes(module, said, whole("on_spikes(warmup)", warmup))


class OnSpikes(nn.Module):
    """A module as a layer on spikes; made by `on_spikes`.

    Args:
        module: the module.
        per: how it is applied.
        warmup: steps that a module applied once a sample looks at.
    """

    def __init__(self, module: nn.Module, per: str, warmup: int) -> None:
        super().__init__()
        self.module: Any = module
        self.per, self.warmup = per, warmup
        self.stateful = bool(getattr(module, "stateful", False))

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run over time.

        Args:
            x: ``[T, B, ...]`` spikes or values.
            state: as an earlier call returned it, or None.

        Returns:
            Currents ``[T, B, ...]`` and the state after the last step.

        Raises:
            ShapeError, DTypeError, NonFiniteError: the input is not usable, or what the module makes of it.
        """
        self._checked(x)
        if self.per == "run":
            out, state = self.module(x, state)
        elif self.per == "event":
            out = _on_events(self.module, x)
        elif self.per == "sample":
            out, state = self._samples(x, state)
        elif self.stateful:
            steps = []
            for frame in x:
                y, state = self.module(frame, state)
                steps.append(y)
            out = torch.stack(steps)
        else:
            out = self.module(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return self._fits(out, x), state

    def event_driven(self) -> EventDriven:
        """Return the event-driven run of the layer; it shares the layer's weights unless the module copies them.

        Raises:
            UnsupportedLayerError: a module of kind ``"run"`` without an ``event_driven`` method.
        """
        if self.per != "run":
            return _Skipping(self)
        if not hasattr(self.module, "event_driven"):
            raise UnsupportedLayerError(
                f"{type(self.module).__name__} is applied to all steps at once; only its own `event_driven` could "
                f"skip any. Write one, or a module that is applied per step."
            )
        run = self.module.event_driven()
        if isinstance(run, EventDrivenELM):
            return _FromEvents(self.module, run, _elm)
        if isinstance(run, EventDrivenDendrites):
            return _FromEvents(self.module, run, _dendrites)
        return run if hasattr(run, "counts") else _Counting(run)

    def _checked(self, x: Tensor) -> None:
        kind = type(self.module).__name__
        sequence(kind, x, 3)
        if 0 in x.shape[:2]:
            raise ShapeError(f"{kind}: input has shape {tuple(x.shape)}; it must have steps and samples.")

    def _fits(self, out: Any, x: Tensor) -> Tensor:
        if not isinstance(out, Tensor) or out.ndim < 2 or out.shape[:2] != x.shape[:2]:
            got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ShapeError(
                f"{type(self.module).__name__}, applied per {self.per}, gave {got} for an input of "
                f"{tuple(x.shape)}: its output must keep time and batch."
            )
        return out

    def _samples(self, x: Tensor, state: SampleState | None) -> tuple[Tensor, SampleState]:
        """Apply the module once a sample; `state` says how much of the warm-up is over."""
        steps, total, held = state or SampleState(0, torch.zeros_like(x[0]), None)
        left = max(self.warmup - steps, 0)
        total = total + x[:left].sum(0)
        if held is None and steps + len(x) >= self.warmup:
            held = self.module(total / self.warmup)
        after = SampleState(steps + len(x), total, held)
        if held is None:  # nothing is known yet; the module is asked for the shape alone
            silent = torch.zeros_like(self.module(torch.zeros_like(total)).detach())
            return silent.expand(len(x), *silent.shape), after
        start = max(left - 1, 0)
        shown = (torch.arange(len(x), device=x.device) >= start).to(held).view(-1, *[1] * held.ndim)
        return held * shown, after


def _on_events(module: Any, x: Tensor) -> Tensor:
    """Sum what a module makes of every event into rows of (step, sample)."""
    index = x.detach().nonzero()
    y = module(index[:, 2:], x[tuple(index.T)])
    if not isinstance(y, Tensor) or y.ndim < 1 or len(y) != len(index):
        got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise ShapeError(f"{type(module).__name__}, applied per event, gave {got} for {len(index)} events.")
    out = y.new_zeros(x.shape[0] * x.shape[1], *y.shape[1:])
    out = out.index_add(0, index[:, 0] * x.shape[1] + index[:, 1], y)
    return out.reshape(*x.shape[:2], *y.shape[1:])


class _Kept(nn.Module):
    """A module that takes rows behind an axis of one step, as `count` wants them, and keeps what it gave."""

    def __init__(self, module: nn.Module, apply: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.module, self.apply_ = module, apply
        self.out: Any = None

    def forward(self, x: Tensor) -> None:
        self.out = self.apply_(x[0])


def _counted(module: Any, rows: Tensor, apply: Callable[[Tensor], Any], *inputs: Any) -> tuple[Any, Counts]:
    """Apply a module to rows, and return what it gave and its operations."""
    if hasattr(module, "cost"):
        return apply(rows), module.cost(*inputs)
    kept = _Kept(module, apply)
    layers = count(kept, rows[None] if rows.ndim > 1 else rows[None, :, None])
    return kept.out, sum(layers.values(), Counts())


class _Skipping:
    """Runs a module on the rows, events or samples that need it."""

    def __init__(self, layer: OnSpikes) -> None:
        self.layer, self.counts = layer, Counts()

    @torch.no_grad()
    def __call__(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        layer = self.layer
        module: Any = layer.module
        layer._checked(x)
        self.counts = Counts()
        if layer.per == "sample":
            out, state = self._sample(x, state)
        elif layer.per == "event":
            out = self._events(x)
        elif layer.stateful:
            out, state = self._stateful(x, state)
        elif type(module) is nn.Linear and x.ndim == 3:
            out = self._linear(x)
        else:
            rows = x.flatten(0, 1)
            active = rows.flatten(1).any(1)
            silence = module(torch.zeros_like(rows[:1]))
            out = silence.repeat(len(rows), *[1] * (silence.ndim - 1))
            if bool(active.any()):
                out[active], self.counts = _counted(module, rows[active], module, rows[active])
            out = out.unflatten(0, x.shape[:2])
        self.counts = replace(self.counts, samples=x.shape[1], steps=x.shape[0] * x.shape[1])
        return layer._fits(out, x), state

    def _linear(self, x: Tensor) -> Tensor:
        """Run a linear layer on its events: compiled, silent inputs are skipped too."""
        linear: Any = self.layer.module
        kernels, rows = provider("auto"), x.shape[0] * x.shape[1]
        on_cpu("event-driven run", sequence("Linear", x, 3, linear.in_features))
        out = torch.zeros(rows, linear.out_features, dtype=x.dtype)
        weight = linear.weight.detach().to(x).T.contiguous()[None].numpy()
        events = kernels.events(np.ascontiguousarray(x.flatten(0, 1).numpy()))
        one = np.arange(rows + 1), np.zeros(rows, np.int64), np.ones(rows, weight.dtype)
        kernels.linear(*events, *one, weight, np.zeros(1, np.int64), out.numpy())
        biased = linear.bias is not None
        self.counts = synapses(x, linear.out_features) + Counts(
            inputs=linear.in_features, neurons=linear.out_features, weights=linear.weight.numel(),
            fan_out=linear.out_features, bias_ac=out.numel() if biased else 0,
            syn_ac_dense=x.numel() * linear.out_features,
        )  # fmt: skip
        return (out + linear.bias.to(x) if biased else out).view(*x.shape[:2], -1)

    def _sample(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        layer = self.layer
        out, after = layer._samples(x, state)
        if after.out is not None and (state is None or state.out is None):
            mean = after.total / layer.warmup
            _, self.counts = _counted(layer.module, mean, layer.module, mean)
        return out, after

    def _events(self, x: Tensor) -> Tensor:
        module = self.layer.module
        out = _on_events(module, x)
        index = x.nonzero()
        if len(index):
            size = x[tuple(index.T)]
            _, found = _counted(module, size, lambda s: module(index[:, 2:], s.flatten()), index[:, 2:], size)
            added = Counts(spk_in=len(index), route=len(index), syn_ac=len(index) * out[0, 0].numel())
            self.counts = found + added
        return out

    def _stateful(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        module: Any = self.layer.module
        if not hasattr(module, "rest"):
            steps = []
            for frame in x:
                (y, state), found = _counted(module, frame, partial(_with, module, state), frame)
                self.counts += found
                steps.append(y)
            return torch.stack(steps), state
        silence, start = module(torch.zeros_like(x[0]), None)
        inner, gap = start if state is None else state, x.new_zeros(x.shape[1], dtype=torch.int64)
        out = silence.new_zeros(x.shape[0], *silence.shape)
        for t, frame in enumerate(x):
            rows = frame.flatten(1).any(1).nonzero()[:, 0]
            gap += 1
            if len(rows):
                before = module.rest(_each(inner, lambda s, r=rows: s[r]), gap[rows] - 1)
                part = frame[rows]
                (out[t, rows], now), found = _counted(module, part, partial(_with, module, before), part)
                self.counts += found
                inner = _each(inner, lambda s, n, r=rows: s.index_copy(0, r, n), now)
                gap[rows] = 0
        return out, module.rest(inner, gap)


def _with(module: Any, state: Any, x: Tensor) -> Any:
    """Apply a module to a state and an input."""
    return module(x, state)


class _Counting:
    """A layer on changes, with its counts."""

    def __init__(self, run: Any) -> None:
        self.run, self.counts = run, Counts()

    def __call__(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        found = self.run(x, state)
        if not isinstance(found, EventRun):
            raise ContractError(
                f"{type(self.run).__name__} has no `counts`: an event-driven run must say what its last call cost."
            )
        sent, macs = int(found.sent.sum()), int(found.macs.sum())
        self.counts = Counts(
            samples=x.shape[1], steps=x.shape[0] * x.shape[1], inputs=x[0, 0].numel(), neurons=found.out[0, 0].numel(),
            spk_in=sent, route=sent, syn_mac=macs, neu_cmp=x.numel(), syn_mac_dense=found.dense_macs,
        )  # fmt: skip
        return found.out, found.state


class _FromEvents:
    """A run that takes one sample's events from rest, as one that takes frames."""

    def __init__(self, module: Any, run: Any, apply: Callable[..., tuple[Any, Counts]]) -> None:
        self.module, self.run, self.apply, self.counts = module, run, apply, Counts()

    def __call__(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        on_cpu("event-driven run", sequence(type(self.module).__name__, x, 3, self.module.inputs))
        if state is not None:
            raise UnsupportedLayerError(
                f"{type(self.module).__name__}: its event-driven run starts from rest; give state=None, and all steps "
                f"at once."
            )
        samples, self.counts = [], Counts()
        for sample in x.detach().unbind(1):
            step, source = (i.numpy() for i in sample.nonzero(as_tuple=True))
            out, counts = self.apply(self.module, self.run, step, source, sample.numpy())
            samples.append(torch.from_numpy(np.asarray(out)).to(x.dtype))
            self.counts += replace(counts, samples=1, steps=len(x), spk_in=len(step), route=len(step))
        return torch.stack(samples, 1), None


def _elm(module: Any, run: EventDrivenELM, step: Any, source: Any, sample: Any) -> tuple[Any, Counts]:
    size = sample[step, source]
    done = run(step * module.dt, source, len(sample), size)
    cost = dict(done.operations)
    added, dense = cost.pop("syn_ac"), cost.pop("dense_equiv_mac")
    unit = int((np.abs(size) == 1).sum()) * added // max(len(step), 1)
    return done.out, Counts(syn_ac=unit, syn_mac=added - unit, syn_mac_dense=dense, **cost)


def _dendrites(module: Any, run: EventDrivenDendrites, step: Any, source: Any, sample: Any) -> tuple[Any, Counts]:
    if not (sample[step, source] == 1).all():
        raise EventError(
            f"{type(module).__name__}: its event-driven run takes spikes, 0 or 1; the input has other values."
        )
    done = run(step, source, len(sample))
    cost = dict(done.operations)
    return done.active, Counts(syn_ac_dense=cost.pop("dense_equiv_mac"), **cost)


@torch.no_grad()
def verify(layer: Any, x: Tensor, *, tolerance: float = 1e-5) -> None:
    """Try on data what a layer on spikes promises; random layers should be made reproducible, and in ``eval`` mode.

    Output keeps time and batch; two stretches with the state handed over are one run; later input changes nothing
    before; samples do not touch each other; every tensor it makes is on its input's device; the event-driven run, if
    there is one, gives the same.

    Args:
        layer: called as ``y, state = layer(x, state)``.
        x: ``[T, B, ...]`` with T and B from 2.
        tolerance: largest difference accepted, relative to the largest output.

    Raises:
        ShapeError: x is too short.
        ContractError: a promise is broken; the message says which and by how much.
    """
    if x.ndim < 3 or min(x.shape[:2]) < 2:
        raise ShapeError(f"verify: x has shape {tuple(x.shape)}; it needs two steps and two samples or more.")
    kind = type(getattr(layer, "module", layer)).__name__
    whole_run, _ = layer(x, None)
    if whole_run.shape[:2] != x.shape[:2]:
        raise ContractError(f"{kind}: output {tuple(whole_run.shape)} for input {tuple(x.shape)}: keep [T, B, ...].")
    scale = float(whole_run.abs().max()) or 1.0

    def compare(promise: str, got: Tensor, wanted: Tensor) -> None:
        worst = float((got - wanted).abs().max()) / scale if got.shape == wanted.shape else float("inf")
        if not worst <= tolerance:
            raise ContractError(f"{kind}: {promise}: off by {worst:.2g} of the largest output; accepted {tolerance:g}.")

    try:
        with torch.device("meta"):  # where a tensor is made whose device nobody gave
            layer(x, None)
    except (RuntimeError, NotImplementedError) as error:
        raise ContractError(f"{kind}: a tensor is not made on the input's device, give device=...: {error}") from None
    compare("samples are not apart", layer(x[:, :1], None)[0], whole_run[:, :1])
    cut = len(x) // 2
    later = torch.cat([x[:cut], x[cut:].flip(1) + 1.0])
    compare("not causal, later input changed earlier output", layer(later, None)[0][:cut], whole_run[:cut])
    first, state = layer(x[:cut], None)
    second, _ = layer(x[cut:], state)
    compare("two stretches are not one run", torch.cat([first, second]), whole_run)
    if hasattr(layer, "event_driven"):
        run = layer.event_driven()
        found = run(x, None)
        compare("the event-driven run differs", found.out if isinstance(found, EventRun) else found[0], whole_run)


def _each(state: Any, change: Callable[..., Tensor], *others: Any) -> Any:
    """Apply a function to a tensor, or to the tensors of a tuple."""
    if isinstance(state, Tensor):
        return change(state, *others)
    parts = [_each(s, change, *(o[k] for o in others)) for k, s in enumerate(state)]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
