"""Weights on the grid: exact sums in any order, small changes, nothing silent."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeframe.core import Network, snap
from spikeframe.errors import ExactnessError, NonFiniteError, ParameterError
from spikeframe.neurons import LIF, Sequential, SumPool2d


@pytest.mark.exact
@settings(max_examples=25, deadline=None)
@given(st.integers(1, 400), st.integers(0, 2**31), st.sampled_from([1e-30, 1e-3, 1.0, 1e20]), st.integers(1, 31))
def test_sums_are_exact_in_any_order(fan_in, seed, scale, largest):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, fan_in, generator=generator) * scale
    bias = torch.randn(3, generator=generator) * scale
    snapped, snapped_bias, report = snap(weight, bias, largest=largest)
    x = torch.randint(0, largest + 1, (fan_in,), generator=generator).float()
    truth = (snapped.double() * x.double()).sum(1) + snapped_bias.double()
    order = torch.randperm(fan_in, generator=generator)
    total = snapped_bias.clone()
    for i in order:
        total = total + snapped[:, i] * x[i]
    assert torch.equal(total.double(), truth)
    assert torch.equal(torch.nn.functional.linear(x, snapped, snapped_bias).double(), truth)
    assert report.largest_change <= report.step / 2
    assert math.frexp(report.step)[0] == 0.5
    again, again_bias, second = snap(snapped, snapped_bias, largest=largest)
    assert torch.equal(again, snapped)
    assert torch.equal(again_bias, snapped_bias)
    assert second.largest_change == 0.0


def test_the_change_is_tiny_beside_the_weights():
    weight = torch.randn(512, 2312, generator=torch.Generator().manual_seed(1)) / 48
    _, _, report = snap(weight, largest=16)
    assert report.rms_change < 2e-3 * weight.std()


@pytest.mark.exact
@settings(max_examples=40, deadline=None)
@given(st.integers(2, 16), st.integers(1, 90), st.integers(0, 2**31), st.sampled_from([1e-20, 1e-3, 1.0, 1e20]))
def test_weights_of_few_bits_are_the_nearest_on_the_finest_grid_that_holds_them(bits, fan_in, seed, scale):
    generator = torch.Generator().manual_seed(seed)
    weight, bias = torch.randn(3, fan_in, generator=generator) * scale, torch.randn(3, generator=generator) * scale
    snapped, snapped_bias, report = snap(weight, bias, bits=bits, largest=7)
    units = snapped.double() / report.step
    assert torch.equal(units, (weight.double() / report.step).round())
    assert units.abs().max() < 2 ** (bits - 1)
    finer = (weight.double() / (report.step / 2)).round()
    _, _, free = snap(weight, bias, largest=7)
    assert finer.abs().max() >= 2 ** (bits - 1) or report.step <= 2 * free.step
    assert (snapped_bias - bias).abs().max() <= free.step
    assert report.largest_change == max(
        (snapped.double() - weight.double()).abs().max(), (snapped_bias - bias).abs().max()
    )
    x = torch.randint(0, 8, (fan_in,), generator=generator).float()
    truth = (snapped.double() * x.double()).sum(1) + snapped_bias.double()
    assert torch.equal(torch.nn.functional.linear(x, snapped, snapped_bias).double(), truth)
    again, again_bias, second = snap(snapped, snapped_bias, bits=bits, largest=7)
    assert torch.equal(again, snapped)
    assert torch.equal(again_bias, snapped_bias)
    assert second.largest_change == 0.0


def test_silent_layers_stay_as_they_are():
    weight, bias, report = snap(torch.zeros(4, 3), torch.zeros(4))
    assert not weight.any()
    assert not bias.any()
    assert report.largest_change == 0.0
    weight, bias, _ = snap(torch.zeros(4, 3), torch.ones(4), bits=2)
    assert not weight.any()
    assert (bias == 1.0).all()


@pytest.mark.fault
@pytest.mark.parametrize("bits", [0, 1, 17, True, 3.5])
def test_bits_out_of_range_are_named(bits):
    with pytest.raises(ParameterError, match=rf"fc: bits={bits}: must be a whole number from 2 to 16"):
        snap(torch.ones(1, 3), bits=bits, where="fc")
    with pytest.raises(ParameterError, match=rf"weight_bits={bits}: must be a whole number from 2 to 16"):
        Network.from_module(Sequential(SumPool2d(2), LIF(dt=1.0)), (1, 4, 4), weight_bits=bits)


@pytest.mark.fault
def test_bad_weights_are_named():
    weight = torch.ones(2, 3)
    weight[1, 2] = math.nan
    with pytest.raises(NonFiniteError, match=r"conv: weight\[1, 2\] is nan"):
        snap(weight, where="conv")
    with pytest.raises(NonFiniteError, match=r"bias\[0\] is inf"):
        snap(torch.ones(1, 3), torch.tensor([math.inf]))
    with pytest.raises(ExactnessError, match="power of two"):
        snap(torch.ones(1, 3), finest=1 / 9)
