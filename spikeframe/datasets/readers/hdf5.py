"""Spikes in the HDF5 layout of the Spiking Heidelberg Digits: one ragged row of times and of units for each recording.

``spikes/times`` holds seconds, ``spikes/units`` channels, ``labels`` one class a recording. Rows are read from the
file's global heap directly, after a check that each length is what the heap holds; HDF5 itself trusts the lengths.
Source: Cramer et al., The Heidelberg Spiking Data Sets, 2022, doi:10.1109/TNNLS.2020.3044364. Heap layout: HDF5 File
Format Specification 3.0, section III.E.
"""

from __future__ import annotations

import os
import struct
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from spikeframe.datasets.events import EVENT_DTYPE, MAX_SIDE, Recording, SensorSize, check_sensor_size
from spikeframe.datasets.readers._file import PathLike, checked
from spikeframe.errors import DataNotFoundError, EventFileError, ParameterError

_REFERENCE = struct.Struct("<IQI")
_COLLECTION = struct.Struct("<4sB3xQ")
_OBJECT = struct.Struct("<HHIQ")
_MAX_TIME = 2**53 / 1e6
_HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError, OverflowError)


class SpikeFile:
    """The recordings of one file, read by number; the file is opened once in each process.

    Args:
        path: the ``.h5`` file.
        sensor_size: (channels, 1, polarities).

    Raises:
        DataNotFoundError: there is no such file.
        EventFileError: no HDF5 file, other contents, links out of the file, or sizes beyond the file's.
    """

    def __init__(self, path: PathLike, sensor_size: SensorSize = (700, 1, 1)) -> None:
        self.path = Path(path)
        self.sensor_size = check_sensor_size(sensor_size)
        self._owner = -1
        self._open()

    def __len__(self) -> int:
        return self._rows["times"].size

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        return self.read(index).events
