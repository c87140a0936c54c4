"""The file of a saved run: a JSON description, arrays that it refers to, the state, and a hash of all; no pickles."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from spikeframe.errors import CheckpointError, EventFileError
from spikeframe.hdf5 import attribute, opened, refuse_kind


def kind_of(path: str | Path) -> str | None:
    """Return what kind of run a file holds; None if it cannot be read."""
    try:
        with opened(path) as file:
            return str(attribute(file, "format", path))
    except EventFileError:
        return None


@contextmanager
def writing(path: str | Path, kind: str, version: int, description: Any, arrays: list[Any]) -> Iterator[h5py.File]:
    """Write a file, whole or not at all; the state is written inside.

    Args:
        path: its name.
        kind: of run.
        version: of the format.
        description: what JSON can hold.
        arrays: those that it refers to.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with h5py.File(temporary, "w") as file:
            text = json.dumps(description)
            file.attrs["format"], file.attrs["version"], file.attrs["description"] = kind, version, text
            for i, array in enumerate(arrays):
                file[f"arrays/{i}"] = array
            yield file
            file.attrs["sha256"] = _digest(file, text, path)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def reading(path: str | Path, kind: str, version: int) -> Iterator[tuple[h5py.File, Any, list[Any]]]:
    """Open a file that `writing` wrote and give it, its description and its arrays; the state is read inside.

    Raises:
        CheckpointError: the file is damaged, of another kind or version, or lacks something that is read inside.
    """
    try:
        with opened(path) as file:
            if attribute(file, "format", path) != kind:
                raise CheckpointError(f"{path}: is no saved simulation.")
            found, text = attribute(file, "version", path), attribute(file, "description", path)
            if found != version:
                raise CheckpointError(f"{path}: has version {found}; this spikeframe reads {version}.")
            if not isinstance(text, str) or attribute(file, "sha256", path) != _digest(file, text, path):
                raise CheckpointError(f"{path}: is damaged (its contents do not match their hash).")
            arrays = [file[f"arrays/{i}"][()] for i in range(len(file.get("arrays", ())))]
            yield file, json.loads(text), arrays
    except EventFileError as error:
        raise CheckpointError(f"{path}: cannot be read as a saved simulation: {error.reason}") from None


def _digest(file: h5py.File, text: str, path: Path | str) -> str:
    digest = hashlib.sha256(text.encode())

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            refuse_kind(item.id, name, path)
            digest.update(name.encode())
            digest.update(np.asarray(item[()]).tobytes())

    file.visititems(add)
    return digest.hexdigest()
