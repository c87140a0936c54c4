"""Branching, avalanches, dimension: against plain loops and processes whose numbers are known."""

from __future__ import annotations

import numpy as np
import pytest

from spikeframe.analysis import (
    avalanches,
    branching_factor,
    branching_ratio,
    mean_interval,
    multistep_branching,
    participation_ratio,
    power_law,
)
from spikeframe.errors import DTypeError, ParameterError, ShapeError

# Branching.


def process(m: float, drive: float, bins: int, seed: int) -> np.ndarray:
    """A branching process: every spike causes a Poisson number of mean m in the next bin, and so does the drive."""
    rng = np.random.default_rng(seed)
    found = np.empty(bins, np.int64)
    now = round(drive / (1.0 - m))
    for t in range(bins):
        now = rng.poisson(m * now + drive)
        found[t] = now
    return found


@pytest.mark.statistical
def test_a_subsampled_process_shows_its_branching_ratio_in_many_steps_only():
    """m = 0.95 seen in a tenth of the spikes; over 20 seeds the estimate has a standard deviation of 0.005."""
    activity = process(0.95, 10.0, 40_000, 3)
    seen = np.random.default_rng(4).binomial(activity, 0.1)
    assert branching_ratio(activity) == pytest.approx(0.95, abs=0.02)
    assert branching_ratio(seen) < 0.6
    found = multistep_branching(seen, 60)
    assert found.ratio == pytest.approx(0.95, abs=0.02)
    assert found.scale < 0.6
    assert found.time == pytest.approx(-1.0 / np.log(found.ratio))
    assert found.slopes[0] == pytest.approx(branching_ratio(seen), rel=1e-12)
    whole = multistep_branching(activity, 60)
    assert whole.ratio == pytest.approx(0.95, abs=0.02)
    assert whole.scale == pytest.approx(1.0, abs=0.1)


@pytest.mark.exact
def test_an_exponential_of_slopes_is_fitted_exactly():
    from spikeframe.analysis import branching

    rng = np.random.default_rng(0)
    counts = rng.poisson(5.0, 300)
    slopes = np.array([np.polyfit(counts[:-k], counts[k:], 1)[0] for k in range(1, 9)])
    assert branching._slopes(counts.astype(float), 8) == pytest.approx(slopes, abs=1e-12)


def plain_factor(steps, ids, source, target, size, duration, window, edge):
    """By the definition, in loops over all pairs of spikes."""
    links = set(zip(source, target, strict=True))
    neurons = []
    for i in range(size):
        ratios = []
        for s in [s for s, n in zip(steps, ids, strict=True) if n == i and edge <= s < duration - edge]:
            after = sum(1 for t, n in zip(steps, ids, strict=True) if (i, n) in links and s < t <= s + window)
            before = sum(1 for t, n in zip(steps, ids, strict=True) if (n, i) in links and s - window <= t < s)
            ratios.append(after / max(1, before))
        if ratios:
            neurons.append(np.mean(ratios))
    return np.mean(neurons) if neurons else np.nan


@pytest.mark.parity
@pytest.mark.parametrize(("window", "edge"), [(1, 0), (4, 25), (7, 10)])
def test_the_branching_factor_is_that_of_plain_loops(window, edge):
    rng = np.random.default_rng(window)
    steps, ids = np.nonzero(rng.random((120, 9)) < 0.12)
    source, target = rng.integers(0, 9, 30), rng.integers(0, 9, 30)  # with pairs twice and autapses
    given = steps, ids, source, target, 9, 120, window, edge
    assert branching_factor(*given) == pytest.approx(plain_factor(*given), rel=1e-12)


@pytest.mark.exact
def test_a_chain_of_one_spike_each_branches_once():
    n = 60
    chain = np.arange(n)
    assert branching_factor(chain, chain, chain[:-1], chain[1:], n, n, 4, 5) == 1.0
    into_two = np.repeat(chain[:-1], 2), np.repeat(chain[1:], 2)  # two synapses of a pair are one neighbour
    assert branching_factor(chain, chain, *into_two, n, n, 4, 5) == 1.0
    none = np.zeros(0, np.int64)
    assert np.isnan(branching_factor(none, none, [0], [1], 5, 60))


# Avalanches.


@pytest.mark.exact
def test_avalanches_are_runs_between_silent_bins():
    found = avalanches([3, 0, 1, 2, 0, 0, 5, 0, 1, 1, 1, 0, 4])
    assert found.sizes.tolist() == [3, 5, 3]
    assert found.durations.tolist() == [2, 1, 3]
    assert found.starts.tolist() == [2, 6, 8]
    for counts in ([], [0, 0], [1, 1], [0, 1], [1, 0]):
        assert avalanches(np.array(counts, int)).sizes.size == 0
    assert mean_interval([5.0, 1.0, 1.0, 3.0]) == 2.0


@pytest.mark.statistical
def test_a_critical_branching_process_has_the_exponents_of_mean_field():
    """Total progeny of one ancestor with Poisson offspring of mean 1: size^-3/2, within three standard errors."""
    rng = np.random.default_rng(5)
    sizes = []
    for _ in range(6000):
        now, total = 1, 1
        while now and total < 2000:
            now = int(rng.poisson(now))
            total += now
        sizes.append(min(total, 2001))
    fit = power_law(sizes, xmin=20, xmax=2000)
    assert fit.exponent == pytest.approx(1.5, abs=3.0 * fit.error + 0.02)
    assert fit.error < 0.1
    assert fit.likelihood_ratio > 10.0
    assert fit.distance < 0.06


@pytest.mark.statistical
def test_a_power_law_is_told_from_a_geometric_law_and_its_beginning_is_found():
    rng = np.random.default_rng(6)
    x = np.arange(1, 100_000)
    p = x**-2.5
    drawn = rng.choice(x, 5000, p=p / p.sum())
    fit = power_law(drawn, xmin=1)
    assert fit.exponent == pytest.approx(2.5, abs=4.0 * fit.error)
    assert fit.error == pytest.approx(0.024, abs=0.003)  # of the likelihood's curvature, sqrt(1 / (n var(log x)))
    late = np.concatenate([drawn[drawn >= 6], np.repeat(np.arange(1, 6), 150)])
    assert 4 <= power_law(late).xmin <= 8
    assert power_law(rng.geometric(0.1, 3000), xmin=1).likelihood_ratio < -100.0
    assert power_law(rng.geometric(0.1, 3000), xmin=1, xmax=200).likelihood_ratio < -100.0


# Dimension.


@pytest.mark.exact
def test_the_participation_ratio_counts_directions():
    rng = np.random.default_rng(1)
    flat = np.linalg.qr(rng.standard_normal((50, 8)) - 0.0)[0]
    flat -= flat.mean(axis=0)
    values = np.linalg.eigvalsh(np.cov(flat.T))
    assert participation_ratio(flat) == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-12)
    assert participation_ratio(np.outer(rng.standard_normal(20), rng.standard_normal(30))) == pytest.approx(1.0)
    both = np.kron(np.array([[1.0], [-1.0]]), np.eye(5))
    assert participation_ratio(both) == pytest.approx(5.0)
    wide = rng.standard_normal((7, 40))
    spread = np.linalg.eigvalsh(np.cov(wide.T))
    assert participation_ratio(wide) == pytest.approx(spread.sum() ** 2 / (spread**2).sum(), rel=1e-9)
    assert np.isnan(participation_ratio(np.ones((3, 2))))


# Bad input.


@pytest.mark.fault
@pytest.mark.parametrize(
    ("call", "error", "says"),
    [(lambda: branching_ratio([1, 2]), ShapeError, "2 bins"),
     (lambda: branching_ratio([2, 2, 2, 2]), ParameterError, "all are 2"),
     (lambda: multistep_branching(np.arange(10), lags=20), ShapeError, "at least 23"),
     (lambda: multistep_branching(np.arange(10), lags=2), ParameterError, r"lags\)=2"),
     (lambda: branching_factor([0], [0], [0], [9], 5, 60), ParameterError, r"target\): 9; must be from 0 to 4"),
     (lambda: branching_factor([60], [0], [0], [1], 5, 60), ParameterError, "steps"),
     (lambda: branching_factor([1], [0, 1], [0], [1], 5, 60), ShapeError, "2 ids"),
     (lambda: branching_factor([1.5], [0], [0], [1], 5, 60), DTypeError, "whole"),
     (lambda: branching_factor([1], [0], [0], [1], 5, 60, window=0), ParameterError, "window"),
     (lambda: avalanches([1, -1]), ParameterError, "-1"),
     (lambda: avalanches([[1]]), ShapeError, "1 axis"),
     (lambda: mean_interval([1.0, 1.0]), ParameterError, "1 different"),
     (lambda: power_law([0, 1, 2]), ParameterError, "from 1"),
     (lambda: power_law([]), ParameterError, "0 values"),
     (lambda: power_law([3] * 20), ParameterError, "1 of them different"),
     (lambda: power_law([1, 2] * 10, xmin=0), ParameterError, "xmin"),
     (lambda: participation_ratio([[1.0, 2.0]]), ShapeError, "two samples")],
)  # fmt: skip
def test_bad_input_is_named(call, error, says):
    with pytest.raises(error, match=says):
        call()
