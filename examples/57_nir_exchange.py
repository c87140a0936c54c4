"""A trained network as a NIR graph: written to a file, read back, and run by norse, SpikingJelly and snnTorch.

A layer of LIF neurons learns scikit-learn's digits, shown as currents. Its graph (Pedersen et al. 2024) is written for
each program, in the parameters that make that program's steps ours: the spikes are then the same. Written for nobody,
with the true time constants alone, a program that integrates with Euler's method gives others: the price of dt.
Run: python examples/57_nir_exchange.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor, nn

from spikeframe.adapters.nir import READ_BY, from_nir, to_nir, write_nir
from spikeframe.neurons import LIF, Sequential

DT, STEPS, HIDDEN = 1.0, 30, 40


def digits() -> tuple[Tensor, Tensor]:
    """Return the scans as currents ``[1,797, 64]`` from 0 to 1, and their labels."""
    x, labels = load_digits(return_X_y=True)
    return torch.tensor(x / 16, dtype=torch.float32), torch.from_numpy(labels)


def trained(x: Tensor, labels: Tensor, epochs: int) -> Sequential:
    """Train two layers that reset to a value, as NIR's nodes do; the class is the output neuron that fires most."""
    torch.manual_seed(0)
    first, last = (LIF(tau_m=8.0, dt=DT, reset="value") for _ in range(2))
    model = Sequential(nn.Linear(64, HIDDEN), first, nn.Linear(HIDDEN, 10), last)
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(epochs):
        for part in torch.randperm(1200).split(64):
            out, _ = model(x[part].expand(STEPS, -1, -1))
            loss = nn.functional.cross_entropy(out.mean(0) * 20, labels[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model


def stepped(model: Any, x: Tensor) -> Tensor:
    """Call a model of another program step by step."""
    state, out = None, []
    for now in x:
        y, state = model(now) if state is None else model(now, state)
        out.append(y)
    return torch.stack(out)


def in_norse(graph: Any, x: Tensor) -> Tensor:
    """Run a graph in norse."""
    import norse.torch as norse

    return stepped(norse.from_nir(graph, dt=DT / 1000, ignore_warnings=True), x)


def in_spikingjelly(graph: Any, x: Tensor) -> Tensor:
    """Run a graph in SpikingJelly."""
    from spikingjelly.activation_based.nir_exchange.from_nir import import_from_nir

    return stepped(import_from_nir(graph, dt=DT / 1000), x)


def in_snntorch(graph: Any, x: Tensor) -> Tensor:
    """Run a graph in snnTorch, whose step is always 0.1 ms: the graph is written as if ours were."""
    from snntorch.import_nir import import_from_nir

    return stepped(import_from_nir(graph), x)


PROGRAMS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "norse": in_norse, "spikingjelly": in_spikingjelly, "snntorch": in_snntorch
}  # fmt: skip


def at(model: Sequential, dt: float) -> Sequential:
    """Return the model with the same decays at another step: nothing but names changes."""
    made = [
        layer if isinstance(layer, nn.Linear) else LIF(tau_m=8.0 * dt / DT, dt=dt, reset="value") for layer in model
    ]
    return Sequential(*made)


def tried(program: str, graph: Any, x: Tensor) -> Tensor | None:
    """Return what a program gives, or None where it is not installed or refuses."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            return PROGRAMS[program](graph, x)
    except Exception as error:  # whatever another program raises
        print(f"  {program}: {type(error).__name__}: {str(error).splitlines()[0][:80] if str(error) else ''}")
        return None


def draw(expected: Tensor, found: dict[str, Tensor], x: Tensor, out: str) -> None:
    """Draw one digit's output spikes, ours and another's; and how many differ over steps."""
    figure = Figure(figsize=(10, 3.8), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=[1.2, 1])
    steps, neurons = expected[:, 0].nonzero().T.numpy()
    left.plot(steps, neurons, "|", color="#24292f", markersize=14, markeredgewidth=1.6, label="ours")
    for k, (name, spikes) in enumerate(found.items()):
        steps, neurons = spikes[:, 0].nonzero().T.numpy()
        place = neurons + 0.12 * (k + 1) + 0.2
        left.plot(steps, place, ".", color=f"C{k}", markersize=5, label=name)
        differ = (spikes != expected).flatten(1).sum(1).cumsum(0)
        right.plot(range(1, STEPS + 1), differ, color=f"C{k}", linewidth=2 + 2 * (k == 0), label=name)
    left.set(
        xlabel="step", ylabel="output neuron", yticks=range(10), ylim=(-0.6, 11.2), title="one digit's output spikes"
    )
    right.set(xlabel="step", ylabel="output spikes that differ", title=f"{expected.shape[1]} digits, up to each step")
    left.legend(frameon=False, fontsize=8, ncols=5, loc="upper left", handletextpad=0.2, columnspacing=1.0)
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)


def main(quick: bool = False, out: str = "nir_exchange.png") -> Path:
    """Train, write, read, run elsewhere; return the path of the picture."""
    currents, labels = digits()
    model = trained(currents, labels, 1 if quick else 15)
    x = currents[1200:].expand(STEPS, -1, -1)
    with torch.no_grad():
        expected, _ = model(x)
    accuracy = float((expected.sum(0).argmax(1) == labels[1200:]).double().mean())
    print(f"accuracy {100 * accuracy:.1f} %, {int(expected.sum())} output spikes")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.nir"
        write_nir(path, to_nir(model, (64,)))
        with torch.no_grad():
            back, _ = from_nir(path)(x)
        print(f"  file of {path.stat().st_size} bytes, read back: {int((back != expected).sum())} spikes differ")
    found: dict[str, Tensor] = {}
    for program in PROGRAMS:
        fitting = at(model, 0.1) if program == "snntorch" else model
        spikes = tried(program, to_nir(fitting, (64,), convention=program), x)
        if spikes is not None:
            found[f"{program}"] = spikes
            print(f"  written for {program}: {int((spikes != expected).sum())} spikes differ")
    plain = tried("norse", to_nir(model, (64,), convention=replace(READ_BY["norse"], method="exact")), x)
    if plain is not None:
        found["norse, true time constants"] = plain
        print(f"  true time constants, in norse: {int((plain != expected).sum())} spikes differ")
    if not found:
        found["read back"] = back
    draw(expected, found, x, out)
    if not np.array_equal(back.numpy(), expected.numpy()):
        raise RuntimeError("the graph that came back is another one")
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="nir_exchange.png", help="the picture")
    options = parser.parse_args()
    main(options.quick, options.out)
