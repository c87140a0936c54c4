"""Resonate-and-fire: exact oscillation, resonance to pulse pairs, reset, limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from step_checks import event_driven_equals_clocked, providers_agree, soft_gradients_are_derivatives

from spikeframe.errors import ParameterError, TimeGridError
from spikeframe.neurons import LI
from spikeframe.neurons.resonate_fire import ResonateFire

F64 = torch.float64


def membranes(neuron, x):
    found, state = [], None
    for t in range(len(x)):
        _, state = neuron(x[t : t + 1], state)
        found.append(complex(float(state.u), float(state.v)))
    return np.array(found)


@pytest.mark.exact
def test_below_threshold_the_membrane_is_a_sum_of_damped_oscillations():
    random = np.random.Generator(np.random.Philox(1))
    kicks = random.normal(size=80) * (random.random(80) < 0.2)
    neuron = ResonateFire(dt=0.25, tau_m=7.0, omega=1.3, v_th=1e9, backend="reference")
    found = membranes(neuron, torch.from_numpy(kicks).reshape(-1, 1, 1))
    times = np.arange(80) * 0.25
    lag = times[:, None] - times[None, :]
    response = np.where(lag >= 0, np.exp((-1 / 7.0 + 1.3j) * np.maximum(lag, 0.0)), 0.0)
    assert np.abs(found - response @ kicks).max() < 1e-12


def pair_spikes(lag, dt=0.05):
    """Number of spikes that two pulses of 0.8 evoke, one alone being too weak."""
    x = torch.zeros(400, 1, 1, dtype=F64)
    x[0] += 0.8
    x[round(lag / dt)] += 0.8
    return int(ResonateFire(dt=dt, backend="reference")(x)[0].sum())


def test_a_pulse_pair_evokes_a_spike_at_the_period_and_none_at_half_of_it():
    period = 2 * math.pi
    assert pair_spikes(period) == 1
    assert pair_spikes(period / 2) == 0
    assert pair_spikes(1.5 * period) == 0
    assert pair_spikes(18.0) == 0  # too late: the first has decayed


def test_an_inhibitory_pair_at_the_period_fires_on_its_rebound():
    x = torch.zeros(400, 1, 1, dtype=F64)
    x[0], x[round(2 * math.pi / 0.05)] = -1.2, -1.2
    assert int(ResonateFire(dt=0.05, backend="reference")(x)[0].sum()) == 1


def test_a_spike_resets_to_i_and_the_next_turn_starts_there():
    x = torch.zeros(3, 1, 1, dtype=F64)
    x[0] = 5.0
    neuron = ResonateFire(dt=0.5, backend="reference")
    out, _ = neuron(x)
    assert out.reshape(-1).tolist() == [0, 1, 0]
    found = membranes(neuron, x)
    assert found[1] == 1j
    assert found[2] == pytest.approx(1j * np.exp(complex(-0.05, 0.5)))
    moved = ResonateFire(dt=0.5, u_reset=-0.5, v_reset=0.25, backend="reference")
    assert membranes(moved, x)[1] == -0.5 + 0.25j
    free = membranes(ResonateFire(dt=0.5, reset=False, backend="reference"), x)
    assert free[1] == pytest.approx(5 * np.exp(complex(-0.05, 0.5)))


def test_without_rotation_it_is_a_leaky_integrator_that_never_fires():
    x = torch.rand(50, 2, 3, generator=torch.Generator().manual_seed(2), dtype=F64)
    out, state = ResonateFire(dt=1.0, tau_m=12.0, omega=1e-15, backend="reference")(x)
    _, li = LI(dt=1.0, tau_m=12.0, backend="reference")(x)
    torch.testing.assert_close(state.u, li.v)
    assert not bool(out.any())


def test_it_passes_every_check_of_a_traced_step():
    providers_agree(lambda **o: ResonateFire(learnable=["omega", "tau_m", "v_th"], **o), -1.0, 1.5)
    x = torch.randn(5, 2, 2, generator=torch.Generator().manual_seed(4))
    soft_gradients_are_derivatives(ResonateFire(dt=1.0), x)
    learnt = ResonateFire(dt=1.0, v_th=1e3, learnable=["omega", "tau_m"], backend="reference").double()
    y = x.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda *_: learnt(y)[1], (y, *learnt.parameters()))


@pytest.mark.parametrize("tau_m", [2.0, 50.0, 1e9])
def test_skipping_silent_steps_changes_no_spike(tau_m):
    """Also where the damping is lost in rounding, and nothing may wait."""
    event_driven_equals_clocked(ResonateFire(dt=1.0, tau_m=tau_m, omega=0.4, v_th=0.8, v_reset=0.0), 0.02)


@pytest.mark.fault
def test_bad_parameters_are_refused_by_name():
    with pytest.raises(ParameterError, match=r"ResonateFire\(tau_m\)=-1"):
        ResonateFire(tau_m=-1.0)
    with pytest.raises(ParameterError, match="above 0"):
        ResonateFire(omega=0.0)
    with pytest.raises(ParameterError, match="at most v_th"):
        ResonateFire(v_th=0.5)
    with pytest.raises(TimeGridError, match="smaller dt"):
        ResonateFire(dt=1.0, omega=3.2)(torch.zeros(1, 1, 1))
