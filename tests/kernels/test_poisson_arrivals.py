"""Poisson arrivals: the law, the counters, and the compiled kernel against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from spikeframe.kernels.numba.poisson import poisson_add, poisson_table
from spikeframe.kernels.reference import philox
from spikeframe.kernels.reference.poisson import poisson_counts, thresholds

KEY = np.uint32(12345), np.uint32(678)


def compiled(rate: float, lo: int, hi: int, step: int, weight: int = 1) -> tuple[np.ndarray, int]:
    acc = np.zeros(hi - lo, np.int32)
    total = poisson_add(acc, lo, hi, weight, step, poisson_table(rate).arrays, 77, *KEY, lo)
    return acc, total


@pytest.mark.exact
@pytest.mark.parametrize("rate", [0.0, 1e-9, 0.3, 2.0, 40.0])
@pytest.mark.parametrize(("lo", "hi"), [(0, 0), (0, 1), (3, 4), (0, 4099), (1021, 3333)])
def test_the_kernel_equals_the_reference(rate, lo, hi):
    for step in (0, 5, 2**32 + 5):
        acc, total = compiled(rate, lo, hi, step)
        assert np.array_equal(acc, poisson_counts(rate, lo, hi, step, 77, *map(int, KEY)))
        assert total == acc.sum()
    assert np.array_equal(compiled(rate, lo, hi, 5, -3)[0], -3 * compiled(rate, lo, hi, 5)[0])


@pytest.mark.exact
def test_a_split_changes_no_count():
    whole, _ = compiled(1.7, 0, 5000, 9)
    for cut in (1, 2, 1023, 4999):
        assert np.array_equal(np.concatenate([compiled(1.7, 0, cut, 9)[0], compiled(1.7, cut, 5000, 9)[0]]), whole)


@pytest.mark.exact
@pytest.mark.parametrize("above", [0, 1])
def test_a_tie_of_the_high_word_is_decided_by_the_low_one(above):
    neuron = 6
    word = int(philox.philox(0, 3, neuron // 4, 77, *map(int, KEY))[neuron % 4])
    low = int(philox.philox(1, 3, neuron, 77, *map(int, KEY))[0]) + above
    table = (np.array([word, 2**32 - 1], np.uint32), np.array([low, 2**32 - 1], np.uint32), np.zeros(4096, np.int64), 0)
    acc = np.zeros(1, np.int32)
    poisson_add(acc, neuron, neuron + 1, 1, 3, table, 77, *KEY, neuron)
    assert acc[0] == 1 - above


@pytest.mark.statistical
@pytest.mark.parametrize("rate", [0.05, 1.0, 8.0])
def test_the_law_is_poisson(rate):
    counts = np.concatenate([compiled(rate, 0, 20_000, step)[0] for step in range(10)])
    top = int(stats.poisson(rate).isf(1e-3)) + 1
    seen = np.bincount(np.minimum(counts, top), minlength=top + 1)
    law = stats.poisson(rate).pmf(np.arange(top + 1))
    law[-1] = stats.poisson(rate).sf(top - 1)
    assert stats.chisquare(seen, law * counts.size).pvalue > 1e-6


@pytest.mark.exact
@pytest.mark.parametrize("rate", [0.0, 0.2, 3.0, 100.0])
def test_thresholds_are_the_cumulative_law(rate):
    high, low = (x.astype(np.float64) for x in thresholds(rate))
    law = high * 2.0**-32 + low * 2.0**-64
    assert np.allclose(law, stats.poisson.cdf(np.arange(law.size), rate), rtol=0, atol=2.0**-52)
    assert (np.diff(law) >= 0).all()
