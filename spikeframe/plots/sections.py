"""Sections that pages of several kinds of run share: activity, connections, energy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikeframe import energy
from spikeframe.core.counts import Counts
from spikeframe.core.synapses import Weights
from spikeframe.energy.measured import Joules
from spikeframe.energy.reports import energy as with_unit
from spikeframe.energy.timeline import Timeline
from spikeframe.plots import activity, page, spending, wiring
from spikeframe.plots import figures as draw

#: Neurons of a population that the raster shows at most.
_ROWS = 100
#: Projections whose weights are drawn one by one.
_LINKS = 4


class Link(NamedTuple):
    """Synapses between two populations.

    Attributes:
        name: shown.
        source: place of the sending population.
        target: place of the receiving one.
        weights: the synapses.
        shape: neurons of both.
    """

    name: str
    source: int
    target: int
    weights: Weights
    shape: tuple[int, int]


def activity_section(
    spikes: Mapping[str, Any], sizes: Mapping[str, int], duration: float, title: str = "Activity", begin: float = 0.0,
    ids: Mapping[str, NDArray[np.int64]] | None = None,
) -> Iterator[str]:  # fmt: skip
    """Draw rasters, rates, intervals and irregularity of spikes.

    Args:
        spikes: `Spikes` per population.
        sizes: neurons per population.
        duration: ms.
        title: heading.
        begin: time at which the run began, ms.
        ids: neurons that were recorded, of populations of which not all were.
    """
    recorded = {name: found for name, found in spikes.items() if sizes[name]}
    if not recorded:
        yield page.section(title, page.paragraph("No spikes were recorded.", "note"))
        return
    dt = next(iter(recorded.values())).dt
    shown, rows, thinned = {}, {}, False
    for name, found in recorded.items():
        every = max(1, -(-sizes[name] // _ROWS))
        keep = found.ids % every == 0
        shown[name] = np.stack([found.steps[keep], found.ids[keep] // every], axis=1)
        rows[name], thinned = -(-sizes[name] // every), thinned or every > 1
    caption = "Every spike of an even choice of neurons." if thinned else "Every spike."
    width = max(dt, round(duration / 100.0 / dt) * dt)
    known = {name: (ids or {}).get(name, np.arange(sizes[name])) for name in recorded}
    rates = {n: np.bincount(s.ids, minlength=sizes[n])[known[n]] / (duration * 1e-3) for n, s in recorded.items()}
    many = {name: own.size for name, own in known.items()}
    drawings = [
        page.figure(draw.spike_raster(shown, sizes=rows, dt_ms=dt), caption),
        page.figure(
            activity.population_rates(recorded, many, width, span=(begin, begin + duration)),
            f"Mean rate of each population in bins of {width:g} ms.",
        ),
        page.figure(draw.rate_histogram(rates, unit="spikes/s"), "How many neurons fire at which rate."),
        page.figure(activity.interval_histogram(recorded), "Intervals between spikes of one neuron."),
        page.figure(activity.cv_histogram(recorded), "Coefficients of variation of neurons with at least ten spikes."),
    ]
    yield page.section(title, page.figures(drawings))


def wiring_section(names: Sequence[str], links: Sequence[Link]) -> Iterator[str]:
    """Draw who reaches whom, and weights.

    Args:
        names: of the populations.
        links: what joins them.
    """
    if not links:
        return
    matrix = np.zeros((len(names), len(names)))
    weights: dict[str, Any] = {}
    drawings = list[str]()
    for link in links:
        matrix[link.source, link.target] += link.weights.weight.size
        own = np.asarray(link.weights.weight, np.float64)
        weights[link.name] = np.concatenate([weights.get(link.name, np.zeros(0)), own])
        if len(drawings) < _LINKS and own.size:
            axes = wiring.weight_matrix(link.weights, shape=link.shape, title=link.name)
            drawings.append(page.figure(axes, f"Weights of {link.name} at the end of the run."))
    axes = wiring.connectivity_matrix(matrix, names)
    first = [page.figure(axes, "Stored synapses by population.")]
    shown = dict(list(weights.items())[:6])
    first.append(page.figure(wiring.weight_histogram(shown), "Weights at the end, in the receptors' units."))
    left = len(links) - len(drawings)
    note = [page.paragraph(f"{left} further projections are not drawn one by one.", "note")] if left > 0 else []
    yield page.section("Connections", page.figures([*first, *drawings]), *note)


def energy_section(
    counts: Mapping[str, Counts], dt: float | None, timeline: Timeline | None, joules: Joules | None
) -> Iterator[str]:
    """Show the three columns at three levels of memory, energy over time, and what was measured.

    Args:
        counts: per population or layer.
        dt: ms; None where steps have no length.
        timeline: of the same run.
        joules: measured meanwhile.
    """
    samples = max((c.samples for c in counts.values()), default=0) or 1
    pieces = [
        page.paragraph(
            f"Estimates from counts, {'per sample' if samples > 1 else 'of the whole run'}. The non-spiking network "
            "has the same weights and multiplies every input at every step. Break-even rate: spikes/s of every input "
            "at which both cost the same."
        )
    ]
    rows = []
    for memory in ("sram32k_fp32", "sram1m_fp32", "dram_fp32"):
        found = energy.columns(counts, memory=memory, every_step=True, dt=dt)
        row = found.total
        cells = [with_unit(pj / samples) for pj in (row.operations, row.with_memory, row.non_spiking)]
        ratio = "–" if row.ratio is None else f"{row.ratio:.3g} ×"
        rate = (
            "–"
            if row.break_even_rate is None
            else f"{row.break_even_rate:,.3g} /s"
            if row.break_even_rate < 1000
            else f"{row.break_even_rate:,.0f} /s"
        )
        rows.append((found.level, *cells, ratio, rate))
    head = ("memory", "operations only", "with memory", "non-spiking, every step", "ratio", "break-even rate")
    pieces.append(page.table(head, rows))
    columns = energy.columns(counts, every_step=True, dt=dt)
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


def cloud(frames: NDArray[Any], dt: float | None) -> list[str]:
    """Draw a sample's events in space and time; nothing where it is no film.

    Args:
        frames: ``[T, P, H, W]`` counts.
        dt: ms of a step; None: a step stands for one.
    """
    if frames.ndim != 4 or frames.shape[1] > 2 or min(frames.shape[2:]) < 2 or not frames.any():
        return []
    t, p, y, x = np.nonzero(frames)
    events = {"t": t * 1000.0 * (dt or 1.0), "x": x, "y": y, "p": p if frames.shape[1] > 1 else p + 1}
    return [page.figure(draw.event_cloud(events), "The same events in space and time.")]


def membranes(
    name: str, ids: NDArray[Any], values: NDArray[Any], threshold: float | None, dt: float | None
) -> str:  # fmt: skip
    """Draw membranes of some neurons of a layer.

    Args:
        name: of the layer.
        ids: the neurons.
        values: ``[T, neurons]``.
        threshold: theirs, or None.
        dt: ms of a step.
    """
    labels = [f"{name} {i}" for i in ids]
    axes = draw.membrane_traces(values, dt_ms=dt, threshold=threshold, labels=labels, unit="v")
    axes.set_title(f"{name}: membranes", loc="left", fontsize=10)
    return page.figure(axes, f"v of neurons of {name} after each step, reset included: those that spike most.")
