r"""What NIR's nodes need that no neuron of ours is: a filtered current, an integrator, a threshold, a delay, a graph.

A NIR input S is a signal held over a step. `FilteredCurrent` takes one step of
``tau I' = -I + w S`` and gives the *new* current to the membrane, as every program that runs NIR does:

.. math:: I \leftarrow e^{-h/\tau} I + w (1 - e^{-h/\tau}) S,
          \qquad v \leftarrow e^{-h/\tau_m} v + r (1 - e^{-h/\tau_m}) I

(`Exp` instead gives the old one, and adds an arriving weight to I as it is.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeframe.errors import ParameterError, ShapeError
from spikeframe.kernels.trace import Names, Value, spike
from spikeframe.neurons import LI, Neuron, Parameter, Receptor, State
from spikeframe.neurons.receptors import charge
from spikeframe.neurons.temporal import Temporal


class FilteredCurrent(Receptor):
    """Current that follows its input with a time constant; the membrane sees it in the same step.

    Args:
        values: ``tau`` (ms) and ``w_in``, the gain.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "tau": Parameter(5.0, "ms", above=0.0, doc="time constant"),
        "w_in": Parameter(1.0, doc="gain"),
    }
    STATES: ClassVar[dict[str, State]] = {"i": State(doc="current")}
    LEVEL = "i"

    def coefficients(self, leak: Tensor, gain: Tensor, dt: float) -> dict[str, Tensor]:
        """Return ``decay`` and ``arrive`` of the current, ``drive`` of the membrane.

        Args:
            leak: the membrane's leak rate, 1/ms.
            gain: the membrane's gain.
            dt: step, ms.
        """
        passed = -dt / self.value("tau")
        return {
            "decay": torch.exp(passed),
            "arrive": self.value("w_in") * -torch.expm1(passed),
            "drive": charge(leak, torch.zeros_like(leak), gain, dt),
        }

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Value]]:
        """Filter, then charge the membrane.

        Args:
            x: what arrives in this step.
            s: its state.
            c: its coefficients.
        """
        i = c.decay * s.i + c.arrive * x
        return c.drive * i, {"i": i}


class Integrator(Neuron):
    """Membrane without leak and threshold, ``v' = r I``; its output is v.

    Args:
        options: ``r_m`` (v per ms and unit of current) and what every `Neuron` takes.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {"r_m": Parameter(1.0, "1/ms", above=0.0, doc="gain")}
    STATES: ClassVar[dict[str, State]] = {"v": State(doc="membrane potential")}

    def membrane(self) -> tuple[Tensor, Tensor]:
        """Return leak rate 0 and the gain."""
        return torch.zeros((), dtype=torch.float64), self.r_m

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Add up; the output is the new membrane."""
        v = s.v + x
        return v, {"v": v}


class RestingLI(LI):
    """Leaky integrator with a resting potential, at which it starts.

    Args:
        options: ``v_rest``, the parameters of `LI` and what every `Neuron` takes.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        **LI.PARAMETERS,
        "v_rest": Parameter(0.0, "mV", doc="resting potential"),
    }
    STATES: ClassVar[dict[str, State]] = {"v": State("v_rest", "mV", doc="membrane potential")}

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return the decay and what the leak adds in a step."""
        return {**super().coefficients(dt), "leak": self.v_rest * -torch.expm1(-dt / self.tau_m)}

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Integrate; the output is the new membrane."""
        v = c.decay * s.v + x + c.leak
        return v, {"v": v}


class Threshold(Neuron):
    """Heaviside function of its input, with a surrogate gradient; no state.

    Args:
        options: ``v_th`` and what every `Neuron` takes.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {"v_th": Parameter(1.0, "mV", doc="threshold")}
    STATES: ClassVar[dict[str, State]] = {}

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Compare."""
        return spike(x - c.v_th), {}


class Scale(nn.Module):
    """Multiply element by element.

    Args:
        scale: factors, in the shape of a step's input.
    """

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.scale = nn.Parameter(scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[..., *shape]`` products.

        Args:
            x: ``[..., *shape]``.
        """
        return x * self.scale


class StackedAffine(nn.Module):
    """Matrices side by side: ``y[..., k] = W[k] x[..., k] + b[k]``, for weights with more than two axes.

    Args:
        weight: ``[*stack, out, in]``.
        bias: ``[*stack, out]`` or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[..., *stack, out]``.

        Args:
            x: ``[..., *stack, in]``.
        """
        y = torch.matmul(self.weight, x.unsqueeze(-1)).squeeze(-1)
        return y if self.bias is None else y + self.bias


class PaddedSumPool2d(nn.Module):
    """Sums over patches of an image that are no squares, or stand over its edge.

    Args:
        kernel_size: height and width of a patch.
        stride: steps down and to the right.
        padding: zeros above and below, left and right.
    """

    def __init__(self, kernel_size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[..., C, H', W']`` sums.

        Args:
            x: ``[..., C, H, W]``.
        """
        return functional.avg_pool2d(x, self.kernel_size, self.stride, self.padding, divisor_override=1)


class Delay(Temporal):
    """Delays, one for all or one per element, in whole steps.

    Args:
        steps: int64, a number or an array in the shape of a step's input.

    Raises:
        ParameterError: a delay is negative.
    """

    steps: Tensor

    def __init__(self, steps: Tensor) -> None:
        super().__init__()
        if not bool((steps >= 0).all()):
            raise ParameterError(f"Delay: {int(steps.min())} steps; must be at least 0.")
        self.register_buffer("steps", steps)
        self.longest = int(steps.max()) if steps.numel() else 0

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return what came in so many steps ago.

        Args:
            x: ``[T, B, ...]``.
            state: ``[longest, B, ...]`` input before, as an earlier call returned it; None: zeros.

        Raises:
            ShapeError, DTypeError, NonFiniteError: x or state is not usable.
        """
        x = self._checked(x)
        shape = (self.longest, *x.shape[1:])
        past = x.new_zeros(shape) if state is None else state
        if tuple(past.shape) != shape:
            raise ShapeError(f"Delay: the state has shape {tuple(past.shape)}, expected {shape}.")
        whole = torch.cat([past, x])
        if self.steps.ndim == 0:
            out = whole[self.longest - int(self.steps) : whole.shape[0] - int(self.steps)]
        else:
            time = torch.arange(x.shape[0]).reshape(-1, *[1] * (x.ndim - 1)) + self.longest - self.steps
            out = whole.gather(0, time.expand(x.shape))
        return out, whole[whole.shape[0] - self.longest :]


class GraphState(NamedTuple):
    """State of a `GraphNetwork`.

    Attributes:
        nodes: per node with a state, what it returned.
        past: per node whose output goes back in the graph, its last output ``[B, ...]``.
    """

    nodes: dict[str, Any]
    past: dict[str, Tensor]


class GraphNetwork(Temporal):
    """Layers and neurons joined as a graph, called as ``out, state = net(x, state)``.

    Nodes are evaluated in the given order; what several nodes send to one is added. An edge from a node to itself or to
    an earlier one carries the output of the step before (zero in the first). Parts without such edges run over all
    steps at once, loops step by step.

    Args:
        layers: node to layer, in the order of evaluation; inputs and outputs are `torch.nn.Identity`.
        edges: pairs of nodes.
        inputs: the nodes that take x.
        outputs: the nodes whose values are returned.
    """

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        edges: Sequence[tuple[str, str]],
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> None:
        super().__init__()
        self.order = list(layers)
        self.layers = nn.ModuleList(layers.values())
        self.inputs, self.outputs = list(inputs), list(outputs)
        place = {name: k for k, name in enumerate(self.order)}
        self.edges = list(edges)
        self.sources = {name: [a for a, b in edges if b == name and place[a] < place[name]] for name in self.order}
        self.late = {name: [a for a, b in edges if b == name and place[a] >= place[name]] for name in self.order}
        self.parts = parts(self.order, edges)

    def layer(self, name: str) -> nn.Module:
        """Return the layer of a node.

        Args:
            name: the node.
        """
        return self.layers[self.order.index(name)]

    def forward(self, x: Tensor | Mapping[str, Tensor], state: GraphState | None = None) -> tuple[Any, GraphState]:
        """Run over time.

        Args:
            x: ``[T, B, ...]``; with several inputs one for each, by name.
            state: as an earlier call returned it, or None.

        Returns:
            ``[T, B, ...]`` (with several outputs one for each, by name), and the final state.

        Raises:
            ShapeError: no input for a node, or another number of steps.
            DTypeError, NonFiniteError: an input is not usable.
        """
        given = dict(x) if isinstance(x, Mapping) else dict.fromkeys(self.inputs[:1], x)
        if list(given) != self.inputs and set(given) != set(self.inputs):
            raise ShapeError(f"GraphNetwork: inputs {sorted(given)} were given; it has {self.inputs}.")
        values = {name: self._checked(value) for name, value in given.items()}
        if len({value.shape[:2] for value in values.values()}) > 1:
            raise ShapeError("GraphNetwork: all inputs must have the same number of steps and samples.")
        nodes = {} if state is None else dict(state.nodes)
        past = {} if state is None else dict(state.past)
        steps = next(iter(values.values())).shape[0]
        for part in self.parts:
            if not steps or (len(part) == 1 and not self.late[part[0]]):
                for name in part:
                    self._evaluate(name, values, past, nodes)
                continue
            rows: dict[str, list[Tensor]] = {name: [] for name in part}
            outside = {a for name in part for a in (name, *self.sources[name]) if a in values}
            if not all(a in past for name in part for a in self.late[name]):
                past |= self._before(part, {name: values[name][:1] for name in outside}, nodes)
            for t in range(steps):
                now = {name: values[name][t : t + 1] for name in outside}
                for name in part:
                    self._evaluate(name, now, past, nodes)
                    rows[name].append(now[name])
                past |= {a: now[a][0] for name in part for a in self.late[name]}
            values |= {name: torch.cat(found) for name, found in rows.items()}
        out = {name: values[name] for name in self.outputs}
        return (out if len(out) > 1 else out[self.outputs[0]]), GraphState(nodes, past)

    def _before(self, part: list[str], now: dict[str, Tensor], nodes: dict[str, Any]) -> dict[str, Tensor]:
        """Return what a loop's nodes had put out before the first step: nothing, or what their layers make of it."""
        tried = dict(now)
        for name in part:  # only for the shapes
            self._evaluate(name, tried, {}, dict(nodes))
        rest = {name: torch.zeros_like(value) for name, value in tried.items()}
        for name in part:
            if not isinstance(self.layer(name), (Neuron, Temporal)):
                before = [rest[a] for a in self.sources[name]]
                rest[name] = self._apply_layer(name, sum(before[1:], before[0]))
        return {a: rest[a][0] for name in part for a in self.late[name]}

    def _apply_layer(self, name: str, x: Tensor) -> Tensor:
        """Return what a layer without state makes of ``[T, B, ...]``."""
        found: Tensor = self.layer(name)(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return found

    def _evaluate(self, name: str, values: dict[str, Tensor], past: dict[str, Tensor], nodes: dict[str, Any]) -> None:
        """Compute one node's values ``[T, B, ...]`` from those before it."""
        arriving = [values[name]] if name in values else []
        arriving += [values[a] for a in self.sources[name]] + [past[a][None] for a in self.late[name] if a in past]
        x = sum(arriving[1:], arriving[0])
        layer = self.layer(name)
        if isinstance(layer, (Neuron, Temporal)):
            values[name], nodes[name] = layer(x, nodes.get(name))
        else:
            values[name] = self._apply_layer(name, x)


def parts(order: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Return the nodes in an order in which every loop is one part, and parts only look back.

    Args:
        order: the nodes; within a loop they stay in it.
        edges: pairs of nodes.
    """
    onward: dict[str, set[str]] = {name: {b for a, b in edges if a == name} for name in order}
    reach: dict[str, set[str]] = {}
    for name in order:
        seen, front = set[str](), set(onward[name])
        while front:
            seen |= front
            front = {b for a in front for b in onward[a]} - seen
        reach[name] = seen
    found: list[list[str]] = []
    for name in order:
        if not any(name in part for part in found):
            found.append([other for other in order if other == name or (other in reach[name] and name in reach[other])])
    done: list[list[str]] = []
    while found:  # a part is ready when everything that leads to it is done
        ready = next(
            part
            for part in found
            if not any(other is not part and any(part[0] in reach[a] for a in other) for other in found)
        )
        found.remove(ready)
        done.append(ready)
    return done
