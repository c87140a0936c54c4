"""PLIF against its published recurrence and its limits."""

from __future__ import annotations

import math

import pytest
import torch
from step_checks import providers_agree, soft_gradients_are_derivatives

from spikeframe.errors import ParameterError
from spikeframe.neurons import LIF
from spikeframe.neurons.plif import PLIF

F64 = torch.float64


def published(a, x, v_th=1.0):
    """v + sigmoid(a) (x - v), hard reset to 0; spikes without a gradient."""
    v, spikes = torch.zeros_like(x[0]), []
    for arriving in x:
        v = v + torch.sigmoid(a) * (arriving - v)
        z = (v >= v_th).to(v)
        v = v * (1 - z)
        spikes.append(z)
    return torch.stack(spikes), v


@pytest.mark.exact
def test_spikes_are_those_of_the_published_recurrence():
    x = torch.rand(50, 2, 30, generator=torch.Generator().manual_seed(1), dtype=F64) * 2.5
    expected, v = published(torch.tensor(-math.log(2.0 - 1.0), dtype=F64), x)  # their tau = 2
    out, state = PLIF(dt=1.0, learnable=(), backend="reference")(x)
    assert torch.equal(out, expected)
    assert 0 < float(out.mean()) < 1
    torch.testing.assert_close(state.v, v)


def test_the_gradient_of_the_time_constant_is_the_published_one_after_a_change_of_variable():
    """Without spikes for k = sigmoid(a)."""
    x = torch.rand(12, 1, 4, generator=torch.Generator().manual_seed(2), dtype=F64) * 0.9
    a = torch.tensor(-0.8, dtype=F64, requires_grad=True)
    _, v = published(a, x)
    (expected,) = torch.autograd.grad(v.sum(), a)
    k = float(torch.sigmoid(a.detach()))
    tau_m = -1.0 / math.log(1.0 - k)
    layer = PLIF(dt=1.0, detach_reset=True, backend="reference").double()
    with torch.no_grad():
        layer.log_tau_m.fill_(math.log(tau_m))
    _, state = layer(x)
    (found,) = torch.autograd.grad(state.v.sum(), layer.log_tau_m)
    change = -tau_m * k  # d log tau_m / d a: tau_m = -1 / log(1 - k), dk/da = k (1 - k)
    assert float(expected) == pytest.approx(float(found) * change, rel=1e-10)


def test_a_vanishing_time_constant_leaves_no_memory():
    x = torch.rand(9, 1, 5, generator=torch.Generator().manual_seed(3), dtype=F64) * 2
    out, _ = PLIF(dt=1.0, tau_m=1e-3, backend="reference")(x)
    assert torch.equal(out, (x >= 1.0).to(F64))


def test_the_steady_membrane_is_the_input_whatever_the_time_constant():
    for tau_m in (1.0, 30.0):
        _, state = PLIF(dt=1.0, tau_m=tau_m, learnable=(), backend="reference")(torch.full((900, 1, 1), 0.7, dtype=F64))
        assert float(state.v) == pytest.approx(0.7, rel=1e-9)
    _, state = LIF(dt=1.0, tau_m=30.0, v_th=1e9, backend="reference")(torch.full((900, 1, 1), 0.7, dtype=F64))
    assert float(state.v) > 20.0


def test_it_passes_every_check_of_a_traced_step():
    providers_agree(lambda **o: PLIF(**o), -0.5, 3.0, backends=("reference",))
    x = torch.randn(5, 2, 2, generator=torch.Generator().manual_seed(4))
    soft_gradients_are_derivatives(PLIF(dt=1.0, learnable=("tau_m", "v_th")), x)


@pytest.mark.fault
def test_bad_parameters_are_refused_by_name():
    with pytest.raises(ParameterError, match=r"PLIF\(tau_m\)=0"):
        PLIF(tau_m=0.0)
    with pytest.raises(ParameterError, match="subtract"):
        PLIF(reset="soft")
