"""Currents, Poisson arrivals and sources: parity with the reference, closed forms, laws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

import spikeframe as sf
from spikeframe.errors import NonFiniteError, ParameterError, ShapeError, TimeGridError

CURRENTS = [
    sf.DC(120.0, start=2.0, stop=9.0),
    sf.AC(100.0, 50.0, phase=30.0, offset=10.0),
    sf.NoiseCurrent(50.0, 200.0, start=1.0),
    sf.StepCurrent([1.0, 4.0, 8.0], [50.0, -50.0, 100.0]),
]


def driven(*drives: Any, backend: str = "auto", threads: int = 1, n: int = 67, v_th: float = 1e9) -> Any:
    net = sf.Network(seed=11)
    other = net.population("x", 5, sf.neurons.LIF(tau_m=10.0, r_m=0.04, v_th=v_th))
    a = net.population("a", n, sf.neurons.LIF(tau_m=10.0, r_m=0.04, v_th=v_th))
    for drive in drives:
        net.stimulate(a, drive)
    net.record([a, other], "v")
    return sf.Simulator(net, dt=0.1, backend=backend, threads=threads, dtype="float64").run(12.0)


@pytest.mark.exact
@pytest.mark.parametrize("drive", [*CURRENTS, None])
def test_compiled_drives_equal_the_reference(drive):
    drives = [*CURRENTS, sf.PoissonInput(500.0, 1.5)] if drive is None else [drive]
    expected = driven(*drives, backend="reference").traces["a"]["v"].values
    assert np.ptp(expected) > 0
    for threads in (1, 2):
        assert np.array_equal(driven(*drives, threads=threads).traces["a"]["v"].values, expected)


def test_a_constant_current_gives_the_closed_form():
    trace = driven(sf.DC(100.0, start=2.0, stop=9.0))
    t = trace.traces["a"]["v"].times
    on = 4.0 * (1 - np.exp(-np.clip(t - 2.0, 0.0, 7.0) / 10.0))
    expected = on * np.exp(-np.clip(t - 9.0, 0.0, None) / 10.0)
    assert trace.traces["a"]["v"].values[:, 3] == pytest.approx(expected, abs=1e-12)
    assert not trace.traces["x"]["v"].values.any()


@pytest.mark.statistical
def test_poisson_arrivals_are_poisson():
    net = sf.Network(seed=2)
    a = net.population("a", 400, sf.neurons.IF(v_th=1e9))
    net.stimulate(a, sf.PoissonInput(800.0, 1.0))
    net.record(a, "v")
    v = sf.Simulator(net, dt=1.0).run(50.0).traces["a"]["v"].values
    counts = np.diff(v, axis=0, prepend=0).ravel()
    seen = np.bincount(counts.astype(int), minlength=7)[:7]
    law = stats.poisson(0.8).pmf(np.arange(7)) * counts.size
    seen[-1] += counts.size - seen.sum()
    law[-1] += counts.size - law.sum()
    assert stats.chisquare(seen, law).pvalue > 1e-6


@pytest.mark.statistical
def test_poisson_sources_fire_at_their_rates_and_times():
    net = sf.Network(seed=4)
    rate = np.linspace(0.0, 200.0, 101)
    net.record(net.population("p", 101, sf.PoissonSource(rate, start=100.0, stop=2100.0)), "spikes")
    spikes = sf.Simulator(net, dt=0.5).run(2500.0).spikes["p"]
    assert spikes.times.min() > 100.0 and spikes.times.max() <= 2100.0
    expected = -np.expm1(-rate * 0.5e-3) * 4000
    z = (np.bincount(spikes.ids, minlength=101) - expected)[1:] / np.sqrt(expected[1:])
    assert abs(z.mean()) < 0.5 and 0.6 < z.std() < 1.4 and np.abs(z).max() < 5


@pytest.mark.fault
def test_bad_drives_meet_their_named_errors():
    for bad in (float("nan"), float("inf")):
        with pytest.raises(NonFiniteError):
            sf.DC(bad)
        with pytest.raises(NonFiniteError):
            sf.AC(1.0, bad)
        with pytest.raises(NonFiniteError):
            sf.NoiseCurrent(0.0, bad)
        with pytest.raises(NonFiniteError):
            sf.PoissonInput(bad, 1.0)
    with pytest.raises(ParameterError):
        sf.NoiseCurrent(0.0, -1.0)
    with pytest.raises(ParameterError):
        sf.DC(1.0, start=5.0, stop=4.0)
    with pytest.raises(ParameterError):
        sf.StepCurrent([2.0, 1.0], [1.0, 1.0])
    with pytest.raises(ShapeError):
        sf.StepCurrent([1.0], [1.0, 2.0])
    with pytest.raises(ShapeError):
        sf.SpikeSource([1.0], [0, 1])


def test_currents_that_a_step_cannot_show_are_refused():
    for drive, error, match in (
        (sf.StepCurrent([1.0, 5.05], [1.0, 2.0]), TimeGridError, r"StepCurrent\(times\) of 'c'=5\.05"),
        (sf.AC(1.0, 6000.0), ParameterError, r"at most 5000 Hz"),
    ):
        net = sf.Network()
        net.stimulate(net.population("c", 1, sf.neurons.LIF()), drive)
        with pytest.raises(error, match=match):
            sf.Simulator(net, dt=0.1)
    sf.Simulator(net, dt=0.05)
