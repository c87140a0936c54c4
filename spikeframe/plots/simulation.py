"""The one-page report of a simulation: what fired, how it is wired, what it spent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from spikeframe import energy
from spikeframe.core.circuit import CircuitResult
from spikeframe.core.network import Network
from spikeframe.core.simulator import Simulator
from spikeframe.energy.measured import Joules
from spikeframe.energy.reports import energy as with_unit
from spikeframe.energy.timeline import Timeline
from spikeframe.errors import DTypeError
from spikeframe.neurons import Neuron
from spikeframe.plots import figures as draw
from spikeframe.plots import page
from spikeframe.plots.report import replaced, spent
from spikeframe.plots.sections import Link, activity_section, energy_section, wiring_section

#: Traces that a figure shows.
_TRACES = 5


def write_simulation(
    path: str | Path, simulator: Simulator, result: CircuitResult, *, timeline: Timeline | None = None,
    joules: Joules | None = None, title: str = "Simulation",
) -> Path:  # fmt: skip
    """Write a simulation's report, one HTML page that needs no other file.

    Args:
        path: of the page.
        simulator: that ran, of a described network on the grid clock.
        result: what its `run` returned. Populations whose spikes were recorded appear in the figures.
        timeline: of the same run (`energy.over_time`), for energy over time.
        joules: measured meanwhile (`energy.measured`).
        title: heading.

    Returns:
        The path.

    Raises:
        DTypeError: the simulator or the result is of another kind.
    """
    described(simulator)
    if not isinstance(result, CircuitResult):
        raise DTypeError(f"write_simulation: result is {type(result).__name__}; needs what Simulator.run returned.")
    ids = {r.population.name: r.ids for r in described(simulator).recorders if r.variable == "spikes"}
    body = [
        *_opening(title, simulator, result),
        *activity_section(result.spikes, result.sizes, result.duration, begin=result.start, ids=ids),
        *_membranes(described(simulator), result),
        *wiring_section(list(described(simulator).populations), _links(simulator)),
        *spent(result.counts, "population"),
        *energy_section(result.counts, float(getattr(simulator.circuit, "dt", 0.0)) or None, timeline, joules),
        *_description(simulator),
    ]
    return replaced(Path(path), page.page(title, body))


def described(simulator: Simulator) -> Network:
    """Return the described network that a simulator runs.

    Args:
        simulator: what runs it.

    Raises:
        DTypeError: it runs a torch model.
    """
    if not isinstance(simulator, Simulator) or not isinstance(simulator.network, Network):
        raise DTypeError("write_simulation: needs a Simulator of a described Network; runs of training: write_report.")
    return simulator.network


def _opening(title: str, simulator: Simulator, result: CircuitResult) -> Iterator[str]:
    """Say in a sentence and a few figures what ran."""
    network = described(simulator)
    neurons = sum(int(p.size) for p in network.populations.values() if isinstance(p.neuron, Neuron))
    synapses = sum(c.weights for c in result.counts.values())
    yield page.heading(title)
    words = f"{neurons:,} neurons in {len(result.sizes)} populations with {synapses:,} synapses, run for "
    yield page.paragraph(words + f"{result.duration:g} ms of model time, event by event.", "lead")
    spikes, seconds = result.total_spikes, result.duration * 1e-3
    total = sum(result.sizes.values())
    items = [
        page.tile(f"{spikes:,}", "spikes"),
        page.tile(f"{spikes / max(total * seconds, 1e-12):.3g} /s", "mean rate of a neuron"),
        page.tile(f"{result.delivered:,}", f"synaptic events delivered; {result.in_flight:,} under way at the end"),
    ]
    columns = energy.columns(result.counts, every_step=True)
    items.append(page.tile(with_unit(columns.total.with_memory), f"estimated: {columns.level}"))
    yield page.tiles(items)


def _membranes(network: Network, result: CircuitResult) -> Iterator[str]:
    """Draw recorded variables, membranes with their threshold."""
    drawings = []
    for name, traces in result.traces.items():
        for variable, trace in traces.items():
            if trace.values.ndim != 2 or not trace.values.size:
                continue
            neuron = network.populations[name].neuron
            unit = neuron.all_states()[variable].unit if isinstance(neuron, Neuron) else ""
            level = None
            if variable == "v" and isinstance(neuron, Neuron) and "v_th" in neuron.PARAMETERS:
                values = neuron.on_host("v_th").numpy().ravel()
                level = float(values[0]) if (values == values[0]).all() else None
            labels = [f"{name} {i}" for i in trace.ids[:_TRACES]]
            words = f"{variable} ({unit})" if unit else variable
            some = replace(trace, ids=trace.ids[:_TRACES], values=trace.values[:, :_TRACES])
            axes = draw.membrane_traces(some, threshold=level, labels=labels, unit=words)
            axes.set_title(f"{name}: {variable}", loc="left", fontsize=10)
            drawings.append(page.figure(axes, f"{variable} of {len(labels)} neurons of {name}."))
    if drawings:
        yield page.section("State variables", page.figures(drawings))


def _links(simulator: Simulator) -> list[Link]:
    """Return the stored projections with their weights as they are now."""
    network = described(simulator)
    names: list[str] = list(network.populations)
    return [
        Link(
            link.name, names.index(link.source.name), names.index(link.target.name), simulator.weights(link),
            (link.source.size, link.target.size),
        )
        for link in network.projections if not link.procedural
    ]  # fmt: skip


def _description(simulator: Simulator) -> Iterator[str]:
    """List populations and projections."""
    network = described(simulator)
    populations = [
        (p.name, f"{p.size:,}", type(p.neuron).__name__, _parameters(p.neuron)) for p in network.populations.values()
    ]
    links = [
        (link.name, type(link.rule).__name__, _words(link.weight), _words(link.delay),
         "static" if link.synapse is None else type(link.synapse).__name__)
        for link in network.projections
    ]  # fmt: skip
    pieces = [
        page.details(
            "Populations", page.table(("population", "neurons", "model", "parameters"), populations, words=True)
        )
    ]
    if links:
        own = ("projection", "rule", "weight", "delay (ms)", "synapses")
        pieces.append(page.details("Projections", page.table(own, links, words=True)))
    facts = f"seed {network.seed} · dt {getattr(simulator.circuit, 'dt', 0.0):g} ms"
    yield page.section("What was simulated", page.paragraph(facts, "note"), *pieces)


def _parameters(neuron: Any) -> str:
    """List the parameters of a model that differ from their defaults."""
    if not isinstance(neuron, Neuron):
        rate = np.asarray(getattr(neuron, "rate", np.nan), np.float64)
        return f"rate={rate.mean():.4g} /s" if np.isfinite(rate).all() else ""
    found = []
    for name, row in neuron.PARAMETERS.items():
        values = neuron.on_host(name).numpy().ravel()
        if (values != row.default).any():
            text = f"{values[0]:.4g}" if (values == values[0]).all() else f"{values.min():.4g} to {values.max():.4g}"
            found.append(f"{name}={text}{' ' + row.unit if row.unit else ''}")
    return ", ".join(found)


def _words(value: Any) -> str:
    """Describe weights or delays."""
    if isinstance(value, np.ndarray):
        return f"{value.size:,} given, {value.min():.4g} to {value.max():.4g}" if value.size else "none"
    return f"{value.value:.4g}" if hasattr(value, "value") and not isinstance(value, Mapping) else str(value)
