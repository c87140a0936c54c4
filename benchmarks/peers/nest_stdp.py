"""The network of benchmarks/plasticity.py in NEST: reads a JSON request on standard input, prints one JSON line."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import numpy as np

os.environ["PYNEST_QUIET"] = "1"
import nest  # type: ignore[import-not-found]


def build(n: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Make neurons, synapses and drive; return all neurons, the exciting ones and the recorder."""
    nest.ResetKernel()
    nest.set_verbosity("M_ERROR")
    nest.set(resolution=n["dt"], local_num_threads=n["threads"], rng_seed=n["seed"])
    parameters = {
        "C_m": n["c_m"], "tau_m": n["tau_m"], "tau_syn_ex": n["tau_syn"], "tau_syn_in": n["tau_syn"], "E_L": 0.0,
        "V_m": 0.0, "V_th": n["v_th"], "V_reset": n["v_reset"], "t_ref": n["t_ref"], "tau_minus": n["tau"],
    }  # fmt: skip
    exc = nest.Create("iaf_psc_exp", round(n["exc"] * n["scale"]), parameters)
    inh = nest.Create("iaf_psc_exp", round(n["inh"] * n["scale"]), parameters)
    plastic = {
        "synapse_model": "stdp_synapse", "weight": n["j"], "delay": n["delay"], "tau_plus": n["tau"],
        "lambda": n["lambda"], "alpha": n["alpha"], "mu_plus": 0.0, "mu_minus": 0.0, "Wmax": n["w_max"],
    }  # fmt: skip
    many, few = ({"rule": "fixed_indegree", "indegree": n[k]} for k in ("fan_exc", "fan_inh"))
    nest.Connect(exc, exc, many, plastic)
    nest.Connect(exc, inh, many, {"weight": n["j"], "delay": n["delay"]})
    nest.Connect(inh, exc + inh, few, {"weight": -n["g"] * n["j"], "delay": n["delay"]})
    drive = nest.Create("poisson_generator", params={"rate": n["external"]})
    nest.Connect(drive, exc + inh, syn_spec={"weight": n["j"], "delay": n["delay"]})
    recorder = nest.Create("spike_recorder")
    nest.Connect(exc + inh, recorder)
    return exc + inh, exc, recorder


def main() -> None:
    """Build, run, report."""
    request = json.load(sys.stdin)
    started = time.perf_counter()
    everybody, exc, recorder = build(request)
    nest.Prepare()
    ready = time.perf_counter()
    nest.Run(100.0)
    before, begun, used = recorder.n_events, time.perf_counter(), time.process_time()
    nest.Run(request["duration"])
    done, cpu = time.perf_counter(), time.process_time() - used
    spikes = recorder.n_events - before
    nest.Cleanup()
    weight = np.asarray(nest.GetConnections(exc, exc).weight)
    seconds = request["duration"] * 1e-3
    print(json.dumps({
        "build_s": ready - started, "seconds_per_second": (done - begun) / seconds,
        "cpu_s_per_second": cpu / seconds, "rate_hz": spikes / (len(everybody) * seconds),
        "w_mean_pA": float(weight.mean()), "w_sd_pA": float(weight.std()), "version": nest.__version__,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
