"""Event data: sets by name, readers, binning, transforms, and the event camera that makes the default set."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikeframe.datasets import readers, transforms
    from spikeframe.datasets.base import EventDataset
    from spikeframe.datasets.binning import Frames, SparseFrames, frames_to_events, to_frames, to_sparse, to_voxel_grid
    from spikeframe.datasets.camera import Camera
    from spikeframe.datasets.catalog import convert, describe, download, load, names
    from spikeframe.datasets.digits import Digits
    from spikeframe.datasets.dvs_gesture import DVSGesture
    from spikeframe.datasets.events import EVENT_DTYPE, Recording, check_events, make_events
    from spikeframe.datasets.motion import MotionTask
    from spikeframe.datasets.nmnist import NMNIST
    from spikeframe.datasets.packed import Packed
    from spikeframe.datasets.readers import read
    from spikeframe.datasets.shd import SHD, SSC
    from spikeframe.datasets.shd_adding import SHDAdding
    from spikeframe.datasets.tonic_sets import from_tonic

_SUBPACKAGES = ("readers", "transforms")
_NAMES = {
    "Camera": "camera",
    "DVSGesture": "dvs_gesture",
    "Digits": "digits",
    "EVENT_DTYPE": "events",
    "EventDataset": "base",
    "Frames": "binning",
    "MotionTask": "motion",
    "NMNIST": "nmnist",
    "Packed": "packed",
    "Recording": "events",
    "SHD": "shd",
    "SHDAdding": "shd_adding",
    "SSC": "shd",
    "SparseFrames": "binning",
    "check_events": "events",
    "convert": "catalog",
    "describe": "catalog",
    "download": "catalog",
    "frames_to_events": "binning",
    "from_tonic": "tonic_sets",
    "load": "catalog",
    "make_events": "events",
    "names": "catalog",
    "read": "readers",
    "to_frames": "binning",
    "to_sparse": "binning",
    "to_voxel_grid": "binning",
}

__all__ = [
    "EVENT_DTYPE",
    "NMNIST",
    "SHD",
    "SSC",
    "Camera",
    "DVSGesture",
    "Digits",
    "EventDataset",
    "Frames",
    "MotionTask",
    "Packed",
    "Recording",
    "SHDAdding",
    "SparseFrames",
    "check_events",
    "convert",
    "describe",
    "download",
    "frames_to_events",
    "from_tonic",
    "load",
    "make_events",
    "names",
    "read",
    "readers",
    "to_frames",
    "to_sparse",
    "to_voxel_grid",
    "transforms",
]


def __getattr__(name: str) -> Any:
    """Import a part on first use."""
    if name in _SUBPACKAGES:
        return importlib.import_module(f"spikeframe.datasets.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"spikeframe.datasets.{_NAMES[name]}"), name)
    from spikeframe.errors import unknown_name

    raise AttributeError(str(unknown_name("attribute of spikeframe.datasets", name, __all__)))


def __dir__() -> list[str]:
    return sorted(__all__)
