"""Files of NIR graphs, looked at before they are read: no links, no surprise in size, no kind of node unknown."""

from __future__ import annotations

import dataclasses
import io
from math import prod
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np

from spikeframe.errors import DataNotFoundError, EventFileError, GraphError, UnsupportedLayerError
from spikeframe.hdf5 import ERRORS, check

_DEPTH = 32
_KINDS = (
    "Affine", "AvgPool2d", "Conv1d", "Conv2d", "CubaLI", "CubaLIF", "Delay", "Flatten", "I", "IF", "Input", "LI", "LIF",
    "Linear", "NIRGraph", "Output", "Scale", "SumPool2d", "Threshold",
)  # fmt: skip
#: What a file calls the parameter that a node's class calls otherwise, or may leave out.
_NAMES = {("Input", "input_type"): "shape", ("Output", "output_type"): "shape", ("Flatten", "input_type"): None}


def read(path: Path, limit: int) -> Any:
    """Read a graph; see `spikeframe.adapters.nir.read_nir`.

    Args:
        path: the file.
        limit: bytes, of the file and of its content.

    Raises:
        DataNotFoundError, GraphError, UnsupportedLayerError: as `read_nir` says.
    """
    if not path.is_file():
        raise DataNotFoundError(f"{path}: there is no such file.")
    with path.open("rb") as opened:
        content = opened.read(limit + 1)
    if len(content) > limit:
        raise GraphError(f"{path}: is larger than {limit} bytes; give a larger limit if that is meant.")
    # What is looked at is what is read: both come from these bytes.
    try:
        check(content, path)
        with h5py.File(io.BytesIO(content), "r") as file:
            if not isinstance(file.get("node"), h5py.Group):
                raise GraphError(f"{path}: holds no group 'node', so no NIR graph.")
            _look(file, str(path), limit, set(), 0)
            _check_node(file["node"], str(path))
        with np.errstate(all="ignore"):  # nir works out shapes, of numbers that are not looked at yet
            graph = nir.read(io.BytesIO(content), type_check=False)
    except (GraphError, UnsupportedLayerError):
        raise
    except EventFileError as error:
        raise GraphError(str(error)) from None
    except (*ERRORS, AssertionError) as error:
        raise GraphError(f"{path}: is no NIR graph that can be read: {type(error).__name__}: {error}") from None
    if not isinstance(graph, nir.NIRGraph):
        raise GraphError(f"{path}: holds a single {type(graph).__name__}, no graph.")
    return graph


def _look(group: h5py.Group, where: str, limit: int, seen: set[Any], depth: int) -> int:
    """Return the bytes that a group's content takes; refuse links, stored pointers, rings and too much."""
    if depth > _DEPTH:
        raise GraphError(f"{where}: groups lie more than {_DEPTH} deep.")
    total = 0
    for name in group:
        place = f"{where}: {group.name}/{name}"
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise GraphError(
                f"{place} is a {type(link).__name__}; links are not followed. Copy the content in its place."
            )
        item = group[name]
        key = h5py.h5o.get_info(item.id).addr
        if key in seen:
            raise GraphError(f"{place} is stored in two places; every node needs content of its own.")
        seen.add(key)
        if isinstance(item, h5py.Group):
            total += _look(item, where, limit - total, seen, depth + 1)
        elif isinstance(item, h5py.Dataset):
            if item.is_virtual or item.external:
                raise GraphError(f"{place} keeps its values in another file, which is not opened.")
            if item.dtype.kind not in "fiubSO" or (
                item.dtype.kind == "O" and h5py.check_string_dtype(item.dtype) is None
            ):
                raise GraphError(f"{place} has type {item.dtype}; accepted are numbers and text.")
            total += max(item.size, prod(item.chunks or ())) * item.dtype.itemsize
        else:
            raise GraphError(f"{place} is a {type(item).__name__}, which NIR does not have.")
        if total > limit:
            raise GraphError(
                f"{where}: unpacked it is larger than the limit of bytes; give a larger one if that is meant."
            )
    return total


def _check_node(group: h5py.Group, where: str) -> None:
    """Refuse a node whose kind is unknown or that lacks a parameter."""
    place = f"{where}: node {group.name!r}"
    if not isinstance(group.get("type"), h5py.Dataset):
        raise GraphError(f"{place} has no type.")
    kind = group["type"][()]
    kind = kind.decode("utf8", "replace") if isinstance(kind, bytes) else str(kind)
    if kind not in _KINDS:
        raise UnsupportedLayerError(f"{place} is a {kind!r}, which is not known. Known: {', '.join(_KINDS)}.")
    for field in dataclasses.fields(getattr(nir, kind)):
        needed = field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        name = _NAMES.get((kind, field.name), field.name)
        if (
            needed
            and name is not None
            and name not in group
            and not (kind.startswith("Conv") and name == "input_shape")
        ):
            raise GraphError(f"{place} ({kind}) has no {name!r}.")
    if kind == "NIRGraph":
        if not isinstance(group["nodes"], h5py.Group):
            raise GraphError(f"{place}: its nodes are no group.")
        for name in group["nodes"]:
            if not isinstance(group["nodes"][name], h5py.Group):
                raise GraphError(f"{place}: {name!r} is no node.")
            _check_node(group["nodes"][name], where)
