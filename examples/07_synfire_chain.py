"""A synfire chain: a volley of spikes travels from group to group, or dies (Diesmann, Gewaltig and Aertsen 1999).

Ten groups of 100 neurons, doi:10.1038/990101; every neuron reaches the whole next group after 5 ms, under random
background that makes it fire about twice a second. A volley of a spikes that spread by sigma becomes sharper and
complete, or fades, depending on where in the plane of (sigma, a) it starts. The same chain with delays that differ from
synapse to synapse makes volleys wider and, in the end, loses them.
Run: python examples/07_synfire_chain.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import ndtri

import spikeframe as sf

Floats = NDArray[np.float64]

GROUPS, WIDTH, DELAY, START = 10, 100, 5.0, 200.0
#: Spikes and spread (ms) of the first volley.
VOLLEYS = [(a, s) for s in (0.5, 2.0, 4.0) for a in (30, 50, 70, 90)]
#: Standard deviations of the delays (ms).
SPREADS = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def neuron() -> sf.neurons.LIF:
    """Return a cell of 250 pF and 10 ms that alpha-shaped currents drive."""
    return sf.neurons.LIF(
        tau_m=10.0, r_m=10.0 / 250.0, v_rest=-70.0, v_th=-55.0, v_reset=-70.0, t_ref=2.0,
        receptors=sf.neurons.Alpha(tau=0.3258),
    )  # fmt: skip


def links(chain: int) -> sf.Pairs:
    """Return the pairs of a chain, each of its groups onto the whole next."""
    source = np.repeat(np.arange((GROUPS - 1) * WIDTH), WIDTH)
    target = (source // WIDTH + 1) * WIDTH + np.tile(np.arange(WIDTH), (GROUPS - 1) * WIDTH)
    return sf.Pairs(source + chain * GROUPS * WIDTH, target + chain * GROUPS * WIDTH)


def describe(volleys: list[tuple[int, float]], spreads: list[float]) -> sf.Network:
    """Return chains under background, side by side, each with a volley that starts it.

    Args:
        volleys: spikes and standard deviation (ms) of every chain's volley.
        spreads: standard deviation of every chain's delays (ms).
    """
    network, weight, count = sf.Network(seed=3), 47.1, len(volleys)  # pA: a postsynaptic potential of 0.14 mV
    chains = network.population("chains", count * GROUPS * WIDTH, neuron(), v=sf.Normal(-61.0, 3.0, high=-55.5))
    network.stimulate(chains, sf.PoissonInput(17_600 * 2.0, weight))
    network.stimulate(chains, sf.PoissonInput(2_400 * 12.5, -weight))
    for i, spread in enumerate(spreads):
        delay = sf.Normal(DELAY, spread, low=0.1) if spread else DELAY
        network.connect(chains, chains, links(i), weight=weight, delay=delay)
    sizes = [spikes for spikes, _ in volleys]
    # The quantiles of a normal distribution: a volley without the luck of a draw.
    times = [START + sigma * ndtri((np.arange(spikes) + 0.5) / spikes) for spikes, sigma in volleys]
    source = network.population(
        "volleys", sum(sizes), sf.SpikeSource(np.concatenate(times).round(1), range(sum(sizes)))
    )
    first = np.repeat(np.arange(count) * GROUPS * WIDTH, sizes)
    to_all = sf.Pairs(np.repeat(np.arange(sum(sizes)), WIDTH), (first[:, np.newaxis] + np.arange(WIDTH)).ravel())
    network.connect(source, chains, to_all, weight=weight, delay=DELAY)
    network.record(chains, "spikes")
    return network


def follow(times: Floats, groups: Floats) -> tuple[Floats, Floats, Floats]:
    """Follow the volley down a chain; return per group its spikes, their spread (ms) and middle (ms)."""
    found = []
    centre = START
    for group in range(GROUPS):
        near = times[(groups == group) & (times > centre) & (times < centre + 15.0)]
        fullest = max((near[np.abs(near - t) < 4.0] for t in near), key=len, default=near)
        there = fullest.size > WIDTH / 10
        # A normal distribution's quartiles lie 1.35 sd apart; stray background spikes hardly move them.
        spread = np.subtract(*np.percentile(fullest, [75, 25])) / 1.35 if there else np.nan
        centre = float(np.median(fullest)) if there else centre + DELAY + 2.0
        found.append((float(fullest.size), float(spread), centre))
    size, spread, when = np.array(found).T
    return size, spread, when


def raster(ax: Axes, times: Floats, neurons: Floats, title: str) -> None:
    """Draw a chain's spikes."""
    ax.plot(times, neurons / WIDTH + 1, ".", color="#24292f", markersize=1.2)
    ax.set(title=title, xlabel="time (ms)", ylabel="group", xlim=(START - 30, START + 100), ylim=(1, GROUPS + 1))


def plane(ax: Axes, followed: dict[tuple[int, float], Any]) -> None:
    """Draw how volleys move in the plane of spread and size."""
    for (spikes, sigma), (sizes, spreads, _) in followed.items():
        arrives = sizes[-1] > WIDTH / 2
        end = GROUPS if arrives else int(np.argmax(sizes < WIDTH / 10)) or GROUPS
        x, y = np.r_[sigma, spreads[:end]], np.r_[spikes, sizes[:end]]
        ax.plot(x, y, ".-", color="#0072b2" if arrives else "#d55e00", markersize=4, linewidth=1)
        ax.plot(x[0], y[0], "o", color="#24292f", markersize=4)
    ax.set(title="From every start (black): arrives (blue) or fades", xlabel="spread of the spikes (ms)",
           ylabel="spikes of the volley", xlim=(0, 4.5), ylim=(0, 115))  # fmt: skip


def main(quick: bool = False, out: str = "synfire_chain.png") -> Path:
    """Simulate all chains at once, print what arrives, and return the path of the picture."""
    starts, spreads = (VOLLEYS[::6], SPREADS[::6]) if quick else (VOLLEYS, SPREADS)
    network = describe([*starts, *[(100, 0.5)] * len(spreads)], [0.0] * len(starts) + spreads)
    spikes = sf.Simulator(network, dt=0.1).run(START + 110.0).spikes["chains"]
    mine = [spikes.ids // (GROUPS * WIDTH) == i for i in range(len(starts) + len(spreads))]
    chains = [(spikes.times[m], spikes.ids[m] % (GROUPS * WIDTH)) for m in mine]
    followed = [follow(times, ids // WIDTH) for times, ids in chains]
    for (many, sigma), (size, width, when) in zip(starts, followed, strict=False):
        end = f"{size[-1]:.0f} spikes"
        if size[-1] > WIDTH / 2:
            end += f" within +-{width[-1]:.2f} ms, {np.diff(when).mean():.2f} ms a group"
        print(f"a volley of {many} spikes, sigma {sigma:g} ms: in the last group {end}")
    arrived = [size[-1] for size, _, _ in followed[len(starts) :]]
    for spread, reached in zip(spreads, arrived, strict=True):
        print(f"delays of {DELAY:g} +- {spread:g} ms: in the last group {reached:.0f} spikes")

    figure = Figure(figsize=(10, 7.5), layout="constrained", facecolor="white")
    axes = figure.subplots(2, 2)
    shown = (starts[-1], starts[0]) if quick else ((70, 2.0), (30, 2.0))
    for ax, volley in zip(axes[0], shown, strict=True):
        title = f"A volley of {volley[0]} spikes, sigma = {volley[1]:g} ms"
        raster(ax, *chains[starts.index(volley)], title)
    plane(axes[1, 0], dict(zip(starts, followed, strict=False)))
    axes[1, 1].plot(spreads, arrived, "o-", color="#0072b2")
    axes[1, 1].set(title=f"Delays of {DELAY:g} ms that differ", xlabel="standard deviation of the delays (ms)",
                   ylabel="spikes within 8 ms in the last group", ylim=(0, 115))  # fmt: skip
    for ax in axes.flat:
        ax.title.set(fontsize=10, horizontalalignment="left", x=0.0)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="synfire_chain.png", help="the picture (default: synfire_chain.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
