"""NIR exchange: spikes that differ between a program and us, for graphs of each, in both directions.

Each row is a small network of random weights on random spikes. "written": the program writes the graph, we run it.
"read": we write the graph, the program runs it. Both are compared with the writer's own run, spike by spike. A program
that is not installed is left out, a refusal or crash is written down in its own words. What a program wrote also runs
event by event: "core" has the spikes of all layers that differ from the torch form on weights of the core's grid.
Run: python benchmarks/exchange.py [--quick] [--json FILE].
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikeframe.adapters.nir import from_nir, to_nir
from spikeframe.adapters.nir_layers import FilteredCurrent
from spikeframe.core import Network, Simulator, differing_spikes
from spikeframe.neurons import IF, LIF, Current, Recurrent, Sequential, SumPool2d

IN, HIDDEN, OUT = 12, 16, 8
RESULTS = Path(__file__).parent / "results" / "exchange.json"


def inputs(steps: int, samples: int, shape: tuple[int, ...]) -> Tensor:
    """Return random spikes, ``[T, B, *shape]``."""
    return (torch.rand(steps, samples, *shape) < 0.3).float()


def firing(model: nn.Module, run: Callable[[nn.Module, Tensor], Tensor], x: Tensor) -> Tensor:
    """Double the weights of a model until its output fires in 5 % of the steps; return its spikes."""
    out = run(model, x)
    for _ in range(8):
        if float(out.mean()) > 0.05:
            break
        for layer in model.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                layer.weight *= 2.0
        out = run(model, x)
    return out


# norse: [B, ...] a step, state in and out; dt 1 ms.


def norse_run(model: nn.Module, x: Tensor) -> Tensor:
    state, out = None, []
    for now in x:
        y, state = model(now, state)
        out.append(y)
    return torch.stack(out)


def norse_model(kind: str) -> nn.Module:
    import norse.torch as norse

    if kind == "LIF":
        return norse.SequentialState(
            nn.Linear(IN, HIDDEN), norse.LIFBoxCell(), nn.Linear(HIDDEN, OUT), norse.LIFBoxCell()
        )
    if kind == "CubaLIF":
        return norse.SequentialState(nn.Linear(IN, HIDDEN), norse.LIFCell(), nn.Linear(HIDDEN, OUT), norse.LIFCell())
    if kind == "IF":
        return norse.SequentialState(nn.Linear(IN, HIDDEN), norse.IAFCell(), nn.Linear(HIDDEN, OUT), norse.IAFCell())
    raise NotImplementedError("to_nir has no " + kind)


def norse_write(model: nn.Module, x: Tensor) -> Any:
    import norse.torch as norse

    return norse.to_nir(model, x[0, 0])


def norse_read(graph: Any, x: Tensor, dt: float) -> Tensor:
    import norse.torch as norse

    return norse_run(norse.from_nir(graph, dt=dt / 1000, ignore_warnings=True), x)


# snnTorch: [B, ...] a step, hidden state; dt 0.1 ms.


def snntorch_model(kind: str) -> nn.Module:
    import snntorch as snn

    same = {"reset_mechanism": "zero", "reset_delay": False, "init_hidden": True}
    make: dict[str, Callable[[int], nn.Module]] = {
        "LIF": lambda n: snn.Leaky(beta=torch.full((n,), 0.9), threshold=torch.ones(n), **same),
        "CubaLIF": lambda n: snn.Synaptic(
            alpha=torch.full((n,), 0.8), beta=torch.full((n,), 0.9), threshold=torch.ones(n), **same
        ),
        "recurrent": lambda n: snn.RLeaky(
            beta=torch.full((n,), 0.9), threshold=torch.ones(n), all_to_all=True, linear_features=n, **same
        ),
    }
    if kind == "conv":
        first = snn.Leaky(beta=torch.full((4, 8, 8), 0.9), threshold=torch.ones(4, 8, 8), **same)
        whole = nn.Flatten(), nn.Linear(64, OUT), make["LIF"](OUT)
        return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), first, nn.AvgPool2d(2), *whole)
    if kind not in make:
        raise NotImplementedError("export_to_nir has no " + kind)
    return nn.Sequential(nn.Linear(IN, HIDDEN), make[kind](HIDDEN), nn.Linear(HIDDEN, OUT), make[kind](OUT))


def snntorch_run(model: nn.Module, x: Tensor) -> Tensor:
    from snntorch import utils

    utils.reset(model)
    return torch.stack([model(now) for now in x])


def snntorch_write(model: nn.Module, x: Tensor) -> Any:
    from snntorch.export_nir import export_to_nir

    return export_to_nir(model, x[0, :1], ignore_dims=[0])


def snntorch_read(graph: Any, x: Tensor, dt: float) -> Tensor:
    from snntorch.import_nir import import_from_nir

    model = import_from_nir(graph)
    state, out = None, []
    for now in x:
        y, state = model(now) if state is None else model(now, state)
        out.append(y)
    return torch.stack(out)


# SpikingJelly: [T, B, ...] at once; dt 0.1 ms unless told otherwise.


def spikingjelly_model(kind: str) -> nn.Module:
    from spikingjelly.activation_based import functional, layer, neuron

    make: dict[str, Callable[[], nn.Module]] = {
        "LIF": lambda: neuron.LIFNode(tau=4.0),
        "CubaLIF": lambda: neuron.CUBALIFNode(c_decay=0.8, v_decay=0.9, v_threshold=1.0),
        "IF": lambda: neuron.IFNode(),
    }
    if kind == "conv":
        model = nn.Sequential(
            layer.Conv2d(2, 4, 3, padding=1), make["IF"](), layer.AvgPool2d(2), layer.Flatten(), layer.Linear(64, OUT),
            make["LIF"](),
        )  # fmt: skip
    elif kind in make:
        model = nn.Sequential(layer.Linear(IN, HIDDEN), make[kind](), layer.Linear(HIDDEN, OUT), make[kind]())
    else:
        raise NotImplementedError("export_to_nir has no " + kind)
    functional.set_step_mode(model, "m")
    return model


def spikingjelly_run(model: nn.Module, x: Tensor) -> Tensor:
    from spikingjelly.activation_based import functional

    functional.reset_net(model)
    out: Tensor = model(x)
    functional.reset_net(model)
    return out


def spikingjelly_write(model: nn.Module, x: Tensor) -> Any:
    from spikingjelly.activation_based.nir_exchange.to_nir import export_to_nir

    return export_to_nir(model, x, dt=1e-3)


def spikingjelly_read(graph: Any, x: Tensor, dt: float) -> Tensor:
    from spikingjelly.activation_based.nir_exchange.from_nir import import_from_nir

    model = import_from_nir(graph, dt=dt / 1000, step_mode="s")
    state, out = None, []
    for now in x:
        y, state = model(now, state)
        out.append(y)
    return torch.stack(out)


# sinabs: [B T, ...] squeezed; a step is the unit of time.


def sinabs_model(kind: str) -> nn.Module:
    import sinabs.layers as sl
    from sinabs.activation import SingleSpike

    make: dict[str, Callable[[], nn.Module]] = {
        "LIF": lambda: sl.LIFSqueeze(
            tau_mem=torch.tensor([8.0]), batch_size=SAMPLES, spike_fn=SingleSpike, spike_threshold=torch.tensor([1.0])
        ),
        "IF": lambda: sl.IAFSqueeze(batch_size=SAMPLES, spike_fn=SingleSpike),
    }
    if kind == "conv":
        return nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), make["IF"](), sl.SumPool2d(2), nn.Flatten(), nn.Linear(64, OUT), make["IF"]()
        )
    if kind not in make:
        raise NotImplementedError("to_nir has no " + kind)
    return nn.Sequential(nn.Linear(IN, HIDDEN), make[kind](), nn.Linear(HIDDEN, OUT), make[kind]())


def _squeezed(model: nn.Module, x: Tensor) -> Tensor:
    for layer in model.modules():
        if hasattr(layer, "reset_states") and layer.is_state_initialised():
            layer.reset_states()
    flat = model(x.transpose(0, 1).flatten(0, 1))
    flat = flat[0] if isinstance(flat, tuple) else flat
    out: Tensor = flat.unflatten(0, (x.shape[1], x.shape[0])).transpose(0, 1)
    return out


def sinabs_write(model: nn.Module, x: Tensor) -> Any:
    import sinabs.nir

    return sinabs.nir.to_nir(model, x.transpose(0, 1).flatten(0, 1))


def sinabs_read(graph: Any, x: Tensor, dt: float) -> Tensor:
    """Run a graph in sinabs, told to fire once a step and to let membranes fall: what it sets by itself differs."""
    import sinabs.nir
    from sinabs.activation import SingleSpike

    model = sinabs.nir.from_nir(graph, batch_size=x.shape[1])
    for layer in model.modules():
        if hasattr(layer, "spike_fn"):
            layer.spike_fn, layer.min_v_mem = SingleSpike, None
    return _squeezed(model, x)


def sinabs_default(graph: Any, x: Tensor, dt: float) -> Tensor:
    """Run a graph in sinabs as it reads it: several spikes a step, and IF membranes held above -v_threshold."""
    import sinabs.nir

    return _squeezed(sinabs.nir.from_nir(graph, batch_size=x.shape[1]), x)


SAMPLES = 4
DT = {"norse": 1.0, "snntorch": 0.1, "spikingjelly": 1.0, "sinabs": 1.0}
PROGRAMS: dict[str, tuple[Any, Any, Any, Any]] = {
    "norse": (norse_model, norse_run, norse_write, norse_read),
    "snntorch": (snntorch_model, snntorch_run, snntorch_write, snntorch_read),
    "spikingjelly": (spikingjelly_model, spikingjelly_run, spikingjelly_write, spikingjelly_read),
    "sinabs": (sinabs_model, _squeezed, sinabs_write, sinabs_read),
}
KINDS = ("LIF", "IF", "CubaLIF", "conv", "recurrent")

#: What a program has no word for, or does not take: words of its refusal, or of what comes out.
CANNOT = {
    ("norse", "conv", "written"): "to_nir has no conv",
    ("norse", "recurrent", "written"): "to_nir has no recurrent",
    ("snntorch", "IF", "written"): "export_to_nir has no IF",
    ("snntorch", "IF", "read"): "r != 1 not supported",
    ("spikingjelly", "recurrent", "written"): "export_to_nir has no recurrent",
    ("sinabs", "CubaLIF", "written"): "to_nir has no CubaLIF",
    ("sinabs", "CubaLIF", "read"): "KeyError",
    ("sinabs", "recurrent", "written"): "to_nir has no recurrent",
    # sinabs runs all steps in one call, so a loop sees nothing of the step before: it runs, and is wrong.
    ("sinabs", "recurrent", "read"): "differ",
}


def ours(kind: str, program: str) -> nn.Module:
    """Return a model of ours that a program can read."""
    dt = DT[program]
    reset = "subtract" if program == "sinabs" else "value"
    same: dict[str, Any] = {"dt": dt, "reset": reset}

    def lif() -> LIF:
        return LIF(tau_m=8.0 * dt, r_m=3.0, receptors=Current(), **same)

    def cuba() -> LIF:
        return LIF(tau_m=8.0 * dt, r_m=3.0, receptors=FilteredCurrent(tau=4.0 * dt, w_in=2.0), **same)

    if kind == "conv":
        pool = nn.AvgPool2d(2) if program in ("spikingjelly", "snntorch") else SumPool2d(2)
        first = lif() if program == "snntorch" else IF(**same)
        return Sequential(nn.Conv2d(2, 4, 3, padding=1), first, pool, nn.Flatten(), nn.Linear(64, OUT), lif())
    if kind == "recurrent":
        return Sequential(nn.Linear(IN, HIDDEN), Recurrent(lif(), HIDDEN), nn.Linear(HIDDEN, OUT), lif())
    make: dict[str, Callable[[], Any]] = {"LIF": lif, "IF": lambda: IF(**same), "CubaLIF": cuba}
    return Sequential(nn.Linear(IN, HIDDEN), make[kind](), nn.Linear(HIDDEN, OUT), make[kind]())


def compared(ours: Tensor, theirs: Tensor) -> dict[str, Any]:
    """Return how many spikes there are and how many differ."""
    if ours.shape != theirs.shape:
        return {"refused": f"output has shape {tuple(theirs.shape)}, ours {tuple(ours.shape)}"}
    return {"spikes": int(ours.sum()), "differ": int((ours != theirs).sum()), "of": ours.numel()}


def tried(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the outcome, or the words of the refusal."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            return call()
    except Exception as error:
        words = str(error).strip().splitlines()
        return {"refused": f"{type(error).__name__}: {words[0][:160] if words else ''}"}


def row(
    program: str, kind: str, steps: int, prepared: Callable[[nn.Module], nn.Module] = lambda model: model,
    backend: str = "auto",
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Compare one kind of network in both directions; `prepared` gets each model of ours before it runs.

    `backend` is that of the event-driven run.
    """
    make, run, write, read = PROGRAMS[program]
    shape = (2, 8, 8) if kind == "conv" else (IN,)
    torch.manual_seed(1)
    x = inputs(steps, SAMPLES, shape)

    def written() -> dict[str, Any]:
        torch.manual_seed(2)
        model = make(kind).eval()
        expected = firing(model, run, x)
        graph = write(model, x)
        dt = None if program == "snntorch" else DT[program]
        model = prepared(from_nir(graph, dt, convention=program))
        found = compared(expected, model(x)[0])
        network = Network.from_module(model, shape)
        result = Simulator(network, backend=backend).run(x)
        fired = sum(len(spikes) for spikes in result.spikes.values())
        found["core"] = {"spikes": fired, "differ": differing_spikes(network, x, result)}
        found["core"]["from theirs"] = int((torch.from_numpy(result.outputs) != expected).sum())
        return found

    def reads(read: Callable[[Any, Tensor, float], Tensor]) -> dict[str, Any]:
        torch.manual_seed(3)
        model = prepared(ours(kind, program)).eval()
        expected = firing(model, lambda m, x: m(x)[0], x)
        graph = to_nir(model, shape, convention=program)
        return compared(expected, read(graph, x, DT[program]))

    if program == "sinabs":
        return {
            "written": tried(written),
            "read": tried(lambda: reads(read)),
            "as it reads": tried(lambda: reads(sinabs_default)),
        }
    return {"written": tried(written), "read": tried(lambda: reads(read))}


def shown(found: dict[str, Any]) -> str:
    """Return one cell of the table."""
    return f"{found['differ']} of {found['spikes']}" if "differ" in found else found["refused"]


def markdown(result: dict[str, Any]) -> str:
    """Return the table of the documentation: differing spikes of all; "–" where a program writes no such node."""
    programs = result["table"]
    lines = ["| graph | " + " | ".join(f"{name} {way}" for name in programs for way in ("→ us", "← us")) + " |"]
    lines.append("|---" * (1 + 2 * len(programs)) + "|")
    for kind in KINDS:
        cells = []
        for kinds in programs.values():
            for way in ("written", "read"):
                found = kinds[kind][way]
                why = found.get("refused", "")
                cells.append(
                    f"{found['differ']} of {found['spikes']:,}" if not why else "–" if " has no " in why else "refused"
                )
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(quick: bool = False, out: str = str(RESULTS)) -> dict[str, Any]:
    """Compare all, print the table, write it down."""
    steps = 40 if quick else 500
    programs = {}
    for name in PROGRAMS:
        try:
            programs[name] = importlib.import_module(name)
        except Exception as error:
            print(f"{name} is not installed ({type(error).__name__}); left out")
    torch.set_num_threads(1)
    table = {name: {kind: row(name, kind, steps) for kind in KINDS} for name in programs}
    for name, kinds in table.items():
        print(f"\n{name}\n{'':12}{'it writes, we run':>24}  we write, it runs")
        for kind, found in kinds.items():
            print(f"{kind:12}{shown(found['written'])[:60]:>24}  {shown(found['read'])[:100]}")
    written = [found["written"] for kinds in table.values() for found in kinds.values()]
    cores = [found["core"] for found in written if "core" in found]
    fired, differ, other = (sum(core[key] for core in cores) for key in ("spikes", "differ", "from theirs"))
    print(f"\nevent by event, {len(cores)} graphs: {differ} of {fired:,} spikes differ from the torch form")
    print(f"{other} of the outputs' from the program's")
    result = {"steps": steps, "samples": SAMPLES, "what": "differing spikes of the output layer", "table": table}
    print("\n" + markdown(result))
    Path(out).write_text(json.dumps(result, indent=1) + "\n", encoding="utf8")
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few steps")
    parser.add_argument("--json", default=str(RESULTS), help="where the table goes")
    options = parser.parse_args()
    main(options.quick, options.json)
