"""Sparse patterns on segments: published probabilities, simulation beside theory, limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeframe.errors import DTypeError, NonFiniteError, ParameterError
from spikeframe.modules.sdr import (
    any_of,
    false_negative,
    false_positive,
    least_threshold,
    simulated_false_positive,
    union_match,
    union_size,
)


@pytest.mark.exact
@pytest.mark.parametrize(
    ("n", "a", "s", "theta", "expected"),
    [
        (10000, 64, 24, 12, 4.0416e-21), (10000, 300, 24, 12, 8.3758e-13), (2000, 40, 20, 15, 2.4719e-23),
        (300, 64, 24, 12, 1.09462e-3), (500, 64, 24, 12, 5.69571e-6), (700, 64, 24, 12, 1.41253e-7),
        (300, 128, 24, 12, 0.292078), (500, 128, 24, 12, 7.36788e-3), (700, 128, 24, 12, 3.20106e-4),
        (300, 256, 24, 12, 0.999998), (500, 256, 24, 12, 0.629373), (700, 256, 24, 12, 0.121088),
    ],
)  # fmt: skip
def test_false_positives_are_as_published(n, a, s, theta, expected):
    assert false_positive(n, a, s, theta) == pytest.approx(expected, rel=2e-5)


@pytest.mark.exact
@pytest.mark.parametrize(
    ("theta", "v", "expected"),
    [
        (8, 64, 7.354e-4), (8, 80, 5.072e-2), (12, 40, 3.182e-5), (12, 60, 3.164e-2), (12, 64, 7.170e-2),
        (16, 40, 1.177e-2), (16, 64, 0.5825),
    ],
)  # fmt: skip
def test_false_negatives_are_as_published(theta, v, expected):
    assert false_negative(128, 30, theta, v) == pytest.approx(expected, rel=2e-4)


@pytest.mark.exact
def test_many_patterns_and_unions_are_as_published():
    each = [false_positive(100, 7, 7, theta) for theta in (4, 5, 6, 7)]
    assert [500 * p for p in each] == pytest.approx([0.144691, 2.82648e-3, 2.03654e-5, 3.12352e-8], rel=1e-5)
    assert any_of(each[0], 500) == pytest.approx(0.134728, rel=1e-5)
    assert union_match(2048, 20, 50) == pytest.approx(5.914907e-9, rel=1e-6)
    assert union_match(1024, 20, 20) == pytest.approx(1.835365e-10, rel=1e-6)
    synapses = union_size(20000, 25, 10)
    assert synapses == pytest.approx(248.598, rel=1e-5)
    assert false_positive(20000, 200, synapses, 10) == pytest.approx(2.098e-4, rel=1e-3)
    assert false_positive(20000, 200, synapses, 15) == pytest.approx(3.252e-8, rel=1e-3)
    assert false_positive(20000, 200, 25, 10) == pytest.approx(2.288e-14, rel=1e-3)


def test_thresholds_of_about_ten_are_reliable_over_cortical_numbers():
    """The published means are 3.67e-2 at 3, 6.2e-6 at 8, 1.6e-19 at 20; here over a coarser grid."""
    cortex = (range(10_000, 20_001, 2500), np.linspace(0.005, 0.03, 6), range(20, 51, 5))
    for tolerated, published in ((0.05, 3), (1e-5, 8), (1e-9, 12)):
        threshold, mean = least_threshold(*cortex, tolerated)
        assert threshold == published
        assert mean <= tolerated
    assert least_threshold(*cortex, 0.05)[1] == pytest.approx(0.0367, rel=0.1)
    with pytest.raises(ParameterError, match="allow more"):
        least_threshold(*cortex, 1e-300)


@pytest.mark.statistical
@pytest.mark.parametrize(("n", "a", "s", "theta"), [(100, 10, 10, 3), (200, 40, 20, 6), (60, 30, 8, 5)])
def test_simulated_patterns_follow_the_theory(n, a, s, theta):
    """10,000 draws, 5 standard errors: a false alarm in 1.7 million."""
    p = false_positive(n, a, s, theta)
    found = simulated_false_positive(n, a, s, theta, 10_000, seed=1)
    assert 1e-3 < p < 0.9
    assert abs(found - p) <= 5 * math.sqrt(p * (1 - p) / 10_000)


@pytest.mark.statistical
def test_simulated_losses_and_unions_follow_the_theory():
    random = np.random.default_rng(3)
    a, s, theta, v = 40, 15, 8, 18
    lost = [(random.choice(a, v, replace=False) < s).sum() for _ in range(10_000)]
    p = false_negative(a, s, theta, v)
    assert abs(np.mean([s - n < theta for n in lost]) - p) <= 5 * math.sqrt(p * (1 - p) / 10_000)
    sizes = [len(np.unique([random.choice(300, 20, replace=False) for _ in range(12)])) for _ in range(400)]
    assert np.mean(sizes) == pytest.approx(union_size(300, 20, 12), abs=5 * np.std(sizes) / 20)


@given(st.integers(2, 60), st.data())
@settings(max_examples=60, deadline=None)
def test_tails_are_exact_sums_of_whole_numbers_and_monotone(n, data):
    a, s = data.draw(st.integers(1, n)), data.draw(st.integers(1, n))
    theta = data.draw(st.integers(1, s))
    ways = sum(math.comb(s, b) * math.comb(n - s, a - b) for b in range(theta, min(s, a) + 1))
    assert false_positive(n, a, s, theta) == pytest.approx(ways / math.comb(n, a), rel=1e-10, abs=1e-300)
    if theta < s:
        assert false_positive(n, a, s, theta + 1) <= false_positive(n, a, s, theta) * (1 + 1e-9)
    if a >= s:
        v = data.draw(st.integers(0, a))
        miss = sum(math.comb(s, b) * math.comb(a - s, v - b) for b in range(s - theta + 1, min(s, v) + 1))
        assert false_negative(a, s, theta, v) == pytest.approx(miss / math.comb(a, v), rel=1e-10, abs=1e-300)


def test_limits():
    assert union_size(1000, 30, 1) == pytest.approx(30)
    assert union_size(1000, 30, 0) == 0
    assert union_size(50, 50, 3) == 50
    assert false_negative(40, 20, 5, 0) == 0
    assert false_negative(40, 20, 20, 1) == pytest.approx(0.5)
    assert false_positive(50, 50, 20, 20) == pytest.approx(1.0)
    assert any_of(1e-20, 10**6) == pytest.approx(1e-14)
    assert any_of(1.0, 3) == 1


@pytest.mark.fault
def test_bad_numbers_are_refused():
    for call, error, words in (
        (lambda: false_positive(100, 10, 5, 6), ParameterError, "never reaches"),
        (lambda: false_positive(100, 101, 5, 3), ParameterError, "at most cells"),
        (lambda: false_positive(100, 10, 5, 0), ParameterError, "threshold"),
        (lambda: false_positive(100.0, 10, 5, 3), ParameterError, "cells"),
        (lambda: false_positive(100, 10, math.nan, 3), NonFiniteError, "synapses"),
        (lambda: false_positive(100, 10, "5", 3), DTypeError, "synapses"),
        (lambda: false_negative(40, 50, 5, 3), ParameterError, "at most active"),
        (lambda: false_negative(40, 20, 21, 3), ParameterError, "threshold"),
        (lambda: false_negative(40, 20, 5, 41), ParameterError, "lost"),
        (lambda: any_of(1.5, 3), ParameterError, "from 0 to 1"),
        (lambda: any_of(math.nan, 3), ParameterError, "from 0 to 1"),
        (lambda: union_size(10, 11, 3), ParameterError, "each"),
        (lambda: simulated_false_positive(10, 5, 5, 3, 0), ParameterError, "draws"),
    ):
        with pytest.raises(error, match=words):
            call()
