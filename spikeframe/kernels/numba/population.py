"""The update of a group of neurons over one step, generated from its traced step."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite.binding import get_host_cpu_features  # type: ignore[import-untyped]

from spikeframe.kernels import source
from spikeframe.kernels.emit import identifier, result
from spikeframe.kernels.numba.lean import lean_statements
from spikeframe.kernels.numba.steps import header, loads, per_neuron_names
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
    read = []
    for i, name in enumerate(program.names("input")):
        plain = identifier(name)
        if name in receptors:
            plus = " + r_bias[j]" if biased and i == 0 else ""
            read += [f"whole_{plain} = F(q_{plain}[j])", f"{plain} = whole_{plain} * unit_{plain}{plus}"]
            read += _changed(f"q_{plain}[j]", f"q_{plain}[j]", "0")
        else:
            read.append(f"{plain} = r_{plain}[j]")
    scaled = tuple(r for r in receptors if not biased or r != program.names("input")[0])
    body = [*read, *loads(program, ("state", "coefficient"), per_neuron), *lean_statements(program, scaled)]
    out = result(program, "out")
    body.append(f"flags[j] = np.uint8({out} != ZERO)" if program.spikes else f"flags[j] = {out}")
    for leaf in program.leaves:
        if leaf.kind == "state":
            own, new = identifier(leaf.name), result(program, leaf.name)
            body += _changed(f"r_{own}[j]", own, new) if leaf.dtype == INT else [f"r_{own}[j] = {new}"]
    return _UPDATE.format(
        parameters=", ".join(names),
        # From slices the compiler sees that indices start at 0, and vectorises.
        slices="\n    ".join(f"{n} = stretch({n}, lo, hi)" for n in sliced),
        body="\n        ".join(body),
    )


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
