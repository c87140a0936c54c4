"""Event arrays as spike sources: the spikes are the frames, in a run as in the source."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikeframe as sf
from spikeframe.datasets import make_events, read, to_frames
from spikeframe.errors import EventError, ParameterError, ShapeError, TimeGridError


def events(n: int, size: tuple[int, int, int], seed: int = 0, last: int = 20_000) -> Any:
    rng = np.random.default_rng(seed)
    x, y, p = rng.integers(size[0], size=n), rng.integers(size[1], size=n), rng.integers(2, size=n)
    return make_events(x, y, np.sort(rng.integers(last, size=n)), p)


def relayed(source: Any, n: int, duration: float, dt: float, backend: str = "auto") -> Any:
    """Run the source onto neurons that fire in the step after each spike, as often as it has spikes."""
    net = sf.Network()
    s = net.population("s", n, source)
    t = net.population("t", n, sf.neurons.IF(v_th=1e9, receptors={"in": sf.neurons.Delta()}))
    net.connect(s, t, sf.OneToOne(), receptor="in", weight=1.0, delay=dt)
    net.record(s, "spikes")
    net.record(t, "v")
    return sf.Simulator(net, dt=dt, backend=backend).run(duration)


@pytest.mark.exact
@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 50), st.sampled_from([(1, 1, 1), (3, 2, 2), (5, 4, 1), (7, 1, 2)]),
    st.sampled_from([0.001, 0.1, 0.3, 0.55, 1.0, 1.1, 2.0]), st.integers(0, 99),
)  # fmt: skip
def test_the_spikes_of_a_step_are_the_counts_of_a_frame(n, size, dt, seed):
    given_events = events(n, size, seed)
    source = sf.SpikeSource.from_events(given_events, size, dt)
    us = round(dt * 1000)
    frames = to_frames(given_events, size, time_window=us, start=0, stop=-(-20_000 // us) * us).counts
    steps = np.rint(np.asarray(source.times) / dt).astype(int) - 1
    found = np.zeros((frames.shape[0], frames[0].size), int)
    np.add.at(found, (steps, source.ids), 1)
    assert np.array_equal(found, frames.reshape(found.shape))


@pytest.mark.exact
@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_every_event_arrives_also_where_a_pixel_has_several_in_a_step(backend):
    size, dt = (4, 3, 2), 0.5
    given_events = events(300, size)
    result = relayed(sf.SpikeSource.from_events(given_events, size, dt), 24, 21.0, dt, backend)
    flat = (given_events["p"].astype(int) * 3 + given_events["y"]) * 4 + given_events["x"]
    assert np.array_equal(result.traces["t"]["v"].values[-1], np.bincount(flat, minlength=24))
    assert len(result.spikes["s"]) == 300 == result.delivered
    assert np.array_equal(np.sort(result.spikes["s"].ids), np.sort(flat))


def test_a_step_whose_length_is_no_whole_microsecond_holds_the_events_before_its_end():
    source = sf.SpikeSource.from_events(
        {"t": [0, 31, 32, 62, 63], "x": [0, 0, 0, 0, 0], "p": [0, 0, 0, 0, 0]}, (1, 1, 1), 1 / 32
    )
    assert (np.asarray(source.times) * 32).tolist() == [1, 1, 2, 2, 3]


def test_a_file_becomes_a_source(tmp_path):
    """An N-MNIST file: five bytes an event, x, y, then polarity (1 bit) and time (23 bits)."""
    raw = bytes([3, 5, 0x80, 0, 7, 33, 0, 0, 1, 0])
    (tmp_path / "00001.bin").write_bytes(raw)
    recording = read(tmp_path / "00001.bin")
    width, height, _ = size = recording.sensor_size
    source = sf.SpikeSource.from_events(recording.events, size, dt=0.1)
    assert np.asarray(source.ids).tolist() == [(height + 5) * width + 3, 33]
    assert np.asarray(source.times) == pytest.approx([0.1, 0.3])
    assert len(relayed(source, 2 * width * height, 1.0, 0.1).spikes["s"]) == 2


@pytest.mark.fault
@pytest.mark.parametrize(
    ("change", "match"),
    [({"t": [1, 0]}, "event 1 has t=0"), ({"t": [-1, 0]}, "event 0 has t=-1"), ({"x": [0, 4]}, "x=4; accepted is 0"),
     ({"y": [0, 3]}, "y=3"), ({"p": [0, 2]}, "p=2"), ({"p": [0.0, 1.0]}, "'p' is float64"), ({"x": [1]}, "but 1"),
     ({"x": [[1, 2]]}, "must be"), ({"t": [0.5, 1.0]}, "'t' is float64"), ({"y": [2]}, "values of y")],
)  # fmt: skip
def test_a_bad_event_is_named(change, match):
    good = {"t": [0, 1], "x": [0, 3], "y": [0, 2], "p": [0, 1]}
    sf.SpikeSource.from_events(good, (4, 3, 2), 0.1)
    with pytest.raises(EventError, match=match):
        sf.SpikeSource.from_events(good | change, (4, 3, 2), 0.1)


@pytest.mark.fault
def test_bad_sensors_and_steps_meet_their_named_errors():
    some = events(5, (4, 3, 2))
    for size in ((4, 3), (4, 3, 3), (0, 3, 2), (4.0, 3, 2), None, (2**16, 2**16, 1), (True, 3, 2)):
        with pytest.raises(ParameterError, match="sensor_size"):
            sf.SpikeSource.from_events(some, size, 0.1)
    for dt in (0.0, -0.1, math.nan, math.inf, "0.1", None):
        with pytest.raises(TimeGridError, match="from_events"):
            sf.SpikeSource.from_events(some, (4, 3, 2), dt)
    for field in ("t", "x", "p"):
        with pytest.raises(EventError, match=f"no field '{field}'"):
            sf.SpikeSource.from_events({n: some[n] for n in "txyp" if n != field}, (4, 3, 2), 0.1)
    with pytest.raises(EventError, match="no field 't'"):
        sf.SpikeSource.from_events(np.zeros(3), (4, 3, 2), 0.1)
    source = sf.SpikeSource.from_events(some, (4, 3, 2), 0.1)
    with pytest.raises(ShapeError):
        sf.Network().population("s", int(np.max(source.ids)), source)
    net = sf.Network()
    net.population("s", 24, source)
    with pytest.raises(TimeGridError, match="dt"):
        sf.Simulator(net, dt=0.07).run(20.02)
