"""Renewal processes as given spikes: their law, their independence of where they are cut off, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gamma, kstest

import spikeframe as sf
from spikeframe.core.renewal import renewal_source
from spikeframe.errors import NonFiniteError, ParameterError, ShapeError


def intervals(source, i):
    times = np.asarray(source.times)[np.asarray(source.ids) == i]
    return np.diff(np.sort(times))


@pytest.mark.statistical
def test_intervals_have_their_law():
    """On a grid of 1 µs; shapes below 1, 1 and above, and a dead time."""
    law = {"rate": [40.0, 40.0, 100.0, 80.0], "shape": [0.4, 1.0, 6.0, 1.0], "dead_time": [0.0, 0.0, 0.0, 5.0]}
    source = renewal_source(4, **law, stop=100_000.0, dt=0.001, seed=7)
    for i, (rate, shape, dead) in enumerate(zip(*law.values(), strict=True)):
        found = intervals(source, i)
        assert found.min() >= dead - 0.001
        mean = 1000.0 / rate - dead
        assert kstest(found - dead, gamma(shape, scale=mean / shape).cdf).pvalue > 1e-4
        successive = np.corrcoef(found[1:], found[:-1])[0, 1]
        assert abs(successive) < 5 / np.sqrt(found.size)


@pytest.mark.exact
def test_a_train_does_not_depend_on_where_it_is_cut_off():
    long = renewal_source(300, 50.0, 900.0, 0.1, shape=3.0, seed=1)
    short = renewal_source(300, 50.0, np.linspace(0.0, 400.0, 300), 0.1, shape=3.0, seed=1)
    one, other = ({*zip(np.asarray(s.times).tolist(), np.asarray(s.ids).tolist(), strict=True)} for s in (long, short))
    assert other < one
    limit = np.linspace(0.0, 400.0, 300)
    assert {(t, i) for t, i in one if t <= limit[i] - 0.1} <= other
    assert 0 < len({(t, i) for t, i in one - other if t < limit[i] + 30}) < 300 * 5


@pytest.mark.exact
def test_it_drives_a_network_like_any_source():
    net = sf.Network(0)
    source = net.population("s", 3, renewal_source(3, [0.0, 100.0, 300.0], 200.0, 0.1, start=50.0, dead_time=2.0))
    net.record(source, "spikes")
    found = sf.Simulator(net, dt=0.1, backend="reference").run(300.0, progress=False).spikes["s"]
    assert found.times.min() > 52.0
    assert found.times.max() <= 200.0
    many = np.bincount(found.ids, minlength=3)
    assert many[0] == 0
    assert 5 < many[1] < 30 < many[2] < 65


@pytest.mark.fault
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"rate": -1.0}, ParameterError, "rate=-1"),
        ({"rate": [1.0, 2.0]}, ShapeError, "rate"),
        ({"shape": 0.0}, ParameterError, "shape"),
        ({"dead_time": 10.0}, ParameterError, "neuron 0 leaves no room"),
        ({"stop": np.inf}, NonFiniteError, "stop"),
    ],
)
def test_what_cannot_be_is_refused_by_name(options, error, words):
    with pytest.raises(error, match=words):
        renewal_source(**{"size": 3, "rate": 100.0, "stop": 50.0, "dt": 0.1, **options})
