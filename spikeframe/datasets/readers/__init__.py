"""Guarded readers of event files: legal events or an error that names file, byte and reason."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spikeframe.datasets.events import Recording
from spikeframe.datasets.readers._file import as_path, load, text_header
from spikeframe.datasets.readers.aedat import read_aedat2, read_aedat3, read_cochlea
from spikeframe.datasets.readers.aedat4 import read_aedat4
from spikeframe.datasets.readers.hdf5 import SpikeFile, read_shd
from spikeframe.datasets.readers.nmnist import read_bs1, read_bs2, read_nmnist
from spikeframe.datasets.readers.numpy_file import read_numpy
from spikeframe.datasets.readers.prophesee import evt_version, read_dat, read_evt2, read_evt3
from spikeframe.errors import EventFileError, ParameterError, unknown_name

FORMATS: dict[str, Callable[..., Recording]] = {
    "aedat2": read_aedat2,
    "aedat3": read_aedat3,
    "aedat4": read_aedat4,
    "bs1": read_bs1,
    "bs2": read_bs2,
    "cochlea": read_cochlea,
    "dat": read_dat,
    "evt2": read_evt2,
    "evt3": read_evt3,
    "nmnist": read_nmnist,
    "numpy": read_numpy,
    "shd": read_shd,
}

_SUFFIXES = {
    ".bin": "nmnist",
    ".bs1": "bs1",
    ".bs2": "bs2",
    ".dat": "dat",
    ".h5": "shd",
    ".hdf5": "shd",
    ".npy": "numpy",
    ".npz": "numpy",
}


def read(path: str | Path, format: str | None = None, **options: Any) -> Recording:
    """Read an event file.

    Args:
        path: the file.
        format: a name of ``FORMATS``; by default it is told from the file's header and suffix.
        options: what the format's own reader takes, e.g. ``sensor_size``, ``sort``, or ``index`` for ``"shd"``.

    Returns:
        Events, sensor size, and counts of what the file holds besides change events.

    Raises:
        DataNotFoundError: there is no such file.
        EventFileError: the file is damaged, or its format cannot be told.
        UnknownNameError: the format or an option is not known.
    """
    name = guess_format(path) if format is None else format
    if name not in FORMATS:
        raise unknown_name("event file format", name, FORMATS)
    reader = FORMATS[name]
    if options:
        accepted = [option for option in inspect.signature(reader).parameters if option != "path"]
        for option in options:
            if option not in accepted:
                raise unknown_name(f"option of format {name!r}", option, accepted)
    if name == "shd" and "index" not in options:
        raise ParameterError(f"{path}: holds many recordings; give index, the number of one.")
    return reader(path, **options)


def guess_format(path: str | Path) -> str:
    """Tell the format from the file's suffix, or from its header where one suffix stands for several.

    Raises:
        EventFileError: neither says it.
    """
    suffix = as_path(path).suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    data = load(path)
    for start, name in ((b"#!AER-DAT2", "aedat2"), (b"#!AER-DAT3.1", "aedat3"), (b"#!AER-DAT4.0", "aedat4")):
        if data.startswith(start):
            return name
    version = evt_version(text_header(path, data, "%")[0]) if data.startswith(b"%") else None
    if version in ("2", "3"):
        return f"evt{version}"
    begin = data[:12].decode("ascii", "backslashreplace")
    raise EventFileError(
        path, 0, f"format not recognised (begins {begin!r}); give format, one of {', '.join(FORMATS)}."
    )


__all__ = [
    "FORMATS",
    "SpikeFile",
    "guess_format",
    "read",
    "read_aedat2",
    "read_aedat3",
    "read_aedat4",
    "read_bs1",
    "read_bs2",
    "read_cochlea",
    "read_dat",
    "read_evt2",
    "read_evt3",
    "read_nmnist",
    "read_numpy",
    "read_shd",
]
