"""Operation counts of a torch run, by the rules of the event-driven simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from spikeframe.core.counts import Counts
from spikeframe.energy.fanout import (
    SUM_POOLS,
    WEIGHT_LAYERS,
    fan_out,
    item_axes,
    merged_fan_out,
    merges,
    through_pool,
)
from spikeframe.energy.waiting import Waiting
from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError, UnsupportedLayerError
from spikeframe.modules.structured.factor import StructuredLinear
from spikeframe.neurons import GraphNetwork, Neuron, Recurrent

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass
class _Synapses:
    """One call of a weight layer: its input events by position, and the pools they went through."""

    name: str
    layer: Any
    shape: tuple[int, ...]
    unit: Tensor
    graded: Tensor
    events: int
    whole: bool
    pools: list[tuple[nn.Module, tuple[int, ...]]]
    items: int
    outputs: int


@dataclass
class _Counted:
    """One call of a layer that counts its synaptic operations itself."""

    name: str
    counts: Counts
    outputs: int


@dataclass
class _Normed:
    """One call of a batch norm that was not folded."""

    outputs: int


_Call = _Synapses | _Counted | _Normed


@dataclass
class _Run:
    """What the hooks saw, in order of execution."""

    steps: int
    waiting: Waiting[_Call] = field(default_factory=Waiting)
    pooled: dict[tuple[int, int], tuple[nn.Module, Tensor, Tensor]] = field(default_factory=dict)
    layers: list[tuple[str, Counts, list[_Call]]] = field(default_factory=list)

    def see_pool(self, pool: nn.Module, x: Tensor, y: Tensor) -> None:
        self.pooled[y.data_ptr(), y.numel()] = (pool, x, y)  # y is kept, so that its address stays its own

    def see_weights(self, name: str, layer: Any, x: Tensor, y: Tensor) -> None:
        shape = tuple(x.shape[-item_axes(layer) :])
        items = x.numel() // max(torch.Size(shape).numel(), 1)
        events, pools = x, []
        while (events.data_ptr(), events.numel()) in self.pooled:
            pool, events, _ = self.pooled[events.data_ptr(), events.numel()]
            pools.append((pool, tuple(events.shape[-item_axes(pool) :])))
        source = pools[-1][1] if pools else shape
        flat = events.reshape(-1, *source)
        unit = (flat.abs() == 1).sum(0)
        graded = (flat != 0).sum(0) - unit
        size = flat.abs()
        whole = bool((size == size.round()).all())
        call = _Synapses(name, layer, shape, unit, graded, _events(flat), whole, pools, items, y.numel())
        self.waiting.calls.append(call)

    def see_structured(self, name: str, layer: StructuredLinear, x: Tensor, y: Tensor) -> None:
        counts = replace(layer.cost(x), steps=0, neurons=0, bias_ac=y.numel() if layer.biased else 0)
        self.waiting.calls.append(_Counted(name, counts, y.numel()))

    def see_norm(self, y: Tensor) -> None:
        self.waiting.calls.append(_Normed(y.numel()))

    def see_neurons(self, name: str, neuron: Neuron, x: Any, state: Any, spikes: Tensor) -> None:
        arriving = next(iter(x.values())) if isinstance(x, Mapping) else x
        updates = arriving.numel()
        steps = arriving.shape[0] * arriving.shape[1]
        costs = {kind: updates * n for kind, n in neuron.operations().items()}
        words = updates * (len(neuron.all_states()) + 1)  # the accumulator of the input is one more
        counts = Counts(
            steps=steps,
            neurons=updates // max(steps, 1),
            spk_out=_events(spikes) if neuron.output_grid() is not None else 0,
            neu_upd=updates,
            neu_ac=costs["ac"],
            neu_mac=costs["mac"],
            neu_exp=costs["exp"],
            neu_cmp=costs["cmp"],
            mem_rd_s=words,
            mem_wr_s=words,
            neu_upd_dense=updates,
            mem_rd_s_dense=words,
            mem_wr_s_dense=words,
        )
        self.layers.append((name, counts, self.waiting.take(name)))

    def finish(self) -> None:
        """Make layers of the weight layers that no population followed."""
        self.layers += [(name, Counts(), calls) for name, calls in self.waiting.later]
        for call in self.waiting.calls:
            if not isinstance(call, _Normed):
                neurons = call.outputs // max(self.steps, 1)
                self.layers.append((call.name, Counts(steps=self.steps, neurons=neurons), [call]))
            elif self.layers:  # goes with the weights before it
                self.layers[-1][2].append(call)


def _events(values: Tensor) -> int:
    """Return how many events some values stand for: a whole size for as many, any other but 0 for one."""
    size = values.abs()
    return int(torch.where((size == size.round()), size, 1.0).sum(dtype=torch.float64))


def count(model: nn.Module, x: Tensor, state: Any = None) -> dict[str, Counts]:
    """Count the operations of a torch run, layer by layer, in integers.

    A layer is a neuron population with the weight layers that ran since the population before it (in a `GraphNetwork`:
    with those that its edges lead to it, however they run), named by the neurons' module path; weight layers with no
    neurons after them are named by their own. What goes back in a graph is counted with the step that computed it;
    edges without a weight layer cost nothing. An input of value -1 or 1 costs one
    accumulate per nonzero weight it meets, any other nonzero input a multiply-accumulate; what falls on padding costs
    nothing. A whole number stands for so many events that came at once. Events pass an average or sum pool one by one,
    as they do in the event-driven simulator; weights that lead from one input to one target, because pools overlap or a
    border is reflected, are one synapse, their sum. `Recurrent` neurons are a layer with weights of their own. Batch
    norm that is not folded costs its neurons one multiplication and one addition a step. All neurons are updated at
    every step, as torch does. Matrix products outside modules are not seen. Structured layers count by factors: events
    meet the first of a product, the others cost multiply-accumulates.
    Call ``model.eval()`` first.

    Args:
        model: module called as ``model(x)`` or ``model(x, state)`` over [T, B, ...].
        x: input [T, B, ...].
        state: state to start from.

    Returns:
        Counts by layer, in order of execution.

    Raises:
        DTypeError, ShapeError, NonFiniteError: x is not a finite tensor of shape [T, B, ...].
        UnsupportedLayerError: a module with parameters of its own is of a kind that cannot be counted.
        ParameterError: no weight layer and no neuron ran.
    """
    check_input(x)
    run = _Run(steps=x.shape[0] * x.shape[1])
    seen = hooked(model, run.see_weights, run.see_neurons, run.see_pool, run.see_norm, run.see_structured, run.waiting)
    with seen, torch.no_grad():
        model(x) if state is None else model(x, state)
    run.finish()
    if not run.layers:
        raise ParameterError(f"{type(model).__name__} ran no Linear, Conv or neuron module: nothing to count.")
    total: dict[str, Counts] = {}
    sizes: dict[str, dict[str, tuple[int, int]]] = {}
    for name, counts, calls in run.layers:
        own = sizes.setdefault(name, {})
        for call in calls:
            priced = _priced(call)
            if not isinstance(call, _Normed):
                own[call.name] = priced.inputs, priced.weights
            counts += priced
        total[name] = total[name] + counts if name in total else counts
    return {
        name: replace(
            counts,
            samples=int(x.shape[1]),
            inputs=sum(inputs for inputs, _ in sizes[name].values()),
            weights=sum(weights for _, weights in sizes[name].values()),
        )
        for name, counts in total.items()
    }


def check_input(x: Tensor) -> None:
    """Refuse what is not a finite tensor over time and batch."""
    if not isinstance(x, Tensor):
        raise DTypeError(f"x is {type(x).__name__}: needs a tensor [T, B, ...].")
    if x.ndim < 3 or 0 in x.shape[:2]:
        raise ShapeError(f"x has shape {tuple(x.shape)}: needs [T, B, ...] with T and B at least 1.")
    if not bool(torch.isfinite(x).all()):
        raise NonFiniteError("x holds NaN or infinite values: events are finite.")


@contextmanager
def hooked(
    model: nn.Module,
    weights: Callable[[str, Any, Tensor, Tensor], None],
    neurons: Callable[[str, Neuron, Any, Any, Tensor], None],
    pool: Callable[[nn.Module, Tensor, Tensor], None] | None = None,
    norm: Callable[[Tensor], None] | None = None,
    structured: Callable[[str, StructuredLinear, Tensor, Tensor], None] | None = None,
    waiting: Waiting[Any] | None = None,
) -> Iterator[None]:
    """Call back after every weight layer, population (name, neuron, x, state, output), pool and norm of a model.

    Graphs tell `waiting` where they are. What a graph computes to find out what goes back in silence is not seen.
    """
    handles: list[Any] = []
    seen: set[nn.Module] = set()
    deaf = False

    def watch(module: nn.Module, see: Callable[[tuple[Any, ...], Any], None]) -> None:
        def hook(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any], out: Any) -> None:
            if not deaf:
                see((*args, *named.values()), out)

        handles.append(module.register_forward_hook(hook, with_kwargs=True))

    def recurrent(name: str, module: Recurrent, x: Tensor, state: Any, out: Tensor) -> None:
        inner, first = (None, torch.zeros_like(out[0])) if state is None else state
        before, back = torch.cat([first[None], out[:-1]]), module.recurrence()
        arriving = back(before)
        weights(name, back, before, arriving)
        neurons(name, module.neuron, x + arriving, inner, out)

    def enter(graph: Any, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        nonlocal deaf
        x, state = (*args, *named.values(), None)[:2]
        outer, deaf = deaf, True
        try:
            state = graph.started(x, state)
        finally:
            deaf = outer
        if waiting is not None and not deaf:
            waiting.enter(graph, len(next(iter(x.values())) if isinstance(x, Mapping) else x))
        return (x, state), {}

    def graph_begins(graph: GraphNetwork) -> None:
        handles.append(graph.register_forward_pre_hook(enter, with_kwargs=True))
        if waiting is not None:
            for layer in dict.fromkeys(graph.layers):
                handles.append(layer.register_forward_pre_hook(lambda *_: waiting.enter_node(graph)))

    def graph_ends(graph: GraphNetwork) -> None:
        if waiting is not None:
            for layer in dict.fromkeys(graph.layers):
                handles.append(layer.register_forward_hook(lambda layer, *_: waiting.leave_node(graph, layer)))
            handles.append(graph.register_forward_hook(lambda *_: waiting.leave()))

    def visit(name: str, module: nn.Module) -> None:
        if module in seen:
            return
        seen.add(module)
        if isinstance(module, Neuron):
            watch(module, lambda args, out: neurons(name, module, args[0], (*args, None)[1], out[0]))
            return
        if isinstance(module, Recurrent):
            watch(module, lambda args, out: recurrent(name, module, args[0], (*args, None)[1], out[0]))
            return
        if structured and isinstance(module, StructuredLinear):
            watch(module, lambda args, y: structured(name, module, args[0], y))
            return
        if isinstance(module, WEIGHT_LAYERS):
            watch(module, lambda args, y: weights(name, module, args[0], y))
        elif isinstance(module, _NORMS):
            watch(module, lambda args, y: norm(y) if norm else None)
        elif isinstance(module, SUM_POOLS):
            watch(module, lambda args, y: pool(module, args[0], y) if pool else None)
        elif any(True for _ in module.parameters(recurse=False)):
            kinds = ", ".join(kind.__name__ for kind in (*WEIGHT_LAYERS, *_NORMS, Neuron, Recurrent))
            raise UnsupportedLayerError(f"{name or 'model'} is {type(module).__name__}: can count {kinds}.")
        if isinstance(module, GraphNetwork):
            graph_begins(module)
        for key, child in module.named_children():
            if isinstance(child, ParametrizationList):
                continue  # what a layer's weight is made of
            visit(f"{name}.{key}" if name else key, child)
        if isinstance(module, GraphNetwork):
            graph_ends(module)  # after the hooks of what is in it

    try:
        visit("", model)
        yield
    finally:
        for handle in handles:
            handle.remove()


def _priced(call: _Call) -> Counts:
    """Turn one call of a weight layer into counts."""
    if isinstance(call, _Normed):
        return Counts(neu_ac=call.outputs, neu_mac=call.outputs)
    if isinstance(call, _Counted):
        return call.counts
    reached, read = fan_out(call.layer, call.shape), fan_out(call.layer, call.shape, dense=True)
    dense = int(read.sum()) * call.items
    if merges(call.layer, [pool for pool, _ in call.pools]):
        reached = read = merged_fan_out([*reversed(call.pools), (call.layer, call.shape)])
    else:
        for pool, shape in call.pools:
            reached, read = through_pool(pool, shape, reached), through_pool(pool, shape, read)
    words = int(((call.unit + call.graded) * read).sum())
    biased = call.layer.bias is not None and bool((call.layer.bias != 0).any())
    return Counts(
        inputs=torch.Size(call.shape).numel(),
        fan_out=int(reached.max()) if reached.numel() else 0,
        weights=call.layer.weight.numel(),
        spk_in=call.events,
        route=int(call.unit.sum() + call.graded.sum()),
        syn_ac=int((call.unit * reached).sum()),
        syn_mac=int((call.graded * reached).sum()),
        bias_ac=call.outputs if biased else 0,
        mem_rd_w=words,
        mem_rd_s=words,
        mem_wr_s=words,
        syn_ac_dense=dense if call.whole else 0,
        syn_mac_dense=0 if call.whole else dense,
        mem_rd_w_dense=dense,
        mem_rd_s_dense=dense,
        mem_wr_s_dense=dense,
    )
