"""Event arrays: what is legal, and what the error says when they are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeframe.datasets.events import EVENT_DTYPE, as_events, check_events, check_sensor_size, make_events
from spikeframe.errors import EventError, ParameterError
from spikeframe.kernels.numba import events as compiled
from spikeframe.kernels.reference import events as reference


def test_columns_become_an_event_array():
    events = make_events([1, 2, 3], 0, [5, 5, 9], [True, False, True])
    assert events.dtype == EVENT_DTYPE
    assert events.tolist() == [(1, 0, 5, 1), (2, 0, 5, 0), (3, 0, 9, 1)]


def test_empty_columns_become_an_empty_array():
    assert make_events([], [], [], []).shape == (0,)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("columns", "index", "value", "accepted"),
    [
        (([1, 2], [0, 0], [5, 4], [1, 1]), "event 1", "t = 4", "never decrease"),
        (([1, 2], [0, 0], [-5, 4], [1, 1]), "event 0", "t = -5", "from 0"),
        (([1, 2], [0, 0], [4, 2**62 + 1], [1, 1]), "event 1", f"t = {2**62 + 1}", "2^62"),
        (([1, -1], [0, 0], [5, 5], [1, 1]), "event 1", "x = -1", "x is 0 to"),
        (([1, 1], [0, -7], [5, 5], [1, 1]), "event 1", "y = -7", "y is 0 to"),
        (([1, 70000], [0, 0], [5, 5], [1, 1]), "event 1", "x = 70000", "0 to 32767"),
        (([1, 1], [0, 0], [5, 5], [2, 1]), "event 0", "p = 2", "0 (OFF) or 1 (ON)"),
        (([1, 1], [0, 0], [5, 5], [1, 257]), "event 1", "p = 257", "0 to 1"),
    ],
)
def test_an_illegal_event_is_named_with_value_and_rule(columns, index, value, accepted):
    with pytest.raises(EventError) as error:
        make_events(*columns)
    for part in (index, value, accepted):
        assert part in str(error.value)


@pytest.mark.fault
@pytest.mark.parametrize(
    "bad",
    [
        None,
        [1, 2, 3],
        np.zeros(3),
        np.zeros((3, 4), np.int64),
        np.zeros((2, 2), EVENT_DTYPE),
        np.ma.zeros(3, EVENT_DTYPE),
        np.zeros(3, [("x", "i2"), ("y", "i2"), ("t", "i8")]),
        np.zeros(3, [("x", "i2"), ("y", "i2"), ("t", "f8"), ("p", "i1")]),
        np.zeros(3, [("x", "i2", 2), ("y", "i2"), ("t", "i8"), ("p", "i1")]),
        np.zeros(3, [("x", "O"), ("y", "i2"), ("t", "i8"), ("p", "i1")]),
    ],
)
def test_what_is_no_event_array_is_refused(bad):
    with pytest.raises(EventError, match="clip 7"):
        check_events(bad, where="clip 7")


@pytest.mark.fault
@pytest.mark.parametrize("columns", [([1, 2], [1], [1, 2, 3], [1]), ([1.5], [0], [0], [0]), (["a"], [0], [0], [0])])
def test_columns_that_do_not_fit_are_refused(columns):
    with pytest.raises(EventError):
        make_events(*columns)


def test_events_outside_the_sensor_are_refused_and_those_inside_are_not():
    events = make_events([0, 3], [0, 1], [0, 1], [0, 1])
    check_events(events, (4, 2, 2))
    with pytest.raises(EventError, match=r"event 1 has x = 3; x is 0 to 2"):
        check_events(events, (3, 2, 2))
    with pytest.raises(EventError, match=r"event 1 has y = 1; y is 0 to 0"):
        check_events(events, (4, 1, 2))


@pytest.mark.fault
@pytest.mark.parametrize(
    "size", [None, (), (1, 2), (1, 2, 3), (0, 1, 2), (1, -1, 2), (1.5, 1, 2), (2**16, 1, 2), "abc", (np.nan, 1, 1), 3]
)
def test_a_sensor_size_must_be_three_positive_whole_numbers(size):
    with pytest.raises(ParameterError, match="sensor_size"):
        check_sensor_size(size)


def test_other_integer_widths_and_arrays_without_rows_are_converted():
    foreign = np.array([(True, 7, 3)], [("p", "?"), ("t", "u4"), ("x", "i8")])
    assert as_events(foreign).tolist() == [(3, 0, 7, 1)]


def test_an_array_of_our_own_type_is_not_copied():
    events = make_events([1], [1], [1], [1])
    assert as_events(events) is events


@pytest.mark.parity
@given(
    st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 3), st.integers(-1, 9), st.integers(-1, 2)), max_size=6).map(
        lambda rows: np.array(rows, EVENT_DTYPE)
    )
)
def test_the_compiled_check_finds_the_same_first_event(events):
    assert compiled.first_bad_event(events, 3, 2) == reference.first_bad_event(events, 3, 2)
