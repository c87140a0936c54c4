"""Spike coding: lossless for every scheme and every count, spikes counted, projections unchanged."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeframe.errors import DTypeError, ExactnessError, NonFiniteError, ParameterError, UnknownNameError
from spikeframe.modules.spike_coding import SCHEMES, encode
from spikeframe.neurons.adaptive_threshold_if import AdaptiveThresholdIF


@pytest.mark.exact
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("more", [0, 3])
def test_every_count_of_8_bits_comes_back(scheme, more):
    counts = torch.arange(0 if scheme == "binary" else -128, 128)
    train = encode(counts, scheme)
    longer = encode(counts, scheme, steps=len(train.weights) + more)
    assert torch.equal(longer.counts(), counts)
    assert longer.spikes.dtype == torch.int8
    allowed = {-1, 0, 1} if scheme in ("ternary", "bitwise") else {0, 1}
    assert set(longer.spikes.unique().tolist()) == allowed
    steps = {"binary": 127, "ternary": 128, "bitwise": 8, "twos_complement": 8}
    assert len(train.weights) == steps[scheme]


@pytest.mark.exact
@given(st.lists(st.integers(-(2**31) + 1, 2**31 - 1), max_size=20), st.sampled_from(["bitwise", "twos_complement"]))
@settings(max_examples=60, deadline=None)
def test_large_counts_come_back_from_their_bits(values, scheme):
    counts = torch.tensor(values, dtype=torch.int64)
    train = encode(counts, scheme)
    assert torch.equal(train.counts(), counts)
    if scheme == "bitwise":
        assert train.events == sum(abs(v).bit_count() for v in values)


@pytest.mark.exact
@given(st.lists(st.integers(-40, 40), max_size=30))
@settings(max_examples=60, deadline=None)
def test_a_ternary_train_has_one_spike_per_unit_and_keeps_its_sign(values):
    counts = torch.tensor(values, dtype=torch.int64)
    train = encode(counts, "ternary")
    assert torch.equal(train.counts(), counts)
    assert train.events == sum(abs(v) for v in values)
    assert torch.equal(train.spikes.long().abs().sum(0), counts.abs())
    positive = encode(counts.abs(), "binary")
    assert torch.equal(positive.spikes, train.spikes.abs())


@pytest.mark.exact
@pytest.mark.parametrize("scheme", ["ternary", "bitwise", "twos_complement"])
def test_a_projection_step_by_step_is_the_projection(scheme):
    generator = torch.Generator().manual_seed(1)
    counts = torch.randint(-9, 10, (5, 8), generator=generator)
    weight = torch.randint(-16, 17, (3, 8), generator=generator).float() / 8
    train = encode(counts, scheme)
    assert torch.equal(train.weighed(train.spikes.float() @ weight.T), counts.float() @ weight.T)


def test_awkward_sizes():
    for scheme in SCHEMES:
        assert encode(torch.zeros(0, 3), scheme).counts().shape == (0, 3)
        assert encode(torch.zeros(2, 3), scheme).counts().tolist() == [[0] * 3] * 2
        assert encode(torch.tensor(5.0), scheme).counts().item() == 5
    assert encode(torch.zeros(4), "bitwise").sparsity == 1.0


@pytest.mark.statistical
def test_spikes_of_gaussian_activations_are_as_sparse_as_described():
    """4096 channels, k = 3: 1.30 spikes a value; 74 % of the places of 5 steps are silent."""
    x = torch.randn(200, 4096, generator=torch.Generator().manual_seed(3))
    counts = AdaptiveThresholdIF()(x).counts
    train = encode(counts, "bitwise")
    assert len(train.weights) == 5
    assert train.events / counts.numel() == pytest.approx(1.30, abs=0.01)
    assert train.sparsity == pytest.approx(0.740, abs=0.002)
    assert torch.equal(train.counts(), counts.long())
    assert encode(counts, "ternary").events / counts.numel() == pytest.approx(2.99, abs=0.01)


@pytest.mark.fault
def test_bad_input_is_refused():
    good = torch.tensor([1, 2])
    with pytest.raises(UnknownNameError, match="bitwise"):
        encode(good, "bitwize")
    with pytest.raises(ParameterError, match="count -3 is below 0"):
        encode(torch.tensor([1, -3]), "binary")
    with pytest.raises(ParameterError, match="need 2 steps"):
        encode(good, "bitwise", steps=1)
    with pytest.raises(ParameterError, match="steps"):
        encode(good, "bitwise", steps=2.0)
    with pytest.raises(ParameterError, match="62"):
        encode(good, "bitwise", steps=63)
    with pytest.raises(ExactnessError, match=r"count 1\.5"):
        encode(torch.tensor([1.0, 1.5]))
    with pytest.raises(ExactnessError, match="2\\^31"):
        encode(torch.tensor([-(2**63)]))
    with pytest.raises(NonFiniteError, match=r"\[1\]"):
        encode(torch.tensor([1.0, math.nan]))
    with pytest.raises(DTypeError, match="bool"):
        encode(torch.tensor([True]))
    with pytest.raises(DTypeError, match="list"):
        encode([1, 2])
