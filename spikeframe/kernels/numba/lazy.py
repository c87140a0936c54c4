"""Update skipping: blocks of neurons that nothing reaches and in which nobody can spike are left alone.

A block is in one of three conditions, looked at whenever it has been updated:

=======  =====================================================================  =======================================
awake    a spike could come without input, or something drives it               updated at every step
waiting  the model's `waits` says that no spike can come before the next input  caught up when it is reached, looked at,
                                                                                or at the end of a stretch
at rest  a step without input returned the very same bits, and no spike         nothing at all, until it is reached
=======  =====================================================================  =======================================

Catching up is the same update with zero input, so no bit depends on what was skipped. While everything waits and no
spike is under way, the driver jumps to the next step in which something can happen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spikeframe.kernels import source
from spikeframe.kernels.emit import NUMBA, identifier, result, statements
from spikeframe.kernels.grid import BLOCK, CurrentDrive, Group, Ints, Longs, Plan, PoissonDrive, State, blocks
from spikeframe.kernels.numba import population
from spikeframe.kernels.numba.borrowing import BORROWING
from spikeframe.kernels.numba.lean import lean_statements
from spikeframe.kernels.numba.steps import header, loads, per_neuron_names
from spikeframe.kernels.reference.steps import interpret
from spikeframe.kernels.trace import FLOAT, Program

#: Where each step's spikes begin, and their neurons.
Fired = tuple[Longs, Ints]
#: ``valid`` of a block at rest: it is up to date at every step.
REST = 1 << 62
#: A group is updated densely for a while after a stretch in which more than this fraction of all updates was done; at
#: all of them, looking at every block and marking what is reached cost some 25 %.
_BUSY = 0.7
#: Stretches' lengths after which a busy group is looked at again, at the most; doubled each time, from 1.
_PATIENCE = 64
#: About how many given spikes have their targets looked at before a stretch, and in how many parts of it.
_LOOKED_AT, _WINDOWS = 200, 8
#: Steps of catching up between two looks whether anything still changes.
_LOOK = 16

_MODULE = '''
from {home} import update
from spikeframe.kernels.numba.delivery import collect
from spikeframe.kernels.numba.lean import fma, wide
from spikeframe.kernels.numba.lazy import REST, first_block, touched_slots

B = np.int{bits}


@njit(**BORROWING | INNER)
def silent(lo, hi, steps, {own}):
    """Up to `steps` steps without input, in which nobody spikes; returns the steps done and whether it is at rest.

    Whether anything still changes is looked at in every {look}th step, from the first.
    """
    wide()
    {slices}
    k = 0
    while k < steps:
        stop = min(steps, k + {look})
        if stop - k == {look}:
            changed = B(0)
            for j in range(hi - lo):
                {looking_body}
                {store}
            k += 1
            if changed == 0:
                return k, True
        while k < stop:
            for j in range(hi - lo):
                {silent_body}
                {store}
            k += 1
    return steps, False


@njit(**BORROWING | INNER)
def resting(lo, hi, {own}):
    """Whether a step without input would change no bit and bring no spike."""
    changed = B(0)
    {slices}
    for j in range(hi - lo):
        {resting_body}
    return changed == 0


@njit(**BORROWING | INNER)
def waiting(lo, hi, {own}):
    """Whether nobody can spike without further input."""
    awake = I(0)
    {slices}
    for j in range(hi - lo):
        {waits_body}
        awake |= I(0) if {waits} else I(1)
    return awake == 0


@njit(**BORROWING | INNER)
def rouse(begin, end, size, valid, awake, driven, {own}):
    """Say which blocks of the neurons begin..end must be updated; returns their number."""
    many = 0
    for b in range(first_block(begin), first_block(end)):
        lo, hi = b * {block}, min(size, (b + 1) * {block})
        awake[b] = driven[b] or (valid[b] != REST and not waiting(lo, hi, {own}))
        many += awake[b]
    return many


@njit(**BORROWING | INNER)
def settle(begin, end, size, t, valid, updates, {own}):
    """Catch up the blocks of the neurons begin..end to the start of step t."""
    for b in range(first_block(begin), first_block(end)):
        if valid[b] < t:
            done, still = silent(b * {block}, min(size, (b + 1) * {block}), t - valid[b], {own})
            updates[b] += done
            valid[b] = REST if still else t


@njit(**BORROWING | INNER)
def tick(t, begin, end, size, base, a, some, touched, valid, awake, driven, updates, flags, words, mine, n,
         {parameters}):
    """Advance those blocks of the neurons begin..end that need it to the end of step t; `some`: any is touched.

    The slots of these neurons, the part's, begin in `a` at `base`. Returns the group's spikes so far and the number of
    blocks that are awake.
    """
    many, width = 0, end - begin
    for b in range(first_block(begin), first_block(end)):
        if not (some or awake[b]):
            continue
        lo, hi = b * {block}, min(size, (b + 1) * {block})
        at = base + lo - begin
        reached = False
        for r in range({receptors}):
            reached |= some and touched_slots(touched, at + r * width, at + r * width + hi - lo)
        if not (reached or awake[b]):
            continue
        if valid[b] < t:
            updates[b] += silent(lo, hi, t - valid[b], {own})[0]
        update(lo, hi, flags, {call})
        before = n
        n = collect(lo, hi, flags, words, mine, n)
        updates[b] += 1
        valid[b] = t + 1
        awake[b] = driven[b] or not waiting(lo, hi, {own})
        # The look costs an update: an awake block gets it now and then only.
        if awake[b] and not (driven[b] or reached or n > before) and t & 63 == 63:
            updates[b] += 1
            if resting(lo, hi, {own}):
                awake[b] = 0
                valid[b] = REST
        many += awake[b]
    return n, many
'''


@njit(**BORROWING, inline="always")
def touched_slots(touched, lo, hi):  # type: ignore[no-untyped-def]
    """Whether a spike reached the accumulator slots lo..hi, or a neighbour of theirs."""
    found = touched[lo >> 6]
    if hi > lo:
        found |= touched[(hi - 1) >> 6]
    return found != 0


@njit(**BORROWING)
def first_block(neuron):  # type: ignore[no-untyped-def]
    """Return the first block that begins at a neuron or behind it."""
    return (neuron + (BLOCK - 1)) // BLOCK


@njit(**BORROWING)
def asleep(awakes, p_lo, p_hi):  # type: ignore[no-untyped-def]
    """Whether no block of any group is awake in the parts p_lo..p_hi."""
    many = 0
    for g in range(awakes.shape[0]):
        for p in range(p_lo, p_hi):
            many += awakes[g, p]
    return many == 0


@njit(**BORROWING)
def all_of(flags):  # type: ignore[no-untyped-def]
    """Whether every thread said yes."""
    found = True
    for flag in flags:
        found &= flag != 0
    return found


@njit(**BORROWING)
def behind(blocks, neuron):  # type: ignore[no-untyped-def]
    """Return the place of the first of ascending blocks that begins at a neuron or behind it."""
    return np.searchsorted(blocks, first_block(neuron))


@njit(**BORROWING)
def next_sample(step, every):  # type: ignore[no-untyped-def]
    """Return the first step from `step` on at whose end a sample is taken."""
    return (step // every + 1) * every - 1


@njit(**BORROWING)
def mark_rows(ids, start, h, rows, target, touched):  # type: ignore[no-untyped-def]
    """Mark what `shared` or `single` reach with the spikes of row `h`; returns whether they reach anything."""
    found = False
    for thread in range(start.shape[0]):
        for e in range(start[thread, h], start[thread, h + 1]):
            lo, hi = rows[ids[thread, e]], rows[ids[thread, e] + 1]
            found |= hi > lo
            for i in range(lo, hi):
                touched[target[i] >> 6] = 1
    return found


@njit(**BORROWING)
def mark_segments(now, size, target, head, following, at_segment, at_synapse, touched):  # type: ignore[no-untyped-def]
    """Mark what `arrive` is about to reach in row `now`; returns whether it reaches anything."""
    cursor = head[now % head.size]
    found = cursor >= 0
    while cursor >= 0:
        lo = at_synapse[cursor]
        for i in range(lo, lo + size[at_segment[cursor]]):
            touched[target[i] >> 6] = 1
        cursor = following[cursor]
    return found


@njit(**BORROWING)
def first_row(start, lo, hi):  # type: ignore[no-untyped-def]
    """Return the first of the rows lo..hi that holds a spike of any thread, or hi."""
    for thread in range(start.shape[0]):
        if start[thread, hi] > start[thread, lo]:
            hi = np.searchsorted(start[thread, lo : hi + 1], start[thread, lo], side="right") + lo - 1
    return hi


@njit(**BORROWING)
def next_arrival(start, now, known, shortest, longest):  # type: ignore[no-untyped-def]
    """Return a row, at least `now`, before which no spike arrives; spikes are known of the rows before `known`."""
    row = first_row(start, now - longest, known)
    return max(now, row + shortest) if row < known else REST


def own_parameters(program: Program, per_neuron: frozenset[str]) -> list[str]:
    """Return the parameters that a step without input needs: states, then coefficients.

    Args:
        program: the traced step.
        per_neuron: coefficients with one value per neuron.
    """
    names = [f"r_{identifier(s)}" for s in program.names("state")]
    return names + [f"r_{identifier(c)}" if c in per_neuron else identifier(c) for c in program.names("coefficient")]


@lru_cache(maxsize=256)
def _text(
    program: Program, waits: Program, receptors: tuple[str, ...], per_neuron: frozenset[str], home: str, bits: int
) -> str:
    """Source of the functions of one group; `home` is the module with its `update`."""
    taken = population.parameters(program, receptors, per_neuron, False)
    kinds = ("state", "coefficient")
    states = program.names("state")
    own = own_parameters(program, per_neuron)
    queues = [f"q_{identifier(r)}" for r in receptors]
    step = [*(f"{identifier(x)} = ZERO" for x in program.names("input")), *loads(program, kinds, per_neuron)]
    step += lean_statements(program, ())
    # Bits are compared, not values: -0 is not 0, and NaN stays itself.
    view = {leaf.name: "F({}).view(B)" if leaf.dtype == FLOAT else "{}" for leaf in program.leaves}
    same = [f"changed |= B({view[s].format(result(program, s))} ^ {view[s].format(identifier(s))})" for s in states]
    same.append(f"changed |= B({result(program, 'out')} != ZERO)")
    return _MODULE.format(
        home=home,
        bits=bits,
        own=", ".join(own),
        parameters=", ".join(n for n in taken if n[:2] != "q_"),
        call=", ".join(f"stretch(a, at + {queues.index(n)} * width, a.size)" if n[:2] == "q_" else n for n in taken),
        receptors=len(receptors),
        block=BLOCK,
        slices="\n    ".join(f"{n} = stretch({n}, lo, hi)" for n in own if n[:2] == "r_"),
        look=_LOOK,
        looking_body="\n                ".join([*step, *same]),
        store="\n                ".join(f"r_{identifier(s)}[j] = {result(program, s)}" for s in states),
        silent_body="\n                ".join(step),
        resting_body="\n        ".join([*step, *same]),
        waits_body="\n        ".join([*loads(waits, kinds, per_neuron), *statements(waits, NUMBA)]),
        waits=result(waits, "waits"),
    )


def functions(
    program: Program, waits: Program, receptors: tuple[str, ...], coefficients: Any, dtype: np.dtype[Any]
) -> Any:
    """Return the generated module with the lazy functions of neurons of one model, their plain `update` among them.

    Args:
        program: the traced step.
        waits: output ``"waits"``: no spike can come before the next input.
        receptors: inputs that come as accumulators.
        coefficients: scalar or one value per neuron.
        dtype: float type.
    """
    home = population.module(program, receptors, coefficients, False, dtype).__name__
    per_neuron = per_neuron_names(program, coefficients)
    text = _text(program, waits, receptors, per_neuron, home, dtype.itemsize * 8)
    return source.load(header("Lazy update of a group", dtype) + text, "lazy")


def module(group: Group, dtype: np.dtype[Any]) -> Any:
    """Return the generated module with the lazy functions of one group.

    Args:
        group: one that `can_wait`.
        dtype: float type.
    """
    if group.program is None or group.waits is None:
        raise TypeError(f"{group.name} cannot wait.")
    return functions(group.program, group.waits, group.receptors, group.coefficients, dtype)


def can_wait(group: Group) -> bool:
    """Whether blocks of a group may ever be left alone: its model has `waits`, and nothing acts at every step."""
    spikes = group.program is not None and group.program.spikes
    return spikes and group.waits is not None and group.bias is None and not group.randoms


@dataclass(eq=False)
class Blocks:
    """The blocks of one group during a stretch, ``[blocks]`` each.

    Attributes:
        valid: step of the stretch up to which each is updated, or `REST`.
        awake: whether it must be updated at every step.
        driven: whether a stimulus acts on it in this stretch.
        updates: steps that it was updated for.
    """

    valid: Longs
    awake: NDArray[np.uint8]
    driven: NDArray[np.uint8]
    updates: Longs


class Skipping:
    """Decides stretch by stretch which groups are run lazily, and remembers which blocks are at rest.

    A group is run lazily if it `can_wait`, unless stimuli drive most of its blocks. After a stretch in which it did
    most of its updates all the same (catching up among them), it is updated densely for 1, 2, 4, ..., 64 times as
    many steps before the next look. So it is, too, while most of its blocks are awake, or reached by given spikes again
    and again, when it has not been run lazily yet: there may be no need to compile that. As what is reached has to be
    marked at every delivery, at least half of all neurons must be in groups that are run lazily.

    Args:
        on: False: never.
    """

    def __init__(self, on: bool = True) -> None:
        self._on = on
        self._pause: dict[int, int] = {}
        self._left: dict[int, int] = {}
        self._tried: set[int] = set()
        self._rest: dict[int, NDArray[np.bool_]] = {}
        self._seen: tuple[State | None, int] = (None, 0)

    def choose(self, plan: Plan, state: State, steps: int, given: list[Fired | None]) -> dict[int, Blocks]:
        """Return the groups that are run lazily in the next stretch.

        Args:
            plan: the network.
            state: at its start.
            steps: of the stretch.
            given: per group, its spikes in the stretch and beyond if they come from outside.
        """
        if self._seen[0] is not state or self._seen[1] != state.step:
            self._rest = {}
        found = {}
        read = {b.plastic.group for b in plan.bundles if b.plastic is not None and b.plastic.rule.states}
        able = [
            g for g, group in enumerate(plan.groups) if self._on and can_wait(group) and group.size and g not in read
        ]
        reached: list[float] = []
        for g in able:
            group = plan.groups[g]
            driven = _driven(plan, g, state.step, state.step + steps)
            if driven.mean() > _BUSY:
                continue
            if self._left.get(g, 0) > 0:
                self._left[g] -= steps
                continue
            if g not in self._tried:
                reached = reached or _reached(plan, steps, given)
                if max(reached[g], (_awake(group, state.values[g]) | (driven != 0)).mean()) > _BUSY:
                    self._put_off(g, steps)
                    continue
            many = driven.size
            rest = self._rest.get(g, np.zeros(many, bool))
            valid = np.where(rest, REST, 0)
            found[g] = Blocks(valid, np.zeros(many, np.uint8), driven, np.zeros(many, np.int64))
        every = sum(group.size for group in plan.groups if group.program is not None)
        return found if 2 * sum(plan.groups[g].size for g in found) >= every else {}

    def note(self, state: State, steps: int, found: dict[int, Blocks]) -> None:
        """Take in how a stretch went.

        Args:
            state: at its end.
            steps: done.
            found: what `choose` returned.
        """
        self._seen = state, state.step
        self._rest = {g: b.valid == REST for g, b in found.items()}
        self._tried |= set(found)
        for g, b in found.items():
            if b.updates.sum() > _BUSY * b.updates.size * steps:
                self._put_off(g, steps)
            else:
                self._pause[g] = self._left[g] = 0

    def _put_off(self, g: int, steps: int) -> None:
        """Look at a busy group again after a while, twice as long as the last time."""
        self._pause[g] = min(_PATIENCE, 2 * self._pause.get(g, 0) or 1)
        self._left[g] = self._pause[g] * steps


def _awake(group: Group, values: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Say in which blocks of a group a spike could come without further input."""
    if group.waits is None:
        raise TypeError(f"{group.name} cannot wait.")
    found = np.zeros(blocks(group.size) * BLOCK, bool)
    leaves = {**dict.fromkeys(group.waits.names("input"), np.zeros(1)), **group.coefficients, **values}
    found[: group.size] = ~interpret(group.waits, leaves, np.dtype(np.float64))["waits"]
    return np.logical_or.reduceat(found, np.arange(0, found.size, BLOCK))


def _reached(plan: Plan, steps: int, given: list[Fired | None]) -> list[float]:
    """Say per group which fraction of its blocks given spikes reach, in the mean over the parts of a stretch."""
    found = [np.zeros((_WINDOWS, blocks(group.size)), bool) for group in plan.groups]
    for bundle in plan.bundles:
        if (spikes := given[bundle.source]) is None:
            continue
        some = np.arange(0, spikes[0][steps], int(spikes[0][steps]) // _LOOKED_AT + 1)
        ids, window = spikes[1][some], (np.searchsorted(spikes[0], some, side="right") - 1) * _WINDOWS // steps
        for p in range(plan.parts):
            many = bundle.start[p, ids + 1] - bundle.start[p, ids]
            rows = np.repeat(bundle.start[p, ids] - np.cumsum(many) + many, many) + np.arange(many.sum())
            slots, when = bundle.target[rows].astype(np.int64), np.repeat(window, many)
            for g, group in enumerate(plan.groups):
                lo, width = plan.bases[g, p], int(np.diff(plan.cuts[g, p : p + 2])[0])
                own = (slots >= lo) & (slots < lo + width * len(group.receptors))
                found[g][when[own], ((slots[own] - lo) % max(width, 1) + plan.cuts[g, p]) // BLOCK] = True
    return [float(each.mean()) if each.size else 0.0 for each in found]


def _driven(plan: Plan, g: int, first: int, stop: int) -> NDArray[np.uint8]:
    """Say on which blocks of a group a stimulus acts in the steps first..stop."""
    found = np.zeros(blocks(plan.groups[g].size), np.uint8)
    drives: list[PoissonDrive | CurrentDrive] = [*plan.poisson, *plan.currents]
    for drive in drives:
        if drive.group == g and drive.start < stop and first < drive.stop and drive.lo < drive.hi:
            found[drive.lo // BLOCK : blocks(drive.hi)] = 1
    if plan.gaps is not None and g in plan.gaps.groups():
        found[:] = 1
    return found


def shared_arguments(plan: Plan, threads: int) -> dict[str, Any]:
    """Return what a driver with lazy groups takes further.

    Args:
        plan: the network.
        threads: number of threads.
    """
    widest = int(np.diff(plan.offsets).max(initial=0))
    return {
        "touched": np.zeros((plan.parts, widest // 64 + 1), np.uint8),
        "reached": np.zeros(plan.parts, np.uint8),
        "awakes": np.zeros((len(plan.groups), plan.parts), np.int64),
        "quiet": np.zeros((2, threads), np.uint8),
    }


def group_text(g: int, own: list[str], parameters: list[str]) -> dict[str, list[str]]:
    """Return the statements of a lazy group, by their place in the driver.

    Args:
        g: index of a group that `can_wait`.
        own: what its functions take: states and coefficients.
        parameters: what its `tick` takes: everything but the accumulators.
    """
    own_part = f"cuts[{g}, p], cuts[{g}, p + 1], g{g}_size"
    marks = f"g{g}_valid, g{g}_awake, g{g}_driven"
    spikes = f"g{g}_flags, g{g}_words, mine{g}, n{g}"
    return {
        "prologue": [
            "for p in range(p_lo, p_hi):",
            f"    awakes[{g}, p] = rouse{g}({own_part}, {marks}, {', '.join(own)})",
        ],
        "body": [
            f"if reached[p] or awakes[{g}, p]:",
            f"    n{g}, awakes[{g}, p] = tick{g}(t, lo{g}, hi{g}, g{g}_size, base{g}, a, reached[p], row(touched, p), "
            f"{marks}, g{g}_updates, {spikes}, {', '.join(parameters)})",
        ],
        "finish": [
            "for p in range(p_lo, p_hi):",
            f"    settle{g}({own_part}, done, g{g}_valid, g{g}_updates, {', '.join(own)})",
        ],
    }


def settle_text(g: int, watched: str, own: list[str]) -> list[str]:
    """Statements that catch up the blocks `watched` (an ascending array) of group `g` to the end of step `t`."""
    return [
        f"for i in range(behind({watched}, cuts[{g}, p_lo]), behind({watched}, cuts[{g}, p_hi])):",
        f"    b = {watched}[i]",
        f"    settle{g}(b * {BLOCK}, (b + 1) * {BLOCK}, g{g}_size, t + 1, g{g}_valid, g{g}_updates, {', '.join(own)})",
    ]


def jump_text(plan: Plan, given: list[bool], lazy: dict[int, Blocks], number: Callable[[int], str]) -> list[str]:
    """Statements that go straight to the next step in which something can happen; none if that is every step.

    Args:
        plan: the network.
        given: per group, whether its spikes of the whole stretch are known.
        lazy: the groups that are run lazily.
        number: gives the driver's name of a whole number.
    """
    if any(group.program is not None and g not in lazy for g, group in enumerate(plan.groups)):
        return []
    if plan.gaps is not None or any(b.plastic is not None for b in plan.bundles):  # their state has steps of its own
        return []
    lines = ["if all_of(row(quiet, (meeting + 1) & 1)):", "    target = steps"]
    for b in plan.carriers:
        known = "horizon + steps" if given[b.source] else "horizon + done"
        lines.append(
            f"    target = min(target, next_arrival(g{b.source}_start, horizon + done, {known}, "
            f"{number(b.delays[0])}, {number(b.delays[1])}) - horizon)"
        )
    for sample in plan.samples:
        every = number(sample.every)
        lines.append(f"    target = min(target, next_sample(first + done, {every}) - first)")
    lines.append("    if target > done:")
    lines += [f"        fill(row(g{g}_start, thread), horizon + done + 1, horizon + target + 1, n{g})" for g in lazy]
    return [*lines, "        done = target", "        continue"]
