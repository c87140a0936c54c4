"""The real sets in their published folders, packed files, and tonic's sets in our form."""

from __future__ import annotations

import pickle

import h5py
import numpy as np
import pytest

import spikeframe.datasets as datasets
from spikeframe.datasets import NMNIST, SHD, SSC, DVSGesture, Packed, from_tonic
from spikeframe.datasets.base import stratified_order, training_part
from spikeframe.datasets.events import EVENT_DTYPE, check_events, make_events
from spikeframe.datasets.packed import write_packed
from spikeframe.errors import (
    DataNotFoundError,
    DTypeError,
    EventError,
    EventFileError,
    ParameterError,
    SpikeframeError,
    UnknownNameError,
)


def some_events(seed, n=50, size=(34, 34, 2)):
    random = np.random.Generator(np.random.Philox(key=seed))
    columns = (random.integers(side, size=n) for side in size)
    x, y, p = columns
    return make_events(x, y, np.sort(random.integers(300_000, size=n)), p)


def write_bin(path, events):
    path.parent.mkdir(parents=True, exist_ok=True)
    word = events["p"].astype(np.uint32) << 23 | events["t"].astype(np.uint32)
    columns = [events["x"], events["y"], word >> 16, word >> 8 & 255, word & 255]
    path.write_bytes(np.stack(columns, axis=1).astype(np.uint8).tobytes())


@pytest.fixture
def nmnist(tmp_path):
    """Forty training and six test recordings, the file number being the seed."""
    for part, numbers in (("Train", range(1, 41)), ("Test", (100, 9, 10, 2, 33, 1))):
        for number in numbers:
            write_bin(tmp_path / "NMNIST" / part / str(number % 10) / f"{number:05d}.bin", some_events(number))
    return tmp_path


def write_spikes(path, labels, names=(b"zero", b"one", b"two")):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, kind in (("times", np.float16), ("units", np.uint16)):
            rows = file.create_dataset(f"spikes/{name}", len(labels), h5py.vlen_dtype(kind))
            for number in range(len(labels)):
                rows[number] = np.arange(number + 2) / 8 if name == "times" else np.arange(number + 2) * 10
        file["labels"] = np.asarray(labels, np.uint16)
        file["extra/keys"] = np.array(names)


def test_nmnist_is_read_in_the_order_of_file_numbers(nmnist):
    test = NMNIST(nmnist, "test")
    assert [int(file.stem) for file in test.files] == [1, 2, 9, 10, 33, 100]
    assert [test[n][1] for n in range(6)] == [1, 2, 9, 0, 3, 0]
    for number, file in enumerate(test.files):
        assert np.array_equal(test[number][0], some_events(int(file.stem)))


def test_nmnist_takes_the_folder_itself_too(nmnist):
    assert NMNIST(nmnist / "NMNIST", "test").files == NMNIST(nmnist, "test").files
    assert NMNIST(nmnist, "test").sensor_size == (34, 34, 2)


def test_train_and_validation_part_the_published_training_recordings(nmnist):
    train, validation = NMNIST(nmnist, "train"), NMNIST(nmnist, "validation")
    assert len(train) == 36
    assert len(validation) == 4
    assert len(set(train.files) | set(validation.files)) == 40
    assert NMNIST(nmnist, "validation").files == validation.files


@pytest.mark.exact
def test_the_rule_of_the_split_never_changes():
    labels = np.arange(30) % 3
    assert training_part(labels, "validation").tolist() == [3, 7, 20]


def test_each_leading_part_of_a_stratified_order_holds_the_classes_evenly():
    labels = np.repeat([0, 1, 2], (10, 20, 30))
    order = stratified_order(labels, 7)
    assert np.array_equal(np.sort(order), np.arange(60))
    for cut in (6, 12, 30):
        assert np.abs(np.bincount(labels[order[:cut]], minlength=3) - cut * np.array([1, 2, 3]) / 6).max() <= 1


@pytest.mark.fault
@pytest.mark.parametrize("build", [NMNIST, SHD, SSC, DVSGesture])
def test_a_missing_set_says_how_the_folder_must_look_and_where_to_get_it(build, tmp_path):
    for split in ("train", "validation", "test"):
        with pytest.raises(DataNotFoundError, match=r"expected ROOT/.*https://.*download\("):
            build(tmp_path / "nowhere", split)
    with pytest.raises(UnknownNameError, match="'train'"):
        build(tmp_path, "trian")


@pytest.mark.fault
def test_a_damaged_recording_names_its_file(nmnist):
    test = NMNIST(nmnist, "test")
    test.files[2].write_bytes(test.files[2].read_bytes()[:-1])
    with pytest.raises(EventFileError, match=r"00009\.bin"):
        test[2]


def test_shd_has_channels_in_x_and_the_file_s_own_class_names(tmp_path):
    write_spikes(tmp_path / "SHD/shd_test.h5", [2, 0, 1, 1])
    test = SHD(tmp_path, "test")
    assert test.classes == ["zero", "one", "two"]
    assert test.sensor_size == (700, 1, 1)
    events, label = test[2]
    assert label == 1
    assert events["x"].tolist() == [0, 10, 20, 30]
    assert events["t"].tolist() == [0, 125_000, 250_000, 375_000]
    assert set(events["y"]) == {0}
    assert set(events["p"]) == {1}


def test_shd_validates_on_a_tenth_of_the_training_file(tmp_path):
    write_spikes(tmp_path / "shd_train.h5", np.arange(30) % 3)
    train, validation = SHD(tmp_path, "train"), SHD(tmp_path, "validation")
    assert len(validation) == 3
    assert np.array_equal(np.sort(np.concatenate([train.numbers, validation.numbers])), np.arange(30))
    assert len(validation[1][0]) == validation.numbers[1] + 2


def test_ssc_has_a_validation_file_of_its_own(tmp_path):
    for number, part in enumerate(("train", "valid", "test"), start=3):
        write_spikes(tmp_path / f"SSC/ssc_{part}.h5", np.arange(number) % 3)
    assert [len(SSC(tmp_path, split)) for split in ("train", "validation", "test")] == [3, 4, 5]


@pytest.mark.fault
def test_a_label_without_a_name_and_a_linked_list_of_names_are_refused(tmp_path):
    path = tmp_path / "shd_test.h5"
    write_spikes(path, [0, 3])
    with pytest.raises(EventFileError, match="labels 0 to 3 for 3 class names"):
        SHD(tmp_path, "test")
    with h5py.File(path, "a") as file:
        del file["extra/keys"]
        file["extra/keys"] = h5py.ExternalLink("elsewhere.h5", "keys")
    with pytest.raises(EventFileError, match="link into another file"):
        SHD(tmp_path, "test")


def test_gestures_are_read_from_tonic_s_arrays_by_user_and_class(tmp_path):
    events = some_events(3, size=(128, 128, 2))
    events["t"] -= events["t"] % 1000
    table = np.stack([events["x"], events["y"], events["p"], events["t"] // 1000], axis=1).astype(float)
    for user in ("user02_led", "user01_fluorescent"):
        folder = tmp_path / "DVSGesture/ibmGestureTest" / user
        folder.mkdir(parents=True)
        for label in (10, 2):
            np.save(folder / f"{label}.npy", table)
    test = DVSGesture(tmp_path, "test")
    assert test.labels.tolist() == [2, 10, 2, 10]
    assert [file.parent.name[:6] for file in test.files] == ["user01"] * 2 + ["user02"] * 2
    assert np.array_equal(test[1][0], events)
    assert test.classes[10] == "other gestures"


@pytest.mark.fault
@pytest.mark.parametrize(
    "content",
    [
        np.zeros((3, 3)),
        np.full((2, 4), 0.5),
        np.full((2, 4), np.nan),
        np.array([[0, 0, 1, 5], [0, 0, 1, 4]]),
        np.array([[-1, 0, 1, 5]]),
        np.array([["a", "b", "c", "d"]]),
        np.array([[{}, 1, 1, 1]], dtype=object),
    ],
)
def test_an_array_that_is_no_recording_is_refused_by_file(tmp_path, content):
    folder = tmp_path / "ibmGestureTest/user01_led"
    folder.mkdir(parents=True)
    np.save(folder / "4.npy", content)
    with pytest.raises(EventFileError, match=r"4\.npy"):
        DVSGesture(tmp_path, "test")[0]


def test_single_gesture_clips_make_up_the_test_split_in_the_order_of_classes(tmp_path):
    for number in (10, 1, 2):
        write_bin(tmp_path / f"{number}.bs2", some_events(number, size=(128, 128, 2)))
    clips = DVSGesture(tmp_path, "test")
    assert clips.labels.tolist() == [0, 1, 9]
    assert np.array_equal(clips[2][0], some_events(10, size=(128, 128, 2)))


@pytest.fixture
def packed(tmp_path):
    samples = [(some_events(n, n=n * 7), n % 3) for n in range(6)]
    sha256 = write_packed(tmp_path / "set.npz", samples, (34, 34, 2), ["a", "b", "c"], {"set": "x"})
    return tmp_path / "set.npz", samples, sha256


def test_a_packed_file_gives_back_what_was_written(packed):
    path, samples, sha256 = packed
    data = Packed(path)
    assert (len(data), data.sensor_size, data.classes, data.sha256) == (6, (34, 34, 2), ["a", "b", "c"], sha256)
    assert data.source == {"set": "x"}
    for number, (events, label) in enumerate(samples):
        assert np.array_equal(data[number][0], events)
        assert data[number][0].dtype == EVENT_DTYPE
        assert data[number][1] == label
    assert [file.name for file in path.parent.iterdir()] == ["set.npz"]


@pytest.mark.parametrize("size", [(1, 1, 2), (700, 1, 1), (1280, 720, 2)])
def test_a_packed_file_holds_any_sensor_and_no_recording_at_all(tmp_path, size):
    events = some_events(1, size=(*size[:2], 2))
    write_packed(tmp_path / "a.npz", [(events, 0)], size, ["a"], {})
    assert np.array_equal(Packed(tmp_path / "a.npz")[0][0], events)
    write_packed(tmp_path / "b.npz", [], size, ["a"], {})
    assert len(Packed(tmp_path / "b.npz")) == 0


def test_equal_content_makes_equal_files_and_numpy_reads_them(packed):
    path, samples, _ = packed
    write_packed(path.with_name("again.npz"), samples, (34, 34, 2), ["a", "b", "c"], {"set": "x"})
    assert path.read_bytes() == path.with_name("again.npz").read_bytes()
    with np.load(path, allow_pickle=False) as archive:
        assert archive["offsets"][-1] == len(archive["events"]) == sum(len(events) for events, _ in samples)


def test_a_packed_set_survives_pickling_as_worker_processes_do(packed):
    data = pickle.loads(pickle.dumps(Packed(packed[0])))
    assert np.array_equal(data[4][0], packed[1][4][0])


@pytest.mark.fault
def test_a_flipped_bit_in_a_packed_file_is_an_event_file_error_or_harmless(packed):
    path, samples, _ = packed
    content = path.read_bytes()
    noticed = 0
    random = np.random.Generator(np.random.Philox(key=5))
    for place in range(0, len(content), 2):
        changed = bytearray(content)
        changed[place] ^= 1 << int(random.integers(8))
        path.write_bytes(changed)
        try:
            data = Packed(path)
        except EventFileError as error:
            noticed += 1
            assert str(path) in str(error)
        else:
            assert all(np.array_equal(data[n][0], samples[n][0]) and data[n][1] == samples[n][1] for n in range(6))
    assert noticed > len(content) // 4


@pytest.mark.fault
def test_a_packed_file_cut_anywhere_is_an_event_file_error(packed):
    path = packed[0]
    content = path.read_bytes()
    for length in range(0, len(content), 23):
        path.write_bytes(content[:length])
        with pytest.raises(EventFileError, match=r"set\.npz"):
            Packed(path)
    with pytest.raises(DataNotFoundError):
        Packed(path.with_name("none.npz"))


@pytest.mark.fault
def test_events_that_a_packed_file_cannot_hold_are_refused_and_leave_no_file(tmp_path):
    late = make_events([1], [1], [2**31], [1])
    outside = make_events([34], [1], [0], [1])
    for events in (late, outside):
        with pytest.raises(EventError, match="recording 1"):
            write_packed(tmp_path / "a.npz", [(some_events(1), 0), (events, 0)], (34, 34, 2), ["a"], {})
    assert list(tmp_path.iterdir()) == []


class FakeTonic:
    """What tonic's sets look like from outside: boolean p, fields in an order of their own, a list of targets."""

    sensor_size = (34, 34, 2)

    def __init__(self, targets=(1, 0, 1), listed=True, fields=("t", "x", "y", "p")):
        self.items = targets
        self.fields = fields
        if listed:
            self.targets = list(targets)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        events = some_events(index)
        out = np.empty(len(events), [(name, bool if name == "p" else np.int64) for name in self.fields])
        for name in self.fields:
            out[name] = events[name]
        return out, self.items[index]


@pytest.mark.parametrize("listed", [True, False])
def test_a_tonic_set_is_wrapped_with_its_labels(listed):
    data = from_tonic(FakeTonic(listed=listed), transform=lambda events: events[:2])
    assert (len(data), data.sensor_size, data.classes) == (3, (34, 34, 2), ["0", "1"])
    assert [data[n][1] for n in range(3)] == [1, 0, 1]
    assert data[2][0].dtype == EVENT_DTYPE
    assert np.array_equal(data[2][0], some_events(2)[:2])


def test_names_as_targets_become_numbers_in_alphabetical_order():
    data = from_tonic(FakeTonic(targets=("owl", "ant", "owl")))
    assert data.classes == ["ant", "owl"]
    assert data.labels.tolist() == [1, 0, 1]


def test_a_tonic_set_of_channels_has_no_rows():
    fake = FakeTonic(fields=("t", "x", "p"))
    events = from_tonic(fake)[0][0]
    assert set(events["y"]) == {0}


@pytest.mark.fault
def test_a_tonic_set_that_does_not_fit_is_refused_by_what_is_wrong():
    with pytest.raises(DTypeError, match="accepted is a set"):
        from_tonic(3)
    with pytest.raises(DTypeError, match="targets"):
        from_tonic(FakeTonic(targets=(0.5, 1.5, 2.5)))
    without = FakeTonic()
    without.sensor_size = None
    with pytest.raises(ParameterError, match="sensor_size"):
        from_tonic(without)
    with pytest.raises(EventError, match=r"FakeTonic\[0\]"):
        from_tonic(FakeTonic(), sensor_size=(5, 5, 2))[0]


def test_tonic_s_own_n_mnist_gives_the_same_recordings_as_ours(nmnist, monkeypatch):
    tonic_sets = pytest.importorskip("tonic.datasets")
    monkeypatch.setattr(tonic_sets.NMNIST, "_check_exists", lambda self: True)
    theirs = from_tonic(tonic_sets.NMNIST(str(nmnist), train=False))
    ours = NMNIST(nmnist, "test")
    assert theirs.classes[3] == "3 - three"
    assert sorted(theirs.labels) == sorted(ours.labels)
    found = {events.tobytes(): label for events, label in theirs}
    assert found == {events.tobytes(): label for events, label in ours}


def test_every_public_name_is_there_and_a_misspelt_one_is_suggested():
    for name in datasets.__all__:
        assert getattr(datasets, name) is not None
    assert set(datasets.__all__) <= set(dir(datasets))
    with pytest.raises(AttributeError, match="Did you mean 'NMNIST'"):
        _ = datasets.NMINST


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "folder", "sizes", "classes"),
    [
        ("nmnist", "nmnist_small", (900, 100, 100), 10),
        ("shd", "fsdd_shd_mini", (540, 60, 300), 10),
        ("dvs_gesture", "dvs128_gesture_slayer", (0, 0, 10), 11),
    ],
)
def test_the_real_recordings_are_read(recordings, name, folder, sizes, classes):
    for split, size in zip(("train", "validation", "test"), sizes, strict=True):
        if size == 0:
            with pytest.raises(SpikeframeError):
                datasets.load(name, recordings / folder, split)
            continue
        data = datasets.load(name, recordings / folder, split)
        assert (len(data), len(data.classes)) == (size, classes)
        assert np.bincount(data.labels).min() >= 1
        for number in (0, len(data) - 1):
            check_events(data[number][0], data.sensor_size)
            assert len(data[number][0]) > 300
