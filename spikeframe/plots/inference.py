"""Pages of an event-driven run over a batch of inputs, and of anything that is counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikeframe import energy
from spikeframe.core.batch import BatchRun, Result
from spikeframe.core.counts import Counts
from spikeframe.core.embedding import synapses
from spikeframe.core.simulator import Simulator
from spikeframe.core.spikes import Spikes
from spikeframe.energy.measured import Joules
from spikeframe.energy.reports import energy as with_unit
from spikeframe.energy.timeline import Timeline
from spikeframe.errors import DTypeError, ParameterError
from spikeframe.kernels.chain import INPUT
from spikeframe.plots import figures as draw
from spikeframe.plots import page
from spikeframe.plots.report import replaced, spent
from spikeframe.plots.sections import (
    Link,
    activity_section,
    cloud,
    energy_section,
    membranes,
    wiring_section,
)

#: Neurons whose membrane a figure shows.
_TRACES = 5


def write_inference(
    path: str | Path, simulator: Simulator, result: Result, *, timeline: Timeline | None = None,
    joules: Joules | None = None, title: str = "Inference",
) -> Path:  # fmt: skip
    """Write the report of an event-driven run of a torch model, one HTML page that needs no other file.

    Args:
        path: of the page.
        simulator: that ran, of what `Network.from_module` gave.
        result: what its `run` returned.
        timeline: of the same run (`energy.over_steps`), for energy over time.
        joules: measured meanwhile (`energy.measured`).
        title: heading.

    Returns:
        The path.

    Raises:
        DTypeError: the simulator or the result is of another kind.
    """
    run = simulator._run if isinstance(simulator, Simulator) else None
    if not isinstance(run, BatchRun) or not isinstance(result, Result):
        raise DTypeError(
            "write_inference: needs a Simulator of a torch model and what its run returned; simulations of a described "
            "Network: write_simulation."
        )
    network, events = result.network, result.events
    frames = first_sample(result)
    sizes = {p.name: p.size for p in network.populations}
    spikes = {name: _of_first(found) for name, found in result.spikes.items()}
    names = ["input", *(p.name for p in network.populations)]
    body = [
        *_opening(title, result),
        *_input(frames, network.dt),
        *activity_section(spikes, {n: sizes[n] for n in spikes}, events.steps * network.dt, "Activity in one sample"),
        *_membranes(run, result, frames),
        *wiring_section(names, _links(result)),
        *spent(result.counts),
        *energy_section(result.counts, network.dt, timeline, joules),
    ]
    return replaced(Path(path), page.page(title, body))


def write_counts(
    path: str | Path, counts: Mapping[str, Counts], *, timeline: Timeline | None = None, joules: Joules | None = None,
    title: str = "Counted operations", about: str = "",
) -> Path:  # fmt: skip
    """Write the report of counted operations, e.g. of `energy.count`, of a training step, of mixtures of experts.

    Args:
        path: of the page.
        counts: per layer, e.g. the ``counts`` of event-driven layers by name.
        timeline: of the same run.
        joules: measured meanwhile (`energy.measured`).
        title: heading.
        about: a sentence on what was counted.

    Returns:
        The path.

    Raises:
        DTypeError: these are no counts.
        ParameterError: there are none.
    """
    if not isinstance(counts, Mapping) or not all(isinstance(c, Counts) for c in counts.values()):
        raise DTypeError(f"write_counts: needs Counts by layer, got {type(counts).__name__}.")
    if not counts:
        raise ParameterError("write_counts: no layer was counted.")
    body = [page.heading(title)]
    if about:
        body.append(page.paragraph(about, "lead"))
    body += [page.tiles(_tiles(counts)), *spent(counts), *energy_section(counts, None, timeline, joules)]
    return replaced(Path(path), page.page(title, body))


def _tiles(counts: Mapping[str, Counts]) -> list[str]:
    """Set what was done and saved, per sample."""
    samples = max((c.samples for c in counts.values()), default=0) or 1
    done = sum(c.syn_ac + c.syn_mac + c.dense_mac for c in counts.values()) / samples
    dense = sum(max(c.syn_ac_dense + c.syn_mac_dense, c.syn_ac + c.syn_mac) + c.dense_mac for c in counts.values())
    columns = energy.columns(counts, every_step=True)
    return [
        page.tile(
            f"{sum(c.spk_in for c in counts.values()) / samples:,.0f}", "events that entered a layer, per sample"
        ),
        page.tile(f"{done:,.0f}", "synaptic operations per sample"),
        page.tile(f"{100 * done * samples / max(dense, 1):.3g} %", "of what the same layers do if nothing is skipped"),
        page.tile(with_unit(columns.total.with_memory / samples), f"per sample, estimated: {columns.level}"),
    ]


def _opening(title: str, result: Result) -> Iterator[str]:
    """Say in a sentence and a few figures what ran."""
    network, events = result.network, result.events
    neurons = sum(p.size for p in network.populations)
    yield page.heading(title)
    words = f"{neurons:,} neurons in {len(network.populations)} layers, {events.samples:,} samples of {events.steps:,} "
    yield page.paragraph(words + f"steps of {network.dt:g} ms, event by event.", "lead")
    spikes = sum(c.spk_out for c in result.counts.values()) / max(events.samples, 1)
    yield page.tiles([page.tile(f"{spikes:,.0f}", "spikes per sample, all layers"), *_tiles(result.counts)])


def first_sample(result: Result) -> NDArray[np.int32]:
    """Return the first sample's input as counts, ``[T, ...]``.

    Args:
        result: of a run.
    """
    events, shape = result.events, result.network.input_shape
    frames = np.zeros((events.steps, prod(shape)), np.int32)
    if events.samples:
        last = int(events.start[events.steps])
        step = np.repeat(np.arange(events.steps), np.diff(events.start[: events.steps + 1]))
        np.add.at(frames, (step, events.source[:last]), events.count[:last])
    return frames.reshape(events.steps, *shape)


def _of_first(found: Spikes) -> Spikes:
    kept = found.samples == 0
    return Spikes(found.samples[kept], found.steps[kept], found.ids[kept], found.dt)


def _input(frames: NDArray[np.int32], dt: float) -> Iterator[str]:
    if frames.ndim == 4 and frames.shape[1] <= 2 and min(frames.shape[2:]) > 1 and frames.any():
        strip = draw.event_frames(np.abs(frames), dt_ms=dt)
        drawings = [page.figure(strip[0], "Input events: ON blue, OFF orange; no frame left out."), *cloud(frames, dt)]
        yield page.section("Input", page.figures(drawings))


def _membranes(run: BatchRun, result: Result, frames: NDArray[np.int32]) -> Iterator[str]:
    """Draw membranes of a few neurons of every layer, with their threshold, for the first sample."""
    if not result.events.samples or not result.events.steps:
        return
    traces = run.traces(frames[:, np.newaxis], most=_TRACES)
    drawings = []
    for population in result.network.populations:
        if population.name in traces:
            ids, values = traces[population.name]
            drawings.append(membranes(population.name, ids, values, population.threshold, result.network.dt))
    if drawings:
        yield page.section("Membranes in one sample", page.figures(drawings))


def _links(result: Result) -> list[Link]:
    """Return the synapses of every connection; place 0 is the input."""
    populations = result.network.populations
    names = ["input", *(p.name for p in populations)]
    sizes = [prod(result.network.input_shape), *(p.size for p in populations)]
    found = []
    for link in synapses(result.network):
        a, b = link.source - INPUT, link.target - INPUT
        late = f", {link.delay} step{'s' * (link.delay > 1)} later" if link.delay else ""
        found.append(Link(f"{names[a]} to {names[b]}{late}", a, b, link.weights, (sizes[a], sizes[b])))
    return found
