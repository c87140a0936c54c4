"""Fixed points, hidden Markov models, the Sinkhorn divergence, residency: networks and sets whose answer is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from spikeframe.analysis import (
    HMM,
    find_fixed_points,
    first_changes,
    jacobian,
    local_jacobian,
    mobius,
    sinkhorn_divergence,
    symbol_statistics,
    zones,
)
from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError

# Fixed points.


def flip_flop(h):
    """Two units; the first has stable states near -1 and 1 and an unstable one at 0, the second decays."""
    return np.array([np.tanh(1.5 * h[0]), 0.5 * h[1]])


@pytest.mark.exact
def test_the_fixed_points_of_a_flip_flop_and_their_stability():
    starts = np.random.default_rng(0).uniform(-1.5, 1.5, (30, 2))
    found = find_fixed_points(flip_flop, starts)
    order = np.argsort(found.points[:, 0])
    assert found.fixed.all()
    x = 0.858  # of x = tanh(1.5 x): one Newton step below makes it exact
    for _ in range(5):
        x -= (np.tanh(1.5 * x) - x) / (1.5 * (1.0 - np.tanh(1.5 * x) ** 2) - 1.0)
    assert found.points[order] == pytest.approx(np.array([[-x, 0.0], [0.0, 0.0], [x, 0.0]]), abs=1e-6)
    assert found.unstable[order].tolist() == [0, 1, 0]
    assert found.eigenvalues[order[1]] == pytest.approx([1.5, 0.5], abs=1e-8)


@pytest.mark.exact
def test_a_slow_point_is_told_from_a_fixed_point():
    """h + h^2 + c has a ghost at 0, where it moves by c, and q is least."""
    found = find_fixed_points(lambda h: h + h**2 + 0.01, np.array([[0.3], [-0.2]]))
    assert not found.fixed.any()
    assert found.points == pytest.approx(np.zeros((1, 1)), abs=1e-3)
    assert found.speed == pytest.approx([0.5e-4], rel=1e-3)


@pytest.mark.parity
def test_a_given_derivative_finds_the_same_points():
    rng = np.random.default_rng(3)
    w = 1.4 * rng.standard_normal((6, 6)) / np.sqrt(6.0)

    def step(h):
        return np.tanh(w @ h)

    def slope(h):
        return (1.0 - np.tanh(w @ h) ** 2)[:, np.newaxis] * w

    h = rng.standard_normal(6)
    assert jacobian(step, h) == pytest.approx(slope(h), abs=1e-8)
    starts = rng.standard_normal((12, 6))
    a, b = find_fixed_points(step, starts), find_fixed_points(step, starts, slope)
    assert a.fixed.sum() == b.fixed.sum() >= 1
    for point in b.points[b.fixed]:
        assert np.linalg.norm(a.points - point, axis=1).min() < 1e-3
        assert step(point) == pytest.approx(point, abs=1e-5)


# Hidden Markov models.


@pytest.mark.statistical
@pytest.mark.parametrize("model", [HMM.linear_chain(5), HMM.fully_connected(3), HMM.cyclic(4, 0.8)])
def test_samples_have_the_models_probabilities(model):
    """Every empirical probability within 4.5 standard errors of the model's; one false alarm in some 2,000 seeds."""
    symbols, states = model.sample(2000, 60, seed=1)
    m, k = model.emission.shape
    moves = np.zeros((m, m))
    np.add.at(moves, (states[:, :-1].ravel(), states[:, 1:].ravel()), 1)
    emits = np.zeros((m, k))
    np.add.at(emits, (states.ravel(), symbols.ravel()), 1)
    starts = np.bincount(states[:, 0], minlength=m)[np.newaxis]
    for counts, law in ((moves, model.transition), (emits, model.emission), (starts, model.initial[np.newaxis])):
        n = counts.sum(axis=1, keepdims=True)
        assert (np.abs(counts / n - law) <= 4.5 * np.sqrt(law * (1.0 - law) / n)).all()
    rest = model.stationary()
    assert rest @ model.transition == pytest.approx(rest, abs=1e-12)
    assert symbol_statistics(symbols).frequency == pytest.approx(rest @ model.emission, abs=0.02)


@pytest.mark.parity
def test_the_likelihood_is_the_sum_over_all_paths():
    model = HMM.linear_chain(3)
    symbols, _ = model.sample(4, 5, seed=2)
    for sequence, found in zip(symbols, model.log_likelihood(symbols), strict=True):
        total = 0.0
        for path in itertools.product(range(3), repeat=5):
            p = model.initial[path[0]] * model.emission[path[0], sequence[0]]
            for t in range(1, 5):
                p *= model.transition[path[t - 1], path[t]] * model.emission[path[t], sequence[t]]
            total += p
        assert found == pytest.approx(np.log(total), rel=1e-12)
    assert model.log_likelihood([[0]])[0] == pytest.approx(np.log(model.initial @ model.emission[:, 0]))
    certain = HMM(np.eye(2), np.eye(2), np.array([1.0, 0.0]))
    assert certain.log_likelihood([[0, 0], [0, 1]]).tolist() == [0.0, -np.inf]


@pytest.mark.exact
def test_symbol_statistics_count_pairs():
    found = symbol_statistics([[0, 0, 1], [1, 0, 0]])
    assert found.frequency == pytest.approx([4 / 6, 2 / 6, 0.0])
    assert found.transition == pytest.approx(np.array([[2 / 3, 1 / 3, 0], [1, 0, 0], [0, 0, 0]]))
    assert found.volatility == 0.5


# The Sinkhorn divergence.


@pytest.mark.exact
def test_equal_sets_have_no_divergence_and_the_limit_is_the_cheapest_assignment():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((5, 2)), rng.standard_normal((5, 2)) + 1.0
    value, slope = sinkhorn_divergence(x, x[::-1], iterations=200)
    assert value == pytest.approx(0.0, abs=1e-9)
    assert np.abs(slope).max() < 1e-6
    cost = 0.5 * ((x[:, np.newaxis] - y) ** 2).sum(axis=2)
    cheapest = min(cost[range(5), list(p)].mean() for p in itertools.permutations(range(5)))
    assert sinkhorn_divergence(x, y, blur=0.05, iterations=3000)[0] == pytest.approx(cheapest, rel=2e-3)


@pytest.mark.parity
def test_the_gradient_is_that_of_the_divergence():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((4, 3)), rng.standard_normal((6, 3))
    slope = sinkhorn_divergence(x, y, blur=0.7, iterations=400)[1]
    for i, k in itertools.product(range(4), range(3)):
        shift = np.zeros((4, 3))
        shift[i, k] = 1e-5
        ends = [sinkhorn_divergence(x + s * shift, y, blur=0.7, iterations=400)[0] for s in (1, -1)]
        assert slope[i, k] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=2e-6)


@pytest.mark.parity
def test_potentials_are_those_of_plain_loops():
    """Alternate updates to convergence, written as sums, meet the symmetric ones."""
    rng = np.random.default_rng(2)
    x, y, e = rng.standard_normal((7, 2)), rng.standard_normal((4, 2)), 0.5**2

    def transport(a, b):
        f, g = np.zeros(len(a)), np.zeros(len(b))
        cost = [[0.5 * float((p - q) @ (p - q)) for q in b] for p in a]
        for _ in range(200):
            for i in range(len(a)):
                f[i] = -e * np.log(np.mean([np.exp((g[j] - cost[i][j]) / e) for j in range(len(b))]))
            for j in range(len(b)):
                g[j] = -e * np.log(np.mean([np.exp((f[i] - cost[i][j]) / e) for i in range(len(a))]))
        return f.mean() + g.mean()

    expected = transport(x, y) - 0.5 * transport(x, x) - 0.5 * transport(y, y)
    assert sinkhorn_divergence(x, y, blur=0.5, iterations=500)[0] == pytest.approx(expected, abs=1e-6)
    assert sinkhorn_divergence(x, y, blur=0.5, iterations=500, dtype="float32")[0] == pytest.approx(expected, abs=1e-4)


# Residency.


@pytest.mark.statistical
def test_first_changes_of_a_coin_are_geometric():
    """A state says 1 with probability p at each step: the mean of the first change from 0, cut at 50, is known."""
    p = np.array([0.5, 0.05, 0.0])

    def step(h, noise):
        return np.stack([h[:, 0], (noise.random(h.shape[0]) < h[:, 0]).astype(float)], axis=1)

    states = np.stack([p, np.zeros(3)], axis=1)
    times, shares = first_changes(step, lambda h: (h[:, 1] > 0).astype(int), states, trials=4000, horizon=50)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.where(p > 0.0, (1.0 - (1.0 - p) ** 50) / p, 50.0)
    assert times == pytest.approx(expected, rel=0.05)
    assert shares == pytest.approx(1.0 - (1.0 - p) ** 50, abs=0.02)
    found = zones(times, np.array([1.0, shares[1], 0.0]))
    assert found.kick.tolist() == [True, False, False]
    assert found.slow.tolist() == [False, True, True]


@pytest.mark.parity
def test_the_local_jacobian_is_that_of_the_step():
    rng = np.random.default_rng(4)
    w, h, drive = rng.standard_normal((5, 5)), rng.standard_normal(5), rng.standard_normal(5)
    assert local_jacobian(w, w @ h + drive) == pytest.approx(
        jacobian(lambda s: np.maximum(w @ s + drive, 0.0), h, 1e-6), abs=1e-8
    )


@pytest.mark.exact
def test_the_moebius_map_puts_growing_modes_to_the_right():
    z = np.random.default_rng(5).standard_normal(50) + 1j * np.random.default_rng(6).standard_normal(50)
    assert ((np.abs(z) > 1.0) == (mobius(z).real > 0.0)).all()
    assert mobius(np.exp(0.7j)).real == pytest.approx(0.0, abs=1e-15)
    assert np.isinf(mobius(-1.0).real)


# Bad input.


@pytest.mark.fault
@pytest.mark.parametrize(
    ("call", "error", "says"),
    [(lambda: find_fixed_points(flip_flop, [0.0, 0.0]), ShapeError, "2 axes"),
     (lambda: find_fixed_points(lambda h: h[:1], [[0.0, 0.0]]), ShapeError, r"returned shape \(1,\)"),
     (lambda: find_fixed_points(lambda h: h * np.nan, [[1.0]]), NonFiniteError, "not finite"),
     (lambda: find_fixed_points(flip_flop, [[0.0, 0.0]], tolerance=0.0), ParameterError, "tolerance"),
     (lambda: jacobian(flip_flop, [0.0, 0.0], width=-1.0), ParameterError, "width"),
     (lambda: HMM(np.eye(2), np.eye(3), np.array([0.5, 0.5])), ShapeError, "HMM"),
     (lambda: HMM(np.eye(2) * 0.9, np.eye(2), np.array([0.5, 0.5])), ParameterError, "transition"),
     (lambda: HMM.linear_chain(6), ParameterError, "2 to 5"),
     (lambda: HMM.cyclic(4, 1.5), ParameterError, "stay"),
     (lambda: HMM.cyclic(4).sample(0, 5), ParameterError, "sequences"),
     (lambda: HMM.cyclic(4).log_likelihood([[3]]), ParameterError, "0 to 2"),
     (lambda: symbol_statistics([[0.5, 1.0]]), DTypeError, "whole"),
     (lambda: symbol_statistics([[0], [1]]), ShapeError, "two long"),
     (lambda: sinkhorn_divergence([[1.0]], [[1.0, 2.0]]), ShapeError, r"\[m, d\]"),
     (lambda: sinkhorn_divergence([[1.0]], [[1.0]], blur=0.0), ParameterError, "blur"),
     (lambda: first_changes(lambda h, r: h[:, :1], lambda h: h[:, 0], [[1.0, 2.0]]), ShapeError, "step"),
     (lambda: first_changes(lambda h, r: h, lambda h: h, [[1.0, 2.0]]), ShapeError, "says"),
     (lambda: zones([1.0], [1.0, 2.0]), ShapeError, "as many"),
     (lambda: local_jacobian(np.eye(3), [1.0]), ShapeError, "1 units")],
)  # fmt: skip
def test_bad_input_is_named(call, error, says):
    with pytest.raises(error, match=says):
        call()
