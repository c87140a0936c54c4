"""Damaged NIR files: whatever is done to one, reading it gives a model or an error of ours, and soon."""

from __future__ import annotations

import random
import time
import warnings

import numpy as np
import pytest
import torch
from torch import nn

h5py = pytest.importorskip("h5py")
nir = pytest.importorskip("nir")

from spikeframe.adapters.nir import from_nir, read_nir, to_nir, write_nir  # noqa: E402
from spikeframe.errors import GraphError, SpikeframeError  # noqa: E402
from spikeframe.neurons import IF, LI, LIF, Exp, Recurrent, Sequential, SumPool2d  # noqa: E402

#: What stands in the place of a data set, given its shape.
OTHERS = {
    "text": lambda shape: "hello",
    "bytes": lambda shape: np.bytes_(b"\xff\xfe\x00z"),
    "texts": lambda shape: np.array([b"x", b"yy"], dtype="S2"),
    "nan": lambda shape: np.full(shape, np.nan),
    "infinite": lambda shape: np.full(shape, np.inf),
    "negative": lambda shape: np.full(shape, -1.0),
    "zero": np.zeros,
    "whole": lambda shape: np.full(shape, 2**62),
    "huge": lambda shape: np.full(shape, 1e308),
    "tiny": lambda shape: np.full(shape, 1e-320),
    "empty": lambda shape: h5py.Empty("f8"),
    "number": lambda shape: 0.3,
    "table": lambda shape: np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]),
    "truth": lambda shape: np.ones(shape, bool),
    "complex": lambda shape: np.ones(shape, complex),
    "more axes": lambda shape: np.zeros((*shape, 2)),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    torch.manual_seed(0)
    recurrent = Recurrent(LIF(tau_m=8.0, dt=1.0, receptors=Exp(tau=3.0)), 2)
    model = Sequential(
        nn.Conv2d(1, 2, 3), LIF(tau_m=10.0, dt=1.0, reset="value"), SumPool2d(2), nn.Flatten(), nn.Linear(8, 2),
        recurrent, nn.Linear(2, 3), IF(dt=1.0), nn.Linear(3, 2), LI(dt=1.0),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("nir") / "whole.nir"
    write_nir(path, to_nir(model, (1, 6, 6)))
    found = []
    with h5py.File(path) as file:
        file.visititems(lambda key, item: found.append((key, getattr(item, "shape", None))))
    return path.read_bytes(), found


def changed(file, key, shape, how, rng):
    """Change one thing of a file."""
    if how == "ring":
        (file[key] if shape is None else file[key].parent)["ring"] = file["node"]
        return
    del file[key]
    if how == "group":
        file.create_group(key).create_group("x")
    elif how == "large":
        file.create_dataset(key, shape=(2**30, 2**10), dtype="f4", chunks=(1024, 1024))
    elif how == "ragged":
        file.create_dataset(key, shape=(2,), dtype=h5py.vlen_dtype(np.int32))
    elif how in OTHERS:
        file[key] = OTHERS[how](shape or ())


def check(path):
    """Read a file; return whether it could be, and let no other error than ours out."""
    started = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            from_nir(read_nir(path, 2**22))
    except SpikeframeError as error:
        assert len(str(error)) > 20
        return False
    finally:
        assert time.process_time() - started < 5
    return True


def parts(whole, path, seeds):
    """Put something else in the place of one or two parts of the file."""
    content, places = whole
    kinds = [*OTHERS, "gone", "ring", "group", "large", "ragged"]
    outcomes = []
    for seed in seeds:
        rng = random.Random(seed)
        path.write_bytes(content)
        with h5py.File(path, "r+") as file:
            for _ in range(rng.choice([1, 1, 2])):
                key, shape = rng.choice(places)
                if key in file:
                    changed(file, key, shape, rng.choice(kinds), rng)
        outcomes.append(check(path))
    return outcomes


def bits(whole, path, seeds):
    """Flip bits, or cut the file off."""
    outcomes = []
    for seed in seeds:
        rng = random.Random(seed)
        content = bytearray(whole[0])
        if rng.random() < 0.3:
            del content[rng.randrange(len(content)) :]
        else:
            for _ in range(rng.choice([1, 1, 4, 32])):
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        outcomes.append(check(path))
    return outcomes


@pytest.mark.fault
def test_a_heap_of_text_that_hdf5_would_go_through_for_ever_is_refused(whole, tmp_path):
    content = bytearray(whole[0])
    place = content.index(b"GCOL") + 16
    while content[place : place + 2] != b"\0\0":  # to the free place behind the texts
        place += 16 + -(-int.from_bytes(content[place + 8 : place + 16], "little") // 8) * 8
    content[place + 8 : place + 16] = bytes(8)
    path = tmp_path / "ring.nir"
    path.write_bytes(content)
    with pytest.raises(GraphError, match=f"byte {place + 8}: is damaged: a heap of texts says that 0 bytes lie here"):
        read_nir(path)


@pytest.mark.fault
@pytest.mark.parametrize("damage", [parts, bits])
def test_a_damaged_file_gives_a_model_or_an_error_of_ours(damage, whole, tmp_path):
    outcomes = damage(whole, tmp_path / "damaged.nir", range(60))
    assert 0 < sum(outcomes) < 60


@pytest.mark.fault
@pytest.mark.campaign
@pytest.mark.parametrize("damage", [parts, bits])
def test_two_thousand_damaged_files_give_models_or_errors_of_ours(damage, whole, tmp_path):
    outcomes = damage(whole, tmp_path / "damaged.nir", range(1000))
    assert 0 < sum(outcomes) < 1000
