"""The laws of the connection rules: exact degrees, the right distributions, the same synapses for any threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse, stats

import spikeframe as sf
from spikeframe.core.building import build
from spikeframe.core.distributions import Constant
from spikeframe.errors import NonFiniteError, ParameterError, ShapeError

PAIRS = tuple[np.ndarray, np.ndarray]


def built(rule: Any, sources: int = 50, targets: int = 70, same: bool = False, threads: int = 1, **options: Any) -> Any:
    net = sf.Network()
    a = net.population("a", sources, sf.neurons.LIF())
    b = a if same else net.population("b", targets, sf.neurons.LIF())
    [link] = net.connect(a, b, rule, **({"weight": 1.0, "delay": 1.0} | options))
    return build(link, 7, 1 << 20, 2.0**-10, np.dtype(np.float32), 0.1, threads)


def pairs(c: Any) -> PAIRS:
    return np.repeat(np.arange(c.start.size - 1), np.diff(c.start)), c.target.astype(np.int64)


@pytest.mark.exact
def test_degrees_and_totals_are_exact():
    source, target = pairs(built(sf.FixedInDegree(9)))
    assert (np.bincount(target, minlength=70) == 9).all()
    source, target = pairs(built(sf.FixedOutDegree(11)))
    assert (np.bincount(source, minlength=50) == 11).all()
    assert pairs(built(sf.FixedTotal(1234)))[0].size == 1234
    assert pairs(built(sf.AllToAll()))[0].size == 3500
    source, target = pairs(built(sf.OneToOne(), same=True))
    assert np.array_equal(source, np.arange(50)) and np.array_equal(target, source)


@pytest.mark.exact
@pytest.mark.parametrize(
    "rule",
    [sf.FixedProbability(0.3, autapses=False), sf.AllToAll(autapses=False),
     sf.FixedInDegree(49, autapses=False, multapses=False),
     sf.FixedOutDegree(20, autapses=False, multapses=False), sf.FixedTotal(5000, autapses=False)],
)  # fmt: skip
def test_no_neuron_reaches_itself_where_it_must_not(rule):
    source, target = pairs(built(rule, same=True))
    assert source.size and (source != target).all()


@pytest.mark.exact
@pytest.mark.parametrize("rule", [sf.FixedInDegree(50, multapses=False), sf.FixedOutDegree(70, multapses=False)])
def test_without_multapses_a_full_degree_is_everybody(rule):
    source, target = pairs(built(rule))
    assert np.unique(source * 70 + target).size == source.size == 3500


@pytest.mark.exact
@pytest.mark.parametrize(
    "rule", [sf.FixedProbability(0.2), sf.FixedTotal(999), sf.FixedInDegree(5), sf.FixedOutDegree(6, multapses=False)]
)
@pytest.mark.parametrize("sources", [0, 1, 131])
def test_threads_change_no_synapse(rule, sources):
    if sources == 0 and not isinstance(rule, (sf.FixedProbability, sf.FixedOutDegree)):
        with pytest.raises(ParameterError):
            built(rule, sources=0)
        return
    options = {"weight": sf.Normal(1.0, 0.2), "delay": sf.Uniform(0.5, 3.0)}
    one = built(rule, sources=sources, **options)
    for threads in (2, 3):
        other = built(rule, sources=sources, threads=threads, **options)
        for name in ("start", "target", "weight", "delay"):
            assert np.array_equal(getattr(one, name), getattr(other, name))
    assert all(
        (np.diff(one.target[a:b].astype(int)) >= 0).all() for a, b in zip(one.start[:-1], one.start[1:], strict=True)
    )


@pytest.mark.exact
def test_probabilities_of_nought_and_one():
    assert pairs(built(sf.FixedProbability(0.0)))[0].size == 0
    assert pairs(built(sf.FixedProbability(1.0)))[0].size == 3500


@pytest.mark.statistical
def test_a_fixed_probability_gives_binomial_degrees():
    source, target = pairs(built(sf.FixedProbability(0.1), sources=2000, targets=500))
    for degree, n in ((np.bincount(source, minlength=2000), 500), (np.bincount(target, minlength=500), 2000)):
        z = (degree - 0.1 * n) / np.sqrt(n * 0.09)
        assert abs(z.mean()) < 5 / np.sqrt(z.size)
        assert stats.chi2.cdf((z**2).sum(), z.size) == pytest.approx(0.5, abs=0.4999)


@pytest.mark.statistical
@pytest.mark.parametrize("rule", [sf.FixedTotal(200_000), sf.FixedInDegree(2000), sf.FixedOutDegree(2000)])
def test_drawn_partners_are_uniform(rule):
    source, target = pairs(built(rule, sources=100, targets=100))
    free = [source] * (not isinstance(rule, sf.FixedOutDegree)) + [target] * (not isinstance(rule, sf.FixedInDegree))
    for drawn in free:
        assert stats.chisquare(np.bincount(drawn, minlength=100)).pvalue > 1e-6


@pytest.mark.statistical
def test_drawn_weights_and_delays_follow_their_laws():
    c = built(sf.AllToAll(), sources=200, targets=200, weight=sf.Normal(2.0, 0.5), delay=sf.Uniform(0.5, 10.5))
    assert stats.kstest(c.weight * 2.0**-10, stats.norm(2.0, 0.5).cdf).pvalue > 1e-6
    assert c.delay.min() >= 5 and c.delay.max() <= 105
    assert c.delay.mean() == pytest.approx(55.0, abs=0.5)


@pytest.mark.exact
def test_given_pairs_and_matrices_come_back():
    rng = np.random.default_rng(0)
    matrix = sparse.random(50, 70, 0.1, random_state=rng, format="csr")
    c = built(sf.FromMatrix(matrix), weight=None)
    source, target = pairs(c)
    found = sparse.coo_array((c.weight * 2.0**-10, (source, target)), shape=(50, 70)).toarray()
    assert np.abs(found - matrix.toarray()).max() <= 2.0**-11
    c = built(sf.Pairs([3, 3, 0], [1, 1, 69]), weight=[1.0, 2.0, 3.0], delay=[0.1, 0.2, 0.3])
    assert list(zip(*pairs(c), c.weight.tolist(), c.delay.tolist(), strict=True)) == [
        (0, 69, 3072, 3), (3, 1, 1024, 1), (3, 1, 2048, 2),
    ]  # fmt: skip


@pytest.mark.fault
def test_bad_rules_meet_their_named_errors():
    for p in (-0.1, 1.1, float("nan"), "1", None, True):
        with pytest.raises(ParameterError):
            sf.FixedProbability(p)
    for rule in (sf.FixedInDegree, sf.FixedOutDegree, sf.FixedTotal):
        for k in (-1, 1.5, "2", None, True):
            with pytest.raises(ParameterError):
                rule(k)
    with pytest.raises(ParameterError, match="51"):
        built(sf.FixedInDegree(51, multapses=False))
    with pytest.raises(ShapeError):
        built(sf.OneToOne())
    with pytest.raises(ParameterError, match="70"):
        built(sf.Pairs([0], [70]))
    with pytest.raises(ParameterError):
        sf.Pairs([0.5], [1])
    with pytest.raises(ShapeError):
        sf.Pairs([0, 1], [1])
    with pytest.raises(NonFiniteError):
        sf.FromMatrix(np.array([[np.nan]]))
    with pytest.raises(ParameterError, match="per pair"):
        built(sf.AllToAll(), weight=[1.0, 2.0])
    assert Constant(1.0).value == 1.0


def test_a_degree_may_be_as_large_as_the_other_population():
    every = [(i, j) for i in range(6) for j in range(9)]
    for rule in (sf.FixedInDegree(6, multapses=False), sf.FixedOutDegree(9, multapses=False)):
        source, target = pairs(built(rule, 6, 9))
        assert sorted(zip(source.tolist(), target.tolist(), strict=True)) == every
    with pytest.raises(ParameterError):
        built(sf.FixedInDegree(7, multapses=False), 6, 9)
