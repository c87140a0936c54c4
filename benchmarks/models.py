"""Every neuron: its fused training kernel beside the torch loop, and its cost per event in the core beside LIF's.

    python benchmarks/models.py [--quick] [--json FILE]

Training: forward and backward, T=100, B=32, N=1024 (64 for neurons that integrate numerically: the loop's autograd
would not fit; HodgkinHuxley is left out, its kernels take minutes to compile), float32, one thread. The loop is the
torch form, one call a node; for LIF and UltraLIF the loop that one would write by hand too. Nothing is timed before
outputs agree (to the bit between kernel and torch form). The core: a described network on the grid clock, 1000 neurons,
dt 0.1 ms, one thread; each of 1000 sources has one synapse, given spikes, once every 10 steps (busy) or every 2000
(rare): blocks that nothing reaches can be skipped then, and only neurons that know when they wait gain. Weights are too
small to make a spike from rest. Layers with an event-driven run of their own are timed alone. All pieces of a table
take their turns; medians.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from common import interleaved_seconds, table, write_json
from torch import nn

import spikeframe as sf
from spikeframe import neurons
from spikeframe.modules.active_dendrites import ActiveDendrites
from spikeframe.modules.delta import DeltaLinear
from spikeframe.modules.elm import ELM
from spikeframe.neurons import Neuron
from spikeframe.neurons.integrated import Integrated

STEPS, BATCH, SIZE, FEW = 100, 32, 1024, 64
DT = 0.1  # of the core and of what integrates numerically
KINDS = {n: getattr(neurons, n) for n in neurons.__all__ if isinstance(getattr(neurons, n), type)}
KINDS = {n: k for n, k in KINDS.items() if issubclass(k, Neuron) and k is not Neuron}


def by_hand(name: str) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Return the loop that one would write with torch's own functions, at default parameters and dt = 1."""
    if name == "LIF":
        decay, spike = float(np.exp(-1.0 / 20.0)), ATan.apply

        def step(x: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            v = decay * v + x
            z = spike(v - 1.0)
            return z, v - z
    elif name == "UltraLIF":

        def step(x: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            v = torch.logaddexp(v + float(np.log(0.9)), x)
            s = torch.sigmoid(v)
            return s, v * (1.0 - s)
    else:
        return None

    def run(x: torch.Tensor) -> torch.Tensor:
        v, out = torch.zeros_like(x[0]), []
        for arriving in x.unbind(0):
            z, v = step(arriving, v)
            out.append(z)
        return torch.stack(out)

    return run


class ATan(torch.autograd.Function):
    """Heaviside with the arctangent surrogate."""

    @staticmethod
    def forward(ctx: Any, u: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(u)
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        (u,) = ctx.saved_tensors
        found: torch.Tensor = gradients[0] / (1 + (torch.pi * u).square())
        return found


def training(name: str, rounds: int) -> dict[str, Any]:
    """Return million neuron-steps a second of the kernel and of the loops, and the ratio to the torch form."""
    kind = KINDS[name]
    size, dt = (FEW, DT) if issubclass(kind, Integrated) else (SIZE, 1.0)
    fused, loop = kind(dt=dt), kind(dt=dt, backend="torch")
    generator = torch.Generator().manual_seed(0)
    x = {r: (0.3 * torch.rand(STEPS, BATCH, size, generator=generator)).requires_grad_() for r in fused.receptors}
    g = torch.randn(STEPS, BATCH, size, generator=generator)
    given = x if len(x) > 1 else next(iter(x.values()))
    options = {"seed": 1} if fused.randoms else {}

    def run(layer: Neuron) -> None:
        torch.autograd.grad(layer(given, **options)[0], list(x.values()), g)

    with torch.no_grad():
        if not torch.equal(fused(given, **options)[0], loop(given, **options)[0]):
            raise SystemExit(f"{name}: kernel and torch form disagree; nothing is timed")
    works: dict[str, Callable[[], object]] = {"kernel": partial(run, fused), "torch_form": partial(run, loop)}
    hand = by_hand(name)
    if hand is not None:
        with torch.no_grad():
            far = (hand(given) - fused(given)[0]).abs().double().mean()
        if not float(far) < 1e-5:
            raise SystemExit(f"{name}: the loop by hand differs by {float(far):.1e} in the mean; nothing is timed")
        works["by_hand"] = lambda: torch.autograd.grad(hand(given), list(x.values()), g)
    seconds = interleaved_seconds(works, rounds=rounds)
    updates = STEPS * BATCH * size
    return {
        "neurons": size,
        "million_neuron_steps_per_second": {key: updates / s / 1e6 for key, s in seconds.items()},
        "times_torch_form": seconds["torch_form"] / seconds["kernel"],
        **({"times_by_hand": seconds["by_hand"] / seconds["kernel"]} if hand else {}),
    }


def network(name: str, every: int, steps: int, size: int = 1000) -> sf.Network:
    """Return neurons each of which gets an event every so many steps."""
    net = sf.Network(seed=1)
    cells = net.population("cells", size, KINDS[name]())
    step = np.arange(1, steps - 1)
    first = np.random.default_rng(0).integers(every, size=size)
    at, ids = np.nonzero((step[:, np.newaxis] - first) % every == 0)
    source = net.population("source", size, sf.SpikeSource(step[at] * DT, ids))
    receptor = next(iter(cells.neuron.receptors))
    net.connect(source, cells, sf.Pairs(np.arange(size), np.arange(size)), receptor=receptor, weight=1e-3, delay=DT)
    return net


def in_the_core(every: int, rounds: int, stretch: int) -> dict[str, Any]:
    """Return, per neuron, nanoseconds per event and their ratio to LIF's, and the share of updates that were done."""
    simulators = {n: sf.Simulator(network(n, every, stretch * (rounds + 2)), dt=DT, threads=1) for n in KINDS}
    samples: dict[str, list[float]] = {name: [] for name in KINDS}
    updated = {}
    for turn in range(rounds + 1):
        for name, simulator in simulators.items():
            started = time.perf_counter()
            result = simulator.run(stretch * DT, progress=False)
            seconds = time.perf_counter() - started
            if turn:  # the first compiles
                samples[name].append(seconds)
            counts = result.counts["cells"]
            updated[name] = counts.neu_upd / max(counts.neu_upd_dense, 1)
    events = stretch * 1000 / every
    nanoseconds = {name: float(np.median(s)) / events * 1e9 for name, s in samples.items()}
    return {
        name: {"ns_per_event": ns, "times_lif": ns / nanoseconds["LIF"], "updates_done": updated[name]}
        for name, ns in nanoseconds.items()
    }


def layers(rounds: int) -> dict[str, Any]:
    """Return nanoseconds per event of the layers that have event-driven runs of their own."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    steps, inputs = 1000, 700
    step, source = np.nonzero(random.random((steps, inputs)) < 0.03)
    elm = ELM(inputs, 10, 50).event_driven()
    dendrites = ActiveDendrites(inputs, 64, 10, 20, 12, dt=1.0).event_driven()
    delta = DeltaLinear(nn.Linear(inputs, 64)).event_driven()
    x = torch.zeros(steps, 1, inputs)
    x[step, 0, source] = 1.0
    x = x.cumsum(0)
    changes = int((torch.diff(x, dim=0, prepend=torch.zeros_like(x[:1])) != 0).sum())
    works: dict[str, Callable[[], object]] = {
        "ELM, 50 memories (100 sums an event)": lambda: elm(step.astype(float), source, steps),
        "ActiveDendrites, 64 neurons x 10 segments of 20": lambda: dendrites(step, source, steps),
        "DeltaLinear, 64 outputs (per change)": lambda: delta(x),
    }
    seconds = interleaved_seconds(works, rounds=rounds)
    many = [len(step), len(step), changes]
    return {name: {"ns_per_event": s / n * 1e9} for (name, s), n in zip(seconds.items(), many, strict=True)}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round: compiles everything, measures badly")
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rounds = 1 if options.quick else 5
    trained = {name: training(name, rounds) for name in KINDS if name != "HodgkinHuxley"}
    core = {"busy": in_the_core(10, rounds, 500), "rare": in_the_core(2000, rounds, 500)}
    own = layers(rounds)
    rows = [
        [name, row["neurons"], *(row["million_neuron_steps_per_second"][k] for k in ("kernel", "torch_form")),
         row["times_torch_form"], row.get("times_by_hand", "")] for name, row in trained.items()
    ]  # fmt: skip
    print("training, million neuron-steps a second, forward + backward")
    print(table(rows, ["neuron", "N", "kernel", "torch form", "x torch form", "x by hand"]))
    rows = [[name, *(core[k][name][v] for k in core for v in ("ns_per_event", "times_lif", "updates_done"))]
            for name in KINDS]  # fmt: skip
    print("\nin the core: ns an event, of it LIF's, share of updates done; busy, then rare")
    print(table(rows, ["neuron", "busy ns", "x LIF", "updates", "rare ns", "x LIF", "updates"]))
    for name, row in own.items():
        print(f"{name:50}{row['ns_per_event']:10.0f} ns an event")
    write_json(options.json, {"training": trained, "core": core, "layers": own})


if __name__ == "__main__":
    main()
