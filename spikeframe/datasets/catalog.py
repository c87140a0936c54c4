"""The sets known by name: what each is, where it comes from, how to load, fetch and convert it.

Nothing here downloads unless :func:`download` is called.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from spikeframe.datasets.base import SPLITS, EventDataset, Transform, check_split
from spikeframe.datasets.downloading import RemoteFile, fetch_and_extract
from spikeframe.datasets.events import Events
from spikeframe.datasets.packed import Packed, write_packed
from spikeframe.errors import ConfigError, DataNotFoundError, unknown_name


@dataclass(frozen=True)
class SetInfo:
    """What is known of a data set.

    Args:
        title: what it is, in a line.
        loader: module and class that reads it.
        sensor_size: (width, height, polarities).
        classes: number of classes of the published set.
        recordings: recordings of the published set, by split.
        home: page that describes it.
        licence: its terms.
        layout: how the folder must look.
        files: what :func:`download` fetches.
    """

    title: str
    loader: tuple[str, str]
    sensor_size: tuple[int, int, int]
    classes: int
    recordings: str
    home: str
    licence: str
    layout: str
    files: tuple[RemoteFile, ...] = ()


_FIGSHARE = "https://figshare.com/ndownloader/files"
_MENDELEY = "https://data.mendeley.com/public-files/datasets/468j46mzdv/files"
_ZENKE = "https://zenkelab.org/datasets"

# MD5 as tonic 1.7 lists them; no SHA-256 or size is published.
CATALOG: Mapping[str, SetInfo] = MappingProxyType(
    {
        "digits": SetInfo(
            title="1,797 scanned handwritten digits seen through an event-camera model (the default; no download)",
            loader=("digits", "Digits"),
            sensor_size=(34, 34, 2),
            classes=10,
            recordings="1,197 train, 200 validation, 400 test",
            home="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
            licence="CC BY 4.0 (the scans; they ship inside scikit-learn)",
            layout="none: made once and kept in the cache folder",
        ),
        "nmnist": SetInfo(
            title="N-MNIST: MNIST digits recorded by an ATIS camera in three saccades (Orchard et al. 2015)",
            loader=("nmnist", "NMNIST"),
            sensor_size=(34, 34, 2),
            classes=10,
            recordings="60,000 train (of which 1 in 10 validates), 10,000 test",
            home="https://www.garrickorchard.com/datasets/n-mnist",
            licence="see the home page (not stated in the files); MNIST itself is CC BY-SA 3.0",
            layout="ROOT/NMNIST/{Train,Test}/<digit>/<number>.bin",
            files=(
                RemoteFile(
                    f"{_MENDELEY}/39c25547-014b-4137-a934-9d29fa53c7a0/file_downloaded",
                    "train.zip",
                    "NMNIST",
                    md5="20959b8e626244a1b502305a9e6e2031",
                ),
                RemoteFile(
                    f"{_MENDELEY}/05a4d654-7e03-4c15-bdfa-9bb2bcbea494/file_downloaded",
                    "test.zip",
                    "NMNIST",
                    md5="69ca8762b2fe404d9b9bad1103e97832",
                ),
            ),
        ),
        "shd": SetInfo(
            title="Spiking Heidelberg Digits: spoken digits through a cochlea model (Cramer et al. 2020)",
            loader=("shd", "SHD"),
            sensor_size=(700, 1, 1),
            classes=20,
            recordings="8,156 train (of which 1 in 10 validates), 2,264 test",
            home="https://zenkelab.org/resources/spiking-heidelberg-datasets-shd/",
            licence="CC BY 4.0",
            layout="ROOT/SHD/shd_{train,test}.h5",
            files=(
                RemoteFile(
                    f"{_ZENKE}/shd_train.h5.zip", "shd_train.h5.zip", "SHD", md5="f3252aeb598ac776c1b526422d90eecb"
                ),
                RemoteFile(
                    f"{_ZENKE}/shd_test.h5.zip", "shd_test.h5.zip", "SHD", md5="1503a5064faa34311c398fb0a1ed0a6f"
                ),
            ),
        ),
        "ssc": SetInfo(
            title="Spiking Speech Commands: spoken words through a cochlea model (Cramer et al. 2022)",
            loader=("shd", "SSC"),
            sensor_size=(700, 1, 1),
            classes=35,
            recordings="75,466 train, 9,981 validation, 20,382 test",
            home="https://zenkelab.org/resources/spiking-heidelberg-datasets-shd/",
            licence="CC BY 4.0",
            layout="ROOT/SSC/ssc_{train,valid,test}.h5",
            files=(
                RemoteFile(
                    f"{_ZENKE}/ssc_train.h5.zip", "ssc_train.h5.zip", "SSC", md5="d102be95e7144fcc0553d1f45ba94170"
                ),
                RemoteFile(
                    f"{_ZENKE}/ssc_valid.h5.zip", "ssc_valid.h5.zip", "SSC", md5="b4eee3516a4a90dd0c71a6ac23a8ae43"
                ),
                RemoteFile(
                    f"{_ZENKE}/ssc_test.h5.zip", "ssc_test.h5.zip", "SSC", md5="a35ff1e9cffdd02a20eb850c17c37748"
                ),
            ),
        ),
        "dvs_gesture": SetInfo(
            title="DVS128 Gesture: eleven hand and arm gestures before a DVS128 (Amir et al. 2017)",
            loader=("dvs_gesture", "DVSGesture"),
            sensor_size=(128, 128, 2),
            classes=11,
            recordings="1,077 train (of which 1 in 10 validates), 264 test",
            home="https://research.ibm.com/dvsgesture/",
            licence="CC BY 4.0",
            layout="ROOT/DVSGesture/ibmGesture{Train,Test}/user*_*/<class>.npy, or clips ROOT/<class from 1>.bs2",
            files=(
                RemoteFile(
                    f"{_FIGSHARE}/38022171",
                    "ibmGestureTrain.tar.gz",
                    "DVSGesture",
                    md5="3a8f0d4120a166bac7591f77409cb105",
                ),
                RemoteFile(
                    f"{_FIGSHARE}/38020584",
                    "ibmGestureTest.tar.gz",
                    "DVSGesture",
                    md5="56070e45dadaa85fff82e0fbfbc06de5",
                ),
            ),
        ),
    }
)


def names() -> list[str]:
    """Return the names that :func:`load` knows."""
    return list(CATALOG)


def describe() -> str:
    """Return a listing of all sets: what each is, size, licence, source and folder layout."""
    return "\n\n".join(
        f"{name}: {info.title}\n"
        f"  sensor      {info.sensor_size[0]} x {info.sensor_size[1]}, {info.classes} classes\n"
        f"  recordings  {info.recordings}\n"
        f"  licence     {info.licence}\n"
        f"  from        {info.home}\n"
        f"  layout      {info.layout}"
        for name, info in CATALOG.items()
    )


def load(
    name: str,
    root: str | Path | None = None,
    split: str = "train",
    transform: Transform | None = None,
    target_transform: Transform | None = None,
    **options: Any,
) -> EventDataset:
    """Open a data set by name.

    Args:
        name: one of :func:`names`.
        root: folder that holds the set in its published layout or as :func:`convert` left it; None for ``digits``.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        transform: called with each item's events.
        target_transform: called with each item's label.
        **options: what the set's own class takes besides, e.g. ``seed`` for ``digits``.

    Returns:
        A map-style set, ``ds[i] -> (events, label)``.

    Raises:
        UnknownNameError: no set or split of that name.
        ConfigError: a folder is missing, or given for a set that needs none.
        DataNotFoundError: the folder does not hold the set.
        EventFileError: a file of it is damaged.
    """
    info = _info(name)
    check_split(split)
    arguments = {"split": split, "transform": transform, "target_transform": target_transform, **options}
    if root is not None:
        packed = Path(root) / f"{name}-{split}.npz"
        if packed.is_file():
            return Packed(packed, transform, target_transform, **options)
        if name == "digits":
            raise ConfigError(f"load('digits'): root = {str(root)!r} holds no {packed.name}; leave root out.")
        arguments["root"] = root
    elif name != "digits":
        raise ConfigError(f"load({name!r}): no root; give the folder that holds the set: {info.layout}.")
    data: EventDataset = _class(info)(**arguments)
    return data


def convert(name: str, root: str | Path | None, out: str | Path) -> dict[str, tuple[Path, str]]:
    """Write each split of a local copy as one packed file, which reads back faster; the source stays as it is.

    Args:
        name: one of :func:`names`.
        root: folder that holds the set in its published layout (None for ``digits``).
        out: folder for the files ``<name>-<split>.npz``; ``load(name, out, split)`` reads them.

    Returns:
        File and SHA-256 of its content by split; a split that is not in the copy is left out.

    Raises:
        DataNotFoundError: no split of the set is there.
        EventFileError: a source file is damaged.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, tuple[Path, str]] = {}
    missing: list[str] = []
    for split in SPLITS:
        try:
            data = load(name, root, split)
        except DataNotFoundError as error:
            missing.append(str(error))
            continue
        path = folder / f"{name}-{split}.npz"
        samples = _with_progress(data, f"{name} {split}")
        source = {"set": name, "split": split, "from": CATALOG[name].home}
        made[split] = path, write_packed(path, samples, data.sensor_size, data.classes, source)
    if not made:
        raise DataNotFoundError(missing[0])
    return made


def download(name: str, root: str | Path) -> Path:
    """Fetch a published set, check its files against the publisher's hashes and extract them.

    Args:
        name: one of :func:`names`.
        root: folder to put it in; ``load(name, root)`` then reads it.

    Returns:
        The folder.

    Raises:
        ConfigError: the set needs no download.
        ArchiveError: a file does not match its hash or is unsafe to extract.
    """
    info = _info(name)
    if not info.files:
        raise ConfigError(f"download({name!r}): this set is built in and needs no download.")
    folder = Path(root)
    for file in info.files:
        fetch_and_extract(file, folder / file.folder)
    return folder


def _info(name: str) -> SetInfo:
    """Entry of a set, or UnknownNameError."""
    if name not in CATALOG:
        raise unknown_name("data set", name, CATALOG)
    return CATALOG[name]


def _class(info: SetInfo) -> Any:
    """Class that reads a set."""
    module, name = info.loader
    return getattr(importlib.import_module(f"spikeframe.datasets.{module}"), name)


def _with_progress(data: EventDataset, title: str) -> Iterator[tuple[Events, int]]:
    """The items of a set, with a progress bar on a terminal's stderr."""
    from tqdm import tqdm

    items = ((data.events(n), int(label)) for n, label in enumerate(data.labels))
    yield from tqdm(items, title, len(data), disable=not sys.stderr.isatty(), delay=1.0, unit="recording")
