"""A trained network turned into a spiking one: how many steps does it take, how many spikes, how much energy?

A network of rectified units (64-128-64-10) learns scikit-learn's handwritten digits; so does one with the
quantisation-clip-floor-shift staircase (Bu et al. 2022, arXiv:2303.04347). Both become networks of integrate-and-fire
neurons: by the largest activation, by a percentile (Rueckauer et al. 2017), by the learned ceiling, with and without
spikes that are taken back (Fast-SNN). Accuracy is read after every step. The one with learned ceilings then runs event
by event: the same spikes, counted and priced.
Run: python examples/60_ann_to_snn.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor, nn

import spikeframe as sf
from spikeframe import energy
from spikeframe.adapters.conversion import QCFS, convert, convert_few_spikes, run

TRAINING, LEVELS = 1200, 8
Data = tuple[Tensor, Tensor, Tensor, Tensor]
Row = tuple[float, list[float]]


def digits() -> Data:
    """Return training and test scans (whole grey levels, 0 to 16) with their labels."""
    x, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    grey, y = torch.tensor(x[order], dtype=torch.float32), torch.from_numpy(labels[order])
    return grey[:TRAINING], y[:TRAINING], grey[TRAINING:], y[TRAINING:]


def trained(staircase: bool, seed: int, data: Data, epochs: int) -> nn.Sequential:
    """Train a network on grey levels from 0 to 1."""
    torch.manual_seed(seed)

    def unit() -> nn.Module:
        return QCFS(LEVELS, 2.0) if staircase else nn.ReLU()

    first = nn.Linear(64, 128), nn.BatchNorm1d(128), unit()
    model = nn.Sequential(*first, nn.Linear(128, 64), nn.BatchNorm1d(64), unit(), nn.Linear(64, 10))
    optimiser = torch.optim.Adam(model.parameters(), 3e-3, weight_decay=1e-4)
    for _ in range(epochs):
        for part in torch.randperm(TRAINING).split(64):
            loss = nn.functional.cross_entropy(model(data[0][part] / 16), data[1][part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval()


@torch.no_grad()
def accuracy(out: Tensor, labels: Tensor) -> float:
    """Return per cent of right answers, ``[B, 10]``."""
    return 100 * float((out.argmax(1) == labels).double().mean())


def over_time(model: nn.Module, data: Data, steps: int) -> list[float]:
    """Return the accuracy of a spiking network after 1, 2, ... steps."""
    return [accuracy(out, data[3]) for out in run(model, data[2], steps)]


def event_driven(model: nn.Module, data: Data, steps: int) -> tuple[float, int, energy.EnergyReport]:
    """Run test digits event by event; return accuracy, spikes a digit, and the energy report."""
    x = data[2].expand(steps, *data[2].shape)
    network = sf.Network.from_module(model, (64,), input_max=16)
    result = sf.Simulator(network).run(x)
    with torch.no_grad():
        dense, _ = network.module(x)
    if not np.array_equal(dense.numpy(), result.outputs):
        raise RuntimeError("the event-driven run is not the torch run")
    spikes = sum(len(s.ids) for s in result.spikes.values())
    return accuracy(torch.from_numpy(result.outputs[-1]), data[3]), spikes, energy.report(result.counts)


def draw(rows: dict[str, Row], few: list[float], steps: int, out: str) -> None:
    """Draw the error over steps, and what few-spike neurons reach by the digits they use."""
    figure = Figure(figsize=(10, 4), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=[1.6, 1], sharey=True)
    marks = ("o", "s", "^", "v")
    for k, (name, (network, curve)) in enumerate(rows.items()):
        error = 100 - np.array(curve)
        left.plot(range(1, steps + 1), error, marks[k], linestyle="-", markersize=3, color=f"C{k}", label=name)
        left.axhline(100 - network, color=f"C{k}", linewidth=0.9, linestyle=":")
    left.axvline(LEVELS, color="#8b949e", linewidth=0.8)
    left.text(LEVELS * 1.05, 60, f"T = L = {LEVELS}", color="#57606a", fontsize=8)
    left.set(
        xscale="log",
        yscale="log",
        xlabel="steps T",
        ylabel="test error (%)",
        ylim=(0.3, 100),
        title="converted networks",
    )
    left.set_xticks([1, 2, 4, 8, 16, 32, 64][: int(np.log2(steps)) + 1])
    left.get_xaxis().set_major_formatter("{x:.0f}")
    left.set_yticks([0.5, 1, 2, 5, 10, 20, 50, 100])
    left.get_yaxis().set_major_formatter("{x:g}")
    left.minorticks_off()
    left.legend(frameon=False, fontsize=8, title="dotted: the network itself", title_fontsize=8)
    right.plot(range(1, len(few) + 1), 100 - np.array(few), "o-", color="C0")
    right.axhline(100 - rows["largest activation"][0], color="C0", linewidth=0.9, linestyle=":")
    right.set(xlabel="binary digits K", title="few-spike neurons")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)


def main(quick: bool = False, out: str = "ann_to_snn.png") -> Path:
    """Train, convert, run, price; return the path of the picture."""
    epochs, steps, digits_most = (3, 8, 4) if quick else (60, 64, 8)
    data = digits()
    plain, stair = (trained(kind, 0, data, epochs) for kind in (False, True))
    grey = {"input_value": 1 / 16}
    ways = {
        "largest activation": (plain, convert(plain, data[0], **grey)),
        "99 % percentile": (plain, convert(plain, data[0], percentile=99.0, **grey)),
        "staircase": (stair, convert(stair, **grey)),
        "staircase, signed": (stair, convert(stair, signed=True, **grey)),
    }
    rows: dict[str, Row] = {}
    print(
        f"{len(data[2])} test digits\n\n{'':22}{'network':>9}"
        + "".join(f"{f'T={t}':>8}" for t in (2, 4, 8, 16, 32, 64))
    )
    for name, (network, spiking) in ways.items():
        with torch.no_grad():
            own = accuracy(network(data[2] / 16), data[3])
        curve = over_time(spiking, data, steps)
        rows[name] = own, curve
        shown = "".join(f"{curve[t - 1]:8.2f}" for t in (2, 4, 8, 16, 32, 64) if t <= steps)
        print(f"{name:22}{own:9.2f}{shown}")
    few = []
    for k in range(1, digits_most + 1):
        window = torch.cat([data[2][None], torch.zeros(k - 1, *data[2].shape)])
        with torch.no_grad():
            few.append(accuracy(convert_few_spikes(plain, data[0], steps=k, **grey)(window)[0][-1], data[3]))
    print("few spikes, 1 to K digits:" + "".join(f"{value:8.2f}" for value in few))
    reached, spikes, priced = event_driven(ways["staircase"][1], data, LEVELS)
    total, count = priced.total, len(data[2])
    once = total.non_spiking_pj
    print(f"\nstaircase, event by event, {LEVELS} steps: {reached:.2f} %, {spikes / count:.0f} spikes a digit,")
    print(
        f"{energy.reports.energy(total.spiking_pj / count)} a digit; the network itself once, every product computed: "
        f"{energy.reports.energy(None if once is None else once / count)} ({priced.model.name})"
    )
    draw(rows, few, steps, out)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="ann_to_snn.png", help="the picture")
    options = parser.parse_args()
    main(options.quick, options.out)
