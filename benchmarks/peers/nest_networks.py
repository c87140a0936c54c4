"""One network in NEST: reads a JSON request on standard input, prints one JSON line, writes the spikes.

The request has ``network`` (plain values, see benchmarks/networks.py), ``duration`` (ms), ``dt``, ``threads``, ``seed``
and ``folder``, where spikes.npz is written. Runs in an environment of its own that holds nest-simulator.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

os.environ["PYNEST_QUIET"] = "1"
import nest  # type: ignore[import-not-found]


def model(neuron: dict[str, Any]) -> tuple[str, dict[str, float]]:
    """Return NEST's model and parameters.

    With C = tau_m / r_m, weights in the unit of r_m act as they are; potentials mV, times ms.
    """
    taus = {name: receptor.get("tau") for name, receptor in neuron["receptors"].items()}
    common = {"V_th": neuron["v_th"], "V_reset": neuron["v_reset"], "t_ref": neuron["t_ref"]}
    only = next(iter(taus.values()))
    times = {"tau_syn_ex": taus.get("exc", only), "tau_syn_in": taus.get("inh", only)}
    kinds = {receptor["kind"] for receptor in neuron["receptors"].values()}
    if neuron["kind"] == "CondLIF" and kinds == {"CondExp"}:
        reversals = {"E_ex": neuron["receptors"]["exc"]["e_rev"], "E_in": neuron["receptors"]["inh"]["e_rev"]}
        leak = {"C_m": neuron["c_m"], "g_L": neuron["g_l"], "E_L": neuron["e_l"]}
        return "iaf_cond_exp", {**common, **times, **reversals, **leak}
    membrane = {"tau_m": neuron["tau_m"], "C_m": neuron["tau_m"] / neuron["r_m"], "E_L": neuron["v_rest"]}
    if neuron["kind"] == "LIF" and kinds == {"Exp"}:
        return "iaf_psc_exp", {**common, **times, **membrane}
    if neuron["kind"] == "LIF" and kinds == {"Delta"}:
        return "iaf_psc_delta", {**common, **membrane}
    raise ValueError(f"no model of NEST for {neuron['kind']} with {kinds}")


def drawn(value: dict[str, Any], sign: float = 1.0) -> Any:
    """Return a constant or NEST's random parameter."""
    if value["kind"] == "Constant":
        return sign * value["value"]
    if value["kind"] == "Uniform":
        return nest.random.uniform(value["low"], value["high"])
    normal = nest.random.normal(value["mean"], value["sd"])
    if np.isinf(value["low"]) and np.isinf(value["high"]):
        return normal
    return nest.math.redraw(normal, min=value["low"], max=value["high"])


def connect(link: dict[str, Any], groups: dict[str, Any], conductances: bool) -> None:
    """Make a projection; NEST tells a conductance's receptor by the sign of the weight."""
    rule, source, target = link["rule"], groups[link["source"]], groups[link["target"]]
    sign = -1.0 if conductances and link["receptor"] == "inh" else 1.0
    synapse = {"weight": drawn(link["weight"], sign), "delay": drawn(link["delay"])}
    if rule["kind"] == "Pairs":
        source = nest.NodeCollection([source[int(i)].global_id for i in rule["source"]])
        target = nest.NodeCollection([target[int(i)].global_id for i in rule["target"]])
        wanted: dict[str, Any] = {"rule": "one_to_one"}
    elif rule["kind"] == "FixedProbability":
        wanted = {"rule": "pairwise_bernoulli", "p": rule["p"]}
    elif rule["kind"] == "FixedInDegree":
        wanted = {"rule": "fixed_indegree", "indegree": rule["k"]}
    else:
        wanted = {"rule": "fixed_total_number", "N": rule["n"]}
    if wanted.get("N") != 0:
        nest.Connect(source, target, wanted, synapse)


def build(request: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Make populations, synapses, drives and one recorder; return the populations and the recorder."""
    network = request["network"]
    nest.ResetKernel()
    nest.set_verbosity("M_ERROR")
    nest.set(resolution=request["dt"], local_num_threads=request["threads"], rng_seed=request["seed"])
    name, parameters = model(network["neuron"])
    groups = {}
    for p in network["populations"]:
        groups[p["name"]] = nest.Create(name, p["size"], {**parameters, "I_e": p["i_e"]})
        groups[p["name"]].V_m = drawn(p["v"]) if p["v"] else parameters["E_L"]
    for s in network["sources"]:
        window = {"start": s["start"], "stop": min(s["stop"], 1e9)}
        groups[s["name"]] = nest.Create("poisson_generator", s["size"], {"rate": s["rate"], **window})
    for link in network["projections"]:
        connect(link, groups, name == "iaf_cond_exp")
    # A generator's delay only shifts its start; a short one would make NEST's threads meet more often.
    first = network["projections"][0]["delay"]
    delay = first["value"] if first["kind"] == "Constant" else first["mean"]
    for drive in network["poisson"]:
        generator = nest.Create("poisson_generator", params={"rate": drive["rate"]})
        nest.Connect(generator, groups[drive["target"]], syn_spec={"weight": drive["weight"], "delay": delay})
    recorder = nest.Create("spike_recorder")
    for p in network["populations"]:
        nest.Connect(groups[p["name"]], recorder)
    return groups, recorder


def main() -> None:
    """Build, run, report."""
    request = json.load(sys.stdin)
    started = time.perf_counter()
    groups, recorder = build(request)
    nest.Prepare()
    ready = time.perf_counter()
    nest.Run(request["duration"])
    done = time.perf_counter()
    nest.Cleanup()
    events = recorder.events
    senders, times, found = np.asarray(events["senders"]), np.asarray(events["times"]), {}
    rates = {}
    for p in request["network"]["populations"]:
        first = groups[p["name"]][0].global_id
        mine = (senders >= first) & (senders < first + p["size"])
        found[f"{p['name']}.times"], found[f"{p['name']}.ids"] = times[mine], senders[mine] - first
        rates[p["name"]] = float(mine.sum() / (p["size"] * request["duration"] * 1e-3))
    np.savez(Path(request["folder"]) / "spikes.npz", **found)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({
        "build_s": ready - started, "run_s": done - ready, "spikes": int(senders.size), "rates": rates,
        "peak_mb": peak, "version": nest.__version__,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
