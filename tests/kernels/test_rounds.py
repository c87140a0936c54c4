"""Rounds of a step that repeats a part: found in its trace, and done in a loop with the same bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import spikeframe as sf
from spikeframe import neurons as n
from spikeframe.kernels.cuda import source as cuda_source
from spikeframe.kernels.emit import CUDA, looped, statements
from spikeframe.kernels.numba.rounds import BLOCK
from spikeframe.kernels.numba.steps import NumbaSteps
from spikeframe.kernels.reference.steps import ReferenceSteps
from spikeframe.kernels.rounds import rounds_of
from spikeframe.kernels.trace import begin_round, exp, spike, trace, where
from spikeframe.neurons import torch_form
from spikeframe.neurons.fused import cut
from tests.kernels.cuda_on_host import NVCC, compiled_by_nvcc

needs_nvcc = pytest.mark.skipif(NVCC is None, reason="needs nvcc")
COLUMNS = 2 * BLOCK + 3


def stepping(rounds: int, odd: bool = False):
    """A step whose rounds hand on a float and a counter, use a value of before, and leave one that none reads."""

    def step(x, s, c):
        before = 1.0 / (1.0 + exp(-s.v)) + x
        v, count, extra = s.v, s.count, before
        for k in range(rounds):
            begin_round(x)
            slope = before - v * c.leak + x
            v = v + slope * (0.25 if odd and k == 1 else 0.125)
            count = where(slope > 0.0, count + 1, count)
            extra = slope
        begin_round(x)
        z = spike(v - c.v_th)
        return z, {"v": v * (1.0 - z) + extra * 0.5 + before, "count": count}

    return trace(step, ["x"], {"v": "float", "count": "int"}, {"leak": "float", "v_th": "float"})


def run_over_time(provider, program, dtype):
    """Outputs and final states of seven steps, in as many columns as need blocks and a rest."""
    rng = np.random.default_rng(1)
    x = rng.normal(0.5, 1.0, (7, COLUMNS)).astype(dtype)
    states = {"v": rng.normal(size=COLUMNS).astype(dtype), "count": rng.integers(0, 9, COLUMNS).astype(np.int32)}
    coefficients = {"leak": np.asarray(0.3, dtype), "v_th": rng.normal(2.0, 0.5, COLUMNS).astype(dtype)}
    found = provider.forward(program, [x], states, coefficients, 0, 1)
    return [found.out, found.states["v"], found.states["count"]]


def test_rounds_that_are_alike_are_found_and_others_are_not():
    found = rounds_of(stepping(5))
    assert (found.count, found.size, len(found.carried)) == (5, 11, 3)
    assert [c.start is None for c in found.carried].count(True) == 1
    assert rounds_of(stepping(2)) is None
    assert rounds_of(stepping(3, odd=True)) is None
    assert rounds_of(n.HodgkinHuxley(dt=0.1, substeps=8).program()).count == 8


def test_the_length_of_the_generated_code_does_not_grow_with_the_rounds():
    program = stepping(64)
    assert len(looped(program, CUDA)) < len(looped(stepping(3), CUDA)) + 1 < len(statements(program, CUDA))


@pytest.mark.exact
@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.campaign)])
def test_a_loop_gives_the_bits_of_the_written_out_rounds(dtype):
    program = stepping(5)
    expected = run_over_time(ReferenceSteps(), program, np.dtype(dtype))
    for found in (program, replace(program, rounds=())):
        for a, b in zip(run_over_time(NumbaSteps(), found, np.dtype(dtype)), expected, strict=True):
            assert np.array_equal(a, b) and np.isfinite(a).all()
    kind = torch.float32 if dtype == np.float32 else torch.float64
    leaves = [torch.linspace(lo, 2.0, 11, dtype=kind) for lo in (-1.0, 0.0)] + [torch.arange(11, dtype=torch.int32)]
    leaves += [torch.tensor(value, dtype=kind) for value in (0.3, 1.0)]
    written = torch_form._form.__wrapped__(replace(program, rounds=()), None)(*leaves)
    for a, b in zip(torch_form._form.__wrapped__(program, None)(*leaves), written, strict=True):
        assert torch.equal(a, b)


def net(receptors: bool) -> sf.Network:
    network = sf.Network(seed=3)
    options = {} if receptors else {"receptors": {"exc": n.Delta(), "inh": n.Exp(tau=2.0)}}
    neuron = n.CondLIF(substeps=3, i_e=600.0, dt=0.1) if receptors else n.EIF(substeps=4, i_e=500.0, dt=0.1, **options)
    a = network.population("a", BLOCK + 21, neuron, bias=np.linspace(0.0, 0.5, BLOCK + 21))
    network.connect(a, a, sf.FixedProbability(0.1), receptor="exc", weight=0.5, delay=0.5)
    network.stimulate(a, sf.NoiseCurrent(mean=20.0, sd=10.0))
    network.record(a, "v", every=1.0)
    return network


@pytest.mark.exact
@pytest.mark.parametrize("receptors", [True, False], ids=["conductances", "a jump and a current"])
def test_a_population_with_substeps_runs_with_the_reference_s_bits(receptors):
    runs = [sf.Simulator(net(receptors), dt=0.1, backend=b, threads=1) for b in ("numba", "reference")]
    fast, plain = (sim.run(15.0, progress=False) for sim in runs)
    assert fast.total_spikes == plain.total_spikes > 0
    assert np.array_equal(fast.traces["a"]["v"].values, plain.traces["a"]["v"].values)


@needs_nvcc
def test_nvcc_compiles_a_loop_over_rounds(tmp_path):
    program = n.AdEx(dt=0.1, substeps=16).program()
    text = cuda_source.forward_kernel(program, frozenset())
    assert "for (int lap = 0; lap < 16; ++lap) {" in text
    compiled_by_nvcc(cuda_source.header("float32", cut(program, 4)) + text, tmp_path)
