"""norse's neurons and ours: what a step of 1 ms does to a membrane, and how to have either's spikes in the other.

norse integrates with Euler's method. A membrane of 10 ms, stepped by 1 ms, then keeps 0.9 of itself a step and not
0.905: an input's effect is off by several per cent. `from_norse` gives our neurons that very decay, so their spikes are
norse's; the same parameters taken literally give the exact membrane, and spikes at other times. The smaller the step,
the less it matters.
Run: python examples/58_norse_parameters.py [--quick] [--out FILE] (needs `pip install norse`). Ends in a picture.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import norse.torch as norse

from spikeframe.adapters.norse import Cell, FromNorse, from_norse, to_norse
from spikeframe.neurons import LI, LIF, Current, Sequential

TAU = 10.0  # ms


def over(cell: nn.Module, x: Tensor) -> Tensor:
    """Call a cell step by step."""
    state, out = None, []
    with torch.no_grad():
        for now in x:
            y, state = cell(now, state)
            out.append(y)
    return torch.stack(out)


def drive(span: float, dt: float, neurons: int) -> Tensor:
    """Return currents that change every 2 ms, sampled at dt: ``[T, 1, neurons]``."""
    random = np.random.Generator(np.random.Philox(key=1))
    slow = random.uniform(0.0, 2.6, (round(span / 2.0), 1, neurons))
    return torch.from_numpy(np.repeat(slow, round(2.0 / dt), axis=0)).float()


def shift(a: Tensor, b: Tensor, dt: float) -> float:
    """Return by how many ms the k-th spikes of a neuron lie apart, on the mean over all that both have."""
    found: list[float] = []
    for neuron in range(a.shape[2]):
        first, second = (spikes[:, 0, neuron].nonzero().flatten().double() * dt for spikes in (a, b))
        both = min(len(first), len(second))
        found += (first[:both] - second[:both]).abs().tolist()
    return float(np.mean(found))


def box(threshold: float, dt: float) -> nn.Module:
    """Return norse's LIF without a current of its own."""
    p = norse.LIFBoxParameters(tau_mem_inv=torch.tensor(1000 / TAU), v_th=torch.tensor(threshold))
    cell: nn.Module = norse.LIFBoxCell(p, dt=dt / 1000)
    return cell


def main(quick: bool = False, out: str = "norse_parameters.png") -> Path:
    """Compare membranes and spikes; return the path of the picture."""
    span, neurons = (100.0, 8) if quick else (1000.0, 64)
    torch.manual_seed(0)

    steps = (1.0, 0.5) if quick else (2.0, 1.0, 0.5, 0.2, 0.1)
    converted: list[float] = []
    literal: list[float] = []
    for dt in steps:
        x, cell = drive(span, dt, neurons), box(1.0, dt)
        expected = over(cell, x)
        exact = LIF(tau_m=TAU, receptors=Current(), reset="value", dt=dt)
        with torch.no_grad():
            spikes = {"converted": from_norse(cell)(x)[0], "literal": exact(x)[0]}
        converted.append(shift(spikes["converted"], expected, dt))
        literal.append(shift(spikes["literal"], expected, dt))
        differ = {name: int((found != expected).sum()) for name, found in spikes.items()}
        print(
            f"dt {dt:3g} ms: {int(expected.sum())} spikes; converted: {differ['converted']} differ; same parameters: "
            f"{differ['literal']} differ, {literal[-1]:.2f} ms apart"
        )
    ours = LIF(tau_m=TAU, receptors=Current(), reset="value", dt=1.0, v_th=0.9)
    x = drive(span, 1.0, neurons)
    with torch.no_grad():
        back = int((over(to_norse(ours), x) != ours(x)[0]).sum())
    print(f"ours in norse (to_norse), dt 1 ms: {back} of {int(ours(x)[0].sum())} spikes differ")

    layer = nn.Linear(neurons, 4)
    with torch.no_grad():
        inside, _ = Sequential(layer, FromNorse(box(0.3, 1.0)))(x)
        outside = over(norse.SequentialState(layer, Cell(from_norse(box(0.3, 1.0)))), x)
    print(f"norse's cell in our Sequential, ours in norse's SequentialState: {int((inside != outside).sum())} differ")

    figure = Figure(figsize=(10, 3.8), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=[1.3, 1])
    pulse = torch.zeros(40, 1, 1)
    pulse[2:5] = 2.0
    fine = pulse.repeat_interleave(20, 0)
    li = norse.LIBoxCell(norse.LIBoxParameters(tau_mem_inv=torch.tensor(1000 / TAU)), dt=1e-3)
    with torch.no_grad():
        truth, _ = LI(tau_m=TAU, receptors=Current(), dt=0.05)(fine)
        same, _ = from_norse(li)(pulse)
    left.plot(np.arange(1, 801) * 0.05, truth[:, 0, 0], color="#24292f", label="the equation")
    left.plot(np.arange(1, 41), over(li, pulse)[:, 0, 0], "o", color="C1", markersize=6, label="norse, dt 1 ms")
    left.plot(np.arange(1, 41), same[:, 0, 0], ".", color="C0", markersize=4, label="ours, converted")
    left.set(xlabel="time (ms)", ylabel="membrane (no unit)", title=f"a pulse of 3 ms on a membrane of {TAU:g} ms")
    left.legend(frameon=False, fontsize=8)
    right.plot(steps, literal, "o-", color="#24292f", label="same parameters")
    right.plot(steps, converted, "o-", color="C0", label="converted")
    right.set(xscale="log", xlabel="dt (ms)", ylabel="mean distance from norse's spikes (ms)", title="spikes by step")
    right.set_xticks(steps, [f"{dt:g}" for dt in steps])
    right.minorticks_off()
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="norse_parameters.png", help="the picture")
    options = parser.parse_args()
    main(options.quick, options.out)
