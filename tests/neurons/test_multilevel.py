"""Multi-level and ternary neurons: they count levels, keep charge, and are LIF where they must be."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from step_checks import providers_agree, soft_gradients_are_derivatives

from spikeframe.errors import ParameterError
from spikeframe.neurons import IF, LIF
from spikeframe.neurons.multilevel import MultilevelLIF
from spikeframe.neurons.ternary import TernaryLIF

F64 = torch.float64
FOREVER = 1e300


def noise(*shape, scale=1.0, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64) * scale


@pytest.mark.exact
def test_one_unsigned_level_is_the_lif():
    x = noise(60, 2, 9, scale=0.7).float()
    for backend in ("torch", "reference"):
        out, state = MultilevelLIF(dt=1.0, levels=1, tau_m=7.0, v_th=0.8, backend=backend)(x)
        lif, end = LIF(dt=1.0, tau_m=7.0, v_th=0.8, backend=backend)(x)
        assert torch.equal(out, lif)
        assert torch.equal(state.v, end.v)


@pytest.mark.exact
def test_the_output_is_the_number_of_levels_passed_up_to_the_last():
    x = torch.tensor([-3.2, -1.0, -0.99, 0.0, 0.99, 1.0, 2.5, 3.0, 9.0]).reshape(1, 1, -1)
    plain, _ = MultilevelLIF(dt=1.0, levels=3, backend="reference")(x)
    assert plain.reshape(-1).tolist() == [0, 0, 0, 0, 0, 1, 2, 3, 3]
    signed, state = MultilevelLIF(dt=1.0, levels=3, signed=True, backend="reference")(x)
    assert signed.reshape(-1).tolist() == [-3, -1, 0, 0, 0, 1, 2, 3, 3]
    assert state.v.reshape(-1).tolist() == pytest.approx([-0.2, 0, -0.99, 0, 0.99, 0, 0.5, 0, 6.0], abs=1e-6)


@pytest.mark.exact
@given(st.lists(st.integers(-40, 40), min_size=1, max_size=30), st.integers(1, 5), st.booleans())
@settings(max_examples=60, deadline=None)
def test_without_leak_what_goes_in_comes_out_or_stays(values, levels, signed):
    """On a binary grid every operation is exact: sum of input = threshold x sum of output + membrane."""
    x = torch.tensor(values, dtype=F64).reshape(-1, 1, 1) / 8
    neuron = MultilevelLIF(dt=1.0, tau_m=FOREVER, v_th=0.5, levels=levels, signed=signed, backend="reference")
    out, state = neuron(x)
    assert float(x.sum()) == float(0.5 * out.sum() + state.v.sum())
    assert bool((out.abs() <= levels).all())
    assert bool((out == out.round()).all())


@pytest.mark.exact
def test_negating_the_input_negates_a_ternary_neuron():
    x = noise(50, 3, 7, scale=0.8).float()
    neuron = TernaryLIF(dt=1.0, tau_m=9.0, backend="reference")
    out, state = neuron(x)
    other, end = neuron(-x)
    assert torch.equal(out, -other)
    assert torch.equal(state.v, -end.v)
    assert set(out.unique().tolist()) == {-1.0, 0.0, 1.0}


def test_a_ternary_neuron_follows_a_signal_of_either_sign_where_a_lif_follows_one():
    """The sum of spikes tracks the sum of a slow sine to one threshold."""
    x = 0.3 * torch.sin(torch.arange(200, dtype=F64) / 12).reshape(-1, 1, 1)
    out, _ = TernaryLIF(dt=1.0, tau_m=FOREVER, backend="reference")(x)
    assert float((out.cumsum(0) - x.cumsum(0)).abs().max()) < 1.0
    plain, _ = IF(dt=1.0, backend="reference")(x)
    assert float((plain.cumsum(0) - x.cumsum(0)).abs().max()) > 3.0


@pytest.mark.parametrize(("levels", "signed"), [(1, True), (3, False), (2, True)])
def test_gradients_equal_finite_differences_where_spikes_are_smooth(levels, signed):
    layer = MultilevelLIF(dt=1.0, levels=levels, signed=signed, tau_m=5.0)
    soft_gradients_are_derivatives(layer, noise(5, 2, 2))


def test_every_level_passes_the_surrogate_gradient():
    """d out / d x = sum of the surrogate at the distance to every level."""
    x = torch.tensor([0.4, 1.7, -0.6], dtype=F64).reshape(1, 1, -1).requires_grad_()
    out, _ = MultilevelLIF(dt=1.0, levels=2, signed=True, surrogate="atan", backend="reference")(x)
    (found,) = torch.autograd.grad(out.sum(), x)
    slope = lambda u: 1.0 / (1.0 + (torch.pi * u) ** 2)  # noqa: E731
    y = x.detach()
    torch.testing.assert_close(found, slope(y - 1) + slope(y - 2) + slope(-y - 1) + slope(-y - 2))


@pytest.mark.parity
def test_every_provider_gives_the_same_bits():
    providers_agree(lambda **o: MultilevelLIF(levels=2, signed=True, learnable=["tau_m", "v_th"], **o), -2.5, 2.5)
    providers_agree(lambda **o: TernaryLIF(detach_reset=True, **o), -2.5, 2.5, backends=("reference",))


@pytest.mark.fault
@pytest.mark.parametrize("levels", [0, 65, 2.0, True, "3", None])
def test_a_number_of_levels_that_there_cannot_be_is_refused(levels):
    with pytest.raises(ParameterError, match="whole number from 1 to 64"):
        MultilevelLIF(levels=levels)


@pytest.mark.fault
def test_bad_parameters_are_refused_by_name():
    with pytest.raises(ParameterError, match=r"TernaryLIF\(v_th\)=0"):
        TernaryLIF(v_th=0.0)
    with pytest.raises(ParameterError, match=r"MultilevelLIF\(tau_m\)=-1"):
        MultilevelLIF(tau_m=-1.0)
