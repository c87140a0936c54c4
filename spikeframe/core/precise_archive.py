"""Checkpoints of the precise clock: as `spikeframe.core.archive`, with the state as one array per field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spikeframe.core.archive import network_description, network_of
from spikeframe.core.checkpoints import reading, writing
from spikeframe.core.network import Network
from spikeframe.core.precise import PreciseCircuit
from spikeframe.errors import CheckpointError
from spikeframe.kernels.precise import State

KIND, VERSION = "spikeframe precise simulation", 2


def save(circuit: PreciseCircuit, path: str | Path) -> None:
    """Write a run to a file, whole or not at all.

    Args:
        circuit: what to save.
        path: file name, e.g. ``"state.h5"``.

    Raises:
        CheckpointError: the network holds something that cannot be described, or the file cannot be written there.
    """
    arrays: list[Any] = []
    description = {
        "network": network_description(circuit.network, arrays), "backend": circuit.backend, "threads": circuit.threads
    }  # fmt: skip
    with writing(path, KIND, VERSION, description, arrays) as file:
        for name, table in circuit.state._asdict().items():
            for field in table.dtype.names or ("",):
                file[f"state/{name}/{field or 'value'}"] = table[field] if field else table


def load(path: str | Path, network: Network | None = None, threads: int | None = None) -> PreciseCircuit:
    """Read a run from a file; it goes on with the same spikes as one that was never interrupted.

    Args:
        path: what `save` wrote.
        network: the same network, described again; what it records may differ.
        threads: number of threads; that of the saved run if not given.

    Raises:
        CheckpointError: the file is damaged, of another version, or does not fit the network.
    """
    with reading(path, KIND, VERSION) as (file, description, arrays):
        own = network_of(description["network"], arrays, path, network)
        circuit = PreciseCircuit(own, description["backend"], threads or description["threads"])
        tables = {n: _table(file[f"state/{n}"], like.dtype) for n, like in circuit.state._asdict().items()}
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
