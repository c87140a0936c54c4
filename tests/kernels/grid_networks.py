"""Small networks that between them use everything a grid run has, and how their runs are compared."""

from __future__ import annotations

from typing import Any

import numpy as np

import spikeframe as sf
from spikeframe.kernels.grid import GridProvider


def mixed(seed: int = 3) -> sf.Network:
    """Two models, drawn weights and delays, a constant weight, Poisson input, noise, a source and samples."""
    network = sf.Network(seed=seed)
    lif = sf.neurons.LIF(
        tau_m=10.0, r_m=0.04, v_rest=-65.0, v_th=-50.0, v_reset=-65.0, t_ref=2.0, receptors=sf.neurons.Exp(tau=0.5)
    )
    adex = sf.neurons.AdEx(receptors={"exc": sf.neurons.Exp(tau=2.0), "inh": sf.neurons.Exp(tau=5.0)})
    exc = network.population("E", 150, lif, v=sf.Normal(-60.0, 5.0))
    inh = network.population("I", 67, lif, v=sf.Uniform(-65.0, -50.0))
    other = network.population("A", 41, adex)
    source = network.population("S", 9, sf.PoissonSource(200.0))
    network.stimulate("E", sf.PoissonInput(9000.0, 87.0))
    network.stimulate("I", sf.PoissonInput(8000.0, 87.0, start=3.0, stop=25.0))
    network.stimulate("E", sf.NoiseCurrent(60.0, 40.0))
    network.stimulate("A", sf.DC(700.0))
    network.connect(exc, [exc, inh], sf.FixedProbability(0.2), weight=sf.Normal(87.0, 9.0, low=0.0),
                    delay=sf.Normal(1.5, 0.7, low=0.1))  # fmt: skip
    network.connect(inh, [exc, inh], sf.FixedProbability(0.2), weight=-300.0, delay=0.8)
    network.connect(exc, other, sf.FixedProbability(0.3), receptor="exc", weight=60.0, delay=1.1)
    network.connect(other, exc, sf.FixedProbability(0.3), weight=-50.0, delay=0.5)
    network.connect(source, exc, sf.FixedProbability(0.5), weight=sf.Uniform(50.0, 90.0), delay=sf.Uniform(0.3, 2.0))
    network.record([exc, inh, other, source], "spikes")
    network.record(exc, "v", ids=[3, 77, 149], every=0.5)
    network.record(other, "w", every=0.7)
    return network


def slow(seed: int = 5) -> sf.Network:
    """A delta network whose delay lets blocks run several steps between two meetings; random numbers in the step."""
    network = sf.Network(seed=seed)
    cell = sf.neurons.LIF(tau_m=20.0, v_th=20.0, v_reset=10.0, t_ref=2.0)
    exc = network.population("E", 200, cell, v=sf.Uniform(0.0, 20.0))
    inh = network.population("I", 50, cell)
    network.stimulate("E", sf.PoissonInput(15000.0, 0.1))
    network.stimulate("I", sf.PoissonInput(15000.0, 0.1))
    network.connect(exc, [exc, inh], sf.FixedInDegree(20), weight=0.2, delay=1.5)
    network.connect(inh, [exc, inh], sf.FixedInDegree(5), weight=-1.0, delay=1.5)
    network.record([exc, inh], "spikes")
    return network


NETWORKS = {"mixed": mixed, "slow": slow}


def results(network: sf.Network, provider: GridProvider, cuts: list[int], dtype: str, parts: int) -> dict[str, Any]:
    """Run a network in stretches of the given steps on a provider; return spikes, samples, states and counts."""
    from spikeframe.core.circuit import Circuit

    circuit = Circuit(network, 0.1, "numba", parts, dtype)
    circuit._provider = provider
    found: dict[str, Any] = {"spikes": [], "samples": [], "delivered": 0, "arrivals": 0}
    for steps in cuts:
        first = circuit.state.step
        chunk = provider.run(circuit.laid.plan, circuit.state, steps, circuit._given(steps), parts)
        assert chunk.steps == steps
        for g, (start, ids) in enumerate(zip(chunk.start, chunk.ids, strict=True)):
            at = np.repeat(np.arange(first, first + steps), np.diff(start))
            found["spikes"].append(np.stack([np.full(at.size, g), at, ids]))
        found["samples"] += chunk.samples
        found["delivered"] = found["delivered"] + chunk.delivered
        found["arrivals"] = found["arrivals"] + chunk.arrivals
    spikes = np.concatenate(found["spikes"], axis=1)
    found["spikes"] = spikes[:, np.lexsort(spikes[::-1])]
    found["values"] = [v for values in circuit.state.values for v in values.values()]
    found["kept"] = [*circuit.state.start, *circuit.state.ids]
    return found


def assert_same(a: dict[str, Any], b: dict[str, Any], samples: bool = True) -> None:
    """Hold two results to each other, bit for bit."""
    assert a["spikes"].shape[1] > 50
    assert np.array_equal(a["spikes"], b["spikes"])
    for name in ("values", "kept", *(["samples"] if samples else [])):
        assert all(np.array_equal(x, y) for x, y in zip(a[name], b[name], strict=True)), name
    assert np.array_equal(a["delivered"], b["delivered"])
    assert np.array_equal(a["arrivals"], b["arrivals"])
    assert a["delivered"].sum() > 100
