"""Exchange of models as NIR graphs (Pedersen et al. 2024, doi:10.1038/s41467-024-52259-9), for every node of NIR 1.0.

`from_nir` makes a torch model of a graph, `to_nir` a graph of a `Sequential`, of what `from_nir` made, or of a
described `Network`; `read_nir` and `write_nir` take and make files. Times in graphs are seconds, here ms; potentials
and currents have no unit in either. A graph means equations in continuous time: what a program does with them in a
step, it leaves open, and programs differ. `spikeframe.adapters.nir_conventions` names the choices; ours are kept in the
graph's metadata and honoured when it comes back::

    model = from_nir(graph, convention="snntorch")           # a graph that snnTorch wrote, with its step and its Euler
    graph = to_nir(model, (784,), convention="norse", dt=1)  # as norse must be told, to give our spikes

Needs the package ``nir``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from spikeframe.adapters.nir_conventions import READ_BY, WRITTEN_BY, Convention, named
from spikeframe.core.network import Network
from spikeframe.errors import BackendError, DTypeError, ShapeError, TimeGridError
from spikeframe.neurons import Neuron

__all__ = ["READ_BY", "WRITTEN_BY", "Convention", "from_nir", "read_nir", "to_nir", "write_nir"]


def _need_nir() -> Any:
    try:
        import nir
    except ImportError:
        raise BackendError("NIR graphs need the package nir: pip install nir") from None
    return nir


def from_nir(graph: Any, dt: float | None = None, convention: str | Convention | None = None) -> nn.Module:
    """Return a NIR graph as a torch model over ``[T, B, ...]`` with explicit state.

    A chain becomes `spikeframe.neurons.Sequential` (which `Network.from_module` runs event by event), anything else a
    `GraphNetwork`. An edge that closes a loop carries the output of the step before.

    Args:
        graph: `nir.NIRGraph`, or a file that `read_nir` takes.
        dt: time step, ms; None where the graph's metadata or the convention have one.
        convention: how to read it: ``"nir"``, ``"norse"``, ``"snntorch"``, ``"spikingjelly"``, ``"sinabs"`` for a graph
            written by them, or a `Convention`. None: as its metadata say, NIR's own where they say nothing.

    Returns:
        The model, in float32.

    Raises:
        GraphError: nodes without input, missing parameters, dangling or doubled edges, a loop without state.
        UnsupportedLayerError: a kind of node that NIR 1.0 does not have.
        ShapeError: parameters, inputs or declared shapes do not fit.
        ParameterError, NonFiniteError, DTypeError: a parameter is out of range (a negative time constant, one that
            Euler's method does not take), not finite or no number.
        TimeGridError: no dt, or a delay that is no multiple of it.
        BackendError: nir is not installed.
    """
    nir = _need_nir()
    from spikeframe.adapters.nir_import import build

    if isinstance(graph, (str, Path)):
        graph = read_nir(graph)
    if isinstance(graph, nir.NIRNode) and not isinstance(graph, nir.NIRGraph):
        graph = nir.NIRGraph.from_list(graph, type_check=False)
    if not isinstance(graph, nir.NIRGraph):
        raise DTypeError(f"from_nir: takes a nir.NIRGraph or a file of one, got {type(graph).__name__}.")
    if convention is None:
        metadata = graph.metadata if isinstance(graph.metadata, dict) else {}
        read = Convention.from_metadata(metadata)
        read = read.at(None) if dt is None else replace(read, dt=None).at(dt)
    else:
        read = named(convention, WRITTEN_BY).at(dt)
    return build(graph, read)


def to_nir(
    model: nn.Module | Network,
    input_shape: tuple[int, ...] | None = None,
    dt: float | None = None,
    convention: str | Convention = "nir",
) -> Any:
    """Return a model as a NIR graph.

    Args:
        model: `Sequential` (nested as you like) of Linear, Conv, pooling, Flatten, batch norm, LIF, IF, LI, Recurrent;
            what `from_nir` made; or a described `Network`.
        input_shape: of one step's input, without time and batch; not for a `Network`.
        dt: time step, ms; None: the neurons' own.
        convention: who will read it: ``"nir"`` writes true time constants and puts step, reset and order in the
            metadata, for us and whoever reads them; ``"norse"``, ``"snntorch"``, ``"spikingjelly"`` and ``"sinabs"``
            write the parameters with which these give our spikes.

    Returns:
        `nir.NIRGraph`.

    Raises:
        UnsupportedLayerError: a layer, reset, receptor or drive that NIR or its reader has no word for.
        ShapeError: the shape is missing or does not go through the model.
        TimeGridError, ParameterError: no dt, or neurons with another.
        BackendError: nir is not installed.
    """
    _need_nir()
    from spikeframe.adapters.nir_export import from_module, from_network

    written = named(convention, READ_BY)
    if isinstance(model, Network):
        return from_network(model, written.at(dt))
    if not isinstance(model, nn.Module):
        raise DTypeError(f"to_nir: takes a torch module or a Network, got {type(model).__name__}.")
    if input_shape is None:
        raise ShapeError("to_nir: give the shape of one step's input, e.g. input_shape=(2, 34, 34).")
    own = {part.dt for part in model.modules() if isinstance(part, Neuron)}
    if dt is None and written.dt is None:
        if len(own) != 1 or None in own:
            raise TimeGridError(f"to_nir: neurons have dt {sorted(map(str, own))}; give dt=... (ms).")
        dt = own.pop()
    return from_module(model, tuple(int(n) for n in input_shape), written.at(dt))


def read_nir(path: str | Path, limit: int = 2**30) -> Any:
    """Read a NIR graph from an HDF5 file, after looking at what the file holds.

    Args:
        path: the file.
        limit: largest size of the file, and of all that it holds unpacked, bytes.

    Returns:
        `nir.NIRGraph`, its shapes not yet checked (`from_nir` does).

    Raises:
        DataNotFoundError: there is no such file.
        GraphError: it is too large, no HDF5 file, links to other places or files, or holds no NIR graph.
        BackendError: nir is not installed.
    """
    _need_nir()
    from spikeframe.adapters.nir_files import read

    return read(Path(path), limit)


def write_nir(path: str | Path, graph: Any) -> None:
    """Write a NIR graph to a file that ``nir.read`` takes; an existing one is replaced only by a whole new one.

    Args:
        path: the file.
        graph: `nir.NIRGraph`.

    Raises:
        DTypeError: it is no graph.
        BackendError: nir is not installed.
    """
    nir = _need_nir()
    if not isinstance(graph, nir.NIRGraph):
        raise DTypeError(f"write_nir: takes a nir.NIRGraph (see to_nir), got {type(graph).__name__}.")
    path = Path(path)
    partial = path.with_name(path.name + ".part")
    try:
        nir.write(partial, graph)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
