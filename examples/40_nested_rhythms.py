"""A fast rhythm within a slow one, and how they are measured: gamma that theta switches on and off.

320 exciting and 80 inhibiting neurons make gamma by turns: a volley of the first calls one of the second, which
silences both until inhibition has decayed. A current of some 8 Hz, whose phase drifts, lets them only on its crest.
Measured on the population's rate: how the amplitude of gamma depends on the phase of theta (Tort's modulation index,
against shifted amplitudes); on spikes: how they lock to either rhythm, how synchronous they are, how irregular. Beside
it the same network with a steady current of the same mean.
Run: python examples/40_nested_rhythms.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import spikeframe as sf
from spikeframe.analysis import (
    analytic,
    cv2,
    mean_correlation,
    participation_ratio,
    phase_amplitude_coupling,
    rayleigh,
    spike_synchronization,
)

THETA, GAMMA = (5.0, 11.0), (30.0, 90.0)
DT = 0.5


def simulated(theta: bool, duration: float) -> Any:
    """Return the spikes and the rate of both populations.

    Args:
        theta: whether the current has a rhythm.
        duration: ms.
    """
    network = sf.Network(seed=3)
    receptors = {"exc": sf.neurons.Exp(tau=2.0), "inh": sf.neurons.Exp(tau=4.0)}
    neuron = sf.neurons.LIF(tau_m=20.0, r_m=1.0, v_th=15.0, t_ref=2.0, reset="value", receptors=receptors)
    e = network.population("e", 320, neuron, v=sf.Uniform(0.0, 14.0))
    i = network.population("i", 80, neuron, v=sf.Uniform(0.0, 14.0))
    near = sf.FixedProbability(0.3, autapses=False)
    network.connect(e, e, near, receptor="exc", weight=0.6, delay=1.0)
    network.connect(e, i, near, receptor="exc", weight=4.0, delay=1.0)
    network.connect(i, e, near, receptor="inh", weight=-4.0, delay=1.0)
    network.connect(i, i, near, receptor="inh", weight=-2.0, delay=1.0)
    network.stimulate(e, sf.DC(26.0))
    network.stimulate(i, sf.DC(10.0))
    network.stimulate([e, i], sf.NoiseCurrent(0.0, 12.0))
    if theta:
        times = np.arange(1.0, duration)
        drift = np.cumsum(np.random.default_rng(1).normal(0.0, 0.08, times.size))
        network.stimulate(e, sf.StepCurrent(times, 16.0 * np.sin(2.0 * np.pi * 8e-3 * times + drift)))
    network.record([e, i], "spikes")
    network.record([e, i], "rate", every=1.0)
    return sf.Simulator(network, dt=DT, threads=1).run(duration, progress=False)


def measured(result: Any, surrogates: int) -> dict[str, Any]:
    """Return what is measured of a run.

    Args:
        result: of `simulated`.
        surrogates: shifted amplitudes.
    """
    rate = result.traces["e"]["rate"].values
    spikes = result.spikes["e"]
    times, ids = spikes.times, spikes.ids
    found: dict[str, Any] = {"coupling": phase_amplitude_coupling(rate, 1.0, THETA, GAMMA, surrogates=surrogates)}
    for name, band in (("theta", THETA), ("gamma", GAMMA)):
        phase = np.angle(analytic(rate, 1.0, *band))
        found[name] = rayleigh(phase[np.minimum(times.astype(int), phase.size - 1)])
    trains = [times[ids == n] for n in range(320)]
    pairs = np.random.default_rng(0).integers(0, 320, (200, 2))
    found["synchrony"] = np.mean([spike_synchronization(trains[a], trains[b]) for a, b in pairs if a != b])
    found["cv2"] = np.nanmean([cv2(t) for t in trains])
    found["correlation"] = mean_correlation(times, ids, 0.0, result.duration, 5.0)
    bins = (ids * int(result.duration / 5.0) + np.minimum(times / 5.0, result.duration / 5.0 - 1).astype(int)).astype(
        int
    )
    counts = np.bincount(bins, minlength=320 * int(result.duration / 5.0)).reshape(320, -1).T
    found["dimension"] = participation_ratio(counts)
    power = np.abs(np.fft.rfft(rate - rate.mean())) ** 2
    frequency = np.fft.rfftfreq(rate.size, 1e-3)
    inside = (frequency >= GAMMA[0]) & (frequency <= GAMMA[1])
    found["peak"] = frequency[inside][power[inside].argmax()]
    return found


def main(quick: bool = False, out: str = "nested_rhythms.png") -> Path:
    """Simulate, print the measures, and return the path of the picture."""
    duration = 1500.0 if quick else 10_000.0
    figure = Figure(figsize=(11, 6.5), layout="constrained", facecolor="white")
    axes = figure.subplots(2, 2, width_ratios=(2, 1))
    for row, (name, theta) in zip(axes, (("theta", True), ("steady current", False)), strict=True):
        result = simulated(theta, duration)
        found = measured(result, 20 if quick else 200)
        coupling = found["coupling"]
        print(
            f"{name}: {result.rates()['e']:.1f} spikes/s, gamma at {found['peak']:.0f} Hz; modulation index "
            f"{coupling.index:.4f} (z {coupling.z:.1f}, p {coupling.p:.3f}); spikes lock to theta by "
            f"{found['theta'][0]:.2f}, to gamma by {found['gamma'][0]:.2f}; SPIKE-synchronization "
            f"{found['synchrony']:.2f}, correlation {found['correlation']:.3f}, CV2 {found['cv2']:.2f}, participation "
            f"ratio {found['dimension']:.1f}"
        )
        spikes, shown = result.spikes, 800.0
        for population, offset, colour in (("e", 0, "#24292f"), ("i", 320, "#d55e00")):
            early = spikes[population].times < shown
            row[0].plot(spikes[population].times[early], spikes[population].ids[early] + offset, ".", color=colour,
                        markersize=1.2)  # fmt: skip
        row[0].set(xlim=(0, shown), ylabel="neuron", title=name)
        edges = np.linspace(-180.0, 180.0, coupling.histogram.size + 1)
        row[1].bar(edges[:-1], coupling.histogram, np.diff(edges), align="edge", color="#0072b2", edgecolor="white")
        row[1].set(ylabel="share of gamma", title=f"modulation index {coupling.index:.3f}, z = {coupling.z:.1f}",
                   xlim=(-180, 180))  # fmt: skip
    axes[1, 0].set_xlabel("time (ms)")
    axes[1, 1].set_xlabel("phase of theta (degrees)")
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="nested_rhythms.png", help="the picture (default: nested_rhythms.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
