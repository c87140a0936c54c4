"""N-MNIST: MNIST's digits recorded by an ATIS camera in three saccades (Orchard et al. 2015, 10.3389/fnins.2015.00437).

Folder, as tonic has it: ``root/NMNIST/{Train,Test}/<digit>/<number>.bin``; the number is the digit's 1-based place in
MNIST. A part of the set in this layout is a set too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spikeframe.datasets.base import EventDataset, Transform, check_split, training_part
from spikeframe.datasets.events import Events
from spikeframe.errors import DataNotFoundError

HOME = "https://www.garrickorchard.com/datasets/n-mnist"


class NMNIST(EventDataset):
    """N-MNIST recordings in the order of their file numbers, 34 x 34 pixels, ten classes.

    Args:
        root: folder that holds ``NMNIST``, or that folder itself.
        split: ``"train"``, ``"validation"`` (a fixed tenth of the published training part) or ``"test"``.
        transform: called with each item's events.
        target_transform: called with each item's label.

    Raises:
        UnknownNameError: a split of another name.
        DataNotFoundError: the folder does not hold this part of the set.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        transform: Transform | None = None,
        target_transform: Transform | None = None,
    ) -> None:
        check_split(split)
        part = "Test" if split == "test" else "Train"
        folder = next((f for f in (Path(root) / "NMNIST", Path(root)) if (f / part).is_dir()), Path(root)) / part
        files = [file for digit in range(10) for file in folder.glob(f"{digit}/*.bin") if file.stem.isdecimal()]
        if not files:
            raise DataNotFoundError(
                f"N-MNIST: no recordings in {folder}; expected ROOT/NMNIST/{part}/<digit>/<number>.bin. Get them from "
                f"{HOME}, or call spikeframe.datasets.download('nmnist', ROOT)."
            )
        files.sort(key=lambda file: int(file.stem))
        labels = np.array([int(file.parent.name) for file in files])
        chosen = np.arange(len(files)) if split == "test" else training_part(labels, split)
        super().__init__(labels[chosen], (34, 34, 2), [str(n) for n in range(10)], transform, target_transform)
        self.files = [files[index] for index in chosen]

    def events(self, number: int) -> Events:
        """Return the events of recording ``number``.

        Raises:
            EventFileError: the file is damaged.
        """
        from spikeframe.datasets import readers

        return readers.read_nmnist(self.files[number]).events
