"""Firing patterns of one model: the adaptive exponential integrate-and-fire neuron (Naud et al. 2008).

The eight parameter sets of table 1 of doi:10.1007/s00422-008-0264-7, with the later corrections by which they give the
paper's figures, each under its step of current. Parameters may differ from neuron to neuron, so all are one population.
Prints how each fires.
Run: python examples/10_firing_patterns.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import spikeframe as sf

ROWS = ("c_m", "g_l", "e_l", "v_t", "delta_t", "a", "tau_w", "b", "v_reset", "i_e")
#: pF, nS, mV, mV, mV, nS, ms, pA, mV, pA.
PATTERNS = {
    "tonic": (200, 10, -70, -50, 2, 2, 30, 0, -58, 500),
    "adapting": (200, 12, -70, -50, 2, 2, 300, 60, -58, 500),
    "initial burst": (130, 18, -58, -50, 2, 4, 150, 120, -50, 400),
    "regular bursting": (200, 10, -58, -50, 2, 2, 120, 100, -46, 210),
    "delayed accelerating": (200, 12, -70, -50, 2, -10, 300, 0, -58, 300),
    "delayed regular bursting": (100, 10, -65, -50, 2, -10, 90, 30, -47, 110),
    "transient": (100, 10, -65, -50, 2, 10, 90, 100, -47, 180),
    "irregular": (100, 12, -60, -50, 2, -11, 130, 30, -48, 160),
}
V_PEAK = 0.0


def describe() -> sf.Network:
    """Return the eight neurons at rest; the current is constant from the start."""
    network = sf.Network()
    columns = dict(zip(ROWS, np.array(list(PATTERNS.values()), np.float64).T, strict=True))
    cells = network.population("cells", len(PATTERNS), sf.neurons.AdEx(v_peak=V_PEAK, substeps=4, **columns))
    network.record(cells, "spikes")
    network.record(cells, "v")
    network.record(cells, "w")
    return network


def describe_train(times: NDArray[np.float64], duration: float) -> str:
    """Say in numbers how a neuron fires."""
    between = np.diff(times)
    if between.size < 2:
        return f"{times.size:3d} spikes within {times[-1]:.0f} ms" if times.size else "silent"
    middle = between[between.size // 2 :]
    spread = np.std(middle) / np.mean(middle)
    late = "" if times[-1] > 0.8 * duration else f", none after {times[-1]:.0f} ms"
    return (
        f"{times.size:3d} spikes, the first at {times[0]:5.1f} ms; intervals {between[0]:5.1f} ms at first, "
        f"{between[-1]:5.1f} ms at last, CV of the later half {spread:.2f}{late}"
    )


def main(quick: bool = False, out: str = "firing_patterns.png") -> Path:
    """Simulate, print how each neuron fires, and return the path of the picture."""
    duration = 100.0 if quick else 500.0
    result = sf.Simulator(describe(), dt=0.05, dtype="float64").run(duration)
    spikes, v, w = result.spikes["cells"], result.traces["cells"]["v"], result.traces["cells"]["w"]
    figure = Figure(figsize=(11, 9), layout="constrained", facecolor="white")
    axes = figure.subplots(len(PATTERNS) // 2, 2).ravel()
    for i, (name, ax) in enumerate(zip(PATTERNS, axes, strict=True)):
        times = spikes.times[spikes.ids == i]
        print(f"{name:26}{describe_train(times, duration)}")
        shown = v.values[:, i].copy()
        shown[np.searchsorted(v.times, times + 1e-9) - 1] = V_PEAK  # the reset hides the peak
        ax.plot(v.times, shown, color="#24292f", linewidth=0.8)
        ax.set_title(f"{name}: {PATTERNS[name][-1]} pA", loc="left", fontsize=10)
        ax.set(xlim=(0, duration), ylim=(-85, 5))
        beside = ax.twinx()
        beside.plot(w.times, w.values[:, i], color="#d55e00", linewidth=0.8)
        beside.tick_params(colors="#d55e00", labelsize=8)
        ax.spines["top"].set_visible(False)
        beside.spines["top"].set_visible(False)
        if i % 2 == 0:
            ax.set_ylabel("v (mV)")
        else:
            beside.set_ylabel("w (pA)", color="#d55e00")
    for ax in axes[-2:]:
        ax.set_xlabel("time (ms)")
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="firing_patterns.png", help="the picture (default: firing_patterns.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
