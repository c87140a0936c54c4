"""From a run to Neo and back: elephant's measures of spikes beside ours, and trains as the input of another network.

Run: python examples/63_neo.py [--quick] [--out FILE]. Ends in a picture. Needs the extra neo (with elephant).
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import spikeframe as sf
from spikeframe import analysis, plots
from spikeframe.adapters.neo import from_neo, to_neo

DT = 0.5


def main() -> None:
    """Run, convert, measure twice, and listen to the trains with another neuron."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="40 neurons, 500 ms")
    parser.add_argument("--out", type=Path, default=Path("neo.png"))
    options = parser.parse_args()
    n, duration = (40, 500.0) if options.quick else (200, 5000.0)

    net = sf.Network(seed=5)
    cells = net.population("cells", n, sf.neurons.LIF(tau_m=15.0, v_th=10.0, t_ref=2.0, reset="value"))
    net.stimulate(cells, sf.PoissonInput(700.0, 1.2))
    net.record(cells, "spikes")
    net.record(cells, "v", ids=[0])
    result = sf.Simulator(net, dt=DT, threads=1).run(duration, progress=False)
    block = to_neo(result, net)
    trains = block.segments[0].spiketrains
    signal = block.segments[0].analogsignals[0]
    print(f"{len(trains)} trains, and {signal.name} in {signal.units.dimensionality}")

    spikes = result.spikes["cells"]
    ours = {"rate (spikes/s)": result.rates()["cells"], "CV": analysis.mean_cv(spikes.times, spikes.ids)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from elephant.statistics import cv, isi, mean_firing_rate

    enough = [train for train in trains if len(train) >= 10]
    theirs = {
        "rate (spikes/s)": float(np.mean([mean_firing_rate(train).rescale("Hz").item() for train in trains])),
        "CV": float(np.mean([cv(isi(train.rescale("ms").magnitude)) for train in enough])),
    }
    for name, value in ours.items():
        print(f"{name:16s} spikeframe {value:.4f}   elephant {theirs[name]:.4f}")

    listening = sf.Network(seed=6)
    source = listening.population("given", n, from_neo(trains, dt=DT))
    reader = listening.population("reader", 1, sf.neurons.LIF(tau_m=10.0, v_th=8.0, t_ref=2.0, reset="value"))
    listening.connect(source, reader, sf.AllToAll(), weight=40.0 / n, delay=1.0)
    listening.record(reader, "spikes")
    listening.record(reader, "v")
    heard = sf.Simulator(listening, dt=DT, threads=1).run(duration, progress=False)

    figure = Figure(figsize=(10, 3.6), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    early = spikes.times <= 200.0
    pairs = np.stack([spikes.steps[early], spikes.ids[early]], axis=1)
    plots.spike_raster({"cells": pairs}, left, sizes={"cells": n}, dt_ms=DT)
    steps = round(200.0 / DT)
    plots.membrane_traces(heard.traces["reader"]["v"].values[:steps], right, dt_ms=DT, threshold=8.0, labels=["reader"])
    figure.savefig(options.out, dpi=120)
    print(f"the reader fired {len(heard.spikes['reader'])} times\npicture: {options.out}")


if __name__ == "__main__":
    main()
