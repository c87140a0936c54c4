"""Every test and every timing on a GPU: fused training against its peers, simulations against the CPU's spikes.

    python benchmarks/gpu.py [--only tests training step products networks ...] [--json FILE]
    python benchmarks/gpu.py --cpu-spikes    # on any machine: writes what the networks are held to

Training: one LIF layer, forward and backward, against SpikingJelly (its own choice of kernels), norse and snnTorch
(driven over ``x.unbind(0)``) where they are installed: medians of CUDA events around a call, in turns, each of which
finds the host's caches cold; around 50 calls in a row; and of replays of a captured graph, which leave out what the
host does. Beside them the bytes that any scheme must move (read x, write spikes; read x and the arriving gradient,
write the gradient), and those of this one (the final state, and the states that are kept every 16 steps of a longer
run), at the copy bandwidth of the same run.
A layer that only goes through autograd and launches nothing says how much of a short run is torch's own.
Training step: Linear and LIF over 500 steps, batch 16, sum of squares, beside the peers; with float32 products, as
torch does them unless told otherwise, with `SpikeLinear`, and with products in TF32.
Products: the paths of `SpikeLinear` at several rates.
Simulation: the spikes of networks equal those that the CPU's provider gave (`results/cpu_spikes.json`), to the bit.
The microcircuit of Potjans and Diesmann at full scale is also run on both here; then its real-time factor is measured
(wall time over 10 s of model time after 1 s, launches, copies and recording of all spikes included). Growth: the same
with 1.4 and 2 times the neurons, each with as many times more synapses.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from common import table, write_json
from networks import NETWORKS
from training import LAYERS, Layer, torch_loop

if TYPE_CHECKING:
    from spikeframe.core.circuit import Circuit

ROOT = Path(__file__).parents[1]
#: Steps, batch x neurons.
SIZES = [(16, 1 << 22), (128, 1 << 19), (16, 1 << 16)]
KINDS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def milliseconds(works: dict[str, Callable[[], object]], rounds: int = 15) -> dict[str, float]:
    """Return median times of pieces of work that take turns, from CUDA events around one call each."""
    for work in works.values():
        for _ in range(3):
            work()
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()
            begin.record()
            work()
            end.record()
            end.synchronize()
            found[name].append(begin.elapsed_time(end))
    return {name: statistics.median(times) for name, times in found.items()}


def replayed_milliseconds(work: Callable[[], object], rounds: int = 30) -> float:
    """Return the median time of one call on the GPU alone: replays of a captured CUDA graph, ten in a row."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        work()

    def ten() -> None:
        for _ in range(10):
            graph.replay()

    return milliseconds({"graph": ten}, rounds)["graph"] / 10


def milliseconds_in_a_row(work: Callable[[], object], calls: int = 50) -> float:
    """Return the median time of one of many calls in a row."""

    def many() -> None:
        for _ in range(calls):
            work()

    return milliseconds({"row": many}, rounds=5)["row"] / calls


def copy_bandwidth(size: int = 1 << 30) -> float:
    """Return the bytes a second of a device-to-device copy, reads plus writes."""
    source, target = (torch.ones(size, dtype=torch.uint8, device="cuda") for _ in range(2))
    return 2 * size / milliseconds({"copy": lambda: target.copy_(source)})["copy"] * 1e3


def peak_bytes(work: Callable[[], object]) -> int:
    """Return the most memory that one call holds beyond what was held before."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    return torch.cuda.max_memory_allocated() - before


def held_bytes(layer: Layer, x: torch.Tensor) -> int:
    """Return what a forward keeps for the backward beside its input and its output."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    out = layer(x)
    return torch.cuda.memory_allocated() - before - out.numel() * out.element_size()


def spikeframe_layer() -> Layer:
    """Return the layer on the fused kernels."""
    from spikeframe.neurons import LIF

    lif = LIF(dt=1.0, tau_m=19.4957257462237, backend="cuda").cuda()
    return lambda x: lif(x)[0]


class _Nothing(torch.autograd.Function):
    """Allocates what a layer gives, and launches nothing."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.save_for_backward(x)
        ctx.set_materialize_grads(False)
        return torch.empty_like(x), torch.empty_like(x[0])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> torch.Tensor:
        return torch.empty_like(ctx.saved_tensors[0])


def nothing(x: torch.Tensor) -> torch.Tensor:
    """Go through autograd as a layer does, without a kernel."""
    out: torch.Tensor = _Nothing.apply(x)[0]  # type: ignore[no-untyped-call]
    return out


def layers() -> dict[str, Layer]:
    """Return the layers whose library is installed and runs here."""
    makers = {**LAYERS, "spikeframe": spikeframe_layer}
    found = {}
    for name, make in makers.items():
        try:
            layer = make()
            x = torch.rand(4, 1, 8, device="cuda", requires_grad=True)
            torch.autograd.grad(layer(x).sum(), x)
            found[name] = layer
        except Exception as error:  # a peer may fail in any way; it is then left out
            print(f"{name} is left out: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
    return found


def check_training() -> None:
    """Refuse to time anything unless spikes and gradients agree with the torch loop."""
    x = (torch.rand(37, 3, 129, device="cuda") * 0.3).requires_grad_()
    g = torch.randn_like(x)
    expected = torch_loop()(x)
    (gradient,) = torch.autograd.grad(expected, x, g)
    out = spikeframe_layer()(x)
    (found,) = torch.autograd.grad(out, x, g)
    if not torch.equal(out, expected) or not torch.allclose(found, gradient, rtol=1e-4, atol=1e-5):
        raise SystemExit("spikeframe and the torch loop disagree: nothing is timed")


def training(sizes: list[tuple[int, int]]) -> dict[str, Any]:
    """Time one layer forward and backward."""
    from spikeframe.neurons import LIF, fused

    check_training()
    found, bandwidth = layers(), copy_bandwidth()
    results, rows = [], []
    for kind, dtype in KINDS.items():
        for steps, columns in sizes:
            generator = torch.Generator("cuda").manual_seed(0)
            x = (torch.rand(steps, 1, columns, device="cuda", generator=generator) * 0.3).to(dtype).requires_grad_()
            g = torch.randn(steps, 1, columns, device="cuda", generator=generator).to(dtype)

            def work(layer: Layer, x: torch.Tensor = x, g: torch.Tensor = g) -> None:
                torch.autograd.grad(layer(x), x, g)

            usable = {}
            for name, layer in found.items():
                try:
                    work(layer)
                    usable[name] = layer
                except Exception as error:  # a peer without this type
                    print(f"{name} {kind}: {type(error).__name__}: {str(error)[:120]}", file=sys.stderr)
            one: dict[str, Callable[[], object]] = {n: partial(work, layer) for n, layer in usable.items()}
            slow = {n: w for n, w in one.items() if n not in ("spikeframe", "SpikingJelly")}
            times = milliseconds({n: w for n, w in one.items() if n not in slow}) | milliseconds(slow, rounds=3)
            row = {n: milliseconds_in_a_row(w) for n, w in one.items() if n not in slow}
            empty: dict[str, Callable[[], object]] = {
                "spikeframe": one["spikeframe"],
                "nothing": partial(work, nothing),
            }
            alone = {}
            leaf = x.detach().clone().requires_grad_()
            for name in ("spikeframe", "SpikingJelly"):
                try:
                    alone[name] = replayed_milliseconds(partial(work, usable[name], leaf))
                except Exception as error:  # a peer whose call cannot be captured
                    print(f"{name} {kind} in a CUDA graph: {type(error).__name__}: {str(error)[:120]}", file=sys.stderr)
            memory = {name: peak_bytes(w) for name, w in one.items()}
            held = {name: held_bytes(layer, x) for name, layer in usable.items()}
            updates, size = steps * columns, x.element_size()
            floor = updates * 5 * size / bandwidth * 1e3
            pieces = -(-steps // fused.cut(LIF(dt=1.0).program(), size).every)
            states = columns * 4 * (1 + (2 * pieces if pieces > 1 else 0))  # written at the end; written and read
            own = floor + states / bandwidth * 1e3
            results.append({
                "steps": steps, "columns": columns, "dtype": kind, "milliseconds": times,
                "milliseconds_in_a_row": row, "milliseconds_in_a_graph": alone,
                "milliseconds_beside_nothing": milliseconds(empty),
                "billion_neuron_steps_per_second": {n: updates / t / 1e6 for n, t in times.items()},
                "share_of_copy_bandwidth": floor / alone.get("spikeframe", float("nan")),
                "share_with_states": own / alone.get("spikeframe", float("nan")),
                "times_spikingjelly": times.get("SpikingJelly", float("nan")) / times["spikeframe"],
                "times_spikingjelly_in_a_row": row.get("SpikingJelly", float("nan")) / row["spikeframe"],
                "peak_bytes": memory, "held_bytes": held, "bytes_of_output_and_gradient": 2 * updates * size,
            })  # fmt: skip
            rows.append([kind, steps, columns, *(times.get(n, float("nan")) for n in found),
                         *(row.get(n, float("nan")) for n in ("spikeframe", "SpikingJelly")),
                         *(alone.get(n, float("nan")) for n in ("spikeframe", "SpikingJelly")),
                         floor / alone.get("spikeframe", float("nan")),
                         own / alone.get("spikeframe", float("nan")), memory["spikeframe"] / 2**20,
                         memory.get("SpikingJelly", float("nan")) / 2**20])  # fmt: skip
    print(f"LIF forward + backward, ms; copy {bandwidth / 1e12:.2f} TB/s")
    last = ["in a row", "SJ in a row", "alone", "SJ alone", "of copy", "with states", "MiB", "SJ MiB"]
    print(table(rows, ["type", "T", "N", *found, *last]))
    return {"device": device(), "copy_terabytes_per_second": bandwidth / 1e12, "lif": results}


#: Paths of a linear layer on spikes.
PRODUCTS = ("dense", "parts", "events")
#: Neurons of the whole training step.
WIDTHS = (4096, 16384)


def training_step(widths: tuple[int, ...], steps: int = 500, batch: int = 16) -> dict[str, Any]:
    """Time forward and backward of a linear layer and one of neurons."""
    from spikeframe.modules.spike_linear import SpikeLinear

    found = layers()
    found.pop("torch loop", None)
    results, rows = [], []
    for width in widths:
        linear = torch.nn.Linear(width, width, bias=False, device="cuda")
        spiking = SpikeLinear(width, width, bias=False, device="cuda")
        x = (torch.rand(steps, batch, width, device="cuda") < 0.1).float()

        def work(layer: Layer | None, linear: torch.nn.Linear, tf32: bool = False, x: torch.Tensor = x) -> None:
            torch.backends.cuda.matmul.allow_tf32 = tf32
            linear.weight.grad = None
            current = linear(x)
            (current if layer is None else layer(current)).square().sum().backward()
            torch.backends.cuda.matmul.allow_tf32 = False

        ours = found["spikeframe"]
        fast: dict[str, Callable[[], object]] = {
            "spikeframe": partial(work, ours, linear),
            "spikeframe, SpikeLinear": partial(work, ours, spiking),
            "spikeframe, TF32": partial(work, ours, linear, True),
            "linear alone": partial(work, None, linear),
            "SpikeLinear alone": partial(work, None, spiking),
        }
        slow: dict[str, Callable[[], object]] = {}
        for name, layer in found.items():
            if name == "SpikingJelly":
                fast[name] = partial(work, layer, linear)
                fast["SpikingJelly, TF32"] = partial(work, layer, linear, True)
            elif name != "spikeframe":
                slow[name] = partial(work, layer, linear)
        times = milliseconds(fast, rounds=7) | milliseconds(slow, rounds=3)
        peer = times.get("SpikingJelly", float("nan"))
        results.append({
            "width": width, "steps": steps, "batch": batch, "rate": 0.1, "milliseconds": times,
            "times_spikingjelly": {n: peer / times[n] for n in times if n.startswith("spikeframe")},
            "peak_bytes": {n: peak_bytes(w) for n, w in (fast | slow).items()},
        })  # fmt: skip
        rows.append([width, *times.values()])
        names = ["n", *times]
        del linear, spiking, x, work, fast, slow
        torch.cuda.empty_cache()
    print("Linear + LIF, forward + backward, ms")
    print(table(rows, names))
    return {"device": device(), "steps": results}


def products(widths: tuple[int, ...], many: int = 8000) -> dict[str, Any]:
    """Time forward and backward of the paths of a linear layer on spikes, and say how precise they are."""
    from spikeframe.modules.spike_linear import SpikeLinear

    results, rows = [], []
    for width in widths:
        layers = {path: SpikeLinear(width, width, bias=False, path=path, device="cuda") for path in PRODUCTS}
        g = torch.randn(many, width, device="cuda")
        for rate in (0.001, 0.003, 0.01, 0.03, 0.1):
            x = (torch.rand(many, width, device="cuda") < rate).float()

            def work(layer: torch.nn.Module, back: bool, x: torch.Tensor = x, g: torch.Tensor = g) -> None:
                if back:
                    torch.autograd.grad(layer(x), layer.weight, g)
                else:
                    with torch.no_grad():
                        layer(x)

            times = milliseconds(
                {f"{path} {kind}": partial(work, layer, kind == "both")
                 for kind in ("forward", "both") for path, layer in layers.items()}, rounds=5,
            )  # fmt: skip
            results.append({"width": width, "rows": many, "rate": rate, "milliseconds": times})
            rows.append([width, rate, *times.values()])
        weight = layers["dense"].weight.detach()
        some = x[:256].requires_grad_()
        exact = [
            some.detach().double() @ weight.double().t(),
            g[:256].double().t() @ some.detach().double(),
            g[:256].double() @ weight.double(),
        ]
        for path, layer in layers.items():
            layer.weight = torch.nn.Parameter(weight.clone())
            y = layer(some)
            made = [y, *reversed(torch.autograd.grad(y, (some, layer.weight), g[:256]))]
            results[-1][f"errors of {path}"] = [
                float((a.detach().double() - b).norm() / b.norm()) for a, b in zip(made, exact, strict=True)
            ]
            print(width, path, "errors of output, weights' and input's gradient:", results[-1][f"errors of {path}"])
        del layers, g, x, some, exact
        torch.cuda.empty_cache()
    print("Products with spikes, forward, and forward + gradient of the weights, ms")
    print(table(rows, ["n", "rate", *times]))
    return {"device": device(), "rates": results}


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


def device() -> dict[str, Any]:
    """Describe the GPU and the versions."""
    import cupy

    asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    return {
        "gpu": subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip(),
        "cuda": torch.version.cuda,
        "cupy": cupy.__version__,
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> None:
    """Test, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", default=["tests", "training", "step", "products", "networks", "microcircuit", "growth"]
    )
    parser.add_argument("--json")
    parser.add_argument("--cpu-spikes", action="store_true", help="run the held networks on the CPU and keep hashes")
    parser.add_argument("--scale", type=float, default=1.0, help="of the microcircuit")
    parser.add_argument("--seconds", type=float, default=10.0, help="of model time that are measured")
    parser.add_argument("--compare", type=float, default=1000.0, help="ms of the microcircuit run on the CPU too")
    options = parser.parse_args()
    if options.cpu_spikes:
        write_json(str(KEPT), {"networks": held("numba")})
        return
    results: dict[str, Any] = {"device": device()}
    if "tests" in options.only:
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "tests/gpu"], cwd=ROOT, check=False)
        results["tests_passed"] = done.returncode == 0
    if "training" in options.only:
        results["training"] = training(SIZES)
        write_json(options.json, results)
    if "step" in options.only:
        results["training_step"] = training_step(WIDTHS)
    if "products" in options.only:
        results["products"] = products(WIDTHS[:1])
        write_json(options.json, results)
    if "networks" in options.only:
        results["networks"] = networks()
        write_json(options.json, results)
    if "microcircuit" in options.only:
        results["microcircuit"] = microcircuit(options.scale, options.seconds, options.compare)
    if "growth" in options.only:
        results["growth"] = growth((1.4, 2.0))
    write_json(options.json, results)


if __name__ == "__main__":
    main()
