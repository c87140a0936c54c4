from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from spikeframe.datasets import make_events, to_frames
from spikeframe.errors import ConfigError, DTypeError, EventError, ParameterError, ShapeError, TimeGridError
from spikeframe.training import FrameCache, collate, epoch_order, time_grid


class Listed:
    """Recordings that a test lists."""

    classes = ("a", "b")

    def __init__(self, items, sensor_size=(5, 3, 2)):
        self.items, self.sensor_size = items, sensor_size

    def __len__(self):
        return len(self.items)

    def __getitem__(self, number):
        return self.items[number]


def _events(x, y, t, p):
    return make_events(
        np.asarray(x, np.int64), np.asarray(y, np.int64), np.asarray(t, np.int64), np.asarray(p, np.int64)
    )


EMPTY = _events([], [], [], [])

recordings = st.lists(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 9000), st.integers(0, 1)), max_size=30).map(
        lambda rows: _events(*zip(*sorted(rows, key=lambda row: row[2]), strict=True)) if rows else EMPTY
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.exact
@settings(max_examples=40, deadline=None)
@given(recordings)
def test_a_batch_holds_the_counts_of_each_recording(items):
    cache = FrameCache(Listed([(events, 0) for events in items]), n_time_bins=4, dt=2.0)
    x, _ = cache.batch(range(len(items)))
    assert x.shape == (4, len(items), 2, 3, 5)
    assert x.dtype == torch.float32
    lost = 0
    for place, events in enumerate(items):
        expected = to_frames(events, (5, 3, 2), n_time_bins=4, time_window=2000, start=0)
        assert np.array_equal(x[:, place].numpy(), expected.counts)
        lost += expected.outside
    assert cache.outside == lost
    assert cache.events + cache.outside == sum(len(events) for events in items)


@pytest.mark.exact
def test_counts_beyond_a_byte_are_kept():
    many = _events(np.ones(70_000), np.ones(70_000), np.zeros(70_000), np.ones(70_000))
    cache = FrameCache(Listed([(EMPTY, 0), (many, 1)]), n_time_bins=1, dt=1.0)
    x, labels = cache.batch([1, 0])
    assert x[0, 0, 1, 1, 1] == 70_000 == cache.largest
    assert x[:, 1].sum() == 0
    assert labels.tolist() == [1, 0]


@pytest.mark.exact
def test_density_is_the_mean_squared_count(frames):
    x, _ = frames.batch(range(len(frames)))
    assert frames.density == pytest.approx(float(x.double().square().mean()), rel=1e-12)


@pytest.mark.exact
def test_pooling_adds_neighbours_and_loses_nothing():
    events = _events([0, 1, 2, 3, 4], [0, 1, 2, 0, 0], [0, 1, 2, 3, 4], [0, 0, 0, 0, 0])
    source = events.copy()
    cache = FrameCache(Listed([(events, 0)]), n_time_bins=1, dt=1.0, pool=2)
    assert cache.shape == (1, 2, 2, 3)
    assert cache.batch([0])[0][0, 0, 0].tolist() == [[2.0, 1.0, 1.0], [0.0, 1.0, 0.0]]
    assert np.array_equal(events, source)


@pytest.mark.exact
def test_channels_of_a_cochlea_pool_alike():
    events = _events([0, 9, 10, 699], [0] * 4, [0, 1, 2, 3], [1] * 4)
    cache = FrameCache(Listed([(events, 0)], (700, 1, 1)), n_time_bins=2, dt=1.0, pool=10)
    assert cache.shape == (2, 1, 1, 70)
    x, _ = cache.batch([0])
    assert x[0, 0, 0, 0, [0, 1, 69]].tolist() == [2, 1, 1]


@pytest.mark.exact
def test_the_order_depends_on_seed_and_epoch_alone_and_visits_every_sample(frames):
    first = [labels.tolist() for _, labels in frames.batches(7, seed=3, epoch=2)]
    assert first == [labels.tolist() for _, labels in frames.batches(7, seed=3, epoch=2)]
    orders = {(s, e): tuple(epoch_order(48, s, e)) for s in range(3) for e in range(3)}
    assert len(set(orders.values())) == 9
    assert all(sorted(order) == list(range(48)) for order in orders.values())
    assert sum(len(labels) for labels in first) == 48


@pytest.mark.exact
def test_a_data_loader_gives_the_same_batches(frames):
    loader = DataLoader(frames, batch_size=10, collate_fn=collate)
    for (x, labels), (ours, our_labels) in zip(loader, frames.batches(10), strict=True):
        assert torch.equal(x, ours)
        assert torch.equal(labels, our_labels)


def test_the_time_grid_covers_the_longest_recording():
    data = Listed([(_events([0], [0], [9_999], [0]), 0), (_events([0], [0], [10_000], [0]), 0), (EMPTY, 0)])
    assert time_grid(data, dt=10.0) == (2, 10.0)
    assert time_grid(data, n_time_bins=3) == (3, 3.4)
    assert time_grid(data, 7, 2.0) == (7, 2.0)
    for bins, dt in (time_grid(data, dt=0.3), time_grid(data, n_time_bins=7)):
        assert FrameCache(data, n_time_bins=bins, dt=dt).outside == 0


@pytest.mark.fault
@pytest.mark.parametrize("dt", [0.0, -1.0, float("nan"), float("inf"), 0.0005, 1.00025, True, "1"])
def test_a_window_that_is_no_whole_number_of_microseconds_is_refused(dt):
    with pytest.raises(TimeGridError, match="dt="):
        FrameCache(Listed([(EMPTY, 0)]), n_time_bins=2, dt=dt)


@pytest.mark.fault
@pytest.mark.parametrize("name", ["n_time_bins", "pool", "samples"])
@pytest.mark.parametrize("value", [0, -3, 2.5, True, "4"])
def test_sizes_must_be_whole_numbers_from_one(name, value):
    options = {"n_time_bins": 2, "dt": 1.0, name: value}
    with pytest.raises(ParameterError, match=name):
        FrameCache(Listed([(EMPTY, 0)]), **options)


@pytest.mark.fault
def test_an_empty_set_and_a_set_without_events_are_named():
    with pytest.raises(ConfigError, match="no recording"):
        FrameCache(Listed([]), n_time_bins=1, dt=1.0)
    with pytest.raises(ConfigError, match="holds an event"):
        time_grid(Listed([(EMPTY, 0)]), dt=1.0)
    with pytest.raises(ConfigError, match="give n_time_bins, dt or both"):
        time_grid(Listed([(_events([0], [0], [5], [0]), 0)]))


@pytest.mark.fault
def test_events_off_the_sensor_are_refused():
    with pytest.raises(EventError, match="x = 5"):
        FrameCache(Listed([(_events([5], [0], [0], [0]), 0)]), n_time_bins=1, dt=1.0)


def test_sets_whose_transform_makes_frames_are_collated_as_they_are():
    class Plain:
        def __init__(self, transform, lengths=(5, 5)):
            self.items = [(transform(n), k) for k, n in enumerate(lengths)]

    counts = Plain(lambda n: np.arange(n * 6, dtype=np.int16).reshape(n, 2, 3, 1)).items
    x, labels = collate(counts)
    assert x.shape == (5, 2, 2, 3, 1) and x.dtype == torch.float32 and labels.tolist() == [0, 1]
    assert torch.equal(x[:, 1], torch.as_tensor(counts[1][0]).float())
    with pytest.raises(ShapeError, match=r"sample 1 of the batch has frames \(4, 2\), sample 0 \(5, 2\)"):
        collate(Plain(lambda n: np.zeros((n, 2)), (5, 4)).items)
    with pytest.raises(DTypeError, match="an item holds events"):
        collate(Plain(lambda n: make_events(x=[1], y=[1], t=[n], p=[1])).items)
