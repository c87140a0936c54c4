"""Checkpoints of the precise clock: as `spikeframe.core.archive`, with the state as one array per field."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from spikeframe.core.archive import _digest, _network, _network_from
from spikeframe.core.network import Network
from spikeframe.core.precise import PreciseCircuit
from spikeframe.errors import CheckpointError
from spikeframe.kernels.precise import State

FORMAT = "spikeframe precise simulation"


def is_precise(path: str | Path) -> bool:
    """Return whether a file is a saved run of the precise clock; False if it cannot be read."""
    try:
        with h5py.File(path, "r") as file:
            return bool(file.attrs.get("format") == FORMAT)
    except OSError:
        return False


def save(circuit: PreciseCircuit, path: str | Path) -> None:
    """Write a run to a file, whole or not at all.

    Args:
        circuit: what to save.
        path: file name, e.g. ``"state.h5"``.

    Raises:
        CheckpointError: the network holds something that cannot be described, e.g. a class of the user's own.
    """
    path, arrays = Path(path), list[Any]()
    text = json.dumps({
        "network": _network(circuit.network, arrays), "backend": circuit.backend, "threads": circuit.threads
    })  # fmt: skip
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with h5py.File(temporary, "w") as file:
            file.attrs["format"], file.attrs["version"], file.attrs["description"] = FORMAT, 1, text
            for i, array in enumerate(arrays):
                file[f"arrays/{i}"] = array
            for name, table in circuit.state._asdict().items():
                for field in table.dtype.names or ("",):
                    file[f"state/{name}/{field or 'value'}"] = table[field] if field else table
            file.attrs["sha256"] = _digest(file, text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: str | Path, network: Network | None = None, threads: int | None = None) -> PreciseCircuit:
    """Read a run from a file; it goes on with the same spikes as one that was never interrupted.

    Args:
        path: what `save` wrote.
        network: the same network, described again; needed where it holds neurons of the user's own classes.
        threads: number of threads; that of the saved run if not given.

    Raises:
        CheckpointError: the file is damaged, of another version, or does not fit the network.
    """
    try:
        with h5py.File(path, "r") as file:
            if file.attrs["version"] != 1 or file.attrs["sha256"] != _digest(file, file.attrs["description"]):
                raise CheckpointError(f"{path}: is damaged, or of another version.")
            description = json.loads(file.attrs["description"])
            arrays = [file[f"arrays/{i}"][()] for i in range(len(file.get("arrays", ())))]
            own = network if network is not None else _network_from(description["network"], arrays, path)
            circuit = PreciseCircuit(own, description["backend"], threads or description["threads"])
            tables = {n: _table(file[f"state/{n}"], like.dtype) for n, like in circuit.state._asdict().items()}
    except (OSError, KeyError) as error:
        raise CheckpointError(f"{path}: cannot be read as a saved simulation ({error}).") from None
    _fit(path, circuit, state := State(**tables))
    circuit.state = state
    return circuit


def _table(file: Any, dtype: np.dtype[Any]) -> Any:
    """Read one array of the state."""
    if not dtype.names:
        return file["value"][()]
    table = np.zeros(file[dtype.names[0]].shape, dtype)
    for field in dtype.names:
        table[field] = file[field][()]
    return table


def _fit(path: str | Path, circuit: PreciseCircuit, state: State) -> None:
    """Refuse a state that is not of this network."""
    plan, fresh = circuit.plan, circuit.state
    source, place = state.flights["source"], state.flights["place"]
    same = state.neurons.shape == fresh.neurons.shape and state.currents.shape == fresh.currents.shape
    known = same and bool((source < plan.start.size - 1).all())
    if not known or not (place < np.diff(plan.start)[source]).all():
        raise CheckpointError(f"{path}: its state does not fit the network; was it described differently?")
