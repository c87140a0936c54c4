"""Simulations on a GPU: spikes held to the CPU's, and the microcircuit's real-time factor (see `gpu.py`)."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from common import table
from gpu_timing import device
from networks import NETWORKS

if TYPE_CHECKING:
    from spikeframe.core.circuit import Circuit

ROOT = Path(__file__).parents[1]
#: Networks whose spikes on the CPU are kept, with the milliseconds they run for.
HELD: dict[str, tuple[Callable[[], Any], float]] = {
    "cuba": (NETWORKS["cuba"], 200.0),
    "coba": (NETWORKS["coba"], 200.0),
    "brunel": (NETWORKS["brunel"], 100.0),
    "microcircuit, 5 %": (lambda: NETWORKS["microcircuit"](scale=0.05), 100.0),
    "balanced network": (lambda: _described("05_balanced_network.py"), 200.0),
    "synfire chain": (lambda: _described("07_synfire_chain.py", [(100, 0.0), (50, 2.0)], [0.0, 1.0]), 100.0),
    "conductances": (lambda: _described("16_conductances.py"), 100.0),
    "firing patterns": (lambda: _described("10_firing_patterns.py"), 500.0),
}
#: Spikes/s of the microcircuit's populations at full scale, NEST.
PUBLISHED = [0.903, 2.965, 4.414, 5.876, 7.569, 8.633, 1.105, 7.829]
KEPT = ROOT / "benchmarks" / "results" / "cpu_spikes.json"


def _described(file: str, *arguments: Any) -> Any:
    """Return the network of an example."""
    import runpy

    return runpy.run_path(str(ROOT / "examples" / file))["describe"](*arguments)


def fingerprint(result: Any) -> dict[str, Any]:
    """Return the number of recorded spikes, a hash of all of them, and the events they caused."""
    digest, many = hashlib.sha256(), 0
    for name in sorted(result.spikes):
        spikes = result.spikes[name]
        order = np.lexsort((spikes.ids, spikes.steps))
        digest.update(np.asarray(spikes.steps, np.int64)[order].tobytes())
        digest.update(np.asarray(spikes.ids, np.int64)[order].tobytes())
        many += spikes.ids.size
    return {"spikes": int(many), "sha256": digest.hexdigest(), "delivered": int(result.delivered)}


def held(backend: str) -> dict[str, Any]:
    """Run every held network on a backend."""
    import spikeframe as sf

    found = {}
    for name, (describe, duration) in HELD.items():
        started = time.perf_counter()
        simulator = sf.Simulator(describe(), dt=0.1, backend=backend)
        found[name] = {"ms": duration, **fingerprint(simulator.run(duration, progress=False))}
        print(f"{name}: {found[name]['spikes']} spikes, {time.perf_counter() - started:.1f} s", flush=True)
    return found


def networks() -> dict[str, Any]:
    """Hold every network's spikes on the GPU to those of the CPU."""
    expected = json.loads(KEPT.read_text(encoding="utf-8"))["networks"]
    found = held("cuda")
    results = {name: {**found[name], "equal": found[name] == expected[name]} for name in expected if name in found}
    print(table([[n, r["spikes"], r["equal"]] for n, r in results.items()], ["network", "spikes", "equal"]))
    return results


def joules() -> float:
    """Return the energy that the GPU has taken since its driver was loaded, from NVML."""
    import pynvml

    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(torch.cuda.current_device())
    return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) * 1e-3


#: What thread 0 of every block spends a step on: comments of the kernel that end a phase.
PHASES = ["update", "drive", "exchange", "delivery"]


def clocked(text: str) -> str:
    """Return a kernel that stays with clocks at the ends of its phases."""
    head, body = text.split('extern "C"', 1)
    head += """__device__ unsigned long long phases[PARTS * 8];
#define SPEND(q) if (tid == 0) { const long long c = clock64(); spent[q] += c - at_clock; at_clock = c; }
"""
    body = body.replace("// @begin", "long long at_clock = clock64(), spent[8] = {};")
    for q, phase in enumerate(PHASES):
        body = body.replace(f"// @{phase}", f"SPEND({q})")
    body = body.replace("// @end", "if (tid == 0) for (int q = 0; q < 8; ++q) phases[part * 8 + q] = spent[q];")
    return head + 'extern "C"' + body


def breakdown(simulator: Any, steps: int = 20_000) -> dict[str, Any]:
    """Run a microcircuit with and without clocks in the kernel; return microseconds and clock cycles of a step."""
    import cupy

    from spikeframe.kernels.cuda.launch import OPTIONS

    circuit = simulator.circuit
    device = circuit._provider.device
    times: list[float] = []
    cycles: dict[str, float] = {}
    plain = device.launch

    def timed(*arguments: Any) -> None:
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        plain(*arguments)
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(begin, end) * 1e3 / steps)

    def instrumented(text: str, blocks: int, threads: int, shared: int, table: Any) -> None:
        module = cupy.RawModule(code=clocked(text), options=OPTIONS, enable_cooperative_groups=True)
        kernel = module.get_function("drive")
        kernel.max_dynamic_shared_size_bytes = shared
        kernel((blocks,), (threads,), (cupy.asarray(table),), shared_mem=shared)
        found = cupy.ndarray((blocks, 8), cupy.uint64, module.get_global("phases")).get()
        cycles.update(zip(PHASES, (found.mean(0) / steps).round(1).tolist(), strict=False))

    whole = []
    for launch in (timed, timed, timed, instrumented):
        device.launch = launch
        started = time.perf_counter()
        circuit._provider.run(circuit.laid.plan, circuit.state, steps, circuit._given(steps), 1)
        whole.append((time.perf_counter() - started) * 1e6 / steps)
    device.launch = plain
    return {"kernel_microseconds": statistics.median(times), "stretch_microseconds": statistics.median(whole[:3]),
            "cycles_of_thread_0": cycles}  # fmt: skip


def other_rates(scale: float, seconds: float, seed: int) -> dict[str, float]:
    """Return the population rates of the microcircuit built from another seed, after 500 ms."""
    import spikeframe as sf

    simulator = sf.Simulator(NETWORKS["microcircuit"](scale=scale, seed=seed), dt=0.1, backend="cuda")
    simulator.run(500.0, progress=False)
    found: dict[str, float] = simulator.run(seconds * 1e3, progress=False).rates()
    return found


def microcircuit(scale: float, seconds: float, compare_ms: float) -> dict[str, Any]:
    """Run the microcircuit: spikes of both providers compared, real-time factor, rates of three seeds, energy."""
    import spikeframe as sf
    from spikeframe.core.circuit import _copied
    from spikeframe.kernels.numba.grid import NumbaGrid

    started = time.perf_counter()
    simulator = sf.Simulator(NETWORKS["microcircuit"](scale=scale), dt=0.1, backend="cuda")
    circuit = cast("Circuit", simulator.circuit)
    plan = circuit.laid.plan
    built = time.perf_counter() - started
    synapses = sum(b.synapses for b in plan.bundles)
    print(f"{sum(g.size for g in plan.groups):,} neurons, {synapses:,} synapses, built in {built:.1f} s", flush=True)
    results: dict[str, Any] = {
        "gpu": device()["gpu"],
        "synapses": synapses,
        "build_seconds": built,
        "parts": plan.parts,
    }
    started, start = time.perf_counter(), _copied(circuit.state)
    first = simulator.run(compare_ms, progress=False)
    print(f"first {compare_ms:g} ms with copying and compiling: {time.perf_counter() - started:.1f} s", flush=True)
    other = copy.copy(circuit)
    other.state, other._provider, other.threads = start, NumbaGrid(), os.cpu_count() or 1
    started = time.perf_counter()
    second = other.run(compare_ms, progress=False)
    results["cpu_seconds"] = time.perf_counter() - started
    results["equal"] = fingerprint(first) == fingerprint(second)
    print(
        f"same {first.total_spikes} spikes as on the CPU: {results['equal']} ({results['cpu_seconds']:.1f} s)",
        flush=True,
    )
    simulator.run(max(0.0, 500.0 - compare_ms), progress=False)
    started = time.perf_counter()
    result = simulator.run(seconds * 1e3, progress=False)
    wall = time.perf_counter() - started
    results["seconds"], results["real_time_factor"] = seconds, wall / seconds
    energy, started, events = joules(), time.perf_counter(), 0
    while time.perf_counter() - started < 3.0:
        events += simulator.run(seconds * 1e3, progress=False).delivered
    energy = joules() - energy
    results["watts"] = energy / (time.perf_counter() - started)
    results["joules_per_synaptic_event"] = energy / events
    results["step"] = breakdown(simulator)
    rates = [result.rates()]
    del simulator, circuit, plan, other
    rates += [other_rates(scale, seconds, seed) for seed in (2, 3)]
    results["rates"] = {name: statistics.mean(r[name] for r in rates) for name in rates[0]}
    results["published_rates"] = dict(zip(rates[0], PUBLISHED, strict=True))
    results["rate_errors"] = {n: results["rates"][n] / results["published_rates"][n] - 1 for n in rates[0]}
    print(json.dumps(results, indent=1), flush=True)
    return results


def growth(scales: tuple[float, ...], seconds: float = 3.0, compare_ms: float = 100.0) -> list[dict[str, Any]]:
    """Run larger microcircuits: spikes of both providers compared, real-time factors."""
    import spikeframe as sf
    from spikeframe.core.circuit import _copied
    from spikeframe.kernels.numba.grid import NumbaGrid

    results = []
    for scale in scales:
        started = time.perf_counter()
        simulator = sf.Simulator(NETWORKS["microcircuit"](scale=scale), dt=0.1, backend="cuda")
        circuit = cast("Circuit", simulator.circuit)
        built, start = time.perf_counter() - started, _copied(circuit.state)
        first = simulator.run(compare_ms, progress=False)
        other = copy.copy(circuit)
        other.state, other._provider, other.threads = start, NumbaGrid(), os.cpu_count() or 1
        equal = fingerprint(first) == fingerprint(other.run(compare_ms, progress=False))
        simulator.run(500.0 - compare_ms, progress=False)
        started = time.perf_counter()
        simulator.run(seconds * 1e3, progress=False)
        results.append({
            "gpu": device()["gpu"], "scale": scale, "neurons": sum(g.size for g in circuit.laid.plan.groups),
            "synapses": sum(b.synapses for b in circuit.laid.plan.bundles), "build_seconds": built, "equal": equal,
            "real_time_factor": (time.perf_counter() - started) / seconds,
        })  # fmt: skip
        print(json.dumps(results[-1]), flush=True)
        del simulator, circuit, other, first
    return results
