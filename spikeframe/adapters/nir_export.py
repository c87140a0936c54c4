"""Models of ours as NIR graphs; see `spikeframe.adapters.nir.to_nir`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from spikeframe.adapters.nir_conventions import Convention
from spikeframe.adapters.nir_layers import FilteredCurrent, Integrator, RestingLI, Threshold
from spikeframe.core.network import Network
from spikeframe.core.sparse import Synapses
from spikeframe.core.stimulation import DC
from spikeframe.errors import ParameterError, ShapeError, UnsupportedLayerError
from spikeframe.neurons import (
    IF,
    LI,
    LIF,
    Current,
    Delay,
    Delta,
    Exp,
    GraphNetwork,
    Neuron,
    PaddedSumPool2d,
    Receptor,
    Recurrent,
    Scale,
    StackedAffine,
    SumPool2d,
)
from spikeframe.neurons.sequential import in_order, refuse_own_forward

Shape = tuple[int, ...]
#: Layers that do nothing in a trained model.
_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class _Graph:
    """Nodes and edges on the way to a NIR graph; new nodes follow the last one."""

    def __init__(self, shape: Shape, begin: str = "input") -> None:
        self.nodes: dict[str, Any] = {begin: nir.Input(np.array(shape))}
        self.edges: list[tuple[str, str]] = []
        self.last = begin

    def add(self, name: str, node: Any, after: str | None = None) -> str:
        """Add a node behind the last one, or behind another."""
        while name in self.nodes:
            name += "_"
        self.edges.append((after or self.last, name))
        self.nodes[name] = node
        self.last = name
        return name

    def graph(self, convention: Convention | None, shape: Shape | None) -> Any:
        """End in an output of a shape and return the NIR graph."""
        if shape is not None:
            self.add("output", nir.Output(np.array(shape)))
        metadata = {} if convention is None else {**convention.to_metadata(), "order": "\n".join(self.nodes)}
        return nir.NIRGraph(self.nodes, self.edges, metadata=metadata, type_check=False)


def from_module(model: nn.Module, shape: Shape, convention: Convention) -> Any:
    """Return a torch model as a NIR graph.

    Args:
        model: `Sequential`, a single layer, or a `GraphNetwork`.
        shape: of one step's input.
        convention: how the graph will be read, with a step.

    Raises:
        UnsupportedLayerError: a layer that NIR, or that reading, has no word for.
        ShapeError: the input does not go through.
    """
    if isinstance(model, GraphNetwork):
        return _rewritten(model, shape, convention)
    made = _Graph(shape)
    for name, layer in _folded(list(_leaves(model, ""))):
        shape = _append(made, name, layer, shape, convention)
    return made.graph(convention, shape)


def _rewritten(model: GraphNetwork, shape: Shape, convention: Convention) -> Any:
    """Return a `GraphNetwork` as a NIR graph with the same nodes and edges."""
    if len(model.inputs) != 1:
        raise UnsupportedLayerError(f"to_nir: a graph with inputs {model.inputs}; only one is supported.")
    made = _Graph(shape, model.inputs[0])
    shapes: dict[str, Shape] = {model.inputs[0]: shape}
    first: dict[str, str] = {model.inputs[0]: model.inputs[0]}
    last = dict(first)
    for name in model.order:
        if name in model.inputs:
            continue
        made.last = last[model.sources[name][0]]
        made.edges.append(("", ""))  # where the edge of the first new node stands
        count = len(made.edges)
        entered = shapes[model.sources[name][0]]
        before = set(made.nodes)
        if name in model.outputs:
            made.add(name, nir.Output(np.array(entered)))
            shapes[name] = entered
        elif isinstance(model.layer(name), nn.Identity):
            made.add(name, nir.Scale(np.ones(entered, np.float32)))
            shapes[name] = entered
        else:
            shapes[name] = _append(made, name, model.layer(name), entered, convention)
        new = [n for n in made.nodes if n not in before]
        first[name], last[name] = new[0], new[-1]
        del made.edges[count], made.edges[count - 1]
    made.edges += [(last[a], first[b]) for a, b in model.edges]
    return made.graph(convention, None)


def _leaves(model: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of nested Sequentials with their paths."""
    if isinstance(model, nn.Sequential):
        for name, child in in_order(model, path or "the model"):
            yield from _leaves(child, f"{path}.{name}" if path else name)
    else:
        refuse_own_forward(model, path or "the model")
        yield path or type(model).__name__.lower(), model


def _folded(layers: list[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    """Leave out what does nothing and fold every batch norm into the layer before it."""
    kept: list[tuple[str, nn.Module]] = []
    for name, layer in layers:
        if isinstance(layer, _NOTHING):
            continue
        if not isinstance(layer, _NORMS):
            kept.append((name, layer))
            continue
        before = kept[-1][1] if kept else None
        if layer.training or layer.running_mean is None:
            raise UnsupportedLayerError(f"{name}: a batch norm is folded with running statistics; call .eval() first.")
        if isinstance(before, nn.Linear) and isinstance(layer, nn.BatchNorm1d):
            kept[-1] = (kept[-1][0], fuse_linear_bn_eval(before.eval(), layer))
        elif isinstance(before, nn.Conv2d) and isinstance(layer, nn.BatchNorm2d):
            kept[-1] = (kept[-1][0], fuse_conv_bn_eval(before.eval(), layer))
        else:
            raise UnsupportedLayerError(f"{name}: a batch norm must follow a Linear or Conv2d to be folded into it.")
    return kept


def _append(made: _Graph, name: str, layer: nn.Module, shape: Shape, convention: Convention) -> Shape:
    """Add what a layer is in NIR and return the shape of its output."""
    if isinstance(layer, Recurrent):
        inner = _Graph(shape)
        _append(inner, "neuron", layer.neuron, shape, convention)
        entry = inner.edges[0][1]
        around = inner.add("recurrent", nir.Linear(_numbers(layer.weight)))
        inner.edges.append((around, entry))
        inner.last = next(a for a, b in inner.edges if b == around)
        made.add(name, inner.graph(None, shape))
        return shape
    if isinstance(layer, Neuron):
        for suffix, node in neuron_nodes(layer, name, shape, convention):
            made.add(name + suffix, node)
        return shape
    if isinstance(layer, Delay):
        steps = layer.steps.double() * (convention.step / convention.unit)
        made.add(name, nir.Delay(_spread(steps, shape)))
        return shape
    made.add(name, _stateless(name, layer, shape, convention))
    try:
        with torch.no_grad():
            return tuple(layer(torch.zeros((1, *shape), dtype=_dtype(layer))).shape[1:])
    except (RuntimeError, IndexError) as error:
        raise ShapeError(f"{name} ({type(layer).__name__}): {shape} arrives, which it cannot take: {error}") from None


def _dtype(layer: nn.Module) -> torch.dtype:
    return next((p.dtype for p in layer.parameters()), torch.float32)


def _numbers(value: Tensor) -> NDArray[Any]:
    found: NDArray[Any] = value.detach().cpu().numpy().copy()
    return found


def _spread(value: Tensor | float, shape: Shape) -> NDArray[np.float64]:
    """Return a per-neuron parameter in float64, one value for every neuron."""
    wide = torch.as_tensor(value, dtype=torch.float64).detach().cpu().numpy()
    return np.array(np.broadcast_to(wide, shape))


def _pair(value: Any) -> NDArray[np.int64]:
    return np.array([value, value] if isinstance(value, int) else list(value), np.int64)


def _stateless(name: str, layer: nn.Module, shape: Shape, convention: Convention) -> Any:
    """Return the NIR node of a layer without state."""
    if isinstance(layer, (nn.Linear, StackedAffine)):
        weight = _numbers(layer.weight)
        return nir.Linear(weight) if layer.bias is None else nir.Affine(weight, _numbers(layer.bias))
    if isinstance(layer, (nn.Conv1d, nn.Conv2d)):
        if layer.padding_mode != "zeros":
            raise UnsupportedLayerError(f"{name}: padding_mode={layer.padding_mode!r}; NIR knows zeros.")
        weight = _numbers(layer.weight)
        bias = np.zeros(weight.shape[0], weight.dtype) if layer.bias is None else _numbers(layer.bias)
        flat = isinstance(layer, nn.Conv1d)
        size: Any = shape[1] if flat else shape[1:]
        stride, padding, dilation = (
            v if isinstance(v, str) else v[0] if flat else v for v in (layer.stride, layer.padding, layer.dilation)
        )
        kind = nir.Conv1d if flat else nir.Conv2d
        return kind(size, weight, stride, padding, dilation, layer.groups, bias)
    if isinstance(layer, nn.AvgPool2d):
        plain = not np.any(layer.padding) or layer.count_include_pad
        if layer.ceil_mode or layer.divisor_override is not None or not plain:
            raise UnsupportedLayerError(f"{name}: NIR's AvgPool2d has no ceil_mode, divisor or padding left out.")
        return nir.AvgPool2d(_pair(layer.kernel_size), _pair(layer.stride), _pair(layer.padding))
    if isinstance(layer, SumPool2d):
        return nir.SumPool2d(_pair(layer.kernel_size), _pair(layer.stride), _pair(0))
    if isinstance(layer, PaddedSumPool2d):
        return nir.SumPool2d(_pair(layer.kernel_size), _pair(layer.stride), _pair(layer.padding))
    if isinstance(layer, nn.Flatten):
        if layer.start_dim < 1:
            raise UnsupportedLayerError(f"{name}: flattens the batch (start_dim={layer.start_dim}); use 1 or more.")
        batch = convention.axes == "sample"
        end = layer.end_dim - batch if layer.end_dim > 0 else layer.end_dim
        node = nir.Flatten({"input": np.array(shape)}, layer.start_dim - 1)
        node.start_dim, node.end_dim = layer.start_dim - batch, end
        return node
    if isinstance(layer, Scale):
        return nir.Scale(_numbers(layer.scale.expand(shape)))
    raise UnsupportedLayerError(
        f"{name}: {type(layer).__name__} has no node in NIR. Known: Linear, Conv1d, Conv2d, AvgPool2d, SumPool2d, "
        "Flatten, batch norm behind a Linear or Conv2d, LIF, IF, LI and Recurrent of ours."
    )


def neuron_nodes(neuron: Neuron, name: str, shape: Shape, convention: Convention) -> list[tuple[str, Any]]:
    """Return the NIR nodes of a layer of neurons, with the endings of their names.

    Where a reader has a gain of its own, potentials are scaled to it, which leaves the spikes what they are. `Exp`
    gives its current to the membrane a step later than NIR's readers do: in exact form the true parameters are written
    and the metadata say so; for a reader that uses Euler's method a delay of a step comes before.

    Args:
        neuron: LIF, IF, LI, or what `from_nir` makes.
        name: of the layer, for messages.
        shape: of its neurons.
        convention: how they will be read, with a step.

    Raises:
        UnsupportedLayerError: a model, receptor, refractory period or reset that NIR or its reader has no word for.
        ParameterError: the neurons have another dt.
    """
    if neuron.dt is not None and abs(neuron.dt - convention.step) > 1e-9 * convention.step:
        raise ParameterError(f"{name}: has dt={neuron.dt:g} ms, the graph is written for {convention.step:g} ms.")
    if isinstance(neuron, Threshold):
        return [("", nir.Threshold(_level(neuron.value("v_th"), convention, shape)))]
    own = _own(neuron, name)
    step, one = convention.step, torch.ones((), dtype=torch.float64)
    c = {k: v.detach() for k, v in neuron.values(step).items()}
    drive = one if isinstance(own, Delta) else c["input.drive"]
    fields: dict[str, Tensor] = {}
    metadata: dict[str, Any] = {}
    before: list[tuple[str, Any]] = []
    if isinstance(neuron, (IF, Integrator)):
        kind: Any = nir.IF if isinstance(neuron, IF) else nir.I
        unit = one if convention.gain == "stated" else 1.0 / drive
        fields["r"] = drive * unit * (convention.unit / step if convention.integrator == "time" else 1.0)
    else:
        lost = -torch.expm1(-step / neuron.value("tau_m")).detach()
        slow = isinstance(own, (Exp, FilteredCurrent))
        fields["tau_mem" if slow else "tau"] = convention.written(lost)
        kind = [[nir.LI, nir.LIF], [nir.CubaLI, nir.CubaLIF]][slow][isinstance(neuron, LIF)]
        arrive = one
        if slow:
            passed = -torch.expm1(-step / own.value("tau")).detach()
            fields["tau_syn"] = convention.written(passed)
            arrive = c.get("input.arrive", one)
            late = isinstance(own, Exp) and convention.method == "euler"
            if late:
                before = [("_delay", nir.Delay(_spread(step / convention.unit, shape)))]
            elif isinstance(own, Exp):  # its drive is that of the old current; the true one is written, and said to be
                metadata["receptor"] = "exp"
                drive = neuron.value("r_m").detach() * lost
        unit = {"stated": one, "one": lost / drive, "unit": 1.0 / (drive * arrive)}[convention.gain]
        fields["r"] = drive * unit / lost
        if slow:
            if convention.gain == "unit":
                fields["r"], arrive = 1.0 / lost, one
            fields["w_in"] = arrive if convention.arrival == "added" else arrive / passed
        rest = neuron.value("v_rest") if isinstance(neuron, (LIF, RestingLI)) else torch.zeros_like(one)
        fields["v_leak"] = rest * unit
        if isinstance(neuron, LIF) and bool((neuron.value("i_e") != 0).any()):
            metadata["start"] = _spread(rest * unit, shape)
            fields["v_leak"] = (rest + neuron.value("r_m") * neuron.value("i_e")) * unit
    if isinstance(neuron, (LIF, IF)):
        _check_reset(neuron, name, convention)
        metadata["reset"] = neuron.reset
        fields["v_reset"] = neuron.value("v_reset") * unit
    elif bool((torch.abs(unit - 1.0) > 1e-6).any()):
        raise UnsupportedLayerError(
            f"{name}: the graph's reader gives its input another gain ({float(unit.max()):g} of this one's), and the "
            "output is the membrane itself; scale the weights before it."
        )
    arrays = {field: _spread(value, shape) for field, value in fields.items()}
    if isinstance(neuron, (LIF, IF)):
        arrays["v_threshold"] = _level(neuron.value("v_th") * unit, convention, shape)
    return [*before, ("", kind(**arrays, metadata=metadata))]


def _own(neuron: Neuron, name: str) -> Receptor:
    """Return the one receptor of a neuron that NIR knows."""
    if type(neuron) not in (LIF, IF, LI, RestingLI, Integrator):
        raise UnsupportedLayerError(
            f"{name}: {type(neuron).__name__} has no node in NIR. Known neurons: LIF, IF, LI (and RestingLI, "
            "Integrator, Threshold of the NIR import)."
        )
    found = list(neuron.receptors.values())
    if len(found) != 1 or type(found[0]) not in (Delta, Current, Exp, FilteredCurrent):
        kinds = ", ".join(type(r).__name__ for r in found)
        raise UnsupportedLayerError(f"{name}: has receptors {kinds}; NIR knows one Delta, Current or Exp.")
    if isinstance(neuron, IF | Integrator) and isinstance(found[0], (Exp, FilteredCurrent)):
        raise UnsupportedLayerError(f"{name}: NIR has no {type(neuron).__name__} with a {type(found[0]).__name__}.")
    if isinstance(neuron, LIF) and bool((neuron.value("t_ref") > 0).any()):
        raise UnsupportedLayerError(f"{name}: NIR has no refractory period; t_ref must be 0.")
    own: Receptor = found[0]  # type: ignore[assignment]
    return own


def _level(level: Tensor, convention: Convention, shape: Shape) -> NDArray[np.float64]:
    """Return a threshold; for a reader that fires above it, the float32 just below ours, at which ours fires."""
    found = _spread(level, shape)
    if convention.fires == "above":
        found = np.nextafter(found.astype(np.float32), np.float32(-np.inf)).astype(np.float64)
    return found


def _check_reset(neuron: LIF | IF, name: str, convention: Convention) -> None:
    """Refuse a reset that the reader does otherwise."""
    if convention.reset not in ("stated", neuron.reset):
        raise UnsupportedLayerError(
            f"{name}: resets with {neuron.reset!r}, the graph's reader with {convention.reset!r}, and a NIR node "
            f"cannot say it; train it with reset={convention.reset!r}."
        )


def from_network(network: Network, convention: Convention) -> Any:
    """Return a described network as a NIR graph: a node per population, a matrix per projection and delay.

    Args:
        network: populations of LIF, IF or LI; sources are inputs; constant currents become part of v_leak.
        convention: how the graph will be read, with a step.

    Raises:
        UnsupportedLayerError: a drive, synapse or neuron that NIR has no word for, or 2^28 weights.
    """
    module = network.to_module(convention.step)
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    entry: dict[str, str] = {}
    currents = {p: torch.zeros(q.size, dtype=torch.float64) for p, q in network.populations.items()}
    for stimulus in network.stimuli:
        if not isinstance(stimulus.drive, DC):
            raise UnsupportedLayerError(f"{stimulus.target.name}: NIR has no {type(stimulus.drive).__name__}.")
        currents[stimulus.target.name] += torch.as_tensor(stimulus.drive.amplitude, dtype=torch.float64)
    for name, p in network.populations.items():
        entry[name] = name
        if not isinstance(p.neuron, Neuron):
            nodes[name] = nir.Input(np.array([p.size]))
            continue
        if p.initial or p.bias is not None:
            raise UnsupportedLayerError(f"{name}: NIR has no initial values and no bias of a population.")
        for suffix, node in neuron_nodes(p.neuron, name, (p.size,), convention):
            nodes[name + suffix] = node
            if suffix:
                entry[name] = name + suffix
                edges.append((name + suffix, name))
        if bool((currents[name] != 0).any()):
            if not isinstance(nodes[name], (nir.LIF, nir.CubaLIF)):
                raise UnsupportedLayerError(f"{name}: a constant current needs a LIF to become part of its v_leak.")
            nodes[name].metadata.setdefault("start", nodes[name].v_leak)
            nodes[name].v_leak = nodes[name].v_leak + float(p.neuron.value("r_m")) * currents[name].numpy()
    order = [n for n in nodes if isinstance(nodes[n], nir.Input)]
    order += [n for n in nodes if n not in order]
    for link in module.synapses:
        _link(link, nodes, edges, entry, order, convention)  # type: ignore[arg-type]
    for name, p in network.populations.items():
        if isinstance(p.neuron, Neuron):
            nodes[f"{name}_output"] = nir.Output(np.array([p.size]))
            edges.append((name, f"{name}_output"))
    metadata = {**convention.to_metadata(), "order": "\n".join([*order, *(n for n in nodes if n not in order)])}
    return nir.NIRGraph(nodes, edges, metadata=metadata, type_check=False)


def _link(
    link: Synapses, nodes: dict[str, Any], edges: list[tuple[str, str]], entry: dict[str, str], order: list[str],
    convention: Convention,
) -> None:  # fmt: skip
    """Add a projection: one matrix for each of its delays. An edge back in the order carries a step of delay itself."""
    source, target = link.link.source, link.link.target
    if source.size * target.size * max(1, len(link.delays)) > 2**28:
        raise UnsupportedLayerError(f"{link.link.name}: more than 2^28 weights as matrices; NIR has no sparse ones.")
    pre, post, steps = link.pairs()
    weight = _numbers(link.weight)
    late = order.index(source.name) >= order.index(entry[target.name])
    for delay in link.delays:
        dense = np.zeros((target.size, source.size), np.float32)
        chosen = steps == delay
        np.add.at(dense, (post[chosen], pre[chosen]), weight[chosen])
        label = f"projection{link.link.index}_{delay}"
        nodes[label] = nir.Linear(dense)
        before = source.name
        if (rest := delay - late) > 0:
            nodes[f"{label}_delay"] = nir.Delay(np.full(source.size, rest * convention.step / convention.unit))
            edges.append((before, f"{label}_delay"))
            before = f"{label}_delay"
        edges += [(before, label), (label, entry[target.name])]
        place = order.index(entry[target.name]) if not late else order.index(source.name) + 1
        order[place:place] = [n for n in (f"{label}_delay", label) if n in nodes]
