"""One network in spikeframe: reads a JSON request on standard input, prints one JSON line, writes the spikes.

The request has ``network`` and ``scale`` (see benchmarks/networks.py), ``duration`` (ms), ``dt``, ``threads``,
``seed``, ``dtype`` and ``folder``, where spikes.npz is written. Peak memory includes the interpreter, torch and Numba.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))


def stored_bytes(bundles: list[Any]) -> int:
    """Return what the synapses of a built network take."""
    arrays = [value for bundle in bundles for value in vars(bundle).values() if isinstance(value, np.ndarray)]
    return sum(array.nbytes for array in arrays)


def resident() -> int:
    """Return the resident memory now, in bytes (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    """Build, run, report."""
    request = json.load(sys.stdin)
    from networks import NETWORKS

    import spikeframe as sf

    started, before = time.perf_counter(), resident()
    network = NETWORKS[request["network"]](scale=request["scale"], seed=request["seed"])
    simulator = sf.Simulator(network, dt=request["dt"], threads=request["threads"], dtype=request["dtype"])
    held = resident() - before
    simulator.run(request["dt"])  # compiles
    ready = time.perf_counter()
    result = simulator.run(request["duration"], progress=False)
    done = time.perf_counter()
    circuit: Any = simulator.circuit
    laid, counts = circuit.laid, result.counts.values()
    spikes = {f"{n}.{k}": v for n, s in result.spikes.items() for k, v in (("times", s.times), ("ids", s.ids))}
    np.savez(Path(request["folder"]) / "spikes.npz", **spikes)
    print(json.dumps({
        "build_s": ready - started, "run_s": done - ready, "spikes": sum(len(s) for s in result.spikes.values()),
        "rates": result.rates(), "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "synapses": sum(int(fan.sum()) for fan in laid.fan_out), "synapse_bytes": stored_bytes(laid.plan.bundles),
        "built_bytes": held, "neuron_updates": sum(c.neu_upd for c in counts), "synaptic_events": result.delivered,
        # An arrival is an addition without a stored weight.
        "poisson_arrivals": sum(c.syn_ac - c.mem_rd_w for c in counts),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
