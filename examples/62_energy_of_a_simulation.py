"""What a simulated network spends, and when spiking is worth it: rates from nearly silent to busy.

A balanced network is driven by more and more noise. For each drive: operations only, with memory traffic, and a
non-spiking network of the same weights that multiplies everything at every step. Their crossing is the break-even rate.
Then one run over time, and its report as an HTML page.
Run: python examples/62_energy_of_a_simulation.py [--quick] [--out FILE]. Ends in a picture and a page.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.figure import Figure

import spikeframe as sf
from spikeframe import energy, plots

DT = 0.5


def network(rate: float, n: int) -> sf.Network:
    """Describe a balanced network.

    Args:
        rate: of each neuron's noise, spikes/s.
        n: neurons.
    """
    net = sf.Network(seed=7)
    receptors = {"exc": sf.neurons.Exp(tau=3.0), "inh": sf.neurons.Exp(tau=6.0)}
    neuron = sf.neurons.LIF(tau_m=20.0, v_th=15.0, t_ref=2.0, reset="value", receptors=receptors)
    e = net.population("exc", n * 4 // 5, neuron, v=sf.Uniform(0.0, 14.0))
    i = net.population("inh", n // 5, neuron, v=sf.Uniform(0.0, 14.0))
    net.connect(e, [e, i], sf.FixedProbability(0.1), receptor="exc", weight=1.0 * 400 / n, delay=1.0)
    net.connect(i, [e, i], sf.FixedProbability(0.1), receptor="inh", weight=-5.0 * 400 / n, delay=1.0)
    net.stimulate([e, i], sf.PoissonInput(rate, 3.0), receptor="exc")
    net.record([e, i], "spikes")
    net.record(e, "v", ids=range(3))
    return net


def main() -> None:
    """Sweep the drive, print the columns, draw and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smaller network, 100 ms")
    parser.add_argument("--out", type=Path, default=Path("energy_of_a_simulation.png"))
    options = parser.parse_args()
    n, duration = (200, 100.0) if options.quick else (2000, 1000.0)

    rows = []
    for rate in (1500.0, 2000.0, 3000.0, 5000.0, 8000.0):
        result = sf.Simulator(network(rate, n), dt=DT, threads=1).run(duration, progress=False)
        found = energy.columns(result.counts, every_step=True, dt=DT).total
        fired = result.total_spikes / (n * duration * 1e-3)
        rows.append((fired, found))
        print(f"{fired:6.1f} spikes/s: ratio {found.ratio:.3f}, break-even {found.break_even_rate:.0f} spikes/s")
    with energy.measured() as joules:
        simulator = sf.Simulator(network(2500.0, n), dt=DT, threads=1)
        result = simulator.run(duration, progress=False)
    print(energy.columns(result.counts, every_step=True, dt=DT).table())
    print(joules.words())
    timeline = energy.over_time(sf.Simulator(network(2500.0, n), dt=DT, threads=1), duration, duration / 50)

    figure = Figure(figsize=(10, 3.6), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    x = [fired for fired, _ in rows]
    kinds = {"operations": "operations only", "with_memory": "with memory", "non_spiking": "non-spiking, every step"}
    for (key, label), colour in zip(kinds.items(), ("#56b4e9", "#0072b2", "#d55e00"), strict=True):
        energies = [getattr(found, key) / 1e6 for _, found in rows]
        left.loglog(x, energies, marker="o", label=label, color=colour)
    left.set(xlabel="spikes/s of a neuron", ylabel="energy (µJ)", title="Energy of the run")
    left.set_ylim(0.5 * min(found.operations / 1e6 for _, found in rows))
    left.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(0.0, 0.75))
    left.spines[["top", "right"]].set_visible(False)
    plots.energy_over_time(timeline, ax=right)
    figure.savefig(options.out, dpi=120)
    page = options.out.with_suffix(".html")
    plots.write_simulation(page, simulator, result, timeline=timeline, joules=joules, title="Balanced network")
    print(f"page: {page}\npicture: {options.out}")


if __name__ == "__main__":
    main()
