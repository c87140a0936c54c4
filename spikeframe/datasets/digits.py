"""The default data set: 1,797 real handwritten digits seen through the event camera, no download.

The scans are scikit-learn's ``load_digits`` (8 x 8 pixels, 17 grey levels; UCI Optical Recognition of Handwritten
Digits, CC BY 4.0). Each is smoothly enlarged into the 20 x 20 box of a 28 x 28 picture, as MNIST's digits are, and
recorded by :class:`spikeframe.datasets.camera.Camera`. The recordings are made once, in some seconds, and kept in the
user's cache folder (``SPIKEFRAME_CACHE`` names another) under a key of camera, seed and version.

Split: 1,197 training, 200 validation, 400 test recordings, each with the classes in their overall proportions, by a
fixed Philox permutation (key 2). Writers are not known and may be in more than one part.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spikeframe.datasets.base import SPLIT_KEY, EventDataset, Transform, check_split, stratified_order
from spikeframe.datasets.camera import Camera
from spikeframe.datasets.events import Events, whole_number
from spikeframe.datasets.packed import Packed, write_packed
from spikeframe.errors import EventFileError

# Raised whenever the same camera and seed would give other recordings, so that old cache files are not read.
_VERSION = 1
_TEST, _VALIDATION = 400, 200
_BOX, _PICTURE = 20, 28
CLASSES = tuple("0123456789")

_log = logging.getLogger(__name__)


class Digits(EventDataset):
    """Handwritten digits as recordings of an event camera, 34 x 34 pixels, ten classes.

    Args:
        split: ``"train"``, ``"validation"`` or ``"test"``.
        seed: which camera and noise; the scans and the split stay the same.
        transform: called with each item's events.
        target_transform: called with each item's label.
        camera: the camera; None is the default one, calibrated against N-MNIST.

    Raises:
        UnknownNameError: a split of another name.
        ParameterError: a seed that is not a whole number from 0.
    """

    def __init__(
        self,
        split: str = "train",
        seed: int = 0,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        camera: Camera | None = None,
    ) -> None:
        check_split(split)
        camera = camera or Camera()
        self.recordings = _recordings(camera, whole_number("Digits: seed", seed, 0))
        labels = self.recordings.labels
        order = stratified_order(labels, SPLIT_KEY)
        parts = np.split(order, (_TEST, _TEST + _VALIDATION))
        self.split = split
        self.numbers = np.sort(dict(zip(("test", "validation", "train"), parts, strict=True))[split])
        super().__init__(labels[self.numbers], camera.sensor_size, CLASSES, transform, target_transform)

    def events(self, number: int) -> Events:
        """Return the events of recording ``number`` of this split."""
        return self.recordings.events(int(self.numbers[number]))


class _InMemory(EventDataset):
    """All recordings, where the cache folder cannot be written."""

    def __init__(self, recordings: Sequence[Events], labels: npt.NDArray[np.int64], camera: Camera) -> None:
        super().__init__(labels, camera.sensor_size, CLASSES)
        self.recordings = recordings

    def events(self, number: int) -> Events:
        """Return a copy of the events of recording ``number``."""
        return self.recordings[number].copy()


def digit_pictures() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return scikit-learn's digits as pictures like MNIST's.

    Returns:
        Pictures, 0 (black) to 1 (white), shape [1797, 28, 28], and their digits, shape [1797].
    """
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    data = load_digits()
    factor = _BOX / 8
    enlarged = zoom(data.images / 16, (1, factor, factor), order=3, mode="grid-constant", grid_mode=True)
    margin = (_PICTURE - _BOX) // 2
    pictures = np.pad(enlarged.clip(0, 1), ((0, 0), (margin, margin), (margin, margin)))
    return pictures, np.asarray(data.target, dtype=np.int64)


def cache_folder() -> Path:
    """Return the folder for what can be built again: ``SPIKEFRAME_CACHE`` or the platform's cache folder."""
    chosen = os.environ.get("SPIKEFRAME_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "spikeframe"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spikeframe"


def record_all(
    camera: Camera, pictures: npt.NDArray[np.float64], seed: int = 0, progress: str | None = None
) -> Iterator[Events]:
    """Yield the recording of each picture, made by as many threads as there are processors.

    Args:
        camera: the camera.
        pictures: values 0 to 1, shape [n, rows, columns].
        seed: which camera and noise.
        progress: title of a progress bar on a terminal's stderr; None shows none.
    """
    from tqdm import tqdm

    with ThreadPoolExecutor(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    ) as pool:
        made = pool.map(lambda n: camera.record(pictures[n], sample=n, seed=seed), range(len(pictures)))
        hidden = progress is None or not sys.stderr.isatty()
        yield from tqdm(made, progress, len(pictures), disable=hidden, delay=1.0, unit="recording")


def _recordings(camera: Camera, seed: int) -> EventDataset:
    """All recordings: from the cache, else made and cached, else made and kept in memory."""
    source = {"set": "digits", "version": _VERSION, "seed": seed, "camera": asdict(camera)}
    # NumPy's numbers are not JSON's.
    text = json.dumps(source, sort_keys=True, default=float)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = cache_folder() / f"digits-{key}.npz"
    if path.is_file():
        try:
            return Packed(path)
        except EventFileError as error:
            _log.warning("The cached digits are damaged and are made again: %s", error)
    pictures, labels = digit_pictures()
    made = list(record_all(camera, pictures, seed, "Recording the digits (once)"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_packed(path, zip(made, labels.tolist(), strict=True), camera.sensor_size, CLASSES, json.loads(text))
        return Packed(path, verify=False)
    except OSError as error:
        _log.warning("The digits stay in memory: the cache folder cannot be written (%s). Set SPIKEFRAME_CACHE.", error)
        return _InMemory(made, labels, camera)
