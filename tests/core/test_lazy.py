"""Update skipping on the grid clock: the same bits as a run that updates every neuron at every step, and less work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spikeframe as sf
from spikeframe.kernels.numba import lazy
from spikeframe.kernels.numba.grid import NumbaGrid
from spikeframe.neurons import ALIF, LIF, Alpha, Delta, Exp

MODELS = {
    "delta": lambda: LIF(tau_m=10.0, receptors={"in": Delta()}),
    "delta, driven": lambda: LIF(
        tau_m=5.0, v_rest=-65.0, v_th=-50.0, v_reset=-70.0, t_ref=2.0, receptors={"in": Delta()}
    ),
    "exp": lambda: LIF(tau_m=4.0, t_ref=1.0, receptors={"in": Exp(tau=0.5), "low": Exp(tau=1.0)}),
    "alpha": lambda: LIF(tau_m=4.0, v_rest=-65.0, v_th=-50.0, v_reset=-65.0, receptors={"in": Alpha(tau=0.3)}),
    "alif": lambda: ALIF(tau_m=4.0, tau_a=6.0, receptors={"in": Delta()}),
}


@pytest.fixture
def eager(monkeypatch):
    """Skip in every stretch, however much was updated in the one before."""
    monkeypatch.setattr(lazy, "_BUSY", 2.0)


def network(model: str, drawn: bool = False) -> sf.Network:
    """Bursts of input with long silences between, onto a network that passes some of it on."""
    neuron = MODELS[model]()
    scale = 15.0 if float(neuron.value("v_th")) < 0 else 1.0
    net = sf.Network(seed=7)
    times, ids = [1.0, 1.1, 1.2, 9.0, 60.0, 60.1, 61.0], [0, 1, 2, 3, 0, 1, 4]
    s = net.population("s", 5, sf.SpikeSource(times, ids))
    a = net.population("a", 331, neuron)
    b = net.population("b", 70, neuron)
    late: Any = sf.Uniform(0.3, 2.4) if drawn else 0.4
    reach = 1.4 if "delta" in model or model == "alif" else 14.0
    receptor = "in"
    net.connect(s, a, sf.FixedProbability(0.1), receptor=receptor, weight=reach * scale, delay=late)
    net.connect(a, [a, b], sf.FixedOutDegree(4), receptor=receptor, weight=sf.Normal(0.3 * scale, 0.1), delay=1.1)
    net.connect(b, a, sf.FixedOutDegree(2), receptor=receptor, weight=-0.5 * scale, delay=0.3)
    if model == "exp":
        net.connect(b, b, sf.FixedOutDegree(3), receptor="low", weight=-0.4, delay=0.3)
    net.record([a, b], "spikes")
    net.record(a, "v", every=3.7, ids=[0, 65, 330])
    return net


def run(net: sf.Network, cuts: tuple[float, ...] = (120.0,), skipping: bool = True, **options: Any) -> tuple[Any, Any]:
    sim = sf.Simulator(net, dt=0.1, **options)
    if not skipping:
        sim.circuit._provider = NumbaGrid(skipping=False)
    return sim, [sim.run(part) for part in cuts]


def told(results: list[Any]) -> Any:
    spikes = [np.concatenate([getattr(r.spikes[n], k) for r in results]) for n in ("a", "b") for k in ("steps", "ids")]
    return spikes, np.concatenate([r.traces["a"]["v"].values for r in results])


def same(first: tuple[Any, Any], second: tuple[Any, Any]) -> None:
    (spikes, traces), (others, other_traces) = told(first[1]), told(second[1])
    for x, y in zip(spikes, others, strict=True):
        assert np.array_equal(x, y)
    assert traces.tobytes() == other_traces.tobytes()
    for mine, theirs in zip(first[0].circuit.state.values, second[0].circuit.state.values, strict=True):
        assert {n: v.tobytes() for n, v in mine.items()} == {n: v.tobytes() for n, v in theirs.items()}
    assert sum(r.delivered for r in first[1]) == sum(r.delivered for r in second[1])


def updates(results: list[Any]) -> tuple[int, int]:
    counts = [r.counts[n] for r in results for n in ("a", "b")]
    return sum(c.neu_upd for c in counts), sum(c.neu_upd_dense for c in counts)


@pytest.mark.exact
@pytest.mark.parametrize(
    ("model", "dtype"),
    [
        pytest.param("delta, driven", "float64", marks=pytest.mark.campaign),
        ("exp", "float32"),
        *(pytest.param(m, "float32", marks=pytest.mark.campaign) for m in MODELS if m != "exp"),
    ],
)
def test_skipped_updates_change_no_bit(model, dtype, eager):
    dense = run(network(model), skipping=False, dtype=dtype)
    assert sum(len(s) for s in dense[1][0].spikes.values()) > 0
    assert updates(dense[1])[0] == updates(dense[1])[1] == 1200 * 401
    same(dense, run(network(model), backend="reference", dtype=dtype))
    for threads in (1, 2, 3):
        for cuts in ((120.0,), (0.1, 1.1, 0.4, 58.5, 0.9, 59.0)):
            skipping = run(network(model), cuts, threads=threads, dtype=dtype)
            same(dense, skipping)
            assert updates(skipping[1])[0] <= 1.02 * updates(dense[1])[0]  # looking whether a block rests is an update


@pytest.mark.exact
@pytest.mark.parametrize("threads", [1, 2])
def test_drawn_delays_meet_skipped_neurons(threads):
    same(run(network("delta", drawn=True), skipping=False), run(network("delta", drawn=True), threads=threads))


@pytest.mark.exact
def test_a_run_saved_in_silence_goes_on(tmp_path, eager):
    whole = run(network("exp"), (120.0,))
    for cut in (30.0, 60.0, 61.3):
        sim, first = run(network("exp"), (cut,), threads=2)
        sim.save(tmp_path / "state.h5")
        again = sf.Simulator.load(tmp_path / "state.h5", threads=1)
        same(whole, (again, [*first, again.run(120.0 - cut)]))


@pytest.mark.exact
@pytest.mark.parametrize("threads", [1, 3])
def test_drives_wake_only_what_they_drive(threads):
    def driven() -> sf.Network:
        net = network("delta")
        c = net.population("c", 500, MODELS["delta"]())
        net.stimulate("b", sf.PoissonInput(rate=300.0, weight=0.4, start=20.0, stop=70.0), receptor="in")
        net.stimulate("b", sf.PoissonInput(rate=100.0, weight=0.4, start=110.0), receptor="in")
        net.record(c, "v", every=50.0)
        return net

    dense, skipping = run(driven(), skipping=False), run(driven(), threads=threads)
    same(dense, skipping)
    counts = skipping[1][0].counts
    # The block that b ends in has neurons of c; what is left of c is at rest.
    assert counts["b"].neu_upd > 0.95 * counts["b"].neu_upd_dense
    assert counts["c"].neu_upd < 0.2 * counts["c"].neu_upd_dense


@pytest.mark.exact
def test_currents_wake_a_population_while_they_last():
    def driven() -> sf.Network:
        net = network("exp")
        d = net.population("d", 100, MODELS["exp"]())
        net.population("e", 300, MODELS["exp"]())
        net.stimulate("d", sf.DC(amplitude=1.5, start=105.0, stop=115.0))
        net.stimulate("e", sf.DC(amplitude=1.5, start=1000.0))
        net.record(d, "spikes")
        return net

    dense, skipping = run(driven(), (240.0,), skipping=False), run(driven(), (240.0,), threads=2)
    same(dense, skipping)
    assert len(skipping[1][0].spikes["d"]) == len(dense[1][0].spikes["d"]) > 0
    counts = skipping[1][0].counts
    assert counts["d"].neu_upd >= 100 * 100  # the neurons that are driven, for as long as they are
    assert counts["e"].neu_upd < 0.3 * counts["e"].neu_upd_dense


def test_a_silent_network_does_no_updates():
    net = sf.Network()
    quiet = net.population("quiet", 100_000, MODELS["exp"]())
    net.connect(quiet, quiet, sf.FixedOutDegree(1), receptor="in", weight=0.1, delay=1.0)
    sim = sf.Simulator(net, dt=0.1, threads=2)
    first, second = sim.run(100.0, progress=False), sim.run(10_000.0, progress=False)
    assert first.counts["quiet"].neu_upd == 100_000  # the look that finds every neuron at rest
    assert second.counts["quiet"].neu_upd == 0
    assert second.counts["quiet"].neu_upd_dense == 100_000 * 100_000


def test_rest_far_from_zero_is_found_too():
    net = sf.Network()
    quiet = net.population("quiet", 130, MODELS["delta, driven"]())
    net.connect(quiet, quiet, sf.OneToOne(), weight=0.1, delay=1.0)
    sim = sf.Simulator(net, dt=0.1)
    first, second = sim.run(1000.0), sim.run(1000.0)
    assert 0 < first.counts["quiet"].neu_upd < 0.3 * first.counts["quiet"].neu_upd_dense
    assert second.counts["quiet"].neu_upd == 0


def test_busy_and_always_driven_networks_are_updated_densely():
    net = sf.Network(seed=1)
    busy = net.population("busy", 300, LIF(tau_m=10.0), v=sf.Uniform(0.0, 0.9))
    net.stimulate(busy, sf.PoissonInput(rate=3000.0, weight=0.1))
    firing = net.population("firing", 300, LIF(tau_m=10.0, v_rest=-49.0, v_th=-50.0, v_reset=-60.0))
    sim = sf.Simulator(net, dt=0.1)
    sim.run(10.0)
    plan, state = sim.circuit.laid.plan, sim.circuit.state
    assert sim.circuit._provider._skipping.choose(plan, state, 100, [None] * len(plan.groups)) == {}
    assert firing.size == 300


def test_a_group_that_proves_busy_is_left_to_the_plain_loop_for_a_while():
    net = sf.Network(seed=1)
    times = np.repeat(np.arange(1, 5000) * 0.1, 2)
    s = net.population("s", 2, sf.SpikeSource(times, np.tile([0, 1], 4999)))
    a = net.population("a", 200, LIF(tau_m=10.0))
    net.connect(s, a, sf.AllToAll(), weight=0.01, delay=0.1)
    sim = sf.Simulator(net, dt=0.1)
    sim.run(100.0)
    skipping, plan = sim.circuit._provider._skipping, sim.circuit.laid.plan
    assert max(skipping._pause.values()) > 0
    assert any(skipping.choose(plan, sim.circuit.state, 1000, [None] * len(plan.groups)) for _ in range(100))


@pytest.mark.parametrize(("rate", "drivers"), [(20.0, {False}), (0.0, {True})])
def test_given_spikes_that_keep_a_network_busy_are_foreseen(rate, drivers):
    """Only one of the two drivers is ever compiled."""
    net = sf.Network(seed=1)
    s = net.population("s", 200, sf.PoissonSource(rate))
    a = net.population("a", 500, MODELS["delta, driven"]())
    net.connect(s, a, sf.FixedProbability(0.1), weight=0.1, delay=1.0)
    sim = sf.Simulator(net, dt=0.1)
    choose, found = sim.circuit._provider._skipping.choose, []
    sim.circuit._provider._skipping.choose = lambda *o: found.append(choose(*o)) or found[-1]
    sim.run(300.0)
    assert {bool(blocks) for blocks in found} == drivers
