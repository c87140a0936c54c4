"""One traced step, every execution: equal bits forward, equal gradients backward."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeframe.errors import BackendError, UnknownNameError
from spikeframe.kernels import buffers
from spikeframe.kernels.steps import provider
from spikeframe.kernels.trace import exp, maximum, minimum, spike, trace, where
from spikeframe.learning_rules.surrogates import ATan, Gaussian
from spikeframe.neurons import ALIF, IF, LI, LIF, Alpha, Exp
from spikeframe.neurons.neuron import Neuron
from spikeframe.neurons.parameters import Parameter, State


class Escape(Neuron):
    """A user's neuron that uses every operation a step may use."""

    PARAMETERS = {"a": Parameter(0.3), "v_th": Parameter(1.0)}
    STATES = {"v": State(0.1), "w": State(), "k": State(0, dtype="int")}

    def coefficients(self, dt):
        return {"d": torch.exp(-dt / (10.0 + self.a))}

    def step(self, x, s, c):
        drive = minimum(exp(minimum(s.v, 2.0) - c.v_th), 4.0)
        v = c.d * s.v + maximum(x, -0.5) + 0.01 * drive / (1.0 + s.w * s.w)
        z = spike(v - c.v_th - 0.1 * s.w)
        k = where((s.k > 3) | (v < 0.0), 0, s.k + 1)
        return z, {"v": where(z, -v * 0.1, v), "w": where(k >= 2, c.a * s.w + z, s.w), "k": k}


NEURONS = {
    "lif": lambda **o: LIF(learnable=["tau_m", "v_th"], **o),
    "lif_value_refractory": lambda **o: LIF(reset="value", t_ref=2.0, v_reset=-0.2, i_e=0.02, **o),
    "lif_exp": lambda **o: LIF(receptors=Exp(tau=4.0, learnable=["tau"]), learnable=["v_th"], **o),
    "lif_alpha": lambda **o: LIF(receptors=Alpha(tau=3.0), surrogate="sigmoid", **o),
    "if": lambda **o: IF(detach_reset=True, learnable=["v_th"], **o),
    "li": lambda **o: LI(learnable=["tau_m"], **o),
    "alif": lambda **o: ALIF(learnable=["beta", "tau_a", "v_th"], surrogate="multi_gaussian", **o),
    "user": lambda **o: Escape(learnable=["a", "v_th"], surrogate=Gaussian(), **o),
}
SHAPES = [(1, 1, 1), (7, 3, 5), (33, 2, 65), (64, 1, 130)]


def run(make, backend, x, weights, dtype=torch.float32):
    """Return output, final state and every gradient of one neuron layer."""
    layer = make(dt=1.0, backend=backend)
    x = x.to(dtype).requires_grad_()
    start = layer.initial_state(tuple(x.shape[1:]), dtype)
    start = type(start)(*(s.clone().requires_grad_() if s.is_floating_point() else s for s in start))
    out, state = layer(x, start)
    smooth = [s for s in state if s.is_floating_point()]
    loss = (out * weights.to(dtype)).sum() + sum((s * weights[0].to(dtype)).sum() for s in smooth)
    leaves = [x, *(s for s in start if s.is_floating_point()), *layer.parameters()]
    return out.detach(), state, torch.autograd.grad(loss, leaves, allow_unused=True)


@pytest.mark.exact
@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_outputs_states_and_gradients_agree_between_torch_reference_and_numba(name, shape):
    generator = torch.Generator().manual_seed(sum(shape))
    x = torch.rand(shape, generator=generator) * 0.6 - 0.1
    weights = torch.randn(shape, generator=generator)
    out, state, gradients = run(NEURONS[name], "torch", x, weights)
    for backend in ("reference", "numba"):
        other, other_state, other_gradients = run(NEURONS[name], backend, x, weights)
        assert torch.equal(out, other)
        assert all(torch.equal(a, b) for a, b in zip(state, other_state, strict=True))
        for a, b in zip(gradients, other_gradients, strict=True):
            # A scalar's gradient is a sum over all steps and columns that may cancel; float32 allows no less.
            torch.testing.assert_close(
                b, torch.zeros_like(b) if a is None else a, rtol=2e-4 if b.ndim == 0 else 2e-5, atol=1e-5
            )


@pytest.mark.parametrize(
    "name", [n if n in ("lif", "alif") else pytest.param(n, marks=pytest.mark.campaign) for n in NEURONS]
)
def test_fused_gradients_equal_finite_differences_when_the_spike_is_smooth(name):
    """Central differences in float64 on the compiled kernels, every spike replaced by the logistic function."""
    layer = NEURONS[name](dt=1.0)
    if name == "if":
        layer = IF(dt=1.0, learnable=["v_th"])  # a detached reset is not the derivative of anything
    program = layer.program(soft=True)
    numba = provider("numba")
    random = np.random.Generator(np.random.Philox(3))
    x = random.uniform(-0.2, 0.6, (9, 4))
    coefficients = {
        n: v.detach().numpy() if v.is_floating_point() else np.asarray(v.numpy(), np.int32)
        for n, v in layer.cast(1.0, torch.float64, (4,)).items()
    }
    names = program.names("coefficient")
    smooth = tuple(n for n in names if coefficients[n].dtype == np.float64)
    start = layer.initial_state((4,), torch.float64)
    states = {
        n: s.numpy().copy() + (0.05 if s.is_floating_point() else 0) for n, s in zip(start._fields, start, strict=True)
    }
    g_out = random.normal(size=x.shape)

    def loss(x, states, coefficients):
        done = numba.forward(program, [x], states, coefficients, 0, 1)
        return (done.out * g_out).sum() + sum(s.sum() for s in done.states.values() if s.dtype == np.float64)

    used = {n: coefficients[n] for n in names}
    done = numba.forward(program, [x], states, used, 4, 1)
    ones = {n: np.ones(4) for n, s in states.items() if s.dtype == np.float64}
    back = numba.backward(program, [x], done.checkpoints, used, 4, g_out, ones, smooth, 1)
    h = 1e-6

    def slope(kind, key, index):
        values = []
        for sign in (1, -1):
            changed = {
                "x": x.copy(),
                "s": {n: s.copy() for n, s in states.items()},
                "c": {n: c.copy() for n, c in used.items()},
            }
            array = changed["x"] if kind == "x" else changed[kind][key]
            array[index] += sign * h
            values.append(loss(changed["x"], changed["s"], changed["c"]))
        return (values[0] - values[1]) / (2 * h)

    for index in np.ndindex(x.shape):
        assert back.inputs[0][index] == pytest.approx(slope("x", None, index), rel=1e-5, abs=1e-7)
    for key in ones:
        for i in range(4):
            assert back.states[key][i] == pytest.approx(slope("s", key, i), rel=1e-5, abs=1e-7)
    for key in smooth:
        assert back.coefficients[key][()] == pytest.approx(slope("c", key, ()), rel=1e-5, abs=1e-6)


@pytest.mark.exact
@pytest.mark.parametrize("threads", [2, 3])
def test_the_number_of_threads_changes_no_bit(threads):
    layer = LIF(dt=1.0, tau_m=torch.linspace(5, 30, 1500), learnable=["tau_m"])
    program, numba = layer.program(), provider("numba")
    random = np.random.Generator(np.random.Philox(5))
    x = random.uniform(0, 0.4, (40, 3 * 1500)).astype(np.float32)
    coefficients = {n: v.detach().numpy() for n, v in layer.cast(1.0, torch.float32, (1500,)).items()}
    states = {"v": np.zeros(4500, np.float32)}
    results = []
    for n in (1, threads):
        done = numba.forward(program, [x], states, coefficients, 8, n)
        back = numba.backward(program, [x], done.checkpoints, coefficients, 8, x, {"v": states["v"]}, ("decay",), n)
        results.append((done.out, done.states["v"], back.inputs[0], back.coefficients["decay"]))
    for a, b in zip(*results, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.exact
def test_no_element_of_a_result_is_left_unwritten():
    """Reused buffers are filled with NaN first, so an element that a kernel forgets would show."""
    layer = LIF(dt=1.0)
    x = torch.full((50, 3, 700), 0.3, requires_grad=True)
    for _ in range(3):
        out, _ = layer(x)
        (gradient,) = torch.autograd.grad(out.sum(), x)
        assert torch.isfinite(out).all()
        assert torch.isfinite(gradient).all()
        del out, gradient
        held = [buffers.empty((50, 2100), np.float32) for _ in range(3)]
        for array in held:
            array.fill(np.nan)
        del held, array


def test_a_buffer_is_reused_only_after_its_last_view_is_gone():
    buffers.clear()
    first = buffers.empty((1 << 20,), np.float32)
    address = first.ctypes.data
    view = first[5:9]
    del first
    second = buffers.empty((1 << 20,), np.float32)
    assert second.ctypes.data != address
    del view
    third = buffers.empty((1 << 20,), np.float32)
    assert third.ctypes.data == address


SPECIAL = [0.0, -0.0, 1e-45, -1e-40, 1e-38, 3e38, -3e38, 1.0, -1.0]


@pytest.mark.exact
@settings(max_examples=4, deadline=None)
@given(st.data())
def test_random_steps_give_the_same_bits_on_every_provider(data):
    """Steps drawn from the operations a step may use, on ordinary and extreme finite values."""
    choices = data.draw(
        st.lists(st.tuples(st.integers(0, 8), st.integers(0, 99), st.integers(0, 99)), min_size=2, max_size=9)
    )

    def step(x, s, c):
        values = [x, s.v, x * c.k]
        for op, i, j in choices:
            a, b = values[i % len(values)], values[j % len(values)]
            made = (
                lambda a=a, b=b: a + b,
                lambda a=a, b=b: a - b,
                lambda a=a, b=b: a * b,
                lambda a=a, b=b: a / (b * b + 1.0),
                lambda a=a, b=b: minimum(a, b),
                lambda a=a, b=b: maximum(a, b),
                lambda a=a, b=b: where(a < b, b, a),
                lambda a=a, b=b: exp(minimum(a, 3.0)),
                lambda a=a, b=b: -a * 0.5,
            )[op]()
            values.append(made)
        return spike(values[-1]), {"v": minimum(maximum(values[-1], -2.0), 2.0)}

    program = trace(step, ["x"], {"v": "float"}, {"k": "float"}, ATan().derivative)
    x = np.resize(np.array([*SPECIAL, 0.1, 0.7], np.float32), (5, 13))
    states, k = {"v": np.zeros(13, np.float32)}, {"k": np.asarray(np.float32(0.7))}
    results = [provider(b).forward(program, [x], states, k, 2, 1) for b in ("reference", "numba")]
    assert np.array_equal(results[0].out, results[1].out)
    assert np.array_equal(results[0].states["v"], results[1].states["v"], equal_nan=True)
    gradients = [
        provider(b).backward(program, [x], results[0].checkpoints, k, 2, np.ones_like(x), states, ("k",), 1)
        for b in ("reference", "numba")
    ]
    assert np.array_equal(gradients[0].inputs[0], gradients[1].inputs[0], equal_nan=True)


@pytest.mark.fault
def test_a_missing_or_unknown_backend_says_what_there_is():
    with pytest.raises(BackendError, match="numba"):
        provider("cuda")
    with pytest.raises(UnknownNameError, match="Did you mean 'numba'"):
        provider("nunba")


_TWICE = """
import torch
from spikeframe.neurons import LIF
out, _ = LIF(dt=1.0, tau_m=7.5)(torch.rand(9, 2, 11))
print(int(out.sum()))
"""


def test_two_processes_filling_one_cache_leave_one_entry(tmp_path):
    import os

    environment = {**os.environ, "SPIKEFRAME_CACHE": str(tmp_path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", _TWICE], env=environment, stderr=subprocess.PIPE) for _ in range(2)
    ]
    errors = [p.communicate()[1] for p in processes]
    assert [p.returncode for p in processes] == [0, 0], errors
    assert len(list(tmp_path.glob("kernels/*/forward_*.py"))) == 1
    assert not list(tmp_path.glob("kernels/*/*.tmp"))
