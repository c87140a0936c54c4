"""Transforms: what each does, that none touches its input, that tonic's go beside them, that draws are repeatable."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeframe.datasets import transforms as tf
from spikeframe.datasets.events import EVENT_DTYPE, check_events, make_events
from spikeframe.datasets.transforms._columns import with_columns
from spikeframe.errors import DTypeError, EventError, ParameterError
from spikeframe.kernels.numba import events as compiled
from spikeframe.kernels.reference import events as reference

SIZE = (12, 9, 2)
TONIC_DTYPE = np.dtype([("x", int), ("y", int), ("t", int), ("p", bool)])
NARROW_DTYPE = np.dtype([("t", "u4"), ("p", "?"), ("y", "u1"), ("x", "u1")])

ALL = [
    tf.Crop(2, 1, 5, 4),
    tf.CenterCrop(SIZE, (6, 5)),
    tf.Downsample(SIZE, (5, 3)),
    tf.TimeCrop(100, 700),
    tf.TimeShift(50),
    tf.TimeShift(),
    tf.TimeScale(0.3),
    tf.RefractoryFilter(40),
    tf.Denoise(60),
    tf.FlipPolarity(),
    tf.FlipPolarity(probability=0.5),
    tf.FlipHorizontal(SIZE),
    tf.DropEvents(0.3),
    tf.TimeJitter(20.0),
    tf.SpatialJitter(SIZE, 1.5),
    tf.UniformNoise(SIZE, 25),
]
LAST = [tf.ToFrames(SIZE, n_time_bins=4), tf.ToSparse(SIZE, time_window=100), tf.ToVoxelGrid(SIZE, 3)]


def draw(seed: int, n: int, dtype: np.dtype = EVENT_DTYPE) -> np.ndarray:
    rng = np.random.Generator(np.random.Philox(key=seed))
    events = np.zeros(n, dtype)
    events["x"], events["y"] = rng.integers(SIZE[0], size=n), rng.integers(SIZE[1], size=n)
    events["p"], events["t"] = rng.integers(2, size=n), np.sort(rng.integers(1000, size=n))
    return events


def rows(events: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(int(event[name]) for name in "xytp") for event in events]


@pytest.mark.parametrize("transform", ALL + LAST, ids=repr)
@pytest.mark.parametrize("dtype", [EVENT_DTYPE, TONIC_DTYPE, NARROW_DTYPE], ids=["ours", "tonic", "narrow"])
@pytest.mark.parametrize("n", [0, 1, 200])
def test_a_transform_leaves_its_input_alone_and_keeps_its_type(transform, dtype, n):
    events = draw(5, n, dtype)
    before = events.copy()
    events.flags.writeable = False
    out = transform(events)
    assert (events == before).all()
    if transform in ALL:
        assert out.dtype == dtype
        check_events(out, (64, 64, 2))
        assert rows(out) == rows(transform(draw(5, n)))


@pytest.mark.parametrize("transform", ALL + LAST, ids=repr)
def test_a_transform_is_a_frozen_value_that_goes_to_workers(transform):
    again = pickle.loads(pickle.dumps(transform))
    assert again == transform
    with pytest.raises(dataclasses.FrozenInstanceError):
        transform.seed = 3


@pytest.mark.parametrize("transform", ALL + LAST, ids=repr)
@pytest.mark.fault
def test_a_transform_refuses_what_is_no_event_array(transform):
    for bad in (None, np.zeros(4), np.zeros(3, [("x", "i2"), ("t", "i8")]), [1, 2]):
        with pytest.raises((EventError, DTypeError)):
            transform(bad)


def test_arrays_without_rows_are_transformed_too():
    events = np.array([(3, 5, 1), (4, 9, 1)], [("x", "i8"), ("t", "i8"), ("p", "i8")])
    assert tf.TimeScale(2.0)(events)["t"].tolist() == [10, 18]
    assert tf.UniformNoise((8, 1, 1), 3)(events).size == 5
    assert tf.ToFrames((8, 1, 1), n_time_bins=2)(events).sum() == 2


def test_cropping_keeps_the_rectangle_and_counts_from_its_corner():
    events = make_events([0, 2, 6, 7], [1, 1, 4, 4], 0, 1)
    assert rows(tf.crop(events, 2, 1, 5, 4)) == [(0, 0, 0, 1), (4, 3, 0, 1)]
    assert rows(tf.center_crop(events, (8, 6, 2), (4, 2))) == []
    assert rows(tf.center_crop(events, (8, 6, 2), (6, 4))) == [(1, 0, 0, 1), (5, 3, 0, 1)]


def test_downsampling_keeps_every_event():
    events = draw(1, 300)
    small = tf.downsample(events, SIZE, (5, 3))
    check_events(small, (5, 3, 2))
    assert small.size == 300
    assert set(small["x"].tolist()) == set(range(5))
    assert (small["x"] == events["x"].astype(int) * 5 // 12).all()


def test_time_moves_stretches_and_is_cut():
    events = make_events(0, 0, [10, 15, 30], 1)
    assert tf.time_shift(events)["t"].tolist() == [0, 5, 20]
    assert tf.time_shift(events, -10)["t"].tolist() == [0, 5, 20]
    assert tf.time_scale(events, 0.5)["t"].tolist() == [5, 8, 15]
    assert tf.time_crop(events, 10, 30)["t"].tolist() == [10, 15]


def test_a_refractory_pixel_is_silent_from_its_last_kept_event_on():
    events = make_events([0, 0, 0, 1, 0], 0, [0, 5, 10, 11, 19], [1, 0, 1, 1, 1])
    assert tf.refractory_filter(events, 10)["t"].tolist() == [0, 10, 11]
    assert tf.refractory_filter(events, 0).size == 5


def test_an_event_without_a_recent_neighbour_is_noise():
    events = make_events([5, 6, 5, 9, 5], [5, 6, 5, 0, 5], [0, 10, 15, 16, 40], 1)
    assert tf.denoise(events, 10)["t"].tolist() == [10, 15]


def test_flips_undo_themselves():
    events = draw(2, 50)
    assert (tf.flip_polarity(tf.flip_polarity(events)) == events).all()
    assert (tf.flip_horizontal(tf.flip_horizontal(events, SIZE), SIZE) == events).all()
    assert (tf.flip_horizontal(events, SIZE)["x"] == 11 - events["x"]).all()
    assert (tf.flip_polarity(events)["p"] == 1 - events["p"]).all()


RANDOM = [
    lambda seed: tf.DropEvents(0.5, seed),
    lambda seed: tf.TimeJitter(30.0, seed),
    lambda seed: tf.SpatialJitter(SIZE, 2.0, seed),
    lambda seed: tf.UniformNoise(SIZE, 30, seed),
]


@pytest.mark.parametrize("make", RANDOM)
def test_draws_follow_from_seed_and_recording_alone(make):
    recordings = [draw(seed, 100) for seed in range(3)]
    forwards = [make(7)(events) for events in recordings]
    backwards = [make(7)(events) for events in reversed(recordings)][::-1]
    assert all((a == b).all() for a, b in zip(forwards, backwards, strict=True))
    assert rows(make(8)(recordings[0])) != rows(forwards[0])


@pytest.mark.statistical
def test_random_transforms_follow_their_laws():
    # Each bound is more than six standard deviations wide.
    events = np.repeat(draw(3, 1000), 20)
    events["t"] += 10**6
    rng = np.random.Generator(np.random.Philox(key=1))
    assert abs(tf.drop_events(events, 0.3, rng).size - 14000) < 6 * np.sqrt(20000 * 0.21)
    still = make_events(6, 4, [10**6] * 20000, 1)
    jittered = tf.time_jitter(still, 100.0, rng)["t"] - 10**6
    assert abs(jittered.mean()) < 6 * 100 / np.sqrt(20000) and abs(jittered.std() - 100) < 4
    moved = tf.spatial_jitter(still, SIZE, 1.0, rng)
    assert abs(moved["x"].mean() - 6) < 0.05 and abs(moved["x"].std() - np.sqrt(1 + 1 / 12)) < 0.05
    noisy = tf.uniform_noise(events, SIZE, 12000, rng)
    added = np.bincount(noisy["x"], minlength=12) - np.bincount(events["x"], minlength=12)
    assert added.sum() == 12000 and abs(added - 1000).max() < 200
    flips = [tf.FlipPolarity(0.25)(draw(seed, 3))["p"].tolist() != draw(seed, 3)["p"].tolist() for seed in range(400)]
    assert 50 < sum(flips) < 150


def test_jitter_stays_on_the_sensor_and_in_time():
    events = draw(4, 500)
    check_events(tf.SpatialJitter(SIZE, 50.0)(events), SIZE)
    jittered = tf.TimeJitter(1e6)(events)
    check_events(jittered, SIZE)
    assert jittered.size == 500


@pytest.mark.parity
@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 60), st.integers(0, 300))
def test_compiled_filters_equal_the_reference(seed, n, period):
    events = draw(seed, n)
    for name in ("rested", "supported"):
        lasts, keeps = np.zeros((2, 11, 14), np.int64), np.zeros((2, n), bool)
        for k, module in enumerate((compiled, reference)):
            getattr(module, name)(events, period, lasts[k], keeps[k])
        assert (lasts[0] == lasts[1]).all() and (keeps[0] == keeps[1]).all()


def test_transforms_run_in_order():
    chain = tf.Compose([tf.Crop(2, 1, 8, 8), tf.Downsample((8, 8, 2), (4, 4)), tf.ToFrames((4, 4, 2), n_time_bins=5)])
    events = draw(6, 300)
    frames = chain(events)
    assert frames.shape == (5, 2, 4, 4)
    assert frames.sum() == tf.crop(events, 2, 1, 8, 8).size
    assert tf.Compose([])(events) is events


@pytest.mark.fault
def test_a_chain_names_the_member_that_cannot_be_called():
    with pytest.raises(DTypeError, match="transform 1 is 3"):
        tf.Compose([tf.FlipPolarity(), 3])


@pytest.mark.parametrize("dtype", [EVENT_DTYPE, TONIC_DTYPE], ids=["ours", "tonic"])
def test_tonic_transforms_go_before_between_and_after(dtype):
    tonic = pytest.importorskip("tonic")
    chain = [
        tonic.transforms.CropTime(min=0, max=900),
        tf.RefractoryFilter(20),
        tonic.transforms.Denoise(filter_time=500),
        tf.FlipHorizontal(SIZE),
        tonic.transforms.Downsample(time_factor=1, spatial_factor=0.5),
        tf.TimeShift(),
    ]
    events = draw(7, 400, dtype)
    ours = tf.Compose([*chain, tf.ToFrames((6, 5, 2), n_time_bins=3)])(events)
    theirs = tonic.transforms.Compose([*chain, tf.ToFrames((6, 5, 2), n_time_bins=3)])(events)
    assert (ours == theirs).all() and ours.sum() > 0
    after = tf.Compose([*chain, tonic.transforms.ToFrame(sensor_size=(6, 5, 2), n_time_bins=3)])(events)
    assert after.shape == ours.shape


@pytest.mark.fault
def test_frames_that_would_lose_events_are_refused_unless_asked_for():
    events = make_events(0, 0, [0, 50, 150], 1)
    for kind in (tf.ToFrames, tf.ToSparse):
        with pytest.raises(EventError, match="1 events lie outside 0 to 100"):
            kind(SIZE, n_time_bins=2, start=0, stop=100)(events)
        with pytest.raises(ParameterError, match="outside"):
            kind(SIZE, n_time_bins=2, outside="ignore")
    assert tf.ToFrames(SIZE, n_time_bins=2, start=0, stop=100, outside="drop")(events).sum() == 2
    assert tf.ToSparse(SIZE, n_time_bins=2, start=0, stop=100, outside="drop")(events).outside == 1


@pytest.mark.fault
@pytest.mark.parametrize(
    "call",
    [
        lambda e: tf.crop(e, -1, 0, 3, 3),
        lambda e: tf.crop(e, 0, 0, 0, 3),
        lambda e: tf.crop(e, 0, 0, 2.5, 3),
        lambda e: tf.center_crop(e, SIZE, (13, 2)),
        lambda e: tf.downsample(e, SIZE, (0, 3)),
        lambda e: tf.downsample(e, SIZE, (24, 18)),
        lambda e: tf.time_crop(e, 5, 4),
        lambda e: tf.time_crop(e, -5, 4),
        lambda e: tf.time_shift(e, 0.5),
        lambda e: tf.time_scale(e, 0.0),
        lambda e: tf.time_scale(e, float("nan")),
        lambda e: tf.time_scale(e, "2"),
        lambda e: tf.refractory_filter(e, -1),
        lambda e: tf.denoise(e, None),
        lambda e: tf.DropEvents(1.5)(e),
        lambda e: tf.DropEvents(0.5, seed=-1)(e),
        lambda e: tf.TimeJitter(float("inf"))(e),
        lambda e: tf.SpatialJitter(SIZE, -1.0)(e),
        lambda e: tf.UniformNoise(SIZE, -1)(e),
        lambda e: tf.FlipPolarity(probability=2)(e),
        lambda e: tf.FlipHorizontal((0, 1, 2))(e),
    ],
)
def test_a_senseless_parameter_is_refused(call):
    with pytest.raises(ParameterError, match="accepted"):
        call(draw(8, 20))


@pytest.mark.fault
@pytest.mark.parametrize(
    "call",
    [
        lambda e: tf.time_shift(e, -500),
        lambda e: tf.time_shift(e, 2**62),
        lambda e: tf.time_scale(e, 1e300),
        lambda e: tf.downsample(e, (5, 5, 2), (2, 2)),
        lambda e: tf.flip_horizontal(e, (5, 5, 2)),
        lambda e: tf.refractory_filter(e[::-1], 5),
        lambda e: tf.denoise(e[::-1], 5),
        lambda e: tf.time_scale(e.astype([("x", "i2"), ("y", "i2"), ("t", "i2"), ("p", "i1")]), 1000.0),
    ],
)
def test_a_result_that_cannot_be_is_refused(call):
    with pytest.raises(EventError, match="event"):
        call(draw(9, 40))


def test_a_column_that_the_caller_s_events_lack_is_not_added():
    events = np.zeros(3, [("t", "i8"), ("x", "i2")])
    found = with_columns(events, x=np.array([1, 2, 3]), p=np.ones(3, bool))
    assert found.dtype == events.dtype and found["x"].tolist() == [1, 2, 3] and not events["x"].any()
    with pytest.raises(EventError, match="event 1: x = 40000"):
        with_columns(events, x=np.array([1, 40000, 3]))
