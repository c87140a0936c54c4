"""Writes nest_release.json: what NEST's stochastic synapses send, spike by spike, over many trials.

Run in an environment that holds nest-simulator: python make_nest_release.py
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import nest
import numpy as np

TIMES = [10.0, 18.0, 30.0, 35.0, 70.0, 75.0, 80.0, 200.0]
TRIALS = 4000
SYNAPSES = {
    "bernoulli_synapse": {"p_transmit": 0.3},
    "quantal_stp_synapse, n=1": {"U": 0.7, "tau_rec": 100.0, "tau_fac": 0.0, "n": 1, "a": 1, "u": 0.7},
    "quantal_stp_synapse, n=5": {"U": 0.2, "tau_rec": 50.0, "tau_fac": 200.0, "n": 5, "a": 5, "u": 0.2},
}


def sent(model: str, parameters: dict) -> np.ndarray:
    """Return what arrives at every spike in every trial, ``[spikes, trials]``."""
    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.resolution = 0.1
    nest.rng_seed = 5
    cells = nest.Create("iaf_psc_delta", TRIALS, {"tau_m": 1e12, "V_th": 1e9, "E_L": 0.0, "V_m": 0.0})
    source = nest.Create("spike_generator", params={"spike_times": TIMES})
    parrot, meter = nest.Create("parrot_neuron"), nest.Create("multimeter", params={"record_from": ["V_m"]})
    nest.Connect(source, parrot)
    nest.Connect(parrot, cells, syn_spec={"synapse_model": model, "weight": 1.0, "delay": 1.0, **parameters})
    nest.Connect(meter, cells)
    nest.Simulate(TIMES[-1] + 5.0)
    events = meter.events
    order = np.lexsort((events["senders"], events["times"]))
    v = events["V_m"][order].reshape(-1, TRIALS)  # one row a millisecond
    after = v[np.array(TIMES, int) + 2]  # two delays of 1 ms each, and the sample after
    return np.rint(np.diff(np.vstack([np.zeros(TRIALS), after]), axis=0))


def main() -> None:
    """Run every synapse, write mean, variance and covariance with the spike before."""
    found = {"made_with": f"NEST {nest.__version__}", "times": TIMES, "trials": TRIALS, "models": {}}
    for name, parameters in SYNAPSES.items():
        x = sent(name.split(",")[0], parameters)
        joint = [float(np.cov(a, b)[0, 1]) for a, b in itertools.pairwise(x)]
        found["models"][name] = {"parameters": parameters, "mean": x.mean(1).tolist(), "variance": x.var(1).tolist(),
                                 "covariance": joint}  # fmt: skip
        print(name, x.mean(1).round(3), x.max())
    path = Path(__file__).parent / "nest_release.json"
    path.write_text(json.dumps(found, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
