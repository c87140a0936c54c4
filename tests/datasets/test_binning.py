"""Binning: every event is in a frame or in the reported loss, and the compiled loops equal the plain ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeframe.datasets.binning import frames_to_events, to_frames, to_sparse, to_voxel_grid
from spikeframe.datasets.events import EVENT_DTYPE, make_events
from spikeframe.errors import DTypeError, EventError, ParameterError, ShapeError
from spikeframe.kernels.numba import events as compiled
from spikeframe.kernels.reference import events as reference

SIZE = (5, 3, 2)


def draw(seed: int, n: int, last: int = 1000, size: tuple[int, int, int] = SIZE) -> np.ndarray:
    rng = np.random.Generator(np.random.Philox(key=seed))
    events = np.zeros(n, EVENT_DTYPE)
    events["x"], events["y"] = rng.integers(size[0], size=n), rng.integers(size[1], size=n)
    events["p"], events["t"] = rng.integers(2, size=n), np.sort(rng.integers(last, size=n))
    return events


event_arrays = st.builds(draw, st.integers(0, 10**6), st.integers(0, 40), st.sampled_from([1, 7, 1000, 10**9]))


@pytest.mark.exact
@settings(deadline=None)
@given(
    event_arrays,
    st.one_of(
        st.fixed_dictionaries({"n_time_bins": st.integers(1, 30)}),
        st.fixed_dictionaries({"n_time_bins": st.integers(1, 9), "time_window": st.integers(1, 300)}),
        st.fixed_dictionaries({"event_count": st.integers(1, 50)}),
        st.fixed_dictionaries({"n_time_bins": st.integers(1, 9), "start": st.integers(0, 400), "stop": st.just(700)}),
    ),
    st.sampled_from([None, 1, 2]),
    st.sampled_from([1, 2]),
)
def test_events_in_are_events_counted_and_events_reported(events, division, saturate, polarities):
    frames = to_frames(events, (5, 3, polarities), saturate=saturate, **division)
    assert int(frames.counts.sum()) + frames.outside + frames.saturated == events.size
    assert frames.counts.dtype == np.int32
    assert frames.counts.shape == (frames.edges.size - 1, polarities, 3, 5)
    if saturate is None:
        assert frames.saturated == 0
    if "start" not in division and "time_window" not in division:
        assert frames.outside == 0


@pytest.mark.exact
@settings(deadline=None)
@given(event_arrays, st.integers(1, 30))
def test_an_event_is_in_the_frame_whose_edges_hold_it(events, n):
    frames = to_frames(events, SIZE, n_time_bins=n)
    expected = np.zeros_like(frames.counts)
    for x, y, t, p in events.tolist():
        # The bin by its definition: the n-th part of the time from the first event to just after the last.
        k = (t - int(events["t"][0])) * n // (int(events["t"][-1]) + 1 - int(events["t"][0]))
        assert frames.edges[k] <= t < frames.edges[k + 1]
        expected[k, p, y, x] += 1
    assert (frames.counts == expected).all()


def test_the_last_event_and_the_incomplete_window_are_counted():
    events = make_events(0, 0, [0, 10, 20, 21], 1)
    assert to_frames(events, SIZE, n_time_bins=2).counts[:, 1, 0, 0].tolist() == [2, 2]
    assert to_frames(events, SIZE, time_window=10).counts[:, 1, 0, 0].tolist() == [1, 1, 2]
    assert to_frames(events, SIZE, event_count=3).counts[:, 1, 0, 0].tolist() == [3, 1]


def test_forty_thousand_events_at_one_pixel_are_counted():
    events = make_events(2, 1, np.arange(40000), 1)
    assert to_frames(events, SIZE, n_time_bins=1).counts[0, 1, 1, 2] == 40000


def test_saturation_says_how_many_events_it_cost():
    frames = to_frames(make_events(2, 1, np.arange(100), 1), SIZE, n_time_bins=2, saturate=15)
    assert frames.counts.max() == 15
    assert frames.saturated == 70


def test_events_outside_a_chosen_interval_are_reported():
    frames = to_frames(make_events(0, 0, np.arange(100), 0), SIZE, time_window=20, start=10, stop=45)
    assert frames.edges.tolist() == [10, 30, 50]
    assert frames.counts[:, 0, 0, 0].tolist() == [20, 20]
    assert frames.outside == 60


@pytest.mark.parametrize(
    ("division", "windows"),
    [
        ({"n_time_bins": 4}, 4),
        ({"time_window": 10}, 0),
        ({"event_count": 10}, 0),
        ({"time_window": 10, "start": 0, "stop": 95}, 10),
        ({"time_window": 10, "n_time_bins": 6}, 6),
    ],
)
def test_no_events_give_empty_frames_of_the_right_shape(division, windows):
    frames = to_frames(np.zeros(0, EVENT_DTYPE), SIZE, **division)
    assert frames.counts.shape == (windows, 2, 3, 5)
    assert frames.edges.shape == (windows + 1,)
    assert not frames.counts.any()


def test_one_polarity_counts_both_and_leaves_the_array_alone():
    events = draw(1, 30)
    before = events.copy()
    frames = to_frames(events, (5, 3, 1), n_time_bins=3).counts
    assert (frames[:, 0] == to_frames(events, SIZE, n_time_bins=3).counts.sum(axis=1)).all()
    assert (events == before).all()


def test_frames_are_written_into_a_given_buffer():
    events = draw(2, 50)
    batch = np.full((3, 4, 2, 3, 5), -1, np.int32)
    frames = to_frames(events, SIZE, n_time_bins=4, out=batch[1])
    assert frames.counts is not None and np.shares_memory(frames.counts, batch)
    assert (batch[1] == to_frames(events, SIZE, n_time_bins=4).counts).all()
    assert (batch[[0, 2]] == -1).all()


@pytest.mark.fault
@pytest.mark.parametrize(
    "out",
    [np.zeros((4, 2, 3, 5), np.int16), np.zeros((3, 2, 3, 5), np.int32), np.zeros((4, 2, 3, 10), np.int32)[..., ::2]],
)
def test_a_buffer_that_does_not_fit_is_refused(out):
    with pytest.raises((DTypeError, ShapeError), match="out has"):
        to_frames(draw(2, 50), SIZE, n_time_bins=4, out=out)


@pytest.mark.fault
@pytest.mark.parametrize("call", [to_frames, to_sparse])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"n_time_bins": 0},
        {"n_time_bins": -1},
        {"n_time_bins": True},
        {"n_time_bins": 2.0},
        {"n_time_bins": 2**60},
        {"time_window": 0},
        {"time_window": float("nan")},
        {"time_window": 2**63},
        {"n_time_bins": 3, "start": -1},
        {"n_time_bins": 3, "start": 10, "stop": 9},
        {"n_time_bins": 3, "time_window": 3, "stop": 9},
        {"time_window": 1, "start": 0, "stop": 2**62},
    ],
)
def test_a_senseless_division_is_refused(call, arguments):
    with pytest.raises(ParameterError):
        call(draw(3, 9), SIZE, **arguments)


@pytest.mark.fault
@pytest.mark.parametrize("more", [{"n_time_bins": 3}, {"time_window": 3}, {"start": 3}, {"stop": 3}])
def test_event_count_stands_alone(more):
    with pytest.raises(ParameterError, match="event_count"):
        to_frames(draw(3, 9), SIZE, event_count=2, **more)


@pytest.mark.fault
def test_frames_beyond_all_memory_are_refused_and_sparse_ones_are_not():
    events = make_events(0, 0, [0, 10**8], 0)
    with pytest.raises(ParameterError, match="to_sparse"):
        to_frames(events, (1280, 720, 2), time_window=1000)
    assert to_sparse(events, (1280, 720, 2), time_window=1000).coordinates[:, 0].tolist() == [0, 100000]


@pytest.mark.fault
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(0, 0, 5, 0), (0, 0, 4, 0), (0, 0, 9, 0)], "event 1 has t = 4"),
        ([(0, 0, 5, 0), (0, 0, 4, 0)], "event 1 has t = 4"),
        ([(0, 0, -5, 0), (0, 0, 4, 0)], "event 0 has t = -5"),
        ([(0, 0, 5, 0), (0, 0, 2**63 - 1, 0)], f"event 1 has t = {2**63 - 1}"),
        ([(0, 0, 5, 0), (-1, 0, 6, 0)], "event 1 has x = -1"),
        ([(5, 0, 5, 0), (0, 0, 6, 0)], "event 0 has x = 5"),
        ([(0, 3, 5, 0), (0, 0, 6, 0)], "event 0 has y = 3"),
        ([(0, 0, 5, 2), (0, 0, 6, 0)], "event 0 has p = 2"),
    ],
)
@pytest.mark.parametrize(
    "call",
    [
        lambda events: to_frames(events, SIZE, n_time_bins=2),
        lambda events: to_frames(events, SIZE, time_window=2),
        lambda events: to_frames(events, SIZE, event_count=2),
        lambda events: to_frames(events, SIZE, n_time_bins=2, start=0, stop=3),
        lambda events: to_sparse(events, SIZE, n_time_bins=2),
        lambda events: to_voxel_grid(events, SIZE, 2),
    ],
)
def test_illegal_events_are_an_error_and_not_a_wrong_count(rows, message, call):
    with pytest.raises(EventError, match=message):
        call(np.array(rows, EVENT_DTYPE))


@pytest.mark.exact
@settings(deadline=None)
@given(event_arrays, st.integers(1, 12), st.sampled_from([1, 2]))
def test_frames_turn_into_events_and_back_without_loss(events, n, polarities):
    size = (5, 3, polarities)
    frames = to_frames(events, size, n_time_bins=n, start=0, stop=10**9)
    back = frames_to_events(frames.counts, frames.edges)
    assert back.size == events.size
    again = to_frames(back, size, n_time_bins=n, start=0, stop=10**9)
    assert (again.counts == frames.counts).all()
    assert (np.sort(back["t"]) <= np.sort(events["t"])).all()


@pytest.mark.fault
@pytest.mark.parametrize(
    ("counts", "edges", "error"),
    [
        (np.zeros((2, 2, 3), int), [0, 1, 2], ShapeError),
        (np.zeros((2, 2, 3, 5), int), [0, 1], ShapeError),
        (np.zeros((2, 2, 3, 5)), [0, 1, 2], DTypeError),
        (np.zeros((2, 2, 3, 5), int), [0.0, 1.0, 2.0], DTypeError),
        (np.full((2, 2, 3, 5), -1), [0, 1, 2], EventError),
        (np.zeros((2, 2, 3, 5), int), [0, 2, 1], EventError),
        (np.zeros((2, 2, 3, 5), int), [-1, 2, 3], EventError),
        (np.full((2, 2, 3, 5), 2**60), [0, 1, 2], EventError),
        (np.zeros((2, 3, 3, 5), int), [0, 1, 2], ParameterError),
    ],
)
def test_counts_that_cannot_be_events_are_refused(counts, edges, error):
    with pytest.raises(error):
        frames_to_events(counts, edges)


@pytest.mark.exact
@settings(deadline=None)
@given(event_arrays, st.integers(1, 12), st.sampled_from([1, 2]))
def test_sparse_frames_hold_the_same_counts(events, n, polarities):
    size = (5, 3, polarities)
    frames = to_frames(events, size, n_time_bins=n, start=3, stop=800)
    sparse = to_sparse(events, size, n_time_bins=n, start=3, stop=800)
    dense = np.zeros(sparse.shape, np.int32)
    dense[tuple(sparse.coordinates.T)] = sparse.counts
    assert (dense == frames.counts).all()
    assert sparse.outside == frames.outside
    assert (sparse.counts > 0).all() and sparse.coordinates.dtype == np.int64


@pytest.mark.parametrize("n", [0, 25])
def test_sparse_frames_become_a_torch_tensor(n):
    events = draw(4, n)
    tensor = to_sparse(events, SIZE, n_time_bins=3).to_torch()
    assert (tensor.to_dense().numpy() == to_frames(events, SIZE, n_time_bins=3).counts).all()


@settings(deadline=None)
@given(event_arrays, st.integers(1, 12), st.sampled_from([1, 2]))
def test_a_voxel_grid_keeps_the_signed_mass(events, n, polarities):
    grid = to_voxel_grid(events, (5, 3, polarities), n)
    sign = np.where(events["p"] == 1, 1, -1) if polarities == 2 else np.ones(events.size)
    assert grid.shape == (n, 1, 3, 5) and grid.dtype == np.float32
    expected = np.zeros((3, 5))
    np.add.at(expected, (events["y"], events["x"]), sign)
    assert np.allclose(grid.sum(axis=(0, 1)), expected, atol=1e-5 * (1 + events.size))


def test_a_voxel_grid_spreads_an_event_by_its_distance_to_two_instants():
    grid = to_voxel_grid(make_events(0, 0, [0, 30, 100], [1, 0, 1]), (1, 1, 2), 3)
    assert np.allclose(grid.ravel(), [1 - 0.4, -0.6, 1.0])


@pytest.mark.parity
@pytest.mark.parametrize("n", [0, 1, 7, 40])
@pytest.mark.parametrize("polarities", [1, 2])
def test_compiled_loops_equal_the_reference(n, polarities):
    events = draw(n, n)
    for first, span, bins in [(0, 0, 3), (5, 1000, 7), (0, 2**61, 1000), (3, 2, 9)]:
        assert (compiled.equal_edges(first, span, bins) == reference.equal_edges(first, span, bins)).all()
    edges = reference.equal_edges(0, 900, 7)
    starts = [np.empty(8, np.int64), np.empty(8, np.int64)]
    counts = [np.zeros((7, polarities, 3, 5), np.int32) for _ in range(2)]
    grids = [np.zeros((4, 3, 5), np.float32) for _ in range(2)]
    lost = []
    for k, module in enumerate((compiled, reference)):
        assert module.window_starts(events, edges, 5, 3, starts[k]) == -1
        lost.append(module.count_windows(events, starts[k], 1, counts[k]))
        module.spread_in_time(events, polarities == 2, grids[k])
    assert (starts[0] == starts[1]).all() and (counts[0] == counts[1]).all() and (grids[0] == grids[1]).all()
    assert lost[0] == lost[1]


@pytest.mark.data
def test_tonic_counts_the_same_where_it_loses_nothing(recordings):
    tonic = pytest.importorskip("tonic")
    from spikeframe.datasets.readers import read_nmnist

    file = min((recordings / "nmnist_small/NMNIST/Test").glob("*/*.bin"))
    events = read_nmnist(file).events
    window = int(events["t"][-1] - events["t"][0]) // 10
    theirs = tonic.transforms.ToFrame(sensor_size=(34, 34, 2), n_time_bins=10)(events.copy())
    ours = to_frames(events, (34, 34, 2), n_time_bins=10, time_window=window)
    assert (ours.counts == theirs).all()
    assert ours.outside == events.size - theirs.sum() > 0


@pytest.mark.exact
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
@pytest.mark.parametrize("saturate", [None, 3])
def test_every_type_of_counts_holds_the_same_numbers(dtype, saturate):
    events = draw(3, 900)
    whole = to_frames(events, SIZE, n_time_bins=7, saturate=saturate)
    frames = to_frames(events, SIZE, n_time_bins=7, saturate=saturate, dtype=dtype)
    assert frames.counts.dtype == dtype
    assert np.array_equal(frames.counts, whole.counts)
    assert frames.saturated == whole.saturated
    out = np.full(frames.counts.shape, 7, dtype)
    assert to_frames(events, SIZE, n_time_bins=7, saturate=saturate, dtype=dtype, out=out).counts is out
    assert np.array_equal(out, whole.counts)


@pytest.mark.fault
def test_a_count_beyond_its_type_is_refused_and_never_wraps():
    events = make_events(np.full(300, 2), 1, np.arange(300), 1)
    assert to_frames(events[:255], SIZE, n_time_bins=1, dtype=np.uint8).counts.max() == 255
    with pytest.raises(EventError, match="45 events lie above the 255"):
        to_frames(events, SIZE, n_time_bins=1, dtype=np.uint8)
    assert to_frames(events, SIZE, n_time_bins=1, dtype=np.uint8, saturate=255).saturated == 45
    with pytest.raises(ParameterError, match="saturate"):
        to_frames(events, SIZE, n_time_bins=1, dtype=np.uint8, saturate=256)
    for dtype in (np.int64, np.float32, "nothing"):
        with pytest.raises(DTypeError, match="accepted are uint8, int16, int32"):
            to_frames(events, SIZE, n_time_bins=1, dtype=dtype)


def test_used_memory_is_zeroed_before_it_is_counted_into():
    events = make_events([1], [1], [0], [1])
    for _ in range(3):
        frames = to_frames(events, (400, 400, 2), n_time_bins=2)
        assert frames.counts.sum() == 1
        frames.counts[...] = -1
        del frames
