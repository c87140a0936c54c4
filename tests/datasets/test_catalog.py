"""Sets by name: loading, converting, describing; nothing is fetched unasked."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import urllib.request

import h5py
import numpy as np
import pytest

from spikeframe.datasets import catalog
from spikeframe.datasets.camera import Camera
from spikeframe.datasets.packed import Packed
from spikeframe.errors import ConfigError, DataNotFoundError, EventFileError, UnknownNameError

QUICK = Camera(width=10, height=8, extent=10.0, path=((0.0, 4.5, 3.5), (12.0, 6.5, 4.5)))


@pytest.fixture
def spikes(tmp_path):
    """A set of thirty training and four test recordings in SHD's layout."""
    for part, count in (("train", 30), ("test", 4)):
        path = tmp_path / f"local/SHD/shd_{part}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            for name, kind in (("times", np.float16), ("units", np.uint16)):
                rows = file.create_dataset(f"spikes/{name}", count, h5py.vlen_dtype(kind))
                for number in range(count):
                    rows[number] = np.arange(number % 5 + 1) / (8 if name == "times" else 1)
            file["labels"] = (np.arange(count) % 2).astype(np.uint16)
            file["extra/keys"] = np.array([b"zero", b"one"])
    return tmp_path / "local"


def test_the_default_set_loads_by_name_with_its_options(tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKEFRAME_CACHE", str(tmp_path))
    data = catalog.load("digits", split="validation", camera=QUICK, seed=3, transform=len)
    assert len(data) == 200
    assert data.sensor_size == QUICK.sensor_size
    assert isinstance(data[0][0], int)


def test_a_converted_set_reads_back_the_same_and_records_its_hash(spikes, tmp_path):
    made = catalog.convert("shd", spikes, tmp_path / "out")
    assert {split: path.name for split, (path, _) in made.items()} == {
        split: f"shd-{split}.npz" for split in ("train", "validation", "test")
    }
    for split, (path, sha256) in made.items():
        source = catalog.load("shd", spikes, split)
        packed = catalog.load("shd", tmp_path / "out", split)
        assert isinstance(packed, Packed)
        assert packed.sha256 == sha256
        assert packed.source["set"] == "shd"
        assert (packed.classes, packed.sensor_size) == (source.classes, source.sensor_size)
        assert len(packed) == len(source)
        for number in range(len(source)):
            assert np.array_equal(packed[number][0], source[number][0])
            assert packed[number][1] == source[number][1]
        assert path.stat().st_size < 10_000


def test_converting_twice_gives_the_same_file(spikes, tmp_path):
    first = {split: path.read_bytes() for split, (path, _) in catalog.convert("shd", spikes, tmp_path / "a").items()}
    again = {split: path.read_bytes() for split, (path, _) in catalog.convert("shd", spikes, tmp_path / "b").items()}
    assert first == again


def test_a_part_that_is_not_there_is_left_out(spikes, tmp_path):
    (spikes / "SHD/shd_train.h5").unlink()
    assert list(catalog.convert("shd", spikes, tmp_path / "out")) == ["test"]


def test_transforms_given_to_load_reach_a_converted_set(spikes, tmp_path):
    catalog.convert("shd", spikes, tmp_path / "out")
    data = catalog.load("shd", tmp_path / "out", "test", transform=len, target_transform=str)
    assert data[3] == (4, "1")


@pytest.mark.fault
def test_a_damaged_converted_set_is_not_read(spikes, tmp_path):
    (path, _) = catalog.convert("shd", spikes, tmp_path / "out")["test"]
    content = bytearray(path.read_bytes())
    content[180] ^= 4
    path.write_bytes(content)
    with pytest.raises(EventFileError, match=r"shd-test\.npz"):
        catalog.load("shd", tmp_path / "out", "test")


@pytest.mark.fault
def test_a_damaged_source_stops_the_conversion_and_leaves_no_part_of_it(tmp_path):
    folder = tmp_path / "NMNIST/Test/3"
    folder.mkdir(parents=True)
    (folder / "00001.bin").write_bytes(bytes([1, 2, 0, 0, 9]))
    (folder / "00002.bin").write_bytes(bytes([1, 2, 0, 0, 9, 7]))
    with pytest.raises(EventFileError, match=r"00002\.bin"):
        catalog.convert("nmnist", tmp_path, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.fault
def test_wrong_names_and_folders_are_answered_with_what_is_accepted(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'nmnist'"):
        catalog.load("nminst", tmp_path)
    with pytest.raises(UnknownNameError, match="Did you mean 'validation'"):
        catalog.load("digits", split="valid")
    with pytest.raises(ConfigError, match=r"no root; give the folder .* ROOT/NMNIST"):
        catalog.load("nmnist")
    with pytest.raises(ConfigError, match="leave root out"):
        catalog.load("digits", root=tmp_path)
    with pytest.raises(DataNotFoundError, match="expected ROOT/SHD"):
        catalog.convert("shd", tmp_path, tmp_path / "out")
    with pytest.raises(ConfigError, match="needs no download"):
        catalog.download("digits", tmp_path)


def test_every_set_is_described_with_source_licence_and_layout():
    text = catalog.describe()
    for name in catalog.names():
        info = catalog.CATALOG[name]
        assert f"{name}: {info.title}" in text
        assert info.home.startswith("https://")
        assert info.licence in text
        assert info.layout in text
        assert callable(catalog._class(info))


def test_every_download_is_https_and_has_a_hash():
    files = [file for info in catalog.CATALOG.values() for file in info.files]
    assert len(files) == 9
    for file in files:
        assert file.url.startswith("https://")
        assert len(file.sha256 or "") == 64 or len(file.md5 or "") == 32
    assert len({hashlib.sha256(str(file).encode()).digest() for file in files}) == 9


@pytest.mark.fault
def test_nothing_is_fetched_unless_asked(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("the network was used")

    monkeypatch.setattr(urllib.request, "build_opener", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    for name in ("nmnist", "shd", "ssc", "dvs_gesture"):
        with pytest.raises(DataNotFoundError):
            catalog.load(name, tmp_path)
        with pytest.raises(DataNotFoundError):
            catalog.convert(name, tmp_path, tmp_path / "out")
    with pytest.raises(AssertionError, match="network"):
        catalog.download("shd", tmp_path)


def test_the_package_imports_no_heavy_library_before_it_is_used():
    code = (
        "import sys, spikeframe.datasets as d; d.names(); d.load;"
        "heavy = {'torch', 'tonic', 'norse', 'matplotlib', 'sklearn', 'cupy'} & set(sys.modules); print(sorted(heavy))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_public_download_stays_a_function_after_its_module_was_imported():
    import spikeframe.datasets
    import spikeframe.datasets.downloading

    assert callable(spikeframe.datasets.download)


def test_sets_of_one_sensor_say_so():
    sizes = {name: info.sensor_size for name, info in catalog.CATALOG.items()}
    assert sizes["shd"] == sizes["ssc"] == (700, 1, 1)  # one model of a cochlea
    assert sizes["nmnist"] == (Camera().width, Camera().height, 2)  # which the camera was fitted to
