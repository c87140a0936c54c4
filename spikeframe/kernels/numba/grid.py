"""Runs of a recurrent network on the grid clock, compiled (see `spikeframe.kernels.grid`).

A driver is generated for the network's shape (its groups, bundles and stimuli) and calls fixed deliveries and the
groups' generated updates; sizes, delays and other numbers are its arguments, so that networks of one shape share it.
Each thread owns some parts: it delivers into them and updates their neurons, writes its spikes into an array of its
own, and meets the others once per smallest delay.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from spikeframe.kernels import source
from spikeframe.kernels.emit import identifier
from spikeframe.kernels.grid import (
    BLOCK,
    Bundle,
    Chunk,
    Group,
    Ints,
    Longs,
    Plan,
    State,
    dense_updates,
    kept_spikes,
)
from spikeframe.kernels.numba import lazy, plasticity, population, procedural
from spikeframe.kernels.numba.arguments import Table
from spikeframe.kernels.numba.crew import Crew
from spikeframe.kernels.numba.poisson import poisson_table
from spikeframe.kernels.numba.steps import per_neuron_names
from spikeframe.kernels.plasticity import Plastic, typed
from spikeframe.kernels.trace import Program

#: Spikes a thread may write before the run comes back to Python, per group.
_CAPACITY = 1 << 20

_DRIVER = '''"""Driver of a grid run: generated; do not edit."""

import numpy as np
from numba import njit

from spikeframe.kernels.numba.arguments import matrix, number, vector
from spikeframe.kernels.numba.barrier import meet
from spikeframe.kernels.numba.borrowing import BORROWING
from spikeframe.kernels.numba.delivery import arrive, collect, enter, fill, sample, sampled, shared, single
from spikeframe.kernels.numba.gap_junctions import couple, publish

from spikeframe.kernels.numba.stimuli import inject, inject_each, uniform
from spikeframe.kernels.numba.views import row, stretch
{imports}
{readers}


@njit(**BORROWING)
def drive(thread, threads, first, steps, {parameters}):
    """Run up to `steps` steps on one thread; returns the steps done."""
    {arguments}
    parts = cuts.shape[1] - 1
    p_lo, p_hi = parts * thread // threads, parts * (thread + 1) // threads
    {prologue}
    done = 0
    meeting = 0
    while done < steps:
        stop = min(steps, done + interval)
        {room}
        {publish}
        if threads > 1:
            meet(counter, threads, meeting)
        if full[meeting & 1]:
            break
        meeting += 1
        {enter}
        {jump}
        for t in range(done, stop):
            h = horizon + t
            step = first + t
            {before}
            for p in range(p_lo, p_hi):
                a = stretch(acc, offsets[p], offsets[p + 1])
                {body}
            {after}
        done = stop
    {finish}
    return done
'''

#: Places of the driver that statements are written to, with their indentation; `settled` ends `body`.
_LEVELS = {"imports": 0, "prologue": 1, "room": 2, "publish": 2, "enter": 2, "jump": 2, "before": 3, "body": 4,
           "settled": 4, "after": 3, "finish": 1}  # fmt: skip


def _indented(lines: list[str], levels: int) -> str:
    return ("\n" + "    " * levels).join(lines) or "pass"


class _Arguments(Table):
    """The driver's arguments."""

    def number(self, value: int) -> str:
        """Return the name of a whole number that networks of one shape need not share."""
        return self.add(f"number{len(self.lines)}", int(value))


def _program(group: Group) -> Program:
    """Return the traced step of a group that is no source."""
    if group.program is None:
        raise TypeError(f"{group.name} has no step: it is a source of spikes.")
    return group.program


def _update_call(group: Group, g: int, arguments: _Arguments, values: dict[str, Any]) -> list[str]:
    """Statements that bring group `g` to the end of the step in part `p`."""
    program = _program(group)
    per_neuron = per_neuron_names(program, group.coefficients)
    biased = group.bias is not None
    width = f"(hi{g} - lo{g})"
    lines = []
    call = []
    for name in population.parameters(program, group.receptors, per_neuron, biased):
        if name[:2] == "q_":
            r = [f"q_{identifier(x)}" for x in group.receptors].index(name)
            call.append(f"stretch(a, base{g} + {r} * {width}, base{g} + {r + 1} * {width})")
        else:
            call.append(arguments.add(f"g{g}_{name}", values[name]))
    lines.append(f"update{g}(lo{g}, hi{g}, g{g}_flags, {', '.join(call)})")
    if program.spikes:
        lines.append(f"n{g} = collect(lo{g}, hi{g}, g{g}_flags, g{g}_words, mine{g}, n{g})")
    return lines


def _values(
    group: Group, values: dict[str, Any], current: Any, randoms: list[Any], dtype: np.dtype[Any]
) -> dict[str, Any]:
    """Return the value of every parameter of a group's `update` that is not an accumulator."""
    program = _program(group)
    per_neuron = per_neuron_names(program, group.coefficients)
    found: dict[str, Any] = {"r_bias": group.bias}
    found |= {f"unit_{identifier(r)}": dtype.type(u) for r, u in zip(group.receptors, group.units, strict=True)}
    if group.current is not None:
        found[f"r_{identifier(group.current)}"] = current
    found |= {f"r_{identifier(n)}": v for n, v in zip(group.randoms, randoms, strict=True)}
    found |= {f"r_{identifier(s)}": values[s] for s in program.names("state")}
    for name in program.names("coefficient"):
        value = group.coefficients[name]
        found[f"r_{identifier(name)}" if name in per_neuron else identifier(name)] = (
            value if np.ndim(value) else value[()]
        )
    return found


class _Run:
    """One stretch of a run: its buffers, the driver's source and arguments."""

    def __init__(
        self, plan: Plan, state: State, steps: int, given: list[tuple[Longs, Ints] | None], threads: int,
        skipped: dict[int, lazy.Blocks],
    ) -> None:  # fmt: skip
        self.plan, self.state, self.threads, self.skipped = plan, state, threads, skipped
        self.horizon = plan.horizon
        self.arguments = _Arguments()
        self.acc = np.zeros(int(plan.offsets[-1]), np.int32 if plan.dtype == np.float32 else np.int64)
        # Rows of whole cache lines, and one more: no thread writes where another does.
        self.delivered = np.zeros((threads, len(plan.carriers) // 8 * 8 + 16), np.int64)
        self.arrivals = np.zeros((threads, len(plan.poisson) // 8 * 8 + 16), np.int64)
        self.text: dict[str, list[str]] = {name: [] for name in _LEVELS}
        self.own: dict[int, list[str]] = {}
        self.start: list[Longs] = []
        self.ids: list[Ints] = []
        for g, group in enumerate(plan.groups):
            self._buffers(g, group, steps, given[g])
        if skipped:
            self._skipping([spikes is not None for spikes in given])
        for g, group in enumerate(plan.groups):
            if group.program is not None:
                self.text["body"].append(f"lo{g}, hi{g}, base{g} = cuts[{g}, p], cuts[{g}, p + 1], bases[{g}, p]")
        self._counters()
        self.settling: list[str] = []
        self._deliveries()
        self._rows_drawn_again()
        self._stimuli(steps)
        self._gaps()
        self._groups()
        self.text["body"] += self.settling
        self.samples = [self._sample(i, steps) for i in range(len(plan.samples))]
        self.weights = [self._weight_sample(i, steps) for i in range(len(plan.weights))]

    def _counters(self) -> None:
        """Statements that count events and arrivals in local numbers."""
        counted = [(f"events{b}", f"delivered[thread, {b}]") for b in range(len(self.plan.carriers))]
        counted += [(f"arrived{i}", f"arrivals[thread, {i}]") for i in range(len(self.plan.poisson))]
        for name, total in counted:
            self.text["prologue"].append(f"{name} = 0")
            self.text["finish"].append(f"{total} += {name}")

    def _skipping(self, given: list[bool]) -> None:
        """Arguments and statements that lazy groups share."""
        for name, value in lazy.shared_arguments(self.plan, self.threads).items():
            self.arguments.add(name, value)
        for g, blocks in self.skipped.items():
            self.arguments.add(f"g{g}_size", self.plan.groups[g].size)
            for name in ("valid", "awake", "driven", "updates"):
                self.arguments.add(f"g{g}_{name}", getattr(blocks, name))
        names = "all_of, asleep, behind, mark_rows, mark_segments, next_arrival, next_sample"
        self.text["imports"].append(f"from spikeframe.kernels.numba.lazy import {names}")
        self.text["publish"].append("quiet[meeting & 1, thread] = asleep(awakes, p_lo, p_hi)")
        self.text["jump"] += lazy.jump_text(self.plan, given, self.skipped, self.arguments.number)
        self.text["settled"] += [
            "if reached[p]:",
            "    fill(row(touched, p), 0, touched.shape[1], 0)",
            "    reached[p] = 0",
        ]

    def _buffers(self, g: int, group: Group, steps: int, given: tuple[Longs, Ints] | None) -> None:
        """Lay the kept spikes of a group in front of those to come."""
        old_start, old_ids = self.state.start[g], self.state.ids[g]
        if given is not None:
            start = np.concatenate([old_start, old_start[-1] + given[0][1:]])[np.newaxis]
            ids = np.concatenate([old_ids, given[1]])[np.newaxis].astype(np.int32)
        else:
            emits = group.program is not None and group.program.spikes
            room = max(_CAPACITY, 4 * self.plan.interval * group.size) if emits else 0
            start = np.zeros((self.threads, self.horizon + steps + 1), np.int64)
            start[0, : self.horizon + 1] = old_start
            start[0, self.horizon + 1 :] = old_start[-1]
            ids = np.empty((self.threads, old_ids.size + room), np.int32)
            ids[0, : old_ids.size] = old_ids
        self.start.append(start)
        self.ids.append(ids)
        self.arguments.add(f"g{g}_start", start)
        self.arguments.add(f"g{g}_ids", ids)
        if given is None and group.program is not None and group.program.spikes:
            flags = np.zeros(-(-group.size // 8) * 8, np.uint8)
            self.arguments.add(f"g{g}_flags", flags)
            self.arguments.add(f"g{g}_words", flags.view(np.uint64))
            self.text["prologue"] += [f"mine{g} = row(g{g}_ids, thread)", f"n{g} = g{g}_start[thread, horizon]"]
            self.text["prologue"].append(f"own{g} = cuts[{g}, p_hi] - cuts[{g}, p_lo]")
            self.text["room"] += [f"if n{g} + (stop - done) * own{g} > mine{g}.size:", "    full[meeting & 1] = 1"]
            self.text["after"].append(f"g{g}_start[thread, h + 1] = n{g}")
        elif given is None:
            self.arguments.add(f"g{g}_flags", np.zeros(group.size, self.plan.dtype))

    def _deliveries(self) -> None:
        """Statements that deliver every bundle; those without delay come behind their group's update."""
        self.late: dict[int, list[str]] = {}
        for b, bundle in enumerate(self.plan.bundles):
            add, s = self.arguments.add, f"g{bundle.source}_"
            if bundle.plastic is not None:
                self._plastic(b, bundle, bundle.plastic)
                continue
            for name in ("start", "target", "weight"):
                add(f"b{b}_{name}", getattr(bundle, name))
            if bundle.delay is not None:
                weight = f"b{b}_weight"
                kind = "shared" if bundle.shared else "single"
                row = f"h - {self.arguments.number(bundle.delay)}" if bundle.delay else "h"
                spikes = f"{s}ids, {s}start, {row}"
                calls = [f"events{b} += {kind}({spikes}, row(b{b}_start, p), b{b}_target, {weight}, a)"]
                if self.skipped:
                    calls += [f"if {self._mark_rows(b, spikes)}:", "    reached[p] = 1"]
                if bundle.delay:
                    self.text["body"] += calls
                else:
                    fresh = (
                        [f"{s}start[thread, h + 1] = n{bundle.source}"]
                        if self.plan.groups[bundle.source].program
                        else []
                    )
                    self.late.setdefault(bundle.source, []).extend([*fresh, *calls])
                continue
            self._segments(b, bundle)

    def _plastic(self, b: int, bundle: Bundle, plastic: Plastic) -> None:
        """Statements that deliver plastic synapses and, when all neurons are updated, change them."""
        add, plan, rule, g = self.arguments.add, self.plan, plastic.rule, plastic.group
        found = plasticity.module(rule, plastic.by_source, plan.dtype)
        self.text["imports"].append(f"from {found.__name__} import transmit as transmit{b}, learn as learn{b}")
        shift = np.array([plan.first_neuron(g, plastic.receptor, p) for p in range(plan.parts)], np.int64)
        fixed = {"start": bundle.start, "target": bundle.target, "shift": shift, "rate": np.array(rule.rate),
                 "period": np.array(rule.period, np.int64), "c": typed(plastic, plan.dtype),
                 "gain": np.array(rule.gain, plan.dtype), "weight": bundle.weight,
                 "key": np.array([plastic.stream, plan.seed & 0xFFFFFFFF, plan.seed >> 32], np.uint32),
                 "per": plan.dtype.type(1.0 / plan.groups[g].units[plastic.receptor])}  # fmt: skip
        for name, value in fixed.items():
            add(f"b{b}_{name}", value)
        arrays = [
            f"row({name}, p)" if (n in rule.pre and plastic.by_source) or n in rule.whole else name
            for n, v in self.state.plastic[b].items()
            for name in [add(f"b{b}_r_{n}", v)]
        ]
        arrays += [add(f"b{b}_q_{n}", self.state.values[g][n]) for n in rule.states]
        rest = f"step, b{b}_rate, b{b}_period, b{b}_c"
        if bundle.delay is not None:
            spikes = f"g{bundle.source}_ids, g{bundle.source}_start, h - {self.arguments.number(bundle.delay)}"
            if self.skipped:
                self.text["body"] += [f"if {self._mark_rows(b, spikes)}:", "    reached[p] = 1"]
        else:
            cursors = self._cursors(b, bundle)
            spikes = f"h, g{bundle.source}_ids, row(b{b}_segments, p), b{b}_delay, b{b}_size, {cursors}"
            if self.skipped:
                self._mark_segments(b, cursors)
        self.text["body"].append(
            f"events{b} += transmit{b}({spikes}, row(b{b}_start, p), b{b}_target, b{b}_shift[p], lo{g}, hi{g}, {rest}, "
            f"b{b}_weight, b{b}_key, b{b}_per, a, {', '.join(arrays)})"
        )
        fired = "row(g0_ids, thread), 0, 0"
        if rule.watches:
            self.text["body"].append(f"before{g} = n{g}")
            fired = f"mine{g}, before{g}, n{g}"
        index = [add(f"b{b}_{n}", getattr(plastic, n)) for n in ("incoming_start", "incoming", "incoming_source")]
        self.settling.append(
            f"learn{b}({spikes}, row(b{b}_start, p), {fired}, {', '.join(index)}, lo{g}, hi{g}, {rest}, "
            f"b{b}_gain, {', '.join(arrays)})"
        )

    def _rows_drawn_again(self) -> None:
        """Arguments and statements of the synapses that are not stored."""
        if self.plan.regenerated:
            for name, value in procedural.arguments(self.plan, self.threads, self.acc).items():
                self.arguments.add(name, value)
        for place, lines in procedural.text(self.plan, bool(self.skipped), self.arguments.number).items():
            self.text[place] += lines

    def _segments(self, b: int, bundle: Bundle) -> None:
        """Statements for a bundle whose rows come in segments of one delay each."""
        cursors = self._cursors(b, bundle)
        if self.skipped:
            self._mark_segments(b, cursors)
        self.text["body"].append(
            f"events{b} += arrive(h, g{bundle.source}_ids, row(b{b}_segments, p), b{b}_delay, b{b}_size, "
            f"b{b}_target, b{b}_weight, {not bundle.shared}, {cursors}, a)"
        )

    @staticmethod
    def _mark_rows(b: int, spikes: str) -> str:
        return f"mark_rows({spikes}, row(b{b}_start, p), b{b}_target, row(touched, p))"

    def _mark_segments(self, b: int, cursors: str) -> None:
        self.text["body"] += [
            f"if mark_segments(h, b{b}_size, b{b}_target, {cursors}, row(touched, p)):",
            "    reached[p] = 1",
        ]

    def _cursors(self, b: int, bundle: Bundle) -> str:
        """Statements that give every new spike a cursor; returns the names of the cursors' arrays."""
        add, s, parts = self.arguments.add, f"g{bundle.source}_", self.plan.parts
        ids = self.ids[bundle.source]
        add(f"b{b}_segments", bundle.segment_start)
        add(f"b{b}_delay", bundle.segment_delay)
        add(f"b{b}_size", bundle.segment_size)
        add(f"b{b}_head", np.full((parts, bundle.delays[1] + self.plan.interval + 1), -1, np.int64))
        for name in ("following", "at_segment", "at_synapse"):
            add(f"b{b}_{name}", np.empty((parts, ids.size), np.int64))
        cursors = ", ".join(f"row(b{b}_{name}, p)" for name in ("head", "following", "at_segment", "at_synapse"))
        self.text["prologue"].append(f"entered{b} = 0")
        self.text["enter"] += [
            "for p in range(p_lo, p_hi):",
            f"    enter({s}ids, {s}start, entered{b}, horizon + done, horizon + done, row(b{b}_start, p), "
            f"row(b{b}_segments, p), b{b}_delay, b{b}_size, {cursors})",
            f"entered{b} = horizon + done",
        ]
        return cursors

    def _stimuli(self, steps: int) -> None:
        """Statements of the Poisson inputs and currents."""
        if self.plan.poisson:
            self.text["imports"].append("from spikeframe.kernels.numba.poisson import poisson_add, poisson_each")
        first = self.state.step
        for i, drive in enumerate(self.plan.poisson):
            g, number, add = drive.group, self.arguments.number, self.arguments.add
            if np.ndim(drive.rate):
                law = ", ".join(add(f"{n}{i}", a) for n, a in zip(("begin", "high", "low"), drive.laws, strict=True))
                call, table = "poisson_each", f"{law}, {number(drive.lo)}"
            else:
                call, table = "poisson_add", add(f"table{i}", poisson_table(drive.rate).arrays)
            lo, hi = f"max(lo{g}, {number(drive.lo)})", f"min(hi{g}, {number(drive.hi)})"
            offset = f"lo{g} - base{g} - {number(drive.receptor)} * (hi{g} - lo{g})"
            self.text["body"] += [
                f"if {number(drive.start)} <= step < {number(drive.stop)}:",
                f"    arrived{i} += {call}(a, {lo}, {hi}, {number(drive.weight)}, step, {table}, "
                f"{number(drive.stream)}, k0, k1, {offset})",
            ]
        self.current: dict[int, Any] = {}
        for g, group in enumerate(self.plan.groups):
            if group.current is not None:
                self.current[g] = np.zeros(group.size, self.plan.dtype)
                self.arguments.add(f"current{g}", self.current[g])
                self.text["body"].append(f"fill(current{g}, lo{g}, hi{g}, 0)")
        for i, injected in enumerate(self.plan.currents):
            g = injected.group
            at = np.arange(first, first + steps, dtype=np.int64)
            level = np.where((at >= injected.start) & (at < injected.stop), injected.amplitude(at), 0.0).astype(
                np.float64
            )
            number = self.arguments.number
            self.arguments.add(f"level{i}", level)
            self.arguments.add(f"sd{i}", float(injected.sd))
            call, here = "inject", f"level{i}[t]"
            if injected.levels is not None:
                each = self.arguments.add(f"levels{i}", np.asarray(injected.levels, np.float64))
                call, here = "inject_each", f"row({each}, np.int64({here}))"
            self.text["body"] += [
                f"if {number(injected.start)} <= step < {number(injected.stop)}:",
                f"    {call}(current{g}, lo{g}, hi{g}, {number(injected.lo)}, {number(injected.hi)}, "
                f"{here}, sd{i}, step, {number(injected.stream)}, k0, k1)",
            ]

    def _gaps(self) -> None:
        """Statements that add the currents through gap junctions and publish the membranes for the next step."""
        gaps = self.plan.gaps
        if gaps is None:
            return
        add = self.arguments.add
        names = [add(f"gap_{n}", getattr(gaps, n)) for n in ("start", "other", "conductance")]
        add("gap_v", np.tile(gaps.membranes(self.state.values), (2, 1)))
        for g in gaps.groups():
            v = add(f"gap_own{g}", self.state.values[g]["v"])
            at = self.arguments.number(int(gaps.first[g]))
            self.text["body"].append(
                f"couple(current{g}, lo{g}, hi{g}, {at}, row(gap_v, step & 1), {', '.join(names)})"
            )
            self.text["after"].append(
                f"publish({v}, cuts[{g}, p_lo], cuts[{g}, p_hi], {at}, row(gap_v, (step + 1) & 1))"
            )

    def _groups(self) -> None:
        """Statements that update every group, in order."""
        dtype = self.plan.dtype
        for g, group in enumerate(self.plan.groups):
            if group.program is not None:
                module = population.module(
                    group.program, group.receptors, group.coefficients, group.bias is not None, dtype
                )
                self.text["imports"].append(f"from {module.__name__} import update as update{g}")
                randoms = [np.zeros(group.size, dtype) for _ in group.randoms]
                for k, values in enumerate(randoms):
                    name = self.arguments.add(f"random{g}_{k}", values)
                    self.text["body"].append(
                        f"uniform({name}, lo{g}, hi{g}, step, {self.arguments.number(group.stream + k)}, k0, k1)"
                    )
                leaves = _values(group, self.state.values[g], self.current.get(g), randoms, dtype)
                if g in self.skipped:
                    self._lazy_group(g, group, leaves)
                else:
                    self.text["body"] += _update_call(group, g, self.arguments, leaves)
            self.text["body"] += self.late.get(g, [])

    def _lazy_group(self, g: int, group: Group, leaves: dict[str, Any]) -> None:
        """Arguments and statements of a group that is updated lazily."""
        per_neuron = per_neuron_names(_program(group), group.coefficients)
        names = population.parameters(_program(group), group.receptors, per_neuron, False)
        taken = {name: self.arguments.add(f"g{g}_{name}", leaves[name]) for name in names if name[:2] != "q_"}
        module = lazy.module(group, self.plan.dtype).__name__
        self.text["imports"].append(f"from {module} import rouse as rouse{g}, settle as settle{g}, tick as tick{g}")
        self.own[g] = [taken[name] for name in lazy.own_parameters(_program(group), per_neuron)]
        for place, lines in lazy.group_text(g, self.own[g], list(taken.values())).items():
            self.text[place] += lines

    def _sample(self, i: int, steps: int) -> Any:
        """Statements that write down one state variable; returns the rows they fill."""
        sample = self.plan.samples[i]
        rows = np.zeros((_samples(self.state.step, steps, sample.every), sample.ids.size), self.plan.dtype)
        values = self.arguments.add(f"s{i}_values", self.state.values[sample.group][sample.state])
        ids = self.arguments.add(f"s{i}_ids", sample.ids)
        out = self.arguments.add(f"s{i}_rows", rows)
        g = sample.group
        every = self.arguments.number(sample.every)
        self.text["after"] += [f"at = sampled(first, step, {every})", "if at >= 0:"]
        if g in self.skipped:
            watched = self.arguments.add(f"s{i}_blocks", np.unique(sample.ids // BLOCK))
            settle = lazy.settle_text(g, watched, self.own[g])
            self.text["after"] += [f"    {line}" for line in settle]
        self.text["after"].append(f"    sample({values}, {ids}, cuts[{g}, p_lo], cuts[{g}, p_hi], row({out}, at))")
        return rows

    def _weight_sample(self, i: int, steps: int) -> Any:
        """Statements that write down weights; returns the rows they fill."""
        sample = self.plan.weights[i]
        rows = np.zeros((_samples(self.state.step, steps, sample.every), sample.places.size), self.plan.dtype)
        places, out = self.arguments.add(f"w{i}_places", sample.places), self.arguments.add(f"w{i}_rows", rows)
        b, every = sample.bundle, self.arguments.number(sample.every)
        self.text["after"] += [
            f"at = sampled(first, step, {every})",
            "if at >= 0:",
            f"    sample(b{b}_r_w, {places}, b{b}_start[p_lo, 0], b{b}_start[p_hi - 1, -1], row({out}, at))",
        ]
        return rows

    def drive(self, steps: int) -> tuple[int, float]:
        """Run on all threads; returns the steps done and the seconds from when all ran."""
        self.text["body"] += self.text.pop("settled")
        text = {name: _indented(lines, _LEVELS[name]) for name, lines in self.text.items()}
        text["imports"] = "" if text["imports"] == "pass" else text["imports"] + "\n"
        plan, arguments = self.plan, self.arguments
        common = {
            "interval": plan.interval, "horizon": self.horizon, "counter": np.zeros(1, np.int64),
            "full": np.zeros(2, np.int64), "cuts": plan.cuts, "offsets": plan.offsets, "bases": plan.bases,
            "acc": self.acc, "delivered": self.delivered, "arrivals": self.arrivals,
            "k0": np.uint32(plan.seed & 0xFFFFFFFF), "k1": np.uint32(plan.seed >> 32),
        }  # fmt: skip
        for name, value in common.items():
            arguments.add(name, value)
        text["readers"] = "\n".join(arguments.readers.values())
        text["arguments"] = _indented(arguments.lines, 1)
        text["parameters"] = ", ".join(["table", *arguments.names])
        function = source.load(_DRIVER.format(**text), "grid").drive
        given = [arguments.words(), *arguments.values]
        if not function.signatures:
            with source.compiling("the simulation"):
                function(0, 1, self.state.step, 0, *given)

        def work(thread: int) -> tuple[int, float]:
            started = time.perf_counter()
            done = function(thread, self.threads, self.state.step, steps, *given)
            return int(done), time.perf_counter() - started

        if self.threads == 1:
            return work(0)
        with ThreadPoolExecutor(self.threads) as pool:
            done, seconds = zip(*pool.map(work, range(self.threads)), strict=True)
        return min(done), min(seconds)

    def counted(self) -> tuple[Longs, Longs]:
        """Return synaptic events per bundle and regenerated projection, and arrivals per Poisson input."""
        plan = self.plan
        return self.delivered.sum(axis=0)[: len(plan.carriers)], self.arrivals.sum(axis=0)[: len(plan.poisson)]

    def spikes(self, g: int, done: int) -> tuple[Longs, Ints]:
        """Return the new spikes of one group, by step, then in the order of their neurons."""
        start, ids = self.start[g], self.ids[g]
        window = start[:, self.horizon : self.horizon + done + 1]
        many = np.diff(window, axis=1)
        total = np.zeros(done + 1, np.int64)
        np.cumsum(many.sum(axis=0), out=total[1:])
        if start.shape[0] == 1:
            return total, ids[0, window[0, 0] : window[0, -1]].copy()
        merged = np.empty(total[-1], np.int32)
        place = total[:-1].copy()
        for thread in range(start.shape[0]):
            own = ids[thread, window[thread, 0] : window[thread, -1]]
            steps_of = np.repeat(np.arange(done), many[thread])
            within = np.arange(own.size) - np.repeat(window[thread, :-1] - window[thread, 0], many[thread])
            merged[place[steps_of] + within] = own
            place += many[thread]
        return total, merged


def _samples(first: int, steps: int, every: int) -> int:
    """Return how many multiples of `every` lie in (first, first + steps]."""
    return (first + steps) // every - first // every


class NumbaGrid:
    """Compiled grid runs (see `spikeframe.kernels.grid.GridProvider`).

    Args:
        skipping: leave neurons alone that nothing reaches (`spikeframe.kernels.numba.lazy`); changes no result.
    """

    def __init__(self, skipping: bool = True) -> None:
        self._skipping = lazy.Skipping(skipping)
        self._crew = Crew()

    speed = 1.0

    def parts(self, neurons: int, threads: int) -> int:
        """Return a part a thread."""
        return threads

    def run(self, plan: Plan, state: State, steps: int, given: list[tuple[Longs, Ints] | None], threads: int) -> Chunk:
        """Run up to `steps` steps."""
        most = min(threads, plan.parts)
        count, steps = self._crew.choose(most, steps)
        skipped = self._skipping.choose(plan, state, steps, given)
        run = _Run(plan, state, steps, given, count, skipped)
        done, seconds = run.drive(steps)
        self._crew.took(count, done, seconds)
        starts, ids = [], []
        for g in range(len(plan.groups)):
            start, neuron = run.spikes(g, done)
            kept_spikes(state, g, start, neuron, done)
            starts.append(start)
            ids.append(neuron)
        samples = []
        for sample, rows in zip(plan.samples, run.samples, strict=True):
            samples.append(rows[: _samples(state.step, done, sample.every)])
        weights = [
            rows[: _samples(state.step, done, sample.every)]
            for sample, rows in zip(plan.weights, run.weights, strict=True)
        ]
        state.step += done
        updates = [
            skipped[g].updates if g in skipped else dense_updates(group, done) for g, group in enumerate(plan.groups)
        ]
        if skipped:
            self._skipping.note(state, done, skipped)
        return Chunk(done, starts, ids, samples, *run.counted(), updates, weights)
