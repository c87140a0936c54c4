"""Fused training on a GPU against its peers: one layer, a whole step, and products with spikes (see `gpu.py`)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from common import table
from gpu_timing import (
    copy_bandwidth,
    device,
    held_bytes,
    milliseconds,
    milliseconds_in_a_row,
    peak_bytes,
    replayed_milliseconds,
)
from training import LAYERS, Layer, agreement

#: Steps, batch x neurons.
SIZES = [(16, 1 << 22), (128, 1 << 19), (16, 1 << 16)]
KINDS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


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


def training(sizes: list[tuple[int, int]]) -> dict[str, Any]:
    """Time one layer forward and backward."""
    from spikeframe.neurons import LIF, fused

    x = (torch.rand(37, 3, 129, device="cuda") * 0.3).requires_grad_()
    agreement(spikeframe_layer(), x, torch.randn_like(x))
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
