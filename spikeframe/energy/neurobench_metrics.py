"""NeuroBench's metrics of a torch run, counted in integers.

Definitions: Yik et al. 2025, "The NeuroBench framework", doi:10.1038/s41467-025-56739-4, and the package
``neurobench`` 2. They differ from `count`: an operation is an accumulate only if *all* inputs of that layer, step and
batch are -1, 0 or 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spikeframe.energy.counting import check_input, hooked
from spikeframe.energy.fanout import WEIGHT_LAYERS, fan_out, item_axes
from spikeframe.neurons import Neuron


def neurobench(model: nn.Module, x: Tensor, state: Any = None) -> dict[str, float]:
    """Run a model and return NeuroBench's metrics.

    Args:
        model: module called as ``model(x)`` or ``model(x, state)`` over [T, B, ...].
        x: input [T, B, ...].
        state: state to start from.

    Returns:
        ``effective_acs``, ``effective_macs``, ``dense`` (operations per sample, biases left out),
        ``activation_sparsity`` (share of zeros in the spikes of all populations), ``membrane_updates`` (per sample:
        membranes that a step changed; all in the first), ``connection_sparsity`` (share of zero weights, rounded to 4
        places), ``footprint`` (bytes of parameters and buffers) and ``parameter_count``.

    Raises:
        DTypeError, ShapeError, NonFiniteError: x is not a finite tensor of shape [T, B, ...].
        UnsupportedLayerError: a module with parameters of its own is of a kind that cannot be counted.
    """
    check_input(x)
    steps, samples = x.shape[:2]
    calls: list[tuple[Any, tuple[int, ...], Tensor, Tensor, int]] = []
    populations: list[tuple[Neuron, Any, Any, Tensor]] = []

    def weights(name: str, layer: Any, x: Tensor, y: Tensor) -> None:
        shape = tuple(x.shape[-item_axes(layer) :])
        flat = x.reshape(-1, *shape)
        by_step = flat.reshape(steps if len(flat) % steps == 0 else 1, -1, *shape)
        spiking = ((by_step == 0) | (by_step.abs() == 1)).flatten(1).all(1)
        calls.append((layer, shape, (by_step != 0).sum(1), spiking, len(flat)))

    def neurons(name: str, neuron: Neuron, x: Any, state: Any, spikes: Tensor) -> None:
        populations.append((neuron, x, state, spikes))

    with hooked(model, weights, neurons), torch.no_grad():
        model(x) if state is None else model(x, state)
    accumulates = multiplies = dense = 0
    for layer, shape, active, spiking, items in calls:
        operations = (active * fan_out(layer, shape)).flatten(1).sum(1)
        accumulates += int(operations[spiking].sum())
        multiplies += int(operations[~spiking].sum())
        dense += items * int(fan_out(layer, shape, dense=True).sum())
    emitted = [spikes for neuron, _, _, spikes in populations if neuron.spiking]
    outputs = sum(spikes.numel() for spikes in emitted)
    silent = outputs - sum(int(torch.count_nonzero(spikes)) for spikes in emitted)
    return {
        "effective_acs": accumulates / samples,
        "effective_macs": multiplies / samples,
        "dense": dense / samples,
        "activation_sparsity": silent / outputs if outputs else 0.0,
        "membrane_updates": sum(_membrane_updates(*run) for *run, _ in populations) / samples,
        **static(model),
    }


def static(model: nn.Module) -> dict[str, float]:
    """Return the metrics that need no run: connection sparsity, footprint, parameter count."""
    layers = [layer.weight for layer in model.modules() if isinstance(layer, WEIGHT_LAYERS)]
    weights = sum(weight.numel() for weight in layers)
    zeros = weights - sum(int(torch.count_nonzero(weight)) for weight in layers)
    tensors = [*model.parameters(), *model.buffers()]
    return {
        "connection_sparsity": round(zeros / weights, 4) if weights else 0.0,
        "footprint": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        "parameter_count": sum(parameter.numel() for parameter in model.parameters()),
    }


def _membrane_updates(neuron: Neuron, x: Any, state: Any) -> int:
    """Run a population step by step and count the membranes that a step changed; all of them in the first."""
    fields = list(neuron.all_states())
    if not fields:
        return 0
    membrane = "v" if "v" in fields else fields[0]
    updates, before = 0, None
    for step in range(len(next(iter(x.values())) if isinstance(x, Mapping) else x)):
        arriving = (
            {name: part[step : step + 1] for name, part in x.items()} if isinstance(x, Mapping) else x[step : step + 1]
        )
        with torch.no_grad():
            _, state = neuron(arriving, state)
        after = getattr(state, membrane)
        updates += after.numel() if before is None else int(torch.count_nonzero(after != before))
        before = after
    return updates
