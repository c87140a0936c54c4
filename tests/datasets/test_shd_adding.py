"""SHD-Adding: two digits one after the other, labelled with their sum, on sets of SHD's layout."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest

from spikeframe.datasets import SHD, EventDataset, SHDAdding, make_events
from spikeframe.errors import ParameterError, ShapeError


class Words(EventDataset):
    """Twenty words; word k has spikes of channel k at k, k + 100 and k + 600 ms."""

    def __init__(self, rows=1, classes=20, transform=None, count=20):
        super().__init__(np.arange(count), (700, rows, 1), [str(n) for n in range(classes)], transform)

    def events(self, number):
        return make_events(number, 0, (number + np.array([0, 100, 600])) * 1000, 1)


@pytest.mark.exact
def test_a_recording_is_two_words_and_its_label_their_sum():
    data = SHDAdding(Words(), 200, seed=4, length=500.0)
    assert len(data) == 200
    assert data.sensor_size == (700, 1, 1)
    for number in range(200):
        events, label = data[number]
        first, second = data.pairs[number].tolist()
        assert label == first % 10 + second % 10
        assert events["x"].tolist() == [first, first, second, second]
        assert events["t"].tolist() == [1000 * t for t in (first, first + 100, second + 500, second + 600)]
    assert set(data.labels) <= set(range(19))
    assert len(np.unique(data.labels)) > 15


@pytest.mark.exact
def test_pairs_depend_on_seed_and_number_alone():
    short, long = SHDAdding(Words(), 10, seed=1), SHDAdding(Words(), 50, seed=1)
    assert np.array_equal(short.pairs, long.pairs[:10])
    assert not np.array_equal(short.pairs, SHDAdding(Words(), 10, seed=2).pairs)


@pytest.mark.data
def test_it_takes_recordings_of_shds_layout():
    root = os.environ.get("SPIKEFRAME_DATA")
    if not root or not (Path(root) / "fsdd_shd_mini").is_dir():
        pytest.skip("SPIKEFRAME_DATA does not name the recordings")
    base = SHD(Path(root) / "fsdd_shd_mini", "test")
    data = SHDAdding(base, 3)
    for number in range(3):
        events, label = data[number]
        assert (np.diff(events["t"]) >= 0).all()
        assert events["t"].max() < 2_000_000
        assert label == sum(base.labels[data.pairs[number]] % 10)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("base", "options", "error", "words"),
    [
        (None, {}, ParameterError, "base"),
        (Words(count=0), {}, ParameterError, "not empty"),
        (Words(transform=len), {}, ParameterError, "no transform"),
        (Words(classes=35), {}, ParameterError, "35 classes"),
        (Words(rows=2), {}, ShapeError, "one row"),
        (Words(), {"samples": -1}, ParameterError, "samples"),
        (Words(), {"seed": 0.5}, ParameterError, "seed"),
        (Words(), {"length": 0.0}, ParameterError, "length"),
        (Words(), {"length": math.nan}, ParameterError, "length"),
    ],
)
def test_bad_arguments_are_refused_by_name(base, options, error, words):
    with pytest.raises(error, match=words):
        SHDAdding(base, **{"samples": 5, **options})
