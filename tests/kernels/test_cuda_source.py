"""The CUDA C of steps over time: it compiles, and the same text run on the host gives the reference's bits."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from spikeframe.errors import BackendError
from spikeframe.kernels.cuda.source import SHORT, SIZE, THREADS, backward_kernel, forward_kernel, header
from spikeframe.kernels.cuda.steps import Prepared
from spikeframe.kernels.differentiate import differentiate
from spikeframe.kernels.steps import provider
from spikeframe.neurons import LIF, AdEx, Exp
from spikeframe.neurons.fused import cut
from tests.kernels.cuda_on_host import GXX, NVCC, Host, HostSteps, compiled_by_nvcc
from tests.kernels.test_steps import NEURONS

needs_gxx = pytest.mark.skipif(GXX is None, reason="needs g++")
needs_nvcc = pytest.mark.skipif(NVCC is None, reason="needs nvcc")
MODELS = {**NEURONS, "adex": lambda **o: AdEx(receptors={"exc": Exp(tau=2.0), "inh": Exp(tau=5.0)}, **o)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cuda")


def case(name, dtype, shape, per_neuron=False):
    """Return everything a run over time takes, random and of awkward size."""
    steps, batch, neurons = shape
    options = {"tau_m": np.linspace(5.0, 30.0, neurons)} if per_neuron else {}
    layer = MODELS[name](dt=1.0 if name != "adex" else 0.1, **options)
    random = np.random.Generator(np.random.Philox(7))
    program = layer.program()
    scale = 3000.0 if name == "adex" else 2.0
    inputs = [
        random.uniform(-0.1 * scale, scale, (steps, batch * neurons)).astype(dtype) for _ in program.names("input")
    ]
    kind = torch.float32 if dtype == np.float32 else torch.float64
    cast = layer.cast(layer.dt, kind, (neurons,))
    coefficients = {n: cast[n].detach().contiguous().numpy() for n in program.names("coefficient")}
    start = layer.initial_state((batch * neurons,), kind)
    states = {n: s.numpy().copy() for n, s in zip(start._fields, start, strict=True)}
    return program, inputs, states, coefficients


def both(name, dtype, shape, every, folder, per_neuron=False, columns=1):
    """Run forward and backward on the reference and on the host; return both results and the gradients asked for."""
    program, inputs, states, coefficients = case(name, dtype, shape, per_neuron)
    random = np.random.Generator(np.random.Philox(9))
    g_out = random.normal(size=inputs[0].shape).astype(dtype)
    smooth = [n for n, s in states.items() if s.dtype.kind == "f"]
    g_states = {n: random.normal(size=states[n].shape).astype(dtype) for n in smooth}
    wanted = tuple(n for n in program.names("coefficient") if coefficients[n].dtype.kind == "f")[:3]
    found = []
    for steps in (provider("reference"), HostSteps(Host(folder, 32), columns=columns)):
        done = steps.forward(program, inputs, states, coefficients, every, 1)
        back = steps.backward(program, inputs, done.checkpoints, coefficients, every, g_out, g_states, wanted, 1)
        found.append((done, back))
    return found


@needs_gxx
@pytest.mark.exact
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", MODELS)
def test_the_generated_text_run_on_the_host_gives_the_reference_s_bits(name, dtype, folder):
    (a, a_back), (b, b_back) = both(name, dtype, (23, 2, 19), 6, folder)
    assert np.array_equal(a.out, b.out)
    if name != "li":
        assert a.out.sum() > 0
    for state in a.states:
        assert np.array_equal(a.states[state], b.states[state])
        assert np.array_equal(a.checkpoints[state], b.checkpoints[state])
    for x, y in zip(a_back.inputs, b_back.inputs, strict=True):
        assert np.array_equal(x, y)
    for state in a_back.states:
        assert np.array_equal(a_back.states[state], b_back.states[state])
    for coefficient in a_back.coefficients:
        assert np.array_equal(a_back.coefficients[coefficient], b_back.coefficients[coefficient])


@needs_gxx
@pytest.mark.exact
@pytest.mark.parametrize(("batch", "columns"), [(3, 1), (4, 2), (4, 4), (3, 2)])
def test_coefficients_per_neuron_reach_the_right_columns(batch, columns, folder):
    (a, a_back), (b, b_back) = both("lif", np.float32, (9, batch, 13), 16, folder, True, columns)
    assert np.array_equal(a.out, b.out)
    assert a_back.coefficients["decay"].shape == (13,)
    assert np.array_equal(a_back.coefficients["decay"], b_back.coefficients["decay"])


@needs_gxx
@pytest.mark.parametrize(("storage", "neurons"), [("bfloat16", 21), ("float16", 21), ("bfloat16", 22)])
def test_half_inputs_are_worked_on_in_float32_and_rounded_once(storage, neurons, folder):
    kind = getattr(torch, storage)
    program, inputs, states, coefficients = case("lif", np.float32, (17, 2, neurons))
    x = torch.from_numpy(inputs[0]).to(kind)
    g = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(kind)
    host = Host(folder, 32)
    steps, reference = HostSteps(host, storage, 4), provider("reference")
    zero = {"v": np.zeros_like(states["v"])}
    done = steps.forward(program, [x.view(torch.uint16).numpy()], states, coefficients, 8, 1)
    back = steps.backward(
        program, [x.view(torch.uint16).numpy()], done.checkpoints, coefficients, 8, g.view(torch.uint16).numpy(), zero,
        (), 1,
    )  # fmt: skip
    exact = reference.forward(program, [x.float().numpy()], states, coefficients, 8, 1)
    exact_back = reference.backward(
        program, [x.float().numpy()], exact.checkpoints, coefficients, 8, g.float().numpy(), zero, (), 1
    )
    out = torch.from_numpy(done.out).view(kind).float().numpy()
    assert exact.out.sum() > 0
    assert np.array_equal(out, exact.out)
    assert np.array_equal(done.states["v"], exact.states["v"])
    rounded = torch.from_numpy(exact_back.inputs[0]).to(kind)
    assert torch.equal(torch.from_numpy(back.inputs[0]).view(kind), rounded)


@needs_gxx
def test_a_number_that_is_not_finite_reaches_the_watch(folder):
    program, inputs, states, coefficients = case("lif", np.float32, (11, 1, 7))
    host = Host(folder, 32)
    steps = HostSteps(host)
    steps.forward(program, inputs, states, coefficients, 4, 1)
    assert host.word[0] == -1
    inputs[0][6, 2] = np.inf
    inputs[0][8, 2] = np.nan
    steps.forward(program, inputs, states, coefficients, 4, 1)
    assert host.word[0] == 6 * 7 + 2
    host.word[0] = -1
    inputs[0][6, 2] = inputs[0][8, 2] = 0
    steps.forward(program, inputs, {"v": np.array([0, 0, 0, 0, 0, np.nan, 0], np.float32)}, coefficients, 4, 1)
    assert host.word[0] == -2 - 5


@needs_gxx
@pytest.mark.exact
def test_one_number_expanded_to_a_state_starts_like_an_array_of_it(folder):
    for steps in (4, 11):  # one piece, whose start is all that is kept, and several
        program, inputs, _, coefficients = case("lif", np.float32, (steps, 1, 7))
        kernels, found = HostSteps(Host(folder, 32)), []
        for start in (np.full(7, 0.5, np.float32), np.broadcast_to(np.float32(0.5), 7)):
            cuda = kernels._kernels(program, inputs, coefficients, 4)
            out, last, kept = cuda.forward(inputs, [start], list(coefficients.values()), True)
            g, *_ = cuda.backward(inputs, kept or [start], list(coefficients.values()), out + 1, [None], [False], ())
            found.append((out, last[0], g[0]))
        for a, b in zip(*found, strict=True):
            assert np.array_equal(a, b)


@needs_gxx
@pytest.mark.exact
@pytest.mark.parametrize("name", ["lif", "lif_value_refractory"])
@pytest.mark.parametrize("steps", [4, 11])
def test_prepared_calls_give_what_others_give(name, steps, folder):
    program, (x,), states, coefficients = case(name, np.float32, (steps, 2, 7))
    fixed = [np.broadcast_to(states["v"][0], 14), *list(states.values())[1:], *coefficients.values()]
    kernels = HostSteps(Host(folder, 32))._kernels(program, [x], coefficients, 4)
    prepared = Prepared(kernels, x, fixed)
    for other in (x[::-1].copy(), x):  # addresses are those of the last call
        _, start, values = kernels.split([other, *fixed])
        g, ends = other + 1, [other[0] * 2, *(None for _ in start[1:])]
        expected = kernels.forward([other], start, values, True)
        found = prepared.forward(other, True)
        assert found[0].sum() > 0
        for a, b in zip((expected[0], *expected[1], *expected[2]), (found[0], *found[1], *found[2]), strict=True):
            assert np.array_equal(a, b)
        for last in (ends, [None for _ in start]):
            rest = last, [False for _ in start], ()
            (gradient,), *_ = kernels.backward([other], expected[2] or start, values, g, *rest)
            assert np.array_equal(prepared.backward(other, found[2], g, last), gradient)
            place = g.copy()
            assert prepared.backward(other, found[2], place, last, own=True) is place
            assert np.array_equal(place, gradient)
            place = g.copy()
            kernels.backward([other], expected[2] or start, values, place, *rest, own=True)
            assert np.array_equal(place, gradient)


@needs_gxx
def test_no_gradient_of_a_final_state_counts_as_zero(folder):
    program, inputs, states, coefficients = case("lif", np.float32, (11, 1, 7))
    steps = HostSteps(Host(folder, 32))
    done = steps.forward(program, inputs, states, coefficients, 4, 1)
    g = np.ones_like(inputs[0])
    rest = (program, inputs, done.checkpoints, coefficients, 4, g)
    none = steps.backward(*rest, {"v": None}, (), 1)
    zero = steps.backward(*rest, {"v": np.zeros(7, np.float32)}, (), 1)
    assert np.array_equal(none.inputs[0], zero.inputs[0])


@needs_nvcc
@pytest.mark.parametrize("storage", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ["lif", "user", "adex"])
def test_the_generated_text_compiles_for_the_gpu_and_stays_in_registers(name, storage, tmp_path):
    program = MODELS[name](dt=1.0).program()
    wanted = program.names("coefficient")[:1]
    text = header(storage, cut(program, SIZE[storage])) + forward_kernel(program, frozenset())
    text += backward_kernel(program, differentiate(program, wanted), frozenset(), wanted)
    said = compiled_by_nvcc(text, tmp_path)
    spilled = [int(n) for n in re.findall(r"(\d+) bytes spill stores", said)]
    assert len(spilled) == 2, said
    if SIZE[storage] == 2 and len(program.nodes) <= SHORT:  # what a forward begins with
        text = header(storage, replace(cut(program, 2), columns=4)) + forward_kernel(program, frozenset())
        assert re.findall(r"(\d+) bytes spill stores", compiled_by_nvcc(text, tmp_path)) == ["0"]
    if storage != "float64":  # twice as wide, and for checks only
        # Two columns a thread are fastest with a few registers too few.
        assert max(spilled) <= (256 if SIZE[storage] == 2 else 96), said
    assert THREADS % 32 == 0


@pytest.mark.fault
def test_what_the_gpu_needs_is_named_where_it_is_missing():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(BackendError, match="cuda13"):
        LIF(dt=1.0, backend="cuda")(torch.zeros(3, 1, 4))
