"""The network of benchmarks/plasticity.py in Brian2 (C++ standalone): JSON on standard input, one JSON line out.

STDP in Brian2's usual form: the delay is axonal, traces per synapse, event-driven.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from typing import Any

import brian2 as b  # type: ignore[import-not-found]
import numpy as np

NEURON = """
dv/dt = -v / tau_m + (i_e + i_i) / c_m : volt (unless refractory)
di_e/dt = -i_e / tau_syn : amp
di_i/dt = -i_i / tau_syn : amp
"""
STDP = """
w : amp
dx/dt = -x / tau : 1 (event-driven)
dy/dt = -y / tau : 1 (event-driven)
"""


def synapses(n: dict[str, Any], source: Any, target: Any, fan: int, rng: Any, name: str, **model: str) -> Any:
    """Return synapses of a fixed in-degree."""
    made = b.Synapses(source, target, name=name, delay=n["delay"] * b.ms, method="exact", **model)
    size = int(target.stop - target.start)
    made.connect(i=rng.integers(0, int(source.stop - source.start), size * fan), j=np.repeat(np.arange(size), fan))
    return made


def main() -> None:
    """Build, run, report."""
    n = json.load(sys.stdin)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        b.set_device("cpp_standalone", directory=folder, build_on_run=False)
        if n["threads"] > 1:
            b.prefs.devices.cpp_standalone.openmp_threads = n["threads"]
        b.defaultclock.dt = n["dt"] * b.ms
        b.seed(n["seed"])
        rng = np.random.default_rng(n["seed"])
        excs, inhs = round(n["exc"] * n["scale"]), round(n["inh"] * n["scale"])
        space = {
            "tau_m": n["tau_m"] * b.ms, "tau_syn": n["tau_syn"] * b.ms, "c_m": n["c_m"] * b.pF, "tau": n["tau"] * b.ms,
            "v_th": n["v_th"] * b.mV, "v_reset": n["v_reset"] * b.mV, "jump": n["j"] * b.pA, "w_max": n["w_max"] * b.pA,
            "up": n["lambda"] * n["w_max"] * b.pA, "down": n["lambda"] * n["alpha"] * n["w_max"] * b.pA,
            "g": n["g"],
        }  # fmt: skip
        neurons = b.NeuronGroup(excs + inhs, NEURON, threshold="v >= v_th", reset="v = v_reset",
                                refractory=n["t_ref"] * b.ms, method="exact", namespace=space)  # fmt: skip
        exc, inh = neurons[:excs], neurons[excs:]
        on_pre = "i_e_post += w\nw = clip(w - down * y, 0 * amp, w_max)\nx += 1"
        on_post = "w = clip(w + up * x, 0 * amp, w_max)\ny += 1"
        plastic = synapses(n, exc, exc, n["fan_exc"], rng, "plastic", model=STDP, on_pre=on_pre, on_post=on_post)
        plastic.namespace.update(space)
        plastic.w = n["j"] * b.pA
        held = [plastic, synapses(n, exc, inh, n["fan_exc"], rng, "exc_inh", on_pre="i_e_post += jump")]
        held.append(synapses(n, inh, neurons[:], n["fan_inh"], rng, "inh_all", on_pre="i_i_post -= g * jump"))
        for one in held:
            one.namespace.update(space)
        drive = b.PoissonInput(neurons, "i_e", 1, n["external"] * b.Hz, weight=n["j"] * b.pA)
        monitor = b.SpikeMonitor(neurons)
        network = b.Network(neurons, *held, drive, monitor)
        network.run(100.0 * b.ms)
        network.run(n["duration"] * b.ms)
        b.device.build(directory=folder, compile=True, run=False)
        ready, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        b.device.run(folder, with_output=False, run_args=[])
        done, cpu = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - used
        weight = np.asarray(plastic.w / b.pA)
        spikes = int((np.asarray(monitor.t / b.ms) >= 100.0).sum())
    seconds = n["duration"] * 1e-3
    print(json.dumps({
        "build_s": ready - started, "seconds_per_second": (done - ready) / (seconds + 0.1),
        "cpu_s_per_second": cpu / (seconds + 0.1),
        "rate_hz": spikes / ((excs + inhs) * seconds), "w_mean_pA": float(weight.mean()),
        "w_sd_pA": float(weight.std()), "version": b.__version__,
    }))  # fmt: skip
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
