"""The rules of the STDP family: against sums over pairs of spikes, on tensors, published protocols, bits, bad input."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Any

import numpy as np
import pytest
import torch
from test_plasticity import driven, trains

import spikeframe as sf
from spikeframe.errors import NonFiniteError, ParameterError, ShapeError, UnknownNameError
from spikeframe.kernels.plasticity import Plasticity, traced
from spikeframe.learning_rules import (
    InhibitorySTDP,
    PairSTDP,
    RewardSTDP,
    SynapticScaling,
    TripletSTDP,
    VoltageSTDP,
)
from spikeframe.learning_rules.on_tensors import plasticity

DT = 0.1
STEPS = 1200
#: Signals: after how many steps, and how large.
SIGNALS = [(100, 0.5), (400, -0.3), (405, 0.8), (1000, 1.0)]


@dataclass(frozen=True)
class AtThreshold(Plasticity):
    """Reads the target's membrane at both kinds of event."""

    def state(self):
        return ("v",)

    def bounds(self):
        return -9.0, 9.0

    def at_pre(self, s, c):
        return {"w": s.w + 0.01 * s.v}

    def at_post(self, s, c):
        return {"w": s.w - 0.003 * s.v}


RULES: dict[str, Any] = {
    "triplet": TripletSTDP(2.0, 3.0, 9.0, 4.0, 12.0, 0.02, 0.03, 0.02, 0.01),
    "triplet, nearest": TripletSTDP(2.0, 3.0, 9.0, 4.0, 12.0, 0.02, 0.03, 0.02, 0.01, pairing="nearest"),
    "inhibitory": InhibitorySTDP(w_max=-2.0, tau=5.0, eta=0.02, rate=40.0),
    "scaling": SynapticScaling(w_max=2.0, rate=30.0, tau=40.0, eta=2e-4),
    "voltage": VoltageSTDP(
        2.0, 5.0, 3.0, 4.0, theta_minus=0.3, theta_plus=5.0, a_ltd=0.01, a_ltp=2e-4, u_peak=30.0, t_peak=0.5, u_ref=4.0,
        tau_ref=60.0, e_l=0.0,
    ),
    "reward": RewardSTDP(50.0, 3.0, 4.0, a_plus=0.002, a_minus=0.001, tau_c=30.0, tau_d=12.0),
    "reward at once": RewardSTDP(50.0, 3.0, 4.0, a_plus=0.0002, a_minus=0.0001, tau_c=30.0, tau_d=None),
    "state": AtThreshold(),
}  # fmt: skip


def decayed(spikes: list[int], now: int, tau: float, nearest: bool = False) -> float:
    """Return a trace: the sum over all spikes before."""
    before = [s for s in spikes if s < now]
    return sum(exp(-(now - s) * DT / tau) for s in (before[-1:] if nearest else before))


def filtered(v: Any, posts: list[int], tau: float, peak: float, width: float) -> list[float]:
    """Return the filtered membrane that step n finds, from the recorded one; ``v[n]`` is that after step n."""
    keep, moved, found = exp(-DT / tau), 1.0 - exp(-width / tau), [0.0]
    for n, value in enumerate(v):
        u = found[-1] * keep
        found.append((u + (peak - u) * moved if n + 1 in posts else u) + (1.0 - keep) * float(value))
    return [u * keep for u in found]


def rewarded(rule: RewardSTDP, w: float, arrivals: list[int], posts: list[int]) -> float:
    """Return the weight as a double sum over pairs and rewards, each with its integral; no bound is met."""
    jumps = [(p, rule.a_plus * rule.w_max * decayed(arrivals, p, rule.tau_plus)) for p in posts]
    jumps += [(a, -rule.a_minus * rule.w_max * decayed(posts, a, rule.tau_minus)) for a in arrivals]
    for at, c in jumps:
        for when, amount in SIGNALS:
            if rule.tau_d is None:
                w += amount * c * exp(-(when - at) * DT / rule.tau_c) if when >= at else 0.0
            elif at <= STEPS:
                both, later = 1.0 / (1.0 / rule.tau_c + 1.0 / rule.tau_d), max(at, when)
                meet = exp(-(later - at) * DT / rule.tau_c - (later - when) * DT / rule.tau_d)
                w += amount * c / rule.tau_d * meet * both * (1.0 - exp(-(STEPS - later) * DT / both))
    return w


def summed(rule: Any, w: float, arrivals: list[int], posts: list[int], v: Any) -> float:
    """Return the weight of one synapse by sums over pairs at each spike; ``v[n]``: the membrane after step n."""
    if isinstance(rule, RewardSTDP):
        return rewarded(rule, w, arrivals, posts)
    low, high = rule.bounds()
    if isinstance(rule, VoltageSTDP):
        spike = rule.u_peak, rule.t_peak
        u_minus, u_plus, u_mean = (filtered(v, posts, t, *spike) for t in (rule.tau_minus, rule.tau_plus, rule.tau_ref))
    for now, is_post in sorted([(a, False) for a in arrivals] + [(p, True) for p in posts]):
        if isinstance(rule, TripletSTDP):
            near = rule.pairing == "nearest"
            if is_post:
                slow = rule.a2_plus + rule.a3_plus * decayed(posts, now, rule.tau_y, near)
                w += rule.w_max * decayed(arrivals, now, rule.tau_plus, near) * slow
            else:
                slow = rule.a2_minus + rule.a3_minus * decayed(arrivals, now, rule.tau_x, near)
                w -= rule.w_max * decayed(posts, now, rule.tau_minus, near) * slow
        elif isinstance(rule, InhibitorySTDP):
            pairs = decayed(arrivals if is_post else posts, now, rule.tau)
            w += rule.eta * rule.w_max * (pairs - (0.0 if is_post else 2e-3 * rule.rate * rule.tau))
        elif isinstance(rule, SynapticScaling) and not is_post:
            w += rule.eta * (rule.rate - 1e3 / rule.tau * decayed(posts, now, rule.tau)) * w
        elif isinstance(rule, VoltageSTDP):
            if is_post:
                depolarised = max(u_plus[now - 1] - rule.theta_minus, 0.0)
                area = (rule.u_peak - rule.theta_plus) * rule.t_peak / rule.tau_x
                w += rule.a_ltp * rule.w_max * area * decayed(arrivals, now, rule.tau_x) * depolarised
            else:
                homeostasis = ((u_mean[now - 1] - rule.e_l) / rule.u_ref) ** 2
                w -= rule.a_ltd * rule.w_max * homeostasis * max(u_minus[now - 1] - rule.theta_minus, 0.0)
        elif isinstance(rule, AtThreshold):
            w += -0.003 * v[now - 1] if is_post else 0.01 * v[now - 2]
        w = min(max(w, low), high)
    return w


@pytest.mark.exact
@pytest.mark.parametrize("backend", ["reference", pytest.param("numba", marks=pytest.mark.campaign)])
def test_weights_equal_the_sums_over_pairs_of_spikes(backend):
    """Several delays (traces per synapse) and one (per source); simultaneous spikes; bounds; signals between runs."""
    rng = np.random.default_rng(6)
    (pre_at, pre_of), (post_at, post_of) = trains(rng, 3, STEPS - 40, 0.04), trains(rng, 2, STEPS - 40, 0.04)
    source, target = np.repeat(np.arange(3), 4), np.tile([0, 1, 1, 0], 3)
    many = rng.integers(1, 30, source.size)
    net = sf.Network()
    a = net.population("pre", 3, sf.SpikeSource(pre_at * DT, pre_of))
    b = driven(net, post_at * DT, post_of, 2)
    net.record(b, "v")
    cases = []
    for k, (name, rule) in enumerate(RULES.items()):
        delay = many if k % 2 else np.full(source.size, 7)
        weight = np.sign(getattr(rule, "w_max", 1.0)) * rng.uniform(0.0, 2.0, source.size)
        pairs = sf.Pairs(source, target)
        given = delay * DT if k % 2 else 7 * DT
        (link,) = net.connect(a, b, pairs, receptor="in", weight=weight, delay=given, synapse=rule)
        cases.append((name, rule, link, weight, delay))
    sim = sf.Simulator(net, dt=DT, backend=backend, dtype="float64", threads=1)
    rewarded_links = [link for _, rule, link, _, _ in cases if isinstance(rule, RewardSTDP)]
    v, done = [], 0
    for when, amount in [*SIGNALS, (STEPS, 0.0)]:
        v.append(sim.run((when - done) * DT).traces["post"]["v"].values)
        for link in rewarded_links:
            sim.signal(link, amount)
        done = when
    membrane = np.concatenate(v)
    order = np.lexsort((target, source))
    coincident = {(int(t), int(k)) for t, k in zip(post_at, post_of, strict=True)}
    assert any((int(t) + 7, j) in coincident for t in pre_at for j in (0, 1))
    for name, rule, link, weight, delay in cases:
        expected = [
            summed(rule, weight[k], [int(t) + int(delay[k]) for t in pre_at[pre_of == source[k]]],
                   [int(t) for t in post_at[post_of == target[k]]], membrane[:, target[k]])
            for k in order
        ]  # fmt: skip
        found = sim.weights(link).weight
        assert np.abs(found - expected).max() < 1e-11, name
        assert np.abs(found - weight[order]).max() > 1e-2, name
        assert np.ptp(found - weight[order]) > 1e-3, name


# On tensors.


@pytest.mark.exact
@pytest.mark.parametrize("name", [*RULES, "pair"])
def test_a_rule_on_tensors_is_the_rule_in_the_simulator(name):
    """The sums of the test above, one delay; then a batch of two, whose change is the mean of each one's."""
    rule = RULES.get(name) or PairSTDP(2.0, 3.0, 5.0, 0.1, mu_plus=0.4, mu_minus=0.7)
    rng, generator = np.random.default_rng(3), torch.Generator().manual_seed(4)
    pre, post = ((torch.rand(STEPS, 2, n, generator=generator) < 0.04).double() for n in (3, 2))
    weight = torch.as_tensor(np.sign(getattr(rule, "w_max", 1.0)) * rng.uniform(0.5, 1.5, (2, 3)))
    v = 5.0 * torch.rand(STEPS, 2, 2, generator=generator).double()
    signal = torch.zeros(STEPS).double()
    signal[[when - 1 for when, _ in SIGNALS]] = torch.tensor([amount for _, amount in SIGNALS], dtype=torch.float64)
    options: dict[str, Any] = {"target": {"v": v}} if traced(rule, DT).states else {}
    if isinstance(rule, RewardSTDP):
        options["signal"] = signal

    def one(spikes_in: Any, spikes_out: Any, of: slice, batch: slice, w: Any, state: Any) -> Any:
        given = {"target": {"v": v[of, batch]}} if "target" in options else {}
        given |= {"signal": signal[of]} if "signal" in options else {}
        return plasticity(rule, w, spikes_in[of, batch], spikes_out[of, batch], DT, state=state, **given)

    halves = slice(0, 700), slice(700, STEPS)
    w, state = weight, None
    for part in halves:
        w, state = one(pre, post, part, slice(0, 1), w, state)
    if isinstance(rule, PairSTDP):
        from test_plasticity import paired

        expected = [[paired(rule, float(weight[j, i]), _steps(pre, i), _steps(post, j)) for i in range(3)]
                    for j in range(2)]  # fmt: skip
    else:
        expected = [
            [summed(rule, float(weight[j, i]), _steps(pre, i), _steps(post, j), v[:, 0, j].tolist()) for i in range(3)]
            for j in range(2)
        ]
    if isinstance(rule, RewardSTDP) and rule.tau_d is not None:
        w = _settled(rule, w, state)
    assert np.abs(w.numpy() - np.array(expected)).max() < 1e-11
    assert (w - weight).abs().max() > 1e-3
    first = slice(0, 40)
    both = one(pre, post, first, slice(0, 2), weight, None)[0]
    apart = [one(pre, post, first, slice(k, k + 1), weight, None)[0] for k in (0, 1)]
    if name in ("triplet", "reward at once", "inhibitory"):  # no dependence on the weight: changes only add up
        assert (both - (apart[0] + apart[1]) / 2).abs().max() < 1e-13


def _steps(spikes: Any, neuron: int) -> list[int]:
    return [int(t) + 1 for t in spikes[:, 0, neuron].nonzero().flatten()]


def _settled(rule: RewardSTDP, w: Any, state: Any) -> Any:
    """Bring the weights up to date, as a signal of 0 does in the simulator."""
    k = 1.0 / (1.0 + rule.tau_d / rule.tau_c)
    return w + (state.traces["p"] - k * state.traces["c"] * state.traces["d"][:, None, None])[0]


# Published protocols.


def test_a_single_pair_changes_the_weight_by_the_exponential_of_its_lag():
    rule = PairSTDP(w_max=1.0, tau_plus=17.0, tau_minus=34.0, lambda_=0.01, alpha=1.2, mu_plus=0.0, mu_minus=0.0)
    for lag in (-300, -50, -1, 1, 50, 300):
        pre, post = torch.zeros(700, 1, 1).double(), torch.zeros(700, 1, 1).double()
        pre[350], post[350 + lag] = 1.0, 1.0
        change = float(plasticity(rule, torch.full((1, 1), 0.5).double(), pre, post, DT)[0]) - 0.5
        expected = 0.01 * exp(-lag * DT / 17.0) if lag > 0 else -0.012 * exp(lag * DT / 34.0)
        assert change == pytest.approx(expected, rel=1e-12)


def test_triplets_potentiate_the_more_the_higher_the_rate_of_pairings():
    """60 pairs, post 10 ms after pre (Sjostrom's protocol): nothing at 0.1 Hz, potentiation that grows up to 50 Hz."""
    rule, change = TripletSTDP(w_max=1.0), {}
    for rate in (0.1, 10.0, 20.0, 40.0, 50.0):
        every = round(1e3 / rate)
        at = np.arange(60) * every
        r1 = r2 = o1 = o2 = 0.0
        expected, last = 0.0, 0
        for t, is_post in sorted([(t, 0) for t in at] + [(t + 10, 1) for t in at]):
            h = t - last
            r1, r2, o1, o2 = (x * exp(-h / tau) for x, tau in
                              ((r1, 16.8), (r2, 101.0), (o1, 33.7), (o2, 125.0)))  # fmt: skip
            if is_post:
                expected += r1 * (5e-10 + 6.2e-3 * o2)
                o1, o2 = o1 + 1.0, o2 + 1.0
            else:
                expected -= o1 * (7e-3 + 2.3e-4 * r2)
                r1, r2 = r1 + 1.0, r2 + 1.0
            last = t
        if every <= 100:
            pre, post = torch.zeros(60 * every, 1, 1).double(), torch.zeros(60 * every, 1, 1).double()
            pre[at], post[at + 10] = 1.0, 1.0
            found = float(plasticity(rule, torch.full((1, 1), 0.5).double(), pre, post, 1.0)[0]) - 0.5
            assert found == pytest.approx(min(expected, 0.5), abs=1e-12)
        change[rate] = expected
    assert abs(change[0.1]) < 0.01
    assert change[50.0] > change[40.0] > change[20.0] > change[10.0]
    assert change[50.0] > 0.4


@pytest.mark.campaign
@pytest.mark.statistical
def test_inhibitory_plasticity_and_scaling_hold_a_neuron_at_its_rate():
    net = sf.Network(seed=2)
    receptors = {"exc": sf.neurons.Exp(tau=5.0), "inh": sf.neurons.Exp(tau=5.0)}
    neuron = sf.neurons.LIF(tau_m=20.0, v_th=20.0, t_ref=2.0, receptors=receptors)
    inputs, brake = net.population("e", 100, sf.PoissonSource(20.0)), net.population("i", 50, sf.PoissonSource(20.0))
    held, scaled = net.population("held", 4, neuron), net.population("scaled", 4, neuron)
    net.connect(inputs, held, sf.AllToAll(), receptor="exc", weight=4.0, delay=1.0)
    rule = InhibitorySTDP(w_max=-40.0, eta=0.001, rate=8.0)
    net.connect(brake, held, sf.AllToAll(), receptor="inh", weight=-0.1, delay=1.0, synapse=rule)
    slow = SynapticScaling(w_max=40.0, rate=12.0, tau=2000.0, eta=2e-4)
    net.connect(inputs, scaled, sf.AllToAll(), receptor="exc", weight=1.0, delay=1.0, synapse=slow)
    sim = sf.Simulator(net, dt=0.5, threads=1)
    before = sim.run(1000.0, progress=False).rates()
    sim.run(60_000.0, progress=False)
    after = sim.run(40_000.0, progress=False).rates()
    assert before["held"] > 40.0
    assert before["scaled"] < 4.0
    assert after["held"] == pytest.approx(8.0, abs=0.8)
    assert after["scaled"] == pytest.approx(12.0, abs=1.2)


# Promises.


def whole_family(seed: int = 3) -> tuple[sf.Network, list[Any]]:
    """A recurrent network in which every rule works, once with one delay and once with several."""
    net = sf.Network(seed=seed)
    receptors = {"exc": sf.neurons.Exp(tau=5.0), "inh": sf.neurons.Exp(tau=3.0)}
    neuron = sf.neurons.LIF(tau_m=20.0, v_th=20.0, t_ref=2.0, receptors=receptors)
    a = net.population("a", 130, neuron, v=sf.Uniform(0.0, 20.0))
    links = []
    for k, (name, rule) in enumerate(FAMILY.items()):
        delay = sf.Uniform(0.2, 1.5) if k % 2 else 0.4
        weight, receptor = (-1.0, "inh") if name == "inhibitory" else (1.0, "exc")
        links += net.connect(a, a, sf.FixedOutDegree(4), receptor=receptor, weight=weight, delay=delay, synapse=rule)
    net.stimulate(a, sf.PoissonInput(3000.0, 5.0), receptor="exc")
    net.record(a, "spikes")
    return net, links


FAMILY = {name: rule for name, rule in RULES.items() if name not in ("triplet, nearest", "state")}


def told(sim: sf.Simulator, found: list[Any]) -> dict[str, Any]:
    spikes = {part: np.concatenate([getattr(r.spikes["a"], part) for r in found]) for part in ("steps", "ids")}
    weights = {str(k): sim.weights(link).weight for k, link in enumerate(sim.network.projections)}
    return spikes | weights | {"v": sim.circuit.read("a", "v")}


def run_with_signals(sim: sf.Simulator, durations: list[float]) -> list[Any]:
    """Run piece by piece; whatever the pieces, all rules that take signals get them at 5 and 9 ms."""
    found = []
    for duration in durations:
        found.append(sim.run(duration, progress=False))
        if round(sim.circuit.time, 6) in (5.0, 9.0):
            for link in sim.network.projections:
                if isinstance(link.synapse, RewardSTDP):
                    sim.signal(link, 3.0)
    return found


@pytest.mark.campaign
@pytest.mark.exact
def test_spikes_and_weights_are_the_references_for_any_threads_cutting_and_saving(tmp_path):
    sim = sf.Simulator(whole_family()[0], dt=DT, backend="reference", dtype="float64")
    before = told(sim, [sim.run(DT)])
    expected = told(sim, run_with_signals(sim, [5.0 - DT, 4.0, 6.0]))
    assert len(expected["steps"]) > 100
    for k in range(len(FAMILY)):
        assert np.abs(expected[str(k)] - before[str(k)]).max() > 1e-3, list(FAMILY)[k]
    for threads in (1, 2, 3):
        sim = sf.Simulator(whole_family()[0], dt=DT, threads=threads, dtype="float64")
        sim.run(DT)
        pieces = [5.0 - DT, 4.0, 6.0] if threads == 1 else [2.0, 2.9, 0.1, 3.9, 1.3, 4.7]
        _same(told(sim, run_with_signals(sim, pieces)), expected)
    for saved, loaded, pieces in ((1, 3, [5.0 - DT, 0.2]), (2, 1, [5.0 - DT, 4.0, 0.1])):
        sim = sf.Simulator(whole_family()[0], dt=DT, threads=saved, dtype="float64")
        sim.run(DT)
        first = run_with_signals(sim, pieces)
        sim.save(tmp_path / "state.h5")
        again = sf.Simulator.load(tmp_path / "state.h5", threads=loaded)
        rest = [9.0 - again.circuit.time, 6.0] if again.circuit.time < 9.0 else [15.0 - again.circuit.time]
        _same(told(again, first + run_with_signals(again, [round(r, 1) for r in rest])), expected)


def _same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert np.array_equal(found[name], value), name


# Bad input.


@pytest.mark.fault
@pytest.mark.parametrize(
    ("kind", "options", "error"),
    [(TripletSTDP, {"tau_x": 0.0}, ParameterError), (TripletSTDP, {"a3_plus": -1.0}, ParameterError),
     (TripletSTDP, {"pairing": "nearst"}, UnknownNameError), (RewardSTDP, {"tau_d": 0.0}, ParameterError),
     (RewardSTDP, {"a_plus": float("nan")}, NonFiniteError), (RewardSTDP, {"w_max": 0.0}, ParameterError),
     (InhibitorySTDP, {"eta": -0.1}, ParameterError), (InhibitorySTDP, {"rate": "5"}, ParameterError),
     (VoltageSTDP, {"u_peak": -60.0}, ParameterError), (VoltageSTDP, {"u_ref": 0.0}, ParameterError),
     (SynapticScaling, {"rate": 0.0}, ParameterError), (SynapticScaling, {"eta": float("inf")}, NonFiniteError)],
)  # fmt: skip
def test_rules_refuse(kind, options, error):
    with pytest.raises(error, match="nearest" if "pairing" in options else next(iter(options))):
        kind(**({"w_max": 1.0} | options))


@dataclass(frozen=True)
class Following(Plasticity):
    def follow(self):
        return {"u": "v"}


@pytest.mark.fault
def test_what_a_rule_cannot_act_on_is_refused():
    with pytest.raises(UnknownNameError, match="Following lets follow"):
        traced(Following(), DT)
    net = sf.Network()
    a = net.population("a", 4, sf.neurons.LIF(tau_m=20.0, v_th=20.0))
    parrot = net.population("p", 4, sf.neurons.Parrot())
    (pair,) = net.connect(a, a, sf.AllToAll(), weight=1.0, delay=1.0, synapse=PairSTDP(w_max=2.0))
    (static,) = net.connect(a, a, sf.AllToAll(), weight=1.0, delay=1.0)
    (reward,) = net.connect(a, a, sf.AllToAll(), weight=1.0, delay=1.0, synapse=RewardSTDP(w_max=2.0))
    sim = sf.Simulator(net, dt=DT)
    with pytest.raises(ParameterError, match="PairSTDP takes no signals"):
        sim.signal(pair, 1.0)
    with pytest.raises(ParameterError, match="static"):
        sim.signal(static, 1.0)
    with pytest.raises(NonFiniteError, match="signal"):
        sim.signal(reward, float("nan"))
    with pytest.raises(ParameterError, match="no projection"):
        sim.signal("reward", 1.0)
    net.connect(a, parrot, sf.AllToAll(), weight=1.0, delay=1.0, synapse=VoltageSTDP(w_max=2.0))
    with pytest.raises(UnknownNameError, match="VoltageSTDP reads"):
        sf.Simulator(net, dt=DT)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("rule", "options", "error"),
    [(PairSTDP(1.0), {"pre": torch.zeros(5, 1, 4)}, ShapeError), (PairSTDP(1.0), {"dt": 0.0}, ParameterError),
     (PairSTDP(1.0), {"signal": torch.zeros(5)}, ParameterError), (VoltageSTDP(1.0), {}, ParameterError),
     (PairSTDP(1.0), {"target": {"v": torch.zeros(5, 1, 2)}}, ParameterError),
     (RewardSTDP(1.0), {"signal": torch.zeros(4)}, ParameterError),
     (PairSTDP(1.0), {"weight": torch.tensor([[0.0, 0.5, float("nan")]] * 2)}, NonFiniteError)],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_refused(rule, options, error):
    given = {"weight": torch.zeros(2, 3), "pre": torch.zeros(5, 1, 3), "post": torch.zeros(5, 1, 2), "dt": 1.0}
    with pytest.raises(error):
        plasticity(rule, **(given | options))
