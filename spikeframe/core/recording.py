"""What a run writes down, stretch by stretch: spikes, population rates, state variables, and what counts need."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeframe.core.layout import Laid, steps_of
from spikeframe.core.network import Network, Projection, Recorder
from spikeframe.core.sonata import SpikeWriter
from spikeframe.core.spikes import Spikes
from spikeframe.errors import TimeGridError
from spikeframe.kernels.grid import Chunk, Longs, dense_updates
from spikeframe.kernels.numba.recording import by_population

#: Steps and neurons of some spikes.
Fired = tuple[Longs, Longs]


@dataclass(frozen=True, eq=False)
class Trace:
    """A recorded state variable or rate.

    Attributes:
        times: ``[n]`` ms; the ends of a rate's bins.
        ids: ``[m]`` neurons.
        values: ``[n, m]``; of a rate ``[n]``, spikes/s, the mean over these neurons.
    """

    times: NDArray[np.float64]
    ids: Longs
    values: NDArray[Any]


@dataclass(eq=False)
class Bins:
    """Counts spikes in bins of time; the unfinished bin is carried on from run to run.

    Attributes:
        recorder: of whom.
        every: steps of a bin.
        open: spikes in the unfinished bin.
    """

    recorder: Recorder
    every: int
    open: int = 0

    def add(self, first: int, steps: int, when: Longs) -> Longs:
        """Return the spikes of the bins that end in a stretch.

        Args:
            first: step at which the stretch begins.
            steps: its length.
            when: the steps of its spikes.
        """
        bin_of_first = first // self.every
        counts = np.bincount(
            when // self.every - bin_of_first, minlength=(first + steps) // self.every - bin_of_first + 1
        )
        counts[0] += self.open
        self.open = int(counts[-1])
        return counts[:-1]

    def trace(self, first: int, stop: int, dt: float, counts: list[Longs]) -> Trace:
        """Return the rate in the bins that ended after step `first`, by step `stop`.

        Args:
            first: step.
            stop: step.
            dt: ms.
            counts: what `add` returned in between.
        """
        ends = np.arange(first // self.every + 1, stop // self.every + 1) * self.every
        ids = self.recorder.ids
        seconds = self.every * dt * 1e-3
        spikes = np.concatenate([np.zeros(0, np.int64), *counts])
        return Trace(np.asarray(ends * dt, np.float64), ids, spikes / (max(ids.size, 1) * seconds))


def rate_bins(network: Network, dt: float) -> list[Bins]:
    """Return empty bins for every recorded rate.

    Args:
        network: what is recorded.
        dt: ms.

    Raises:
        TimeGridError: a bin is no multiple of dt.
    """
    found = []
    for r in network.recorders:
        if r.variable == "rate":
            every = steps_of(f"record('rate', every) of {r.population.name!r}", float(r.every or 0.0), dt)
            if every < 1:
                raise TimeGridError(f"record('rate', every={r.every!r}): bins must be at least dt={dt:g} ms wide.")
            found.append(Bins(r, every))
    return found


class _Growing:
    """Steps and neurons of spikes, in arrays that grow when they are full: by a half, or to what the run will need."""

    def __init__(self) -> None:
        self.size = 0
        self._columns = np.zeros(0, np.int64), np.zeros(0, np.int64)

    def append(self, steps: Longs, ids: Longs, share: float) -> None:
        """Add some, with which this share of the run is over."""
        size = self.size + steps.size
        if size > self._columns[0].size:
            room = max(size + size // 2, int(min(1.1 * size / share, 4.0 * size)))  # no memory until it is written to
            wider = np.empty(room, np.int64), np.empty(room, np.int64)
            for old, new in zip(self._columns, wider, strict=True):
                new[: self.size] = old[: self.size]
            self._columns = wider
        for column, more in zip(self._columns, (steps, ids), strict=True):
            column[self.size : size] = more
        self.size = size

    def columns(self) -> Fired:
        """Return them."""
        return self._columns[0][: self.size], self._columns[1][: self.size]


class Recording:
    """Gathers what one run gives. With a file, spikes go there and are not kept.

    Args:
        network: what runs.
        laid: where everything is in it.
        dt: ms.
        first: step at which the run begins.
        steps: of the run.
        bins: of the recorded rates.
        file: takes the spikes.
        helpers: threads that take in what comes, while the next stretch runs elsewhere; 0: this thread does, at once.
            With a file, this thread waits for them, as writing can fail.

    Attributes (complete after `finish`):
        first: step at which the run begins.
        fired: per population, ``[size]`` how often each neuron has fired.
        delivered: synaptic events delivered.
        arrivals: Poisson arrivals per drive of the plan.
        updates: per group of the plan, the steps that each block of neurons was updated for.
    """

    def __init__(
        self, network: Network, laid: Laid, dt: float, first: int, steps: int, bins: list[Bins],
        file: SpikeWriter | None = None, helpers: int = 0,
    ) -> None:  # fmt: skip
        self._network, self._place, self._dt, self._file = network, laid.place, dt, file
        self.first, self._at, self._steps = first, first, steps
        self._listed = {r.population.name: r for r in network.recorders if r.variable == "spikes"}
        self._spikes = {name: _Growing() for name in self._listed}
        self._bins, self._counts = bins, [list[Longs]() for _ in bins]
        self._sampled = laid.plan.samples
        self._samples: list[list[NDArray[Any]]] = [[] for _ in self._sampled]
        self.fired = {p.name: np.zeros(p.size, np.int64) for p in network.populations.values()}
        self._bundles, self._wanted = laid.plan.bundles, laid.plan.weights
        self._weights: list[list[NDArray[Any]]] = [[] for _ in self._wanted]
        self.delivered, self.arrivals = 0, np.zeros(len(laid.plan.poisson), np.int64)
        self.updates = [dense_updates(group, 0) for group in laid.plan.groups]
        self._clerk = ThreadPoolExecutor(1) if helpers and file is None else None
        self._helpers, self._parts = ThreadPoolExecutor(helpers) if helpers else None, helpers
        self._pending: Future[None] | None = None

    def add(self, chunk: Chunk) -> None:
        """Take in the next stretch.

        Args:
            chunk: what it gave; nobody may change its arrays afterwards if a thread of its own takes it in.
        """
        self.finish()
        if self._clerk is None:
            self._take(chunk)
        else:
            self._pending = self._clerk.submit(self._take, chunk)

    def finish(self) -> None:
        """Wait until everything so far is taken in."""
        if self._pending is not None:
            self._pending.result()
            self._pending = None

    def _take(self, chunk: Chunk) -> None:
        fired, many = self._of(chunk)
        listed = {name: _chosen(fired[name], r) for name, r in self._listed.items()}
        if self._file is not None:  # first, as it alone can fail
            self._file.append(listed, self._at + chunk.steps)
        else:
            for name, spikes in listed.items():
                self._spikes[name].append(*spikes, (self._at + chunk.steps - self.first) / self._steps)
        for name, own in many.items():
            self.fired[name] += own
        for bins, counts in zip(self._bins, self._counts, strict=True):
            when, _ = _chosen(fired[bins.recorder.population.name], bins.recorder)
            counts.append(bins.add(self._at, chunk.steps, when))
        for rows, new in zip(self._samples, chunk.samples, strict=True):
            rows.append(new)
        for rows, new in zip(self._weights, chunk.weights, strict=True):
            rows.append(new)
        self.delivered += int(chunk.delivered.sum())
        self.arrivals += chunk.arrivals
        for total, new in zip(self.updates, chunk.updates, strict=True):
            total += new
        self._at += chunk.steps

    def _of(self, chunk: Chunk) -> tuple[dict[str, Fired], dict[str, Longs]]:
        """Return the spikes of every population, out of its group's, and how often each neuron has fired."""
        found: dict[str, Fired] = {}
        counted: dict[str, Longs] = {}
        for g, (start, ids) in enumerate(zip(chunk.start, chunk.ids, strict=True)):
            names = sorted((n for n, (group, _) in self._place.items() if group == g), key=lambda n: self._place[n][1])
            edges = np.cumsum([0, *(self._network.populations[n].size for n in names)])
            many = np.bincount(ids, minlength=edges[-1])
            counted |= {name: many[edges[i] : edges[i + 1]] for i, name in enumerate(names)}
            begin, when, who = by_population(start, ids, edges, self._at, self._helpers, self._parts)
            found |= {n: (when[begin[i] : begin[i + 1]], who[begin[i] : begin[i + 1]]) for i, n in enumerate(names)}
        return {name: found[name] for name in self._network.populations}, counted

    def spikes(self) -> dict[str, Spikes]:
        """Return the spikes that were kept, per population."""
        found = {}
        for name, kept in self._spikes.items() if self._file is None else ():
            found[name] = Spikes(np.zeros(kept.size, np.int64), *kept.columns(), self._dt)
        return found

    def traces(self) -> dict[str, dict[str, Trace]]:
        """Return state variables and rates, per population and name."""
        found: dict[str, dict[str, Trace]] = {}
        recorders = [r for r in self._network.recorders if r.variable not in ("spikes", "rate")]
        for r, sample, rows in zip(recorders, self._sampled, self._samples, strict=True):
            values = np.concatenate(rows) if rows else np.zeros((0, r.ids.size))
            ends = np.arange(self.first // sample.every + 1, self._at // sample.every + 1) * sample.every
            times = np.asarray(ends * self._dt, np.float64)
            found.setdefault(r.population.name, {})[r.variable] = Trace(times, r.ids, values)
        for bins, counts in zip(self._bins, self._counts, strict=True):
            rate = bins.trace(self.first, self._at, self._dt, counts)
            found.setdefault(bins.recorder.population.name, {})["rate"] = rate
        return found

    def weights(self) -> dict[Projection, Trace]:
        """Return the weights that were recorded, per projection and in its own order."""
        found = {}
        for r, sample, rows in zip(self._network.weight_recorders, self._wanted, self._weights, strict=True):
            ids = self._bundles[sample.bundle].weight[sample.places].astype(np.int64)
            order = np.argsort(ids)
            values = np.concatenate(rows)[:, order] if rows else np.zeros((0, ids.size))
            ends = np.arange(self.first // sample.every + 1, self._at // sample.every + 1) * sample.every
            found[r.projection] = Trace(np.asarray(ends * self._dt, np.float64), ids[order], values)
        return found


def _chosen(spikes: Fired, recorder: Recorder) -> Fired:
    """Return the spikes of the recorder's neurons only."""
    if recorder.ids.size == recorder.population.size:
        return spikes
    keep = np.isin(spikes[1], recorder.ids)
    return spikes[0][keep], spikes[1][keep]


def spike_sizes(network: Network) -> Mapping[str, int]:
    """Return the size of every population whose spikes are recorded.

    Args:
        network: what is recorded.
    """
    return {r.population.name: r.population.size for r in network.recorders if r.variable == "spikes"}
