"""Spoken words as spikes of a cochlea model: the Heidelberg sets (Cramer et al. 2022, 10.1109/TNNLS.2020.3044364).

Folders, as tonic has them: ``root/SHD/shd_{train,test}.h5``, ``root/SSC/ssc_{train,valid,test}.h5``. Any file of the
same layout and channels is a set too; its class names are the file's ``extra/keys``.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from spikeframe.datasets.base import EventDataset, Transform, check_split, training_part
from spikeframe.datasets.events import Events
from spikeframe.errors import DataNotFoundError, EventFileError

HOME = "https://zenkelab.org/resources/spiking-heidelberg-datasets-shd/"


class SHD(EventDataset):
    """Spiking Heidelberg Digits: 700 channels in x, y = 0, p = 1; twenty classes as published.

    Args:
        root: folder that holds ``SHD``, or that folder itself.
        split: ``"train"``, ``"validation"`` (a fixed tenth of the published training part) or ``"test"``.
        transform: called with each item's events.
        target_transform: called with each item's label.

    Raises:
        UnknownNameError: a split of another name.
        DataNotFoundError: the folder does not hold this part of the set.
        EventFileError: the file is damaged or of another layout.
    """

    FOLDER: ClassVar[str] = "SHD"
    FILES: ClassVar[dict[str, str]] = {
        "train": "shd_train.h5",
        "validation": "shd_train.h5",
        "test": "shd_test.h5",
    }

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        transform: Transform | None = None,
        target_transform: Transform | None = None,
    ) -> None:
        from spikeframe.datasets.readers import SpikeFile

        check_split(split)
        name = self.FILES[split]
        path = next((p for p in (Path(root) / self.FOLDER / name, Path(root) / name) if p.is_file()), None)
        if path is None:
            raise DataNotFoundError(
                f"{self.FOLDER}: no {name} in {Path(root)}; expected ROOT/{self.FOLDER}/{name}. Get it from {HOME} "
                f"and unpack it there, or call spikeframe.datasets.download({self.FOLDER.lower()!r}, ROOT)."
            )
        self.file = SpikeFile(path)
        labels = self.file.labels
        shared = split != "test" and self.FILES["train"] == self.FILES["validation"]
        self.numbers = training_part(labels, split) if shared else np.arange(len(labels))
        names = _class_names(path)
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(names):
            raise EventFileError(path, 0, f"labels {labels.min()} to {labels.max()} for {len(names)} class names.")
        super().__init__(labels[self.numbers], self.file.sensor_size, names, transform, target_transform)

    def events(self, number: int) -> Events:
        """Return the events of recording ``number`` of this split, put in order of time.

        Raises:
            EventFileError: the file is damaged there.
        """
        return self.file.read(int(self.numbers[number]), sort=True).events


class SSC(SHD):
    """Spiking Speech Commands: as :class:`SHD`, thirty-five words, with a published validation part."""

    FOLDER: ClassVar[str] = "SSC"
    FILES: ClassVar[dict[str, str]] = {
        "train": "ssc_train.h5",
        "validation": "ssc_valid.h5",
        "test": "ssc_test.h5",
    }


def _class_names(path: Path) -> list[str]:
    """Names in ``extra/keys``, which must lie in this file."""
    import h5py

    from spikeframe.hdf5 import opened, refuse_kind

    with opened(path) as file:
        for place in ("extra", "extra/keys"):
            if not isinstance(file.get(place, getlink=True), h5py.HardLink):
                raise EventFileError(path, 0, f"'{place}' is missing or a link to elsewhere; it names the classes.")
        keys = file["extra/keys"]
        if not isinstance(keys, h5py.Dataset) or keys.ndim != 1 or keys.size > 10_000:
            raise EventFileError(path, 0, "'extra/keys' is no list of class names.")
        refuse_kind(keys.id, "'extra/keys'", path)
        return [name.decode() if isinstance(name, bytes) else str(name) for name in keys[...].tolist()]
