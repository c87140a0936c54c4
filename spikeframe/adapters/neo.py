"""Runs as Neo objects, for elephant and everything else that takes them; needs the extra ``neo``.

`to_neo` makes a block with one segment: a spike train for every neuron whose spikes were recorded, silent ones
included, and an analog signal for every recorded variable. `from_neo` makes given spikes of spike trains.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import neo
import numpy as np
import quantities as pq

from spikeframe.core.circuit import CircuitResult
from spikeframe.core.network import Network
from spikeframe.core.precise import PreciseResult
from spikeframe.core.stimulation import SpikeSource
from spikeframe.errors import DTypeError, EventError, ParameterError
from spikeframe.neurons import Neuron

#: Our units as `quantities` writes them.
_UNITS = {"mV": "mV", "pA": "pA", "nS": "nS", "ms": "ms"}


def to_neo(result: CircuitResult | PreciseResult, network: Network | None = None, t_start: float = 0.0) -> neo.Block:
    """Return what a run gave as a Neo block.

    Args:
        result: of a described network's run; its spikes must have been kept, not written to a file.
        network: what ran; gives the recorded variables their units. Without it they are dimensionless.
        t_start: time at which the run began, ms (0 for the first run of a simulator).

    Returns:
        A block with one segment. Trains are annotated with ``source_population`` and ``source_index``.

    Raises:
        DTypeError: it is no such result.
        ParameterError: its spikes went to a file.
    """
    if not isinstance(result, (CircuitResult, PreciseResult)):
        raise DTypeError(f"to_neo: got {type(result).__name__}; needs what Simulator.run gave for a described Network.")
    if (output := getattr(result, "output", None)) is not None:
        raise ParameterError(f"to_neo: the spikes went to {output}; run without output, or read that file.")
    block = neo.Block(name="spikeframe", duration=result.duration * pq.ms)
    segment = neo.Segment(name="run", index=0)
    block.segments.append(segment)
    stop = t_start + result.duration
    for name, spikes in result.spikes.items():
        order = np.lexsort((spikes.times, spikes.ids))
        times, edges = spikes.times[order], np.searchsorted(spikes.ids[order], np.arange(result.sizes[name] + 1))
        for i in range(result.sizes[name]):
            own = np.clip(times[edges[i] : edges[i + 1]], t_start, stop)  # a time may end a rounding error outside
            segment.spiketrains.append(
                neo.SpikeTrain(
                    own * pq.ms,
                    t_start=t_start * pq.ms,
                    t_stop=stop * pq.ms,
                    name=f"{name}[{i}]",
                    source_population=name,
                    source_index=i,
                )
            )
    for name, traces in getattr(result, "traces", {}).items():
        for variable, trace in traces.items():
            if trace.times.size:
                segment.analogsignals.append(_signal(name, variable, trace, _unit(network, name, variable)))
    for item in (*segment.spiketrains, *segment.analogsignals):
        item.segment = segment
    segment.block = block
    return block


def _signal(name: str, variable: str, trace: Any, unit: str) -> neo.AnalogSignal:
    values = trace.values[:, np.newaxis] if trace.values.ndim == 1 else trace.values
    ids = trace.ids if trace.values.ndim == 2 else np.array([-1])
    step = float(np.diff(trace.times[:2])[0]) if trace.times.size > 1 else float(trace.times[0])
    return neo.AnalogSignal(
        values, units=unit, t_start=trace.times[0] * pq.ms, sampling_period=step * pq.ms, name=f"{name}.{variable}",
        source_population=name, array_annotations={"source_index": ids},
    )  # fmt: skip


def _unit(network: Network | None, name: str, variable: str) -> str:
    """Return the unit of a variable as `quantities` knows it."""
    if variable == "rate":
        return "Hz"
    if network is None or name not in network.populations:
        return "dimensionless"
    neuron = network.populations[name].neuron
    unit = neuron.all_states()[variable].unit if isinstance(neuron, Neuron) else ""
    return _UNITS.get(unit, "dimensionless")


def from_neo(trains: neo.Segment | Iterable[neo.SpikeTrain], dt: float) -> SpikeSource:
    """Return spikes for a population of given ones, one neuron per train.

    Args:
        trains: spike trains, or a segment's.
        dt: time step of the simulation, ms; times are rounded to it.

    Returns:
        A source; its population has as many neurons as there are trains.

    Raises:
        DTypeError: it holds something else.
        EventError: a spike is not after time 0, or two of a train fall into one step.
    """
    found = list(trains.spiketrains if isinstance(trains, neo.Segment) else trains)
    steps, ids = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for i, train in enumerate(found):
        if not isinstance(train, neo.SpikeTrain):
            raise DTypeError(f"from_neo: train {i} is {type(train).__name__}; needs neo.SpikeTrain.")
        times = np.asarray(train.rescale("ms").magnitude, np.float64)
        own = np.rint(times / dt).astype(np.int64)
        if own.size and own.min() < 1:
            raise EventError(f"from_neo: train {i} has a spike at {times.min():g} ms; must be after 0 ms.")
        if np.unique(own).size != own.size:
            raise EventError(f"from_neo: train {i} has two spikes within one step of dt={dt:g} ms; give a smaller dt.")
        steps.append(own)
        ids.append(np.full(own.size, i))
    return SpikeSource(np.concatenate(steps) * dt, np.concatenate(ids))
