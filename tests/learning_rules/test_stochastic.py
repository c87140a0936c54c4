"""Estimators of gradients through stochastic units: bias and variance against enumeration, gates and what they save."""

from __future__ import annotations

import math

import pytest
import torch

from spikeframe.errors import NonFiniteError, ParameterError, ShapeError
from spikeframe.learning_rules.conditional import ConditionalLinear, switched
from spikeframe.learning_rules.stochastic import (
    Baseline,
    bernoulli,
    exact_gradient,
    gaussian_noise,
    logistic_noise,
    measure,
    noisy,
    reinforce,
    smooth_times_random,
    straight_through,
)
from spikeframe.neurons import randoms

F64 = torch.float64
A = torch.tensor([0.2, -0.7, 1.1], dtype=F64)
W = torch.tensor([1.0, -2.0, 0.5], dtype=F64)


@pytest.fixture(autouse=True)
def one_thread():
    """Hundreds of tiny training steps are slower on several threads than on one, by far where the cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def quadratic(h):
    """A loss that couples the units."""
    return (h @ W - 0.3) ** 2 + 2.0


def linear(h):
    return h @ W


def by_reinforce(loss, baseline=0.0):
    def estimator(a, u):
        h = bernoulli(a, u)
        return reinforce(a, h, loss(h), baseline)

    return estimator


def uniform(*shape, seed=1):
    return randoms.uniform(torch.empty(1, *shape, dtype=F64), seed, 0, 0)[0]


def agrees(found, exact):
    """Within five standard errors: a false alarm in two million."""
    return bool(((found.mean - exact).abs() <= 5 * found.standard_error + 1e-12).all())


def best_baseline(a, loss):
    """Baseline of least variance by enumeration: E[(h - p)^2 L] / E[(h - p)^2] per unit."""
    states = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=F64)] * len(a)).reshape(-1, len(a))
    p = torch.sigmoid(a)
    chance = torch.where(states == 1, p, 1 - p).prod(1, keepdim=True)
    square = chance * (states - p) ** 2
    return (square * loss(states)[:, None]).sum(0) / square.sum(0)


def test_the_exact_gradient_is_that_of_the_expected_loss():
    a = A.clone().requires_grad_()
    p = torch.sigmoid(a)
    mean, spread = p @ W - 0.3, (p * (1 - p)) @ (W * W)
    (expected,) = torch.autograd.grad(mean**2 + spread + 2.0, a)
    torch.testing.assert_close(exact_gradient(A, quadratic), expected)


@pytest.mark.statistical
@pytest.mark.parametrize("baseline", [0.0, 3.0, -5.0])
def test_reinforce_is_unbiased_for_any_baseline(baseline):
    assert agrees(measure(by_reinforce(quadratic, baseline), A), exact_gradient(A, quadratic))


@pytest.mark.statistical
def test_the_stated_baseline_has_the_least_variance():
    best = best_baseline(A, quadratic)
    least = measure(by_reinforce(quadratic, best), A).variance
    for shift in (-1.0, -0.2, 0.2, 1.0):
        assert bool((measure(by_reinforce(quadratic, best + shift), A).variance > least).all())
    mean = torch.sigmoid(A) @ W - 0.3
    expected_loss = float(mean**2 + (torch.sigmoid(A) * torch.sigmoid(-A)) @ (W * W) + 2.0)
    with_mean = measure(by_reinforce(quadratic, expected_loss), A).variance
    without = measure(by_reinforce(quadratic), A).variance
    assert bool((least < with_mean).all())
    assert bool((with_mean < without).all())


def test_one_unit_with_its_best_baseline_has_no_variance():
    """(h - p)(L - b) is p (1 - p)(L1 - L0) for h = 0 and h = 1 alike if b = (1 - p) L1 + p L0."""
    a = torch.tensor([0.2], dtype=F64)
    p = float(torch.sigmoid(a))
    loss = lambda h: (h[:, 0] - 1.4) ** 2 + 1.96  # noqa: E731
    b = (1 - p) * float(loss(torch.ones(1, 1, dtype=F64))) + p * float(loss(torch.zeros(1, 1, dtype=F64)))
    assert float(best_baseline(a, loss)) == pytest.approx(b, rel=1e-12)
    found = measure(by_reinforce(loss, b), a, draws=1000)
    assert float(found.variance) < 1e-28
    assert float(found.mean) == pytest.approx(float(exact_gradient(a, loss)), rel=1e-12)
    assert float(found.mean) == pytest.approx(-0.44553, abs=1e-5)


@pytest.mark.statistical
@pytest.mark.parametrize("kind", ["mean", "minimum"])
def test_running_averages_find_the_baseline(kind):
    baseline = Baseline(kind, decay=0.99)
    assert not bool(baseline.value(A.expand(4, 3)).any())
    for seed in range(300):
        a = A.expand(2000, 3)
        h = bernoulli(a, uniform(2000, 3, seed=seed))
        baseline = baseline.after(a, h, quadratic(h))
    p = torch.sigmoid(A)
    mean = (p @ W - 0.3) ** 2 + (p * (1 - p)) @ (W * W) + 2.0
    expected = best_baseline(A, quadratic) if kind == "minimum" else mean.expand(3)
    torch.testing.assert_close(baseline.value(a), expected, rtol=0.02, atol=0)
    assert not bool(Baseline("none").after(a, h, quadratic(h)).value(a).any())


@pytest.mark.statistical
def test_smooth_times_random_has_mean_p_and_half_the_gradient_of_a_linear_loss():
    a = A.expand(200_000, 3)
    h = smooth_times_random(a, uniform(200_000, 3))
    error = (h.mean(0) - torch.sigmoid(A)).abs()
    assert bool((error <= 5 * h.std(0) / math.sqrt(200_000)).all())
    found = measure(lambda a, u: linear(smooth_times_random(a, u)), A)
    assert agrees(found, exact_gradient(A, linear) / 2)


@pytest.mark.statistical
def test_straight_through_is_exact_for_a_linear_loss_and_biased_for_a_curved_one():
    found = measure(lambda a, u: linear(straight_through(a, u, slope=True)), A)
    torch.testing.assert_close(found.mean, exact_gradient(A, linear))
    assert float(found.variance.max()) < 1e-28
    curved, exact = measure(lambda a, u: quadratic(straight_through(a, u, slope=True)), A), exact_gradient(A, quadratic)
    assert not agrees(curved, exact)
    # d L / d h at h replaces L(1) - L(0); for a square they differ by W^2 (1 - 2p), times p (1 - p).
    p = torch.sigmoid(A)
    assert agrees(curved, exact - W * W * (1 - 2 * p) * p * (1 - p))
    plain = measure(lambda a, u: linear(straight_through(a, u)), A)
    torch.testing.assert_close(plain.mean, W)


@pytest.mark.statistical
def test_straight_through_varies_less_than_reinforce():
    direct = measure(lambda a, u: quadratic(straight_through(a, u, slope=True)), A).variance
    assert bool((direct < measure(by_reinforce(quadratic), A).variance).all())


def test_straight_through_puts_out_exact_zeros_and_ones():
    a, u = torch.randn(50, 7), torch.rand(50, 7)
    out = straight_through(a * 1e4, u)
    assert torch.equal(out, bernoulli(a * 1e4, u))
    assert set(out.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.statistical
def test_logistic_noise_makes_a_threshold_a_bernoulli_unit():
    u = uniform(200_000, 3)
    fired = (A + logistic_noise(u) > 0).to(F64).mean(0)
    p = torch.sigmoid(A)
    assert bool(((fired - p).abs() < 5 * (p * (1 - p) / 200_000).sqrt()).all())
    assert torch.equal((A + logistic_noise(u) > 0).to(F64), bernoulli(A.expand(200_000, 3), 1 - 2.0**-24 - u))
    normal = gaussian_noise(u)
    assert abs(float(normal.mean())) < 5 / math.sqrt(600_000)
    assert abs(float(normal.var()) - 1) < 5 * math.sqrt(2 / 600_000)


@pytest.mark.parametrize("form", ["rectifier", "sigmoid"])
def test_noisy_units_have_the_gradient_of_the_loss_under_their_noise(form):
    noise = 0.5 * gaussian_noise(uniform(9, 3))
    a = A.expand(9, 3).clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a: quadratic(noisy(a, noise, form)), a)
    assert bool(torch.isfinite(gaussian_noise(torch.tensor([0.0, 1 - 2.0**-24]))).all())
    assert bool(torch.isfinite(logistic_noise(torch.tensor([0.0, 1 - 2.0**-24]))).all())


def test_the_estimate_of_a_seed_is_always_the_same():
    first, second = (measure(by_reinforce(quadratic), A, draws=500, seed=7) for _ in range(2))
    assert torch.equal(first.mean, second.mean)
    assert not torch.equal(first.mean, measure(by_reinforce(quadratic), A, draws=500, seed=8).mean)


# Gates.


GATES = {"switched": switched, "smooth": smooth_times_random, "noisy": lambda a, u: noisy(a, gaussian_noise(u))}


@pytest.mark.parametrize("gate", GATES)
def test_closed_groups_are_zero_and_open_ones_are_the_linear_layer(gate):
    torch.manual_seed(0)
    layer = ConditionalLinear(6, 5, 4, gate=GATES[gate]).double()
    x = torch.randn(30, 6, dtype=F64)
    y, gates, probability = layer(x, uniform(30, 5))
    dense = torch.relu(layer.linear(x)).unflatten(1, (5, 4))
    torch.testing.assert_close(y.unflatten(1, (5, 4)), dense * gates[:, :, None])
    assert 0 < int(gates.count_nonzero()) < gates.numel()
    with torch.no_grad():
        skipped, same, _ = layer(x, uniform(30, 5))
        torch.testing.assert_close(skipped, y)
        assert torch.equal(same, gates)
        _, certain, _ = layer(x)
    if gate == "switched":
        assert torch.equal(certain, (probability.detach() > 0.5).to(F64))


def test_operations_count_the_gater_and_the_open_groups():
    layer = ConditionalLinear(6, 5, 4, hidden=3)
    gates = torch.tensor([[1.0, 0, 0, 1, 0], [0, 0, 0, 0, 0]])
    assert layer.operations(gates) == {"dense_mac": 2 * (6 * 3 + 3 * 5) + 2 * 24, "dense_equiv_mac": 2 * 5 * 24}


def test_the_penalty_is_the_divergence_from_the_target_and_training_reaches_it():
    torch.manual_seed(1)
    layer = ConditionalLinear(6, 8, 4, target=0.1)
    assert float(layer.penalty(torch.full((3, 8), 0.1))) == pytest.approx(0.0, abs=1e-6)
    expected = 8 * (0.1 * math.log(0.1 / 0.5) + 0.9 * math.log(0.9 / 0.5))
    assert float(layer.penalty(torch.full((3, 8), 0.5))) == pytest.approx(expected, rel=1e-5)
    x = torch.randn(64, 6)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.03)
    for step in range(120):
        y, _, probability = layer(x, torch.rand(64, 8, generator=torch.Generator().manual_seed(step)))
        loss = (y.sum(1) - x[:, 0]).pow(2).mean() * 0.01 + layer.penalty(probability)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        _, _, probability = layer(x)
    assert float(probability.mean()) == pytest.approx(0.1, abs=0.02)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Baseline("median"), ParameterError, "'minimum'"),
        (lambda: Baseline(decay=1.0), ParameterError, "below 1"),
        (lambda: noisy(A, A, "step"), ParameterError, "'rectifier'"),
        (lambda: bernoulli(A, A[:2]), ShapeError, "one number per activation"),
        (lambda: reinforce(A[None], A[None], A), ShapeError, r"\[B, N\]"),
        (lambda: measure(by_reinforce(linear), A, draws=1), ParameterError, "from 2"),
        (lambda: measure(lambda a, u: (a * math.nan).sum(1), A, draws=2), NonFiniteError, "not finite"),
        (lambda: measure(lambda a, u: a[:, 0] * math.nan + a[:, 1], A, draws=2), NonFiniteError, "not finite"),
        (lambda: exact_gradient(torch.zeros(21), linear), ShapeError, "at most 20"),
        (lambda: ConditionalLinear(0, 1, 1), ParameterError, "inputs=0"),
        (lambda: ConditionalLinear(2, 1, 1, target=0.0), ParameterError, "between 0 and 1"),
        (lambda: ConditionalLinear(2, 1, 1)(torch.zeros(3, 4)), ShapeError, r"\[B, 2\]"),
        (lambda: ConditionalLinear(2, 1, 1)(torch.zeros(3, 2), torch.zeros(3, 2)), ShapeError, "one number"),
    ],
)
def test_bad_input_is_refused_by_name(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_uniform_numbers_stay_below_one_in_every_type(kind):
    found = randoms.uniform(torch.empty(4, 1, 5000, dtype=kind), 3, 0, 0)
    assert found.dtype == kind
    assert 0.0 <= found.min() < 0.01
    assert 0.99 < found.max() < 1.0
