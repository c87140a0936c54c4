r"""EventProp: exact gradients of spike times and membranes of event-driven LIF networks, no surrogate, no time step.

Between spikes ``tau_m V' = -V + I`` and ``tau I' = -I`` have closed forms; at a spike the adjoint jumps (equations in
`spikeframe.kernels.eventprop`). Memory: one record per spike, and with a loss on membranes one per arrival at a neuron.
The gradient is exact as long as no spike appears or disappears, which no gradient sees; it grows without bound where a
membrane only just touches its threshold, so ``I - v_th`` is divided by as if it were at least `least`.

Reference: Wunderlich and Pehle 2021, doi:10.1038/s41598-021-91786-z.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError, UnsupportedLayerError
from spikeframe.kernels.eventprop import Arrivals, Floats, Graph, Provider, provider
from spikeframe.learning_rules.gradient import rate, whole
from spikeframe.neurons import LIF, Exp, Recurrent, Sequential
from spikeframe.neurons.once import differentiable_once
from spikeframe.neurons.sequential import in_order


@dataclass(frozen=True)
class SpikeTimes:
    """Spikes of a batch; a loss of `times`, `first` or `deviation` sends its gradient to weights and input times.

    Attributes:
        times: ms, ascending within a sample, float64 [P].
        sample: of each spike, [P].
        layer: of each spike, 0 for the first layer of neurons, [P].
        neuron: of each spike, within its layer, [P].
        duration: ms.
        sizes: neurons of each layer.
        deviations: integral of ``(V - centre)^2`` over the run, float64 [B, all neurons].
    """

    times: Tensor
    sample: Tensor
    layer: Tensor
    neuron: Tensor
    duration: float
    sizes: tuple[int, ...]
    deviations: Tensor

    def first(self, layer: int = -1) -> Tensor:
        """Return when each neuron of a layer spiked first, [B, n]; the duration where it never did.

        Args:
            layer: which, counted as in a list.
        """
        number = range(len(self.sizes))[layer]
        cell = self.sample * self.sizes[number] + self.neuron
        chosen = (self.layer == number).nonzero()[:, 0].flip(0)  # the earliest spike of a cell is written last
        found = torch.full((len(self.deviations) * self.sizes[number],), -1, dtype=torch.int64)
        found.numpy()[cell[chosen].cpu().numpy()] = chosen.cpu().numpy()
        known = torch.cat([self.times, self.times.new_tensor([self.duration])])
        return known[found.to(known.device)].reshape(len(self.deviations), -1)

    def counts(self, layer: int = -1) -> Tensor:
        """Return how often each neuron of a layer spiked, int64 [B, n].

        Args:
            layer: which, counted as in a list.
        """
        number = range(len(self.sizes))[layer]
        here = self.layer == number
        cell = (self.sample * self.sizes[number] + self.neuron)[here]
        return torch.bincount(cell, minlength=len(self.deviations) * self.sizes[number]).reshape(
            len(self.deviations), -1
        )

    def deviation(self, layer: int = -1) -> Tensor:
        """Return the integral of ``(V - centre)^2`` of each neuron of a layer, [B, n]; zeros without a centre.

        Args:
            layer: which, counted as in a list.
        """
        stop = int(np.cumsum(self.sizes)[layer])
        return self.deviations[:, stop - self.sizes[layer] : stop]


class EventProp:
    """Event-driven network and its exact gradient, called as ``spikes = rule(times)``.

    Args:
        model: a `Sequential` of pairs of `Linear` without bias and `LIF`, or `Recurrent` of a LIF; each LIF with an
            `Exp` receptor, r_m = 1, v_rest = v_reset = i_e = t_ref = 0 and nothing to learn. Its dt is not used.
        duration: ms.
        least: least ``I - v_th`` to divide by at a spike.
        most: spikes of a batch that there may be; a network that excites itself may never end.
        backend: ``"auto"``, ``"numba"`` or ``"reference"``.

    Raises:
        UnsupportedLayerError: the model is of another kind; the message names the layer.
        ParameterError: duration or least is no positive number, or most no whole number from 1.
        UnknownNameError: there is no such backend.
    """

    #: What it reads, what it changes, and when.
    READS: ClassVar[str] = "spikes, and the current of a neuron at its own"
    CHANGES: ClassVar[str] = "the .grad of the weights, by addition"
    WHEN: ClassVar[str] = "after the run, from the last spike to the first"

    def __init__(
        self, model: nn.Module, duration: float, *, least: float = 1e-3, most: int = 10_000_000, backend: str = "auto"
    ) -> None:
        for name, value in (("duration", duration), ("least", least)):
            if rate("EventProp", name, value) == 0.0:
                raise ParameterError(f"EventProp({name}={value!r}): must be above 0.")
        self.duration, self.least, self.most = float(duration), float(least), whole("EventProp", "most", most)
        self.provider: Provider = provider(backend)
        self.model, self._layers = model, _checked(model)
        self.sizes = tuple(linear.out_features for linear, _, _ in self._layers)
        self.inputs = self._layers[0][0].in_features

    def graph(self) -> Graph:
        """Return the network as the kernels take it."""
        constants: dict[str, list[Floats]] = {"tau_m": [], "tau": [], "v_th": []}
        for (_, neuron, _), size in zip(self._layers, self.sizes, strict=True):
            for name, parts in constants.items():
                owner = cast("Exp", neuron.receptors["input"]) if name == "tau" else neuron
                parts.append(owner.value(name).detach().cpu().expand(size).numpy())
        tau_m, tau_s, theta = (np.concatenate(parts) for parts in constants.values())
        first, target = [0], [np.empty(0, np.int64)]
        starts = np.concatenate([[0], np.cumsum(self.sizes)])
        for source_layer, size in enumerate((self.inputs, *self.sizes)):
            reached = []
            if source_layer < len(self.sizes):
                reached.append(np.arange(starts[source_layer], starts[source_layer + 1]))
            if source_layer and self._layers[source_layer - 1][2] is not None:
                reached.append(np.arange(starts[source_layer - 1], starts[source_layer]))
            targets = np.concatenate(reached) if reached else np.empty(0, np.int64)
            target += [targets] * size
            first += [first[-1] + len(targets) * (n + 1) for n in range(size)]
        return Graph(tau_m, tau_s, theta, self.inputs, np.array(first), np.concatenate(target))

    def weights(self) -> Tensor:
        """Return the weight of every synapse in the order of `graph`, float64, differentiable."""
        rows = []
        for source_layer in range(len(self.sizes) + 1):
            blocks = []
            if source_layer < len(self.sizes):
                blocks.append(self._layers[source_layer][0].weight.t())
            recurrent = self._layers[source_layer - 1][2] if source_layer else None
            if recurrent is not None:
                blocks.append(recurrent.weight.t())
            if blocks:
                rows.append(torch.cat(blocks, 1).reshape(-1))
        return torch.cat(rows).double()

    def __call__(self, times: Tensor, centre: Tensor | None = None) -> SpikeTimes:
        """Run a batch.

        Args:
            times: input spikes, ms from the start, ``[B, inputs]`` or, with several each, ``[B, inputs, k]``; inf for
                none. Those after the end have no effect.
            centre: of the membranes' deviation, for every neuron, [all neurons]; None leaves it out.

        Raises:
            ShapeError, DTypeError, NonFiniteError, ParameterError: times or centre are not usable, or there are more
                than `most` spikes.
        """
        if not isinstance(times, Tensor) or times.dtype not in (torch.float32, torch.float64):
            raise DTypeError("EventProp: times must be a float32 or float64 tensor.")
        if times.ndim not in (2, 3) or times.shape[1] != self.inputs:
            raise ShapeError(
                f"EventProp: times has shape {tuple(times.shape)}; it must be [B, {self.inputs}] or "
                f"[B, {self.inputs}, k]."
            )
        if bool((times.isnan() | (times < 0)).any()):
            raise NonFiniteError("EventProp: an input time is NaN or negative; give ms from 0, or inf for no spike.")
        graph = self.graph()
        if centre is not None:
            if centre.shape != graph.theta.shape or not bool(torch.isfinite(centre).all()):
                raise ShapeError(f"EventProp: centre must be {len(graph.theta)} finite numbers, one per neuron.")
            if np.isclose(graph.tau_m, graph.tau_s, rtol=1e-3).any():
                raise ParameterError(
                    "EventProp: a membrane loss needs time constants of membrane and current that differ by more "
                    "than a thousandth."
                )
        flat = times.reshape(len(times), -1).double().cpu()
        weights = self.weights().cpu()
        if not bool(torch.isfinite(weights).all()):
            raise NonFiniteError("EventProp: a weight is not finite.")
        job = _Job(self, graph, None if centre is None else centre.detach().double().cpu().numpy(), [])
        kept = _Events.apply(weights, flat, job)  # type: ignore[no-untyped-call]
        found, deviations = (part.to(times.device) for part in kept)
        run = job.run[0]
        sample = torch.repeat_interleave(torch.arange(len(times)), torch.from_numpy(np.diff(run.begin)))
        ends = np.cumsum(self.sizes)
        layer = np.searchsorted(ends, run.neuron, side="right")
        neuron = run.neuron - np.concatenate([[0], ends])[layer]
        sample, layer, neuron = (
            part.to(times.device) for part in (sample, torch.from_numpy(layer), torch.from_numpy(neuron))
        )
        return SpikeTimes(found, sample, layer, neuron, self.duration, self.sizes, deviations)


@dataclass(frozen=True)
class _Job:
    """What a run needs beside its tensors; `run` receives what it gave."""

    rule: EventProp
    graph: Graph
    centre: Floats | None
    run: list[Any]


class _Events(torch.autograd.Function):
    """``apply(weights [K], times [B, E], job)`` -> spike times ``[P]``, deviations ``[B, N]``."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, times: Tensor, job: _Job) -> tuple[Tensor, Tensor]:
        order = torch.argsort(times, dim=1, stable=True)
        arriving = torch.isfinite(times)
        per_input = times.shape[1] // job.rule.inputs
        kept = arriving.gather(1, order)
        ctx.place = (order + torch.arange(len(times))[:, None] * times.shape[1])[kept]
        ctx.arrivals = Arrivals(
            times.gather(1, order)[kept].detach().numpy(),
            (order // per_input)[kept].numpy(),
            np.concatenate([[0], np.cumsum(arriving.sum(1).numpy())]),
        )
        rule = job.rule
        ctx.job, ctx.shape, ctx.weights = job, times.shape, weights.detach().numpy()
        run = rule.provider.forward(job.graph, ctx.weights, ctx.arrivals, rule.duration, job.centre, rule.most)
        if run is None:
            raise ParameterError(
                f"EventProp: more than most={rule.most} spikes in a batch; weights this strong make the network excite "
                "itself: make them smaller, or allow more."
            )
        job.run.append(run)
        return torch.from_numpy(run.times), torch.from_numpy(run.deviation)

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        job: _Job = ctx.job
        rule = job.rule
        g_times, g_deviations = (g.contiguous().numpy() for g in gradients)
        g_weights, g_arrivals = rule.provider.backward(
            job.graph, ctx.weights, ctx.arrivals, rule.duration, job.centre, job.run[0], g_times, g_deviations,
            rule.least,
        )  # fmt: skip
        g_input = torch.zeros(ctx.shape, dtype=torch.float64)
        g_input.view(-1)[ctx.place] = torch.from_numpy(g_arrivals)
        return torch.from_numpy(g_weights), g_input, None


def _checked(model: nn.Module) -> list[tuple[nn.Linear, LIF, Recurrent | None]]:
    """Return the layers of a model that the rule can act on, or say why it cannot."""
    accepted = "accepted is a Sequential of Linear(bias=False) and LIF (or Recurrent of LIF) in turn"
    layers = [layer for _, layer in in_order(model)] if isinstance(model, Sequential) else []
    if not layers or len(layers) % 2:
        raise UnsupportedLayerError(f"EventProp: {type(model).__name__} with {len(layers)} layers; {accepted}.")
    found: list[tuple[nn.Linear, LIF, Recurrent | None]] = []
    for i in range(0, len(layers), 2):
        linear, after = layers[i], layers[i + 1]
        biased = isinstance(linear, nn.Linear) and "bias" in dict(linear.named_parameters())
        neuron = after.neuron if isinstance(after, Recurrent) else after
        if not isinstance(linear, nn.Linear) or biased or type(neuron) is not LIF:
            names = f"layers {i} and {i + 1} are {type(linear).__name__} and {type(neuron).__name__}"
            raise UnsupportedLayerError(f"EventProp: {names}{', with a bias' if biased else ''}; {accepted}.")
        _check_neuron(neuron, f"layer {i + 1} (LIF)")
        if found and found[-1][0].out_features != linear.in_features:
            raise ShapeError(f"EventProp: layer {i} takes {linear.in_features} inputs, the layer before has others.")
        found.append((linear, neuron, after if isinstance(after, Recurrent) else None))
    return found


def _check_neuron(neuron: LIF, name: str) -> None:
    """Refuse a LIF that does not obey the equations of the rule."""
    receptor = neuron.receptors["input"] if list(neuron.receptors) == ["input"] else None
    if type(receptor) is not Exp:
        raise UnsupportedLayerError(
            f"EventProp: {name} needs one receptor, Exp (an exponentially decaying current); got "
            f"{[type(r).__name__ for r in neuron.receptors.values()]}."
        )
    if neuron.learnable or receptor.learnable:
        raise UnsupportedLayerError(f"EventProp: {name} has parameters to learn; the rule changes weights alone.")
    for parameter, wanted in (("r_m", 1.0), ("v_rest", 0.0), ("v_reset", 0.0), ("i_e", 0.0), ("t_ref", 0.0)):
        if bool((neuron.value(parameter) != wanted).any()):
            raise UnsupportedLayerError(
                f"EventProp: {name} has {parameter}={neuron.value(parameter).tolist()}; the rule's equations have "
                f"{wanted:g}."
            )
