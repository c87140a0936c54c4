"""Phases, their locking, nested rhythms: signals whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spikeframe.analysis import (
    analytic,
    circular_linear,
    kuramoto,
    modulation_index,
    pairwise_phase_consistency,
    phase_amplitude_coupling,
    phase_locking,
    rayleigh,
    spike_phase,
)
from spikeframe.errors import ParameterError, ShapeError

GIVEN = json.loads((Path(__file__).parent / "data" / "elephant.json").read_text(encoding="utf-8"))


@pytest.mark.parity
def test_phase_locking_is_elephants():
    a, b = (np.array(x) for x in GIVEN["phases"])
    assert phase_locking(a, b) == pytest.approx(GIVEN["plv"], abs=1e-12)
    assert rayleigh(b - a)[0] == pytest.approx(GIVEN["mean_vector"][1], abs=1e-12)


@pytest.mark.parity
def test_pairwise_phase_consistency_is_the_mean_over_pairs():
    a, b = (np.array(x)[:40] for x in GIVEN["phases"])
    d = a - b
    mean = np.mean([np.cos(d[i] - d[j]) for i in range(40) for j in range(40) if i != j])
    assert pairwise_phase_consistency(a, b) == pytest.approx(mean, abs=1e-12)


@pytest.mark.statistical
def test_phase_locking_of_unrelated_phases_is_biased_and_the_consistency_is_not():
    rng = np.random.default_rng(0)
    draws = rng.uniform(0.0, 2.0 * np.pi, (400, 2, 10))
    assert np.mean([phase_locking(a, b) for a, b in draws]) > 0.2
    assert np.mean([pairwise_phase_consistency(a, b) for a, b in draws]) == pytest.approx(0.0, abs=0.02)
    false_alarms = np.mean([rayleigh(a)[1] < 0.05 for a, _ in draws])
    assert 0.02 < false_alarms < 0.09
    assert rayleigh([0.1, 0.2, 0.15, 0.12, 0.11])[1] < 0.01


@pytest.mark.exact
def test_a_sine_has_its_phase_and_amplitude():
    t = np.arange(0.0, 4000.0, 1.0)
    found = analytic(3.0 * np.cos(2.0 * np.pi * 8.0 * t * 1e-3 + 0.4) + 5.0, 1.0, 6.0, 10.0)
    inner = slice(1000, 3000)
    assert np.abs(found)[inner] == pytest.approx(3.0, abs=0.02)
    expected = np.exp(1j * (2.0 * np.pi * 8.0 * t * 1e-3 + 0.4))[inner]
    assert np.abs(np.exp(1j * np.angle(found[inner])) - expected).max() < 0.01


@pytest.mark.exact
def test_a_spike_trains_phase_grows_from_spike_to_spike():
    found = spike_phase([10.0, 20.0, 40.0], [5.0, 10.0, 15.0, 20.0, 35.0, 40.0])
    assert np.isnan(found[[0, 5]]).all()
    assert found[1:5] == pytest.approx([0.0, np.pi, 0.0, 1.5 * np.pi])


@pytest.mark.statistical
def test_kuramotos_oscillators_lock_above_the_critical_coupling_only():
    """Lorentzian frequencies of half width 1: K_c = 2; above it R = sqrt(1 - K_c / K), 0.707 at K = 4."""
    n = 2000
    width = np.tan(np.pi * ((np.arange(n) + 0.5) / n - 0.5))
    rng = np.random.default_rng(1)
    levels = []
    for k in (1.0, 4.0):
        phi = rng.uniform(0.0, 2.0 * np.pi, n)
        kept = []
        for step in range(1500):
            mean = np.exp(1j * phi).mean()
            phi = phi + 0.02 * (width + k * np.imag(mean * np.exp(-1j * phi)))
            if step >= 1000:
                kept.append(phi)
        levels.append(kuramoto(np.array(kept)).mean())
    assert levels[0] < 0.1
    assert levels[1] == pytest.approx(np.sqrt(0.5), abs=0.04)


def nested(depth: float, seed: int = 0) -> np.ndarray:
    """A slow rhythm whose phase drifts, and a fast one as strong as `depth` says at its crest; noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(0.0, 8000.0, 1.0) * 1e-3
    slow = np.cos(2.0 * np.pi * 6.0 * t + np.cumsum(rng.normal(0.0, 0.1, t.size)))
    fast = (1.0 + depth * slow) * np.cos(2.0 * np.pi * 60.0 * t)
    return slow + 0.3 * fast + 0.3 * rng.standard_normal(t.size)


@pytest.mark.statistical
def test_nested_rhythms_are_found_in_the_order_of_their_depth():
    found = [phase_amplitude_coupling(nested(d), 1.0, (4.0, 8.0), (45.0, 75.0), surrogates=60) for d in (0.0, 0.4, 0.9)]
    index = [f.index for f in found]
    assert index[0] < 0.3 * index[1] < index[1] < index[2]
    assert found[0].z < 3.0
    assert found[0].p > 0.01
    assert found[2].z > 10.0
    assert found[2].p == pytest.approx(1.0 / 61.0)
    assert found[2].vector > found[1].vector > found[0].vector
    assert found[2].histogram.argmax() in (8, 9)  # largest at the slow rhythm's crest, phase 0
    assert found[2].histogram.sum() == pytest.approx(1.0)


@pytest.mark.exact
def test_the_modulation_index_of_a_known_histogram():
    phase = np.repeat(np.linspace(-np.pi, np.pi, 18, endpoint=False) + 0.01, 3)
    assert modulation_index(phase, np.full(54, 2.0))[0] == pytest.approx(0.0, abs=1e-15)
    one = np.zeros(54)
    one[:3] = 1.0
    assert modulation_index(phase, one)[0] == pytest.approx(1.0)
    half = np.concatenate([np.ones(27), np.zeros(27)])
    assert modulation_index(phase, half)[0] == pytest.approx(np.log(2.0) / np.log(18.0))


@pytest.mark.statistical
def test_phase_precession_is_found():
    rng = np.random.default_rng(2)
    x = rng.uniform(0.0, 10.0, 300)
    phi = 1.0 - 0.6 * x + rng.normal(0.0, 0.4, 300)
    slope, offset, correlation = circular_linear(phi, x, 2.0)
    assert slope == pytest.approx(-0.6, abs=0.03)
    assert np.cos(offset - 1.0) > 0.98
    assert correlation < -0.8
    assert abs(circular_linear(rng.uniform(0, 6.28, 300), x, 2.0)[2]) < 0.2


@pytest.mark.fault
@pytest.mark.parametrize(
    ("call", "error", "says"),
    [(lambda: analytic(np.zeros(100), 1.0, 8.0, 4.0), ParameterError, "low < high < 500"),
     (lambda: analytic(np.zeros(100), 1.0, 8.0, 600.0), ParameterError, "low < high < 500"),
     (lambda: analytic(np.zeros(5), 1.0, 8.0, 12.0), ShapeError, "5 samples"),
     (lambda: phase_locking([1.0], [1.0, 2.0]), ShapeError, "as many"),
     (lambda: pairwise_phase_consistency([1.0], [1.0]), ShapeError, "needs two"),
     (lambda: rayleigh([]), ShapeError, "none"),
     (lambda: kuramoto([1.0]), ShapeError, "2 axes"),
     (lambda: circular_linear([1.0, 2.0, 3.0], [1.0, 1.0, 1.0], 2.0), ParameterError, "different"),
     (lambda: circular_linear([1.0, 2.0], [1.0, 1.0], 2.0), ShapeError, "at least three"),
     (lambda: modulation_index([0.0, 0.1], [1.0, 1.0]), ShapeError, "no sample in bin 0"),
     (lambda: modulation_index([0.0, 3.0], [1.0, -1.0], 2), ParameterError, "at least 0"),
     (lambda: modulation_index([-1.0, 1.0], [0.0, 0.0], 2), ParameterError, "everywhere"),
     (lambda: phase_amplitude_coupling(np.zeros(500), 1.0, (4.0, 8.0), (40.0, 80.0)), ShapeError, "no sample"),
     (lambda: phase_amplitude_coupling(nested(0.5)[:600], 1.0, (4.0, 8.0), (40.0, 80.0)), ShapeError, "four periods")],
)  # fmt: skip
def test_bad_input_is_named(call, error, says):
    with pytest.raises(error, match=says):
        call()
