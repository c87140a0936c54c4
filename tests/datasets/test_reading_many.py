"""Many N-MNIST files read at once: the same recordings, and the same errors, as one by one."""

from __future__ import annotations

import numpy as np
import pytest

from spikeframe.datasets import NMNIST
from spikeframe.datasets.events import EVENT_DTYPE
from spikeframe.datasets.readers import nmnist, read_nmnist, read_nmnist_many
from spikeframe.errors import DataNotFoundError, EventFileError, ParameterError
from spikeframe.kernels.numba.events import decode_40bit
from spikeframe.kernels.numba.records import decode_plain_40bit


def records(seed, count, side=34):
    random = np.random.Generator(np.random.Philox(seed))
    x, y, p = random.integers(0, side, count), random.integers(0, side, count), random.integers(0, 2, count)
    t = np.sort(random.integers(0, 2**23, count))
    columns = [x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255]
    return np.stack(columns, axis=1).astype(np.uint8).tobytes()


@pytest.fixture
def files(tmp_path):
    paths = []
    for number, count in enumerate([1, 700, 30_000, 2, 4000, 9000]):
        paths.append(tmp_path / f"{number}.bin")
        paths[-1].write_bytes(records(number, count))
    return paths


def same(many, one):
    assert np.array_equal(many.events, one.events)
    assert many.events.dtype == one.events.dtype
    assert many.sensor_size == one.sensor_size
    assert many.dropped == one.dropped


@pytest.mark.exact
@pytest.mark.parametrize("batch", [1 << 15, 1 << 17, 1 << 18])
@pytest.mark.parametrize("sensor_size", [(34, 34, 2), (250, 250, 2), None])
def test_many_files_give_what_each_gives_alone(files, monkeypatch, batch, sensor_size):
    monkeypatch.setattr(nmnist, "_BATCH", batch)
    found = list(read_nmnist_many(files, sensor_size))
    assert len(found) == len(files)
    for many, path in zip(found, files, strict=True):
        same(many, read_nmnist(path, sensor_size))


def test_markers_among_many_files_move_times_and_are_counted(files):
    files[1].write_bytes(records(1, 5) + bytes([0, 240, 0, 0, 0]) + bytes([1, 2, 0xFF, 0xFF, 0xFF]))
    for many, path in zip(read_nmnist_many(files), files, strict=True):
        same(many, read_nmnist(path))
    assert read_nmnist(files[1]).dropped == {"time overflow": 1}


@pytest.mark.exact
@pytest.mark.parametrize("at", range(24))
@pytest.mark.parametrize("change", [None, (0, 34), (0, 255), (1, 34), (1, 240), "back"])
def test_registers_of_four_events_find_every_broken_rule(at, change):
    data = np.frombuffer(records(at, 60), np.uint8).reshape(-1, 5).copy()
    if change == "back":
        data[at, 2:] = data[at, 2:] | 0x7F
    elif change:
        data[at, change[0]] = change[1]
    first = np.array([0, 24, 24, 60])
    events, good = np.zeros(60, EVENT_DTYPE), np.ones(3, np.bool_)
    decode_plain_40bit(data.view(nmnist._RECORD)[:, 0], events.view(nmnist._WORDS), first, 34, 34, good)
    assert good.tolist() == [change is None or (change == "back" and at == 23), True, True]
    alone = np.zeros(60, EVENT_DTYPE)
    decode_40bit(data.view(nmnist._RECORD)[:, 0], alone, 256, 256, -1)
    whole = slice(0, at + 1 if change == "back" else 60)
    assert np.array_equal(events[whole], alone[whole])


@pytest.mark.fault
@pytest.mark.parametrize("at", [0, 3, 5])
@pytest.mark.parametrize(
    "content",
    [b"", b"\x01\x02\x03", records(1, 9)[:-2], bytes([34, 0, 0, 0, 0]), bytes([0, 34, 0, 0, 0]), records(2, 4)[::-1]],
)
def test_a_damaged_file_among_many_raises_what_it_raises_alone(files, at, content):
    files[at].write_bytes(content)
    with pytest.raises(EventFileError) as alone:
        read_nmnist(files[at])
    reading = read_nmnist_many(files)
    for path in files[:at]:
        same(next(reading), read_nmnist(path))
    with pytest.raises(EventFileError) as among:
        next(reading)
    assert str(among.value) == str(alone.value)
    assert str(files[at]) in str(among.value)


@pytest.mark.fault
def test_a_missing_file_and_no_path_are_refused(files):
    with pytest.raises(DataNotFoundError, match=r"none\.bin"):
        list(read_nmnist_many([*files, files[0].with_name("none.bin")]))
    with pytest.raises(ParameterError):
        list(read_nmnist_many([files[0], 3.5]))
    with pytest.raises(ParameterError):
        list(read_nmnist_many([f"{files[0]}\0x"]))
    with pytest.raises(ParameterError):
        list(read_nmnist_many(files, (0, 1, 2)))
    assert list(read_nmnist_many([])) == []


def test_iterating_over_n_mnist_gives_its_items(tmp_path):
    for digit in range(3):
        folder = tmp_path / "NMNIST/Test" / str(digit)
        folder.mkdir(parents=True)
        for number in range(2):
            (folder / f"{2 * number + digit + 1:05d}.bin").write_bytes(records(number + 10 * digit, 50 + digit))
    dataset = NMNIST(tmp_path, "test", transform=len, target_transform=str)
    assert list(dataset) == [dataset[i] for i in range(len(dataset))]
    assert len(dataset) == 6
