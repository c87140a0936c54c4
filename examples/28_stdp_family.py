"""One hook, many rules: what pairs, triplets, membranes, rewards and targets of rate do to weights.

Top left: change by one pair of spikes over its lag, pair STDP and the symmetric rule of inhibiting synapses.
Top right: 30 pairs at +10 and -10 ms over their rate; pair STDP knows no rate, triplets (Pfister and Gerstner 2006,
doi:10.1523/JNEUROSCI.1425-06.2006, visual cortex) and the membrane (Clopath et al. 2010, doi:10.1038/nn.2479) do. The
membrane is given: rest, and 12 mV that decay in 40 ms after each spike, about as much as the paper's neuron has.
Bottom left: inhibitory plasticity (Vogels et al. 2011, doi:10.1126/science.1211095) and synaptic scaling bring
neurons to the rates they are told.
Bottom right: two groups of inputs make a neuron fire; a second after a response to the first group, a reward comes.
The eligibility of R-STDP bridges the gap (Izhikevich 2007, doi:10.1093/cercor/bhl152).
The upper row runs on torch tensors, the lower one in the simulator; the rules are the same.
Run: python examples/28_stdp_family.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

import spikeframe as sf
from spikeframe.learning_rules import (
    InhibitorySTDP,
    PairSTDP,
    RewardSTDP,
    SynapticScaling,
    TripletSTDP,
    VoltageSTDP,
)
from spikeframe.learning_rules.on_tensors import plasticity

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
REST = -70.6


def change(rule: Any, pre: Any, post: Any, steps: int, dt: float = 1.0) -> float:
    """Return how far spikes at some steps move a weight of half its bound."""
    trains = torch.zeros(2, steps, 1, 1, dtype=torch.float64)
    trains[0, pre], trains[1, post] = 1.0, 1.0
    membrane = torch.full_like(trains[0], REST)
    for at in np.atleast_1d(post):
        membrane[at:, 0, 0] += 12.0 * torch.exp(-dt * torch.arange(steps - at) / 40.0)
    target = {"v": membrane} if isinstance(rule, VoltageSTDP) else None
    start = torch.full((1, 1), 0.5 * rule.w_max, dtype=torch.float64)
    return float(plasticity(rule, start, trains[0], trains[1], dt, target=target)[0] - start) / rule.w_max


def windows(ax: Any) -> None:
    """Draw the change by a single pair over its lag."""
    lags = np.array([*range(-80, 0, 4), *range(4, 84, 4)])
    rules = {
        "pair": PairSTDP(1.0, lambda_=0.01, alpha=1.05, mu_plus=0.0, mu_minus=0.0),
        "inhibitory": InhibitorySTDP(1.0, eta=0.01, rate=5.0),
    }
    for (name, rule), colour in zip(rules.items(), COLOURS, strict=False):
        ax.plot(lags, [100 * change(rule, [100], [100 + k], 200) for k in lags], ".-", color=colour, label=name)
    ax.set(xlabel="post after pre (ms)", ylabel="change (% of w_max)", title="one pair")


def protocol(ax: Any, quick: bool) -> None:
    """Draw the change by 30 pairs over their rate."""
    rates = (10.0, 50.0) if quick else (5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0)
    rules = {
        "pair": PairSTDP(1.0, lambda_=0.005, mu_plus=0.0, mu_minus=0.0),
        "triplet": TripletSTDP(1.0),
        "voltage": VoltageSTDP(1.0),
    }
    for (name, rule), colour in zip(rules.items(), COLOURS, strict=False):
        for lag, line in ((10, "-"), (-10, "--")):
            moved = []
            for rate in rates:
                at = 300 + np.arange(30) * round(1e3 / rate)
                moved.append(100 * change(rule, at, at + lag, int(at[-1]) + 200))
            ax.plot(rates, moved, line, marker=".", color=colour, label=name if lag > 0 else None)
            print(f"30 pairs at {lag:+d} ms, {name}: {moved[0]:+.1f} % at {rates[0]:g}/s, {moved[-1]:+.1f} % at 50/s")
    ax.set(xlabel="pairs per second", ylabel="change (% of w_max)", title="30 pairs, +10 ms (dashed: -10 ms)")


def held(ax: Any, seconds: float) -> None:
    """Draw the rates of neurons under inhibitory plasticity and under scaling."""
    net = sf.Network(seed=2)
    receptors = {"exc": sf.neurons.Exp(tau=5.0), "inh": sf.neurons.Exp(tau=5.0)}
    neuron = sf.neurons.LIF(tau_m=20.0, v_th=20.0, t_ref=2.0, receptors=receptors)
    inputs, brake = net.population("e", 100, sf.PoissonSource(20.0)), net.population("i", 50, sf.PoissonSource(20.0))
    names = {"inhibitory plasticity, 8 Hz": 8.0, "scaling, 12 Hz": 12.0}
    inhibited, scaled = (net.population(name, 20, neuron) for name in names)
    rule = InhibitorySTDP(w_max=-40.0, eta=0.001, rate=8.0)
    slow = SynapticScaling(w_max=40.0, rate=12.0, tau=2000.0, eta=2e-4)
    options = {"delay": 1.0}
    net.connect(inputs, inhibited, sf.AllToAll(), receptor="exc", weight=4.0, **options)
    net.connect(brake, inhibited, sf.AllToAll(), receptor="inh", weight=-0.1, synapse=rule, **options)
    net.connect(inputs, scaled, sf.AllToAll(), receptor="exc", weight=1.0, synapse=slow, **options)
    net.record([inhibited, scaled], "rate", every=500.0)
    result = sf.Simulator(net, dt=0.5).run(seconds * 1e3, progress=False)
    for (name, aim), colour in zip(names.items(), COLOURS, strict=False):
        trace = result.traces[name]["rate"]
        ax.plot(trace.times * 1e-3, trace.values, color=colour, linewidth=1.2, label=name)
        ax.axhline(aim, color=colour, linewidth=0.8, linestyle=":")
        late = trace.values[-trace.values.size // 3 :].mean()
        print(f"{name}: {trace.values[0]:.1f} -> {late:.1f} spikes/s")
    ax.set(xlabel="time (s)", ylabel="spikes/s", title="held at a rate", ylim=(0, 60))


def rewarded(ax: Any, trials: int) -> None:
    """Draw the weights of two groups of inputs, of which responses to the first are rewarded a second later."""
    rng, size, every, dt = np.random.default_rng(3), 20, 2000.0, 0.5
    groups = rng.permutation(np.arange(trials) % 2)
    onset = 100.0 + every * np.arange(trials)
    times = np.repeat(onset, size) + rng.integers(0, 20, trials * size) * dt
    net = sf.Network(seed=4)
    neuron = sf.neurons.LIF(tau_m=20.0, v_th=20.0, t_ref=2.0, receptors=sf.neurons.Exp(tau=5.0))
    inputs = net.population("inputs", 2 * size, sf.SpikeSource(times, np.repeat(groups, size) * size
                            + np.tile(np.arange(size), trials)))  # fmt: skip
    output = net.population("output", 1, neuron)
    rule = RewardSTDP(w_max=18.0, a_plus=0.03, a_minus=0.012, tau_c=1000.0, tau_d=200.0)
    (link,) = net.connect(inputs, output, sf.AllToAll(), weight=9.0, delay=1.0, synapse=rule)
    net.record(output, "spikes")
    sim = sf.Simulator(net, dt=dt, threads=1)
    weights = []
    for group in groups:
        responded = len(sim.run(1100.0, progress=False).spikes["output"]) > 0
        sim.signal(link, (2.0 if group == 0 else -2.0) * responded)
        sim.run(every - 1100.0, progress=False)
        sim.signal(link, 0.0)  # brings all weights up to date
        weight = sim.weights(link).weight
        weights.append([weight[:size].mean(), weight[size:].mean()])
    for values, name, colour in zip(np.array(weights).T, ("rewarded", "punished"), COLOURS, strict=False):
        ax.plot(np.arange(1, trials + 1), values, color=colour, label=name)
        print(f"responses to this group are {name}: mean weight 9.0 -> {values[-1]:.1f}")
    ax.set(xlabel="trials", ylabel="mean weight", title="a reward one second late")


def main(quick: bool = False, out: str = "stdp_family.png") -> Path:
    """Run all four, print what came out, and return the path of the picture."""
    figure = Figure(figsize=(10, 7), layout="constrained", facecolor="white")
    axes = figure.subplots(2, 2).ravel()
    windows(axes[0])
    protocol(axes[1], quick)
    held(axes[2], 4.0 if quick else 90.0)
    rewarded(axes[3], 4 if quick else 40)
    for ax in axes:
        ax.legend(frameon=False)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[:2]:
        ax.axhline(0.0, color="#24292f", linewidth=0.6)
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="stdp_family.png", help="the picture (default: stdp_family.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
