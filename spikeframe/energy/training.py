"""Operations of a training step: the forward run and the backward run through time.

Gradients are not spikes: the backward run multiplies everything. Of a layer with W weights, at each of T steps, the
gradient of the weights takes W multiply-accumulates, and that of its inputs W more, unless nothing before it learns
(the first layer). A neuron's backward update is the derived program that the training kernels execute, with its
recomputation of the forward values. The optimiser is left out: a few operations per weight and training step, not per
time step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from spikeframe.core.counts import Counts
from spikeframe.energy import twins
from spikeframe.energy.counting import count
from spikeframe.kernels.differentiate import differentiate
from spikeframe.neurons import Neuron


def count_training(model: nn.Module, x: Tensor, state: Any = None) -> dict[str, Counts]:
    """Count the operations of a training step, layer by layer.

    Args:
        model: as for `count`.
        x: input ``[T, B, ...]``.
        state: state to start from.

    Returns:
        Counts by layer: those of the forward run, plus the backward run's multiply-accumulates (in ``dense_mac``) and
        neuron arithmetic.

    Raises:
        Errors as `count`.
    """
    return {name: forward + backward for name, (forward, backward) in _both(model, x, state).items()}


def count_backward(model: nn.Module, x: Tensor, state: Any = None) -> dict[str, Counts]:
    """Count the operations of the backward run alone; arguments and errors as `count_training`.

    Args:
        model: as for `count`.
        x: input ``[T, B, ...]``.
        state: state to start from.
    """
    return {name: backward for name, (_, backward) in _both(model, x, state).items()}


def _both(model: nn.Module, x: Tensor, state: Any) -> Mapping[str, tuple[Counts, Counts]]:
    modules = dict(model.named_modules())
    found, first = {}, not x.requires_grad
    for name, forward in count(model, x, state).items():
        found[name] = forward, _backward(forward, modules.get(name), first)
        first = first and not twins.dense_operations(forward)
    return found


def _backward(forward: Counts, neuron: nn.Module | None, first: bool) -> Counts:
    """Count the way back through a layer."""
    macs = twins.dense_operations(forward) * (1 if first else 2)
    words = {"mem_rd_w": macs, "mem_rd_s": macs, "mem_wr_s": macs}
    found = Counts(dense_mac=macs, **words)
    if not isinstance(neuron, Neuron):
        return found
    each, many = differentiate(neuron.program()).operations(), forward.neu_upd
    states = many * (len(neuron.all_states()) + 1)
    return replace(
        found, neu_upd=many, neu_ac=many * each["ac"], neu_mac=many * each["mac"], neu_exp=many * each["exp"],
        neu_cmp=many * each["cmp"], mem_rd_s=macs + states, mem_wr_s=macs + states,
    )  # fmt: skip
