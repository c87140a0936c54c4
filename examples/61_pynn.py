"""A PyNN script on spikeframe: the Vogels-Abbott network as PyNN users write it, and what it spent.

Only the first import says which simulator runs it; with ``import pyNN.nest as sim`` it is a script for NEST. What PyNN
does not know, the operation counts of the run, is one call more.
Run: python examples/61_pynn.py [--quick] [--out FILE]. Ends in a picture. Needs the extra pynn.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from spikeframe import energy, plots

warnings.filterwarnings("ignore", category=DeprecationWarning)

import spikeframe.adapters.pynn as sim  # noqa: E402


def main() -> None:
    """Describe the network in PyNN's words, run it, draw and count it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the network, 200 ms")
    parser.add_argument("--out", type=Path, default=Path("pynn.png"))
    options = parser.parse_args()
    n, duration = (400, 200.0) if options.quick else (4000, 1000.0)

    sim.setup(timestep=0.1, min_delay=0.2)
    rng = sim.NumpyRNG(seed=98765)
    cell = sim.IF_curr_exp(
        cm=0.2, tau_m=20.0, tau_syn_E=5.0, tau_syn_I=10.0, v_rest=-49.0, v_thresh=-50.0, v_reset=-60.0, tau_refrac=5.0
    )
    exc = sim.Population(n * 4 // 5, cell, label="exc")
    inh = sim.Population(n // 5, cell, label="inh")
    both = exc + inh
    both.initialize(v=sim.RandomDistribution("uniform", low=-60.0, high=-50.0, rng=rng))
    some = sim.FixedProbabilityConnector(80 / n, rng=rng)
    sim.Projection(exc, both, some, sim.StaticSynapse(weight=0.0162, delay=0.2), receptor_type="excitatory")
    sim.Projection(inh, both, some, sim.StaticSynapse(weight=-0.09, delay=0.2), receptor_type="inhibitory")
    both.record("spikes")
    exc[:2].record("v")
    sim.run(duration)

    spikes = {}
    for population in (exc, inh):
        trains = population.get_data("spikes").segments[0].spiketrains
        times = np.concatenate([np.asarray(train.magnitude) for train in trains])
        spikes[population.label] = times, np.repeat(np.arange(population.size), [len(train) for train in trains])
        print(f"{population.label}: {population.mean_spike_count() / duration * 1e3:.2f} spikes/s")
    v = exc[:2].get_data("v").segments[0].analogsignals[0]
    print(energy.columns(sim.counts(), every_step=True, dt=0.1).table())
    sim.end()

    figure = Figure(figsize=(10, 6), layout="constrained", facecolor="white")
    axes = figure.subplots(2, 2)
    steps = {
        name: np.stack([np.rint(t / 0.1).astype(int) - 1, ids], axis=1)[ids < 100] for name, (t, ids) in spikes.items()
    }
    plots.spike_raster(steps, axes[0, 0], sizes={"exc": 100, "inh": min(100, inh.size)}, dt_ms=0.1)
    plots.membrane_traces(
        v.magnitude, axes[0, 1], dt_ms=0.1, threshold=-50.0, labels=["neuron 0", "neuron 1"], unit="v (mV)"
    )
    plots.population_rates(spikes, {"exc": exc.size, "inh": inh.size}, 5.0, axes[1, 0])
    plots.interval_histogram(spikes, axes[1, 1])
    figure.savefig(options.out, dpi=120)
    print(f"picture: {options.out}")


if __name__ == "__main__":
    main()
