"""Makes nest_plasticity.json with NEST: python make_nest_plasticity.py (needs nest-simulator).

STDP: one synapse between two given trains; its weight as sent by every presynaptic spike (weight_recorder). NEST's
delay is dendritic: a pair counts with t_post + delay - t_pre. Tsodyks: a train, regular then irregular, through both
kinds of NEST's synapses; again the weights sent.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import nest  # type: ignore[import-not-found]

DELAY = 1.0


def train(rng: random.Random, n: int, first: int, last: int) -> list[float]:
    """Return n different times on a grid of 0.1 ms."""
    return [round(0.1 * k, 1) for k in sorted(rng.sample(range(first, last), n))]


def sent(pre: list[float], post: list[float], model: str, parameters: dict[str, Any], tau_minus: float) -> list[float]:
    """Return the weight that each presynaptic spike is sent with."""
    nest.ResetKernel()
    nest.set_verbosity("M_ERROR")
    nest.resolution = 0.1
    recorder = nest.Create("weight_recorder")
    nest.CopyModel(model, "recorded", {"weight_recorder": recorder})
    # A parrot passes a generator's spike on after the smallest delay, 0.1 ms here.
    a, b = (nest.Create("spike_generator", params={"spike_times": [round(t - 0.1, 1) for t in x]}) for x in (pre, post))
    source, target = nest.Create("parrot_neuron"), nest.Create("parrot_neuron", params={"tau_minus": tau_minus})
    for generator, parrot in ((a, source), (b, target)):
        nest.Connect(generator, parrot, syn_spec={"delay": 0.1})
    # Receptor 1 of a parrot takes no spikes, so the target fires its own train only.
    nest.Connect(
        source, target, syn_spec={"synapse_model": "recorded", "delay": DELAY, "receptor_type": 1, **parameters}
    )
    nest.Simulate(max(pre + post) + 10.0)
    return [float(w) for w in recorder.events["weights"]]


def main() -> None:
    """Write the file."""
    rng = random.Random(1)
    pre, post = train(rng, 120, 20, 20_000), train(rng, 120, 20, 20_000)
    # Nearest pairing: NEST assumes a presynaptic spike at time 0, so there is no postsynaptic one before the first.
    post = [t for t in post if t > pre[0]]
    # Pairs at one time, t_post + delay = t_pre: NEST potentiates first, which only additive weights do not show.
    same = sorted({*post, *(round(t - DELAY, 1) for t in pre[10:60:10])})
    post = [t for t in post if round(t + DELAY, 1) not in pre]
    cases = []
    for pairing, mus in (("all", (0.0, 0.0)), ("all", (1.0, 1.0)), ("all", (0.4, 0.7)), ("nearest", (0.0, 0.0))):
        model = "stdp_synapse" if pairing == "all" else "stdp_nn_symm_synapse"
        p = {"lambda": 0.01, "alpha": 1.1, "mu_plus": mus[0], "mu_minus": mus[1], "Wmax": 2.0, "tau_plus": 17.0}
        trains = same if mus == (0.0, 0.0) else post
        weights = sent(pre, trains, model, {**p, "weight": 1.0}, 25.0)
        cases.append({"pairing": pairing, **p, "tau_minus": 25.0, "weight": 1.0, "post": trains, "sent": weights})
    regular = [round(10.0 + 25.0 * k, 1) for k in range(20)]
    pulses = regular + [round(600.0 + t, 1) for t in train(rng, 60, 0, 9_000)]
    short = []
    for tau_fac, U, tau_rec in ((0.0, 0.5, 800.0), (530.0, 0.15, 130.0), (50.0, 0.5, 750.0)):
        p = {"U": U, "tau_rec": tau_rec, "tau_fac": tau_fac}
        two = sent(pulses, [5.0], "tsodyks2_synapse", {**p, "u": U, "weight": 3.0}, 20.0)
        three = sent(pulses, [5.0], "tsodyks_synapse", {**p, "tau_psc": 3.0, "weight": 3.0}, 20.0)
        short.append({**p, "tau_psc": 3.0, "weight": 3.0, "two": two, "three": three})
    found = {"nest": nest.__version__, "delay": DELAY, "pre": pre, "stdp": cases,
             "pulses": pulses, "tsodyks": short}  # fmt: skip
    Path(__file__).with_name("nest_plasticity.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
