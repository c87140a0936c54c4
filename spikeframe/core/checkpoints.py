"""The file of a saved run: a JSON description, arrays that it refers to, and the state; no pickles.

An HDF5 file with a head of 512 bytes: kind, format version and the SHA-256 of all that follows.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from spikeframe.errors import CheckpointError, DTypeError, EventFileError
from spikeframe.hdf5 import attribute, opened

#: Bytes before the HDF5 data.
_HEAD = 512
#: Seconds after which a file that is being written has been left by its process.
_DAY = 86400.0


def kind_of(path: str | Path) -> str | None:
    """Return what kind of run a file holds; None if it cannot be read."""
    try:
        return _head(file_name(path))[0]
    except OSError:
        return None


def _head(path: Path) -> tuple[str, str, str]:
    """Return kind, version and hash of a file."""
    with path.open("rb") as file:
        lines = file.read(_HEAD).rstrip(b"\0").decode("ascii", "replace").split("\n")
    return (lines[0], lines[1], lines[2]) if len(lines) == 3 else ("", "", "")


def _hash(path: Path) -> str:
    """Return the hash of what follows the head of a file."""
    with path.open("rb") as file:
        file.seek(_HEAD)
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(path: Path, kind: str, version: int) -> None:
    """Write the head of a file: kind, version, and the hash of all that follows.

    Args:
        path: its name; the first 512 bytes are free.
        kind: of run.
        version: of the format.
    """
    head = "\n".join((kind, str(version), _hash(path))).encode()
    with path.open("r+b") as file:
        file.write(head.ljust(_HEAD, b"\0"))
        file.flush()
        os.fsync(file.fileno())  # before it takes the place of the last one


def file_name(path: Any) -> Path:
    """Return a path, or refuse what is none.

    Args:
        path: what a user gave.

    Raises:
        DTypeError: it is no text and no path.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise DTypeError(f"{path!r} is no file name; give a text or a path, e.g. 'state.h5'.")
    return Path(path)


def _clear(path: Path) -> None:
    """Delete what processes that were killed while they wrote this file have left of it, a day and more ago."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _DAY:
                left.unlink()


@contextmanager
def writing(path: str | Path, kind: str, version: int, description: Any, arrays: list[Any]) -> Iterator[h5py.File]:
    """Write a file, whole or not at all; the state is written inside.

    Args:
        path: its name.
        kind: of run.
        version: of the format.
        description: what JSON can hold.
        arrays: those that it refers to.

    Raises:
        DTypeError, CheckpointError: there can be no such file.
    """
    path = file_name(path)
    if path.is_dir() or not path.parent.is_dir():
        raise CheckpointError(f"{path}: {'is a folder' if path.is_dir() else 'its folder does not exist'}.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    _clear(path)
    try:
        with h5py.File(temporary, "w", userblock_size=_HEAD) as file:
            file.attrs["description"] = json.dumps(description)
            for i, array in enumerate(arrays):
                file[f"arrays/{i}"] = array
            yield file
        seal(temporary, kind, version)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def reading(path: str | Path, kind: str, version: int) -> Iterator[tuple[h5py.File, Any, list[Any]]]:
    """Open a file that `writing` wrote and give it, its description and its arrays; the state is read inside.

    Raises:
        CheckpointError: the file is damaged, of another kind or version, or lacks something that is read inside.
    """
    path = file_name(path)
    try:
        held, written, digest = _head(path)
        if held != kind:
            raise CheckpointError(f"{path}: is no saved simulation.")
        if written != str(version):
            raise CheckpointError(f"{path}: has version {written}; this spikeframe reads {version}.")
        if digest != _hash(path):  # before HDF5 looks at it
            raise CheckpointError(f"{path}: is damaged (its contents do not match their hash).")
        with opened(path) as file:
            arrays = [file[f"arrays/{i}"][()] for i in range(len(file.get("arrays", ())))]
            yield file, json.loads(attribute(file, "description", path)), arrays
    except EventFileError as error:
        raise CheckpointError(f"{path}: cannot be read as a saved simulation: {error.reason}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read as a saved simulation ({error}).") from None
