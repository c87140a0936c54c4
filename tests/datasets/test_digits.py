"""The default data set: its split, its cache, its determinism."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spikeframe.datasets import digits
from spikeframe.datasets.camera import Camera
from spikeframe.datasets.digits import Digits, cache_folder, digit_pictures, record_all
from spikeframe.datasets.events import EVENT_DTYPE, check_events
from spikeframe.datasets.packed import Packed
from spikeframe.errors import ParameterError, UnknownNameError

QUICK = Camera(width=10, height=8, extent=10.0, path=((0.0, 4.5, 3.5), (12.0, 6.5, 4.5)))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKEFRAME_CACHE", str(tmp_path / "a cache é"))
    return tmp_path / "a cache é"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The cache file of the set, made once."""
    folder = tmp_path_factory.mktemp("digits")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPIKEFRAME_CACHE", str(folder))
        Digits("test", camera=QUICK)
    (path,) = folder.glob("digits-*.npz")
    return path


@pytest.fixture
def filled(cache, recorded):
    """A cache folder with the set in it."""
    cache.mkdir()
    shutil.copy(recorded, cache)
    return cache


@pytest.fixture(scope="module")
def pictures():
    return digit_pictures()


def test_pictures_are_the_scans_enlarged_into_the_middle_of_an_mnist_like_frame(pictures):
    scans, labels = pictures
    assert scans.shape == (1797, 28, 28)
    assert labels.shape == (1797,)
    assert scans.min() == 0
    assert scans.max() == 1
    assert scans[:, :4].max() == scans[:, -4:].max() == scans[:, :, :4].max() == scans[:, :, -4:].max() == 0


def test_the_three_parts_share_no_recording_and_hold_the_classes_in_proportion(filled):
    parts = {split: Digits(split, camera=QUICK) for split in ("train", "validation", "test")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 1197, "validation": 200, "test": 400}
    numbers = np.concatenate([part.numbers for part in parts.values()])
    assert np.array_equal(np.sort(numbers), np.arange(1797))
    overall = np.bincount(np.concatenate([part.labels for part in parts.values()])) / 1797
    for part in parts.values():
        assert np.abs(np.bincount(part.labels) - overall * len(part)).max() <= 1.5


@pytest.mark.exact
def test_the_split_never_changes(cache):
    expected = {
        "train": "9af07252cf194192",
        "validation": "8123ee10104f1a49",
        "test": "2f45fb899a34fb03",
    }
    for split, known in expected.items():
        found = hashlib.sha256(Digits(split, seed=5, camera=QUICK).numbers.astype("<i8").tobytes()).hexdigest()
        assert found[:16] == known


def test_an_item_is_legal_events_and_the_scan_s_label(filled, pictures):
    part = Digits("validation", camera=QUICK)
    assert part.sensor_size == (10, 8, 2)
    assert part.classes == list("0123456789")
    for number in (0, 77, 199, -1, np.int64(3)):
        events, label = part[number]
        assert events.dtype == EVENT_DTYPE
        check_events(events, part.sensor_size)
        assert type(label) is int
        assert label == pictures[1][part.numbers[number]]
    assert sum(1 for _ in part) == 200


@pytest.mark.fault
def test_an_index_beyond_the_set_is_an_index_error_and_other_types_are_named(filled):
    part = Digits("validation", camera=QUICK)
    for number in (200, -201):
        with pytest.raises(IndexError, match="200 recordings"):
            part[number]
    for number in ("1", 1.0, None, [1]):
        with pytest.raises(ParameterError, match="whole number"):
            part[number]


def test_transforms_are_applied_to_events_and_label(filled):
    part = Digits("test", camera=QUICK, transform=len, target_transform=lambda label: label + 100)
    plain = Digits("test", camera=QUICK)
    assert part[3] == (len(plain[3][0]), plain[3][1] + 100)


def test_a_cached_set_is_the_set_that_was_made(cache, pictures):
    made = Digits("test", camera=QUICK)
    kept = Digits("test", camera=QUICK)
    assert len(list(cache.glob("digits-*.npz"))) == 1
    for number in (0, 11, 399):
        scan = made.numbers[number]
        direct = QUICK.record(pictures[0][scan], sample=int(scan), seed=0)
        assert np.array_equal(made[number][0], direct)
        assert np.array_equal(kept[number][0], direct)


def test_another_seed_or_camera_has_another_cache_file(filled):
    first, second = Digits("test", seed=0, camera=QUICK), Digits("test", seed=1, camera=QUICK)
    assert len(list(filled.glob("digits-*.npz"))) == 2
    assert np.array_equal(first.labels, second.labels)
    assert not np.array_equal(first[0][0], second[0][0])


@pytest.mark.exact
def test_any_number_of_threads_makes_the_same_recordings(pictures, monkeypatch):
    results = []
    for threads in (1, 5):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=threads: range(n), raising=False)
        results.append(list(record_all(QUICK, pictures[0][:40])))
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.fault
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other"])
def test_a_damaged_cache_file_is_noticed_and_made_again(filled, caplog, damage):
    first = Digits("test", camera=QUICK)[5][0]
    (path,) = filled.glob("digits-*.npz")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    path.write_bytes(
        {"cut": content[: len(content) // 2], "empty": b"", "other": b"PK\x03\x04 no"}.get(damage, content)
    )
    again = Digits("test", camera=QUICK)[5][0]
    assert np.array_equal(first, again)
    assert "damaged" in caplog.text
    assert str(path) in caplog.text
    Packed(path)


@pytest.mark.fault
def test_an_unwritable_cache_folder_leaves_the_set_in_memory_and_says_so(tmp_path, monkeypatch, caplog, recorded):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    monkeypatch.setenv("SPIKEFRAME_CACHE", str(blocker / "cache"))
    part = Digits("test", camera=QUICK)
    assert "stay in memory" in caplog.text
    assert "SPIKEFRAME_CACHE" in caplog.text
    events = part[7][0]
    events["x"] = 0
    assert part[7][0]["x"].any()
    monkeypatch.setenv("SPIKEFRAME_CACHE", str(recorded.parent))
    assert np.array_equal(part[7][0], Digits("test", camera=QUICK)[7][0])


@pytest.mark.fault
def test_a_failed_write_leaves_no_file_behind(cache, monkeypatch):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    assert len(Digits("test", camera=QUICK)[0][0])
    assert list(cache.iterdir()) == []


@pytest.mark.fault
def test_unknown_splits_and_bad_seeds_are_named(cache):
    with pytest.raises(UnknownNameError, match="validation"):
        Digits("valid")
    for seed in (-1, 0.5, None, "0"):
        with pytest.raises(ParameterError, match="seed = "):
            Digits("test", seed=seed)
    assert not cache.exists()


def test_the_cache_folder_follows_the_platform_and_the_environment(monkeypatch):
    monkeypatch.delenv("SPIKEFRAME_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.setattr(digits.sys, "platform", "linux")
    assert cache_folder() == Path("/somewhere/spikeframe")
    monkeypatch.setenv("SPIKEFRAME_CACHE", "/elsewhere")
    assert cache_folder() == Path("/elsewhere")


def test_two_processes_that_fill_one_cache_end_with_one_whole_file(cache):
    code = (
        "from spikeframe.datasets.camera import Camera; from spikeframe.datasets.digits import Digits;"
        "c = Camera(width=10, height=8, extent=10.0, path=((0.0, 4.5, 3.5), (12.0, 6.5, 4.5)));"
        "print(int(Digits('test', camera=c)[0][0]['t'].sum()))"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    results = {process.communicate()[0] for process in running}
    assert len(results) == 1
    assert results != {""}
    (path,) = cache.iterdir()
    Packed(path)
