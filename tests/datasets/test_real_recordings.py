"""Real recordings agree with published figures and with what other readers make of them."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from spikeframe.datasets.events import check_events
from spikeframe.datasets.readers import SpikeFile, read, read_dat, read_evt2, read_evt3, read_nmnist
from spikeframe.errors import EventFileError


@pytest.mark.data
def test_nmnist_recordings_agree_with_the_published_figures(recordings):
    files = sorted((recordings / "nmnist_small/NMNIST/Train").glob("*/*.bin"))
    read_all = [read_nmnist(file) for file in files]
    sizes = np.array([recording.events.size for recording in read_all])
    assert len(files) == 1000
    assert round(sizes.mean()) == 4133 and round(sizes.std()) == 1154
    on = sum(int(recording.events["p"].sum()) for recording in read_all) / sizes.sum()
    assert abs(on - 0.5) < 0.005
    assert not any(recording.dropped for recording in read_all)


@pytest.mark.data
def test_nmnist_recordings_agree_with_tonic(recordings):
    tonic_io = pytest.importorskip("tonic.io")
    for file in sorted((recordings / "nmnist_small/NMNIST/Test").glob("*/*.bin"))[:20]:
        theirs = tonic_io.read_mnist_file(str(file), np.dtype([("x", int), ("y", int), ("t", int), ("p", bool)]))
        assert read_nmnist(file).events.tolist() == [tuple(map(int, row)) for row in theirs.tolist()]


@pytest.mark.data
def test_the_evt3_sample_agrees_with_its_reference_decode(recordings):
    folder = recordings / "formats/expelliarmus"
    recording = read_evt3(folder / "evt3_sample.raw")
    expected = np.load(folder / "evt3_sample.npy")
    for name in "xyp":
        assert (recording.events[name] == expected[name]).all()
    # The reference decode takes small steps back of the low time bits for wraps and adds 4096 µs each time. The file's
    # own high time words run from 2861 to 2863 only, as ours do.
    assert ((recording.events["t"] - expected["t"]) % 4096 == 0).all()
    assert (recording.events["t"][0] >> 12, recording.events["t"][-1] >> 12) == (2861, 2863)
    assert not recording.dropped


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "options", "count", "corner"),
    [
        ("formats/faery/evt2.raw", {}, 521252, (639, 479)),
        ("formats/tonic/sample_ncars.dat", {}, 2009, (77, 41)),
        ("formats/tonic/sample_nmnist.bin", {}, 4325, (33, 33)),
        ("formats/tonic/sample_aedat_header.aedat", {}, 0, None),
        (
            "formats/pynavis/130Hz_mono_64ch_ONOFF_addr2b_ts02.aedat",
            {"format": "cochlea", "address_bytes": 2},
            331949,
            (62, 0),
        ),
        ("ntidigits_slayer/NTIDIGITS_1.bs1", {"sensor_size": (64, 1, 1)}, 898, (63, 0)),
        ("dvs128_gesture_slayer/1.bs2", {"sensor_size": (128, 128, 2)}, 63471, (127, 127)),
    ],
)
def test_real_files_are_read_whole(recordings, file, options, count, corner):
    recording = read(recordings / file, **options)
    check_events(recording.events, recording.sensor_size)
    assert recording.events.size == count
    assert not recording.dropped
    if corner:
        assert (recording.events["x"].max(), recording.events["y"].max()) == corner


@pytest.mark.data
def test_hdf5_recordings_agree_with_what_h5py_reads(recordings):
    path = recordings / "fsdd_shd_mini/SHD/shd_test.h5"
    ours = SpikeFile(path)
    with h5py.File(path) as file:
        assert (ours.labels == file["labels"][:]).all()
        for index in range(0, 300, 23):
            assert (ours[index]["x"] == file["spikes/units"][index]).all()
            assert (ours[index]["t"] == np.rint(file["spikes/times"][index].astype(float) * 1e6)).all()


@pytest.mark.data
@pytest.mark.fault
def test_real_files_of_other_formats_are_refused(recordings):
    for reader in (read_evt2, read_evt3, read_dat):
        with pytest.raises(EventFileError):
            reader(recordings / "formats/faery/dvs.es")
    with pytest.raises(EventFileError, match="Event Stream"):
        read(recordings / "formats/faery/dvs.es")
