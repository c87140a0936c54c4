"""Surrogate gradients: their formulas, their mass, and no overflow anywhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from spikeframe.errors import ParameterError, UnknownNameError
from spikeframe.learning_rules.surrogates import (
    SURROGATES,
    ATan,
    Boxcar,
    FastSigmoid,
    Gaussian,
    MultiGaussian,
    Sigmoid,
    Triangle,
    surrogate,
)
from spikeframe.neurons import IF


def gradient(choice, u: torch.Tensor) -> torch.Tensor:
    """Return ds/du by autograd, through a neuron whose membrane is its input."""
    x = (u + 1.0).reshape(1, 1, -1).requires_grad_()
    out, _ = IF(dt=1.0, surrogate=choice, backend="torch", v_th=1.0)(x)
    return torch.autograd.grad(out.sum(), x)[0].reshape(-1)


FORMULAS = {
    "fast_sigmoid": lambda u: 1 / (1 + 25 * np.abs(u)) ** 2,
    "atan": lambda u: 1 / (1 + (np.pi * u) ** 2),
    "sigmoid": lambda u: 4 * np.exp(-4 * np.abs(u)) / (1 + np.exp(-4 * np.abs(u))) ** 2,
    "triangle": lambda u: 0.3 * np.maximum(0, 1 - np.abs(u)),
    "gaussian": lambda u: norm.pdf(u, 0, 0.5),
    "multi_gaussian": lambda u: (
        0.5 * (1.15 * norm.pdf(u, 0, 0.5) - 0.15 * (norm.pdf(u, 0.5, 3) + norm.pdf(u, -0.5, 3)))
    ),
    "boxcar": lambda u: (np.abs(u) < 0.5) * 1.0,
    "straight_through": np.ones_like,
}


@pytest.mark.parametrize("name", SURROGATES)
def test_the_gradient_is_the_published_formula(name):
    u = torch.linspace(-4, 4, 801, dtype=torch.float64)
    found = gradient(name, u).numpy()
    # The input is u + 1 and the threshold is taken off again, which moves u by a rounding.
    expected = FORMULAS[name]((u + 1.0 - 1.0).numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["atan", "sigmoid", "gaussian", "boxcar"])
def test_those_that_are_densities_integrate_to_one(name):
    u = torch.linspace(-300, 300, 600_001, dtype=torch.float64)
    assert float(torch.trapezoid(gradient(name, u), u)) == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_gradients_are_finite_far_from_threshold(name, dtype, backend):
    sizes = [0.0, 1e-30, 1.0, 5.0, 1e4, 1e18] + ([1e30] if dtype == torch.float64 else [])
    x = torch.tensor([s * v for v in sizes for s in (1, -1)], dtype=dtype).reshape(1, 1, -1).requires_grad_()
    out, _ = IF(dt=1.0, surrogate=name, backend=backend)(x)
    (found,) = torch.autograd.grad(out.sum(), x)
    assert bool(torch.isfinite(found).all())
    assert name == "multi_gaussian" or bool((found >= 0).all())


def test_steepness_is_a_parameter():
    u = torch.tensor([0.1], dtype=torch.float64)
    assert float(gradient(FastSigmoid(k=10.0), u)) == pytest.approx(0.25)
    assert float(gradient(Sigmoid(k=8.0), torch.zeros(1, dtype=torch.float64))) == pytest.approx(2.0)


@pytest.mark.fault
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, "3", True, None])
def test_bad_steepness_is_refused(value):
    with pytest.raises(ParameterError, match="above 0"):
        Boxcar(w=value)


@pytest.mark.fault
def test_unknown_names_get_a_suggestion():
    with pytest.raises(UnknownNameError, match="Did you mean 'triangle'"):
        surrogate("triangel")


@pytest.mark.fault
@pytest.mark.parametrize(
    "build",
    [
        lambda: FastSigmoid(1e39),
        lambda: ATan(3e38),
        lambda: Sigmoid(1e39),
        lambda: Triangle(w=1e-46),
        lambda: Triangle(gamma=1e39),
        lambda: Gaussian(1e-39),
        lambda: MultiGaussian(s=1e-39),
        lambda: MultiGaussian(c=1e30, s=1e-30),
        lambda: Boxcar(1e-39),
    ],
)
def test_parameters_that_float32_cannot_hold_are_refused(build):
    with pytest.raises(ParameterError, match="in float32; take less extreme"):
        build()


@pytest.mark.parametrize(
    "steep", [FastSigmoid(1e38), ATan(1e37), Sigmoid(1e37), Triangle(w=1e-37), Gaussian(1e-37), Boxcar(1e-37)]
)
def test_steep_surrogates_that_are_taken_give_finite_gradients(steep):
    u = torch.tensor([0.0, 1e-7, -1e-7, 1.0, -1.0, 1e6, -1e6])
    assert torch.isfinite(gradient(steep, u)).all()
