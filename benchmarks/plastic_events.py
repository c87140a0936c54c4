"""What a plastic synapse costs beside a static one, rule by rule: nanoseconds per event.

    python benchmarks/plastic_events.py [--quick] [--rounds N] [--out FILE]

2,000 Poisson sources of 40 spikes/s reach 500 of 2,000 targets each, 1,000,000 synapses. Targets fire 40 spikes/s
too, at given times that no synapse changes, so every rule sees the same spikes. An event is an arrival at a synapse,
or a spike of the target seen by a synapse (none for static ones). Time without the projection is taken off. One thread,
float32, one process, rules in turns, medians; lower rows are ratios to static synapses.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

from common import table, write_json

import spikeframe as sf
from spikeframe.kernels.plasticity import Plasticity
from spikeframe.learning_rules import (
    InhibitorySTDP,
    PairSTDP,
    RewardSTDP,
    SynapticScaling,
    TripletSTDP,
    VoltageSTDP,
)

SIZE, FAN, RATE, DT = 2000, 500, 40.0, 0.5
RULES: dict[str, Any] = {
    "static": None,
    "pair, additive": PairSTDP(2.0, mu_plus=0.0, mu_minus=0.0),
    "pair, linear": PairSTDP(2.0),
    "pair, power": PairSTDP(2.0, mu_plus=0.4, mu_minus=0.4),
    "triplet": TripletSTDP(2.0),
    "inhibitory": InhibitorySTDP(2.0),
    "reward": RewardSTDP(2.0),
    "voltage": VoltageSTDP(2.0),
    "scaling": SynapticScaling(2.0),
}


def simulator(rule: Any, connected: bool, delay: Any) -> sf.Simulator:
    """Return the network with one rule, or without the projection."""
    net = sf.Network(seed=1)
    receptors = {"in": sf.neurons.Delta(), "drive": sf.neurons.Delta()}
    neuron = sf.neurons.LIF(tau_m=10.0, v_th=1e5, reset="value", receptors=receptors)
    source, drive = (net.population(name, SIZE, sf.PoissonSource(RATE)) for name in ("source", "drive"))
    target = net.population("target", SIZE, neuron)
    net.connect(drive, target, sf.OneToOne(), receptor="drive", weight=1e6, delay=1.0)
    if connected:
        net.connect(source, target, sf.FixedOutDegree(FAN), receptor="in", weight=1.0, delay=delay, synapse=rule)
    sim = sf.Simulator(net, dt=DT, threads=1)
    sim.run(20.0, progress=False)  # compiles
    return sim


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two short rounds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", help="JSON file for the results")
    options = parser.parse_args()
    duration, rounds = (50.0, 2) if options.quick else (1000.0, options.rounds)
    layouts = {"one delay": 1.0, "several delays": sf.Uniform(0.5, 5.0)}
    found: dict[str, dict[str, float]] = {}
    for layout, delay in layouts.items():
        sims = {"none": simulator(None, False, delay)} | {n: simulator(r, True, delay) for n, r in RULES.items()}
        seconds: dict[str, list[float]] = {name: [] for name in sims}
        events: dict[str, int] = {}
        for _ in range(rounds):
            for name, sim in sims.items():
                begun = time.perf_counter()
                result = sim.run(duration, progress=False)
                seconds[name].append(time.perf_counter() - begun)
                fired = result.counts["target"].spk_out
                rule = RULES.get(name)
                watches = rule is not None and type(rule).at_post is not Plasticity.at_post
                events[name] = result.delivered - fired + (fired * FAN if watches else 0)
        idle = statistics.median(seconds["none"])
        found[layout] = {n: (statistics.median(seconds[n]) - idle) / events[n] * 1e9 for n in RULES}
    print("ns per event\n")
    rows = [[name, *(found[layout][name] for layout in layouts)] for name in RULES]
    print(table(rows, ["rule", *layouts]))
    print("\ntimes a static event\n")
    rows = [[name, *(found[layout][name] / found[layout]["static"] for layout in layouts)] for name in RULES]
    print(table(rows, ["rule", *layouts]))
    if options.out:
        write_json(options.out, found)


if __name__ == "__main__":
    main()
