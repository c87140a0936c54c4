"""Projections that are never stored: the same synapses, spikes and counts as the stored network, in no memory."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import spikeframe as sf
from spikeframe.errors import ParameterError
from spikeframe.kernels.numba.procedural import fan_out
from spikeframe.neurons import LIF, Delta, Exp

RULES: dict[str, Any] = {
    "all": sf.AllToAll(autapses=False),
    "one": sf.OneToOne(),
    "probability": sf.FixedProbability(0.2, autapses=False),
    "out": sf.FixedOutDegree(12),
    "out, once": sf.FixedOutDegree(12, autapses=False, multapses=False),
    "distance": sf.DistanceDependent("gaussian", p=0.8, scale=0.15, periodic=1.0),
    "small world": sf.SmallWorld(10, 0.3),
}


def network(rule: Any, procedural: bool, weight: Any, delay: Any) -> sf.Network:
    net = sf.Network(seed=11)
    rng = np.random.default_rng(3)
    receptors = {"in": Delta(), "slow": Exp(tau=3.0)}
    neuron = LIF(tau_m=10.0, v_rest=0.0, v_th=1.0, t_ref=1.0, receptors=receptors)
    net.population("before", 30, neuron)  # so that the others do not begin at 0
    a = net.population("a", 201, neuron, positions=rng.random((201, 2)))
    b = net.population("b", 201, neuron, positions=rng.random((201, 2)))
    times, ids = np.repeat([1.0, 1.1, 9.0], 5), np.tile(np.arange(0, 10, 2), 3)
    s = net.population("s", 10, sf.SpikeSource(times, ids))
    net.connect(s, a, sf.FixedOutDegree(30), receptor="in", weight=1.2, delay=0.5, procedural=procedural)
    net.connect(a, a, rule, receptor="in", weight=weight, delay=delay, procedural=procedural)
    if not isinstance(rule, sf.SmallWorld):
        net.connect(a, b, rule, receptor="slow", weight=weight, delay=0.4, procedural=procedural)
    net.connect(a, b, sf.FixedInDegree(5), receptor="in", weight=0.3, delay=0.7)
    net.record([a, b], "spikes")
    net.record(b, "v", every=0.5, ids=[0, 100])
    return net


def run(net: sf.Network, cuts: tuple[float, ...] = (30.0,), **options: Any) -> tuple[Any, ...]:
    sim = sf.Simulator(net, dt=0.1, **options)
    parts = [sim.run(cut) for cut in cuts]
    spikes = [np.concatenate([getattr(p.spikes[n], k) for p in parts]) for n in ("a", "b") for k in ("steps", "ids")]
    traces = np.concatenate([p.traces["b"]["v"].values for p in parts])
    state = [v.tobytes() for group in sim.circuit.state.values for v in group.values()]
    return spikes, traces, state, sum(p.delivered for p in parts), parts[-1].in_flight, sum(p.sent for p in parts)


def same(first: tuple[Any, ...], second: tuple[Any, ...]) -> None:
    assert all(np.array_equal(x, y) for x, y in zip(first[0], second[0], strict=True))
    assert first[1].tobytes() == second[1].tobytes()
    assert first[2:] == second[2:]


@pytest.mark.exact
@pytest.mark.parametrize(
    "rule", [r if i < 1 else pytest.param(r, marks=pytest.mark.campaign) for i, r in enumerate(RULES)]
)
def test_rows_drawn_again_are_the_stored_ones(rule):
    weight, delay = sf.Normal(0.2, 0.1), sf.Uniform(0.3, 1.7)
    stored = run(network(RULES[rule], False, weight, delay))
    assert all(s.size for s in stored[0][:2])
    same(stored, run(network(RULES[rule], True, weight, delay)))
    same(stored, run(network(RULES[rule], True, weight, delay), (1.1, 0.1, 13.4, 15.4), threads=3))


@pytest.mark.exact
@pytest.mark.parametrize(
    ("weight", "delay", "dtype"),
    [
        (0.15, 0.3, "float32"),
        pytest.param(0.15, sf.Uniform(0.1, 2.0), "float64", marks=pytest.mark.campaign),
        pytest.param(sf.Uniform(0.0, 0.3), 0.1, "float32", marks=pytest.mark.campaign),
    ],
)
def test_constant_and_drawn_values_agree_with_the_stored_network(weight, delay, dtype):
    rule = RULES["probability"]
    stored = run(network(rule, False, weight, delay), dtype=dtype)
    same(stored, run(network(rule, True, weight, delay), backend="reference", dtype=dtype))
    for threads in (1, 2, 3):
        same(stored, run(network(rule, True, weight, delay), (9.9, 0.2, 19.9), threads=threads, dtype=dtype))


@pytest.mark.exact
def test_a_saved_run_stays_procedural_and_goes_on(tmp_path):
    whole = sf.Simulator(network(RULES["all"], True, sf.Normal(0.2, 0.1), sf.Uniform(0.3, 1.7)), dt=0.1)
    first = whole.run(9.6)
    whole.save(tmp_path / "state.h5")
    second = whole.run(10.0)
    sim = sf.Simulator.load(tmp_path / "state.h5", threads=2)
    assert [link.procedural for link in sim.network.projections] == [True, True, True, False]
    again = sim.run(10.0)
    assert len(first.spikes["a"])
    assert np.array_equal(again.spikes["b"].steps, second.spikes["b"].steps)
    assert np.array_equal(again.spikes["b"].ids, second.spikes["b"].ids)


@pytest.mark.exact
def test_counts_know_the_fan_outs_of_those_that_fired():
    results = []
    for procedural in (False, True):
        sim = sf.Simulator(network(RULES["probability"], procedural, 0.2, 0.3), dt=0.1)
        results.append((sim.run(30.0), sim.circuit.laid.fan_out))
    (stored, full), (drawn, known) = results
    for name in ("a", "b"):
        mine, theirs = drawn.counts[name], stored.counts[name]
        assert (mine.syn_ac, mine.spk_in, mine.neu_upd_dense) == (theirs.syn_ac, theirs.spk_in, theirs.neu_upd_dense)
        assert mine.syn_ac_dense == pytest.approx(theirs.syn_ac_dense, rel=0.1)
    assert drawn.counts["a"].weights == 0
    assert drawn.counts["b"].weights == 201 * 5
    for a, b in zip(full, known, strict=True):
        assert np.array_equal(a[b >= 0], b[b >= 0])


def test_a_billion_potential_synapses_cost_neither_time_nor_memory():
    net = sf.Network(seed=2)
    a = net.population("a", 30_000, LIF(tau_m=10.0))
    b = net.population("b", 40_000, LIF(tau_m=10.0))
    s = net.population("s", 3, sf.SpikeSource([1.0], [0]))
    net.connect(s, a, sf.FixedOutDegree(20), weight=1.5, delay=0.5, procedural=True)
    net.connect(
        a, b, sf.FixedProbability(0.9), weight=sf.Uniform(0.0, 0.01), delay=sf.Uniform(0.5, 2.0), procedural=True
    )
    net.record(b, "spikes")
    started = time.perf_counter()
    circuit = sf.Simulator(net, dt=0.1, threads=1).circuit
    assert time.perf_counter() - started < 2.0
    assert sum(bundle.bytes for bundle in circuit.laid.plan.bundles) == 0
    held = [*circuit.laid.fan_out, *(v for group in circuit.state.values for v in group.values())]
    assert sum(array.nbytes for array in held) < 2e6
    result = circuit.run(10.0)
    assert result.delivered == result.counts["a"].syn_ac + result.counts["b"].syn_ac
    assert result.counts["b"].syn_ac > 15 * 36_000


def test_rows_are_counted_by_drawing_them():
    net = sf.Network(seed=2)
    a = net.population("a", 50, LIF(tau_m=10.0))
    net.connect(a, a, sf.FixedOutDegree(7), weight=1.5, delay=0.5, procedural=True)
    plan = sf.Simulator(net, dt=0.1).circuit.laid.plan
    assert fan_out(plan.regenerated[0], np.array([3, 49]), 2).tolist() == [7, 7]


@pytest.mark.fault
@pytest.mark.parametrize(
    "rule", [sf.FixedInDegree(3), sf.FixedTotal(9), sf.Pairs([0], [1]), sf.FromMatrix(sparse.eye_array(5))]
)
def test_rules_that_need_the_whole_network_are_refused(rule):
    net = sf.Network()
    a = net.population("a", 5, LIF())
    with pytest.raises(ParameterError, match=r"cannot draw a row.*FixedProbability"):
        net.connect(a, a, rule, delay=1.0, procedural=True)


@pytest.mark.fault
def test_what_procedural_projections_do_not_have_meets_named_errors():
    def built(n: int = 5, clock: str = "grid", **options: Any) -> Any:
        net = sf.Network()
        a = net.population("a", n, LIF(reset="value"))
        net.connect(a, a, sf.FixedProbability(0.5), procedural=True, **options)
        return sf.Simulator(net, dt=0.1, clock=clock)

    with pytest.raises(ParameterError, match="list of weights"):
        built(weight=[1.0, 2.0], delay=1.0)
    with pytest.raises(ParameterError, match="bound the delays"):
        built(100_000, delay=sf.Uniform(1.0, 10_000.0))
    with pytest.raises(ParameterError, match="precise clock"):
        built(clock="precise", delay=1.0)
