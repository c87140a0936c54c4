"""Event-driven runs of torch models, over a batch of samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
        past: per source of a delayed connection, what it sent in the steps before the run that its delays reach.
    """

    network: FeedForward
    events: chain.Events
    trains: list[chain.Trains]
    states: list[dict[str, NDArray[Any]]]
    past: Mapping[int, chain.Past]

    @cached_property
    def spikes(self) -> dict[str, Spikes]:
        """Spikes per population that sends any, by its name."""
        return {
            p.name: _spikes(p, layer, t, self.events, self.network.dt)
            for p, layer, t in zip(self.network.populations, self.network.plan, self.trains, strict=True)
            if layer.unit is not None
        }

    @cached_property
    def outputs(self) -> Any:
        """``[T, B, ...]`` what the model put out: spikes, or the membrane of a readout; several outputs by name."""
        found = {name: sum(map(self.values, parts[1:]), self.values(parts[0])) for name, parts in self._parts()}
        return found if len(found) > 1 else next(iter(found.values()))

    def _parts(self) -> list[tuple[str, tuple[int, ...]]]:
        return list(self.network.outputs.items())

    def values(self, index: int) -> NDArray[np.float32]:
        """Return what a population put out, ``[T, B, ...]``.

        Args:
            index: its place.
        """
        population, train, events = self.network.populations[index], self.trains[index], self.events
        if train.output is not None:
            dense = _to_torch(population, train.output)
        else:
            found = self.spikes[population.name]
            dense = np.zeros((events.samples, events.steps, population.size), np.float32)
            dense[found.samples, found.steps, found.ids] = 1.0 if found.sizes is None else found.sizes
        shape = events.steps, events.samples, *population.shape
        return dense.transpose(1, 0, 2).reshape(shape)

    @cached_property
    def counts(self) -> dict[str, Counts]:
        """Operation counts per population, its synapses included."""
        found = {}
        for layer, train in zip(self.network.plan, self.trains, strict=True):
            arrived = [(link, *self._arrived(link)) for link in layer.links]
            found[layer.name] = _count(layer, self.events, arrived, train)
        return found

    def _arrived(self, link: chain.Link) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return sources and counts of the events that a link delivered in the run."""
        start, source, count = _sent(self.events, self.trains, link.source)
        if not link.delay:
            return source, count
        steps, samples, past = self.events.steps, self.events.samples, self.past[link.source]
        late = np.concatenate([np.arange(steps) < steps - link.delay] * samples or [np.zeros(0, bool)])
        step = np.arange(past.steps) - past.steps + link.delay
        early = (step >= 0) & (step < steps)
        kept, before = np.repeat(late, np.diff(start)), np.repeat(np.tile(early, samples), np.diff(past.start))
        return (
            np.concatenate([past.source[before], source[kept]]), np.concatenate([past.count[before], count[kept]])
        )  # fmt: skip

    @cached_property
    def state(self) -> dict[str, dict[str, NDArray[Any]]]:
        """Final state per population, ``[B, ...]`` arrays by name; give it to the next `run` to go on.

        ``past`` of a population whose connections have delays (of the input: under the name ``""``), ``[B, steps,
        ...]``, are the spikes that are still under way.
        """
        batch = self.events.samples
        found = {
            p.name: {n: _to_torch(p, v).reshape(batch, *p.shape) for n, v in values.items()}
            for p, values in zip(self.network.populations, self.states, strict=True)
            if p.neuron.window is None
        }
        for source, past in self.past.items():
            own = _sent(self.events, self.trains, source)
            whole = _joined(past, own, batch, self.events.steps)[:, -past.steps :]
            name, shape, ordered = "", self.network.input_shape, whole
            if source != chain.INPUT:
                p = self.network.populations[source]
                name, shape, ordered = p.name, p.shape, _to_torch(p, whole)
            found.setdefault(name, {})["past"] = ordered.reshape(batch, past.steps, *shape)
        return found


def _sent(events: chain.Events, trains: list[chain.Trains], source: int) -> tuple[Any, Any, Any]:
    """Return where each step's events of a source begin, their neurons and counts."""
    if source == chain.INPUT:
        return events.start, events.source, events.count
    train = trains[source]
    return train.start, train.neuron, train.count if train.count.size else np.ones(train.neuron.size, np.int32)


def _joined(past: chain.Past, own: tuple[Any, Any, Any], batch: int, steps: int) -> NDArray[np.int32]:
    """Return past and present events as counts, ``[samples, past steps + steps, neurons]``."""
    size = past.neurons
    found = np.zeros((batch, past.steps + steps, size), np.int32)
    for (start, source, count), first, length in (
        ((past.start, past.source, past.count), 0, past.steps), (own, past.steps, steps)
    ):  # fmt: skip
        sample, step = np.divmod(np.repeat(np.arange(batch * length), np.diff(start)), max(length, 1))
        np.add.at(found, (sample, first + step, source), count)
    return found


def _past(dense: NDArray[Any]) -> chain.Past:
    """Return counts ``[samples, steps, neurons]`` as events."""
    samples, steps, size = dense.shape
    place, source = np.nonzero(dense.reshape(samples * steps, size))
    start = np.searchsorted(place, np.arange(samples * steps + 1)).astype(np.int64)
    count = dense.reshape(samples * steps, size)[place, source]
    return chain.Past(start, source.astype(np.int32), count.astype(np.int32), steps, size)


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
        self._memory = chain.memory(network.plan)
        self._windowed = [p for p in network.populations if p.neuron.window is not None]
        self._known = [p.name for p in network.populations] + [""] * (chain.INPUT in self._memory)

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
        for p in self._windowed:
            if p.neuron.window != events.steps:
                raise ShapeError(
                    f"{p.name}: {type(p.neuron).__name__} runs over windows of {p.neuron.window} steps, the inputs "
                    f"have {events.steps}."
                )
        for name in state or {}:
            if name not in self._known:
                raise unknown_name("population", name, self._known)
        states = []
        for population, initial in zip(self.network.populations, self._initial, strict=True):
            given = None if state is None or population in self._windowed else state.get(population.name)
            if given is None:
                states.append({n: v.repeat(events.samples, axis=0) for n, v in initial.items()})
            else:
                states.append(_given(population, events.samples, initial, given))
        past = {source: self._before(source, steps, events.samples, state) for source, steps in self._memory.items()}
        trains = self._provider.run(self.network.plan, events, states, past, self.threads)
        if trains and not trains[0].finite:
            raise _not_finite(self.network.populations, states, trains)
        return Result(self.network, events, trains, states, past)

    def traces(
        self, inputs: Frames, variable: str = "v", most: int = 5
    ) -> dict[str, tuple[NDArray[np.int64], NDArray[Any]]]:
        """Run the first sample step by step and return a state variable of the neurons that spike most.

        Args:
            inputs: ``[T, B, ...]`` event counts.
            variable: its name; populations without it, and those that run over windows, are left out.
            most: neurons of each population.

        Returns:
            Per population the neurons and ``[T, neurons]``, the value after each step.
        """
        if any(p.neuron.window for p in self.network.populations):
            return {}
        first = inputs[:, :1]
        spikes = self.run(first).spikes
        chosen = {}
        for p in self.network.populations:
            fired = np.bincount(spikes[p.name].ids, minlength=p.size) if p.name in spikes else np.zeros(p.size)
            chosen[p.name] = np.sort(np.argsort(-fired, kind="stable")[:most])
        state: dict[str, dict[str, NDArray[Any]]] | None = None
        found: dict[str, list[NDArray[Any]]] = {}
        for t in range(len(first)):
            state = self.run(first[t : t + 1], state).state
            for name, ids in chosen.items():
                if variable in state[name]:
                    found.setdefault(name, []).append(state[name][variable].reshape(-1)[ids])
        return {name: (chosen[name], np.stack(rows)) for name, rows in found.items()}

    def _before(self, source: int, steps: int, batch: int, state: Mapping[str, Any] | None) -> chain.Past:
        """Return what a source sent before the run, as an earlier one left it."""
        network = self.network
        name, shape = "", network.input_shape
        if source != chain.INPUT:
            name, shape = network.populations[source].name, network.populations[source].shape
        given = None if state is None else state.get(name, {}).get("past")
        if given is None:
            return _past(np.zeros((batch, steps, prod(shape)), np.int32))
        expected = (batch, steps, *shape)
        if np.shape(given) != expected:
            raise ShapeError(f"{name or 'the input'}: state 'past' has shape {np.shape(given)}, expected {expected}.")
        dense = np.asarray(given, np.int32).reshape(batch, steps, prod(shape))
        own = dense if source == chain.INPUT else network.populations[source].connection.to_own_order(dense)
        return _past(own)


def _initial(population: Layer) -> dict[str, NDArray[Any]]:
    """Return each state variable at the start, ``[1, neurons]`` in the population's own order."""
    state = population.neuron.initial_state((1, *population.shape))
    values = {name: value.numpy().reshape(1, population.size) for name, value in zip(state._fields, state, strict=True)}
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


def _spikes(population: Layer, layer: chain.Layer, train: chain.Trains, events: chain.Events, dt: float) -> Spikes:
    place = np.repeat(np.arange(events.samples * events.steps), np.diff(train.start))
    sample, step = np.divmod(place, max(events.steps, 1))
    ids = population.connection.to_torch_order(train.neuron)
    sizes = None if layer.program.spikes else train.count.astype(np.float32) * np.float32(layer.unit or 1.0)
    if population.connection.order is not None:
        by_id = np.lexsort((ids, place))
        ids = ids[by_id]
        sizes = None if sizes is None else sizes[by_id]
    return Spikes(sample, step, ids, dt, sizes)


def _count(
    layer: chain.Layer, events: chain.Events, arrived: list[tuple[chain.Link, Any, Any]], train: chain.Trains
) -> Counts:
    steps = events.samples * events.steps
    n, states = layer.neurons, len(layer.program.names("state"))
    each = layer.program.operations()
    total = Counts(
        samples=events.samples,
        steps=steps,
        neurons=n,
        spk_out=_events(train.count, layer.unit or 1.0) if train.count.size else int(train.neuron.size),
        neu_upd=train.updates,
        neu_ac=train.updates * each["ac"],
        neu_mac=train.updates * each["mac"],
        neu_exp=train.updates * each["exp"],
        neu_cmp=train.updates * each["cmp"],
        mem_rd_s=train.updates * (states + 1),
        mem_wr_s=train.updates * (states + 1),
        bias_ac=0 if layer.bias is None else (events.samples if layer.window else steps) * n,
        neu_upd_dense=steps * n,
        mem_rd_s_dense=steps * n * (states + 1),
        mem_wr_s_dense=steps * n * (states + 1),
    )
    found = [_through(link, source, count, steps) for link, source, count in arrived]
    sizes = {"inputs": sum(c.inputs for c in found), "weights": sum(c.weights for c in found)}
    return replace(sum(found, total), **sizes)


def _events(count: NDArray[np.int32], unit: float) -> int:
    """Return how many events some counts stand for: a whole size for as many, any other for one."""
    size = np.abs(count * unit)
    return int(np.where(size == np.rint(size), size, 1.0).sum())


def _through(link: chain.Link, source: NDArray[np.int32], count: NDArray[np.int32], steps: int) -> Counts:
    """Count what events cost in the synapses of one link."""
    synapses = link.synapses
    unit = np.abs(count * link.unit) == 1.0
    fan, read = synapses.fan_out[source], int(synapses.reach[source].sum())
    every = int(synapses.reach[synapses.inputs].sum())
    return Counts(
        inputs=int(synapses.inputs.size),
        fan_out=int(synapses.fan_out.max(initial=0)),
        weights=int(synapses.weight.size),
        spk_in=_events(count, link.unit),
        syn_ac=int(fan[unit].sum()),
        syn_mac=int(fan[~unit].sum()),
        mem_rd_w=read,
        mem_rd_s=read,
        mem_wr_s=read,
        route=int(source.size),
        syn_ac_dense=steps * every,
        mem_rd_w_dense=steps * every,
        mem_rd_s_dense=steps * every,
        mem_wr_s_dense=steps * every,
    )


def differing_spikes(network: FeedForward, inputs: Frames, result: Result) -> int:
    """Count where an event-driven run differs from the step-by-step torch forward of ``network.module``.

    Args:
        network: what was run.
        inputs: ``[T, B, ...]`` as given to `Simulator.run`.
        result: what it returned.

    Returns:
        Spikes that only one of the two has, or that differ in size, over all layers, and readout values that are not
        equal.

    Raises:
        ShapeError: the inputs are not those of the result.
    """
    x = torch.as_tensor(inputs)
    if tuple(x.shape[:2]) != (result.events.steps, result.events.samples):
        raise ShapeError(
            f"inputs have T, B = {tuple(x.shape[:2])}, the result {(result.events.steps, result.events.samples)}."
        )
    seen: dict[int, list[Tensor]] = {}
    neurons = [population.neuron for population in network.populations]

    def keep(module: Any, _: Any, output: Any) -> None:
        seen.setdefault(id(module), []).append(output[0])

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
    for i, population in enumerate(network.populations):
        out = torch.cat(seen[id(population.neuron)]).numpy()  # a loop calls its neurons step by step
        if population.neuron.output_grid() is not None:
            train = result.spikes[population.name]
            dense = np.zeros((out.shape[0], out.shape[1], population.size), np.float32)
            dense[train.steps, train.samples, train.ids] = 1.0 if train.sizes is None else train.sizes
            different += int((dense != out.reshape(dense.shape)).sum())
        else:
            different += int((out != result.values(i).reshape(out.shape)).sum())
    return different
