"""A whole brain as integrate-and-fire neurons: the fruit fly larva's wiring, driven sense by sense.

The brain of a Drosophila larva, 2,952 neurons, was mapped synapse by synapse (Winding et al. 2023,
doi:10.1126/science.add9330). As Shiu et al. (2024, doi:10.1038/s41586-024-07763-9) did with the adult fly's, every
neuron is the same leaky integrate-and-fire cell, a connection (axon to dendrite) is as strong as it has synapses, and a
sense is driven by making its sensory neurons fire at random. No transmitters are given here: local neurons (LN), most
of which release GABA, inhibit, all others excite. What one synapse is worth is the free number, so it is varied.

Counts the neurons that each sense makes fire, beside the paper's shares, whose signals hopped from neuron to neuron by
chance, five times at most. The wiring does not come with spikeframe: take Data S1 of the first paper
(Supplementary-Data-S1.zip) and give its folder.
Run: python examples/11_larva_brain.py --data FOLDER [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

import spikeframe as sf
from spikeframe.kernels.trace import Names, Value
from spikeframe.neurons import Parameter, State, maximum, spike, where

FILE, INSIDE = "Supplementary-Data-S1.zip", "Supplementary-Data-S1"
#: The twelve senses by the names of the annotations, in order of the number of their neurons.
SENSES = ("gustatory-external", "gustatory-pharyngeal", "gut", "visual", "olfactory", "respiratory", "mechano-Ch",
          "proprio", "thermo-cold", "noci", "mechano-II/III", "thermo-warm")  # fmt: skip
#: Winding et al., as the description of the data gives it, not checked against the article: of the neurons that are
#: reached, how many by one sense alone; of the others, how many by all (%).
PUBLISHED = (12.0, 62.0)
#: What a synapse adds to g (mV); 0.275 is the adult brain's, where a connection has more synapses.
STRENGTHS = (0.275, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.4)
SHOWN = 0.6
RATE = 100.0  # spikes/s of a driven neuron


class BrainLIF(sf.neurons.Neuron):
    """``v' = (v_0 - v + g) / tau_m``, ``g' = -g / tau_s``; a spike sets v and g back and holds both for t_ref."""

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "tau_m": Parameter(20.0, "ms", above=0.0),
        "tau_s": Parameter(5.0, "ms", above=0.0),
        "v_0": Parameter(-52.0, "mV"),
        "v_th": Parameter(-45.0, "mV"),
        "t_ref": Parameter(2.2, "ms", least=0.0),
    }
    STATES: ClassVar[dict[str, State]] = {
        "v": State("v_0", "mV"),
        "g": State(0.0, "mV"),
        "ref": State(0, dtype="int"),
    }

    def coefficients(self, dt: float) -> dict[str, torch.Tensor]:
        """Exact propagators of a step."""
        keep, decay = torch.exp(-dt / self.tau_m), torch.exp(-dt / self.tau_s)
        flow = (keep - decay) * self.tau_s / (self.tau_m - self.tau_s)
        return {"keep": keep, "decay": decay, "flow": flow, "back": self.v_0 * (1.0 - keep),
                "n_ref": torch.round(self.t_ref / dt).to(torch.int64)}  # fmt: skip

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Value]]:
        """Integrate, unless refractory; let arrivals in; test and reset."""
        v = where(s.ref > 0, s.v, c.keep * s.v + c.flow * s.g + c.back)
        g = where(s.ref > 0, s.g, c.decay * s.g) + x
        z = spike(v - c.v_th)
        held = where(z, c.n_ref, maximum(s.ref - 1, 0))
        return z, {"v": where(z, c.v_0, v), "g": where(z, 0.0, g), "ref": held}


@dataclass(frozen=True)
class Brain:
    """Wiring: connections and what each neuron is."""

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    synapses: NDArray[np.float64]
    kind: NDArray[np.str_]
    sense: NDArray[np.str_]


def read(folder: Path) -> Brain:
    """Read the archive: a matrix of synapse counts from axon (row) to dendrite (column), and annotations of pairs."""
    with zipfile.ZipFile(folder / FILE) as archive:
        with archive.open(f"{INSIDE}/ad_connectivity_matrix.csv") as file:
            ids = [int(name) for name in file.readline().decode().strip().split(",")[1:]]
            counts = np.loadtxt(file, delimiter=",", usecols=range(1, len(ids) + 1), dtype=np.float32)
        with archive.open(f"{INSIDE}/annotations.csv") as file:
            rows = list(csv.DictReader(io.TextIOWrapper(file, encoding="utf-8")))
    place = {name: i for i, name in enumerate(ids)}
    kind, sense = np.full(len(ids), "unknown", "U32"), np.full(len(ids), "", "U32")
    for row in rows:
        for side in ("left_id", "right_id"):
            if row[side].isdigit() and int(row[side]) in place:
                kind[place[int(row[side])]] = row["celltype"]
                if row["celltype"] in ("sensory", "ascending"):
                    sense[place[int(row[side])]] = row["additional_annotations"]
    source, target = np.nonzero(counts)
    return Brain(source, target, counts[source, target].astype(np.float64), kind, sense)


def describe(brain: Brain, driven: NDArray[np.int64], strength: float, seed: int = 1) -> sf.Network:
    """Return the brain with some neurons replaced by sources that fire at random.

    Args:
        brain: its wiring.
        driven: which neurons.
        strength: what a synapse adds to g, mV.
        seed: of the random firing.
    """
    network = sf.Network(seed=seed)
    neurons = network.population("brain", brain.kind.size, BrainLIF())
    senses = network.population("driven", driven.size, sf.PoissonSource(RATE))
    weight = strength * brain.synapses * np.where(brain.kind[brain.source] == "LN", -1.0, 1.0)
    place = np.full(brain.kind.size, -1)
    place[driven] = np.arange(driven.size)
    own = place[brain.source] < 0
    for source, which, ids in ((neurons, own, brain.source), (senses, ~own, place[brain.source])):
        pairs = sf.Pairs(ids[which], brain.target[which])
        network.connect(source, neurons, pairs, weight=weight[which], delay=1.8)
    network.record(neurons, "spikes")
    return network


def shares(reached: NDArray[np.bool_]) -> tuple[float, float]:
    """Return how many of the reached neurons one sense alone reaches, and how many of the others all do, %."""
    senses = reached.sum(0)
    several = max(1, int((senses > 1).sum()))
    return 100.0 * (senses == 1).sum() / max(1, (senses > 0).sum()), 100.0 * (senses == len(SENSES)).sum() / several


def picture(brain: Brain, inner: NDArray[np.bool_], reached: dict[float, NDArray[np.bool_]], spikes: Any) -> Figure:
    """Draw one sense's spikes, who is reached by which sense, and what the strength of a synapse changes."""
    figure = Figure(figsize=(12, 9), layout="constrained", facecolor="white")
    (raster, kinds), (counts, percent) = figure.subplots(2, 2, height_ratios=[1.3, 1])
    order = np.argsort(brain.kind, kind="stable")
    row = np.empty_like(order)
    row[order] = np.arange(order.size)
    raster.plot(spikes.times, row[spikes.ids], ".", color="#24292f", markersize=1.5)
    names, first = np.unique(brain.kind[order], return_index=True)
    edges = np.append(first, order.size)
    raster.hlines(edges, 0, spikes.times.max(initial=1.0), color="#d0d7de", linewidth=0.5)
    wide = np.diff(edges) > 60
    raster.set_yticks(((edges[1:] + edges[:-1]) / 2)[wide], names[wide], fontsize=7)
    raster.set(xlabel="time (ms)", ylim=(0, order.size), xlim=(0, None))
    raster.set_title(f"smell drives the brain, {SHOWN:g} mV a synapse", loc="left", fontsize=10)

    found = reached[SHOWN]
    shown = [name for name in names if (inner & (brain.kind == name)).any()]
    table = np.array([[found[i, brain.kind[inner] == name].mean() for i in range(len(SENSES))] for name in shown])
    image = kinds.imshow(100.0 * table, aspect="auto", cmap="viridis", vmin=0.0)
    kinds.set_yticks(range(len(shown)), shown, fontsize=7)
    kinds.set_xticks(range(len(SENSES)), SENSES, rotation=60, ha="right", fontsize=7)
    kinds.set_title(f"neurons of a kind that a sense makes fire, {SHOWN:g} mV", loc="left", fontsize=10)
    figure.colorbar(image, ax=kinds, label="%")

    strengths = list(reached)
    together = np.array([r.sum(1) for r in reached.values()])
    for i, sense in enumerate(SENSES):
        counts.plot(strengths, together[:, i], ".-", label=sense, color=colormaps["tab20"](i), linewidth=1)
    counts.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    counts.set(xlabel="mV a synapse", ylabel=f"of {inner.sum():,} neurons fire", ylim=(0, inner.sum()))
    both = np.array([shares(r) for r in reached.values()])
    labels = ("one sense alone", "all senses, of those with several")
    for i, (label, color) in enumerate(zip(labels, ("#0072b2", "#d55e00"), strict=True)):
        percent.plot(strengths, both[:, i], ".-", color=color, label=label)
        percent.axhline(PUBLISHED[i], color=color, linestyle=":", linewidth=1)
    percent.plot([], [], ":", color="#57606a", label="Winding et al.")
    percent.legend(frameon=False, fontsize=8)
    percent.set(xlabel="mV a synapse", ylabel="% of the reached neurons", ylim=(0, 100))
    for ax in (raster, counts, percent):
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def find(data: str | None) -> Path | None:
    """Return the folder with the wiring, or None."""
    shared = os.environ.get("SPIKEFRAME_DATA")
    folders = [Path(data)] if data else [Path(shared), Path(shared) / "connectome/larva_winding2023"] if shared else []
    return next((folder for folder in folders if (folder / FILE).is_file()), None)


def main(data: str | None = None, quick: bool = False, out: str = "larva_brain.png") -> Path | None:
    """Drive every sense at every strength, print who fires, and return the path of the picture."""
    folder = find(data)
    if folder is None:
        print(f"The larval connectome is not here: no {FILE} in {data or '$SPIKEFRAME_DATA'}.")
        print("It is Data S1 of doi:10.1126/science.add9330; give its folder with --data or SPIKEFRAME_DATA.")
        return None
    brain = read(folder)
    inner = ~np.isin(brain.kind, ("sensory", "ascending", "unknown"))
    print(f"larval connectome: {brain.kind.size:,} neurons, {brain.source.size:,} connections from axon to dendrite,")
    print(f"{brain.synapses.sum():,.0f} synapses; {inner.sum():,} neurons of the brain itself are counted")
    strengths, duration = ((SHOWN, 2.0), 60.0) if quick else (STRENGTHS, 300.0)
    reached, smell = {}, None
    print("mV a synapse  fire  spikes/s  one sense alone  all, of those with several")
    for strength in strengths:
        found, rate = [], 0.0
        for sense in SENSES:
            driven = np.flatnonzero(brain.sense == sense)
            spikes = (
                sf.Simulator(describe(brain, driven, strength), dt=0.1).run(duration, progress=False).spikes["brain"]
            )
            times = np.bincount(spikes.ids, minlength=brain.kind.size)[inner]
            found.append((times > 0) & ~np.isin(np.flatnonzero(inner), driven))
            rate += times.mean() / (duration * 1e-3 * len(SENSES))
            smell = spikes if (sense, strength) == ("olfactory", SHOWN) else smell
        reached[strength] = np.array(found)
        one, every = shares(reached[strength])
        fire = int(reached[strength].any(0).sum())
        print(f"{strength:12.3f}  {fire:4d}  {rate:8.2f}  {one:13.1f} %  {every:24.1f} %")
    print(f"Winding et al.{'':9}{'':10}{PUBLISHED[0]:11.1f} %  {PUBLISHED[1]:24.1f} %")
    picture(brain, inner, reached, smell).savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help=f"folder that holds {FILE} (default: SPIKEFRAME_DATA)")
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="larva_brain.png", help="the picture (default: larva_brain.png)")
    options = parser.parse_args()
    done = main(options.data, options.quick, options.out)
    sys.exit(0 if done or options.quick else 1)
