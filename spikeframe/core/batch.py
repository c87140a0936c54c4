"""Event-driven runs of feed-forward networks, over a batch of samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikeframe.core.counts import Counts
from spikeframe.core.encoding import Frames
from spikeframe.core.feedforward import FeedForward, Layer
from spikeframe.core.spikes import Spikes
from spikeframe.errors import NonFiniteError, ShapeError, unknown_name
from spikeframe.kernels import chain


@dataclass(frozen=True, eq=False)
class Result:
    """What a run gave; each part is worked out when it is first asked for.

    Attributes:
        network: what was run.
        events: what went in.
        trains: per population, what the kernels returned.
        states: per population, the final state in the population's own order.
    """

    network: FeedForward
    events: chain.Events
    trains: list[chain.Trains]
    states: list[dict[str, NDArray[Any]]]

    @cached_property
    def spikes(self) -> dict[str, Spikes]:
        """Spikes per spiking population, by its name."""
        return {
            p.name: _spikes(p, t, self.events, self.network.dt)
            for p, t in zip(self.network.populations, self.trains, strict=True)
            if p.neuron.spiking
        }

    @cached_property
    def outputs(self) -> NDArray[np.float32]:
        """``[T, B, ...]`` what the last population put out: its membrane if it is a readout, else its spikes."""
        last, train, events = self.network.populations[-1], self.trains[-1], self.events
        if train.output is not None:
            dense = _to_torch(last, train.output)
        else:
            found = self.spikes[last.name]
            dense = np.zeros((events.samples, events.steps, last.size), np.float32)
            dense[found.samples, found.steps, found.ids] = 1.0
        return np.ascontiguousarray(dense.transpose(1, 0, 2)).reshape(events.steps, events.samples, *last.shape)

    @cached_property
    def counts(self) -> dict[str, Counts]:
        """Operation counts per population, its synapses included."""
        found = {}
        source, count = self.events.source, self.events.count
        for layer, train in zip(self.network.plan, self.trains, strict=True):
            found[layer.name] = _count(layer, self.events, source, count, train)
            source, count = train.neuron, np.ones(train.neuron.size, np.int32)
        return found

    @cached_property
    def state(self) -> dict[str, dict[str, NDArray[Any]]]:
        """Final state per population, ``[B, ...]`` arrays by name; give it to the next `run` to go on."""
        batch = self.events.samples
        return {
            p.name: {n: _to_torch(p, v).reshape(batch, *p.shape) for n, v in values.items()}
            for p, values in zip(self.network.populations, self.states, strict=True)
        }


class BatchRun:
    """Runs a network event by event; its spikes equal the torch forward of ``network.module`` to the bit.

    Args:
        network: what to run.
        backend: ``"auto"``, ``"numba"``, ``"reference"`` or ``"cuda"``.
        threads: samples of a batch run in parallel on so many threads; changes no result.

    Raises:
        BackendError, UnknownNameError: no such backend here.
    """

    def __init__(self, network: FeedForward, backend: str, threads: int) -> None:
        self.network = network
        self.threads = threads
        self._provider = chain.provider(backend)
        self._sources = prod(network.input_shape)
        self._initial = [_initial(population) for population in network.populations]

    def run(
        self, inputs: Frames | chain.Events, state: Mapping[str, Mapping[str, NDArray[Any]]] | None = None
    ) -> Result:
        """Run a batch of samples.

        Args:
            inputs: ``[T, B, ...]`` whole event counts per step (any real type), or what `Network.encode` made.
            state: the `state` of an earlier result, to go on from there; None starts afresh.

        Returns:
            Spikes, outputs, counts and final state.

        Raises:
            ShapeError, DTypeError, NonFiniteError: the inputs are not usable.
            ExactnessError: a count is no whole number or larger than the network's ``input_max``.
        """
        events = inputs if isinstance(inputs, chain.Events) else self.network.encode(inputs)
        if events.sources != self._sources or events.largest > self.network.input_max:
            raise ShapeError(
                f"these events were encoded for {events.sources} inputs and counts up to {events.largest}; this "
                f"network has {self._sources} and {self.network.input_max}. Use its own encode."
            )
        if state is not None:
            known = [p.name for p in self.network.populations]
            for name in state:
                if name not in known:
                    raise unknown_name("population", name, known)
        states = []
        for population, initial in zip(self.network.populations, self._initial, strict=True):
            given = None if state is None else state.get(population.name)
            if given is None:
                states.append({n: v[np.newaxis].repeat(events.samples, axis=0) for n, v in initial.items()})
            else:
                states.append(_given(population, events.samples, initial, given))
        trains = self._provider.run(self.network.plan, events, states, self.threads)
        if trains and not trains[0].finite:
            raise _not_finite(self.network.populations, states, trains)
        return Result(self.network, events, trains, states)


def _initial(population: Layer) -> dict[str, NDArray[Any]]:
    """Return each state variable at the start, ``[neurons]`` in the population's own order."""
    state = population.neuron.initial_state((1, *population.shape))
    values = {name: value.numpy().reshape(population.size) for name, value in zip(state._fields, state, strict=True)}
    return {name: np.ascontiguousarray(population.connection.to_own_order(value)) for name, value in values.items()}


def _given(
    population: Layer, batch: int, initial: dict[str, NDArray[Any]], given: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Return a state that a caller handed in, checked, ``[samples, neurons]`` in the population's own order."""
    expected = (batch, *population.shape)
    found = {}
    for name, like in initial.items():
        if name not in given or np.shape(given[name]) != expected:
            got = np.shape(given[name]) if name in given else "nothing"
            raise ShapeError(f"{population.name}: state {name!r} has shape {got}, expected {expected}.")
        flat = np.asarray(given[name], like.dtype).reshape(batch, population.size)
        found[name] = np.array(population.connection.to_own_order(flat), order="C")
    return found


def _to_torch(population: Layer, values: NDArray[Any]) -> NDArray[Any]:
    """Return per-neuron values in torch's order."""
    order = population.connection.order
    if order is None:
        return values
    back = np.empty_like(values)
    back[..., order] = values
    return back


def _not_finite(
    populations: tuple[Layer, ...], states: list[dict[str, NDArray[Any]]], trains: list[chain.Trains]
) -> NonFiniteError:
    """Describe the first state, or graded output, that is NaN or infinite."""
    for population, values, train in zip(populations, states, trains, strict=True):
        for name, value in values.items():
            places = np.argwhere(~np.isfinite(value))
            if len(places):
                sample, neuron = places[0].tolist()
                return NonFiniteError(
                    f"{population.name}: state {name!r} of neuron {neuron} is {value[sample, neuron]} in sample "
                    f"{sample}."
                )
        if train.output is not None:
            places = np.argwhere(~np.isfinite(train.output))
            if len(places):
                sample, step, neuron = places[0].tolist()
                return NonFiniteError(
                    f"{population.name}: output of neuron {neuron} is {train.output[sample, step, neuron]} in sample "
                    f"{sample}, step {step}."
                )
    return NonFiniteError("the run left the finite numbers.")


def _spikes(population: Layer, train: chain.Trains, events: chain.Events, dt: float) -> Spikes:
    place = np.repeat(np.arange(events.samples * events.steps), np.diff(train.start))
    sample, step = np.divmod(place, max(events.steps, 1))
    ids = population.connection.to_torch_order(train.neuron)
    if population.connection.order is not None:
        by_id = np.lexsort((ids, place))
        ids = ids[by_id]
    return Spikes(sample, step, ids, dt)


def _count(layer: chain.Layer, events: chain.Events, source: Any, count: Any, train: chain.Trains) -> Counts:
    synapses = layer.synapses
    unit = np.abs(count) == 1.0
    fan, reach = synapses.fan_out[source], synapses.reach[source]
    steps = events.samples * events.steps
    n, states = layer.neurons, len(layer.program.names("state"))
    each = layer.program.operations()
    every = int(synapses.reach[synapses.inputs].sum())
    read = int(reach.sum())
    return Counts(
        samples=events.samples,
        steps=steps,
        inputs=int(synapses.inputs.size),
        neurons=n,
        fan_out=int(synapses.fan_out.max(initial=0)),
        weights=int(synapses.weight.size),
        spk_in=int(np.abs(count).sum()),
        spk_out=int(train.neuron.size),
        syn_ac=int(fan[unit].sum()),
        syn_mac=int(fan[~unit].sum()),
        neu_upd=train.updates,
        neu_ac=train.updates * each["ac"],
        neu_mac=train.updates * each["mac"],
        neu_exp=train.updates * each["exp"],
        neu_cmp=train.updates * each["cmp"],
        mem_rd_w=read,
        mem_rd_s=read + train.updates * (states + 1),
        mem_wr_s=read + train.updates * (states + 1),
        route=int(source.size),
        bias_ac=0 if layer.bias is None else steps * n,
        syn_ac_dense=steps * every,
        neu_upd_dense=steps * n,
        mem_rd_w_dense=steps * every,
        mem_rd_s_dense=steps * (every + n * (states + 1)),
        mem_wr_s_dense=steps * (every + n * (states + 1)),
    )


def differing_spikes(network: FeedForward, inputs: Frames, result: Result) -> int:
    """Count where an event-driven run differs from the step-by-step torch forward of ``network.module``.

    Args:
        network: what was run.
        inputs: ``[T, B, ...]`` as given to `Simulator.run`.
        result: what it returned.

    Returns:
        Spikes that only one of the two has, over all layers, and readout values that are not equal.

    Raises:
        ShapeError: the inputs are not those of the result.
    """
    x = torch.as_tensor(inputs)
    if tuple(x.shape[:2]) != (result.events.steps, result.events.samples):
        raise ShapeError(
            f"inputs have T, B = {tuple(x.shape[:2])}, the result {(result.events.steps, result.events.samples)}."
        )
    seen: dict[str, Tensor] = {}
    paths = {id(population.neuron): population.name for population in network.populations}
    neurons = [population.neuron for population in network.populations]

    def keep(module: Any, _: Any, output: Any) -> None:
        seen[paths[id(module)]] = output[0]

    handles = [neuron.register_forward_hook(keep) for neuron in neurons]
    backends = [neuron.backend for neuron in neurons]
    try:
        for neuron in neurons:
            neuron.backend = "torch"
        with torch.no_grad():
            network.module(x.float())
    finally:
        for handle in handles:
            handle.remove()
        for neuron, backend in zip(neurons, backends, strict=True):
            neuron.backend = backend
    different = 0
    for population in network.populations:
        out = seen[population.name].numpy()
        if population.neuron.spiking:
            dense = np.zeros((out.shape[0], out.shape[1], prod(population.shape)), bool)
            train = result.spikes[population.name]
            dense[train.steps, train.samples, train.ids] = True
            different += int((dense != (out.reshape(dense.shape) != 0)).sum())
        else:
            different += int((out != result.outputs.reshape(out.shape)).sum())
    return different
