"""Plastic synapses on the grid clock: against sums over all pairs of spikes, NEST and closed forms; bits; bad input."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import exp, inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikeframe as sf
from spikeframe.errors import (
    CheckpointError,
    DTypeError,
    NonFiniteError,
    ParameterError,
    TraceError,
    UnknownNameError,
)
from spikeframe.kernels.plasticity import Plasticity, traced
from spikeframe.learning_rules import PairSTDP

NEST = json.loads((Path(__file__).parent / "data" / "nest_plasticity.json").read_text(encoding="utf-8"))
DT = 0.1


def driven(net: sf.Network, times: Any, ids: Any, size: int) -> Any:
    """Return neurons that fire at given times and at no others, whatever reaches their receptor ``in``."""
    receptors = {"in": sf.neurons.Delta(), "drive": sf.neurons.Delta()}
    neuron = sf.neurons.LIF(tau_m=1.0, v_th=1e5, reset="value", receptors=receptors)
    source = net.population("drive", size, sf.SpikeSource(np.asarray(times) - DT, ids))
    target = net.population("post", size, neuron)
    net.connect(source, target, sf.OneToOne(), receptor="drive", weight=1e6, delay=DT)
    return target


def trains(rng: Any, size: int, steps: int, chance: float) -> tuple[Any, Any]:
    """Return random steps and neurons, at most one spike a step and neuron."""
    when, who = np.nonzero(rng.random((steps, size)) < chance)
    return when + 2, who


# Sums over all pairs of spikes.


@dataclass(frozen=True)
class Triplet(Plasticity):
    """Two traces a side (Pfister and Gerstner 2006)."""

    def pre(self):
        return {"r1": 3.0, "r2": 9.0}

    def post(self):
        return {"o1": 4.0, "o2": 12.0}

    def bounds(self):
        return 0.0, 3.0

    def at_pre(self, s, c):
        return {"w": s.w - s.o1 * (0.02 + 0.01 * s.r2)}

    def at_post(self, s, c):
        return {"w": s.w + s.r1 * (0.02 + 0.02 * s.o2)}

    def arrive(self, s, c):
        return {"r1": s.r1 + 1.0, "r2": s.r2 + 1.0}

    def fire(self, s, c):
        return {"o1": s.o1 + 1.0, "o2": s.o2 + 1.0}


@dataclass(frozen=True)
class Tagged(Plasticity):
    """Pairs leave a tag at the synapse, which decays and moves the weight when the source spikes; two own traces."""

    def pre(self):
        return {"x": 3.0}

    def post(self):
        return {"y": 4.0}

    def own(self):
        return {"tag": 10.0, "many": inf}

    def bounds(self):
        return -1.0, 3.0

    def coefficients(self):
        return {"rate": 0.03}

    def at_pre(self, s, c):
        tag = s.tag - s.y
        return {"w": s.w + c.rate * tag, "tag": tag, "many": s.many + 1.0}

    def at_post(self, s, c):
        return {"tag": s.tag + s.x}

    def arrive(self, s, c):
        return {"x": s.x + 1.0}

    def fire(self, s, c):
        return {"y": s.y + 1.0}


def decayed(spikes: list[int], now: int, tau: float, nearest: bool = False) -> float:
    """Return a trace: the sum over all spikes before."""
    before = [s for s in spikes if s < now]
    return sum(exp(-(now - s) * DT / tau) for s in (before[-1:] if nearest else before))


def paired(rule: Any, w: float, arrivals: list[int], posts: list[int]) -> float:
    """Return the weight of one synapse, by the sum over pairs at each spike."""
    tags: list[tuple[int, float]] = []

    def tag(now: int) -> float:
        return sum(x * exp(-(now - s) * DT / 10.0) for s, x in tags)

    low, high = rule.bounds()
    for now, is_post in sorted([(a, False) for a in arrivals] + [(p, True) for p in posts]):
        if isinstance(rule, PairSTDP):
            nearest = rule.pairing == "nearest"
            if is_post:
                up = rule.lambda_ * (1.0 - w / rule.w_max) ** rule.mu_plus * rule.w_max
                w += up * decayed(arrivals, now, rule.tau_plus, nearest)
            else:
                down = rule.lambda_ * rule.alpha * (w / rule.w_max) ** rule.mu_minus * rule.w_max
                w -= down * decayed(posts, now, rule.tau_minus, nearest)
        elif isinstance(rule, Triplet):
            if is_post:
                w += decayed(arrivals, now, 3.0) * (0.02 + 0.02 * decayed(posts, now, 12.0))
            else:
                w -= decayed(posts, now, 4.0) * (0.02 + 0.01 * decayed(arrivals, now, 9.0))
        elif is_post:
            tags.append((now, decayed(arrivals, now, 3.0)))
        else:
            tags.append((now, -decayed(posts, now, 4.0)))
            w += 0.03 * tag(now)
        w = min(max(w, low), high)
    return w


RULES = {
    "additive": PairSTDP(w_max=2.0, tau_plus=3.0, tau_minus=5.0, lambda_=0.05, mu_plus=0.0, mu_minus=0.0),
    "linear": PairSTDP(w_max=2.0, tau_plus=3.0, tau_minus=0.4, lambda_=0.2, alpha=1.2),
    "power": PairSTDP(w_max=2.0, tau_plus=3.0, tau_minus=5.0, lambda_=0.3, mu_plus=0.3, mu_minus=0.7),
    "nearest": PairSTDP(w_max=2.0, lambda_=0.1, mu_plus=0.0, mu_minus=0.0, pairing="nearest"),
    "inhibiting": PairSTDP(w_max=-2.0, tau_plus=3.0, tau_minus=5.0, lambda_=0.05, mu_plus=0.5, mu_minus=0.0),
    "triplet": Triplet(),
    "tagged": Tagged(),
}


@pytest.mark.exact
@pytest.mark.parametrize("several_delays", [pytest.param(False, marks=pytest.mark.campaign), True])
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.campaign) if n not in ("additive", "triplet") else n for n in RULES],
)
def test_weights_equal_the_sum_over_all_pairs_of_spikes(name, several_delays):
    """Simultaneous spikes, delays, multapses and weights at their bounds included; traces are renewed many times."""
    rule, rng = RULES[name], np.random.default_rng(5)
    steps = 1500
    (pre_at, pre_of), (post_at, post_of) = trains(rng, 3, steps, 0.04), trains(rng, 2, steps, 0.04)
    source, target = np.repeat(np.arange(3), 4), np.tile([0, 1, 1, 0], 3)
    delay = rng.integers(1, 30, source.size) if several_delays else np.full(source.size, 7)
    weight = np.sign(getattr(rule, "w_max", 1.0)) * rng.uniform(0.0, 2.0, source.size)
    net = sf.Network()
    a = net.population("pre", 3, sf.SpikeSource(pre_at * DT, pre_of))
    b = driven(net, post_at * DT, post_of, 2)
    given = delay * DT if several_delays else 7 * DT
    (link,) = net.connect(a, b, sf.Pairs(source, target), receptor="in", weight=weight, delay=given, synapse=rule)
    net.record(b, "spikes")
    sim = sf.Simulator(net, dt=DT, dtype="float64", threads=1)
    spikes = sim.run((steps + 40) * DT).spikes["post"]
    assert sorted(zip(spikes.steps + 1, spikes.ids, strict=True)) == sorted(zip(post_at, post_of, strict=True))
    found = sim.weights(link)
    order = np.lexsort((target, source))
    assert np.array_equal(found.source, source[order])
    assert np.array_equal(found.target, target[order])
    expected = [
        paired(rule, weight[k], [int(t) + int(delay[k]) for t in pre_at[pre_of == source[k]]],
               [int(t) for t in post_at[post_of == target[k]]])
        for k in order
    ]  # fmt: skip
    assert np.abs(found.weight - expected).max() < 1e-12
    assert np.abs(found.weight - weight[order]).min() > 1e-3
    coincident = {(int(t), int(k)) for t, k in zip(post_at, post_of, strict=True)}
    assert any((int(t) + int(delay[k]), int(target[k])) in coincident
               for k in range(source.size) for t in pre_at[pre_of == source[k]])  # fmt: skip


# NEST.


@pytest.mark.exact
@pytest.mark.parametrize("case", NEST["stdp"], ids=lambda c: f"{c['pairing']} {c['mu_plus']:g} {c['mu_minus']:g}")
def test_stdp_weights_equal_nests_at_every_presynaptic_spike(case):
    """NEST's delay is dendritic: its pairs are ours of presynaptic spikes that come earlier by both delays."""
    pre = np.array(NEST["pre"]) - NEST["delay"] - DT
    net = sf.Network()
    a = net.population("pre", 1, sf.SpikeSource(pre, np.zeros(pre.size, int)))
    b = driven(net, case["post"], np.zeros(len(case["post"]), int), 1)
    rule = PairSTDP(
        w_max=case["Wmax"], tau_plus=case["tau_plus"], tau_minus=case["tau_minus"], lambda_=case["lambda"],
        alpha=case["alpha"], mu_plus=case["mu_plus"], mu_minus=case["mu_minus"], pairing=case["pairing"],
    )  # fmt: skip
    (link,) = net.connect(a, b, sf.OneToOne(), receptor="in", weight=case["weight"], delay=DT, synapse=rule)
    net.record(link, "weight")
    trace = sf.Simulator(net, dt=DT, dtype="float64", threads=1).run(2010.0).weights[link]
    at = np.rint((pre + DT) / DT).astype(int) - 1
    # By that step NEST has seen the postsynaptic spikes of this very moment too.
    assert np.abs(trace.values[at, 0] - case["sent"]).max() < 1e-12
    assert np.ptp(case["sent"]) > 0.05


@pytest.mark.filterwarnings("ignore:.* is less than a step")  # the membranes keep nothing: they show what arrives
@pytest.mark.exact
@pytest.mark.parametrize("case", NEST["tsodyks"], ids=lambda c: f"U={c['U']:g}")
@pytest.mark.parametrize("states", [pytest.param("two", marks=pytest.mark.campaign), "three"])
def test_tsodyks_markram_pulses_equal_nests(case, states):
    """Once with one delay (a state per source), once with several (a state per synapse)."""
    pulses = np.array(NEST["pulses"])
    net = sf.Network()
    a = net.population("pre", 1, sf.SpikeSource(pulses, np.zeros(pulses.size, int)))
    neuron = sf.neurons.LIF(tau_m=1e-4, v_th=1e6, receptors=sf.neurons.Delta())
    b = net.population("post", 3, neuron)
    rule = sf.TsodyksMarkram(case["U"], case["tau_rec"], case["tau_fac"], case["tau_psc"] * (states == "three") or None)
    net.connect(a, b, sf.Pairs([0], [0]), weight=case["weight"], delay=0.5, synapse=rule)
    net.connect(a, b, sf.Pairs([0, 0], [1, 2]), weight=case["weight"], delay=[0.5, 0.9], synapse=rule)
    net.record(b, "v")
    v = sf.Simulator(net, dt=DT, dtype="float64", threads=1).run(1600.0).traces["post"]["v"].values
    at = np.rint(pulses / DT).astype(int) - 1
    for neuron_id, delay in ((0, 5), (1, 5), (2, 9)):
        assert np.abs(v[at + delay, neuron_id] - case[states]).max() < 1e-12 * case["weight"] + 2.0**-42


@pytest.mark.filterwarnings("ignore:.* is less than a step")  # the membranes keep nothing: they show what arrives
def test_a_regular_train_reaches_the_known_steady_release():
    """U = 0.5, tau_fac = 50, tau_rec = 750, 40 spikes/s: 0.0323663906 of the resources a spike."""
    net = sf.Network()
    a = net.population("pre", 1, sf.SpikeSource(np.arange(1, 400) * 25.0, np.zeros(399, int)))
    b = net.population("post", 1, sf.neurons.LIF(tau_m=1e-4, v_th=1e6, receptors=sf.neurons.Delta()))
    net.connect(a, b, sf.OneToOne(), weight=1.0, delay=0.5, synapse=sf.TsodyksMarkram(0.5, 750.0, 50.0))
    net.record(b, "v")
    v = sf.Simulator(net, dt=0.5, dtype="float64", threads=1).run(9976.0).traces["post"]["v"].values
    assert v.max() == 0.5
    assert v[-2, 0] == pytest.approx(0.0323663906, abs=1e-10)


# Promises.


def mixed(seed: int = 3) -> tuple[sf.Network, list[Any]]:
    """Two populations with every kind of plasticity, both layouts, multapses, autapses and gap junctions."""
    net = sf.Network(seed=seed)
    receptors = {"exc": sf.neurons.Exp(tau=5.0), "inh": sf.neurons.Exp(tau=3.0)}
    neuron = sf.neurons.LIF(tau_m=20.0, v_th=20.0, t_ref=2.0, receptors=receptors)
    a = net.population("a", 70, neuron, v=sf.Uniform(0.0, 20.0))
    b = net.population("b", 21, neuron)
    power = PairSTDP(w_max=4.0, lambda_=0.1, mu_plus=0.4, mu_minus=0.4)
    additive = PairSTDP(w_max=4.0, lambda_=0.1, mu_plus=0.0, mu_minus=0.0, pairing="nearest")
    many = sf.FixedOutDegree(6, multapses=True, autapses=True)
    links = net.connect(a, a, many, receptor="exc", weight=sf.Normal(2.0, 0.5, 0.0, 4.0), delay=sf.Uniform(0.2, 1.5),
                        synapse=power)  # fmt: skip
    links += net.connect(a, b, many, receptor="exc", weight=2.0, delay=0.4, synapse=additive)
    links += net.connect(b, a, many, receptor="exc", weight=2.0, delay=0.4, synapse=sf.TsodyksMarkram(tau_psc=3.0))
    links += net.connect(b, b, many, receptor="inh", weight=sf.Uniform(-2.0, -1.0), delay=sf.Uniform(0.2, 1.5),
                         synapse=sf.TsodyksMarkram(tau_fac=100.0))  # fmt: skip
    links += net.connect(b, a, sf.FixedInDegree(3), receptor="inh", weight=-1.0, delay=0.3)
    net.stimulate([a, b], sf.PoissonInput(3000.0, 5.0), receptor="exc")
    net.couple(a, [a, b], sf.FixedTotal(60), conductance=sf.Uniform(0.0, 0.05))
    net.record([a, b], "spikes")
    net.record(links[0], "weight", every=1.0, ids=range(5, 300))
    net.record(links[1], "weight", every=0.3)
    return net, links


def told(sim: sf.Simulator, *results: Any) -> dict[str, Any]:
    """Return all that must be the same to the bit."""
    found: dict[str, Any] = {}
    for name in ("a", "b"):
        for part in ("steps", "ids"):
            found[f"{name} {part}"] = np.concatenate([getattr(r.spikes[name], part) for r in results])
    for k in (0, 1):
        traces = [list(r.weights.values())[k] for r in results]
        found[f"recorded {k}"] = np.concatenate([t.values for t in traces])
        found[f"times {k}"] = np.concatenate([t.times for t in traces])
    for k, link in enumerate(sim.network.projections):
        found[f"weights {k}"] = sim.weights(link).weight
        found[f"targets {k}"] = sim.weights(link).target
    found["membrane"] = np.concatenate([sim.circuit.read(name, "v") for name in ("a", "b")])
    found["delivered"], found["in flight"] = sum(r.delivered for r in results), results[-1].in_flight
    return found


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[n], b[n]) for n in a)


@pytest.mark.exact
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.campaign)])
def test_spikes_and_weights_are_the_references_for_any_threads_cutting_and_saving(dtype, tmp_path):
    sim = sf.Simulator(mixed()[0], dt=DT, backend="reference", dtype=dtype)
    expected = told(sim, sim.run(20.0))
    assert len(expected["a steps"]) > 20
    assert np.ptp(expected["recorded 0"], axis=0).max() > 0.05
    for threads in (1, 2, 3):
        sim = sf.Simulator(mixed()[0], dt=DT, threads=threads, dtype=dtype)
        assert same(told(sim, sim.run(11.3), sim.run(0.1), sim.run(8.6)), expected)
    for saved, loaded, stop in ((1, 3, 0.1), (2, 1, 7.2), (3, 2, 15.0)):
        sim = sf.Simulator(mixed()[0], dt=DT, threads=saved, dtype=dtype)
        first = sim.run(stop)
        sim.save(tmp_path / "state.h5")
        again = sf.Simulator.load(tmp_path / "state.h5", threads=loaded)
        assert same(told(again, first, again.run(20.0 - stop)), expected)


@pytest.mark.exact
def test_every_spike_through_plastic_synapses_is_accounted_for():
    net, links = mixed()
    sim = sf.Simulator(net, dt=DT, threads=2)
    owed = 0
    for duration in (0.1, 3.0, 7.7):
        result = sim.run(duration)
        fans = [sim.circuit.laid.fan_out[link.index][result.spikes[link.source.name].ids].sum() for link in links]
        assert result.sent == sum(fans)
        assert result.delivered == sum(fans) + owed - result.in_flight
        owed = result.in_flight


@pytest.mark.exact
def test_recorded_weights_end_in_those_that_are_read():
    net, links = mixed()
    sim = sf.Simulator(net, dt=DT, threads=2)
    before = sim.weights(links[0]).weight
    result = sim.run(6.0)
    trace, now = result.weights[links[0]], sim.weights(links[0])
    assert trace.times.tolist() == pytest.approx([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert np.array_equal(trace.ids, np.arange(5, 300))
    assert np.array_equal(trace.values[-1], now.weight[5:300])
    assert not np.array_equal(before, now.weight)
    assert (np.diff(now.source) >= 0).all()
    static = sim.weights(links[4])
    assert np.unique(static.weight).tolist() == [-1.0]
    assert np.bincount(static.target, minlength=70).tolist() == [3] * 70


@pytest.mark.exact
def test_autapses_and_multapses_each_learn_for_themselves():
    """A neuron's own spike comes back as its presynaptic spike; two synapses of a pair keep apart."""
    net = sf.Network()
    b = driven(net, [2.0, 6.0, 11.0], [0, 0, 0], 1)
    rule = PairSTDP(w_max=2.0, tau_plus=3.0, tau_minus=5.0, lambda_=0.05)
    start, delays = np.array([0.2, 1.0]), np.array([7, 12])
    (link,) = net.connect(b, b, sf.Pairs([0, 0], [0, 0]), receptor="in", weight=start, delay=delays * DT, synapse=rule)
    sim = sf.Simulator(net, dt=DT, dtype="float64", threads=1)
    sim.run(20.0)
    posts = [20, 60, 110]
    expected = [paired(rule, w, [p + d for p in posts], posts) for w, d in zip(start, delays.tolist(), strict=True)]
    assert np.abs(sim.weights(link).weight - expected).max() < 1e-13


@pytest.mark.exact
def test_static_synapses_hold_nothing_for_plasticity():
    net = sf.Network()
    neuron = sf.neurons.LIF(tau_m=20.0, v_th=20.0)
    a = net.population("a", 100, neuron)
    net.connect(a, a, sf.FixedInDegree(10), weight=sf.Uniform(0.0, 1.0), delay=1.0)
    circuit = sf.Simulator(net, dt=DT).circuit
    assert circuit.state.plastic == [{}]
    assert circuit.laid.plan.bundles[0].bytes < 4 * 1000 + 3 * 8 * 101 * circuit.laid.plan.parts


# Gap junctions.


def pair(dt: float, g: float) -> sf.Simulator:
    net = sf.Network()
    neuron = sf.neurons.LIF(tau_m=10.0, r_m=2.0, v_th=1e3)
    p = net.population("p", 2, neuron, v=[5.0, 1.0])
    net.couple(p, p, sf.Pairs([0], [1]), conductance=g)
    return sf.Simulator(net, dt=dt, dtype="float64", threads=1)


@pytest.mark.exact
def test_a_gap_junction_acts_with_the_membranes_of_the_step_before():
    sim, g = pair(0.1, 0.05), 0.05
    sim.run(0.1)
    decay = np.exp(-0.01)
    charge = g * 2.0 * (1.0 - decay) * 4.0
    assert sim.circuit.read("p", "v") == pytest.approx([5.0 * decay - charge, decay + charge], rel=1e-14)


@pytest.mark.exact
def test_gap_junctions_conserve_charge_and_are_of_first_order():
    """The difference of two membranes decays with 1/tau + 2 g r / tau; their sum does not feel the junction."""
    errors = []
    for dt in (0.2, 0.1, 0.05):
        sim = pair(dt, 0.05)
        sim.run(8.0)
        v = sim.circuit.read("p", "v")
        assert v.sum() == pytest.approx(6.0 * np.exp(-0.8), rel=1e-13)
        errors.append(abs((v[0] - v[1]) - 4.0 * np.exp(-0.8 * (1.0 + 2.0 * 0.05 * 2.0))))
    assert errors[0] / errors[1] == pytest.approx(2.0, abs=0.1)
    assert errors[1] / errors[2] == pytest.approx(2.0, abs=0.1)


@pytest.mark.exact
@pytest.mark.parametrize("threads", [1, 2])
def test_currents_through_gap_junctions_sum_to_nothing(threads):
    """Passive neurons of two models in a random net of junctions: the charge decays as without them."""
    net = sf.Network(seed=2)
    a = net.population("a", 90, sf.neurons.LIF(tau_m=10.0, v_th=1e3), v=sf.Uniform(-5.0, 9.0))
    other = sf.neurons.LIF(tau_m=10.0, v_th=1e3, t_ref=1.0)
    b = net.population("b", 60, other, v=sf.Uniform(-5.0, 9.0))
    net.couple([a, b], [a, b], sf.FixedTotal(150), conductance=sf.Uniform(0.0, 0.2))
    sim = sf.Simulator(net, dt=DT, dtype="float64", threads=threads)
    assert len(sim.circuit.laid.plan.groups) == 2
    first = sum(sim.circuit.read(n, "v").sum() for n in ("a", "b"))
    spread = np.std(sim.circuit.read("a", "v"))
    sim.run(5.0)
    assert sum(sim.circuit.read(n, "v").sum() for n in ("a", "b")) == pytest.approx(first * np.exp(-0.5), rel=1e-12)
    assert np.std(sim.circuit.read("a", "v")) < 0.9 * spread * np.exp(-0.5)


# Bad input.


@pytest.mark.fault
@pytest.mark.parametrize(
    ("options", "error"),
    [({"tau_plus": -1.0}, ParameterError), ({"tau_minus": 0.0}, ParameterError), ({"w_max": 0.0}, ParameterError),
     ({"lambda_": -0.1}, ParameterError), ({"mu_plus": -1.0}, ParameterError),
     ({"alpha": float("nan")}, NonFiniteError), ({"w_max": float("inf")}, NonFiniteError),
     ({"tau_plus": "20"}, ParameterError), ({"tau_plus": True}, ParameterError),
     ({"pairing": "nearst"}, UnknownNameError)],
)  # fmt: skip
def test_pair_stdp_refuses(options, error):
    with pytest.raises(error, match=next(iter(options)) if "pairing" not in options else "nearest"):
        PairSTDP(**({"w_max": 1.0} | options))


@pytest.mark.fault
@pytest.mark.parametrize(
    ("options", "error"),
    [({"U": 1.5}, ParameterError), ({"U": -0.1}, ParameterError), ({"tau_rec": 0.0}, ParameterError),
     ({"tau_fac": -1.0}, ParameterError), ({"tau_psc": 0.0}, ParameterError), ({"tau_psc": 800.0}, ParameterError),
     ({"tau_rec": float("nan")}, NonFiniteError), ({"U": [0.5, 0.4]}, ParameterError)],
)  # fmt: skip
def test_tsodyks_markram_refuses(options, error):
    with pytest.raises(error, match=next(iter(options))):
        sf.TsodyksMarkram(**options)


def populations() -> tuple[sf.Network, Any, Any]:
    net = sf.Network()
    receptors = {"in": sf.neurons.Delta()}
    a = net.population("a", 4, sf.neurons.LIF(tau_m=20.0, v_th=20.0, receptors=receptors))
    s = net.population("s", 4, sf.PoissonSource(10.0))
    return net, a, s


@pytest.mark.fault
@pytest.mark.parametrize(
    ("weight", "w_max", "says"),
    [(3.0, 2.0, "within"), (-1.0, 2.0, "sign"), (1.0, -2.0, "sign"), (sf.Normal(1.0, 0.5), 2.0, "Normal"),
     ([0.0, 0.5, 2.5], 2.0, "within"), (sf.Uniform(-0.1, 1.0), 2.0, "within")],
)  # fmt: skip
def test_a_weight_outside_its_bounds_is_refused(weight, w_max, says):
    net, a, _ = populations()
    with pytest.raises(ParameterError, match=says):
        net.connect(a, a, sf.Pairs([0, 1, 2], [1, 2, 3]), weight=weight, delay=1.0, synapse=PairSTDP(w_max=w_max))


@pytest.mark.fault
def test_what_cannot_be_plastic_coupled_or_recorded_is_refused(tmp_path):
    net, a, s = populations()
    with pytest.raises(DTypeError, match="kind of synapse"):
        net.connect(a, a, sf.AllToAll(), weight=1.0, delay=1.0, synapse="stdp")
    with pytest.raises(ParameterError, match="no membrane potential 'v'"):
        net.couple(a, s, sf.AllToAll(), conductance=1.0)
    with pytest.raises(ParameterError, match="at least 0"):
        net.couple(a, a, sf.AllToAll(), conductance=-1.0)
    with pytest.raises(NonFiniteError):
        net.couple(a, a, sf.AllToAll(), conductance=float("nan"))
    with pytest.raises(DTypeError):
        net.couple(a, a, "all", conductance=1.0)
    (static,) = net.connect(a, a, sf.AllToAll(), weight=1.0, delay=1.0)
    with pytest.raises(ParameterError, match="constant"):
        net.record(static, "weight")
    (link,) = net.connect(s, a, sf.AllToAll(), weight=1.0, delay=1.0, synapse=PairSTDP(w_max=2.0))
    with pytest.raises(UnknownNameError, match="weight"):
        net.record(link, "wieght")
    net.record(link, "weight", ids=[16])
    with pytest.raises(ParameterError, match="already"):
        net.record(link, "weight")
    with pytest.raises(ParameterError, match="synapse 16"):
        sf.Simulator(net, dt=0.1)
    other, b, _ = populations()
    (foreign,) = other.connect(b, b, sf.AllToAll(), weight=1.0, delay=1.0, synapse=PairSTDP(w_max=2.0))
    with pytest.raises(ParameterError, match="no projection"):
        net.record(foreign, "weight")
    sim = sf.Simulator(other, dt=0.1)
    with pytest.raises(ParameterError, match="no projection"):
        sim.weights(link)
    with pytest.raises(ParameterError, match="precise clock"):
        sf.Simulator(other, clock="precise")


@pytest.mark.fault
def test_a_rule_that_watches_targets_needs_targets_that_spike():
    net, a, _ = populations()
    reader = net.population("r", 3, sf.neurons.LI(tau_m=10.0))
    net.connect(a, reader, sf.AllToAll(), weight=1.0, delay=1.0, synapse=PairSTDP(w_max=2.0))
    with pytest.raises(ParameterError, match="needs spikes of 'r'"):
        sf.Simulator(net, dt=0.1)


@dataclass(frozen=True)
class Wrong(Plasticity):
    what: str

    def pre(self):
        return {"x": 0.0 if self.what == "tau" else 1.0}

    def post(self):
        return {"x": 1.0} if self.what == "twice" else {}

    def arrive(self, s, c):
        if self.what == "if":
            return {"x": s.x + 1.0} if s.x > 0.0 else {}
        return {"y": s.x} if self.what == "unknown" else [s.x] if self.what == "list" else {"x": s.x}

    def at_pre(self, s, c):
        return {"w": s.w * 0.5} if self.what == "unbounded" else {"sent": s.q} if self.what == "read" else {}


@pytest.mark.fault
@pytest.mark.parametrize(
    ("what", "error"),
    [("tau", ParameterError), ("twice", TraceError), ("if", TraceError), ("unknown", UnknownNameError),
     ("list", TraceError), ("unbounded", UnknownNameError), ("read", UnknownNameError)],
)  # fmt: skip
def test_a_rule_that_cannot_be_traced_is_refused(what, error):
    with pytest.raises(error):
        traced(Wrong(what), DT)


@dataclass(frozen=True)
class Exploding(Plasticity):
    """Divides by a trace that is 0."""

    def post(self):
        return {"y": 1.0}

    def bounds(self):
        return 0.0, 1.0

    def at_pre(self, s, c):
        return {"w": s.y / s.y, "sent": 0.0 * s.y}


@pytest.mark.fault
def test_a_weight_that_is_no_number_stops_the_run():
    net, a, _ = populations()
    source = net.population("one", 1, sf.SpikeSource([3.0], [0]))
    net.connect(source, a, sf.Pairs([0], [2]), weight=1.0, delay=1.0, synapse=Exploding())
    sim = sf.Simulator(net, dt=1.0, backend="reference")
    with pytest.raises(NonFiniteError, match=r"one -> a \(in\): weight of synapse 0 became nan in step 4"):
        sim.run(10.0)


def test_a_run_with_a_rule_of_ones_own_is_loaded_into_the_network_described_again(tmp_path):
    def described():
        net, a, s = populations()
        net.connect(s, a, sf.AllToAll(), weight=1.0, delay=1.0, synapse=Triplet())
        net.record(a, "v")
        return net

    sim = sf.Simulator(described(), dt=1.0, backend="reference")
    sim.run(40.0)
    sim.save(tmp_path / "state.h5")
    with pytest.raises(CheckpointError, match="holds Triplet, a class of your own"):
        sf.Simulator.load(tmp_path / "state.h5")
    again = sf.Simulator.load(tmp_path / "state.h5", network=described())
    one, other = sim.run(40.0).traces["a"]["v"].values, again.run(40.0).traces["a"]["v"].values
    assert one.any() and np.array_equal(one, other)
