"""Group updates compute a step in fewer operations; the bits are those of the step as it is written."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numba import njit

import spikeframe as sf
from spikeframe.kernels.emit import identifier
from spikeframe.kernels.numba import population
from spikeframe.kernels.numba.borrowing import BORROWING
from spikeframe.kernels.numba.lean import lean_statements
from spikeframe.kernels.reference.steps import interpret

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3e38, -3e38, -50.0, np.nextafter(-50.0, 0.0), 1.0]


def _lif(v_reset: float, v_th: float, t_ref: float = 0.0) -> sf.neurons.Neuron:
    receptors = {"exc": sf.neurons.Exp(tau=5.0), "inh": sf.neurons.Delta()}
    return sf.neurons.LIF(v_rest=-49.0, v_th=v_th, v_reset=v_reset, t_ref=t_ref, reset="value", receptors=receptors)


NEURONS = {
    "reset below zero": lambda: _lif(-60.0, -50.0, 5.0),
    "reset to zero": lambda: _lif(0.0, 1.0),
    "reset to minus zero": lambda: _lif(-0.0, 1.0),
    "reset above zero": lambda: _lif(2.0, 5.0, 1.0),
    "conductances": lambda: sf.neurons.CondLIF(t_ref=1.0),
}


@cache
def _from_python(inner: Any) -> Any:
    """Return a generated function that compiled code alone may call, as one that Python may."""
    return njit(**BORROWING)(inner.py_func)


def _both(neuron: Any, dtype: np.dtype[Any], n: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return every state and the spikes after one step: as written, and as a group's update computes them."""
    neuron.dt = 0.1
    program, names = neuron.program(), tuple(neuron.receptors)
    rng, unit = np.random.default_rng(n), dtype.type(2.0**-7)
    kind = torch.float32 if dtype == np.float32 else torch.float64
    coefficients = {k: v.detach().numpy() for k, v in neuron.cast(0.1, kind, (n,)).items()}
    whole = np.int32 if dtype == np.float32 else np.int64
    arriving = {name: rng.integers(-300, 300, n).astype(whole) * (rng.random(n) < 0.5) for name in names}
    states = {}
    for leaf in program.leaves:
        if leaf.kind == "state":
            value = (
                rng.integers(0, 3, n).astype(np.int32) if leaf.dtype == "int" else rng.normal(-50, 9, n).astype(dtype)
            )
            if leaf.dtype != "int":
                value[: len(SPECIAL)] = np.array(SPECIAL, dtype)[:n]
            states[leaf.name] = value
    with np.errstate(all="ignore"):
        inputs = {name: q.astype(dtype) * unit for name, q in arriving.items()}
        written = dict(interpret(program, {**coefficients, **states, **inputs}, dtype))
    written["out"] = np.broadcast_to(written["out"] != 0, n)
    written = {k: np.broadcast_to(v, n) for k, v in written.items()}

    update = _from_python(population.module(program, names, coefficients, False, dtype).update)
    own = {f"r_{identifier(s)}": v.copy() for s, v in states.items()}
    given = {f"q_{identifier(r)}": arriving[r].copy() for r in names} | {f"unit_{identifier(r)}": unit for r in names}
    given |= own | {identifier(c): v[()] for c, v in coefficients.items()}
    flags = np.full(-(-n // 8) * 8, 7, np.uint8)
    update(0, n, flags, *(given[p] for p in population.parameters(program, names, frozenset(), False)))
    assert not any(given[f"q_{identifier(r)}"].any() for r in names)
    found = {s: own[f"r_{identifier(s)}"] for s in states} | {"out": flags[:n] != 0}
    return written, found


@pytest.mark.exact
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", list(NEURONS))
def test_a_group_update_gives_the_bits_of_the_step_as_written(name, dtype):
    for n in (1, 13, 300):
        written, found = _both(NEURONS[name](), np.dtype(dtype), n)
        for state, value in found.items():
            same = (value == written[state]) & (np.signbit(value) == np.signbit(written[state]))
            both_nan = (value != value) & (written[state] != written[state])
            assert (same | both_nan).all(), (state, n)


def test_what_can_be_shortened_is():
    program = _lif(-60.0, -50.0, 5.0).program()
    text = "\n".join(lean_statements(program, ("exc", "inh")))
    assert text.count("fma(whole_") == 2
    assert ">= a_v__th" in text
    assert "ZERO, a_v__reset)" in text
