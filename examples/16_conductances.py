"""The balanced network of Vogels and Abbott (2005) with conductances: activity that a short stimulus wakes.

4,000 neurons, of which one pair in fifty is connected, rest at -60 mV until 50 of them are driven for 50 ms; then they
keep each other firing irregularly, through synapses that open some twenty times the conductance of the leak.
Benchmark 1 of Brette et al. (2007), doi:10.1007/s10827-007-0038-6. Prints rate and irregularity beside those of
NEST and Brian2. Run: python examples/16_conductances.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import spikeframe as sf
from spikeframe import plots

#: Mean and largest difference of correct runs from it, over NEST, Brian2 and seeds: rate (spikes/s), CV of intervals.
PUBLISHED = {"rate": (19.2, 3.6), "cv": (1.78, 0.12)}
G_LEAK = 10.0  # nS


def describe(seed: int = 1) -> sf.Network:
    """Return 3,200 exciting and 800 inhibiting neurons at rest, and what wakes them from 1 to 51 ms."""
    network = sf.Network(seed=seed)
    lif = sf.neurons.CondLIF(
        c_m=200.0, g_l=G_LEAK, e_l=-60.0, v_th=-50.0, v_reset=-60.0, t_ref=5.0,
        receptors={"exc": sf.neurons.CondExp(tau=5.0, e_rev=0.0), "inh": sf.neurons.CondExp(tau=10.0, e_rev=-80.0)},
    )  # fmt: skip
    exc, inh = network.population("exc", 3200, lif), network.population("inh", 800, lif)
    network.connect(exc, [exc, inh], sf.FixedProbability(0.02), receptor="exc", weight=6.0, delay=0.1)
    network.connect(inh, [exc, inh], sf.FixedProbability(0.02), receptor="inh", weight=67.0, delay=0.1)
    stimulus = network.population("stimulus", 50, sf.PoissonSource(300.0, start=1.0, stop=51.0))
    network.connect(stimulus, exc, sf.Pairs(range(50), range(50)), receptor="exc", weight=6.0, delay=0.1)
    network.record([exc, inh], "spikes")
    for variable in ("v", "exc_g", "inh_g"):
        network.record(exc, variable, every=0.5, ids=range(100, 120))
    return network


def irregularity(spikes: Any, after: float) -> float:
    """Return the mean coefficient of variation of the intervals, over neurons with three spikes after some time."""
    order = np.lexsort((spikes.times, spikes.ids))
    times, ids = spikes.times[order], spikes.ids[order]
    times, ids = times[times > after], ids[times > after]
    trains = np.split(times, np.flatnonzero(np.diff(ids)) + 1)
    found = [np.std(d) / np.mean(d) for d in map(np.diff, trains) if d.size > 1]
    return float(np.mean(found)) if found else np.nan


def picture(result: Any, duration: float) -> Figure:
    """Draw spikes, the mean rate, and one neuron's conductances and membrane while the network wakes and after."""
    figure = Figure(figsize=(9, 8), layout="constrained", facecolor="white")
    raster, rate, conductance, membrane = figure.subplots(4, 1, height_ratios=[3, 1, 1.3, 1.3], sharex=True)
    spikes = result.spikes["exc"]
    shown = spikes.ids < 200
    plots.spike_raster(np.stack([spikes.steps[shown], spikes.ids[shown]], axis=1), raster, dt_ms=0.1)
    raster.axvspan(1.0, 51.0, color="#f0e442", alpha=0.5, linewidth=0)
    raster.set(ylabel="200 of 3,200 exciting neurons", xlabel="")
    raster.set_title("50 neurons are driven while it is yellow", loc="left", fontsize=10)
    bins = np.arange(0.0, duration + 1e-9, 5.0)
    rate.stairs(np.histogram(spikes.times, bins)[0] / (3200 * 5e-3), bins, fill=True, color="#0072b2")
    rate.set(ylabel="spikes/s", ylim=(0, None))
    traces = result.traces["exc"]
    fired = np.array([np.sum(spikes.ids == i) for i in range(100, 120)])
    one = int(np.argmin(np.abs(fired - spikes.ids.size / 3200)))  # a neuron of average rate
    for name, label, color in (("exc_g", "exciting", "#d55e00"), ("inh_g", "inhibiting", "#0072b2")):
        conductance.plot(traces[name].times, traces[name].values[:, one] / G_LEAK, color=color, label=label)
    conductance.set(ylabel="conductance / leak", ylim=(0, 1.4 * conductance.get_ylim()[1]))  # room for the legend
    conductance.legend(frameon=False, fontsize=8, ncols=2, loc="upper right")
    membrane.plot(traces["v"].times, traces["v"].values[:, one], color="#24292f", linewidth=0.8)
    times = spikes.times[spikes.ids == 100 + one]
    membrane.plot(times, np.full(times.shape, -48.5), "|", color="#24292f", markersize=6)
    membrane.set(ylabel="membrane (mV)", xlabel="time (ms)", xlim=(0.0, duration))
    for axes in (rate, conductance, membrane):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def main(quick: bool = False, out: str = "conductances.png") -> Path:
    """Simulate, print rate and irregularity, and return the path of the picture."""
    warm, duration = (50.0, 150.0) if quick else (500.0, 3000.0)
    result = sf.Simulator(describe(), dt=0.1).run(warm + duration)
    spikes = result.spikes["exc"]
    rate, cv = np.sum(spikes.times > warm) / (3200 * duration * 1e-3), irregularity(spikes, warm)
    for name, found, (mean, within) in zip(
        ("spikes/s", "CV of intervals"), (rate, cv), PUBLISHED.values(), strict=True
    ):
        print(f"{name}: {found:.2f} (NEST and Brian2 over seconds: {mean} +- {within})")
    open_ = sum(result.traces["exc"][name].values[round(warm / 0.5) :].mean() for name in ("exc_g", "inh_g"))
    print(f"synapses add {open_ / G_LEAK:.1f} times the leak; {result.delivered:,} synaptic events")
    picture(result, min(500.0, warm + duration)).savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="conductances.png", help="the picture (default: conductances.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
