"""Sparse coding: thresholds against brute force, codes against optimality conditions, spikes against rates."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from spikeframe.errors import NonFiniteError, ParameterError, ShapeError
from spikeframe.neurons.lca import LCA, SpikingLCA
from spikeframe.neurons.thresholds import CEL0, Hard, Lq, Soft

F64 = torch.float64
THRESHOLDS = [Soft(0.3), Hard(0.3), Lq(0.3), Lq(0.2, 0.8), Lq(0.4, 0.05), CEL0(0.3)]


@pytest.fixture(autouse=True)
def one_thread():
    """Thousands of tiny products are slower on several threads than on one, by far where the cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def dictionary(d, m, seed=1):
    phi = torch.randn(d, m, generator=torch.Generator().manual_seed(seed), dtype=F64)
    return phi / phi.norm(dim=0)


def sparse_signals(phi, count, noise=0.01, seed=2):
    """Signals of three columns each, with amplitudes of 0.5 to 1.5 and either sign."""
    random = np.random.Generator(np.random.Philox(seed))
    codes = np.zeros((count, phi.shape[1]))
    for row in codes:
        row[random.choice(phi.shape[1], 3, replace=False)] = random.uniform(0.5, 1.5, 3) * random.choice([-1, 1], 3)
    codes = torch.from_numpy(codes)
    return codes @ phi.T + noise * torch.from_numpy(random.normal(size=(count, len(phi)))), codes


@pytest.mark.parametrize("mu", [0.3, 0.9, 1.0])
@pytest.mark.parametrize("threshold", THRESHOLDS, ids=str)
def test_a_threshold_is_the_proximal_map_of_its_penalty(threshold, mu):
    """The objective at T(z) is that of the best point of a grid, or lower."""
    z = torch.linspace(-2.5, 2.5, 301, dtype=F64)
    grid = torch.linspace(-3, 3, 6001, dtype=F64)
    objective = lambda r, z: 0.5 * (r - z) ** 2 + mu * threshold.penalty(r)  # noqa: E731
    best = objective(grid[None, :], z[:, None]).amin(1)
    found = threshold(z, mu)
    assert bool((objective(found, z) <= best + 1e-12).all())
    torch.testing.assert_close(found, -threshold(-z, mu))
    assert 0 < int((found == 0).sum()) < 301


def test_the_half_threshold_has_its_closed_form():
    """Xu et al. 2012, doi:10.1109/TNNLS.2012.2197412; their weight is twice that of the proximal map."""
    z = torch.linspace(0.0, 3.0, 601, dtype=F64)
    lam, mu = 0.4, 0.7
    weight = 2 * lam * mu
    angle = torch.arccos((weight / 8 * (z / 3).clamp(min=1e-9) ** -1.5).clamp(max=1.0))
    closed = 2 / 3 * z * (1 + torch.cos(2 * math.pi / 3 - 2 / 3 * angle))
    closed = torch.where(z > 54 ** (1 / 3) / 4 * weight ** (2 / 3), closed, torch.zeros_like(z))
    torch.testing.assert_close(Lq(lam, 0.5)(z, mu), closed, rtol=1e-12, atol=1e-14)


def test_cel0_is_continuous_below_a_step_of_one_and_hard_at_it():
    z = torch.linspace(-2, 2, 4001, dtype=F64)
    step = float(z[1] - z[0])
    for mu in (0.2, 0.9, 0.99):
        assert float(CEL0(0.3)(z, mu).diff().abs().max()) <= step / (1 - mu) * (1 + 1e-9)
    assert torch.equal(CEL0(0.3)(z, 1.0), Hard(0.3)(z, 1.0))
    away = (z.abs() - math.sqrt(0.6)).abs() > 2e-3
    torch.testing.assert_close(CEL0(0.3)(z, 0.999)[away], Hard(0.3)(z, 1.0)[away], rtol=0, atol=1e-9)
    assert float(Hard(0.3)(z, 0.5).diff().max()) > 0.5


@pytest.mark.parametrize("mu", [0.2, 1.0])
def test_soft_codes_meet_the_conditions_of_the_lasso(mu):
    """|Phi^T (x - Phi a)| <= lam, and lam sign(a) where a is not 0."""
    phi, lam = dictionary(20, 40), 0.15
    x, _ = sparse_signals(phi, 30)
    lca = LCA(phi, Soft(lam), mu=mu, tau=5.0)
    a = lca.encode(x, tolerance=1e-12, most=20_000)
    pull = (x - a @ phi.T) @ phi
    assert float(pull.abs().max()) <= lam + 1e-8
    on = a != 0
    assert 0 < int(on.sum()) < a.numel() / 2
    torch.testing.assert_close(pull[on], lam * torch.sign(a[on]), rtol=0, atol=1e-8)


@pytest.mark.parametrize("threshold", [Soft(0.05), Hard(0.02), Lq(0.03), CEL0(0.02)], ids=str)
def test_fixed_points_are_those_of_proximal_gradient_descent(threshold):
    phi = dictionary(20, 40)
    x, _ = sparse_signals(phi, 30)
    mu = 0.9 / float(torch.linalg.matrix_norm(phi, 2)) ** 2
    lca = LCA(phi, threshold, mu=mu, tau=1.0, dt=2.0)
    a = lca.encode(x, tolerance=1e-12, most=5000)
    torch.testing.assert_close(threshold(lca.target(x, a), mu), a, rtol=0, atol=1e-7)


def test_a_step_far_longer_than_tau_is_a_step_of_descent_and_lowers_the_energy():
    phi = dictionary(20, 40)
    x, _ = sparse_signals(phi, 30)
    mu = 0.9 / float(torch.linalg.matrix_norm(phi, 2)) ** 2
    for threshold in (Soft(0.1), Hard(0.02), CEL0(0.02)):
        lca = LCA(phi, threshold, mu=mu, tau=1.0, dt=1000.0)
        codes, _ = lca(x.expand(50, 30, 20))
        a = torch.zeros_like(codes[0])
        energy = lca.energy(x, a)
        for step in range(50):
            a = threshold(a + mu * (x - a @ phi.T) @ phi, mu)
            torch.testing.assert_close(codes[step], a, rtol=1e-10, atol=1e-12)
            below = lca.energy(x, a)
            assert bool((below <= energy + 1e-12).all())
            energy = below


@pytest.mark.statistical
def test_exact_relaxation_finds_the_support_that_soft_thresholds_bias():
    """Three columns of 128 in 64 dimensions: CEL0 recovers nearly all supports with small error, soft codes shrink."""
    phi = dictionary(64, 128)
    x, codes = sparse_signals(phi, 100)
    mu = 0.9 / float(torch.linalg.matrix_norm(phi, 2)) ** 2
    found = {}
    for threshold in (CEL0(0.03), Soft(0.1)):
        a = LCA(phi, threshold, mu=mu, tau=1.0, dt=100.0).encode(x, tolerance=1e-8, most=2000)
        right = ((a != 0) == (codes != 0)).all(1).double().mean()
        found[type(threshold)] = float(right), float((a - codes)[codes != 0].abs().mean())
    assert found[CEL0][0] >= 0.97
    assert found[CEL0][1] < 0.02
    assert found[Soft][1] > 0.06


@pytest.mark.parametrize("threshold", [Soft(0.1), Hard(0.05)], ids=str)
def test_mean_spikes_tend_to_the_rates_as_spikes_get_smaller(threshold):
    phi = dictionary(20, 30)
    x, _ = sparse_signals(phi, 20)
    codes = LCA(phi, threshold, tau=20.0, dt=0.5).encode(x, tolerance=1e-9, most=20_000)
    errors = []
    for rate in (0.1, 1.0):
        spiking = SpikingLCA(phi, threshold, tau=20.0, dt=0.5, rate=rate)
        mean = spiking.encode(x, most=3000)
        errors.append(float((mean - codes).abs().mean()))
    assert errors[1] < 0.02
    assert errors[1] < errors[0]


def test_spikes_are_signed_whole_and_accounted_for():
    phi = dictionary(10, 15)
    x, _ = sparse_signals(phi, 4)
    lca = SpikingLCA(phi, Soft(0.1), rate=0.1)
    z, state = lca(x.expand(300, 4, 10))
    assert set(z.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert bool((state.v.abs() < 1).all())
    assert lca.operations(z) == {"syn_ac": int((z != 0).sum()) * 15}
    rates = LCA(phi, Soft(0.1))
    a, _ = rates(x.expand(50, 4, 10))
    sent = int((a[0] != 0).sum()) + int((a[1:] != a[:-1]).sum())
    assert rates.operations(a) == {"syn_mac": sent * 15}


@pytest.mark.parametrize("threshold", [Soft(0.1), Hard(0.05), CEL0(0.05)], ids=str)
def test_sending_changes_only_gives_the_clocked_run(threshold):
    """Rates up to rounding, over a signal that changes; silence costs nothing."""
    phi = dictionary(12, 20)
    x, _ = sparse_signals(phi, 6)
    changing = torch.cat([x[:3].expand(40, 3, 12), x[3:].expand(40, 3, 12)])
    lca = LCA(phi, threshold, mu=0.3)
    clocked, _ = lca(changing)
    found, operations = lca.event_driven(changing)
    torch.testing.assert_close(found, clocked, rtol=1e-11, atol=1e-12)
    assert operations == lca.operations(clocked)
    assert 0 < operations["syn_mac"] < 80 * 3 * 20 * 20
    assert lca.event_driven(torch.zeros(50, 2, 12, dtype=F64))[1] == {"syn_mac": 0}
    assert lca.event_driven(changing[:0])[0].shape == (0, 3, 20)


@pytest.mark.exact
def test_a_spiking_run_by_rows_gives_the_clocked_spikes():
    phi = dictionary(12, 20)
    x, _ = sparse_signals(phi, 5)
    lca = SpikingLCA(phi, Soft(0.1), rate=0.3)
    clocked, _ = lca(x.expand(300, 5, 12))
    found, operations = lca.event_driven(x.expand(300, 5, 12))
    assert int(clocked.abs().sum()) > 100
    assert torch.equal(found, clocked)
    assert operations == lca.operations(clocked)


@pytest.mark.exact
@pytest.mark.parametrize("kind", [LCA, SpikingLCA])
def test_a_run_in_pieces_equals_a_run_at_once(kind):
    phi = dictionary(10, 15)
    x = torch.randn(30, 4, 10, generator=torch.Generator().manual_seed(5), dtype=F64)
    lca = kind(phi, Soft(0.1))
    whole, end = lca(x)
    first, state = lca(x[:11])
    second, last = lca(x[11:], state)
    assert torch.equal(whole, torch.cat([first, second]))
    assert all(torch.equal(a, b) for a, b in zip(end, last, strict=True))
    assert lca(x[:0])[0].shape == (0, 4, 15)


def test_gradients_flow_to_the_signal():
    x = torch.randn(6, 2, 5, generator=torch.Generator().manual_seed(6), dtype=F64).requires_grad_()
    for threshold in (Soft(0.05), Lq(0.02), CEL0(0.02)):
        lca = LCA(dictionary(5, 7), threshold, mu=0.4, tau=3.0)
        assert torch.autograd.gradcheck(lambda x, lca=lca: lca(x)[0], x)


def test_learning_lowers_the_error_and_keeps_columns_of_length_one():
    truth = dictionary(12, 18)
    x, _ = sparse_signals(truth, 200, seed=4)
    lca = LCA(dictionary(12, 18, seed=9), Soft(0.1), tau=2.0)
    energies = []
    for _ in range(15):
        a = lca.encode(x, tolerance=1e-3, most=150)
        energies.append(float(lca.energy(x, a).mean()))
        lca.learn(x, a, 4e-3)
        torch.testing.assert_close(lca.dictionary.norm(dim=0), torch.ones(18, dtype=F64))
    assert energies[-1] < 0.9 * energies[0]


@pytest.mark.fault
@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Soft(0.0), ParameterError, r"Soft\(lam=0.0\)"),
        (lambda: Hard(math.nan), ParameterError, "finite number above 0"),
        (lambda: Lq(0.1, 1.0), ParameterError, "q = 1 is Soft"),
        (lambda: Lq(0.1, -0.5), ParameterError, "above 0"),
        (lambda: LCA(torch.ones(3), Soft()), ShapeError, r"\[d, m\]"),
        (lambda: LCA(torch.zeros(3, 2), Soft()), ParameterError, "column 0"),
        (lambda: LCA(torch.full((3, 2), math.inf), Soft()), NonFiniteError, "not finite"),
        (lambda: LCA(torch.eye(3), "soft"), ParameterError, "Soft, Hard, Lq or CEL0"),
        (lambda: LCA(torch.eye(3), Soft(), tau=0.0), ParameterError, r"LCA\(tau\)=0.0"),
        (lambda: LCA(torch.eye(3), Soft(), dt=100.0, mu=2.5), ParameterError, "not stable.*smaller dt"),
        (lambda: SpikingLCA(torch.eye(3), Soft(), rate=-1.0), ParameterError, r"SpikingLCA\(rate\)=-1.0"),
        (lambda: LCA(torch.eye(3), Soft())(torch.zeros(2, 1, 4)), ShapeError, r"\[T, B, 3\]"),
        (lambda: LCA(torch.eye(3), Soft())(torch.zeros(2, 1, 3), torch.zeros(1, 3)), ShapeError, "LCAState"),
        (lambda: LCA(torch.eye(3), Soft()).learn(torch.zeros(1, 3), torch.zeros(1, 3), 0.0), ParameterError, "eta"),
    ],
)
def test_bad_input_is_refused_by_name(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_encoding_ends_once_a_step_of_length_tau_changes_little():
    phi = dictionary(16, 24)
    x, _ = sparse_signals(phi, 4)
    layer = LCA(phi, Soft(0.1), tau=7.0)
    at = [layer(x.expand(7 * n, *x.shape))[0][-1] for n in range(1, 60)]
    for tolerance in (0.5, 1e-2):
        last = next(n for n in range(1, 59) if (at[n] - at[n - 1]).norm() <= tolerance * at[n].norm())
        assert torch.equal(layer.encode(x, tolerance), at[last])
    assert torch.equal(layer.encode(x, 0.0, most=15), at[2])  # the third stretch begins before step 15
