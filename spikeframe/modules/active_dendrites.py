r"""Active dendrites: neurons whose segments recognise sparse patterns of their inputs by NMDA spikes.

.. math:: o_{jk}(t) = \sum_i w_{jki} x_i(t), \qquad
          z_j(t) = 1 \text{ where } \max_k \max_{t - P < t' \le t} o_{jk}(t') \ge θ

Segment k of neuron j has s synapses on inputs of its own. Where those active within one step (dt is the window of
coincidence) reach θ, the segment emits an NMDA spike, whose plateau keeps the neuron active for P steps, this one among
them. One segment is enough: the neuron tells whether it sees any of its patterns (`store`; how reliably,
`spikeframe.modules.sdr` says; two patterns on one segment make a union).

==========  ======  ====  =======  ===========================================================================
argument    symbol  unit  default  meaning (range)
==========  ======  ====  =======  ===========================================================================
synapses    s                      per segment (at most the number of inputs)
threshold   θ                      active synapses of an NMDA spike (> 0, at most s)
dt          dt      ms    5        step (> 0)
plateau     P dt    ms    dt       how long an NMDA spike keeps the neuron active (a multiple of dt, from dt)
==========  ======  ====  =======  ===========================================================================

In training the gradient goes by the surrogate at ``max o - θ`` to the synapses of the one segment that had the largest
overlap; weights begin at 1 and stay on the inputs drawn at first. State: largest overlaps of the last P - 1 steps.
Cost of a step: clocked, neurons x segments x s multiply-accumulates; event-driven (`event_driven`) an accumulate per
event and synapse that listens to it and a compare per segment reached, nothing for the others. Reference: Ahmad and
Hawkins 2016, arXiv:1601.00720, who find thresholds of 8 to 20 of some 20 to 50 synapses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from spikeframe.errors import DTypeError, ParameterError, ShapeError, TimeGridError
from spikeframe.kernels.segments import provider
from spikeframe.modules.checks import positive, same_shape, steps_of, time_step, whole
from spikeframe.neurons.psn import _Threshold
from spikeframe.neurons.temporal import Temporal

Whole = NDArray[np.int64]


class DendriteState(NamedTuple):
    """State of neurons with active dendrites.

    Attributes:
        past: ``[P - 1, B, neurons]`` largest overlap of each of the last steps.
    """

    past: Tensor


class ActiveDendrites(Temporal):
    """Neurons with active dendritic segments.

    Called as ``z, state = layer(x, state)`` with ``x`` of shape ``[T, B, inputs]``, 0 or 1; z is ``[T, B, neurons]``.

    Args:
        inputs: number of input cells.
        neurons: number of neurons.
        segments: per neuron.
        synapses: per segment.
        threshold: θ.
        dt: step, ms.
        plateau: length of an NMDA spike, ms; dt if not given.
        surrogate: name or `Surrogate`; stands in for the derivative of the NMDA spike.
        seed: of the inputs that synapses are drawn on.

    Raises:
        ParameterError: a number out of its range; a threshold larger than the segments.
        TimeGridError: dt is not above 0, or the plateau no multiple of it from dt.
    """

    source: Tensor

    def __init__(
        self,
        inputs: int,
        neurons: int,
        segments: int,
        synapses: int,
        threshold: float,
        dt: float = 5.0,
        *,
        plateau: float | None = None,
        surrogate: Any = "atan",
        seed: int = 0,
    ) -> None:
        super().__init__()
        kind = type(self).__name__
        self.inputs, self.neurons = whole(f"{kind}(inputs)", inputs), whole(f"{kind}(neurons)", neurons)
        self.segments, self.synapses = whole(f"{kind}(segments)", segments), whole(f"{kind}(synapses)", synapses)
        if self.synapses > self.inputs:
            raise ParameterError(f"{kind}(synapses={synapses}): there are {inputs} inputs to make them on.")
        self.threshold = positive(f"{kind}(threshold)", threshold)
        if self.threshold > self.synapses:
            raise ParameterError(
                f"{kind}(threshold={threshold:g}): segments of {synapses} synapses never reach it; at most {synapses}."
            )
        self.dt = time_step(f"{kind}(dt)", dt)
        self.steps = int(steps_of(f"{kind}(plateau)", self.dt if plateau is None else float(plateau), self.dt))
        if self.steps < 1:
            raise TimeGridError(f"{kind}(plateau={plateau!r}): must be at least dt={self.dt:g} ms.")
        self.test = _Threshold(dt=1.0, surrogate=surrogate)
        random = np.random.Generator(np.random.Philox(key=whole(f"{kind}(seed)", seed, 0)))
        drawn = [random.choice(inputs, synapses, replace=False) for _ in range(neurons * segments)]
        self.register_buffer("source", torch.from_numpy(np.sort(drawn)).reshape(neurons, segments, synapses))
        self.weight = nn.Parameter(torch.ones(neurons, segments, synapses))

    @torch.no_grad()
    def store(self, neuron: int, segment: int, pattern: ArrayLike, seed: int = 0) -> None:
        """Put a segment's synapses on active cells of a pattern, with weight 1: it has learnt the pattern.

        Args:
            neuron: which neuron.
            segment: which of its segments.
            pattern: active inputs, at least as many as a segment has synapses.
            seed: of the sample of them.

        Raises:
            ParameterError: no such segment or input, or too few active inputs.
        """
        cells = np.unique(np.asarray(pattern))
        if not 0 <= whole("neuron", neuron, 0) < self.neurons or not 0 <= whole("segment", segment, 0) < self.segments:
            raise ParameterError(
                f"store(neuron={neuron}, segment={segment}): there are {self.neurons} neurons of {self.segments}."
            )
        if cells.size < self.synapses or cells.dtype.kind not in "iu":
            raise ParameterError(
                f"store: the pattern has {cells.size} different active inputs ({cells.dtype}); a segment takes "
                f"{self.synapses} whole numbers."
            )
        if not 0 <= cells.min() <= cells.max() < self.inputs:
            raise ParameterError(
                f"store: active inputs {cells.min()} to {cells.max()}; they are 0 to {self.inputs - 1}."
            )
        random = np.random.Generator(np.random.Philox(key=whole("seed", seed, 0)))
        chosen = np.sort(random.choice(cells, self.synapses, replace=False)).astype(np.int64)
        self.source[neuron, segment] = torch.from_numpy(chosen)
        self.weight[neuron, segment] = 1.0

    def overlaps(self, x: Tensor) -> Tensor:
        """Return the overlap of every segment.

        Args:
            x: ``[..., inputs]``.

        Returns:
            ``[..., neurons, segments]``.
        """
        dense = x.new_zeros(self.neurons * self.segments, self.inputs)
        dense = dense.scatter(1, self.source.flatten(0, 1), self.weight.to(x).flatten(0, 1))
        return (x @ dense.T).reshape(*x.shape[:-1], self.neurons, self.segments)

    def forward(self, x: Tensor, state: DendriteState | None = None) -> tuple[Tensor, DendriteState]:
        """Run over time.

        Args:
            x: ``[T, B, inputs]``.
            state: as returned by an earlier call, or None: no overlaps before.

        Returns:
            1 where a neuron is active, ``[T, B, neurons]``, and the final state.

        Raises:
            ShapeError, DTypeError, NonFiniteError: the input or state is not usable.
        """
        x = self._checked(x)
        kind = type(self).__name__
        if x.ndim != 3 or x.shape[2] != self.inputs:
            raise ShapeError(f"{kind}: the input has shape {tuple(x.shape)}; it must be [T, B, {self.inputs}].")
        shape = (self.steps - 1, x.shape[1], self.neurons)
        past = x.new_zeros(shape) if state is None else same_shape(f"{kind}: state 'past'", state.past, shape, x.dtype)
        best = torch.cat([past, self.overlaps(x).max(-1).values])
        after = DendriteState(best[len(x) :].detach())
        if not len(x):
            return x.new_zeros(0, x.shape[1], self.neurons), after
        return self.test(best.unfold(0, self.steps, 1).max(-1).values - self.threshold)[0], after

    def event_driven(self, backend: str = "auto") -> EventDrivenDendrites:
        """Return the event-driven run of the layer as it is now.

        Args:
            backend: ``"auto"``, ``"numba"`` or ``"reference"``.
        """
        return EventDrivenDendrites(self, backend)

    def extra_repr(self) -> str:
        """Show sizes and threshold."""
        return (
            f"{self.inputs}, {self.neurons} x {self.segments} segments of {self.synapses}, "
            f"threshold={self.threshold:g}, plateau={self.steps * self.dt:g} ms, dt={self.dt:g}"
        )


@dataclass(frozen=True, eq=False)
class DendriteRun:
    """What an event-driven run gave.

    Attributes:
        step: ``[spikes]`` step of every NMDA spike.
        neuron: ``[spikes]`` its neuron.
        segment: ``[spikes]`` its segment.
        active: ``[T, neurons]`` whether each neuron is active, as of the clocked run.
        operations: ``syn_ac`` (weights added), ``neu_cmp`` (segments compared), and ``dense_equiv_mac``, the
            multiply-accumulates of the clocked run.
    """

    step: Whole
    neuron: Whole
    segment: Whole
    active: NDArray[np.bool_]
    operations: dict[str, int]


class EventDrivenDendrites:
    """Neurons with active dendrites that count overlaps for active inputs only; synapses are copied when it is made.

    Args:
        layer: the neurons.
        backend: ``"auto"``, ``"numba"`` or ``"reference"``.

    Raises:
        BackendError, UnknownNameError: the backend is not available.
    """

    def __init__(self, layer: ActiveDendrites, backend: str = "auto") -> None:
        self.provider = provider(backend)
        self.shape = (layer.neurons, layer.segments, layer.synapses)
        self.inputs, self.threshold, self.steps = layer.inputs, layer.threshold, layer.steps
        source = layer.source.flatten().cpu().numpy()
        order = np.argsort(source, kind="stable")
        self.first = np.searchsorted(source[order], np.arange(layer.inputs + 1)).astype(np.int64)
        self.segment = np.ascontiguousarray(order // layer.synapses)
        self.weight = layer.weight.detach().double().flatten().cpu().numpy()[order]

    def __call__(self, step: ArrayLike, source: ArrayLike, steps: int) -> DendriteRun:
        """Run from rest on events.

        Args:
            step: step of every event, not falling.
            source: input of every event; one event per input and step.
            steps: T, number of steps.

        Raises:
            ShapeError, DTypeError, ParameterError, TimeGridError: the events are not usable.
        """
        neurons, segments, synapses = self.shape
        when, which = (np.asarray(c) if np.size(c) else np.zeros(0, np.int64) for c in (step, source))
        if when.ndim != 1 or when.shape != which.shape:
            raise ShapeError(f"events: steps {when.shape} and sources {which.shape} must be columns of one length.")
        if when.dtype.kind not in "iu" or which.dtype.kind not in "iu":
            raise DTypeError(f"events: steps are {when.dtype}, sources {which.dtype}; they must be whole numbers.")
        steps = whole("steps", steps, 0)
        if when.size and (when[0] < 0 or when[-1] >= steps or (np.diff(when.astype(np.int64)) < 0).any()):
            raise TimeGridError(f"events: steps must not fall and must be from 0 to {steps - 1}.")
        if which.size and not 0 <= which.min() <= which.max() < self.inputs:
            raise ParameterError(f"events: sources {which.min()} to {which.max()}; inputs are 0 to {self.inputs - 1}.")
        bounds = np.searchsorted(when, np.arange(steps + 1)).astype(np.int64)
        at, found, counts = self.provider.active(
            bounds, which.astype(np.int64), self.first, self.segment, self.weight, self.threshold, neurons * segments
        )
        neuron, segment = np.divmod(found, segments)
        change = np.zeros((steps + self.steps + 1, neurons), np.int64)  # plateaus begin and end
        np.add.at(change, (at, neuron), 1)
        np.add.at(change, (at + self.steps, neuron), -1)
        operations = {
            "syn_ac": int(counts[0]),
            "neu_cmp": int(counts[1]),
            "dense_equiv_mac": steps * neurons * segments * synapses,
        }
        return DendriteRun(at, neuron, segment, np.cumsum(change, 0)[:steps] > 0, operations)
