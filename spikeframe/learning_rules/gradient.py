"""What the gradient rules share: a rule adds to the ``.grad`` of a model's parameters, an optimiser does the rest.

The loss of a run is the mean over its steps of ``loss(out[t], target[t])``; every rule takes the same one, so rules can
be compared. A target is constant (labels ``[B]``) or has one entry per step (``[T, B, ...]``, told by its first two
axes). A loss is called with the output of one or of several steps, flattened to ``[S * B, ...]``, and must be a mean
over that axis, as torch's losses are by default.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError, UnsupportedLayerError
from spikeframe.neurons import Neuron, Recurrent
from spikeframe.neurons.temporal import Temporal

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Learnt:
    """What a rule tells of one batch.

    Attributes:
        loss: mean over the steps that it learnt from.
        mean_output: the model's output, mean over all steps, ``[B, ...]``: the usual scores of classes.
    """

    loss: float
    mean_output: Tensor


class GradientRule(ABC):
    """Base of the gradient rules.

    Args:
        model: called as ``out, state = model(x, state)``, x and out ``[T, B, ...]``; its memory is in neurons of ours.
        loss: see the module; cross entropy by default.

    Raises:
        UnsupportedLayerError: the rule cannot act on this model; the message says why.
    """

    #: What it reads, what it changes, and when.
    READS: ClassVar[str]
    CHANGES: ClassVar[str] = "the .grad of the parameters, by addition"
    WHEN: ClassVar[str]

    def __init__(self, model: nn.Module, loss: Loss = functional.cross_entropy) -> None:
        kind = type(self).__name__
        if not isinstance(model, nn.Module):
            raise DTypeError(f"{kind}: the model is {type(model).__name__}; give a torch module.")
        if not any(isinstance(m, (Neuron, Temporal)) for m in model.modules()):
            raise UnsupportedLayerError(
                f"{kind}: {type(model).__name__} has no neuron of spikeframe.neurons, so no state to learn through; "
                "for a network without time use torch's own backward."
            )
        if not any(p.requires_grad for p in model.parameters()):
            raise UnsupportedLayerError(f"{kind}: {type(model).__name__} has no parameter that asks for a gradient.")
        self.model, self.loss = model, loss

    @abstractmethod
    def backward(self, x: Tensor, target: Tensor) -> Learnt:
        """Run the model and add the loss's gradient, as the rule has it, to ``.grad`` of the parameters.

        Args:
            x: input ``[T, B, ...]``.
            target: constant ``[B, ...]`` or per step ``[T, B, ...]``.

        Returns:
            The loss and the mean output.

        Raises:
            ShapeError: x has no steps, or the target does not fit.
            NonFiniteError: the loss is NaN or infinite.
        """

    def _value(self, out: Tensor, target: Tensor, where: str) -> Tensor:
        """Return the mean loss of some steps, or refuse it if it is not finite.

        Args:
            out: ``[S, B, ...]``.
            target: of these steps, ``[S, B, ...]``.
            where: which steps, for the message.
        """
        try:
            value = self.loss(out.flatten(0, 1), target.flatten(0, 1))
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            raise ShapeError(
                f"{type(self).__name__}: the loss does not take outputs {tuple(out.shape)} and targets "
                f"{tuple(target.shape)} of {target.dtype}: {error} Cross entropy takes class numbers, int64, from 0 to "
                f"{out.shape[-1] - 1}."
            ) from error
        if value.ndim or not bool(torch.isfinite(value)):
            if value.ndim:
                raise ShapeError(f"{type(self).__name__}: the loss has shape {tuple(value.shape)}; it must be a mean.")
            raise NonFiniteError(
                f"{type(self).__name__}: the loss of {where} is {value.item()}; try a lower learning rate."
            )
        return value


def per_step(x: Tensor, target: Tensor) -> Tensor:
    """Return the target with a time axis, ``[T, B, ...]``, without copying.

    Args:
        x: input ``[T, B, ...]``.
        target: constant or per step, see the module.

    Raises:
        ShapeError: there are no steps, or the target fits neither.
    """
    if x.ndim < 3 or x.shape[0] == 0:
        raise ShapeError(f"input has shape {tuple(x.shape)}; it must be [T, B, ...] with at least one step.")
    if target.ndim >= 2 and target.shape[:2] == x.shape[:2]:
        return target
    if target.ndim >= 1 and target.shape[0] == x.shape[1]:
        return target.expand(x.shape[0], *target.shape)
    raise ShapeError(
        f"target has shape {tuple(target.shape)}, the input {tuple(x.shape)}: give [B, ...] for a constant target, "
        "[T, B, ...] for one per step."
    )


def detached(state: Any) -> Any:
    """Return a state (tensors in nested tuples) that no gradient passes.

    Args:
        state: of a model.
    """
    if isinstance(state, Tensor):
        return state.detach()
    if isinstance(state, tuple):
        inner = [detached(part) for part in state]
        return type(state)(*inner) if hasattr(state, "_fields") else tuple(inner)
    return state


def refuse_whole_time(rule: str, model: nn.Module) -> None:
    """Refuse a model with a layer that sees all of time at once, which cannot be run piece by piece.

    Args:
        rule: name of the rule, for the message.
        model: the model.

    Raises:
        UnsupportedLayerError: it has such a layer.
    """
    for name, layer in model.named_modules():
        if isinstance(layer, Temporal) and not isinstance(layer, Recurrent):
            raise UnsupportedLayerError(
                f"{rule}: {name} is a {type(layer).__name__}, whose output at one step depends on other steps beyond a "
                "state, so time cannot be cut into pieces; use BPTT."
            )


@contextmanager
def cut_in_time(model: nn.Module) -> Iterator[None]:
    """Let no gradient pass from one step to the next through the neurons of a model, inside the ``with`` block.

    Outputs keep their bits. The cut is made in the traced step, so fused kernels serve it too.

    Args:
        model: the model.
    """
    neurons = [m for m in model.modules() if isinstance(m, Neuron)]
    before = [neuron.detach_state for neuron in neurons]
    try:
        for neuron in neurons:
            neuron.detach_state = True
        yield
    finally:
        for neuron, value in zip(neurons, before, strict=True):
            neuron.detach_state = value


def whole(kind: str, name: str, value: Any) -> int:
    """Return a whole number from 1, or refuse it.

    Args:
        kind: name of the rule.
        name: name of the argument.
        value: what was given.

    Raises:
        ParameterError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ParameterError(f"{kind}({name}={value!r}): must be a whole number from 1.")
    return value


def rate(kind: str, name: str, value: Any) -> float:
    """Return a learning rate or the weight of a term: a finite number, not negative.

    Args:
        kind: name of the rule.
        name: name of the argument.
        value: what was given.

    Raises:
        ParameterError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ParameterError(f"{kind}({name}={value!r}): must be a finite number, not negative.")
    return float(value)
