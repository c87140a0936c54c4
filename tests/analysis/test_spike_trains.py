"""Distances and irregularity of spike trains: against plain loops, closed cases, elephant and PySpike."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spikeframe.analysis import (
    cv,
    cv2,
    fano_factor,
    golomb,
    intervals,
    local_variation,
    mean_correlation,
    mean_cv,
    spike_distance,
    spike_synchronization,
    van_rossum_distance,
    victor_purpura_distance,
)
from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError

GIVEN = json.loads((Path(__file__).parent / "data" / "elephant.json").read_text(encoding="utf-8"))
TRAINS = [np.array(one) for one in GIVEN["trains"]]
END = GIVEN["end"]


def pairs(measure):
    return np.array([[measure(a, b) for b in TRAINS] for a in TRAINS])


# Against other programs.


@pytest.mark.parity
@pytest.mark.parametrize("tau", GIVEN["van_rossum"])
def test_van_rossum_is_elephants_up_to_its_norm(tau):
    ours = pairs(lambda a, b: van_rossum_distance(a, b, float(tau)))
    assert ours * np.sqrt(2.0) == pytest.approx(np.array(GIVEN["van_rossum"][tau]), abs=1e-6)
    assert ours[0, 1] > 1.0


@pytest.mark.parity
@pytest.mark.parametrize("q", GIVEN["victor_purpura"])
def test_victor_purpura_is_elephants(q):
    ours = pairs(lambda a, b: victor_purpura_distance(a, b, float(q)))
    assert ours == pytest.approx(np.array(GIVEN["victor_purpura"][q]), abs=1e-9)


@pytest.mark.parity
def test_spike_distance_and_synchronization_are_pyspikes():
    assert pairs(lambda a, b: spike_distance(a, b, 0.0, END)) == pytest.approx(
        np.array(GIVEN["spike_distance"]), abs=1e-9
    )
    assert pairs(spike_synchronization) == pytest.approx(np.array(GIVEN["spike_synchronization"]), abs=1e-12)


@pytest.mark.parity
def test_irregularity_and_correlation_are_elephants():
    kept = [one for one in TRAINS if one.size > 3]
    for name, measure in (("cv", cv), ("cv2", cv2), ("lv", local_variation)):
        assert [measure(one) for one in kept] == pytest.approx(GIVEN[name], abs=1e-9)
    times, ids = np.concatenate(kept), np.repeat(np.arange(len(kept)), [one.size for one in kept])
    matrix = np.array(GIVEN["correlation"])
    mean = matrix[~np.eye(len(kept), dtype=bool)].mean()
    # elephant's bins begin, ours end with their first edge: shift the spikes by half a grid step
    found = mean_correlation(times + 0.05, ids, 0.0, END, GIVEN["bin"], least=4)
    assert found == pytest.approx(mean, abs=1e-9)
    assert fano_factor(times + 0.05, 0.0, END, GIVEN["bin"]) == pytest.approx(GIVEN["fano"], abs=1e-9)


# Against plain loops.


@pytest.mark.parity
@pytest.mark.parametrize("sizes", [(0, 0), (1, 0), (1, 1), (7, 3), (12, 19)])
def test_distances_are_those_of_plain_loops(sizes):
    rng = np.random.default_rng(sum(sizes))
    a, b = (rng.permutation(1000)[:n].astype(float) / 7.0 for n in sizes)
    charged = [*((1.0, t) for t in a), *((-1.0, t) for t in b)]
    square = 0.5 * sum(x * y * np.exp(-abs(s - t) / 9.0) for x, s in charged for y, t in charged)
    assert van_rossum_distance(a, b, 9.0) == pytest.approx(np.sqrt(max(square, 0.0)), abs=1e-9)
    assert victor_purpura_distance(a, b, 0.3) == pytest.approx(cheapest(sorted(a), sorted(b), 0.3), abs=1e-9)
    assert spike_distance(a, b, 0.0, 200.0) == pytest.approx(sampled(a, b, 200.0), abs=2e-4)
    assert spike_synchronization(a, b) == pytest.approx(coincident(np.sort(a), np.sort(b)), abs=1e-12)


def cheapest(a, b, q, seen=None):
    """Turn a into b by the definition: the last spikes are moved onto each other, or one of them goes."""
    seen = {} if seen is None else seen
    key = len(a), len(b)
    if key not in seen:
        if not a or not b:
            seen[key] = float(len(a) + len(b))
        else:
            seen[key] = min(
                cheapest(a[:-1], b[:-1], q, seen) + q * abs(a[-1] - b[-1]),
                cheapest(a[:-1], b, q, seen) + 1.0,
                cheapest(a, b[:-1], q, seen) + 1.0,
            )
    return seen[key]


def sampled(a, b, end, points=20_000):
    """Average the SPIKE-distance's formula over many times."""
    trains = [np.sort(x) if x.size else np.array([0.0, end]) for x in (a, b)]
    full = []
    for x in trains:
        first, last = (x[1] - x[0], x[-1] - x[-2]) if x.size > 1 else (0.0, 0.0)
        full.append([min(0.0, x[0] - first), *x, max(end, x[-1] + last)])
    total = 0.0
    for t in (np.arange(points) + 0.5) * end / points:
        values = []
        for own, other in (full, full[::-1]):
            k = max(i for i in range(len(own) - 1) if own[i] <= t)
            d = [min(abs(own[i] - y) for y in other) for i in (min(max(j, 1), len(own) - 2) for j in (k, k + 1))]
            p, f = own[k], own[k + 1]
            values.append(((d[0] * (f - t) + d[1] * (t - p)) / (f - p), f - p))
        (s1, x1), (s2, x2) = values
        total += (s1 * x2 + s2 * x1) / (2.0 * ((x1 + x2) / 2.0) ** 2)
    return total / points


def around(x, k):
    """Return which intervals of a train are beside its spike k."""
    return [(x, n) for n in (k - 1, k) if 0 <= n < x.size - 1]


def coincident(a, b):
    if not a.size + b.size:
        return 1.0
    found = 0
    for i in range(a.size):
        for j in range(b.size):
            gaps = [np.inf, *(abs(x[k + 1] - x[k]) for x, k in around(a, i) + around(b, j))]
            found += 2 * (abs(a[i] - b[j]) < min(gaps) / 2.0)
    return found / (a.size + b.size)


@pytest.mark.parity
def test_the_mean_correlation_is_that_of_all_pairs():
    rng = np.random.default_rng(4)
    common = rng.random(400) < 0.1
    counts = (rng.random((6, 400)) < 0.1) | (common & (rng.random((6, 400)) < 0.6))
    ids, at = np.nonzero(counts)
    matrix = np.corrcoef(counts)
    assert mean_correlation(at * 3.0 + 2.0, ids, 0.0, 1200.0, 3.0) == pytest.approx(
        matrix[~np.eye(6, dtype=bool)].mean(), abs=1e-12
    )
    gaps, owner = intervals(at * 3.0, ids)
    each = [np.diff(np.flatnonzero(row)) * 3.0 for row in counts]
    assert gaps.tolist() == np.concatenate(each).tolist()
    assert owner.tolist() == np.repeat(np.arange(6), [g.size for g in each]).tolist()
    assert mean_cv(at * 3.0, ids) == pytest.approx(np.mean([g.std() / g.mean() for g in each]), rel=1e-12)


# Closed cases.


@pytest.mark.exact
def test_distances_of_identical_far_and_empty_trains():
    a = TRAINS[0]
    assert van_rossum_distance(a, a[::-1], 10.0) == 0.0
    assert van_rossum_distance([3.0], [], 10.0) == pytest.approx(np.sqrt(0.5))
    assert van_rossum_distance([3.0], [3.0 + 5.0], 10.0) == pytest.approx(np.sqrt(1.0 - np.exp(-0.5)))
    assert victor_purpura_distance(a, a, 1.0) == 0.0
    assert victor_purpura_distance([1.0], [1.5], 1.0) == 0.5
    assert victor_purpura_distance([1.0], [9.0], 1.0) == 2.0
    assert victor_purpura_distance(a, [], 0.0) == a.size
    assert spike_distance(a, a, 0.0, END) == 0.0
    assert spike_synchronization(a, a) == 1.0
    assert spike_synchronization(a, []) == 0.0


@pytest.mark.statistical
def test_a_poisson_process_is_irregular_and_a_clock_is_not():
    """100,000 intervals: each measure is within 0.02 of 1, some five standard errors."""
    times = np.cumsum(np.random.default_rng(1).exponential(10.0, 100_000))
    for measure in (cv, cv2, local_variation):
        assert measure(times) == pytest.approx(1.0, abs=0.02)
        assert measure(np.arange(50) * 7.0) == pytest.approx(0.0, abs=1e-9)
        assert np.isnan(measure([1.0, 2.0]))
    assert fano_factor(times, 0.0, 900_000.0, 100.0) == pytest.approx(1.0, abs=0.08)
    slow = np.cumsum(np.random.default_rng(1).gamma(4.0, 1.0, 20_000) * np.repeat([1.0, 20.0], 10_000))
    assert cv(slow) > 1.0 > local_variation(slow)


@pytest.mark.exact
def test_golombs_measure_is_one_in_synchrony_and_falls_with_the_number_of_neurons():
    rng = np.random.default_rng(2)
    wave = rng.standard_normal((2000, 1))
    assert golomb(np.repeat(wave, 5, axis=1)) == pytest.approx(1.0)
    assert golomb(rng.standard_normal((2000, 100))) == pytest.approx(0.1, rel=0.1)
    assert np.isnan(golomb(np.ones((4, 3))))
    assert np.isnan(mean_correlation([], np.zeros(0, int), 0.0, 100.0, 5.0))
    assert np.isnan(mean_cv([], np.zeros(0, int)))
    assert np.isnan(fano_factor([], 0.0, 100.0, 5.0))


# Bad input.


@pytest.mark.fault
@pytest.mark.parametrize(
    ("call", "error", "says"),
    [(lambda: van_rossum_distance([1.0], [2.0], 0.0), ParameterError, r"tau\)=0\.0"),
     (lambda: van_rossum_distance([1.0], [2.0], float("inf")), ParameterError, "tau"),
     (lambda: van_rossum_distance([np.nan], [2.0], 1.0), NonFiniteError, r"\(a\)\[0\] is nan"),
     (lambda: van_rossum_distance([[1.0]], [2.0], 1.0), ShapeError, "1 axis"),
     (lambda: van_rossum_distance(["x"], [2.0], 1.0), DTypeError, "real numbers"),
     (lambda: van_rossum_distance([[1.0], [2.0, 3.0]], [2.0], 1.0), ShapeError, "unequal"),
     (lambda: victor_purpura_distance([1.0], [2.0], -1.0), ParameterError, r"q\)=-1\.0"),
     (lambda: victor_purpura_distance([1.0], [2.0], True), ParameterError, "q"),
     (lambda: spike_distance([1.0], [2.0], 0.0, 1.5), ParameterError, "a spike at 2 ms is outside 0 to 1.5"),
     (lambda: spike_distance([1.0], [2.0], 5.0, 1.5), ParameterError, "start before end"),
     (lambda: spike_distance([1.0, 1.0], [2.0], 0.0, 5.0), ParameterError, "two spikes at 1 ms"),
     (lambda: spike_synchronization([1.0, 1.0], [2.0]), ParameterError, "two spikes at 1 ms"),
     (lambda: fano_factor([1.0], 0.0, 10.0, 0.0), ParameterError, "bin"),
     (lambda: fano_factor([1.0], 0.0, 10.0, 9.0), ParameterError, "1 bins"),
     (lambda: mean_correlation([1.0], [0, 1], 0.0, 10.0, 1.0), ShapeError, "one id per spike"),
     (lambda: mean_correlation([1.0], [-1], 0.0, 10.0, 1.0), ParameterError, "-1"),
     (lambda: mean_correlation([1.0], [0.5], 0.0, 10.0, 1.0), DTypeError, "whole"),
     (lambda: mean_cv([1.0], [0], least=2), ParameterError, "least"),
     (lambda: golomb([1.0]), ShapeError, "2 axes"),
     (lambda: golomb(np.zeros((0, 3))), ShapeError, "at least one")],
)  # fmt: skip
def test_bad_input_is_named(call, error, says):
    with pytest.raises(error, match=says):
        call()
