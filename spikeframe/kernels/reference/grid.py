"""The meaning of a grid run: plain loops over steps, groups, spikes and synapses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from spikeframe.kernels.grid import Bundle, Chunk, Ints, Longs, Plan, State, dense_updates, kept_spikes
from spikeframe.kernels.procedural import Regenerated
from spikeframe.kernels.reference import philox, plasticity
from spikeframe.kernels.reference.poisson import poisson_counts
from spikeframe.kernels.reference.procedural import Stored, stored
from spikeframe.kernels.reference.steps import interpret
from spikeframe.kernels.steps import Array


def _row(bundle: Bundle, part: int, source: int) -> list[tuple[int, int, int]]:
    """Return (slot, weight, delay) of every synapse of one row."""
    lo, hi = int(bundle.start[part, source]), int(bundle.start[part, source + 1])
    if bundle.delay is not None:
        delays = [bundle.delay] * (hi - lo)
    else:
        s = slice(int(bundle.segment_start[part, source]), int(bundle.segment_start[part, source + 1]))
        delays = np.repeat(bundle.segment_delay[s], bundle.segment_size[s]).tolist()
    weights = [int(bundle.weight[source])] * (hi - lo) if bundle.shared else bundle.weight[lo:hi].tolist()
    return list(zip(bundle.target[lo:hi].tolist(), weights, delays, strict=True))


class ReferenceGrid:
    """Every synapse of every kept spike is looked at in every step."""

    speed = 1.0

    def parts(self, neurons: int, threads: int) -> int:
        """Return a part a thread."""
        return threads

    def run(self, plan: Plan, state: State, steps: int, given: list[tuple[Longs, Ints] | None], threads: int) -> Chunk:
        """Run the steps (see `spikeframe.kernels.grid.GridProvider`)."""
        spikes = [[[] for _ in range(steps)] for _ in plan.groups]  # type: list[list[list[int]]]
        delivered = np.zeros(len(plan.bundles) + len(plan.regenerated), np.int64)
        drawn = [stored(link, plan.seed) for link in plan.regenerated]
        arrivals = np.zeros(len(plan.poisson), np.int64)
        samples: list[list[Array]] = [[] for _ in plan.samples]
        weights: list[list[Array]] = [[] for _ in plan.weights]
        for t in range(steps):
            acc = np.zeros(int(plan.offsets[-1]), np.int64)
            membranes = None if plan.gaps is None else plan.gaps.membranes(state.values)
            settling = []
            for b, bundle in enumerate(plan.bundles):
                if bundle.plastic is not None:
                    arrivals_here = self._arrivals(plan, state, bundle, spikes[bundle.source], t)
                    of_target = state.values[bundle.plastic.group]
                    change = plasticity.Step(plan, bundle, state.plastic[b], state.step + t, of_target)
                    delivered[b] += change.deliver(arrivals_here, acc)
                    settling.append((change, arrivals_here, bundle.plastic.group))
                elif bundle.delay != 0:
                    delivered[b] += self._deliver(plan, state, bundle, spikes[bundle.source], t, acc)
            for r, link in enumerate(plan.regenerated):
                sent = self._sent(plan, state, link, drawn[r], spikes[link.source], t, acc)
                delivered[len(plan.bundles) + r] += sent
            self._poisson(plan, state.step + t, acc, arrivals)
            for g, group in enumerate(plan.groups):
                given_here = given[g]
                if given_here is not None:
                    start, ids = given_here
                    spikes[g][t] = ids[start[t] : start[t + 1]].tolist()
                elif group.program is not None:
                    spikes[g][t] = self._update(plan, state, g, state.step + t, acc, membranes)
                for b, bundle in enumerate(plan.bundles):
                    if bundle.source == g and bundle.delay == 0:
                        delivered[b] += self._deliver(plan, state, bundle, spikes[g], t, acc)
            for change, arrivals_here, group_of in settling:
                change.settle(arrivals_here, spikes[group_of][t])
            for k, weight in enumerate(plan.weights):
                if (state.step + t + 1) % weight.every == 0:
                    weights[k].append(state.plastic[weight.bundle]["w"][weight.places].copy())
            for i, sample in enumerate(plan.samples):
                if (state.step + t + 1) % sample.every == 0:
                    samples[i].append(state.values[sample.group][sample.state][sample.ids].copy())
        starts, all_ids = [], []
        for g in range(len(plan.groups)):
            start = np.concatenate([[0], np.cumsum([len(s) for s in spikes[g]])]).astype(np.int64)
            ids = np.array([n for s in spikes[g] for n in s], np.int32)
            kept_spikes(state, g, start, ids, steps)
            starts.append(start)
            all_ids.append(ids)
        rows = [
            np.array(found, plan.dtype).reshape(len(found), sample.ids.size)
            for found, sample in zip(samples, plan.samples, strict=True)
        ]
        state.step += steps
        changed = [
            np.array(found, plan.dtype).reshape(len(found), weight.places.size)
            for found, weight in zip(weights, plan.weights, strict=True)
        ]
        updates = [dense_updates(group, steps) for group in plan.groups]
        return Chunk(steps, starts, all_ids, rows, delivered, arrivals, updates, changed)

    def _spikes(
        self, state: State, bundle: Bundle | Regenerated, new: list[list[int]], t: int
    ) -> Iterator[tuple[int, list[int]]]:
        """Return every age that a delay can have in step `t` of this stretch, with the sources that fired then."""
        start, ids = state.start[bundle.source], state.ids[bundle.source]
        horizon = start.size - 1
        for age in range(bundle.delays[0], bundle.delays[1] + 1):
            at = t - age
            if at >= 0:
                fired = new[at]
            elif horizon + at >= 0:
                fired = ids[start[horizon + at] : start[horizon + at + 1]].tolist()
            else:
                continue
            yield age, fired

    def _arrivals(
        self, plan: Plan, state: State, bundle: Bundle, new: list[list[int]], t: int
    ) -> list[plasticity.Arrival]:
        """Return part, source and synapses of what arrives in step `t` at plastic synapses."""
        found = []
        for age, fired in self._spikes(state, bundle, new, t):
            for source in fired:
                for part in range(plan.parts):
                    first = int(bundle.start[part, source])
                    delays = [delay for _, _, delay in _row(bundle, part, source)]
                    reached = first + np.flatnonzero(np.array(delays, np.int64) == age)
                    if reached.size or bundle.delay is not None:
                        found.append((part, source, reached))
        return found

    def _deliver(self, plan: Plan, state: State, bundle: Bundle, new: list[list[int]], t: int, acc: Longs) -> int:
        """Add what arrives in step `t` of this stretch; return the number of synaptic events."""
        events = 0
        for age, fired in self._spikes(state, bundle, new, t):
            for source in fired:
                for part in range(plan.parts):
                    for slot, weight, delay in _row(bundle, part, source):
                        if delay == age:
                            acc[plan.offsets[part] + slot] += weight
                            events += 1
        return events

    def _sent(
        self, plan: Plan, state: State, link: Regenerated, rows: Stored, new: list[list[int]], t: int, acc: Longs
    ) -> int:
        """Do the same for synapses that are not stored."""
        slots, events = self._slots(plan, link.group, link.receptor), 0
        for age, fired in self._spikes(state, link, new, t):
            for source in fired:
                if 0 <= source - link.source_at < link.sources:
                    for target, weight, delay in rows[source - link.source_at]:
                        if delay == age:
                            acc[slots[link.target_at + target]] += weight
                            events += 1
        return events

    def _slots(self, plan: Plan, g: int, receptor: int) -> Longs:
        """Return the accumulator of every neuron of a group for one receptor."""
        found = []
        for p in range(plan.parts):
            width = plan.cuts[g, p + 1] - plan.cuts[g, p]
            found.append(plan.offsets[p] + plan.bases[g, p] + receptor * width + np.arange(width))
        return np.concatenate(found).astype(np.int64)

    def _poisson(self, plan: Plan, step: int, acc: Longs, arrivals: Longs) -> None:
        for i, drive in enumerate(plan.poisson):
            if drive.start <= step < drive.stop:
                counts = poisson_counts(drive.rate, drive.lo, drive.hi, step, drive.stream, *_key(plan.seed))
                acc[self._slots(plan, drive.group, drive.receptor)[drive.lo : drive.hi]] += drive.weight * counts
                arrivals[i] += counts.sum()

    def _current(self, plan: Plan, g: int, step: int, membranes: Array | None) -> Array:
        """Return the sum of the injected currents, and of those through gap junctions."""
        total = np.zeros(plan.groups[g].size, plan.dtype)
        for drive in plan.currents:
            if drive.group == g and drive.start <= step < drive.stop:
                level = drive.amplitude(np.array([step], np.int64))[0]
                level = level if drive.levels is None else drive.levels[int(level)]
                noise = _words(drive.hi - drive.lo, drive.lo, step, drive.stream, plan.seed) if drive.sd else None
                value = level if noise is None else level + drive.sd * philox.normal64(noise[0], noise[1])
                total[drive.lo : drive.hi] += np.asarray(value, plan.dtype)
        if plan.gaps is not None and membranes is not None and g in plan.gaps.groups():
            total += plan.gaps.currents(g, membranes)
        return total

    def _update(self, plan: Plan, state: State, g: int, step: int, acc: Longs, membranes: Array | None) -> list[int]:
        """Bring one group to the end of a step; return who fired."""
        group = plan.groups[g]
        if group.program is None:
            return []
        values: dict[str, Any] = dict(group.coefficients) | dict(state.values[g])
        for r, (name, unit) in enumerate(zip(group.receptors, group.units, strict=True)):
            x = acc[self._slots(plan, g, r)].astype(plan.dtype) * plan.dtype.type(unit)
            values[name] = x + group.bias if r == 0 and group.bias is not None else x
        if group.current is not None:
            values[group.current] = self._current(plan, g, step, membranes)
        for k, name in enumerate(group.randoms):
            values[name] = philox.uniform32(_words(group.size, 0, step, group.stream + k, plan.seed)[0])
        results = interpret(group.program, values, plan.dtype)
        out = np.broadcast_to(results.pop("out"), (group.size,))
        for name, value in results.items():
            state.values[g][name][:] = value
        return np.flatnonzero(out != 0).tolist() if group.program.spikes else []


def _words(n: int, first: int, step: int, stream: int, seed: int) -> Any:
    """Return the random words of n neurons in one step."""
    neurons = np.arange(first, first + n)
    return philox.philox(step >> 32, step & 0xFFFFFFFF, neurons, stream, *_key(seed))


def _key(seed: int) -> tuple[int, int]:
    return seed & 0xFFFFFFFF, seed >> 32
