"""A trained network run event by event over a set of samples, and held against the torch forward."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikeframe.core import Counts, FeedForward, Result, Simulator, differing_spikes
from spikeframe.training.frames import FrameCache
from spikeframe.training.metrics import logits


@dataclass(frozen=True, eq=False)
class EventDriven:
    """What the event-driven run of a set gave.

    Attributes:
        predicted: chosen class of each sample, int64 [n].
        counts: operation counts by layer, summed over samples.
        differing: spikes and readout values that differ from the torch forward; None if it was not run.
        rates: mean spikes per sample of each neuron, by spiking layer, float64 [N].
    """

    predicted: Tensor
    counts: dict[str, Counts]
    differing: int | None
    rates: dict[str, NDArray[np.float64]]


def run_event_driven(
    network: FeedForward,
    data: FrameCache,
    *,
    batch_size: int = 50,
    threads: int | None = None,
    readout: str = "mean",
    compare: bool = True,
    progress: str | None = None,
) -> EventDriven:
    """Run every sample of a set event by event.

    Args:
        network: the network.
        data: samples to run.
        batch_size: samples held in memory at a time; changes no result.
        threads: threads of the simulator; None takes all cores.
        readout: how the output becomes a decision: ``"mean"``, ``"last"`` or ``"max"`` over time.
        compare: also run the torch forward and count what differs.
        progress: title of a progress bar on a terminal's stderr; None shows none.

    Returns:
        Decisions, counts, differences and rates.

    Raises:
        ExactnessError: a frame holds a larger count than the network was made for.
    """
    from tqdm import tqdm

    simulator = Simulator(network, threads=threads)
    sizes = {p.name: math.prod(p.shape) for p in network.populations if p.neuron.spiking}
    spikes = {name: np.zeros(size, np.int64) for name, size in sizes.items()}
    counts: dict[str, Counts] = {}
    predicted, differing = [], 0
    hidden = progress is None or not sys.stderr.isatty()
    bar: Any = tqdm(total=len(data), desc=progress, disable=hidden, leave=False, unit="sample")
    with bar:
        for x, _ in data.batches(batch_size):
            result = simulator.run(x)
            predicted.append(logits(torch.from_numpy(result.outputs), readout).argmax(1))
            for name, count in result.counts.items():
                counts[name] = counts[name] + count if name in counts else count
            for name, total in spikes.items():
                total += np.bincount(result.spikes[name].ids, minlength=len(total))
            if compare:
                differing += differing_spikes(network, x, result)
            bar.update(x.shape[1])
    rates = {name: total / len(data) for name, total in spikes.items()}
    return EventDriven(torch.cat(predicted), counts, differing if compare else None, rates)


def spike_pairs(result: Result) -> dict[str, NDArray[np.int64]]:
    """Return (step, neuron) pairs [n, 2] of every spike by layer.

    Args:
        result: run of one sample.
    """
    return {name: np.stack([train.steps, train.ids], axis=1) for name, train in result.spikes.items()}
