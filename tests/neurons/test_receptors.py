"""Receptor propagators are exact, also where time constants coincide."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from spikeframe.errors import ParameterError, UnknownNameError
from spikeframe.neurons import LI, LIF, Alpha, Exp


def _double(x: float) -> torch.Tensor:
    return torch.tensor(x, dtype=torch.float64)


PAIRS = [
    (10.0, 2.0),
    (2.0, 10.0),
    (10.0, 10.0),
    (10.0, 10.0 + 1e-9),
    (10.0, 10.001),
    (20.0, 5.0),
    (1e4, 0.5),
    (0.3, 80.0),
]


@pytest.mark.exact
@pytest.mark.parametrize(("tau_m", "tau"), PAIRS)
@pytest.mark.parametrize("h", [0.01, 0.37, 1.0, 10.0])
def test_propagators_equal_the_matrix_exponential(tau_m, tau, h):
    c_m = 250.0
    system = np.array([[-1 / tau, 0, 0], [1, -1 / tau, 0], [0, 1 / c_m, -1 / tau_m]])  # y, i, v
    exact = expm(system * h)
    alpha = Alpha(tau=tau).coefficients(_double(1 / tau_m), _double(1 / c_m), h)
    exp = Exp(tau=tau).coefficients(_double(1 / tau_m), _double(1 / c_m), h)
    assert float(alpha["decay"]) == pytest.approx(exact[1, 1], rel=1e-13)
    assert float(alpha["rise"]) == pytest.approx(exact[1, 0], rel=1e-12)
    assert float(alpha["drive"]) == pytest.approx(exact[2, 1], rel=1e-11)
    assert float(alpha["rise_drive"]) == pytest.approx(exact[2, 0], rel=1e-10)
    assert float(exp["drive"]) == float(alpha["drive"])


def test_published_values_are_met():
    """tau_m 10, tau_s 2, C 250, h 0.37, to all digits of double precision."""
    found = Alpha(tau=2.0).coefficients(_double(0.1), _double(1 / 250), 0.37)
    assert float(found["drive"]) == pytest.approx(1.3257185149692778e-3, rel=1e-13)
    assert float(found["rise_drive"]) == pytest.approx(2.3921043717e-4, rel=1e-10)
    assert float(found["rise"]) == pytest.approx(3.0750858502528655e-1, rel=1e-13)


@pytest.mark.parametrize("backend", ["torch", "numba", "reference"])
def test_an_alpha_current_peaks_at_its_weight_after_tau_and_decays(backend):
    neuron = LI(dt=0.1, tau_m=10.0, receptors=Alpha(tau=2.0), backend=backend)
    x = torch.zeros(200, 1, 1, dtype=torch.float64)
    x[0] = 3.0
    currents = []
    state = None
    for t in range(200):
        _, state = neuron(x[t : t + 1], state)
        currents.append(float(state.i))
    t = np.arange(200) * 0.1
    expected = 3.0 * t / 2.0 * np.exp(1 - t / 2.0)
    assert np.allclose(currents, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("receptor", "tau_m"), [(Exp(tau=5.0), 20.0), (Exp(tau=20.0), 20.0), (Alpha(tau=3.0), 12.0)])
def test_potentials_of_random_trains_superpose(receptor, tau_m):
    """Below threshold the membrane is the sum of the single responses."""
    random = np.random.Generator(np.random.Philox(2))
    weights = torch.from_numpy(random.normal(size=(300, 1, 1)) * (random.random((300, 1, 1)) < 0.1))
    neuron = LI(dt=0.5, tau_m=tau_m, receptors=receptor)
    together, _ = neuron(weights)
    impulse = torch.zeros_like(weights)
    impulse[0] = 1.0
    kernel = neuron(impulse)[0].reshape(-1).numpy()
    expected = np.convolve(weights.reshape(-1).numpy(), kernel)[:300]
    assert np.abs(together.reshape(-1).numpy() - expected).max() < 1e-12


@pytest.mark.fault
def test_bad_receptors_are_named():
    with pytest.raises(ParameterError, match=r"Exp\(tau\)=-1"):
        Exp(tau=-1.0)
    with pytest.raises(UnknownNameError, match="Did you mean 'tau'"):
        Exp(taw=1.0)
    with pytest.raises(ParameterError, match="receptors="):
        LIF(receptors=5.0)
    with pytest.raises(ParameterError, match="identifier"):
        LIF(receptors={"a b": Exp()})
    assert math.isclose(float(Exp(tau=7.0).tau), 7.0)
