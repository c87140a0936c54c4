"""DVS128 Gesture: arm and hand gestures before a DVS128 camera (Amir et al. 2017, 10.1109/CVPR.2017.781).

Two layouts are read: the cut recordings as tonic has them, ``root/DVSGesture/ibmGesture{Train,Test}/user*_*/<k>.npy``
(columns x, y, p, t in ms; k is the class from 0), and single clips ``root/<k>.bs2`` (40-bit records; k is the class
from 1), which have no published split and make up the test split.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from spikeframe.datasets.base import EventDataset, Transform, check_split, training_part
from spikeframe.datasets.events import Events, make_events
from spikeframe.errors import DataNotFoundError, EventError, EventFileError

HOME = "https://research.ibm.com/dvsgesture/"
GESTURES = (
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counter-clockwise",
    "left arm clockwise",
    "left arm counter-clockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other gestures",
)


class DVSGesture(EventDataset):
    """DVS128 Gesture recordings, 128 x 128 pixels, eleven classes, sorted by user, light and class.

    Args:
        root: folder that holds ``DVSGesture``, that folder itself, or a folder of ``.bs2`` clips.
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
        part = "ibmGestureTest" if split == "test" else "ibmGestureTrain"
        inner = next((f for f in (Path(root) / "DVSGesture", Path(root)) if (f / part).is_dir()), Path(root))
        files = _numbered((inner / part).glob("user*/*.npy"), first=0)
        labels = [int(file.stem) for file in files]
        if not files and split == "test":
            files = _numbered(Path(root).glob("*.bs2"), first=1)
            labels = [int(file.stem) - 1 for file in files]
        if not files:
            raise DataNotFoundError(
                f"DVS128 Gesture: no {split} recordings in {Path(root)}; expected "
                f"ROOT/DVSGesture/{part}/user*_*/<class>.npy, or (test only) clips ROOT/<class from 1>.bs2. "
                f"Get them from {HOME}, or call spikeframe.datasets.download('dvs_gesture', ROOT)."
            )
        table = np.array(labels)
        chosen = np.arange(len(files)) if split == "test" else training_part(table, split)
        super().__init__(table[chosen], (128, 128, 2), GESTURES, transform, target_transform)
        self.files = [files[index] for index in chosen]

    def events(self, number: int) -> Events:
        """Return the events of recording ``number``.

        Raises:
            EventFileError: the file is damaged.
        """
        from spikeframe.datasets import readers

        path = self.files[number]
        if path.suffix == ".bs2":
            return readers.read_bs2(path, self.sensor_size).events
        return _read_columns(path)


def _numbered(files: Iterable[Path], first: int) -> list[Path]:
    """Files whose name is a class number, sorted by folder and class."""
    last = first + len(GESTURES)
    known = [f for f in files if f.stem.isdecimal() and first <= int(f.stem) < last]
    return sorted(known, key=lambda file: (file.parent.name, int(file.stem)))


def _read_columns(path: Path) -> Events:
    """Events from an array of columns x, y, p, t (ms)."""
    try:
        table = np.load(path, allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise EventFileError(path, 0, f"not a NumPy array ({error}).") from None
    if not isinstance(table, np.ndarray) or table.ndim != 2 or table.shape[1] != 4 or table.dtype.kind not in "iuf":
        raise EventFileError(path, 0, "no array of numbers of shape [n, 4] with the columns x, y, p, t.")
    with np.errstate(invalid="ignore"):  # NaN becomes some number, which then differs
        whole = np.asarray(table).astype(np.int64)
    if (whole != table).any():
        row = int((whole != table).any(axis=1).argmax())
        raise EventFileError(path, 0, f"row {row}: {table[row].tolist()}; expected whole numbers.")
    try:
        return make_events(whole[:, 0], whole[:, 1], whole[:, 3] * 1000, whole[:, 2])
    except EventError as error:
        raise EventFileError(path, 0, str(error)) from None
