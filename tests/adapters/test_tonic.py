"""Data sets and transforms between tonic and here; the cache follows every change of its transform."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from spikeframe import datasets
from spikeframe.adapters import tonic as adapter
from spikeframe.adapters.tonic import Guarded, cached, to_tonic
from spikeframe.datasets import from_tonic, transforms
from spikeframe.datasets.base import EventDataset
from spikeframe.datasets.events import make_events
from spikeframe.errors import DTypeError, EventError, ParameterError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    tonic = pytest.importorskip("tonic", reason="tonic is not installed")
    import tonic.transforms as theirs

SIZE = (10, 8, 2)


def some(seed, n=200):
    random = np.random.Generator(np.random.Philox(key=seed))
    x, y, p = (random.integers(side, size=n) for side in SIZE)
    return make_events(x, y, np.sort(random.integers(10_000, size=n)), p)


class Few(EventDataset):
    """Seven recordings; remembers how often they are read."""

    def __init__(self, shift=0, labels=(0, 1, 2, 0, 1, 2, 0)):
        super().__init__(labels, SIZE, ["a", "b", "c"])
        self.shift, self.reads = shift, 0
        self.kept = [some(number + shift) for number in range(len(labels))]

    def events(self, number):
        self.reads += 1
        return self.kept[number]


@pytest.mark.parity
def test_our_sets_run_in_tonics_pipelines_and_stay_as_they_are():
    data = Few()
    before = [events.copy() for events in data.kept]
    chain = theirs.Compose([theirs.MergePolarities(), theirs.Downsample(spatial_factor=0.5)])
    view = to_tonic(data, chain, target_transform=lambda label: label + 10)
    events, target = view[3]
    assert target == 10
    assert set(events["p"]) == {0}
    memory = tonic.MemoryCachedDataset(to_tonic(data), transform=theirs.ToFrame(SIZE, n_time_bins=4))
    assert memory[1][0].shape == (4, 2, 8, 10)
    sliced = tonic.SlicedDataset(to_tonic(data), tonic.slicers.SliceByEventCount(50))
    assert len(sliced) == 7 * 4
    assert all(np.array_equal(a, b) for a, b in zip(before, data.kept, strict=True))
    assert view.targets == data.labels.tolist()
    assert len(view) == 7
    assert np.array_equal(view[-7][0], view[0][0])
    with pytest.raises(IndexError):
        view[7]


@pytest.mark.parity
def test_a_set_goes_to_tonic_and_back():
    data = Few()
    back = from_tonic(to_tonic(data))
    assert back.sensor_size == SIZE
    assert back.classes == data.classes
    for number in range(7):
        assert np.array_equal(back[number][0], data[number][0])
        assert back[number][1] == data[number][1]


@pytest.mark.parity
def test_tonics_transforms_stand_in_ours_and_are_looked_at():
    data = Few()
    data.transform = transforms.Compose([transforms.TimeShift(5), Guarded(theirs.ToFrame(SIZE, event_count=50))])
    frames = transforms.ToFrames(SIZE, event_count=50)(data.kept[0])
    assert np.array_equal(data[0][0], frames)
    one = np.full(40_000, 3)
    flood = make_events(one, one, np.arange(40_000), np.ones(40_000, int))
    assert theirs.ToFrame(SIZE, n_time_bins=1)(flood.copy()).min() < 0  # what the guard is for
    with pytest.raises(EventError, match="wrapped"):
        Guarded(theirs.ToFrame(SIZE, n_time_bins=1))(flood)
    with pytest.raises(EventError, match="of 200 events"):
        Guarded(theirs.ToFrame(SIZE, time_window=3000))(some(1))
    assert Guarded(theirs.ToFrame(SIZE, time_window=3000), lossy=True)(some(1)).shape[0] == 3
    for name, value in (("x", -1), ("t", 9_999_999)):
        wrong = some(1).copy()
        wrong[name][3] = value
        with pytest.raises(EventError, match="input"):
            Guarded(theirs.ToFrame(SIZE, n_time_bins=2))(wrong)
    with pytest.raises(EventError, match="output"):
        Guarded(lambda events: events[::-1])(some(1))
    with pytest.raises(DTypeError):
        Guarded(3)
    with pytest.raises(DTypeError):
        to_tonic([1])


@pytest.mark.exact
def test_a_cache_computes_once_and_gives_the_same_after(tmp_path):
    data = Few()
    chain = transforms.Compose([theirs.ToFrame(SIZE, n_time_bins=4), torch.from_numpy])
    first = cached(data, tmp_path, chain)
    expected = [chain(events.copy()) for events in data.kept]
    for _ in range(2):
        for number in range(7):
            value, label = first[number]
            assert torch.equal(value, expected[number])
            assert label == data.labels[number]
    reads = data.reads
    again = cached(data, tmp_path, chain, after=lambda frames: frames * 2)
    reads_to_key = data.reads - reads
    assert torch.equal(again[2][0], expected[2] * 2)
    assert data.reads - reads == reads_to_key
    assert len(again) == 7
    (first.folder / "2.npz").write_bytes((first.folder / "2.npz").read_bytes()[:100])
    assert torch.equal(first[2][0], expected[2])
    assert cached(Few(shift=1), tmp_path, chain).folder != first.folder
    assert cached(Few(labels=(1,) * 7), tmp_path, chain).folder != first.folder
    assert torch.equal(first[-1][0], expected[-1])
    with pytest.raises(IndexError):
        first[7]


@dataclass(frozen=True)
class Window:
    """A transform with nested arguments."""

    size: int
    mask: np.ndarray = field(default_factory=lambda: np.ones(3))
    inner: object = None

    def __call__(self, events):
        return events[: self.size]


class Plain:
    factor = 1

    def __call__(self, events):
        return events[: 5 * self.factor]


FACTOR = 3


def by_global(events):
    return events[:FACTOR]


def calls_another(events):
    return by_global(events)


def within(events):
    return np.concatenate([events[:FACTOR] for _ in range(2)])


def with_default(events, n=4):
    return events[:n]


def closed(n):
    return lambda events: events[:n]


def folder(transform, tmp_path):
    return cached(Few(), tmp_path, transform).folder


@pytest.mark.exact
def test_every_change_of_a_transform_changes_its_key(tmp_path, monkeypatch):
    kinds = {
        "argument": (Window(3), Window(4)),
        "array": (Window(3, np.ones(3)), Window(3, np.array([1.0, 1.0, 2.0]))),
        "nested": (Window(3, inner=[{"a": (1, Window(1))}]), Window(3, inner=[{"a": (1, Window(2))}])),
        "type": (Window(3, inner=1), Window(3, inner=1.0)),
        "closure": (closed(3), closed(4)),
        "constant": (lambda events: events[:3], lambda events: events[:4]),
        "operation": (lambda events: events[3:], lambda events: events[:3]),
        "name": (lambda events: np.sort(events), lambda events: np.flip(events)),
        "order of names": (lambda e: np.sort(np.flip(e)), lambda e: np.flip(np.sort(e))),
        "partial": (functools.partial(with_default, n=1), functools.partial(with_default, n=2)),
        "tonic": (theirs.ToFrame(SIZE, n_time_bins=3), theirs.ToFrame(SIZE, n_time_bins=4)),
        "ours": (transforms.TimeShift(1), transforms.TimeShift(2)),
        "order": (
            transforms.Compose([transforms.TimeShift(1), transforms.TimeScale(2)]),
            transforms.Compose([transforms.TimeScale(2), transforms.TimeShift(1)]),
        ),
        "object": (Plain().__call__, Window(5).__call__),
    }  # fmt: skip
    seen = set()
    for a, b in kinds.values():
        assert folder(a, tmp_path) == folder(a, tmp_path)
        assert folder(a, tmp_path) != folder(b, tmp_path)
        seen |= {folder(a, tmp_path), folder(b, tmp_path)}
    assert len(seen) >= 2 * len(kinds) - 2
    for change in (
        lambda: monkeypatch.setitem(globals(), "FACTOR", 5),
        lambda: monkeypatch.setattr(with_default, "__defaults__", (5,)),
        lambda: monkeypatch.setattr(Plain, "factor", 2),
        lambda: monkeypatch.setattr(Plain, "__call__", lambda self, events: events[:2]),
    ):
        before = [folder(t, tmp_path) for t in (calls_another, within, with_default, Plain())]
        change()
        after = [folder(t, tmp_path) for t in (calls_another, within, with_default, Plain())]
        changed = [a != b for a, b in zip(before, after, strict=True)]
        assert changed in ([True, True, False, False], [False, False, True, False], [False, False, False, True])


@pytest.mark.exact
def test_the_key_is_the_same_in_another_process(tmp_path):
    code = (
        "import sys; sys.path.insert(0, 'tests/adapters'); import test_tonic as t; from pathlib import Path\n"
        "print(t.folder(t.transforms.Compose([t.Window(3, inner={'a': {'x', 'y', 'z'}}), t.calls_another, t.Plain()]), "
        "Path(sys.argv[1])).name)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    other = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()
    chain = transforms.Compose([Window(3, inner={"a": {"x", "y", "z"}}), calls_another, Plain()])
    assert folder(chain, tmp_path).name == other


@pytest.mark.fault
def test_random_transforms_and_those_without_content_are_refused(tmp_path):
    with pytest.raises(ParameterError, match="after="):
        cached(Few(), tmp_path, theirs.DropEvent(p=0.5))
    generator = np.random.default_rng(0)
    with pytest.raises(ParameterError, match="key="):
        cached(Few(), tmp_path, lambda events: events[: generator.integers(3)])
    assert cached(Few(), tmp_path, lambda events: events[: len(str(generator)) % 7], key="mine")[0][0] is not None
    with pytest.raises(ParameterError, match="NumPy arrays"):
        cached(Few(), tmp_path, lambda events: [events])
    with pytest.raises(DTypeError, match="from_tonic"):
        cached(to_tonic(Few()), tmp_path)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    cached(Few(), tmp_path, Window(3))
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    made = cached(Few(), tmp_path, Window(3))

    def fails(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(adapter.np, "savez", fails)
    with pytest.raises(OSError, match="full"):
        made[0]
    assert list(made.folder.iterdir()) == []


def test_the_page_shows_what_runs(tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / "docs" / "exchange.md").read_text(encoding="utf8")
    (block,) = re.findall(r"```py\n(import tonic.*?)```", text, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "load", lambda name, split: Few())
    exec(compile(block, "docs/exchange.md", "exec"), {})
