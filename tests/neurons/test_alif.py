"""ALIF against closed forms of its decays, its threshold and its reset."""

from __future__ import annotations

import math

import pytest
import torch

from spikeframe.errors import ParameterError
from spikeframe.neurons import ALIF


def alif(**values):
    return ALIF(dt=0.5, backend="torch", **values).double()


def test_in_silence_membrane_and_threshold_decay_as_their_time_constants_say():
    neuron = alif(tau_m=8.0, tau_a=30.0, beta=0.5, v_th=1.0)
    x = torch.zeros(21, 1, 1, dtype=torch.float64)
    x[0] = 1.25  # one spike: what is left of v is 0.25, and a is 1
    z, state = neuron(x)
    assert z.flatten().tolist() == [1.0] + [0.0] * 20
    assert float(state.v) == pytest.approx(0.25 * math.exp(-10.0 / 8.0), rel=1e-6)
    assert float(state.a) == pytest.approx(math.exp(-10.0 / 30.0), rel=1e-6)


def test_a_spike_raises_the_threshold_by_beta_from_the_next_step_on():
    neuron = alif(tau_m=1e9, tau_a=30.0, beta=0.5, v_th=1.0)
    left = math.exp(-4.0 / 30.0)  # of the rise after 8 silent steps and one more of its own
    for over, fires in ((-1e-4, 0.0), (1e-4, 1.0)):
        x = torch.zeros(10, 1, 1, dtype=torch.float64)
        x[0], x[9] = 1.0, 1.0 + 0.5 * left + over
        assert neuron(x)[0].flatten()[9] == fires


def test_rate_and_gain_of_the_membrane():
    rate, gain = alif(tau_m=8.0, r_m=2.0).membrane()
    assert (float(rate), float(gain)) == pytest.approx((1 / 8, 2 / 8))


@pytest.mark.fault
@pytest.mark.parametrize("values", [{"tau_m": 0.0}, {"tau_a": 0.0}, {"beta": -0.1}, {"r_m": 0.0}, {"v_th": 0.0}])
def test_values_out_of_range_are_refused(values):
    with pytest.raises(ParameterError):
        alif(**values)
