"""Checkpoints: a described network and the state of its run in one HDF5 file, without pickles.

The file holds a JSON description (classes of spikeframe by name, numbers, and references to arrays), the arrays, the
state variables, the spikes that are still under way, and weights and traces of plastic synapses. Everything else of
synapses is not stored: they are built again from the seed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import math
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import ModuleDict

import spikeframe.neurons as neurons
from spikeframe.core import distributions, rules, stimulation, synapses
from spikeframe.core.checkpoints import reading, writing
from spikeframe.core.circuit import Circuit
from spikeframe.core.network import Network, Population, Projection
from spikeframe.errors import CheckpointError
from spikeframe.kernels.grid import Longs, State
from spikeframe.kernels.plasticity import Plasticity
from spikeframe.neurons.parameters import Parametric

KIND, VERSION = "spikeframe simulation", 4
#: Where the rules of plastic synapses are.
RULES = (
    "spikeframe.learning_rules.", "spikeframe.core.short_term", "spikeframe.core.bernoulli", "spikeframe.core.quantal",
)  # fmt: skip


def save(circuit: Circuit, path: str | Path) -> None:
    """Write a run to a file, whole or not at all.

    Args:
        circuit: what to save.
        path: file name, e.g. ``"state.h5"``.

    Raises:
        CheckpointError: the network holds something that cannot be described, or the file cannot be written there.
    """
    arrays: list[Any] = []
    description = {
        "network": network_description(circuit.network, arrays),
        "simulator": {"dt": circuit.dt, "backend": circuit.backend, "threads": circuit.threads, "dtype": circuit.dtype},
    }
    with writing(path, KIND, VERSION, description, arrays) as file:
        file["step"] = circuit.state.step
        file["open_bins"] = np.array([b.open for b in circuit.bins], np.int64)
        for g, values in enumerate(circuit.state.values):
            for name, value in values.items():
                file[f"groups/{g}/states/{name}"] = value
            file[f"groups/{g}/start"] = circuit.state.start[g]
            file[f"groups/{g}/ids"] = circuit.state.ids[g]
        for b, held in enumerate(synapses.saved(circuit.laid.plan, circuit.state)):
            for name, value in held.items():
                file[f"bundles/{b}/{name}"] = value


def load(path: str | Path, network: Network | None = None, threads: int | None = None) -> Circuit:
    """Read a run from a file; it goes on with the same spikes as one that was never interrupted.

    Args:
        path: what `save` wrote.
        network: the same network, described again; needed where it holds neurons or rules of the user's own classes.
            What it records may differ.
        threads: number of threads; that of the saved run if not given.

    Raises:
        CheckpointError: the file is damaged, of another version, or does not fit the network.
    """
    with reading(path, KIND, VERSION) as (file, description, arrays):
        options = description["simulator"]
        own = network_of(description["network"], arrays, path, network)
        circuit = Circuit(own, options["dt"], options["backend"], threads or options["threads"], options["dtype"])
        circuit.state = _state(file, circuit, path)
        _open_bins(file["open_bins"][()], circuit, path)
    return circuit


def _state(file: Any, circuit: Circuit, path: str | Path) -> State:
    """Read the state, checked against the network's."""
    fresh = circuit.state
    values, start, ids = [], [], []
    for g, like in enumerate(fresh.values):
        found = {name: file[f"groups/{g}/states/{name}"][()] for name in like}
        for name, value in like.items():
            if found[name].shape != value.shape or found[name].dtype != value.dtype:
                raise CheckpointError(f"{path}: state {name!r} does not fit the network; was it described differently?")
        values.append(found)
        start.append(file[f"groups/{g}/start"][()])
        ids.append(file[f"groups/{g}/ids"][()])
        if start[-1].shape != fresh.start[g].shape:
            raise CheckpointError(f"{path}: its delays do not fit the network; was it described differently?")
    free = [{name: file[f"bundles/{b}/{name}"][()] for name in held} for b, held in enumerate(fresh.plastic)]
    plastic = synapses.restored(circuit.laid.plan, fresh, free, path)
    return State(int(file["step"][()]), values, start, ids, plastic)


def _open_bins(spikes: Longs, circuit: Circuit, path: str | Path) -> None:
    """Go on with the unfinished bins of the recorded rates."""
    if spikes.size != len(circuit.bins):
        raise CheckpointError(f"{path}: records {spikes.size} rates, the network {len(circuit.bins)}.")
    for bins, count in zip(circuit.bins, spikes.tolist(), strict=True):
        bins.open = count


def _plain(value: Any, arrays: list[Any]) -> Any:
    """Return a value as JSON can hold it."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, Parametric):
        return _parametric(value, arrays)
    if isinstance(value, Plasticity):
        return _rule(value, arrays)
    if is_dataclass(value) and type(value).__module__.startswith("spikeframe.core."):
        if isinstance(value, rules.FromMatrix):
            matrix = {n: _plain(getattr(value, n), arrays) for n in ("source", "target", "values", "shape")}
            return {"type": "FromMatrix", "fields": matrix}
        return {
            "type": type(value).__name__,
            "fields": {f.name: _plain(getattr(value, f.name), arrays) for f in fields(value)},
        }
    if isinstance(value, (np.ndarray, list, tuple)):
        arrays.append(np.asarray(value))
        return {"array": len(arrays) - 1}
    raise CheckpointError(
        f"{type(value).__name__} cannot be saved; describe the network with spikeframe's own classes."
    )


def _options(value: neurons.Neuron) -> list[str]:
    """Return the constructor's options that are no parameters of the table, and that it keeps."""
    found: list[str] = []
    for cls in type(value).__mro__:
        if cls.__module__.startswith("spikeframe.neurons.") and "__init__" in cls.__dict__:
            parameters = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
            found += [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    apart = {"self", "receptors", "learnable", "surrogate", "backend", "values", *value.FIXED}
    return [name for name in dict.fromkeys(found) if name not in apart and hasattr(value, name)]


def _parametric(value: Parametric, arrays: list[Any]) -> dict[str, Any]:
    """Describe a neuron or a receptor."""
    kind = type(value)
    found: dict[str, Any] = {"type": kind.__name__}
    if getattr(neurons, kind.__name__, None) is not kind:
        steps = repr(value.program()) if isinstance(value, neurons.Neuron) else ""
        found["own"] = hashlib.sha256(steps.encode()).hexdigest()
    found["parameters"] = {n: _plain(value.value(n).detach().numpy(), arrays) for n in kind.PARAMETERS}
    found["learnable"] = sorted(value.learnable)
    trained = value.named_parameters(recurse=False)
    found["trained"] = {n: _plain(tensor.detach().numpy(), arrays) for n, tensor in trained}
    if isinstance(value, neurons.Neuron):
        found["options"] = {n: _plain(getattr(value, n), arrays) for n in _options(value)}
        found["receptors"] = {n: _parametric(r, arrays) for n, r in value.receptors.items()}  # type: ignore[arg-type]
    return found


def _rule(rule: Any, arrays: list[Any]) -> dict[str, Any]:
    """Describe a rule of plastic synapses by its module and class."""
    home, kind = type(rule).__module__, type(rule).__name__
    if not is_dataclass(rule):
        raise CheckpointError(f"{kind} cannot be saved: make the rule a dataclass, so that its values are known.")
    found = {f.name: _plain(getattr(rule, f.name), arrays) for f in fields(rule)}
    return {"rule": home, "type": kind, "fields": found} | ({} if home.startswith(RULES) else {"own": True})


def _rule_from(plain: dict[str, Any], arrays: list[Any]) -> Plasticity:
    """Return what `_rule` described; nothing but modules of rules is imported."""
    home = str(plain["rule"])
    _refuse_own(plain)
    kind: Any = None
    if home.startswith(RULES) and all(part.isidentifier() for part in home.split(".")):
        with contextlib.suppress(ModuleNotFoundError):
            kind = getattr(importlib.import_module(home), plain["type"], None)
    if not (inspect.isclass(kind) and issubclass(kind, Plasticity)):
        raise CheckpointError(f"the file names {home}.{plain['type']}, which this spikeframe does not know.")
    made: Plasticity = kind(**{name: _value(v, arrays) for name, v in plain["fields"].items()})
    return made


def _projection(link: Projection, arrays: list[Any]) -> dict[str, Any]:
    return {
        "source": link.source.name, "target": link.target.name, "rule": _plain(link.rule, arrays),
        "receptor": link.receptor, "weight": _plain(link.weight, arrays), "delay": _plain(link.delay, arrays),
        "synapse": _plain(link.synapse, arrays), "procedural": link.procedural,
    }  # fmt: skip


def network_description(network: Network, arrays: list[Any]) -> dict[str, Any]:
    """Describe a network as JSON can hold it; what it refers to is appended to `arrays`."""
    known: dict[int, int] = {}
    models: list[Any] = []
    for p in network.populations.values():
        if id(p.neuron) not in known:
            known[id(p.neuron)] = len(models)
            models.append(_plain(p.neuron, arrays))
    return {
        "seed": network.seed,
        "models": models,
        "populations": [
            {"name": p.name, "size": p.size, "model": known[id(p.neuron)], "positions": _plain(p.positions, arrays),
             "bias": _plain(p.bias, arrays), "initial": {n: _plain(v, arrays) for n, v in p.initial.items()}}
            for p in network.populations.values()
        ],
        "projections": [_projection(link, arrays) for link in network.projections],
        "gap_junctions": [_projection(link, arrays) for link in network.gap_junctions],
        "stimuli": [
            {"target": s.target.name, "drive": _plain(s.drive, arrays), "receptor": s.receptor} for s in network.stimuli
        ],
        "recorders": [
            {"population": r.population.name, "variable": r.variable, "every": r.every, "ids": _plain(r.ids, arrays)}
            for r in network.recorders
        ],
        "weight_recorders": [
            {"projection": r.projection.index, "every": r.every, "ids": _plain(r.ids, arrays)}
            for r in network.weight_recorders
        ],
    }  # fmt: skip


def _value(plain: Any, arrays: list[Any]) -> Any:
    """Return what `_plain` described."""
    if not isinstance(plain, dict):
        return plain
    if "float" in plain:
        return float(plain["float"])
    if "array" in plain:
        return arrays[plain["array"]]
    kind = plain["type"]
    if "rule" in plain:
        return _rule_from(plain, arrays)
    if "parameters" in plain:
        return _parametric_from(plain, arrays)
    found = {name: _value(v, arrays) for name, v in plain["fields"].items()}
    if kind == "FromMatrix":
        from scipy import sparse

        shape = tuple(int(n) for n in found["shape"])
        return rules.FromMatrix(sparse.coo_array((found["values"], (found["source"], found["target"])), shape=shape))
    for home in (rules, distributions, stimulation):
        if inspect.isclass(getattr(home, kind, None)):
            return getattr(home, kind)(**found)
    raise CheckpointError(f"the file names {kind!r}, which this spikeframe does not know.")


def _refuse_own(plain: dict[str, Any]) -> None:
    """Refuse to make what only the user's script can."""
    if "own" in plain:
        raise CheckpointError(
            f"the saved network holds {plain['type']}, a class of your own: describe the network again and give it, "
            "Simulator.load(path, network=network)."
        )


def _parametric_from(plain: dict[str, Any], arrays: list[Any]) -> Any:
    _refuse_own(plain)
    kind = getattr(neurons, plain["type"], None)
    if not (inspect.isclass(kind) and issubclass(kind, Parametric)):
        raise CheckpointError(f"the file names {plain['type']!r}, which this spikeframe does not know.")
    values = {n: _value(v, arrays) for n, v in plain["parameters"].items()}
    options = {n: _value(v, arrays) for n, v in plain.get("options", {}).items()}
    made = kind(**options, **values, learnable=plain["learnable"])
    if "receptors" in plain:
        made.receptors = ModuleDict({n: _parametric_from(r, arrays) for n, r in plain["receptors"].items()})
    trained = {n: torch.as_tensor(_value(v, arrays)) for n, v in plain["trained"].items()}
    made.load_state_dict(trained, strict=False)  # as they were trained, to the bit
    return made


def network_of(plain: dict[str, Any], arrays: list[Any], path: str | Path, given: Network | None) -> Network:
    """Return the network of a description, read from `path` with its arrays, or the same one that is given.

    Raises:
        CheckpointError: the given one is another, in more than its recorders.
    """
    if given is None:
        return _described(plain, arrays)
    own: list[Any] = []
    again = network_description(given, own)
    for part in (name for name in again if "recorders" not in name):
        if not _same(again[part], own, plain[part], arrays):
            raise CheckpointError(
                f"{path}: does not fit the given network: its {part} were other ones. Describe the network that was "
                "saved; what it records may differ."
            )
    return given


def _same(one: Any, ones: list[Any], other: Any, others: list[Any]) -> bool:
    """Whether two descriptions say the same, with the arrays that they refer to."""
    if isinstance(one, dict) and isinstance(other, dict):
        if "array" in one and "array" in other:
            return np.array_equal(ones[one["array"]], others[other["array"]])
        return one.keys() == other.keys() and all(_same(one[key], ones, other[key], others) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(a, ones, b, others) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def _described(plain: dict[str, Any], arrays: list[Any]) -> Network:
    """Return the network of a description."""
    network = Network(seed=plain["seed"])
    models = [_value(m, arrays) for m in plain["models"]]
    for p in plain["populations"]:
        initial = {n: _value(v, arrays) for n, v in p["initial"].items()}
        bias = _value(p.get("bias"), arrays)
        network.population(p["name"], p["size"], models[p["model"]], _value(p["positions"], arrays), bias, **initial)
    own: dict[str, Population] = network.populations
    for c in plain["projections"]:
        ends, delay = (own[c["source"]], own[c["target"]], _value(c["rule"], arrays)), _value(c["delay"], arrays)
        options: dict[str, Any] = {"receptor": c["receptor"], "weight": _value(c["weight"], arrays)}
        if isinstance(delay, distributions.Constant) and delay.value == 0.0:
            network.same_step(*ends, **options)
        else:
            synapse = _value(c["synapse"], arrays)
            network.connect(*ends, **options, delay=delay, synapse=synapse, procedural=c["procedural"])
    for c in plain["gap_junctions"]:
        rule, g = _value(c["rule"], arrays), _value(c["weight"], arrays)
        network.couple(own[c["source"]], own[c["target"]], rule, conductance=g)
    for s in plain["stimuli"]:
        network.stimulate(own[s["target"]], _value(s["drive"], arrays), s["receptor"] or None)
    for r in plain["recorders"]:
        network.record(own[r["population"]], r["variable"], r["every"], _value(r["ids"], arrays))
    for r in plain["weight_recorders"]:
        network.record(network.projections[r["projection"]], "weight", r["every"], _value(r["ids"], arrays))
    return network
