"""The one-page report of a simulation: what fired, how it is wired, what it spent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from spikeframe.plots import activity, page, spending, wiring
from spikeframe.plots import figures as draw
from spikeframe.plots.report import replaced, spent

#: Neurons of a population that the raster shows at most, and traces that a figure shows.
_ROWS, _TRACES = 100, 5
#: Projections whose weights are drawn one by one.
_LINKS = 4


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
    body = [
        *_opening(title, simulator, result),
        *_activity(described(simulator), result),
        *_membranes(described(simulator), result),
        *_wiring(simulator),
        *spent(result.counts),
        *_energy(simulator, result, timeline, joules),
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


def _activity(network: Network, result: CircuitResult) -> Iterator[str]:
    """Draw rasters, rates, intervals and irregularity of the recorded spikes."""
    recorded = {name: spikes for name, spikes in result.spikes.items() if result.sizes[name]}
    if not recorded:
        yield page.section("Activity", page.paragraph("No spikes were recorded.", "note"))
        return
    dt = next(iter(recorded.values())).dt
    shown, sizes, thinned = {}, {}, False
    for name, spikes in recorded.items():
        every = max(1, -(-result.sizes[name] // _ROWS))
        keep = spikes.ids % every == 0
        shown[name] = np.stack([spikes.steps[keep], spikes.ids[keep] // every], axis=1)
        sizes[name], thinned = -(-result.sizes[name] // every), thinned or every > 1
    caption = "Every spike of an even choice of neurons." if thinned else "Every spike."
    width = max(dt, round(result.duration / 100.0 / dt) * dt)
    first = min((float(s.times.min()) for s in recorded.values() if len(s)), default=0.0)
    begin = float(np.floor((first - dt) / width) * width) if first > result.duration else 0.0
    rates = {
        name: np.bincount(s.ids, minlength=result.sizes[name]) / (result.duration * 1e-3)
        for name, s in recorded.items()
    }
    drawings = [
        page.figure(draw.spike_raster(shown, sizes=sizes, dt_ms=dt), caption),
        page.figure(
            activity.population_rates(recorded, result.sizes, width, span=(begin, begin + result.duration)),
            f"Mean rate of each population in bins of {width:g} ms.",
        ),
        page.figure(draw.rate_histogram(rates, unit="spikes/s"), "How many neurons fire at which rate."),
        page.figure(activity.interval_histogram(recorded), "Intervals between spikes of one neuron."),
        page.figure(activity.cv_histogram(recorded), "Coefficients of variation of neurons with at least ten spikes."),
    ]
    yield page.section("Activity", page.figures(drawings))


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
            step = float(np.diff(trace.times[:2])[0]) if trace.times.size > 1 else 1.0
            labels = [f"{name} {i}" for i in trace.ids[:_TRACES]]
            words = f"{variable} ({unit})" if unit else variable
            axes = draw.membrane_traces(
                trace.values[:, :_TRACES], dt_ms=step, threshold=level, labels=labels, unit=words
            )
            axes.set_title(f"{name}: {variable}", loc="left", fontsize=10)
            drawings.append(page.figure(axes, f"{variable} of {len(labels)} neurons of {name}."))
    if drawings:
        yield page.section("State variables", page.figures(drawings))


def _wiring(simulator: Simulator) -> Iterator[str]:
    """Draw who reaches whom, and weights as they are now."""
    network = described(simulator)
    links = [link for link in network.projections if not link.procedural]
    if not links:
        return
    names: list[str] = list(network.populations)
    matrix = np.zeros((len(names), len(names)))
    weights: dict[str, Any] = {}
    drawings = list[str]()
    for link in links:
        found = simulator.weights(link)
        matrix[names.index(link.source.name), names.index(link.target.name)] += found.weight.size
        weights[link.name] = np.concatenate([weights.get(link.name, np.zeros(0)), np.asarray(found.weight, np.float64)])
        if len(drawings) < _LINKS and found.weight.size:
            shape = link.source.size, link.target.size
            axes = wiring.weight_matrix(found, shape=shape, title=link.name)
            drawings.append(page.figure(axes, f"Weights of {link.name} at the end of the run."))
    axes = wiring.connectivity_matrix(matrix, names)
    first = [page.figure(axes, "Stored synapses by population.")]
    shown = dict(list(weights.items())[:6])
    first.append(page.figure(wiring.weight_histogram(shown), "Weights at the end, in the receptors' units."))
    left = len(links) - len(drawings)
    note = [page.paragraph(f"{left} further projections are not drawn one by one.", "note")] if left > 0 else []
    yield page.section("Connections", page.figures([*first, *drawings]), *note)


def _energy(
    simulator: Simulator, result: CircuitResult, timeline: Timeline | None, joules: Joules | None
) -> Iterator[str]:
    """Show the three columns at three levels of memory, energy over time, and what was measured."""
    dt = float(getattr(simulator.circuit, "dt", 0.0)) or None
    pieces = [
        page.paragraph(
            "Estimates from counts. The non-spiking network has the same weights and multiplies every input at every "
            "step. Break-even rate: spikes/s of every input at which both cost the same."
        )
    ]
    rows = []
    for memory in ("sram32k_fp32", "sram1m_fp32", "dram_fp32"):
        found = energy.columns(result.counts, memory=memory, every_step=True, dt=dt)
        row = found.total
        cells = [with_unit(pj) for pj in (row.operations, row.with_memory, row.non_spiking)]
        ratio = "–" if row.ratio is None else f"{row.ratio:.3g} ×"
        rate = "–" if row.break_even_rate is None else f"{row.break_even_rate:.3g} /s"
        rows.append((found.level, *cells, ratio, rate))
    head = ("memory", "operations only", "with memory", "non-spiking, every step", "ratio", "break-even rate")
    pieces.append(page.table(head, rows))
    columns = energy.columns(result.counts, every_step=True, dt=dt)
    drawings = []
    if columns.total.with_memory:
        caption = f"{columns.level}: three columns for each population."
        drawings.append(page.figure(spending.energy_columns(columns), caption))
    if timeline is not None:
        drawings.append(page.figure(spending.energy_over_time(timeline), "What the run costs while it goes on."))
    if drawings:
        pieces.append(page.figures(drawings))
    if joules is not None:
        pieces.append(page.paragraph(joules.words()))
    pieces.append(page.details("What the estimates leave out", page.bullets([columns.caveat])))
    yield page.section("Energy", *pieces)


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
