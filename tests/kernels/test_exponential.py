"""The shared exponential: accurate, and the same bits everywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numba import njit

from spikeframe.kernels.numba.exponential import exp32, exp64
from spikeframe.kernels.reference.exponential import exp
from spikeframe.neurons.torch_form import exp as torch_exp


@njit(cache=True, error_model="numpy")
def _run32(x, out):
    for i in range(x.size):
        out[i] = exp32(x[i])


@njit(cache=True, error_model="numpy")
def _run64(x, out):
    for i in range(x.size):
        out[i] = exp64(x[i])


def _arguments(dtype: type) -> np.ndarray:
    """Every exponent of the type with a few mantissas, both signs, and the special values."""
    info = np.finfo(dtype)
    powers = np.ldexp(dtype(1), np.arange(info.minexp - info.nmant, info.maxexp))
    mantissas = np.linspace(1, 1.9999, 23).astype(dtype)
    grid = np.outer(powers, mantissas).reshape(-1)
    dense = np.random.Generator(np.random.Philox(1)).uniform(-120 if dtype is np.float32 else -760, 100, 200_000)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan]
    return np.concatenate([grid, -grid, dense, special]).astype(dtype)


@pytest.mark.exact
@pytest.mark.parametrize(("dtype", "compiled"), [(np.float32, _run32), (np.float64, _run64)])
def test_all_providers_give_the_same_bits(dtype, compiled):
    x = _arguments(dtype)
    expected = exp(x)
    out = np.empty_like(x)
    compiled(x, out)
    with_torch = torch_exp(torch.from_numpy(x)).numpy()
    same = np.isnan(expected)
    assert np.array_equal(np.isnan(out), same)
    assert np.array_equal(np.isnan(with_torch), same)
    assert np.array_equal(out[~same], expected[~same])
    assert np.array_equal(with_torch[~same], expected[~same])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_error_is_at_most_two_ulp(dtype):
    x = _arguments(dtype)
    x = x[np.isfinite(x)]
    with np.errstate(over="ignore", under="ignore"):
        truth = np.exp(x.astype(np.longdouble))
        got = exp(x).astype(np.longdouble)
        normal = (truth > np.finfo(dtype).tiny) & (truth < np.finfo(dtype).max)
        ulp = np.spacing(truth[normal].astype(dtype)).astype(np.longdouble)
    assert float((np.abs(got[normal] - truth[normal]) / ulp).max()) <= 2.0
    assert np.isinf(exp(np.array([1e5], dtype)))[0]
    assert exp(np.array([-1e5], dtype))[0] == 0.0


def test_its_gradient_is_itself():
    x = torch.linspace(-3, 3, 7, dtype=torch.float64, requires_grad=True)
    y = torch_exp(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, y.detach())
