"""Adaptive-threshold integrate-and-fire: counts of an IF neuron, straight-through gradients, published statistics."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError, UnknownNameError
from spikeframe.neurons import IF
from spikeframe.neurons.adaptive_threshold_if import AdaptiveThresholdIF

F64 = torch.float64


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def test_the_threshold_is_the_mean_size_of_a_token_over_k():
    x = normal(3, 2, 7)
    counts, v_th = AdaptiveThresholdIF(k=2.5)(x)
    torch.testing.assert_close(v_th, x.abs().mean(-1, keepdim=True) / 2.5)
    assert torch.equal(counts, torch.round(x / v_th))
    along = AdaptiveThresholdIF(k=2.5, axis=0)(x.movedim(-1, 0))
    assert torch.equal(along.counts, counts.movedim(-1, 0))


def test_the_counts_are_the_spikes_of_an_integrate_and_fire_neuron_that_starts_half_a_threshold_up():
    """All input in the first step, then silence until the membrane is below threshold."""
    x = normal(1, 300, seed=4)
    counts, v_th = AdaptiveThresholdIF()(x)
    drive = torch.zeros(20, 1, 300, dtype=F64)
    drive[0] = (x.abs() / v_th + 0.5)[0]
    spikes, end = IF(dt=1.0, v_th=1.0, backend="reference")(drive)
    assert torch.equal(spikes.sum(0)[0] * x.sign()[0], counts[0])
    assert bool((end.v < 1.0).all())
    drive[0] -= 0.5
    floored, _ = IF(dt=1.0, v_th=1.0, backend="reference")(drive)
    assert torch.equal(floored.sum(0)[0], torch.floor(x.abs() / v_th)[0])
    halves = AdaptiveThresholdIF(k=1.0)(torch.tensor([1.0, 3.0]))  # exact halves round to even numbers
    assert halves.counts.tolist() == [0.0, 2.0]


@pytest.mark.exact
@given(st.integers(-20, 20), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_scaling_and_negating_the_activations_scales_and_negates_what_comes_out(power, seed):
    x = normal(2, 9, seed=seed) + 0.01
    neuron = AdaptiveThresholdIF(v_min=1e-300, v_max=1e300)
    counts, v_th = neuron(x)
    scaled = neuron(x * 2.0**power)
    assert torch.equal(scaled.counts, counts)
    assert torch.equal(scaled.v_th, v_th * 2.0**power)
    assert torch.equal(neuron(-x).counts, -counts)


def test_the_decoded_activation_is_within_half_a_threshold_and_passes_gradients_straight_through():
    x = normal(4, 11).requires_grad_()
    found = AdaptiveThresholdIF()(x)
    assert bool(((found.decoded() - x).abs() <= found.v_th / 2 + 1e-12).all())
    weights = normal(4, 11, seed=1)
    (gradient,) = torch.autograd.grad((found.decoded() * weights).sum(), x)
    torch.testing.assert_close(gradient, weights)
    assert not found.v_th.requires_grad


@pytest.mark.exact
def test_a_projection_of_counts_is_the_projection_of_what_they_stand_for():
    x, weight = normal(5, 8).float(), torch.randint(-8, 9, (3, 8), generator=torch.Generator().manual_seed(2)).float()
    counts, v_th = AdaptiveThresholdIF()(x)
    torch.testing.assert_close(v_th * (counts @ weight.T), (counts * v_th) @ weight.T)
    assert torch.equal(counts @ weight.T, (counts.long() @ weight.long().T).float())


@pytest.mark.statistical
def test_gaussian_activations_have_the_statistics_that_theory_gives():
    """With V = sqrt(2/pi)/k: P(s = 0) = P(|x| < V/2), P(|s| <= 7) = P(|x| < 7.5 V); 6 sigma of 4e6 draws."""
    counts = AdaptiveThresholdIF(k=3.0)(normal(1000, 4096, seed=9).float()).counts
    v = math.sqrt(2 / math.pi) / 3
    for limit, share in ((0, math.erf(v / 2 / math.sqrt(2))), (7, math.erf(7.5 * v / math.sqrt(2)))):
        assert float((counts.abs() <= limit).double().mean()) == pytest.approx(share, abs=1e-3)
    assert float(counts.abs().mean()) == pytest.approx(2.99, abs=0.01)


def test_a_silent_token_stays_silent_and_a_huge_one_is_limited():
    counts, v_th = AdaptiveThresholdIF()(torch.zeros(2, 5))
    assert not bool(counts.any())
    assert v_th.flatten().tolist() == pytest.approx([1e-5, 1e-5])
    assert AdaptiveThresholdIF()(torch.full((1, 3), 1e6)).v_th.item() == pytest.approx(1e4)
    assert AdaptiveThresholdIF()(torch.zeros(0, 3)).counts.shape == (0, 3)


@pytest.mark.fault
def test_bad_input_is_refused():
    neuron = AdaptiveThresholdIF()
    for k, error in ((0.0, ParameterError), (-1.0, ParameterError), (math.nan, NonFiniteError)):
        with pytest.raises(error, match="k"):
            AdaptiveThresholdIF(k=k)
    with pytest.raises(ParameterError, match="v_min"):
        AdaptiveThresholdIF(v_min=2.0, v_max=1.0)
    with pytest.raises(UnknownNameError, match="v_max"):
        AdaptiveThresholdIF(v_maxx=1.0)
    with pytest.raises(ShapeError, match="numbers"):
        AdaptiveThresholdIF(k=[1.0, 2.0])
    with pytest.raises(ParameterError, match="axis"):
        AdaptiveThresholdIF(axis=None)
    with pytest.raises(NonFiniteError, match=r"\[0, 1\]"):
        neuron(torch.tensor([[1.0, math.inf]]))
    with pytest.raises(DTypeError, match="int64"):
        neuron(torch.ones(2, 2, dtype=torch.int64))
    with pytest.raises(ShapeError, match="along -1"):
        neuron(torch.ones(2, 0))


def test_the_threshold_is_shared_along_the_last_axis_unless_told():
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(AdaptiveThresholdIF()(x).counts, AdaptiveThresholdIF(axis=3)(x).counts)
    assert not torch.equal(AdaptiveThresholdIF()(x).counts, AdaptiveThresholdIF(axis=1)(x).counts)
