"""The astrocyte's STDP in the simulator, and trials one after another in one run."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest
from test_plasticity import driven

import spikeframe as sf
from spikeframe.errors import NonFiniteError, ParameterError, ShapeError
from spikeframe.kernels.plasticity import Plasticity
from spikeframe.learning_rules import Astrocyte, AstroSTDP, PairSTDP

DT = 0.1
PAIR = PairSTDP(w_max=20.0, lambda_=0.05)
STEPS = 900
#: Signals: after how many steps, and the astrocyte's state.
SIGNALS = [(150, 0.4), (400, -0.1), (650, 0.3)]


def expected(rule: AstroSTDP, w: float, arrivals: list[int], posts: list[int]) -> float:
    """Go through all steps; every trace is a sum over the spikes before."""
    sign, low, high = np.sign(rule.w_max), min(0.0, rule.w_max), max(0.0, rule.w_max)
    for t in range(STEPS):
        begun = [(at, a) for at, a in SIGNALS if at <= t]
        if not begun:
            continue
        # a signal after `at` steps has the time of step at - 1
        fade = (lambda k: 1.0) if rule.tau_fade is None else lambda k: exp(-k * DT / rule.tau_fade)
        f, a = fade(t - SIGNALS[0][0] + 1), begun[-1][1] * fade(t - SIGNALS[0][0] + 1)
        x = rule.jump * sum(exp(-(t - s) * DT / rule.tau_plus) for s in arrivals if s < t)
        y = rule.jump * sum(exp(-(t - s) * DT / rule.tau_minus) for s in posts if s < t)
        if t in arrivals:
            w = min(max(w - sign * a * y, low), high)
        if t in posts:
            w = min(max(w + sign * rule.a_plus * f * x, low), high)
    return w


@pytest.mark.parity
@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_weights_follow_the_astrocytes_state_as_the_equations_say(backend):
    rng = np.random.default_rng(5)
    pre, post = (np.sort(rng.choice(np.arange(5, STEPS - 40), n, replace=False)).tolist() for n in (40, 50))
    rules = [AstroSTDP(2.0, 0.3, 4.0, 6.0, 0.2), AstroSTDP(-2.0, 0.2, 5.0, 3.0, 0.3, tau_fade=40.0)]
    net = sf.Network()
    b = driven(net, [DT * t for t in post], [0] * len(post), 1)
    source = net.population("s", 1, sf.SpikeSource([DT * (t + 1) for t in pre], [0] * len(pre)))
    links = [
        net.connect(source, b, sf.AllToAll(), receptor="in", weight=rule.w_max / 2.0, delay=0.5, synapse=rule)[0]
        for rule in rules
    ]
    net.record(b, "spikes")
    sim = sf.Simulator(net, dt=DT, dtype="float64", threads=1, backend=backend)
    done, fired = 0, []
    for at, state in [*SIGNALS, (STEPS, 0.0)]:
        fired += sim.run((at - done) * DT).spikes["post"].steps.tolist()
        done = at
        if at < STEPS:
            for link in links:
                sim.signal(link, state)
    for rule, link in zip(rules, links, strict=True):
        found = sim.weights(link).weight[0]
        assert found == pytest.approx(expected(rule, rule.w_max / 2.0, [t + 5 for t in pre], fired), abs=1e-12)
        assert abs(found - rule.w_max / 2.0) > 0.02


@pytest.mark.exact
def test_an_astrocyte_goes_to_the_balance_of_liquid_and_input_whatever_the_stretches():
    cell = Astrocyte(weight=0.02, base=0.1, tau=50.0)
    once, often = cell.after(0.3, 800, 300, 40.0), 0.3
    for _ in range(8):
        often = cell.after(often, 100, 37.5, 5.0)
    assert once == pytest.approx(often, rel=1e-12)
    for _ in range(200):
        often = cell.after(often, 100, 40, 5.0)
    assert often == pytest.approx(0.1 + 0.02 * 60.0 / 5.0, rel=1e-9)


def plastic_pair(rule: Plasticity = PAIR) -> tuple[sf.Network, list]:
    """Return a small network of plastic synapses whose input repeats, nearly, after 100 ms; and its projections."""
    net = sf.Network()
    neuron = sf.neurons.LIF(tau_m=20.0, v_th=5.0, t_ref=1.0, receptors=sf.neurons.Exp(tau=3.0))
    a = net.population("a", 40, neuron, v=sf.Uniform(0.0, 4.0))
    times = np.concatenate([np.arange(1.0, 60.0), 100.0 + np.arange(1.0, 60.0)])
    source = net.population("s", 20, sf.SpikeSource(times, np.arange(times.size) * 7 % 20))
    again = sf.SpikeSource(np.concatenate([times, times]), np.concatenate([np.zeros(118, int), np.ones(118, int)]))
    other = net.population("o", 2, again)
    links = net.connect(source, a, sf.FixedProbability(0.3), weight=sf.Uniform(4.0, 12.0), delay=1.0, synapse=rule)
    links += net.connect(a, a, sf.FixedInDegree(4), weight=3.0, delay=sf.Uniform(1.0, 5.0), synapse=rule)
    links += net.connect(other, a, sf.AllToAll(), weight=3.0, delay=2.0)
    net.record(a, "spikes")
    return net, links


@pytest.mark.campaign
@pytest.mark.exact
def test_a_restarted_run_is_a_fresh_one_later():
    """The input repeats after 100 ms. Weights differ in rounding: traces are stored lifted by the time."""
    net, links = plastic_pair()
    net.populations["s"].neuron.ids[59:] = net.populations["s"].neuron.ids[:59]
    sim = sf.Simulator(net, dt=1.0, threads=2)
    first = sim.run(70.0)
    learned = [sim.weights(link).weight for link in links[:2]]
    sim.run(30.0)
    sim.restart()
    second = sim.run(70.0)
    assert np.array_equal(first.spikes["a"].ids, second.spikes["a"].ids)
    assert np.array_equal(first.spikes["a"].steps + 100, second.spikes["a"].steps)
    assert len(first.spikes["a"]) > 50
    for link, weight in zip(links[:2], learned, strict=True):
        assert sim.weights(link).weight == pytest.approx(weight, rel=1e-5)
    sim.restart({links[0]: learned[0]})
    assert np.array_equal(sim.weights(links[0]).weight, learned[0])
    assert not np.array_equal(sim.weights(links[1]).weight, learned[1])
    assert sim.run(1.0).in_flight == 0


@pytest.mark.exact
@pytest.mark.parametrize("fade", [None, 40.0])
def test_an_astrocytes_signal_is_part_of_a_checkpoint(fade, tmp_path):
    net, (link, *_) = plastic_pair(rule=AstroSTDP(w_max=20.0, tau_fade=fade))
    sim = sf.Simulator(net, dt=1.0, threads=1, backend="reference")
    sim.signal(link, 0.3)
    sim.run(20.0)
    sim.save(tmp_path / "state.h5")
    again = sf.Simulator.load(tmp_path / "state.h5")
    before = sim.weights(link).weight
    assert np.array_equal(sim.run(30.0).spikes["a"].ids, again.run(30.0).spikes["a"].ids)
    after = sim.weights(link).weight
    assert np.array_equal(after, again.weights(again.network.projections[0]).weight)
    assert not np.array_equal(after, before)


@pytest.mark.fault
def test_weights_that_do_not_fit_are_refused_and_change_nothing():
    net, links = plastic_pair()
    sim = sf.Simulator(net, dt=1.0, threads=1, backend="reference")
    sim.run(30.0)
    before, good = sim.weights(links[0]).weight, np.full(sim.weights(links[0]).weight.size, 5.0)
    bad = good.copy()
    bad[3] = np.nan
    for weights, error, says in (
        ({links[0]: good[1:]}, ShapeError, "shape"), ({links[0]: bad}, NonFiniteError, "weight 3"),
        ({links[0]: good + 99.0}, ParameterError, "within"), ({links[2]: good}, ParameterError, "static"),
        ({plastic_pair()[1][0]: good}, ParameterError, "no projection"),
    ):  # fmt: skip
        with pytest.raises(error, match=says):
            sim.restart(weights)
    assert np.array_equal(sim.weights(links[0]).weight, before)
    precise = sf.Network()
    precise.population("p", 2, sf.neurons.LIF(reset="value"))
    with pytest.raises(ParameterError, match="grid clock"):
        sf.Simulator(precise, clock="precise").restart()


@pytest.mark.fault
@pytest.mark.parametrize(
    ("make", "error", "says"),
    [(lambda: AstroSTDP(0.0), ParameterError, "w_max=0"),
     (lambda: AstroSTDP(1.0, a_plus=-1.0), ParameterError, "a_plus"),
     (lambda: AstroSTDP(1.0, jump=0.0), ParameterError, "jump"),
     (lambda: AstroSTDP(1.0, tau_fade=0.0), ParameterError, "tau_fade"),
     (lambda: AstroSTDP(1.0, tau_plus=float("nan")), NonFiniteError, "tau_plus"),
     (lambda: Astrocyte(weight=-0.1), ParameterError, "weight"), (lambda: Astrocyte(tau=0.0), ParameterError, "tau"),
     (lambda: Astrocyte(base=float("inf")), NonFiniteError, "base"),
     (lambda: Astrocyte().after(0.1, 5, 5, 0.0), ParameterError, "duration")],
)  # fmt: skip
def test_what_an_astrocyte_cannot_be_is_refused(make, error, says):
    with pytest.raises(error, match=says):
        make()
