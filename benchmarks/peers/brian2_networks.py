"""One network in Brian2 (C++ standalone): reads a JSON request on standard input, prints one JSON line, writes spikes.

The request has ``network`` (plain values, see benchmarks/networks.py), ``duration`` (ms), ``dt``, ``threads``, ``seed``
and ``folder``, where spikes.npz is written. A C++ project left there by an earlier run is used again, so that only
the first build compiles everything. Neurons are one group and synapses of one receptor one object, the form in which
Brian2 is fastest; double precision, as Brian2 has it by default. Runs in an environment of its own.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import brian2 as b2  # type: ignore[import-not-found]
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def equations(neuron: dict[str, Any]) -> str:
    """Return the model's equations; potentials and weights are plain numbers in mV and the unit of r_m or nS."""
    receptors = neuron["receptors"].items()
    levels = [f"s_{name}" for name, receptor in receptors if receptor["kind"] in ("Exp", "CondExp")]
    if neuron["kind"] == "CondLIF":
        through = [f"s_{name}*({r['e_rev']!r} - v)" for name, r in receptors]
        currents = [f"{neuron['g_l']!r}*({neuron['e_l']!r} - v)", "i_e", *through]
        membrane = f"({' + '.join(currents)})/({neuron['c_m']!r}*ms)"
    else:
        current = f"{neuron['r_m']!r}*({' + '.join(['i_e', *levels])})"
        membrane = f"({neuron['v_rest']!r} - v + {current})/({neuron['tau_m']!r}*ms)"
    lines = [f"dv/dt = {membrane} : 1 (unless refractory)", "i_e : 1 (constant)"]
    lines += [f"d{level}/dt = -{level}/({neuron['receptors'][level[2:]]['tau']!r}*ms) : 1" for level in levels]
    return "\n".join(lines)


def draw(value: dict[str, Any], size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return drawn values; a normal distribution is redrawn until within its bounds."""
    if value["kind"] == "Constant":
        return np.full(size, value["value"])
    if value["kind"] == "Uniform":
        return rng.uniform(value["low"], value["high"], size)
    found = rng.normal(value["mean"], value["sd"], size)
    while (wrong := np.flatnonzero((found < value["low"]) | (found > value["high"]))).size:
        found[wrong] = rng.normal(value["mean"], value["sd"], wrong.size)
    return found


def pairs(rule: dict[str, Any], sources: int, targets: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Return source and target of every synapse."""
    if rule["kind"] == "Pairs":
        return np.asarray(rule["source"]), np.asarray(rule["target"])
    if rule["kind"] == "FixedProbability":
        rows = [np.flatnonzero(rng.random(targets) < rule["p"]) for _ in range(sources)]
        return np.repeat(np.arange(sources), [row.size for row in rows]), np.concatenate(rows)
    if rule["kind"] == "FixedInDegree":
        return rng.integers(0, sources, targets * rule["k"]), np.repeat(np.arange(targets), rule["k"])
    return rng.integers(0, sources, rule["n"]), rng.integers(0, targets, rule["n"])


def arriving(neuron: dict[str, Any], receptor: str, weight: str, suffix: str) -> str:
    """Return the statement of an arrival: a delta synapse does nothing to a refractory neuron."""
    if neuron["receptors"][receptor]["kind"] == "Delta":
        return f"v{suffix} += {weight}*int(not_refractory{suffix})"
    return f"s_{receptor}{suffix} += {weight}"


def synapses(
    network: dict[str, Any], groups: dict[str, Any], at: dict[str, int], rng: np.random.Generator
) -> list[Any]:
    """Make one object per source group, receptor and constant weight or delay."""
    sets: dict[Any, list[dict[str, Any]]] = {}
    for link in network["projections"]:
        key = (link["source"] if link["source"] in groups else "", link["receptor"],
               link["weight"].get("value"), link["delay"].get("value"))  # fmt: skip
        sets.setdefault(key, []).append(link)
    made = []
    sizes = {p["name"]: p["size"] for p in network["populations"] + network["sources"]}
    for (source, receptor, weight, delay), links in sets.items():
        statement = arriving(network["neuron"], receptor, "w" if weight is None else repr(weight), "_post")
        fixed = {} if delay is None else {"delay": delay * b2.ms}
        model = "w : 1 (constant)" if weight is None else ""
        synapse = b2.Synapses(groups[source], groups[""], model, on_pre=statement, **fixed)
        found = [pairs(c["rule"], sizes[c["source"]], sizes[c["target"]], rng) for c in links]
        synapse.connect(
            i=np.concatenate([i + (0 if source else at[c["source"]]) for (i, _), c in zip(found, links, strict=True)]),
            j=np.concatenate([j + at[c["target"]] for (_, j), c in zip(found, links, strict=True)]),
        )
        many = [i.size for i, _ in found]
        if weight is None:
            synapse.w = np.concatenate([draw(c["weight"], n, rng) for n, c in zip(many, links, strict=True)])
        if delay is None:
            drawn = [draw(c["delay"], n, rng) for n, c in zip(many, links, strict=True)]
            synapse.delay = np.concatenate(drawn) * b2.ms
        made.append(synapse)
    return made


def build(request: dict[str, Any]) -> tuple[Any, list[Any], dict[str, int]]:
    """Make neurons, drives, synapses and a monitor; return the monitor, all objects, and each population's place."""
    network, rng = request["network"], np.random.default_rng(request["seed"])
    neuron, populations = network["neuron"], network["populations"]
    ends = np.cumsum([p["size"] for p in populations])
    at = {p["name"]: int(end) - p["size"] for p, end in zip(populations, ends, strict=True)}
    group = b2.NeuronGroup(
        int(ends[-1]), equations(neuron), threshold=f"v >= {neuron['v_th']!r}", reset=f"v = {neuron['v_reset']!r}",
        refractory=neuron["t_ref"] * b2.ms, method="exponential_euler" if neuron["kind"] == "CondLIF" else "exact",
    )  # fmt: skip
    rest = {"kind": "Constant", "value": neuron.get("e_l", neuron.get("v_rest"))}
    group.v = np.concatenate([draw(p["v"] or rest, p["size"], rng) for p in populations])
    group.i_e = np.repeat([p["i_e"] for p in populations], [p["size"] for p in populations])
    objects = [group]
    for drive in network["poisson"]:
        size = next(p["size"] for p in populations if p["name"] == drive["target"])
        part = group[at[drive["target"]] : at[drive["target"]] + size]
        arrivals = f"{drive['weight']!r}*poisson({drive['rate'] * request['dt'] * 1e-3!r})"
        part.run_regularly(arriving(neuron, drive["receptor"], arrivals, ""), when="synapses")
        objects.append(part)
    groups: dict[str, Any] = {"": group}
    for s in network["sources"]:
        window = f"int(t >= {s['start']!r}*ms)*int(t < {min(s['stop'], 1e9)!r}*ms)"
        groups[s["name"]] = b2.PoissonGroup(s["size"], f"{float(s['rate'])!r}*Hz*{window}")
    monitor = b2.SpikeMonitor(group)
    objects += [*synapses(network, groups, at, rng), *list(groups.values())[1:], monitor]
    return monitor, objects, at


def main() -> None:
    """Build, compile, run, report."""
    request = json.load(sys.stdin)
    folder = Path(request["folder"])
    started = time.perf_counter()
    threads = request["threads"]
    b2.prefs.devices.cpp_standalone.openmp_threads = threads if threads > 1 else 0
    b2.set_device("cpp_standalone", build_on_run=False, directory=str(folder / "code"))
    b2.defaultclock.dt = request["dt"] * b2.ms
    b2.seed(request["seed"])
    monitor, objects, at = build(request)
    # Brian2 itself reports processor time of serial runs; this is the time that passes.
    wall = folder / "wall.txt"
    b2.device.insert_code("before_network_run", "timespec begun, ended; clock_gettime(CLOCK_MONOTONIC, &begun);")
    passed = "(ended.tv_sec - begun.tv_sec) + 1e-9 * (ended.tv_nsec - begun.tv_nsec)"
    after = f'clock_gettime(CLOCK_MONOTONIC, &ended); std::ofstream("{wall}") << {passed};'
    b2.device.insert_code("after_network_run", after)
    b2.Network(*objects).run(request["duration"] * b2.ms)
    b2.device.build(directory=str(folder / "code"), compile=True, run=True, with_output=False, clean=False)
    total, run = time.perf_counter() - started, float(wall.read_text(encoding="ascii"))
    ids, times = np.asarray(monitor.i), np.asarray(monitor.t / b2.ms)
    found, rates = {}, {}
    for p in request["network"]["populations"]:
        mine = (ids >= at[p["name"]]) & (ids < at[p["name"]] + p["size"])
        found[f"{p['name']}.times"], found[f"{p['name']}.ids"] = times[mine], ids[mine] - at[p["name"]]
        rates[p["name"]] = float(mine.sum() / (p["size"] * request["duration"] * 1e-3))
    np.savez(folder / "spikes.npz", **found)
    print(json.dumps({
        "build_s": total - run, "run_s": run, "spikes": int(ids.size), "rates": rates, "version": b2.__version__,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
