"""The meaning of a chain run: plain loops over samples, steps, layers and events."""

from __future__ import annotations

import numpy as np

from spikeframe.kernels.chain import Events, Layer, Trains
from spikeframe.kernels.reference.steps import interpret
from spikeframe.kernels.steps import Array


class ReferenceChain:
    """Every neuron is updated at every step."""

    def run(self, layers: list[Layer], events: Events, states: list[dict[str, Array]], threads: int) -> list[Trains]:
        """Run every sample (see `spikeframe.kernels.chain.ChainProvider`)."""
        spikes: list[list[Array]] = [[] for _ in layers]
        outputs = [np.zeros((events.samples, events.steps, layer.neurons), np.float32) for layer in layers]
        for sample in range(events.samples):
            for t in range(events.steps):
                place = sample * events.steps + t
                span = slice(int(events.start[place]), int(events.start[place + 1]))
                sources, counts = events.source[span], events.count[span]
                for i, layer in enumerate(layers):
                    x = np.zeros(layer.neurons, np.float32)
                    for source, count in zip(sources, counts, strict=True):
                        targets, weights = layer.synapses.of(int(source))
                        np.add.at(x, targets, weights * np.float32(count))
                    if layer.bias is not None:
                        x = x + layer.bias
                    values = {layer.program.names("input")[0]: x, **layer.coefficients}
                    values |= {name: value[sample] for name, value in states[i].items()}
                    results = interpret(layer.program, values, np.dtype(np.float32))
                    out = np.broadcast_to(results.pop("out"), x.shape)
                    for name, value in results.items():
                        states[i][name][sample] = value
                    outputs[i][sample, t] = out
                    sources = np.flatnonzero(out).astype(np.int32)
                    counts = np.ones(sources.size, np.int32)
                    spikes[i].append(sources)
        finite = all(np.isfinite(values).all() for state in states for values in state.values())
        finite = finite and all(np.isfinite(output).all() for output in outputs)
        trains = []
        for i, layer in enumerate(layers):
            start = np.concatenate([[0], np.cumsum([s.size for s in spikes[i]])]).astype(np.int64)
            neuron = np.concatenate([np.zeros(0, np.int32), *spikes[i]]).astype(np.int32)
            updates = events.samples * events.steps * layer.neurons
            if layer.program.spikes:
                trains.append(Trains(start, neuron, None, updates, finite))
            else:
                empty = np.zeros(events.samples * events.steps + 1, np.int64)
                trains.append(Trains(empty, np.zeros(0, np.int32), outputs[i], updates, finite))
        return trains
