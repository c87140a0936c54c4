"""The event camera: compiled against plain, its physics, its random streams, its guards."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from hypothesis.strategies import floats, integers, tuples

from spikeframe.datasets.camera import Camera
from spikeframe.datasets.events import EVENT_DTYPE, check_events
from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError
from spikeframe.kernels.numba import camera as compiled
from spikeframe.kernels.reference import camera as reference

PICTURE = np.random.Generator(np.random.Philox(key=1)).random((5, 4))
SMALL = Camera(
    width=6, height=5, extent=4.0, path=((0.0, 2.0, 1.0), (30.0, 4.0, 2.5), (61.5, 1.0, 1.0)), noise_on=40, noise_off=20
)
QUIET = dataclasses.replace(SMALL, noise_on=0, noise_off=0, mismatch=0, tau=0, inverted=False)
EDGE = np.repeat([[0.0, 0.0, 1.0, 1.0]], 4, axis=0)


def run(kernel, camera, picture, sample=0, seed=0, room=4000):
    out = np.zeros(room, EVENT_DTYPE)
    smoothing = 1.0 if camera.tau == 0 else -np.expm1(-camera.dt / camera.tau)
    thresholds, noise = camera._thresholds(seed), camera._noise(sample, seed)
    count = kernel.record(*camera._view(picture), camera.dt, smoothing, *thresholds, camera.refractory, *noise, out)
    return count, out[: min(count, room)]


@pytest.mark.parity
@pytest.mark.parametrize("side", [(1, 1), (1, 7), (6, 5), (7, 3)])
@pytest.mark.parametrize(
    "change", [{}, {"tau": 0}, {"refractory": 15.0}, {"dt": 0.7}, {"noise_on": 900.0}, {"blur": 0}]
)
def test_compiled_and_plain_record_the_same_events(side, change):
    camera = dataclasses.replace(SMALL, width=side[0], height=side[1], **change)
    for sample in range(3):
        expected, actual = run(reference, camera, PICTURE, sample), run(compiled, camera, PICTURE, sample)
        assert expected[0] == actual[0] > 0
        assert np.array_equal(expected[1], actual[1])


@pytest.mark.parity
def test_both_count_on_where_the_room_ends():
    for room in (0, 1, 5):
        expected, actual = run(reference, SMALL, PICTURE, room=room), run(compiled, SMALL, PICTURE, room=room)
        assert expected[0] == actual[0] > room
        assert np.array_equal(expected[1], actual[1])


def test_more_events_than_the_first_buffer_holds_are_all_returned():
    path = ((0.0, 2.0, 1.0), (60.0, 4.0, 2.5))
    camera = dataclasses.replace(SMALL, noise_on=900.0, refractory=0.05, width=34, height=34, path=path)
    events = camera.record(PICTURE)
    assert len(events) > 2**13
    assert len(events) == run(compiled, camera, PICTURE, room=2**17)[0]


def test_recordings_are_legal_event_arrays_in_time_order_then_by_row_and_column():
    events = SMALL.record(PICTURE)
    check_events(events, SMALL.sensor_size)
    order = np.lexsort((events["x"], events["y"], events["t"]))
    assert np.array_equal(order, np.arange(len(events)))
    assert events["t"][-1] < SMALL.duration * 1000


def test_a_bright_edge_moving_right_darkens_and_moving_left_brightens():
    right = dataclasses.replace(QUIET, path=((0.0, 1.0, 2.0), (50.0, 4.0, 2.0)))
    left = dataclasses.replace(QUIET, path=((0.0, 4.0, 2.0), (50.0, 1.0, 2.0)))
    picture = np.pad(EDGE, ((0, 0), (0, 40)), constant_values=1.0)
    wide = 44 * 1.0
    offset = (44 - 4) / 2
    for camera, polarity in ((right, 0), (left, 1)):
        path = tuple((t, x + offset, y) for t, x, y in camera.path)
        events = dataclasses.replace(camera, extent=wide, path=path).record(picture)
        inner = events[(events["y"] == 2) & (events["x"] < 5)]
        assert len(inner) > 0
        assert (inner["p"] == polarity).all()


def test_dark_on_light_reverses_the_polarity_of_the_same_edge():
    straight = dataclasses.replace(QUIET, path=((0.0, 1.0, 2.0), (50.0, 2.0, 2.0)), gamma=1.0)
    first = straight.record(EDGE)
    second = dataclasses.replace(straight, inverted=True).record(EDGE)
    column = (first["x"] == 1) & (first["y"] == 2), (second["x"] == 1) & (second["y"] == 2)
    assert set(first["p"][column[0]]) == {0}
    assert set(second["p"][column[1]]) == {1}


@pytest.mark.exact
def test_a_known_ramp_crosses_its_thresholds_at_known_times():
    # Log intensity rises by 1 in 10 steps of 1 ms, then stays: a threshold of 0.25 is met at 2.5 ms, and the pixel
    # starts anew at the end of its reset of 0.5 ms, here on the border of two steps: 2.5, 5.5, 8.5 ms.
    scene = np.tile(np.arange(21) / 10, (2, 1)).astype(float)
    cell = np.stack([np.minimum(np.arange(16), 10), np.zeros(16)], axis=1).astype(np.int64)
    for kernel in (reference, compiled):
        out = np.zeros(9, EVENT_DTYPE)
        threshold = np.full((1, 1), 0.25)
        none = np.zeros(2, np.int64), np.zeros(0), np.zeros(0, np.int8)
        count = kernel.record(scene, 3, cell, np.zeros((16, 2)), 1.0, 1.0, threshold, threshold, 0.5, *none, out)
        assert count == 3
        assert np.abs(out["t"][:3] - [2500, 5500, 8500]).max() <= 1
        assert (out["p"][:3] == 1).all()


def test_no_pixel_fires_again_within_its_refractory_time():
    camera = dataclasses.replace(SMALL, refractory=7.0, noise_on=400.0)
    events = camera.record(PICTURE)
    for y, x in np.ndindex(camera.height, camera.width):
        times = events["t"][(events["x"] == x) & (events["y"] == y)]
        assert (np.diff(times) >= 6999).all()


def test_a_still_or_uniform_scene_without_noise_gives_no_event():
    still = dataclasses.replace(QUIET, path=((0.0, 2.0, 2.0), (50.0, 2.0, 2.0)))
    assert len(still.record(PICTURE)) == 0
    assert len(QUIET.record(np.zeros((3, 3)))) == 0


def test_higher_thresholds_give_fewer_events():
    counts = [
        len(dataclasses.replace(QUIET, threshold_on=value, threshold_off=value).record(EDGE))
        for value in (0.1, 0.2, 0.4)
    ]
    assert counts[0] > counts[1] > counts[2] > 0


@pytest.mark.statistical
def test_background_events_come_at_their_rates():
    # Poisson: 5.4 deviations are a false alarm of 7e-8 a side.
    camera = dataclasses.replace(SMALL, noise_on=20.0, noise_off=5.0, refractory=1e-3)
    counts = np.zeros(2)
    for sample in range(100):
        counts += np.bincount(camera.record(np.zeros((2, 2)), sample)["p"], minlength=2)
    expected = np.array([5.0, 20.0]) * 30 * camera.duration * 1e-3 * 100
    assert (np.abs(counts - expected) < 5.4 * np.sqrt(expected)).all()


def test_the_same_seed_and_sample_give_the_same_events_and_others_do_not():
    first = SMALL.record(PICTURE, sample=3, seed=7)
    assert np.array_equal(first, SMALL.record(PICTURE, sample=3, seed=7))
    assert not np.array_equal(first, SMALL.record(PICTURE, sample=4, seed=7))
    assert not np.array_equal(first, SMALL.record(PICTURE, sample=3, seed=8))


def test_mismatch_belongs_to_the_camera_and_not_to_the_sample():
    camera = dataclasses.replace(SMALL, noise_on=0, noise_off=0)
    assert np.array_equal(camera.record(PICTURE, sample=0), camera.record(PICTURE, sample=1))
    assert not np.array_equal(camera.record(PICTURE, seed=0), camera.record(PICTURE, seed=1))


def test_the_picture_is_not_changed():
    picture = PICTURE.copy()
    picture.flags.writeable = False
    SMALL.record(picture)
    assert np.array_equal(picture, PICTURE)


@pytest.mark.fault
@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Camera) if f.name not in ("path", "inverted")])
@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), -1, "1", True, [1.0]])
def test_an_impossible_parameter_is_named(name, value):
    with pytest.raises(ParameterError, match=f"Camera: {name} = "):
        Camera(**{name: value})


@pytest.mark.fault
@pytest.mark.parametrize("name", ["width", "extent", "threshold_on", "threshold_off", "refractory", "dark", "dt"])
def test_a_parameter_that_must_be_positive_is_not_zero(name):
    with pytest.raises(ParameterError, match=f"Camera: {name} = 0; accepted is a finite number above 0"):
        Camera(**{name: 0})


@pytest.mark.fault
@pytest.mark.parametrize(
    "path",
    [
        None,
        (),
        ((0.0, 1.0, 1.0),),
        ((1.0, 1.0, 1.0), (2.0, 1.0, 1.0)),
        ((0.0, 1.0, 1.0), (0.0, 1.0, 1.0)),
        ((0.0, 1.0, 1.0), (5.0, float("nan"), 1.0)),
        ((0.0, 1.0), (5.0, 1.0)),
        (("0", 1.0, 1.0), (5.0, 1.0, 1.0)),
        "path",
    ],
)
def test_a_path_that_is_none_is_refused(path):
    with pytest.raises(ParameterError, match="Camera: path = "):
        Camera(path=path)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("picture", "error"),
    [
        (np.zeros(3), ShapeError),
        (np.zeros((0, 3)), ShapeError),
        (np.zeros((2, 2, 2)), ShapeError),
        (np.full((2, 2), np.nan), NonFiniteError),
        (np.full((2, 2), np.inf), NonFiniteError),
        (np.full((2, 2), 255), ParameterError),
        (np.full((2, 2), -0.1), ParameterError),
        (np.zeros((2, 2), complex), DTypeError),
        ([["a", "b"]], DTypeError),
        (None, DTypeError),
    ],
)
def test_a_bad_picture_is_refused_by_name(picture, error):
    with pytest.raises(error, match="image"):
        SMALL.record(picture)


@pytest.mark.fault
@pytest.mark.parametrize("value", [-1, 1.5, None, "0", True, 2**70])
def test_seed_and_sample_are_whole_numbers_from_zero(value):
    for name in ("seed", "sample"):
        with pytest.raises(ParameterError, match=f"{name} = "):
            SMALL.record(PICTURE, **{name: value})


@pytest.mark.data
def test_the_default_camera_is_as_close_to_n_mnist_as_stated(recordings):
    import gzip

    from spikeframe.datasets.nmnist import NMNIST

    with gzip.open(recordings / "mnist_idx/t10k-images-idx3-ubyte.gz") as file:
        scans = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28) / 255
    real = NMNIST(recordings / "nmnist_small", "test")
    counts, similar = [], []
    for number in range(1, 100, 2):
        pair = Camera().record(scans[number], number), real.events(number)
        maps = [np.bincount(e["y"].astype(int) * 34 + e["x"], minlength=34 * 34) for e in pair]
        counts.append([len(events) for events in pair])
        similar.append(np.corrcoef(maps)[0, 1])
    model, recorded = np.array(counts, float).T
    assert model.mean() / recorded.mean() == pytest.approx(0.979, abs=0.002)
    assert np.corrcoef(model, recorded)[0, 1] == pytest.approx(0.994, abs=0.001)
    assert np.sqrt(np.mean((model / recorded - 1) ** 2)) == pytest.approx(0.040, abs=0.001)
    assert np.mean(similar) == pytest.approx(0.953, abs=0.002)


@pytest.mark.parity
@settings(max_examples=40, deadline=None)
@given(
    picture=arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=floats(0, 1)),
    ends=tuples(floats(-20, 20), floats(-20, 20)),
    side=tuples(integers(1, 5), integers(1, 5)),
    dt=floats(0.3, 5),
)
def test_any_picture_and_path_is_recorded_the_same_by_both(picture, ends, side, dt):
    path = ((0.0, 0.0, 0.0), (20.0, *ends))
    camera = dataclasses.replace(SMALL, width=side[0], height=side[1], path=path, dt=dt)
    expected, actual = run(reference, camera, picture), run(compiled, camera, picture)
    assert expected[0] == actual[0]
    assert np.array_equal(expected[1], actual[1])
    check_events(camera.record(picture), camera.sensor_size)
