"""Plastic synapses of a grid run, compiled from the traced rule (see `spikeframe.kernels.plasticity`).

For every rule a module is generated with `transmit` (a step's arrivals) and `learn` (spikes of the targets, then the
traces of all who spiked). Both work on one part; a synapse belongs to the part of its target, so no two threads meet.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit

from spikeframe.kernels import source
from spikeframe.kernels.emit import NUMBA, identifier, result, statements
from spikeframe.kernels.numba.borrowing import BORROWING
from spikeframe.kernels.numba.exponential import exp64
from spikeframe.kernels.numba.steps import header
from spikeframe.kernels.plasticity import TINY, Traced
from spikeframe.kernels.trace import Program

_DIALECT = replace(NUMBA, spelling={**NUMBA.spelling, "log": "F(log64(np.float64({0})))"})

_MODULE = '''
from spikeframe.kernels.numba.philox import log64, philox, uniform32
from spikeframe.kernels.numba.plasticity import lifted, renewed

A = np.{integer}
{programs}

@njit(**BORROWING | INNER)
def transmit({spikes}, rows, target, shift, lo, hi, step, rate, period, c, place, key, per_unit, acc, {arrays}):
    """Deliver what arrives in this step; returns the number of synaptic events."""
    {renew}
    {lift}
    events = 0
    {arrivals}
    return events


@njit(**BORROWING | INNER)
def learn({spikes}, rows, mine, first, last, start_in, incoming, source_in, lo, hi, step, rate, period, c, gain,
          {arrays}):
    """Change weights at the spikes first..last of the targets `mine`, then the traces of all who spiked or follow."""
    {lift}
    {targets}
    {sources}
    {follow}
'''

_BY_SOURCE = """
for thread in range(start.shape[0]):
    for e in range(start[thread, h], start[thread, h + 1]):
        source = ids[thread, e]
        {row}"""

_ROW = """
{pre}
for i in range(rows[source], rows[source + 1]):
    {synapse}
events += rows[source + 1] - rows[source]"""

_CURSORS = """
cursor = head[h % head.size]
while cursor >= 0:
    at = at_synapse[cursor]
    for i in range(at, at + size[at_segment[cursor]]):
        {pre}
        {synapse}
    events += size[at_segment[cursor]]
    cursor = following[cursor]"""

_MOVE = """
cursor = head[h % head.size]
head[h % head.size] = -1
while cursor >= 0:
    behind = following[cursor]
    s, at = at_segment[cursor], at_synapse[cursor]
    for i in range(at, at + size[s]):
        {arrive}
    if s + 1 < segments[ids[cursor // ids.shape[1], cursor % ids.shape[1]] + 1]:
        slot = (h + delay[s + 1] - delay[s]) % head.size
        at_segment[cursor], at_synapse[cursor] = s + 1, at + size[s]
        following[cursor] = head[slot]
        head[slot] = cursor
    cursor = behind"""

_TARGETS = """
for f in range(first, last):
    j = mine[f]
    {post}
    {incoming}
    {fire}"""

_INCOMING = """
for k in range(start_in[j], start_in[j + 1]):
    i = incoming[k]
    {pre}
    {synapse}"""

ROW_SPIKES = "ids, start, h"
CURSOR_SPIKES = "h, ids, segments, delay, size, head, following, at_segment, at_synapse"


@njit(**BORROWING)
def lifted(step, rate, period):  # type: ignore[no-untyped-def]
    """Return what a stored trace is multiplied by when it is read, and when it is written."""
    phase = np.float64(step % period) * rate
    return exp64(-phase), exp64(phase)


@njit(**BORROWING)
def renewed(values, lo, hi, step, rate, period):  # type: ignore[no-untyped-def]
    """Scale the traces lo..hi back, where a new period begins with this step."""
    if step % period == 0:
        factor = values.dtype.type(exp64(-(np.float64(period) * rate)))
        for i in range(lo, hi):
            values[i] *= factor
            if abs(values[i]) < TINY:
                values[i] = 0.0


@njit(**BORROWING)
def incoming(rows, target, shift, start, place, source):  # type: ignore[no-untyped-def]
    """List the synapses of one part by target: into ``place[start[j]]`` and on, and move `start` along."""
    for i in range(rows.size - 1):
        for e in range(rows[i], rows[i + 1]):
            j = target[e] + shift
            place[start[j]] = e
            source[start[j]] = i
            start[j] += 1


def _indented(text: str, levels: int) -> str:
    lines = [line for line in text.split("\n") if line.strip()]
    return ("\n" + "    " * levels).join(lines) or "pass"


def _filled(template: str, **blocks: str) -> str:
    """Put blocks of statements into a template, each line as far in as its place."""
    lines = []
    for line in template.strip("\n").split("\n"):
        name = line.strip()[1:-1]
        if line.strip() == f"{{{name}}}" and name in blocks:
            margin = line[: len(line) - len(line.lstrip())]
            lines += [margin + inner for inner in blocks[name].split("\n") if inner.strip()]
        else:
            lines.append(line)
    return "\n".join(lines)


def _given(program: Program) -> str:
    """Return the arguments of a traced program."""
    return ", ".join(identifier(leaf.name) for leaf in program.leaves)


def _function(name: str, program: Program) -> str:
    """Return one traced program as a function of the traces it reads and the coefficients."""
    outputs = ", ".join(result(program, n) for n, _ in program.outputs)
    body = "\n    ".join([*statements(program, _DIALECT), f"return {outputs}"])
    return f"\n\n@njit(**BORROWING | INNER)\ndef {name}({_given(program)}):\n    {body}\n"


def _called(name: str, program: Program) -> str:
    """Return the statement that calls a traced program."""
    outputs = ", ".join(f"new_{n}" for n, _ in program.outputs)
    return f"{outputs} = {name}({_given(program)})"


def _loads(names: tuple[str, ...], index: str) -> str:
    return "\n".join(f"{identifier(n)} = r_{n}[{index}] * fall_{n}" for n in names)


def _stores(program: Program, index: str, names: tuple[str, ...]) -> str:
    """Return the statements that write back what a program changed."""
    found = [f"r_{n}[{index}] = new_{n} * lift_{n}" for n, _ in program.outputs if n in names]
    return "\n".join(found + ["r_w[i] = new_w"] * any(n == "w" for n, _ in program.outputs))


def _random(rule: Traced) -> list[str]:
    """Return the statements that draw the random numbers of an arrival at synapse `i`; a Philox call gives four."""
    lines = []
    for k, name in enumerate(rule.random):
        if k % 4 == 0:
            counter = f"({k // 4} << 16) + (step >> 32), step & 0xFFFFFFFF, place[i], key[0]"
            lines.append(f"word_0, word_1, word_2, word_3 = philox({counter}, key[1], key[2])")
        lines.append(f"{identifier(name)} = F(uniform32(word_{k % 4}))")
    return lines


def _synapse(rule: Traced, name: str, neuron: str) -> str:
    """Return the statements for synapse `i` whose target is `neuron`."""
    program = rule.program(name)
    if program is None:
        return ""
    lines = [f"j = {neuron}" if neuron != "j" else "", f"{identifier('w')} = r_w[i]"]
    lines += [_loads(rule.post, "j") if neuron != "j" else "", _loads(rule.own, "i")]
    lines += [f"{identifier(n)} = q_{n}[j]" for n in rule.state]
    lines += _random(rule) if name == "at_pre" else []
    lines += [_called(name, program), _stores(program, "i", rule.own)]
    if name == "at_pre":
        lines.append("acc[target[i]] += A(np.rint(new_sent * per_unit))")
    return "\n".join(lines)


@lru_cache(maxsize=64)
def _text(rule: Traced, by_source: bool, integer: str) -> str:
    where = "source" if by_source else "i"
    pre, arrive = _loads(rule.pre, where), rule.program("arrive")
    lift = [f"fall, lift = lifted(step, rate[{k}], period[{k}])\nfall_{n}, lift_{n} = F(fall), F(lift)"
            for k, n in enumerate(rule.traces)]  # fmt: skip
    lift += [f"{identifier(n)} = c[{k}]" for k, n in enumerate(rule.numbers)] + [_loads(rule.whole, "0")]
    spans = dict.fromkeys(rule.pre, "0, rows.size - 1" if by_source else "rows[0], rows[-1]")
    spans |= dict.fromkeys(rule.post, "lo, hi") | dict.fromkeys(rule.own, "rows[0], rows[-1]")
    spans |= dict.fromkeys(rule.whole, "0, 1")
    renew = [f"renewed(r_{n}, {spans[n]}, step, rate[{k}], period[{k}])" for k, n in enumerate(rule.traces)]
    synapse = _synapse(rule, "at_pre", "target[i] + shift")
    moved = "" if arrive is None else f"{pre}\n{_called('arrive', arrive)}\n{_stores(arrive, where, rule.pre)}"
    if by_source:
        arrivals = _filled(_BY_SOURCE, row=_filled(_ROW, pre=pre, synapse=synapse))
        sources = _filled(_BY_SOURCE, row=moved) if moved else ""
    else:
        arrivals, sources = _filled(_CURSORS, pre=pre, synapse=synapse), _filled(_MOVE, arrive=moved or "pass")
    fire = rule.program("fire")
    fired = "" if fire is None else f"{_called('fire', fire)}\n{_stores(fire, 'j', rule.post)}"
    before = _synapse(rule, "at_post", "j")
    at = "source_in[k]" if by_source else "i"
    inner = _filled(_INCOMING, pre=_loads(rule.pre, at), synapse=before) if before else ""
    targets = _filled(_TARGETS, post=_loads(rule.post, "j"), incoming=inner, fire=fired) if rule.watches else ""
    follow = [f"    r_{n}[j] += gain[{k}] * q_{v}[j] * lift_{n}" for k, (n, v) in enumerate(rule.follow)]
    arrays = [f"r_{n}" for n in ("w", *rule.traces)] + [f"q_{n}" for n in rule.states]
    return _MODULE.format(
        integer=integer, programs="".join(_function(name, p) for name, p in rule.programs),
        spikes=ROW_SPIKES if by_source else CURSOR_SPIKES, arrays=", ".join(arrays),
        renew=_indented("\n".join(renew), 1), lift=_indented("\n".join(lift), 1), arrivals=_indented(arrivals, 1),
        targets=_indented(targets, 1), sources=_indented(sources, 1),
        follow=_indented("\n".join(["for j in range(lo, hi):", *follow]) if follow else "", 1),
    )  # fmt: skip


def module(rule: Traced, by_source: bool, dtype: np.dtype[Any]) -> Any:
    """Return the generated module with `transmit` and `learn` for one rule.

    Args:
        rule: the traced rule; its numbers are arguments, not part of the text.
        by_source: whether sources have the traces, or each synapse.
        dtype: float type.
    """
    plain = replace(rule, rate=(), period=(), gain=(), coefficients=tuple((name, 0.0) for name in rule.numbers))
    text = _text(plain, by_source, "int32" if dtype == np.float32 else "int64")
    return source.load(header("Plastic synapses", dtype) + text, "plastic")
