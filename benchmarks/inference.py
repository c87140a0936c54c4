"""Event-driven inference, one sample at a time, against dense torch forms, norse and snnTorch.

    python benchmarks/inference.py [--data FOLDER] [--json FILE]

A 2312-512-10 LIF network, batch 1, 100 steps, on random input of 0.1 to 20 % density and, with ``--data`` (a folder
with N-MNIST in tonic's layout), on real recordings in 1 ms steps. Before anything is timed, the event-driven run must
equal the torch forward to the bit. Best dense torch is the fastest of: step by step; one product over all steps, then
the neurons step by step; the same with transposed weights and in-place updates; and all of it through torch.compile
(which needs a C++ compiler and minutes; ``--no-compile`` leaves it out). ``torch embedding_bag`` gathers rows of
active inputs, the fastest that stock torch offers for sparse input. ``--threads 2`` gives torch, not spikeframe, two.

``spikeframe, 8-bit weights`` runs another network, the same with its weights rounded to 8 bits, and equals the torch
forward of that one. What rounding costs is measured on the network of ``spikeframe train``, trained for ``--epochs``.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from common import interleaved_seconds, table, write_json
from torch import nn

import spikeframe as sf
from spikeframe.core import differing_spikes
from spikeframe.neurons import LI, LIF, Sequential

STEPS, HIDDEN, CLASSES = 100, 512, 10
SHAPE = (2, 34, 34)
DENSITIES = [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2]
TAU, DT = 20.0, 1.0

#: The forms that compute every input of every step, by their names below.
DENSE = ("torch step by step", "torch matmul over all steps", "torch matmul, in place", "torch.compile")

#: Runs a network of its own: the same with weights rounded to 8 bits.
NARROW = "spikeframe, 8-bit weights"

Form = Callable[[], torch.Tensor]


def network(density: float) -> Sequential:
    """Make a network whose hidden layer fires a few percent of the time at this input density."""
    torch.manual_seed(0)
    first = nn.Linear(2312, HIDDEN, bias=False)
    second = nn.Linear(HIDDEN, CLASSES, bias=False)
    nn.init.normal_(first.weight, std=0.35 / (2312 * density) ** 0.5)
    nn.init.normal_(second.weight, std=0.2)
    return Sequential(nn.Flatten(), first, LIF(dt=DT, tau_m=TAU), second, LI(dt=DT, tau_m=TAU))


@cache
def compiled() -> Callable[..., torch.Tensor]:
    """Return the whole network as one compiled function of input, transposed weights and decay."""

    def whole(flat: torch.Tensor, first: torch.Tensor, second: torch.Tensor, decay: torch.Tensor) -> torch.Tensor:
        v, u, out = torch.zeros(1, HIDDEN), torch.zeros(1, CLASSES), []
        for current in (flat.reshape(-1, 2312) @ first).reshape(STEPS, 1, HIDDEN).unbind(0):
            v = v * decay + current
            z = (v >= 1.0).float()
            v = v - z
            u = u * decay + z @ second
            out.append(u)
        return torch.stack(out)

    function: Callable[..., torch.Tensor] = torch.compile(whole)
    return function


def dense_forms(net: sf.Network, x: torch.Tensor, with_compiled: bool) -> dict[str, Form]:
    """Return the dense torch forms of the same network, as functions of nothing."""
    w1, w2 = net.module.get_parameter("1.weight"), net.module.get_parameter("3.weight")
    decay = torch.exp(torch.tensor(-DT / TAU))
    flat = x.flatten(2).float()
    weight_t, second_t = w1.t().contiguous(), w2.t().contiguous()

    def dynamics(currents: torch.Tensor) -> torch.Tensor:
        v, u, out = torch.zeros(1, HIDDEN), torch.zeros(1, CLASSES), []
        for current in currents.unbind(0):
            v = v * decay + current
            z = (v >= 1.0).float()
            v = v - z
            u = u * decay + z @ w2.t()
            out.append(u)
        return torch.stack(out)

    def step_by_step() -> torch.Tensor:
        v, u, out = torch.zeros(1, HIDDEN), torch.zeros(1, CLASSES), []
        for step in flat.unbind(0):
            v = v * decay + step @ w1.t()
            z = (v >= 1.0).float()
            v = v - z
            u = u * decay + z @ w2.t()
            out.append(u)
        return torch.stack(out)

    def all_steps_at_once() -> torch.Tensor:
        return dynamics((flat.reshape(-1, 2312) @ w1.t()).reshape(STEPS, 1, HIDDEN))

    def in_place() -> torch.Tensor:
        currents, v, spikes = flat.reshape(-1, 2312) @ weight_t, torch.zeros(HIDDEN), torch.empty(STEPS, HIDDEN)
        for current, z in zip(currents.unbind(0), spikes.unbind(0), strict=True):
            v.mul_(decay).add_(current)
            torch.ge(v, 1.0, out=z)
            v.sub_(z)
        out = spikes @ second_t
        for before, u in zip(out.unbind(0), out[1:].unbind(0), strict=False):
            u.add_(before * decay)
        return out.unsqueeze(1)

    def fused() -> torch.Tensor:
        out: torch.Tensor = net.module(x.float())[0]
        return out

    step, _, source = flat.nonzero(as_tuple=True)
    offsets = torch.searchsorted(step, torch.arange(STEPS))
    weights = flat[step, 0, source]

    def embedding_bag() -> torch.Tensor:
        return dynamics(
            nn.functional.embedding_bag(source, weight_t, offsets, mode="sum", per_sample_weights=weights).unsqueeze(1)
        )

    forms: dict[str, Form] = {
        "torch step by step": step_by_step,
        "torch matmul over all steps": all_steps_at_once,
        "torch matmul, in place": in_place,
        "spikeframe dense (fused)": fused,
        "torch embedding_bag": embedding_bag,
    }
    if with_compiled:
        forms["torch.compile"] = lambda: compiled()(flat, weight_t, second_t, decay)
    return forms


def peers(x: torch.Tensor, net: sf.Network) -> dict[str, Form]:
    """Return the same network in norse and snnTorch where they are installed."""
    found: dict[str, Form] = {}
    flat = x.flatten(2).float()
    w1, w2 = net.module.get_parameter("1.weight"), net.module.get_parameter("3.weight")
    try:
        import snntorch

        lif = snntorch.Leaky(beta=float(torch.exp(torch.tensor(-DT / TAU))))
        out = snntorch.Leaky(beta=float(torch.exp(torch.tensor(-DT / TAU))), reset_mechanism="none")

        def with_snntorch() -> torch.Tensor:
            v, u, outputs = lif.init_leaky(), out.init_leaky(), []
            for step in flat.unbind(0):
                z, v = lif(step @ w1.t(), v)
                _, u = out(z @ w2.t(), u)
                outputs.append(u)
            return torch.stack(outputs)

        found["snnTorch"] = with_snntorch
    except ImportError:
        print("snnTorch is not installed: left out", file=sys.stderr)
    try:
        import norse.torch as norse

        cell = norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=torch.tensor(1000.0 / TAU)))
        readout = norse.LICell()

        def with_norse() -> torch.Tensor:
            s1 = s2 = None
            outputs = []
            for step in flat.unbind(0):
                z, s1 = cell(step @ w1.t(), s1)
                u, s2 = readout(z @ w2.t(), s2)
                outputs.append(u)
            return torch.stack(outputs)

        found["norse"] = with_norse
    except ImportError:
        print("norse is not installed: left out", file=sys.stderr)
    return found


def measure(x: torch.Tensor, label: str, rounds: int, with_compiled: bool) -> dict[str, Any]:
    """Time every form on one sample ``[T, 1, 2, 34, 34]``."""
    density = float((x != 0).float().mean())
    net = sf.Network.from_module(network(max(density, 1e-4)), SHAPE, input_max=64)
    sim = sf.Simulator(net, threads=1)
    events = net.encode(x)
    result = sim.run(events)
    if differing_spikes(net, x, result):
        raise SystemExit("the event-driven run differs from the torch forward: nothing is timed")
    narrow = sf.Network.from_module(network(max(density, 1e-4)), SHAPE, input_max=64, weight_bits=8)
    narrow_sim = sf.Simulator(narrow, threads=1)
    if differing_spikes(narrow, x, narrow_sim.run(events)):
        raise SystemExit("the run with 8-bit weights differs from its torch forward: nothing is timed")
    forms = dense_forms(net, x, with_compiled)
    works: dict[str, Callable[[], object]] = {
        "spikeframe event-driven": lambda: sim.run(events).outputs,
        NARROW: lambda: narrow_sim.run(events).outputs,
        **forms,
        **peers(x, net),
    }
    with torch.no_grad():
        for name, form in forms.items():
            apart = float((form().reshape(-1) - torch.from_numpy(result.outputs).reshape(-1)).abs().max())
            if name == "torch.compile" and apart > 1e-3:
                # It may contract to fused multiply-adds, and so flip a spike at the threshold.
                print(f"{label}: torch.compile rounds otherwise, outputs up to {apart:.2g} apart", file=sys.stderr)
            elif name.startswith("torch") and apart > 1e-3:
                raise SystemExit(f"{name} computes something else: nothing is timed")
        seconds = interleaved_seconds(works, rounds=rounds)
    ours = seconds["spikeframe event-driven"]
    best = min((n for n in DENSE if n in seconds), key=lambda n: seconds[n])
    return {
        "input": label,
        "density": density,
        "hidden_rate": len(result.spikes["2"]) / (x.shape[0] * HIDDEN),
        "microseconds_per_sample": {name: round(s * 1e6, 1) for name, s in seconds.items()},
        "best_dense_torch": best,
        "over_best_dense_torch": seconds[best] / ours,
        "8_bit_over_best_dense_torch": seconds[best] / seconds[NARROW],
        "over_dense_torch": {n: seconds[n] / ours for n in DENSE if n in seconds},
        "over_embedding_bag": seconds["torch embedding_bag"] / ours,
        "over_peers": {n: seconds[n] / ours for n in ("norse", "snnTorch") if n in seconds},
    }


def real_samples(folder: str, count: int) -> list[torch.Tensor]:
    """Read recordings as 1 ms frames, cut to 100 steps around the first saccade."""
    from spikeframe import datasets

    recordings = datasets.load("nmnist", root=folder, split="test")
    samples = []
    for i in range(count):
        events, _ = recordings[i]
        early = events[events["t"] < STEPS * 1000]
        frames = datasets.to_frames(early, recordings.sensor_size, time_window=1000, start=0, stop=STEPS * 1000)
        samples.append(torch.from_numpy(frames.counts).unsqueeze(1))
    return samples


def rounding(epochs: int) -> str:
    """Train the main job's network and say how often it is right before and after its weights are rounded."""
    from spikeframe.training import job
    from spikeframe.training.runs import Settings

    with tempfile.TemporaryDirectory() as folder:
        exact = job.train_and_measure(Settings(epochs=epochs), Path(folder), reference=False, threads=1)
        narrow = job.measure_run(Path(folder), threads=1, weight_bits=8)
    if exact["differing_spikes"] or narrow["differing_spikes"]:
        raise SystemExit("the event-driven run of the digits differs from the torch forward")
    moved = max(layer["rms_change"] for layer in narrow["snap"].values())
    return (
        f"digits, {epochs} epochs, {exact['test_samples']} samples: {exact['test_accuracy']:.2%} right as trained, "
        f"{exact['snapped_accuracy']:.2%} on the finest grid, {narrow['snapped_accuracy']:.2%} with 8-bit weights "
        f"(RMS change at most {moved:.2g})"
    )


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with N-MNIST recordings in tonic's layout")
    parser.add_argument("--json", help="write the results to this file")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default 1: what batch 1 runs best with)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--epochs", type=int, default=6, help="of the digits network; 0 leaves it out (default 6)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with_compiled = not options.no_compile and shutil.which("g++") is not None
    results = []
    for density in DENSITIES:
        generator = torch.Generator().manual_seed(1)
        x = (torch.rand(STEPS, 1, *SHAPE, generator=generator) < density).int()
        results.append(measure(x, f"random {density:.1%}", options.rounds, with_compiled))
    if options.data:
        for i, x in enumerate(real_samples(options.data, 3)):
            results.append(measure(x, f"N-MNIST test {i}", options.rounds, with_compiled))
    names = list(results[0]["microseconds_per_sample"])
    rows = [
        [
            r["input"],
            f"{r['density']:.2%}",
            f"{r['hidden_rate']:.2%}",
            *(r["microseconds_per_sample"][n] for n in names),
            r["over_best_dense_torch"],
            r["8_bit_over_best_dense_torch"],
            r["over_embedding_bag"],
        ]
        for r in results
    ]
    print(f"Microseconds a sample of {STEPS} steps, 2312-{HIDDEN}-{CLASSES}, batch 1, medians")
    print(table(rows, ["input", "density", "hidden", *names, "x best dense", "8-bit x", "x embedding_bag"]))
    crossing = [r["density"] for r in results if r["over_best_dense_torch"] < 1]
    print(f"crossing point with dense torch: {f'{min(crossing):.1%} density' if crossing else 'above 20 % density'}")
    if options.epochs:
        print(rounding(options.epochs))
    write_json(options.json, {"inference": results})


if __name__ == "__main__":
    main()
