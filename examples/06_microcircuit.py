"""A square millimetre of early sensory cortex at any scale: the microcircuit of Potjans and Diesmann (2014).

Eight populations in four layers, doi:10.1093/cercor/bhs358. A smaller scale keeps a fraction of the neurons and of
every neuron's synapses; larger weights keep the variance of the input, and a constant current replaces the mean that
is lost. Prints every population's rate beside those that NEST and Brian2 reach at full scale and at 10 %.
Run: python examples/06_microcircuit.py [--scale 0.1] [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import spikeframe as sf
from spikeframe import plots

TABLE = json.loads((Path(__file__).parent / "data" / "microcircuit_pd14.json").read_text(encoding="utf-8"))
NAMES: list[str] = TABLE["populations"]


def synapses() -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the number of synapses at full scale, ``[target, source]``, from the connection probabilities.

    That many draws with replacement leave a pair unconnected with probability 1 - p.
    """
    size = np.asarray(TABLE["size"], np.float64)
    p = np.asarray(TABLE["connection_probability"])
    found: np.ndarray[Any, np.dtype[np.float64]] = np.log1p(-p) / np.log1p(-1.0 / np.outer(size, size))
    return found


def weights() -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the mean weights at full scale in pA, ``[target, source]``."""
    synapse = TABLE["synapse"]
    mean = np.full((8, 8), float(synapse["PSC_exc_pA"]))
    mean[NAMES.index("L23E"), NAMES.index("L4E")] *= synapse["L4E_to_L23E_PSP"] / synapse["PSP_exc"]
    mean[:, 1::2] *= synapse["g"]
    return mean


def lost_current(scale: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the mean current (pA) of every population that fewer, stronger synapses no longer bring."""
    size, outside, psc = np.asarray(TABLE["size"]), TABLE["external"], TABLE["synapse"]["PSC_exc_pA"]
    per_neuron = synapses() / size[:, np.newaxis]
    recurrent = (weights() * per_neuron) @ np.asarray(TABLE["rates_hz"]["full_scale"])
    arriving = recurrent + psc * np.asarray(outside["K_ext"]) * outside["bg_rate"]  # pA/s
    current: np.ndarray[Any, np.dtype[np.float64]] = (
        (1 - np.sqrt(scale)) * arriving * 1e-3 * TABLE["neuron"]["tau_syn_ex"]
    )
    return current


def describe(scale: float = 0.1, seed: int = 1, dt: float = 0.1) -> sf.Network:
    """Return the network with a fraction of its neurons and of each neuron's synapses.

    Args:
        scale: fraction, up to 1.
        seed: of the network.
        dt: time step (ms), the shortest delay.
    """
    network, cell, synapse, outside = sf.Network(seed=seed), TABLE["neuron"], TABLE["synapse"], TABLE["external"]
    r_m = cell["tau_m"] / cell["C_m"]  # mV per pA
    stronger = 1 / np.sqrt(scale)
    current = lost_current(scale)
    layers = []
    for i, name in enumerate(NAMES):
        neuron = sf.neurons.LIF(
            tau_m=cell["tau_m"], r_m=r_m, v_rest=cell["E_L"], v_th=cell["V_th"], v_reset=cell["V_reset"],
            t_ref=cell["t_ref"], i_e=current[i], receptors=sf.neurons.Exp(tau=cell["tau_syn_ex"]),
        )  # fmt: skip
        start = sf.Normal(TABLE["initial_v"]["mean"][i], TABLE["initial_v"]["sd"][i])
        layers.append(network.population(name, round(TABLE["size"][i] * scale), neuron, v=start))
        arrivals = sf.PoissonInput(outside["K_ext"][i] * scale * outside["bg_rate"], synapse["PSC_exc_pA"] * stronger)
        network.stimulate(name, arrivals)

    count, mean = synapses() * scale**2, weights() * stronger
    for i, target in enumerate(layers):
        for j, source in enumerate(layers):
            delay = synapse["delay_inh"] if j % 2 else synapse["delay_exc"]
            sign = (-np.inf, 0.0) if j % 2 else (0.0, np.inf)
            network.connect(
                source, target, sf.FixedTotal(round(count[i, j])),
                weight=sf.Normal(mean[i, j], abs(mean[i, j]) * synapse["weight_rel_sd"], *sign),
                delay=sf.Normal(delay, delay * synapse["delay_rel_sd"], low=dt),
            )  # fmt: skip
    network.record(layers, "spikes")
    return network


def picture(result: Any, start: float, end: float, rates: dict[str, float], scale: float) -> Figure:
    """Draw the spikes of 400 ms, the fullest layers thinned out, beside the rates."""
    figure = Figure(figsize=(10, 6), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=[2.2, 1])
    pairs, sizes = {}, {}
    for name, full in reversed(list(zip(NAMES, TABLE["size"], strict=True))):
        spikes = result.spikes[name]
        sizes[name] = max(1, round(full * min(scale, 0.03)))
        shown = (spikes.ids < sizes[name]) & (spikes.times > max(start, end - 400.0))
        pairs[name] = np.stack([spikes.steps[shown], spikes.ids[shown]], axis=1)
    plots.spike_raster(pairs, left, sizes=sizes, dt_ms=0.1)
    left.set_yticks(left.get_yticks(), list(pairs))
    left.set_title(f"{min(scale, 0.03):.0%} of the full network's neurons", loc="left", fontsize=10)
    rows = np.arange(len(NAMES))[::-1]
    right.barh(rows, list(rates.values()), 0.6, color="#56b4e9", label=f"this run, {scale:.0%} of the network")
    marks = (("tenth_scale", "o", "NEST and Brian2, 10 %"), ("full_scale", "D", "NEST, full scale"))
    for key, marker, label in marks:
        right.plot(TABLE["rates_hz"][key], rows, marker, color="#d55e00", markersize=5, label=label,
                   markerfacecolor="none" if key == "full_scale" else None)  # fmt: skip
    right.set_yticks(rows, NAMES)
    right.set_xlabel("spikes/s")
    right.spines[["top", "right"]].set_visible(False)
    right.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def main(scale: float = 0.1, quick: bool = False, out: str = "microcircuit.png") -> Path:
    """Simulate, print rates beside the published ones, and return the path of the picture."""
    scale, warm, duration = (0.02, 50.0, 100.0) if quick else (scale, 200.0, 2000.0)
    network = describe(scale)
    simulator = sf.Simulator(network, dt=0.1)
    print(f"{sum(p.size for p in network.populations.values()):,} neurons")
    simulator.run(warm)
    result = simulator.run(duration)
    rates = result.rates()
    print("population  spikes/s  full scale (NEST)  10 % (NEST, Brian2)")
    for name, full, tenth in zip(NAMES, *(TABLE["rates_hz"][k] for k in ("full_scale", "tenth_scale")), strict=True):
        print(f"{name:10}  {rates[name]:8.2f}  {full:17.2f}  {tenth:19.2f}")
    print(f"{result.delivered:,} synaptic events")
    picture(result, warm, warm + duration, rates, scale).savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1, help="fraction of neurons and synapses (default: 0.1)")
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="microcircuit.png", help="the picture (default: microcircuit.png)")
    options = parser.parse_args()
    main(options.scale, options.quick, options.out)
