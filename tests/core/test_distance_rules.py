"""Rules on a geometry: the plain answer on awkward boxes, closed forms of their statistics, any number of threads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

import spikeframe as sf
from spikeframe.core.building import build
from spikeframe.core.rules import DistanceDependent, SmallWorld
from spikeframe.errors import ParameterError, ShapeError, UnknownNameError
from spikeframe.kernels.reference.exponential import exp
from spikeframe.kernels.reference.philox import philox, uniform64

SEED, STREAM = 7, 1 << 20


def built(rule: Any, here: Any, there: Any = None, threads: int = 1) -> Any:
    """Build one projection; `here` and `there` are positions or numbers of neurons, `there` None is the same ones."""
    net = sf.Network()
    a, b = (None if x is None else _population(net, name, x) for name, x in (("a", here), ("b", there)))
    [link] = net.connect(a, b or a, rule, weight=1.0, delay=1.0)
    return build(link, SEED, STREAM, 2.0**-10, np.dtype(np.float32), 0.1, threads)


def _population(net: sf.Network, name: str, given: Any) -> Any:
    if isinstance(given, int):
        return net.population(name, given, sf.neurons.LIF())
    return net.population(name, len(given), sf.neurons.LIF(), positions=given)


def pairs(c: Any) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(np.arange(c.start.size - 1), np.diff(c.start)), c.target.astype(np.int64)


def squared_distances(rule: DistanceDependent, here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Square of every distance, axis by axis."""
    total = np.zeros((len(here), len(there)))
    sides = np.broadcast_to(np.inf if rule.periodic is None else rule.periodic, here.shape[1])
    for a, side in enumerate(sides):
        x, y = here[:, a], there[:, a]
        if np.isfinite(side):
            x, y = (v - np.floor(v / side) * side for v in (x, y))
        d = np.abs(x[:, None] - y[None])
        d = np.minimum(d, np.abs(side - d))
        total += d * d
    return total


def plain(rule: DistanceDependent, here: np.ndarray, there: np.ndarray, same: bool) -> np.ndarray:
    """Every pair looked at on its own."""
    d2 = squared_distances(rule, here, there)
    x = np.sqrt(d2) / rule.scale
    falls = {"gaussian": exp(-0.5 * (x * x)), "exponential": exp(-x), "linear": np.maximum(0.0, 1.0 - x)}[rule.shape]
    source, target = np.indices(d2.shape)
    w = philox(0, target >> 1, source, STREAM, SEED, 0)
    u = np.where(target & 1, uniform64(w[2], w[3]), uniform64(w[0], w[1]))
    hit = (u < rule.p * falls) & (d2 <= rule.cutoff**2)
    return hit & (source != target) if same and not rule.autapses else hit


def matrix(c: Any, shape: tuple[int, int]) -> np.ndarray:
    found = np.zeros(shape, int)
    np.add.at(found, pairs(c), 1)
    return found


@pytest.mark.exact
@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(["gaussian", "exponential", "linear"]), st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([0.01, 0.2, 3.0]), st.sampled_from([0.05, 0.25, 0.5, 1.0, math.inf]),
    st.sampled_from([None, 1.0, "mixed"]), st.booleans(), st.booleans(), st.integers(1, 3),
    st.integers(0, 40), st.integers(0, 61), st.sampled_from([0.0, 0.25, 1e-9, 7.0]), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_a_search_by_cells_is_a_look_at_every_pair(
    shape, p, scale, cutoff, periodic, autapses, same, axes, sources, targets, coarse, seed
):
    rng = np.random.default_rng(seed)
    here, there = (rng.uniform(-0.5, 1.5, (n, axes)) for n in (sources, targets))
    if coarse:  # positions on a lattice: distances that equal the cutoff, many on the walls of cells
        here, there = np.round(here / coarse) * coarse, np.round(there / coarse) * coarse
    there = here if same else there
    sides = (1.0, math.inf, 0.75)[:axes] if periodic == "mixed" else periodic
    rule = DistanceDependent(shape, p, scale, cutoff, sides, autapses)
    found = matrix(built(rule, here, None if same else there), (len(here), len(there)))
    assert np.array_equal(found, plain(rule, here, there, same))


@pytest.mark.exact
@pytest.mark.parametrize(
    "rule",
    [DistanceDependent("gaussian", 0.8, 0.1, 0.3, 1.0), DistanceDependent("linear", 1.0, 0.5), SmallWorld(6, 0.3)],
)
@pytest.mark.parametrize("n", [0, 7, 131])
def test_threads_change_no_synapse(rule, n):
    positions = np.random.default_rng(1).uniform(size=(n, 2))
    if n == 0 and isinstance(rule, SmallWorld):
        with pytest.raises(ParameterError):
            built(rule, positions)
        return
    one = built(rule, positions)
    for threads in (2, 3):
        other = built(rule, positions, threads=threads)
        assert np.array_equal(one.start, other.start) and np.array_equal(one.target, other.target)


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("shape", "falls"),
    [("gaussian", lambda x: math.exp(-x * x / 2)), ("exponential", lambda x: math.exp(-x)),
     ("linear", lambda x: max(0.0, 1 - x))],
)  # fmt: skip
def test_degrees_on_a_torus_follow_the_integral_of_the_probability(shape, falls):
    """Uniform positions in the unit square without borders: a binomial degree of mean n times the kernel's integral."""
    n, p, scale, cutoff = 3000, 0.7, 0.06, 0.15
    positions = np.random.default_rng(2).uniform(size=(n, 2))
    rule = DistanceDependent(shape, p, scale, cutoff, periodic=1.0, autapses=False)
    source, target = pairs(built(rule, positions))
    chance = 2 * math.pi * integrate.quad(lambda r: r * p * falls(r / scale), 0, cutoff, points=[scale])[0]
    degree = np.bincount(source, minlength=n)
    # A pair's two directions share their distance: the variance of the sum is at most twice the binomial one.
    assert abs(degree.sum() - n * (n - 1) * chance) < 5 * math.sqrt(2 * n * (n - 1) * chance)
    x = (degree - (n - 1) * chance) ** 2
    assert x.mean() == pytest.approx((n - 1) * chance * (1 - chance), abs=6 * x.std() / math.sqrt(n))
    d = np.sqrt(squared_distances(rule, positions, positions)[source, target])
    inside = integrate.quad(lambda r: 2 * math.pi * r * p * falls(r / scale), 0, scale)[0] / chance
    assert stats.binomtest(int((d < scale).sum()), d.size, inside).pvalue > 1e-6
    assert d.max() <= cutoff * (1 + 1e-15)


def ring_distance(source: np.ndarray, target: np.ndarray, n: int) -> np.ndarray:
    d = np.abs(source - target)
    return np.minimum(d, n - d)


@pytest.mark.exact
@pytest.mark.parametrize(("n", "k"), [(1, 0), (3, 2), (6, 4), (7, 6), (50, 10)])
@pytest.mark.parametrize("p", [0.0, 0.2, 1.0])
def test_every_neuron_of_a_small_world_reaches_k_others_once(n, k, p):
    source, target = pairs(built(SmallWorld(k, p), n))
    assert (np.bincount(source, minlength=n) == k).all() and (source != target).all()
    assert np.unique(source * n + target).size == n * k
    if p == 0.0:
        assert (ring_distance(source, target, n) <= k // 2).all()


@pytest.mark.statistical
@pytest.mark.parametrize(("n", "k", "p"), [(2000, 10, 0.1), (2000, 10, 0.6), (30, 20, 0.5), (2001, 20, 1.0)])
def test_redirected_synapses_are_as_many_and_as_far_as_their_law_says(n, k, p):
    """With r redirected of k, each of the r falls on one of n - 1 - (k - r) free ones, r of which are neighbours."""
    source, target = pairs(built(SmallWorld(k, p), n))
    near = ring_distance(source, target, n) <= k // 2
    r = np.arange(k + 1)
    chance = stats.binom(k, p).pmf(r)
    outside = n - 1 - k
    free = outside + r
    away = r * outside / free  # hypergeometric: how many of the r redirected ones leave the neighbourhood
    spread = away * (r / free) * outside / (free - 1)
    mean, second = (chance * away).sum(), (chance * (spread + away**2)).sum()
    sd = math.sqrt(n * (second - mean**2))
    assert abs((~near).sum() - n * mean) < 5 * sd
    offset = ((target - source) % n)[~near]
    assert stats.kstest((offset - k // 2 - 0.5) / outside, "uniform").pvalue > 1e-6 or n < 100
    counts = np.bincount(offset, minlength=n)[k // 2 + 1 : n - k // 2]
    # At most one synapse a neuron on each offset: the counts scatter no more than independent ones.
    assert ((counts - counts.mean()) ** 2).sum() / counts.mean() < stats.chi2(outside - 1).isf(1e-6)


@pytest.mark.statistical
def test_a_small_world_is_clustered_like_the_published_one():
    """C(0) = 3 (k - 2) / (4 (k - 1)) of the ring, and about C(0) (1 - p)^3 where n is large (10.1007/s100510050067)."""
    n, k = 1500, 20
    clustering = []
    for p in (0.0, 0.2):
        a = matrix(built(SmallWorld(k, p), n), (n, n)).astype(np.float32)
        clustering.append((a @ a * a).sum(dtype=float) / (n * k * (k - 1)))
    assert clustering[0] == pytest.approx(3 * (k - 2) / (4 * (k - 1)))
    assert clustering[1] == pytest.approx(clustering[0] * 0.8**3, abs=0.02)


def test_a_network_with_a_geometry_runs_and_comes_back_from_a_checkpoint(tmp_path):
    net = sf.Network(seed=2)
    positions = np.random.default_rng(0).uniform(size=(60, 2))
    a = net.population("a", 60, sf.neurons.LIF(tau_m=10.0, v_th=1.0, i_e=[0.5, 2.0] * 30), positions=positions)
    net.connect(a, a, DistanceDependent("gaussian", 0.9, 0.2, 0.6, (1.0, math.inf)), weight=0.3, delay=0.5)
    net.connect(a, a, SmallWorld(4, 0.1), weight=0.1, delay=0.2)
    net.record(a, "spikes")
    sim = sf.Simulator(net, dt=0.1)
    sim.run(10.0)
    sim.save(tmp_path / "state.h5")
    first, second = sim.run(20.0).spikes["a"], sf.Simulator.load(tmp_path / "state.h5").run(20.0).spikes["a"]
    assert len(first) and np.array_equal(first.ids, second.ids) and np.array_equal(first.steps, second.steps)


@pytest.mark.fault
def test_bad_geometries_meet_their_named_errors():
    with pytest.raises(UnknownNameError, match="gaussian"):
        DistanceDependent("gausian", 0.5, 1.0)
    for bad in (-0.1, 1.1, math.nan, "1", None, True):
        with pytest.raises(ParameterError, match="DistanceDependent\\(p\\)"):
            DistanceDependent("linear", bad, 1.0)
        with pytest.raises(ParameterError, match="SmallWorld\\(p\\)"):
            SmallWorld(2, bad)
    for bad in (0.0, -1.0, math.nan, "1", True):
        with pytest.raises(ParameterError, match="scale"):
            DistanceDependent("linear", 0.5, bad)
        with pytest.raises(ParameterError, match="cutoff"):
            DistanceDependent("linear", 0.5, 1.0, bad)
        with pytest.raises(ParameterError, match="periodic"):
            DistanceDependent("linear", 0.5, 1.0, periodic=(1.0, bad))
    with pytest.raises(ParameterError, match="scale"):
        DistanceDependent("linear", 0.5, math.inf)
    for bad in (3, -2, 2.0, True, "2"):
        with pytest.raises(ParameterError, match="SmallWorld"):
            SmallWorld(bad, 0.5)
    line, plane = np.zeros((4, 1)), np.zeros((4, 2))
    with pytest.raises(ParameterError, match=r"population\('b', ..., positions"):
        built(DistanceDependent("linear", 0.5, 1.0), line, 4)
    with pytest.raises(ShapeError, match="1 and 2 axes"):
        built(DistanceDependent("linear", 0.5, 1.0), line, plane)
    with pytest.raises(ShapeError, match="3 periodic sides"):
        built(DistanceDependent("linear", 0.5, 1.0, periodic=[1.0, 1.0, 1.0]), plane)
    with pytest.raises(ParameterError, match="itself"):
        built(SmallWorld(2, 0.5), 5, 5)
    with pytest.raises(ParameterError, match="4 synapses asked for, 3"):
        built(SmallWorld(4, 0.5), 4)
