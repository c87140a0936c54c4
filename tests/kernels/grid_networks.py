"""Small networks that between them use everything a grid run has, and how their runs are compared."""

from __future__ import annotations

from typing import Any

import numpy as np

import spikeframe as sf
from spikeframe import learning_rules as rules
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


def learning(seed: int = 7) -> sf.Network:
    """Every kind of plastic synapse, with one and with several delays, and gap junctions."""
    network = sf.Network(seed=seed)
    receptors = {"exc": sf.neurons.Exp(tau=5.0), "inh": sf.neurons.Exp(tau=3.0)}
    lif = sf.neurons.LIF(tau_m=20.0, v_th=20.0, t_ref=2.0, receptors=receptors)
    exc = network.population("E", 70, lif, v=sf.Uniform(0.0, 20.0))
    inh = network.population("I", 21, lif)
    other = network.population("A", 30, sf.neurons.AdEx(receptors={"exc": sf.neurons.Exp(tau=2.0)}))
    source = network.population("S", 9, sf.PoissonSource(200.0))
    many = sf.FixedOutDegree(6, multapses=True, autapses=True)
    spread = {"receptor": "exc", "weight": sf.Normal(2.0, 0.5, 0.0, 4.0), "delay": sf.Uniform(0.2, 1.5)}
    single = {"receptor": "exc", "weight": 2.0, "delay": 0.4}
    voltage = rules.VoltageSTDP(4.0, 5.0, 3.0, 4.0, theta_minus=0.3, theta_plus=5.0, a_ltd=0.01, a_ltp=2e-4,
                                u_peak=30.0, t_peak=0.5, u_ref=4.0, tau_ref=60.0, e_l=0.0)  # fmt: skip
    links = [
        (exc, exc, spread, rules.PairSTDP(w_max=4.0, lambda_=0.1, mu_plus=0.4, mu_minus=0.4)),
        (exc, inh, single, rules.PairSTDP(w_max=4.0, lambda_=0.1, mu_plus=0.0, mu_minus=0.0, pairing="nearest")),
        (source, exc, single, rules.TripletSTDP(4.0, 3.0, 9.0, 4.0, 12.0, 0.02, 0.03, 0.02, 0.01)),
        (source, inh, spread, voltage),
        (exc, exc, single, rules.RewardSTDP(50.0, 3.0, 4.0, a_plus=0.002, a_minus=0.001, tau_c=30.0, tau_d=12.0)),
        (exc, other, {"receptor": "exc", "weight": 60.0, "delay": 0.7}, rules.SynapticScaling(w_max=90.0, rate=30.0)),
        (inh, exc, single, sf.TsodyksMarkram(tau_psc=3.0)),
        (inh, inh, {**spread, "receptor": "inh", "weight": -1.0}, sf.TsodyksMarkram(tau_fac=100.0)),
        (source, exc, spread, sf.Bernoulli(0.4)),
        (inh, exc, single, sf.Quantal(0.4, 100.0, 50.0, n=3)),
    ]
    made = [network.connect(a, b, many, synapse=rule, **how)[0] for a, b, how, rule in links]
    network.connect(inh, exc, sf.FixedInDegree(3), receptor="inh", weight=-1.0, delay=0.3)
    network.stimulate([exc, inh], sf.PoissonInput(9000.0, 5.0), receptor="exc")
    network.stimulate(other, sf.DC(500.0))
    network.couple(exc, [exc, inh], sf.FixedTotal(60), conductance=sf.Uniform(0.0, 0.05))
    network.couple(inh, other, sf.FixedTotal(10), conductance=sf.Uniform(0.0, 0.05))
    network.record([exc, inh, other, source], "spikes")
    network.record(made[0], "weight", every=1.0, ids=range(5, 300))
    network.record(made[1], "weight", every=0.3)
    return network


def at_once(seed: int = 9) -> sf.Network:
    """Layers that spikes pass within a step, in other groups and from given spikes, and a way back with delays."""
    network = sf.Network(seed=seed)
    lif = sf.neurons.LIF(tau_m=10.0, v_th=1.0, t_ref=0.5)
    source = network.population("S", 40, sf.PoissonSource(100.0))
    one, two, three = (network.population(name, size, lif) for name, size in (("1", 83), ("2", 45), ("3", 10)))
    network.same_step(source, one, sf.FixedProbability(0.3), weight=0.3)
    network.same_step(one, two, sf.FixedProbability(0.3), weight=sf.Normal(0.4, 0.1))
    network.same_step(two, three, sf.AllToAll(), weight=0.1)
    network.connect(three, one, sf.FixedProbability(0.5), weight=-0.2, delay=sf.Uniform(0.1, 1.0))
    network.record([source, one, two, three], "spikes")
    network.record(three, "v", every=0.2)
    return network


def drawn_again(seed: int = 11) -> sf.Network:
    """Projections that are not stored, of every rule, with drawn and with constant weights and delays."""
    network = sf.Network(seed=seed)
    rng = np.random.default_rng(3)
    receptors = {"in": sf.neurons.Delta(), "slow": sf.neurons.Exp(tau=3.0)}
    lif = sf.neurons.LIF(tau_m=10.0, v_rest=0.0, v_th=1.0, t_ref=1.0, receptors=receptors)
    network.population("before", 30, lif)  # so that the others do not begin at 0
    a, b = (network.population(name, 201, lif, positions=rng.random((201, 2))) for name in "ab")
    source = network.population("S", 10, sf.PoissonSource(150.0))
    near = sf.DistanceDependent("gaussian", p=0.8, scale=0.1, periodic=1.0)
    drawn = {"receptor": "in", "weight": sf.Normal(0.05, 0.04), "delay": sf.Uniform(0.3, 1.7)}
    skewed = {"receptor": "slow", "weight": sf.LogNormal(-4.0, 0.5), "delay": sf.Normal(1.0, 0.4, 0.1, 2.0)}
    fixed = {"receptor": "slow", "weight": 0.02, "delay": 0.4}
    for x, y, rule, how in [
        (source, a, sf.FixedOutDegree(60), {"receptor": "in", "weight": 0.9, "delay": 0.5}),
        (a, a, sf.FixedProbability(0.05, autapses=False), drawn), (a, b, sf.FixedProbability(0.1), fixed),
        (a, a, sf.FixedOutDegree(12, autapses=False, multapses=False), drawn), (a, b, sf.FixedOutDegree(12), skewed),
        (a, a, sf.AllToAll(autapses=False), {"receptor": "slow", "weight": 0.0005, "delay": 0.3}),
        (a, b, sf.OneToOne(), {"receptor": "in", "weight": 0.6, "delay": 0.9}), (b, a, near, drawn),
        (b, b, sf.DistanceDependent("exponential", p=0.5, scale=0.1), fixed), (b, b, sf.SmallWorld(10, 0.3), skewed),
    ]:  # fmt: skip
        network.connect(x, y, rule, procedural=True, **how)
    network.connect(a, b, sf.FixedInDegree(5), receptor="in", weight=-0.1, delay=0.7)
    network.record([a, b], "spikes")
    network.record(b, "v", every=0.5, ids=[0, 100])
    return network


NETWORKS = {"mixed": mixed, "slow": slow}
#: What a GPU runs as plain launches.
LAUNCHED = {"learning": learning, "at once": at_once, "drawn again": drawn_again}


def results(network: sf.Network, provider: GridProvider, cuts: list[int], dtype: str, parts: int) -> dict[str, Any]:
    """Run a network in stretches of the given steps on a provider; return spikes, samples, states and counts."""
    from spikeframe.core.circuit import Circuit
    from spikeframe.core.synapses import saved

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
        found["samples"] += chunk.samples + chunk.weights
        found["delivered"] = found["delivered"] + chunk.delivered
        found["arrivals"] = found["arrivals"] + chunk.arrivals
    spikes = np.concatenate(found["spikes"], axis=1)
    found["spikes"] = spikes[:, np.lexsort(spikes[::-1])]
    found["values"] = [v for values in circuit.state.values for v in values.values()]
    found["values"] += [v for held in saved(circuit.laid.plan, circuit.state) for v in held.values()]
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
