"""LIF against closed forms and against NEST."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from spikeframe.core import Network
from spikeframe.errors import (
    DTypeError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    TimeGridError,
    TraceError,
    UnknownNameError,
    UnsupportedLayerError,
)
from spikeframe.neurons import (
    ALIF,
    GLIF,
    IF,
    LI,
    LIF,
    AdEx,
    Delta,
    Exp,
    Izhikevich,
    Neuron,
    Parameter,
    Sequential,
    State,
    where,
)


def spike_steps(out: torch.Tensor) -> list[int]:
    return [int(t) + 1 for t in out.reshape(out.shape[0], -1)[:, 0].nonzero()]


@pytest.mark.exact
def test_rate_under_constant_current_is_the_closed_form():
    """NEST's iaf_psc_exp defaults at 700 pA: 103.385 Hz."""
    neuron = LIF(dt=0.001, tau_m=10.0, r_m=0.04, v_rest=-70.0, v_reset=-70.0, v_th=-55.0, t_ref=2.0, i_e=700.0)
    out, _ = neuron(torch.zeros(60_000, 1, 1, dtype=torch.float64))
    steps = spike_steps(out)
    period = 2.0 + 10.0 * math.log(28.0 / (28.0 - 15.0))
    assert np.diff(steps)[0] * 0.001 == pytest.approx(period, abs=0.002)
    assert 1000 / period == pytest.approx(103.385, abs=5e-4)


@pytest.mark.exact
def test_spikes_and_membrane_equal_nest_for_a_driven_neuron():
    """NEST 3.10 iaf_psc_delta, dt 0.1: 380 pA, 11 excitatory, 5 inhibitory arrivals; spikes at steps 211, 620, 1129."""
    x = torch.zeros(1200, 1, 1, dtype=torch.float64)
    for time in (10.0, 12.5, 13.0, 20.0, 20.1, 35.0, 60.0, 61.0, 62.0, 63.0, 80.0):
        x[round((time + 1.0) / 0.1) - 1] += 1.2
    for time in (15.0, 30.0, 30.0, 55.5, 85.0):
        x[round((time + 1.5) / 0.1) - 1] -= 2.4
    neuron = LIF(dt=0.1, tau_m=10.0, r_m=0.04, v_rest=-70.0, v_th=-55.0, v_reset=-65.0, t_ref=2.0, i_e=380.0)
    for backend in ("torch", "reference", "numba"):
        neuron.backend = backend
        out, _ = neuron(x)
        assert spike_steps(out) == [211, 620, 1129]
    _, first = neuron(x[:1])
    assert float(first.v) == pytest.approx(-69.848757473, abs=1e-9)
    _, twelfth = neuron(x[:12])
    assert float(twelfth.v) == pytest.approx(-68.2811906381, abs=1e-9)


def test_refractory_neurons_rest_at_reset_and_lose_delta_arrivals():
    neuron = LIF(dt=1.0, t_ref=3.0, v_reset=-0.5)
    x = torch.full((12, 1, 1), 2.0)
    out, state = neuron(x)
    assert spike_steps(out) == [1, 5, 9]
    assert state.ref.dtype == torch.int32
    _, state = neuron(x[:3])
    assert float(state.v) == -0.5


def test_soft_reset_keeps_what_is_above_threshold():
    out, state = IF(dt=1.0)(torch.tensor([2.5, 0.0, 0.0]).reshape(3, 1, 1))
    assert spike_steps(out) == [1, 2]
    assert float(state.v) == 0.5


def test_hard_reset_sets_the_reset_value():
    _, state = LIF(dt=1.0, reset="value", v_reset=-0.25)(torch.full((1, 1, 1), 5.0))
    assert float(state.v) == -0.25


def test_adaptation_raises_the_threshold_by_beta_per_spike():
    neuron = ALIF(dt=1.0, tau_m=1e12, tau_a=1e12, beta=0.5)
    x = torch.tensor([1.01, 1.2, 0.4, 1.3, 0.2], dtype=torch.float64).reshape(5, 1, 1)
    out, state = neuron(x)
    assert spike_steps(out) == [1, 3, 5]  # membranes 1.01, 1.21, 1.61, 1.91, 2.11 against thresholds 1, 1.5, 1.5, 2, 2
    assert float(state.a) == pytest.approx(3.0)


@pytest.mark.exact
def test_a_run_in_pieces_equals_a_run_at_once():
    neuron = LIF(dt=1.0, receptors=Exp(tau=5.0), t_ref=2.0)
    x = torch.rand(50, 2, 3, 4, generator=torch.Generator().manual_seed(1))
    whole, end = neuron(x)
    first, middle = neuron(x[:17])
    second, last = neuron(x[17:], middle)
    assert torch.equal(whole, torch.cat([first, second]))
    assert all(torch.equal(a, b) for a, b in zip(end, last, strict=True))


@pytest.mark.exact
def test_one_value_per_neuron_equals_separate_neurons():
    taus = torch.tensor([5.0, 10.0, 40.0])
    x = torch.rand(40, 2, 3, generator=torch.Generator().manual_seed(2))
    together, _ = LIF(dt=1.0, tau_m=taus)(x)
    for i, tau in enumerate(taus):
        alone, _ = LIF(dt=1.0, tau_m=float(tau))(x[..., i : i + 1])
        assert torch.equal(together[..., i : i + 1], alone)


def test_per_channel_parameters_broadcast_over_an_image():
    out, _ = LIF(dt=1.0, v_th=torch.tensor([0.5, 1e6]).reshape(2, 1, 1))(torch.ones(3, 1, 2, 4, 4))
    assert bool((out[:, :, 0] == 1).all())
    assert not bool(out[:, :, 1].any())


def test_a_learnable_time_constant_is_trained_and_stays_positive():
    neuron = LIF(dt=1.0, tau_m=2.0, learnable=["tau_m"])
    optimiser = torch.optim.SGD(neuron.parameters(), lr=0.05)
    for _ in range(20):
        out, state = neuron(torch.full((20, 1, 4), 0.9))
        optimiser.zero_grad()
        (state.v.sum() + out.sum()).backward()
        optimiser.step()
    assert float(neuron.tau_m.detach()) > 0
    assert float(neuron.tau_m.detach()) < 1.0


@pytest.mark.parametrize(
    ("make", "stored", "value", "message"),
    [
        (lambda: LIF(dt=1.0, learnable=["v_th"]), "_v_th", -0.1, "v_reset must be below v_th, got 0 and -0.1"),
        (lambda: IF(dt=1.0, learnable=["v_reset"]), "_v_reset", 1.0, "v_reset must be below v_th"),
        (lambda: Izhikevich(dt=1.0, learnable=["c"]), "_c", 31.0, "c must be below v_th"),
        (lambda: AdEx(dt=0.1, learnable=["v_peak"]), "_v_peak", 500.0, "too sharp"),
        (lambda: GLIF(dt=1.0, learnable=["d_th"]), "_d_th", -50.0, "not below the threshold after it"),
        (lambda: LIF(dt=1.0, learnable=["tau_m"]), "log_tau_m", 800.0, "tau_m.*must be finite"),
        (lambda: LIF(dt=1.0, learnable=["tau_m"]), "log_tau_m", -800.0, "tau_m.*must be above 0"),
        (lambda: LIF(dt=1.0, receptors=Exp(tau=2.0, learnable=["tau"])), "receptors.input.log_tau", 800.0, "Exp.tau"),
    ],
)
def test_a_learnt_value_that_leaves_its_range_is_named(make, stored, value, message):
    neuron = make()
    neuron(torch.zeros(2, 1, 3))
    with torch.no_grad():
        dict(neuron.named_parameters())[stored].fill_(value)
    for call in (lambda: neuron(torch.zeros(2, 1, 3)), neuron.check_finite):
        with pytest.raises((ParameterError, NonFiniteError), match=message + ".*clamp the parameter"):
            call()
    with pytest.raises((ParameterError, NonFiniteError), match=message):
        Network.from_module(Sequential(torch.nn.Linear(2, 3), neuron), (2,)).plan  # noqa: B018


def test_fixed_parameters_keep_double_precision_whatever_the_module_is_cast_to():
    neuron = LIF(dt=1.0, tau_m=1 / 3).half().float()
    assert float(neuron.tau_m) == 1 / 3


def test_state_dict_round_trip_keeps_learnt_and_per_neuron_values():
    make = lambda tau: LIF(dt=1.0, tau_m=torch.tensor(tau), v_th=0.7, learnable=["v_th"])  # noqa: E731
    a, b = make([5.0, 6.0]), make([7.0, 8.0])
    b.load_state_dict(a.state_dict())
    assert torch.equal(a.tau_m, b.tau_m)


def test_sequential_keeps_time_and_state():
    torch.manual_seed(0)
    net = Sequential(torch.nn.Flatten(), torch.nn.Linear(8, 6), LIF(dt=1.0), torch.nn.Linear(6, 3), LI(dt=1.0))
    x = torch.rand(20, 2, 2, 2, 2)
    whole, _ = net(x)
    first, state = net(x[:9])
    second, _ = net(x[9:], state)
    assert whole.shape == (20, 2, 3)
    torch.testing.assert_close(whole, torch.cat([first, second]))


def test_gradients_can_be_switched_off_and_double_backward_is_refused():
    x = torch.rand(5, 1, 3, requires_grad=True)
    with torch.no_grad():
        assert not LIF(dt=1.0)(x)[0].requires_grad
    out, _ = LIF(dt=1.0)(x)
    (g,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(g.sum(), x)


@pytest.mark.parametrize("shape", [(0, 2, 3), (4, 0, 3), (4, 2, 0)])
def test_empty_inputs_give_empty_outputs(shape):
    out, state = LIF(dt=1.0)(torch.zeros(shape))
    assert out.shape == shape
    assert state.v.shape == shape[1:]


@pytest.mark.fault
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"tau_m": 0.0}, ParameterError, r"LIF\(tau_m\)=0: must be above 0 ms"),
        ({"tau_m": -3.0}, ParameterError, "above 0"),
        ({"tau_m": math.nan}, NonFiniteError, "finite"),
        ({"tau_m": math.inf}, NonFiniteError, "finite"),
        ({"tau_m": "20"}, DTypeError, "number"),
        ({"tau_m": None}, DTypeError, "number"),
        ({"tau_m": True}, DTypeError, "number"),
        ({"tau_m": 1j}, DTypeError, "number"),
        ({"tau_m": [3.0, -1.0]}, ParameterError, r"\[1\] -1"),
        ({"t_ref": -1.0}, ParameterError, "at least 0"),
        ({"v_reset": 1.0}, ParameterError, "below v_th"),
        ({"v_reset": 2.0}, ParameterError, "below v_th"),
        ({"tau": 20.0}, UnknownNameError, "tau_m"),
        ({"learnable": ["tau"]}, UnknownNameError, "tau_m"),
        ({"learnable": ["t_ref"]}, ParameterError, "whole steps"),
        ({"dt": 0.0}, TimeGridError, "positive"),
        ({"dt": -1.0}, TimeGridError, "positive"),
        ({"dt": math.nan}, TimeGridError, "positive"),
        ({"reset": "zero"}, ParameterError, "subtract"),
        ({"surrogate": "attan"}, UnknownNameError, "Did you mean 'atan'"),
        ({"surrogate": 3}, ParameterError, "Surrogate"),
        ({"backend": "triton"}, UnknownNameError, "numba"),
    ],
)
def test_bad_parameters_are_refused_by_name(options, error, words):
    with pytest.raises(error, match=words):
        LIF(**options)


@pytest.mark.fault
@pytest.mark.parametrize("backend", ["torch", "numba", "reference"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_input_that_is_not_finite_is_named_with_its_place(backend, value):
    x = torch.zeros(9, 2, 3, 4)
    x[5, 1, 2, 3] = value
    with pytest.raises(NonFiniteError, match=r"\[5, 1, 2, 3\].*step 5"):
        LIF(dt=1.0, backend=backend)(x)


@pytest.mark.fault
@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_a_state_that_overflows_is_named(backend):
    with pytest.raises(NonFiniteError, match="'v'"):
        LIF(dt=1.0, v_th=3e38, tau_m=1e9, backend=backend)(torch.full((4, 1, 1), -3e38))


@pytest.mark.fault
def test_wrong_shapes_types_and_states_are_refused():
    neuron = LIF(dt=1.0)
    _, state = neuron(torch.zeros(3, 1, 4))
    with pytest.raises(ShapeError, match=r"\[T, B, "):
        neuron(torch.zeros(3, 4))
    with pytest.raises(DTypeError, match="float32"):
        neuron(torch.zeros(3, 2, 4, dtype=torch.int64))
    with pytest.raises(DTypeError, match="float32"):
        neuron(np.zeros((3, 2, 4), np.float32))
    with pytest.raises(ShapeError, match=r"asks for \(4, 4\)"):
        neuron(torch.zeros(3, 4, 4), state)
    with pytest.raises(DTypeError, match="float64"):
        neuron(torch.zeros(3, 1, 4, dtype=torch.float64), state)
    with pytest.raises(ShapeError, match="named tuple"):
        neuron(torch.zeros(3, 1, 4), (torch.zeros(1, 4),))
    with pytest.raises(ShapeError, match="one value per neuron"):
        LIF(dt=1.0, tau_m=[5.0, 6.0])(torch.zeros(3, 1, 4))
    with pytest.raises(TimeGridError, match="dt="):
        LIF()(torch.zeros(3, 1, 4))
    with pytest.raises(TimeGridError, match="whole number"):
        LIF(dt=0.3, t_ref=1.0)(torch.zeros(3, 1, 4))


@pytest.mark.fault
def test_several_receptors_need_one_input_each():
    neuron = LIF(dt=1.0, receptors={"exc": Exp(), "inh": Delta()})
    x = torch.zeros(3, 1, 4)
    _, state = neuron({"exc": x, "inh": x})
    assert state._fields == ("v", "exc_i")
    with pytest.raises(ShapeError, match="'inh'"):
        neuron({"exc": x})
    with pytest.raises(UnknownNameError, match="exz"):
        neuron({"exz": x, "inh": x})
    with pytest.raises(ShapeError, match="dict"):
        neuron(x)


@pytest.mark.fault
def test_a_receptor_with_a_time_course_needs_a_linear_membrane():
    class Plain(Neuron):
        STATES = {"u": State()}

        def step(self, x, s, c):
            return s.u + x, {"u": s.u * 0.5 + x}

    Plain(dt=1.0)(torch.zeros(3, 1, 4))
    with pytest.raises(ParameterError, match="membrane"):
        Plain(dt=1.0, receptors=Exp())(torch.zeros(3, 1, 4))


@pytest.mark.fault
def test_parameters_cannot_be_changed_behind_the_models_back():
    neuron = LIF(dt=1.0)
    with pytest.raises(ParameterError, match="set at construction"):
        neuron.v_th = 0.5
    with pytest.raises(TimeGridError, match="positive"):
        neuron.dt = -1.0
    with pytest.raises(UnknownNameError, match="numba"):
        neuron.backend = "nunba"
    with pytest.raises(ParameterError, match="names of parameters"):
        LIF(learnable=5)
    with pytest.raises(ShapeError, match="do not fit"):
        LIF(v_th=[1.0, 2.0], v_rest=[0.1, 0.2, 0.3])


def test_options_changed_after_a_call_take_effect():
    neuron = LIF(dt=1.0, v_reset=-0.25)
    x = torch.full((1, 1, 1), 5.0)
    assert float(neuron(x)[1].v) == 3.75
    neuron.reset = "value"
    assert float(neuron(x)[1].v) == -0.25


def test_a_loaded_state_dict_brings_its_constants():
    neuron = LIF(dt=1.0, v_rest=torch.zeros(4))
    neuron(torch.zeros(1, 1, 4))
    neuron.load_state_dict(LIF(dt=1.0, v_rest=torch.full((4,), 0.9), tau_m=5.0).state_dict())
    _, state = neuron(torch.zeros(200, 1, 4))
    torch.testing.assert_close(state.v, torch.full((1, 4), 0.9))


def test_numpy_time_steps_are_time_steps():
    assert LIF(dt=np.float32(0.5)).dt == 0.5
    assert LIF(dt=np.int64(2)).dt == 2.0


def test_fused_layers_work_under_activation_checkpointing():
    from torch.utils.checkpoint import checkpoint

    x = torch.rand(8, 2, 5, requires_grad=True)
    neuron = LIF(dt=1.0)
    checkpoint(lambda y: neuron(y)[0], x, use_reentrant=False).sum().backward()
    expected = torch.autograd.grad(neuron(x)[0].sum(), x)[0]
    assert torch.equal(x.grad, expected)


@pytest.mark.fault
def test_names_that_would_collide_are_refused():
    class Twice(Neuron):
        PARAMETERS = {"a": Parameter(1.0)}
        STATES = {"a": State()}

        def step(self, x, s, c):
            return s.a + x, {"a": s.a * c.a}

    with pytest.raises(TraceError, match="'a' stands for two things"):
        Twice(dt=1.0)(torch.zeros(2, 1, 1))
    with pytest.raises(ParameterError, match="taken"):
        LIF(receptors={"keys": Exp()})
    with pytest.raises(ParameterError, match="whole"):
        State(1.5, dtype="int")
    with pytest.raises(ParameterError, match="finite"):
        State(math.nan)


@pytest.mark.parity
def test_a_coefficient_named_like_a_gradient_is_not_mistaken_for_it():
    class Named(Neuron):
        PARAMETERS = {"g_out": Parameter(0.5)}
        STATES = {"v": State()}

        def step(self, x, s, c):
            v = s.v * c.g_out + x
            return v, {"v": v}

    for backend in ("torch", "reference", "numba"):
        x = torch.ones(3, 1, 1, requires_grad=True)
        Named(dt=1.0, backend=backend)(x)[0].mul(2).sum().backward()
        assert x.grad.reshape(-1).tolist() == [3.5, 3.0, 2.0]


@pytest.mark.parity
def test_counters_wrap_at_32_bits_everywhere():
    class Counter(Neuron):
        STATES = {"n": State(2**30, dtype="int")}

        def step(self, x, s, c):
            return where(s.n * 4 > 0, x, x * 2.0), {"n": s.n}

    found = {b: Counter(dt=1.0, backend=b)(torch.ones(1, 1, 1))[0].item() for b in ("torch", "reference", "numba")}
    assert set(found.values()) == {2.0}


@pytest.mark.fault
def test_neurons_inside_a_container_without_a_time_axis_are_refused():
    with pytest.raises(UnsupportedLayerError, match="Sequential there too"):
        Sequential(torch.nn.Sequential(torch.nn.Linear(2, 2), LIF(dt=1.0)))
