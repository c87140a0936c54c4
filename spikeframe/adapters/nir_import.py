"""NIR graphs as torch models of ours; see `spikeframe.adapters.nir.from_nir`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeframe.adapters.nir_conventions import Convention
from spikeframe.adapters.nir_layers import FilteredCurrent, Integrator, RestingLI, Threshold
from spikeframe.errors import (
    DTypeError,
    GraphError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    SpikeframeError,
    TimeGridError,
    UnsupportedLayerError,
)
from spikeframe.kernels.parts import parts
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
    Scale,
    Sequential,
    StackedAffine,
    SumPool2d,
)
from spikeframe.neurons.temporal import Temporal

Shape = tuple[int, ...]
#: Strides, paddings and the like are no larger.
_LARGEST = 2**20
#: A drive this close to 1 is taken for 1: parameters are often stored in float32.
_UNIT = 1e-6


def build(graph: Any, convention: Convention) -> nn.Module:
    """Return a graph as a torch model: a `Sequential` if it is a chain, else a `GraphNetwork`.

    Args:
        graph: `nir.NIRGraph`.
        convention: how to read it, with a step.

    Raises:
        GraphError, UnsupportedLayerError, ShapeError, ParameterError, NonFiniteError, DTypeError, TimeGridError: as
            `from_nir` says.
    """
    nodes, edges = flattened(graph)
    inputs = [name for name, node in nodes.items() if _kind(node) == "Input"]
    outputs = [name for name, node in nodes.items() if _kind(node) == "Output"]
    if not inputs or not outputs:
        raise GraphError(f"NIR graph: it has {len(inputs)} Input and {len(outputs)} Output nodes; it needs both.")
    order = _order(nodes, edges, inputs, graph.metadata if isinstance(graph.metadata, Mapping) else {})
    layers: dict[str, nn.Module] = {}
    shapes: dict[str, Shape | None] = {}
    place = {name: k for k, name in enumerate(order)}
    for name in order:
        arriving = [shapes[a] for a, b in edges if b == name and place[a] < place[name]]
        known = {shape for shape in arriving if shape is not None}
        if len(known) > 1:
            raise ShapeError(f"NIR node {name!r}: what arrives has different shapes {sorted(known)}.")
        shape = next(iter(known), None)
        try:
            layers[name] = layer(nodes[name], name, convention, shape)
            shapes[name] = _sent(nodes[name], name, layers[name], shape)
        except SpikeframeError as error:
            if f"{name!r}" in str(error):
                raise
            raise type(error)(f"NIR node {name!r} ({_kind(nodes[name])}): {error}") from None
    for a, b in edges:
        entered = next((shapes[c] for c, d in edges if d == b and place[c] < place[b]), None)
        if place[a] >= place[b] and None not in (shapes[a], entered) and shapes[a] != entered:
            raise ShapeError(f"NIR edge ({a!r}, {b!r}): sends {shapes[a]} back to where {entered} arrives.")
    if sorted(pairwise(order)) == sorted(edges) and len(inputs) == len(outputs) == 1:
        kept = [(name.replace(".", "_"), part) for name, part in layers.items() if type(part) is not nn.Identity]
        return Sequential(OrderedDict(kept))
    return GraphNetwork(layers, edges, inputs, outputs)


def _kind(node: Any) -> str:
    return type(node).__name__


def flattened(graph: Any, prefix: str = "") -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return nodes and edges with the graphs within a graph put in their places, as ``<graph>/<node>``.

    Args:
        graph: `nir.NIRGraph`.
        prefix: of all names.

    Raises:
        GraphError: an edge leads to or from nothing or is there twice, or an inner graph has not one input and output.
    """
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    enter: dict[str, str] = {}
    leave: dict[str, str] = {}
    for key, node in graph.nodes.items():
        name = f"{prefix}{key}"
        enter[key] = leave[key] = name
        if _kind(node) == "NIRGraph":
            within, joined = flattened(node, f"{name}/")
            own = {f"{name}/{k}": _kind(v) for k, v in node.nodes.items()}
            ends = [[n for n, kind in own.items() if kind == what] for what in ("Input", "Output")]
            if [len(e) for e in ends] != [1, 1]:
                raise GraphError(
                    f"NIR graph {name!r}: has {len(ends[0])} Input and {len(ends[1])} Output nodes; a graph within a "
                    "graph needs one of each."
                )
            enter[key], leave[key] = ends[0][0], ends[1][0]
            nodes |= {n: _Inner() if n in (ends[0][0], ends[1][0]) else v for n, v in within.items()}
            edges += joined
        else:
            nodes[name] = node
    for a, b in graph.edges:
        for end in (a, b):
            if end not in graph.nodes:
                raise GraphError(f"NIR edge ({a!r}, {b!r}): there is no node {end!r}; nodes: {sorted(graph.nodes)}.")
        edge = leave[a], enter[b]
        if edge in edges:
            raise GraphError(f"NIR edge ({a!r}, {b!r}): is there twice.")
        edges.append(edge)
    return nodes, edges


class _Inner:
    """Where an inner graph begins or ends."""


def _order(
    nodes: dict[str, Any], edges: list[tuple[str, str]], inputs: list[str], metadata: Mapping[str, Any]
) -> list[str]:
    """Return the nodes so that edges lead onward but for those that close a loop.

    Depth first from the inputs, or in the order that the metadata states.
    """
    onward: dict[str, list[str]] = {name: [b for a, b in edges if a == name] for name in nodes}
    finished: list[str] = []
    seen: set[str] = set()
    for start in reversed(inputs):
        stack = [(start, iter(reversed(onward[start])))] if start not in seen else []
        seen.add(start)
        while stack:
            name, rest = stack[-1]
            after = next((b for b in rest if b not in seen), None)
            if after is None:
                finished.append(name)
                stack.pop()
            else:
                seen.add(after)
                stack.append((after, iter(reversed(onward[after]))))
    if lost := sorted(set(nodes) - seen):
        raise GraphError(f"NIR graph: nothing leads from an Input to {', '.join(map(repr, lost))}.")
    if blind := [n for n in nodes if _kind(nodes[n]) == "Input" and any(b == n for _, b in edges)]:
        raise GraphError(f"NIR node {blind[0]!r}: is an Input, but an edge leads to it.")
    order = finished[::-1]
    stated = metadata.get("order")
    text = stated.decode("utf8", "replace") if isinstance(stated, bytes) else str(stated)
    if stated is not None and _usable(text.split("\n"), edges, order):
        order = text.split("\n")
    _check_loops(nodes, edges, order)
    return order


def _usable(stated: list[str], edges: list[tuple[str, str]], order: list[str]) -> bool:
    """Whether nodes can be evaluated in a stated order: edges lead back only in loops, and something comes before."""
    if sorted(stated) != sorted(order):
        return False
    place = {name: k for k, name in enumerate(stated)}
    loop = {name: k for k, part in enumerate(parts(order, edges)) for name in part}
    back = [(a, b) for a, b in edges if place[a] >= place[b]]
    fed = {b for a, b in edges if place[a] < place[b]}
    entered = {b for _, b in edges}
    return all(loop[a] == loop[b] for a, b in back) and entered <= fed


#: Nodes with a state: a loop needs one, else its values depend on themselves.
_STATEFUL = {"CubaLI", "CubaLIF", "Delay", "I", "IF", "LI", "LIF"}


def _check_loops(nodes: dict[str, Any], edges: list[tuple[str, str]], order: list[str]) -> None:
    """Refuse a loop without a state."""
    rest = {n for n in nodes if _kind(nodes[n]) not in _STATEFUL}
    inner = [(a, b) for a, b in edges if a in rest and b in rest]
    while rest:
        free = {n for n in rest if not any(b == n and a in rest for a, b in inner)}
        if not free:
            looped = {n for n in rest if any(a == n and b in rest for a, b in inner)}
            listed = [n for n in order if n in looped]
            raise GraphError(
                f"NIR graph: the loop through {', '.join(map(repr, listed))} has no node with a state "
                f"({', '.join(sorted(_STATEFUL))}), so its values would depend on themselves."
            )
        rest -= free


def array(node: Any, field: str, name: str, least: float | None = None) -> Tensor:
    """Return a parameter of a node in float64, finite.

    Args:
        node: NIR node.
        field: the parameter.
        name: of the node, for messages.
        least: the parameter must be above this.

    Raises:
        GraphError: it is missing.
        DTypeError: it is not made of real numbers.
        NonFiniteError: one is NaN or infinite.
        ParameterError: one is too small.
    """
    where = f"NIR node {name!r} ({_kind(node)}): {field}"
    value = getattr(node, field, None)
    if value is None:
        raise GraphError(f"{where} is missing.")
    found = _real(value, where)
    if least is not None and not bool((found > least).all()):
        raise ParameterError(f"{where} is {float(found.min()):g}; must be above {least:g}.")
    return found


def _real(value: Any, where: str) -> Tensor:
    """Return finite real numbers in float64, or refuse them."""
    found = np.asarray(value.detach().cpu().numpy() if isinstance(value, Tensor) else value)
    if found.dtype.kind not in "fiu":
        raise DTypeError(f"{where} has type {found.dtype}; accepted are real numbers.")
    wide = found.astype(np.float64)
    if not np.isfinite(wide).all():
        place = [int(i) for i in np.argwhere(~np.isfinite(wide))[0]]
        raise NonFiniteError(f"{where}{place if place else ''} is {wide[tuple(place)]}; must be finite.")
    return torch.from_numpy(wide)


def _fit(value: Tensor, shape: Shape | None, where: str) -> Tensor:
    """Return a per-neuron parameter as one number if all are equal, else as it is, if it fits what arrives."""
    if value.ndim and value.numel() != 1 and shape is not None and tuple(value.shape) != shape:
        raise ShapeError(f"{where} has shape {tuple(value.shape)}, but {shape} arrives.")
    return value.reshape(-1)[0] if value.numel() and bool((value == value.reshape(-1)[0]).all()) else value


class _Neuron:
    """The parameters of one neuron node, by the reading of a convention."""

    def __init__(self, node: Any, name: str, convention: Convention, shape: Shape | None) -> None:
        self.node, self.name, self.convention, self.shape = node, name, convention, shape
        self.own: Mapping[str, Any] = node.metadata if isinstance(node.metadata, Mapping) else {}
        texts = {k: v.decode("utf8", "replace") if isinstance(v, bytes) else str(v) for k, v in self.own.items()}
        self.reset = texts.get("reset", "value" if convention.reset == "stated" else convention.reset)
        self.receptor = texts.get("receptor", "")
        if self.reset not in ("value", "subtract"):
            raise GraphError(f"NIR node {name!r}: its metadata says reset={self.reset!r}; known: value, subtract.")

    def get(self, field: str, least: float | None = None) -> Tensor:
        where = f"NIR node {self.name!r} ({_kind(self.node)}): {field}"
        return _fit(array(self.node, field, self.name, least), self.shape, where)

    def tau(self, field: str) -> Tensor:
        where = f"NIR node {self.name!r} ({_kind(self.node)}): {field}"
        return self.convention.time_constant(self.get(field, 0.0), where)

    def threshold(self) -> dict[str, Any]:
        """Return threshold and reset; ours fires *at* the threshold, so one to be passed is the next float32."""
        level = self.get("v_threshold")
        reset = self.get("v_reset")
        if self.convention.fires == "above":
            above = np.nextafter(level.numpy().astype(np.float32), np.float32(np.inf)).astype(np.float64)
            moved = torch.from_numpy(np.asarray(above))
            reset = reset + (moved - level) if self.reset == "subtract" else reset
            level = moved
        return {"v_th": level, "v_reset": reset, "reset": self.reset}

    def drive(self, decay: Tensor) -> dict[str, Any]:
        """Return receptor and resistance for an input of which ``r (1 - decay)`` reaches the membrane."""
        r = self.get("r", 0.0)
        if bool((torch.abs(r * (1.0 - decay) - 1.0) < _UNIT).all()):
            return {"receptors": Delta(), "r_m": 1.0}
        return {"receptors": Current(), "r_m": r}

    def filtered(self) -> dict[str, Any]:
        """Return the receptor that a current with a time constant is, and the resistance."""
        tau, gain = self.tau("tau_syn"), self.get("w_in")
        lost = -torch.expm1(-self.convention.step / tau)
        if self.receptor == "exp" and bool((torch.abs(gain * lost - 1.0) < _UNIT).all()):
            return {"receptors": Exp(tau=tau), "r_m": self.get("r", 0.0)}
        if self.convention.arrival == "added":
            gain = gain / lost
        return {"receptors": FilteredCurrent(tau=tau, w_in=gain), "r_m": self.get("r", 0.0)}

    def decay(self, tau: Tensor) -> Tensor:
        return torch.exp(-self.convention.step / tau)

    def lif(self) -> Neuron:
        tau = self.tau("tau")
        return self._firing(tau, self.drive(self.decay(tau)))

    def cuba_lif(self) -> Neuron:
        return self._firing(self.tau("tau_mem"), self.filtered())

    def _firing(self, tau: Tensor, given: dict[str, Any]) -> Neuron:
        """Return a LIF; where the metadata have another start than v_leak, the rest of v_leak is a current."""
        rest, more = self.get("v_leak"), {}
        if "start" in self.own:
            where = f"NIR node {self.name!r}: its metadata's start"
            start = _fit(_real(self.own["start"], where), self.shape, where)
            rest, more = start, {"i_e": (rest - start) / given["r_m"]}
        return LIF(tau_m=tau, v_rest=rest, dt=self.convention.step, **given, **more, **self.threshold())

    def li(self) -> Neuron:
        tau = self.tau("tau")
        return self._resting(tau_m=tau, **self.drive(self.decay(tau)))

    def cuba_li(self) -> Neuron:
        return self._resting(tau_m=self.tau("tau_mem"), **self.filtered())

    def _resting(self, **given: Any) -> Neuron:
        rest = self.get("v_leak")
        if bool((rest == 0).all()):
            return LI(dt=self.convention.step, **given)
        return RestingLI(dt=self.convention.step, v_rest=rest, **given)

    def integrator(self, make: Callable[..., Neuron], name: str, invert: bool, **given: Any) -> Neuron:
        """Return a neuron without leak whose input x adds r x dt, or r x."""
        c = self.convention
        added = self.get("r", 0.0) * (c.step / c.unit if c.integrator == "time" else 1.0)
        if bool((torch.abs(added - 1.0) < _UNIT).all()):
            return make(dt=c.step, receptors=Delta(), **given)
        gain = added / c.step
        return make(dt=c.step, receptors=Current(), **{name: 1.0 / gain if invert else gain}, **given)


def layer(node: Any, name: str, convention: Convention, shape: Shape | None) -> nn.Module:
    """Return the layer that one node is.

    Args:
        node: NIR node.
        name: of the node, for messages.
        convention: how to read it.
        shape: of what arrives in a step, if known.

    Raises:
        UnsupportedLayerError: no such kind of node is known.
        SpikeframeError: a parameter is missing or not usable.
    """
    kind = _kind(node)
    if kind in ("Input", "Output", "_Inner"):
        return nn.Identity()
    if kind in _NEURONS:
        return _NEURONS[kind](_Neuron(node, name, convention, shape))
    if kind not in _LAYERS:
        known = ", ".join(sorted([*_LAYERS, *_NEURONS, "Input", "Output", "NIRGraph"]))
        raise UnsupportedLayerError(f"NIR node {name!r} is a {kind}, which is not known. Known: {known}.")
    return _LAYERS[kind](node, name, convention, shape)


_NEURONS: dict[str, Callable[[_Neuron], Neuron]] = {
    "CubaLI": _Neuron.cuba_li,
    "CubaLIF": _Neuron.cuba_lif,
    "I": lambda n: n.integrator(Integrator, "r_m", False),
    "IF": lambda n: n.integrator(IF, "c_m", True, **n.threshold()),
    "LI": _Neuron.li,
    "LIF": _Neuron.lif,
}


def _affine(node: Any, name: str, convention: Convention, shape: Shape | None) -> nn.Module:
    weight = array(node, "weight", name).float()
    if weight.ndim < 2:
        raise ShapeError(f"NIR node {name!r}: weight has shape {tuple(weight.shape)}; it must be [..., out, in].")
    entered = (*weight.shape[:-2], weight.shape[-1])
    if shape is not None and shape != entered:
        raise ShapeError(f"NIR node {name!r}: its weight takes {entered}, but {shape} arrives.")
    bias = array(node, "bias", name).float() if _kind(node) == "Affine" else None
    if bias is not None and tuple(bias.shape) != tuple(weight.shape[:-1]):
        raise ShapeError(f"NIR node {name!r}: bias has shape {tuple(bias.shape)}, weight {tuple(weight.shape)}.")
    if weight.ndim > 2:
        return StackedAffine(weight, bias)
    return _with(nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None), weight, bias)


def _with(made: Any, weight: Tensor, bias: Tensor | None) -> nn.Module:
    """Give a new layer its values."""
    made.weight = nn.Parameter(weight)
    if bias is not None:
        made.bias = nn.Parameter(bias)
    whole: nn.Module = made
    return whole


def _sizes(node: Any, field: str, name: str, axes: int, least: int) -> Any:
    """Return whole numbers, one per axis of the image, or the words that padding may be."""
    value = getattr(node, field, None)
    if isinstance(value, bytes):
        value = value.decode("utf8", "replace")
    if isinstance(value, str):
        if field == "padding" and value in ("same", "valid"):
            return value
        raise ParameterError(f"NIR node {name!r}: {field}={value!r}; must be numbers (padding also 'same', 'valid').")
    found = array(node, field, name).reshape(-1)
    outside = (found != found.round()) | (found < least) | (found > _LARGEST)
    if found.numel() not in (1, axes) or bool(outside.any()):
        raise ParameterError(
            f"NIR node {name!r}: {field} is {found.tolist()}; must be whole numbers from {least} to {_LARGEST}, one "
            f"for each of {axes} axes."
        )
    listed = [int(v) for v in found.tolist()]
    return tuple(listed * axes if len(listed) == 1 else listed)


def _conv(node: Any, name: str, convention: Convention, shape: Shape | None) -> nn.Module:
    axes = 1 if _kind(node) == "Conv1d" else 2
    weight, bias = array(node, "weight", name).float(), array(node, "bias", name).float()
    if weight.ndim != axes + 2 or tuple(bias.shape) != (weight.shape[0],):
        raise ShapeError(
            f"NIR node {name!r}: weight has shape {tuple(weight.shape)} and bias {tuple(bias.shape)}; they must be "
            f"[out, in / groups, {', '.join(['k'] * axes)}] and [out]."
        )
    groups = _sizes(node, "groups", name, 1, 1)[0]
    stride, padding = _sizes(node, "stride", name, axes, 1), _sizes(node, "padding", name, axes, 0)
    dilation = _sizes(node, "dilation", name, axes, 1)
    entered = weight.shape[1] * groups
    if weight.shape[0] % groups:
        raise ShapeError(f"NIR node {name!r}: {weight.shape[0]} outputs cannot be cut into {groups} groups.")
    if shape is not None and (len(shape) != axes + 1 or shape[0] != entered):
        raise ShapeError(f"NIR node {name!r}: takes {entered} channels of {axes} axes, but {shape} arrives.")
    if padding == "same" and set(stride) != {1}:
        raise ParameterError(f"NIR node {name!r}: padding 'same' goes with stride 1, not {stride}.")
    make: Any = nn.Conv1d if axes == 1 else nn.Conv2d
    made = make(entered, weight.shape[0], tuple(weight.shape[2:]), stride, padding, dilation, groups)
    return _with(made, weight, bias)


def _pool(node: Any, name: str, convention: Convention, shape: Shape | None) -> nn.Module:
    kernel, stride = _sizes(node, "kernel_size", name, 2, 1), _sizes(node, "stride", name, 2, 1)
    padding = _sizes(node, "padding", name, 2, 0)
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise ParameterError(f"NIR node {name!r}: padding {padding} is more than half of kernel_size {kernel}.")
    if _kind(node) == "AvgPool2d":
        return nn.AvgPool2d(kernel, stride, padding)
    if padding == (0, 0) and kernel[0] == kernel[1] and stride[0] == stride[1]:
        return SumPool2d(kernel[0], stride[0])
    return PaddedSumPool2d(kernel, stride, padding)


def _axis(node: Any, field: str, name: str) -> int:
    """Return the number of an axis."""
    found = array(node, field, name)
    if found.numel() != 1 or float(found) != round(float(found)) or abs(float(found)) > 64:
        raise ParameterError(f"NIR node {name!r}: {field} is {found.tolist()}; must be the number of an axis.")
    return int(found)


def _flatten(node: Any, name: str, convention: Convention, shape: Shape | None) -> nn.Module:
    first, last = (_axis(node, field, name) for field in ("start_dim", "end_dim"))
    batch = convention.axes == "sample"
    return nn.Flatten(first + batch if first >= 0 else first, last + batch if last >= 0 else last)


def _scale(node: Any, name: str, convention: Convention, shape: Shape | None) -> nn.Module:
    scale = array(node, "scale", name)
    if shape is not None and scale.numel() != 1 and tuple(scale.shape) != shape:
        raise ShapeError(f"NIR node {name!r}: scale has shape {tuple(scale.shape)}, but {shape} arrives.")
    return Scale(scale.float())


def _threshold(node: Any, name: str, convention: Convention, shape: Shape | None) -> nn.Module:
    level = _fit(array(node, "threshold", name), shape, f"NIR node {name!r}: threshold")
    if convention.fires == "above":
        level = torch.from_numpy(np.asarray(np.nextafter(level.numpy().astype(np.float32), np.float32(np.inf))))
    return Threshold(v_th=level.double(), dt=convention.step)


def _delay(node: Any, name: str, convention: Convention, shape: Shape | None) -> nn.Module:
    delay = _fit(array(node, "delay", name), shape, f"NIR node {name!r}: delay")
    steps = delay * convention.unit / convention.step
    off = torch.abs(steps - steps.round()) > 1e-6 * (1.0 + steps.abs())
    if bool(off.any()) or bool((steps < 0).any()) or bool((steps > 2**20).any()):
        raise TimeGridError(
            f"NIR node {name!r}: a delay of {float(delay[off][0] if off.ndim and off.any() else delay.max()):g} "
            f"({float(steps[off][0] if off.ndim and off.any() else steps.max()):g} steps of {convention.step:g} ms); "
            "must be a whole number of steps from 0 to 2^20."
        )
    return Delay(steps.round().to(torch.int64))


_LAYERS: dict[str, Callable[[Any, str, Convention, Shape | None], nn.Module]] = {
    "Affine": _affine,
    "AvgPool2d": _pool,
    "Conv1d": _conv,
    "Conv2d": _conv,
    "Delay": _delay,
    "Flatten": _flatten,
    "Linear": _affine,
    "Scale": _scale,
    "SumPool2d": _pool,
    "Threshold": _threshold,
}


def _sent(node: Any, name: str, made: nn.Module, shape: Shape | None) -> Shape | None:
    """Return the shape of a node's output, found by running it on zeros; check what the graph says of it."""
    if _kind(node) == "Input":
        return _declared(node.input_type, "input", name)
    if shape is None or isinstance(made, (Neuron, Temporal)):
        return shape
    if prod(shape) > 2**28:
        raise GraphError(f"NIR node {name!r}: {shape} arrives, more than 2^28 values a step.")
    try:
        with torch.no_grad():
            out = made(torch.zeros((1, *shape)))
    except (RuntimeError, IndexError, ValueError) as error:
        if isinstance(error, SpikeframeError):
            raise
        raise ShapeError(f"NIR node {name!r} ({_kind(node)}): {shape} arrives, which it cannot take: {error}") from None
    sent = tuple(out.shape[1:])
    declared = _declared(node.output_type, "output", name) if _kind(node) == "Output" else None
    if declared is not None and declared != sent:
        raise ShapeError(f"NIR node {name!r}: says {declared}, but {sent} arrives.")
    return sent


def _declared(types: Any, key: str, name: str) -> Shape | None:
    """Return the shape that an input or output states, or None."""
    value = types.get(key) if isinstance(types, Mapping) else None
    if value is None:
        return None
    found = np.asarray(value)
    wrong = found.dtype.kind not in "fiu" or found.ndim != 1
    if (
        wrong
        or not np.isfinite(found).all()
        or (found != np.round(found)).any()
        or not ((found >= 1) & (found < 2**31)).all()
    ):
        raise ShapeError(f"NIR node {name!r}: its shape {value!r} must be positive whole numbers below 2^31.")
    return tuple(int(n) for n in found)
