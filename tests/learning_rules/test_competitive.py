"""Hebbian rules against the theory of their fixed points."""

from __future__ import annotations

import pytest
import torch

from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError, UnknownNameError
from spikeframe.learning_rules.competitive import bcm, hebb, k_winners, oja, sanger, winners

F64 = torch.float64


pytestmark = pytest.mark.usefixtures("one_thread")


def data(seed=0, samples=300, inputs=8):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([3.0, 2.0, 1.4, 1.0, 0.7, 0.5, 0.3, 0.2], dtype=F64)[:inputs]
    basis = torch.linalg.qr(torch.randn(inputs, inputs, generator=generator, dtype=F64))[0]
    return (torch.randn(samples, inputs, generator=generator, dtype=F64) * scale) @ basis.T


def start(units, inputs=8, seed=1):
    return 0.3 * torch.randn(units, inputs, generator=torch.Generator().manual_seed(seed), dtype=F64)


def eigen(x):
    """Eigenvectors of the mean of x xᵀ as rows, the largest eigenvalue first."""
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    return values.flip(0), vectors.T.flip(0)


def test_plain_hebb_grows_by_powers_of_the_correlation_matrix():
    x, W = data(), start(3)
    C = x.T @ x / len(x)
    found = W.clone()
    for _ in range(40):
        found = found + 0.01 * hebb(found, x)
    expected = W @ torch.linalg.matrix_power(torch.eye(8, dtype=F64) + 0.01 * C, 40)
    torch.testing.assert_close(found, expected)


def test_changes_are_the_means_of_what_the_table_says_for_one_sample():
    x, W, theta = data(samples=7), start(3), torch.tensor([0.4, 1.0, 2.0], dtype=F64)
    sums = {name: torch.zeros_like(W) for name in ("hebb", "oja", "sanger", "bcm")}
    for row in x:
        y = W @ row
        for i in range(3):
            sums["hebb"][i] += y[i] * row / 7
            sums["oja"][i] += y[i] * (row - y[i] * W[i]) / 7
            sums["sanger"][i] += y[i] * (row - sum(y[j] * W[j] for j in range(i + 1))) / 7
            sums["bcm"][i] += y[i] * (y[i] - theta[i]) * row / 7
    torch.testing.assert_close(hebb(W, x), sums["hebb"])
    torch.testing.assert_close(oja(W, x), sums["oja"])
    torch.testing.assert_close(sanger(W, x), sums["sanger"])
    change, moved = bcm(W, x, theta, 0.25)
    torch.testing.assert_close(change, sums["bcm"])
    torch.testing.assert_close(moved, 0.75 * theta + 0.25 * (x @ W.T).square().mean(0))


def test_oja_ends_in_the_first_eigenvector_and_sanger_in_all_in_order():
    x = data()
    _, vectors = eigen(x)
    alone, together = start(3), start(4)
    for _ in range(4000):
        alone = alone + 0.05 * oja(alone, x)
        together = together + 0.05 * sanger(together, x)
    torch.testing.assert_close((alone @ vectors[0]).abs(), torch.ones(3, dtype=F64))
    torch.testing.assert_close(alone.norm(dim=1), torch.ones(3, dtype=F64))
    torch.testing.assert_close((together * vectors[:4]).sum(1).abs(), torch.ones(4, dtype=F64), atol=1e-6, rtol=0)
    assert oja(alone, x).abs().max() < 1e-9 and sanger(together, x).abs().max() < 1e-6
    for i in range(1, 8):  # the other eigenvectors are fixed points too, but not stable
        assert oja(vectors[i : i + 1], x).abs().max() < 1e-12
        moved = vectors[i : i + 1] + 1e-6 * vectors[:1]
        assert (oja(moved, x) @ vectors[0]).item() > 0


def test_bcm_units_come_to_answer_one_pattern_with_the_inverse_of_its_probability():
    generator = torch.Generator().manual_seed(0)
    patterns = torch.eye(4, 6, dtype=F64) + 0.3 * torch.rand(4, 6, generator=generator, dtype=F64)
    x = torch.cat([patterns, patterns[:1]])  # the first comes twice as often: probabilities 2/5 and 1/5
    W, theta = 0.3 + start(12, 6), torch.zeros(12, dtype=F64)
    for _ in range(6000):
        change, theta = bcm(W, x, theta, 0.2)
        W = W + 0.01 * change
    y = W @ patterns.T
    chosen = y.argmax(1)
    expected = torch.zeros_like(y)
    expected[torch.arange(12), chosen] = torch.tensor([2.5, 5.0, 5.0, 5.0], dtype=F64)[chosen]
    torch.testing.assert_close(y, expected, atol=2e-3, rtol=0)
    torch.testing.assert_close(theta, expected.max(1).values, atol=4e-3, rtol=0)
    assert len(set(chosen.tolist())) > 1


@pytest.mark.parametrize(("k", "score"), [(1, "distance"), (3, "distance"), (2, "product")])
def test_winners_come_to_rest_at_the_mean_of_what_they_win(k, score):
    x, W = data(), start(6)
    for _ in range(300):
        W = W + 0.5 * k_winners(W, x, k, score)
    won = winners(W, x, k, score)
    assert (won.sum(1) == k).all()
    for i in range(6):
        if won[:, i].any() and score == "distance":
            torch.testing.assert_close(W[i], x[won[:, i]].mean(0), atol=1e-6, rtol=0)
    distance = torch.cdist(x, W)
    sign = 1 if score == "distance" else -1
    value = distance if score == "distance" else x @ W.T
    worst = (sign * value).masked_fill(~won, -torch.inf).max(1).values
    assert (worst <= (sign * value).masked_fill(won, torch.inf).min(1).values + 1e-9).all()


def test_one_winner_ends_where_k_means_does():
    from sklearn.cluster import KMeans

    x, W = data(), data(5)[:6].clone()
    means = KMeans(6, init=W.numpy(), n_init=1, max_iter=1000, tol=0).fit(x.numpy()).cluster_centers_
    for _ in range(400):  # rate 1 on the whole set is Lloyd's algorithm
        W = W + k_winners(W, x)
    torch.testing.assert_close(W, torch.from_numpy(means))


def test_who_never_wins_does_not_move():
    x, W = data(), start(4)
    W[2] = 1e3
    assert not winners(W, x, 1)[:, 2].any()
    assert (k_winners(W, x)[2] == 0).all()


@pytest.mark.fault
def test_bad_numbers_are_refused_by_name():
    W, x, theta = start(3), data(), torch.zeros(3, dtype=F64)
    for call, error, words in (
        (lambda: hebb(W, x[:, :3]), ShapeError, "W has shape"),
        (lambda: oja(W, x[:0]), ShapeError, "x"),
        (lambda: sanger(W.long(), x), DTypeError, "W"),
        (lambda: oja(W, x * float("nan")), NonFiniteError, "x"),
        (lambda: hebb(W * float("inf"), x), NonFiniteError, "rate"),
        (lambda: bcm(W, x, theta[:2]), ShapeError, "threshold"),
        (lambda: bcm(W, x, theta, 0.0), ParameterError, "rate"),
        (lambda: bcm(W, x, theta, 1.5), ParameterError, "rate"),
        (lambda: k_winners(W, x, 0), ParameterError, "k=0"),
        (lambda: k_winners(W, x, 4), ParameterError, "k=4"),
        (lambda: winners(W, x, 1, "distence"), UnknownNameError, "distance"),
    ):
        with pytest.raises(error, match=words):
            call()
