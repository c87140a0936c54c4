"""One task, many neurons: accuracy, events sent and energy of every model beside a LIF of as many parameters.

The same network (two weight layers around 64 hidden neurons, a leaky readout) is trained with every model of `MODELS`
on the built-in event-camera digits and, with --nmnist, on recordings of N-MNIST: the same weights at the start, the
same optimiser, epochs and batches; a fixed factor makes every membrane vary about as the LIF's, nothing else was tuned.
UltraLIF and UltraDLIF take their published sparsity penalty. A dendritic neuron has a branch per quarter of the
picture; a single ELM neuron stands for the whole network, its hidden units and memories chosen to make up as many
parameters. Tested is on the recordings of validation and test together: no choice was made on either. The readout
integrates over time and the AdaptiveThresholdIF has no memory at all: these tasks need none in the hidden layer.
Run: python examples/18_models_compared.py [--quick] [--nmnist DIR] [--models NAME ...] [--runs DIR] [--out FILE]. With
--runs a finished training is kept there and not done again. All of it takes some ten minutes on one core. Ends
in a picture.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor, nn

from spikeframe import datasets, energy
from spikeframe.modules.elm import ELM
from spikeframe.neurons import (
    ALIF,
    LI,
    LIF,
    PLIF,
    PSN,
    AdaptiveThresholdIF,
    DendriticLIF,
    MultilevelLIF,
    ResonateFire,
    Sequential,
    TernaryLIF,
    UltraDLIF,
    UltraLIF,
)  # fmt: skip
from spikeframe.training import FrameCache

TAU, DT, STEPS, HIDDEN, CLASSES, BRANCHES, PENALTY = 100.0, 10.0, 31, 64, 10, 4, 0.1
MEMORIES, UNITS = 32, 57
COLOURS = {"spikes": "#d55e00", "whole numbers": "#009e73", "soft": "#0072b2"}
Frames = dict[str, FrameCache]


def oscillators() -> ResonateFire:
    """Return oscillators of 2 to 20 periods a second, each neuron its own, learnt."""
    omega = 2.0 * math.pi * torch.logspace(math.log10(2e-3), math.log10(2e-2), HIDDEN, dtype=torch.float64)
    return ResonateFire(dt=DT, tau_m=TAU, omega=omega, v_reset=0.0, learnable=["omega"])


class Counted(nn.Module):
    """Rectified activations as whole numbers of spikes, each step on its own: no membrane, no state."""

    def __init__(self) -> None:
        super().__init__()
        self.neuron = AdaptiveThresholdIF()

    def operations(self) -> dict[str, int]:
        """Count the operations of an activation, rectifying included."""
        return {**self.neuron.operations(), "cmp": self.neuron.operations()["cmp"] + 1}

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the activations that the counts stand for, and the counts."""
        found = self.neuron(torch.relu(x))
        return found.decoded(), found.counts


class Layered(nn.Module):
    """Two weight layers around hidden neurons, and a leaky readout."""

    def __init__(self, hidden: nn.Module, drive: float, shape: tuple[int, ...], density: float) -> None:
        super().__init__()
        inputs = math.prod(shape)
        self.first = nn.Linear(inputs, HIDDEN, bias=False)
        nn.init.normal_(self.first.weight, std=1.0 / (inputs * density * TAU / DT) ** 0.5)
        self.drive = drive  # could be multiplied into the weights after training, so it is not counted
        self.hidden = hidden
        self.second = nn.Linear(HIDDEN, CLASSES, bias=False)
        self.readout = LI(tau_m=TAU, dt=DT)
        row, column = torch.meshgrid(*(torch.arange(n) * 2 // n for n in shape[1:]), indexing="ij")
        self.quarter = (2 * row + column).expand(shape).flatten()

    def sent(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the hidden neurons put out and, where that is scaled, the whole numbers sent: [T, B, neurons]."""
        if isinstance(self.hidden, DendriticLIF):
            parts = [self.quarter == k for k in range(BRANCHES)]
            weight = self.drive * self.first.weight
            z, _ = self.hidden({f"branch_{k}": x[..., p] @ weight[:, p].T for k, p in enumerate(parts)})
            return z, z
        z, other = self.hidden(self.drive * self.first(x))
        return (z, other) if isinstance(self.hidden, Counted) else (z, z)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the readout [T, B, classes] and the mean hidden output."""
        z, _ = self.sent(x)
        return self.readout(self.second(z))[0], z.mean()

    def measured(self, x: Tensor) -> tuple[float, dict[str, Any]]:
        """Return the events that hidden neurons send, and the counts: weights by their input, neurons by updates."""
        _, z = self.sent(x)
        cost = {f"neu_{kind}": n * z.numel() for kind, n in self.hidden.operations().items()}
        neurons = energy.Counts(samples=x.shape[1], steps=len(x) * x.shape[1], neurons=HIDDEN, **cost)
        first = energy.count(Sequential(self.first), x)
        second = energy.count(Sequential(self.second, self.readout), z)
        return float(z.count_nonzero()), {"first": first["0"], "hidden": neurons, "second": second["1"]}


class SingleELM(nn.Module):
    """One ELM neuron that reads the picture itself."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.neuron = ELM(math.prod(shape), CLASSES, MEMORIES, DT, tau_m=(DT, 300.0), tau_s=DT, hidden=UNITS)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the readout [T, B, classes]; nothing is sent inside the neuron."""
        return self.neuron(x)[0], torch.zeros(())

    def measured(self, x: Tensor) -> tuple[float, dict[str, Any]]:
        """Return no events, and the operations of the event-driven run if the MLP is evaluated at every step."""
        steps, unit, graded = len(x) * x.shape[1], int((x == 1).sum()), int((x > 1).sum())
        return math.nan, {"neuron": energy.Counts(
            samples=x.shape[1], steps=steps, syn_ac=unit * UNITS, syn_mac=graded * UNITS,
            dense_mac=steps * (2 * MEMORIES * UNITS + MEMORIES * CLASSES), neu_exp=steps * MEMORIES,
            neu_mac=steps * (UNITS + 2 * MEMORIES), neu_ac=steps * (2 * UNITS + 2 * MEMORIES), neu_cmp=steps * UNITS,
        )}  # fmt: skip


@dataclass(frozen=True)
class Model:
    """A row of the comparison.

    Attributes:
        make: returns the hidden neurons; None for the single ELM.
        drive: factor of what arrives, by which membranes vary about as those of the LIF.
        sends: what goes to the next layer, a key of `COLOURS`.
        penalty: weight of the mean output in the loss.
    """

    make: Callable[[], nn.Module] | None
    drive: float = 1.0
    sends: str = "spikes"
    penalty: float = 0.0

    def network(self, frames: FrameCache) -> Layered | SingleELM:
        """Return an untrained network."""
        shape = frames.shape[1:]
        return Layered(self.make(), self.drive, shape, frames.density) if self.make else SingleELM(shape)


MODELS = {
    "LIF": Model(lambda: LIF(dt=DT, tau_m=TAU, reset="value", learnable=["v_th"])),
    "PLIF": Model(lambda: PLIF(dt=DT, tau_m=TAU), drive=-1.0 / math.expm1(-DT / TAU)),
    "ALIF": Model(lambda: ALIF(dt=DT, tau_m=TAU, learnable=["v_th"])),
    "ResonateFire": Model(oscillators),
    "PSN": Model(lambda: PSN(STEPS), drive=4.0),
    "DendriticLIF": Model(
        lambda: DendriticLIF(BRANCHES, dt=DT, tau_m=TAU, tau_d=50.0, width_d=0.3, learnable=["g", "theta_d"]), drive=2.0
    ),
    "TernaryLIF": Model(lambda: TernaryLIF(dt=DT, tau_m=TAU, learnable=["v_th"])),
    "MultilevelLIF": Model(lambda: MultilevelLIF(dt=DT, tau_m=TAU, learnable=["v_th"]), sends="whole numbers"),
    "AdaptiveThresholdIF": Model(Counted, sends="whole numbers"),
    "UltraLIF": Model(lambda: UltraLIF(dt=DT, tau_m=TAU, v_th=1.0, learnable=["eps"]), 1.0, "soft", PENALTY),
    "UltraLIF, additive": Model(
        lambda: UltraLIF(dt=DT, tau_m=TAU, v_th=1.0, eps=0.5, form="additive", learnable=["eps"]), 1.0, "soft", PENALTY
    ),
    "UltraDLIF": Model(lambda: UltraDLIF(dt=DT, tau_m=TAU, v_th=1.0, learnable=["eps"]), 1.0, "soft", PENALTY),
    "ELM (one neuron)": Model(None, sends="soft"),
}


def load(name: str, root: str | None, samples: int | None) -> Frames:
    """Return a data set as frames."""
    return {
        split: FrameCache(
            datasets.load(name, split=split, **({"root": root} if root else {})),
            n_time_bins=STEPS, dt=DT, pool=2, samples=samples,
        )
        for split in ("train", "validation", "test")
    }  # fmt: skip


def train(model: Model, frames: FrameCache, seed: int, epochs: int) -> Layered | SingleELM:
    """Return a trained network."""
    torch.manual_seed(seed)
    network = model.network(frames)
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for epoch in range(epochs):
        for x, labels in frames.batches(32, seed, epoch):
            out, output = network(x.flatten(2))
            loss = nn.functional.cross_entropy(out.mean(0), labels) + model.penalty * output
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
    return network


@torch.no_grad()
def measure(network: Layered | SingleELM, frames: Frames) -> dict[str, float]:
    """Return accuracy (%), hidden events and energy (nJ) per recording, and parameters."""
    right = tested = 0
    for split in ("validation", "test"):
        for x, labels in frames[split].batches(100):
            right += int((network(x.flatten(2))[0].mean(0).argmax(1) == labels).sum())
            tested += len(labels)
    x, _ = frames["test"].batch(range(min(100, len(frames["test"]))))
    events, counts = network.measured(x.flatten(2))
    price = energy.report(counts, "horowitz_fp32")
    first = price.layers["first"].spiking_pj if "first" in counts else 0.0
    return {
        "accuracy": 100 * right / tested, "tested": tested, "events": events / x.shape[1],
        "energy_nj": price.total.spiking_pj / x.shape[1] / 1000, "first_layer_nj": first / x.shape[1] / 1000,
        "parameters": sum(p.numel() for p in network.parameters()),
    }  # fmt: skip


def compare(names: list[str], sets: dict[str, Frames], seeds: int, epochs: int, runs: Path | None) -> list[Any]:
    """Train what is not in the folder of runs yet; return a row per set, model and seed."""
    rows = []
    for data, frames in sets.items():
        for seed in range(seeds):
            for name in names:
                kept = runs / f"{data}-{name}-{seed}.json".replace(" ", "_") if runs else None
                if kept and kept.is_file():
                    row = json.loads(kept.read_text(encoding="utf-8"))
                else:
                    found = measure(train(MODELS[name], frames["train"], seed, epochs), frames)
                    row = {"data": data, "model": name, "seed": seed, "epochs": epochs, **found}
                    if kept:
                        kept.parent.mkdir(parents=True, exist_ok=True)
                        kept.write_text(json.dumps(row), encoding="utf-8")
                rows.append(row)
    return rows


def draw(rows: list[Any], out: str) -> None:
    """Draw three panels per data set: every seed a point, mean accuracy a line, mean events and energy a bar."""
    sets, names = (list(dict.fromkeys(row[key] for row in rows)) for key in ("data", "model"))
    figure = Figure(figsize=(10, 0.8 + 0.26 * (len(names) + 2) * len(sets)), layout="constrained", facecolor="white")
    axes: Any = figure.subplots(len(sets), 3, sharey=True, squeeze=False)
    labels = {"accuracy": "accuracy (%)", "events": "hidden events a recording", "energy_nj": "energy a recording (nJ)"}
    for line, data in zip(axes, sets, strict=True):
        for ax, (key, label) in zip(line, labels.items(), strict=True):
            for place, name in enumerate(names):
                found = [row for row in rows if row["data"] == data and row["model"] == name]
                values, colour = np.array([row[key] for row in found]), COLOURS[MODELS[name].sends]
                if key == "accuracy":
                    ax.plot([values.mean()] * 2, [place - 0.35, place + 0.35], color=colour, linewidth=3)
                elif not np.isnan(values).any():
                    ax.barh(place, values.mean(), color=colour, alpha=0.75, height=0.7)
                if key == "energy_nj":
                    ax.barh(place, np.mean([row["first_layer_nj"] for row in found]), color="#b0b4ba", height=0.7)
                ax.plot(values, [place] * len(values), "o", color="#24292f", markersize=2.5)
            ax.axvline(np.mean([row[key] for row in rows if row["data"] == data and row["model"] == names[0]]),
                       color="#24292f", linewidth=0.6, linestyle=":")  # fmt: skip
            ax.set(yticks=range(len(names)), yticklabels=names, xlabel=label)
            ax.spines[["top", "right"]].set_visible(False)
        line[0].set_title(data, fontsize=10, loc="left")
    axes[0, 0].invert_yaxis()
    keys = {**COLOURS, "energy of the first weights": "#b0b4ba"}
    figure.legend([Patch(color=colour) for colour in keys.values()], keys, loc="outside upper right", ncols=4,
                  frameon=False, fontsize=8)  # fmt: skip
    figure.savefig(out, dpi=120)


def main(
    quick: bool = False, nmnist: str | None = None, models: list[str] | None = None, runs: str | None = None,
    results: str | None = None, out: str = "models_compared.png",
) -> Path:  # fmt: skip
    """Train and measure, print the table, and return the path of the picture."""
    samples, epochs, seeds = (40, 1, 1) if quick else (None, 16, 3)
    sets = {"digits": load("digits", None, samples)}
    if nmnist:
        sets["N-MNIST"] = load("nmnist", nmnist, samples)
    names = models or (
        list(MODELS) if not quick else ["LIF", "PSN", "AdaptiveThresholdIF", "UltraDLIF", "ELM (one neuron)"]
    )
    rows = compare(names, sets, seeds, epochs, Path(runs) if runs else None)
    print(
        f"{seeds} seeds, mean and standard deviation over seeds; energy: arithmetic alone, 45 nm floats (Horowitz 2014)"
    )
    for data in sets:
        print(f"\n{data:22}{'parameters':>12}{'accuracy (%)':>16}{'events':>16}{'energy (nJ)':>16}")
        for name in dict.fromkeys(row["model"] for row in rows):
            found = [row for row in rows if row["data"] == data and row["model"] == name]
            cells = []
            for key, digits in (("accuracy", 1), ("events", 0), ("energy_nj", 0)):
                values = np.array([row[key] for row in found])
                cells.append(
                    "-" if np.isnan(values).any() else f"{values.mean():.{digits}f} +- {values.std():.{digits}f}"
                )
            print(f"{name:22}{found[0]['parameters']:>12}" + "".join(f"{cell:>16}" for cell in cells))
    if results:
        Path(results).write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")
    draw(rows, out)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--nmnist", metavar="DIR", help="folder that holds N-MNIST, all or a part")
    parser.add_argument("--models", metavar="NAME", nargs="+", choices=list(MODELS), help="only these")
    parser.add_argument("--runs", metavar="DIR", help="folder for finished trainings")
    parser.add_argument("--json", metavar="FILE", help="where to write all figures")
    parser.add_argument("--out", default="models_compared.png", help="the picture (default: models_compared.png)")
    given = parser.parse_args()
    main(given.quick, given.nmnist, given.models, given.runs, given.json, given.out)
