"""The update of a group of neurons over one step, generated from its traced step."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite.binding import get_host_cpu_features  # type: ignore[import-untyped]

from spikeframe.kernels import source
from spikeframe.kernels.emit import identifier, result
from spikeframe.kernels.numba.lean import lean_statements
from spikeframe.kernels.numba.rounds import BLOCK, in_rounds
from spikeframe.kernels.numba.steps import header, per_neuron_names
from spikeframe.kernels.rounds import rounds_of
from spikeframe.kernels.trace import INT, Program

#: Whether a store under a condition vectorises.
_MASKED = bool(get_host_cpu_features().get("avx2"))

_UPDATE = '''
from spikeframe.kernels.numba.lean import fma, wide


@njit(**BORROWING | INNER)
def update(lo, hi, flags, {parameters}):
    """One step for neurons lo..hi; accumulators come as the part's own slices.

    Spikes are left in `flags` as 0 and 1, or there the output of a program that does not spike.
    """
    wide()
    {slices}
    for j in range(hi - lo):
        {body}
'''

#: The same for a step with rounds, in blocks.
_ROUNDS = '''
from spikeframe.kernels.numba.lean import wide


@njit(**BORROWING | INNER)
def block(w, flags, {parameters}):
    """One step for the first `w` neurons of these stretches."""
    wide()
    {body}


@njit(**BORROWING | INNER)
def update(lo, hi, flags, {parameters}):
    """One step for neurons lo..hi; see `spikeframe.kernels.numba.population`."""
    for at in range(lo, hi, {block}):
        to = min(hi, at + {block})
        block(to - at, stretch(flags, at, to), {taken})
'''


def parameters(program: Program, receptors: tuple[str, ...], per_neuron: frozenset[str], biased: bool) -> list[str]:
    """Return the parameters of `update` after lo, hi and flags: inputs, states, coefficients.

    Args:
        program: the traced step.
        receptors: inputs that come as accumulators, with a unit each.
        per_neuron: coefficients with one value per neuron.
        biased: whether the first receptor has a bias.
    """
    names = []
    for name in program.names("input"):
        plain = identifier(name)
        names += [f"q_{plain}", f"unit_{plain}"] if name in receptors else [f"r_{plain}"]
    names += ["r_bias"] * biased
    names += [f"r_{identifier(s)}" for s in program.names("state")]
    names += [f"r_{identifier(c)}" if c in per_neuron else identifier(c) for c in program.names("coefficient")]
    return names


def _changed(place: str, old: str, new: str) -> list[str]:
    """Statements that store a whole number that seldom changes: lines of cache left clean need not be written back."""
    return [f"if {old} != {new}:", f"    {place} = {new}"] if _MASKED else [f"{place} = {new}"]


@lru_cache(maxsize=256)
def _text(program: Program, receptors: tuple[str, ...], per_neuron: frozenset[str], biased: bool) -> str:
    names = parameters(program, receptors, per_neuron, biased)
    sliced = ["flags", *(n for n in names if n[:2] == "r_")]
    read, clear = _reads(program, receptors, per_neuron, biased)
    out = result(program, "out")
    store = [f"flags[j] = np.uint8({out} != ZERO)" if program.spikes else f"flags[j] = {out}"]
    for leaf in program.leaves:
        if leaf.kind == "state":
            own, new = identifier(leaf.name), result(program, leaf.name)
            store += _changed(f"r_{own}[j]", own, new) if leaf.dtype == INT else [f"r_{own}[j] = {new}"]
    if (rounds := rounds_of(program)) is not None:
        uses = [i for _, i in program.outputs] + [i for i, leaf in enumerate(program.leaves) if leaf.dtype == INT]
        last = [*store, *(line for lines in clear.values() for line in lines)]
        taken = [
            f"stretch({n}, at, to)" if n[:2] == "r_" else f"stretch({n}, at - lo, to - lo)" if n[:2] == "q_" else n
            for n in names
        ]
        return _ROUNDS.format(
            parameters=", ".join(names),
            taken=", ".join(taken),
            block=BLOCK,
            body="\n    ".join(in_rounds(program, rounds, read, last, uses, "w")),
        )
    scaled = tuple(r for r in receptors if not biased or r != program.names("input")[0])
    body = [line for i, lines in read.items() for line in (*lines, *clear.get(i, []))]
    body += [*lean_statements(program, scaled), *store]
    return _UPDATE.format(
        parameters=", ".join(names),
        # From slices the compiler sees that indices start at 0, and vectorises.
        slices="\n    ".join(f"{n} = stretch({n}, lo, hi)" for n in sliced),
        body="\n        ".join(body),
    )


def _reads(
    program: Program, receptors: tuple[str, ...], per_neuron: frozenset[str], biased: bool
) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """Return the statements that read each leaf of neuron ``j``, and those that clear its accumulators then."""
    found: dict[int, list[str]] = {}
    clear = {}
    for i, leaf in enumerate(program.leaves):
        plain = identifier(leaf.name)
        if leaf.name in receptors and leaf.kind == "input":
            plus = " + r_bias[j]" if biased and i == 0 else ""
            found[i] = [f"whole_{plain} = F(q_{plain}[j])", f"{plain} = whole_{plain} * unit_{plain}{plus}"]
            clear[i] = _changed(f"q_{plain}[j]", f"q_{plain}[j]", "0")
        elif leaf.kind != "coefficient" or leaf.name in per_neuron:
            found[i] = [f"{plain} = r_{plain}[j]"]
    return found, clear


def module(program: Program, receptors: tuple[str, ...], coefficients: Any, biased: bool, dtype: np.dtype[Any]) -> Any:
    """Return the generated module with `update` for one group.

    Args:
        program: the traced step.
        receptors: inputs that come as accumulators.
        coefficients: scalar or one value per neuron.
        biased: whether the first receptor has a bias.
        dtype: float type.
    """
    text = _text(program, receptors, per_neuron_names(program, coefficients), biased)
    return source.load(header("Group update", dtype) + text, "group")
