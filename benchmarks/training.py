"""One LIF layer, forward and backward, against norse, snnTorch, SpikingJelly and a torch loop.

    python benchmarks/training.py [--threads 1 2] [--json FILE]

T=100, B=32, N=1024, 4096, 8192, float32. Every peer runs over ``x.unbind(0)`` (indexing ``x[t]`` makes a full-size
gradient a step) or its own multi-step form. Nothing is timed before spikes and gradients agree with the torch loop
of the same equations. Peers keep their own update rule, so only the torch loop must agree to the bit. Memory is the
peak of a fresh process above what it holds before the layer runs. The floor is the bytes that a forward and a
backward must move (read x, write spikes; read x and the gradient, write the gradient) at this machine's copy
bandwidth.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from common import PeakMemory, copy_bandwidth, interleaved_seconds, table, write_json

STEPS, BATCH = 100, 32
SIZES = [1024, 4096, 8192]
DECAY = 0.95
DT, TAU = 1.0, 19.4957257462237  # exp(-1 / tau) = 0.95

Layer = Callable[[torch.Tensor], torch.Tensor]


class ATan(torch.autograd.Function):
    """Heaviside with the arctangent surrogate, a = 2."""

    @staticmethod
    def forward(ctx: Any, u: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(u)
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        (u,) = ctx.saved_tensors
        gradient: torch.Tensor = gradients[0] / (1 + (torch.pi * u).square())
        return gradient


def spikeframe_layer() -> Layer:
    from spikeframe.neurons import LIF

    lif = LIF(dt=DT, tau_m=TAU)
    return lambda x: lif(x)[0]


def torch_loop() -> Layer:
    def run(x: torch.Tensor) -> torch.Tensor:
        v = torch.zeros_like(x[0])
        out = []
        for step in x.unbind(0):
            v = v * DECAY + step
            z = ATan.apply(v - 1.0)  # type: ignore[no-untyped-call]
            v = v - z
            out.append(z)
        return torch.stack(out)

    return run


def snntorch_layer() -> Layer:
    import snntorch
    from snntorch import surrogate

    lif = snntorch.Leaky(beta=DECAY, spike_grad=surrogate.atan(), reset_delay=False)

    def run(x: torch.Tensor) -> torch.Tensor:
        v = torch.zeros_like(x[0])
        out = []
        for step in x.unbind(0):
            z, v = lif(step, v)
            out.append(z)
        return torch.stack(out)

    return run


def norse_layer() -> Layer:
    import norse.torch as norse

    cell = norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=torch.tensor(50.0)))

    def run(x: torch.Tensor) -> torch.Tensor:
        state = None
        out = []
        for step in x.unbind(0):
            z, state = cell(step, state)
            out.append(z)
        return torch.stack(out)

    return run


def spikingjelly_layer() -> Layer:
    from spikingjelly.activation_based import functional, neuron, surrogate

    lif = neuron.LIFNode(tau=20.0, decay_input=False, v_reset=None, surrogate_function=surrogate.ATan(), step_mode="m")

    def run(x: torch.Tensor) -> torch.Tensor:
        functional.reset_net(lif)
        out: torch.Tensor = lif(x)
        return out

    return run


LAYERS = {
    "spikeframe": spikeframe_layer,
    "torch loop": torch_loop,
    "norse": norse_layer,
    "snnTorch": snntorch_layer,
    "SpikingJelly": spikingjelly_layer,
}


def available() -> dict[str, Callable[[], Layer]]:
    """Return the layers whose library is installed."""
    found = {}
    for name, make in LAYERS.items():
        try:
            make()
            found[name] = make
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    return found


def data(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return input and arriving gradient."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(STEPS, BATCH, n, generator=generator) * 0.3
    return x.requires_grad_(), torch.randn(STEPS, BATCH, n, generator=generator)


def agreement(layer: Layer, x: torch.Tensor, g: torch.Tensor) -> tuple[int, float]:
    """Return the spikes and the largest difference of gradients; refuse a layer that disagrees with the torch loop."""
    expected = torch_loop()(x)
    (gradient,) = torch.autograd.grad(expected, x, g)
    out = layer(x)
    (found,) = torch.autograd.grad(out, x, g)
    if not torch.equal(out, expected) or not torch.allclose(found, gradient, rtol=1e-4, atol=1e-5):
        raise SystemExit("spikeframe and the torch loop disagree: nothing is timed")
    return int(out.sum()), float((found - gradient).abs().max())


def check(n: int = 129) -> None:
    """Refuse to time anything unless spikes and gradients agree with the torch loop."""
    spikes, difference = agreement(spikeframe_layer(), *data(n))
    print(f"same spikes ({spikes}), largest gradient difference {difference:.1e}")


def peak_megabytes(name: str, n: int) -> float:
    """Return the peak memory of one forward and backward in a fresh process, above what it held before."""
    answer = subprocess.run(
        [sys.executable, __file__, "--memory", name, str(n)], capture_output=True, text=True, check=True
    )
    return float(json.loads(answer.stdout.splitlines()[-1]))


def report_peak(name: str, n: int) -> None:
    """Print the peak of this process during a forward and backward, in MB."""
    layer = LAYERS[name]()
    x, g = data(n)
    small, small_g = data(64)
    torch.autograd.grad(layer(small), small, small_g)
    peak = PeakMemory()
    gradient = torch.autograd.grad(layer(x), x, g)
    print(json.dumps(peak.megabytes()))
    del gradient


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json")
    parser.add_argument("--memory", nargs=2, metavar=("LAYER", "N"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        report_peak(options.memory[0], int(options.memory[1]))
        return
    makers = available()
    check()
    results, rows = [], []
    for n in options.sizes:
        megabytes = {name: peak_megabytes(name, n) for name in makers}
        for threads in options.threads:
            torch.set_num_threads(threads)
            bandwidth = copy_bandwidth()
            x, g = data(n)

            def work(layer: Layer, x: torch.Tensor = x, g: torch.Tensor = g) -> None:
                torch.autograd.grad(layer(x), x, g)

            layers = {name: make() for name, make in makers.items()}
            seconds = interleaved_seconds(
                {name: partial(work, layer) for name, layer in layers.items()}, rounds=options.rounds
            )
            updates = STEPS * BATCH * n
            floor = updates * 20 / bandwidth
            best = min(s for name, s in seconds.items() if name != "spikeframe")
            least = min(m for name, m in megabytes.items() if name != "spikeframe")
            results.append({
                "neurons": n,
                "threads": threads,
                "million_neuron_steps_per_second": {name: updates / s / 1e6 for name, s in seconds.items()},
                "megabytes": megabytes,
                "over_best_peer": best / seconds["spikeframe"],
                "memory_of_best_peer": megabytes["spikeframe"] / least,
                "share_of_one_thread_floor": floor / seconds["spikeframe"],
                "copy_gigabytes_per_second": bandwidth / 1e9,
            })  # fmt: skip
            rows.append([n, threads, *(updates / s / 1e6 for s in seconds.values()), best / seconds["spikeframe"],
                         floor / seconds["spikeframe"], megabytes["spikeframe"], least])  # fmt: skip
    print(f"million neuron-steps a second, forward + backward, T={STEPS}, B={BATCH}, medians")
    print(table(rows, ["N", "threads", *makers, "x best peer", "of floor", "MB", "best peer MB"]))
    write_json(options.json, {"training": results})


if __name__ == "__main__":
    main()
