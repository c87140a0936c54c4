"""Networks of SONATA files: nodes and edges in HDF5, and tables of their types.

    /nodes/<population>     node_type_id; optional node_id, node_group_id, node_group_index: ``[n]`` each
        /<group>            attributes of the nodes of a group, e.g. x, y, z
    /edges/<population>     source_node_id and target_node_id, each with attribute node_population, edge_type_id;
                            optional edge_group_id, edge_group_index: ``[n]`` each
        /<group>            attributes of the edges of a group, e.g. syn_weight, delay (ms)

What a group does not say of a node or edge, its type does: a line of a table with columns parted by blanks and NULL for
what is missing. Models are named there in words of other simulators, so a script chooses the neurons:

    nodes, edges = read_nodes("nodes.h5", "node_types.csv"), read_edges("edges.h5", "edge_types.csv")
    for name, p in nodes.items():
        net.population(name, p.size, LIF(), positions=p.positions)
    for e in edges.values():
        net.connect(e.source, e.target, e.rule, weight=e.columns["syn_weight"], delay=e.columns["delay"])

K. Dai et al., The SONATA data format for efficient description of large-scale network models, PLoS Comput Biol 16,
2020, doi:10.1371/journal.pcbi.1007696. Spikes: `spikeframe.core.sonata`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spikeframe.core.rules import Pairs
from spikeframe.errors import DataNotFoundError, EventFileError
from spikeframe.hdf5 import attribute, opened, refuse_kind

#: Attributes by name: float64, NaN where missing, or text, empty where missing.
Columns = dict[str, NDArray[Any]]
Types = dict[int, dict[str, str]]


@dataclass(frozen=True, eq=False)
class Nodes:
    """A population of nodes, by id.

    Attributes:
        size: number of nodes.
        columns: ``[size]`` each.
    """

    size: int
    columns: Columns

    @property
    def positions(self) -> NDArray[np.float64] | None:
        """``[size, 1 to 3]`` coordinates x, y, z, or None."""
        axes = [self.columns[axis] for axis in ("x", "y", "z") if axis in self.columns]
        return np.stack(axes, axis=1) if axes else None


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges from one population to another, in the file's order.

    Attributes:
        source: name of the sending population.
        target: name of the receiving population.
        rule: who is connected.
        columns: ``[n]`` each, e.g. ``"syn_weight"``, ``"delay"``.
    """

    source: str
    target: str
    rule: Pairs
    columns: Columns


def read_nodes(path: str | Path, types: str | Path | None = None) -> dict[str, Nodes]:
    """Read the populations of a file of nodes.

    Args:
        path: HDF5 file.
        types: table of the types of its nodes.

    Raises:
        DataNotFoundError: there is no such file.
        EventFileError: it is damaged, no SONATA file, or leads into other files.
    """
    found = {}
    known = _types(types, "node_type_id")
    with _part(path, "nodes") as populations:
        for name, group in populations.items():
            kinds = _ids(path, group, "node_type_id", name)
            ids = _ids(path, group, "node_id", name) if "node_id" in group else np.arange(kinds.size)
            if ids.shape != kinds.shape or not np.array_equal(np.sort(ids), np.arange(kinds.size)):
                raise EventFileError(path, 0, f"population {name!r}: node_id is not 0 to {kinds.size - 1}, each once.")
            columns = _columns(path, group, "node", name, kinds, known)
            order = np.argsort(ids)
            found[name] = Nodes(kinds.size, {key: value[order] for key, value in columns.items()})
    return found


def read_edges(path: str | Path, types: str | Path | None = None) -> dict[str, Edges]:
    """Read the populations of a file of edges.

    Args:
        path: HDF5 file.
        types: table of the types of its edges.

    Raises:
        DataNotFoundError: there is no such file.
        EventFileError: it is damaged, no SONATA file, or leads into other files.
    """
    found = {}
    known = _types(types, "edge_type_id")
    with _part(path, "edges") as populations:
        for name, group in populations.items():
            kinds = _ids(path, group, "edge_type_id", name)
            ends, names = [], []
            for end in ("source_node_id", "target_node_id"):
                ends.append(_ids(path, group, end, name))
                population = attribute(group[end], "node_population", path)
                if ends[-1].shape != kinds.shape or population is None:
                    raise EventFileError(path, 0, f"{name!r}: {end} is not one per edge with a node_population.")
                names.append(population.decode() if isinstance(population, bytes) else str(population))
            columns = _columns(path, group, "edge", name, kinds, known)
            found[name] = Edges(names[0], names[1], Pairs(ends[0], ends[1]), columns)
    return found


@contextmanager
def _part(path: str | Path, part: str) -> Iterator[Any]:
    """Open a file and give its group of that name."""
    if not Path(path).is_file():
        raise DataNotFoundError(f"{path}: there is no such file.")
    with opened(path) as file:
        if not isinstance(file.get(part), h5py.Group):
            raise EventFileError(path, 0, f"is no SONATA file of {part}: it has no group {part!r}.")
        yield file[part]


def _ids(path: str | Path, group: Any, name: str, population: str) -> NDArray[np.int64]:
    """Return ``[n]`` whole numbers from 0."""
    found = _data(path, group, name, population)
    if found.ndim != 1 or found.dtype.kind not in "iu" or (found.size and not 0 <= found.min() <= found.max() < 2**63):
        raise EventFileError(path, 0, f"population {population!r}: {name} must be a list of whole numbers from 0.")
    return found.astype(np.int64)


def _data(path: str | Path, group: Any, name: str, population: str) -> NDArray[Any]:
    if not isinstance(group, h5py.Group) or not isinstance(group.get(name), h5py.Dataset):
        raise EventFileError(path, 0, f"population {population!r} has no {name!r}.")
    refuse_kind(group[name].id, f"{name} of {population!r}", path)
    found: NDArray[Any] = group[name].asstr()[()] if h5py.check_string_dtype(group[name].dtype) else group[name][()]
    return found


def _columns(path: str | Path, group: Any, kind: str, name: str, kinds: NDArray[np.int64], known: Types) -> Columns:
    """Return all attributes of nodes or edges: those of their groups, else those of their types."""
    n = kinds.size
    which, place = np.zeros(n, np.int64), np.arange(n)
    if f"{kind}_group_id" in group:
        which, place = (_ids(path, group, f"{kind}_group_{part}", name) for part in ("id", "index"))
    if which.shape != kinds.shape or place.shape != kinds.shape:
        raise EventFileError(path, 0, f"population {name!r}: {kind}_group_id and _index are not one per {kind}.")
    unknown = sorted(set(np.unique(kinds).tolist()) - set(known)) if known else []
    if unknown:
        raise EventFileError(path, 0, f"population {name!r}: {kind}_type_id {unknown[0]} is not in the table of types.")
    found: Columns = {}
    for own in np.unique(which).tolist():
        members = np.flatnonzero(which == own)
        for key in group.get(str(own), ()):
            if not isinstance(group[str(own)][key], h5py.Dataset):
                continue  # e.g. dynamics_params, in words of other simulators
            values = _data(path, group[str(own)], key, name)
            if values.ndim != 1 or (members.size and place[members].max() >= values.size):
                raise EventFileError(path, 0, f"population {name!r}: {key!r} of group {own} is too short, or no list.")
            _fill(found, key, n, members, values[place[members]])
    told = set(found)
    for own in np.unique(kinds).tolist():
        members = np.flatnonzero(kinds == own)
        for key, text in known.get(own, {}).items():
            if key not in told:
                _fill(found, key, n, members, np.full(members.size, _number(text)))
    return found


def _fill(found: Columns, key: str, n: int, members: NDArray[np.int64], values: NDArray[Any]) -> None:
    """Write some values of an attribute; one that is a number here and a text there is a text."""
    texts = values.dtype.kind not in "iufb"
    column = found.get(key, np.full(n, "", object) if texts else np.full(n, np.nan))
    if texts != (column.dtype.kind == "O"):
        column = np.array(["" if x != x else str(x) for x in column.tolist()], object)
    column[members] = values.astype(str) if column.dtype.kind == "O" else values
    found[key] = column


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _types(path: str | Path | None, key: str) -> Types:
    """Read a table of types: id to attributes that are there."""
    if path is None:
        return {}
    if not Path(path).is_file():
        raise DataNotFoundError(f"{path}: there is no such file.")
    found: Types = {}
    with Path(path).open(newline="", encoding="utf-8", errors="replace") as file:
        rows: Any = csv.DictReader(file, delimiter=" ", skipinitialspace=True)
        for line, row in enumerate(rows, 2):
            own: Mapping[Any, Any] = row
            if not str(own.get(key, "")).isdecimal():
                raise EventFileError(path, 0, f"line {line}: {key} is {own.get(key)!r}; must be a whole number.")
            found[int(own[key])] = {
                k: v for k, v in own.items() if k not in (key, "population", None) and v not in (None, "", "NULL")
            }
    return found
