"""The meaning of a chain run: plain loops over samples, parts, steps, layers and events."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from spikeframe.kernels.chain import INPUT, Events, Layer, Link, Past, Trains, loops
from spikeframe.kernels.reference.steps import interpret
from spikeframe.kernels.steps import Array

#: Neurons and counts of the events of one step.
Sent = tuple[NDArray[np.int32], NDArray[np.int32]]


class ReferenceChain:
    """Every neuron is updated at every step."""

    def run(
        self, layers: list[Layer], events: Events, states: list[dict[str, Array]], past: Mapping[int, Past],
        threads: int,
    ) -> list[Trains]:  # fmt: skip
        """Run every sample (see `spikeframe.kernels.chain.ChainProvider`)."""
        sent: list[list[Sent]] = [[] for _ in layers]
        outputs = [np.zeros((events.samples, events.steps, layer.neurons), np.float32) for layer in layers]

        def arrived(link: Link, sample: int, t: int) -> Sent:
            """Return what a source had sent `link.delay` steps before step t."""
            at = t - link.delay
            if at >= 0 and link.source != INPUT:
                return sent[link.source][sample * events.steps + at]
            from_ = events if at >= 0 else past[link.source]
            place = sample * from_.steps + at % from_.steps
            span = slice(int(from_.start[place]), int(from_.start[place + 1]))
            return from_.source[span], from_.count[span]

        for sample in range(events.samples):
            for part in loops(layers):
                for t in range(events.steps):
                    for i in part:
                        layer = layers[i]
                        x = np.zeros(layer.neurons, np.float32)
                        for link in layer.links:
                            steps = [t]
                            if layer.window:
                                steps = list(range(events.steps)) if t == 0 else []
                            for step in steps:
                                for source, count in zip(*arrived(link, sample, step), strict=True):
                                    targets, weights = link.synapses.of(int(source))
                                    np.add.at(x, targets, weights * np.float32(count * link.unit))
                        if layer.bias is not None and (t == 0 or not layer.window):
                            x = x + layer.bias
                        outputs[i][sample, t] = _updated(layer, x, states[i], sample)
                        sent[i].append(_events(layer, outputs[i][sample, t]))
        finite = all(np.isfinite(values).all() for state in states for values in state.values())
        finite = finite and all(np.isfinite(output).all() for output in outputs)
        updates = [events.samples * events.steps * layer.neurons for layer in layers]
        return [_trains(*of, finite) for of in zip(layers, sent, outputs, updates, strict=True)]


def _updated(layer: Layer, x: Array, state: dict[str, Array], sample: int) -> Array:
    """Advance the neurons of one sample by a step; return their output."""
    values = {layer.program.names("input")[0]: x, **layer.coefficients}
    values |= {name: value[sample] for name, value in state.items()}
    results = interpret(layer.program, values, np.dtype(np.float32))
    out = np.broadcast_to(results.pop("out"), x.shape)
    for name, value in results.items():
        state[name][sample] = value
    return out


def _events(layer: Layer, out: Array) -> Sent:
    """Return what is sent of an output."""
    if layer.unit is None:
        return np.zeros(0, np.int32), np.zeros(0, np.int32)
    source = np.flatnonzero(out).astype(np.int32)
    with np.errstate(invalid="ignore"):  # what is not finite ends the run
        return source, np.rint(out[source] / np.float32(layer.unit)).astype(np.int32)


def _trains(layer: Layer, sent: list[Sent], output: Array, updates: int, finite: bool) -> Trains:
    start = np.concatenate([[0], np.cumsum([source.size for source, _ in sent])]).astype(np.int64)
    neuron, count = (np.concatenate([np.zeros(0, np.int32), *(s[k] for s in sent)]).astype(np.int32) for k in (0, 1))
    if layer.unit is None:
        return Trains(start, neuron, output, updates, finite)
    return Trains(start, neuron, None, updates, finite, count if not layer.program.spikes else np.zeros(0, np.int32))
