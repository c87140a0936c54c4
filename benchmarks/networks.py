"""The networks that simulators are compared on, described once, and the same in plain values for other simulators.

========== ======= ================================================================= ==============================
name       neurons what                                                              source
========== ======= ================================================================= ==============================
cuba         4,000 balanced network of current-based synapses, no input              doi:10.1523/JNEUROSCI.3508-05.2005
coba         4,000 the same with conductances, started by 50 ms of random spikes     doi:10.1007/s10827-007-0038-6
brunel      12,500 delta synapses, g = 5, eta = 2, Poisson drive                     doi:10.1023/A:1008925309027
micro-      77,169 eight populations in four cortical layers, drawn weights and      doi:10.1093/cercor/bhs358
circuit            delays, Poisson drive
========== ======= ================================================================= ==============================

A smaller scale keeps a fraction of the neurons and, but for the microcircuit (see examples/06_microcircuit.py), the
number of synapses of each.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import spikeframe as sf

EXAMPLES = Path(__file__).parents[1] / "examples"


def _balanced(neuron: sf.neurons.Neuron, weights: tuple[float, float], scale: float, seed: int) -> sf.Network:
    """Return 80 % exciting and 20 % inhibiting neurons with 64 and 16 random inputs each on average."""
    network = sf.Network(seed=seed)
    start = {"v": sf.Uniform(-60.0, -50.0)} if isinstance(neuron, sf.neurons.LIF) else {}
    exc = network.population("E", round(3200 * scale), neuron, **start)
    inh = network.population("I", round(800 * scale), neuron, **start)
    chance = sf.FixedProbability(min(1.0, 0.02 / scale))
    network.connect(exc, [exc, inh], chance, receptor="exc", weight=weights[0], delay=0.1)
    network.connect(inh, [exc, inh], chance, receptor="inh", weight=weights[1], delay=0.1)
    network.record([exc, inh], "spikes")
    return network


def cuba(scale: float = 1.0, seed: int = 1) -> sf.Network:
    """Return the balanced network with exponential currents (weights in mV of a resistance of 1)."""
    lif = sf.neurons.LIF(
        tau_m=20.0, v_rest=-49.0, v_th=-50.0, v_reset=-60.0, t_ref=5.0,
        receptors={"exc": sf.neurons.Exp(tau=5.0), "inh": sf.neurons.Exp(tau=10.0)},
    )  # fmt: skip
    return _balanced(lif, (1.62, -9.0), scale, seed)


def coba(scale: float = 1.0, seed: int = 1) -> sf.Network:
    """Return the balanced network with conductances; 50 Poisson neurons at 300/s wake it from 1 to 51 ms.

    The midpoint method is of order 2; Brian2's script takes the exponential Euler method, of order 1, NEST a
    Runge-Kutta method of order 4 whose step adapts.
    """
    lif = sf.neurons.CondLIF(
        c_m=200.0, g_l=10.0, e_l=-60.0, v_th=-50.0, v_reset=-60.0, t_ref=5.0,
        receptors={"exc": sf.neurons.CondExp(tau=5.0, e_rev=0.0), "inh": sf.neurons.CondExp(tau=10.0, e_rev=-80.0)},
        method="midpoint",
    )  # fmt: skip
    network = _balanced(lif, (6.0, 67.0), scale, seed)
    stimulus = network.population("stimulus", 50, sf.PoissonSource(300.0, 1.0, 51.0))
    pairs = sf.Pairs(np.arange(50), np.arange(50))
    network.connect(stimulus, "E", pairs, receptor="exc", weight=6.0, delay=0.1)
    return network


def _example(file: str, scale: float = 1.0, seed: int = 1) -> sf.Network:
    """Return the network that an example describes."""
    network: sf.Network = runpy.run_path(str(EXAMPLES / file))["describe"](scale=scale, seed=seed)
    return network


NETWORKS: dict[str, Callable[..., sf.Network]] = {
    "cuba": cuba,
    "coba": coba,
    "brunel": partial(_example, "08_brunel.py"),
    "microcircuit": partial(_example, "06_microcircuit.py"),
}


def _plain(thing: Any) -> dict[str, Any]:
    """Return a rule, distribution or source as its class name and fields."""
    values = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(thing).items()}
    return {"kind": type(thing).__name__, **values}


def _parameters(part: Any) -> dict[str, Any]:
    """Return a neuron or receptor as its class name and parameters."""
    return {"kind": type(part).__name__, **{name: float(part.value(name)) for name in part.PARAMETERS}}


def _neuron(population: Any) -> dict[str, Any]:
    receptors = {name: _parameters(receptor) for name, receptor in population.neuron.receptors.items()}
    return {**_parameters(population.neuron), "receptors": receptors}


def plain(network: sf.Network) -> dict[str, Any]:
    """Return a network of one neuron model as values that JSON takes, for simulators elsewhere.

    Only ``i_e`` may differ between populations.
    """
    neurons = [p for p in network.populations.values() if isinstance(p.neuron, sf.neurons.Neuron)]
    sources = [p for p in network.populations.values() if isinstance(p.neuron, sf.PoissonSource)]
    models = [_neuron(p) for p in neurons]
    currents = [m.pop("i_e", 0.0) for m in models]
    if any(m != models[0] for m in models):
        raise ValueError("plain: all populations must have one neuron model; only i_e may differ.")
    return {
        "neuron": models[0],
        "populations": [
            {"name": p.name, "size": p.size, "i_e": i, "v": _plain(p.initial["v"]) if "v" in p.initial else None}
            for p, i in zip(neurons, currents, strict=True)
        ],
        "sources": [{"name": p.name, "size": p.size, **_plain(p.neuron)} for p in sources],
        "projections": [
            {"source": c.source.name, "target": c.target.name, "receptor": c.receptor, "rule": _plain(c.rule),
             "weight": _plain(c.weight), "delay": _plain(c.delay)}
            for c in network.projections
        ],
        "poisson": [
            {"target": s.target.name, "receptor": s.receptor, "rate": s.drive.rate, "weight": s.drive.weight}
            for s in network.stimuli
            if isinstance(s.drive, sf.PoissonInput)
        ],
    }  # fmt: skip
