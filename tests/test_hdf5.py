"""The guard of HDF5 files: every reader refuses what is damaged by name, and none goes on for ever."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest

import spikeframe as sf
from spikeframe.core.archive import KIND, VERSION
from spikeframe.core.checkpoints import seal
from spikeframe.core.sonata import read_spikes
from spikeframe.errors import CheckpointError, EventFileError, SpikeframeError
from spikeframe.hdf5 import check, opened

h5py = pytest.importorskip("h5py")


def write_shd(folder):
    path = folder / "SHD" / "shd_test.h5"
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, dtype in (("times", "f2"), ("units", "u2")):
            rows = file.create_dataset(f"spikes/{name}", (3,), h5py.vlen_dtype(np.dtype(dtype)))
            for number in range(3):
                rows[number] = np.arange(5, dtype=dtype)
        file["labels"] = [0, 1, 0]
        file.create_dataset("extra/keys", data=["zero", "one"], dtype=h5py.string_dtype())
    return path


def simulator():
    net = sf.Network(seed=1)
    lif = sf.neurons.LIF(tau_m=20.0, i_e=0.08)
    a = net.population("a", 6, lif)
    net.connect(a, a, sf.FixedProbability(0.3), weight=0.1, delay=1.0)
    net.record(a, "spikes")
    return sf.Simulator(net, dt=0.5)


def write_sonata(folder):
    path = folder / "spikes.h5"
    simulator().run(60.0, output=path)
    return path


def write_state(folder):
    path = folder / "state.h5"
    sim = simulator()
    sim.run(60.0)
    sim.save(path)
    return path


def read_shd(path):
    data = sf.datasets.load("shd", path.parent.parent, "test")
    return [data[number] for number in range(len(data))]


def read_state(path):
    """Load a saved run whose hash is that of what it holds, so that damage comes as far as HDF5."""
    seal(path, KIND, VERSION)
    return sf.Simulator.load(path)


def go_on(path):
    """Take up a run whose spikes go to a file."""
    sim = simulator()
    sim.run(60.0)
    sim.run(5.0, output=path)


READERS = {
    "shd": (write_shd, read_shd),
    "sonata": (write_sonata, read_spikes),
    "taken up": (write_sonata, go_on),
    "state": (write_state, read_state),
}


@pytest.fixture(scope="module", params=READERS)
def reader(request, tmp_path_factory):
    """Return a whole file, its content, and what reads it."""
    write, read = READERS[request.param]
    path = write(tmp_path_factory.mktemp(request.param))
    read(path)
    return path, path.read_bytes(), read


def places(content):
    """Yield where in the first heap of texts an object begins, and whether it is the free one."""
    place = content.index(b"GCOL") + 16
    while content[place : place + 2] != b"\0\0":
        yield place, False
        place += 16 + -(-int.from_bytes(content[place + 8 : place + 16], "little") // 8) * 8
    yield place, True


@pytest.mark.fault
@pytest.mark.parametrize("length", [0, 1, 15, 2**40, 2**64 - 16])
def test_a_heap_that_hdf5_would_go_through_for_ever_is_refused_by_every_reader(reader, length):
    path, content, read = reader
    if b"GCOL" not in content:
        pytest.skip("holds no texts of any length")
    place = next(place for place, free in places(content) if free)
    path.write_bytes(content[: place + 8] + struct.pack("<Q", length) + content[place + 16 :])
    with pytest.raises(SpikeframeError, match=f"a heap of texts says that {length:,} bytes lie here"):
        read(path)


def test_a_text_marked_as_free_leads_into_its_neighbour_and_is_refused(tmp_path):
    content = bytearray(write_shd(tmp_path).read_bytes())
    first = next(places(bytes(content)))[0]
    content[first : first + 2] = b"\0\0"
    with pytest.raises(EventFileError, match=f"byte {first + 8}: is damaged"):
        check(bytes(content), "a.h5")


@pytest.mark.fault
def test_flipped_bits_give_contents_or_an_error_of_ours(reader):
    path, content, read = reader
    outcomes = []
    for seed in range(60):
        rng = random.Random(seed)
        changed = bytearray(content)
        if seed % 5 == 0:
            del changed[rng.randrange(len(changed)) :]
        for _ in range(rng.choice([0, 1, 4])):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        try:
            read(path)
            outcomes.append(True)
        except SpikeframeError as error:
            assert len(str(error)) > 20
            outcomes.append(False)
    assert 0 < sum(outcomes) < 60


@pytest.mark.fault
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p.write_bytes(b""), "cannot be read as HDF5"),
        (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n"), "cannot be read as HDF5"),
        (lambda p: p.mkdir(), "Is a directory"),
    ],
)
def test_what_is_no_hdf5_file_is_named(make, words, tmp_path):
    path = tmp_path / "a.h5"
    make(path)
    with pytest.raises(EventFileError, match=words) as error, opened(path):
        pass
    assert str(path) in str(error.value)


def test_a_data_set_that_claims_more_than_its_file_can_hold_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (2**40,), "f8", chunks=(1024,))
    with pytest.raises(EventFileError, match="more than the file can hold"), opened(tmp_path / "a.h5"):
        pass


@pytest.mark.fault
@pytest.mark.parametrize("place", [9, 11, 12, 30, 47])
def test_a_damaged_superblock_is_not_waited_for_as_if_a_writer_would_mend_it(tmp_path, place):
    path = write_sonata(tmp_path)
    content = bytearray(path.read_bytes())
    content[place] ^= 5
    path.write_bytes(content)
    with pytest.raises(EventFileError):
        read_spikes(path)


@pytest.mark.fault
def test_a_text_whose_type_is_damaged_is_refused_before_hdf5_breaks_down_at_it(tmp_path):
    path = write_state(tmp_path)
    content = bytearray(path.read_bytes())
    name = b"description\0"
    at = content.index(name + b"\0" * (-len(name) % 8) + b"\x19\x01")
    kind = at + len(name) + -len(name) % 8 + 1  # a list of variable length: 0 of numbers, 1 a text, 9 nothing
    content[kind] = 9
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="attribute 'description' is of type"):
        read_state(path)
